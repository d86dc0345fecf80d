//! Places that a user names: nothing that is not palisade's is removed, replaced or led to.
#![expect(clippy::disallowed_methods, reason = "tests read and write files")]
#![expect(clippy::unwrap_used, reason = "this is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use palisade::runner::{EntryType, FileTree, ProcessRunner, ProcessSettings, Retention, Runner};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::Duration;

use crate::agree::random::Dice;
use crate::bad_input::{cluster, is_refusal};
use crate::palisade::run;

/// Everything below a directory without following links: what it is, and a file's bytes or a link's
/// end.
pub(crate) fn listing(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let what = if about.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if about.is_file() {
                let hash = Sha256::digest(fs::read(&path).unwrap());
                format!("file of mode {:o} {hash:?}", about.permissions().mode())
            } else {
                format!("{:?}", about.file_type())
            };
            open.extend(about.is_dir().then(|| path.clone()));
            found.insert(path, what);
        }
    }

    found
}

/// Puts something at a path that no bundle has there.
pub(crate) fn put(sort: usize, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();

    match sort {
        0 => fs::write(path, "dear").unwrap(),
        1 => fs::create_dir(path).unwrap(),
        2 => symlink("../..", path).unwrap(),
        3 => symlink("nowhere", path).unwrap(),
        4 => {
            let name = CString::new(path.as_os_str().as_bytes()).unwrap();
            mknodat(CWD, name, FileType::Fifo, Mode::RWXU, 0).unwrap();
        }
        5 => drop(UnixListener::bind(path).unwrap()),
        6 => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("config"), "[core]").unwrap();
        }
        _ => fs::write(path, [0xff, 0, b'\n']).unwrap(),
    }
}

/// Names that are no part of the example's bundle, anywhere in it.
const NAMES: [&str; 8] = [
    ".git",
    "README.md",
    "palisade.json~",
    "nodes~",
    "sets.ipset.bak",
    "\u{1b}[31m",
    "a b",
    "filter.v4.rules.d",
];

/// Renders the example into a directory.
fn render(home: &Path, out: &str) -> crate::palisade::Outcome {
    run(home, &["render", &cluster(), "--out", out])
}

#[test]
fn what_is_no_part_of_a_bundle_is_never_removed() {
    let home = tempfile::tempdir().unwrap();
    let bundle = home.path().join("bundle");
    assert_eq!(render(home.path(), "bundle").status, 0);
    let files: Vec<PathBuf> = listing(&bundle).into_keys().collect();
    let directories: Vec<&PathBuf> = files
        .iter()
        .filter(|path| path.is_dir())
        .chain([&bundle])
        .collect();
    let mut dice = Dice(7);

    for number in 0..120 {
        let beside = dice.chance(70);
        let path = match beside {
            true => dice.pick(&directories).join(dice.pick(&NAMES)),
            // something else than a file in the place of one, or of a directory
            false => dice.pick(&files),
        };
        let (kept, sort) = (path.with_extension("kept"), 1 + dice.below(7));
        let kept = home.path().join(kept.file_name().unwrap());
        if beside {
            put(dice.below(8), &path);
        } else {
            fs::rename(&path, &kept).unwrap();
            // a directory without anything in it, where a file was, is none that the index leads to
            put(
                if path.ends_with("nodes") || path.parent().unwrap().ends_with("nodes") {
                    2
                } else {
                    sort.min(6)
                },
                &path,
            );
        }
        let before = listing(home.path());
        let outcome = render(home.path(), "bundle");
        let about = format!("{number}: {}", path.display());
        is_refusal(&outcome, &about);
        assert!(
            outcome.stderr.contains("[not-a-bundle]"),
            "{about}: {}",
            outcome.stderr
        );
        assert!(listing(home.path()) == before, "{about}: something changed");
        remove(&path);
        if !beside {
            fs::rename(&kept, &path).unwrap();
        }
    }

    assert_eq!(
        render(home.path(), "bundle").status,
        0,
        "a bundle alone is replaced"
    );
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

fn remove(path: &Path) {
    let is_directory = fs::symlink_metadata(path).unwrap().is_dir();
    if is_directory {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
    .unwrap();
}

#[test]
fn places_that_are_links_or_not_whole_bundles_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let at = |path: &str| home.path().join(path);
    assert_eq!(render(home.path(), "bundle").status, 0);
    symlink("bundle", at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    fs::create_dir_all(at("repository/.git")).unwrap();

    for name in ["no-index", "damaged", "listless"] {
        assert_eq!(render(home.path(), name).status, 0);
    }

    fs::remove_file(at("no-index/palisade.json")).unwrap();
    fs::write(at("damaged/palisade.json"), "{").unwrap();
    fs::write(at("listless/palisade.json"), "{\"formatVersion\": 1}").unwrap();
    // an index that lists what no bundle has does not make it one
    fs::create_dir_all(at("other/a")).unwrap();
    fs::write(
        at("other/palisade.json"),
        index(1, &["../bundle/palisade.json", "/etc"]),
    )
    .unwrap();

    let before = listing(home.path());
    let places = [
        ("link", "is a symbolic link"),
        ("link/", "is a symbolic link"),
        ("dangling", "is a symbolic link"),
        ("repository", "holds what is no part of a bundle: `.git`"),
        ("no-index", "holds what is no part of a bundle: `nodes`"),
        ("damaged", "does not say which files are a bundle's"),
        ("listless", "does not say which files are a bundle's"),
        (
            "other",
            "it lists `../bundle/palisade.json`, which no bundle has",
        ),
        (".", "holds what is no part of a bundle: "),
    ];
    for (place, says) in places {
        let outcome = render(home.path(), place);
        is_refusal(&outcome, place);
        assert!(outcome.stderr.contains(says), "{place}: {}", outcome.stderr);
        assert!(listing(home.path()) == before, "{place}: something changed");
    }

    // a link on the way there is the user's own
    symlink(".", at("here")).unwrap();
    assert_eq!(render(home.path(), "here/bundle").status, 0);
}

/// Returns an index of a format that lists these paths.
fn index(format: u32, paths: &[&str]) -> String {
    let entry = json!({"sha256": "", "bytes": 0});
    let files: BTreeMap<&str, _> = paths.iter().map(|path| (*path, &entry)).collect();
    json!({"formatVersion": format, "inputs": "", "nodes": ["n1"], "files": files}).to_string()
}

/// Paths that an index could list to have them removed: each is there as a file, in a repository
/// that holds the bundle of a node too.
const WANTED: [&str; 18] = [
    "README.md",
    "code/main.rs",
    ".git/config",
    "deep/er/and/er/still/file",
    "nodes/README.md",
    "nodes/n1/README.md",
    "nodes/n1/filter.v4.rules~",
    "nodes/n1/nat.v4.rules",
    "nodes/n1/deep/filter.v4.rules",
    "nodes/N1/filter.v4.rules",
    "nodes/.git/filter.v4.rules",
    "nodes/n1./sets.ipset",
    "nodes/a b/sets.ipset",
    "Nodes/n1/sets.ipset",
    "nodes/palisade.json",
    "filter.v4.rules",
    "n1/filter.v4.rules",
    "other/nodes/n1/filter.v4.rules",
];

/// Other spellings of a path that is there.
fn spelling(dice: &mut Dice, home: &Path, path: &str) -> String {
    match dice.below(9) {
        0 => home.join("repository").join(path).display().to_string(),
        1 => format!("../repository/{path}"),
        2 => format!("./{path}"),
        3 => format!("nodes/../{path}"),
        4 => format!("nodes/n1/../../{path}"),
        5 => path.replace('/', "//"),
        6 => format!("{path}/"),
        _ => path.to_owned(),
    }
}

/// An index may come from others: it cannot make a directory of other files a bundle.
#[test]
fn an_index_cannot_have_other_files_removed() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("repository");
    assert_eq!(render(home.path(), "repository").status, 0);
    let genuine = fs::read_to_string(repository.join("palisade.json")).unwrap();
    let genuine: serde_json::Value = serde_json::from_str(&genuine).unwrap();
    let scripts: Vec<&str> = genuine["files"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();

    let mut dice = Dice(11);
    for number in 0..150 {
        let mut there: BTreeSet<&str> = WANTED.into_iter().filter(|_| dice.chance(30)).collect();
        there.insert(dice.pick(&WANTED));
        for path in &there {
            let path = repository.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "dear").unwrap();
        }
        let listed: Vec<String> = there
            .iter()
            .map(|path| spelling(&mut dice, home.path(), path))
            .collect();
        let mut listed: Vec<&str> = listed.iter().map(String::as_str).collect();
        listed.extend(scripts.iter().filter(|_| dice.chance(80)));
        let format = dice.pick(&[1, 1, 1, 0, 2]);
        fs::write(repository.join("palisade.json"), index(format, &listed)).unwrap();

        let before = listing(home.path());
        let outcome = render(home.path(), "repository");
        let about = format!("{number}: {listed:?}");
        is_refusal(&outcome, &about);
        assert!(
            outcome.stderr.contains("[not-a-bundle]"),
            "{about}: {}",
            outcome.stderr
        );
        let says = if format == 1 {
            "which no bundle has"
        } else {
            "it has format"
        };
        assert!(outcome.stderr.contains(says), "{about}: {}", outcome.stderr);
        let outcome = run(
            home.path(),
            &["verify", &cluster(), "--bundle", "repository"],
        );
        is_refusal(&outcome, &about);
        let code = if format == 1 {
            "[bundle-path]"
        } else {
            "[bundle-format]"
        };
        assert!(outcome.stderr.contains(code), "{about}: {}", outcome.stderr);
        assert!(listing(home.path()) == before, "{about}: something changed");
        for path in there {
            fs::remove_file(repository.join(path)).unwrap();
        }
    }
}

#[test]
fn an_index_of_another_format_does_not_make_a_bundle() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(render(home.path(), "bundle").status, 0);
    let path = home.path().join("bundle/palisade.json");
    let genuine = fs::read_to_string(&path).unwrap();

    let version = "\"formatVersion\": 1,";
    assert!(genuine.contains(version));
    for other in [
        "",
        "\"formatVersion\": 0,",
        "\"formatVersion\": 2,",
        "\"formatVersion\": \"1\",",
    ] {
        fs::write(&path, genuine.replacen(version, other, 1)).unwrap();
        let before = listing(home.path());
        let outcome = render(home.path(), "bundle");
        is_refusal(&outcome, other);
        assert!(
            outcome.stderr.contains("[not-a-bundle]"),
            "{other}: {}",
            outcome.stderr
        );
        assert!(listing(home.path()) == before, "{other}: something changed");
    }

    fs::write(&path, &genuine).unwrap();
    assert_eq!(render(home.path(), "bundle").status, 0);
}

/// What a link names is no part of a bundle, whatever it holds.
#[test]
fn a_bundle_with_a_link_in_it_is_not_read() {
    let home = tempfile::tempdir().unwrap();
    let verify = || run(home.path(), &["verify", &cluster(), "--bundle", "bundle"]);
    assert_eq!(render(home.path(), "bundle").status, 0);
    assert_eq!(verify().status, 0);

    let files: Vec<PathBuf> = listing(&home.path().join("bundle")).into_keys().collect();
    for path in files {
        let away = home.path().join("away");
        fs::rename(&path, &away).unwrap();
        symlink(&away, &path).unwrap();
        for outcome in [
            verify(),
            run(
                home.path(),
                &["render", &cluster(), "--out", "bundle", "--check"],
            ),
        ] {
            is_refusal(&outcome, &path.display().to_string());
            assert!(
                outcome
                    .stderr
                    .contains("is a symbolic link, which is not followed"),
                "{}: {}",
                path.display(),
                outcome.stderr
            );
        }
        fs::remove_file(&path).unwrap();
        fs::rename(&away, &path).unwrap();
    }

    assert_eq!(verify().status, 0);
}

fn processes(home: &Path) -> ProcessRunner {
    let [run_directory, state_directory] = ["run", "state"].map(|name| home.join(name));
    ProcessRunner::new(ProcessSettings {
        run_directory,
        state_directory,
        limit: Duration::from_mins(1),
    })
}

#[test]
fn directories_that_others_may_write_to_are_not_used() {
    for (keep, name) in [(Retention::UntilBoot, "run"), (Retention::Always, "state")] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(name);
        let used = |home: &Path| {
            let mut runner = processes(home);
            let locked = if keep == Retention::UntilBoot {
                runner.lock(Duration::ZERO).map(drop)
            } else {
                Ok(())
            };
            let folder = [("palisade.json".to_owned(), Vec::new())].into();
            let each = [
                runner.read(keep, "memory.json").map(drop),
                runner.write(keep, "memory.json", Some(b"x")),
                runner.write_folder(keep, "good", Some(&folder)),
                locked,
            ];
            (
                each.iter().all(Result::is_ok),
                each.iter().all(Result::is_err),
                format!("{each:?}"),
            )
        };
        for mode in [0o777, 0o1777, 0o775, 0o757, 0o702] {
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let (_, none, said) = used(home.path());
            let is_refused = none
                || keep == Retention::Always && said.matches("others may write there").count() == 3;
            assert!(is_refused, "{name}, {mode:o}: {said}");
            assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "{name}, {mode:o}");
            fs::remove_dir(&path).unwrap();
        }
        fs::create_dir(home.path().join("elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        let (all, _, said) = used(home.path());
        assert!(
            !all && said.contains("is a symbolic link"),
            "{name}: {said}"
        );
        assert_eq!(
            fs::read_dir(home.path().join("elsewhere")).unwrap().count(),
            0
        );
        fs::remove_file(&path).unwrap();
        let (all, _, said) = used(home.path());
        assert!(all, "{name}: {said}");
    }
}

#[test]
fn a_link_in_the_lock_s_place_leads_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("target");
    fs::write(&target, "dear").unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(home.path().join("run")).unwrap();
    symlink(&target, home.path().join("run/lock")).unwrap();

    let mut runner = processes(home.path());
    assert!(runner.lock(Duration::ZERO).is_err() && runner.lock_to_look(Duration::ZERO).is_err());
    assert_eq!(
        fs::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o644
    );
}

/// Something that is done to an entry of ours; whether it was refused.
type Deed = (&'static str, fn(&mut ProcessRunner) -> bool);

/// Everything that is done to our own files.
const DEEDS: [Deed; 9] = [
    ("run/lock", |runner| runner.lock(Duration::ZERO).is_err()),
    ("run/lock", |runner| {
        runner.lock_to_look(Duration::ZERO).is_err()
    }),
    ("run/memory.json", |runner| {
        runner
            .write(Retention::UntilBoot, "memory.json", Some(b"{}"))
            .is_err()
    }),
    ("run/memory.json", |runner| {
        runner
            .write(Retention::UntilBoot, "memory.json", None)
            .is_err()
    }),
    ("run/memory.json", |runner| {
        runner.read(Retention::UntilBoot, "memory.json").is_err()
    }),
    ("run/memory.json", |runner| {
        runner
            .check(Retention::UntilBoot, "memory.json", EntryType::File)
            .is_err()
    }),
    ("state/good", |runner| {
        runner
            .write_folder(Retention::Always, "good", Some(&folder()))
            .is_err()
    }),
    ("state/good", |runner| {
        runner
            .write_folder(Retention::Always, "good", None)
            .is_err()
    }),
    ("state/good", |runner| {
        runner
            .check(Retention::Always, "good", EntryType::Folder)
            .is_err()
            && runner.place_for_folder(Retention::Always, "good").is_err()
    }),
];

/// A bundle's folder of ours.
fn folder() -> FileTree {
    [
        ("palisade.json".to_owned(), b"{}".to_vec()),
        ("nodes/n1/sets.ipset".to_owned(), Vec::new()),
    ]
    .into()
}

/// A node where palisade keeps files.
fn kept(home: &Path) -> ProcessRunner {
    let mut runner = processes(home);
    drop(runner.lock(Duration::ZERO).unwrap().expect("nobody has it"));
    runner
        .write(Retention::UntilBoot, "memory.json", Some(b"{}"))
        .unwrap();
    runner
        .write_folder(Retention::Always, "good", Some(&folder()))
        .unwrap();
    runner
}

/// What stands in the place of a file or folder of ours, and is none of the type that palisade
/// writes, is neither removed nor led to.
#[test]
fn what_others_put_in_the_place_of_our_files_stays() {
    for (entry, deed) in DEEDS {
        for sort in 0..8 {
            let is_file = entry != "state/good";
            // a file is a file, whoever wrote it, in a directory that is palisade's own
            if is_file && [0, 7].contains(&sort) {
                continue;
            }
            // and an empty directory may be a bundle's
            let inside = !is_file && [1, 6].contains(&sort);
            let home = tempfile::tempdir().unwrap();
            let mut runner = kept(home.path());
            let path = home.path().join(entry);
            if inside {
                put(sort, &path.join("theirs"));
            } else {
                remove(&path);
                put(sort, &path);
            }
            let before = listing(home.path());
            assert!(deed(&mut runner), "{entry}, {sort}: nothing is refused");
            assert!(
                listing(home.path()) == before,
                "{entry}, {sort}: something changed"
            );
        }
    }
}

#[test]
fn what_others_put_into_a_folder_of_ours_stays() {
    for sort in 0..8 {
        for place in ["theirs", "nodes/theirs", "nodes/n1/theirs"] {
            let home = tempfile::tempdir().unwrap();
            let mut runner = kept(home.path());
            let good = home.path().join("state/good");
            // directories of nodes may be empty
            let place = if sort == 1 { "theirs" } else { place };
            put(sort, &good.join(place));
            let before = listing(home.path());
            for files in [Some(folder()), None] {
                let refused = runner
                    .write_folder(Retention::Always, "good", files.as_ref())
                    .unwrap_err()
                    .to_string();
                assert!(
                    refused.contains("holds what palisade did not write: `"),
                    "{sort}: {refused}"
                );
            }
            assert!(listing(home.path()) == before, "{sort}: something changed");
            remove(&good.join(place));
            runner
                .write_folder(Retention::Always, "good", None)
                .unwrap();
            assert_eq!(
                fs::read_dir(home.path().join("state")).unwrap().count(),
                0,
                "{sort}"
            );
        }
    }
}

/// A directory that a user names, and that has something in it, is not palisade's: also where a
/// name in it is one of ours.
#[test]
fn a_directory_of_others_is_not_used() {
    for name in [
        "lock",
        "memory.json",
        "pending.json",
        "good",
        "waiting",
        "compiled",
        "doctor",
        "README.md",
        ".palisade-directory",
    ] {
        for sort in 0..8 {
            let home = tempfile::tempdir().unwrap();
            for directory in ["run", "state"] {
                put(sort, &home.path().join(directory).join(name));
            }
            let before = listing(home.path());
            let mut runner = processes(home.path());
            let mut refused = [
                runner.lock(Duration::ZERO).map(drop),
                runner.write(Retention::UntilBoot, "memory.json", Some(b"{}")),
                runner.write(Retention::Always, "pending.json", Some(b"{}")),
                runner.write_folder(Retention::Always, "good", Some(&folder())),
                runner
                    .place_for_folder(Retention::Always, "compiled")
                    .map(drop),
                runner.check(Retention::Always, "waiting", EntryType::Folder),
                runner.try_to_keep(Retention::UntilBoot),
                runner.try_to_keep(Retention::Always),
            ]
            .into_iter();
            assert!(refused.all(|outcome| outcome.is_err()), "{name}, {sort}");
            // what is not there need not be removed
            for (keep, name) in [
                (Retention::UntilBoot, "memory.json"),
                (Retention::Always, "pending.json"),
            ] {
                let _ = runner.write(keep, name, None);
            }
            for name in ["good", "waiting", "compiled"] {
                let _ = runner.write_folder(Retention::Always, name, None);
            }
            assert!(
                listing(home.path()) == before,
                "{name}, {sort}: something changed"
            );
        }
    }
}

/// An empty directory is taken, and so is one that palisade made, whatever else came there; a probe
/// leaves nothing.
#[test]
fn a_directory_of_ours_is_used_with_other_files_in_it() {
    let home = tempfile::tempdir().unwrap();
    let mut runner = processes(home.path());
    runner.try_to_keep(Retention::Always).unwrap();
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        0,
        "a probe made something"
    );
    fs::create_dir_all(home.path().join("state/lost+found")).unwrap();
    runner.try_to_keep(Retention::Always).unwrap();
    runner
        .write(Retention::Always, "pending.json", Some(b"{}"))
        .unwrap();
    fs::write(home.path().join("state/doctor"), "dear").unwrap();

    let before = listing(home.path());
    runner.try_to_keep(Retention::Always).unwrap();
    assert!(listing(home.path()) == before, "a probe changed something");
    runner
        .write(Retention::Always, "pending.json", Some(b"[]"))
        .unwrap();
    runner
        .write(Retention::Always, "pending.json", None)
        .unwrap();
    runner
        .write(Retention::Always, "pending.json", Some(b"{}"))
        .unwrap();

    assert_eq!(
        fs::read_to_string(home.path().join("state/doctor")).unwrap(),
        "dear"
    );
}

/// Who may write to a directory on the way decides what stands there.
#[test]
fn each_directory_on_the_way_is_ours_alone() {
    let tries = |home: &Path, directory: &str| {
        let directory = home.join(directory);
        let settings = ProcessSettings {
            run_directory: directory.clone(),
            state_directory: directory,
            limit: Duration::from_mins(1),
        };
        let mut runner = ProcessRunner::new(settings);
        let each = [
            runner.lock(Duration::ZERO).map(drop),
            runner.write(Retention::Always, "pending.json", Some(b"{}")),
            runner.read(Retention::Always, "pending.json").map(drop),
            runner.try_to_keep(Retention::Always),
        ];
        (
            each.iter().all(Result::is_ok),
            each.iter().all(Result::is_err),
            format!("{each:?}"),
        )
    };

    for mode in [0o777, 0o775, 0o757, 0o1777, 0o1775, 0o755, 0o700, 0o711] {
        for below in ["own", "deep/er/own"] {
            let home = tempfile::tempdir().unwrap();
            let above = home.path().join("above");
            fs::create_dir(&above).unwrap();
            fs::set_permissions(&above, Permissions::from_mode(mode)).unwrap();
            let (all, none, said) = tries(home.path(), &format!("above/{below}"));
            let is_safe = mode & 0o022 == 0 || mode & 0o1000 != 0;
            assert!(if is_safe { all } else { none }, "{mode:o}: {said}");
            assert!(
                is_safe || fs::read_dir(&above).unwrap().count() == 0,
                "{mode:o}"
            );
            // a link does not hide where it leads
            symlink("above", home.path().join("link")).unwrap();
            let (all, none, said) = tries(home.path(), &format!("link/{below}"));
            assert!(
                if is_safe { all } else { none },
                "{mode:o}, by a link: {said}"
            );
        }
    }

    let home = tempfile::tempdir().unwrap();
    symlink("loop", home.path().join("loop")).unwrap();
    fs::write(home.path().join("file"), "dear").unwrap();
    for way in ["loop/own", "file/own", "file"] {
        let (_, none, said) = tries(home.path(), way);
        assert!(none, "{way}: {said}");
    }
}

#[test]
fn only_metrics_are_replaced_by_metrics() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        palisade::agent::write_metrics(
            &home.path().join(name),
            "# HELP palisade_x X.\npalisade_x 1\n",
        )
    };
    write("new.prom").unwrap();
    write("new.prom").unwrap();
    fs::write(home.path().join("empty.prom"), "").unwrap();
    write("empty.prom").unwrap();

    for sort in 0..8 {
        let name = format!("{sort}.prom");
        put(sort, &home.path().join(&name));
        let before = listing(home.path());
        let refused = write(&name).unwrap_err().to_string();
        assert!(
            refused.contains("something else than metrics"),
            "{sort}: {refused}"
        );
        assert!(listing(home.path()) == before, "{sort}");
    }

    if fs::symlink_metadata("/dev/null").is_ok() {
        assert!(
            palisade::agent::write_metrics(Path::new("/dev/null"), "# HELP palisade_x X.\n")
                .is_err()
        );
    } else {
        panic!("there is no /dev/null");
    }
}
