//! What an operator asks for beside the work itself.

pub mod check;
pub mod ddl;
pub mod metrics;
pub mod policy;
pub mod state;
pub mod status;
