//! Lives in which every message is confirmed. Each daemon and the guard live on while the program is killed; the program's
//! side does, step by step, what `Dialogue` does, and each step in memory can be the one before which it dies.

use super::life::{HOUR, Life, On, ROUNDS, Script};
use crate::cut::{Mistake, Survivor};
use logjam::archive::Archive;
use logjam::env::fs::File;
use logjam::format::seal::Ended;
use logjam::format::session::{STEP, Step};
use logjam::spool::SyncPolicy;
use logjam::spool::session::Session;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What the lines of the second daemon begin with.
pub const OTHER: &str = "~";
pub const BEGIN: &str = "BEGIN TRANSACTION\n";
pub const COMMIT: &str = "COMMIT TRANSACTION\n";
/// How soon a message that could not be kept is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// Longer than the record of a dead session is kept.
pub const FORGOTTEN: Duration = Duration::from_secs(8 * 24 * 3600);
/// Replies that lie ready in the beginning.
const READY: u64 = 1000;

/// How messages come.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// In transactions.
    pub transactions: bool,
    pub sync: SyncPolicy,
    /// To two processes.
    pub two: bool,
}

/// A message, each time that it counts as one of its own.
#[derive(Clone, Debug)]
pub struct Said {
    pub text: String,
    /// It was confirmed, and nothing happened since that it might not have survived.
    pub must: bool,
    /// Not even a power cut.
    durable: bool,
    /// It was on its way at least once.
    sent: bool,
}

/// What a daemon has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Begin,
    Commit,
    /// A message. True: the hour ends between the moment that it is kept and its reply.
    Line(usize, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Ok,
    Defer,
    Error,
}

/// One of them, with the pipes to its process and what that one's guard holds.
#[derive(Clone, Debug)]
pub struct Daemon {
    said: Vec<Said>,
    /// The order in which they should be stored.
    order: Vec<usize>,
    pub todo: VecDeque<Item>,
    /// The first of `todo` is in the pipe, or was read.
    pub sent: bool,
    pub read: bool,
    pub greeted: bool,
    pub transaction: bool,
    pub batch: Vec<usize>,
    /// The process died in the middle of a transaction while nothing was on its way.
    pub broken: bool,
    pub token: Option<String>,
    buffer: String,
    /// Replies that lie ready.
    left: [u64; 2],
    /// A file has ended, or may have, since the transaction began.
    pub spans: bool,
    /// The record says that a reply may have been read, and it was not sent.
    unknown: bool,
    /// The record says that the transaction is being committed.
    pub commits: bool,
}

/// All of them, and how far the script has come.
#[derive(Clone, Debug)]
pub struct Daemons {
    pub all: [Daemon; 2],
    at: usize,
    /// What went wrong in the dialogue.
    pub fault: Option<String>,
}

impl Default for Daemons {
    fn default() -> Self {
        let daemon = || Daemon {
            said: Vec::new(),
            order: Vec::new(),
            todo: VecDeque::new(),
            sent: false,
            read: false,
            greeted: false,
            transaction: false,
            batch: Vec::new(),
            broken: false,
            token: None,
            buffer: String::new(),
            left: [READY; 2],
            spans: false,
            unknown: false,
            commits: false,
        };
        Self { all: [daemon(), daemon()], at: 0, fault: None }
    }
}

impl Daemons {
    /// Whether a message was read and not answered, as far as anybody knows.
    pub fn waits(&self) -> bool {
        self.all.iter().any(|daemon| daemon.read && !daemon.unknown)
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Begin,
    Commit,
    Line(&'static str),
    /// The hour ends while it is kept.
    Late(&'static str),
    Other(&'static str),
    /// The archive thread and the uploader do what is due.
    Tidy,
    /// The second process does.
    TidyOther,
    Minutes(u64),
    /// SIGUSR1.
    End,
    /// The daemon leaves, and comes back.
    Restart,
}
use Act::{Begin, Commit, End, Late, Line, Minutes, Other, Restart, Tidy, TidyOther};

const SCRIPT: &[Act] = &[
    Begin,
    Line("one\n"),
    Line("same\n"),
    Other("~one\n"),
    Line("same\n"),
    Line("a message that is longer than one write\n"),
    Commit,
    Begin,
    Line("two\nlines\n"),
    Minutes(41),
    Line("same\n"),
    TidyOther,
    Line("same\n"),
    Commit,
    Begin,
    Commit,
    Tidy,
    Begin,
    Line("\n"),
    Other("~same\n"),
    End,
    Line("same\n"),
    Tidy,
    Commit,
    Restart,
    Other("~same\n"),
    Begin,
    Late("late\n"),
    Line("same\n"),
    Commit,
    Begin,
    Line("last but one\n"),
];
/// What comes once no power is cut any more.
const LAST: &[Act] = &[Commit, Begin, Line("same\n"), Line("same\n"), Commit, Tidy, Begin, Line("last\n"), Commit];

struct Speech<'a, 'b> {
    life: Life<'a>,
    talk: Talk,
    daemons: &'b mut Daemons,
    sessions: [Option<Arc<Session>>; 2],
    /// The locks that guards hold.
    locks: Vec<Arc<dyn File>>,
}

/// Runs a life: what is left of the script.
pub fn live(life: Life<'_>, talk: Talk, daemons: &mut Daemons, script: Script) -> On {
    let mut speech = Speech { life, talk, daemons, sessions: [None, None], locks: Vec::new() };
    let done = speech.live(script);
    if let Some(fault) = &speech.daemons.fault {
        std::panic::resume_unwind(Box::new(fault.clone()));
    }
    done
}

impl Speech<'_, '_> {
    fn live(&mut self, script: Script) -> On {
        self.arrive()?;
        self.start(0)?;
        if self.talk.two {
            self.start(1)?;
        }
        for who in 0..2 {
            self.speak(who)?;
        }
        while let Some(act) = SCRIPT.get(self.daemons.at) {
            self.daemons.at += 1;
            self.act(*act)?;
        }
        if matches!(script, Script::Last | Script::Only) {
            for act in LAST {
                self.act(*act)?;
            }
            self.finish()?;
        }
        Some(())
    }

    fn act(&mut self, act: Act) -> On {
        self.daemons.all[0].spans |= matches!(act, Minutes(_) | End | Late(_));
        let transactions = self.talk.transactions;
        match act {
            Begin if transactions => self.say(0, &[Item::Begin]),
            Commit if transactions => self.say(0, &[Item::Commit]),
            Begin | Commit => Some(()),
            Line(text) => self.say_line(0, text, false),
            Late(text) => self.say_line(0, text, true),
            Other(text) if self.talk.two => self.say_line(1, text, false),
            TidyOther if self.talk.two => self.tidy(1),
            Other(_) | TidyOther => Some(()),
            Tidy => self.tidy(0),
            Minutes(minutes) => {
                self.life.pass(Duration::from_secs(60 * minutes));
                Some(())
            }
            End => {
                self.life.writers[0].as_mut()?.end_soon(Ended::Signal);
                self.life.on()
            }
            Restart => {
                self.leave(0)?;
                self.start(0)
            }
        }
    }

    fn tidy(&mut self, who: usize) -> On {
        if let Some(spool) = &mut self.life.writers[who] {
            spool.tick();
        }
        let token = self.daemons.all[who].token.clone();
        self.life.tidy_as(token.as_deref()).map(|_| ())
    }

    /// A step in memory: `None` if it is not reached.
    fn memory(&self, what: &'static str) -> On {
        self.life.machine.fs.memory(what).then_some(())
    }

    fn fault(&mut self, what: String) -> On {
        self.daemons.fault.get_or_insert(what);
        None
    }

    fn mistake(&self, mistake: Mistake) -> bool {
        self.life.machine.mistake == mistake
    }
}

/// What the death of the life before means to the daemons.
impl Speech<'_, '_> {
    fn arrive(&mut self) -> On {
        let Some(how) = self.life.machine.came else { return Some(()) };
        let transactions = self.talk.transactions;
        for who in 0..2 {
            let daemon = &mut self.daemons.all[who];
            let layout = &self.life.archive.layout;
            if how.is_midway()
                && let Some(token) = &daemon.token
                && let Some(words) = self.life.machine.fs.words(&layout.session(token))
            {
                daemon.died_midway(words[STEP]);
            }
            if how.is_guarded() {
                if let Some(token) = &daemon.token
                    && self.life.machine.mistake != Mistake::LockNotLeft
                    && let Ok(file) = self.life.archive.env.fs.open_read(&layout.session(token))
                    && matches!(file.try_lock(), Ok(true))
                {
                    self.locks.push(file);
                }
                continue;
            }
            daemon.meets(how, transactions);
        }
        Some(())
    }
}

impl Daemon {
    /// What was said, in the order in which it should be stored.
    pub fn said(&self) -> Vec<Said> {
        self.order.iter().map(|said| self.said[*said].clone()).collect()
    }

    pub fn new_line(&mut self, text: &str) -> usize {
        self.order.push(self.said.len());
        self.said.push(Said { text: text.into(), must: false, durable: false, sent: false });
        self.said.len() - 1
    }

    /// The same messages, as ones of their own, which come after all that was sent.
    fn again(&mut self, these: &[usize]) -> Vec<usize> {
        let last = self.order.iter().rposition(|said| self.said[*said].sent).map_or(0, |at| at + 1);
        let first = self.said.len();
        for said in these {
            let text = self.said[*said].text.clone();
            self.said.push(Said { text, must: false, durable: false, sent: false });
        }
        let new: Vec<usize> = (first..self.said.len()).collect();
        self.order.splice(last..last, new.iter().copied());
        new
    }

    /// It writes what comes first: the text.
    pub fn sends(&mut self) -> Option<String> {
        let item = self.todo.front().copied()?;
        self.sent = true;
        if let Item::Line(said, _) = item {
            self.said[said].sent = true;
        }
        Some(self.text(item).to_owned())
    }

    /// Its process died in the middle of a note: whether that counts, the step tells, which is noted last.
    fn died_midway(&mut self, step: u64) {
        self.unknown &= [Step::Ok, Step::Defer].iter().any(|said| *said as u64 == step);
        self.commits &= step == Step::Commit as u64;
    }

    /// It finds that its process and the guard are dead.
    pub fn meets(&mut self, how: Survivor, transactions: bool) {
        self.token = None;
        self.buffer.clear();
        self.greeted = false;
        if how.is_kill() {
            self.killed(transactions);
        } else {
            self.lost_power(transactions);
        }
        // While nothing is on its way, it notices with the next message.
        self.broken = self.transaction && self.todo.is_empty();
        self.transaction = false;
        (self.sent, self.read, self.unknown, self.commits) = (false, false, false, false);
        if !self.broken {
            self.batch.clear();
        }
    }

    /// It has more to send.
    pub fn adds(&mut self, items: &[Item]) {
        let mut items = VecDeque::from(items.to_vec());
        if std::mem::take(&mut self.broken) {
            let batch = std::mem::take(&mut self.batch);
            match items[0] {
                Item::Begin => {}
                Item::Line(..) => items.push_front(Item::Begin),
                // It could not be sent: all of it comes again.
                Item::Commit => {
                    items.clear();
                    for said in self.again(&batch) {
                        items.extend([Item::Begin, Item::Line(said, false), Item::Commit]);
                    }
                }
            }
        }
        self.todo.extend(items);
    }

    /// As omprog does it: only what is on its way comes again, and with a COMMIT everything, each in a transaction of its own.
    fn killed(&mut self, transactions: bool) {
        let known = !self.unknown;
        match self.todo.front().copied() {
            Some(Item::Line(said, late)) if self.sent && !known => {
                self.todo[0] = Item::Line(self.again(&[said])[0], late);
            }
            Some(Item::Commit) if self.transaction => {
                let known = known && self.commits;
                self.todo.pop_front();
                let mut batch = std::mem::take(&mut self.batch);
                if !known {
                    batch = self.again(&batch);
                }
                self.alone(&batch);
                self.transaction = false;
                return;
            }
            _ => {}
        }
        if self.transaction && transactions && matches!(self.todo.front(), Some(Item::Line(..))) {
            self.todo.push_front(Item::Begin);
        }
    }

    /// Messages in transactions of their own, before all others.
    fn alone(&mut self, batch: &[usize]) {
        for said in batch.iter().rev() {
            for item in [Item::Commit, Item::Line(*said, false), Item::Begin] {
                self.todo.push_front(item);
            }
        }
    }

    /// Its queue is on the disk: what was not confirmed to the end comes again.
    fn lost_power(&mut self, transactions: bool) {
        for said in &mut self.said {
            said.must &= said.durable;
        }
        if self.transaction && transactions {
            for said in std::mem::take(&mut self.batch).into_iter().rev() {
                self.todo.push_front(Item::Line(said, false));
            }
            self.todo.push_front(Item::Begin);
        }
        let sent = |item: &Item, all: &[Said]| match item {
            Item::Line(said, _) if all[*said].sent => Some(*said),
            _ => None,
        };
        let old: Vec<usize> = self.todo.iter().filter_map(|item| sent(item, &self.said)).collect();
        let mut new = self.again(&old).into_iter();
        for item in &mut self.todo {
            if let Item::Line(said, late) = *item
                && old.contains(&said)
            {
                *item = Item::Line(new.next().unwrap_or(said), late);
            }
        }
    }

    pub fn text(&self, item: Item) -> &str {
        match item {
            Item::Begin => BEGIN,
            Item::Commit => COMMIT,
            Item::Line(said, _) => &self.said[said].text,
        }
    }

    /// It reads a reply.
    pub fn hears(&mut self, reply: Reply, sync: SyncPolicy) -> Result<(), String> {
        if !self.greeted {
            self.greeted = true;
            return if reply == Reply::Ok { Ok(()) } else { Err(format!("no greeting: {reply:?}")) };
        }
        let item = self.todo.front().copied().filter(|_| self.sent);
        let item = item.ok_or_else(|| format!("a reply that nobody waits for: {reply:?}"))?;
        match (item, reply) {
            (Item::Begin, Reply::Ok) => {
                self.transaction = true;
                self.spans = false;
                self.batch.clear();
            }
            (Item::Line(said, _), Reply::Defer) if self.transaction => {
                self.sure(said, sync == SyncPolicy::Message);
                self.batch.push(said);
            }
            (Item::Line(said, _), Reply::Ok) if !self.transaction => self.sure(said, sync != SyncPolicy::Never),
            (Item::Commit, Reply::Ok) => {
                for said in std::mem::take(&mut self.batch) {
                    self.sure(said, sync != SyncPolicy::Never);
                }
                self.transaction = false;
            }
            (Item::Commit, Reply::Error) => {
                self.transaction = false;
                self.todo.pop_front();
                let mut batch = std::mem::take(&mut self.batch);
                batch.iter().for_each(|said| self.said[*said].must = false);
                if self.spans {
                    // What is in the file that has ended stays there, and comes again.
                    batch = self.again(&batch);
                }
                self.alone(&batch);
                self.todo.push_front(Item::Commit);
            }
            _ => return Err(format!("a wrong reply: {reply:?} to {item:?}")),
        }
        self.todo.pop_front();
        (self.sent, self.read, self.unknown, self.commits) = (false, false, false, false);
        Ok(())
    }

    fn sure(&mut self, said: usize, durable: bool) {
        let said = &mut self.said[said];
        said.must = true;
        said.durable |= durable;
    }
}

/// Our side.
impl Speech<'_, '_> {
    fn start(&mut self, who: usize) -> On {
        let token = self.daemons.all[who].token.clone();
        let mut taken_over = None;
        let mut began = None;
        let guarded = self.life.machine.came.is_some_and(Survivor::is_guarded);
        self.life.start_with(who, |archive| {
            let (env, layout) = (&archive.env, &archive.layout);
            if let Some(token) = token.filter(|_| guarded) {
                taken_over = Session::open(env, layout, &token).ok().flatten().map(Arc::new);
            }
            if taken_over.is_none() {
                began = begin(archive);
            }
            taken_over.clone().or(began.clone())
        })?;
        self.sessions[who] = taken_over.clone().or(began);
        let session = Arc::clone(self.sessions[who].as_ref()?);
        if taken_over.is_some() {
            return self.take_over(who);
        }
        self.memory("left with the guard")?;
        let daemon = &mut self.daemons.all[who];
        daemon.token = Some(session.token().to_owned());
        daemon.buffer.clear();
        self.reply(who, Reply::Ok, false, 0)
    }

    /// As `Dialogue::take_over`.
    fn take_over(&mut self, who: usize) -> On {
        let session = Arc::clone(self.sessions[who].as_ref()?);
        match session.step() {
            Step::Read => {
                let daemon = &self.daemons.all[who];
                if daemon.buffer.is_empty() { Some(()) } else { self.message(who) }
            }
            Step::Append | Step::Kept | Step::Again | Step::Commit => self.message(who),
            Step::Refused if self.daemons.all[who].buffer == COMMIT => self.refuse(who),
            Step::Refused => {
                session.next_at(0);
                self.message(who)
            }
            Step::Ok if session.ready() == 0 => self.reply(who, Reply::Ok, false, 0),
            step @ (Step::Ok | Step::Defer) => {
                let reply = if step == Step::Ok { Reply::Ok } else { Reply::Defer };
                let left = self.daemons.all[who].left[usize::from(reply == Reply::Defer)];
                let sent = left < session.ready() || self.mistake(Mistake::ReplyForgotten);
                if !sent || self.mistake(Mistake::ReplyRepeated) {
                    self.send(who, reply)?;
                }
                self.replied(who)
            }
        }
    }

    fn say_line(&mut self, who: usize, text: &str, late: bool) -> On {
        let daemon = &mut self.daemons.all[who];
        let said = daemon.new_line(text);
        if who == 1 && self.talk.transactions {
            return self.say(1, &[Item::Begin, Item::Line(said, late), Item::Commit]);
        }
        self.say(who, &[Item::Line(said, late)])
    }

    fn say(&mut self, who: usize, items: &[Item]) -> On {
        self.daemons.all[who].adds(items);
        self.speak(who)
    }

    /// Until everything is said and answered.
    fn speak(&mut self, who: usize) -> On {
        while let Some(item) = self.daemons.all[who].todo.front().copied() {
            if !self.daemons.all[who].sent {
                self.memory("the daemon writes")?;
                self.daemons.all[who].sends();
            }
            if self.daemons.all[who].read {
                return self.fault(format!("the daemon waits for ever: {item:?}"));
            }
            self.memory("read")?;
            let daemon = &mut self.daemons.all[who];
            daemon.read = true;
            daemon.buffer = daemon.text(item).to_owned();
            self.memory("how much was read")?;
            self.sessions[who].as_ref()?.set_have(self.daemons.all[who].buffer.len());
            self.message(who)?;
        }
        Some(())
    }

    /// As `Dialogue::message`.
    fn message(&mut self, who: usize) -> On {
        let text = self.daemons.all[who].buffer.clone();
        match text.as_str() {
            BEGIN => self.reply(who, Reply::Ok, true, 0),
            COMMIT => self.commit(who),
            _ => self.keep(who, &text),
        }
    }

    fn keep(&mut self, who: usize, text: &str) -> On {
        let session = Arc::clone(self.sessions[who].as_ref()?);
        if self.mistake(Mistake::OkBeforeKept) {
            self.answer(who, &session)?;
        }
        let said = &self.daemons.all[who].said;
        let equal = said.len() > 1 && said[said.len() - 2].text == text;
        if !(self.mistake(Mistake::EqualDropped) && equal) {
            self.kept(who, text)?;
        }
        if let Some(Item::Line(_, late @ true)) = self.daemons.all[who].todo.front_mut() {
            // The thread that watches is as quick as that.
            *late = false;
            self.life.pass(HOUR);
            self.tidy(who)?;
        }
        if self.mistake(Mistake::OkBeforeKept) {
            return Some(());
        }
        if !session.in_transaction() {
            while self.life.writers[who].as_mut()?.commit().is_err() {
                self.life.on()?;
                session.next_at(0);
                self.kept(who, text)?;
            }
            self.life.on()?;
        }
        self.answer(who, &session)
    }

    fn answer(&mut self, who: usize, session: &Session) -> On {
        match session.in_transaction() {
            true => self.reply(who, Reply::Defer, true, session.count() + 1),
            false => self.reply(who, Reply::Ok, false, 0),
        }
    }

    fn kept(&mut self, who: usize, text: &str) -> On {
        loop {
            let kept = self.life.writers[who].as_mut()?.keep(text.as_bytes());
            self.life.on()?;
            if kept.is_ok() {
                return Some(());
            }
            self.life.archive.env.clock.nap(RETRY);
        }
    }

    fn commit(&mut self, who: usize) -> On {
        let session = Arc::clone(self.sessions[who].as_ref()?);
        self.memory("commits")?;
        session.commits();
        self.daemons.all[who].commits = true;
        if self.mistake(Mistake::OkBeforeCommit) {
            return self.reply(who, Reply::Ok, false, 0);
        }
        let done = self.life.writers[who].as_mut()?.commit();
        self.life.on()?;
        if done.is_ok() {
            return self.reply(who, Reply::Ok, false, 0);
        }
        self.refuse(who)
    }

    /// As `Dialogue::refused`.
    fn refuse(&mut self, who: usize) -> On {
        self.send(who, Reply::Error)?;
        self.clear(who)?;
        self.memory("fails")?;
        self.sessions[who].as_ref()?.fails();
        Some(())
    }

    /// As `Dialogue::reply`.
    fn reply(&mut self, who: usize, reply: Reply, open: bool, count: u64) -> On {
        self.memory("about to reply")?;
        let step = if reply == Reply::Ok { Step::Ok } else { Step::Defer };
        let ready = self.daemons.all[who].left[usize::from(reply == Reply::Defer)];
        let session = Arc::clone(self.sessions[who].as_ref()?);
        session.replies(ready, open, count);
        self.memory("confirms")?;
        session.confirms(step);
        self.daemons.all[who].unknown = true;
        self.send(who, reply)?;
        self.replied(who)
    }

    /// The reply itself: from here on the daemon knows.
    fn send(&mut self, who: usize, reply: Reply) -> On {
        self.memory("THE REPLY")?;
        let daemon = &mut self.daemons.all[who];
        if reply != Reply::Error {
            daemon.left[usize::from(reply == Reply::Defer)] -= 1;
        }
        match daemon.hears(reply, self.talk.sync) {
            Ok(()) => Some(()),
            Err(what) => self.fault(what),
        }
    }

    fn replied(&mut self, who: usize) -> On {
        self.clear(who)?;
        self.memory("replied")?;
        self.sessions[who].as_ref()?.replied();
        Some(())
    }

    fn clear(&mut self, who: usize) -> On {
        self.memory("the buffer is cleared")?;
        self.daemons.all[who].buffer.clear();
        self.memory("nothing is read")?;
        self.sessions[who].as_ref()?.set_have(0);
        Some(())
    }

    /// The daemon has left: its process ends in order.
    fn leave(&mut self, who: usize) -> On {
        let daemon = &mut self.daemons.all[who];
        daemon.token = None;
        daemon.greeted = false;
        if std::mem::take(&mut daemon.transaction) {
            daemon.batch.clear();
        }
        if let Some(mut spool) = self.life.writers[who].take() {
            spool.give_up();
            // A failure ends the process all the same.
            let _ = spool.park(true);
            self.life.unfollow(who);
            self.life.on()?;
        }
        if let Some(session) = self.sessions[who].take()
            && session.step() == Step::Read
        {
            let _ = session.end(&self.life.archive.env, &self.life.archive.layout);
        }
        self.life.on()
    }

    fn finish(&mut self) -> On {
        for who in 0..2 {
            self.leave(who)?;
        }
        self.locks.clear();
        self.life.finish()?;
        self.life.pass(FORGOTTEN);
        self.life.finish()
    }
}

fn begin(archive: &Archive) -> Option<Arc<Session>> {
    // Whoever runs the program starts it again when it fails.
    (0..ROUNDS).find_map(|_| Session::begin(&archive.env, &archive.layout).ok()).map(Arc::new)
}
