//! The distinctions that scripts make: the conditions by which packets are partitioned before
//! symbolic evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::net::{Cidr, Family, PortRange, Protocol, Side, State};
use crate::netfilter::model::{InterfaceMatch, LoadedTable, Rule, RuleCondition};
use crate::netfilter::sets::{LoadedSet, LoadedSets, PrefixSet};
use crate::netfilter::{CheckedTarget, FamilyTables, NodeKernel, TableName};
use crate::packet_space::PartitionBuilder;
use crate::policy::ProtocolMatch;

/// A rule in one of the kernel's built-in chains that is at the wrong end of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MisplacedRule {
    /// The table.
    pub table: TableName,
    /// The family of the table.
    pub family: Family,
    /// The chain.
    pub chain: String,
    /// The line of the rule in the script, from 1.
    pub line: usize,
}

impl NodeKernel {
    /// Adds the header conditions of all rules and sets to a partition.
    pub fn add_cuts(&self, cuts: &mut PartitionBuilder) {
        for (family, rule) in self.rules() {
            let protocols: Vec<Protocol> = rule
                .conditions
                .iter()
                .filter_map(|(_, condition)| protocol(condition))
                .collect();
            protocols
                .iter()
                .for_each(|protocol| cuts.protocol(*protocol));
            rule.conditions.iter().for_each(|(_, condition)| {
                add_condition_cuts(condition, family, &protocols, &self.sets, cuts)
            });
        }
    }

    /// Returns prefix lists that refine addresses: all rules and sets treat addresses in the same
    /// lists alike.
    pub fn prefixes(&self) -> Vec<Vec<Cidr>> {
        let mut lists = Vec::new();
        let named: BTreeSet<&str> = self.rules().flat_map(|(_, rule)| set_names(rule)).collect();
        for set in named.into_iter().filter_map(|name| self.sets.get(name)) {
            match set {
                LoadedSet::Nets(nets) => lists.extend(by_decision(nets)),
                LoadedSet::Services(members) => lists.extend(by_service(members)),
                LoadedSet::Ports(_) => {}
            }
        }

        let asked: BTreeSet<Cidr> = self.rules().flat_map(|(_, rule)| addresses(rule)).collect();
        lists.extend(asked.into_iter().map(|net| vec![net]));
        lists
    }

    /// Returns the interface names that rules match in full.
    pub fn interfaces(&self) -> BTreeSet<&str> {
        let named = self.interface_conditions().filter(|(_, is_open)| !is_open);
        named.map(|(name, _)| name).collect()
    }

    /// Returns the interface name prefixes that rules match (`cali+`).
    pub fn interface_stems(&self) -> BTreeSet<&str> {
        let stems = self.interface_conditions().filter(|(_, is_open)| *is_open);
        stems.map(|(stem, _)| stem).collect()
    }

    /// Returns the interface names in rules, each with `true` if it is only a prefix.
    fn interface_conditions(&self) -> impl Iterator<Item = (&str, bool)> {
        let conditions = self.rules().flat_map(|(_, rule)| &rule.conditions);
        conditions.filter_map(|(_, condition)| {
            if let RuleCondition::Leaves(name) = condition {
                return Some((name.as_str(), false));
            }
            let RuleCondition::Arrives(InterfaceMatch { stem, is_open }) = condition else {
                return None;
            };
            Some((stem.as_str(), *is_open))
        })
    }

    /// Returns `true` if a rule has an `rpfilter` match.
    pub(crate) fn asks_reverse_paths(&self) -> bool {
        let asks =
            |condition: &RuleCondition| matches!(condition, RuleCondition::ReversePath { .. });
        self.rules()
            .any(|(_, rule)| rule.conditions.iter().any(|(_, condition)| asks(condition)))
    }

    /// Returns `true` if the destination before DNAT matters: if rules match the original
    /// destination, or if rules before the filter table match a destination or make packets
    /// untracked.
    pub fn asks_before_dnat(&self) -> bool {
        let asks_original = |condition: &RuleCondition| matches!(condition, RuleCondition::Connection(asked) if asked.address.is_some() || asked.port.is_some());
        let depends = |table: &LoadedTable, rule: &Rule| {
            let conditions = || rule.conditions.iter().map(|(_, condition)| condition);
            let is_early = table.name != TableName::Filter;
            conditions().any(asks_original)
                || is_early
                    && (rule.target == CheckedTarget::NoTrack || conditions().any(asks_destination))
        };

        self.all_tables().any(|(_, table)| {
            table
                .chains
                .values()
                .flatten()
                .any(|rule| depends(table, rule))
        })
    }

    /// Returns the rules in built-in chains that are not at the required end. `at_head` requires
    /// the head.
    pub fn misplaced(&self, at_head: bool) -> Vec<MisplacedRule> {
        let mut misplaced = Vec::new();
        for (family, table) in self.all_tables() {
            for chain in table.name.built_in() {
                let rules = table.chain(chain).map_or(&[][..], |(_, rules)| rules);
                let wrong = rules.iter().filter(|rule| rule.is_at_head != at_head);
                misplaced.extend(wrong.map(|rule| MisplacedRule {
                    table: table.name,
                    family,
                    chain: (*chain).to_owned(),
                    line: rule.line,
                }));
            }
        }

        misplaced
    }

    fn all_tables(&self) -> impl Iterator<Item = (Family, &LoadedTable)> {
        let of_v4 = self.v4.all().map(|table| (Family::V4, table));
        of_v4.chain(self.v6.all().map(|table| (Family::V6, table)))
    }

    fn rules(&self) -> impl Iterator<Item = (Family, &Rule)> {
        self.all_tables().flat_map(|(family, table)| {
            table
                .chains
                .values()
                .flatten()
                .map(move |rule| (family, rule))
        })
    }
}

impl FamilyTables {
    fn all(&self) -> impl Iterator<Item = &LoadedTable> {
        self.raw.iter().chain(&self.mangle).chain([&self.filter])
    }
}

/// Returns one list for each prefix length if the set has exceptions, because the longest prefix
/// decides; else one list.
fn by_decision(nets: &PrefixSet) -> Vec<Vec<Cidr>> {
    let mut lists: BTreeMap<Option<(u8, bool)>, Vec<Cidr>> = BTreeMap::new();
    let has_exceptions = nets.members.values().any(|is_exception| *is_exception);
    for (net, is_exception) in &nets.members {
        lists
            .entry(has_exceptions.then_some((net.prefix(), *is_exception)))
            .or_default()
            .push(*net);
    }
    lists.into_values().collect()
}

/// Returns the addresses of a service set, in one list for each protocol and port.
fn by_service(members: &BTreeSet<(IpAddr, Protocol, u16)>) -> Vec<Vec<Cidr>> {
    let mut lists: BTreeMap<(Protocol, u16), Vec<Cidr>> = BTreeMap::new();
    for (address, protocol, port) in members {
        lists
            .entry((*protocol, *port))
            .or_default()
            .push(Cidr::host(*address));
    }
    lists.into_values().collect()
}

/// Returns `true` if a condition depends on the destination of a packet.
fn asks_destination(condition: &RuleCondition) -> bool {
    match condition {
        RuleCondition::Address(side, _) | RuleCondition::Ports(side, _) => {
            *side == Side::Destination
        }
        RuleCondition::Set(_, sides) => sides.contains(&Side::Destination),
        RuleCondition::Protocol(_)
        | RuleCondition::Arrives(_)
        | RuleCondition::Leaves(_)
        | RuleCondition::ReversePath { .. }
        | RuleCondition::Icmp(_)
        | RuleCondition::Connection(_)
        | RuleCondition::Limit => false,
    }
}

fn protocol(condition: &RuleCondition) -> Option<Protocol> {
    if let RuleCondition::Protocol(protocol) = condition {
        Some(*protocol)
    } else {
        None
    }
}

fn set_names(rule: &Rule) -> impl Iterator<Item = &str> {
    rule.conditions.iter().filter_map(|(_, condition)| {
        if let RuleCondition::Set(name, _) = condition {
            Some(name.as_str())
        } else {
            None
        }
    })
}

fn addresses(rule: &Rule) -> impl Iterator<Item = Cidr> + '_ {
    rule.conditions
        .iter()
        .filter_map(|(_, condition)| match condition {
            RuleCondition::Address(_, net) => Some(*net),
            RuleCondition::Connection(asked) => asked.address.map(|(_, net)| net),
            RuleCondition::Protocol(_)
            | RuleCondition::Arrives(_)
            | RuleCondition::Leaves(_)
            | RuleCondition::ReversePath { .. }
            | RuleCondition::Set(..)
            | RuleCondition::Ports(..)
            | RuleCondition::Icmp(_)
            | RuleCondition::Limit => None,
        })
}

fn add_condition_cuts(
    condition: &RuleCondition,
    family: Family,
    protocols: &[Protocol],
    sets: &LoadedSets,
    cuts: &mut PartitionBuilder,
) {
    let mut ports = |side: Side, range: PortRange| {
        protocols
            .iter()
            .for_each(|protocol| cuts.ports(*protocol, side, range))
    };

    match condition {
        RuleCondition::Ports(side, ranges) => ranges.iter().for_each(|range| ports(*side, *range)),
        RuleCondition::Connection(asked) => asked
            .port
            .iter()
            .for_each(|(_, range)| ports(Side::Destination, *range)),
        RuleCondition::Icmp(icmp) => cuts.message(control(family), *icmp),
        RuleCondition::Set(name, sides) => cut_by_set(
            sets.get(name),
            sides.last().copied().unwrap_or(Side::Source),
            cuts,
        ),
        RuleCondition::Protocol(_)
        | RuleCondition::Address(..)
        | RuleCondition::Arrives(_)
        | RuleCondition::Leaves(_)
        | RuleCondition::ReversePath { .. }
        | RuleCondition::Limit => {}
    }
}

fn cut_by_set(set: Option<&LoadedSet>, side: Side, cuts: &mut PartitionBuilder) {
    match set {
        Some(LoadedSet::Ports(ranges)) => {
            for protocol in [Protocol::TCP, Protocol::UDP] {
                ranges
                    .iter()
                    .for_each(|range| cuts.ports_of(ProtocolMatch::Is(protocol), side, *range));
            }
        }
        Some(LoadedSet::Services(members)) => {
            let rows: BTreeSet<(Protocol, u16)> =
                members.iter().map(|row| (row.1, row.2)).collect();
            for (protocol, port) in rows {
                cuts.protocol(protocol);
                // no range contains port 0; port 0 is the complement of all other ports
                let range = PortRange::new(port, port).or(PortRange::new(1, u16::MAX));
                range
                    .into_iter()
                    .for_each(|range| cuts.ports(protocol, side, range));
            }
        }
        Some(LoadedSet::Nets(_)) | None => {}
    }
}

/// Returns the ICMP protocol of a family.
pub(super) fn control(family: Family) -> Protocol {
    match family {
        Family::V4 => Protocol::ICMP,
        Family::V6 => Protocol::ICMPV6,
    }
}

impl State {
    /// All states.
    pub(crate) const ALL: [State; 5] = [
        State::New,
        State::Established,
        State::Related,
        State::Invalid,
        State::Untracked,
    ];
}
