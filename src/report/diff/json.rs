//! Differences as JSON.

use serde::Serialize;

use crate::bundle::{LineCount, ScriptChange};
use crate::connectivity::port_list::{self, ports_text, protocol_text, types_text};
use crate::diff::{
    CausedTraffic, ChangeReason, ConnectionChange, DecidingRule, DiffState, MatchedIdentity,
    PeerBlock, PeerId, UnmatchedPeers, WitnessEnd,
};
use crate::output::{JsonWriter, OutputSink};
use crate::packet_space::{HeaderSetId, HostListStage};
use crate::report::diff::{DiffReport, PairCounts};

/// Writes the difference as one JSON object on one line.
///
/// `{"equal", "old", "new", "gained", "lost", "changes": [{"kind": "added" | "removed" | "changed",
/// "before": TRAFFIC, "after": TRAFFIC, "gained": [PORTION], "lost": [PORTION], "hostEndpoint"?:
/// {"list", "direction", "allowedAtOnce", "at"?: [PEER]}, "between": [{"from": [PEER], "to":
/// [PEER], "families": ["IPv4"]}]}], "newEndpoints": [ALONE], "goneEndpoints": [ALONE], "nodes":
/// null | [{"node", "rules": {"added", "removed"}, "chains", "sets", "members"}]}`.
///
/// `gained` and `lost` count pairs, without a single endpoint paired with itself. `nodes` is null
/// if scripts were not compared. A change with `hostEndpoint` concerns that list (`normal`,
/// `forward`, `untracked` or `pre-DNAT`) of the host endpoints that are the receivers (ingress) or
/// senders (egress). With `allowedAtOnce`, it concerns what a rule of the list allows, so that no
/// later list is evaluated. With `at`, it is limited to these addresses of the node or of endpoints
/// behind it.
///
/// TRAFFIC is `{"text", "everything", "protocols": [{"protocol", "ports"?, "sourcePorts"?,
/// "types"?}]}`, without protocols if it is everything. PORTION is `{"traffic": TRAFFIC, "witness":
/// {"family", "protocol", "from": {"endpoint"?, "address"?}, "to", "sourcePort"?, "port"?,
/// "icmpType"?, "icmpCode"?}, "reasons": [{"direction", "old": DECIDER, "new": DECIDER}]}`. An end
/// of a witness may have `hostEndpoint`. DECIDER is `{"allowed", "text", "policies": [{"policy",
/// "rule"?, "file", "line"}]}`. PEER is `{"namespace", "kind", "name"}`; for a host endpoint
/// `{"kind", "node", "name"}`; for addresses outside `{"from", "to"}`. ALONE is a group of
/// endpoints with the same connections: `{"endpoints": [PEER], "connections": {"from": [{"peers":
/// [PEER], "traffic": TRAFFIC}], "to": […]}}`.
pub fn json(comparison: &DiffReport<'_, '_>, out: &mut OutputSink<'_>) {
    let difference = comparison.difference;
    let PairCounts { gained, lost } = comparison.counts();
    let alone =
        |soles: &[UnmatchedPeers]| soles.iter().map(|sole| comparison.alone(sole)).collect();

    let view = DiffView {
        equal: difference.is_empty(),
        old: comparison.names.old,
        new: comparison.names.new,
        gained,
        lost,
        changes: difference
            .changes
            .iter()
            .map(|change| comparison.change(change))
            .collect(),
        new_endpoints: alone(&difference.sole.new),
        gone_endpoints: alone(&difference.sole.old),
        nodes: comparison
            .nodes
            .map(|nodes| nodes.iter().map(node).collect()),
    };
    JsonWriter::on(out).line(&view);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiffView<'view> {
    equal: bool,
    old: &'view str,
    new: &'view str,
    gained: usize,
    lost: usize,
    changes: Vec<ChangeView<'view>>,
    new_endpoints: Vec<UnmatchedView<'view>>,
    gone_endpoints: Vec<UnmatchedView<'view>>,
    nodes: Option<Vec<DiffNodeView<'view>>>,
}

#[derive(Serialize)]
struct ChangeView<'view> {
    kind: &'static str,
    before: TrafficView<'view>,
    after: TrafficView<'view>,
    gained: Vec<PortionView<'view>>,
    lost: Vec<PortionView<'view>>,
    #[serde(rename = "hostEndpoint", skip_serializing_if = "Option::is_none")]
    host: Option<DiffHostView<'view>>,
    between: Vec<BetweenView<'view>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiffHostView<'view> {
    list: &'view str,
    direction: String,
    allowed_at_once: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at: Vec<DiffPeerView<'view>>,
}

#[derive(Serialize)]
struct BetweenView<'view> {
    from: Vec<DiffPeerView<'view>>,
    to: Vec<DiffPeerView<'view>>,
    families: Vec<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DiffPeerView<'view> {
    Endpoints {
        namespace: &'view str,
        kind: &'view str,
        name: &'view str,
    },
    Host {
        kind: &'view str,
        node: &'view str,
        name: &'view str,
    },
    Outside {
        from: String,
        to: String,
    },
}

#[derive(Serialize)]
struct TrafficView<'view> {
    text: &'view str,
    everything: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocols: Option<Vec<ProtocolView>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProtocolView {
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<String>,
}

#[derive(Serialize)]
struct PortionView<'view> {
    traffic: TrafficView<'view>,
    witness: WitnessView,
    reasons: Vec<ReasonView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WitnessView {
    family: String,
    protocol: String,
    from: EndView,
    to: EndView,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndView {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

#[derive(Serialize)]
struct ReasonView {
    direction: String,
    old: DeciderView,
    new: DeciderView,
}

#[derive(Serialize)]
struct DeciderView {
    allowed: bool,
    text: String,
    policies: Vec<DiffPolicyView>,
}

#[derive(Serialize)]
struct DiffPolicyView {
    policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    file: String,
    line: usize,
}

#[derive(Serialize)]
struct UnmatchedView<'view> {
    endpoints: Vec<DiffPeerView<'view>>,
    connections: ConnectionsView<'view>,
}

#[derive(Serialize)]
struct ConnectionsView<'view> {
    from: Vec<CounterpartView<'view>>,
    to: Vec<CounterpartView<'view>>,
}

#[derive(Serialize)]
struct CounterpartView<'view> {
    peers: Vec<DiffPeerView<'view>>,
    traffic: TrafficView<'view>,
}

#[derive(Serialize)]
struct DiffNodeView<'view> {
    node: &'view str,
    rules: CountView,
    chains: CountView,
    sets: CountView,
    members: CountView,
}

#[derive(Serialize)]
struct CountView {
    added: usize,
    removed: usize,
}

fn node(change: &ScriptChange) -> DiffNodeView<'_> {
    let count = |count: LineCount| CountView {
        added: count.added,
        removed: count.removed,
    };
    let [rules, chains, sets, members] =
        [change.rules, change.chains, change.sets, change.members].map(count);

    DiffNodeView {
        node: &change.node,
        rules,
        chains,
        sets,
        members,
    }
}

impl DiffReport<'_, '_> {
    fn change<'view>(&'view self, change: &'view ConnectionChange<'_>) -> ChangeView<'view> {
        let is_nothing = |id: HeaderSetId| id == crate::packet_space::HeaderSpace::NONE;
        let kind = match (is_nothing(change.before), is_nothing(change.after)) {
            (true, _) => "added",
            (false, true) => "removed",
            (false, false) => "changed",
        };

        ChangeView {
            kind,
            before: self.traffic_view(change.before),
            after: self.traffic_view(change.after),
            gained: change
                .gained
                .iter()
                .map(|portion| self.portion(portion))
                .collect(),
            lost: change
                .lost
                .iter()
                .map(|portion| self.portion(portion))
                .collect(),
            host: change.host.as_ref().map(|at| DiffHostView {
                list: at.way.list().label(),
                direction: at.direction.to_string(),
                allowed_at_once: matches!(at.way, HostListStage::LetThrough(_)),
                at: self.peer_views(&at.near),
            }),
            between: change
                .blocks
                .iter()
                .map(|block| self.between(block))
                .collect(),
        }
    }

    fn between(&self, block: &PeerBlock) -> BetweenView<'_> {
        let families = block.families.iter().map(ToString::to_string).collect();
        BetweenView {
            from: self.peer_views(&block.from),
            to: self.peer_views(&block.to),
            families,
        }
    }

    fn peer_views(&self, peers: &[PeerId]) -> Vec<DiffPeerView<'_>> {
        let known = peers.iter().filter_map(|id| self.difference.peer(*id));
        let endpoints = known.filter_map(|peer| match &peer.identity {
            MatchedIdentity::Endpoints {
                namespace,
                kind,
                name,
            } => Some(DiffPeerView::Endpoints {
                namespace,
                kind,
                name,
            }),
            MatchedIdentity::Host { node, name } => Some(DiffPeerView::Host {
                kind: "HostEndpoint",
                node,
                name,
            }),
            MatchedIdentity::Outside(_) => None,
        });
        let outside = self.difference.ranges(peers).into_iter();

        let outside = outside.map(|range| DiffPeerView::Outside {
            from: range.first_address().to_string(),
            to: range.last_address().to_string(),
        });
        endpoints.chain(outside).collect()
    }

    fn traffic_view(&self, id: HeaderSetId) -> TrafficView<'_> {
        let everything = port_list::is_everything(id, &self.difference.traffic);
        let protocols = (!everything).then(|| {
            let protocols = port_list::describe(id, &self.difference.traffic)
                .into_iter()
                .map(|allowed| ProtocolView {
                    protocol: protocol_text(allowed.protocol),
                    ports: allowed.ports.as_deref().map(ports_text),
                    source_ports: allowed.source_ports.as_deref().map(ports_text),
                    types: allowed.types.as_deref().map(types_text),
                });
            protocols.collect()
        });

        TrafficView {
            text: self.traffic(id),
            everything,
            protocols,
        }
    }

    fn portion<'view>(&'view self, portion: &'view CausedTraffic<'_>) -> PortionView<'view> {
        let witness = &portion.witness;
        let end = |end: &WitnessEnd<'_>| EndView {
            endpoint: end.endpoint.map(crate::inventory::Endpoint::notation),
            host_endpoint: end.host.map(|host| host.name.clone()),
            address: end.address.map(|address| address.to_string()),
        };
        let witness = WitnessView {
            family: witness.family.to_string(),
            protocol: protocol_text(witness.protocol),
            from: end(&witness.from),
            to: end(&witness.to),
            source_port: witness.ports.map(|ports| ports.source),
            port: witness.ports.map(|ports| ports.destination),
            icmp_type: witness.message.map(|message| message.kind),
            icmp_code: witness.message.map(|message| message.code),
        };

        let reasons = portion
            .reasons
            .iter()
            .map(|reason| self.reason(reason))
            .collect();

        PortionView {
            traffic: self.traffic_view(portion.traffic),
            witness,
            reasons,
        }
    }

    fn reason(&self, reason: &ChangeReason<'_>) -> ReasonView {
        let view = |state: DiffState, decider: &DecidingRule<'_>| DeciderView {
            allowed: decider.is_allowed(),
            text: self.decider(state, reason.direction, decider),
            policies: decider
                .places()
                .into_iter()
                .map(|(key, rule, span)| self.policy(state, key.to_string(), rule, span))
                .collect(),
        };

        ReasonView {
            direction: reason.direction.to_string(),
            old: view(DiffState::Old, &reason.old),
            new: view(DiffState::New, &reason.new),
        }
    }

    fn policy(
        &self,
        state: DiffState,
        policy: String,
        rule: Option<usize>,
        span: crate::source::Span,
    ) -> DiffPolicyView {
        let files = self.files.get(state);
        DiffPolicyView {
            policy,
            rule,
            file: files.get(span.file).name.clone(),
            line: files.position(span).line,
        }
    }

    fn alone(&self, sole: &UnmatchedPeers) -> UnmatchedView<'_> {
        let with = |rows: &[(HeaderSetId, Vec<PeerId>)]| {
            let rows = rows.iter().map(|(traffic, peers)| CounterpartView {
                peers: self.peer_views(peers),
                traffic: self.traffic_view(*traffic),
            });
            rows.collect()
        };
        let connections = ConnectionsView {
            from: with(&sole.connections.from),
            to: with(&sole.connections.to),
        };

        UnmatchedView {
            endpoints: self.peer_views(&sole.peers),
            connections,
        }
    }
}
