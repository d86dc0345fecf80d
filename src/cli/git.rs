//! Manifests of a revision of the repository around the working directory, by the `git` program.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cli::build_roots::{self, ManifestBuilder};
use crate::cli::input;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::runner::programs;
use crate::source::SourceFiles;

/// What a path in a revision begins with.
const PREFIX: &str = "git:";

/// A path in a revision: `git:REV:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitRevision {
    revision: String,
    path: String,
}

/// An object of a repository that is to be read: what git calls it, and its path.
struct GitObjectRequest {
    object: String,
    path: String,
}

impl GitRevision {
    /// What a path means, where it is in a revision.
    pub(super) fn parse(path: &Path) -> Option<Result<Self, Diagnostic>> {
        let text = path.to_str()?.strip_prefix(PREFIX)?;
        let Some((revision, path)) = text.split_once(':') else {
            let message = format!("`{PREFIX}{text}` names no path in a revision");
            return Some(Err(
                Diagnostic::new(Code::UnknownRevision, message).help("write `git:REVISION:PATH`")
            ));
        };
        if revision.is_empty() || revision.starts_with('-') {
            return Some(Err(unknown(revision)));
        }

        Some(Ok(Self {
            revision: revision.to_owned(),
            path: plain(path),
        }))
    }

    /// Reads a file, or all manifests of a directory but hidden ones; and paths of the file system
    /// beside it.
    pub(super) fn read(&self, beside: &[PathBuf], diagnostics: &mut Diagnostics) -> SourceFiles {
        let mut files = input::read(beside, diagnostics);
        if let Err(diagnostic) = self.add_to(&mut files, diagnostics) {
            diagnostics.push(diagnostic);
        }
        files
    }

    fn add_to(
        &self,
        files: &mut SourceFiles,
        diagnostics: &mut Diagnostics,
    ) -> Result<(), Diagnostic> {
        if !git(["rev-parse", "--git-dir"])?.is_done {
            let message = "the working directory is in no git repository".to_owned();
            return Err(Diagnostic::new(Code::NotARepository, message)
                .help("run `palisade` in the repository that has the revision"));
        }

        let commit = git([
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &format!("{}^{{commit}}", self.revision),
        ])?;
        let commit = commit.line().ok_or_else(|| unknown(&self.revision))?;
        let wanted = self.wanted(&commit, diagnostics)?;
        let mut reader = GitObjectReader::start().map_err(|error| not_started(&error))?;

        for GitObjectRequest { object, path } in wanted {
            let name = format!("{PREFIX}{}:{path}", self.revision);
            let bytes = reader.read(&object);
            let is_in_directory = path != self.path;
            if !(is_in_directory && input::is_bundle_index(Path::new(&path), &bytes)) {
                input::add(files, &name, bytes, diagnostics);
            }
        }

        Ok(())
    }

    /// The objects to read, in the order of their paths.
    fn wanted(
        &self,
        commit: &str,
        diagnostics: &mut Diagnostics,
    ) -> Result<Vec<GitObjectRequest>, Diagnostic> {
        let object = format!("{commit}:{}", self.path);
        let kind = git(["cat-file", "-t", &object])?.line();
        match kind.as_deref() {
            Some("blob") if let Some(builder) = ManifestBuilder::of_file(Path::new(&self.path)) => {
                let directory = self
                    .path
                    .rsplit_once('/')
                    .map_or("", |(directory, _)| directory);
                return Err(self.refusal(builder, directory));
            }
            Some("blob") => {
                return Ok(vec![GitObjectRequest {
                    object,
                    path: self.path.clone(),
                }]);
            }
            Some("tree") => {}
            Some(_) | None => {
                let message = format!(
                    "there is no `{}` in the revision `{}`",
                    self.path, self.revision
                );
                return Err(Diagnostic::new(Code::NotInRevision, message)
                    .help("the path counts from the root of the repository"));
            }
        }
        let listed = git(["ls-tree", "-r", "-z", "--full-tree", &object])?;
        let is_shown = |below: &str| !below.split('/').any(|part| part.starts_with('.'));
        let entries = listed
            .text
            .split('\0')
            .filter_map(|entry| entry.split_once('\t'));
        let entries: Vec<(&str, &str)> = entries.filter(|(_, below)| is_shown(below)).collect();

        let roots = build_roots::among(entries.iter().map(|(_, below)| *below));
        for (directory, builder) in &roots {
            diagnostics.push(self.refusal(*builder, &self.below(directory)));
        }

        let mut wanted = Vec::new();
        for (about, below) in entries
            .into_iter()
            .filter(|(_, below)| !build_roots::holds(&roots, below))
        {
            let mode = about.split(' ').next().unwrap_or_default();
            let path = self.below(below);
            let is_manifest = input::is_manifest(Path::new(below));
            match mode {
                "100644" | "100755" if !is_manifest => {}
                "100644" | "100755" => {
                    wanted.extend(about.split(' ').nth(2).map(|object| GitObjectRequest {
                        object: object.to_owned(),
                        path,
                    }))
                }
                _ => diagnostics.push(not_followed(&path)),
            }
        }
        if wanted.is_empty() && !diagnostics.has_errors() {
            return Err(input::without_manifest(&format!(
                "{PREFIX}{}:{}",
                self.revision, self.path
            )));
        }
        Ok(wanted)
    }

    /// Returns the path from the repository's root of what lies below the revision's path.
    fn below(&self, below: &str) -> String {
        match (self.path.is_empty(), below.is_empty()) {
            (true, _) => below.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}/{below}", self.path),
        }
    }

    /// Returns the error for a directory that a program builds manifests from.
    fn refusal(&self, builder: ManifestBuilder, directory: &str) -> Diagnostic {
        let name = format!("{PREFIX}{}:{directory}", self.revision);
        builder.refusal_in_revision(&name, directory)
    }
}

/// A path as git has it: without `./`, and slashes at its ends.
fn plain(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

fn unknown(revision: &str) -> Diagnostic {
    let help = "name a branch, a tag or a commit that the repository has; a shallow clone lacks \
                older ones";
    Diagnostic::new(
        Code::UnknownRevision,
        format!("there is no revision `{revision}`"),
    )
    .help(help)
}

/// Links and submodules may stand for policy that would be missing.
fn not_followed(path: &str) -> Diagnostic {
    let message = format!("`{path}` is a link or a submodule, which is not followed in a revision");
    Diagnostic::new(Code::Unreadable, message)
        .help("check the revision out with `git worktree add`, and name that directory")
}

/// What git printed, and whether it found what it was asked for.
struct GitOutput {
    text: String,
    is_done: bool,
}

impl GitOutput {
    /// The first line, where git found what it was asked for.
    fn line(&self) -> Option<String> {
        self.text
            .lines()
            .next()
            .filter(|_| self.is_done)
            .map(str::to_owned)
    }
}

/// The caller's variables that `git` gets: they name the repository and the user's settings, and
/// no program.
const KEPT: [&str; 8] = [
    "HOME",
    "XDG_CONFIG_HOME",
    "GIT_DIR",
    "GIT_COMMON_DIR",
    "GIT_WORK_TREE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CEILING_DIRECTORIES",
];

/// Returns a command that runs `git` and reads only objects that the repository has.
fn command() -> io::Result<Command> {
    let place = programs::find_for_user("git", std::env::var_os("PATH").as_deref());
    let place = place.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;

    let mut command = programs::command(&place);
    command.envs(
        KEPT.iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?))),
    );
    // objects that a partial clone lacks would be fetched by programs that its settings name
    command.env("GIT_NO_LAZY_FETCH", "1");
    Ok(command)
}

fn git<const COUNT: usize>(arguments: [&str; COUNT]) -> Result<GitOutput, Diagnostic> {
    let run = |mut command: Command| {
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
    };

    match command().and_then(run) {
        Ok(output) => Ok(GitOutput {
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            is_done: output.status.success(),
        }),
        Err(error) => Err(not_started(&error)),
    }
}

fn not_started(error: &io::Error) -> Diagnostic {
    Diagnostic::new(Code::NotARepository, format!("cannot run `git`: {error}"))
        .help("install git, or name directories")
}

/// A git process that gives the contents of objects, one after another.
struct GitObjectReader {
    child: Child,
}

impl GitObjectReader {
    fn start() -> io::Result<Self> {
        let mut command = command()?;
        command
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.spawn().map(|child| Self { child })
    }

    /// An object's bytes.
    fn read(&mut self, object: &str) -> io::Result<Vec<u8>> {
        let broken = || io::Error::other("git gives no such object");
        let (Some(stdin), Some(stdout)) = (&mut self.child.stdin, &mut self.child.stdout) else {
            return Err(broken());
        };

        writeln!(stdin, "{object}")?;
        stdin.flush()?;
        let mut header = Vec::new();

        let mut byte = [0];
        while byte != [b'\n'] {
            stdout.read_exact(&mut byte)?;
            header.extend(byte);
        }

        let header = String::from_utf8_lossy(&header);
        let size = header
            .trim_end()
            .rsplit_once(' ')
            .and_then(|(_, size)| size.parse::<usize>().ok())
            .ok_or_else(broken)?;

        let mut bytes = vec![0; size + 1];
        stdout.read_exact(&mut bytes)?;
        bytes.truncate(size);
        Ok(bytes)
    }
}

impl Drop for GitObjectReader {
    fn drop(&mut self) {
        // it ends when its input does
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
