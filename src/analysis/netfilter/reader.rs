//! The conditions and the target of one rule. Known are the options that palisade writes.

use std::slice::Iter;

use crate::analysis::netfilter::{
    Read, TableName, Target, ensure,
    sets::{self, Sets},
    table::{Condition, Connection, Interface, Rule},
};
use crate::analysis::{Side, State};
use crate::net::{Cidr, Family, PortRange, Protocol};
use crate::policy::Icmp;

/// `XT_MULTI_PORTS` (linux/netfilter/xt_multiport.h).
const MOST_PORTS: usize = 15;
/// `XT_MAX_COMMENT_LEN` 256 less the end of the string.
const LONGEST_COMMENT: usize = 255;
/// The prefix of a LOG line: 30 bytes less the end of the string (linux/netfilter/xt_LOG.h).
const LONGEST_LOG_PREFIX: usize = 29;
/// `IFNAMSIZ` 16 less the end of the string (linux/if.h).
const LONGEST_INTERFACE: usize = 15;
/// Protocols that have ports.
const WITH_PORTS: [Protocol; 4] = [Protocol::TCP, Protocol::UDP, Protocol::SCTP, Protocol::UDPLITE];

/// The words of a rule that are not read yet, and what was read.
struct Reader<'line> {
    line: usize,
    words: Iter<'line, &'line str>,
    table: TableName,
    family: Family,
    sets: &'line Sets,
    conditions: Vec<(bool, Condition)>,
    comment: String,
}

/// Reads what stands behind `-A chain` in a line.
pub(super) fn rule((line, words): (usize, &[&str]), (table, family): (TableName, Family), sets: &Sets) -> Read<Rule> {
    Reader { line, words: words.iter(), table, family, sets, conditions: Vec::new(), comment: String::new() }.read()
}

impl<'line> Reader<'line> {
    fn read(mut self) -> Read<Rule> {
        let mut is_negated = false;
        let mut extension = "";
        while let Some(word) = self.words.next() {
            let was_negated = std::mem::take(&mut is_negated);
            match *word {
                "!" => is_negated = true,
                "-m" | "-j" | "-g" if was_negated => return Err(format!("a `!` before `{word}`")),
                "-m" => extension = self.extension()?,
                option if extension == "rpfilter" && option.starts_with("--") => {
                    ensure(!was_negated, || format!("a `!` before `{option}`"))?;
                    self.reverse_path(option)?;
                }
                "-j" => return self.jump(),
                "-g" => return self.goto(),
                "--comment" if extension == "comment" => self.comment = self.short(LONGEST_COMMENT)?.to_owned(),
                option if extension == "conntrack" && option.starts_with("--") => self.connection(option, was_negated)?,
                option => {
                    let condition = self.condition(option, extension)?;
                    self.conditions.push((was_negated, condition));
                }
            }
        }
        Err("there is no target".to_owned())
    }

    fn next(&mut self) -> Read<&'line str> {
        self.words.next().copied().ok_or_else(|| "a word is missing".to_owned())
    }

    fn short(&mut self, most: usize) -> Read<&'line str> {
        let word = self.next()?;
        ensure(word.len() <= most, || format!("`{word}` is too long"))?;
        Ok(word)
    }

    fn condition(&mut self, option: &str, extension: &str) -> Read<Condition> {
        match (option, extension) {
            ("-p", _) => self.protocol(),
            ("-s", _) => self.address(Side::Source),
            ("-d", _) => self.address(Side::Destination),
            ("-i", _) => self.interfaces().map(Condition::Arrives),
            ("-o", _) => self.interface().map(Condition::Leaves),
            ("--match-set", "set") => self.set(),
            ("--sports", "multiport") => self.ports(Side::Source),
            ("--dports", "multiport") => self.ports(Side::Destination),
            ("--icmp-type", "icmp") if self.family == Family::V4 && self.has_protocol(&[Protocol::ICMP]) => self.icmp(),
            ("--icmpv6-type", "icmp6") if self.family == Family::V6 && self.has_protocol(&[Protocol::ICMPV6]) => self.icmp(),
            ("--limit" | "--limit-burst", "limit") => self.next().map(|_| Condition::Limit),
            _ => Err(format!("unknown option `{option}` of `{extension}`")),
        }
    }

    fn protocol(&mut self) -> Read<Condition> {
        let word = self.next()?;
        Protocol::from_keyword(word).map(Condition::Protocol).ok_or_else(|| format!("unknown protocol `{word}`"))
    }

    fn address(&mut self, side: Side) -> Read<Condition> {
        let word = self.next()?;
        let net = sets::prefix(word).filter(|net: &Cidr| net.family() == self.family);
        net.map(|net| Condition::Address(side, net)).ok_or_else(|| format!("bad address `{word}`"))
    }

    fn has_protocol(&self, wanted: &[Protocol]) -> bool {
        let is_wanted = |condition: &Condition| matches!(condition, Condition::Protocol(protocol) if wanted.contains(protocol));
        self.conditions.iter().any(|(is_negated, condition)| !is_negated && is_wanted(condition))
    }

    fn set(&mut self) -> Read<Condition> {
        let name = self.next()?;
        let sides = self.next()?.split(',').map(side).collect::<Read<Vec<Side>>>()?;
        let set = self.sets.get(name).ok_or_else(|| format!("there is no set `{name}`"))?;
        ensure(set.fits(self.family, sides.len()), || format!("`{name}` does not fit here"))?;
        Ok(Condition::Set(name.to_owned(), sides))
    }

    fn ports(&mut self, side: Side) -> Read<Condition> {
        ensure(self.has_protocol(&WITH_PORTS), || "multiport without a protocol that has ports".to_owned())?;
        let words = self.next()?;
        let ranges = words.split(',').map(range).collect::<Option<Vec<PortRange>>>().ok_or_else(|| format!("bad ports `{words}`"))?;
        let slots: usize = words.split(',').map(|word| if word.contains(':') { 2 } else { 1 }).sum();
        ensure(slots <= MOST_PORTS, || format!("too many ports: `{words}`"))?;
        Ok(Condition::Ports(side, ranges))
    }

    fn icmp(&mut self) -> Read<Condition> {
        let word = self.next()?;
        let (kind, code) = word.split_once('/').map_or((word, None), |(kind, code)| (kind, Some(code)));
        let number = |text: &str| text.parse::<u8>().map_err(|_| format!("bad ICMP type `{word}`"));
        Ok(Condition::Icmp(Icmp { kind: number(kind)?, code: code.map(number).transpose()? }))
    }

    /// The name of an extension. Each one of conntrack is asked by itself.
    fn extension(&mut self) -> Read<&'line str> {
        let name = self.next()?;
        if name == "conntrack" {
            ensure(self.table != TableName::Raw, || "conntrack, in the table before connections are tracked".to_owned())?;
            self.conditions.push((false, Condition::Connection(Connection::default())));
        }
        if name == "rpfilter" {
            // `rpfilter_check` in net/ipv4/netfilter/ipt_rpfilter.c
            ensure(self.table != TableName::Filter, || "rpfilter in the filter table".to_owned())?;
            ensure(!self.asks_reverse_path(), || "rpfilter twice".to_owned())?;
            self.conditions.push((false, Condition::ReversePath { is_loose: false }));
        }
        Ok(name)
    }

    fn asks_reverse_path(&self) -> bool {
        let mut conditions = self.conditions.iter();
        conditions.any(|(_, condition)| matches!(condition, Condition::ReversePath { .. }))
    }

    /// An option of rpfilter. The mark of a packet is an input of the route, and not of what we know
    /// of it, so that `--validmark` says nothing more.
    fn reverse_path(&mut self, option: &str) -> Read<()> {
        let last = self.conditions.iter_mut().rev().find_map(|(is_negated, condition)| {
            let Condition::ReversePath { is_loose } = condition else { return None };
            Some((is_negated, is_loose))
        });
        let (is_negated, is_loose) = last.ok_or("rpfilter without an extension")?;
        match option {
            "--loose" if !*is_loose => *is_loose = true,
            "--invert" if !*is_negated => *is_negated = true,
            "--validmark" => {}
            _ => return Err(format!("unknown option `{option}` of `rpfilter`")),
        }
        Ok(())
    }

    /// An interface, or the beginning of names with `+` at its end.
    fn interfaces(&mut self) -> Read<Interface> {
        let word = self.short(LONGEST_INTERFACE)?;
        let (stem, is_open) = word.strip_suffix('+').map_or((word, false), |stem| (stem, true));
        ensure(!stem.is_empty() && !stem.contains(['+', '/']), || format!("bad interface `{word}`"))?;
        Ok(Interface { stem: stem.to_owned(), is_open })
    }

    fn interface(&mut self) -> Read<String> {
        let name = self.short(LONGEST_INTERFACE)?;
        ensure(!name.is_empty() && !name.contains(['+', '/']), || format!("bad interface `{name}`"))?;
        Ok(name.to_owned())
    }

    /// An option of the last conntrack.
    fn connection(&mut self, option: &str, is_negated: bool) -> Read<()> {
        let word = self.next()?;
        let family = self.family;
        let has_ports = self.has_protocol(&WITH_PORTS);
        let last = self
            .conditions
            .iter_mut()
            .rev()
            .find_map(|(_, condition)| if let Condition::Connection(connection) = condition { Some(connection) } else { None });
        let connection = last.ok_or("conntrack without an extension")?;
        match option {
            "--ctstate" if connection.states.is_none() => {
                let states = word.split(',').map(State::from_word).collect::<Option<Vec<State>>>();
                connection.states = Some((is_negated, states.ok_or_else(|| format!("unknown state in `{word}`"))?));
            }
            "--ctorigdst" if connection.address.is_none() => {
                let net = sets::prefix(word).filter(|net| net.family() == family).ok_or_else(|| format!("bad address `{word}`"))?;
                connection.address = Some((is_negated, net));
            }
            "--ctorigdstport" if connection.port.is_none() => {
                ensure(has_ports, || "conntrack asks for a port without a protocol that has ports".to_owned())?;
                connection.port = Some((is_negated, range(word).ok_or_else(|| format!("bad port `{word}`"))?));
            }
            _ => return Err(format!("unknown option `{option}` of `conntrack`")),
        }
        Ok(())
    }

    fn jump(mut self) -> Read<Rule> {
        let target = match self.next()? {
            "ACCEPT" => Target::Accept,
            "DROP" => Target::Drop,
            "RETURN" => Target::Return,
            "LOG" => {
                self.log()?;
                Target::Log
            }
            "CT" => {
                let is_known = self.next()? == "--notrack" && self.table == TableName::Raw;
                ensure(is_known, || "CT, but for `--notrack` in the raw table".to_owned())?;
                Target::NoTrack
            }
            chain => Target::Jump(chain.to_owned()),
        };
        self.end(target)
    }

    fn goto(mut self) -> Read<Rule> {
        let chain = self.next()?.to_owned();
        self.end(Target::Goto(chain))
    }

    /// The options of LOG as palisade writes them.
    fn log(&mut self) -> Read<()> {
        ensure(self.next()? == "--log-prefix", || "LOG without a prefix".to_owned())?;
        self.short(LONGEST_LOG_PREFIX)?;
        ensure(self.next()? == "--log-level" && self.next()? == "5", || "LOG without its level".to_owned())
    }

    fn end(mut self, target: Target) -> Read<Rule> {
        ensure(self.words.next().is_none(), || "words behind the target".to_owned())?;
        Ok(Rule { line: self.line, conditions: self.conditions, target, comment: self.comment, is_at_head: false })
    }
}

fn side(word: &str) -> Read<Side> {
    match word {
        "src" => Ok(Side::Source),
        "dst" => Ok(Side::Destination),
        other => Err(format!("unknown side `{other}`")),
    }
}

/// `80` or `80:90`.
fn range(word: &str) -> Option<PortRange> {
    let (first, last) = word.split_once(':').unwrap_or((word, word));
    PortRange::new(first.parse().ok()?, last.parse().ok()?)
}
