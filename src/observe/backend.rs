//! Finds out which iptables build holds Palisade's chains.

use crate::net::Family;
use crate::observe::{
    IptablesBackend, KernelProblem, ObservedKernel, TableScope, ToolSettings, ask, kernel,
};
use crate::ruleset::is_ours;
use crate::runner::{Retention, Runner, RunnerFailure, ToolCall};

/// Files that list the tables of the legacy build, one per family.
const LEGACY_TABLES: [&str; 2] = ["net/ip_tables_names", "net/ip6_tables_names"];

/// Messages of a tool if the kernel lacks its build entirely.
const NOT_IN_KERNEL: [&str; 3] = ["not supported", "Invalid argument", "does not exist"];

/// Returns the build behind the name `iptables`, or else one that is installed under its own name.
///
/// # Errors
/// If neither is installed, or `iptables -V` fails.
pub fn backend(runner: &mut dyn Runner) -> Result<IptablesBackend, KernelProblem> {
    match ask(runner, &ToolCall::new("iptables", &["-V"])) {
        Ok(version) if version.contains("(nf_tables)") => Ok(IptablesBackend::Nft),
        Ok(_) => Ok(IptablesBackend::Legacy),
        Err(problem @ KernelProblem::NoAnswer(RunnerFailure::NotFound(_))) => {
            let there = |backend: &IptablesBackend| {
                runner
                    .run(&ToolCall::new(
                        &format!("iptables-{}", backend.label()),
                        &["-V"],
                    ))
                    .is_ok()
            };
            IptablesBackend::BOTH.into_iter().find(there).ok_or(problem)
        }
        Err(problem) => Err(problem),
    }
}

/// Checks that the other iptables build holds no Palisade chains. Packets would traverse the rules
/// of both builds.
///
/// # Errors
/// [`KernelProblem::OtherBackend`] if it holds some, or another problem if it cannot be read.
pub fn refuse_other(runner: &mut dyn Runner, tools: ToolSettings) -> Result<(), KernelProblem> {
    let other = tools.backend.other();
    // Without legacy tables in the kernel there is nothing to read.
    if other == IptablesBackend::Legacy && !has_legacy_tables(runner)? {
        return Ok(());
    }

    let tools = ToolSettings {
        backend: other,
        ..tools
    };

    match Family::BOTH
        .into_iter()
        .try_fold(ObservedKernel::default(), |seen, family| {
            kernel::tables(runner, tools, family, TableScope::All, seen)
        }) {
        Ok(seen) if seen.tables.values().all(|table| table.is_empty()) => Ok(()),
        Ok(_) => Err(KernelProblem::OtherBackend(other)),
        // The tool of the other build is missing, so its rules cannot be listed. `nft` still shows
        // the names of nf_tables chains.
        Err(KernelProblem::NoAnswer(RunnerFailure::NotFound(_))) => match other {
            IptablesBackend::Nft
                if nft_chains(runner)
                    .is_some_and(|chains| chains.iter().any(|chain| is_ours(chain))) =>
            {
                Err(KernelProblem::OtherBackend(other))
            }
            IptablesBackend::Nft | IptablesBackend::Legacy => Ok(()),
        },
        Err(KernelProblem::Refused { said, .. })
            if NOT_IN_KERNEL.iter().any(|words| said.contains(words)) =>
        {
            Ok(())
        }
        Err(problem) => Err(problem),
    }
}

/// Returns the names of the chains in all nf_tables tables, for nodes without iptables-nft. Returns
/// `None` if `nft` cannot list them either.
pub fn nft_chains(runner: &mut dyn Runner) -> Option<Vec<String>> {
    let text = ask(runner, &ToolCall::new("nft", &["list", "chains"])).ok()?;
    let name = |line: &str| {
        Some(
            line.trim()
                .strip_prefix("chain ")?
                .strip_suffix(" {")?
                .to_owned(),
        )
    };
    Some(text.lines().filter_map(name).collect())
}

fn has_legacy_tables(runner: &mut dyn Runner) -> Result<bool, KernelProblem> {
    let mut has_any = false;
    for file in LEGACY_TABLES {
        let names = runner
            .read(Retention::Kernel, file)
            .map_err(KernelProblem::NoAnswer)?;
        has_any |= names.is_some_and(|names| !names.is_empty());
    }
    Ok(has_any)
}
