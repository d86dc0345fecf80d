//! Reading a bundle back, and what is wrong with its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::bundle::index::hex;
use crate::bundle::{FORMAT_VERSION, INDEX_FILE, io_error};
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
    format_version: u32,
    nodes: BTreeSet<String>,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    sha256: String,
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
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Err(not_a_bundle(format!("there is no `{INDEX_FILE}`")));
            }
            Err(error) => return Err(io_error(Code::Unreadable, "read", &path, &error)),
        };
        let listed: Listed = serde_json::from_slice(&text).map_err(|error| not_a_bundle(format!("`{INDEX_FILE}`: {error}")))?;
        match listed.format_version == FORMAT_VERSION {
            true => Ok(Self { place: place.to_owned(), listed }),
            false => Err(not_a_bundle(format!("its format is {}, and this version reads {FORMAT_VERSION}", listed.format_version))),
        }
    }

    /// The nodes that it has scripts for, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.listed.nodes.iter().map(String::as_str)
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
            let listed = self.listed.files.get(&path);
            let bytes = match fs::read(self.place.join(&path)) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    node.problems.push(FileProblem { path, kind: FileProblemKind::Missing });
                    continue;
                }
                Err(error) => return Err(io_error(Code::Unreadable, "read", &self.place.join(&path), &error)),
            };
            let kind = match listed {
                None => Some(FileProblemKind::NotListed),
                Some(entry) if entry.sha256 != hex(&Sha256::digest(&bytes)) => Some(FileProblemKind::DigestDiffers),
                Some(_) => None,
            };
            node.problems.extend(kind.map(|kind| FileProblem { path, kind }));
            node.texts.insert(file, String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(node)
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

impl NodeTexts {
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
        }
    }
}
