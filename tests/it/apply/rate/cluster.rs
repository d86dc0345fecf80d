//! A cluster that changes in many ways, of which most keep what is allowed.

use std::net::IpAddr;
use std::path::PathBuf;

use palisade::apply::TargetBundle;
use palisade::bundle::BundleOnDisk;
use palisade::net::{Protocol, State};
use palisade::observe::ObservedKernel;
use palisade::options::ExtensionSet;
use palisade::packet::{Flow, Hook, Packet, PortPair, ReversePath, Verdict};

use super::traffic::Pair;
use crate::apply::world::kernel_of;
use crate::tools::command;

/// What can be one way or the other; a version of the cluster is a number with a bit for each.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum Knob {
    /// A pod of no traffic is there.
    PodComes,
    /// Two teams that are both allowed swap their addresses.
    AddressesSwap,
    /// A pod has both allowed labels instead of one.
    InBothTeams,
    /// Servers that nothing else selects have a default deny, and an exception for the pods of one
    /// team.
    DefaultDeny,
    /// A policy has more rules, in another order.
    RulesRewritten,
    /// A server is selected by one more policy: it moves to another class.
    ClassMoves,
    /// A list of networks is long.
    ListGrows,
    /// A list has the networks of many lengths.
    ListOfLengths,
    /// The policy of one port is gone.
    PortGone,
    /// A team's label goes to a pod that was denied.
    PodJoins,
}

impl Knob {
    /// Whether it is the other way in a version.
    fn is_set(self, version: u32) -> bool {
        version & 1 << self as u32 != 0
    }
}

pub(super) const KNOBS: u32 = 10;

/// Those that may be seen to by lines in place, or by a swap.
pub(super) const OF_MEMBERS: [Knob; 4] = [
    Knob::PodComes,
    Knob::ListOfLengths,
    Knob::PodJoins,
    Knob::ListGrows,
];

pub(super) const PORTS: [u16; 2] = [9000, 9001];
const MANY: usize = 400;

/// Every client asks every server, in both families, at both ports.
pub(super) fn pairs() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (from, to) in (0..6).flat_map(|from| (0..5).map(move |to| (from, to))) {
        for port in PORTS {
            pairs.extend([0, 1].map(|family| Pair {
                from: address(CLIENTS[family], from),
                to: address(SERVERS[family], to),
                port,
            }));
        }
    }

    pairs
}

/// Who is in the list, and the server whose policy asks for it.
pub(super) const LISTED: [&str; 2] = ["10.65.0.5", "10.66.0.3"];

const CLIENTS: [&str; 2] = ["10.65.0.", "fd00:65::"];
const SERVERS: [&str; 2] = ["10.66.0.", "fd00:66::"];

fn address(prefix: &str, number: usize) -> IpAddr {
    format!("{prefix}{}", number + 1)
        .parse()
        .expect("an address")
}

/// Renders versions with the program, and reads the bundles back.
pub(super) fn render(versions: &[u32]) -> Vec<TargetBundle> {
    let render = |version: &u32| {
        let place = PathBuf::from(format!("/run/p/version-{version}"));
        std::fs::create_dir_all(&place).expect("a folder");
        std::fs::write(place.join("all.yaml"), yaml(*version)).expect("a file");
        let output = command(env!("CARGO_BIN_EXE_palisade"))
            .arg("render")
            .arg(place.join("all.yaml"))
            .arg("-o")
            .arg(place.join("bundle"))
            .output()
            .expect("palisade starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        TargetBundle::read(
            &BundleOnDisk::open(&place.join("bundle")).expect("a bundle"),
            "n1",
            &ExtensionSet::default(),
        )
        .expect("scripts")
    };

    versions.iter().map(render).collect()
}

/// Whether a bundle lets each pair pass; the kernel's own chains accept.
pub(super) fn allowed(wanted: &TargetBundle, pairs: &[Pair]) -> Vec<bool> {
    let TargetBundle { desired, .. } = wanted;
    let kernel = kernel_of(&ObservedKernel {
        sets: desired.sets.clone(),
        tables: desired.tables.clone(),
        ..ObservedKernel::default()
    });
    let packet = |pair: &Pair| {
        let ports = Some(PortPair {
            source: 1024,
            destination: pair.port,
        });
        let flow = Flow {
            source: pair.from,
            destination: pair.to,
            protocol: Protocol::UDP,
            ports,
            icmp: None,
        };
        let hook = Hook::Forward {
            arrives: "cali0".to_owned(),
            leaves: "cali1".to_owned(),
        };
        Packet {
            flow,
            original: None,
            hook,
            state: State::New,
            reverse_path: ReversePath::Arriving,
        }
    };

    pairs
        .iter()
        .map(|pair| kernel.run(&packet(pair)).verdict != Verdict::Drop)
        .collect()
}

/// Policies of clients 0 to 5 and servers 0 to 4.
///
/// Client 0 is of team a, 1 and 2 of teams a and b in turn; 3 may join; 4 is in a list of networks;
/// 5 is denied by all.
fn yaml(version: u32) -> String {
    let is = |knob: Knob| knob.is_set(version);
    let mut parts = vec![
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n".to_owned(),
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n".to_owned(),
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: shop}\n"
            .to_owned(),
    ];
    parts.extend(clients(version));

    if is(Knob::PodComes) {
        parts.push(pod("guest", "team-a: x", CLIENTS, 8));
    }

    for server in 0..5 {
        parts.push(pod(
            &format!("server-{server}"),
            &format!("server: s{server}"),
            SERVERS,
            server,
        ));
    }

    let teams = ["has(team-a)", "has(team-b)"];
    let rules: Vec<String> = teams
        .iter()
        .map(|team| rule(&format!("selector: {team}"), "[9000, 9001]"))
        .collect();
    parts.push(policy("teams", "server in {'s0', 's1'}", 100, &rules));

    if is(Knob::ClassMoves) {
        parts.push(policy(
            "more",
            "server in {'s1', 's2'}",
            50,
            &[rule("selector: has(team-b)", "[9001]")],
        ));
    }

    let mut listed = vec![
        rule("selector: kind == 'listed'", "[9000]"),
        rule("selector: has(team-a)", "[9001]"),
    ];

    if is(Knob::RulesRewritten) {
        listed.insert(0, rule("nets: [198.18.0.0/15]", "[7]"));
        listed.rotate_left(1);
    }

    parts.push(policy("listed", "server == 's2'", 100, &listed));
    let port = if is(Knob::PortGone) {
        "[9000]"
    } else {
        "[9000, 9001]"
    };

    parts.push(policy(
        "port",
        "server == 's3'",
        100,
        &[rule("selector: has(team-a) || has(team-b)", port)],
    ));

    if is(Knob::DefaultDeny) {
        parts.push(policy(
            "deny",
            "server == 's4'",
            200,
            &[rule("selector: has(team-a) || has(team-b)", "[9000, 9001]")],
        ));
    }

    parts.push(list(
        if is(Knob::ListGrows) { MANY } else { 1 },
        is(Knob::ListOfLengths),
    ));
    parts.join("---\n")
}

/// The clients that are always there.
fn clients(version: u32) -> Vec<String> {
    let is = |knob: Knob| knob.is_set(version);
    let swapped = is(Knob::AddressesSwap);
    let pair = if swapped { [2, 1] } else { [1, 2] };

    let both = if is(Knob::InBothTeams) {
        "team-a: x, team-b: x"
    } else {
        "team-a: x"
    };
    let joins = if is(Knob::PodJoins) {
        "team-a: x"
    } else {
        "team: none"
    };

    let clients = [
        (0, both),
        (pair[0], "team-a: x"),
        (pair[1], "team-b: x"),
        (3, joins),
        (4, "team: none"),
        (5, "team: none"),
    ];
    let names = ["steady", "left", "right", "joins", "listed", "denied"];

    clients
        .iter()
        .zip(names)
        .map(|((number, labels), name)| pod(name, labels, CLIENTS, *number))
        .collect()
}

fn pod(name: &str, labels: &str, [v4, v6]: [&str; 2], number: usize) -> String {
    let [v4, v6] = [address(v4, number), address(v6, number)];
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: \
         {{{labels}}}}}\nspec: {{nodeName: n1}}\nstatus: {{podIPs: [{{ip: {v4}}}, {{ip: \
         \"{v6}\"}}]}}\n"
    )
}

fn policy(name: &str, selector: &str, order: u32, rules: &[String]) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec:\n  order: {order}\n  selector: {selector}\n  types: [Ingress]\n  \
         ingress:\n{}",
        rules.concat()
    )
}

fn rule(source: &str, ports: &str) -> String {
    format!(
        "    - action: Allow\n      protocol: UDP\n      source: {{{source}}}\n      destination: \
         {{ports: {ports}}}\n"
    )
}

/// The addresses of client 4, and networks of nobody.
fn list(many: usize, of_lengths: bool) -> String {
    let mut nets = vec!["10.65.0.5/32".to_owned(), "fd00:65::5/128".to_owned()];
    nets.extend((0..many).map(|number| format!("172.20.{}.{}/32", number / 250, number % 250)));
    if of_lengths {
        nets.extend((16..32).map(|length| format!("172.16.0.0/{length}")));
        nets.extend((64..96).map(|length| format!("fd00:77::/{length}")));
    }

    let nets: String = nets.iter().map(|net| format!("    - {net}\n")).collect();
    format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {{name: listed, namespace: \
         shop, labels: {{kind: listed}}}}\nspec:\n  nets:\n{nets}"
    )
}
