//! Host endpoints to chains: one for every host endpoint and list, and one for every tier of it.
//!
//! A chain of these is reached by goto from one that the kernel's chain jumps to, and tier leads to
//! tier by goto. So a return is a return to the kernel's chain, or to `pal-FORWARD`, and can be the
//! verdict "go on": what forward policy allows meets the pods' policy next. Unlike with pods, each
//! tier makes the nesting one deeper (`depth` sees to the limit).
//!
//! Untracked policy is asked again where its packets meet tracked policy, because nothing of ours
//! depends on what another table did. What it was not asked about in the raw table goes past it
//! there. A packet without a connection may be one of its own or one that others keep from
//! connection tracking; either way its destination is not translated, so that pre-DNAT policy is
//! asked again about the destination that it bears.

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostics;
use crate::lower::names::{NameSource, fixed_chain};
use crate::lower::policy_chains::{DestinationKind, DirectionContext, DirectionRules, rules_of};
use crate::lower::program::{
    ChainHook, ChainName, NetMember, ProgramChain, ProgramRule, ProgramTable, RuleMatch,
    RuleTarget, Sense, SetMembers, SetName, Side, TableKind,
};
use crate::lower::rules::{NEIGHBOUR_MESSAGES, rule, tracked};
use crate::lower::sets::{SetReach, family_suffix};
use crate::lower::{NodeLowering, profiles};
use crate::net::{Cidr, Direction, Family, Protocol};
use crate::options::FailsafePort;
use crate::policy::{Action, DefaultAction, HostEndpoint, HostPlace, Icmp, PolicyListKind, Tier};
use crate::resolve::{HostEndpointId, HostsOnNode, ListedTier, RecheckedTier};

/// What the filter table has for host endpoints.
#[derive(Default)]
pub(super) struct HostFilterChains {
    /// For forwarded packets, before those of pods are sought out.
    pub(super) forward: Vec<ProgramRule>,
    /// For packets to the host, behind those of pods.
    pub(super) input: Vec<ProgramRule>,
    /// For packets of the host, behind those to pods.
    pub(super) output: Vec<ProgramRule>,
    /// All chains.
    pub(super) chains: Vec<ProgramChain>,
}

/// The host endpoints' part of the filter table of a family; empty on a node without any.
pub(super) fn filter(
    lowering: &mut NodeLowering<'_, '_>,
    family: Family,
    diagnostics: &mut Diagnostics,
) -> HostFilterChains {
    let hosts = lowering.resolved.hosts_on(lowering.node);
    if hosts.all().next().is_none() {
        return HostFilterChains::default();
    }

    let mut work = HostChainBuilder::new(lowering, TableKind::Filter, family, diagnostics);
    let forward = Direction::BOTH
        .into_iter()
        .filter_map(|direction| work.forward(&hosts, direction))
        .collect();
    let input = work.dispatch(&hosts, Direction::Ingress, HostChainBuilder::normal);
    let output = work.dispatch(&hosts, Direction::Egress, HostChainBuilder::normal);

    HostFilterChains {
        forward,
        input,
        output,
        chains: work.finish(),
    }
}

/// The raw and mangle tables, where untracked and pre-DNAT policy asks for them.
pub(super) fn early_tables(
    lowering: &mut NodeLowering<'_, '_>,
    diagnostics: &mut Diagnostics,
) -> Vec<ProgramTable> {
    let hosts = lowering.resolved.hosts_on(lowering.node);
    let raw: Vec<ProgramTable> = Family::BOTH
        .into_iter()
        .filter_map(|family| early(lowering, &hosts, TableKind::Raw, family, diagnostics))
        .collect();
    let mangle = Family::BOTH
        .into_iter()
        .filter_map(|family| early(lowering, &hosts, TableKind::Mangle, family, diagnostics));
    raw.into_iter().chain(mangle).collect()
}

/// A table before the filter table; none when no host endpoint has policy there.
fn early(
    lowering: &mut NodeLowering<'_, '_>,
    hosts: &HostsOnNode,
    kind: TableKind,
    family: Family,
    diagnostics: &mut Diagnostics,
) -> Option<ProgramTable> {
    let position = lowering.options.hook_position;
    let mut work = HostChainBuilder::new(lowering, kind, family, diagnostics);
    let mut entries = Vec::new();
    let mut hooks = Vec::new();

    for (direction, kernel_chain, about) in [
        (Direction::Ingress, "PREROUTING", "packets that arrive"),
        (Direction::Egress, "OUTPUT", "packets of the node"),
    ] {
        let rules = work.dispatch(hosts, direction, HostChainBuilder::before);
        if !rules.is_empty() {
            let chain = fixed_chain(kernel_chain);
            entries.push(ProgramChain {
                name: chain.clone(),
                about: about.to_owned(),
                rules,
            });
            hooks.push(ChainHook {
                kernel_chain,
                chain,
                position,
            });
        }
    }

    let chains = work.finish();
    (!hooks.is_empty()).then(|| ProgramTable {
        kind,
        family,
        chains: entries.into_iter().chain(chains).collect(),
        hooks,
    })
}

/// A table's chains of host endpoints in the making.
struct HostChainBuilder<'work, 'run, 'input> {
    lowering: &'work mut NodeLowering<'run, 'input>,
    table: TableKind,
    family: Family,
    found: &'work mut Diagnostics,
    chains: Vec<ProgramChain>,
    known: BTreeSet<ChainName>,
}

/// How a list is turned into chains.
struct HostListKind {
    list: PolicyListKind,
    direction: Direction,
    /// Short word for what the list is for here, in the names of its chains.
    sort: &'static str,
    /// The same for readers.
    scope: &'static str,
    allowed: RuleTarget,
}

/// A tier with what is asked of its policies.
struct HostTierStep<'input> {
    tier: &'input Tier,
    policies: Vec<DirectionRules<'input>>,
}

/// Where a packet goes on that is not decided yet, and why, in words.
#[derive(Clone)]
struct NextTarget {
    target: RuleTarget,
    about: &'static str,
}

/// Where a list begins, with what is asked again before it.
struct ListStart {
    /// What pre-DNAT policy was not asked about: connections to failsafe ports go past it.
    original_failsafes: Vec<ProgramRule>,
    /// For packets that begin a connection.
    tracked: NextTarget,
    /// For packets without a connection, behind untracked policy.
    without_connection: NextTarget,
}

/// Makes the chain of a host endpoint for a direction and gives what leads there.
type HostChainId<'work, 'run, 'input> = fn(
    &mut HostChainBuilder<'work, 'run, 'input>,
    HostEndpointId,
    &HostEndpoint,
    Direction,
) -> RuleTarget;

impl<'work, 'run, 'input> HostChainBuilder<'work, 'run, 'input> {
    fn new(
        lowering: &'work mut NodeLowering<'run, 'input>,
        table: TableKind,
        family: Family,
        found: &'work mut Diagnostics,
    ) -> Self {
        Self {
            lowering,
            table,
            family,
            found,
            chains: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    fn finish(self) -> Vec<ProgramChain> {
        self.chains
    }

    /// The jump past the forward policy of a direction; none where no host endpoint has any.
    fn forward(&mut self, hosts: &HostsOnNode, direction: Direction) -> Option<ProgramRule> {
        let at = self.chains.len();
        let rules = self.dispatch(hosts, direction, HostChainBuilder::forwarded);
        let (word, about) = match direction {
            Direction::Ingress => (
                "forward-in",
                "forwarded packets, by the host endpoint that they arrive at",
            ),
            Direction::Egress => (
                "forward-out",
                "forwarded packets, by the host endpoint that they leave by",
            ),
        };
        let name = fixed_chain(word);

        (!rules.is_empty()).then(|| {
            self.chains.insert(
                at,
                ProgramChain {
                    name: name.clone(),
                    about: about.to_owned(),
                    rules,
                },
            );
            rule(
                Vec::new(),
                RuleTarget::Jump(name),
                &format!("forward policy of host endpoints: {direction}"),
            )
        })
    }

    /// Every packet to the chain of its host endpoint; no rule where all of them let everything go
    /// on.
    fn dispatch(
        &mut self,
        hosts: &HostsOnNode,
        direction: Direction,
        chain_of: HostChainId<'work, 'run, 'input>,
    ) -> Vec<ProgramRule> {
        let resolved = self.lowering.resolved;
        let mut rules = Vec::new();
        for id in hosts.all() {
            let Some(host) = resolved.host_endpoint(id) else {
                continue;
            };
            let Some(matches) = self.place(host, direction) else {
                continue;
            };
            rules.push(rule(
                matches,
                chain_of(self, id, host, direction),
                &host.to_string(),
            ));
        }

        match rules.iter().all(|rule| rule.target == RuleTarget::Return) {
            true => Vec::new(),
            false => rules,
        }
    }

    /// The packets of a host endpoint; none where it has no address of the family to tell them by.
    fn place(&mut self, host: &HostEndpoint, direction: Direction) -> Option<Vec<RuleMatch>> {
        match (&host.place, direction) {
            (HostPlace::Interface(name), Direction::Ingress) => {
                Some(vec![RuleMatch::Arrives(name.clone())])
            }
            (HostPlace::Interface(name), Direction::Egress) => {
                Some(vec![RuleMatch::Leaves(name.clone())])
            }
            (HostPlace::Everywhere, _) => Some(Vec::new()),
            (HostPlace::Addresses, _) => self
                .address_set(host)
                .map(|set| vec![RuleMatch::Member(Sense::Is, local_side(direction), set)]),
        }
    }

    fn address_set(&mut self, host: &HostEndpoint) -> Option<SetName> {
        let hosts = host
            .addresses
            .iter()
            .copied()
            .map(Cidr::host)
            .filter(|address| address.family() == self.family);

        let members: Vec<NetMember> = hosts.map(NetMember::from_prefix).collect();
        if members.is_empty() {
            return None;
        }

        let content = host.to_string();
        let sort = format!("h{}", family_suffix(self.family));
        let name = self.lowering.names.set(
            NameSource {
                sort: &sort,
                word: &host.name,
                content: &content,
            },
            self.found,
        );

        Some(self.lowering.sets.add(
            name,
            || format!("addresses of {content}"),
            || SetMembers::Addresses(self.family, members),
        ))
    }

    /// Packets from and to the host itself. Never returns.
    fn normal(
        &mut self,
        id: HostEndpointId,
        host: &HostEndpoint,
        direction: Direction,
    ) -> RuleTarget {
        let at = self.chains.len();
        let (sort, untracked_sort) = match direction {
            Direction::Ingress => ("hi", "hui"),
            Direction::Egress => ("he", "hue"),
        };
        let way = HostListKind {
            list: PolicyListKind::Normal,
            direction,
            sort,
            scope: "normal",
            allowed: RuleTarget::Accept,
        };
        let (end, profiles) = self.profiles(host, direction);
        let first = self.tiers(id, &way, end.clone());
        let asks_profiles = first.target == end.target || self.leads_to(&end.target);
        let begin = match direction {
            Direction::Ingress => self.pre_dnat_again(id, "hdn", &RuleTarget::Accept, first),
            Direction::Egress => ListStart::at(first),
        };

        let mut rules = Vec::from(tracked());
        rules.push(self.failsafe(direction));
        rules.extend(self.without_connection(
            id,
            direction,
            untracked_sort,
            RuleTarget::Accept,
            &begin,
        ));
        rules.extend(begin.original_failsafes);
        rules.push(rule(Vec::new(), begin.tracked.target, begin.tracked.about));
        profiles
            .into_iter()
            .filter(|_| asks_profiles)
            .for_each(|chain| self.add(chain));

        self.chain(at, host, sort, format!("{direction} of {host}"), rules)
    }

    /// What decides behind the normal tiers, and its chains.
    fn profiles(
        &mut self,
        host: &HostEndpoint,
        direction: Direction,
    ) -> (NextTarget, Vec<ProgramChain>) {
        let (allowed, passed) = (&RuleTarget::Accept, &RuleTarget::Return);
        let way = DirectionContext {
            direction,
            family: self.family,
            allowed,
            passed,
            asked: DestinationKind::OfPacket,
            near: SetReach::Cluster,
        };
        let (target, chains) = profiles::of_host(self.lowering, &host.profiles, &way, self.found);

        let about = match target {
            RuleTarget::Accept => "no policy is left, and a profile allows",
            RuleTarget::Drop => "no policy is left, and no profile allows",
            RuleTarget::Goto(_)
            | RuleTarget::Jump(_)
            | RuleTarget::Return
            | RuleTarget::NoTrack
            | RuleTarget::Log(_) => "no policy is left, on to the profiles",
        };
        (NextTarget { target, about }, chains)
    }

    /// Packets that the host forwards. What is allowed or not decided goes on.
    fn forwarded(
        &mut self,
        id: HostEndpointId,
        host: &HostEndpoint,
        direction: Direction,
    ) -> RuleTarget {
        let at = self.chains.len();
        let sort = match direction {
            Direction::Ingress => "hfi",
            Direction::Egress => "hfe",
        };
        let way = HostListKind {
            list: PolicyListKind::Forward,
            direction,
            sort,
            scope: "forward",
            allowed: RuleTarget::Return,
        };

        let first = self.tiers(id, &way, NextTarget::RETURN);
        if first.target == RuleTarget::Return {
            return RuleTarget::Return;
        }

        let [known, invalid] = tracked();
        let mut rules = vec![
            ProgramRule {
                target: RuleTarget::Return,
                ..known
            },
            invalid,
        ];

        match direction {
            Direction::Ingress => rules.extend(self.arrived(id, &first)),
            Direction::Egress => rules.push(rule(Vec::new(), first.target, "on to the first tier")),
        }

        self.chain(
            at,
            host,
            sort,
            format!("forwarded packets, {direction} of {host}"),
            rules,
        )
    }

    /// Forwarded packets that begin a connection or have none, to the tiers of which `first` is the
    /// first, by way of what is asked again. What early policy was not asked about, it has not let
    /// through, so that this goes past it.
    fn arrived(&mut self, id: HostEndpointId, first: &NextTarget) -> Vec<ProgramRule> {
        let begin = self.pre_dnat_again(id, "hdf", &RuleTarget::Return, first.clone());
        let without_connection =
            self.without_connection(id, Direction::Ingress, "huf", RuleTarget::Return, &begin);
        let mut rules = Vec::new();

        if begin.tracked.target != first.target || !without_connection.is_empty() {
            rules.extend(self.neighbours(&first.target));
        }

        if !without_connection.is_empty() {
            rules.extend(
                self.failsafes(Direction::Ingress, &first.target)
                    .into_iter()
                    .map(of_no_connection),
            );
        }

        rules.extend(without_connection);
        rules.extend(begin.original_failsafes);
        let about = if begin.tracked.target == first.target {
            "on to the first tier"
        } else {
            begin.tracked.about
        };

        rules.push(rule(Vec::new(), begin.tracked.target, about));
        rules
    }

    /// Packets before they are tracked, or before their destination is translated. What is allowed
    /// or not decided goes on.
    fn before(
        &mut self,
        id: HostEndpointId,
        host: &HostEndpoint,
        direction: Direction,
    ) -> RuleTarget {
        let at = self.chains.len();
        let untracked = fixed_chain("untracked");
        let (list, sort, scope, allowed) = match (self.table, direction) {
            (TableKind::Raw, Direction::Ingress) => (
                PolicyListKind::Untracked,
                "hui",
                "untracked",
                RuleTarget::Goto(untracked.clone()),
            ),
            (TableKind::Raw, Direction::Egress) => (
                PolicyListKind::Untracked,
                "hue",
                "untracked",
                RuleTarget::Goto(untracked.clone()),
            ),
            (TableKind::Mangle | TableKind::Filter, _) => (
                PolicyListKind::PreDnat,
                "hdi",
                "pre-DNAT",
                RuleTarget::Return,
            ),
        };

        let first = self.tiers(
            id,
            &HostListKind {
                list,
                direction,
                sort,
                scope,
                allowed,
            },
            NextTarget::RETURN,
        );
        if first.target == RuleTarget::Return {
            return RuleTarget::Return;
        }

        let mut rules = Vec::new();
        if list == PolicyListKind::PreDnat {
            let [known, invalid] = tracked();
            rules.extend([
                ProgramRule {
                    target: RuleTarget::Return,
                    ..known
                },
                invalid,
            ]);
        }

        // of these chains a return is one to the kernel's chain, where others' rules are still
        // asked; ACCEPT would skip those
        rules.extend(self.unasked(direction, &RuleTarget::Return));
        if list == PolicyListKind::PreDnat {
            rules.extend(self.without_connection(
                id,
                direction,
                "hud",
                RuleTarget::Return,
                &ListStart::at(first.clone()),
            ));
        } else if self.leads_to(&RuleTarget::Goto(untracked.clone())) {
            let rules = vec![rule(
                Vec::new(),
                RuleTarget::NoTrack,
                "no connection is made of it",
            )];
            self.add(ProgramChain {
                name: untracked,
                about: "allowed by untracked policy".to_owned(),
                rules,
            });
        }

        rules.push(rule(Vec::new(), first.target, "on to the first tier"));
        self.chain(
            at,
            host,
            sort,
            format!("{scope} policy, {direction} of {host}"),
            rules,
        )
    }

    /// Whether a rule of these chains has a target.
    fn leads_to(&self, target: &RuleTarget) -> bool {
        self.chains
            .iter()
            .flat_map(|chain| &chain.rules)
            .any(|rule| rule.target == *target)
    }

    /// The rules for packets without a connection, if they begin elsewhere than others: untracked
    /// policy is asked once more, and what it allows, nothing else decides. Replies of failsafe
    /// ports go past it, because the raw table did not ask it about them; the failsafe ports
    /// themselves, and messages between neighbours, are the caller's.
    fn without_connection(
        &mut self,
        id: HostEndpointId,
        direction: Direction,
        sort: &'static str,
        allowed: RuleTarget,
        begin: &ListStart,
    ) -> Vec<ProgramRule> {
        let next = &begin.without_connection;
        let way = HostListKind {
            list: PolicyListKind::Untracked,
            direction,
            sort,
            scope: "untracked, again",
            allowed,
        };
        let first = self.tiers(id, &way, next.clone()).target;
        let mut rules = Vec::new();

        if first != next.target {
            rules.extend(
                self.failsafe_replies(direction, &next.target)
                    .into_iter()
                    .map(of_no_connection),
            );
        }

        if first != begin.tracked.target {
            let about = if first == next.target {
                next.about
            } else {
                "untracked policy decides what no connection is made of"
            };
            rules.push(rule(vec![RuleMatch::Untracked], first, about));
        }

        rules
    }

    /// Where what pre-DNAT policy allowed leaves the list of which `next` is the first. What
    /// reaches a Deny there was denied in the mangle table.
    fn pre_dnat_again(
        &mut self,
        id: HostEndpointId,
        sort: &'static str,
        allowed: &RuleTarget,
        next: NextTarget,
    ) -> ListStart {
        let asked = self.lowering.resolved.asked_again(id);
        if asked.is_empty() || next.target == *allowed {
            return ListStart::at(next);
        }

        let failsafes = self
            .lowering
            .options
            .failsafes
            .in_direction(Direction::Ingress)
            .iter();
        let of_family =
            failsafes.filter(|port| port.net.is_none_or(|net| net.family() == self.family));
        let original_failsafes = of_family
            .map(|port| never_asked(port, next.target.clone()))
            .collect();
        let way = |scope| HostListKind {
            list: PolicyListKind::PreDnat,
            direction: Direction::Ingress,
            sort,
            scope,
            allowed: allowed.clone(),
        };

        let steps: Vec<_> = asked
            .into_iter()
            .map(|RecheckedTier { tier, policies }| {
                let policies = policies.into_iter().map(|(policy, rules)| DirectionRules {
                    key: &policy.key,
                    rules,
                });
                HostTierStep {
                    tier,
                    policies: policies.collect(),
                }
            })
            .collect();
        let tracked = self.steps(
            &steps,
            &way("pre-DNAT, again"),
            DestinationKind::OfOriginal,
            next.clone(),
        );
        let without_connection = self.steps(
            &steps,
            &way("pre-DNAT, again, untranslated"),
            DestinationKind::OfPacket,
            next,
        );
        let [tracked, without_connection] = [tracked, without_connection].map(|first| NextTarget {
            about: "what pre-DNAT policy allowed needs no other",
            ..first
        });

        ListStart {
            original_failsafes,
            tracked,
            without_connection,
        }
    }

    /// The chains of a list, one for each tier, from where the packet goes on to `end`; gives where
    /// it begins.
    fn tiers(&mut self, id: HostEndpointId, way: &HostListKind, end: NextTarget) -> NextTarget {
        let listed = self.lowering.resolved.listed(id, way.list, way.direction);
        let steps: Vec<_> = listed
            .into_iter()
            .map(|ListedTier { tier, policies }| {
                let policies = policies
                    .into_iter()
                    .map(|policy| DirectionRules::new(policy, way.direction));
                HostTierStep {
                    tier,
                    policies: policies.collect(),
                }
            })
            .collect();

        self.steps(&steps, way, DestinationKind::OfPacket, end)
    }

    fn steps(
        &mut self,
        steps: &[HostTierStep<'input>],
        way: &HostListKind,
        asked: DestinationKind,
        end: NextTarget,
    ) -> NextTarget {
        let last = steps
            .iter()
            .position(|step| self.is_last(step, way))
            .unwrap_or(steps.len());
        let mut next = end;
        let mut chains = Vec::new();

        for step in steps.iter().take(last + 1).rev() {
            let chain = self.tier(step, way, asked, &next);
            next = NextTarget {
                target: RuleTarget::Goto(chain.name.clone()),
                about: "on to the next tier",
            };
            chains.push(chain);
        }

        chains.into_iter().rev().for_each(|chain| self.add(chain));
        next
    }

    /// Whether no packet gets past a tier, so that chains of later ones would lead nowhere.
    fn is_last(&self, step: &HostTierStep<'_>, way: &HostListKind) -> bool {
        let mut rules = step.policies.iter().flat_map(|policy| policy.rules);
        denies_by_default(step.tier, way)
            && !rules.any(|rule| rule.action == Action::Pass && rule.applies_to(self.family))
    }

    fn tier(
        &mut self,
        HostTierStep { tier, policies }: &HostTierStep<'input>,
        way: &HostListKind,
        asked: DestinationKind,
        next: &NextTarget,
    ) -> ProgramChain {
        let HostListKind {
            direction, scope, ..
        } = *way;
        let name = &tier.name;
        let keys = policies
            .iter()
            .map(|policy| policy.key.to_string())
            .collect::<Vec<_>>()
            .join(", ");
        let content = format!(
            "{scope} {direction} of host endpoints in tier {name}: {keys}; then {:?}",
            next.target
        );
        let sort = format!("t{}", way.sort);
        let chain = self.lowering.names.chain(
            NameSource {
                sort: &sort,
                word: name,
                content: &content,
            },
            self.found,
        );
        let (allowed, passed) = (&way.allowed, &next.target);
        let lowered = DirectionContext {
            direction,
            family: self.family,
            allowed,
            passed,
            asked,
            near: SetReach::Cluster,
        };
        let mut rules = Vec::new();

        for policy in policies {
            rules.extend(rules_of(self.lowering, *policy, &lowered, self.found));
        }

        match (denies_by_default(tier, way), &next.target) {
            (true, _) => rules.push(rule(
                Vec::new(),
                RuleTarget::Drop,
                &format!("end of tier {name}: no rule matched"),
            )),
            (false, RuleTarget::Return) => {}
            (false, target) => rules.push(rule(
                Vec::new(),
                target.clone(),
                &format!("end of tier {name}: {}", next.about),
            )),
        }

        ProgramChain {
            name: chain,
            about: format!("{scope} {direction} of tier {name} for host endpoints with: {keys}"),
            rules,
        }
    }

    /// The jump to the failsafe ports of a direction, whose chain is made when it is first asked
    /// for.
    fn failsafe(&mut self, direction: Direction) -> ProgramRule {
        let (name, about) = match direction {
            Direction::Ingress => (fixed_chain("failsafe-in"), "failsafe ports of the node"),
            Direction::Egress => (
                fixed_chain("failsafe-out"),
                "failsafe ports that the node may reach",
            ),
        };
        let rules = self.unasked(direction, &RuleTarget::Accept);

        self.add(ProgramChain {
            name: name.clone(),
            about: about.to_owned(),
            rules,
        });
        rule(Vec::new(), RuleTarget::Jump(name), about)
    }

    /// The rules for what passes whatever policy says: messages between neighbours, and the
    /// failsafe ports of a direction.
    fn unasked(&self, direction: Direction, passes: &RuleTarget) -> Vec<ProgramRule> {
        let mut rules = self.neighbours(passes);
        rules.extend(self.failsafes(direction, passes));
        if self.table == TableKind::Raw {
            // nothing is tracked yet, so that replies must be known by their ports
            rules.extend(self.failsafe_replies(direction, passes));
        }
        rules
    }

    /// A rule for each message between neighbours.
    fn neighbours(&self, passes: &RuleTarget) -> Vec<ProgramRule> {
        match self.family {
            Family::V4 => Vec::new(),
            Family::V6 => NEIGHBOUR_MESSAGES
                .map(|(kind, about)| neighbour(kind, about, passes))
                .into(),
        }
    }

    /// A rule for each failsafe port of a direction.
    fn failsafes(&self, direction: Direction, passes: &RuleTarget) -> Vec<ProgramRule> {
        let ports = self.lowering.options.failsafes.in_direction(direction);
        self.open(ports, Side::Destination, far(direction), passes)
    }

    /// A rule for the replies of each failsafe port of the other direction, which are packets of
    /// this one.
    fn failsafe_replies(&self, direction: Direction, passes: &RuleTarget) -> Vec<ProgramRule> {
        let failsafes = &self.lowering.options.failsafes;
        let ports = match direction {
            Direction::Ingress => failsafes.in_direction(Direction::Egress),
            Direction::Egress => failsafes.in_direction(Direction::Ingress),
        };
        self.open(ports, Side::Source, far(direction), passes)
    }

    fn open(
        &self,
        ports: &[FailsafePort],
        side: Side,
        far: Side,
        passes: &RuleTarget,
    ) -> Vec<ProgramRule> {
        let of_family =
            |port: &&FailsafePort| port.net.is_none_or(|net| net.family() == self.family);
        ports
            .iter()
            .filter(of_family)
            .map(|port| open(port, side, far, passes))
            .collect()
    }

    /// The chain of a host endpoint itself, before those that it leads to.
    fn chain(
        &mut self,
        at: usize,
        host: &HostEndpoint,
        sort: &str,
        about: String,
        rules: Vec<ProgramRule>,
    ) -> RuleTarget {
        let content = host.to_string();
        let name = self.lowering.names.chain(
            NameSource {
                sort,
                word: &host.name,
                content: &content,
            },
            self.found,
        );

        self.chains.insert(
            at,
            ProgramChain {
                name: name.clone(),
                about,
                rules,
            },
        );

        RuleTarget::Goto(name)
    }

    /// Adds a chain unless it is there: host endpoints with the same policies share those of their
    /// tiers.
    fn add(&mut self, chain: ProgramChain) {
        if self.known.insert(chain.name.clone()) {
            self.chains.push(chain);
        }
    }
}

/// Whether a tier ends a packet's way where none of its rules does: never before connections or
/// before DNAT (semantics §4.2).
fn denies_by_default(tier: &Tier, way: &HostListKind) -> bool {
    matches!(way.list, PolicyListKind::Normal | PolicyListKind::Forward)
        && tier.default_action == DefaultAction::Deny
}

impl ListStart {
    /// At the list itself.
    fn at(first: NextTarget) -> Self {
        Self {
            original_failsafes: Vec::new(),
            tracked: first.clone(),
            without_connection: first,
        }
    }
}

impl NextTarget {
    /// Back to the chain that jumped to all of this.
    const RETURN: NextTarget = NextTarget {
        target: RuleTarget::Return,
        about: "on",
    };
}

/// The host's own side.
fn local_side(direction: Direction) -> Side {
    match direction {
        Direction::Ingress => Side::Destination,
        Direction::Egress => Side::Source,
    }
}

/// The other side.
fn far(direction: Direction) -> Side {
    match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    }
}

/// The rule, for packets without a connection only, which go past policy that was not asked early
/// either.
fn of_no_connection(
    ProgramRule {
        mut matches,
        target,
        about,
    }: ProgramRule,
) -> ProgramRule {
    matches.push(RuleMatch::Untracked);

    rule(
        matches,
        target,
        &format!("early policy was not asked about {about}"),
    )
}

/// Without these no address of a neighbour is known, and no failsafe port can be reached.
fn neighbour(kind: u8, about: &str, passes: &RuleTarget) -> ProgramRule {
    let icmp = RuleMatch::Icmp(Sense::Is, Icmp { kind, code: None });
    rule(
        vec![RuleMatch::Protocol(Sense::Is, Protocol::ICMPV6), icmp],
        passes.clone(),
        about,
    )
}

fn open(port: &FailsafePort, side: Side, far: Side, passes: &RuleTarget) -> ProgramRule {
    let mut matches = vec![RuleMatch::Protocol(Sense::Is, port.protocol)];
    matches.extend(port.net.map(|net| RuleMatch::Address(Sense::Is, far, net)));
    matches.push(RuleMatch::Ports(Sense::Is, side, vec![port.port]));
    let reply = if side == Side::Source {
        "reply of "
    } else {
        ""
    };
    rule(matches, passes.clone(), &format!("{reply}failsafe {port}"))
}

/// Past pre-DNAT policy, which was not asked about a connection to a failsafe port.
fn never_asked(port: &FailsafePort, next: RuleTarget) -> ProgramRule {
    let mut matches = vec![RuleMatch::Protocol(Sense::Is, port.protocol)];
    matches.extend(
        port.net
            .map(|net| RuleMatch::Address(Sense::Is, Side::Source, net)),
    );
    matches.push(RuleMatch::OriginalPort(Sense::Is, port.port));

    rule(
        matches,
        next,
        &format!("pre-DNAT policy was not asked about failsafe {port}"),
    )
}
