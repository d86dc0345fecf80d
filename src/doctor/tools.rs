//! The programs that palisade runs.

use crate::doctor::{Finding, Node};
use crate::observe::Backend;
use crate::runner::{Call, Runner};

/// What a program of iptables' prints behind its version, by build.
const BUILDS: [(Backend, &str); 2] = [(Backend::Legacy, "(legacy)"), (Backend::Nft, "(nf_tables)")];

/// `ipset`, and whether it and the kernel speak one protocol.
pub(super) fn ipset(node: &mut Node<'_>) -> Vec<Finding> {
    const WHAT: &str = "ipset";
    let version = match node.ask(&Call::of("ipset", &["--version"])) {
        Ok(version) => version.lines().next().unwrap_or_default().trim().to_owned(),
        Err(said) if said.contains("not permitted") => {
            return vec![Finding::missing(
                WHAT,
                said,
                "run as root with CAP_NET_ADMIN",
            )];
        }
        Err(said) => return vec![Finding::missing(WHAT, said, "install the package `ipset`")],
    };
    match node.ask(&Call::of("ipset", &["list", "-n"])) {
        Ok(names) => vec![Finding::good(
            WHAT,
            format!("{version}; sets in the kernel: {}", names.lines().count()),
        )],
        Err(said) => {
            let advice = "run as root with CAP_NET_ADMIN, on a kernel with `ip_set`, with an \
                          ipset as new as the one that made the sets";
            vec![Finding::missing(
                WHAT,
                format!("{version}; it cannot list sets: {said}"),
                advice,
            )]
        }
    }
}

/// Which build `iptables` and `ip6tables` are.
pub(super) fn build(node: &mut Node<'_>) -> Vec<Finding> {
    const WHAT: &str = "build of iptables";
    let chosen = node.backend;
    let builds = ["iptables", "ip6tables"].map(|program| (program, build_of(node.runner, program)));
    let words = builds
        .map(|(program, build)| format!("{program}: {}", build.map_or("none", Backend::word)))
        .join(", ");
    let found = format!("{words}; palisade takes {}", chosen.word());
    match builds
        .iter()
        .any(|(_, build)| build.is_some_and(|build| build != chosen))
    {
        false => vec![Finding::good(WHAT, found)],
        true => {
            let advice = "use one build on the whole node: `update-alternatives --config \
                          iptables` (and ip6tables), or `--backend`";
            vec![Finding::warning(WHAT, found, advice)]
        }
    }
}

/// The build that a program is.
pub(super) fn build_of(runner: &mut dyn Runner, program: &str) -> Option<Backend> {
    let answer = runner
        .run(&Call::of(program, &["-V"]))
        .ok()
        .filter(|answer| answer.status == Some(0))?;
    BUILDS
        .iter()
        .find(|(_, word)| answer.output.contains(word))
        .map(|(build, _)| *build)
}

/// The programs of the build that palisade takes.
pub(super) fn programs(node: &mut Node<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut versions = Vec::new();
    for tool in ["iptables", "ip6tables"] {
        for verb in ["save", "restore"] {
            let program = format!("{tool}-{}-{verb}", node.backend.word());
            match node.ask(&Call::of(&program, &["-V"])) {
                Ok(said) => versions.push(version(&said)),
                Err(said) => findings.push(Finding::missing(
                    program,
                    said,
                    "install the package `iptables`, 1.8 or later",
                )),
            }
        }
    }
    versions.dedup();
    let what = format!("iptables-{} programs", node.backend.word());
    match versions.as_slice() {
        [] => {}
        [version] => findings.push(Finding::good(what, version.clone())),
        several => findings.push(Finding::warning(
            what,
            several.join(", "),
            "install one version of all of them",
        )),
    }
    findings
}

/// `v1.8.9` of `iptables-save v1.8.9 (legacy)`.
fn version(said: &str) -> String {
    said.split_whitespace()
        .find(|word| word.starts_with('v'))
        .unwrap_or("unknown version")
        .to_owned()
}
