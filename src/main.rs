//! The `palisade` program: parse the arguments, run the command, return its status.

use std::process::ExitCode;

fn main() -> ExitCode {
    palisade::cli::run().into()
}
