//! Checks of the programs that Palisade runs.

use crate::doctor::{CheckContext, NodeFinding};
use crate::observe::IptablesBackend;
use crate::runner::{Runner, ToolCall};

/// What iptables programs print after their version, by build.
const BUILDS: [(IptablesBackend, &str); 2] = [
    (IptablesBackend::Legacy, "(legacy)"),
    (IptablesBackend::Nft, "(nf_tables)"),
];

/// Checks `ipset`, and whether it and the kernel use the same protocol version.
pub(super) fn ipset(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    const WHAT: &str = "ipset";
    let version = match node.ask(&ToolCall::new("ipset", &["--version"])) {
        Ok(version) => version.lines().next().unwrap_or_default().trim().to_owned(),
        Err(said) if said.contains("not permitted") => {
            return vec![NodeFinding::missing(
                WHAT,
                said,
                "run as root with CAP_NET_ADMIN",
            )];
        }
        Err(said) => {
            return vec![NodeFinding::missing(
                WHAT,
                said,
                "install the package `ipset`",
            )];
        }
    };

    match node.ask(&ToolCall::new("ipset", &["list", "-n"])) {
        Ok(names) => vec![NodeFinding::good(
            WHAT,
            format!("{version}; sets in the kernel: {}", names.lines().count()),
        )],
        Err(said) => {
            let advice = "run as root with CAP_NET_ADMIN, on a kernel with `ip_set`, with an \
                          ipset as new as the one that made the sets";
            vec![NodeFinding::missing(
                WHAT,
                format!("{version}; it cannot list sets: {said}"),
                advice,
            )]
        }
    }
}

/// Checks which build `iptables` and `ip6tables` are.
pub(super) fn build(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    const WHAT: &str = "build of iptables";
    let chosen = node.backend;
    let builds = ["iptables", "ip6tables"].map(|program| (program, build_of(node.runner, program)));
    let words = builds
        .map(|(program, build)| {
            format!(
                "{program}: {}",
                build.map_or("none", IptablesBackend::label)
            )
        })
        .join(", ");
    let found = format!("{words}; palisade takes {}", chosen.label());

    match builds
        .iter()
        .any(|(_, build)| build.is_some_and(|build| build != chosen))
    {
        false => vec![NodeFinding::good(WHAT, found)],
        true => {
            let advice = "use one build on the whole node: `update-alternatives --config \
                          iptables` (and ip6tables), or `--backend`";
            vec![NodeFinding::warning(WHAT, found, advice)]
        }
    }
}

/// Returns the build of a program, or `None` if it is missing or unknown.
pub(super) fn build_of(runner: &mut dyn Runner, program: &str) -> Option<IptablesBackend> {
    let answer = runner
        .run(&ToolCall::new(program, &["-V"]))
        .ok()
        .filter(|answer| answer.status == Some(0))?;
    BUILDS
        .iter()
        .find(|(_, word)| answer.output.contains(word))
        .map(|(build, _)| *build)
}

/// Checks the programs of the iptables build that Palisade uses.
pub(super) fn programs(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    let mut findings = Vec::new();
    let mut versions = Vec::new();
    for tool in ["iptables", "ip6tables"] {
        for verb in ["save", "restore"] {
            let program = format!("{tool}-{}-{verb}", node.backend.label());
            match node.ask(&ToolCall::new(&program, &["-V"])) {
                Ok(said) => versions.push(version(&said)),
                Err(said) => findings.push(NodeFinding::missing(
                    program,
                    said,
                    "install the package `iptables`, 1.8 or later",
                )),
            }
        }
    }

    versions.dedup();
    let what = format!("iptables-{} programs", node.backend.label());
    match versions.as_slice() {
        [] => {}
        [version] => findings.push(NodeFinding::good(what, version.clone())),
        several => findings.push(NodeFinding::warning(
            what,
            several.join(", "),
            "install one version of all of them",
        )),
    }

    findings
}

/// Returns `v1.8.9` for `iptables-save v1.8.9 (legacy)`.
fn version(said: &str) -> String {
    said.split_whitespace()
        .find(|word| word.starts_with('v'))
        .unwrap_or("unknown version")
        .to_owned()
}
