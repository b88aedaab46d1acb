#[path = "support/s3.rs"]
mod server;
