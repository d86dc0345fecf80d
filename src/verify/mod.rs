//! Whether the scripts of a node decide every packet as the policies do: a proof, or packets that
//! show the contrary.
//!
//! In: [`Resolved`](crate::resolve::Resolved) policy, a node, the [`CompileOptions`] of the
//! compile, and the texts of the node's scripts. Out: a [`ProofStatistics`], or a list of
//! [`VerifyDifference`]s, each with a packet, what it is owed, and what it gets. Absent: `lower`
//! and `render`.
//!
//! Packets are put into classes that neither policy nor scripts tell apart: addresses into
//! [`EndpointClasses`], what packets carry into [`HeaderSpace`]. Then, for every hook, kind of
//! interface and state, all traffic between all pairs of classes of addresses goes through the
//! scripts at once (`netfilter::trace`), which gives blocks of pairs with which they do the same;
//! and each block is held against policy (`expected`). To compare two outcomes is to compare two
//! numbers.
//!
//! Cost: a rule costs the blocks of pairs that hold an address it asks about. Rules that ask about
//! none are gone through together, for a logarithm of their number a block. So rules of a policy
//! cost no more than in proportion to their number and its logarithm, but for this:
//! - What `n` classes of addresses may each send on a set of ports of its own out of `n` is an
//!   answer of up to `n²` bits. Sets share the parts in which they are equal, so it costs that many
//!   only where they differ all over.
//! - A rule that excludes addresses of both ends, or of one end by a list and by a selector, is
//!   asked of all blocks.
//! - Where policy is asked, each pair of which one is on the node costs a look-up: endpoints on the
//!   node, times classes of addresses.
//! - Where packets have a destination before translation that matters (pre-DNAT and untracked
//!   policy of host endpoints), all this is done once for each kind of that.

mod compare;
mod crossing;
mod host_endpoints;
mod interfaces;
mod expected;
mod address_class;
mod dnat;
mod witness;

use crate::inventory::NodeId;
use crate::net::{Family, State};
use crate::netfilter::{MisplacedRule, NodeKernel};
use crate::options::{CompileOptions, HookPosition, SourceValidation};
use crate::packet::{Hook, LOOPBACK};
use crate::packet_space::{
    EndpointClasses, HeaderSpace, PartitionBuilder, ReachabilityMatrix, SideContext,
};
use crate::policy::PolicyListKind;
use crate::resolve::ResolvedPolicy;
use crate::ruleset::{CheckedScripts, ScriptError};
use crate::semantics::evaluate::Evaluator;
use crate::semantics::node::NodeSemantics;

use address_class::AddressClasses;
use compare::FamilyComparison;
use dnat::{DnatPorts, RedirectedSets};
use expected::ExpectedVerdicts;
use host_endpoints::NodeHostEndpoints;
use interfaces::InterfaceQuestions;
use witness::WitnessCollector;
pub use witness::{TracedRule, Witness};

/// What was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProofStatistics {
    /// Classes of addresses, of both families.
    pub places: usize,
    /// Classes of what packets carry.
    pub traffic: usize,
    /// Comparisons: pairs of classes of addresses, by hook, interfaces and state.
    pub pairs: usize,
}

/// Why scripts are not what policy wants.
#[derive(Debug)]
pub enum VerifyDifference<'input> {
    /// They do not load.
    NotLoadable(ScriptError),
    /// A rule stands at the wrong end of a chain of the kernel's.
    Misplaced(MisplacedRule),
    /// A packet is decided otherwise.
    Packet(Box<Witness<'input>>),
}

/// The outcome for a node.
#[derive(Debug)]
pub struct Verification<'input> {
    /// What was compared.
    pub proof: ProofStatistics,
    /// What differs; nothing where the scripts are proven. Of packets, one for each pair of a
    /// reason and a rule, at most [`MOST_WITNESSES`].
    pub differences: Vec<VerifyDifference<'input>>,
    /// In how many comparisons something differs.
    pub differing: usize,
}

impl Verification<'_> {
    /// Whether the scripts are what policy wants. What differs counts, whether or not a packet
    /// shows it.
    pub fn is_proven(&self) -> bool {
        self.differences.is_empty() && self.differing == 0
    }
}

/// How many packets are shown at most.
pub const MOST_WITNESSES: usize = 20;

/// Compares what scripts do with what a node owes. Scripts that were refused differ by that.
pub fn verify<'input>(
    evaluator: &Evaluator<'_, 'input>,
    node: NodeId,
    options: &CompileOptions,
    scripts: Result<&CheckedScripts, ScriptError>,
) -> Verification<'input> {
    match scripts {
        Ok(scripts) => of_kernel(evaluator, node, options, &NodeKernel::load(scripts)),
        Err(refused) => {
            let differences = vec![VerifyDifference::NotLoadable(refused)];
            Verification {
                proof: ProofStatistics::default(),
                differences,
                differing: 0,
            }
        }
    }
}

/// Compares what loaded scripts do with what a node owes.
pub fn of_kernel<'input>(
    evaluator: &Evaluator<'_, 'input>,
    node: NodeId,
    options: &CompileOptions,
    kernel: &NodeKernel,
) -> Verification<'input> {
    let resolved = evaluator.resolved();
    let cuts = cuts(resolved, node, options, kernel);
    let ports = cuts.receivers_ports();
    let mut traffic = HeaderSpace::of(&cuts);
    let places = EndpointClasses::told_apart(
        resolved,
        address_class::lists(resolved, node, options, kernel),
    );
    let hosts = NodeHostEndpoints::new(
        node,
        &mut SideContext {
            resolved,
            places: &places,
            traffic: &mut traffic,
        },
    );
    let relation = ReachabilityMatrix::local_class(resolved, &places, &mut traffic, |class| {
        address_class::is_local(resolved, node, class.owner)
    });
    let owed = ExpectedVerdicts::new(options, &hosts, &mut traffic);
    let at_head = options.hook_position == HookPosition::Head;
    let differences = kernel
        .misplaced(at_head)
        .into_iter()
        .map(VerifyDifference::Misplaced)
        .collect();
    let proof = ProofStatistics {
        traffic: traffic.len(),
        ..ProofStatistics::default()
    };
    let mut verification = Verification {
        proof,
        differences,
        differing: 0,
    };
    let mut collector = WitnessCollector::new(kernel, NodeSemantics::new(evaluator, node, options));
    let hooks = hooks(&InterfaceQuestions::new(kernel, &hosts, options).all());
    let scope = ComparisonScope::new(kernel, &hosts, options);

    for family in Family::BOTH {
        let symbolic = kernel.symbolic(family, &mut traffic);
        let ground = AddressClasses::new(
            resolved,
            node,
            options,
            &places,
            family,
            (&symbolic, &relation, &owed),
            &mut traffic,
        );
        verification.proof.places += ground.places.len();
        let ports = std::iter::once(None).chain(ports.iter().copied().map(Some));
        let ports: DnatPorts = ports
            .map(|port| (port, symbolic.origins(port, &mut traffic)))
            .collect();
        let mut redirected = RedirectedSets::default();
        let mut comparison = FamilyComparison {
            symbolic: &symbolic,
            owed: &owed,
            ground: &ground,
            traffic: &mut traffic,
            collector: &mut collector,
            pairs: 0,
        };
        for hook in &hooks {
            scope.compare(hook, &ports, &mut comparison, &mut redirected);
        }
        verification.proof.pairs += comparison.pairs;
    }

    verification.differing = collector.differing;
    verification.differences.extend(
        collector
            .witnesses
            .into_iter()
            .map(|witness| VerifyDifference::Packet(Box::new(witness))),
    );

    verification
}

/// The cuts of what packets carry: by policy, by the scripts, and by what a node owes besides.
fn cuts(
    resolved: &ResolvedPolicy<'_>,
    node: NodeId,
    options: &CompileOptions,
    kernel: &NodeKernel,
) -> PartitionBuilder {
    let mut cuts = PartitionBuilder::default();
    cuts.of_policy(resolved);
    kernel.add_cuts(&mut cuts);
    expected::add_cuts(
        options,
        resolved.hosts_on(node).all().next().is_some(),
        &mut cuts,
    );
    cuts
}

/// Which packets are compared beside those that come the right way and whose destination is not
/// translated.
#[derive(Debug, Clone, Copy)]
struct ComparisonScope {
    /// It matters where the route back to a packet's source leads.
    reverse_paths: bool,
    /// It matters where a packet was sent to before its destination was translated.
    original_destinations: bool,
}

impl ComparisonScope {
    fn new(kernel: &NodeKernel, hosts: &NodeHostEndpoints<'_>, options: &CompileOptions) -> Self {
        let has_early_policy = [PolicyListKind::Untracked, PolicyListKind::PreDnat]
            .iter()
            .any(|list| hosts.have(*list));
        Self {
            reverse_paths: kernel.asks_reverse_paths()
                || options.source_validation != SourceValidation::Off,
            original_destinations: has_early_policy || kernel.asks_before_dnat(),
        }
    }

    /// Compares all packets of a hook in all states.
    fn compare(
        self,
        hook: &Hook,
        ports: &DnatPorts,
        comparison: &mut FamilyComparison<'_, '_, '_, '_>,
        redirected: &mut RedirectedSets,
    ) {
        // packets without a connection too: the kernel tracks no message between IPv6 neighbours
        // (`nf_conntrack_icmpv6_error` in net/netfilter/nf_conntrack_proto_icmpv6.c), and rules of
        // others may keep any packet from tracking
        State::ALL
            .iter()
            .for_each(|state| comparison.hook(hook, *state));
        if self.reverse_paths && hook.arrives().is_some_and(|name| name != LOOPBACK) {
            State::ALL
                .iter()
                .for_each(|state| comparison.spoofed(hook, *state));
        }
        if self.original_destinations {
            comparison.translated(hook, ports, redirected);
        }
    }
}

/// All hooks with all interfaces. Nothing is forwarded over the loopback interface.
fn hooks(interfaces: &[String]) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for one in interfaces {
        hooks.push(Hook::Input {
            arrives: one.clone(),
        });
        hooks.push(Hook::Output {
            leaves: one.clone(),
        });
        let others = interfaces
            .iter()
            .filter(|other| *one != LOOPBACK && *other != LOOPBACK);
        hooks.extend(others.map(|other| Hook::Forward {
            arrives: one.clone(),
            leaves: other.clone(),
        }));
    }

    hooks
}

#[cfg(test)]
mod tests;
