//! Palisade's files: the applied state, kept until reboot, and the last good bundle, kept beyond
//! it.

use serde::{Deserialize, Serialize};

use crate::apply::file_names::{COMPILED, GOOD, PENDING, WAITING};
use crate::apply::{ApplyError, ApplyTarget, TargetBundle};
use crate::bundle::BundleOnDisk;
use crate::diagnostic::{Code, Diagnostic};
use crate::observe::{IptablesBackend, ToolSettings, backend};
use crate::options::ExtensionSet;
use crate::plan::PrintCache;
use crate::runner::{EntryType, Retention, Runner, RunnerFailure};

const MEMORY: &str = "memory.json";

/// What was written last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AppliedState {
    /// Whether tables other than the filter tables may contain Palisade objects.
    pub(super) early: bool,
    /// How the tools print what was written.
    pub(super) memory: PrintCache,
}

/// The scripts that the kernel was brought to last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenState {
    /// The node's name.
    pub node: String,
    /// SHA-256 of its scripts, in hexadecimal, as in [`TargetBundle::scripts`].
    pub scripts: String,
}

/// Returns what the kernel was brought to last since boot, by either build, whether or not it was
/// kept for the next boot. Returns `None` if that is unknown.
pub fn last_written(runner: &mut dyn Runner) -> Option<WrittenState> {
    last(runner).map(|AppliedState { memory, .. }| WrittenState {
        node: memory.node,
        scripts: memory.scripts,
    })
}

/// Returns the last bundle that was applied successfully and confirmed, or `None` if there is none.
///
/// # Errors
/// If it cannot be read, or is damaged.
pub fn last_good(runner: &mut dyn Runner) -> Result<Option<TargetBundle>, ApplyError> {
    let good = has_good(runner).then(|| bundle(runner, GOOD));
    good.transpose()
        .map_err(|bad| ApplyError::Good(Box::new(bad)))
}

pub(super) fn bundle(runner: &mut dyn Runner, name: &str) -> Result<TargetBundle, Diagnostic> {
    // The path to Palisade's own bundle must contain no symbolic link. The path to a user's bundle
    // may.
    runner
        .check(Retention::Always, name, EntryType::Folder)
        .map_err(|failure| Diagnostic::new(Code::BundleDamaged, failure.to_string()))?;
    let bundle = BundleOnDisk::open(&runner.place(Retention::Always, name))?;
    let node = bundle.nodes().next().unwrap_or_default().to_owned();
    // The apply that kept this bundle has allowed its extensions.
    TargetBundle::read(&bundle, &node, &ExtensionSet::every())
}

/// Returns what this build wrote last, or `None` if that is unknown. A plan is correct without it.
pub(super) fn remembered(
    runner: &mut dyn Runner,
    backend: IptablesBackend,
) -> Option<AppliedState> {
    last(runner).filter(|last| last.memory.backend == backend.label())
}

fn last(runner: &mut dyn Runner) -> Option<AppliedState> {
    let content = runner.read(Retention::UntilBoot, MEMORY).ok().flatten()?;
    serde_json::from_slice(&content)
        .ok()
        .filter(|remembered: &AppliedState| remembered.memory.version == PrintCache::VERSION)
}

pub(super) fn remember(
    runner: &mut dyn Runner,
    remembered: &AppliedState,
) -> Result<(), RunnerFailure> {
    let text =
        serde_json::to_vec(remembered).map_err(|error| RunnerFailure::Other(error.to_string()))?;
    runner.write(Retention::UntilBoot, MEMORY, Some(&text))
}

/// Returns how to call the tools: with the configured build, or else the last used one, or else the
/// installed one.
pub(super) fn tools(node: &mut ApplyTarget<'_>) -> Result<ToolSettings, ApplyError> {
    let last = last(node.runner)
        .and_then(|remembered| IptablesBackend::from_word(&remembered.memory.backend));
    let backend = match node.settings.backend.or(last) {
        Some(backend) => backend,
        None => backend(node.runner).map_err(ApplyError::Kernel)?,
    };
    let lock_wait = u32::try_from(node.settings.wait.as_secs()).unwrap_or(u32::MAX);
    Ok(ToolSettings { backend, lock_wait })
}

/// Returns the node whose policy was applied here last, in this boot or before. Returns `None` if
/// that is unknown.
pub fn last_node(runner: &mut dyn Runner) -> Option<String> {
    let written = last_written(runner).map(|written| written.node);
    written.or_else(|| {
        runner
            .check(Retention::Always, GOOD, EntryType::Folder)
            .ok()?;
        BundleOnDisk::open(&runner.place(Retention::Always, GOOD))
            .ok()?
            .nodes()
            .next()
            .map(str::to_owned)
    })
}

/// Keeps a bundle for the next boot, unless the same bytes are kept already.
pub(super) fn keep_good(
    runner: &mut dyn Runner,
    wanted: &TargetBundle,
) -> Result<(), RunnerFailure> {
    let is_kept = |(name, content): (&String, &Vec<u8>)| {
        let kept = runner.read(Retention::Always, &format!("{GOOD}/{name}"));
        kept.is_ok_and(|kept| kept.as_ref() == Some(content))
    };
    match wanted.folder().iter().all(is_kept) {
        true => Ok(()),
        false => runner.write_folder(Retention::Always, GOOD, Some(wanted.folder())),
    }
}

/// Returns whether anything exists at the path of the last good bundle, intact or damaged. Reading
/// a directory as a file fails, so any result other than "not found" means that something exists.
pub(super) fn has_good(runner: &mut dyn Runner) -> bool {
    runner.read(Retention::Always, GOOD) != Ok(None)
}

/// All kept files and directories, except the lock file, in the order of removal.
const KEPT: [(Retention, &str, EntryType); 5] = [
    // The record of a pending apply goes first: without it, the good bundle counts.
    (Retention::Always, PENDING, EntryType::File),
    (Retention::Always, WAITING, EntryType::Folder),
    (Retention::Always, GOOD, EntryType::Folder),
    (Retention::Always, COMPILED, EntryType::Folder),
    (Retention::UntilBoot, MEMORY, EntryType::File),
];

/// Checks, before any kernel write, that all kept files may be written: nothing that Palisade did
/// not write is in their places.
pub(super) fn check(runner: &mut dyn Runner) -> Result<(), RunnerFailure> {
    KEPT.into_iter()
        .try_for_each(|(keep, name, sort)| runner.check(keep, name, sort))
}

/// Removes all kept files, except the lock file, on which other processes may wait. Continues after
/// a failure, and returns the first one.
pub(super) fn forget_all(runner: &mut dyn Runner) -> Result<(), RunnerFailure> {
    let removed = KEPT.map(|(keep, name, sort)| match sort {
        EntryType::File => runner.write(keep, name, None),
        EntryType::Folder => runner.write_folder(keep, name, None),
    });
    removed.into_iter().collect()
}
