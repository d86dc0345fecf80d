//! The kernel's part, played on the text of the scripts: sets and one filter table per family are loaded strictly (an option
//! that palisade does not emit is an error, and so is whatever the stock tools would refuse), and a packet runs through a
//! built-in chain with jump, goto and return as in the kernel.
//!
//! In: the texts of one node. Out: a [`Kernel`] and its verdicts. Shares no code with palisade, so that it can judge it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::packet::{Hook, Packet, State, Verdict};
use super::world::Net;

/// One node's kernel with the scripts loaded.
#[derive(Debug)]
pub(crate) struct Kernel {
    sets: BTreeMap<String, Set>,
    v4: Table,
    v6: Table,
}

#[derive(Debug)]
enum Set {
    /// Prefix, and whether it is an exception.
    Nets {
        v4: bool,
        members: Vec<(Net, bool)>,
    },
    /// Address, protocol, port.
    Services {
        v4: bool,
        members: BTreeSet<(IpAddr, u8, u16)>,
    },
    Ports(Vec<(u16, u16)>),
}

#[derive(Debug, Default)]
struct Table {
    chains: BTreeMap<String, Vec<Rule>>,
}

#[derive(Debug)]
struct Rule {
    matches: Vec<(bool, Match)>,
    target: Target,
    comment: String,
}

#[derive(Debug)]
enum Match {
    Protocol(u8),
    Source(Net),
    Destination(Net),
    Loopback,
    Set(String, Vec<Side>),
    Ports(Side, Vec<(u16, u16)>),
    Icmp(u8, Option<u8>),
    State(Vec<String>),
    Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

#[derive(Debug)]
enum Target {
    Accept,
    Drop,
    Return,
    Log,
    Jump(String),
    Goto(String),
}

type Loaded<T> = Result<T, String>;

/// Chains that the kernel has.
const BUILT_IN: [&str; 3] = ["FORWARD", "INPUT", "OUTPUT"];

/// `NFT_JUMP_STACK_SIZE` 16 less the built-in chain: the deepest nesting of jumps and gotos that nftables loads.
const DEEPEST: usize = 15;

impl Kernel {
    pub(crate) fn load(sets: &str, v4: &str, v6: &str) -> Loaded<Self> {
        let sets = load_sets(sets)?;
        let kernel = Self { v4: Table::load(v4, true, &sets)?, v6: Table::load(v6, false, &sets)?, sets };
        kernel.v4.check()?;
        kernel.v6.check()?;
        Ok(kernel)
    }

    /// The verdict, and the rules that matched on the way.
    pub(crate) fn run(&self, packet: &Packet) -> (Verdict, Vec<String>) {
        let (table, chain) = (if packet.is_v4() { &self.v4 } else { &self.v6 }, packet.hook.chain());
        let mut path = Vec::new();
        let verdict = self.walk(table, chain, packet, &mut path);
        (verdict.unwrap_or(Verdict::NotOurs), path)
    }

    /// Goes through a chain; none when the packet comes back from it. A goto gives the rest of the chain up.
    fn walk(&self, table: &Table, chain: &str, packet: &Packet, path: &mut Vec<String>) -> Option<Verdict> {
        for rule in table.chains.get(chain)? {
            if !rule.matches.iter().all(|(negated, condition)| self.matches(condition, packet) != *negated) {
                continue;
            }
            path.push(format!("{chain}: {} -> {:?}", rule.comment, rule.target));
            let verdict = match &rule.target {
                Target::Accept => Some(Verdict::Accept),
                Target::Drop => Some(Verdict::Drop),
                Target::Return => return None,
                Target::Log => None,
                Target::Goto(other) => return self.walk(table, other, packet, path),
                Target::Jump(other) => self.walk(table, other, packet, path),
            };
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    fn matches(&self, condition: &Match, packet: &Packet) -> bool {
        match condition {
            Match::Protocol(protocol) => packet.protocol == *protocol,
            Match::Source(net) => net.holds(packet.source),
            Match::Destination(net) => net.holds(packet.destination),
            Match::Loopback => packet.loopback,
            Match::Set(name, sides) => self.sets.get(name).is_some_and(|set| set.test(sides, packet)),
            Match::Ports(side, ranges) => packet.port(*side).is_some_and(|port| is_in(ranges, port)),
            Match::Icmp(kind, code) => packet.icmp.is_some_and(|found| found.0 == *kind && code.is_none_or(|code| code == found.1)),
            Match::State(states) => states.iter().any(|state| state == packet.state.word()),
            Match::Limit => true,
        }
    }
}

impl Set {
    fn test(&self, sides: &[Side], packet: &Packet) -> bool {
        let side = sides.first().copied().unwrap_or(Side::Source);
        let address = if side == Side::Source { packet.source } else { packet.destination };
        match self {
            Set::Nets { members, .. } => {
                let holding = members.iter().filter(|(net, _)| net.holds(address));
                holding.max_by_key(|(net, _)| net.length).is_some_and(|(_, exception)| !exception)
            }
            Set::Services { members, .. } => packet.port(side).is_some_and(|port| members.contains(&(address, packet.protocol, port))),
            // `ip_set_get_ip_port` in net/netfilter/ipset/ip_set_bitmap_port.c knows no other protocol
            Set::Ports(ranges) => [6, 17].contains(&packet.protocol) && packet.port(side).is_some_and(|port| is_in(ranges, port)),
        }
    }
}

impl Packet {
    fn port(&self, side: Side) -> Option<u16> {
        self.ports.map(|ports| if side == Side::Source { ports.0 } else { ports.1 })
    }
}

impl Hook {
    fn chain(self) -> &'static str {
        match self {
            Hook::Forward => "FORWARD",
            Hook::Input => "INPUT",
            Hook::Output => "OUTPUT",
        }
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::New => "NEW",
            State::Established => "ESTABLISHED",
            State::Related => "RELATED",
            State::Invalid => "INVALID",
        }
    }
}

fn is_in(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

/// Loads the text for `ipset restore`.
fn load_sets(text: &str) -> Loaded<BTreeMap<String, Set>> {
    let mut sets = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        ensure(line.len() < 1024, || format!("too long for ipset: {line}"))?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["create", name, rest @ ..] => {
                ensure(name.len() <= 31, || format!("too long a name: {name}"))?;
                ensure(sets.insert((*name).to_owned(), new_set(rest)?).is_none(), || format!("{name} is created twice"))?;
            }
            ["add", name, member] => add(&mut sets, name, member, false)?,
            ["add", name, member, "nomatch"] => add(&mut sets, name, member, true)?,
            _ => return Err(format!("unknown line for ipset: {line}")),
        }
    }
    Ok(sets)
}

fn new_set(words: &[&str]) -> Loaded<Set> {
    match words {
        ["bitmap:port", "range", "0-65535"] => Ok(Set::Ports(Vec::new())),
        [kind, "family", family, "hashsize", size, "maxelem", most] => {
            let power = size.parse::<u32>().is_ok_and(u32::is_power_of_two) && most.parse::<u32>().is_ok();
            ensure(power, || format!("bad size: {words:?}"))?;
            let v4 = match *family {
                "inet" => true,
                "inet6" => false,
                other => return Err(format!("unknown family {other}")),
            };
            match *kind {
                "hash:net" => Ok(Set::Nets { v4, members: Vec::new() }),
                "hash:ip,port" => Ok(Set::Services { v4, members: BTreeSet::new() }),
                other => Err(format!("unknown type {other}")),
            }
        }
        _ => Err(format!("unknown set {words:?}")),
    }
}

fn add(sets: &mut BTreeMap<String, Set>, name: &str, member: &str, exception: bool) -> Loaded<()> {
    let bad = || format!("bad member {member} of {name}");
    match sets.get_mut(name).ok_or_else(|| format!("no set {name}"))? {
        Set::Nets { v4, members } => {
            let net = prefix(member)?;
            let fits = net.address.is_ipv4() == *v4 && net.length > 0 && net.masked() == net;
            ensure(fits && members.iter().all(|known| known.0 != net), bad)?;
            members.push((net, exception));
        }
        Set::Services { v4, members } => {
            let (address, service) = member.split_once(',').ok_or_else(bad)?;
            let (protocol, port) = service.split_once(':').ok_or_else(bad)?;
            let address: IpAddr = address.parse().map_err(|_| bad())?;
            let member = (address, protocol_number(protocol)?, port.parse().map_err(|_| bad())?);
            ensure(!exception && address.is_ipv4() == *v4 && members.insert(member), bad)?;
        }
        Set::Ports(ranges) => {
            let (first, last) = member.split_once('-').unwrap_or((member, member));
            let range = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
            ensure(!exception && range.0 <= range.1 && !ranges.iter().any(|known| known.0 <= range.1 && range.0 <= known.1), bad)?;
            ranges.push(range);
        }
    }
    Ok(())
}

fn prefix(text: &str) -> Loaded<Net> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().map_err(|_| format!("bad address {text}"))?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(longest), str::parse).map_err(|_| format!("bad length {text}"))?;
    ensure(length <= longest, || format!("bad length {text}"))?;
    Ok(Net { address, length })
}

fn protocol_number(word: &str) -> Loaded<u8> {
    const WORDS: [(&str, u8); 6] = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58), ("sctp", 132), ("udplite", 136)];
    let known = WORDS.iter().find(|row| row.0 == word).map(|row| row.1);
    known.or_else(|| word.parse().ok()).filter(|number| *number != 0).ok_or_else(|| format!("unknown protocol {word}"))
}

impl Table {
    /// Loads the text for `iptables-restore --noflush`.
    fn load(text: &str, v4: bool, sets: &BTreeMap<String, Set>) -> Loaded<Self> {
        let mut table = Self { chains: BUILT_IN.iter().map(|name| ((*name).to_owned(), Vec::new())).collect() };
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        ensure(lines.next() == Some("*filter"), || "no *filter".to_owned())?;
        for line in lines.by_ref() {
            ensure(line.len() < 10_240, || format!("too long for iptables: {line}"))?;
            if line == "COMMIT" {
                break;
            }
            table.line(line, v4, sets).map_err(|problem| format!("{problem} in: {line}"))?;
        }
        ensure(lines.next().is_none(), || "text behind COMMIT".to_owned())?;
        Ok(table)
    }

    fn line(&mut self, line: &str, v4: bool, sets: &BTreeMap<String, Set>) -> Loaded<()> {
        if let Some(name) = line.strip_prefix(':').and_then(|rest| rest.strip_suffix(" - [0:0]")) {
            ensure(name.len() <= 28 && name.starts_with("pal-"), || "bad chain name".to_owned())?;
            return ensure(self.chains.insert(name.to_owned(), Vec::new()).is_none(), || "declared twice".to_owned());
        }
        let words = split(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (chain, at_head, rest) = match words.as_slice() {
            ["-A", chain, rest @ ..] => (*chain, false, rest),
            ["-I", chain, "1", rest @ ..] => (*chain, true, rest),
            _ => return Err("unknown command".to_owned()),
        };
        let rule = Reader { words: rest.iter(), v4, sets, rule: Vec::new(), comment: String::new() }.read()?;
        let rules = self.chains.get_mut(chain).ok_or("no such chain")?;
        rules.insert(if at_head { 0 } else { rules.len() }, rule);
        Ok(())
    }

    /// What the tools check when they commit: targets exist, nothing loops, nesting is not too deep. And what we ask: no
    /// chain is unused.
    fn check(&self) -> Loaded<()> {
        let mut used = BTreeMap::new();
        for chain in BUILT_IN {
            self.descend(chain, 0, &mut used)?;
        }
        let unused: Vec<&String> = self.chains.keys().filter(|name| !used.contains_key(name.as_str())).collect();
        ensure(unused.is_empty(), || format!("no packet gets to {unused:?}"))
    }

    /// Goes where a packet can go; `used` holds the depth at which a chain was met.
    fn descend<'table>(&'table self, chain: &'table str, depth: usize, used: &mut BTreeMap<&'table str, usize>) -> Loaded<()> {
        ensure(depth <= DEEPEST, || format!("{chain} is nested too deep"))?;
        if used.get(chain).is_some_and(|known| *known >= depth) {
            return Ok(());
        }
        used.insert(chain, depth);
        for rule in self.chains.get(chain).ok_or_else(|| format!("no chain {chain}"))? {
            match &rule.target {
                Target::Jump(other) | Target::Goto(other) => self.descend(other, depth + 1, used)?,
                Target::Accept | Target::Drop | Target::Return | Target::Log => {}
            }
        }
        Ok(())
    }
}

/// Words of a line; double quotes hold one together.
fn split(line: &str) -> Loaded<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match (letter, words.last_mut()) {
            ('"', _) => quoted = !quoted,
            ('\\' | '\'', _) => return Err("a backslash or single quote".to_owned()),
            (' ', _) if !quoted => words.push(String::new()),
            (letter, Some(word)) => word.push(letter),
            (_, None) => {}
        }
    }
    ensure(!quoted, || "a quote is left open".to_owned())?;
    words.retain(|word| !word.is_empty());
    Ok(words)
}

/// Reads the conditions and the target of a rule.
struct Reader<'line> {
    words: std::slice::Iter<'line, &'line str>,
    v4: bool,
    sets: &'line BTreeMap<String, Set>,
    rule: Vec<(bool, Match)>,
    comment: String,
}

impl<'line> Reader<'line> {
    fn read(mut self) -> Loaded<Rule> {
        let mut negated = false;
        let mut extension = "";
        while let Some(word) = self.words.next() {
            let was_negated = std::mem::take(&mut negated);
            match *word {
                "!" => negated = true,
                "-m" => extension = self.next()?,
                "-j" | "-g" => return self.target(*word == "-g"),
                "--comment" if extension == "comment" => self.comment = self.short(255)?.to_owned(),
                option => {
                    let condition = self.condition(option, extension)?;
                    self.rule.push((was_negated, condition));
                }
            }
            ensure(!was_negated || *word != "-m", || "a `!` before -m".to_owned())?;
        }
        Err("no target".to_owned())
    }

    fn next(&mut self) -> Loaded<&'line str> {
        self.words.next().copied().ok_or_else(|| "a word is missing".to_owned())
    }

    fn short(&mut self, most: usize) -> Loaded<&'line str> {
        let word = self.next()?;
        ensure(word.len() <= most, || format!("`{word}` is too long"))?;
        Ok(word)
    }

    fn condition(&mut self, option: &str, extension: &str) -> Loaded<Match> {
        match (option, extension) {
            ("-p", _) => Ok(Match::Protocol(protocol_number(self.next()?)?)),
            ("-s", _) => Ok(Match::Source(self.own_prefix()?)),
            ("-d", _) => Ok(Match::Destination(self.own_prefix()?)),
            ("-i", _) => match self.next()? {
                "lo" => Ok(Match::Loopback),
                other => Err(format!("unknown interface {other}")),
            },
            ("--match-set", "set") => self.set(),
            ("--sports" | "--dports", "multiport") => self.ports(if option == "--sports" { Side::Source } else { Side::Destination }),
            ("--icmp-type", "icmp") if self.v4 && self.has_protocol(&[1]) => self.icmp(),
            ("--icmpv6-type", "icmp6") if !self.v4 && self.has_protocol(&[58]) => self.icmp(),
            ("--ctstate", "conntrack") => Ok(Match::State(self.next()?.split(',').map(str::to_owned).collect())),
            ("--limit", "limit") => self.next().map(|_| Match::Limit),
            ("--limit-burst", "limit") => self.next().map(|_| Match::Limit),
            _ => Err(format!("unknown option {option} of {extension}")),
        }
    }

    fn own_prefix(&mut self) -> Loaded<Net> {
        let net = prefix(self.next()?)?;
        ensure(net.address.is_ipv4() == self.v4, || "an address of the other family".to_owned())?;
        Ok(net)
    }

    fn has_protocol(&self, wanted: &[u8]) -> bool {
        self.rule.iter().any(|(negated, condition)| !negated && matches!(condition, Match::Protocol(protocol) if wanted.contains(protocol)))
    }

    fn set(&mut self) -> Loaded<Match> {
        let name = self.next()?;
        let sides = self.next()?.split(',').map(|word| match word {
            "src" => Ok(Side::Source),
            "dst" => Ok(Side::Destination),
            other => Err(format!("unknown side {other}")),
        });
        let sides = sides.collect::<Loaded<Vec<Side>>>()?;
        let (dimensions, family) = match self.sets.get(name).ok_or_else(|| format!("no set {name}"))? {
            Set::Nets { v4, .. } => (1, *v4),
            Set::Services { v4, .. } => (2, *v4),
            Set::Ports(_) => (1, self.v4),
        };
        ensure(sides.len() == dimensions && family == self.v4, || format!("{name} does not fit here"))?;
        Ok(Match::Set(name.to_owned(), sides))
    }

    fn ports(&mut self, side: Side) -> Loaded<Match> {
        ensure(self.has_protocol(&[6, 17, 132, 136]), || "multiport without a protocol that has ports".to_owned())?;
        let mut ranges = Vec::new();
        let mut slots = 0;
        for word in self.next()?.split(',') {
            let (first, last) = word.split_once(':').unwrap_or((word, word));
            slots += if word.contains(':') { 2 } else { 1 };
            let number = |text: &str| text.parse::<u16>().map_err(|_| format!("bad port {text}"));
            ranges.push((number(first)?, number(last)?));
        }
        ensure(slots <= 15 && ranges.iter().all(|(first, last)| first <= last), || "bad list of ports".to_owned())?;
        Ok(Match::Ports(side, ranges))
    }

    fn icmp(&mut self) -> Loaded<Match> {
        let word = self.next()?;
        let (kind, code) = word.split_once('/').map_or((word, None), |(kind, code)| (kind, Some(code)));
        let number = |text: &str| text.parse::<u8>().map_err(|_| format!("bad ICMP type {word}"));
        Ok(Match::Icmp(number(kind)?, code.map(number).transpose()?))
    }

    fn target(mut self, goes: bool) -> Loaded<Rule> {
        let target = match (self.next()?, goes) {
            ("ACCEPT", false) => Target::Accept,
            ("DROP", false) => Target::Drop,
            ("RETURN", false) => Target::Return,
            ("LOG", false) => {
                ensure(self.next()? == "--log-prefix", || "no prefix".to_owned())?;
                self.short(29)?;
                ensure(self.next()? == "--log-level" && self.next()? == "5", || "no level".to_owned())?;
                Target::Log
            }
            (chain, false) => Target::Jump(chain.to_owned()),
            (chain, true) => Target::Goto(chain.to_owned()),
        };
        ensure(self.words.next().is_none(), || "words behind the target".to_owned())?;
        Ok(Rule { matches: self.rule, target, comment: self.comment })
    }
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Loaded<()> {
    if holds { Ok(()) } else { Err(problem()) }
}
