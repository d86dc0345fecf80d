//! What is to be in force: a bundle, or policies that are compiled here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::agent::Why;
use crate::apply::{self, COMPILED, Wanted};
use crate::bundle::{INDEX_FILE, OnDisk, Provenance, Writer};
use crate::cli::config;
use crate::cli::reconcile::Arguments;
use crate::cli::report::Report;
use crate::cli::{Status, input, node, render};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::options;
use crate::render::Templates;
use crate::resolve;
use crate::runner::{Keep, Processes, Runner};

/// Where what is to be in force comes from.
pub(super) struct Source<'run> {
    arguments: &'run Arguments,
    /// How to compile; none for a bundle.
    compiler: Option<Compiler>,
    /// What the files were like when they were read last.
    seen: Option<Vec<Trace>>,
}

struct Compiler {
    options: options::Options,
    templates: Templates,
    node: String,
}

/// What a file was like: its path, inode, length, and the time of its last change in seconds and nanoseconds.
type Trace = (PathBuf, u64, u64, i64, i64);

/// What reading brought.
pub(super) enum Found {
    /// Nothing has changed.
    Same,
    /// Something else is to be in force, and why that is for this node.
    New(Wanted, String),
    /// What is there is bad; it was told.
    Bad,
}

/// How often files are read that change in the meantime.
const MOST_READS: usize = 3;

impl<'run> Source<'run> {
    pub(super) fn of(arguments: &'run Arguments, config: Option<&Path>, processes: &mut Processes) -> Result<Self, Diagnostic> {
        let compiler = match arguments.bundle {
            Some(_) => None,
            None => {
                let (options, templates) = config::load(&arguments.choices, config)?;
                let host = apply::host_name(processes).unwrap_or_default();
                let node = node::name(arguments.node.as_deref()).or(host).unwrap_or_default();
                Some(Compiler { options, templates, node })
            }
        };
        Ok(Self { arguments, compiler, seen: None })
    }

    /// Reads it, where it may have changed since it was read last: files have another length, time or inode.
    pub(super) fn read(&mut self, why: Why, processes: &mut Processes, report: &mut Report) -> Found {
        let now = traces(&self.arguments.inputs());
        let is_same = self.seen.as_ref() == Some(&now);
        // a change while they are read is seen the next time
        self.seen = Some(now);
        if is_same && matches!(why, Why::Interval | Why::Changed | Why::Retry) {
            return Found::Same;
        }
        let read = match (&self.compiler, &self.arguments.bundle) {
            (None, Some(bundle)) => {
                node::wanted(bundle, (self.arguments.node.as_deref(), self.arguments.staged), processes).map_err(|bad| report.failure(&bad))
            }
            (Some(compiler), _) => self.compile_at_rest(compiler, processes, report),
            (None, None) => Err(()),
        };
        match read {
            Ok((wanted, ground)) => Found::New(wanted, ground),
            Err(()) => Found::Bad,
        }
    }

    /// Compiles files that stay as they are meanwhile: half of a checkout may well compile, and lack the policy that denies.
    fn compile_at_rest(&self, compiler: &Compiler, processes: &mut Processes, report: &mut Report) -> Result<(Wanted, String), ()> {
        let inputs = self.arguments.inputs();
        match at_rest(|| traces(&inputs), || self.compile(compiler, processes, report)) {
            Some(compiled) => compiled,
            None => {
                let help = "let the whole directory be exchanged at once, as git-sync does; it is read again soon";
                report.diagnostic(Diagnostic::new(Code::Unreadable, "the policies change while they are read").help(help));
                Err(())
            }
        }
    }

    /// Compiles this node's part; what is wrong with the input is told.
    fn compile(&self, compiler: &Compiler, processes: &mut Processes, report: &mut Report) -> Result<(Wanted, String), ()> {
        let mut found = Diagnostics::default();
        let files = input::read(&self.arguments.policies, &mut found);
        let input = crate::read(&files, input::staging(self.arguments.staged), &mut found);
        let nodes = render::nodes(std::slice::from_ref(&compiler.node), &input.inventory, &mut found);
        let mut wanted = None;
        if let (Some(node), false) = (nodes.first(), found.has_errors()) {
            let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
            let provenance = Provenance { inputs: input.digest, staged: self.arguments.staged };
            let part = crate::compile(&resolved, *node, &compiler.options, &compiler.templates, &mut found);
            let kept = part.and_then(|part| part.map(|part| keep(&part, provenance, processes)).transpose());
            wanted = kept.unwrap_or_else(|bad| {
                found.push(bad);
                None
            });
        }
        match (report.diagnostics(&found, &files), wanted) {
            (Status::Clean, Some(wanted)) => Ok((wanted, " (compiled here)".to_owned())),
            _ => Err(()),
        }
    }
}

/// What reading brings when there are the same traces before and behind it; none where they differ each time.
fn at_rest<Read>(traces: impl Fn() -> Vec<Trace>, mut read: impl FnMut() -> Read) -> Option<Read> {
    (0..MOST_READS).find_map(|_| {
        let before = traces();
        let brought = read();
        (traces() == before).then_some(brought)
    })
}

/// A compiled part as a bundle of our own, read back.
fn keep(part: &crate::bundle::NodePart, provenance: Provenance, processes: &Processes) -> Result<Wanted, Diagnostic> {
    let place = processes.place(Keep::Always, COMPILED);
    let mut writer = Writer::new(&place, provenance)?;
    writer.add(part)?;
    writer.finish()?;
    Wanted::read(&OnDisk::open(&place)?, &part.node)
}

/// What all files below the paths are like. What cannot be seen has no trace, and so differs when it can.
fn traces(paths: &[PathBuf]) -> Vec<Trace> {
    let mut open: Vec<PathBuf> = paths.to_vec();
    let mut traces = Vec::new();
    while let Some(path) = open.pop() {
        let Ok(meta) = fs::metadata(&path) else { continue };
        match meta.is_dir() {
            // a bundle's index has the digests of all its files
            true if path.join(INDEX_FILE).is_file() => open.push(path.join(INDEX_FILE)),
            true => {
                open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| !is_link_up(path)))
            }
            false => traces.push((path, meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())),
        }
    }
    traces.sort_unstable();
    traces
}

/// A link to a directory may lead back to where it stands; Kubernetes has such links in volumes, each beside what it leads to.
fn is_link_up(path: &Path) -> bool {
    path.is_symlink() && path.is_dir()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;

    use super::{MOST_READS, at_rest};

    /// Files that change during so many readings: which reading counts, if any.
    #[test]
    fn what_changes_while_it_is_read_does_not_count() {
        for (changes, expected) in [(0, Some(1)), (1, Some(2)), (MOST_READS - 1, Some(MOST_READS)), (MOST_READS, None)] {
            let (reads, state) = (Cell::new(0), Cell::new(0));
            let brought = at_rest(
                || vec![(PathBuf::from("policy.yaml"), state.get(), 0, 0, 0)],
                || {
                    reads.set(reads.get() + 1);
                    state.set(state.get() + u64::from(reads.get() <= changes));
                    reads.get()
                },
            );
            assert_eq!(brought, expected, "{changes} changes");
        }
    }
}
