//! `palisade verify`: whether a bundle's scripts do what policies say.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::bundle::BundleOnDisk;
use crate::cli::config::{self, RenderArguments};
use crate::cli::nodes::nodes;
use crate::cli::proof::RenderedNode;
use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, input};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::inventory::{Inventory, NodeId};
use crate::options::CompileOptions;
use crate::output::BufferedOutput;
use crate::report::verify::{BundleProblems, NodeReport};
use crate::resolve;
use crate::semantics::evaluate::Evaluator;
use crate::source::SourceFiles;

/// Prove that a bundle's scripts decide every packet as the policies do
///
/// Reads the scripts back as text and goes through them as the kernel does, with all packets at
/// once: every class of addresses, of protocols and ports, every hook, state and kind of interface,
/// both families. A difference is shown with a packet, what the policies say of it, and what the
/// scripts do with it. Options must be those of `render`.
///
/// Exit status: 0 proven, 1 something differs, 2 invalid input or no bundle.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files, directories (*.yaml, *.yml, *.json below them), or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Directory of the bundle
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// Verify this node only (may be repeated)
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<String>,
    /// Verify as if staged policies were in force
    #[arg(long)]
    staged: bool,
    #[command(flatten)]
    choices: RenderArguments,
}

pub(super) fn run(
    arguments: &Arguments,
    config: Option<&Path>,
    report: &mut OutputStreams,
) -> ExitStatus {
    let loaded = config::load(&arguments.choices, config)
        .and_then(|(options, _)| Ok((options, BundleOnDisk::open(&arguments.bundle)?)));
    let (options, bundle) = match loaded {
        Ok(loaded) => loaded,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let mut found = Diagnostics::default();
    let files = input::read(&arguments.paths, &mut found);
    let input = crate::read(&files, input::staging(arguments.staged), &mut found);
    let nodes = nodes(&arguments.nodes, &input.inventory, &mut found);

    if found.has_errors() {
        return report.diagnostics(&found, &files);
    }

    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
    let evaluator = Evaluator::new(&resolved);
    let all = VerifyContext {
        evaluator: &evaluator,
        options: &options,
        bundle: &bundle,
        files: &files,
    };
    let mut is_proven = true;

    for node in nodes {
        match all.node(node, &resolved.inventory.node(node).name, report) {
            Ok(proven) => is_proven &= proven,
            Err(diagnostic) => found.push(diagnostic),
        }
    }

    if arguments.nodes.is_empty() {
        match all.others(resolved.inventory, report) {
            Ok(is_none) => is_proven &= is_none,
            Err(diagnostic) => found.push(diagnostic),
        }
    }

    match report.diagnostics(&found, &files) {
        ExitStatus::Clean if !is_proven => ExitStatus::Differs,
        status @ (ExitStatus::Clean
        | ExitStatus::Differs
        | ExitStatus::Invalid
        | ExitStatus::Refused
        | ExitStatus::Busy) => status,
    }
}

/// What nodes are verified by.
struct VerifyContext<'run, 'resolved, 'input> {
    evaluator: &'run Evaluator<'resolved, 'input>,
    options: &'run CompileOptions,
    bundle: &'run BundleOnDisk,
    files: &'run SourceFiles,
}

impl VerifyContext<'_, '_, '_> {
    /// Verifies one node and says what is found.
    fn node(
        &self,
        node: NodeId,
        name: &str,
        report: &mut OutputStreams,
    ) -> Result<bool, Diagnostic> {
        let texts = self.bundle.node(name)?;
        let problems = texts.problems.iter().map(ToString::to_string).collect();
        let rendered = RenderedNode {
            evaluator: self.evaluator,
            node,
            options: self.options,
            name,
        };

        let verified = rendered.verified(texts.files(), problems);
        self.report(&verified, report)?;
        Ok(verified.is_proven())
    }

    /// Says what the bundle holds beside the nodes of the inventory. Returns whether that is
    /// nothing.
    fn others(
        &self,
        inventory: &Inventory,
        report: &mut OutputStreams,
    ) -> Result<bool, Diagnostic> {
        let is_other = |name: &&str| inventory.find_node(name).is_none();
        let others: Vec<&str> = self
            .bundle
            .all_nodes()
            .into_iter()
            .filter(is_other)
            .collect();
        for name in &others {
            let mut problems =
                vec!["the bundle has scripts for it, and it is not in the inventory".to_owned()];
            problems.extend(
                self.bundle
                    .node(name)?
                    .problems
                    .iter()
                    .map(ToString::to_string),
            );
            self.report(
                &NodeReport {
                    node: (*name).to_owned(),
                    verification: None,
                    problems,
                    extensions: Vec::new(),
                },
                report,
            )?;
        }

        let strays = BundleProblems {
            problems: self
                .bundle
                .strays()
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        if !strays.problems.is_empty() {
            let text = BufferedOutput::capture(|out| match report.is_json() {
                true => strays.json(out),
                false => strays.text(out),
            });
            report.data(&text)?;
        }
        Ok(others.is_empty() && strays.problems.is_empty())
    }

    fn report(
        &self,
        verified: &NodeReport<'_>,
        report: &mut OutputStreams,
    ) -> Result<(), Diagnostic> {
        let text = BufferedOutput::capture(|out| match report.is_json() {
            true => verified.json(self.files, out),
            false => verified.text(self.files, out),
        });
        report.data(&text)
    }
}
