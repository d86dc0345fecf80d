//! Witnesses: packets that show a difference.

use std::collections::BTreeSet;

use crate::net::{Family, Protocol, State};
use crate::netfilter::{CheckedTarget, NodeKernel, TableName};
use crate::packet::{Flow, Hook, Packet, PreDnatDestination, ReversePath, Verdict};
use crate::packet_space::HeaderClass;
use crate::semantics::node::{ExpectedVerdict, NodeSemantics};
use crate::verify::MOST_WITNESSES;
use crate::verify::crossing::Crossing;

/// A packet whose verdict by the scripts differs from the expected verdict.
#[derive(Debug)]
pub struct Witness<'input> {
    /// The packet.
    pub packet: Packet,
    /// The expected verdict and its cause.
    pub owed: ExpectedVerdict<'input>,
    /// The verdict by the scripts.
    pub verdict: Verdict,
    /// `true` if the scripts make the packet untracked.
    pub is_untracked: bool,
    /// The rules that the packet matches, in order.
    pub passed: Vec<TracedRule>,
}

/// A rule that a packet matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedRule {
    /// The table.
    pub table: TableName,
    /// The chain.
    pub chain: String,
    /// The line in the script, from 1.
    pub line: usize,
    /// The comment.
    pub comment: String,
    /// The target of the rule.
    pub target: CheckedTarget,
}

/// The last rule that a packet matches.
type LastRule = Option<(TableName, String, usize)>;

/// Collects one packet for each combination of expected verdict, verdict by the scripts and last
/// rule.
pub(super) struct WitnessCollector<'run, 'eval, 'resolved, 'input> {
    kernel: &'run NodeKernel,
    node: NodeSemantics<'eval, 'resolved, 'input>,
    seen: BTreeSet<(Verdict, Verdict, LastRule)>,
    tried: usize,
    pub(super) differing: usize,
    pub(super) witnesses: Vec<Witness<'input>>,
}

/// The maximum number of packets that are tried.
const MOST_TRIED: usize = 2_000;

impl<'run, 'eval, 'resolved, 'input> WitnessCollector<'run, 'eval, 'resolved, 'input> {
    pub(super) fn new(
        kernel: &'run NodeKernel,
        node: NodeSemantics<'eval, 'resolved, 'input>,
    ) -> Self {
        Self {
            kernel,
            node,
            seen: BTreeSet::new(),
            tried: 0,
            differing: 0,
            witnesses: Vec::new(),
        }
    }

    /// Adds to the number of pairs with a difference.
    pub(super) fn count(&mut self, pairs: usize) {
        self.differing += pairs;
    }

    /// Returns `true` until enough packets were tried or collected.
    pub(super) fn wants_more(&self) -> bool {
        self.tried < MOST_TRIED && self.witnesses.len() < MOST_WITNESSES
    }

    /// Tries a packet with a difference.
    pub(super) fn add(&mut self, packet: Option<Packet>) {
        self.tried += 1;
        let Some(packet) = packet else { return };
        let owed = self.node.expect(&packet);
        let run = self.kernel.run(&packet);

        let last = run
            .passed
            .last()
            .map(|passed| (passed.table, passed.chain.to_owned(), passed.line));
        // one packet for each mistake, not for each pair that it affects
        if self.seen.insert((owed.verdict, run.verdict, last)) {
            let passed = run.passed.iter().map(|passed| TracedRule {
                table: passed.table,
                chain: passed.chain.to_owned(),
                line: passed.line,
                comment: passed.comment.to_owned(),
                target: passed.target.clone(),
            });
            let passed = passed.collect();
            self.witnesses.push(Witness {
                packet,
                owed,
                verdict: run.verdict,
                is_untracked: run.is_untracked,
                passed,
            });
        }
    }
}

/// Returns an example packet of a header class. A packet with the ICMP protocol of the other family
/// has no message.
pub(super) fn packet(
    between: &Crossing<'_>,
    original: Option<PreDnatDestination>,
    state: State,
    reverse_path: ReversePath,
    class: &HeaderClass,
) -> Option<Packet> {
    let (protocol, ports, message) = class.example()?;
    let own = match between.family() {
        Family::V4 => Protocol::ICMP,
        Family::V6 => Protocol::ICMPV6,
    };
    let icmp = message.filter(|_| protocol == own);
    let (source, destination) = (between.source.address, between.destination.address);
    let original = original.map(|original| PreDnatDestination {
        port: original.port.filter(|_| ports.is_some()),
        ..original
    });
    let hook: Hook = between.hook.clone();

    Some(Packet {
        flow: Flow {
            source,
            destination,
            protocol,
            ports,
            icmp,
        },
        original,
        hook,
        state,
        reverse_path,
    })
}
