//! Our files: what was written last, until the next boot, and the last good bundle, beyond it.

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
    /// Whether there may be something of ours in other tables than the filter tables.
    pub(super) early: bool,
    /// How the tools print what was written.
    pub(super) memory: PrintCache,
}

/// What the kernel was brought to last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenState {
    /// The node.
    pub node: String,
    /// SHA-256 of its scripts, in hexadecimal, as [`TargetBundle::scripts`].
    pub scripts: String,
}

/// What the kernel was brought to last since it booted, by either build, whether it was kept for
/// the next boot or not; none where that is not known.
pub fn last_written(runner: &mut dyn Runner) -> Option<WrittenState> {
    last(runner).map(|AppliedState { memory, .. }| WrittenState {
        node: memory.node,
        scripts: memory.scripts,
    })
}

/// The bundle that was applied last without fail, and is confirmed; none where there was none.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn last_good(runner: &mut dyn Runner) -> Result<Option<TargetBundle>, ApplyError> {
    let good = has_good(runner).then(|| bundle(runner, GOOD));
    good.transpose()
        .map_err(|bad| ApplyError::Good(Box::new(bad)))
}

pub(super) fn bundle(runner: &mut dyn Runner, name: &str) -> Result<TargetBundle, Diagnostic> {
    // the way to a bundle of ours leads through no link, as that to a user's may
    runner
        .check(Retention::Always, name, EntryType::Folder)
        .map_err(|failure| Diagnostic::new(Code::BundleDamaged, failure.to_string()))?;
    let bundle = BundleOnDisk::open(&runner.place(Retention::Always, name))?;
    let node = bundle.nodes().next().unwrap_or_default().to_owned();
    // whoever applied it allowed the extensions that it has
    TargetBundle::read(&bundle, &node, &ExtensionSet::every())
}

/// What was written last, by this build; none where that is not known, which makes a plan no less
/// right.
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

/// How the kernel is asked: by the build that is set, that was used last, or that is installed.
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

/// The node whose policy was applied here last: in this boot, or else before it; none where that is
/// not known.
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

/// Keeps a bundle for the next boot, if it is not kept already, byte by byte.
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

/// Whether anything stands in the place of the last good bundle, whole or damaged: what is no file
/// cannot be read as one.
pub(super) fn has_good(runner: &mut dyn Runner) -> bool {
    runner.read(Retention::Always, GOOD) != Ok(None)
}

/// What is kept, but the lock's file.
const KEPT: [(Retention, &str, EntryType); 5] = [
    // first that something waits: from then on the good bundle is the one
    (Retention::Always, PENDING, EntryType::File),
    (Retention::Always, WAITING, EntryType::Folder),
    (Retention::Always, GOOD, EntryType::Folder),
    (Retention::Always, COMPILED, EntryType::Folder),
    (Retention::UntilBoot, MEMORY, EntryType::File),
];

/// Before the kernel is touched: whether what is kept may be written, since nothing that palisade
/// did not write is there.
pub(super) fn check(runner: &mut dyn Runner) -> Result<(), RunnerFailure> {
    KEPT.into_iter()
        .try_for_each(|(keep, name, sort)| runner.check(keep, name, sort))
}

/// Removes what we keep, but the lock's file, which others may wait on. What can be removed is,
/// also where something else cannot.
pub(super) fn forget_all(runner: &mut dyn Runner) -> Result<(), RunnerFailure> {
    let removed = KEPT.map(|(keep, name, sort)| match sort {
        EntryType::File => runner.write(keep, name, None),
        EntryType::Folder => runner.write_folder(keep, name, None),
    });
    removed.into_iter().collect()
}
