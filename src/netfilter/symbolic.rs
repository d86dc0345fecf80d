//! Scripts prepared for symbolic evaluation: header conditions become sets of headers, and address
//! conditions get numbers.
//!
//! In: a [`NodeKernel`], and the [`HeaderSpace`] built from its [`add_cuts`](NodeKernel::add_cuts).
//! Out: [`SymbolicTables`], which return the answers of all rules for an address
//! ([`AddressAnswers`]). The walk through chains uses the [`AnswerColumns`] of all locations.
//!
//! Cost: once, the conditions of all rules; for each address, one look-up for each prefix length in
//! sets and rules.

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

/// The tables of one family, prepared for walks with sets of packets.
#[derive(Debug)]
pub(crate) struct SymbolicTables<'kernel> {
    pub(super) raw: Option<ChainGraph>,
    pub(super) mangle: Option<ChainGraph>,
    pub(super) filter: ChainGraph,
    asked: AddressQuestions<'kernel>,
}

/// The address conditions of all rules.
#[derive(Debug, Default)]
struct AddressQuestions<'kernel> {
    /// The number of conditions on prefixes.
    nets: usize,
    /// For each prefix, the conditions that it answers, each with `true` if the prefix is an
    /// exception there. The longest prefix decides.
    by_prefix: FxHashMap<Cidr, Vec<(usize, bool)>>,
    /// The prefix lengths in `by_prefix`.
    lengths: BTreeSet<u8>,
    by_set: FxHashMap<&'kernel str, usize>,
    by_net: FxHashMap<Cidr, usize>,
    /// For each address, the service sets that contain it, in order, with the headers of the
    /// members there.
    services_at: FxHashMap<IpAddr, Vec<(usize, HeaderSetId)>>,
    /// The service sets by number, each with the side that gives the port.
    service_sets: IndexSet<(&'kernel str, Side), FxBuildHasher>,
    origins: Vec<&'kernel ConntrackMatch>,
}

/// The answers of all rules for one address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AddressAnswers {
    /// The prefix conditions that the address meets, in order.
    nets: Vec<usize>,
    /// The service sets that contain the address, in order, with the headers of the members there.
    services: Box<[(usize, HeaderSetId)]>,
    /// For each match on the original destination, `true` if this address meets its address
    /// condition.
    pub(crate) sent: Box<[bool]>,
}

impl NodeKernel {
    /// Prepares the tables of a family. `traffic` must be built from [`add_cuts`](Self::add_cuts).
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
    /// Returns the answers of all rules for an address.
    pub(crate) fn marks(&self, address: IpAddr) -> AddressAnswers {
        let asked = &self.asked;
        let around = asked
            .lengths
            .iter()
            .rev()
            .filter_map(|length| asked.by_prefix.get(&Cidr::around(address, *length)?));

        let mut nets: Vec<(usize, bool)> = around.flatten().copied().collect();
        // the sort is stable, so the longest prefix of each condition stays first
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

    /// Returns the answers for all locations. A location's number is its index in `places`.
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
            // the groups must cover all locations, also those without any member
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

    /// Returns, for each match on the original destination, the headers that meet its port
    /// condition. `port` is the original port; `None` means the port that the packet has now.
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

    /// Returns `true` if there are tables before the filter table.
    pub(crate) fn has_early(&self) -> bool {
        self.raw.is_some() || self.mangle.is_some()
    }
}

/// Groups locations by their set of headers.
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
    /// Returns the headers that meet the port condition if the connection was made to `port`, or to
    /// the packet's own port for `None`.
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

    /// Adds a condition on headers to a rule.
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
            // a set that does not exist is empty: no address matches it
            None => step.nets.push((negated, near, self.member(name, None))),
        }
    }

    /// Returns the number of a service set with the side that gives the port; adds it if it is new.
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

    /// Returns the headers of a set's members at each address.
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

    /// Returns the headers that a `bitmap:port` set matches. The kernel reads ports of TCP and UDP
    /// only.
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
