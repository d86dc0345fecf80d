//! The one place where tests and benches start programs.
//!
//! `tests/tools.tsv` lists them. `tests/run` installs what the list names, and runs the tests
//! where the system's program directories hold nothing else.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::path::Path;
use std::process::Command;

/// The list; its head says what the columns are.
pub(crate) const LIST: &str = include_str!("../tools.tsv");

/// Where tests look for programs. `/usr/local/sbin` is left out: that is where tests put programs
/// that only `palisade` is to find.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin";

/// Returns a command that runs a program of the list, or, by its path, one that was built here.
///
/// Panics if it is neither. The child looks in [`PATH`] for other programs.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let name = program.to_str().expect("names of programs are text");
    let is_built_here = program.is_absolute() && !is_in_system(program);
    assert!(
        is_built_here || is_listed(name),
        "`{name}` is not in tests/tools.tsv, so `tests/run` does not install it"
    );

    let mut command = Command::new(program);
    command.env("PATH", PATH);
    command
}

/// Returns whether the list has a program of this name.
pub(crate) fn is_listed(name: &str) -> bool {
    LIST.lines()
        .any(|line| line.split('\t').next() == Some(name))
}

/// Returns whether a path is in one of the system's program directories.
fn is_in_system(path: &Path) -> bool {
    ["/usr", "/bin", "/sbin"]
        .iter()
        .any(|directory| path.starts_with(directory))
}
