//! The `logjam` program.

fn main() -> std::process::ExitCode {
    logjam::cli::main()
}
