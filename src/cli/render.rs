//! `palisade render`: policies and inventory to a bundle of scripts.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::bundle::{BundleComparison, BundleWriter, NodePart, Provenance};
use crate::cli::config::{self, RenderArguments};
use crate::cli::nodes::nodes;
use crate::cli::proof::RenderedNode;
use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, emptiness, input};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::NodeId;
use crate::options::CompileOptions;
use crate::output::BufferedOutput;
use crate::render::TemplateSet;
use crate::resolve::{self, ResolvedPolicy};
use crate::semantics::evaluate::Evaluator;
use crate::source::SourceFiles;

/// Compile policies to a bundle of scripts for every node
///
/// Writes DIR/palisade.json and
/// DIR/nodes/NODE/{sets.ipset,filter.v4.rules,filter.v6.rules,raw.v4.rules,raw.v6.rules}, and
/// mangle.{v4,v6}.rules where pre-DNAT policy of host endpoints asks for them, whole or not at all.
///
/// Exit status: 0 written (or, with --check, in sync), 1 differs (--check), 2 invalid input,
/// nothing written.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files, directories (*.yaml, *.yml, *.json below them), or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Directory of the bundle: a new or empty one, or one with nothing in it but a bundle, which
    /// is replaced
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Render this node only (may be repeated)
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<String>,
    /// Write nothing; print how the bundle in DIR differs from what would be written
    #[arg(long)]
    check: bool,
    /// Prove of each node that its scripts decide every packet as the policies do, before the
    /// bundle is put in its place; what was compared is said on standard error
    #[arg(long)]
    verify: bool,
    /// Also where there is no endpoint in the input
    #[arg(long)]
    allow_no_endpoints: bool,
    /// Compile as if staged policies were in force
    #[arg(long)]
    staged: bool,
    #[command(flatten)]
    choices: RenderArguments,
}

/// Where rendered nodes go.
enum RenderTarget {
    Write(BundleWriter),
    Compare(BundleComparison),
}

impl RenderTarget {
    fn new(arguments: &Arguments, digest: String) -> Result<Self, Diagnostic> {
        let provenance = Provenance {
            inputs: digest,
            staged: arguments.staged,
        };
        match arguments.check {
            true => BundleComparison::new(&arguments.out, provenance).map(Self::Compare),
            false => BundleWriter::new(&arguments.out, provenance).map(Self::Write),
        }
    }

    fn add(&mut self, part: &NodePart) -> Result<(), Diagnostic> {
        match self {
            Self::Write(writer) => writer.add(part),
            Self::Compare(comparison) => comparison.add(part),
        }
    }

    /// Completes the work; gives the differences found, none when the bundle was written.
    fn finish(self, diagnostics: &mut Diagnostics) -> Result<BufferedOutput, Diagnostic> {
        match self {
            Self::Write(writer) => {
                let left = writer.finish()?;
                if let Some(left) = left {
                    diagnostics.push(left.diagnostic());
                }
                Ok(BufferedOutput::default())
            }
            Self::Compare(comparison) => comparison.finish(),
        }
    }
}

/// Proves what is rendered.
struct Verifier<'run, 'resolved, 'input> {
    evaluator: Evaluator<'resolved, 'input>,
    files: &'run SourceFiles,
    /// What was compared, a line a node.
    proofs: &'run mut Vec<String>,
}

impl Verifier<'_, '_, '_> {
    /// A difference is a mistake of ours or of a template, and nothing is written.
    fn prove(
        &mut self,
        part: &NodePart,
        node: NodeId,
        options: &CompileOptions,
    ) -> Result<(), Diagnostic> {
        let name = &part.node;
        let rendered = RenderedNode {
            evaluator: &self.evaluator,
            node,
            options,
            name,
        };
        let verified = rendered.verified(part.scripts.files().into_iter(), Vec::new());
        let lines = verified.lines(self.files);

        if !verified.is_proven() {
            let differs: Vec<&str> = lines.iter().map(|line| line.trim_start()).collect();
            let differs = differs.join("; ");
            let message = format!("what was rendered is not what the policies say: {differs}");
            let help = "check the templates, where you replace them; else please report this";
            return Err(Diagnostic::new(Code::NotProven, message).help(help));
        }

        self.proofs.extend(lines);
        Ok(())
    }
}

pub(super) fn run(
    arguments: &Arguments,
    config: Option<&Path>,
    report: &mut OutputStreams,
) -> ExitStatus {
    let (options, templates) = match config::load(&arguments.choices, config) {
        Ok(loaded) => loaded,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let mut found = Diagnostics::default();
    let files = input::read(&arguments.paths, &mut found);
    let input = crate::read(&files, input::staging(arguments.staged), &mut found);

    let nodes = nodes(&arguments.nodes, &input.inventory, &mut found);
    if !arguments.allow_no_endpoints && !nodes.is_empty() {
        emptiness::refuse(&input, "the bundle", &mut found);
    }

    if found.has_errors() {
        return report.diagnostics(&found, &files);
    }

    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
    let mut proofs = Vec::new();
    let mut judge = arguments.verify.then(|| Verifier {
        evaluator: Evaluator::new(&resolved),
        files: &files,
        proofs: &mut proofs,
    });
    let rendered = RenderTarget::new(arguments, input.digest).and_then(|sink| {
        render(
            &resolved,
            &nodes,
            &options,
            &templates,
            sink,
            judge.as_mut(),
            &mut found,
        )
    });
    let difference = rendered
        .map_err(|diagnostic| found.push(diagnostic))
        .unwrap_or_default();
    let status = report.diagnostics(&found, &files);

    proofs.iter().for_each(|proof| report.remark(proof));
    if status != ExitStatus::Clean || difference.is_empty() {
        return status;
    }

    report.answer(&difference, ExitStatus::Differs)
}

/// Renders the nodes one after another, so that one is in memory at a time.
fn render(
    resolved: &ResolvedPolicy<'_>,
    nodes: &[NodeId],
    options: &CompileOptions,
    templates: &TemplateSet,
    mut sink: RenderTarget,
    mut judge: Option<&mut Verifier<'_, '_, '_>>,
    diagnostics: &mut Diagnostics,
) -> Result<BufferedOutput, Diagnostic> {
    for node in nodes {
        let Some(part) = crate::compile(resolved, *node, options, templates, diagnostics)? else {
            return Ok(BufferedOutput::default());
        };
        if let Some(judge) = &mut judge {
            judge.prove(&part, *node, options)?;
        }
        sink.add(&part)?;
    }
    sink.finish(diagnostics)
}
