//! Scripts walked through with sets of packets: all that goes from one place to another, at once.
//!
//! In: a [`Kernel`], and the [`Traffic`] that its [`cut`](Kernel::cut) made. Out: a [`Symbolic`], which tells for two addresses,
//! interfaces and a state what becomes of all traffic between them. Conditions on what a packet carries are sets of traffic,
//! made once; conditions on addresses are bits, looked up once an address ([`Marks`]).
//!
//! Cost: a walk costs the rules that it passes; one whose addresses do not match costs a look at a bit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::analysis::netfilter::apart::control;
use crate::analysis::netfilter::sets::{Nets, Set};
use crate::analysis::netfilter::table::{Condition, Connection, Rule, Table};
use crate::analysis::netfilter::{Kernel, Target};
use crate::analysis::space::{Class, Traffic, TrafficId};
use crate::analysis::{Hook, Side, State};
use crate::net::{Cidr, Family, PortRange, Protocol};
use crate::policy::{IcmpMatch, ProtocolMatch};

/// The tables of a family, for walks with sets of packets.
#[derive(Debug)]
pub(in crate::analysis) struct Symbolic<'kernel> {
    raw: Option<Graph>,
    mangle: Option<Graph>,
    filter: Graph,
    asked: Asked<'kernel>,
}

/// What rules ask of addresses.
#[derive(Debug, Default)]
struct Asked<'kernel> {
    nets: Vec<Question<'kernel>>,
    by_set: FxHashMap<&'kernel str, usize>,
    by_net: FxHashMap<Cidr, usize>,
    services: Vec<FxHashMap<IpAddr, TrafficId>>,
    /// Sets of [`Self::services`], with the side of the port.
    service_sets: Vec<(&'kernel str, Side)>,
    origins: Vec<&'kernel Connection>,
}

/// A question about one address.
#[derive(Debug)]
enum Question<'kernel> {
    Member(Option<&'kernel Nets>),
    Within(Cidr),
}

/// What all rules say of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::analysis) struct Marks {
    nets: Box<[bool]>,
    services: Box<[TrafficId]>,
    /// What connections have, that were made to this address and to the port that the packet is for.
    pub(in crate::analysis) origins: Box<[TrafficId]>,
}

/// Between whom packets go, and where they are met.
#[derive(Debug, Clone, Copy)]
pub(in crate::analysis) struct At<'at> {
    pub(in crate::analysis) source: &'at Marks,
    pub(in crate::analysis) destination: &'at Marks,
    /// What their connections' original destinations satisfy.
    pub(in crate::analysis) origins: &'at [TrafficId],
    pub(in crate::analysis) hook: &'at Hook,
    pub(in crate::analysis) state: State,
}

/// What becomes of packets before the filter table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::analysis) struct Early {
    pub(in crate::analysis) dropped: TrafficId,
    pub(in crate::analysis) untracked: TrafficId,
}

/// What becomes of packets in a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    accepted: TrafficId,
    dropped: TrafficId,
    untracked: TrafficId,
}

/// A table's chains by number.
#[derive(Debug)]
struct Graph {
    chains: Vec<Vec<Step>>,
    built_in: BTreeMap<&'static str, usize>,
}

/// States, and whether they are excluded.
type States = (bool, Vec<State>);

/// A rule.
#[derive(Debug)]
struct Step {
    traffic: TrafficId,
    nets: Vec<(bool, Side, usize)>,
    services: Vec<(bool, Side, usize)>,
    arrives: Vec<(bool, String)>,
    leaves: Vec<(bool, String)>,
    /// Wanted states, and the number of what is asked of the original destination.
    connections: Vec<(Option<States>, Option<usize>)>,
    act: Act,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Accept,
    Drop,
    Return,
    Log,
    NoTrack,
    Jump(usize),
    Goto(usize),
}

impl Kernel {
    /// Makes a family's tables ready for walks.
    pub(in crate::analysis) fn symbolic(&self, family: Family, traffic: &mut Traffic) -> Symbolic<'_> {
        let tables = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let mut maker = Maker { kernel: self, family, asked: Asked::default(), traffic };
        let raw = tables.raw.as_ref().map(|table| maker.graph(table));
        let mangle = tables.mangle.as_ref().map(|table| maker.graph(table));
        let filter = maker.graph(&tables.filter);
        Symbolic { raw, mangle, filter, asked: maker.asked }
    }
}

impl Symbolic<'_> {
    /// What all rules say of an address.
    pub(in crate::analysis) fn marks(&self, address: IpAddr, traffic: &mut Traffic) -> Marks {
        let nets = self.asked.nets.iter().map(|question| question.holds(address)).collect();
        let services = self.asked.services.iter().map(|members| members.get(&address).copied().unwrap_or(Traffic::NONE)).collect();
        Marks { nets, services, origins: self.origins(address, None, traffic) }
    }

    /// What packets have whose connections were made to an address, and to a port, or to the one that they are for.
    pub(in crate::analysis) fn origins(&self, address: IpAddr, port: Option<u16>, traffic: &mut Traffic) -> Box<[TrafficId]> {
        self.asked.origins.iter().map(|connection| connection.origin(address, port, traffic)).collect()
    }

    /// Whether there are tables before the filter table.
    pub(in crate::analysis) fn has_early(&self) -> bool {
        self.raw.is_some() || self.mangle.is_some()
    }

    /// What becomes of all traffic before the filter table.
    pub(in crate::analysis) fn early(&self, at: &At<'_>, traffic: &mut Traffic) -> Early {
        let chain = match at.hook {
            Hook::Forward { .. } | Hook::Input { .. } => "PREROUTING",
            Hook::Output { .. } => "OUTPUT",
        };
        let raw = run(self.raw.as_ref(), chain, at, Traffic::ALL, traffic);
        let untracked = if at.state == State::Untracked { Traffic::ALL } else { raw.untracked };
        let tracked = traffic.less(Traffic::ALL, untracked);
        let mut dropped = raw.dropped;
        for (state, here) in [(at.state, tracked), (State::Untracked, untracked)] {
            let here = traffic.less(here, raw.dropped);
            let mangle = run(self.mangle.as_ref(), chain, &At { state, ..*at }, here, traffic);
            dropped = traffic.or(dropped, mangle.dropped);
        }
        Early { dropped, untracked }
    }

    /// What the filter table accepts and drops of some traffic.
    pub(in crate::analysis) fn filter(&self, at: &At<'_>, here: TrafficId, traffic: &mut Traffic) -> (TrafficId, TrafficId) {
        let chain = match at.hook {
            Hook::Forward { .. } => "FORWARD",
            Hook::Input { .. } => "INPUT",
            Hook::Output { .. } => "OUTPUT",
        };
        let out = run(Some(&self.filter), chain, at, here, traffic);
        (out.accepted, out.dropped)
    }
}

fn run(graph: Option<&Graph>, chain: &str, at: &At<'_>, here: TrafficId, traffic: &mut Traffic) -> Out {
    let mut out = Out { accepted: Traffic::NONE, dropped: Traffic::NONE, untracked: Traffic::NONE };
    if let Some((graph, first)) = graph.and_then(|graph| Some((graph, *graph.built_in.get(chain)?))) {
        graph.walk(first, at, here, &mut (&mut out, traffic));
    }
    out
}

impl Graph {
    /// Goes through a chain with some traffic; gives what comes back from it.
    fn walk(&self, chain: usize, at: &At<'_>, mut here: TrafficId, work: &mut (&mut Out, &mut Traffic)) -> TrafficId {
        let mut back = Traffic::NONE;
        for step in self.chains.get(chain).map_or(&[][..], Vec::as_slice) {
            if here == Traffic::NONE {
                break;
            }
            let hit = step.hits(at, here, work.1);
            if hit == Traffic::NONE {
                continue;
            }
            let returned = match step.act {
                Act::Accept => note(&mut work.0.accepted, hit, work.1),
                Act::Drop => note(&mut work.0.dropped, hit, work.1),
                Act::Return => note(&mut back, hit, work.1),
                Act::Log => hit,
                Act::NoTrack => {
                    note(&mut work.0.untracked, hit, work.1);
                    hit
                }
                Act::Jump(other) => self.walk(other, at, hit, work),
                Act::Goto(other) => {
                    let returned = self.walk(other, at, hit, work);
                    note(&mut back, returned, work.1)
                }
            };
            let passed = work.1.less(here, hit);
            here = work.1.or(passed, returned);
        }
        work.1.or(back, here)
    }
}

/// Adds some traffic to what met a fate; nothing of it goes on.
fn note(fate: &mut TrafficId, hit: TrafficId, traffic: &mut Traffic) -> TrafficId {
    *fate = traffic.or(*fate, hit);
    Traffic::NONE
}

impl Step {
    /// What of some traffic meets all conditions.
    fn hits(&self, at: &At<'_>, here: TrafficId, traffic: &mut Traffic) -> TrafficId {
        let marks = |side: Side| match side {
            Side::Source => at.source,
            Side::Destination => at.destination,
        };
        let is_there =
            |asked: &[(bool, String)], there: Option<&str>| asked.iter().all(|(negated, name)| (there == Some(name)) != *negated);
        let matches = self.nets.iter().all(|(negated, side, number)| marks(*side).nets.get(*number).is_some_and(|holds| holds != negated))
            && is_there(&self.arrives, at.hook.arrives())
            && is_there(&self.leaves, at.hook.leaves());
        if !matches {
            return Traffic::NONE;
        }
        let mut hit = traffic.and(here, self.traffic);
        for (negated, side, number) in &self.services {
            let members = marks(*side).services.get(*number).copied().unwrap_or(Traffic::NONE);
            hit = if *negated { traffic.less(hit, members) } else { traffic.and(hit, members) };
        }
        for (states, origin) in &self.connections {
            let origin = origin.map_or(Traffic::ALL, |number| at.origins.get(number).copied().unwrap_or(Traffic::NONE));
            let known = states.as_ref().map(|(negated, states)| states.contains(&at.state) != *negated);
            hit = match (at.state, known) {
                (_, Some(false)) | (State::Untracked | State::Invalid, None) => Traffic::NONE,
                (State::Untracked | State::Invalid, Some(true)) => hit,
                (State::New | State::Established | State::Related, None | Some(true)) => traffic.and(hit, origin),
            };
        }
        hit
    }
}

impl Question<'_> {
    fn holds(&self, address: IpAddr) -> bool {
        match self {
            Question::Member(nets) => nets.is_some_and(|nets| nets.has(address)),
            Question::Within(net) => net.holds(address),
        }
    }
}

impl Connection {
    /// Of packets whose connections were made to this destination, those that it is true of.
    fn origin(&self, address: IpAddr, port: Option<u16>, traffic: &mut Traffic) -> TrafficId {
        if self.address.is_some_and(|(negated, net)| net.holds(address) == negated) {
            return Traffic::NONE;
        }
        let Some((negated, range)) = self.port else { return Traffic::ALL };
        let holds = |own: (u16, u16)| range.holds(port.unwrap_or(own.0));
        traffic.select(|class| class.port(Side::Destination).is_some_and(holds) != negated)
    }
}

struct Maker<'work, 'kernel> {
    kernel: &'kernel Kernel,
    family: Family,
    asked: Asked<'kernel>,
    traffic: &'work mut Traffic,
}

impl<'kernel> Maker<'_, 'kernel> {
    fn graph(&mut self, table: &'kernel Table) -> Graph {
        let numbers: FxHashMap<&str, usize> = table.chains.keys().enumerate().map(|(number, name)| (name.as_str(), number)).collect();
        let chains = table.chains.values().map(|rules| rules.iter().map(|rule| self.step(rule, &numbers)).collect()).collect();
        let built_in = ["PREROUTING", "FORWARD", "INPUT", "OUTPUT"].into_iter();
        Graph { chains, built_in: built_in.filter_map(|name| Some((name, *numbers.get(name)?))).collect() }
    }

    fn step(&mut self, rule: &'kernel Rule, numbers: &FxHashMap<&str, usize>) -> Step {
        let number = |name: &String| numbers.get(name.as_str()).copied().unwrap_or(usize::MAX);
        let act = match &rule.target {
            Target::Accept => Act::Accept,
            Target::Drop => Act::Drop,
            Target::Return => Act::Return,
            Target::Log => Act::Log,
            Target::NoTrack => Act::NoTrack,
            Target::Jump(chain) => Act::Jump(number(chain)),
            Target::Goto(chain) => Act::Goto(number(chain)),
        };
        let (nets, services, arrives, leaves, connections) = Default::default();
        let mut step = Step { traffic: Traffic::ALL, nets, services, arrives, leaves, connections, act };
        rule.conditions.iter().for_each(|(negated, condition)| self.condition(*negated, condition, &mut step));
        step
    }

    fn condition(&mut self, negated: bool, condition: &'kernel Condition, step: &mut Step) {
        match condition {
            Condition::Protocol(protocol) => {
                let own = self.traffic.of_rule(ProtocolMatch::Is(*protocol), IcmpMatch::Any);
                self.carried(negated, own, step);
            }
            Condition::Icmp(icmp) => {
                let own = self.traffic.of_rule(ProtocolMatch::Is(control(self.family)), IcmpMatch::Is(*icmp));
                self.carried(negated, own, step);
            }
            Condition::Ports(side, ranges) => {
                let own = self.traffic.with_ports(*side, ranges);
                self.carried(negated, own, step);
            }
            Condition::Address(side, net) => step.nets.push((negated, *side, self.within(*net))),
            Condition::Arrives(name) => step.arrives.push((negated, name.clone())),
            Condition::Leaves(name) => step.leaves.push((negated, name.clone())),
            Condition::Set(name, sides) => self.set(negated, name, sides, step),
            Condition::Connection(asked) => {
                let origin = (asked.address.is_some() || asked.port.is_some()).then(|| {
                    self.asked.origins.push(asked);
                    self.asked.origins.len() - 1
                });
                step.connections.push((asked.states.clone(), origin));
            }
            Condition::Limit => {}
        }
    }

    /// A condition on what packets carry.
    fn carried(&mut self, negated: bool, own: TrafficId, step: &mut Step) {
        step.traffic = if negated { self.traffic.less(step.traffic, own) } else { self.traffic.and(step.traffic, own) };
    }

    fn set(&mut self, negated: bool, name: &'kernel str, sides: &[Side], step: &mut Step) {
        let (Some(near), Some(last)) = (sides.first().copied(), sides.last().copied()) else { return };
        match self.kernel.sets.get(name) {
            Some(Set::Nets(nets)) => step.nets.push((negated, near, self.member(name, Some(nets)))),
            Some(Set::Ports(ranges)) => {
                let own = self.bitmap(last, ranges);
                self.carried(negated, own, step);
            }
            Some(Set::Services { members, .. }) => {
                let known = self.asked.service_sets.iter().position(|known| *known == (name, last));
                let number = known.unwrap_or_else(|| {
                    let rows = self.rows(members, last);
                    self.asked.services.push(rows);
                    self.asked.service_sets.push((name, last));
                    self.asked.services.len() - 1
                });
                step.services.push((negated, near, number));
            }
            None => step.nets.push((negated, near, self.member(name, None))),
        }
    }

    /// What the members of a set hold at each address.
    fn rows(&mut self, members: &BTreeSet<(IpAddr, Protocol, u16)>, side: Side) -> FxHashMap<IpAddr, TrafficId> {
        let services: BTreeSet<(Protocol, u16)> = members.iter().map(|row| (row.1, row.2)).collect();
        let traffic: BTreeMap<_, _> =
            services.into_iter().map(|(protocol, port)| ((protocol, port), self.traffic.with_port(protocol, side, port))).collect();
        let mut rows = FxHashMap::default();
        for (address, protocol, port) in members {
            let own = traffic.get(&(*protocol, *port)).copied().unwrap_or(Traffic::NONE);
            let all = rows.entry(*address).or_insert(Traffic::NONE);
            *all = self.traffic.or(*all, own);
        }
        rows
    }

    /// The kernel looks for ports of TCP and UDP only.
    fn bitmap(&mut self, side: Side, ranges: &[PortRange]) -> TrafficId {
        let is_known = |class: &Class| class.protocol().is_some_and(|protocol| [Protocol::TCP, Protocol::UDP].contains(&protocol));
        let holds = |(first, _): (u16, u16)| ranges.iter().any(|range| range.holds(first));
        self.traffic.select(|class| is_known(class) && class.port(side).is_some_and(holds))
    }

    fn member(&mut self, name: &'kernel str, nets: Option<&'kernel Nets>) -> usize {
        let next = self.asked.nets.len();
        let number = *self.asked.by_set.entry(name).or_insert(next);
        if number == next {
            self.asked.nets.push(Question::Member(nets));
        }
        number
    }

    fn within(&mut self, net: Cidr) -> usize {
        let next = self.asked.nets.len();
        let number = *self.asked.by_net.entry(net).or_insert(next);
        if number == next {
            self.asked.nets.push(Question::Within(net));
        }
        number
    }
}
