//! What is to be in force: a bundle, or policies that are compiled here.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::agent::RoundReason;
use crate::apply::{self, COMPILED, TargetBundle};
use crate::bundle::{BundleOnDisk, BundleWriter, INDEX_FILE, Provenance};
use crate::cli::node::{self, BundleArguments};
use crate::cli::reconcile::Arguments;
use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, config, emptiness, input, nodes};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::options;
use crate::render::TemplateSet;
use crate::resolve;
use crate::runner::{ProcessRunner, Retention};

/// Where what is to be in force comes from.
pub(super) struct DesiredSource<'run> {
    arguments: &'run Arguments,
    /// The extensions that scripts may have.
    extensions: options::ExtensionSet,
    /// How to compile; none for a bundle.
    compiler: Option<PolicyCompiler>,
    /// What the files were like when they were read last, and were good.
    seen: Option<Vec<FileFingerprint>>,
}

struct PolicyCompiler {
    options: options::CompileOptions,
    templates: TemplateSet,
    node: String,
}

/// What a file was like. Times are in seconds and nanoseconds; the one of its last change in any
/// way nobody can set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FileFingerprint {
    path: PathBuf,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What reading brought.
pub(super) enum SourceReading {
    /// Nothing has changed.
    Same,
    /// Something else is to be in force, and why that is for this node.
    New(TargetBundle, String),
    /// What is there is bad; it was told.
    Bad,
}

/// How often files are read that change in the meantime.
const MOST_READS: usize = 3;

impl<'run> DesiredSource<'run> {
    pub(super) fn from_arguments(
        arguments: &'run Arguments,
        config: Option<&Path>,
        processes: &mut ProcessRunner,
    ) -> Result<Self, Diagnostic> {
        let compiler = match arguments.bundle {
            Some(_) => None,
            None => {
                let (options, templates) = config::load(&arguments.choices, config)?;
                let host = apply::host_name(processes).unwrap_or_default();
                let node = node::name(arguments.node.as_deref())
                    .or(host)
                    .unwrap_or_default();
                Some(PolicyCompiler {
                    options,
                    templates,
                    node,
                })
            }
        };
        let extensions = config::extensions(arguments.choices.extensions(), config)?;

        Ok(Self {
            arguments,
            extensions,
            compiler,
            seen: None,
        })
    }

    /// The node that it is for, as far as somebody says it.
    pub(super) fn node(&self) -> Option<String> {
        match &self.compiler {
            Some(compiler) => Some(compiler.node.clone()).filter(|node| !node.is_empty()),
            None => node::name(self.arguments.node.as_deref()),
        }
    }

    /// Reads it, where it may have changed since it was read last: files have another length, time
    /// or inode. What was bad is read again each time: why it was need not be seen in the files.
    pub(super) fn read(
        &mut self,
        why: RoundReason,
        processes: &mut ProcessRunner,
        report: &mut OutputStreams,
    ) -> SourceReading {
        let now = traces(&self.traced());
        let is_same = self.seen.as_ref() == Some(&now);
        if is_same
            && matches!(
                why,
                RoundReason::Interval | RoundReason::Changed | RoundReason::Retry
            )
        {
            return SourceReading::Same;
        }

        let read = match (&self.compiler, &self.arguments.bundle) {
            (None, Some(bundle)) => {
                let asked = BundleArguments {
                    node: self.arguments.node.as_deref(),
                    takes_staged: self.arguments.staged,
                    extensions: &self.extensions,
                };
                let wanted = node::wanted(bundle, &asked, processes);
                // a change while they are read is seen the next time
                wanted
                    .map(|wanted| (now, wanted))
                    .map_err(|bad| report.failure(&bad))
            }
            (Some(compiler), _) => self.compile_at_rest(now, compiler, processes, report),
            (None, None) => Err(()),
        };
        match read {
            Ok((seen, (wanted, ground))) => {
                self.seen = Some(seen);
                SourceReading::New(wanted, ground)
            }
            Err(()) => {
                self.seen = None;
                SourceReading::Bad
            }
        }
    }

    /// What is read, but of a bundle its index only, which has the digests of all its files.
    fn traced(&self) -> Vec<PathBuf> {
        let index = self
            .arguments
            .bundle
            .as_ref()
            .map(|bundle| bundle.join(INDEX_FILE));
        index
            .into_iter()
            .chain(self.arguments.policies.iter().cloned())
            .collect()
    }

    /// Compiles files that stay as they are meanwhile, and gives what they are like: half of a
    /// checkout may well compile, and lack the policy that denies.
    fn compile_at_rest(
        &self,
        now: Vec<FileFingerprint>,
        compiler: &PolicyCompiler,
        processes: &mut ProcessRunner,
        report: &mut OutputStreams,
    ) -> Result<(Vec<FileFingerprint>, (TargetBundle, String)), ()> {
        let traced = self.traced();

        match at_rest(
            now,
            || traces(&traced),
            || self.compile(compiler, processes, report),
        ) {
            Some((seen, compiled)) => compiled.map(|compiled| (seen, compiled)),
            None => {
                let help = "let the whole directory be exchanged at once, as git-sync does; it is \
                            read again soon";
                report.diagnostic(
                    Diagnostic::new(Code::Unreadable, "the policies change while they are read")
                        .help(help),
                );
                Err(())
            }
        }
    }

    /// Compiles this node's part; what is wrong with the input is told.
    fn compile(
        &self,
        compiler: &PolicyCompiler,
        processes: &mut ProcessRunner,
        report: &mut OutputStreams,
    ) -> Result<(TargetBundle, String), ()> {
        let mut found = Diagnostics::default();
        let files = input::read(&self.arguments.policies, &mut found);
        let input = crate::read(&files, input::staging(self.arguments.staged), &mut found);
        let nodes = nodes::nodes(
            std::slice::from_ref(&compiler.node),
            &input.inventory,
            &mut found,
        );

        if !self.arguments.allow_no_endpoints {
            emptiness::refuse(&input, "the bundle", &mut found);
        }

        let mut wanted = None;
        if let (Some(node), false) = (nodes.first(), found.has_errors()) {
            let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
            let provenance = Provenance {
                inputs: input.digest,
                staged: self.arguments.staged,
            };
            let part = crate::compile(
                &resolved,
                *node,
                &compiler.options,
                &compiler.templates,
                &mut found,
            );
            let kept = part.and_then(|part| {
                part.map(|part| keep(&part, provenance, &compiler.options.extensions, processes))
                    .transpose()
            });
            wanted = kept.unwrap_or_else(|bad| {
                found.push(bad);
                None
            });
        }

        match (report.diagnostics(&found, &files), wanted) {
            (ExitStatus::Clean, Some(wanted)) => Ok((wanted, " (compiled here)".to_owned())),
            _ => Err(()),
        }
    }
}

/// What reading brings when the files are alike before and behind it, and what they are like; none
/// where they differ each time. `state` is what they are like at first.
fn at_rest<State: PartialEq, Read>(
    mut state: State,
    look: impl Fn() -> State,
    mut read: impl FnMut() -> Read,
) -> Option<(State, Read)> {
    for _ in 0..MOST_READS {
        let (brought, behind) = (read(), look());
        if behind == state {
            return Some((state, brought));
        }
        state = behind;
    }
    None
}

/// A compiled part as a bundle of our own, read back.
fn keep(
    part: &crate::bundle::NodePart,
    provenance: Provenance,
    extensions: &options::ExtensionSet,
    processes: &ProcessRunner,
) -> Result<TargetBundle, Diagnostic> {
    let place = processes
        .place_for_folder(Retention::Always, COMPILED)
        .map_err(|failure| {
            let help =
                "name another directory with --state-dir, or move that away; nothing was changed";
            Diagnostic::new(Code::Unwritable, failure.to_string()).help(help)
        })?;

    let mut writer = BundleWriter::of_our_own(&place, provenance)?;
    writer.add(part)?;
    // what else came into it was not palisade's, and is kept beside it
    drop(writer.finish()?);
    TargetBundle::read(&BundleOnDisk::open(&place)?, &part.node, extensions)
}

/// What all files below the paths are like, links followed and hidden entries passed over, as they
/// are read. What cannot be seen has no trace, and so differs when it can.
fn traces(paths: &[PathBuf]) -> Vec<FileFingerprint> {
    let mut open: Vec<PathBuf> = paths.to_vec();
    let mut seen = BTreeSet::new();
    let mut traces = Vec::new();

    while let Some(path) = open.pop() {
        let Ok(about) = fs::metadata(&path) else {
            continue;
        };
        match about.is_dir() {
            false => traces.push(FileFingerprint::new(path, &about)),
            // a link may lead back to where it stands
            true if fs::canonicalize(&path).is_ok_and(|real| seen.insert(real)) => {
                open.extend(input::list(&path).unwrap_or_default())
            }
            true => {}
        }
    }

    traces.sort_unstable();
    traces
}

impl FileFingerprint {
    fn new(path: PathBuf, about: &fs::Metadata) -> Self {
        Self {
            path,
            inode: about.ino(),
            length: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs::{self, File, FileTimes};
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::SystemTime;

    use super::{MOST_READS, at_rest, traces};

    /// Writes the file in place, as old as it was, as `tar` and `rsync --times` do.
    fn rewrite(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH))
            .unwrap();
    }

    #[test]
    fn whatever_is_read_leaves_a_trace() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        for directory in ["all/.hidden", "all/sub", "shared"] {
            fs::create_dir_all(at(directory)).unwrap();
        }

        for (link, to) in [
            ("all/shared", at("shared")),
            ("all/sub/up", at("all")),
            ("all/one.yaml", at("one.yaml")),
        ] {
            symlink(to, at(link)).unwrap();
        }

        let look = || traces(&[at("all"), at("all/shared")]);
        for file in ["all/a.yaml", "all/sub/b.yaml", "shared/c.yaml", "one.yaml"] {
            let none = look();
            rewrite(&at(file), "text");
            let before = look();
            assert!(none != before && look() == before, "{file} comes");
            // the clock of a file system has ticks
            let begun = fs::metadata(at(file)).unwrap();
            while changed(&at("tick")) == std::os::unix::fs::MetadataExt::ctime_nsec(&begun) {}
            rewrite(&at(file), "word");
            assert!(
                look() != before,
                "{file} is another one of the same length, time and inode"
            );
        }

        assert_eq!(look().len(), 4, "each once");
        let before = look();
        rewrite(&at("all/.hidden/d.yaml"), "text");
        assert_eq!(look(), before, "what is hidden is not read");
    }

    /// Writes a file; the nanoseconds at which it did.
    fn changed(path: &Path) -> i64 {
        fs::write(path, "tick").unwrap();
        std::os::unix::fs::MetadataExt::ctime_nsec(&fs::metadata(path).unwrap())
    }

    /// Files that change during so many readings: which reading counts, if any.
    #[test]
    fn what_changes_while_it_is_read_does_not_count() {
        for (changes, expected) in [
            (0, Some(1)),
            (1, Some(2)),
            (MOST_READS - 1, Some(MOST_READS)),
            (MOST_READS, None),
        ] {
            let (reads, state) = (Cell::new(0), Cell::new(0));
            let brought = at_rest(
                state.get(),
                || state.get(),
                || {
                    reads.set(reads.get() + 1);
                    state.set(state.get() + u64::from(reads.get() <= changes));
                    reads.get()
                },
            );
            assert_eq!(
                brought,
                expected.map(|read| (state.get(), read)),
                "{changes} changes"
            );
        }
    }
}
