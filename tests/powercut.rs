//! The power is cut at every operation of a whole life, several times over, and what the disk makes of what was not
//! synced is tried in several ways. However that goes: when the last life is over, every line that was taken and synced
//! is stored once and in order, and nothing was overwritten. Single operations that fail are tried one by one as well.
//!
//! `LOGJAM_SWEEP=full` makes both denser.

pub mod check;
pub mod life;
mod said;
pub mod talk;

use crate::cut::{Failure, Fault, Machine, Mistake, Power, Survivor};
use check::Leave;
use life::{BEGIN, DIR, FOREIGN, Far, Ledger, Script, Setup, live};
use logjam::archive::Codec;
use logjam::format::session::{COUNT, FILE, FROM, HASHES, READY, SEEN, STEP};
use logjam::spool::SyncPolicy;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use talk::Talk;

const WHOLE: Setup = Setup { far: Far::Bucket, codec: Codec::Gzip(1), pipe: true, two: false, taken: true, talk: None };
const PARTS: Setup = Setup { far: Far::Parts, codec: Codec::Zstd(1), pipe: false, two: true, taken: true, talk: None };
const DIRECTORY: Setup =
    Setup { far: Far::Directory, codec: Codec::Gzip(1), pipe: false, two: false, taken: false, talk: None };
const MESSAGES: Setup = talk(false, SyncPolicy::Message, false);
const UNSYNCED: Setup = talk(false, SyncPolicy::Never, false);
const TRANSACTIONS: Setup = talk(true, SyncPolicy::Commit, false);
const TWO: Setup = talk(true, SyncPolicy::Commit, true);

const fn talk(transactions: bool, sync: SyncPolicy, two: bool) -> Setup {
    let talk = Some(Talk { transactions, sync, two });
    Setup { far: Far::Bucket, codec: Codec::Gzip(1), pipe: true, two: false, taken: false, talk }
}

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

/// `first`: every so many operations of the first life are cut.
fn spoken(first: u64) -> Density {
    match full() {
        true => Density { first: 1, second: 20, images: 1, coins: 2 },
        false => Density { first, second: 150, images: 9, coins: 1 },
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
    /// Objects that a rescue has made.
    saved: u64,
    /// Where what comes in turn begins: at each cut somewhere else.
    turn: u64,
    /// What went wrong: the kind, how often, and the first story of it.
    faults: BTreeMap<String, (u64, String)>,
}

impl Found {
    /// To be filled with what is found at one cut of the first life.
    fn at(cut: u64) -> Self {
        // As if by chance, so that each kind of cut is met with each turn.
        Self { turn: cut.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40, ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.images += other.images;
        self.lives += other.lives;
        self.in_vain += other.in_vain;
        self.saved += other.saved;
        for (kind, (count, story)) in other.faults {
            self.faults.entry(kind).or_insert((0, story)).0 += count;
        }
    }

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

fn survivors(setup: &Setup, cut: u64, coins: u64) -> Vec<Survivor> {
    if setup.talk.is_some() {
        let kills = [Survivor::Killed, Survivor::GuardedMidway(cut), Survivor::Guarded, Survivor::Midway(cut)];
        let cuts = [
            Survivor::Everything,
            Survivor::Coin(cut),
            Survivor::Names,
            Survivor::Torn(cut),
            Survivor::Nothing,
            Survivor::Zeros(cut),
            Survivor::Content,
        ];
        if full() {
            let coins = (cut * coins..(cut + 1) * coins).flat_map(|seed| [Survivor::Coin(seed), Survivor::Torn(seed)]);
            return kills.into_iter().chain(cuts).chain(coins).collect();
        }
        // Two of each in turn.
        let turn = usize::try_from(cut).unwrap();
        let cuts = [cuts[turn % cuts.len()], cuts[(turn + 4) % cuts.len()]];
        return kills.into_iter().skip(turn % 2 * 2).take(2).chain(cuts).collect();
    }
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
    let firsts: Vec<u64> = (0..=whole.power.steps()).step_by(usize::try_from(density.first).unwrap()).collect();
    if at_first {
        // Other mistakes are looked for meanwhile.
        for first in scattered(firsts) {
            found.add(cut_at(setup, mistake, density, first, true));
            if !found.faults.is_empty() {
                break;
            }
        }
        return found;
    }
    let all = Mutex::new(found);
    on_all_cores(firsts, |first| {
        let found = cut_at(setup, mistake, density, first, false);
        all.lock().unwrap().add(found);
    });
    all.into_inner().unwrap()
}

/// The same numbers in an order in which neighbours are far from each other: a mistake that does not matter at one cut rarely
/// does at the next.
fn scattered(mut all: Vec<u64>) -> Vec<u64> {
    all.sort_by_key(|n| n.reverse_bits());
    all
}

/// Works everything off, on a thread for each core.
fn on_all_cores<T: Send>(all: Vec<T>, work: impl Fn(T) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(all.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(next) = queue.lock().unwrap().next() else { return };
                    work(next);
                }
            });
        }
    });
}

/// Cuts the power at one operation of the first life, and then all that follows on that.
fn cut_at(setup: &Setup, mistake: Mistake, density: Density, first: u64, at_first: bool) -> Found {
    let mut found = Found::at(first);
    let machine = born(setup, mistake, Power::cut_at(Some(first)));
    let mut ledger = Ledger::default();
    let done = live(&machine, setup, &mut ledger, Script::First, 0);
    found.cuts += 1;
    found.lives += 1;
    found.in_vain += machine.power.after();
    if let Err(e) = done {
        found.fault(&e, || story(setup, mistake, &[(first, Survivor::Everything)]));
    }
    for how in survivors(setup, first, density.coins) {
        second_lives(setup, density, &machine, &ledger, (first, how), &mut found);
        if at_first && !found.faults.is_empty() {
            break;
        }
    }
    found
}

fn second_lives(setup: &Setup, density: Density, first: &Machine, ledger: &Ledger, cut: Cut, found: &mut Found) {
    let before = check::objects(first, setup);
    let mistake = first.mistake;
    found.images += 1;
    last_life(setup, first, ledger, &[cut], &before, found);
    let all = setup.talk.is_none() && cut.1 == Survivor::Killed;
    if !all && !(found.turn + found.images).is_multiple_of(density.images) {
        return;
    }
    // Each of them is cut at other operations.
    let mut second = (cut.0 * 7 + found.turn + found.images) % density.second;
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
        let all = survivors(setup, second, 1);
        // Two of them in turn; a process that was killed stands at its most interesting before a power cut.
        let turn = usize::try_from(found.turn + found.cuts).unwrap() % all.len();
        let mut some = vec![all[turn]];
        if cut.1.is_kill() {
            some.extend([Survivor::Nothing, Survivor::Coin(found.turn + found.cuts)]);
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
fn a_message_confirmed_after_its_sync_is_there_once_after_every_kill_and_power_cut() {
    sweep(&MESSAGES, Mistake::None, spoken(1), false).none_wrong("messages, each synced");
}

#[test]
fn a_confirmed_message_is_there_once_after_every_kill_and_what_a_power_cut_takes_was_not_synced() {
    sweep(&UNSYNCED, Mistake::None, spoken(2), false).none_wrong("messages, not synced");
}

#[test]
fn a_committed_transaction_is_there_once_after_every_kill_and_power_cut() {
    sweep(&TRANSACTIONS, Mistake::None, spoken(1), false).none_wrong("transactions");
}

#[test]
fn committed_transactions_of_two_processes_are_there_once_after_every_kill_and_power_cut() {
    sweep(&TWO, Mistake::None, spoken(3), false).none_wrong("transactions, two processes");
}

#[test]
fn a_second_death_while_messages_come_again_loses_none_and_doubles_none() {
    let mut found = second_deaths(&MESSAGES, Mistake::None, RESEND);
    found.add(second_deaths(&TRANSACTIONS, Mistake::None, RESEND));
    found.none_wrong("second deaths");
}

/// From the first directory on that stands, until what comes again is answered.
const RESEND: Range<u64> = 18..52;
/// Until the second line of it is.
const LONG_RESEND: Range<u64> = 40..130;

fn second_deaths(setup: &Setup, mistake: Mistake, within: Range<u64>) -> Found {
    let found = Mutex::new(Found::default());
    let whole = born(setup, mistake, Power::cut_at(None));
    live(&whole, setup, &mut Ledger::default(), Script::First, 0).unwrap();
    let firsts = (0..whole.power.steps()).step_by(if full() { 1 } else { 7 });
    on_all_cores(firsts.collect(), |first| {
        let machine = born(setup, mistake, Power::cut_at(Some(first)));
        let mut ledger = Ledger::default();
        live(&machine, setup, &mut ledger, Script::First, 0).unwrap();
        if ledger.daemons.waits() {
            let mut here = Found { cuts: 1, ..Found::at(first) };
            deaths_in_the_resend(setup, &machine, &ledger, first, within.clone(), &mut here);
            found.lock().unwrap().add(here);
        }
    });
    found.into_inner().unwrap()
}

fn deaths_in_the_resend(
    setup: &Setup,
    first: &Machine,
    ledger: &Ledger,
    cut: u64,
    within: Range<u64>,
    found: &mut Found,
) {
    let before = check::objects(first, setup);
    for second in within {
        let machine = first.after(Survivor::Killed, outage(cut), Power::cut_at(Some(second)));
        let mut ledger = ledger.clone();
        found.lives += 1;
        if let Err(e) = live(&machine, setup, &mut ledger, Script::Second, 1) {
            found.fault(&e, || story(setup, first.mistake, &[(cut, Survivor::Killed), (second, Survivor::Killed)]));
        }
        let all = [Survivor::Killed, Survivor::Guarded, Survivor::Midway(second), Survivor::GuardedMidway(second)];
        let turn = usize::try_from(second + cut).unwrap() % all.len();
        last_life(setup, &machine, &ledger, &[(cut, Survivor::Killed), (second, all[turn])], &before, found);
    }
}

/// The host goes away at every operation; another one rescues its hours; then it comes back.
#[test]
fn what_a_rescue_and_the_host_that_comes_back_store_is_every_line_once() {
    for (setup, name) in [(&WHOLE, "rescue, whole objects"), (&PARTS, "rescue, parts"), (&MESSAGES, "rescue, messages")]
    {
        let found = Mutex::new(Found::default());
        let whole = born(setup, Mistake::None, Power::cut_at(None));
        live(&whole, setup, &mut Ledger::default(), Script::First, 0).unwrap();
        let step = if full() { 1 } else { 2 };
        on_all_cores((0..whole.power.steps()).step_by(step).collect(), |first| {
            let machine = born(setup, Mistake::None, Power::cut_at(Some(first)));
            let mut ledger = Ledger::default();
            live(&machine, setup, &mut ledger, Script::First, 0).unwrap();
            let mut here = Found { cuts: 1, ..Found::at(first) };
            let all = [Survivor::Killed, Survivor::Nothing, Survivor::Coin(first), Survivor::Torn(first)];
            let turn = usize::try_from(first / step as u64).unwrap();
            let some = if full() { &all[..] } else { &all[turn % 4..=turn % 4] };
            for how in some {
                rescued(setup, &machine, &ledger, (first, *how), &mut here);
                if setup.talk.is_none() {
                    cut_again(setup, &machine, &ledger, (first, *how), &mut here);
                }
            }
            found.lock().unwrap().add(here);
        });
        let found = found.into_inner().unwrap();
        println!("{name}: {} objects rescued", found.saved);
        assert!(found.saved > found.cuts / 4, "{name}: next to nothing to rescue");
        found.none_wrong(name);
    }
}

fn rescued(setup: &Setup, first: &Machine, ledger: &Ledger, cut: Cut, found: &mut Found) {
    let away = first.after(cut.1, outage(cut.0), Power::cut_at(None));
    found.images += 1;
    let mut ledger = ledger.clone();
    let before = check::objects(first, setup);
    let done = life::rescue(&away, setup)
        .and_then(|saved| {
            found.saved += saved;
            check::any_time(&away, setup, &before)
        })
        // Another rescue finds nothing to do.
        .and_then(|()| match life::rescue(&away, setup)? {
            0 => Ok(()),
            more => Err(format!("a second rescue saved something: {more} objects")),
        })
        .and_then(|()| live(&away, setup, &mut ledger, Script::Last, 1))
        .and_then(|()| check::any_time(&away, setup, &check::objects(first, setup)));
    let leave = Leave { rescued: true, ..Leave::after(&[cut.1]) };
    if let Err(e) = done.and_then(|()| check::at_the_end(&away, setup, &ledger, leave)) {
        found.fault(&e, || format!("{e}\n{}", story(setup, Mistake::None, &[cut])));
    }
}

/// The same with a host that comes back, and is killed or cut off once more before it has stored the rest.
fn cut_again(setup: &Setup, first: &Machine, ledger: &Ledger, cut: Cut, found: &mut Found) {
    let comes_back = |power: Arc<Power>, ledger: &mut Ledger| {
        let away = first.after(cut.1, outage(cut.0), Power::cut_at(None));
        life::rescue(&away, setup)?;
        let back = away.after(Survivor::Killed, outage(cut.0), power);
        live(&back, setup, ledger, Script::Second, 1).map(|()| back)
    };
    let steps = match comes_back(Power::cut_at(None), &mut ledger.clone()) {
        Ok(whole) => whole.power.steps(),
        Err(e) => return found.fault(&e, || format!("{e}\n{}", story(setup, Mistake::None, &[cut]))),
    };
    let step = if full() { 1 } else { 47 };
    for at in (found.turn % step..steps).step_by(usize::try_from(step).unwrap()) {
        found.images += 1;
        let how = if at % 2 == 0 { Survivor::Killed } else { Survivor::Coin(at) };
        // What went wrong, and the changes of both lives if `told`.
        let lives = |told: bool| {
            let power = |power: Arc<Power>| if told { power.traced() } else { power };
            let mut ledger = ledger.clone();
            let back = comes_back(power(Power::cut_at(Some(at))), &mut ledger)?;
            let last = back.after(how, outage(at), power(Power::cut_at(None)));
            let leave = Leave { rescued: true, ..Leave::after(&[cut.1, how]) };
            let done = live(&last, setup, &mut ledger, Script::Last, 2)
                .and_then(|()| check::at_the_end(&last, setup, &ledger, leave));
            let ends = |machine: &Machine, most| {
                let all = machine.power.trace();
                all[all.len().saturating_sub(most)..].to_vec()
            };
            done.map_err(|e| {
                let lives: [Vec<String>; 2] = [ends(&back, 40), ends(&last, 200)];
                format!(
                    "{e}\n{cut:?}, rescued, back until {at} {how:?}\n{}\n{}",
                    lives[0].join("\n"),
                    lives[1].join("\n")
                )
            })
        };
        if let Err(e) = lives(false) {
            found.fault(e.split('\n').next().unwrap_or_default(), || lives(true).err().unwrap_or(e.clone()));
        }
    }
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
        .and_then(|()| check::at_the_end(&machine, setup, &ledger, Leave { unordered: true, ..Leave::default() }));
    (done, machine.power.trace())
}

#[test]
fn after_any_single_failure_of_the_disk_or_the_far_end_everything_is_stored() {
    let found = Mutex::new(Found::default());
    for (number, setup) in [WHOLE, PARTS, DIRECTORY, MESSAGES, TRANSACTIONS].iter().enumerate() {
        let whole = born(setup, Mistake::None, Power::cut_at(None));
        live(&whole, setup, &mut Ledger::default(), Script::Only, 0).unwrap();
        let calls = whole.power.calls();
        let mut faults = Vec::new();
        let step = if setup.talk.is_some() && !full() { 2 } else { 1 };
        for first in (0..calls).step_by(step) {
            let all = [(Failure::Broken, 1), (Failure::Full, 1), (Failure::AnswerLost, 1), (Failure::Full, 5)];
            // A sync that fails, and then the cut that takes the message back as well: that one is doubled.
            let all = if setup.talk.is_some() { [all[0], all[1], all[2], all[1]] } else { all };
            let turn = usize::try_from(first).unwrap() + number;
            let some = if full() { &all[..] } else { &all[turn % 4..=turn % 4] };
            faults.extend(some.iter().map(|(how, count)| Fault { first, count: *count, how: *how }));
        }
        on_all_cores(faults, |fault| {
            let done = faulty(setup, fault, false).0;
            let mut found = found.lock().unwrap();
            found.cuts += 1;
            found.lives += 1;
            if let Err(e) = done {
                found.fault(&e, || {
                    let trace = faulty(setup, fault, true).1;
                    let at = trace.iter().position(|line| line.contains("FAILS")).unwrap_or(0);
                    let near = &trace[at.saturating_sub(8)..trace.len().min(at + 60)];
                    format!("{e}\n{setup:?} {fault:?}\n    {}\n", near.join("\n    "))
                });
            }
        });
    }
    let found = found.into_inner().unwrap();
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
    (Mistake::ContentNotSynced("/dir/.logjam/work/.manifest"), &WHOLE),
    (Mistake::NamesNotSynced("/dir/.logjam/manifest"), &WHOLE),
    (Mistake::NamesNotSynced("/dir/.logjam/summary"), &WHOLE),
    (Mistake::NamesNotSynced("/dir/.logjam/chain"), &WHOLE),
    (Mistake::LinkLost("/dir/.logjam/manifest"), &WHOLE),
    (Mistake::NotRemoved("/dir/.logjam/summary"), &WHOLE),
    (Mistake::NotRemoved("/dir/.logjam/manifest"), &WHOLE),
    (Mistake::NotRemoved("/dir/.logjam/pack"), &WHOLE),
    (Mistake::NotSeen("/dir/.logjam/chain"), &WHOLE),
    (Mistake::NamesNotSynced("/dir/.logjam/upload"), &DIRECTORY),
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
    (Mistake::TornTakenForWhole, &WHOLE),
    (Mistake::TornTakenForWhole, &MESSAGES),
    (Mistake::ContentNotSynced("/dir/p-"), &MESSAGES),
    (Mistake::ContentNotSynced("/dir/p-"), &TRANSACTIONS),
    (Mistake::ContentNotSynced("/dir/.logjam/input"), &MESSAGES),
    (Mistake::NamesNotSynced("/dir"), &TRANSACTIONS),
    (Mistake::NamesNotSynced("/dir/.logjam/input"), &MESSAGES),
    // The resend is not recognised.
    (Mistake::SlateLoses(HASHES, HASHES + 64), &MESSAGES),
    (Mistake::SlateLoses(HASHES, HASHES + 64), &TRANSACTIONS),
    // The record is not written before the append.
    (Mistake::SlateLoses(STEP, STEP + 1), &MESSAGES),
    (Mistake::SlateLoses(FROM, FROM + 1), &MESSAGES),
    (Mistake::SlateLoses(FILE, FROM), &MESSAGES),
    (Mistake::SlateLoses(COUNT, COUNT + 1), &TRANSACTIONS),
    (Mistake::SlateLoses(READY, READY + 1), &MESSAGES),
    (Mistake::OkBeforeKept, &MESSAGES),
    (Mistake::OkBeforeKept, &TRANSACTIONS),
    (Mistake::OkBeforeCommit, &TRANSACTIONS),
    (Mistake::ReplyRepeated, &MESSAGES),
    (Mistake::ReplyForgotten, &MESSAGES),
    (Mistake::EqualDropped, &MESSAGES),
    (Mistake::LockNotLeft, &TWO),
    (Mistake::LockAlwaysGranted, &TWO),
];

/// Those that matter only when a second death meets what comes again.
const IN_THE_RESEND: &[(Mistake, &Setup)] = &[(Mistake::SlateLoses(SEEN, SEEN + 1), &TRANSACTIONS)];

/// How often a second cut is made, until the mistake is found.
const FINER: [u64; 4] = [120, 61, 31, 17];

#[test]
fn the_sweep_catches_every_one_of_these_mistakes() {
    // Where there is none it finds none.
    for setup in [&WHOLE, &PARTS, &DIRECTORY] {
        let density = Density { first: 11, second: FINER[0], images: 1000, coins: 6 };
        sweep(setup, Mistake::None, density, false).none_wrong("no mistake");
    }
    let missed = Mutex::new(Vec::new());
    on_all_cores(MISTAKES.to_vec(), |(mistake, setup)| {
        let mut lives = 0;
        let caught = FINER.iter().find_map(|second| {
            let density = Density { first: 1, second: *second, images: 1000, coins: 6 };
            let density = if setup.talk.is_some() { Density { images: 20, ..density } } else { density };
            let found = sweep(setup, mistake, density, true);
            lives += found.lives;
            found.faults.into_keys().next()
        });
        match caught {
            Some(kind) => println!("{mistake:?}: caught after {lives} lives: {kind}"),
            None => missed.lock().unwrap().push(format!("{mistake:?}: missed in {lives} lives")),
        }
    });
    let mut missed = missed.into_inner().unwrap();
    for (mistake, setup) in IN_THE_RESEND {
        match second_deaths(setup, *mistake, LONG_RESEND).faults.into_keys().next() {
            Some(kind) => println!("{mistake:?}: caught by a second death: {kind}"),
            None => missed.push(format!("{mistake:?}: missed in the resend")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
