//! The disk: what is in the cache, what is durable, and what a power cut makes of the difference.

use super::{Manual, Mistake, Power, Survivor, refused};
use chrono::{DateTime, Utc};
use logjam::env::clock::Clock;
use logjam::env::fs::{Entry, EntryKind, File, FileId, Fs, Space};
use logjam::env::slate::Slate;
use logjam::error::Result;
use logjam::format::session::{BEGUN, BYTES, FILE, STEP, Step};
use nix::libc;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const ROOT: u64 = 1;
/// Of what is mapped, no more than these words are there: nobody here speaks of more lines.
const USED_WORDS: usize = 128;
/// Size of the file system, in bytes.
const SIZE: u64 = 1 << 40;

/// A file system in memory.
pub struct MemFs(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    power: Arc<Power>,
    clock: Arc<Manual>,
    mistake: Mistake,
    memory: Mutex<Memory>,
    /// After so many appends the disk is full.
    room: Mutex<Option<u32>>,
}

/// What the slates held: the program runs on after the cut, and what it then writes to them does not count.
#[derive(Default)]
struct Memory {
    /// When the last change before the cut was counted, if that was one of the disk or the memory.
    before: Option<Slates>,
    /// At the cut.
    cut: Option<Slates>,
}

type Slates = BTreeMap<u64, Vec<u64>>;

#[derive(Clone)]
struct State {
    nodes: BTreeMap<u64, Node>,
    /// The last number that was given to a file, a handle or a change.
    last: u64,
    /// Changes of names that are not durable, in their order.
    pending: Vec<Change>,
    /// How often the power was cut.
    boots: u64,
}

#[derive(Clone)]
struct Change {
    at: u64,
    dir: u64,
    name: String,
    node: u64,
    adds: bool,
}

#[derive(Clone)]
struct Node {
    body: Body,
    modified: DateTime<Utc>,
    lock: Option<u64>,
    writers: usize,
    /// The change that made its newest durable name.
    named: u64,
    /// What is mapped, and how long it is.
    slate: Option<(Slate, usize)>,
}

#[derive(Clone)]
enum Body {
    Dir { names: BTreeMap<String, u64>, durable: BTreeMap<String, u64> },
    File { data: Vec<u8>, durable: Vec<u8>, pending: Vec<Write> },
}

#[derive(Clone)]
enum Write {
    Append(Vec<u8>),
    Truncate(usize),
}

impl Write {
    fn to(&self, data: &mut Vec<u8>) {
        match self {
            Self::Append(bytes) => data.extend_from_slice(bytes),
            Self::Truncate(len) => data.resize(*len, 0),
        }
    }
}

impl Node {
    fn new(body: Body, modified: DateTime<Utc>) -> Self {
        Self { body, modified, lock: None, writers: 0, named: 0, slate: None }
    }

    fn dir(modified: DateTime<Utc>) -> Self {
        Self::new(Body::Dir { names: BTreeMap::new(), durable: BTreeMap::new() }, modified)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn names(&self, dir: u64) -> Option<&BTreeMap<String, u64>> {
        match &self.nodes[&dir].body {
            Body::Dir { names, .. } => Some(names),
            Body::File { .. } => None,
        }
    }

    fn find(&self, path: &Path) -> Option<u64> {
        path.iter().skip(1).try_fold(ROOT, |at, part| self.names(at)?.get(part.to_str()?).copied())
    }

    /// The directory that a path lies in, and its last part.
    fn place(&self, op: &'static str, path: &Path) -> Result<(u64, String)> {
        let dir = path.parent().and_then(|dir| self.find(dir));
        let dir = dir.filter(|dir| self.names(*dir).is_some());
        let name = path.file_name().and_then(|name| name.to_str());
        dir.zip(name.map(str::to_owned)).ok_or_else(|| refused(op, text(path), libc::ENOENT))
    }

    fn change(&mut self, dir: u64, name: String, node: u64, adds: bool) {
        if let Body::Dir { names, .. } = &mut self.nodes.get_mut(&dir).unwrap().body {
            if adds {
                names.insert(name.clone(), node);
            } else {
                names.remove(&name);
            }
        }
        let at = self.number();
        self.pending.push(Change { at, dir, name, node, adds });
    }

    fn sync_dir(&mut self, dir: u64) {
        let (done, rest): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|change| change.dir == dir);
        self.pending = rest;
        for change in done.into_iter().filter(|change| change.adds) {
            self.nodes.get_mut(&change.node).unwrap().named = change.at;
        }
        if let Body::Dir { names, durable } = &mut self.nodes.get_mut(&dir).unwrap().body {
            durable.clone_from(names);
        }
    }

    /// What is in shared memory.
    fn slates(&self) -> Slates {
        let slates = self.nodes.iter().filter_map(|(number, node)| Some((*number, used(&node.slate.as_ref()?.0))));
        slates.collect()
    }

    /// What a start finds after a stop.
    fn after(&self, how: Survivor, memory: &Memory, mistake: Mistake) -> Self {
        let mut state = self.clone();
        let mut random = fastrand::Rng::with_seed(how.seed());
        let early = random.bool();
        for (number, node) in &mut state.nodes {
            node.lock = None;
            node.writers = 0;
            // Of shared memory a power cut leaves nothing; a copy, since other stories go on from here as well.
            node.slate = node.slate.take().map(|(slate, words)| {
                let copy = Slate::memory(words.min(USED_WORDS));
                if how.is_kill() {
                    let nothing = || vec![0; copy.words().len()];
                    let then = |slates: &Slates| slates.get(number).cloned().unwrap_or_else(nothing);
                    let mut now = memory.cut.as_ref().map_or_else(|| used(&slate), then);
                    if let Some(before) = memory.before.as_ref().filter(|_| how.is_midway()) {
                        half_written(&mut now, &then(before), early, &mut random);
                    }
                    if let Mistake::SlateLoses(from, to) = mistake {
                        now[from..to].fill(0);
                    }
                    copy.words().iter().zip(now).for_each(|(to, from)| to.store(from, Ordering::Relaxed));
                }
                (copy, words)
            });
        }
        if !how.is_kill() {
            state.boots += 1;
            let mut coin = Coin::new(how);
            state.settle_names(&mut coin);
            for node in state.nodes.values_mut() {
                node.settle_content(&mut coin);
            }
        }
        let mut reached = BTreeSet::from([ROOT]);
        let mut dirs = vec![ROOT];
        while let Some(dir) = dirs.pop() {
            if let Body::Dir { names, durable } = &state.nodes[&dir].body {
                dirs.extend(names.values().chain(durable.values()).filter(|node| reached.insert(**node)));
            }
        }
        reached.extend(state.pending.iter().flat_map(|change| [change.node, change.dir]));
        state.nodes.retain(|id, _| reached.contains(id));
        state
    }

    fn settle_names(&mut self, coin: &mut Coin) {
        let pending = std::mem::take(&mut self.pending);
        let mut kept: Vec<bool> = pending.iter().map(|_| coin.keeps_name()).collect();
        if !matches!(coin.how, Survivor::Loose(_)) {
            // What `docs/design.md` assumes: an earlier name of a file is not missing while a later one stands.
            for (at, change) in pending.iter().enumerate().filter(|(_, change)| change.adds) {
                let later = pending.iter().zip(&kept).filter(|(c, kept)| **kept && c.adds && c.node == change.node);
                let newest = later.map(|(c, _)| c.at).max().unwrap_or(0).max(self.nodes[&change.node].named);
                kept[at] |= newest > change.at;
            }
        }
        for node in self.nodes.values_mut() {
            if let Body::Dir { names, durable } = &mut node.body {
                names.clone_from(durable);
            }
        }
        for (change, _) in pending.into_iter().zip(kept).filter(|(_, kept)| *kept) {
            if let Body::Dir { names, .. } = &mut self.nodes.get_mut(&change.dir).unwrap().body {
                if change.adds {
                    names.insert(change.name, change.node);
                } else if names.get(&change.name) == Some(&change.node) {
                    names.remove(&change.name);
                }
            }
        }
        for node in self.nodes.values_mut() {
            if let Body::Dir { names, durable } = &mut node.body {
                durable.clone_from(names);
            }
        }
    }
}

impl Node {
    fn settle_content(&mut self, coin: &mut Coin) {
        let Body::File { data, durable, pending } = &mut self.body else { return };
        let writes = std::mem::take(pending);
        if writes.is_empty() {
            return;
        }
        let whole = coin.keeps_writes(writes.len());
        for write in &writes[..whole] {
            write.to(durable);
        }
        if let Some(Write::Append(bytes)) = writes.get(whole) {
            durable.extend_from_slice(&bytes[..coin.keeps_bytes(bytes.len())]);
        }
        if matches!(coin.how, Survivor::Zeros(_)) {
            let sure = data.len() - writes.iter().map(Write::len).sum::<usize>().min(data.len());
            durable.iter_mut().skip(sure).for_each(|byte| *byte = 0);
        }
        data.clone_from(durable);
    }
}

impl Write {
    fn len(&self) -> usize {
        match self {
            Self::Append(bytes) => bytes.len(),
            Self::Truncate(_) => 0,
        }
    }
}

/// Decides what survives.
struct Coin {
    how: Survivor,
    random: fastrand::Rng,
}

impl Coin {
    fn new(how: Survivor) -> Self {
        Self { how, random: fastrand::Rng::with_seed(how.seed()) }
    }

    fn keeps_name(&mut self) -> bool {
        match self.how {
            Survivor::Nothing | Survivor::Content => false,
            Survivor::Coin(_) | Survivor::Loose(_) => self.random.bool(),
            _ => true,
        }
    }

    /// How many of a file's writes survive whole.
    fn keeps_writes(&mut self, writes: usize) -> usize {
        match self.how {
            Survivor::Nothing | Survivor::Names => 0,
            Survivor::Torn(_) | Survivor::Zeros(_) => self.random.usize(..=writes),
            Survivor::Coin(_) | Survivor::Loose(_) => match self.random.u8(..3) {
                0 => 0,
                1 => writes,
                _ => self.random.usize(..=writes),
            },
            _ => writes,
        }
    }

    /// How much of the first write survives that does not survive whole.
    fn keeps_bytes(&mut self, bytes: usize) -> usize {
        match self.how {
            Survivor::Nothing | Survivor::Names => 0,
            _ => self.random.usize(..bytes.max(1)),
        }
    }
}

impl MemFs {
    pub fn new(dirs: &[&str], power: Arc<Power>, clock: Arc<Manual>, mistake: Mistake) -> Arc<Self> {
        let now = clock.now();
        let root = BTreeMap::from([(ROOT, Node::dir(now))]);
        let mut state = State { nodes: root, last: ROOT, pending: Vec::new(), boots: 1 };
        for dir in dirs {
            let (parent, name) = state.place("mkdir", Path::new(dir)).unwrap();
            let node = state.number();
            state.nodes.insert(node, Node::dir(now));
            state.change(parent, name, node, true);
            state.sync_dir(parent);
        }
        Self::of(state, power, clock, mistake)
    }

    fn of(state: State, power: Arc<Power>, clock: Arc<Manual>, mistake: Mistake) -> Arc<Self> {
        let (state, memory, room) = (Mutex::new(state), Mutex::default(), Mutex::default());
        Arc::new(Self(Arc::new(Shared { state, power, clock, mistake, memory, room })))
    }

    /// The disk is full after so many appends, or has room again.
    pub fn set_room(&self, appends: Option<u32>) {
        *self.0.room.lock().unwrap() = appends;
    }

    /// A step in memory, as an operation of its own: false once the power is cut.
    pub fn memory(&self, what: &'static str) -> bool {
        // Memory does not fail.
        let _ = self.0.call(what, "in memory", true);
        !self.0.power.is_cut()
    }

    pub fn after(&self, how: Survivor, power: Arc<Power>, clock: Arc<Manual>) -> Arc<Self> {
        let mistake = self.0.mistake;
        let state = self.0.lock().after(how, &self.0.memory.lock().unwrap(), mistake);
        Self::of(state, power, clock, mistake)
    }

    /// What is mapped of a file; nothing is counted.
    pub fn words(&self, path: &Path) -> Option<Vec<u64>> {
        let state = self.0.lock();
        state.nodes[&state.find(path)?].slate.as_ref().map(|(slate, _)| used(slate))
    }

    /// Every file below a directory with its content, as the cache has it; nothing is counted.
    pub fn files(&self, below: &str) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock();
        let mut found = BTreeMap::new();
        let mut dirs: Vec<(PathBuf, u64)> =
            state.find(Path::new(below)).map(|dir| (below.into(), dir)).into_iter().collect();
        while let Some((path, dir)) = dirs.pop() {
            for (name, node) in state.names(dir).into_iter().flatten() {
                let path = path.join(name);
                match &state.nodes[node].body {
                    Body::Dir { .. } => dirs.push((path, *node)),
                    Body::File { data, .. } => {
                        found.insert(text(&path).to_owned(), data.clone());
                    }
                }
            }
        }
        found
    }
}

/// What is used of a slate.
fn used(slate: &Slate) -> Vec<u64> {
    slate.words().iter().map(|word| word.load(Ordering::Relaxed)).collect()
}

/// A record whose writer was killed since `before`. [`STEP`] and [`BEGUN`] are written last in a record, and nothing is said
/// in another record before that (`early`: it was killed before that, too); of all other words any may be there.
fn half_written(now: &mut [u64], before: &[u64], early: bool, random: &mut fastrand::Rng) {
    let changed: Vec<usize> = (0..now.len()).filter(|at| now[*at] != before[*at]).collect();
    let last = changed.iter().any(|at| matches!(*at, STEP | BEGUN));
    if !early {
        return;
    }
    for at in &changed {
        if matches!(*at, STEP | BEGUN) || (early && !last) || random.bool() {
            now[*at] = before[*at];
        }
    }
    // Before it tells of another file, it tells of none.
    if before[STEP] == Step::Append as u64 && changed.iter().any(|at| (FILE..=BYTES).contains(at)) {
        now[STEP] = Step::Read as u64;
    }
}

impl Shared {
    /// Counts an operation; what was done to memory before it is done by now.
    fn call(&self, op: &'static str, subject: &str, changes: bool) -> Result<()> {
        let done = self.power.disk(op, subject, changes);
        if done.is_err() && self.power.is_cut() && self.memory.lock().unwrap().cut.is_none() {
            let slates = self.lock().slates();
            self.memory.lock().unwrap().cut = Some(slates);
        } else if done.is_ok() && changes && self.power.is_last() {
            let slates = self.lock().slates();
            self.memory.lock().unwrap().before = Some(slates);
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn opened(self: &Arc<Self>, path: &Path, writes: bool) -> Result<Arc<dyn File>> {
        self.call("open", text(path), false)?;
        let mut state = self.lock();
        let node = state.find(path).filter(|node| state.names(*node).is_none());
        let node = node.ok_or_else(|| refused("open", text(path), libc::ENOENT))?;
        Ok(self.handle(&mut state, node, writes, path))
    }

    fn handle(self: &Arc<Self>, state: &mut State, node: u64, writes: bool, path: &Path) -> Arc<dyn File> {
        state.nodes.get_mut(&node).unwrap().writers += usize::from(writes);
        let id = state.number();
        Arc::new(Handle {
            disk: Arc::clone(self),
            node,
            id,
            writes,
            path: text(path).to_owned(),
            halved: AtomicBool::new(false),
        })
    }

    fn entry(state: &State, name: &str, node: u64) -> Entry {
        let found = &state.nodes[&node];
        let (kind, len) = match &found.body {
            Body::Dir { .. } => (EntryKind::Dir, 0),
            Body::File { data, .. } => (EntryKind::File, data.len() as u64),
        };
        Entry { name: name.to_owned(), kind, len, id: (1, node), modified: found.modified }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("names here are text")
}

fn lies_in(path: &Path, dir: &str) -> bool {
    path.parent() == Some(Path::new(dir))
}

impl Fs for MemFs {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.0.call("create", text(path), true)?;
        let mut state = self.0.lock();
        let (dir, name) = state.place("create", path)?;
        let taken = state.names(dir).is_some_and(|names| names.contains_key(&name));
        if taken && self.0.mistake != Mistake::CreateOverwrites {
            return Err(refused("create", text(path), libc::EEXIST));
        }
        let node = state.number();
        let body = Body::File { data: Vec::new(), durable: Vec::new(), pending: Vec::new() };
        state.nodes.insert(node, Node::new(body, self.0.clock.now()));
        state.change(dir, name, node, true);
        Ok(self.0.handle(&mut state, node, true, path))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.0.opened(path, true)
    }

    fn open_read(&self, path: &Path) -> Result<Arc<dyn File>> {
        self.0.opened(path, false)
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        self.0.call("list", text(dir), false)?;
        let state = self.0.lock();
        let names = state.find(dir).and_then(|dir| state.names(dir));
        let names = names.ok_or_else(|| refused("list", text(dir), libc::ENOENT))?;
        Ok(names.iter().map(|(name, node)| Shared::entry(&state, name, *node)).collect())
    }

    fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        self.0.call("stat", text(path), false)?;
        if matches!(self.0.mistake, Mistake::NotSeen(dir) if lies_in(path, dir)) {
            return Ok(None);
        }
        let state = self.0.lock();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(state.find(path).map(|node| Shared::entry(&state, name, node)))
    }

    fn make_dir(&self, path: &Path) -> Result<bool> {
        self.0.call("mkdir", text(path), true)?;
        let mut state = self.0.lock();
        let (dir, name) = state.place("mkdir", path)?;
        if let Some(node) = state.find(path) {
            let is_dir = state.names(node).is_some();
            return if is_dir { Ok(false) } else { Err(refused("mkdir", text(path), libc::ENOTDIR)) };
        }
        let node = state.number();
        state.nodes.insert(node, Node::dir(self.0.clock.now()));
        state.change(dir, name, node, true);
        Ok(true)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.call("link", text(to), true)?;
        if matches!(self.0.mistake, Mistake::LinkLost(dir) if lies_in(to, dir)) {
            return Ok(());
        }
        let mut state = self.0.lock();
        let node = state.find(from).ok_or_else(|| refused("link", text(from), libc::ENOENT))?;
        let (dir, name) = state.place("link", to)?;
        let taken = state.names(dir).is_some_and(|names| names.contains_key(&name));
        if taken && self.0.mistake != Mistake::LinkOverwrites {
            return Err(refused("link", text(to), libc::EEXIST));
        }
        state.change(dir, name, node, true);
        if matches!(self.0.mistake, Mistake::LinkMoves(dir) if lies_in(to, dir)) {
            let (dir, name) = state.place("link", from)?;
            state.change(dir, name, node, false);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.call("rename", text(to), true)?;
        let mut state = self.0.lock();
        let node = state.find(from).ok_or_else(|| refused("rename", text(from), libc::ENOENT))?;
        let (dir, name) = state.place("rename", to)?;
        if let Some(there) = state.find(to) {
            if there == node {
                // Two names of one file: rename(2) does nothing.
                return Ok(());
            }
            if state.names(there).is_some() {
                return Err(refused("rename", text(to), libc::EISDIR));
            }
        }
        let (from_dir, from_name) = state.place("rename", from)?;
        state.change(dir, name, node, true);
        state.change(from_dir, from_name, node, false);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.0.call("remove", text(path), true)?;
        if matches!(self.0.mistake, Mistake::NotRemoved(dir) if lies_in(path, dir)) {
            return Ok(());
        }
        let mut state = self.0.lock();
        let Some(node) = state.find(path) else { return Ok(()) };
        let (dir, name) = state.place("remove", path)?;
        state.change(dir, name, node, false);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.0.call("sync_dir", text(dir), true)?;
        let mut state = self.0.lock();
        let node = state.find(dir).ok_or_else(|| refused("sync_dir", text(dir), libc::ENOENT))?;
        let left_out = match self.0.mistake {
            Mistake::NoNamesSynced => true,
            Mistake::NamesNotSynced(path) => Path::new(path) == dir,
            _ => false,
        };
        if !left_out {
            state.sync_dir(node);
        }
        Ok(())
    }

    fn space(&self, _dir: &Path) -> Result<Space> {
        let state = self.0.lock();
        let used = state.nodes.values().map(|node| match &node.body {
            Body::File { data, .. } => data.len() as u64,
            Body::Dir { .. } => 0,
        });
        Ok(Space { total: SIZE, free: SIZE - used.sum::<u64>() })
    }

    fn boot(&self) -> String {
        format!("boot-{}", self.0.lock().boots)
    }
}

struct Handle {
    disk: Arc<Shared>,
    node: u64,
    id: u64,
    writes: bool,
    path: String,
    /// Whether the last write was taken in part.
    halved: AtomicBool,
}

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        act(self.disk.lock().nodes.get_mut(&self.node).unwrap())
    }

    fn call(&self, op: &'static str, changes: bool) -> Result<()> {
        self.disk.call(op, &self.path, changes)
    }

    fn write(&self, write: Write) -> Result<()> {
        if !self.writes {
            return Err(refused("write", &self.path, libc::EBADF));
        }
        let now = self.disk.clock.now();
        self.with(|node| {
            if let Body::File { data, pending, .. } = &mut node.body {
                write.to(data);
                pending.push(write);
                node.modified = now;
            }
        });
        Ok(())
    }
}

impl File for Handle {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.call("read", false)?;
        self.with(|node| {
            let Body::File { data, .. } = &node.body else { return Ok(0) };
            let from = usize::try_from(offset).unwrap().min(data.len());
            let n = buf.len().min(data.len() - from);
            buf[..n].copy_from_slice(&data[from..from + n]);
            if self.disk.mistake == Mistake::TornTakenForWhole && n == 1 {
                buf[0] = b'\n';
            }
            Ok(n)
        })
    }

    fn append(&self, data: &[u8]) -> Result<usize> {
        self.call("append", true)?;
        if let Some(room) = &mut *self.disk.room.lock().unwrap() {
            *room = room.checked_sub(1).ok_or_else(|| refused("append", &self.path, libc::ENOSPC))?;
        }
        // A long write is taken in two.
        let half = data.len() > 24 && !self.halved.load(Ordering::Relaxed);
        self.halved.store(half, Ordering::Relaxed);
        let n = if half { data.len() / 2 } else { data.len() };
        self.write(Write::Append(data[..n].to_vec()))?;
        Ok(n)
    }

    fn len(&self) -> Result<u64> {
        self.call("len", false)?;
        self.with(|node| match (&node.body, &node.slate) {
            (_, Some((_, words))) => Ok(*words as u64 * 8),
            (Body::File { data, .. }, None) => Ok(data.len() as u64),
            (Body::Dir { .. }, None) => Ok(0),
        })
    }

    fn map(&self, words: usize) -> Result<Slate> {
        self.call("map", true)?;
        Ok(self.with(|node| node.slate.get_or_insert_with(|| (Slate::memory(words.min(USED_WORDS)), words)).0.clone()))
    }

    fn sync(&self) -> Result<()> {
        self.call("sync", true)?;
        if matches!(self.disk.mistake, Mistake::ContentNotSynced(below) if self.path.starts_with(below)) {
            return Ok(());
        }
        self.with(|node| {
            if let Body::File { data, durable, pending } = &mut node.body {
                durable.clone_from(data);
                pending.clear();
            }
        });
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.call("truncate", true)?;
        self.write(Write::Truncate(usize::try_from(len).unwrap()))
    }

    fn try_lock(&self) -> Result<bool> {
        self.call("lock", false)?;
        let always = self.disk.mistake == Mistake::LockAlwaysGranted;
        Ok(self.with(|node| {
            let free = always || node.lock.is_none_or(|holder| holder == self.id);
            if free {
                node.lock = Some(self.id);
            }
            free
        }))
    }

    fn lock(&self) -> Result<()> {
        // One thread: whoever holds it will not give it back meanwhile.
        if self.try_lock()? { Ok(()) } else { Err(refused("lock", &self.path, libc::EWOULDBLOCK)) }
    }

    fn unlock(&self) {
        self.with(|node| {
            if node.lock == Some(self.id) {
                node.lock = None;
            }
        });
    }

    fn id(&self) -> Result<FileId> {
        self.call("stat", false)?;
        Ok((1, self.node))
    }

    fn has_writer(&self) -> Option<bool> {
        Some(self.with(|node| node.writers > 0))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.unlock();
        self.with(|node| node.writers -= usize::from(self.writes));
    }
}
