//! Filters of system calls, as systemd puts them around a service: a command under one of them.

use nix::libc::{self, sock_filter, sock_fprog};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where the number of the call stands in `struct seccomp_data` (seccomp(2)).
const NUMBER: u32 = 0;

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
