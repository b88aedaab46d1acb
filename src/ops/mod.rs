//! What an operator asks for beside the work itself.

pub mod ddl;
pub mod policy;
