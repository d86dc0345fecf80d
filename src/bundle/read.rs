//! Reading a bundle back, and what is wrong with its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bundle::index::hex;
use crate::bundle::path::{self, BundlePath};
use crate::bundle::{FORMAT_VERSION, INDEX_FILE, io_error, read_file};
use crate::diagnostic::{Code, Diagnostic};

/// A bundle on disk.
#[derive(Debug)]
pub struct OnDisk {
    place: PathBuf,
    listed: Listed,
}

/// What the index says, as far as readers need it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    nodes: BTreeSet<String>,
    files: BTreeMap<String, Entry>,
    #[serde(default)]
    staged: bool,
    /// Everything else, as it is.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    sha256: String,
    bytes: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Of any format.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyFormat {
    format_version: u32,
}

/// The texts of a node's scripts, by file name.
#[derive(Debug, Default)]
pub struct NodeTexts {
    texts: BTreeMap<String, String>,
    /// What is wrong with the files.
    pub problems: Vec<FileProblem>,
}

/// What is wrong with a file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The file by its path in the bundle.
    pub path: String,
    /// What is wrong.
    pub kind: FileProblemKind,
}

/// What can be wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileProblemKind {
    /// The index has it, and it is not there.
    Missing,
    /// It is there, and the index does not have it.
    NotListed,
    /// Its bytes are not those that the index has the digest of.
    DigestDiffers,
    /// It has so many bytes, and is to have so many.
    Length(u64, u64),
    /// It is no file.
    NotAFile,
}

impl OnDisk {
    /// Opens a bundle.
    ///
    /// # Errors
    /// When there is none, or one of another format.
    pub fn open(place: &Path) -> Result<Self, Diagnostic> {
        let path = place.join(INDEX_FILE);
        let not_a_bundle = |why: String| {
            let message = format!("`{}` is no bundle: {why}", place.display());
            Diagnostic::new(Code::NotABundle, message).help("name a directory that `palisade render` wrote")
        };
        let text = match read_file(&path) {
            Ok(_) if path.is_symlink() => {
                return Err(not_a_bundle(format!("`{INDEX_FILE}` is a symbolic link")));
            }
            Ok(text) => text,
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Err(not_a_bundle(format!("there is no `{INDEX_FILE}`")));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(not_a_bundle(format!("`{INDEX_FILE}`: {error}"))),
            Err(error) => return Err(io_error(Code::Unreadable, "read", &path, &error)),
        };
        let bad_index = |error: serde_json::Error| not_a_bundle(format!("`{INDEX_FILE}`: {error}"));
        let AnyFormat { format_version: format } = serde_json::from_slice(&text).map_err(bad_index)?;
        if format != FORMAT_VERSION {
            let message = format!("`{}` is a bundle of format {format}, and this version reads {FORMAT_VERSION}", place.display());
            let help = "render it again with the version of palisade that is installed here, or install the version that rendered it";
            return Err(Diagnostic::new(Code::BundleFormat, message).help(help));
        }
        let listed: Listed = serde_json::from_slice(&text).map_err(bad_index)?;
        match listed.stray() {
            None => Ok(Self { place: place.to_owned(), listed }),
            Some(stray) => {
                let message = format!("`{}` names `{stray}`, which no bundle has", path.display());
                Err(Diagnostic::new(Code::BundlePath, message).help("do not use it: no version of palisade writes that"))
            }
        }
    }

    /// The nodes that it has scripts for, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.listed.nodes.iter().map(String::as_str)
    }

    /// Whether staged policies are in force in it: a proposal, not to be applied.
    pub fn is_staged(&self) -> bool {
        self.listed.staged
    }

    /// The index of the bundle that has this node only.
    pub fn index_of(&self, node: &str) -> String {
        let folder = format!("nodes/{node}/");
        let files: BTreeMap<&String, &Entry> = self.listed.files.iter().filter(|(path, _)| path.starts_with(&folder)).collect();
        let mut index = self.listed.rest.clone();
        index.extend([("nodes".to_owned(), json!([node])), ("files".to_owned(), json!(files))]);
        if self.listed.staged {
            index.insert("staged".to_owned(), json!(true));
        }
        serde_json::to_string_pretty(&index).unwrap_or_default() + "\n"
    }

    /// The scripts of a node.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn node(&self, name: &str) -> Result<NodeTexts, Diagnostic> {
        let folder = format!("nodes/{name}/");
        let mut node = NodeTexts::default();
        let mut names: BTreeSet<String> =
            self.listed.files.keys().filter_map(|path| path.strip_prefix(&folder)).map(str::to_owned).collect();
        names.extend(self.files_of(name)?);
        for file in names {
            let path = format!("{folder}{file}");
            let problem = |kind| FileProblem { path: path.clone(), kind };
            let (bytes, kind) = match self.bytes(&path)? {
                Ok((bytes, kind)) => (bytes, kind),
                Err(kind) => {
                    node.problems.push(problem(kind));
                    continue;
                }
            };
            node.problems.extend(kind.map(problem));
            let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            node.texts.insert(file, text);
        }
        Ok(node)
    }

    /// The bytes of a file and what is wrong with them, or why there are none.
    #[expect(clippy::type_complexity, reason = "a file may have bytes, and something wrong with them")]
    fn bytes(&self, path: &str) -> Result<Result<(Vec<u8>, Option<FileProblemKind>), FileProblemKind>, Diagnostic> {
        let place = self.place.join(path);
        let bytes = match read_file(&place) {
            Ok(_) if self.leads_through_link(path) => return Ok(Err(FileProblemKind::NotAFile)),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(Err(FileProblemKind::NotAFile)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(FileProblemKind::Missing)),
            Err(error) => return Err(io_error(Code::Unreadable, "read", &place, &error)),
        };
        let length = bytes.len() as u64;
        let kind = match self.listed.files.get(path) {
            None => Some(FileProblemKind::NotListed),
            Some(entry) if entry.bytes != length => Some(FileProblemKind::Length(length, entry.bytes)),
            Some(entry) if entry.sha256 != hex(&Sha256::digest(&bytes)) => Some(FileProblemKind::DigestDiffers),
            Some(_) => None,
        };
        Ok(Ok((bytes, kind)))
    }

    /// Whether a part of a path in the bundle is a symbolic link. What a link names may be replaced
    /// without a change in the bundle, and a bundle never has one.
    fn leads_through_link(&self, path: &str) -> bool {
        let parts = Path::new(path).ancestors().filter(|part| !part.as_os_str().is_empty());
        parts.map(|part| self.place.join(part)).any(|part| part.is_symlink())
    }

    /// Names of the files that a node's folder holds.
    fn files_of(&self, name: &str) -> Result<Vec<String>, Diagnostic> {
        let folder = self.place.join("nodes").join(name);
        let unreadable = |error: &io::Error| io_error(Code::Unreadable, "read", &folder, error);
        match fs::read_dir(&folder) {
            Ok(entries) => {
                let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
                names.collect::<io::Result<Vec<String>>>().map_err(|error| unreadable(&error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(unreadable(&error)),
        }
    }
}

impl Listed {
    /// Returns the first node or path that no bundle has.
    fn stray(&self) -> Option<&str> {
        let names = self.nodes.iter().filter(|name| !path::is_node_name(name));
        let paths = self.files.keys().filter(|path| BundlePath::parse(path).is_none());
        names.chain(paths).map(String::as_str).next()
    }
}

impl NodeTexts {
    /// All scripts by their file names.
    pub fn into_texts(self) -> BTreeMap<String, String> {
        self.texts
    }

    /// File names and texts of all scripts.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(file, text)| (file.as_str(), text.as_str()))
    }

    /// The text of a script.
    pub fn get(&self, file: &str) -> Option<&str> {
        self.texts.get(file).map(String::as_str)
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FileProblemKind::Missing => write!(out, "{}: `{INDEX_FILE}` lists it, and it is not there", self.path),
            FileProblemKind::NotListed => write!(out, "{}: it is there, and not in `{INDEX_FILE}`", self.path),
            FileProblemKind::DigestDiffers => write!(out, "{}: its digest is not the one in `{INDEX_FILE}`", self.path),
            FileProblemKind::Length(is, listed) => {
                write!(out, "{}: it has {is} bytes, and {listed} in `{INDEX_FILE}`", self.path)
            }
            FileProblemKind::NotAFile => write!(out, "{}: it is no file", self.path),
        }
    }
}
