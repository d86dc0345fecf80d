//! Reads a bundle back, and checks its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bundle::directory::{BundleDirectory, FileContent};
use crate::bundle::index::hex;
use crate::bundle::path::{self, BundlePath, NODES};
use crate::bundle::{FORMAT_VERSION, INDEX_FILE};
use crate::diagnostic::{Code, Diagnostic};

/// A bundle on disk.
#[derive(Debug)]
pub struct BundleOnDisk {
    directory: BundleDirectory,
    /// Entries on disk, by path in the bundle.
    entries: BTreeMap<PathBuf, FileType>,
    listed: ParsedIndex,
}

/// The index, as far as readers need it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParsedIndex {
    nodes: BTreeSet<String>,
    files: BTreeMap<String, IndexEntry>,
    #[serde(default)]
    staged: bool,
    /// All other fields, unchanged.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct IndexEntry {
    sha256: String,
    bytes: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// The format version of an index in any format.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexFormat {
    format_version: u32,
}

/// The texts of a node's scripts, by file name.
#[derive(Debug, Default)]
pub struct NodeTexts {
    texts: BTreeMap<String, String>,
    /// Problems of the files.
    pub problems: Vec<FileProblem>,
}

/// A problem of a file in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The file's path in the bundle.
    pub path: String,
    /// The kind of problem.
    pub kind: FileProblemKind,
}

/// Kinds of problems of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileProblemKind {
    /// The index lists the file, but it does not exist.
    Missing,
    /// The file exists, but the index does not list it.
    NotListed,
    /// The file's digest differs from the index.
    DigestDiffers,
    /// The file's length and the length in the index, in bytes.
    Length(u64, u64),
    /// The entry is not a file.
    NotAFile,
    /// The directory belongs to a node that the index does not list.
    NodeNotListed,
}

impl BundleOnDisk {
    /// Opens a bundle.
    ///
    /// # Errors
    /// If there is no bundle, it has another format, it contains a symbolic link, or its index
    /// lists a path that no bundle has.
    pub fn open(place: &Path) -> Result<Self, Diagnostic> {
        let not_a_bundle = |why: String| {
            let message = format!("`{}` is no bundle: {why}", place.display());
            Diagnostic::new(Code::NotABundle, message)
                .help("name a directory that `palisade render` wrote")
        };
        let directory = BundleDirectory::open(place)?;
        let text = match directory.read(INDEX_FILE)? {
            FileContent::File(text) => text,
            FileContent::Missing => {
                return Err(not_a_bundle(format!("there is no `{INDEX_FILE}`")));
            }
            FileContent::Other(what) => {
                return Err(not_a_bundle(format!(
                    "`{INDEX_FILE}`: it is {what}, and no file"
                )));
            }
        };
        let bad_index = |error: serde_json::Error| not_a_bundle(format!("`{INDEX_FILE}`: {error}"));
        // The format comes first: other fields may differ in other formats.
        let IndexFormat {
            format_version: format,
        } = serde_json::from_slice(&text).map_err(bad_index)?;

        if format != FORMAT_VERSION {
            let message = format!(
                "`{}` is a bundle of format {format}, and this version reads {FORMAT_VERSION}",
                place.display()
            );
            let help = "render it again with the version of palisade that is installed here, or \
                        install the version that rendered it";
            return Err(Diagnostic::new(Code::BundleFormat, message).help(help));
        }

        let listed: ParsedIndex = serde_json::from_slice(&text).map_err(bad_index)?;
        match listed.stray() {
            None => Ok(Self {
                entries: directory.entries()?,
                directory,
                listed,
            }),
            Some(stray) => {
                let message = format!(
                    "`{}` names `{stray}`, which no bundle has",
                    place.join(INDEX_FILE).display()
                );
                Err(Diagnostic::new(Code::BundlePath, message)
                    .help("do not use it: no version of palisade writes that"))
            }
        }
    }

    /// Returns the nodes that the index lists, sorted.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.listed.nodes.iter().map(String::as_str)
    }

    /// Returns every node that the index lists, has files of, or that has a directory, sorted.
    pub fn all_nodes(&self) -> BTreeSet<&str> {
        let of_files = self
            .listed
            .files
            .keys()
            .filter_map(|path| BundlePath::parse(path))
            .map(|path| path.node);
        let of_entries = self.entries.keys().filter_map(|path| path::node_of(path));
        self.nodes().chain(of_files).chain(of_entries).collect()
    }

    /// Returns the entries outside of the nodes' directories that belong to no bundle.
    pub fn strays(&self) -> Vec<FileProblem> {
        let is_part = |(path, kind): &(&PathBuf, &FileType)| {
            path == &Path::new(INDEX_FILE)
                || path == &Path::new(NODES) && **kind == FileType::Directory
                || path::node_of(path).is_some()
        };

        let strays = self
            .entries
            .iter()
            .filter(|entry| !is_part(entry))
            .map(|(path, _)| path.to_string_lossy().into_owned());
        strays
            .map(|path| FileProblem {
                path,
                kind: FileProblemKind::NotListed,
            })
            .collect()
    }

    /// Returns whether the bundle enforces staged policies. Such a bundle is a proposal, and must
    /// not be applied.
    pub fn is_staged(&self) -> bool {
        self.listed.staged
    }

    /// Returns the index of a bundle with only this node.
    pub fn index_of(&self, node: &str) -> String {
        let files: BTreeMap<&String, &IndexEntry> = self.files_of(node).collect();
        let mut index = self.listed.rest.clone();
        index.extend([
            ("nodes".to_owned(), json!([node])),
            ("files".to_owned(), json!(files)),
        ]);
        if self.listed.staged {
            index.insert("staged".to_owned(), json!(true));
        }
        serde_json::to_string_pretty(&index).unwrap_or_default() + "\n"
    }

    /// Reads the scripts of a node, and records the problems of its files.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn node(&self, name: &str) -> Result<NodeTexts, Diagnostic> {
        let folder: PathBuf = [NODES, name].iter().collect();
        let mut node = NodeTexts::default();
        let there = self
            .entries
            .range(folder.clone()..)
            .map(|(path, _)| path.clone());

        let mut paths: BTreeSet<PathBuf> =
            there.take_while(|path| path.starts_with(&folder)).collect();
        paths.extend(self.files_of(name).map(|(path, _)| PathBuf::from(path)));
        if !paths.is_empty() && !self.listed.nodes.contains(name) {
            node.problems.push(FileProblem {
                path: folder.display().to_string(),
                kind: FileProblemKind::NodeNotListed,
            });
        }

        for path in paths.iter().filter(|path| {
            **path != folder || self.entries.get(*path) != Some(&FileType::Directory)
        }) {
            let path = path.to_string_lossy().into_owned();
            let (bytes, kind) = self.bytes(&path)?;
            node.problems.extend(kind.map(|kind| FileProblem {
                path: path.clone(),
                kind,
            }));
            if let (Some(bytes), Some((_, file))) = (bytes, path.rsplit_once('/')) {
                let text = String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
                node.texts.insert(file.to_owned(), text);
            }
        }

        Ok(node)
    }

    /// Returns the files of a node that the index lists.
    fn files_of(&self, node: &str) -> impl Iterator<Item = (&String, &IndexEntry)> {
        let folder = format!("{NODES}/{node}/");
        self.listed
            .files
            .range(folder.clone()..)
            .take_while(move |(path, _)| path.starts_with(&folder))
    }

    /// Returns the bytes of a file, if it exists, and its problem, if any.
    fn bytes(&self, path: &str) -> Result<(Option<Vec<u8>>, Option<FileProblemKind>), Diagnostic> {
        let bytes = match self.directory.read(path)? {
            FileContent::File(bytes) => bytes,
            FileContent::Missing => return Ok((None, Some(FileProblemKind::Missing))),
            FileContent::Other(_) => return Ok((None, Some(FileProblemKind::NotAFile))),
        };
        let length = bytes.len() as u64;

        let kind = match self.listed.files.get(path) {
            None => Some(FileProblemKind::NotListed),
            Some(entry) if entry.bytes != length => {
                Some(FileProblemKind::Length(length, entry.bytes))
            }
            Some(entry) if entry.sha256 != hex(&Sha256::digest(&bytes)) => {
                Some(FileProblemKind::DigestDiffers)
            }
            Some(_) => None,
        };
        Ok((Some(bytes), kind))
    }
}

impl ParsedIndex {
    /// Returns the first node or path in the index that no bundle has.
    fn stray(&self) -> Option<&str> {
        let names = self.nodes.iter().filter(|name| !path::is_node_name(name));
        let paths = self
            .files
            .keys()
            .filter(|path| BundlePath::parse(path).is_none());
        names.chain(paths).map(String::as_str).next()
    }
}

impl NodeTexts {
    /// Returns the texts of all scripts, by file name.
    pub fn into_texts(self) -> BTreeMap<String, String> {
        self.texts
    }

    /// Returns the file names and texts of all scripts.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str()))
    }

    /// Returns the text of a script, or `None` if there is none.
    pub fn get(&self, file: &str) -> Option<&str> {
        self.texts.get(file).map(String::as_str)
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FileProblemKind::Missing => write!(
                out,
                "{}: `{INDEX_FILE}` lists it, and it is not there",
                self.path
            ),
            FileProblemKind::NotListed => {
                write!(out, "{}: it is there, and not in `{INDEX_FILE}`", self.path)
            }
            FileProblemKind::DigestDiffers => write!(
                out,
                "{}: its digest is not the one in `{INDEX_FILE}`",
                self.path
            ),
            FileProblemKind::Length(is, listed) => {
                write!(
                    out,
                    "{}: it has {is} bytes, and {listed} in `{INDEX_FILE}`",
                    self.path
                )
            }
            FileProblemKind::NotAFile => write!(out, "{}: it is no file", self.path),
            FileProblemKind::NodeNotListed => {
                write!(out, "{}: `{INDEX_FILE}` does not list the node", self.path)
            }
        }
    }
}
