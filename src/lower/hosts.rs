//! Host endpoints to chains: one for every host endpoint and list, and one for every tier of it.
//!
//! A chain of these is reached by goto from one that the kernel's chain jumps to, and tier leads to tier by goto. So a return
//! is a return to the kernel's chain, or to `pal-FORWARD`, and can be the verdict "go on": what forward policy allows meets
//! the pods' policy next. Unlike with pods, each tier makes the nesting one deeper (`depth` sees to the limit).
//!
//! Untracked policy is asked again where its packets meet tracked policy, because nothing of ours depends on what another
//! table did.

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostics;
use crate::lower::Lowering;
use crate::lower::entry::{NEIGHBOUR_MESSAGES, rule, tracked};
use crate::lower::names::{Identity, fixed_chain, fixed_set};
use crate::lower::program::{Chain, ChainName, Hook, Match, Member, Members, Rule, Sense, SetName, Side, Table, TableKind, Target};
use crate::lower::sets::{Reach, digit};
use crate::lower::tiers::{self, Way};
use crate::net::{Cidr, Direction, Family, Protocol};
use crate::options::Failsafe;
use crate::policy::{self, Action, DefaultAction, HostEndpoint, HostPlace, Icmp, List};
use crate::resolve::{HostEndpointId, HostsOnNode, Listed};

/// What the filter table has for host endpoints.
#[derive(Default)]
pub(super) struct Filter {
    /// For forwarded packets, before those of pods are sought out.
    pub(super) forward: Vec<Rule>,
    /// For packets to the host, behind those of pods.
    pub(super) input: Vec<Rule>,
    /// For packets of the host, behind those to pods.
    pub(super) output: Vec<Rule>,
    /// All chains.
    pub(super) chains: Vec<Chain>,
}

/// The host endpoints' part of the filter table of a family; empty on a node without any.
pub(super) fn filter(lowering: &mut Lowering<'_, '_>, family: Family, found: &mut Diagnostics) -> Filter {
    let hosts = lowering.resolved.hosts_on(lowering.node);
    if hosts.all().next().is_none() {
        return Filter::default();
    }
    let mut work = Work::new(lowering, TableKind::Filter, family, found);
    let forward = Direction::BOTH.into_iter().filter_map(|direction| work.forward(&hosts, direction)).collect();
    let input = work.dispatch(&hosts, Direction::Ingress, Work::normal);
    let output = work.dispatch(&hosts, Direction::Egress, Work::normal);
    Filter { forward, input, output, chains: work.finish() }
}

/// The raw and mangle tables, where untracked and pre-DNAT policy asks for them.
pub(super) fn early_tables(lowering: &mut Lowering<'_, '_>, found: &mut Diagnostics) -> Vec<Table> {
    let hosts = lowering.resolved.hosts_on(lowering.node);
    let raw: Vec<Table> = Family::BOTH.into_iter().filter_map(|family| early(lowering, &hosts, (TableKind::Raw, family), found)).collect();
    let mangle = Family::BOTH.into_iter().filter_map(|family| early(lowering, &hosts, (TableKind::Mangle, family), found));
    raw.into_iter().chain(mangle).collect()
}

/// A table before the filter table; none when no host endpoint has policy there.
fn early(
    lowering: &mut Lowering<'_, '_>,
    hosts: &HostsOnNode,
    (kind, family): (TableKind, Family),
    found: &mut Diagnostics,
) -> Option<Table> {
    let position = lowering.options.hook_position;
    let mut work = Work::new(lowering, kind, family, found);
    let mut entries = Vec::new();
    let mut hooks = Vec::new();
    for (direction, kernel_chain, about) in
        [(Direction::Ingress, "PREROUTING", "packets that arrive"), (Direction::Egress, "OUTPUT", "packets of the node")]
    {
        let rules = work.dispatch_without_pods(hosts, direction, Work::before);
        if !rules.is_empty() {
            let chain = fixed_chain(kernel_chain);
            entries.push(Chain { name: chain.clone(), about: about.to_owned(), rules });
            hooks.push(Hook { kernel_chain, chain, position });
        }
    }
    let chains = work.finish();
    (!hooks.is_empty()).then(|| Table { kind, family, chains: entries.into_iter().chain(chains).collect(), hooks })
}

/// A table's chains of host endpoints in the making.
struct Work<'work, 'run, 'input> {
    lowering: &'work mut Lowering<'run, 'input>,
    table: TableKind,
    family: Family,
    found: &'work mut Diagnostics,
    chains: Vec<Chain>,
    known: BTreeSet<ChainName>,
}

/// How a list is turned into chains.
struct ListWay {
    list: List,
    direction: Direction,
    /// Short word for what the list is for here, in the names of its chains.
    sort: &'static str,
    /// The same for readers.
    scope: &'static str,
    allowed: Target,
}

/// Makes the chain of a host endpoint for a direction and gives what leads there.
type ChainOf<'work, 'run, 'input> = fn(&mut Work<'work, 'run, 'input>, HostEndpointId, &HostEndpoint, Direction) -> Target;

impl<'work, 'run, 'input> Work<'work, 'run, 'input> {
    fn new(lowering: &'work mut Lowering<'run, 'input>, table: TableKind, family: Family, found: &'work mut Diagnostics) -> Self {
        Self { lowering, table, family, found, chains: Vec::new(), known: BTreeSet::new() }
    }

    fn finish(self) -> Vec<Chain> {
        self.chains
    }

    /// The jump past the forward policy of a direction; none where no host endpoint has any.
    fn forward(&mut self, hosts: &HostsOnNode, direction: Direction) -> Option<Rule> {
        let at = self.chains.len();
        let rules = self.dispatch_without_pods(hosts, direction, Work::forwarded);
        let (word, about) = match direction {
            Direction::Ingress => ("forward-in", "forwarded packets, by the host endpoint that they arrive at"),
            Direction::Egress => ("forward-out", "forwarded packets, by the host endpoint that they leave by"),
        };
        let name = fixed_chain(word);
        (!rules.is_empty()).then(|| {
            self.chains.insert(at, Chain { name: name.clone(), about: about.to_owned(), rules });
            rule(Vec::new(), Target::Jump(name), &format!("forward policy of host endpoints: {direction}"))
        })
    }

    /// Every packet to the chain of its host endpoint; no rule where all of them let everything go on.
    fn dispatch(&mut self, hosts: &HostsOnNode, direction: Direction, chain_of: ChainOf<'work, 'run, 'input>) -> Vec<Rule> {
        let resolved = self.lowering.resolved;
        let mut rules = Vec::new();
        for id in hosts.all() {
            let Some(host) = resolved.host_endpoint(id) else { continue };
            let Some(matches) = self.place(host, direction) else { continue };
            rules.push(rule(matches, chain_of(self, id, host, direction), &host.to_string()));
        }
        match rules.iter().all(|rule| rule.target == Target::Return) {
            true => Vec::new(),
            false => rules,
        }
    }

    /// The packets of a host endpoint; none where it has no address of the family to tell them by.
    fn place(&mut self, host: &HostEndpoint, direction: Direction) -> Option<Vec<Match>> {
        match (&host.place, direction) {
            (HostPlace::Interface(name), Direction::Ingress) => Some(vec![Match::Arrives(name.clone())]),
            (HostPlace::Interface(name), Direction::Egress) => Some(vec![Match::Leaves(name.clone())]),
            (HostPlace::Everywhere, _) => Some(Vec::new()),
            (HostPlace::Addresses, _) => self.address_set(host).map(|set| vec![Match::Member(Sense::Is, near(direction), set)]),
        }
    }

    fn address_set(&mut self, host: &HostEndpoint) -> Option<SetName> {
        let hosts = host.addresses.iter().copied().map(Cidr::host).filter(|address| address.family() == self.family);
        let members: Vec<Member> = hosts.map(Member::of).collect();
        if members.is_empty() {
            return None;
        }
        let content = host.to_string();
        let sort = format!("h{}", digit(self.family));
        let name = self.lowering.names.set(Identity { sort: &sort, word: &host.name, content: &content }, self.found);
        Some(self.lowering.sets.add(name, || format!("addresses of {content}"), || Members::Addresses(self.family, members)))
    }

    /// As [`Work::dispatch`], where packets of pods are among them: a host endpoint of every interface is not of theirs.
    fn dispatch_without_pods(&mut self, hosts: &HostsOnNode, direction: Direction, chain_of: ChainOf<'work, 'run, 'input>) -> Vec<Rule> {
        let mut rules = self.dispatch(hosts, direction, chain_of);
        let Some(last) = rules.pop_if(|last| last.matches.is_empty()) else { return rules };
        if last.target != Target::Return {
            rules.extend([self.not_of_pods(direction), last]);
        }
        rules
    }

    fn not_of_pods(&self, direction: Direction) -> Rule {
        let (side, word) = match direction {
            Direction::Ingress => (Side::Source, "from"),
            Direction::Egress => (Side::Destination, "to"),
        };
        let local = Match::Member(Sense::Is, side, fixed_set(&format!("local{}", digit(self.family))));
        rule(vec![local], Target::Return, &format!("{word} an endpoint of this node: no interface of the host"))
    }

    /// Packets from and to the host itself. Never returns.
    fn normal(&mut self, id: HostEndpointId, host: &HostEndpoint, direction: Direction) -> Target {
        let at = self.chains.len();
        let end = if host.allows_by_default { Target::Accept } else { Target::Drop };
        let (sort, untracked_sort) = match direction {
            Direction::Ingress => ("hi", "hui"),
            Direction::Egress => ("he", "hue"),
        };
        let way = ListWay { list: List::Normal, direction, sort, scope: "normal", allowed: Target::Accept };
        let first = self.tiers(id, &way, end);
        let mut rules = Vec::from(tracked());
        rules.push(self.failsafe(direction));
        rules.extend(self.untracked_again(id, direction, (untracked_sort, Target::Accept), &first));
        let about = onward(&first);
        rules.push(rule(Vec::new(), first, about));
        self.chain(at, host, (sort, format!("{direction} of {host}")), rules)
    }

    /// Packets that the host forwards. What is allowed or not decided goes on.
    fn forwarded(&mut self, id: HostEndpointId, host: &HostEndpoint, direction: Direction) -> Target {
        let at = self.chains.len();
        let sort = match direction {
            Direction::Ingress => "hfi",
            Direction::Egress => "hfe",
        };
        let way = ListWay { list: List::Forward, direction, sort, scope: "forward", allowed: Target::Return };
        let first = self.tiers(id, &way, Target::Return);
        if first == Target::Return {
            return first;
        }
        let [known, invalid] = tracked();
        let mut rules = vec![Rule { target: Target::Return, ..known }, invalid];
        if direction == Direction::Ingress {
            rules.extend(self.untracked_again(id, direction, ("huf", Target::Return), &first));
        }
        rules.push(rule(Vec::new(), first, "on to the first tier"));
        self.chain(at, host, (sort, format!("forwarded packets, {direction} of {host}")), rules)
    }

    /// Packets before they are tracked, or before their destination is translated. What is allowed or not decided goes on.
    fn before(&mut self, id: HostEndpointId, host: &HostEndpoint, direction: Direction) -> Target {
        let at = self.chains.len();
        let untracked = fixed_chain("untracked");
        let (list, sort, scope, allowed) = match (self.table, direction) {
            (TableKind::Raw, Direction::Ingress) => (List::Untracked, "hui", "untracked", Target::Goto(untracked.clone())),
            (TableKind::Raw, Direction::Egress) => (List::Untracked, "hue", "untracked", Target::Goto(untracked.clone())),
            (TableKind::Mangle | TableKind::Filter, _) => (List::PreDnat, "hdi", "pre-DNAT", Target::Return),
        };
        let first = self.tiers(id, &ListWay { list, direction, sort, scope, allowed }, Target::Return);
        if first == Target::Return {
            return first;
        }
        let mut rules = Vec::new();
        if list == List::PreDnat {
            let [known, invalid] = tracked();
            rules.extend([Rule { target: Target::Return, ..known }, invalid]);
        }
        rules.push(self.failsafe(direction));
        if list == List::PreDnat {
            rules.extend(self.untracked_again(id, direction, ("hud", Target::Return), &first));
        } else if self.leads_to(&untracked) {
            let rules = vec![rule(Vec::new(), Target::NoTrack, "no connection is made of it")];
            self.add(Chain { name: untracked, about: "allowed by untracked policy".to_owned(), rules });
        }
        rules.push(rule(Vec::new(), first, "on to the first tier"));
        self.chain(at, host, (sort, format!("{scope} policy, {direction} of {host}")), rules)
    }

    fn leads_to(&self, chain: &ChainName) -> bool {
        self.chains.iter().flat_map(|chain| &chain.rules).any(|rule| matches!(&rule.target, Target::Goto(other) if other == chain))
    }

    /// The rule that sends packets without a connection to untracked policy once more: what that allows, nothing else decides.
    fn untracked_again(
        &mut self,
        id: HostEndpointId,
        direction: Direction,
        (sort, allowed): (&'static str, Target),
        next: &Target,
    ) -> Option<Rule> {
        let scope = "untracked, again";
        let way = ListWay { list: List::Untracked, direction, sort, scope, allowed };
        let first = self.tiers(id, &way, next.clone());
        (first != *next).then(|| rule(vec![Match::Untracked], first, "untracked policy decides what no connection is made of"))
    }

    /// The chains of a list, one for each tier, from where the packet goes on to `end`; gives where it begins.
    fn tiers(&mut self, id: HostEndpointId, way: &ListWay, end: Target) -> Target {
        let listed = self.lowering.resolved.listed(id, way.list, way.direction);
        let last = listed.iter().position(|listed| self.is_last(listed, way)).unwrap_or(listed.len());
        let mut next = end;
        let mut chains = Vec::new();
        for listed in listed.iter().take(last + 1).rev() {
            let chain = self.tier(listed, way, &next);
            next = Target::Goto(chain.name.clone());
            chains.push(chain);
        }
        chains.into_iter().rev().for_each(|chain| self.add(chain));
        next
    }

    /// Whether no packet gets past a tier, so that chains of later ones would lead nowhere.
    fn is_last(&self, listed: &Listed<'_>, way: &ListWay) -> bool {
        let rules = listed.policies.iter().filter_map(|policy| policy.rules(way.direction)).flatten();
        let passes = |rule: &policy::Rule| rule.action == Action::Pass && rule.applies_to(self.family);
        denies_by_default(listed, way) && !rules.into_iter().any(passes)
    }

    fn tier(&mut self, listed: &Listed<'_>, way: &ListWay, next: &Target) -> Chain {
        let tier = &listed.tier.name;
        let policies = listed.policies.iter().map(|policy| policy.key.to_string()).collect::<Vec<_>>().join(", ");
        let content = format!("{} {} of host endpoints in tier {tier}: {policies}; then {next:?}", way.scope, way.direction);
        let sort = format!("t{}", way.sort);
        let name = self.lowering.names.chain(Identity { sort: &sort, word: tier, content: &content }, self.found);
        let lowered = Way { direction: way.direction, family: self.family, allowed: &way.allowed, passed: next, near: Reach::Cluster };
        let mut rules = Vec::new();
        for policy in &listed.policies {
            rules.extend(tiers::policy_rules(self.lowering, policy, &lowered, self.found));
        }
        match (denies_by_default(listed, way), next) {
            (true, _) => rules.push(rule(Vec::new(), Target::Drop, &format!("end of tier {tier}: no rule matched"))),
            (false, Target::Return) => {}
            (false, next) => rules.push(rule(Vec::new(), next.clone(), &format!("end of tier {tier}: {}", onward(next)))),
        }
        Chain { name, about: format!("{} {} of tier {tier} for host endpoints with: {policies}", way.scope, way.direction), rules }
    }

    /// The jump to the failsafe ports of a direction, whose chain is made when it is first asked for.
    fn failsafe(&mut self, direction: Direction) -> Rule {
        let (name, about) = match direction {
            Direction::Ingress => (fixed_chain("failsafe-in"), "failsafe ports of the node"),
            Direction::Egress => (fixed_chain("failsafe-out"), "failsafe ports that the node may reach"),
        };
        let mut rules = Vec::new();
        if self.family == Family::V6 {
            rules.extend(NEIGHBOUR_MESSAGES.map(|(kind, about)| neighbour(kind, about)));
        }
        let failsafes = &self.lowering.options.failsafes;
        let own = failsafes.of(direction).iter().map(|port| (port, Side::Destination));
        let replies = match direction {
            Direction::Ingress => failsafes.of(Direction::Egress),
            Direction::Egress => failsafes.of(Direction::Ingress),
        };
        // nothing is tracked yet in the raw table, so that replies must be known by their ports
        let replies = replies.iter().filter(|_| self.table == TableKind::Raw).map(|port| (port, Side::Source));
        let far = match direction {
            Direction::Ingress => Side::Source,
            Direction::Egress => Side::Destination,
        };
        let of_family = |port: &Failsafe| port.net.is_none_or(|net| net.family() == self.family);
        let ports = own.chain(replies).filter(|(port, _)| of_family(port));
        rules.extend(ports.map(|(port, side)| open(port, side, far)));
        self.add(Chain { name: name.clone(), about: about.to_owned(), rules });
        rule(Vec::new(), Target::Jump(name), about)
    }

    /// The chain of a host endpoint itself, before those that it leads to.
    fn chain(&mut self, at: usize, host: &HostEndpoint, (sort, about): (&str, String), rules: Vec<Rule>) -> Target {
        let content = host.to_string();
        let name = self.lowering.names.chain(Identity { sort, word: &host.name, content: &content }, self.found);
        self.chains.insert(at, Chain { name: name.clone(), about, rules });
        Target::Goto(name)
    }

    /// Adds a chain unless it is there: host endpoints with the same policies share those of their tiers.
    fn add(&mut self, chain: Chain) {
        if self.known.insert(chain.name.clone()) {
            self.chains.push(chain);
        }
    }
}

/// Whether a tier ends a packet's way where none of its rules does: never before connections or before DNAT (reference §4.2).
fn denies_by_default(listed: &Listed<'_>, way: &ListWay) -> bool {
    matches!(way.list, List::Normal | List::Forward) && listed.tier.default_action == DefaultAction::Deny
}

/// Where a packet goes that nothing decided, in words.
fn onward(next: &Target) -> &'static str {
    match next {
        Target::Accept => "no policy is left, and a profile allows",
        Target::Drop => "no policy is left, and no profile allows",
        Target::Goto(_) | Target::Jump(_) => "on to the next tier",
        Target::Return | Target::NoTrack | Target::Log(_) => "on",
    }
}

/// The host's own side.
fn near(direction: Direction) -> Side {
    match direction {
        Direction::Ingress => Side::Destination,
        Direction::Egress => Side::Source,
    }
}

/// Without these no address of a neighbour is known, and no failsafe port can be reached.
fn neighbour(kind: u8, about: &str) -> Rule {
    let icmp = Match::Icmp(Sense::Is, Icmp { kind, code: None });
    rule(vec![Match::Protocol(Sense::Is, Protocol::ICMPV6), icmp], Target::Accept, about)
}

fn open(port: &Failsafe, side: Side, far: Side) -> Rule {
    let mut matches = vec![Match::Protocol(Sense::Is, port.protocol)];
    matches.extend(port.net.map(|net| Match::Address(Sense::Is, far, net)));
    matches.push(Match::Ports(Sense::Is, side, vec![port.port]));
    let reply = if side == Side::Source { "reply of " } else { "" };
    rule(matches, Target::Accept, &format!("{reply}failsafe {port}"))
}
