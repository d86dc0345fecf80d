//! One node's part of a bundle.

use sha2::{Digest, Sha256};

use crate::bundle::{BundleOnDisk, INDEX_FILE};
use crate::diagnostic::{Code, Diagnostic};
use crate::options::ExtensionSet;
use crate::plan::DesiredKernel;
use crate::ruleset::{CheckedScripts, ScriptError, TableKind};
use crate::runner::FileTree;

/// One node's part of a bundle, checked.
#[derive(Debug)]
pub struct TargetBundle {
    /// The node's name.
    pub node: String,
    /// The desired state of its kernel.
    pub desired: DesiredKernel,
    /// SHA-256 of its scripts, in hexadecimal.
    pub scripts: String,
    /// The files of a bundle with only this node.
    folder: FileTree,
    /// The extensions that its scripts may use.
    allowed: ExtensionSet,
}

/// Where the node's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeNameSource {
    /// The user specified it.
    Asked,
    /// It equals the host's name.
    Host,
    /// Its policy was applied here last, and the bundle contains only this node.
    Last,
}

/// What is known about the identity of this node.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeNameHints<'known> {
    /// The name that the user specified.
    pub asked: Option<&'known str>,
    /// The host's name.
    pub host: Option<&'known str>,
    /// The node whose policy was applied here last.
    pub last: Option<&'known str>,
}

/// Chooses the node of a bundle: the specified one; or else the one with the host's name; or else
/// the only node of the bundle, if its policy was applied here last. A bundle with one node alone
/// does not prove that it is for this host.
///
/// # Errors
/// If the bundle has no such node.
pub fn node_of(
    bundle: &BundleOnDisk,
    known: NodeNameHints<'_>,
) -> Result<(String, NodeNameSource), Diagnostic> {
    let nodes: Vec<&str> = bundle.nodes().collect();
    let last = known.last.filter(|last| nodes == [*last]);
    let found = match (known.asked, known.host, last) {
        (Some(asked), ..) => {
            Some((asked, NodeNameSource::Asked)).filter(|_| nodes.contains(&asked))
        }
        (None, Some(host), _) if nodes.contains(&host) => Some((host, NodeNameSource::Host)),
        (None, _, last) => last.map(|last| (last, NodeNameSource::Last)),
    };
    let refused = || not_of(&nodes, known);

    found
        .map(|(name, named)| (name.to_owned(), named))
        .ok_or_else(refused)
}

/// Error: the bundle has nothing for this node.
fn not_of(nodes: &[&str], known: NodeNameHints<'_>) -> Diagnostic {
    let host = known.host.unwrap_or_default();
    let held = known.last.map_or_else(String::new, |last| {
        format!("; policy of node `{last}` was applied here last")
    });
    let (message, help) = match (known.asked, nodes) {
        (Some(asked), _) => (
            format!(
                "the bundle has nothing for node `{asked}`; it is for {}",
                list(nodes)
            ),
            "take this node's bundle, or render one for it".to_owned(),
        ),
        (None, [only]) => (
            format!(
                "the bundle is for node `{only}`, and nothing says that this host, `{host}`, is \
                 that node{held}"
            ),
            format!("say --node {only}, if this is that node, or take this node's bundle"),
        ),
        (None, _) => (
            format!(
                "the bundle has nothing for this host, `{host}`; it is for {}",
                list(nodes)
            ),
            "say which node this is with --node or PALISADE_NODE".to_owned(),
        ),
    };

    Diagnostic::new(Code::BundleOfOthers, message).help(help)
}

/// Formats `n1, n2, n3 and 5 more`.
fn list(nodes: &[&str]) -> String {
    const NAMED: usize = 3;
    match nodes.len() {
        0 => "no node".to_owned(),
        length if length <= NAMED => nodes.join(", "),
        length => format!(
            "{} and {} more",
            nodes.get(..NAMED).unwrap_or_default().join(", "),
            length - NAMED
        ),
    }
}

impl TargetBundle {
    /// Reads a node's scripts, and checks their digests and grammar. The scripts may use the
    /// allowed extensions.
    ///
    /// # Errors
    /// If a script cannot be read, differs from the index, or contains a line that Palisade does
    /// not write.
    pub fn read(
        bundle: &BundleOnDisk,
        node: &str,
        allowed: &ExtensionSet,
    ) -> Result<Self, Diagnostic> {
        let texts = bundle.node(node)?;
        if let Some(problem) = texts.problems.first() {
            let help = "copy the bundle here again, whole; the node keeps the policy that it has";
            return Err(Diagnostic::new(
                Code::BundleDamaged,
                format!("the bundle is damaged: {problem}"),
            )
            .help(help));
        }

        let checked = CheckedScripts::read(texts.files(), allowed).map_err(|refused| {
            let help = match allowed.is_empty() {
                true => "render the bundle again; the node keeps the policy that it has",
                false => "render the bundle again, and name its extensions with --allow-extension",
            };
            let message = format!("scripts of node `{node}` cannot be applied: {refused}");
            Diagnostic::new(Code::BundleDamaged, message).help(help)
        })?;
        let desired = DesiredKernel::from_scripts(checked);
        let mut digest = Sha256::new();
        let mut folder =
            FileTree::from([(INDEX_FILE.to_owned(), bundle.index_of(node).into_bytes())]);

        for (file, text) in texts.into_texts() {
            digest.update(format!("{file} {}\n", text.len()));
            digest.update(&text);
            folder.insert(format!("nodes/{node}/{file}"), text.into_bytes());
        }

        let scripts = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();

        Ok(Self {
            node: node.to_owned(),
            desired,
            scripts,
            folder,
            allowed: allowed.clone(),
        })
    }

    /// Returns the files of a bundle with only this node.
    pub fn folder(&self) -> &FileTree {
        &self.folder
    }

    /// Returns the text of a script by its file name, or `None` if there is none.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.folder
            .get(&format!("nodes/{}/{file}", self.node))
            .and_then(|text| std::str::from_utf8(text).ok())
    }

    /// Reads the scripts again. They are not kept in memory, because callers need them rarely.
    ///
    /// # Errors
    /// None in practice, because [`TargetBundle::read`] has accepted the same bytes.
    pub fn checked(&self) -> Result<CheckedScripts, ScriptError> {
        let folder = format!("nodes/{}/", self.node);
        let file = |(path, text): (&'_ String, &'_ Vec<u8>)| -> Option<(String, String)> {
            let name = path.strip_prefix(&folder)?;
            Some((name.to_owned(), String::from_utf8(text.clone()).ok()?))
        };
        let files: Vec<(String, String)> = self.folder.iter().filter_map(file).collect();
        let texts = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        CheckedScripts::read(texts, &self.allowed)
    }

    /// Returns whether the bundle has tables other than the filter tables.
    pub(super) fn has_early_tables(&self) -> bool {
        self.desired
            .tables
            .keys()
            .any(|id| id.kind != TableKind::Filter)
    }
}
