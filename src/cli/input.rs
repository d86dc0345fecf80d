//! Paths to texts: files, directories, standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::bundle::INDEX_FILE;
use crate::cli::build_roots::ManifestBuilder;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::policy::StagedPolicies;
use crate::source::{FileId, SourceFiles};

/// Endings of files that are read from directories.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The path that stands for standard input.
const STDIN: &str = "-";

/// Bytes that are read of a file or a pipe, which is more than a text may have, and of a device, of
/// which few end.
const MOST: u64 = 1 << 32;
const MOST_OF_DEVICE: u64 = 16 << 20;

/// Reads everything the paths name: files as they are, directories with all manifests below them
/// but in hidden entries, `-` for standard input. What cannot be read is reported, and so is what
/// in a directory is neither file nor directory: a pipe would be waited on, and a link to nowhere
/// may stand for policy that is missing. So may a directory without any manifest: it is perhaps not
/// mounted, or cloned by half. A directory that a program builds manifests from is not read, nor is
/// what lies below it (semantics §9.33).
pub(super) fn read(paths: &[PathBuf], diagnostics: &mut Diagnostics) -> SourceFiles {
    let mut files = SourceFiles::default();
    read_into(&mut files, paths, &mut VisitedPaths::default(), diagnostics);
    files
}

/// As [`read`], but for one file or directory that lies below a path.
pub(super) fn read_but(
    paths: &[PathBuf],
    other: &Path,
    diagnostics: &mut Diagnostics,
) -> SourceFiles {
    let mut files = SourceFiles::default();
    let mut seen = VisitedPaths {
        other: fs::canonicalize(other).ok(),
        ..VisitedPaths::default()
    };
    read_into(&mut files, paths, &mut seen, diagnostics);
    files
}

/// As [`read`], to files that there are; gives the new ones.
pub(super) fn add_to(
    files: &mut SourceFiles,
    path: &Path,
    diagnostics: &mut Diagnostics,
) -> Vec<FileId> {
    let before = files.iter().count();
    read_into(
        files,
        &[path.to_owned()],
        &mut VisitedPaths::default(),
        diagnostics,
    );
    files.iter().skip(before).map(|(id, _)| id).collect()
}

/// What was read, and what is not to be read.
#[derive(Default)]
struct VisitedPaths {
    /// By their real paths, and whether there is a manifest below.
    directories: BTreeMap<PathBuf, bool>,
    /// Passed over below directories.
    other: Option<PathBuf>,
    /// Whether the walk is below a directory that is to be built, so that no file is read.
    is_in_build_root: bool,
    /// Directories that such a walk came past, by their real paths.
    in_build_roots: BTreeSet<PathBuf>,
}

fn read_into(
    files: &mut SourceFiles,
    paths: &[PathBuf],
    seen: &mut VisitedPaths,
    diagnostics: &mut Diagnostics,
) {
    for path in paths {
        match path.as_os_str() == STDIN {
            true => add(files, "<stdin>", read_stdin(), diagnostics),
            false => visit(path, files, seen, diagnostics),
        }
    }
}

/// What `--staged` asks for.
pub(super) fn staging(in_force: bool) -> StagedPolicies {
    match in_force {
        true => StagedPolicies::InForce,
        false => StagedPolicies::Proposed,
    }
}

fn read_stdin() -> io::Result<Vec<u8>> {
    read_open(&File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Reads what a user names: a file, or a pipe, which a shell makes for `<(…)`.
pub(super) fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    read_open(&File::open(path)?)
}

/// Reads to the end, which not everything has.
fn read_open(file: &File) -> io::Result<Vec<u8>> {
    let sort = file.metadata()?.file_type();
    let is_device = sort.is_char_device() || sort.is_block_device();
    let most = if is_device { MOST_OF_DEVICE } else { MOST };

    let mut bytes = Vec::new();
    match file.take(most + 1).read_to_end(&mut bytes)? as u64 > MOST_OF_DEVICE && is_device {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is a device that does not end",
        )),
        false => Ok(bytes),
    }
}

/// What a user names.
fn visit(
    path: &Path,
    files: &mut SourceFiles,
    seen: &mut VisitedPaths,
    diagnostics: &mut Diagnostics,
) {
    match path.is_dir() {
        false if let Some(builder) = ManifestBuilder::of_file(path) => {
            diagnostics.push(builder.refusal(path.parent().unwrap_or(Path::new(""))));
        }
        false => add(
            files,
            &path.display().to_string(),
            read_named(path),
            diagnostics,
        ),
        true if visit_directory(path, files, seen, diagnostics) => {}
        true => diagnostics.push(without_manifest(&path.display().to_string())),
    }
}

/// A directory's manifests, in the order of their names; one that a link leads back to is read
/// once. Whether there is any, or was a problem.
fn visit_directory(
    path: &Path,
    files: &mut SourceFiles,
    seen: &mut VisitedPaths,
    diagnostics: &mut Diagnostics,
) -> bool {
    let listed = fs::canonicalize(path).and_then(|real| list(path).map(|entries| (real, entries)));
    let (real, entries) = match listed {
        Ok(listed) => listed,
        Err(error) => {
            diagnostics.push(unreadable(&path.display().to_string(), &error));
            return true;
        }
    };

    if let Some(has_manifest) = seen.directories.get(&real) {
        return *has_manifest;
    }
    if let Some(builder) = builder(&entries) {
        seen.directories.insert(real, true);
        diagnostics.push(builder.refusal(path));
        if builder.has_roots_below() {
            visit_build_root(&entries, files, seen, diagnostics);
        }
        return true;
    }
    if seen.is_in_build_root {
        if seen.in_build_roots.insert(real) {
            visit_build_root(&entries, files, seen, diagnostics);
        }
        return false;
    }

    seen.directories.insert(real.clone(), false);
    hidden_manifests(path)
        .into_iter()
        .for_each(|warning| diagnostics.push(warning));

    let with_manifests = entries
        .iter()
        .filter(|entry| visit_entry(entry, files, seen, diagnostics))
        .count();
    seen.directories.insert(real, with_manifests > 0);
    with_manifests > 0
}

/// Returns the builder of a directory with these entries, if it is one to build.
fn builder(entries: &[PathBuf]) -> Option<ManifestBuilder> {
    let marks = entries
        .iter()
        .filter_map(|entry| ManifestBuilder::of_file(entry).map(|builder| (builder, entry)));
    marks
        .filter(|(_, entry)| !entry.is_dir())
        .map(|(builder, _)| builder)
        .min()
}

/// Looks below a directory that is to be built for further ones, and reads no file.
fn visit_build_root(
    entries: &[PathBuf],
    files: &mut SourceFiles,
    seen: &mut VisitedPaths,
    diagnostics: &mut Diagnostics,
) {
    let was_in_build_root = std::mem::replace(&mut seen.is_in_build_root, true);
    for entry in entries.iter().filter(|entry| entry.is_dir()) {
        visit_directory(entry, files, seen, diagnostics);
    }
    seen.is_in_build_root = was_in_build_root;
}

/// What is not hidden in a directory, in the order of names.
pub(super) fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    entries.retain(|entry| !is_hidden(entry));
    entries.sort_unstable();
    Ok(entries)
}

/// A warning about the files of a directory that are not read because they are hidden, if any looks
/// like a manifest. Editors and tools have hidden YAML files too, and those of Kubernetes objects
/// have both fields that are asked for here.
fn hidden_manifests(directory: &Path) -> Option<Diagnostic> {
    let entries = fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let is_object = |path: &PathBuf| {
        let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
        let text = if is_file {
            read_named(path).unwrap_or_default()
        } else {
            Vec::new()
        };
        let text = String::from_utf8_lossy(&text);
        text.contains("apiVersion") && text.contains("kind")
    };

    let hidden = entries
        .filter(|path| is_hidden(path) && is_manifest(path))
        .filter(is_object);
    let mut names: Vec<String> = hidden.map(|path| path.display().to_string()).collect();
    names.sort_unstable();

    let first = names.first()?;
    let message = match names.len() {
        1 => format!("`{first}` looks like a manifest, and is not read because it is hidden"),
        count => format!(
            "`{first}` and {} more look like manifests, and are not read because they are hidden",
            count - 1
        ),
    };

    Some(
        Diagnostic::new(Code::HiddenManifests, message)
            .help("rename them, or name them themselves if they are to be read"),
    )
}

/// Whether it is a manifest, holds one, or was a problem.
fn visit_entry(
    path: &Path,
    files: &mut SourceFiles,
    seen: &mut VisitedPaths,
    diagnostics: &mut Diagnostics,
) -> bool {
    if seen.other.is_some() && fs::canonicalize(path).ok() == seen.other {
        return true;
    }

    match fs::metadata(path) {
        Ok(about) if about.is_dir() => return visit_directory(path, files, seen, diagnostics),
        Ok(_) if !is_manifest(path) => return false,
        Ok(about) if about.is_file() => {
            let bytes = read_named(path);
            if is_bundle_index(path, &bytes) {
                return false;
            }
            add(files, &path.display().to_string(), bytes, diagnostics);
        }
        Ok(_) => {
            let message = format!("`{}` is neither a file nor a directory", path.display());
            diagnostics.push(
                Diagnostic::new(Code::Unreadable, message)
                    .help("remove it, or name it itself if it is to be read"),
            );
        }
        Err(error) => diagnostics.push(unreadable(&path.display().to_string(), &error)),
    }

    true
}

/// Whether an entry of a directory is passed over.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Returns whether a file in a directory is the index of a bundle, which may lie among the
/// manifests that it is made from. Its name alone does not say so: a policy may be in a file of
/// that name.
pub(super) fn is_bundle_index(path: &Path, bytes: &io::Result<Vec<u8>>) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct IndexFields {
        format_version: Option<IgnoredAny>,
        api_version: Option<IgnoredAny>,
        kind: Option<IgnoredAny>,
    }

    if path.file_name().is_none_or(|name| name != INDEX_FILE) {
        return false;
    }
    let fields = bytes
        .as_ref()
        .ok()
        .and_then(|bytes| serde_json::from_slice::<IndexFields>(bytes).ok());
    fields.is_some_and(|fields| {
        fields.format_version.is_some() && fields.api_version.is_none() && fields.kind.is_none()
    })
}

/// Whether the name of a file in a directory is one of a manifest.
pub(super) fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ending| {
        ENDINGS
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    })
}

/// What is said of a directory that holds no policy at all, and so would allow everything.
pub(super) fn without_manifest(name: &str) -> Diagnostic {
    Diagnostic::new(
        Code::NoObjects,
        format!("there is no manifest in the directory `{name}`"),
    )
    .help(
        "manifests end in .yaml, .yml or .json; is it mounted, and all of it there? where it is \
         to be empty, leave it out",
    )
}

/// Takes a text in.
pub(super) fn add(
    files: &mut SourceFiles,
    name: &str,
    bytes: io::Result<Vec<u8>>,
    diagnostics: &mut Diagnostics,
) {
    let text = match bytes.map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            let offset = error.utf8_error().valid_up_to();
            let line = error
                .as_bytes()
                .iter()
                .take(offset)
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            let message = format!("`{name}` is not UTF-8: line {line}, byte {offset} of the file");
            diagnostics.push(
                Diagnostic::new(Code::NotUtf8, message).help("save it as UTF-8, or leave it out"),
            );
            return;
        }
        Err(error) => {
            diagnostics.push(unreadable(name, &error));
            return;
        }
    };

    if let Err(length) = files.add(name, text) {
        let message = format!("`{name}` has {length} bytes, and a file may have 4 GiB");
        diagnostics.push(Diagnostic::new(Code::TooLarge, message).help("split it"));
    }
}

fn unreadable(name: &str, error: &io::Error) -> Diagnostic {
    let help = match error.kind() == io::ErrorKind::NotFound {
        true => "check the path, and where links on it lead",
        false => "leave it out, or put right what keeps it from being read",
    };
    Diagnostic::new(Code::Unreadable, format!("cannot read `{name}`: {error}")).help(help)
}
