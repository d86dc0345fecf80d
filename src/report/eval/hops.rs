//! Node hops as phrases.

use crate::explain::{ExplainedGroup, NodeTrace, PolicyTrace};
use crate::inventory::NodeId;
use crate::net::{Direction, Side};
use crate::packet::{Flow, Hook};
use crate::policy::PolicyListKind;
use crate::report::eval::phrases::{listed, stranger};
use crate::report::eval::{DetailLevel, QueryReport};
use crate::semantics::ForgedSource;
use crate::semantics::node::VerdictCause;
use crate::semantics::path::{AssumedInterface, AssumptionReason, NodeHop};

impl<'input> QueryReport<'_, 'input> {
    /// Returns what decides at an end of a group's cases, or `None` if a node's line contains it.
    pub(super) fn end(
        &self,
        group: &ExplainedGroup<'input>,
        direction: Direction,
    ) -> Option<String> {
        let (way, side) = match direction {
            Direction::Egress => (&group.egress, Side::Source),
            Direction::Ingress => (&group.ingress, Side::Destination),
        };
        if let Some(way) = way {
            return Some(self.reason(way));
        }

        if group
            .cases
            .first()
            .is_some_and(|case| case.flow.party(side).owner.is_some())
        {
            return None;
        }
        // an end without endpoint may be the node itself, which host endpoints police
        let Some(at_end) = group
            .stops
            .iter()
            .find(|stop| is_end(&stop.stop.packet.hook, direction))
        else {
            return Some(stranger(direction));
        };

        let is_told = at_end.stop.expected.cause == VerdictCause::Failsafe
            || at_end.hosts.iter().any(|way| way.direction == direction);
        let role = if direction == Direction::Egress {
            "sender"
        } else {
            "receiver"
        };

        (!is_told).then(|| {
            format!(
                "the {role} is node {}, and no policy of a host endpoint is about this",
                self.node(at_end.stop.node)
            )
        })
    }

    /// Formats a list of a host endpoint: `forward ingress of HostEndpoint n1-eth0: denied by …`.
    pub(super) fn host_line(&self, way: &PolicyTrace<'input>) -> String {
        let list = list_word(way.list).map_or_else(String::new, |word| format!("{word} "));
        format!(
            "{list}{} of {}: {}",
            way.direction,
            self.whose(way.whose),
            self.reason(way)
        )
    }

    /// Returns what a node does independently of policy, or `None` if policy decides.
    pub(super) fn doing(&self, stop: &NodeHop<'_>) -> Option<String> {
        let flow = &stop.packet.flow;
        let does = match stop.expected.cause {
            VerdictCause::Nothing if stop.is_probe => {
                "does not police what it sends to its own endpoints (probes)".to_owned()
            }
            VerdictCause::Policy | VerdictCause::Nothing => return None,
            VerdictCause::KnownConnection => "lets known connections pass".to_owned(),
            VerdictCause::NoConnection => "drops what belongs to no connection".to_owned(),
            VerdictCause::Neighbour => {
                "lets messages between neighbours in IPv6 pass before policy".to_owned()
            }
            VerdictCause::Failsafe => {
                "keeps this port open whatever policy says: it is a failsafe port".to_owned()
            }
            VerdictCause::SpoofedSource => {
                "drops packets that claim this source elsewhere than where it is".to_owned()
            }
            VerdictCause::UnknownEndpoint => {
                format!(
                    "drops packets of addresses in its pod range{} that no endpoint has",
                    self.range(stop.node, flow)
                )
            }
            VerdictCause::Encapsulated => {
                "drops encapsulated packets of endpoints (`--encapsulated drop`)".to_owned()
            }
            VerdictCause::EndpointToHost => {
                "drops what its endpoints send to it (`--endpoint-to-host drop`)".to_owned()
            }
        };

        Some(format!("node {} {does}", self.node(stop.node)))
    }

    fn range(&self, node: NodeId, flow: &Flow) -> String {
        let ranges = &self.resolved.inventory.node(node).pod_ranges;
        let holding = Side::BOTH
            .into_iter()
            .find_map(|side| ranges.iter().find(|range| range.holds(flow.address(side))));
        holding.map_or_else(String::new, |range| format!(" {range}"))
    }

    /// Returns the assumptions about a packet on a node, and further notes.
    pub(super) fn beside(&self, way: &NodeTrace<'input>) -> Vec<String> {
        let node = self.node(way.stop.node);
        let mut beside: Vec<String> = way
            .stop
            .assumed
            .iter()
            .map(|assumed| format!("assumed: {}", assumed_words(assumed, node)))
            .collect();

        if way
            .hosts
            .iter()
            .any(|way| way.list == PolicyListKind::PreDnat)
        {
            beside.push(format!(
                "assumed: nothing translates its destination on node {node} (a NodePort, a \
                 service's address)"
            ));
        }

        if way.stop.expected.is_untracked {
            beside.push(format!(
                "note: node {node} keeps it from connection tracking, so replies meet policy too, \
                 which must allow them"
            ));
        }

        beside
    }

    pub(super) fn node(&self, node: NodeId) -> &str {
        &self.resolved.inventory.node(node).name
    }
}

/// Returns what a node does to forged packets with the same source. Returns `None` if it drops them
/// and only verdicts are requested, because that is the normal case.
pub(super) fn forged_words(stop: &NodeHop<'_>, detail: DetailLevel) -> Option<&'static str> {
    Some(match stop.forged? {
        ForgedSource::Dropped if detail == DetailLevel::Verdict => return None,
        ForgedSource::Dropped => {
            "assumed: it comes by the interface that the route back to its sender leads to; by any \
             other, source validation drops it"
        }
        ForgedSource::DroppedWithoutRoute => {
            "note: the node of the receiver takes packets with this source from any interface \
             (`--source-validation loose`): a pod there could send them"
        }
        ForgedSource::Logged => {
            "note: packets with this source that come by a wrong interface are only logged \
             (`--source-validation log`): whoever can send them is taken for this sender"
        }
        ForgedSource::Passed => {
            "note: packets with this source may come by any interface (`--source-validation off`): \
             whoever can send them is taken for this sender"
        }
    })
}

/// Returns `true` if the packet begins or ends at the node itself.
fn is_end(hook: &Hook, direction: Direction) -> bool {
    match (hook, direction) {
        (Hook::Output { .. }, Direction::Egress) | (Hook::Input { .. }, Direction::Ingress) => true,
        (Hook::Output { .. } | Hook::Input { .. } | Hook::Forward { .. }, _) => false,
    }
}

/// Returns the name of a list for use before a direction; `None` for the normal list.
pub(super) fn list_word(list: PolicyListKind) -> Option<&'static str> {
    match list {
        PolicyListKind::Normal => None,
        PolicyListKind::Forward => Some("forward"),
        PolicyListKind::Untracked => Some("untracked"),
        PolicyListKind::PreDnat => Some("pre-DNAT"),
    }
}

fn assumed_words(assumed: &AssumedInterface, node: &str) -> String {
    let way = match assumed.direction {
        Direction::Ingress => format!("it comes to node {node} by"),
        Direction::Egress => format!("it leaves node {node} by"),
    };
    let because = match assumed.because {
        AssumptionReason::HasPacketsAddress => ", whose host endpoint has its address",
        AssumptionReason::HasNodesAddress => ", whose host endpoint has the node's address",
        AssumptionReason::Strictest => "; the input does not tell, and none lets less pass",
    };
    let by = |interfaces: Vec<&Option<String>>| {
        listed(
            &interfaces
                .into_iter()
                .map(|name| interface_words(name.as_deref()))
                .collect::<Vec<_>>(),
            "or",
        )
    };

    let [passing, dropping] = [true, false].map(|passes| {
        let others: Vec<&Option<String>> = assumed
            .others
            .iter()
            .filter(|(_, other)| *other == passes)
            .map(|(name, _)| name)
            .collect();
        let fate = if passes {
            "this node would let it pass"
        } else {
            "this node would drop it"
        };
        if others.is_empty() {
            String::new()
        } else {
            format!("; by {} {fate}", by(others))
        }
    });

    format!(
        "{way} {}{because}{passing}{dropping}",
        interface_words(assumed.interface.as_deref())
    )
}

fn interface_words(name: Option<&str>) -> String {
    name.map_or_else(
        || "an interface that no host endpoint names".to_owned(),
        str::to_owned,
    )
}
