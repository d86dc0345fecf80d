//! Scripts made ready for sets of packets: conditions on what a packet carries are sets of traffic,
//! those on addresses are questions with numbers.
//!
//! In: a [`NodeKernel`], and the [`HeaderSpace`] that its [`cut`](NodeKernel::cut) made. Out: a
//! [`SymbolicTables`], which tells what all rules say of an address ([`AddressAnswers`]). The
//! [`AnswerColumns`] of the addresses of all places are what `walk` goes through chains with.
//!
//! Cost: a rule's conditions, once; an address, a look-up for each length of prefix that sets have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::net::{Cidr, Family, PortRange, Protocol, Side};
use crate::netfilter::atoms::control;
use crate::netfilter::graph::{AnswerColumns, ChainGraph, RuleAction, SymbolicRule};
use crate::netfilter::model::{ConntrackMatch, LoadedTable, Rule, RuleCondition};
use crate::netfilter::sets::{LoadedSet, PrefixSet};
use crate::netfilter::{CheckedTarget, NodeKernel};
use crate::packet_space::{HeaderSetId, HeaderSpace, LocationSet};
use crate::policy::{IcmpMatch, ProtocolMatch};

/// The tables of a family, for walks with sets of packets.
#[derive(Debug)]
pub(crate) struct SymbolicTables<'kernel> {
    pub(super) raw: Option<ChainGraph>,
    pub(super) mangle: Option<ChainGraph>,
    pub(super) filter: ChainGraph,
    asked: AddressQuestions<'kernel>,
}

/// What rules ask of addresses.
#[derive(Debug, Default)]
struct AddressQuestions<'kernel> {
    /// How many questions are answered by prefixes.
    nets: usize,
    /// The questions that a prefix answers, and whether it is an exception there. The longest
    /// prefix decides.
    by_prefix: FxHashMap<Cidr, Vec<(usize, bool)>>,
    /// The lengths of these prefixes.
    lengths: BTreeSet<u8>,
    by_set: FxHashMap<&'kernel str, usize>,
    by_net: FxHashMap<Cidr, usize>,
    /// The sets with services that have an address, by number, in order, and the traffic that each
    /// has there.
    services_at: FxHashMap<IpAddr, Vec<(usize, HeaderSetId)>>,
    /// The sets with services by number, with the side of the port.
    service_sets: IndexSet<(&'kernel str, Side), FxBuildHasher>,
    origins: Vec<&'kernel ConntrackMatch>,
}

/// What all rules say of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AddressAnswers {
    /// The questions that it is an answer to, in order.
    nets: Vec<usize>,
    /// The sets with services that have it, in order, and the traffic that each has there.
    services: Box<[(usize, HeaderSetId)]>,
    /// Which of those connections were made to it, as far as the address goes, that rules ask for
    /// the original destination.
    pub(crate) sent: Box<[bool]>,
}

impl NodeKernel {
    /// Makes a family's tables ready for walks.
    pub(crate) fn symbolic(&self, family: Family, traffic: &mut HeaderSpace) -> SymbolicTables<'_> {
        let tables = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let mut maker = SymbolicBuilder {
            kernel: self,
            family,
            asked: AddressQuestions::default(),
            traffic,
        };
        let raw = tables.raw.as_ref().map(|table| maker.graph(table));
        let mangle = tables.mangle.as_ref().map(|table| maker.graph(table));
        let filter = maker.graph(&tables.filter);

        SymbolicTables {
            raw,
            mangle,
            filter,
            asked: maker.asked,
        }
    }
}

impl SymbolicTables<'_> {
    /// What all rules say of an address.
    pub(crate) fn marks(&self, address: IpAddr) -> AddressAnswers {
        let asked = &self.asked;
        let around = asked
            .lengths
            .iter()
            .rev()
            .filter_map(|length| asked.by_prefix.get(&Cidr::around(address, *length)?));

        let mut nets: Vec<(usize, bool)> = around.flatten().copied().collect();
        // stable, so that of each question the longest prefix is first
        nets.sort_by_key(|row| row.0);
        nets.dedup_by_key(|row| row.0);

        let nets = nets
            .into_iter()
            .filter(|(_, is_exception)| !is_exception)
            .map(|row| row.0)
            .collect();
        let services = asked
            .services_at
            .get(&address)
            .map_or(&[][..], Vec::as_slice)
            .into();
        let holds = |connection: &&ConntrackMatch| {
            connection
                .address
                .is_none_or(|(negated, net)| net.holds(address) != negated)
        };

        AddressAnswers {
            nets,
            services,
            sent: asked.origins.iter().map(holds).collect(),
        }
    }

    /// What rules say of places, which are numbered in this order.
    pub(crate) fn columns(
        &self,
        places: &[&AddressAnswers],
        traffic: &mut HeaderSpace,
    ) -> AnswerColumns {
        let mut nets: Vec<Vec<usize>> = vec![Vec::new(); self.asked.nets];
        for (number, marks) in places.iter().enumerate() {
            for question in &marks.nets {
                nets.get_mut(*question)
                    .into_iter()
                    .for_each(|places| places.push(number));
            }
        }

        let mut services: Vec<BTreeMap<HeaderSetId, Vec<usize>>> =
            vec![BTreeMap::new(); self.asked.service_sets.len()];
        for (number, marks) in places.iter().enumerate() {
            for (question, traffic) in &marks.services {
                let own = services
                    .get_mut(*question)
                    .map(|rows| rows.entry(*traffic).or_default());
                own.into_iter().for_each(|places| places.push(number));
            }
        }

        let served = services.iter().map(|rows| {
            LocationSet::these(
                places.len(),
                &rows.values().flatten().copied().collect::<Vec<_>>(),
            )
        });
        let served: Vec<LocationSet> = served.collect();
        let services = services.iter().zip(&served).map(|(rows, served)| {
            let rest = LocationSet::filter(places.len(), |number| !served.holds(number));
            let rows = rows
                .iter()
                .map(|(traffic, numbers)| (*traffic, LocationSet::these(places.len(), numbers)));
            let rest = Some((HeaderSpace::NONE, rest)).filter(|(_, rest)| rest.len() > 0);
            rest.into_iter().chain(rows).collect()
        });
        let services: Vec<_> = services.collect();
        let untranslated = self.origins(None, traffic);
        let origins = untranslated.iter().enumerate().map(|(question, own)| {
            let answer = |marks: &&AddressAnswers| match marks.sent.get(question) {
                Some(true) => *own,
                Some(false) | None => HeaderSpace::NONE,
            };
            by_traffic(places.iter().map(answer))
        });

        AnswerColumns {
            nets: nets
                .iter()
                .map(|numbers| LocationSet::these(places.len(), numbers))
                .collect(),
            services,
            served,
            origins: origins.collect(),
        }
    }

    /// Of packets whose connections were made to this port, or to the one that they are for, those
    /// that have what each rule asks of the original destination's port.
    pub(crate) fn origins(
        &self,
        port: Option<u16>,
        traffic: &mut HeaderSpace,
    ) -> Box<[HeaderSetId]> {
        self.asked
            .origins
            .iter()
            .map(|connection| connection.origin(port, traffic))
            .collect()
    }

    /// Whether there are tables before the filter table.
    pub(crate) fn has_early(&self) -> bool {
        self.raw.is_some() || self.mangle.is_some()
    }
}

/// The places of each set of traffic.
fn by_traffic(rows: impl ExactSizeIterator<Item = HeaderSetId>) -> Vec<(HeaderSetId, LocationSet)> {
    let count = rows.len();
    let mut numbers: BTreeMap<HeaderSetId, Vec<usize>> = BTreeMap::new();
    rows.enumerate()
        .for_each(|(number, traffic)| numbers.entry(traffic).or_default().push(number));
    numbers
        .into_iter()
        .map(|(traffic, numbers)| (traffic, LocationSet::these(count, &numbers)))
        .collect()
}

impl ConntrackMatch {
    /// Of packets whose connections were made to this port, those that it is true of.
    fn origin(&self, port: Option<u16>, traffic: &mut HeaderSpace) -> HeaderSetId {
        let Some((negated, range)) = self.port else {
            return HeaderSpace::ALL;
        };
        let own = match port {
            None => traffic.with_ports(Side::Destination, &[range]),
            Some(port) if range.holds(port) => {
                let without_ports = traffic.without_ports();
                traffic.less(HeaderSpace::ALL, without_ports)
            }
            Some(_) => HeaderSpace::NONE,
        };
        if negated {
            traffic.less(HeaderSpace::ALL, own)
        } else {
            own
        }
    }
}

struct SymbolicBuilder<'work, 'kernel> {
    kernel: &'kernel NodeKernel,
    family: Family,
    asked: AddressQuestions<'kernel>,
    traffic: &'work mut HeaderSpace,
}

impl<'kernel> SymbolicBuilder<'_, 'kernel> {
    fn graph(&mut self, table: &'kernel LoadedTable) -> ChainGraph {
        let numbers: FxHashMap<&str, usize> = table
            .chains
            .keys()
            .enumerate()
            .map(|(number, name)| (name.as_str(), number))
            .collect();
        let chains = table
            .chains
            .values()
            .map(|rules| rules.iter().map(|rule| self.step(rule, &numbers)).collect())
            .collect();
        let built_in = ["PREROUTING", "FORWARD", "INPUT", "OUTPUT"].into_iter();

        ChainGraph {
            chains,
            built_in: built_in
                .filter_map(|name| Some((name, *numbers.get(name)?)))
                .collect(),
        }
    }

    fn step(&mut self, rule: &'kernel Rule, numbers: &FxHashMap<&str, usize>) -> SymbolicRule {
        let number = |name: &String| numbers.get(name.as_str()).copied().unwrap_or(usize::MAX);
        let act = match &rule.target {
            CheckedTarget::Accept => RuleAction::Accept,
            CheckedTarget::Drop => RuleAction::Drop,
            CheckedTarget::Return => RuleAction::Return,
            CheckedTarget::Log => RuleAction::Log,
            CheckedTarget::NoTrack => RuleAction::NoTrack,
            CheckedTarget::Jump(chain) => RuleAction::Jump(number(chain)),
            CheckedTarget::Goto(chain) => RuleAction::Goto(number(chain)),
        };
        let (nets, services, arrives, reverse_paths, leaves, connections) = Default::default();
        let mut step = SymbolicRule {
            traffic: HeaderSpace::ALL,
            nets,
            services,
            arrives,
            reverse_paths,
            leaves,
            connections,
            act,
        };

        rule.conditions
            .iter()
            .for_each(|(negated, condition)| self.condition(*negated, condition, &mut step));
        step
    }

    fn condition(
        &mut self,
        negated: bool,
        condition: &'kernel RuleCondition,
        step: &mut SymbolicRule,
    ) {
        match condition {
            RuleCondition::Protocol(protocol) => {
                let own = self
                    .traffic
                    .of_rule(ProtocolMatch::Is(*protocol), IcmpMatch::Any);
                self.carried(negated, own, step);
            }
            RuleCondition::Icmp(icmp) => {
                let own = self.traffic.of_rule(
                    ProtocolMatch::Is(control(self.family)),
                    IcmpMatch::Is(*icmp),
                );
                self.carried(negated, own, step);
            }
            RuleCondition::Ports(side, ranges) => {
                let own = self.traffic.with_ports(*side, ranges);
                self.carried(negated, own, step);
            }
            RuleCondition::Address(side, net) => {
                step.nets.push((negated, *side, self.within(*net)))
            }
            RuleCondition::Arrives(name) => step.arrives.push((negated, name.clone())),
            RuleCondition::ReversePath { is_loose } => {
                step.reverse_paths.push((negated, *is_loose))
            }
            RuleCondition::Leaves(name) => step.leaves.push((negated, name.clone())),
            RuleCondition::Set(name, sides) => self.set(negated, name, sides, step),
            RuleCondition::Connection(asked) => {
                let origin = (asked.address.is_some() || asked.port.is_some()).then(|| {
                    self.asked.origins.push(asked);
                    self.asked.origins.len() - 1
                });
                step.connections.push((asked.states.clone(), origin));
            }
            RuleCondition::Limit => {}
        }
    }

    /// A condition on what packets carry.
    fn carried(&mut self, negated: bool, own: HeaderSetId, step: &mut SymbolicRule) {
        step.traffic = if negated {
            self.traffic.less(step.traffic, own)
        } else {
            self.traffic.and(step.traffic, own)
        };
    }

    fn set(&mut self, negated: bool, name: &'kernel str, sides: &[Side], step: &mut SymbolicRule) {
        let (Some(near), Some(last)) = (sides.first().copied(), sides.last().copied()) else {
            return;
        };

        match self.kernel.sets.get(name) {
            Some(LoadedSet::Nets(nets)) => {
                step.nets
                    .push((negated, near, self.member(name, Some(nets))))
            }
            Some(LoadedSet::Ports(ranges)) => {
                let own = self.bitmap(last, ranges);
                self.carried(negated, own, step);
            }
            Some(LoadedSet::Services(members)) => {
                step.services
                    .push((negated, near, self.services(name, members, last)));
            }
            None => step.nets.push((negated, near, self.member(name, None))),
        }
    }

    /// The number of a set of services, new or known, with the side of the port.
    fn services(
        &mut self,
        name: &'kernel str,
        members: &BTreeSet<(IpAddr, Protocol, u16)>,
        side: Side,
    ) -> usize {
        let (number, is_new) = self.asked.service_sets.insert_full((name, side));
        if is_new {
            for (address, traffic) in self.rows(members, side) {
                self.asked
                    .services_at
                    .entry(address)
                    .or_default()
                    .push((number, traffic));
            }
        }

        number
    }

    /// What the members of a set hold at each address.
    fn rows(
        &mut self,
        members: &BTreeSet<(IpAddr, Protocol, u16)>,
        side: Side,
    ) -> BTreeMap<IpAddr, HeaderSetId> {
        let services: BTreeSet<(Protocol, u16)> =
            members.iter().map(|row| (row.1, row.2)).collect();
        let traffic: BTreeMap<_, _> = services
            .into_iter()
            .map(|(protocol, port)| {
                (
                    (protocol, port),
                    self.traffic.with_port(protocol, side, port),
                )
            })
            .collect();
        let mut rows = BTreeMap::new();

        for (address, protocol, port) in members {
            let own = traffic
                .get(&(*protocol, *port))
                .copied()
                .unwrap_or(HeaderSpace::NONE);
            let all = rows.entry(*address).or_insert(HeaderSpace::NONE);
            *all = self.traffic.or(*all, own);
        }

        rows
    }

    /// The kernel looks for ports of TCP and UDP only.
    fn bitmap(&mut self, side: Side, ranges: &[PortRange]) -> HeaderSetId {
        let [tcp, udp] = [Protocol::TCP, Protocol::UDP].map(|protocol| {
            self.traffic
                .of_rule(ProtocolMatch::Is(protocol), IcmpMatch::Any)
        });
        let known = self.traffic.or(tcp, udp);
        let ports = self.traffic.with_ports(side, ranges);
        self.traffic.and(known, ports)
    }

    fn member(&mut self, name: &'kernel str, nets: Option<&'kernel PrefixSet>) -> usize {
        let next = self.asked.nets;
        let number = *self.asked.by_set.entry(name).or_insert(next);
        if number == next {
            self.asked.nets += 1;
            nets.iter()
                .flat_map(|nets| &nets.members)
                .for_each(|(net, is_exception)| self.answer(number, *net, *is_exception));
        }
        number
    }

    fn within(&mut self, net: Cidr) -> usize {
        let next = self.asked.nets;
        let number = *self.asked.by_net.entry(net).or_insert(next);
        if number == next {
            self.asked.nets += 1;
            self.answer(number, net, false);
        }
        number
    }

    fn answer(&mut self, question: usize, net: Cidr, is_exception: bool) {
        self.asked.lengths.insert(net.prefix());
        self.asked
            .by_prefix
            .entry(net)
            .or_default()
            .push((question, is_exception));
    }
}
