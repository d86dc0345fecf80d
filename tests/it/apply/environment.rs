//! What the caller's environment says decides neither which programs run nor what those see.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use palisade::runner::programs;

use super::replaced::Replaced;
use super::world::{BEFORE, MOVED, World, bundle};
use crate::palisade::files_below;
use crate::tools::LIST;

/// A directory with programs of a stranger, and one below it.
const HOSTILE: &str = "/run/hostile";
const BELOW: &str = "/run/hostile/bin";
/// Where those programs leave their names.
const RAN: &str = "/run/ran";
/// The directory where programs write the environment that they got, each to a file of its own.
const ENVIRONMENTS: &str = "/run/environments";

/// Entries of `PATH`, for a process in [`HOSTILE`].
const ENTRIES: [&str; 12] = [
    "",
    ".",
    "./",
    "bin",
    "./bin",
    "../hostile",
    "bin/..",
    HOSTILE,
    BELOW,
    "/run/../run/hostile",
    "/proc/self/cwd",
    "/usr/bin",
];

/// Variables by which callers choose libraries, programs, files or languages of a child.
const VARIABLES: [&str; 24] = [
    "BASH_ENV",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "HOME",
    "IP6TABLES_LIB_DIR",
    "IPTABLES_LIB_DIR",
    "LANG",
    "LANGUAGE",
    "LC_MESSAGES",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LOCPATH",
    "NETNS_RUN_DIR",
    "NFT_PATH",
    "NLSPATH",
    "POSIXLY_CORRECT",
    "SHELL",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XTABLES_LIBDIR",
    "XTABLES_LOCKFILE",
];

/// All programs that `palisade` may run on a node.
fn programs_of_nodes() -> impl Iterator<Item = &'static str> {
    let listed = LIST
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains("kernel"));
    listed
        .filter_map(|line| line.split('\t').next())
        .chain(["systemd-run", "firewall-cmd"])
}

fn put_hostile_programs() {
    fs::create_dir_all(BELOW).unwrap();
    for name in programs_of_nodes() {
        for directory in [HOSTILE, BELOW] {
            let path = Path::new(directory).join(name);
            fs::write(&path, format!("#!/bin/sh\necho {name} >> {RAN}\n")).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
    }
}

/// Runs `palisade` in the hostile directory with these variables beside the caller's.
fn run(world: &World, words: &[&str], variables: &[(String, String)]) -> Output {
    let mut command = world.command(words);
    command.current_dir(HOSTILE).envs(variables.iter().cloned());
    command.output().expect("palisade starts")
}

/// Fails unless a run ended with 0.
fn went_well(output: &Output, about: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{about}: {}: {said}",
        output.status
    );
}

pub(super) fn no_path_leads_to_programs_of_strangers(world: &World) {
    put_hostile_programs();
    let pairs = (0..ENTRIES.len()).map(|at| [ENTRIES[at], ENTRIES[(at * 5 + 3) % ENTRIES.len()]]);
    let paths = ENTRIES
        .map(str::to_owned)
        .into_iter()
        .chain(pairs.map(|pair| pair.join(":")));

    for (number, path) in paths.enumerate() {
        let (first, second) = if number % 2 == 0 {
            (BEFORE, MOVED)
        } else {
            (MOVED, BEFORE)
        };
        let variables = [("PATH".to_owned(), path.clone())];
        for words in [
            &["apply", &bundle(first), "--node", "n1"][..],
            &["status"],
            &["apply", &bundle(second), "--node", "n1", "--cut-denied"],
        ] {
            went_well(
                &run(world, words, &variables),
                &format!("PATH `{path}`, {words:?}"),
            );
        }
        world.holds(second);
    }
    let variables = [("PATH".to_owned(), format!("{HOSTILE}:."))];
    let doctor = run(world, &["doctor"], &variables);
    assert!(
        doctor.status.code().is_some_and(|status| status < 2),
        "{doctor:?}"
    );
    let to_confirm = ["apply", &bundle(MOVED), "--node", "n1", "--confirm", "600"];
    went_well(&run(world, &to_confirm, &variables), "guard");
    went_well(&run(world, &["confirm"], &variables), "confirm");
    went_well(
        &run(world, &["reconcile", &bundle(BEFORE), "--once"], &variables),
        "reconcile",
    );
    went_well(&run(world, &["uninstall"], &variables), "uninstall");
    assert!(
        !Path::new(RAN).exists(),
        "{}",
        fs::read_to_string(RAN).unwrap_or_default()
    );
}

/// Lets every program write down its environment, which is that of the shell in its place.
fn record_environments(world: &World) -> Vec<Replaced> {
    fs::create_dir(ENVIRONMENTS).unwrap();
    let script =
        format!("cat /proc/$$/environ > {ENVIRONMENTS}/$$.\"${{0##*/}}\"\nexec \"$real\" \"$@\"");
    // the shell and what the script itself runs
    let own = ["sh", "cat"];
    programs_of_nodes()
        .filter(|name| !own.contains(name) && *name != "firewall-cmd")
        .map(|name| world.replace(name, &script))
        .collect()
}

pub(super) fn no_variable_of_the_caller_reaches_a_program(world: &World) {
    put_hostile_programs();
    let recorded = record_environments(world);
    let value = |name: &&str| ((*name).to_owned(), format!("{HOSTILE}/{name}"));
    let mut variables: Vec<(String, String)> = VARIABLES.iter().map(value).collect();
    variables.push(("PATH".to_owned(), format!("{HOSTILE}::bin")));
    // names that nobody thought of
    let letters = ["A", "X", "LD", "PALISADE", "_", "LIB", "PATH", "DIR", "7"];
    variables.extend((0..60).map(|number| {
        let at = |step: usize| letters[number * step % letters.len()];
        let name = format!("V{}_{}_{}", at(1), at(4), at(7));
        (name, format!("{HOSTILE}/{number}"))
    }));

    for words in [
        &["apply", &bundle(BEFORE), "--cut-denied"][..],
        &["apply", &bundle(MOVED), "--node", "n1", "--confirm", "600"],
        &["confirm"],
        &["status"],
        &["reconcile", &bundle(BEFORE), "--once", "--cut-denied"],
        &["uninstall"],
    ] {
        went_well(&run(world, words, &variables), &format!("{words:?}"));
    }
    let doctor = run(world, &["doctor"], &variables);
    assert!(
        doctor.status.code().is_some_and(|status| status < 2),
        "{doctor:?}"
    );
    drop(recorded);

    let path = format!("PATH={}", programs::PATH);
    let mut programs = BTreeSet::new();
    for (name, record) in files_below(Path::new(ENVIRONMENTS)) {
        programs.insert(
            name.split_once('.')
                .expect("a number and a name")
                .1
                .to_owned(),
        );
        let variables: BTreeSet<&str> = record
            .split('\0')
            .filter(|variable| !variable.is_empty() && !variable.starts_with("PWD="))
            .collect();
        assert_eq!(
            variables,
            BTreeSet::from([path.as_str(), "LC_ALL=C"]),
            "{name}"
        );
    }
    for expected in ["ipset", "conntrack", "unshare", "systemd-run", "iptables"] {
        assert!(programs.contains(expected), "{expected}: {programs:?}");
    }
}
