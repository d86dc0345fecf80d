//! Which files of `src` name which others.
//!
//! In: the texts of the files. Out: a [`FileGraph`]. A path leads to the file that defines its
//! item, through imports and re-exports. Comments and test modules do not count. `lib.rs`,
//! `main.rs` and each `mod.rs` are left out: they name their parts to say what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many re-exports a path may lead through.
const MOST_REEXPORTS: usize = 8;

/// The names of modules from the root of the crate on, and then that of an item.
type ItemPath = Vec<String>;

/// Files by name below `src`, and the files that they name, each with the paths that do.
pub(crate) struct FileGraph(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

/// The files of a crate by module.
struct Modules(BTreeMap<ItemPath, SourceFile>);

/// A file, as far as paths go.
struct SourceFile {
    /// Its name below `src`: `plan/tables.rs`.
    name: String,
    code: String,
    /// What it imports from this crate, by the name that it has in the file.
    imports: BTreeMap<String, ItemPath>,
}

impl FileGraph {
    /// Reads the graph of files, which are given by path and text. Files of tests are left out.
    pub(crate) fn new(source: &Path, files: &[(PathBuf, String)]) -> Self {
        let modules = Modules::new(source, files);
        let mut graph = BTreeMap::new();
        for (module, file) in &modules.0 {
            if is_part(&file.name) {
                graph.insert(file.name.clone(), modules.named_by(module, file));
            }
        }
        Self(graph)
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes an edge out. Returns whether it was there.
    pub(crate) fn remove(&mut self, from: &str, to: &str) -> bool {
        self.0
            .get_mut(from)
            .is_some_and(|named| named.remove(to).is_some())
    }

    /// Returns the edges of each circle, one circle after another.
    pub(crate) fn circles(&self) -> Vec<String> {
        let reached: BTreeMap<&str, BTreeSet<&str>> = self
            .0
            .keys()
            .map(|file| (file.as_str(), self.reached(file)))
            .collect();
        let reaches =
            |from: &str, to: &str| reached.get(from).is_some_and(|files| files.contains(to));

        let mut edges = Vec::new();
        for (from, named) in &self.0 {
            for (to, paths) in named.iter().filter(|(to, _)| reaches(to, from)) {
                // the first file of the circle stands for it
                let circle = self
                    .0
                    .keys()
                    .find(|file| reaches(from, file) && reaches(file, from));
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                edges.push((circle, format!("{from} names {to}: {}", paths.join(", "))));
            }
        }
        edges.sort();
        edges.into_iter().map(|(_, edge)| edge).collect()
    }

    /// The files that a file names, by way of others too.
    fn reached<'name>(&'name self, from: &'name str) -> BTreeSet<&'name str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(file) = open.pop() {
            let named = self.0.get(file).into_iter().flat_map(BTreeMap::keys);
            open.extend(
                named
                    .map(String::as_str)
                    .filter(|next| reached.insert(*next)),
            );
        }
        reached
    }
}

impl Modules {
    fn new(source: &Path, files: &[(PathBuf, String)]) -> Self {
        let mut modules = BTreeMap::new();
        for (path, text) in files {
            let name = path.strip_prefix(source).expect("a file of src");
            let name = name.display().to_string();
            if name == "main.rs" || name.ends_with("tests.rs") || name.contains("/tests/") {
                continue;
            }
            let file = SourceFile {
                code: code_of(text),
                imports: BTreeMap::new(),
                name,
            };
            modules.insert(module_of(&file.name), file);
        }

        let known: BTreeSet<ItemPath> = modules.keys().cloned().collect();
        for (module, file) in &mut modules {
            file.imports = imports(&file.code, module, &known);
        }
        Self(modules)
    }

    /// The files that a file names, with the paths that do.
    fn named_by(&self, module: &[String], file: &SourceFile) -> BTreeMap<String, BTreeSet<String>> {
        let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let imported = file.imports.values().cloned();
        let inline = paths(&file.code).filter_map(|path| {
            let (first, rest) = path.split_first()?;
            match file.imports.get(first) {
                Some(import) => Some([import.as_slice(), rest].concat()),
                None => absolute(&path, module),
            }
        });
        for path in imported.chain(inline) {
            let target = self.definer(&path, 0);
            if let Some(target) = target.filter(|target| is_part(target) && *target != file.name) {
                named
                    .entry(target.to_owned())
                    .or_default()
                    .insert(path.join("::"));
            }
        }

        named
    }

    /// The file that defines an item.
    fn definer(&self, path: &[String], reexports: usize) -> Option<&str> {
        let lengths = (0..=path.len()).rev();
        let (file, item) = lengths
            .map(|length| path.split_at(length))
            .find_map(|(module, item)| Some((self.0.get(module)?, item)))?;

        let import = item
            .split_first()
            .and_then(|(first, rest)| Some((file.imports.get(first)?, rest)));
        match import {
            Some((import, rest)) if reexports < MOST_REEXPORTS => {
                self.definer(&[import.as_slice(), rest].concat(), reexports + 1)
            }
            Some(_) | None => Some(&file.name),
        }
    }
}

/// Whether a file is in the graph.
fn is_part(name: &str) -> bool {
    name != "lib.rs" && !name.ends_with("mod.rs")
}

/// The module of a file: `["plan", "tables"]` of `plan/tables.rs`.
fn module_of(name: &str) -> ItemPath {
    let module = name.trim_end_matches(".rs");
    let parts = module.split('/');
    parts
        .filter(|part| !["lib", "mod"].contains(part))
        .map(str::to_owned)
        .collect()
}

/// A file without comments and without the test module at its end.
fn code_of(text: &str) -> String {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// What a module imports from this crate, by the name that it has there.
fn imports(
    code: &str,
    module: &[String],
    known: &BTreeSet<ItemPath>,
) -> BTreeMap<String, ItemPath> {
    let mut imports = BTreeMap::new();
    for leaf in use_trees(code).into_iter().flat_map(leaves) {
        let (path, alias) = match leaf.split_once(" as ") {
            Some((path, alias)) => (path.to_owned(), Some(alias.trim().to_owned())),
            None => (leaf, None),
        };
        let path = path.trim_end_matches("::self");
        let path: ItemPath = path
            .split("::")
            .map(|part| part.trim().to_owned())
            .collect();
        let of_child = path
            .first()
            .map(|first| [module, std::slice::from_ref(first)].concat());
        let is_of_child = of_child.is_some_and(|child| known.contains(&child));
        let absolute = match is_of_child {
            true => Some([module, &path].concat()),
            false => absolute(&path, module),
        };
        let name = alias.or_else(|| path.last().cloned());
        imports.extend(name.zip(absolute));
    }

    imports
}

/// The trees of all imports: what stands between `use` and `;`.
fn use_trees(code: &str) -> Vec<&str> {
    let mut trees = Vec::new();
    for (at, word) in code.match_indices("use ") {
        let (before, rest) = code.split_at(at);
        let visibility = before.rsplit('\n').next().unwrap_or_default().trim();
        let begins = visibility.is_empty()
            || visibility == "pub"
            || visibility.starts_with("pub(") && visibility.ends_with(')');
        if begins {
            let tree = rest.trim_start_matches(word).split(';').next();
            trees.extend(tree);
        }
    }

    trees
}

/// The paths of an import, those of its groups one by one.
fn leaves(tree: &str) -> Vec<String> {
    let Some((head, group)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };

    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let mut depth = 0;
    let parts = group.split(|letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    });
    parts
        .filter(|part| !part.trim().is_empty())
        .flat_map(leaves)
        .map(|leaf| format!("{}{leaf}", head.trim()))
        .collect()
}

/// All paths of more than one part that code has.
fn paths(code: &str) -> impl Iterator<Item = ItemPath> {
    let words =
        code.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
    words.filter(|word| word.contains("::")).map(|word| {
        let parts = word.split("::").filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    })
}

/// A path that begins with `crate`, `self` or `super`, from the root on; `None` of any other.
fn absolute(path: &[String], module: &[String]) -> Option<ItemPath> {
    let (first, mut rest) = path.split_first()?;
    let mut from = match first.as_str() {
        "crate" => &[][..],
        "self" => module,
        "super" => module.split_last()?.1,
        _ => return None,
    };

    while let Some((_, next)) = rest.split_first().filter(|(part, _)| *part == "super") {
        (from, rest) = (from.split_last()?.1, next);
    }

    Some([from, rest].concat())
}

#[test]
fn a_path_leads_to_the_file_that_defines_its_item() {
    let file = |name: &str, text: &str| (PathBuf::from("src").join(name), text.to_owned());
    let files = [
        file("lib.rs", "pub mod room;\n"),
        file(
            "room/mod.rs",
            "mod first;\nmod second;\nmod third;\npub use first::{First, inner::{self}};\n",
        ),
        file(
            "room/first.rs",
            "// crate::room::third\nuse crate::room::second::{\n    self,\n    Second as Other,\n};\n",
        ),
        file(
            "room/second.rs",
            "pub(super) fn f() -> crate::room::First { super::third::g() }\n",
        ),
        file(
            "room/third.rs",
            "use crate::room;\n#[cfg(test)]\nmod tests {\n    use crate::room::first::X;\n}\n",
        ),
    ];

    let graph = FileGraph::new(Path::new("src"), &files);

    assert_eq!(graph.len(), 3);
    let expected = [
        "room/first.rs names room/second.rs: room::second, room::second::Second",
        "room/second.rs names room/first.rs: room::First",
    ];
    assert_eq!(graph.circles(), expected);
}
