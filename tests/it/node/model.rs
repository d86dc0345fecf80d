//! A kernel's sets and tables, changed by calls of the tools, one instant after the other. It
//! shares nothing with the planner but the [`ToolCall`]: it reads their input word by word, and
//! does what `ipset restore` and `iptables-restore --noflush` do.
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use palisade::net::Family;
use palisade::netfilter::NodeKernel;
use palisade::observe::ObservedKernel;
use palisade::packet::{Packet, Verdict};
use palisade::plan::PlanStep;
use palisade::ruleset::{KernelContents, ParsedSet, ParsedTable};
use palisade::runner::ToolCall;

/// Tables, in the order in which packets meet them, and their built-in chains.
pub(super) const TABLES: [(&str, &[&str]); 4] = [
    ("raw", &["PREROUTING", "OUTPUT"]),
    (
        "mangle",
        &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    ),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("security", &["INPUT", "FORWARD", "OUTPUT"]),
];

const TARGETS: [&str; 6] = ["ACCEPT", "DROP", "RETURN", "LOG", "CT", "REJECT"];

/// What the tools print otherwise than it was written.
const PRINTED: [(&str, &str); 4] = [
    ("-p icmpv6", "-p ipv6-icmp"),
    ("--limit 10/second", "--limit 10/sec"),
    ("--limit 7/minute", "--limit 7/min"),
    ("--comment \"palisade\"", "--comment palisade"),
];

/// A kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct World {
    /// Whether tables are those of iptables-nft.
    pub(super) is_nft: bool,
    pub(super) sets: BTreeMap<String, Members>,
    /// By family and name.
    pub(super) tables: BTreeMap<(Family, &'static str), Chains>,
    /// Sets that `ipset` cannot list.
    pub(super) unlisted: BTreeSet<String>,
    /// Whether this is what some packets meet in the middle of a change: nobody can list it, and no
    /// kill leaves it.
    pub(super) is_fleeting: bool,
}

/// The rules of chains, as they were written.
pub(super) type Chains = BTreeMap<String, Vec<String>>;

/// A set: what `create` said, and members with whether they are exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) create: String,
    pub(super) members: BTreeMap<String, bool>,
}

/// The texts of our sets that rules look into, and of the tables of each family, in the order of
/// [`TABLES`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WorldTexts {
    pub(super) sets: String,
    pub(super) v4: [String; 4],
    pub(super) v6: [String; 4],
}

/// [`WorldTexts`], loaded. The interpreter knows no security tables: it takes them for filter
/// tables of another kernel, which is asked about the same packet.
pub(super) struct Loaded {
    kernel: NodeKernel,
    behind: Option<NodeKernel>,
}

impl World {
    /// A kernel with nothing of ours.
    pub(super) fn new(is_nft: bool) -> Self {
        let empty = |chains: &[&str]| {
            chains
                .iter()
                .map(|chain| ((*chain).to_owned(), Vec::new()))
                .collect::<Chains>()
        };
        let tables = Family::BOTH
            .into_iter()
            .flat_map(|family| TABLES.map(|(name, chains)| ((family, name), empty(chains))));

        Self {
            is_nft,
            sets: BTreeMap::new(),
            tables: tables.collect(),
            unlisted: BTreeSet::new(),
            is_fleeting: false,
        }
    }

    /// Runs a step, call by call, since those of a step do not depend on each other; `seen` is
    /// shown every state that packets can meet.
    pub(super) fn step(
        &mut self,
        step: &PlanStep,
        seen: &mut dyn FnMut(&World),
    ) -> Result<(), String> {
        step.calls.iter().try_for_each(|call| self.run(call, seen))
    }

    /// Runs a call, likewise.
    pub(super) fn run(
        &mut self,
        call: &ToolCall,
        seen: &mut dyn FnMut(&World),
    ) -> Result<(), String> {
        let words: Vec<&str> = call.arguments.iter().map(String::as_str).collect();

        match (call.program.as_str(), words.as_slice()) {
            ("ipset", ["-exist", "restore"]) => self.sets_restore(&call.input, true, seen),
            ("ipset", ["restore"]) => self.sets_restore(&call.input, false, seen),
            ("ipset", ["destroy", name]) => {
                self.sets_restore(&format!("destroy {name}\n"), false, seen)
            }
            ("iptables-legacy-restore" | "iptables-nft-restore", ["--noflush", "-w", _]) => {
                self.restore(&call.input, Family::V4, seen)
            }
            ("ip6tables-legacy-restore" | "ip6tables-nft-restore", ["--noflush", "-w", _]) => {
                self.restore(&call.input, Family::V6, seen)
            }
            _ => Err(format!("unknown call `{call}`")),
        }
    }

    fn sets_restore(
        &mut self,
        input: &str,
        exist: bool,
        seen: &mut dyn FnMut(&World),
    ) -> Result<(), String> {
        for line in input.lines() {
            let without = self.missed_by(line);
            self.set_line(line, exist)
                .map_err(|problem| format!("`{line}`: {problem}"))?;
            if let Some((set, members)) = without {
                let mut fleeting = Self {
                    is_fleeting: true,
                    ..self.clone()
                };
                fleeting.sets.insert(set, members);
                seen(&fleeting);
            }
            seen(self);
        }

        Ok(())
    }

    /// What packets may take a set for while a line takes away its last prefix of a length: the
    /// kernel looks for an address length by length, longest first, in a list that is moved up
    /// under it, so that the members of the next length may be missed.
    fn missed_by(&self, line: &str) -> Option<(String, Members)> {
        let ["del", name, member] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };

        let set = self
            .sets
            .get(name)
            .filter(|set| set.create.starts_with("hash:net") && set.members.contains_key(member))?;
        let gone = length(member);

        let mut rest = set.clone();
        rest.members.remove(member);
        let has_more = rest.members.keys().any(|member| length(member) == gone);

        let next = rest
            .members
            .keys()
            .map(|member| length(member))
            .filter(|length| *length < gone)
            .max()?;
        rest.members.retain(|member, _| length(member) != next);

        (!has_more && self.is_in_use(name)).then(|| (name.to_owned(), rest))
    }

    fn set_line(&mut self, line: &str, exist: bool) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();

        match words.as_slice() {
            ["create", name, rest @ ..] => {
                let create = rest.join(" ");
                if name.len() > 31 {
                    return Err("the name is too long".to_owned());
                }
                match self.sets.get(*name) {
                    Some(known) if exist && known.create == create => Ok(()),
                    Some(_) => Err("there is such a set".to_owned()),
                    None => {
                        self.sets.insert(
                            (*name).to_owned(),
                            Members {
                                create,
                                members: BTreeMap::new(),
                            },
                        );
                        Ok(())
                    }
                }
            }
            ["add", name, member] => self.add(name, member, false, exist),
            ["add", name, member, "nomatch"] => self.add(name, member, true, exist),
            ["del", name, member] => {
                let set = self.sets.get_mut(*name).ok_or("no such set")?;
                for member in set.each(member)? {
                    let was_there = set.members.remove(&member).is_some();
                    (was_there || exist).then_some(()).ok_or("no such member")?;
                }
                Ok(())
            }
            ["flush", name] => {
                self.sets
                    .get_mut(*name)
                    .ok_or("no such set")?
                    .members
                    .clear();
                Ok(())
            }
            ["swap", left, right] => self.swap(left, right),
            ["destroy", name] => {
                if self.is_in_use(name) {
                    return Err("in use by a kernel component".to_owned());
                }
                let was_unlisted = self.unlisted.remove(*name);
                (self.sets.remove(*name).is_some() || was_unlisted)
                    .then_some(())
                    .ok_or_else(|| "no such set".to_owned())
            }
            _ => Err("unknown line".to_owned()),
        }
    }

    fn add(
        &mut self,
        name: &str,
        member: &str,
        is_exception: bool,
        exist: bool,
    ) -> Result<(), String> {
        let set = self.sets.get_mut(name).ok_or("no such set")?;
        for member in set.each(member)? {
            if set.members.insert(member, is_exception).is_some() && !exist {
                return Err("it is there already".to_owned());
            }
        }

        let most = set
            .create
            .split_once("maxelem ")
            .and_then(|(_, most)| most.split(' ').next()?.parse::<usize>().ok());
        if most.is_some_and(|most| set.members.len() > most) {
            Err("the set is full".to_owned())
        } else {
            Ok(())
        }
    }

    fn swap(&mut self, left: &str, right: &str) -> Result<(), String> {
        let [one, other] = [left, right].map(|name| {
            self.sets
                .get(name)
                .cloned()
                .ok_or_else(|| format!("no set {name}"))
        });
        let (one, other) = (one?, other?);

        let kind = |set: &Members| set.create.split(' ').take(3).collect::<Vec<_>>().join(" ");
        if kind(&one) != kind(&other) {
            return Err("of other types".to_owned());
        }

        self.sets.insert(left.to_owned(), other);
        self.sets.insert(right.to_owned(), one);
        Ok(())
    }

    fn is_in_use(&self, set: &str) -> bool {
        self.tables
            .values()
            .flat_map(BTreeMap::values)
            .flatten()
            .any(|rule| sets_in(rule).contains(&set))
    }

    fn restore(
        &mut self,
        input: &str,
        family: Family,
        seen: &mut dyn FnMut(&World),
    ) -> Result<(), String> {
        let mut open: Option<(&'static str, Chains, Chains)> = None;
        for line in input.lines() {
            if let Some(word) = line.strip_prefix('*') {
                let (name, _) = TABLES
                    .into_iter()
                    .find(|(name, _)| *name == word)
                    .ok_or("no such table")?;
                let chains = self.tables[&(family, name)].clone();
                open = Some((name, chains.clone(), chains));
            } else if line == "COMMIT" {
                let (name, _, chains) = open.take().ok_or("no open table")?;
                self.check(&chains)?;
                self.tables.insert((family, name), chains);
                seen(self);
            } else {
                let (_, before, chains) = open.as_mut().ok_or("no open table")?;
                table_line(line, self.is_nft, before, chains)
                    .map_err(|problem| format!("`{line}`: {problem}"))?;
            }
        }

        if open.is_none() {
            Ok(())
        } else {
            Err("no COMMIT".to_owned())
        }
    }

    /// What is checked at the latest when a table is committed.
    fn check(&self, chains: &Chains) -> Result<(), String> {
        for rule in chains.values().flatten() {
            if let Some(target) = target_of(rule)
                .filter(|target| !TARGETS.contains(target) && !chains.contains_key(*target))
            {
                return Err(format!("no chain `{target}` for `{rule}`"));
            }
            let missing = sets_in(rule)
                .into_iter()
                .find(|set| !self.sets.contains_key(*set) && !self.unlisted.contains(*set));
            missing.map_or(Ok(()), |set| Err(format!("no set `{set}` for `{rule}`")))?;
        }

        Ok(())
    }

    /// What the tools list.
    pub(super) fn observed(&self) -> ObservedKernel {
        let mut tables = BTreeMap::new();
        for family in Family::BOTH {
            let text: String = TABLES
                .iter()
                .map(|(name, _)| self.saved(family, name))
                .collect();
            tables.extend(ParsedTable::read(&text, family).expect("tables are printed well"));
        }

        let listed = |name: &&String| !self.unlisted.contains(*name);
        let text: String = self
            .sets
            .iter()
            .filter(|(name, _)| listed(name))
            .map(|(name, set)| set.saved(name))
            .collect();

        ObservedKernel {
            sets: ParsedSet::read(&text).expect("sets are printed well"),
            unlisted: self.unlisted.clone(),
            tables,
        }
    }

    fn saved(&self, family: Family, name: &'static str) -> String {
        let chains = &self.tables[&(family, name)];
        let declared = chains.keys().map(|chain| format!(":{chain} - [0:0]\n"));
        let rules = chains.iter().flat_map(|(chain, rules)| {
            rules
                .iter()
                .map(move |rule| format!("[0:0] -A {chain} {}\n", printed(rule)))
        });

        format!(
            "*{name}\n{}{}COMMIT\n",
            declared.collect::<String>(),
            rules.collect::<String>()
        )
    }

    /// The texts of all that packets can meet of ours.
    pub(super) fn texts(&self) -> WorldTexts {
        let mut named = BTreeSet::new();
        let [v4, v6] =
            Family::BOTH.map(|family| TABLES.map(|(name, _)| self.text(family, name, &mut named)));
        let sets = named
            .iter()
            .filter_map(|name| Some((name, self.sets.get(*name)?)))
            .map(|(name, set)| set.saved(name))
            .collect();
        WorldTexts { sets, v4, v6 }
    }

    fn text<'world>(
        &'world self,
        family: Family,
        name: &'static str,
        named: &mut BTreeSet<&'world str>,
    ) -> String {
        let chains = &self.tables[&(family, name)];
        let mut open: Vec<&str> = TABLES
            .iter()
            .find(|(other, _)| *other == name)
            .expect("a table")
            .1
            .to_vec();
        let mut declared = BTreeSet::new();
        let mut lines = String::new();

        while let Some(chain) = open.pop() {
            let is_ours = chain.starts_with("pal-");
            let own = chains[chain].iter().map(|rule| {
                (
                    rule,
                    target_of(rule).filter(|target| target.starts_with("pal-")),
                )
            });
            for (rule, target) in own.filter(|(_, target)| is_ours || target.is_some()) {
                named.extend(sets_in(rule));
                lines.push_str(&format!("-A {chain} {rule}\n"));
                open.extend(target.filter(|target| declared.insert(*target)));
            }
        }

        let declared: String = declared
            .iter()
            .map(|chain| format!(":{chain} - [0:0]\n"))
            .collect();
        format!("*{name}\n{declared}{lines}COMMIT\n")
    }

    /// Puts a rule into a chain, as others do.
    pub(super) fn insert(
        &mut self,
        family: Family,
        table: &'static str,
        chain: &str,
        at: usize,
        rule: &str,
    ) {
        let rules = self
            .tables
            .get_mut(&(family, table))
            .and_then(|chains| chains.get_mut(chain))
            .expect("a chain");
        rules.insert(at.min(rules.len()), rule.to_owned());
    }
}

impl WorldTexts {
    /// All of it.
    pub(super) fn whole(&self) -> String {
        format!("{}{}{}", self.sets, self.v4.concat(), self.v6.concat())
    }

    /// What it does with packets.
    #[expect(clippy::disallowed_methods, reason = "this is a model of a kernel")]
    pub(super) fn load(&self) -> Loaded {
        let [_, _, _, behind4] = &self.v4;
        let [_, _, _, behind6] = &self.v6;
        let is_guarded = [behind4, behind6].iter().any(|text| text.contains("-A "));
        let [behind4, behind6] =
            [behind4, behind6].map(|text| text.replace("*security", "*filter"));
        let [[raw4, mangle4, filter4, _], [raw6, mangle6, filter6, _]] = [&self.v4, &self.v6];
        let load = |filter4: &str, filter6: &str| {
            let v4 = [
                ("raw.v4.rules", raw4.as_str()),
                ("mangle.v4.rules", mangle4),
                ("filter.v4.rules", filter4),
            ];
            let v6 = [
                ("raw.v6.rules", raw6.as_str()),
                ("mangle.v6.rules", mangle6),
                ("filter.v6.rules", filter6),
            ];
            let files = [("sets.ipset", self.sets.as_str())]
                .into_iter()
                .chain(v4)
                .chain(v6);
            let holdings = KernelContents::of_kernel(files);
            NodeKernel::of_holdings(
                &holdings.unwrap_or_else(|problem| panic!("{problem}\n{}", self.whole())),
            )
        };

        Loaded {
            kernel: load(filter4, filter6),
            behind: is_guarded.then(|| load(&behind4, &behind6)),
        }
    }
}

impl Loaded {
    /// What becomes of a packet, whether it is kept from connection tracking, and the rules that it
    /// meets.
    pub(super) fn run(&self, packet: &Packet) -> (Verdict, bool, Vec<String>) {
        let run = self.kernel.run(packet);
        let mut passed: Vec<String> = run.passed.iter().map(ToString::to_string).collect();
        let mut verdict = run.verdict;
        if let Some(behind) = self.behind.as_ref().filter(|_| verdict != Verdict::Drop) {
            let behind = behind.run(packet);
            passed.extend(
                behind
                    .passed
                    .iter()
                    .map(|passed| format!("security: {passed}")),
            );
            verdict = if behind.verdict == Verdict::Drop {
                Verdict::Drop
            } else {
                verdict
            };
        }

        (verdict, run.is_untracked, passed)
    }

    /// The interpreter's kernels that stand behind each other.
    pub(super) fn kernels(&self) -> impl Iterator<Item = &NodeKernel> {
        [&self.kernel].into_iter().chain(&self.behind)
    }
}

impl Members {
    /// The members that a word stands for.
    fn each(&self, word: &str) -> Result<Vec<String>, String> {
        match word.split_once('-') {
            Some((first, last)) if self.create.starts_with("bitmap:port") => {
                let [first, last] = [first, last]
                    .map(|port| port.parse::<u16>().map_err(|problem| problem.to_string()));
                Ok((first?..=last?).map(|port| port.to_string()).collect())
            }
            _ => Ok(vec![word.to_owned()]),
        }
    }

    fn saved(&self, name: &str) -> String {
        let word = |(member, is_exception): (&String, &bool)| {
            if *is_exception {
                format!("{member} nomatch")
            } else {
                member.clone()
            }
        };
        let members = if self.create.starts_with("bitmap:port") {
            self.ranges()
        } else {
            self.members.iter().map(word).collect()
        };

        let members: String = members
            .iter()
            .map(|member| format!("add {name} {member}\n"))
            .collect();
        format!("create {name} {}\n{members}", self.create)
    }

    /// Ports; those that follow each other in one word, which ipset would list one by one.
    fn ranges(&self) -> Vec<String> {
        let mut ports: Vec<u16> = self
            .members
            .keys()
            .map(|port| port.parse().expect("a port"))
            .collect();
        ports.sort_unstable();

        let word = |run: &[u16]| match run {
            [only] => only.to_string(),
            run => format!("{}-{}", run[0], run[run.len() - 1]),
        };
        ports
            .chunk_by(|left, right| left + 1 == *right)
            .map(word)
            .collect()
    }
}

/// The length of a prefix, as it is written.
fn length(member: &str) -> u8 {
    let own = if member.contains(':') { 128 } else { 32 };
    member
        .split_once('/')
        .map_or(own, |(_, length)| length.parse().expect("a length"))
}

fn table_line(
    line: &str,
    is_nft: bool,
    before: &Chains,
    chains: &mut Chains,
) -> Result<(), String> {
    if let Some(declared) = line.strip_prefix(':') {
        let name = declared
            .strip_suffix(" - [0:0]")
            .ok_or("a policy, or counters")?;
        chains.insert(name.to_owned(), Vec::new());
        return Ok(());
    }

    let (verb, rest) = line.split_once(' ').ok_or("unknown line")?;
    let (chain, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    if verb == "-X" {
        let rules = chains.get(chain).ok_or("no such chain")?;
        let leads_there = |chains: &Chains| {
            chains
                .values()
                .flatten()
                .any(|rule| target_of(rule) == Some(chain))
        };
        if !rules.is_empty() || leads_there(chains) || is_nft && leads_there(before) {
            return Err("the chain is not empty, or in use".to_owned());
        }
        chains.remove(chain);
        return Ok(());
    }

    let rules = chains.get_mut(chain).ok_or("no such chain")?;
    match (verb, rest.strip_prefix("1 ")) {
        ("-A", _) => rules.push(rest.to_owned()),
        ("-I", Some(rule)) => rules.insert(0, rule.to_owned()),
        ("-D", _) => {
            let at = rules
                .iter()
                .position(|rule| printed(rule) == printed(rest))
                .ok_or("no such rule")?;
            rules.remove(at);
        }
        _ => return Err("unknown line".to_owned()),
    }

    Ok(())
}

/// As the tools list a rule.
fn printed(rule: &str) -> String {
    PRINTED
        .iter()
        .fold(rule.to_owned(), |rule, (wrote, prints)| {
            rule.replace(wrote, prints)
        })
}

/// The words of a rule, what stands between quotes left out.
fn bare_words(rule: &str) -> impl Iterator<Item = &str> {
    rule.split('"')
        .step_by(2)
        .flat_map(|part| part.split(' '))
        .filter(|word| !word.is_empty())
}

fn target_of(rule: &str) -> Option<&str> {
    bare_words(rule)
        .skip_while(|word| !["-j", "-g"].contains(word))
        .nth(1)
}

fn sets_in(rule: &str) -> Vec<&str> {
    let words: Vec<&str> = bare_words(rule).collect();
    words
        .windows(2)
        .filter(|pair| pair[0] == "--match-set")
        .map(|pair| pair[1])
        .collect()
}
