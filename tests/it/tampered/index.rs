//! The index of a bundle against its files: each is otherwise than the other says, in every place
//! in turn.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::apply::world::World;
use crate::palisade::{files_below, root, run};

const CASE: &str = "several-nodes";
const INDEX: &str = "palisade.json";
const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// A bundle that is not what its index says.
struct Mutant {
    about: String,
    make: Box<dyn Fn(&Path)>,
    /// The exit status of `verify`.
    verified: i32,
    /// What each command names.
    named: String,
    /// Whether the commands for node n1 read what is wrong.
    is_read_by_n1: bool,
}

/// Writes the bundle of the case, which nothing is wrong with.
fn write(place: &Path) {
    for (path, text) in files_below(&root().join("golden").join(CASE).join("bundle")) {
        let path = place.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn edit(place: &Path, change: impl FnOnce(&mut Value)) {
    let path = place.join(INDEX);
    let mut index: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut index);
    fs::write(path, index.to_string()).unwrap();
}

fn unlist_node(place: &Path, node: &str) {
    edit(place, |index| {
        index["nodes"]
            .as_array_mut()
            .unwrap()
            .retain(|listed| listed != node)
    });
}

fn unlist_files(place: &Path, folder: &str) {
    edit(place, |index| {
        index["files"]
            .as_object_mut()
            .unwrap()
            .retain(|path, _| !path.starts_with(folder))
    });
}

fn list_node(place: &Path, node: &str) {
    edit(place, |index| {
        index["nodes"].as_array_mut().unwrap().push(json!(node))
    });
}

/// Lists the files of a node as those of another one too.
fn list_files_again(place: &Path, [node, other]: [&str; 2]) {
    edit(place, |index| {
        let files = index["files"].as_object_mut().unwrap();
        let of_node = files
            .iter()
            .filter(|(path, _)| path.starts_with(&format!("nodes/{node}/")));
        let of_other: Vec<(String, Value)> = of_node
            .map(|(path, entry)| (path.replace(node, other), entry.clone()))
            .collect();
        files.extend(of_other);
    });
}

fn copy_folder(place: &Path, [node, other]: [&str; 2]) {
    let [from, to] = [node, other].map(|node| place.join("nodes").join(node));
    fs::create_dir(&to).unwrap();
    for (file, text) in files_below(&from) {
        fs::write(to.join(file), text).unwrap();
    }
}

/// Moves what stands at a path out of the bundle, and puts a link to it there.
fn lead_away(path: &Path, place: &Path) {
    let away = place.with_extension("away");
    fs::rename(path, &away).unwrap();
    symlink(&away, path).unwrap();
}

/// Every mutant.
fn mutants() -> Vec<Mutant> {
    let files: Vec<String> = files_below(&root().join("golden").join(CASE).join("bundle"))
        .into_keys()
        .collect();
    let mut mutants = Vec::new();
    NODES.iter().for_each(|node| of_node(node, &mut mutants));
    files.iter().for_each(|path| of_path(path, &mut mutants));

    let folders: BTreeSet<&Path> = files
        .iter()
        .filter_map(|path| Path::new(path).parent())
        .flat_map(Path::ancestors)
        .collect();
    folders
        .iter()
        .for_each(|folder| of_folder(folder, &mut mutants));

    mutants
}

fn add(
    mutants: &mut Vec<Mutant>,
    about: String,
    verified: i32,
    named: &str,
    is_read_by_n1: bool,
    make: impl Fn(&Path) + 'static,
) {
    mutants.push(Mutant {
        about,
        make: Box::new(make),
        verified,
        named: named.to_owned(),
        is_read_by_n1,
    });
}

/// What becomes of a node.
fn of_node(node: &'static str, mutants: &mut Vec<Mutant>) {
    let expected = (1, node, node == "n1");
    let mut add = |about: &str, make: fn(&Path, &'static str)| {
        add(
            mutants,
            format!("{node}: {about}"),
            expected.0,
            expected.1,
            expected.2,
            move |place| make(place, node),
        );
    };
    add("not among the nodes", unlist_node);
    add("files not listed", |place, node| {
        unlist_files(place, &format!("nodes/{node}/"))
    });
    add("not listed at all", |place, node| {
        unlist_node(place, node);
        unlist_files(place, &format!("nodes/{node}/"));
    });
    add("not there", |place, node| {
        fs::remove_dir_all(place.join("nodes").join(node)).unwrap()
    });
    add("neither there nor listed", |place, node| {
        unlist_node(place, node);
        unlist_files(place, &format!("nodes/{node}/"));
        fs::remove_dir_all(place.join("nodes").join(node)).unwrap();
    });
    add("listed, without files", |place, node| {
        unlist_files(place, &format!("nodes/{node}/"));
        fs::remove_dir_all(place.join("nodes").join(node)).unwrap();
    });
    add("directory renamed", |place, node| {
        fs::rename(place.join("nodes").join(node), place.join("nodes/n9")).unwrap()
    });
    add("renamed in the index", |place, node| {
        unlist_node(place, node);
        list_node(place, "n9");
        list_files_again(place, [node, "n9"]);
        unlist_files(place, &format!("nodes/{node}/"));
    });
    add("renamed", |place, node| {
        unlist_node(place, node);
        list_node(place, "n9");
        list_files_again(place, [node, "n9"]);
        unlist_files(place, &format!("nodes/{node}/"));
        fs::rename(place.join("nodes").join(node), place.join("nodes/n9")).unwrap();
    });

    let mut more = |about: &str, make: fn(&Path, [&str; 2])| {
        let about = format!("n9, like {node}: {about}");
        self::add(mutants, about, 1, "n9", false, move |place| {
            make(place, [node, "n9"])
        });
    };
    more("a directory", copy_folder);
    more("an empty directory", |place, [_, other]| {
        fs::create_dir(place.join("nodes").join(other)).unwrap()
    });
    more("among the nodes", |place, [_, other]| {
        list_node(place, other)
    });
    more("listed files", list_files_again);
    more("whole", |place, pair| {
        list_node(place, pair[1]);
        list_files_again(place, pair);
        copy_folder(place, pair);
    });
}

/// What becomes of a file.
fn of_path(path: &str, mutants: &mut Vec<Mutant>) {
    let is_index = path == INDEX;
    let expected = (
        if is_index { 2 } else { 1 },
        path,
        is_index || path.starts_with("nodes/n1/"),
    );

    let mut add = |about: &str, expected: (i32, &str, bool), make: fn(&Path, &Path)| {
        let own = PathBuf::from(path);
        add(
            mutants,
            format!("{path}: {about}"),
            expected.0,
            expected.1,
            expected.2,
            move |place| make(&place.join(&own), place),
        );
    };
    add("a link", (2, path, true), lead_away);
    add("a link to nowhere", (2, path, true), |path, _| {
        fs::remove_file(path).unwrap();
        symlink("nowhere", path).unwrap();
    });
    add("not there", expected, |path, _| {
        fs::remove_file(path).unwrap()
    });
    add("a directory", expected, |path, _| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    });
    add("a pipe", expected, |path, _| {
        fs::remove_file(path).unwrap();
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    });
    if is_index {
        return;
    }

    add("not listed", expected, |path, place| {
        let name = path.strip_prefix(place).unwrap().display().to_string();
        unlist_files(place, &name);
    });
    add("empty", expected, |path, _| fs::write(path, "").unwrap());
    add("a line more", expected, |path, _| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, format!("{text}# more\n")).unwrap();
    });

    add("as long, and otherwise", expected, |path, _| {
        let text = fs::read_to_string(path).unwrap();
        let other = text.replacen("by palisade", "by palisadf", 1);
        assert_ne!(other, text);
        fs::write(path, other).unwrap();
    });
}

/// What comes into a directory, or in its place.
fn of_folder(folder: &Path, mutants: &mut Vec<Mutant>) {
    let is_read_by_n1 = folder.ends_with("n1");
    let mut add = |name: &str, expected: (i32, bool), make: fn(&Path, &Path)| {
        let own = folder.join(name);
        let named = own.display().to_string();
        add(
            mutants,
            format!("{named}: in a directory"),
            expected.0,
            &named,
            expected.1,
            move |place| make(&place.join(&own), place),
        );
    };
    add("README.md", (1, is_read_by_n1), |path, _| {
        fs::write(path, "dear").unwrap()
    });
    add("filter.v4.rules~", (1, is_read_by_n1), |path, _| {
        fs::write(path, "").unwrap()
    });
    add(".git", (1, is_read_by_n1), |path, _| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("config"), "[core]").unwrap();
    });
    add("pipe", (1, is_read_by_n1), |path, _| {
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap()
    });
    add("link", (2, true), |path, _| {
        symlink("nowhere", path).unwrap()
    });

    if !folder.as_os_str().is_empty() {
        add("", (2, true), |path, place| {
            let path: PathBuf = path.components().collect();
            lead_away(&path, place);
        });
    }
}

#[test]
fn verify_and_check_tell_of_every_file_and_node() {
    let case = root().join("golden").join(CASE);
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("bundle");
    write(&place);
    let bundle = place.display().to_string();
    let verify = [
        "verify",
        "manifest.yaml",
        "inventory.yaml",
        "--bundle",
        &bundle,
    ];
    let check = [
        "render",
        "manifest.yaml",
        "inventory.yaml",
        "--check",
        "--out",
        &bundle,
    ];
    assert_eq!(run(&case, &verify).status, 0);
    assert_eq!(run(&case, &check).status, 0);

    let mutants = mutants();
    for Mutant {
        about,
        make,
        verified,
        named,
        ..
    } in &mutants
    {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("bundle");
        write(&place);
        make(&place);
        let bundle = place.display().to_string();
        let named = named.trim_end_matches('/');
        let outcome = run(
            &case,
            &[
                "verify",
                "manifest.yaml",
                "inventory.yaml",
                "--bundle",
                &bundle,
            ],
        );
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.status, *verified, "{about}: {said}");
        assert!(said.contains(named), "{about}: {said}");

        let outcome = run(
            &case,
            &[
                "render",
                "manifest.yaml",
                "inventory.yaml",
                "--check",
                "--out",
                &bundle,
            ],
        );
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let is_link = *verified == 2 && said.contains("is a symbolic link");
        assert_eq!(
            outcome.status,
            if is_link { 2 } else { 1 },
            "{about}: {said}"
        );
        assert!(said.contains(named), "{about}: {said}");
    }
    println!(
        "{} bundles that are not what their index says, each told of",
        mutants.len()
    );
    assert!(mutants.len() > 150, "{}", mutants.len());
}

/// The commands of node n1 refuse what they read, and the kernel stays as it is.
pub(super) fn nodes_refuse_what_the_index_does_not_say(world: &World) {
    let before = world.print();
    for (
        number,
        Mutant {
            about,
            make,
            is_read_by_n1,
            ..
        },
    ) in mutants().into_iter().enumerate()
    {
        let place = Path::new("/run/index").join(number.to_string());
        write(&place);
        make(&place);
        let bundle = place.display().to_string();
        let (status, said) = world.palisade(&["apply", &bundle, "--dry-run"]);
        assert_eq!(status == 2, is_read_by_n1, "{about}: {status} {said}");
        if is_read_by_n1 {
            for words in [
                &["apply", &bundle][..],
                &["status", &bundle],
                &["reconcile", &bundle, "--once"],
            ] {
                let (status, said) = world.palisade(words);
                assert!(
                    status == 2 && said.contains("error["),
                    "{about}, {words:?}: {status} {said}"
                );
            }
        }
        assert_eq!(world.print(), before, "{about}");
        fs::remove_dir_all(&place).unwrap();
        let away = place.with_extension("away");
        fs::remove_dir_all(&away)
            .or_else(|_| fs::remove_file(&away))
            .unwrap_or_default();
    }
}
