//! Filters of system calls, as systemd puts them around a service: a command under one of them.

use nix::libc::{self, sock_filter, sock_fprog};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What stands where in `struct seccomp_data` (seccomp(2)): the number of the call, and the lower half of each argument.
const NUMBER: u32 = 0;
const fn argument(at: u32) -> u32 {
    16 + 8 * at + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// With `SystemCallFilter=` that does not name Landlock's calls: whoever makes one is killed.
pub fn landlock_kills(command: &mut Command) {
    landlock(command, libc::SECCOMP_RET_KILL_PROCESS);
}

/// The same with `SystemCallErrorNumber=EPERM`.
pub fn landlock_is_refused(command: &mut Command) {
    landlock(command, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned());
}

fn landlock(command: &mut Command, answer: u32) {
    let calls = [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];
    under(command, calls.iter().flat_map(|call| [load(NUMBER), unless(libc::BPF_JEQ, number(*call), 1), end(answer)]));
}

/// With `RestrictSUIDSGID=yes`: no mode with one of these bits is set.
pub fn nobody_sets_setgid(command: &mut Command) {
    #[allow(unused_mut)] // Not everywhere there are these.
    let mut calls = vec![(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (libc::SYS_mkdirat, 2)];
    #[cfg(target_arch = "x86_64")]
    calls.extend([(libc::SYS_chmod, 1), (libc::SYS_mkdir, 1)]);
    let refused = end(libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned());
    under(
        command,
        calls.into_iter().flat_map(|(call, at)| {
            let (call, bits) = (number(call), libc::S_ISUID | libc::S_ISGID);
            [load(NUMBER), unless(libc::BPF_JEQ, call, 3), load(argument(at)), unless(libc::BPF_JSET, bits, 1), refused]
        }),
    );
}

fn under(command: &mut Command, program: impl Iterator<Item = sock_filter>) {
    let mut program: Vec<_> = program.chain([end(libc::SECCOMP_RET_ALLOW)]).collect();
    let install = move || {
        let filter = sock_fprog { len: program.len().try_into().unwrap(), filter: program.as_mut_ptr() };
        // SAFETY: the kernel copies the program. Without no_new_privs it takes CAP_SYS_ADMIN, which a tester has who is root.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: prctl(2) is a system call and nothing else.
    unsafe { command.pre_exec(install) };
}

fn number(call: libc::c_long) -> u32 {
    call.try_into().unwrap()
}

fn load(at: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS).try_into().unwrap(), jt: 0, jf: 0, k: at }
}

/// Skips so many steps, unless what was loaded is as the value says.
fn unless(how: u32, value: u32, skips: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | how | libc::BPF_K).try_into().unwrap(), jt: 0, jf: skips, k: value }
}

fn end(answer: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K).try_into().unwrap(), jt: 0, jf: 0, k: answer }
}
