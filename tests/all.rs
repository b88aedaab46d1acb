//! The tests, one file a promise, in one program: it is linked once, and while some of them wait for a daemon or for the turn of
//! a minute, others work. `cargo test --test all rescue::` runs those of one file. `s3` stands beside it,
//! because it sets the environment of the process that it runs in.

#[path = "support/alone.rs"]
mod alone;
#[path = "support/browser.rs"]
mod browser;
#[path = "support/omprog_cases.rs"]
mod cases;
#[path = "support/cli.rs"]
mod cli;
#[path = "support/cut.rs"]
mod cut;
#[path = "support/daemons.rs"]
mod daemons;
#[path = "support/far.rs"]
mod far;
#[path = "support/filter.rs"]
mod filter;
#[path = "support/growing.rs"]
mod growing;
#[path = "support/omprog.rs"]
mod omprog;
#[path = "support/s3.rs"]
mod server;
#[path = "support/shared.rs"]
mod shared;
#[path = "support/sts.rs"]
mod sts;

mod check;
mod child;
mod compress;
mod confirm;
mod credentials;
mod ddl;
mod directory;
mod faults;
mod grow;
mod guard;
mod hours;
mod loggers;
mod metrics;
mod model;
mod operations;
mod package;
mod packing;
mod pipe;
mod pipe_s3;
mod policy;
mod powercut;
mod read;
mod report;
mod rescue;
mod rights;
mod rsyslog;
mod rsyslog_confirm;
mod scale;
mod settings;
mod sign;
mod status;
mod syslog_ng;
mod tidy;
mod upload;
mod verify;
