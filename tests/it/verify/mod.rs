//! Scripts that are changed are found out: every mutant of golden bundles, judged by `verify` and,
//! packet by packet, by the interpreter.
//!
//! `cargo test --test it mutants -- --nocapture` prints the counts.
#![expect(clippy::disallowed_methods, reason = "tests read files")]
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and says what it counted"
)]

mod mutate;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use palisade::diagnostic::Diagnostics;
use palisade::inventory::NodeId;
use palisade::net::{Cidr, Family, PortRange};
use palisade::netfilter::NodeKernel;
use palisade::options::{
    CompileOptions, Encapsulated, EndpointToHost, ExtensionSet, FailsafePorts, HookPosition,
    SourceValidation,
};
use palisade::policy::StagedPolicies;
use palisade::render::{self, TemplateSet};
use palisade::ruleset::{CheckedScripts, KernelContents};
use palisade::semantics::evaluate::Evaluator;
use palisade::source::SourceFiles;
use palisade::verify::{self, VerifyDifference};
use palisade::{lower, resolve};

use crate::line_diff::line_diff;
use crate::palisade::root;

use mutate::{Kind, Mutant, Script};
use oracle::{Asked, Changed, Oracle};

/// How many mutants there are for one that is tried: all of them take minutes, those of host
/// endpoints most of it.
const STRIDE: usize = 7;
const STRIDE_OF_HOSTS: usize = 29;

/// What became of the mutants of a kind.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    mutants: usize,
    refused: usize,
    changed: usize,
    equal: usize,
    /// Found, although no verdict changes: a jump that stands at the wrong end of a chain of the
    /// kernel's.
    misplaced: usize,
}

/// The failsafe ports of the mutated host endpoints: the default list says the same nine times.
fn failsafes() -> FailsafePorts {
    FailsafePorts {
        inbound: "22".parse().expect("a port"),
        outbound: "udp:53".parse().expect("a port"),
    }
}

/// A test for each golden case: its node, and options that are not as usual.
macro_rules! mutants {
    ($($name:ident: $case:literal, $node:literal, $options:expr;)*) => {
        mod mutants {
            use super::*;
            $(
                #[test]
                fn $name() {
                    check($case, $node, &$options);
                }
            )*
        }
    };
}

mutants! {
    two_families: "dual-stack", "n1", CompileOptions::default();
    classes_and_tiers: "request-all-three", "n1", CompileOptions::default();
    rules_that_pass: "pass-rules-stand-in-the-class", "n1", CompileOptions::default();
    tiers_that_pass: "tier-with-default-action-pass", "n1", CompileOptions::default();
    profiles: "profiles", "n1", CompileOptions::default();
    services: "services", "n1", CompileOptions::default();
    ports_by_name: "named-and-numeric-ports", "n1", CompileOptions::default();
    ports_by_name_excluded: "named-ports-excluded", "n1", CompileOptions::default();
    ports_in_a_set: "ports-more-than-multiport-takes", "n1", CompileOptions::default();
    ports: "ports", "n1", CompileOptions::default();
    all_addresses: "nets-everything", "n1", CompileOptions::default();
    exceptions: "nets-with-exceptions", "n1", CompileOptions::default();
    what_is_excluded: "not-nets", "n1", CompileOptions::default();
    control_messages: "icmp", "n1", CompileOptions::default();
    one_family: "ip-version", "n1", CompileOptions::default();
    logs: "log-only", "n1", CompileOptions::default();
    unknown_addresses: "unknown-endpoint-drop", "n1", CompileOptions::default();
    sources: "unknown-endpoint-drop", "n1", CompileOptions {
        source_validation: SourceValidation::Loose,
        pod_interfaces: vec!["cali+".parse().expect("a pattern")],
        ..CompileOptions::default()
    };
    sources_logged: "several-nodes", "n1", CompileOptions { source_validation: SourceValidation::Log, ..CompileOptions::default() };
    sources_trusted: "several-nodes", "n1", CompileOptions { source_validation: SourceValidation::Off, ..CompileOptions::default() };
    encapsulated: "encapsulated-drop", "n1", CompileOptions { encapsulated: Encapsulated::Drop, ..CompileOptions::default() };
    closed_node: "endpoint-to-host-drop", "n1", CompileOptions { endpoint_to_host: EndpointToHost::Drop, ..CompileOptions::default() };
    behind_other_rules: "hook-position-tail", "n1", CompileOptions { hook_position: HookPosition::Tail, ..CompileOptions::default() };
    host_failsafes: "host-failsafes", "n1", CompileOptions {
        failsafes: FailsafePorts { inbound: "22,udp:68,tcp:192.0.2.0/24:6443,tcp:[2001:db8::/32]:6443".parse().expect("ports"), outbound: "none".parse().expect("none") },
        ..CompileOptions::default()
    };
    host_profiles: "host-profiles", "n1", CompileOptions { failsafes: failsafes(), ..CompileOptions::default() };
    host_forward: "host-forward", "n1", CompileOptions { failsafes: failsafes(), ..CompileOptions::default() };
    host_untracked: "host-untracked", "n1", CompileOptions { failsafes: failsafes(), ..CompileOptions::default() };
    host_pre_dnat: "host-pre-dnat", "n1", CompileOptions { failsafes: failsafes(), ..CompileOptions::default() };
    host_asked_again: "host-pre-dnat-cluster-only", "n1", CompileOptions { failsafes: failsafes(), ..CompileOptions::default() };
    host_original_address: "host-pre-dnat-original-address", "n1", CompileOptions { failsafes: failsafes(), ..CompileOptions::default() };
}

fn check(case: &str, node: &str, options: &CompileOptions) {
    let files = inputs(&root().join("golden").join(case));
    let mut diagnostics = Diagnostics::default();
    let input = palisade::read(&files, StagedPolicies::Proposed, &mut diagnostics);
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let evaluator = Evaluator::new(&resolved);
    let id = resolved.inventory.find_node(node).expect("the node");
    let program = lower::to_chains(&resolved, id, options, &mut diagnostics);
    let scripts = scripts(
        &render::to_text(&program, &TemplateSet::new(&[]).expect("templates")).expect("scripts"),
    );
    let original = load(&scripts).expect("it loads");

    assert!(
        verify::of_kernel(&evaluator, id, options, &original).is_proven(),
        "{case} is not proven"
    );

    let of_node = resolved
        .inventory
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.node == Some(id));
    let locals: Vec<Cidr> = of_node
        .flat_map(|endpoint| endpoint.addresses.iter().copied().map(Cidr::host))
        .collect();
    let early = early(&scripts);
    let asked = [Family::V4, Family::V6].map(|family| (family, asked(&scripts, family)));
    let oracle = Oracle::of(&original, early.as_ref(), locals, BTreeMap::from(asked));
    let judge = Judge {
        evaluator: &evaluator,
        node: id,
        options,
        scripts: &scripts,
        oracle: &oracle,
    };
    let mut counts: BTreeMap<Kind, Counts> = BTreeMap::new();
    let mut wrong = Vec::new();
    let (stride, mutants) = (stride(case), mutants(&scripts));
    let mut number = 0;

    for mutant in mutants {
        number += 1;
        if number % stride == 0 {
            wrong.extend(judge.judge(&mutant, counts.entry(mutant.kind).or_default()));
        }
    }

    println!(
        "{case}: every {stride}. of {number} mutants, {} packets of the original, {} missed or \
         false",
        oracle.len(),
        wrong.len()
    );
    counts
        .iter()
        .for_each(|(kind, count)| println!("  {kind:24} {count:?}"));
    assert!(
        wrong.is_empty(),
        "{case}: {}\n{}",
        wrong.len(),
        wrong
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );

    let of_all = |count: fn(&Counts) -> usize| counts.values().map(count).sum::<usize>();
    assert!(
        of_all(|count| count.refused) > 0
            && of_all(|count| count.changed) > 0
            && of_all(|count| count.equal) > 0,
        "{case}"
    );
}

/// All mutants, each text once.
fn mutants(scripts: &[Script]) -> impl Iterator<Item = Mutant> + '_ {
    let mut known = BTreeSet::new();
    let lines = (0..scripts.len())
        .flat_map(|script| (0..scripts[script].lines.len()).map(move |at| (script, at)));
    let all = lines.flat_map(|(script, at)| mutate::of_line(scripts, script, at));
    all.filter(move |mutant| known.insert((mutant.script, hash(&mutant.lines))))
}

/// One case, by `verify` and by the oracle.
struct Judge<'run> {
    evaluator: &'run Evaluator<'run, 'run>,
    node: NodeId,
    options: &'run CompileOptions,
    scripts: &'run [Script],
    oracle: &'run Oracle<'run>,
}

/// Why a difference counts, and whether it is such a one.
type Reason = (&'static str, fn(&VerifyDifference<'_>) -> bool);

/// Differences that `verify` finds although no verdict changes, and why they count.
const REASONS: [Reason; 1] = [(
    "a jump stands at the other end of the kernel's chain, before or behind rules of others",
    |difference| matches!(difference, VerifyDifference::Misplaced(_)),
)];

impl Judge<'_> {
    /// Takes note of a mutant, and says what is wrong: a difference that is missed, or one that is
    /// none.
    fn judge(&self, mutant: &Mutant, count: &mut Counts) -> Option<String> {
        let script = &self.scripts[mutant.script];
        count.mutants += 1;
        let mut all = self.scripts.to_vec();
        all[mutant.script].lines.clone_from(&mutant.lines);
        let Some(kernel) = load_alone(&all, mutant.script)
            .and_then(|()| load(&all))
            .ok()
        else {
            count.refused += 1;
            return None;
        };
        if mutate::is_early(script) && mutant.lines.iter().any(|line| line.ends_with("-j ACCEPT")) {
            // no verdict of ours, and yet rules of others are skipped
            return Some(format!(
                "taken: {}\n{}",
                mutant.kind,
                first_change(script, mutant)
            ));
        }
        let family = if script.name.contains("v4") {
            Family::V4
        } else {
            Family::V6
        };

        let asked = (family, &asked(&all, family));
        let packet = self.oracle.differs(
            &kernel,
            &changed(self.scripts, mutant),
            asked,
            asks_anew(script, mutant),
        );
        let verification = verify::of_kernel(self.evaluator, self.node, self.options, &kernel);
        let (others, packets): (Vec<_>, Vec<_>) = verification
            .differences
            .iter()
            .partition(|difference| REASONS.iter().any(|(_, holds)| holds(difference)));

        match (packet.is_some(), others.is_empty()) {
            (true, _) => count.changed += 1,
            (false, false) => count.misplaced += 1,
            (false, true) => count.equal += 1,
        }

        let is_misplaced = !kernel
            .misplaced(self.options.hook_position == HookPosition::Head)
            .is_empty();
        let problem = match (packet.is_some(), !packets.is_empty()) {
            (true, false) => "missed",
            (false, true)
                if packets
                    .iter()
                    .all(|difference| is_of_unknown_direction(difference)) =>
            {
                return None;
            }
            (false, true) => "false",
            (true, true) | (false, false) if is_misplaced == others.is_empty() => "misplaced",
            (true, true) | (false, false) => return None,
        };

        Some(format!(
            "{problem}: {} {packet:?}\n{}",
            mutant.kind,
            first_change(script, mutant)
        ))
    }
}

/// Whether a difference counts only because a rule asks a packet of a known connection for its
/// original destination: `verify` does not model replies, and proves no such rule.
fn is_of_unknown_direction(difference: &VerifyDifference<'_>) -> bool {
    let VerifyDifference::Packet(witness) = difference else {
        return false;
    };
    let is_known = matches!(
        witness.packet.state,
        palisade::net::State::Established | palisade::net::State::Related
    );
    is_known
        && witness.verdict == witness.owed.verdict
        && witness.is_untracked == witness.owed.is_untracked
}

/// Of all mutants of a case, every so many-th is tried; with `PALISADE_ALL_MUTANTS`, every one.
fn stride(case: &str) -> usize {
    match (
        std::env::var_os("PALISADE_ALL_MUTANTS").is_some(),
        case.starts_with("host-"),
    ) {
        (true, _) => 1,
        (false, true) => STRIDE_OF_HOSTS,
        (false, false) => STRIDE,
    }
}

fn hash(lines: &[String]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    lines.hash(&mut hasher);
    hasher.finish()
}

/// The input files of a case.
fn inputs(case: &Path) -> SourceFiles {
    let mut files = SourceFiles::default();
    for file in ["manifest.yaml", "policies.yaml", "inventory.yaml"] {
        if let Ok(text) = fs::read_to_string(case.join(file)) {
            files.add(file, text).expect("short");
        }
    }
    files
}

/// The scripts of a node without comments.
fn scripts(rendered: &render::NodeScripts) -> Vec<Script> {
    let all = [
        ("sets.ipset", &rendered.sets),
        ("filter.v4.rules", &rendered.filter_v4),
        ("filter.v6.rules", &rendered.filter_v6),
    ];
    let early = rendered.early.iter().map(|(name, text)| (*name, text));
    let lines = |text: &str| {
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };

    all.into_iter()
        .chain(early)
        .map(|(name, text)| Script {
            name,
            lines: lines(text),
        })
        .collect()
}

/// The kernel with a bundle's scripts, which are read as `verify` and `apply` read them.
fn load(scripts: &[Script]) -> Result<NodeKernel, String> {
    let texts = texts(scripts);
    let checked = CheckedScripts::read(files(&texts), &ExtensionSet::default());
    checked
        .map(|checked| NodeKernel::load(&checked))
        .map_err(|refused| refused.to_string())
}

/// The kernel with a part of scripts.
fn load_part(scripts: &[Script]) -> Result<NodeKernel, String> {
    let texts = texts(scripts);
    let holdings = KernelContents::of_kernel(files(&texts));
    holdings
        .map(|holdings| NodeKernel::of_holdings(&holdings))
        .map_err(|refused| refused.to_string())
}

fn texts(scripts: &[Script]) -> Vec<(&'static str, String)> {
    let text = |script: &Script| {
        script
            .lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    };

    scripts
        .iter()
        .map(|script| (script.name, text(script)))
        .collect()
}

fn files<'text>(
    texts: &'text [(&'static str, String)],
) -> impl Iterator<Item = (&'text str, &'text str)> {
    texts.iter().map(|(name, text)| (*name, text.as_str()))
}

/// Whether one script would load. Rules need sets without members, and no other table.
fn load_alone(scripts: &[Script], own: usize) -> Result<(), String> {
    let mut alone = scripts.to_vec();
    for (_, script) in alone
        .iter_mut()
        .enumerate()
        .filter(|(number, _)| *number != own)
    {
        match script.name.split_once('.') {
            Some(("sets", _)) => script.lines.retain(|line| line.starts_with("create ")),
            Some((table, _)) => script.lines = vec![format!("*{table}"), "COMMIT".to_owned()],
            None => {}
        }
    }

    load_part(&alone).map(drop)
}

/// The tables before the filter table alone, where it matters to them where packets are sent to.
fn early(scripts: &[Script]) -> Option<NodeKernel> {
    let mut scripts = scripts.to_vec();
    for script in scripts
        .iter_mut()
        .filter(|script| script.name.starts_with("filter"))
    {
        script.lines = ["*filter", "COMMIT"].map(str::to_owned).to_vec();
    }
    let early = (scripts.len() > 3).then(|| load_part(&scripts).expect("it loads"));
    early.filter(NodeKernel::asks_before_dnat)
}

/// What a family's scripts ask about original destinations.
fn asked(scripts: &[Script], family: Family) -> Asked {
    let mut asked = Asked::default();
    let name = if family == Family::V4 {
        "filter.v4.rules"
    } else {
        "filter.v6.rules"
    };

    for line in scripts
        .iter()
        .filter(|script| script.name == name)
        .flat_map(|script| &script.lines)
    {
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.windows(2) {
            match pair[0] {
                "--ctorigdst" => asked.nets.extend(
                    Cidr::parse_strict(pair[1])
                        .ok()
                        .or_else(|| pair[1].parse().ok().map(Cidr::host)),
                ),
                "--ctorigdstport" => {
                    let (first, last) = pair[1].split_once(':').unwrap_or((pair[1], pair[1]));
                    let edges = first.parse().ok().zip(last.parse().ok());
                    asked
                        .ports
                        .extend(edges.and_then(|(first, last)| PortRange::new(first, last)));
                }
                _ => {}
            }
        }
    }

    asked
}

/// Whether a mutant asks packets what the original does not. Rules ask by their conditions, which
/// stand before comment and target.
fn asks_anew(script: &Script, mutant: &Mutant) -> bool {
    let conditions = |lines: &[String]| -> BTreeSet<String> {
        let rules = lines.iter().filter(|line| line.starts_with("-"));
        rules
            .map(|line| {
                line.splitn(3, ' ')
                    .last()
                    .and_then(|rest| rest.split("-m comment").next())
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    script.name == "sets.ipset" || !conditions(&mutant.lines).is_subset(&conditions(&script.lines))
}

/// The chains that a mutant changes, and the first changed rule in each. A changed set changes the
/// rules that name it.
fn changed(scripts: &[Script], mutant: &Mutant) -> Changed {
    let script = &scripts[mutant.script];
    if script.name != "sets.ipset" {
        let (old, new) = (by_subject(&script.lines), by_subject(&mutant.lines));
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        let first = |name: &str| {
            first_difference(
                old.get(name).map_or(&[][..], Vec::as_slice),
                new.get(name).map_or(&[][..], Vec::as_slice),
            )
        };
        return names
            .into_iter()
            .filter_map(|name| Some(((script.name, name.to_owned()), first(name)?)))
            .collect();
    }

    let (old, new) = (by_subject(&script.lines), by_subject(&mutant.lines));
    let sets: BTreeSet<&str> = old
        .keys()
        .chain(new.keys())
        .copied()
        .filter(|name| old.get(name) != new.get(name))
        .collect();

    let tables = scripts.iter().filter(|script| script.name != "sets.ipset");
    tables.flat_map(|table| chains_with(table, &sets)).collect()
}

/// Lines by the chain or set that they speak of.
fn by_subject(lines: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut by_subject: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines.iter().filter(|line| !line.starts_with(':')) {
        by_subject
            .entry(line.split(' ').nth(1).unwrap_or_default())
            .or_default()
            .push(line);
    }
    by_subject
}

/// The first rule, from 1, that is not the same. What is put at the head comes before all others.
fn first_difference(old: &[&str], new: &[&str]) -> Option<usize> {
    if old == new {
        return None;
    }

    let is_at_head = old.iter().chain(new).any(|line| !line.starts_with("-A "));
    Some(if is_at_head {
        1
    } else {
        1 + old
            .iter()
            .zip(new)
            .take_while(|(old, new)| old == new)
            .count()
    })
}

/// The chains of a table with a rule that names one of some sets.
fn chains_with(table: &Script, sets: &BTreeSet<&str>) -> Changed {
    let is_named = |line: &&str| line.split(' ').any(|word| sets.contains(word));
    let chains = by_subject(&table.lines);
    chains
        .iter()
        .filter_map(|(chain, rules)| {
            Some((
                (table.name, (*chain).to_owned()),
                1 + rules.iter().position(is_named)?,
            ))
        })
        .collect()
}

fn first_change(script: &Script, mutant: &Mutant) -> String {
    let [old, new] = [&script.lines, &mutant.lines].map(|lines| lines.join("\n"));
    format!("{}:\n{}", script.name, line_diff(&old, &new))
}

/// Renders with lines more in the template of the filter tables; what it gave, and whether it
/// wrote.
fn rendered_with(lines: &str, more: &[&str]) -> (crate::palisade::Outcome, bool) {
    rendered_with_in("filter.rules.hbs", lines, more)
}

fn rendered_with_in(name: &str, lines: &str, more: &[&str]) -> (crate::palisade::Outcome, bool) {
    let place = tempfile::tempdir().expect("a directory");
    let template = fs::read_to_string(root().join("templates").join(name)).expect("the template");
    let changed = template.replace("\n{{hooks}}", &format!("\n{lines}\n{{{{hooks}}}}"));
    fs::write(place.path().join(name), changed).expect("written");

    let out = place.path().join("bundle").display().to_string();
    let templates = place.path().display().to_string();
    let words = [
        "render",
        "--templates",
        &templates,
        "--out",
        &out,
        "manifest.yaml",
        "inventory.yaml",
    ];
    let words: Vec<&str> = words.into_iter().chain(more.iter().copied()).collect();

    let outcome = crate::palisade::run(&root().join("golden/several-nodes"), &words);
    (outcome, Path::new(&out).exists())
}

/// Without `--verify` too: no script of a bundle has such a rule.
#[test]
fn templates_accept_nothing_in_early_tables() {
    for line in [
        "-A pal-PREROUTING -j ACCEPT",
        "-A pal-PREROUTING -m rpfilter -m comment --comment \"own\" -j ACCEPT",
    ] {
        let (outcome, is_written) = rendered_with_in("early.rules.hbs", line, &[]);
        assert_eq!((outcome.status, is_written), (2, false), "{line}");
        let said = "ACCEPT in the raw table, where it would skip the rules of others";
        assert!(
            outcome.stderr.contains("raw.v4.rules, line ") && outcome.stderr.contains(said),
            "{}",
            outcome.stderr
        );
    }

    let (outcome, is_written) = rendered_with_in(
        "early.rules.hbs",
        "-A pal-PREROUTING -j RETURN",
        &["--verify"],
    );

    assert_eq!(
        (outcome.status, is_written),
        (0, true),
        "{}",
        outcome.stderr
    );
}

/// A template that adds a rule of its own: `render --verify` writes nothing and says `not-proven`.
#[test]
fn what_is_not_proven_is_not_written() {
    let (outcome, is_written) = rendered_with("-A pal-OUTPUT -j DROP", &["--verify"]);
    assert_eq!((outcome.status, is_written), (2, false));
    assert!(
        outcome.stderr.contains("error[not-proven]"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn templates_add_to_palisades_chains_what_is_allowed() {
    for (lines, more) in [
        ("-I FORWARD 1 -j DROP", &[][..]),
        (
            "-A INPUT -p tcp -m tcp --dport 22 -j DROP",
            &["--allow-extension", "tcp"],
        ),
        ("-A pal-INPUT -p tcp -m tcp --dport 22 -j DROP", &[]),
        (
            "-A pal-INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
            &["--allow-extension", "tcp"],
        ),
        (
            "-A pal-INPUT -j DNAT --to-destination 10.0.0.1",
            &["--allow-extension", "DNAT"],
        ),
        ("-A pal-INPUT -j DROP ", &[]),
        ("-A pal-INPUT\t-j DROP", &[]),
    ] {
        let (outcome, is_written) = rendered_with(lines, more);
        assert_eq!(
            (outcome.status, is_written),
            (2, false),
            "{lines}: {}",
            outcome.stderr
        );
    }

    let own = "-A pal-INPUT -p tcp -m tcp --dport 22 -j REJECT";
    let more = [
        "--verify",
        "--allow-extension",
        "tcp",
        "--allow-extension",
        "REJECT",
    ];
    let (outcome, is_written) = rendered_with(own, &more);

    assert_eq!(
        (outcome.status, is_written),
        (0, true),
        "{}",
        outcome.stderr
    );

    assert!(
        outcome
            .stderr
            .contains("which may drop more: REJECT in 2 rules, tcp in 2 rules"),
        "{}",
        outcome.stderr
    );
}
