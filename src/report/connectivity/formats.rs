//! Connectivity as JSON and CSV.

use serde::Serialize;

use crate::connectivity::Connectivity;
use crate::connectivity::peers::{ConnectivityPeer, PeerIdentity};
use crate::connectivity::port_list::{self, AllowedTraffic};
use crate::output::{CsvWriter, JsonText, JsonWriter, OutputSink};
use crate::report::connectivity::each_traffic;

/// Writes a list of `{"from": PEER, "to": PEER, "allowed": [ALLOWED]}`, one on each line. PEER is
/// `{"namespace", "kind", "name", "serviceAccount"?, "pods"?}` or `{"cidrs": […]}`. It has `pods`
/// only if another peer has the same name. ALLOWED is `{"protocol", "ports"?, "types"?,
/// "sourcePorts"?}`.
pub fn json(answer: &Connectivity, out: &mut OutputSink<'_>) {
    let view = |peer: &ConnectivityPeer| JsonText::serialize(&PeerView::new(peer));
    let senders: Vec<JsonText> = answer.senders.iter().map(view).collect();
    let receivers: Vec<JsonText> = answer.receivers.iter().map(view).collect();
    let allowed = each_traffic(answer, |id| {
        let views = port_list::describe(id, &answer.traffic);
        JsonText::serialize(&views.iter().map(AllowedView::new).collect::<Vec<_>>())
    });

    let mut out = JsonWriter::on(out);
    out.literal("[");
    let mut before = "\n";
    for pair in &answer.pairs {
        let (from, to) = (
            senders.get(pair.from as usize),
            receivers.get(pair.to as usize),
        );
        let (Some(from), Some(to)) = (from, to) else {
            continue;
        };
        let Some(allowed) = allowed.get(&pair.traffic) else {
            continue;
        };
        if out.is_closed() {
            return;
        }
        out.literal(before);
        for (key, value) in [
            ("{\"from\":", from),
            (",\"to\":", to),
            (",\"allowed\":", allowed),
        ] {
            out.literal(key);
            out.text(value);
        }
        out.literal("}");
        before = ",\n";
    }
    out.literal(if answer.pairs.is_empty() {
        "]\n"
    } else {
        "\n]\n"
    });
}

#[derive(Serialize)]
#[serde(untagged)]
enum PeerView<'answer> {
    #[serde(rename_all = "camelCase")]
    Endpoints {
        namespace: &'answer str,
        kind: &'answer str,
        name: &'answer str,
        #[serde(skip_serializing_if = "Option::is_none")]
        service_account: Option<&'answer str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pods: Vec<&'answer str>,
    },
    Outside {
        cidrs: Vec<String>,
    },
}

impl<'answer> PeerView<'answer> {
    fn new(peer: &'answer ConnectivityPeer) -> Self {
        match &peer.identity {
            PeerIdentity::Endpoints {
                namespace,
                kind,
                name,
                service_account,
                pods,
            } => Self::Endpoints {
                namespace,
                kind,
                name,
                service_account: service_account.as_deref(),
                pods: pods.iter().map(|pod| &**pod).collect(),
            },
            PeerIdentity::Outside(ranges) => {
                let prefixes = ranges.iter().flat_map(|range| range.prefixes());
                Self::Outside {
                    cidrs: prefixes
                        .map(|prefix| format!("{}/{}", prefix.address(), prefix.prefix()))
                        .collect(),
                }
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllowedView {
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ports: Option<String>,
}

impl AllowedView {
    fn new(allowed: &AllowedTraffic) -> Self {
        Self {
            protocol: port_list::protocol_text(allowed.protocol),
            ports: allowed.ports.as_deref().map(port_list::ports_text),
            types: allowed.types.as_deref().map(port_list::types_text),
            source_ports: allowed.source_ports.as_deref().map(port_list::ports_text),
        }
    }
}

const COLUMNS: [&str; 16] = [
    "fromNamespace",
    "fromKind",
    "fromName",
    "fromServiceAccount",
    "fromPods",
    "fromCidrs",
    "toNamespace",
    "toKind",
    "toName",
    "toServiceAccount",
    "toPods",
    "toCidrs",
    "protocol",
    "ports",
    "types",
    "sourcePorts",
];

/// Writes the content of [`json`] as a table with one row for each pair and protocol. Spaces
/// separate several pods or prefixes.
pub fn csv(answer: &Connectivity, out: &mut OutputSink<'_>) {
    let senders: Vec<[String; 6]> = answer.senders.iter().map(peer_cells).collect();
    let receivers: Vec<[String; 6]> = answer.receivers.iter().map(peer_cells).collect();
    let allowed = each_traffic(answer, |id| {
        let views = port_list::describe(id, &answer.traffic);
        views.iter().map(AllowedView::new).collect::<Vec<_>>()
    });

    let mut table = CsvWriter::on(out, &COLUMNS);
    for pair in &answer.pairs {
        let (from, to) = (
            senders.get(pair.from as usize),
            receivers.get(pair.to as usize),
        );
        let (Some(from), Some(to)) = (from, to) else {
            continue;
        };
        let Some(allowed) = allowed.get(&pair.traffic) else {
            continue;
        };
        if table.is_closed() {
            return;
        }
        for view in allowed {
            let [ports, types, sources] = [&view.ports, &view.types, &view.source_ports]
                .map(|cell| cell.as_deref().unwrap_or_default());
            let own = [view.protocol.as_str(), ports, types, sources];
            table.record(from.iter().chain(to).map(String::as_str).chain(own));
        }
    }
}

fn peer_cells(peer: &ConnectivityPeer) -> [String; 6] {
    let text = |text: &str| text.to_owned();

    match PeerView::new(peer) {
        PeerView::Endpoints {
            namespace,
            kind,
            name,
            service_account,
            pods,
        } => [
            text(namespace),
            text(kind),
            text(name),
            text(service_account.unwrap_or_default()),
            pods.join(" "),
            String::new(),
        ],
        PeerView::Outside { cidrs } => {
            let [namespace, kind, name, account, pods] = <[String; 5]>::default();
            [namespace, kind, name, account, pods, cidrs.join(" ")]
        }
    }
}
