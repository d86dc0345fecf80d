//! Time of the questions about whole clusters, on the synthetic ones of `benches/compile`.
//! `benches/README.md` says how to run it.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench takes its arguments as they are"
)]

#[path = "../compile/cases.rs"]
#[expect(
    dead_code,
    reason = "which nodes are rendered matters to a compile only"
)]
mod cases;
mod diff;
#[path = "../compile/generator.rs"]
mod generator;
#[path = "../compile/groups.rs"]
mod groups;
mod long;
#[path = "../compile/policies.rs"]
mod policies;
#[path = "../compile/random.rs"]
mod random;

use std::io::{self, Write};
use std::str::FromStr;
use std::time::{Duration, Instant};

use palisade::connectivity::peers::{PeerGrouping, PeerList};
use palisade::connectivity::{self, ConnectivityQuery};
use palisade::diagnostic::Diagnostics;
use palisade::explain::query::{self, Query};
use palisade::inventory::Endpoint;
use palisade::netfilter::NodeKernel;
use palisade::options::CompileOptions;
use palisade::output::OutputSink;
use palisade::packet_space::{ClusterSpace, HeaderSpace, PartitionBuilder};
use palisade::policy::StagedPolicies;
use palisade::render::{self, TemplateSet};
use palisade::resolve::{self, ResolvedPolicy};
use palisade::ruleset::CheckedScripts;
use palisade::semantics::evaluate::Evaluator;
use palisade::semantics::path::FlowRouter;
use palisade::source::SourceFiles;
use palisade::{explain, lower, report, verify};
use rustix::time::{ClockId, clock_gettime};

/// Single connections that are asked about.
const ASKED: usize = 100;

fn main() -> io::Result<()> {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let names = if named.is_empty() {
        vec!["smoke".to_owned(), "medium".to_owned()]
    } else {
        named
    };

    names
        .iter()
        .try_for_each(|name| measure(cases::find(name)?))?;
    long::measure(&mut io::stdout().lock())
}

fn measure(case: &cases::Case) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "## {}: {}\n\n| stage | seconds | of processor |\n|---|---|---|",
        case.name, case.about
    )?;

    let mut files = SourceFiles::default();
    let (mut inventory, mut policies) = (Vec::new(), Vec::new());
    generator::inventory(&case.shape, &mut inventory)?;
    policies::write(&case.shape, &mut policies)?;

    let [inventory, policies] =
        [inventory, policies].map(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let (inventory, policies) = (inventory?, policies?);

    for (name, text) in [
        ("inventory.json", inventory.clone()),
        ("policies.yaml", policies.clone()),
    ] {
        files
            .add(name, text)
            .map_err(|length| io::Error::other(format!("`{name}` has {length} bytes")))?;
    }

    let mut diagnostics = Diagnostics::default();
    let input = timed("read", &mut out, || {
        palisade::read(&files, StagedPolicies::Proposed, &mut diagnostics)
    })?;
    let resolved = timed("resolve::selectors", &mut out, || {
        resolve::selectors(&input.policies, &input.inventory, &mut diagnostics)
    })?;
    let mut traffic = timed("Cuts and Traffic::of", &mut out, || {
        let mut cuts = PartitionBuilder::default();
        cuts.of_policy(&resolved);
        HeaderSpace::of(&cuts)
    })?;
    let space = timed("Space::of", &mut out, || {
        ClusterSpace::new(&resolved, &mut traffic)
    })?;
    let peers = timed("Peers::of", &mut out, || {
        PeerList::group(resolved.inventory, &space, PeerGrouping::Workload)
    })?;
    let asked = ConnectivityQuery {
        by: PeerGrouping::Workload,
        from: Vec::new(),
        to: Vec::new(),
        what: Vec::new(),
    };
    let answer = timed("connectivity::of, with the space", &mut out, || {
        connectivity::list(&resolved, &asked)
    })?;
    let answer = answer.map_err(|diagnostic| io::Error::other(diagnostic.message))?;

    timed("as text", &mut out, || {
        report::connectivity::text(&answer, &mut OutputSink::on(&mut io::sink()))
    })?;
    diff::measure(&inventory, &policies, &mut out)?;
    eval(&resolved, &mut out)?;

    let (endpoints, classes) = (
        input.inventory.endpoints.len(),
        space.places.classes().count(),
    );
    let (peers, pairs) = (peers.all().len(), answer.pairs.len());

    writeln!(
        out,
        "\n{endpoints} endpoints in {classes} classes of places, {peers} peers, {pairs} pairs, {} \
         classes of traffic\n",
        traffic.len()
    )?;

    verified(&resolved, &mut out)
}

/// One node's scripts, proven.
fn verified(resolved: &ResolvedPolicy<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Some((node, _)) = resolved.inventory.nodes_with_ids().next() else {
        return Ok(());
    };

    let (options, mut diagnostics) = (CompileOptions::default(), Diagnostics::default());
    let templates =
        TemplateSet::new(&[]).map_err(|diagnostic| io::Error::other(diagnostic.message))?;
    let program = lower::to_chains(resolved, node, &options, &mut diagnostics);
    let scripts = render::to_text(&program, &templates)
        .map_err(|diagnostic| io::Error::other(diagnostic.message))?;

    writeln!(out, "| stage | seconds | of processor |\n|---|---|---|")?;
    let read = || CheckedScripts::read(scripts.files(), &options.extensions);
    let checked =
        timed("CheckedScripts::read, of one node", out, read)?.map_err(io::Error::other)?;
    let kernel = timed("Kernel::load, of one node", out, || {
        NodeKernel::load(&checked)
    })?;
    let evaluator = timed("Evaluator::of", out, || Evaluator::new(resolved))?;
    let verification = timed("verify::of_kernel", out, || {
        verify::of_kernel(&evaluator, node, &options, &kernel)
    })?;
    let (proof, differences) = (verification.proof, verification.differences.len());

    writeln!(
        out,
        "\n{} classes of addresses, {} of traffic, {} pairs, {differences} differences\n",
        proof.places, proof.traffic, proof.pairs
    )
}

/// Questions about single connections, each with a router and an evaluator of its own, as `palisade
/// eval` has them.
fn eval(resolved: &ResolvedPolicy<'_>, out: &mut dyn Write) -> io::Result<()> {
    let addressed: Vec<&Endpoint> = resolved
        .inventory
        .endpoints
        .iter()
        .filter(|endpoint| !endpoint.addresses.is_empty())
        .collect();
    let last = addressed.len().saturating_sub(1);
    let options = CompileOptions::default();
    let mut spent: Vec<Duration> = Vec::new();

    for index in 0..ASKED {
        let [from, to] =
            [index, ASKED + index].map(|index| addressed.get(last * index / (2 * ASKED)));
        let (Some(from), Some(to)) = (from, to) else {
            return Ok(());
        };
        let parsed = |text: String| text.parse().map_err(io::Error::other);
        let question = Query {
            from: parsed(from.notation())?,
            to: parsed(to.notation())?,
            traffic: query::QueryTraffic::from_str("tcp/443").map_err(io::Error::other)?,
            source_port: None,
        };
        let started = Instant::now();
        let evaluator = Evaluator::new(resolved);
        let cases = question
            .cases(&evaluator, &options)
            .map_err(|diagnostic| io::Error::other(diagnostic.message))?;
        let groups = explain::answer_on_nodes(
            &evaluator,
            &mut FlowRouter::new(&evaluator, &options),
            &cases,
        );
        spent.push(started.elapsed());
        assert!(!groups.is_empty());
    }

    spent.sort_unstable();
    for (word, place) in [("best", 0), ("median", ASKED / 2), ("worst", ASKED - 1)] {
        let spent = spent.get(place).copied().unwrap_or_default();
        writeln!(
            out,
            "| eval of one connection, {word} of {ASKED} | {:.4} |",
            spent.as_secs_f64()
        )?;
    }

    Ok(())
}

/// A row of the table.
fn timed<Made>(stage: &str, out: &mut dyn Write, make: impl FnOnce() -> Made) -> io::Result<Made> {
    let (started, processor) = (Instant::now(), processor());
    let made = make();
    let processor = self::processor().saturating_sub(processor);
    writeln!(
        out,
        "| {stage} | {:.3} | {:.3} |",
        started.elapsed().as_secs_f64(),
        processor.as_secs_f64()
    )?;
    Ok(made)
}

/// What this thread has had of the processor.
fn processor() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
