//! Connectivity for machines.

use std::io::{self, Write};

use serde::Serialize;

use crate::analysis::allowed::{self, Allowed};
use crate::analysis::connectivity::Connectivity;
use crate::analysis::peers::{Identity, Peer};
use crate::answers::connectivity::each_traffic;

/// A list of `{"from": PEER, "to": PEER, "allowed": [ALLOWED]}`, a line each. PEER is `{"namespace", "kind", "name", "serviceAccount"?,
/// "pods"?}` or `{"cidrs": […]}`; `pods` only where another peer is called alike. ALLOWED is `{"protocol", "ports"?, "types"?, "sourcePorts"?}`.
///
/// # Errors
/// When nothing more can be written.
pub fn json(answer: &Connectivity, out: &mut dyn Write) -> io::Result<()> {
    let senders = answer.senders.iter().map(|peer| serde_json::to_string(&PeerView::of(peer))).collect::<Result<Vec<_>, _>>()?;
    let receivers = answer.receivers.iter().map(|peer| serde_json::to_string(&PeerView::of(peer))).collect::<Result<Vec<_>, _>>()?;
    let allowed = each_traffic(answer, |id| {
        let views: Vec<AllowedView> = allowed::describe(id, &answer.traffic).iter().map(AllowedView::of).collect();
        serde_json::to_string(&views).unwrap_or_default()
    });
    out.write_all(b"[")?;
    let mut before = "\n";
    for pair in &answer.pairs {
        let (from, to) = (senders.get(pair.from as usize), receivers.get(pair.to as usize));
        let (Some(from), Some(to), Some(allowed)) = (from, to, allowed.get(&pair.traffic)) else { continue };
        write!(out, "{before}{{\"from\":{from},\"to\":{to},\"allowed\":{allowed}}}")?;
        before = ",\n";
    }
    out.write_all(if answer.pairs.is_empty() { b"]\n" } else { b"\n]\n" })
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
    fn of(peer: &'answer Peer) -> Self {
        match &peer.identity {
            Identity::Endpoints { namespace, kind, name, service_account, pods } => Self::Endpoints {
                namespace,
                kind,
                name,
                service_account: service_account.as_deref(),
                pods: pods.iter().map(|pod| &**pod).collect(),
            },
            Identity::Outside(ranges) => {
                let prefixes = ranges.iter().flat_map(|range| range.prefixes());
                Self::Outside { cidrs: prefixes.map(|prefix| format!("{}/{}", prefix.address(), prefix.prefix())).collect() }
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
    fn of(allowed: &Allowed) -> Self {
        Self {
            protocol: allowed::protocol_text(allowed.protocol),
            ports: allowed.ports.as_deref().map(allowed::ports_text),
            types: allowed.types.as_deref().map(allowed::types_text),
            source_ports: allowed.source_ports.as_deref().map(allowed::ports_text),
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

/// What [`json`] says, as a table: a row for each pair and protocol. Several pods or prefixes have spaces between them.
///
/// # Errors
/// When nothing more can be written.
pub fn csv(answer: &Connectivity, out: &mut dyn Write) -> io::Result<()> {
    let senders: Vec<[String; 6]> = answer.senders.iter().map(peer_cells).collect();
    let receivers: Vec<[String; 6]> = answer.receivers.iter().map(peer_cells).collect();
    let allowed = each_traffic(answer, |id| allowed::describe(id, &answer.traffic).iter().map(AllowedView::of).collect::<Vec<_>>());
    let mut table = csv::Writer::from_writer(out);
    table.write_record(COLUMNS).map_err(unwritten)?;
    for pair in &answer.pairs {
        let (from, to) = (senders.get(pair.from as usize), receivers.get(pair.to as usize));
        let (Some(from), Some(to), Some(allowed)) = (from, to, allowed.get(&pair.traffic)) else { continue };
        for view in allowed {
            let own = [Some(&view.protocol), view.ports.as_ref(), view.types.as_ref(), view.source_ports.as_ref()];
            let own = own.map(|cell| cell.map_or("", String::as_str));
            table.write_record(from.iter().chain(to).map(String::as_str).chain(own)).map_err(unwritten)?;
        }
    }
    table.flush()
}

/// The error of the writer, as it was: a reader that has gone away is told by its kind.
fn unwritten(error: csv::Error) -> io::Error {
    let text = error.to_string();
    if let csv::ErrorKind::Io(error) = error.into_kind() { error } else { io::Error::other(text) }
}

fn peer_cells(peer: &Peer) -> [String; 6] {
    let text = |text: &str| text.to_owned();
    match PeerView::of(peer) {
        PeerView::Endpoints { namespace, kind, name, service_account, pods } => {
            [text(namespace), text(kind), text(name), text(service_account.unwrap_or_default()), pods.join(" "), String::new()]
        }
        PeerView::Outside { cidrs } => {
            let [namespace, kind, name, account, pods] = <[String; 5]>::default();
            [namespace, kind, name, account, pods, cidrs.join(" ")]
        }
    }
}
