//! The connections of this process that others hold.

use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// Lets the system close each TCP connection of this process on which the other side takes nothing of what waits to be sent for
/// `limit`, from now on (`TCP_USER_TIMEOUT`, tcp(7); also behind a window that stays shut). The HTTP client closes no connection
/// before it has sent what it holds, so those of requests that were given up would pile up.
pub fn limit_silence(limit: Duration) {
    let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1);
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        // SAFETY: only for one system call. If another thread has closed it meanwhile, that fails, or meets another connection
        // of this process, and is as good for that one.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // What is no TCP socket does not know the option.
        _ = setsockopt(&fd, TcpUserTimeout, &limit);
    }
}
