//! One compile, stage by stage, with the rooms called as `lib.rs` calls them.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::ops::{Add, Sub};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use palisade::bundle::{BundleWriter, NodePart, Provenance, ScriptCounts, input_digest};
use palisade::diagnostic::{Diagnostic, Diagnostics, print};
use palisade::inventory::{self, Inventory, NodeId};
use palisade::options::CompileOptions;
use palisade::policy::{self, PolicySet};
use palisade::render::{self, TemplateSet};
use palisade::resolve::{self, ResolvedPolicy};
use palisade::ruleset::CheckedScripts;
use palisade::source::SourceFiles;
use palisade::{document, lower, manifest};
use rustix::time::{ClockId, clock_gettime};

use super::cases::{Case, Nodes};
use super::{INVENTORY, POLICIES};

/// Where a case's bundle stands.
pub(super) fn bundle(directory: &Path) -> PathBuf {
    directory.join("bundle")
}

/// Compiles the case generated in a directory, and prints its table.
pub(super) fn compile(case: &Case, directory: &Path) -> io::Result<()> {
    let mut stages = Stages::default();
    let mut diagnostics = Diagnostics::default();
    let files = stages.time("files to text", || texts(directory))?;
    let (policies, inventory, digest) = read(&files, &mut stages, &mut diagnostics);
    refuse(&diagnostics, &files)?;

    let resolved = stages.time("resolve::selectors", || {
        resolve::selectors(&policies, &inventory, &mut diagnostics)
    });
    let nodes: Vec<NodeId> = match case.nodes {
        Nodes::All => inventory.nodes_with_ids().map(|(id, _)| id).collect(),
        Nodes::First => inventory
            .nodes_with_ids()
            .map(|(id, _)| id)
            .take(1)
            .collect(),
    };

    let writer = BundleWriter::new(
        &bundle(directory),
        Provenance {
            inputs: digest,
            staged: false,
        },
    )
    .map_err(failure)?;
    let output = render_nodes(&resolved, &nodes, writer, &mut stages, &mut diagnostics)?;

    refuse(&diagnostics, &files)?;
    let input = (
        files.iter().map(|(_, file)| file.text.len()).sum(),
        resolved.policies.selectors.len(),
    );
    io::stdout().write_all(table(case, input.0, input.1, &stages, &output).as_bytes())
}

fn texts(directory: &Path) -> io::Result<SourceFiles> {
    let mut files = SourceFiles::default();
    for name in [INVENTORY, POLICIES] {
        let text = fs::read_to_string(directory.join(name))?;
        files
            .add(name, text)
            .map_err(|length| io::Error::other(format!("`{name}` has {length} bytes")))?;
    }
    Ok(files)
}

/// As `palisade::read`, with a clock for each reader.
fn read(
    files: &SourceFiles,
    stages: &mut Stages,
    diagnostics: &mut Diagnostics,
) -> (PolicySet, Inventory, String) {
    let mut written = manifest::ManifestReader::default();
    let mut cluster = inventory::InventoryBuilder::default();
    let [mut in_manifest, mut in_inventory] = [Time::default(); 2];
    let clock = Clock::start();
    document::for_each(files, diagnostics, &mut |object, diagnostics| {
        let mut lap = Clock::start();
        written.ingest(&object, diagnostics);
        in_manifest = in_manifest + lap.lap();
        cluster.ingest(&object, diagnostics);
        in_inventory = in_inventory + lap.lap();
    });
    stages.add(
        "document::for_each",
        clock.time() - (in_manifest + in_inventory),
    );
    stages.add("manifest::Reader", in_manifest);
    stages.add("inventory::Builder", in_inventory);

    let manifest = written.finish();
    let inventory = stages.time("inventory finish", || {
        cluster.finish(&manifest, diagnostics)
    });
    let policies = stages.time("policy::check", || {
        policy::check(manifest, policy::StagedPolicies::Proposed, diagnostics)
    });

    let digest = stages.time("bundle::input_digest", || {
        input_digest(&policies, &inventory)
    });
    (policies, inventory, digest)
}

/// What came out, summed over nodes.
#[derive(Default)]
struct Output {
    nodes: usize,
    sets: usize,
    members: usize,
    /// Chains and rules, IPv4 and IPv6.
    tables: [(usize, usize); 2],
    bytes: usize,
}

fn render_nodes(
    resolved: &ResolvedPolicy<'_>,
    nodes: &[NodeId],
    mut writer: BundleWriter,
    stages: &mut Stages,
    diagnostics: &mut Diagnostics,
) -> io::Result<Output> {
    let (options, templates) = (
        CompileOptions::default(),
        TemplateSet::new(&[]).map_err(failure)?,
    );
    let mut output = Output::default();

    for node in nodes {
        let program = stages.time("lower::to_chains", || {
            lower::to_chains(resolved, *node, &options, diagnostics)
        });
        let scripts = stages
            .time("render::to_text", || render::to_text(&program, &templates))
            .map_err(failure)?;
        let checked = stages.time("CheckedScripts::read", || {
            CheckedScripts::read(scripts.files(), &options.extensions)
        });
        let checked = checked.map_err(io::Error::other)?;
        let part = NodePart::new(
            &resolved.inventory.node(*node).name,
            &program,
            scripts,
            checked.extensions(),
        );
        stages
            .time("bundle add", || writer.add(&part))
            .map_err(failure)?;
        output.add(&part);
        stages.time("drop of the node", || drop((program, part)));
    }

    stages
        .time("bundle finish (sync)", || writer.finish())
        .map_err(failure)?;
    Ok(output)
}

impl Output {
    fn add(&mut self, part: &NodePart) {
        self.nodes += 1;
        self.bytes += part
            .scripts
            .files()
            .iter()
            .map(|(_, text)| text.len())
            .sum::<usize>();

        let mut tables = self.tables.iter_mut();
        for counts in &part.counts {
            match counts {
                ScriptCounts::Sets { sets, members } => {
                    self.sets += sets;
                    self.members += members;
                }
                ScriptCounts::Table { chains, rules } => tables
                    .next()
                    .into_iter()
                    .for_each(|table| *table = (table.0 + chains, table.1 + rules)),
            }
        }
    }
}

/// Time that has passed, and what of it this thread had a processor, which other programs disturb
/// less.
#[derive(Clone, Copy, Default)]
struct Time {
    passed: Duration,
    busy: Duration,
}

impl Add for Time {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            busy: self.busy + other.busy,
        }
    }
}

impl Sub for Time {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            passed: self.passed.saturating_sub(other.passed),
            busy: self.busy.saturating_sub(other.busy),
        }
    }
}

/// A clock of both.
struct Clock {
    started: Instant,
    busy: Duration,
}

impl Clock {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            busy: busy(),
        }
    }

    fn time(&self) -> Time {
        Time {
            passed: self.started.elapsed(),
            busy: busy().saturating_sub(self.busy),
        }
    }

    /// The time since the start or the last lap.
    fn lap(&mut self) -> Time {
        let time = self.time();
        *self = Self::start();
        time
    }
}

/// Processor time of this thread.
fn busy() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Time of every stage, in order of appearance, and the peak of memory when it was last over.
#[derive(Default)]
struct Stages {
    rows: Vec<(&'static str, Time, usize)>,
}

impl Stages {
    fn time<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let clock = Clock::start();
        let result = work();
        self.add(stage, clock.time());
        result
    }

    fn add(&mut self, stage: &'static str, time: Time) {
        let peak = peak_kilobytes();
        match self.rows.iter_mut().find(|row| row.0 == stage) {
            Some(row) => (row.1, row.2) = (row.1 + time, peak),
            None => self.rows.push((stage, time, peak)),
        }
    }
}

/// `VmHWM` of this process.
fn peak_kilobytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default()
}

fn table(case: &Case, bytes: usize, selectors: usize, stages: &Stages, output: &Output) -> String {
    let mut text = format!(
        "### {}\n\n{} (seed {}).\n\n",
        case.name, case.about, case.shape.seed
    );
    text += "| stage | ms | ms of processor | peak so far, MB |\n|---|---:|---:|---:|\n";

    for (stage, time, peak) in &stages.rows {
        let _ = writeln!(
            text,
            "| {stage} | {} | {} | {} |",
            milliseconds(time.passed),
            milliseconds(time.busy),
            peak / 1024
        );
    }

    let all = stages
        .rows
        .iter()
        .fold(Time::default(), |all, row| all + row.1);
    let peak = stages
        .rows
        .iter()
        .map(|row| row.2)
        .max()
        .unwrap_or_default();
    let (passed, busy) = (milliseconds(all.passed), milliseconds(all.busy));
    let _ = writeln!(
        text,
        "| **all** | **{passed}** | **{busy}** | **{}** |",
        peak / 1024
    );
    let Output {
        nodes,
        sets,
        members,
        tables: [v4, v6],
        bytes: written,
    } = output;
    let _ = writeln!(
        text,
        "\nIn: {:.1} MB of text, {selectors} distinct selectors.",
        megabytes(bytes)
    );
    let _ = writeln!(
        text,
        "Out, {nodes} nodes: {sets} sets, {members} members; IPv4 {} chains, {} rules; IPv6 {} \
         chains, {} rules; {:.1} MB of scripts.",
        v4.0,
        v4.1,
        v6.0,
        v6.1,
        megabytes(*written)
    );

    text
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// An error where the input has one: the generator is wrong then.
fn refuse(found: &Diagnostics, files: &SourceFiles) -> io::Result<()> {
    match found.has_errors() {
        true => Err(io::Error::other(
            found
                .sorted()
                .iter()
                .take(3)
                .map(|first| print::human(first, files, false))
                .collect::<String>(),
        )),
        false => Ok(()),
    }
}

fn failure(diagnostic: Diagnostic) -> io::Error {
    io::Error::other(diagnostic.message)
}
