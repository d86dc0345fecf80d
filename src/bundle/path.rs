//! The valid paths in a bundle: `palisade.json` and `nodes/<node>/<script>`.

use std::path::{Path, PathBuf};

use crate::name::NameForm;
use crate::render::SCRIPT_FILES;

/// The directory that contains the nodes' directories.
pub(super) const NODES: &str = "nodes";

/// The path of a script in a bundle. [`BundlePath::parse`] checks every path that an index lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BundlePath<'text> {
    pub(super) node: &'text str,
    /// One of [`SCRIPT_FILES`].
    pub(super) script: &'static str,
}

impl<'text> BundlePath<'text> {
    /// Parses `nodes/<node>/<script>`. Returns `None` if the node's name is invalid, or if the
    /// script is not one of [`SCRIPT_FILES`].
    pub(super) fn parse(path: &'text str) -> Option<Self> {
        let (node, file) = path
            .strip_prefix(NODES)?
            .strip_prefix('/')?
            .split_once('/')?;
        let script = SCRIPT_FILES.into_iter().find(|script| *script == file)?;
        is_node_name(node).then_some(Self { node, script })
    }

    /// Returns the directory that contains the script.
    pub(super) fn node_folder(&self) -> PathBuf {
        [NODES, self.node].iter().collect()
    }
}

/// Returns whether a bundle may have a directory at `path`: `nodes`, `nodes/n1`.
pub(super) fn is_folder(path: &str) -> bool {
    match path.split_once('/') {
        None => path == NODES,
        Some((nodes, node)) => nodes == NODES && is_node_name(node),
    }
}

/// Returns the node to whose directory `path` belongs: `n1` for `nodes/n1` and `nodes/n1/README`.
/// Returns `None` if it belongs to none.
pub(super) fn node_of(path: &Path) -> Option<&str> {
    let node = path
        .strip_prefix(NODES)
        .ok()?
        .components()
        .next()?
        .as_os_str()
        .to_str()?;
    is_node_name(node).then_some(node)
}

/// Returns whether a node may have this name, by the rule of Kubernetes for names of Nodes.
pub(super) fn is_node_name(name: &str) -> bool {
    NameForm::DnsSubdomain.fits(name)
}
