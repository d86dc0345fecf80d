//! What is no file where a file is to be: refused at once where nobody named it, and read to an end
//! where somebody did.
#![expect(
    clippy::disallowed_methods,
    reason = "tests write files and start programs"
)]

use std::fs;
use std::path::Path;

use crate::bad_input::{POLICY, Place, bounded, cluster, is_refusal, says};
use crate::palisade::{files_below, run};
use crate::tools::command;

/// What may stand in the place of a file: shell that makes it at `$1`.
pub(crate) const NO_FILES: [(&str, &str); 7] = [
    ("a directory", "mkdir $1"),
    ("a link to nowhere", "ln -s nowhere $1"),
    ("a link to itself", "ln -s $1 $1"),
    ("a file that cannot be read", "ln -s /proc/self/mem $1"),
    ("a named pipe", "mkfifo $1"),
    ("a device", "ln -s /dev/zero $1"),
    ("a socket", ""),
];

/// Puts what is no file in the place of a file.
pub(crate) fn replace(place: &Path, script: &str) {
    fs::remove_file(place)
        .or_else(|_| fs::remove_dir(place))
        .expect("something stands there");

    match script {
        "" => drop(std::os::unix::net::UnixListener::bind(place).expect("a socket")),
        script => assert!(
            command("sh")
                .args(["-c", script, "sh"])
                .arg(place)
                .status()
                .expect("sh")
                .success(),
            "{script}"
        ),
    }
}

/// A part of a bundle, and what is told where each of [`NO_FILES`] stands there.
pub(crate) const NO_PARTS: [(&str, [&str; 7]); 2] = [
    (
        "palisade.json",
        [
            "is no bundle: `palisade.json`: it is a directory, and no file",
            "palisade.json` is a symbolic link, which is not followed",
            "palisade.json` is a symbolic link, which is not followed",
            "palisade.json` is a symbolic link, which is not followed",
            "is no bundle: `palisade.json`: it is a named pipe, and no file",
            "palisade.json` is a symbolic link, which is not followed",
            "is no bundle: `palisade.json`: it is a socket, and no file",
        ],
    ),
    (
        "filter.v4.rules",
        [
            "filter.v4.rules: it is no file",
            "filter.v4.rules` is a symbolic link, which is not followed",
            "filter.v4.rules` is a symbolic link, which is not followed",
            "filter.v4.rules` is a symbolic link, which is not followed",
            "filter.v4.rules: it is no file",
            "filter.v4.rules` is a symbolic link, which is not followed",
            "filter.v4.rules: it is no file",
        ],
    ),
];

#[test]
fn parts_of_bundles_that_are_no_files_are_refused_at_once() {
    let place = Place::new();
    let cluster = cluster();

    for (part, told) in NO_PARTS {
        let outcome = run(place.path(), &["render", &cluster, "--out", "bad"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let name = files_below(&place.path().join("bad"))
            .into_keys()
            .find(|name| name.ends_with(part))
            .expect("a part");
        for ((about, script), part) in NO_FILES.into_iter().zip(told) {
            replace(&place.path().join("bad").join(&name), script);
            let verified = bounded(place.path(), &format!("verify {cluster} --bundle bad"));
            assert!([1, 2].contains(&verified.status), "{about}: {verified:?}");
            says(&(verified.stdout + &verified.stderr), &[part], about);
            let compared = bounded(place.path(), &format!("render {cluster} --out bad --check"));
            assert!([1, 2].contains(&compared.status), "{about}: {compared:?}");
        }
        fs::remove_dir_all(place.path().join("bad")).expect("removed");
    }
}

#[test]
fn pipes_and_devices_are_read_where_a_user_names_them_and_end() {
    let place = Place::new();
    place.write("policy.yaml", format!("{POLICY}  selector: all()\n"));
    for words in [
        "check - < policy.yaml",
        "check /dev/stdin < policy.yaml",
        "check /dev/fd/3 3< policy.yaml",
        "check /dev/null policy.yaml",
    ] {
        let outcome = bounded(place.path(), words);
        assert_eq!(
            outcome.status,
            if words.contains("null") { 2 } else { 0 },
            "{words}: {}",
            outcome.stderr
        );
        assert!(
            !outcome.stderr.contains("[unreadable]"),
            "{words}: {}",
            outcome.stderr
        );
    }

    // as a shell does for `<(…)`
    let script =
        "mkfifo pipe && { cat policy.yaml > pipe & } && exec timeout 600 \"$0\" check pipe";

    let status = command("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_palisade")])
        .current_dir(place.path())
        .status();
    assert!(status.expect("sh starts").success());

    for words in [
        "check /dev/zero",
        "check - < /dev/zero",
        "render policy.yaml --out new --config /dev/zero",
    ] {
        let outcome = bounded(place.path(), words);
        is_refusal(&outcome, words);
        says(
            &outcome.stderr,
            &["it is a device that does not end"],
            words,
        );
    }

    fs::create_dir(place.path().join("templates")).expect("a directory");
    fs::write(place.path().join("templates/sets.ipset.hbs"), "").expect("written");
    replace(&place.path().join("templates/sets.ipset.hbs"), "mkfifo $1");

    let outcome = bounded(
        place.path(),
        "render policy.yaml --out new --templates templates",
    );
    is_refusal(&outcome, "a pipe for a template");
    says(
        &outcome.stderr,
        &["it is a named pipe, and no file"],
        "a pipe for a template",
    );
}
