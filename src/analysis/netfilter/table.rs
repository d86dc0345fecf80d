//! A table: the text for `iptables-restore --noflush`.

use std::collections::BTreeMap;

use crate::analysis::netfilter::{LoadError, Read, Script, TableName, Target, ensure, lines, reader, sets::Sets};
use crate::analysis::{Side, State};
use crate::net::{Cidr, Family, PortRange, Protocol};
use crate::policy::Icmp;

/// A table of a family.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: TableName,
    family: Family,
    pub(super) chains: BTreeMap<String, Vec<Rule>>,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its line in the script, from 1.
    pub(super) line: usize,
    /// Conditions that must all hold, and whether each is negated.
    pub(super) conditions: Vec<(bool, Condition)>,
    pub(super) target: Target,
    pub(super) comment: String,
    /// Whether it is put before all rules of its chain that are there.
    pub(super) is_at_head: bool,
}

/// A condition of a rule.
#[derive(Debug)]
pub(super) enum Condition {
    Protocol(Protocol),
    Address(Side, Cidr),
    /// The interface that the packet comes in by.
    Arrives(Interface),
    /// The route back to the packet's source leads out of the interface that it comes in by; where
    /// that is loose, out of any.
    ReversePath {
        is_loose: bool,
    },
    /// The interface that the packet goes out by.
    Leaves(String),
    Set(String, Vec<Side>),
    Ports(Side, Vec<PortRange>),
    Icmp(Icmp),
    Connection(Connection),
    /// A limit on how often; taken as never reached.
    Limit,
}

/// An interface, or all whose names begin alike (`cali+`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) stem: String,
    pub(super) is_open: bool,
}

impl Interface {
    /// Whether this is one of them.
    pub(super) fn is(&self, name: &str) -> bool {
        if self.is_open { name.starts_with(&self.stem) } else { name == self.stem }
    }
}

/// What one `-m conntrack` asks, and whether each is negated.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) states: Option<(bool, Vec<State>)>,
    /// The destination that the connection was made to, before it was translated.
    pub(super) address: Option<(bool, Cidr)>,
    /// The port of that.
    pub(super) port: Option<(bool, PortRange)>,
}

/// `NFT_JUMP_STACK_SIZE` 16 less the built-in chain: the deepest nesting of jumps and gotos that nftables loads.
const DEEPEST: usize = 15;
/// `XT_EXTENSION_MAXNAMELEN` 29 less the end of the string (linux/netfilter/x_tables.h).
const LONGEST_NAME: usize = 28;
/// Lines are read into a buffer of this size (iptables/iptables-restore.c).
const LONGEST_LINE: usize = 10_240;
/// What names of our chains begin with.
const PREFIX: &str = "pal-";

impl Table {
    pub(super) fn load(text: &str, (name, family): (TableName, Family), sets: &Sets) -> Result<Self, LoadError> {
        let refusal = |line, problem| LoadError { script: Script::Table(name, family), line, problem };
        let chains = name.built_in().iter().map(|chain| ((*chain).to_owned(), Vec::new())).collect();
        let mut table = Self { name, family, chains };
        let mut lines = lines(text);
        if lines.next().is_none_or(|(_, line)| line.strip_prefix('*') != Some(name.word())) {
            return Err(refusal(None, format!("it does not begin with `*{}`", name.word())));
        }
        loop {
            match lines.next() {
                None => return Err(refusal(None, "there is no `COMMIT`".to_owned())),
                Some((_, "COMMIT")) => break,
                Some((number, line)) => table.line((number, line), sets).map_err(|problem| refusal(Some(number), problem))?,
            }
        }
        if let Some((number, _)) = lines.next() {
            return Err(refusal(Some(number), "text behind `COMMIT`".to_owned()));
        }
        table.check().map_err(|problem| refusal(None, problem))?;
        Ok(table)
    }

    /// A chain's name and rules.
    pub(super) fn chain(&self, name: &str) -> Option<(&str, &[Rule])> {
        self.chains.get_key_value(name).map(|(name, rules)| (name.as_str(), rules.as_slice()))
    }

    fn line(&mut self, (number, line): (usize, &str), sets: &Sets) -> Read<()> {
        ensure(line.len() < LONGEST_LINE, || "too long for iptables".to_owned())?;
        if let Some(name) = line.strip_prefix(':').and_then(|rest| rest.strip_suffix(" - [0:0]")) {
            ensure(name.len() <= LONGEST_NAME && name.starts_with(PREFIX), || format!("bad chain name `{name}`"))?;
            return ensure(self.chains.insert(name.to_owned(), Vec::new()).is_none(), || format!("`{name}` is declared twice"));
        }
        let words = words(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (chain, is_at_head, rest) = match words.as_slice() {
            ["-A", chain, rest @ ..] => (*chain, false, rest),
            ["-I", chain, "1", rest @ ..] => (*chain, true, rest),
            _ => return Err(format!("unknown line `{line}`")),
        };
        let rule = Rule { is_at_head, ..reader::rule((number, rest), (self.name, self.family), sets)? };
        let rules = self.chains.get_mut(chain).ok_or_else(|| format!("there is no chain `{chain}`"))?;
        rules.insert(if is_at_head { 0 } else { rules.len() }, rule);
        Ok(())
    }

    /// What the tools check when they commit: targets exist, nothing loops, nesting is not too deep. And what we ask: every
    /// chain is used.
    fn check(&self) -> Read<()> {
        let mut used = BTreeMap::new();
        for chain in self.name.built_in() {
            self.descend(chain, 0, &mut used)?;
        }
        self.check_reverse_paths()?;
        let unused: Vec<&str> = self.chains.keys().map(String::as_str).filter(|name| !used.contains_key(name)).collect();
        ensure(unused.is_empty(), || format!("no packet gets to {}", unused.join(", ")))
    }

    /// The kernel has no `rpfilter` but below PREROUTING (`rpfilter_mt_reg` in
    /// net/ipv4/netfilter/ipt_rpfilter.c): the packet must have arrived on an interface.
    fn check_reverse_paths(&self) -> Read<()> {
        let mut used = BTreeMap::new();
        for chain in self.name.built_in().iter().filter(|chain| **chain != "PREROUTING") {
            self.descend(chain, 0, &mut used)?;
        }

        let asks = |rule: &Rule| {
            let mut conditions = rule.conditions.iter();
            conditions.any(|(_, condition)| matches!(condition, Condition::ReversePath { .. }))
        };
        let mut asking = used.keys().filter(|name| self.chains.get(**name).is_some_and(|rules| rules.iter().any(asks)));
        match asking.next() {
            Some(chain) => Err(format!("`{chain}` asks for the reverse path of packets that did not arrive")),
            None => Ok(()),
        }
    }

    /// Goes where a packet can go; `used` holds the greatest depth at which a chain was met.
    fn descend<'table>(&'table self, chain: &'table str, depth: usize, used: &mut BTreeMap<&'table str, usize>) -> Read<()> {
        ensure(depth <= DEEPEST, || format!("`{chain}` is nested too deep"))?;
        if used.get(chain).is_some_and(|known| *known >= depth) {
            return Ok(());
        }
        used.insert(chain, depth);
        for rule in self.chains.get(chain).ok_or_else(|| format!("there is no chain `{chain}`"))? {
            match &rule.target {
                Target::Jump(other) | Target::Goto(other) => self.descend(other, depth + 1, used)?,
                Target::Accept | Target::Drop | Target::Return | Target::Log | Target::NoTrack => {}
            }
        }
        Ok(())
    }
}

/// Words of a line; double quotes hold one together.
fn words(line: &str) -> Read<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '\\' | '\'' => return Err("a backslash or a single quote".to_owned()),
            ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
            letter => word.push(letter),
        }
    }
    ensure(!is_quoted, || "a quote is left open".to_owned())?;
    words.push(word);
    words.retain(|word| !word.is_empty());
    Ok(words)
}
