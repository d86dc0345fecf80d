//! Verifies that a node's scripts give every packet the verdict that policy requires. The result is
//! a proof or counterexample packets.
//!
//! In: [`ResolvedPolicy`], a node, the [`CompileOptions`] of the
//! compile, and the texts of the node's scripts. Out: [`ProofStatistics`], or a list of
//! [`VerifyDifference`]s, each with a packet, its expected verdict and its verdict by the scripts.
//! Absent: `lower` and `render`.
//!
//! Packets are partitioned into classes that neither policy nor scripts distinguish: addresses into
//! [`EndpointClasses`], headers into [`HeaderSpace`]. For every hook, kind of interface and state,
//! all traffic between all pairs of address classes passes the scripts at once
//! (`netfilter::trace`). The result is a list of blocks of pairs that the scripts treat alike, and
//! each block is compared with policy (`expected`). Two outcomes are compared by comparing two
//! numbers.
//!
//! Cost: a rule costs the blocks of pairs that contain an address of its conditions. Rules without
//! address conditions are evaluated together, for a logarithm of their number for each block. The
//! rules of a policy therefore cost their number times its logarithm, with these exceptions:
//! - If `n` address classes may each send on their own set of ports out of `n`, the answer has up
//!   to `n²` bits. Sets share the parts in which they are equal, so this is the cost only if they
//!   differ everywhere.
//! - A rule that excludes addresses at both ends, or at one end by both a list and a selector, is
//!   applied to all blocks.
//! - Where policy of endpoints matters, each pair with an end on the node costs a look-up:
//!   endpoints on the node times address classes.
//! - If the destination before DNAT matters (pre-DNAT and untracked policy of host endpoints), all
//!   this is repeated for each kind of original destination.

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

/// The size of a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProofStatistics {
    /// Address classes, of both families.
    pub places: usize,
    /// Header classes.
    pub traffic: usize,
    /// Comparisons: pairs of address classes, times hooks, interfaces and states.
    pub pairs: usize,
}

/// A difference between scripts and policy.
#[derive(Debug)]
pub enum VerifyDifference<'input> {
    /// The scripts do not load.
    NotLoadable(ScriptError),
    /// A rule is at the wrong end of one of the kernel's built-in chains.
    Misplaced(MisplacedRule),
    /// A packet has the wrong verdict.
    Packet(Box<Witness<'input>>),
}

/// The result for one node.
#[derive(Debug)]
pub struct Verification<'input> {
    /// The size of the comparison.
    pub proof: ProofStatistics,
    /// The differences; empty if the scripts are proven. Packets are limited to one for each
    /// combination of verdicts and last rule, and to [`MOST_WITNESSES`].
    pub differences: Vec<VerifyDifference<'input>>,
    /// The number of comparisons with a difference.
    pub differing: usize,
}

impl Verification<'_> {
    /// Returns `true` if the scripts implement the policy. Every difference counts, even without a
    /// packet that shows it.
    pub fn is_proven(&self) -> bool {
        self.differences.is_empty() && self.differing == 0
    }
}

/// The maximum number of counterexample packets.
pub const MOST_WITNESSES: usize = 20;

/// Compares a bundle's scripts with the expected verdicts of a node. `scripts` is the error if the
/// scripts were rejected; that counts as a difference.
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

/// Compares a kernel's contents with the expected verdicts of a node.
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
        // `None` is a destination whose address alone is translated
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

/// Returns the header conditions of policy, of the scripts, and of the node's options.
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

/// The packets that are compared in addition to those with the right route back and without DNAT.
#[derive(Debug, Clone, Copy)]
struct ComparisonScope {
    /// `true` if the route back to a packet's source matters.
    reverse_paths: bool,
    /// `true` if the destination before DNAT matters.
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
        // INVALID and UNTRACKED too: the kernel does not track IPv6 neighbour messages
        // (`nf_conntrack_icmpv6_error` in net/netfilter/nf_conntrack_proto_icmpv6.c), and foreign
        // rules may make any packet untracked
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

/// Returns all hooks with all interfaces. The kernel forwards nothing over the loopback interface.
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
