//! The paths that files have in a bundle: `palisade.json` and `nodes/<node>/<script>`, and no
//! others.

use std::path::{Path, PathBuf};

use crate::name::NameForm;
use crate::render::SCRIPT_FILES;

/// The directory of all nodes' directories.
pub(super) const NODES: &str = "nodes";

/// The path of a script in a bundle. Every path that an index names passes [`BundlePath::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BundlePath<'text> {
    pub(super) node: &'text str,
    /// One of [`SCRIPT_FILES`].
    pub(super) script: &'static str,
}

impl<'text> BundlePath<'text> {
    /// Reads `nodes/<node>/<script>`. Returns `None` if the node's name is not valid, or the script
    /// is none of [`SCRIPT_FILES`].
    pub(super) fn parse(path: &'text str) -> Option<Self> {
        let (node, file) = path
            .strip_prefix(NODES)?
            .strip_prefix('/')?
            .split_once('/')?;
        let script = SCRIPT_FILES.into_iter().find(|script| *script == file)?;
        is_node_name(node).then_some(Self { node, script })
    }

    /// The directory that the script is in.
    pub(super) fn node_folder(&self) -> PathBuf {
        [NODES, self.node].iter().collect()
    }
}

/// Whether `path` is that of a directory that a bundle may have: `nodes`, `nodes/n1`.
pub(super) fn is_folder(path: &str) -> bool {
    match path.split_once('/') {
        None => path == NODES,
        Some((nodes, node)) => nodes == NODES && is_node_name(node),
    }
}

/// The node in whose directory `path` is, or whose directory it is: `n1` of `nodes/n1/README`.
/// Returns `None` if it is in none.
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

/// Whether a node may have this name, as Kubernetes validates names of Nodes.
pub(super) fn is_node_name(name: &str) -> bool {
    NameForm::DnsSubdomain.fits(name)
}
