//! The power is cut at every operation of a whole life, several times over, and what the disk makes of what was not
//! synced is tried in several ways. However that goes: when the last life is over, every line that was taken and synced
//! is stored once and in order, and nothing was overwritten. Single operations that fail are tried one by one as well.
//!
//! `LOGJAM_SWEEP=full` makes both denser.

#[path = "support/cut.rs"]
mod cut;

#[path = "powercut/check.rs"]
mod check;
#[path = "powercut/life.rs"]
mod life;

use check::Leave;
use cut::{Failure, Fault, Machine, Mistake, Power, Survivor};
use life::{BEGIN, DIR, FOREIGN, Far, Ledger, Script, Setup, live};
use logjam::archive::Codec;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

const WHOLE: Setup = Setup { far: Far::Bucket, codec: Codec::Gzip(1), pipe: true, two: false, taken: true };
const PARTS: Setup = Setup { far: Far::Parts, codec: Codec::Zstd(1), pipe: false, two: true, taken: true };
const DIRECTORY: Setup = Setup { far: Far::Directory, codec: Codec::Gzip(1), pipe: false, two: false, taken: false };

/// Where the power is cut in a life, and what survives that.
type Cut = (u64, Survivor);

/// How dense a sweep is: every so many operations of the first life are cut, and of the second one, which follows on every
/// so many disk images; how many coins are tossed for each cut.
#[derive(Clone, Copy)]
struct Density {
    first: u64,
    second: u64,
    images: u64,
    coins: u64,
}

fn density() -> Density {
    match full() {
        true => Density { first: 1, second: 4, images: 1, coins: 8 },
        false => Density { first: 1, second: 90, images: 8, coins: 1 },
    }
}

fn full() -> bool {
    std::env::var("LOGJAM_SWEEP").is_ok_and(|how| how == "full")
}

/// What a sweep did and found.
#[derive(Default)]
struct Found {
    cuts: u64,
    images: u64,
    lives: u64,
    /// After how many operations something was tried in vain.
    in_vain: u64,
    /// What went wrong: the kind, how often, and the first story of it.
    faults: BTreeMap<String, (u64, String)>,
}

impl Found {
    fn fault(&mut self, what: &str, tell: impl FnOnce() -> String) {
        let kind = what.split(':').next().unwrap_or(what).to_owned();
        self.faults.entry(kind).or_insert_with(|| (0, tell())).0 += 1;
    }

    #[track_caller]
    fn none_wrong(&self, of: &str) {
        println!(
            "{of}: {} cut points, {} disk images, {} lives, {} operations after a cut",
            self.cuts, self.images, self.lives, self.in_vain
        );
        let mut all = String::new();
        for (kind, (count, story)) in &self.faults {
            let _ = write!(all, "\n=== {kind}: {count} times; first:\n{story}");
        }
        assert!(self.faults.is_empty(), "{of}:{all}");
    }
}

fn born(setup: &Setup, mistake: Mistake, power: Arc<Power>) -> Machine {
    let machine = Machine::new(BEGIN, &[DIR], setup.far == Far::Parts, power, mistake);
    if let Some(key) = setup.foreign_key() {
        machine.bucket.put(&key, FOREIGN);
    }
    machine
}

/// The power comes back within the hour, or hours later.
fn outage(cut: u64) -> Duration {
    Duration::from_secs(if cut % 4 == 3 { 2 * 3600 } else { 60 })
}

fn survivors(cut: u64, coins: u64) -> Vec<Survivor> {
    let mut all = vec![Survivor::Killed, Survivor::Nothing, Survivor::Everything, Survivor::Names, Survivor::Content];
    for coin in 0..coins {
        let seed = cut * coins + coin;
        all.extend([Survivor::Coin(seed), Survivor::Torn(seed)]);
    }
    all.extend([Survivor::Zeros(cut), Survivor::Loose(cut)]);
    all
}

/// One story from beginning to end: the lives before the cuts, and the last one. With the operations of each, if `told`.
fn story(setup: &Setup, mistake: Mistake, cuts: &[Cut]) -> String {
    let mut told = String::new();
    let mut ledger = Ledger::default();
    let mut machine: Option<Machine> = None;
    for life in 0..=cuts.len() {
        let power = Power::cut_at(cuts.get(life).map(|cut| cut.0)).traced();
        let next = match &machine {
            None => born(setup, mistake, power),
            Some(before) => before.after(cuts[life - 1].1, outage(cuts[life - 1].0), power),
        };
        let script = script(life, cuts.len());
        let done = live(&next, setup, &mut ledger, script, life as u64);
        let trace = next.power.trace();
        let _ = writeln!(told, "life {life} {script:?} {:?} {done:?}", cuts.get(life));
        for line in &trace[trace.len().saturating_sub(if life < cuts.len() { 14 } else { 60 })..] {
            let _ = writeln!(told, "    {line}");
        }
        machine = Some(next);
    }
    told
}

fn script(life: usize, last: usize) -> Script {
    match life {
        0 => Script::First,
        _ if life == last => Script::Last,
        _ => Script::Second,
    }
}

/// Cuts the power everywhere. `at_first`: the first fault is enough.
fn sweep(setup: &Setup, mistake: Mistake, density: Density, at_first: bool) -> Found {
    let mut found = Found::default();
    let whole = born(setup, mistake, Power::cut_at(None));
    let done = live(&whole, setup, &mut Ledger::default(), Script::First, 0);
    if let Err(e) = done {
        found.fault(&e, String::new);
        return found;
    }
    for first in (0..=whole.power.steps()).step_by(usize::try_from(density.first).unwrap()) {
        let machine = born(setup, mistake, Power::cut_at(Some(first)));
        let mut ledger = Ledger::default();
        let done = live(&machine, setup, &mut ledger, Script::First, 0);
        found.cuts += 1;
        found.lives += 1;
        found.in_vain += machine.power.after();
        if let Err(e) = done {
            found.fault(&e, || story(setup, mistake, &[(first, Survivor::Everything)]));
        }
        for how in survivors(first, density.coins) {
            second_lives(setup, density, &machine, &ledger, (first, how), &mut found);
            if at_first && !found.faults.is_empty() {
                return found;
            }
        }
    }
    found
}

fn second_lives(setup: &Setup, density: Density, first: &Machine, ledger: &Ledger, cut: Cut, found: &mut Found) {
    let before = check::objects(first, setup);
    let mistake = first.mistake;
    found.images += 1;
    last_life(setup, first, ledger, &[cut], &before, found);
    if cut.1 != Survivor::Killed && !found.images.is_multiple_of(density.images) {
        return;
    }
    // Each of them is cut at other operations.
    let mut second = (cut.0 * 7 + found.images) % density.second;
    loop {
        let machine = first.after(cut.1, outage(cut.0), Power::cut_at(Some(second)));
        let mut ledger = ledger.clone();
        let done = live(&machine, setup, &mut ledger, Script::Second, 1);
        found.cuts += 1;
        found.lives += 1;
        found.in_vain += machine.power.after();
        if let Err(e) = done {
            found.fault(&e, || story(setup, mistake, &[cut, (second, Survivor::Everything)]));
        }
        let mut before = before.clone();
        before.extend(check::objects(&machine, setup));
        let all = survivors(second, 1);
        // Two of them in turn; a process that was killed stands at its most interesting before a power cut.
        let turn = usize::try_from(found.cuts).unwrap() % all.len();
        let mut some = vec![all[turn]];
        if cut.1 == Survivor::Killed {
            some.extend([Survivor::Nothing, Survivor::Coin(found.cuts)]);
        }
        for how in some {
            found.images += 1;
            last_life(setup, &machine, &ledger, &[cut, (second, how)], &before, found);
        }
        if !machine.power.is_cut() {
            return;
        }
        second += density.second;
    }
}

fn last_life(
    setup: &Setup,
    before: &Machine,
    ledger: &Ledger,
    cuts: &[Cut],
    objects: &BTreeMap<String, Vec<u8>>,
    found: &mut Found,
) {
    let (at, how) = cuts[cuts.len() - 1];
    let machine = before.after(how, outage(at), Power::cut_at(None));
    let mut ledger = ledger.clone();
    found.lives += 1;
    let survivors: Vec<_> = cuts.iter().map(|cut| cut.1).collect();
    let done = check::any_time(&machine, setup, objects)
        .and_then(|()| live(&machine, setup, &mut ledger, Script::Last, cuts.len() as u64))
        .and_then(|()| check::any_time(&machine, setup, objects))
        .and_then(|()| check::at_the_end(&machine, setup, &ledger, Leave::after(&survivors)));
    if let Err(e) = done {
        let mistake = machine.mistake;
        found.fault(&e, || format!("{e}\n{}", story(setup, mistake, cuts)));
    }
}

#[test]
fn what_was_synced_survives_every_power_cut_on_its_way_to_a_bucket() {
    sweep(&WHOLE, Mistake::None, density(), false).none_wrong("whole objects");
}

#[test]
fn what_was_synced_survives_every_power_cut_with_two_processes_and_uploads_in_parts() {
    sweep(&PARTS, Mistake::None, density(), false).none_wrong("two processes, parts");
}

#[test]
fn what_was_synced_survives_every_power_cut_on_its_way_to_a_directory() {
    sweep(&DIRECTORY, Mistake::None, density(), false).none_wrong("a directory");
}

/// Runs a life with some operations failing: `Err` tells what is not as it should be.
fn faulty(setup: &Setup, fault: Fault, traced: bool) -> (Result<(), String>, Vec<String>) {
    let power = Power::with_fault(fault);
    let machine = born(setup, Mistake::None, if traced { power.traced() } else { power });
    let mut ledger = Ledger::default();
    let done = live(&machine, setup, &mut ledger, Script::Only, 0)
        .and_then(|()| check::any_time(&machine, setup, &BTreeMap::new()))
        .and_then(|()| check::at_the_end(&machine, setup, &ledger, Leave::default()));
    (done, machine.power.trace())
}

#[test]
fn after_any_single_failure_of_the_disk_or_the_far_end_everything_is_stored() {
    let mut found = Found::default();
    for (number, setup) in [WHOLE, PARTS, DIRECTORY].iter().enumerate() {
        let whole = born(setup, Mistake::None, Power::cut_at(None));
        live(&whole, setup, &mut Ledger::default(), Script::Only, 0).unwrap();
        let calls = whole.power.calls();
        let mut faults = Vec::new();
        for first in 0..calls {
            let all = [(Failure::Broken, 1), (Failure::Full, 1), (Failure::AnswerLost, 1), (Failure::Full, 5)];
            let turn = usize::try_from(first).unwrap() + number;
            let some = if full() { &all[..] } else { &all[turn % 4..=turn % 4] };
            faults.extend(some.iter().map(|(how, count)| Fault { first, count: *count, how: *how }));
        }
        for fault in faults {
            found.cuts += 1;
            found.lives += 1;
            if let (Err(e), _) = faulty(setup, fault, false) {
                found.fault(&e, || {
                    let trace = faulty(setup, fault, true).1;
                    let at = trace.iter().position(|line| line.contains("FAILS")).unwrap_or(0);
                    let near = &trace[at.saturating_sub(8)..trace.len().min(at + 25)];
                    format!("{e}\n{setup:?} {fault:?}\n    {}\n", near.join("\n    "))
                });
            }
        }
    }
    println!("faults: {} operations failed, {} lives", found.cuts, found.lives);
    found.none_wrong("single failures");
}

/// Each mistake with the setup in which it matters.
const MISTAKES: &[(Mistake, &Setup)] = &[
    (Mistake::ContentNotSynced("/dir"), &WHOLE),
    (Mistake::ContentNotSynced("/dir/p-"), &WHOLE),
    (Mistake::ContentNotSynced("/dir/.logjam/work/p-"), &WHOLE),
    (Mistake::ContentNotSynced("/dir/.logjam/work/.receipt"), &WHOLE),
    (Mistake::ContentNotSynced("/far"), &DIRECTORY),
    (Mistake::NoNamesSynced, &WHOLE),
    (Mistake::NamesNotSynced("/dir"), &WHOLE),
    (Mistake::NamesNotSynced("/dir/archive"), &WHOLE),
    (Mistake::NamesNotSynced("/dir/archive/.uploaded"), &WHOLE),
    (Mistake::NamesNotSynced("/far/p/2026/11/22"), &DIRECTORY),
    (Mistake::NamesNotSynced("/far/p/2026"), &DIRECTORY),
    (Mistake::CreateOverwrites, &PARTS),
    (Mistake::LinkLost("/dir/archive"), &WHOLE),
    (Mistake::LinkLost("/dir/archive/.uploaded"), &WHOLE),
    (Mistake::LinkLost("/dir/.logjam/seal"), &WHOLE),
    (Mistake::LinkMoves("/dir/archive"), &WHOLE),
    (Mistake::LockAlwaysGranted, &PARTS),
    (Mistake::NotSeen("/dir/archive/.uploaded"), &WHOLE),
    (Mistake::NotRemoved("/dir"), &WHOLE),
    (Mistake::NotRemoved("/dir/.logjam/work"), &WHOLE),
    (Mistake::NotRemoved("/dir/.logjam/upload"), &PARTS),
    (Mistake::StoreOverwrites, &WHOLE),
    (Mistake::StoreForgets, &WHOLE),
    (Mistake::StoreTruncates, &WHOLE),
    (Mistake::StoreSaysSame, &WHOLE),
    (Mistake::LinesNotSynced, &WHOLE),
    (Mistake::KeptBeforeWritten, &WHOLE),
    (Mistake::LineRepeated, &WHOLE),
];

#[test]
fn the_sweep_catches_every_one_of_these_mistakes() {
    let mut missed = Vec::new();
    let coarse = Density { first: 1, second: 120, images: 1000, coins: 10 };
    for (mistake, setup) in MISTAKES {
        let found = sweep(setup, *mistake, coarse, true);
        match found.faults.keys().next() {
            Some(kind) => println!("{mistake:?}: caught after {} lives: {kind}", found.lives),
            None => missed.push(format!("{mistake:?}: missed in {} lives", found.lives)),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
