//! Lowers host endpoints to chains: one chain per host endpoint and policy list, and one per tier
//! of the list.
//!
//! A chain that a kernel chain jumps to reaches the host endpoint chains by goto, and each tier
//! reaches the next by goto. So a return goes back to the kernel's chain, or to `pal-FORWARD`, and
//! means "continue": a packet that forward policy allows meets the pods' policy next. In contrast
//! to pods, each tier nests one deeper (`depth` checks the limit).
//!
//! Untracked policy is evaluated again where its packets meet tracked policy, because no generated
//! rule depends on what another table did. Packets that bypass untracked policy in the raw table
//! bypass it here too. A packet without a connection may be untracked because of this policy or
//! because of rules of other programs. In both cases its destination is not translated, so pre-DNAT
//! policy is evaluated again on the destination in the packet.

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

/// The host endpoints' part of the filter table.
#[derive(Default)]
pub(super) struct HostFilterChains {
    /// Rules for forwarded packets. They come before the rules that select packets of pods.
    pub(super) forward: Vec<ProgramRule>,
    /// Rules for packets to the host. They come after the rules for pods.
    pub(super) input: Vec<ProgramRule>,
    /// Rules for packets from the host. They come after the rules for pods.
    pub(super) output: Vec<ProgramRule>,
    /// All chains.
    pub(super) chains: Vec<ProgramChain>,
}

/// Builds the host endpoints' part of the filter table of a family. Empty if the node has no host
/// endpoint.
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

/// Builds the raw and mangle tables that untracked and pre-DNAT policy require.
pub(super) fn early_tables(
    lowering: &mut NodeLowering<'_, '_>,
    diagnostics: &mut Diagnostics,
) -> Vec<ProgramTable> {
    let hosts = lowering.resolved.hosts_on(lowering.node);
    // The raw tables come before the mangle tables, because packets pass them in this order.
    let raw: Vec<ProgramTable> = Family::BOTH
        .into_iter()
        .filter_map(|family| early(lowering, &hosts, TableKind::Raw, family, diagnostics))
        .collect();
    let mangle = Family::BOTH
        .into_iter()
        .filter_map(|family| early(lowering, &hosts, TableKind::Mangle, family, diagnostics));
    raw.into_iter().chain(mangle).collect()
}

/// Builds one table before the filter table. Returns `None` if no host endpoint has policy in it.
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

/// Builds the chains of host endpoints in one table.
struct HostChainBuilder<'work, 'run, 'input> {
    lowering: &'work mut NodeLowering<'run, 'input>,
    table: TableKind,
    family: Family,
    found: &'work mut Diagnostics,
    chains: Vec<ProgramChain>,
    known: BTreeSet<ChainName>,
}

/// How to lower one policy list.
struct HostListKind {
    list: PolicyListKind,
    direction: Direction,
    /// Short name of the list's purpose in this table, used in chain names.
    sort: &'static str,
    /// The purpose of the list in words, for comments in the script.
    scope: &'static str,
    allowed: RuleTarget,
}

/// A tier and the rules of its policies that are evaluated here.
struct HostTierStep<'input> {
    tier: &'input Tier,
    policies: Vec<DirectionRules<'input>>,
}

/// Where an undecided packet continues, and a description of that place.
#[derive(Clone)]
struct NextTarget {
    target: RuleTarget,
    about: &'static str,
}

/// The start of a list, with the policy that is evaluated again before it.
struct ListStart {
    /// Rules for connections to failsafe ports. They bypass pre-DNAT policy here, because they
    /// bypassed it in the mangle table.
    original_failsafes: Vec<ProgramRule>,
    /// Next target of packets that begin a connection.
    tracked: NextTarget,
    /// Next target of packets without a connection, after untracked policy.
    without_connection: NextTarget,
}

/// Builds the chain of a host endpoint for a direction and returns the target that leads there.
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

    /// Returns the jump to the forward policy of a direction, or `None` if no host endpoint has
    /// any.
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

    /// Sends every packet to the chain of its host endpoint. Returns no rules if all of these
    /// chains would let every packet continue.
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

        // A list without any chain needs no hook, so that its packets evaluate no rule at all.
        match rules.iter().all(|rule| rule.target == RuleTarget::Return) {
            true => Vec::new(),
            false => rules,
        }
    }

    /// Matches for the packets of a host endpoint. Returns `None` if it is identified by address
    /// and has no address of this family.
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

    /// Chain for packets from and to the host itself. Never returns.
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
        // A last tier that drops makes the profiles unreachable. Their chains are then omitted.
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

    /// The target that decides after the normal tiers. Adds its chains.
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

    /// Chain for packets that the host forwards. Packets that are allowed or undecided continue.
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

        // ACCEPT would be final, but packets of known connections must still reach the chains of
        // pods. So they return here.
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

    /// Rules for forwarded packets that begin a connection or have none. They lead through the
    /// policy that is evaluated again to the tiers, of which `first` is the first. Packets that
    /// bypassed early policy (failsafe ports) bypass it here too.
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

    /// Chain for packets before connection tracking, or before DNAT. Packets that are allowed or
    /// undecided continue.
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

        // A return from these chains reaches the kernel's chain, where rules of other programs
        // still apply. ACCEPT would skip them.
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

    /// Rules for packets without a connection, if these start elsewhere than other packets.
    /// Untracked policy is evaluated once more, and its allow is final. Replies of failsafe ports
    /// bypass it, because they bypassed it in the raw table. The caller handles the failsafe ports
    /// themselves and neighbour messages.
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

    /// Evaluates pre-DNAT policy again. Packets that it allowed leave the list that starts with
    /// `next`. A packet that reaches a Deny here was already denied in the mangle table.
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

    /// Builds the chains of a list, one per tier. The last tier continues at `end`. Returns where
    /// the list starts.
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
        // The content of a tier's chain includes its successor's name, so chains are built from
        // the last tier to the first.
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

    /// Whether no packet continues after a tier. Chains of later tiers would be unreachable.
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
        // The successor is part of the name: tiers with the same policies but different
        // successors need different chains.
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

    /// The jump to the failsafe ports of a direction. The first call adds the chain.
    fn failsafe(&mut self, direction: Direction) -> ProgramRule {
        let (name, about) = match direction {
            Direction::Ingress => (fixed_chain("failsafe-in"), "failsafe ports of the node"),
            Direction::Egress => (
                fixed_chain("failsafe-out"),
                "failsafe ports that the node may reach",
            ),
        };
        // The filter table decides finally, so ACCEPT is right here. Early tables use Return.
        let rules = self.unasked(direction, &RuleTarget::Accept);

        self.add(ProgramChain {
            name: name.clone(),
            about: about.to_owned(),
            rules,
        });
        rule(Vec::new(), RuleTarget::Jump(name), about)
    }

    /// Rules for packets that pass regardless of policy: neighbour messages, and the failsafe ports
    /// of a direction.
    fn unasked(&self, direction: Direction, passes: &RuleTarget) -> Vec<ProgramRule> {
        let mut rules = self.neighbours(passes);
        rules.extend(self.failsafes(direction, passes));
        if self.table == TableKind::Raw {
            // The raw table comes before connection tracking, so replies must be recognised by
            // their ports.
            rules.extend(self.failsafe_replies(direction, passes));
        }
        rules
    }

    /// One rule for each neighbour message.
    fn neighbours(&self, passes: &RuleTarget) -> Vec<ProgramRule> {
        match self.family {
            Family::V4 => Vec::new(),
            Family::V6 => NEIGHBOUR_MESSAGES
                .map(|(kind, about)| neighbour(kind, about, passes))
                .into(),
        }
    }

    /// One rule for each failsafe port of a direction.
    fn failsafes(&self, direction: Direction, passes: &RuleTarget) -> Vec<ProgramRule> {
        let ports = self.lowering.options.failsafes.in_direction(direction);
        self.open(ports, Side::Destination, far(direction), passes)
    }

    /// One rule for the replies of each failsafe port of the opposite direction. These replies are
    /// packets of this direction.
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

    /// The chain of a host endpoint itself. It comes before the chains that it leads to.
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

    /// Adds a chain if it does not exist yet. Host endpoints with the same policies share the
    /// chains of their tiers.
    fn add(&mut self, chain: ProgramChain) {
        if self.known.insert(chain.name.clone()) {
            self.chains.push(chain);
        }
    }
}

/// Whether a tier drops packets that none of its rules decides. Tiers of untracked and pre-DNAT
/// lists never do (semantics §4.2).
fn denies_by_default(tier: &Tier, way: &HostListKind) -> bool {
    matches!(way.list, PolicyListKind::Normal | PolicyListKind::Forward)
        && tier.default_action == DefaultAction::Deny
}

impl ListStart {
    /// A start directly at the list.
    fn at(first: NextTarget) -> Self {
        Self {
            original_failsafes: Vec::new(),
            tracked: first.clone(),
            without_connection: first,
        }
    }
}

impl NextTarget {
    /// Return to the kernel chain that jumped here.
    const RETURN: NextTarget = NextTarget {
        target: RuleTarget::Return,
        about: "on",
    };
}

/// The side of a packet that is the host.
fn local_side(direction: Direction) -> Side {
    match direction {
        Direction::Ingress => Side::Destination,
        Direction::Egress => Side::Source,
    }
}

/// The side of a packet that is the remote peer.
fn far(direction: Direction) -> Side {
    match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    }
}

/// Restricts a rule to packets without a connection. These bypass policy that they bypassed in the
/// early tables.
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

/// Rule for a neighbour message. Without these messages no address of a neighbour is known, and no
/// failsafe port can be reached.
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

/// Rule for connections to a failsafe port. They bypass pre-DNAT policy here, because they bypassed
/// it in the mangle table.
fn never_asked(port: &FailsafePort, next: RuleTarget) -> ProgramRule {
    let mut matches = vec![RuleMatch::Protocol(Sense::Is, port.protocol)];
    matches.extend(
        port.net
            .map(|net| RuleMatch::Address(Sense::Is, Side::Source, net)),
    );
    // DNAT may have changed the port, but the mangle table decided by the original one.
    matches.push(RuleMatch::OriginalPort(Sense::Is, port.port));

    rule(
        matches,
        next,
        &format!("pre-DNAT policy was not asked about failsafe {port}"),
    )
}
