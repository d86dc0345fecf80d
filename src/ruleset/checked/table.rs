//! Reads the script for a table.

use std::collections::BTreeMap;

use crate::limits;
use crate::ruleset::checked::model::{CheckedRule, CheckedTarget, RuleCondition};
use crate::ruleset::checked::reader::RulePlace;
use crate::ruleset::checked::rule;
use crate::ruleset::checked::words::{ScriptWord, split_words};
use crate::ruleset::checked::{CheckLevel, ReadResult, ReadScript, ensure, lines};
use crate::ruleset::{KernelChain, PREFIX, ParsedSets, TableId};

/// Palisade's part of a table.
#[derive(Debug, Clone)]
pub struct CheckedTable {
    /// Palisade's chains with their rules, in order.
    pub chains: BTreeMap<String, Vec<CheckedRule>>,
    /// Rules in built-in chains, in script order.
    pub built_in: BTreeMap<KernelChain, Vec<CheckedRule>>,
}

/// Comment of the hooks.
const HOOK_COMMENT: &str = "palisade";

struct CheckedTableReader<'run> {
    id: TableId,
    sets: &'run ParsedSets,
    level: CheckLevel<'run>,
    table: CheckedTable,
    /// Whether a rule was read. Chains must be declared before all rules.
    has_rules: bool,
}

/// Reads the script for a table.
///
/// # Errors
/// A line that is not in the form that Palisade writes; a jump to a missing chain, or nested too
/// deep; or a chain that no packet can reach.
pub(super) fn read(
    text: &str,
    id: TableId,
    sets: &ParsedSets,
    level: CheckLevel<'_>,
) -> ReadScript<CheckedTable> {
    let built_in = id
        .kind
        .built_in()
        .iter()
        .map(|chain| (*chain, Vec::new()))
        .collect();
    let table = CheckedTable {
        chains: BTreeMap::new(),
        built_in,
    };
    let mut reader = CheckedTableReader {
        id,
        sets,
        level,
        table,
        has_rules: false,
    };
    let mut lines = lines::lines(text, limits::IPTABLES_LINE)?;
    let head = format!("*{}", id.kind.label());
    if lines.next().is_none_or(|(_, line)| line != head) {
        return Err((None, format!("it does not begin with `{head}`")));
    }
    loop {
        match lines.next() {
            None => return Err((None, "there is no `COMMIT`".to_owned())),
            Some((_, "COMMIT")) => break,
            Some((number, line)) => {
                reader
                    .line(number, line)
                    .map_err(|problem| (Some(number), problem))?;
            }
        }
    }
    if let Some((number, _)) = lines.next() {
        return Err((Some(number), "text behind `COMMIT`".to_owned()));
    }
    reader
        .table
        .check_jumps()
        .map_err(|problem| (None, problem))?;

    Ok(reader.table)
}

impl CheckedTableReader<'_> {
    fn line(&mut self, number: usize, line: &str) -> ReadResult<()> {
        if let Some(declared) = line.strip_prefix(':') {
            return self.declare(declared);
        }
        self.has_rules = true;
        let words = split_words(line)?;
        let unknown = || format!("unknown line `{line}`");
        let is_at_head = match words.first().ok_or_else(unknown)?.bare() {
            Some("-A") => false,
            Some("-I") => words.get(2).and_then(|word| word.bare()) == Some("1"),
            _ => return Err(unknown()),
        };
        let chain = words
            .get(1)
            .and_then(|word| word.bare())
            .ok_or_else(unknown)?;
        let begin = if is_at_head { 3 } else { 2 };
        ensure(is_at_head == line.starts_with("-I"), unknown)?;

        let context = RulePlace {
            id: self.id,
            sets: self.sets,
            level: self.level,
        };
        let rest = words.get(begin..).unwrap_or_default();
        // `split_words` has checked that one space separates two words.
        let text = line.splitn(begin + 1, ' ').last().unwrap_or_default();
        let rule = CheckedRule {
            line: number,
            is_at_head,
            ..rule::read(text, rest, context)?
        };
        self.put(chain, rule)
    }

    fn declare(&mut self, declared: &str) -> ReadResult<()> {
        ensure(!self.has_rules, || {
            "a chain that is declared behind rules".to_owned()
        })?;
        let name = declared.strip_suffix(" - [0:0]");
        let name = name.ok_or_else(|| format!("bad declaration of a chain: `:{declared}`"))?;
        ensure(is_chain_name(name), || {
            format!("bad name of a chain: `{name}`")
        })?;

        let is_new = self
            .table
            .chains
            .insert(name.to_owned(), Vec::new())
            .is_none();
        ensure(is_new, || format!("`{name}` is declared twice"))
    }

    fn put(&mut self, chain: &str, rule: CheckedRule) -> ReadResult<()> {
        if let Some(rules) = self.table.chains.get_mut(chain) {
            ensure(!rule.is_at_head, || format!("`-I` into `{chain}`"))?;
            rules.push(rule);
            return Ok(());
        }

        let rules = self.table.built_in.get_mut(chain);
        let rules = rules.ok_or_else(|| format!("there is no chain `{chain}`"))?;
        // In a bundle, the hook is the only rule in a built-in chain.
        if matches!(self.level, CheckLevel::Bundle(_)) {
            ensure(rule.is_hook_of(chain), || {
                format!("a rule in `{chain}`, where bundles have the jump to `pal-{chain}` alone")
            })?;
            ensure(rules.is_empty(), || format!("a second rule in `{chain}`"))?;
        }

        rules.push(rule);
        Ok(())
    }
}

impl CheckedRule {
    /// Returns whether the rule is the hook that bundles have in this built-in chain.
    fn is_hook_of(&self, chain: &str) -> bool {
        let leads = matches!(&self.target, CheckedTarget::Jump(to) if to.strip_prefix(PREFIX) == Some(chain));
        leads && self.conditions.is_empty() && self.comment == HOOK_COMMENT && !self.is_extension()
    }
}

impl CheckedTable {
    /// Returns the rules of a chain, which may be built in, in the kernel's order. Returns `None`
    /// if the chain does not exist.
    pub fn chain(&self, name: &str) -> Option<Vec<&CheckedRule>> {
        let rules = self.chains.get(name).or_else(|| self.built_in.get(name))?;
        // Each `-I chain 1` goes before the earlier ones, so the order of the head is reversed.
        let (head, tail): (Vec<&CheckedRule>, Vec<_>) =
            rules.iter().partition(|rule| rule.is_at_head);
        Some(head.into_iter().rev().chain(tail).collect())
    }

    /// Checks what the tools check at commit: targets exist, nothing loops, nesting is not too
    /// deep. Also checks that every chain is used.
    fn check_jumps(&self) -> ReadResult<()> {
        let mut used = BTreeMap::new();
        for chain in self.built_in.keys() {
            self.descend(chain, 0, &mut used)?;
        }

        self.check_reverse_paths()?;
        let unused = self
            .chains
            .keys()
            .map(String::as_str)
            .filter(|name| !used.contains_key(name));

        let unused: Vec<&str> = unused.collect();
        ensure(unused.is_empty(), || {
            format!("no packet gets to {}", unused.join(", "))
        })
    }

    /// The kernel supports `rpfilter` only below PREROUTING (`rpfilter_mt_reg` in
    /// net/ipv4/netfilter/ipt_rpfilter.c), because the packet must have arrived on an interface.
    fn check_reverse_paths(&self) -> ReadResult<()> {
        let mut used = BTreeMap::new();
        for chain in self.built_in.keys().filter(|chain| **chain != "PREROUTING") {
            self.descend(chain, 0, &mut used)?;
        }

        let is_asked =
            |row: &(bool, RuleCondition)| matches!(row.1, RuleCondition::ReversePath { .. });
        let asks = |rule: &&CheckedRule| rule.conditions.iter().any(is_asked);
        let has_asking =
            |name: &&&str| self.chain(name).is_some_and(|rules| rules.iter().any(asks));
        match used.keys().find(has_asking) {
            Some(chain) => Err(format!(
                "`{chain}` asks for the reverse path of packets that did not arrive"
            )),
            None => Ok(()),
        }
    }

    /// Visits the chains that a packet can reach. `used` holds the greatest depth of each visited
    /// chain.
    fn descend<'table>(
        &'table self,
        chain: &'table str,
        depth: usize,
        used: &mut BTreeMap<&'table str, usize>,
    ) -> ReadResult<()> {
        ensure(depth <= limits::DEPTH, || {
            format!("`{chain}` is nested too deep")
        })?;
        // A loop ends here, too: each pass increases the depth up to the limit.
        if used.get(chain).is_some_and(|known| *known >= depth) {
            return Ok(());
        }
        used.insert(chain, depth);

        let rules = self.chains.get(chain).or_else(|| self.built_in.get(chain));
        for rule in rules.ok_or_else(|| format!("there is no chain `{chain}`"))? {
            match &rule.target {
                CheckedTarget::Jump(other) | CheckedTarget::Goto(other) => {
                    self.descend(other, depth + 1, used)?
                }
                CheckedTarget::Accept
                | CheckedTarget::Drop
                | CheckedTarget::Return
                | CheckedTarget::Log
                | CheckedTarget::NoTrack => {}
            }
        }
        Ok(())
    }
}

/// Returns whether a chain name is `pal-` with letters, digits, `-`, `_` and `.`.
fn is_chain_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let own = name.strip_prefix(PREFIX).unwrap_or_default();
    !own.is_empty() && name.len() <= limits::CHAIN_NAME && own.bytes().all(is_known)
}

impl<'line> ScriptWord<'line> {
    /// Returns the word if it is not quoted.
    pub(super) fn bare(self) -> Option<&'line str> {
        (!self.is_quoted).then_some(self.text)
    }
}
