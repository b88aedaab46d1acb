//! What a thread asks of the scheduler.

use nix::libc;

/// How much this thread's work may wait for others': setpriority(2), from -20 to 19.
const NICE: libc::c_int = 10;

/// Lets the host's other work come first, for this thread and those that it starts.
pub fn lower_priority() {
    // SAFETY: takes three numbers and touches no memory of ours. On Linux 0 means the calling thread, not the process
    // (setpriority(2), "C library/kernel differences").
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    if done != 0 {
        tracing::debug!(
            "setpriority: {}; packing has the same priority as everything else",
            std::io::Error::last_os_error()
        );
    }
}
