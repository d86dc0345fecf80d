//! Which build of iptables holds our chains.

use crate::net::Family;
use crate::observe::{
    IptablesBackend, KernelProblem, ObservedKernel, TableScope, ToolSettings, ask, kernel,
};
use crate::ruleset::is_ours;
use crate::runner::{Retention, Runner, RunnerFailure, ToolCall};

/// Tables of the legacy build, a file a family.
const LEGACY_TABLES: [&str; 2] = ["net/ip_tables_names", "net/ip6_tables_names"];

/// What a tool says where the kernel has nothing of its build at all.
const NOT_IN_KERNEL: [&str; 3] = ["not supported", "Invalid argument", "does not exist"];

/// The build that `iptables` is.
///
/// # Errors
/// When there is none.
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

/// Sees to it that the other build of iptables holds nothing of ours; what both hold, both decide.
///
/// # Errors
/// [`KernelProblem::OtherBackend`] where it does, or when it cannot be asked.
pub fn refuse_other(runner: &mut dyn Runner, tools: ToolSettings) -> Result<(), KernelProblem> {
    let other = tools.backend.other();
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
        // what stands in the other build's tables cannot be listed; in nf_tables names can be seen
        // all the same
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

/// The chains of nf_tables by name, in all its tables, where iptables-nft is not installed; none
/// where `nft` does not tell either.
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
