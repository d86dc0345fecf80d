//! What others put where palisade keeps its files, through every command that may change a node.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::palisade::root;
use crate::places::{listing, put};
use crate::tools;

use super::world::{BEFORE, MOVED, World, bundle};

/// What stands in the place of a file or a folder of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    File,
    LinkToFile,
    LinkToDirectory,
    Pipe,
    Directory,
}

const THINGS: [Thing; 5] = [
    Thing::File,
    Thing::LinkToFile,
    Thing::LinkToDirectory,
    Thing::Pipe,
    Thing::Directory,
];

/// Where links lead, and where a bundle is.
const THEIRS: &str = "/run/theirs";

impl Thing {
    fn put_at(self, path: &Path) {
        match self {
            Thing::File => put(0, path),
            Thing::LinkToFile => symlink(Path::new(THEIRS).join("file"), path).unwrap(),
            Thing::LinkToDirectory => symlink(Path::new(THEIRS).join("bundle"), path).unwrap(),
            Thing::Pipe => put(4, path),
            Thing::Directory => put(6, path),
        }
    }
}

/// Commands, and the statuses that each may have.
fn commands() -> Vec<(Vec<String>, &'static [i32])> {
    let case = root().join("golden").join(MOVED);
    let [manifest, inventory] =
        ["manifest.yaml", "inventory.yaml"].map(|name| case.join(name).display().to_string());
    let bundle = bundle(MOVED);

    let commands: [(&[&str], &[i32]); 9] = [
        // these look only, and may do without a part of our files
        (&["status"], &[0, 1, 2]),
        (&["doctor"], &[0, 1, 2]),
        (&["apply", &bundle, "--node", "n1"], &[2]),
        (
            &["apply", &bundle, "--node", "n1", "--confirm", "3600"],
            &[2],
        ),
        (&["confirm"], &[2]),
        (&["confirm", "--undo"], &[2]),
        (&["reconcile", &bundle, "--once", "--node", "n1"], &[2]),
        (
            &[
                "reconcile",
                "--once",
                "--node",
                "n1",
                "--policies",
                &manifest,
                &inventory,
            ],
            &[2],
        ),
        (&["uninstall"], &[2, 3]),
    ];
    commands
        .map(|(words, statuses)| {
            (
                words.iter().map(|word| (*word).to_owned()).collect(),
                statuses,
            )
        })
        .to_vec()
}

/// What is not ours: all of a directory, and where links lead.
fn theirs(place: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = listing(Path::new(THEIRS));
    let parent = place.parent().unwrap();
    all.extend(
        listing(parent)
            .into_iter()
            .filter(|(path, _)| path.starts_with(place)),
    );
    all
}

fn clean(world: &World) {
    world.clear();
    let _ = fs::remove_dir_all("/run/p");
    let _ = fs::remove_dir_all("/run/project");
    let _ = fs::remove_dir_all(THEIRS);
    fs::create_dir_all(THEIRS).unwrap();
    fs::write(Path::new(THEIRS).join("file"), "{}").unwrap();
    world.tool(
        "cp",
        &[
            "-r",
            &bundle(BEFORE),
            &Path::new(THEIRS).join("bundle").display().to_string(),
        ],
        "",
    );
}

/// Where palisade kept files before, something else stands in the place of one.
pub(super) fn what_others_put_among_our_files_stays(world: &World) {
    for name in [
        "run/lock",
        "run/memory.json",
        "state/pending.json",
        "state/good",
        "state/waiting",
        "state/compiled",
    ] {
        let is_folder = !name.contains('.') && name != "run/lock";
        for thing in THINGS
            .into_iter()
            .filter(|thing| is_folder || *thing != Thing::File)
        {
            clean(world);
            world.apply(BEFORE).unwrap();
            let place = Path::new("/run/p").join(name);
            let _ = fs::remove_dir_all(&place).or_else(|_| fs::remove_file(&place));
            thing.put_at(&place);
            is_left_alone(world, &format!("{name} is {thing:?}"), &place);
        }
    }
}

/// Fails if a command changes what others put there, or the kernel before it says so.
fn is_left_alone(world: &World, about: &str, place: &Path) {
    let (before, kernel, named) = (theirs(place), world.print(), place.display().to_string());

    for (words, statuses) in commands() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let about = format!("{about}: {}", words.join(" "));
        let (status, said) = world.palisade(&words);
        assert!(statuses.contains(&status), "{about}: {status}: {said}");
        assert!(
            theirs(place) == before,
            "{about}: what is theirs changed: {said}"
        );
        if words[0] == "uninstall" {
            // policy is out of force before our files are removed; without the lock nothing is done
            assert_eq!(
                status,
                if place.ends_with("lock") { 2 } else { 3 },
                "{about}: {said}"
            );
            assert!(said.contains(&named), "{about}: {said}");
        } else {
            assert!(
                statuses.len() > 1 || said.contains(&named),
                "{about}: {said}"
            );
            assert_eq!(world.print(), kernel, "{about}: {said}");
        }
    }
}

/// Directories for what is kept until a boot and beyond it: one of ours, and one of others.
const DIRECTORIES: [[&str; 2]; 3] = [
    ["/run/project", "/run/project"],
    ["/run/p/run", "/run/project"],
    ["/run/project", "/run/p/state"],
];

/// A user names a directory with files of their own, which may have the names of ours.
pub(super) fn directories_of_others_are_not_used(world: &World) {
    let names = [
        "lock",
        "memory.json",
        "pending.json",
        "good",
        "compiled",
        "README.md",
    ];

    let cases = names
        .iter()
        .flat_map(|name| THINGS.map(|thing| (*name, thing)));
    for ((name, thing), [run, state]) in cases.zip(DIRECTORIES.into_iter().cycle()) {
        clean(world);
        world.apply(BEFORE).unwrap();
        let project = Path::new("/run/project");
        fs::create_dir(project).unwrap();
        thing.put_at(&project.join(name));
        let before = theirs(project);
        let kernel = world.print();
        for (words, statuses) in commands() {
            let about = format!("{name} is {thing:?}, {run}, {state}: {}", words.join(" "));
            let mut command = tools::command(env!("CARGO_BIN_EXE_palisade"));
            command.args(&words).args([
                "--backend",
                world.build.label(),
                "--timeout",
                "600",
                "--lock-wait",
                "600",
            ]);
            let output = command
                .args(["--run-dir", run, "--state-dir", state])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let status = output.status.code().unwrap();
            // nothing of ours is there to be removed
            let is_done = words[0] == "uninstall" && status == 0;
            assert!(
                statuses.contains(&status) || is_done,
                "{about}: {status}: {said}"
            );
            assert!(
                theirs(project) == before,
                "{about}: what is theirs changed: {said}"
            );
            if words[0] != "uninstall" {
                assert!(
                    statuses.len() > 1 || said.contains("/run/project"),
                    "{about}: {said}"
                );
                assert_eq!(world.print(), kernel, "{about}: {said}");
            }
        }
    }
}
