//! Directories that a program builds manifests from: each is an error with the command to run, no
//! file in one is read, and all other files are checked.
#![expect(
    clippy::disallowed_methods,
    reason = "tests write files and start programs"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::agree::random::Dice;
use crate::diff::git;
use crate::palisade::{Outcome, run};

/// Returns a policy that does not parse: the error names the file, so the errors tell which files
/// were read.
fn broken(name: &str) -> String {
    let head = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata";
    format!("{head}: {{name: {name}}}\nspec: {{selector: '=='}}\n")
}

/// Files that mark a directory, and the command that builds it.
const MARKS: [(&str, &str); 4] = [
    ("kustomization.yaml", "kubectl kustomize"),
    ("kustomization.yml", "kubectl kustomize"),
    ("Kustomization", "kubectl kustomize"),
    ("Chart.yaml", "helm template"),
];

/// Names that look like marks and are none.
const NO_MARKS: [&str; 5] = [
    "chart.yaml",
    "kustomization.json",
    "kustomization",
    "Chart.yml",
    "my-kustomization.yaml",
];

/// A directory tree: for each directory below the top, and the top itself as the empty path, its
/// mark.
type Tree = BTreeMap<String, Option<(&'static str, &'static str)>>;

fn random_tree(dice: &mut Dice) -> Tree {
    let mut tree = Tree::new();
    let mark = |dice: &mut Dice, percent| dice.chance(percent).then(|| dice.pick(&MARKS));
    tree.insert(String::new(), mark(dice, 15));
    for _ in 0..1 + dice.below(8) {
        let known: Vec<String> = tree.keys().cloned().collect();
        let above = dice.pick(&known);
        let name = dice.pick(&["a", "b", "with space", "Chart", "x'y", "-d"]);
        let path = if above.is_empty() {
            name.to_owned()
        } else {
            format!("{above}/{name}")
        };
        let mark = mark(dice, 35);
        tree.entry(path).or_insert(mark);
    }

    tree
}

/// Writes a tree: in each directory a broken policy, its mark, and a file that looks like one.
fn write(top: &Path, tree: &Tree) {
    for (number, (path, mark)) in tree.iter().enumerate() {
        let directory = top.join(path);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(
            directory.join("policy.yaml"),
            broken(&format!("a-{number}")),
        )
        .expect("written");
        let look_alike = NO_MARKS.iter().cycle().nth(number).expect("a name");
        fs::write(directory.join(look_alike), broken(&format!("b-{number}"))).expect("written");
        if let Some((name, _)) = mark {
            fs::write(directory.join(name), "resources: [policy.yaml]\n").expect("written");
        }
    }
}

/// Returns a directory and those above it, up to the top.
fn with_above(path: &str) -> Vec<&str> {
    let mut all = vec![path];
    let mut rest = path;
    while let Some((above, _)) = rest.rsplit_once('/') {
        all.push(above);
        rest = above;
    }
    all.extend((!path.is_empty()).then_some(""));
    all
}

/// Returns the directories whose policies are read, and those to build with the program that does.
fn expected(tree: &Tree) -> (BTreeSet<&str>, BTreeSet<(&str, &'static str)>) {
    let mark = |path: &str| tree.get(path).copied().flatten().map(|mark| mark.1);
    let is_read = |path: &&str| {
        with_above(path)
            .into_iter()
            .all(|above| mark(above).is_none())
    };
    let is_in_chart = |path: &str| {
        with_above(path)
            .into_iter()
            .skip(1)
            .any(|above| mark(above) == Some("helm template"))
    };
    let directories = || tree.keys().map(String::as_str);

    let roots = directories()
        .filter_map(|path| Some((path, mark(path)?)))
        .filter(|(path, _)| !is_in_chart(path));
    (directories().filter(is_read).collect(), roots.collect())
}

/// Checks what a run says of a tree whose top the user calls `top`.
fn check(outcome: &Outcome, tree: &Tree, top: &str) {
    let told = &outcome.stderr;
    let (read, roots) = expected(tree);
    let name = |path: &str| match (top.ends_with([':', '/']), path.is_empty()) {
        (_, true) => top.to_owned(),
        (true, false) => format!("{top}{path}"),
        (false, false) => format!("{top}/{path}"),
    };

    assert_eq!(outcome.status, 2, "{told}");
    for path in tree.keys() {
        let is_named = told.contains(&format!(
            " {}:",
            name(format!("{path}/policy.yaml").trim_start_matches('/'))
        ));
        assert_eq!(
            is_named,
            read.contains(path.as_str()),
            "`{path}` of {tree:?}\n{told}"
        );
    }

    assert_eq!(
        told.matches("[needs-build]").count(),
        roots.len(),
        "{tree:?}\n{told}"
    );

    for (path, program) in roots {
        let message = told
            .split("error[needs-build]: ")
            .find(|message| message.starts_with(&format!("`{}` ", name(path))));
        let message = message.unwrap_or_default();
        assert!(
            message.contains(program) && message.contains("| palisade check -"),
            "`{path}`: {told}"
        );
    }
}

#[test]
fn only_directories_that_need_no_build_are_read() {
    let mut dice = Dice(33);
    let mut built = 0;
    for _ in 0..60 {
        let tree = random_tree(&mut dice);
        built += expected(&tree).1.len();
        let place = tempfile::tempdir().expect("a directory");
        write(&place.path().join("top"), &tree);
        check(&run(place.path(), &["check", "top"]), &tree, "top");
    }
    assert!(built > 60, "{built}");
}

#[test]
fn a_revision_is_read_as_a_directory_is() {
    let mut dice = Dice(34);

    for index in 0..15 {
        let tree = random_tree(&mut dice);
        let place = tempfile::tempdir().expect("a directory");
        write(&place.path().join("top"), &tree);
        git(place.path(), &["init", "-q"]);
        git(place.path(), &["add", "-A"]);
        git(place.path(), &["commit", "-qm", "all"]);
        fs::create_dir(place.path().join("new")).expect("a directory");
        fs::write(
            place.path().join("new/node.yaml"),
            "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n",
        )
        .expect("written");
        let top = if index % 2 == 0 {
            "git:HEAD:top"
        } else {
            "git:HEAD:top/"
        };
        check(
            &run(place.path(), &["diff", top, "new"]),
            &tree,
            "git:HEAD:top",
        );
    }
}

#[test]
fn a_mark_that_is_named_itself_needs_a_build_too() {
    let place = tempfile::tempdir().expect("a directory");
    let tree: Tree = [
        (String::new(), Some(MARKS[0])),
        ("chart".to_owned(), Some(MARKS[3])),
    ]
    .into();
    write(place.path(), &tree);

    for (path, told) in [
        (
            "kustomization.yaml",
            "`kubectl kustomize . | palisade check -`",
        ),
        (
            "chart/Chart.yaml",
            "`helm template chart | palisade check -`",
        ),
        (".", "`kubectl kustomize . | palisade check -`"),
        ("./chart", "`helm template ./chart | palisade check -`"),
    ] {
        let outcome = run(place.path(), &["check", path]);
        assert_eq!(
            (outcome.status, outcome.stderr.contains(told)),
            (2, true),
            "{path}: {}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains("[needs-build]") && !outcome.stderr.contains("policy.yaml"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn links_lead_into_no_build_and_back_to_none() {
    let place = tempfile::tempdir().expect("a directory");
    let tree: Tree = [
        ("plain".to_owned(), None),
        ("app".to_owned(), Some(MARKS[1])),
        ("app/sub".to_owned(), None),
    ]
    .into();
    write(place.path(), &tree);
    symlink("..", place.path().join("app/up")).expect("a link");
    symlink("../app", place.path().join("plain/app")).expect("a link");
    symlink("../../plain", place.path().join("app/sub/plain")).expect("a link");

    for paths in [["app", "plain"], ["plain", "app"], ["app", "app"]] {
        let outcome = run(place.path(), &[&["check"][..], &paths].concat());
        assert_eq!(
            (
                outcome.status,
                outcome.stderr.matches("[needs-build]").count()
            ),
            (2, 1),
            "{}",
            outcome.stderr
        );
        let is_plain_read = outcome.stderr.contains(" plain/policy.yaml:");
        assert_eq!(
            is_plain_read,
            paths.contains(&"plain"),
            "{}",
            outcome.stderr
        );
        assert!(
            !outcome.stderr.contains("app/policy.yaml")
                && !outcome.stderr.contains("sub/policy.yaml"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn no_command_takes_patches_for_policies() {
    let place = tempfile::tempdir().expect("a directory");
    let app = place.path().join("app");
    fs::create_dir(&app).expect("a directory");
    fs::write(app.join("kustomization.yaml"), "resources: [node.yaml]\n").expect("written");
    fs::write(
        app.join("node.yaml"),
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n",
    )
    .expect("written");
    fs::write(place.path().join("tests.yaml"), "tests: []\n").expect("written");

    let outcome = run(
        place.path(),
        &[
            "render",
            "app/node.yaml",
            "--out",
            "good",
            "--allow-no-endpoints",
        ],
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);

    let runs: [&[&str]; 8] = [
        &["check", "app"],
        &["render", "app", "--out", "bundle"],
        &[
            "eval", "app", "--from", "a/b", "--to", "a/c", "--port", "tcp/1",
        ],
        &[
            "explain", "app", "--from", "a/b", "--to", "a/c", "--port", "tcp/1",
        ],
        &["connectivity", "app"],
        &["diff", "app", "app"],
        &["test", "tests.yaml", "app"],
        &["verify", "app", "--bundle", "good"],
    ];
    for words in runs {
        let outcome = run(place.path(), words);
        let told = format!("{words:?}: {}\n{}", outcome.status, outcome.stderr);
        assert!(
            outcome.status == 2 && outcome.stderr.contains("[needs-build]"),
            "{told}"
        );
    }

    assert!(!place.path().join("bundle").exists());
}
