//! Running the program as a user does.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start programs and read files"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::tools;

/// How long a test waits for what happens at once on a sound machine, however busy: only what hangs
/// takes so long.
pub(crate) const HANG: Duration = Duration::from_mins(10);

/// What a run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run with these arguments in this directory. No variable of the caller's reaches it.
pub(crate) fn run<Word: AsRef<std::ffi::OsStr>>(directory: &Path, words: &[Word]) -> Outcome {
    run_with_input(directory, words, b"")
}

/// The same, with bytes on standard input.
pub(crate) fn run_with_input<Word: AsRef<std::ffi::OsStr>>(
    directory: &Path,
    words: &[Word],
    input: &[u8],
) -> Outcome {
    let mut command = tools::command(env!("CARGO_BIN_EXE_palisade"));
    command.args(words).current_dir(directory).env_clear();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());

    let mut child = command.spawn().expect("palisade starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        // a program that refuses its arguments does not read its input
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("palisade ends")
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("palisade prints UTF-8");

    Outcome {
        status: output.status.code().expect("no signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Every file below a directory with its text, by its path there; nothing when the directory is not
/// there.
pub(crate) fn files_below(directory: &Path) -> BTreeMap<String, String> {
    let mut open: Vec<PathBuf> = vec![directory.to_owned()];
    let mut files = BTreeMap::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path()),
            );
        } else if path.is_file() {
            let name = path
                .strip_prefix(directory)
                .expect("below")
                .display()
                .to_string();
            files.insert(name, fs::read_to_string(&path).expect("a text"));
        }
    }

    files
}

/// The root of the package.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
