//! A process of this test binary in namespaces of its own, for one case and one build of iptables.

use std::process::Stdio;

use palisade::observe::IptablesBackend;

use super::world::World;
use crate::kernel::skipped;
use crate::tools::command;

const CHILD: &str = "apply::sandbox::child";
const CASE: &str = "PALISADE_APPLY_CASE";
const BUILD: &str = "PALISADE_APPLY_BUILD";

/// `/run` becomes our own: for the lock of iptables, and for all of our files. The host's name is
/// that of the golden cases' first node.
const PREPARE: &str = r#"mount -t tmpfs tmpfs /run && echo n1 > /run/host &&
    mount --bind /run/host /proc/sys/kernel/hostname && ip link set lo up && exec "$@""#;

/// Tests of cases of the rooms beside, by name, and their list.
macro_rules! cases {
    (by $run:ident: $($room:ident: $($case:ident)*;)*) => {
        $($(
            #[test]
            fn $case() {
                $crate::apply::sandbox::$run(stringify!($case));
            }
        )*)*

        /// What a sandbox does, by name.
        pub(crate) const CASES: &[(&str, fn(&$crate::apply::world::World))] = &[$($((stringify!($case), $room::$case),)*)*];
    };
}
pub(crate) use cases;

/// Runs a case with both builds.
pub(crate) fn run(case: &str) {
    if skipped() {
        return;
    }
    IptablesBackend::BOTH
        .into_iter()
        .for_each(|build| run_with(case, build));
}

/// The same, with both at the same time: of cases that wait more than they work.
pub(crate) fn run_at_once(case: &str) {
    if skipped() {
        return;
    }
    std::thread::scope(|scope| {
        IptablesBackend::BOTH
            .into_iter()
            .for_each(|build| drop(scope.spawn(move || run_with(case, build))));
    });
}

fn run_with(case: &str, build: IptablesBackend) {
    let itself = std::env::current_exe().expect("the test binary has a path");
    let output = command("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "sh",
            "-c",
            PREPARE,
            "sh",
        ])
        .arg(itself)
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .envs([(CASE, case), (BUILD, build.label())])
        .stdin(Stdio::null())
        .output()
        .expect("`unshare` starts");
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());

    assert!(
        output.status.success(),
        "{case}, {}:\n{stderr}\n{stdout}",
        build.label()
    );
    stdout
        .lines()
        .filter(|line| line.starts_with(build.label()))
        .for_each(|line| println!("{line}"));

    assert!(stdout.contains("1 passed"), "{case} was not run:\n{stdout}");
}

/// A test only in name: what runs in the namespaces.
#[test]
#[ignore = "runs inside of the other tests"]
fn child() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };

    let build = std::env::var(BUILD)
        .ok()
        .and_then(|word| IptablesBackend::from_word(&word))
        .expect("a build");
    let mut cases = super::CASES
        .iter()
        .chain(crate::reconcile::CASES)
        .chain(crate::tampered::CASES);
    let (_, work) = cases.find(|(name, _)| *name == case).expect("a case");

    work(&World::new(build));
}
