//! Whether the scripts of a node decide every packet as the policies do: a proof, or packets that show the contrary.
//!
//! In: [`Resolved`](crate::resolve::Resolved) policy, a node, the [`Options`] of the compile, and the texts of the node's scripts. Out: a [`Proof`], or a
//! list of [`Difference`]s, each with a packet, what it is owed, and what it gets. Absent: `lower` and `render`.
//!
//! Packets are put into classes that neither policy nor scripts tell apart: addresses into [`Places`], what packets carry into
//! [`Traffic`]. Then for every two classes of addresses, every hook, kind of interface and state, all traffic goes through policy
//! (`owed`) and through the scripts (`netfilter::symbolic`) at once, and the two outcomes are two numbers to compare.
//!
//! Cost: pairs of classes of which one is on the node, times the rules that such a pair passes. Where packets have a
//! destination before translation that matters (pre-DNAT and untracked policy of host endpoints), also the classes of that.

mod hosts;
mod owed;
mod places;
mod witness;

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::analysis::evaluate::Evaluator;
use crate::analysis::netfilter::{At, Early, Kernel, LoadError, Misplaced, Symbolic, Texts};
use crate::analysis::node::Node;
use crate::analysis::packet::LOOPBACK;
use crate::analysis::space::{Cuts, Places, Relation, Traffic, TrafficId, Workshop};
use crate::analysis::{Hook, Original, State};
use crate::inventory::NodeId;
use crate::net::Family;
use crate::options::{HookPosition, Options};
use crate::policy::List;

use hosts::Hosts;
use owed::{Between, EarlyOwed, Fates, Owed, Portion};
use places::{Spot, spots};
use witness::Collector;
pub use witness::{RulePassed, Witness};

/// What was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proof {
    /// Classes of addresses, of both families.
    pub places: usize,
    /// Classes of what packets carry.
    pub traffic: usize,
    /// Comparisons: pairs of classes of addresses, by hook, interfaces and state.
    pub pairs: usize,
}

/// Why scripts are not what policy wants.
#[derive(Debug)]
pub enum Difference<'input> {
    /// They do not load.
    NotLoadable(LoadError),
    /// A rule stands at the wrong end of a chain of the kernel's.
    Misplaced(Misplaced),
    /// A packet is decided otherwise.
    Packet(Box<Witness<'input>>),
}

/// The outcome for a node.
#[derive(Debug)]
pub struct Verification<'input> {
    /// What was compared.
    pub proof: Proof,
    /// What differs; nothing where the scripts are proven. Of packets, one for each pair of a reason and a rule, at most
    /// [`MOST_WITNESSES`].
    pub differences: Vec<Difference<'input>>,
    /// In how many comparisons something differs.
    pub differing: usize,
}

/// How many packets are shown at most.
pub const MOST_WITNESSES: usize = 20;

/// Compares what scripts do with what a node owes.
pub fn verify<'input>(evaluator: &Evaluator<'_, 'input>, node: NodeId, options: &Options, texts: &Texts<'_>) -> Verification<'input> {
    match Kernel::load(texts) {
        Ok(kernel) => of_kernel(evaluator, node, options, &kernel),
        Err(refused) => Verification { proof: Proof::default(), differences: vec![Difference::NotLoadable(refused)], differing: 0 },
    }
}

/// Compares what loaded scripts do with what a node owes.
pub fn of_kernel<'input>(evaluator: &Evaluator<'_, 'input>, node: NodeId, options: &Options, kernel: &Kernel) -> Verification<'input> {
    let resolved = evaluator.resolved();
    let mut cuts = Cuts::default();
    cuts.of_policy(resolved);
    kernel.cut(&mut cuts);
    owed::cut(options, resolved.hosts_on(node).all().next().is_some(), &mut cuts);
    let ports = cuts.receivers_ports();
    let mut traffic = Traffic::of(&cuts);
    let places = Places::told_apart(resolved, places::lists(resolved, node, options, kernel));
    let hosts = Hosts::of(node, &mut Workshop { resolved, places: &places, traffic: &mut traffic });
    let relation = Relation::near(resolved, &places, &mut traffic, |class| places::is_local(resolved, node, class.owner));
    let (neighbours, encapsulated) = (owed::neighbours(&mut traffic), owed::encapsulated(&mut traffic));
    let owed = Owed { options, relation: &relation, hosts: &hosts, neighbours, encapsulated };
    let at_head = options.hook_position == HookPosition::Head;
    let differences = kernel.misplaced(at_head).into_iter().map(Difference::Misplaced).collect();
    let proof = Proof { traffic: traffic.len(), ..Proof::default() };
    let mut verification = Verification { proof, differences, differing: 0 };
    let mut collector = Collector::new(kernel, Node::of(evaluator, node, options));
    for family in Family::BOTH {
        let symbolic = kernel.symbolic(family, &mut traffic);
        let spots = spots((resolved, node, options), (&places, family), (&symbolic, &owed), &mut traffic);
        let origins_matter = [List::Untracked, List::PreDnat].iter().any(|list| hosts.have(*list)) || kernel.asks_before_dnat();
        let ports: Vec<Option<u16>> = std::iter::once(None).chain(ports.iter().copied().map(Some)).collect();
        let interfaces = interfaces(kernel, &hosts);
        verification.proof.places += spots.len();
        let mut comparison = Comparison {
            symbolic: &symbolic,
            owed: &owed,
            spots: &spots,
            traffic: &mut traffic,
            collector: &mut collector,
            redirected: FxHashMap::default(),
            pairs: 0,
        };
        for hook in hooks(&interfaces) {
            comparison.hook(&hook);
            if origins_matter {
                comparison.translated(&hook, &ports);
            }
        }
        verification.proof.pairs += comparison.pairs;
    }
    verification.differing = collector.differing;
    verification.differences.extend(collector.witnesses.into_iter().map(|witness| Difference::Packet(Box::new(witness))));
    verification
}

/// Interfaces that someone speaks of, the loopback interface, and one that nobody speaks of.
fn interfaces(kernel: &Kernel, hosts: &Hosts<'_>) -> Vec<String> {
    let mut names: BTreeSet<&str> = kernel.interfaces();
    names.extend(hosts.interfaces());
    names.insert(LOOPBACK);
    let other = (0..).map(|number| format!("other{number}")).find(|name| !names.contains(name.as_str()));
    names.into_iter().map(str::to_owned).chain(other).collect()
}

/// All hooks with all interfaces. Nothing is forwarded over the loopback interface.
fn hooks(interfaces: &[String]) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for one in interfaces {
        hooks.push(Hook::Input { arrives: one.clone() });
        hooks.push(Hook::Output { leaves: one.clone() });
        let others = interfaces.iter().filter(|other| *one != LOOPBACK && *other != LOOPBACK);
        hooks.extend(others.map(|other| Hook::Forward { arrives: one.clone(), leaves: other.clone() }));
    }
    hooks
}

/// States of connection tracking.
const TRACKED: [State; 4] = [State::New, State::Established, State::Related, State::Invalid];

/// States that a hook can see. What somebody else keeps from being tracked stays on the node, and is not compared where policy of ours
/// is asked before that: its original destination is not known behind it (a known limit), and scripts ask untracked policy about
/// replies of failsafe ports too.
fn states(hook: &Hook, hosts: &Hosts<'_>) -> &'static [State] {
    match hook {
        Hook::Input { .. } | Hook::Output { .. } if hosts.have(List::Untracked) || hosts.have(List::PreDnat) => &TRACKED,
        Hook::Forward { .. } => &TRACKED,
        Hook::Input { .. } | Hook::Output { .. } => &State::ALL,
    }
}

/// A family's comparison.
struct Comparison<'run, 'eval, 'resolved, 'input> {
    symbolic: &'run Symbolic<'run>,
    owed: &'run Owed<'run, 'input>,
    spots: &'run [Spot],
    traffic: &'run mut Traffic,
    collector: &'run mut Collector<'eval, 'eval, 'resolved, 'input>,
    /// Sets of packets that would be in another set if they were for a port.
    redirected: FxHashMap<(TrafficId, u16), TrafficId>,
    pairs: usize,
}

/// Packets before the filter table, on both ways.
#[derive(Debug, Clone, Copy)]
struct Before {
    found: Early,
    owed: EarlyOwed,
}

/// Destinations before translation that all rules and policies take for one.
struct Origin {
    original: Original,
    before: Before,
    asked: Box<[TrafficId]>,
}

/// What tells kinds of destinations before translation apart.
type Kind = ([TrafficId; 5], Box<[TrafficId]>);

impl Comparison<'_, '_, '_, '_> {
    /// All packets of a hook whose destination is not translated.
    fn hook(&mut self, hook: &Hook) {
        let spots = self.spots;
        for state in states(hook, self.owed.hosts) {
            spots.iter().for_each(|source| self.leaving(source, hook, *state));
        }
    }

    /// All of them from one place.
    fn leaving(&mut self, source: &Spot, hook: &Hook, state: State) {
        for destination in self.spots.iter().filter(|destination| is_possible(hook, source, destination)) {
            let before = self.before(hook, state, (source, destination));
            self.tables((hook, state), (source, destination), &before);
        }
    }

    fn before(&mut self, hook: &Hook, state: State, (source, destination): (&Spot, &Spot)) -> Before {
        let at = At { source: &source.marks, destination: &destination.marks, origins: &destination.marks.origins, hook, state };
        let between = Between { source: source.place, destination: destination.place, hook };
        let found = match self.symbolic.has_early() {
            true => self.symbolic.early(&at, self.traffic),
            false => Early { dropped: Traffic::NONE, untracked: if state == State::Untracked { Traffic::ALL } else { Traffic::NONE } },
        };
        let mut owed = self.owed.early(&between, state, self.traffic);
        if state == State::Untracked {
            owed.untracked = Traffic::ALL;
        }
        Before { found, owed }
    }

    /// Packets of two places through the filter table, behind the others.
    fn tables(&mut self, (hook, state): (&Hook, State), (source, destination): (&Spot, &Spot), before: &Before) {
        self.pairs += 1;
        let between = Between { source: source.place, destination: destination.place, hook };
        let mut owed = Fates { dropped: before.owed.dropped, ..Fates::NONE };
        for portion in before.owed.portions(state, self.traffic) {
            self.owed.late(&between, portion, self.traffic, &mut owed);
        }
        let mut found = Fates { dropped: before.found.dropped, ..Fates::NONE };
        let at = At { source: &source.marks, destination: &destination.marks, origins: &destination.marks.origins, hook, state };
        let on = self.traffic.less(Traffic::ALL, before.found.dropped);
        let untracked = self.traffic.and(on, before.found.untracked);
        let tracked = self.traffic.less(on, untracked);
        self.filter(&At { state: State::Untracked, ..at }, untracked, &mut found);
        self.filter(&at, tracked, &mut found);
        let mut differing = self.differing(&owed, &found);
        // of what is dropped nobody needs to know more
        let kept = self.differs(before.owed.untracked, before.found.untracked);
        let kept = self.traffic.less(kept, found.dropped);
        differing = self.traffic.or(differing, kept);
        self.note(differing, &between, state, None);
    }

    fn filter(&mut self, at: &At<'_>, here: TrafficId, found: &mut Fates) {
        if here == Traffic::NONE {
            return;
        }
        let (accepted, dropped) = self.symbolic.filter(at, here, self.traffic);
        found.accepted = self.traffic.or(found.accepted, accepted);
        found.dropped = self.traffic.or(found.dropped, dropped);
    }

    fn differs(&mut self, left: TrafficId, right: TrafficId) -> TrafficId {
        if left == right {
            return Traffic::NONE;
        }
        let (one, other) = (self.traffic.less(left, right), self.traffic.less(right, left));
        self.traffic.or(one, other)
    }

    fn differing(&mut self, owed: &Fates, found: &Fates) -> TrafficId {
        let accepted = self.differs(owed.accepted, found.accepted);
        let dropped = self.differs(owed.dropped, found.dropped);
        self.traffic.or(accepted, dropped)
    }

    fn note(&mut self, differing: TrafficId, between: &Between<'_>, state: State, original: Option<Original>) {
        if differing != Traffic::NONE {
            let class = self.traffic.classes(differing).next();
            let packet = class.and_then(|class| witness::packet(between, original, state, class));
            self.collector.add(packet);
        }
    }

    /// All packets of a hook that begin a connection and whose destination is translated. Those that are kept from connection
    /// tracking are not, so that they are among those of [`Self::hook`]; and so is, with their destination for its own, whatever
    /// is decided before the filter table.
    fn translated(&mut self, hook: &Hook, ports: &[Option<u16>]) {
        let spots = self.spots;
        for source in spots {
            let origins = self.origins(hook, source, ports);
            for destination in spots.iter().filter(|destination| is_possible(hook, source, destination)) {
                origins.iter().for_each(|origin| self.behind((hook, origin), (source, destination)));
            }
        }
    }

    /// Destinations before translation, one of each kind.
    fn origins(&mut self, hook: &Hook, source: &Spot, ports: &[Option<u16>]) -> Vec<Origin> {
        let mut kinds = FxHashSet::default();
        let mut origins = Vec::new();
        for sent in self.spots {
            let before = self.before(hook, State::New, (source, sent));
            origins.extend(ports.iter().filter_map(|port| self.origin(&before, sent, *port, &mut kinds)));
        }
        origins
    }

    /// A destination before translation; none where one of its kind is known.
    fn origin(&mut self, before: &Before, sent: &Spot, port: Option<u16>, kinds: &mut FxHashSet<Kind>) -> Option<Origin> {
        let before = self.redirect(before, port);
        let asked = self.symbolic.origins(sent.place.address, port, self.traffic);
        let (found, owed) = (before.found, before.owed);
        let kind = ([found.dropped, found.untracked, owed.dropped, owed.untracked, owed.let_through], asked.clone());
        let original = Original { address: sent.place.address, port };
        kinds.insert(kind).then_some(Origin { original, before, asked })
    }

    /// The same, for packets that were sent to this port and are for others now.
    fn redirect(&mut self, before: &Before, port: Option<u16>) -> Before {
        let Some(port) = port else { return *before };
        let mut of = |set: TrafficId| *self.redirected.entry((set, port)).or_insert_with(|| self.traffic.redirected(set, port));
        let Before { found, owed } = before;
        Before {
            found: Early { dropped: of(found.dropped), untracked: of(found.untracked) },
            owed: EarlyOwed { dropped: of(owed.dropped), untracked: of(owed.untracked), let_through: of(owed.let_through) },
        }
    }

    /// Tracked packets behind the translation.
    fn behind(&mut self, (hook, origin): (&Hook, &Origin), (source, destination): (&Spot, &Spot)) {
        self.pairs += 1;
        let before = &origin.before;
        let between = Between { source: source.place, destination: destination.place, hook };
        let gone = [before.found.dropped, before.found.untracked, before.owed.dropped, before.owed.untracked];
        let gone = gone.into_iter().fold(Traffic::NONE, |all, set| self.traffic.or(all, set));
        let on = self.traffic.less(Traffic::ALL, gone);
        let mut owed = Fates::NONE;
        for portion in before.owed.portions(State::New, self.traffic) {
            let here = self.traffic.and(portion.here, on);
            self.owed.late(&between, Portion { here, ..portion }, self.traffic, &mut owed);
        }
        let mut found = Fates::NONE;
        let at = At { source: &source.marks, destination: &destination.marks, origins: &origin.asked, hook, state: State::New };
        self.filter(&at, on, &mut found);
        let differing = self.differing(&owed, &found);
        self.note(differing, &between, State::New, Some(origin.original));
    }
}

/// Whether a hook sees packets of two places: none to an endpoint of the node ends at the node itself, and none from one begins there.
fn is_possible(hook: &Hook, source: &Spot, destination: &Spot) -> bool {
    match hook {
        Hook::Forward { .. } => true,
        Hook::Input { .. } => !destination.place.is_local,
        Hook::Output { .. } => !source.place.is_local,
    }
}

#[cfg(test)]
mod tests;
