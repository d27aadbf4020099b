//! The binary `lently`: hands over to the command line and returns its exit code.

fn main() -> std::process::ExitCode {
    lently::cli::run()
}
