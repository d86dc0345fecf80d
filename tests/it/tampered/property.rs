//! Random mutants of golden bundles: those that `verify` proves go to the stock tools, and the
//! kernel holds what was read of them.

use std::collections::BTreeMap;
use std::{fmt, fs};

use palisade::diagnostic::Diagnostics;
use palisade::inventory::NodeId;
use palisade::net::Family;
use palisade::netfilter::NodeKernel;
use palisade::observe::ObservedKernel;
use palisade::options::{CompileOptions, ExtensionSet};
use palisade::plan::{self, DesiredKernel, Plan, PrintCache};
use palisade::policy::StagedPolicies;
use palisade::render::{self, TemplateSet};
use palisade::ruleset::CheckedScripts;
use palisade::semantics::evaluate::Evaluator;
use palisade::source::SourceFiles;
use palisade::{lower, resolve, verify};

use super::mutate;
use crate::agree::random::Dice;
use crate::apply::world::{World, kernel_of};
use crate::palisade::root;

/// Cases of which all sorts of sets, matches and targets are, each with its node.
const CASES: [&str; 12] = [
    "dual-stack",
    "pass-rules-stand-in-the-class",
    "named-and-numeric-ports",
    "ports-more-than-multiport-takes",
    "ports",
    "nets-with-exceptions",
    "icmp",
    "log-only",
    "services",
    "unknown-endpoint-drop",
    "host-untracked",
    "host-pre-dnat",
];
const NODE: &str = "n1";

/// Mutants that each build is tried with, unless `PALISADE_MUTATIONS` says another number.
const MUTANTS: usize = 2_400;
const VARIABLE: &str = "PALISADE_MUTATIONS";

/// The scripts of a node, in the order in which they are loaded.
type Scripts = Vec<(&'static str, String)>;

/// What became of mutants.
#[derive(Default)]
struct Counts {
    mutants: usize,
    /// By the reader.
    refused: usize,
    /// By the proof.
    differing: usize,
    /// Proven, and so loaded.
    proven: usize,
    /// Of these: the listing is that of the original.
    equal: usize,
    /// Of these: but for comments of rules.
    comments: usize,
    /// Of these: otherwise, and what the kernel holds is proven too.
    otherwise: usize,
}

/// A case, and what its mutants are held against.
struct Subject<'run> {
    evaluator: &'run Evaluator<'run, 'run>,
    node: NodeId,
    options: &'run CompileOptions,
    scripts: &'run Scripts,
    world: &'run World,
    /// The listing with the original loaded, and with nothing of palisade's.
    original: String,
    before: String,
    /// What the kernel holds without anything of palisade's.
    empty: &'run ObservedKernel,
}

pub(super) fn mutants_that_are_proven_load_as_they_are_read(world: &World) {
    let asked = std::env::var(VARIABLE)
        .ok()
        .map(|number| number.parse().expect("a number"));
    let share = asked.unwrap_or(MUTANTS).div_ceil(CASES.len());
    let mut counts = Counts::default();
    let mut problems = Vec::new();

    for (number, case) in (0..).zip(CASES) {
        let seed = 1_000 * number + u64::from(world.build.label() == "nft");
        problems.extend(of_case(case, world, share, seed, &mut counts));
    }

    println!("{}: {counts}", world.build.label());
    let shown: Vec<String> = problems.iter().take(10).cloned().collect();
    assert!(
        problems.is_empty(),
        "{}\n{}",
        problems.len(),
        shown.join("\n\n")
    );

    let has_all = [
        counts.refused,
        counts.differing,
        counts.equal,
        counts.comments,
    ];
    assert!(has_all.iter().all(|count| *count > 0), "{counts}");
}

fn of_case(case: &str, world: &World, share: usize, seed: u64, counts: &mut Counts) -> Vec<String> {
    let files = inputs(case);
    let options = CompileOptions::default();
    let mut diagnostics = Diagnostics::default();
    let input = palisade::read(&files, StagedPolicies::Proposed, &mut diagnostics);
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let evaluator = Evaluator::new(&resolved);
    let node = resolved.inventory.find_node(NODE).expect("the node");
    let program = lower::to_chains(&resolved, node, &options, &mut diagnostics);
    let templates = TemplateSet::new(&[]).expect("templates");
    let rendered = render::to_text(&program, &templates).expect("scripts");
    let files = rendered.files().into_iter();
    let scripts: Scripts = files.map(|(name, text)| (name, text.to_owned())).collect();

    world.clear();
    let before = listing(world);
    let empty = &world.observe();
    load(world, &scripts).expect("the original loads");
    let original = listing(world);
    let (evaluator, options, scripts) = (&evaluator, &options, &scripts);
    let subject = Subject {
        evaluator,
        node,
        options,
        scripts,
        world,
        original,
        before,
        empty,
    };
    let mut dice = Dice(seed);
    let problems = (0..share)
        .filter_map(|_| subject.judge(&mut dice, counts))
        .collect();
    world.clear();
    problems
}

impl Subject<'_> {
    /// Makes a mutant and tries it; a problem where the tools do otherwise than what was proven.
    fn judge(&self, dice: &mut Dice, counts: &mut Counts) -> Option<String> {
        let mut scripts = self.scripts.clone();
        let at = dice.below(scripts.len());
        scripts[at].1 = mutate::mutant(&self.scripts[at].1, dice);
        if scripts == *self.scripts {
            return None;
        }
        counts.mutants += 1;
        let files = scripts.iter().map(|(name, text)| (*name, text.as_str()));
        let Ok(checked) = CheckedScripts::read(files, &ExtensionSet::default()) else {
            counts.refused += 1;
            return None;
        };
        if !self.is_proven(&NodeKernel::load(&checked)) {
            counts.differing += 1;
            return None;
        }

        counts.proven += 1;
        self.world.clear();
        let problem = self.loaded(&scripts, checked, counts).err()?;
        Some(format!(
            "{problem}\n{}",
            first_change(&self.scripts[at].1, &scripts[at].1)
        ))
    }

    fn is_proven(&self, kernel: &NodeKernel) -> bool {
        let found = verify::of_kernel(self.evaluator, self.node, self.options, kernel);
        found.is_proven()
    }

    /// Loads what was proven, and looks at the kernel.
    fn loaded(
        &self,
        scripts: &Scripts,
        checked: CheckedScripts,
        counts: &mut Counts,
    ) -> Result<(), String> {
        load(self.world, scripts)?;
        let now = listing(self.world);
        if now == self.original {
            counts.equal += 1;
            return Ok(());
        }

        let (others, before) = (others(&now), others(&self.before));
        if others != before {
            return Err(format!(
                "what is not palisade's is other:\n{others}\nbefore:\n{before}"
            ));
        }
        let observed = self.world.observe();
        let plan = self.plan_after_load(&DesiredKernel::from_scripts(checked), &observed);
        if !plan.differences.is_empty() {
            return Err(format!(
                "the kernel holds something else than what was read:\n{plan}"
            ));
        }
        if without_comments(&now) == without_comments(&self.original) {
            counts.comments += 1;
            return Ok(());
        }
        if !self.is_proven(&kernel_of(&observed)) {
            return Err(format!("what the kernel holds is not proven:\n{now}"));
        }
        counts.otherwise += 1;
        Ok(())
    }

    /// What is left to do on a node that has just written what is desired. The node remembers rules
    /// that the tools print in another way, and so does this.
    fn plan_after_load(&self, desired: &DesiredKernel, observed: &ObservedKernel) -> Plan {
        let tools = self.world.tools();
        let backend = self.world.build.label().to_owned();
        let nothing = PrintCache {
            version: PrintCache::VERSION,
            backend,
            ..PrintCache::default()
        };
        let ran = plan::between(desired, self.empty, &nothing, &tools);
        plan::remember_and_plan(desired, observed, &ran, nothing, &tools).1
    }
}

/// Loads scripts as the README says.
fn load(world: &World, scripts: &Scripts) -> Result<(), String> {
    for (name, text) in scripts {
        let family = if name.contains("v4") {
            Family::V4
        } else {
            Family::V6
        };
        let (tool, words) = match *name {
            "sets.ipset" => ("ipset".to_owned(), ["restore"]),
            _ => (world.iptables(family, "-restore"), ["--noflush"]),
        };
        let (is_good, said) = world.try_tool(&tool, &words, text);
        if !is_good {
            return Err(format!("`{tool}` refuses {name}: {said}"));
        }
    }

    Ok(())
}

/// All that the kernel holds, as the tools print it: sets and tables in one order, without what the
/// kernel counted or drew, and without empty tables.
fn listing(world: &World) -> String {
    let sets = world.tool("ipset", &["save"], "");
    let mut sets: Vec<&str> = sets
        .lines()
        .map(|line| before(line, " bucketsize "))
        .collect();
    // a hash lists its members in the order of a number that is drawn
    sets.sort_unstable();

    let mut listing: String = sets.iter().map(|line| format!("{line}\n")).collect();
    for family in Family::BOTH {
        let tables = world.tool(&world.iptables(family, "-save"), &[], "");
        let mut tables: Vec<String> = tables.split_inclusive("COMMIT\n").map(table).collect();
        tables.sort_unstable();
        listing.push_str(&tables.concat());
    }

    listing
}

/// A table without comments and counters; nothing where it has only the kernel's chains.
fn table(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| {
        if line.starts_with(':') {
            before(line, " [")
        } else {
            line
        }
    });
    let lines: Vec<&str> = lines.collect();

    let is_used =
        |line: &&str| line.starts_with('-') || line.starts_with(':') && line.ends_with(" -");
    match lines.iter().any(is_used) {
        true => lines.iter().map(|line| format!("{line}\n")).collect(),
        false => String::new(),
    }
}

fn before<'text>(text: &'text str, mark: &str) -> &'text str {
    text.split_once(mark).map_or(text, |parts| parts.0)
}

/// The lines of a listing that are not palisade's.
fn others(listing: &str) -> String {
    let hooks = ["FORWARD", "INPUT", "OUTPUT", "PREROUTING"]
        .map(|chain| format!("-A {chain} -m comment --comment palisade -j pal-{chain}"));
    let is_other = |line: &&str| {
        let ours = ["create pal-", "add pal-", ":pal-", "-A pal-"];
        !ours.iter().any(|begin| line.starts_with(begin)) && !hooks.iter().any(|hook| hook == line)
    };
    // tables that are empty but for palisade's chains are not there without these
    let kept = |text: &str| {
        text.lines()
            .filter(is_other)
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let parts: Vec<String> = listing.split_inclusive("COMMIT\n").map(kept).collect();

    let is_used =
        |part: &String| part.contains("\n-") || part.contains(" -\n") || part.contains("create");
    parts.into_iter().filter(is_used).collect()
}

/// A listing without the comments of rules.
fn without_comments(listing: &str) -> String {
    let line = |line: &str| match line.split_once(" -m comment --comment ") {
        None => line.to_owned(),
        Some((before, behind)) => {
            let end = match behind.strip_prefix('"') {
                Some(inner) => inner.find('"').map_or(behind.len(), |end| end + 2),
                None => behind.find(' ').unwrap_or(behind.len()),
            };
            format!("{before}{}", &behind[end..])
        }
    };
    listing.lines().map(|text| line(text) + "\n").collect()
}

/// Where two texts first differ.
fn first_change(old: &str, new: &str) -> String {
    let [mut olds, mut news] = [old, new].map(|text| text.split('\n'));
    loop {
        match (olds.next(), news.next()) {
            (Some(old), Some(new)) if old == new => {}
            (old, new) => return format!("was {old:?}\nis  {new:?}"),
        }
    }
}

/// The input files of a case.
fn inputs(case: &str) -> SourceFiles {
    let mut files = SourceFiles::default();
    for file in ["manifest.yaml", "policies.yaml", "inventory.yaml"] {
        if let Ok(text) = fs::read_to_string(root().join("golden").join(case).join(file)) {
            files.add(file, text).expect("short");
        }
    }
    files
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = BTreeMap::from([
            ("1 mutants", self.mutants),
            ("2 refused by the reader", self.refused),
            ("3 refused by the proof", self.differing),
            ("4 proven and loaded", self.proven),
            ("5 with the listing of the original", self.equal),
            ("6 but for comments", self.comments),
            ("7 otherwise, proven from the listing", self.otherwise),
        ]);

        let words: Vec<String> = rows
            .iter()
            .map(|(name, count)| format!("{count} {}", &name[2..]))
            .collect();
        out.write_str(&words.join(", "))
    }
}
