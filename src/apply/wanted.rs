//! What a bundle says of one node.

use sha2::{Digest, Sha256};

use crate::bundle::{INDEX_FILE, OnDisk};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::Desired;
use crate::runner::Folder;
use crate::script::{TableId, TableKind};

/// One node's part of a bundle, checked.
#[derive(Debug)]
pub struct Wanted {
    /// The node.
    pub node: String,
    /// What its kernel is to hold.
    pub desired: Desired,
    /// SHA-256 of its scripts, in hexadecimal.
    pub scripts: String,
    /// The bundle that has this node only.
    folder: Folder,
}

/// How a node's name was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The user says so.
    Asked,
    /// The bundle has one node only.
    Only,
    /// It is the host's name.
    Host,
}

/// Which node of a bundle this is: the one that is asked for, else its only one, else the one of the host's name.
///
/// # Errors
/// When the bundle has nothing for that node.
pub fn node_of(bundle: &OnDisk, asked: Option<&str>, host: Option<&str>) -> Result<(String, Named), Diagnostic> {
    let nodes: Vec<&str> = bundle.nodes().collect();
    let (name, named) = match (asked, nodes.as_slice(), host) {
        (Some(asked), ..) => (asked, Named::Asked),
        (None, [only], _) => (*only, Named::Only),
        (None, _, Some(host)) => (host, Named::Host),
        (None, _, None) => ("", Named::Host),
    };
    if nodes.contains(&name) {
        return Ok((name.to_owned(), named));
    }
    let (which, help) = match named {
        Named::Asked | Named::Only => (format!("node `{name}`"), "take this node's bundle, or render one for it"),
        Named::Host => (format!("this host, `{name}`"), "say which node this is with --node or PALISADE_NODE"),
    };
    let message = format!("the bundle has nothing for {which}; it is for {}", list(&nodes));
    Err(Diagnostic::new(Code::BundleOfOthers, message).help(help))
}

/// `n1, n2, n3 and 5 more`.
fn list(nodes: &[&str]) -> String {
    const NAMED: usize = 3;
    match nodes.len() {
        0 => "no node".to_owned(),
        length if length <= NAMED => nodes.join(", "),
        length => format!("{} and {} more", nodes.get(..NAMED).unwrap_or_default().join(", "), length - NAMED),
    }
}

impl Wanted {
    /// Reads a node's scripts and compares them with their digests.
    ///
    /// # Errors
    /// Scripts that cannot be read, that are otherwise than the index says, or that palisade would not have written.
    pub fn read(bundle: &OnDisk, node: &str) -> Result<Self, Diagnostic> {
        let texts = bundle.node(node)?;
        if let Some(problem) = texts.problems.first() {
            let help = "copy the bundle here again, whole; the node keeps the policy that it has";
            return Err(Diagnostic::new(Code::BundleDamaged, format!("the bundle is damaged: {problem}")).help(help));
        }
        let damaged = |problem: String| {
            let help = "render the bundle again; the node keeps the policy that it has";
            Diagnostic::new(Code::BundleDamaged, format!("scripts of node `{node}` cannot be applied: {problem}")).help(help)
        };
        let desired = Desired::read(|file| texts.get(file)).map_err(|error| damaged(error.to_string()))?;
        let filters = TableId::of_bundles().filter(|id| id.kind == TableKind::Filter);
        if let Some(missing) = filters.into_iter().find(|id| !desired.tables.contains_key(id)) {
            return Err(damaged(format!("{}: it is missing", missing.file())));
        }
        let mut digest = Sha256::new();
        let mut folder = Folder::from([(INDEX_FILE.to_owned(), bundle.index_of(node).into_bytes())]);
        for (file, text) in texts.into_texts() {
            digest.update(format!("{file} {}\n", text.len()));
            digest.update(&text);
            folder.insert(format!("nodes/{node}/{file}"), text.into_bytes());
        }
        let scripts = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { node: node.to_owned(), desired, scripts, folder })
    }

    /// The bundle that has this node only, by its files.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The text of a script, by its file name.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.folder.get(&format!("nodes/{}/{file}", self.node)).and_then(|text| std::str::from_utf8(text).ok())
    }

    /// The index of that bundle.
    pub(super) fn index(&self) -> &[u8] {
        self.folder.get(INDEX_FILE).map_or(&[], Vec::as_slice)
    }

    /// Whether it has chains in other tables than the filter tables.
    pub(super) fn has_early_tables(&self) -> bool {
        self.desired.tables.keys().any(|id| id.kind != TableKind::Filter)
    }
}
