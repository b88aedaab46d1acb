//! What a process gives up once it has started: new privileges (`no_new_privs`), and every part of the file system that it does
//! not need (Landlock, landlock(7)). And what it never does: leave its memory, with lines and keys in it, as a core dump.
//!
//! A worker confines itself, never the guard, so that the next worker can begin anew.

use super::guard;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The newest version of Landlock whose rights are known here; an older kernel keeps to what it has.
const KNOWN: ABI = ABI::V6;
/// What every process may read: settings of the system, its libraries (name services are loaded when they are asked),
/// certificates, time zones.
const SYSTEM: [&str; 11] =
    ["/etc", "/usr", "/lib", "/lib32", "/lib64", "/opt", "/run", "/proc", "/sys", "/nix/store", "/gnu/store"];
/// Asks which version there is, and makes nothing (`LANDLOCK_CREATE_RULESET_VERSION`, linux/landlock.h).
const VERSION: libc::c_uint = 1;
/// Opened for what nobody is to read.
const NULL: &str = "/dev/null";

/// What a process needs of the file system after its start.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Directories in which it makes, changes and removes files.
    pub dirs: Vec<PathBuf>,
    /// The same, which are made where they are not there: what stands above them counts then.
    pub made: Vec<PathBuf>,
    /// Files and directories that it reads. A file may be replaced: all of its directory can be read.
    pub read: Vec<PathBuf>,
    /// Why nothing can be given up: other programs are started, and what they need is not known.
    pub programs: Option<String>,
}

/// What was given up.
#[derive(Clone, Debug, Default)]
pub struct Confined {
    no_new_privs: bool,
    landlock: bool,
    /// Why not all of it was.
    pub why: Option<String>,
    /// Directories to which it is confined, and which it can read.
    dirs: Vec<PathBuf>,
    made: Vec<PathBuf>,
}

type Failed = Box<dyn std::error::Error>;

static CONFINED: OnceLock<Confined> = OnceLock::new();

/// Sees to it that no core dump of this process and its children is written, and that no other process of its user looks into its memory.
/// To be called first of all.
pub fn keep_secrets() {
    // Neither can fail on Linux; the one holds where dumps are written, the other where a program takes them (core(5)).
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = set_dumpable(false);
}

/// Confines this thread, and those that it starts from now on, to what it needs. A kernel that can't is no reason to stop.
/// To be called once, before the first other thread is started.
pub fn confine(needs: &Needs) -> &'static Confined {
    let confined = match &needs.programs {
        Some(why) => Confined { why: Some(why.clone()), ..Confined::default() },
        None => give_up(needs),
    };
    let confined = CONFINED.get_or_init(|| confined);
    tracing::debug!("gave up: {confined}");
    confined
}

/// What this process gave up; `None` if it was not asked to.
pub fn confined() -> Option<&'static Confined> {
    CONFINED.get()
}

/// Landlock knows directories, not their names. If another one has come into the place of one that this process is confined to (a
/// file system was mounted, the directory made anew), nothing can be done there: the guard is made to start another worker, which
/// begins anew. Without a guard it is said.
pub fn look_after() {
    static SAID: OnceLock<()> = OnceLock::new();
    let Some(dir) = CONFINED.get().and_then(Confined::moved) else { return };
    let what = "it is not the directory that stood there at the start, and this process is confined to that one";
    if guard::lives() {
        tracing::warn!("{}: {what}; another worker takes over", dir.display());
        // As safe as any other moment: whatever a worker leaves behind, the next one goes on with.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    } else if SAID.set(()).is_ok() {
        tracing::error!("{}: {what}; start it anew, or with --no-confine", dir.display());
    }
}

impl Confined {
    /// The first directory that stands and may not be read any more. Of one that is gone, what is above it, if it can be made
    /// there; otherwise it may come back.
    fn moved(&self) -> Option<&Path> {
        let gone = |made: &&PathBuf| !may_read(&nearest(made));
        self.dirs.iter().find(|dir| !may_read(dir)).or_else(|| self.made.iter().find(gone)).map(PathBuf::as_path)
    }
}

/// Whether a directory may be read: false only if it stands, and that is forbidden.
fn may_read(path: &Path) -> bool {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    !opened.is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied && path.exists())
}

impl std::fmt::Display for Confined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let given = [(self.no_new_privs, "no_new_privs"), (self.landlock, "landlock")];
        let given: Vec<_> = given.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
        match given.is_empty() {
            true => write!(f, "nothing")?,
            false => write!(f, "{}", given.join(", "))?,
        }
        match &self.why {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}

fn give_up(needs: &Needs) -> Confined {
    let mut confined = Confined { no_new_privs: set_no_new_privs().is_ok(), ..Confined::default() };
    match survives().and_then(|()| restrict(needs)) {
        Ok(true) => {
            confined.landlock = true;
            confined.dirs = needs.dirs.iter().filter(|dir| may_read(dir)).cloned().collect();
            confined.made = needs.made.iter().filter(|dir| may_read(&nearest(dir))).cloned().collect();
        }
        Ok(false) => confined.why = Some("this kernel has no Landlock".into()),
        Err(e) => confined.why = Some(format!("Landlock: {e}")),
    }
    confined
}

/// The directory at a path or nearest above it: what is to be there may be made later, or made anew.
fn nearest(path: &Path) -> PathBuf {
    let standing = path.ancestors().find(|path| !path.as_os_str().is_empty() && path.is_dir());
    standing.map_or_else(|| PathBuf::from(if path.is_absolute() { "/" } else { "." }), Path::to_owned)
}

/// Whether this process may ask the kernel for Landlock. Where a filter does not know its calls (systemd's `@system-service`, in
/// version 255), whoever makes one is killed, and so would be every other worker: a child is sent ahead.
fn survives() -> Result<(), Failed> {
    let (mut heard, tells) = std::io::pipe()?;
    let tells_fd = tells.as_raw_fd();
    // SAFETY: the child makes system calls on its own memory, and nothing else: that is allowed whatever threads there are.
    let child = match unsafe { fork() }? {
        // SAFETY: as above. The last two fail: there is no such rule set.
        ForkResult::Child => unsafe {
            let asked = libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION);
            let number = if asked < 0 { Errno::last_raw() } else { 0 };
            libc::syscall(libc::SYS_landlock_add_rule, -1, 0, std::ptr::null::<u8>(), 0);
            libc::syscall(libc::SYS_landlock_restrict_self, -1, 0);
            libc::write(tells_fd, (&raw const number).cast(), size_of_val(&number));
            libc::_exit(0)
        },
        ForkResult::Parent { child } => child,
    };
    drop(tells);
    let mut number = [0; size_of::<i32>()];
    let told = heard.read_exact(&mut number);
    // In vain where who started this process lets the kernel bury its children.
    let _ = waitpid(child, None);
    match told.map(|()| Errno::from_raw(i32::from_ne_bytes(number))) {
        Ok(Errno::EPERM | Errno::EACCES) | Err(_) => Err("the system call is forbidden here".into()),
        Ok(_) => Ok(()),
    }
}

/// Whether the kernel does it. The first version of Landlock forbids to link a file into another directory, and all that
/// logjam finishes is linked: with that one it is left alone.
fn restrict(needs: &Needs) -> Result<bool, Failed> {
    let all = AccessFs::from_all(KNOWN) & !BitFlags::from(AccessFs::Execute);
    let refer = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::Refer);
    let Ok(ruleset) = refer else { return Ok(false) };
    let mut rules = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    for dir in needs.dirs.iter().chain(&needs.made) {
        rules = allow(rules, &nearest(dir), all)?;
    }
    for path in SYSTEM.iter().map(Path::new) {
        rules = allow(rules, path, read)?;
    }
    rules = allow(rules, Path::new(NULL), AccessFs::ReadFile | AccessFs::WriteFile)?;
    for path in &needs.read {
        // Also where a link leads to.
        let target = std::fs::canonicalize(path).ok();
        for path in target.iter().chain([path]) {
            rules = allow(rules, &nearest(path), read)?;
        }
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// What is not there needs no rule. What can't be opened for another reason would be out of reach from then on.
fn allow(rules: RulesetCreated, path: &Path, rights: BitFlags<AccessFs>) -> Result<RulesetCreated, Failed> {
    match PathFd::new(path) {
        Ok(fd) => rules.add_rule(PathBeneath::new(fd, rights)).map_err(Failed::from),
        Err(_) if std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) => Ok(rules),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_counts_as_what_stands_above_it() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&root.path().join("a/b")), root.path());
        assert_eq!(nearest(root.path()), root.path());
        std::fs::write(root.path().join("file"), "").unwrap();
        assert_eq!(nearest(&root.path().join("file")), root.path());
        assert_eq!(nearest(Path::new("no-such-directory/a")), Path::new("."));
    }

    #[test]
    fn what_was_given_up_is_said_in_one_line() {
        let none = Confined { why: Some("this kernel has no Landlock".into()), ..Confined::default() };
        assert_eq!(none.to_string(), "nothing (this kernel has no Landlock)");
        let all = Confined { no_new_privs: true, landlock: true, ..Confined::default() };
        assert_eq!(all.to_string(), "no_new_privs, landlock");
        let some = Confined { landlock: false, ..Confined { no_new_privs: true, ..none } };
        assert_eq!(some.to_string(), "no_new_privs (this kernel has no Landlock)");
    }
}
