//! `palisade diff`: what two states of policy and cluster allow otherwise.

use std::path::{Path, PathBuf};
use std::thread;

use clap::{Args, ValueEnum};

use crate::Input;
use crate::bundle::{NodePart, ScriptChange};
use crate::cli::config::{self, RenderArguments};
use crate::cli::git::GitRevision;
use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, OutputFormat, emptiness, input};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::diff::{self, OldNew};
use crate::inventory::LabelEdit;
use crate::options::CompileOptions;
use crate::output::BufferedOutput;
use crate::render::TemplateSet;
use crate::report::diff as answers;
use crate::report::diff::DiffReport;
use crate::resolve::{self, ResolvedPolicy};
use crate::source::SourceFiles;

/// What connections are gained and lost between two states, and by which rules?
///
/// Exact over all packets, between endpoints (or the workloads that will make them) and addresses
/// outside; endpoints that are new or gone are told apart from that. OLD and NEW are files or
/// directories, - for standard input, or git:REVISION:PATH, PATH being counted from the root of the
/// repository around the working directory.
///
/// Exit status: 0 equal (however it is written), 1 differs, 2 invalid input.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The state before
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The state after; with --set-label it may be left out, and is then OLD with those labels
    #[arg(value_name = "NEW", required_unless_present = "labels")]
    new: Option<PathBuf>,
    /// Read this on both sides as well, as an inventory that lies elsewhere (may be repeated)
    #[arg(long, value_name = "PATH")]
    with: Vec<PathBuf>,
    /// Change a label in NEW: sa:NAMESPACE/NAME:KEY=VALUE, pod:NAMESPACE/NAME:KEY=VALUE,
    /// ns:NAME:KEY=VALUE; KEY- in place of KEY=VALUE removes one (may be repeated)
    #[arg(long = "set-label", id = "labels", value_name = "LABEL")]
    labels: Vec<LabelEdit>,
    /// Compile both and list the nodes whose scripts change: `auto` with at most 20 nodes
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    nodes: ExitCondition,
    /// Also where there is no endpoint in the input
    #[arg(long)]
    allow_no_endpoints: bool,
    /// Compare as if staged policies were in force
    #[arg(long)]
    staged: bool,
    #[command(flatten)]
    choices: RenderArguments,
}

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExitCondition {
    Auto,
    Always,
    Never,
}

/// Nodes that are compiled unasked.
const MOST_NODES: usize = 20;

/// A state as it was read.
struct DiffSide {
    files: SourceFiles,
    input: Input,
    found: Diagnostics,
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
    let new = arguments.new.as_ref().unwrap_or(&arguments.old);

    let mut sides = thread::scope(|scope| {
        let other = scope.spawn(|| arguments.read(new, &arguments.labels));
        let own = arguments.read(&arguments.old, &[]);
        other.join().map(|other| OldNew {
            old: own,
            new: other,
        })
    });
    let Ok(sides) = &mut sides else {
        return report.diagnostic(Diagnostic::new(
            Code::InternalError,
            "the new state could not be read",
        ));
    };

    let names = [&arguments.old, new].map(|path| path.display().to_string());
    let is_refused = sides.old.found.has_errors() || sides.new.found.has_errors();
    if is_refused {
        return refuse(sides, report);
    }

    let told = arguments.report_diff(sides, &names, (&options, &templates), report);
    let status = report.diagnostics(&sides.new.found, &sides.new.files);
    match told {
        Err(diagnostic) => report.diagnostic(diagnostic),
        Ok(Some((text, answered))) if status == ExitStatus::Clean => report.answer(&text, answered),
        Ok(Some(_)) => status,
        Ok(None) => refuse(sides, report),
    }
}

/// Prints what is wrong with either side; what is only to be known of OLD is left out.
fn refuse(sides: &OldNew<DiffSide>, report: &mut OutputStreams) -> ExitStatus {
    for side in [&sides.old, &sides.new] {
        if side.found.has_errors() {
            report.diagnostics(&side.found, &side.files);
        }
    }
    ExitStatus::Invalid
}

impl Arguments {
    fn read(&self, path: &Path, labels: &[LabelEdit]) -> DiffSide {
        let mut diagnostics = Diagnostics::default();
        let files = match GitRevision::parse(path) {
            Some(Ok(revision)) => revision.read(&self.with, &mut diagnostics),
            Some(Err(diagnostic)) => {
                diagnostics.push(diagnostic);
                SourceFiles::default()
            }
            None => {
                let paths: Vec<PathBuf> = std::iter::once(path)
                    .chain(self.with.iter().map(PathBuf::as_path))
                    .map(Path::to_owned)
                    .collect();
                input::read(&paths, &mut diagnostics)
            }
        };
        let mut input = crate::read(&files, input::staging(self.staged), &mut diagnostics);

        if !diagnostics.has_errors() {
            let edited = labels
                .iter()
                .try_for_each(|edit| input.inventory.edit(edit));
            edited.unwrap_or_else(|diagnostic| diagnostics.push(diagnostic));
        }

        if !self.allow_no_endpoints {
            emptiness::refuse(
                &input,
                &format!("a comparison with `{}`", path.display()),
                &mut diagnostics,
            );
        }

        emptiness::note_unpoliced(&input, &mut diagnostics);
        DiffSide {
            files,
            input,
            found: diagnostics,
        }
    }

    /// The answer as text, and the status it gives; none where a side is refused.
    fn report_diff(
        &self,
        sides: &mut OldNew<DiffSide>,
        [old, new]: &[String; 2],
        choices: (&CompileOptions, &TemplateSet),
        report: &mut OutputStreams,
    ) -> Result<Option<(BufferedOutput, ExitStatus)>, Diagnostic> {
        let before = resolve::selectors(
            &sides.old.input.policies,
            &sides.old.input.inventory,
            &mut sides.old.found,
        );
        let after = resolve::selectors(
            &sides.new.input.policies,
            &sides.new.input.inventory,
            &mut sides.new.found,
        );
        let nodes = match self.wants_nodes([&before, &after]) {
            true => Some(changed_nodes(
                [&before, &after],
                choices.0,
                choices.1,
                [&mut sides.old.found, &mut sides.new.found],
            )?),
            false => None,
        };

        if sides.old.found.has_errors() || sides.new.found.has_errors() {
            return Ok(None);
        }

        let mut difference = diff::between(&before, &after, choices.0);
        let is_equal = difference.is_empty();
        let files = OldNew {
            old: &sides.old.files,
            new: &sides.new.files,
        };
        let comparison = DiffReport::new(
            &mut difference,
            files,
            OldNew { old, new },
            nodes.as_deref(),
        );
        let format = report.format();
        let text = BufferedOutput::capture(|out| match format {
            // a command without a format never gets here with it
            OutputFormat::Text
            | OutputFormat::Csv
            | OutputFormat::Dot
            | OutputFormat::Junit
            | OutputFormat::Prometheus => answers::text(&comparison, out),
            OutputFormat::Json => answers::json(&comparison, out),
            OutputFormat::Md => answers::markdown(&comparison, out),
            OutputFormat::Sarif => answers::sarif(&comparison, out),
        });

        if is_equal {
            report.remark("equal: no connection is gained or lost");
        }

        if nodes.is_none()
            && self.nodes == ExitCondition::Auto
            && !before.inventory.nodes.is_empty()
            && !after.inventory.nodes.is_empty()
        {
            report.remark(&format!(
                "scripts are not compared, as there are more than {MOST_NODES} nodes; `--nodes \
                 always` does it"
            ));
        }

        Ok(Some((
            text,
            if is_equal {
                ExitStatus::Clean
            } else {
                ExitStatus::Differs
            },
        )))
    }

    fn wants_nodes(&self, states: [&ResolvedPolicy<'_>; 2]) -> bool {
        let count = |state: &ResolvedPolicy<'_>| state.inventory.nodes.len();
        match self.nodes {
            ExitCondition::Auto => states
                .iter()
                .all(|state| (1..=MOST_NODES).contains(&count(state))),
            ExitCondition::Always => true,
            ExitCondition::Never => false,
        }
    }
}

/// The nodes whose scripts change, by name. One node's scripts of each state are in memory at a
/// time.
fn changed_nodes(
    [old, new]: [&ResolvedPolicy<'_>; 2],
    options: &CompileOptions,
    templates: &TemplateSet,
    [before, after]: [&mut Diagnostics; 2],
) -> Result<Vec<ScriptChange>, Diagnostic> {
    let mut names: Vec<&str> = [old, new]
        .into_iter()
        .flat_map(|state| &state.inventory.nodes)
        .map(|node| &*node.name)
        .collect();
    names.sort_unstable();
    names.dedup();

    let compile = |state: &ResolvedPolicy<'_>,
                   name: &str,
                   diagnostics: &mut Diagnostics|
     -> Result<Option<NodePart>, Diagnostic> {
        match state.inventory.find_node(name) {
            Some(node) => crate::compile(state, node, options, templates, diagnostics),
            None => Ok(None),
        }
    };
    let mut changes = Vec::new();

    for name in names {
        let (then, now) = (compile(old, name, before)?, compile(new, name, after)?);
        changes.extend(ScriptChange::between(then.as_ref(), now.as_ref()));
    }

    Ok(changes)
}
