//! Connectivity as text, Markdown and DOT.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::connectivity::peers::{ConnectivityPeer, PeerIdentity};
use crate::connectivity::port_list::{self, AllowedTraffic};
use crate::connectivity::{Connectivity, PeerConnection};
use crate::net::{PortRange, Protocol};
use crate::output::{DotWriter, MarkdownWriter, OutputSink, TerminalWriter};
use crate::packet_space::HeaderSetId;
use crate::report::connectivity::each_traffic;

/// The output if nothing is allowed.
const NOTHING: &str = "no connection is allowed\n";

/// The number of prefixes or pods of a peer that are printed.
const SHOWN: usize = 4;

/// The texts of peers and of allowed traffic.
struct PeerTexts {
    senders: Vec<String>,
    receivers: Vec<String>,
    allowed: BTreeMap<HeaderSetId, String>,
}

/// Writes a paragraph for each sender, with a line for each receiver.
pub fn text(answer: &Connectivity, out: &mut OutputSink<'_>) {
    if answer.pairs.is_empty() {
        return TerminalWriter::on(out).literal(NOTHING);
    }

    let words = PeerTexts::new(answer);
    let paragraphs = answer.pairs.chunk_by(|left, right| left.from == right.from);
    for (number, pairs) in paragraphs.enumerate() {
        if out.is_closed() {
            return;
        }
        let mut out = TerminalWriter::on(out);
        out.literal(if number > 0 { "\n" } else { "" });

        let from = pairs.first().map_or(0, |pair| pair.from as usize);
        let sender = words.senders.get(from).map_or("", String::as_str);
        let account = answer.senders.get(from).map(account);
        let account = account
            .filter(|account| !sender.ends_with(account))
            .unwrap_or_default();
        out.line(format_args!("{sender}{account}"));

        let rows = || {
            pairs
                .iter()
                .map(|pair| (words.receiver(pair), words.allowed(pair)))
        };
        let width = rows().map(|row| row.0.chars().count()).max().unwrap_or(0);
        rows().for_each(|(to, allowed)| out.indented(1, format_args!("to {to:width$}  {allowed}")));
    }
}

/// Writes a table with a row for each pair.
pub fn markdown(answer: &Connectivity, out: &mut OutputSink<'_>) {
    let mut out = MarkdownWriter::on(out);
    if answer.pairs.is_empty() {
        return out.literal(NOTHING);
    }

    let words = PeerTexts::new(answer);
    out.literal("| from | to | allowed |\n|---|---|---|\n");
    for pair in &answer.pairs {
        if out.is_closed() {
            return;
        }
        out.row(&[
            words.sender(pair),
            words.receiver(pair),
            words.allowed(pair),
        ]);
    }
}

/// Writes a graph for Graphviz, with a node for each peer and an edge for each pair.
pub fn dot(answer: &Connectivity, out: &mut OutputSink<'_>) {
    let words = PeerTexts::new(answer);
    let mut out = DotWriter::on(out);
    out.literal("digraph connectivity {\n  rankdir=LR;\n  node [shape=box];\n");

    let senders = answer.senders.iter().zip(&words.senders);
    let all = senders.chain(answer.receivers.iter().zip(&words.receivers));
    // a peer may be both sender and receiver; a set declares its node once
    let nodes: BTreeSet<(bool, &str)> = all
        .map(|(peer, name)| (peer.is_outside(), name.as_str()))
        .collect();
    for (is_outside, name) in nodes {
        out.literal("  ");
        out.quoted(name);
        out.literal(if is_outside {
            " [shape=ellipse];\n"
        } else {
            ";\n"
        });
    }

    for pair in &answer.pairs {
        if out.is_closed() {
            return;
        }
        let (from, to) = (words.sender(pair), words.receiver(pair));
        let parts = [
            ("  ", from),
            (" -> ", to),
            (" [label=", words.allowed(pair)),
        ];
        for (before, text) in parts {
            out.literal(before);
            out.quoted(text);
        }
        out.literal("];\n");
    }
    out.literal("}\n");
}

impl PeerTexts {
    fn new(answer: &Connectivity) -> Self {
        let say = |id| {
            if id == answer.everything {
                "all".to_owned()
            } else {
                summary(&port_list::describe(id, &answer.traffic))
            }
        };

        Self {
            senders: names(&answer.senders),
            receivers: names(&answer.receivers),
            allowed: each_traffic(answer, say),
        }
    }

    fn sender(&self, pair: &PeerConnection) -> &str {
        self.senders
            .get(pair.from as usize)
            .map_or("", String::as_str)
    }

    fn receiver(&self, pair: &PeerConnection) -> &str {
        self.receivers
            .get(pair.to as usize)
            .map_or("", String::as_str)
    }

    fn allowed(&self, pair: &PeerConnection) -> &str {
        self.allowed.get(&pair.traffic).map_or("", String::as_str)
    }
}

/// Returns the names of peers. Adds the service account if peers have the same name without it.
fn names(peers: &[ConnectivityPeer]) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    peers
        .iter()
        .for_each(|peer| *seen.entry(name(peer)).or_default() += 1);

    let is_shared = |name: &String| seen.get(name).is_some_and(|count| *count > 1);
    let unique = |peer: &ConnectivityPeer| {
        Some(name(peer))
            .filter(|name| !is_shared(name))
            .unwrap_or_else(|| name(peer) + &account(peer))
    };
    peers.iter().map(unique).collect()
}

/// Returns the name of a peer, if possible in the notation of questions.
fn name(peer: &ConnectivityPeer) -> String {
    match &peer.identity {
        PeerIdentity::Endpoints {
            namespace,
            kind,
            name,
            pods,
            ..
        } => {
            let own = match &**kind {
                "Pod" => format!("{namespace}/{name}"),
                "ServiceAccount" => format!("{namespace}/sa:{name}"),
                _ => format!("{namespace}/{kind}/{name}"),
            };
            let pods: Vec<String> = pods.iter().map(ToString::to_string).collect();
            if pods.is_empty() {
                own
            } else {
                format!("{own} (pods {})", first(&pods))
            }
        }
        PeerIdentity::Outside(_) => {
            let prefixes = peer.around().iter().flat_map(|range| range.prefixes());
            let prefixes: Vec<String> = prefixes
                .map(|prefix| format!("{}/{}", prefix.address(), prefix.prefix()))
                .collect();
            format!("outside {}", first(&prefixes))
        }
    }
}

/// Returns the service account of a peer if its name does not contain it.
fn account(peer: &ConnectivityPeer) -> String {
    match &peer.identity {
        PeerIdentity::Endpoints {
            kind,
            service_account: Some(account),
            ..
        } if **kind != *"ServiceAccount" => {
            format!(" (service account {account})")
        }
        PeerIdentity::Endpoints { .. } | PeerIdentity::Outside(_) => String::new(),
    }
}

/// Returns the first of some texts and the number of the others.
fn first(all: &[String]) -> String {
    match all.split_at_checked(SHOWN) {
        Some((shown, rest)) if rest.len() > 1 => {
            format!("{} and {} more", shown.join(", "), rest.len())
        }
        Some(_) | None => all.join(", "),
    }
}

/// Formats allowed traffic: `TCP 80,443; UDP; ICMP 8; protocols 47,50-51`.
fn summary(allowed: &[AllowedTraffic]) -> String {
    let (mut words, mut numbers) = (Vec::new(), Vec::new());
    for one in allowed {
        match one.protocol.has_ports() || [Protocol::ICMP, Protocol::ICMPV6].contains(&one.protocol)
        {
            true => words.push(of_protocol(one)),
            false => numbers.extend(PortRange::new(
                one.protocol.number().into(),
                one.protocol.number().into(),
            )),
        }
    }

    match numbers.len() {
        0 => {}
        1 => words.push(format!("protocol {}", port_list::ports_text(&numbers))),
        250 => words.push("all other protocols".to_owned()),
        _ => words.push(format!("protocols {}", runs(&numbers))),
    }

    words.join("; ")
}

fn runs(numbers: &[PortRange]) -> String {
    port_list::ports_text(&crate::net::merge_ranges(numbers.to_vec()))
}

fn of_protocol(allowed: &AllowedTraffic) -> String {
    let mut words = allowed.protocol.to_string();
    let every: Vec<PortRange> = PortRange::new(1, u16::MAX).into_iter().collect();
    let ports = allowed
        .ports
        .as_ref()
        .filter(|ports| **ports != every)
        .map(|ports| port_list::ports_text(ports));
    let types = allowed.types.as_deref().map(port_list::types_text);

    let sources = allowed
        .source_ports
        .as_deref()
        .map(|ports| format!("from {}", port_list::ports_text(ports)));
    for part in [ports, types, sources].into_iter().flatten() {
        // writing to a string never fails
        let _ = write!(words, " {part}");
    }

    words
}
