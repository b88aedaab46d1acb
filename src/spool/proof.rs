//! Proofs that a message is kept. Only the spool makes them; whoever sends a reply has to show one.

/// The message has left this process: it is in its file, by write(2), or was there already.
#[derive(Debug)]
#[must_use = "the daemon waits for a reply"]
pub struct Kept(pub(super) ());

/// What was kept since the last commit is on the disk as far as `--sync` asks for it: content and name.
#[derive(Debug)]
#[must_use = "the daemon waits for a reply"]
pub struct Synced(pub(super) ());
