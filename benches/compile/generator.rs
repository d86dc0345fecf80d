//! Synthetic clusters: the same shape and seed give the same bytes, as a user would give them.
//!
//! In: a [`Shape`]. Out: the inventory as the JSON list that `kubectl get … -o json` prints, one
//! object a line, and the policies as YAML ([`policies`](super::policies)). Absent: files.

use std::io::{self, Write};

use super::groups::Groups;
use super::random::Random;

/// A cluster by its numbers.
pub(super) struct Shape {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    pub(super) namespaces: usize,
    /// Service accounts in each namespace.
    pub(super) accounts: usize,
    /// Different values of the label `app` in each namespace.
    pub(super) apps: usize,
    pub(super) pods: usize,
    pub(super) policies: Policies,
}

/// What policy there is.
pub(super) enum Policies {
    /// Calico policies for service accounts and apps of one namespace, one in ten of Kubernetes,
    /// one in ten global.
    Mixed {
        policies: usize,
        rules: usize,
        peers: Peers,
    },
    /// A tier of many rules that pass, nearly each with a selector of its own, and mixed policies
    /// in the default tier.
    Passing {
        policies: usize,
        rules: usize,
        scopes: Scopes,
        below: usize,
    },
    /// Kubernetes policies, three in every namespace: deny everything, and two pairs of apps that
    /// may talk.
    ThreePerNamespace,
    /// Kubernetes policies that all select all pods and say the same.
    Same { policies: usize },
}

/// Which endpoints the policies of a tier apply to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scopes {
    /// All of them to all.
    All,
    /// A third to all, a third to one environment of three, a third to one label `tier` of four.
    Many,
}

/// How many rules of a hundred have which peer; the rest have none, only ports.
#[derive(Clone, Copy)]
pub(super) struct Peers {
    /// Service accounts by name.
    pub(super) account_names: usize,
    /// Service accounts by label.
    pub(super) account_labels: usize,
    /// Pods by label.
    pub(super) pod_labels: usize,
    /// Namespaces by label.
    pub(super) namespace_labels: usize,
    /// Prefixes.
    pub(super) prefixes: usize,
}

/// Values of labels.
pub(super) const ENVIRONMENTS: [&str; 3] = ["prod", "staging", "dev"];
pub(super) const TIERS: [&str; 4] = ["web", "api", "worker", "data"];
pub(super) const TEAMS: usize = 50;
pub(super) const ROLES: usize = 100;

/// A pod as `kubectl` prints it, with places to fill in.
const POD: &str = include_str!("pod.json");

/// Name of a node.
pub(super) fn node_name(number: usize) -> String {
    format!("node-{number:05}")
}

/// Writes nodes, namespaces, service accounts and pods.
pub(super) fn inventory(shape: &Shape, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, r#"{{"apiVersion":"v1","items":["#)?;
    for node in 0..shape.nodes {
        write_node(node, out)?;
    }
    for namespace in 0..shape.namespaces {
        write_namespace(namespace, out)?;
        for account in 0..shape.accounts {
            write_account(namespace, account, shape, out)?;
        }
    }
    write_pods(shape, out)?;
    writeln!(
        out,
        r#"],"kind":"List","metadata":{{"resourceVersion":""}}}}"#
    )
}

fn write_node(number: usize, out: &mut impl Write) -> io::Result<()> {
    let (name, v4, v6) = (
        node_name(number),
        format!("10.{}.{}.0/24", number / 256, number % 256),
        format!("fd00:10:{number:x}::/64"),
    );
    let spec = format!(r#"{{"podCIDR":"{v4}","podCIDRs":["{v4}","{v6}"]}}"#);
    let labels = format!(r#"{{"kubernetes.io/hostname":"{name}","kubernetes.io/os":"linux"}}"#);
    writeln!(
        out,
        r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"labels":{labels},"name":"{name}"}},"spec":{spec}}},"#
    )
}

fn write_namespace(number: usize, out: &mut impl Write) -> io::Result<()> {
    let (env, team) = (environment(number), number % TEAMS);
    let labels = format!(
        r#"{{"env":"{env}","kubernetes.io/metadata.name":"ns-{number}","team":"team-{team}"}}"#
    );
    writeln!(
        out,
        r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"labels":{labels},"name":"ns-{number}"}},"status":{{"phase":"Active"}}}},"#
    )
}

fn write_account(
    namespace: usize,
    number: usize,
    shape: &Shape,
    out: &mut impl Write,
) -> io::Result<()> {
    let role = (namespace * shape.accounts + number) % ROLES;
    let labels = format!(r#"{{"role":"role-{role}","tier":"{}"}}"#, tier(number));
    let metadata =
        format!(r#"{{"labels":{labels},"name":"sa-{number}","namespace":"ns-{namespace}"}}"#);
    writeln!(
        out,
        r#"{{"apiVersion":"v1","kind":"ServiceAccount","metadata":{metadata}}},"#
    )
}

fn write_pods(shape: &Shape, out: &mut impl Write) -> io::Result<()> {
    let template = Template::of(POD);
    let groups = match shape.policies {
        Policies::Passing { .. } => Groups::of_production(shape.seed),
        Policies::Mixed { .. } | Policies::ThreePerNamespace | Policies::Same { .. } => {
            Groups::none()
        }
    };

    let places = Random::new(shape.seed).permutation(shape.pods);
    for (number, place) in places.into_iter().enumerate() {
        let pod = Pod {
            number,
            place,
            shape,
            groups: &groups,
        };
        template.write(out, |name, out| pod.write_field(name, out))?;
        writeln!(out, "{}", if number + 1 == shape.pods { "" } else { "," })?;
    }

    Ok(())
}

/// One pod. Namespaces, apps and accounts go round; where it runs is a shuffled `place`, so that
/// nodes are evenly full.
struct Pod<'shape> {
    number: usize,
    place: usize,
    shape: &'shape Shape,
    groups: &'shape Groups,
}

impl Pod<'_> {
    fn write_field(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        let Shape {
            nodes,
            namespaces,
            accounts,
            apps,
            ..
        } = self.shape;
        let (namespace, turn) = (self.number % namespaces, self.number / namespaces);
        let (node, slot) = (self.place % nodes, self.place / nodes + 2);

        match name {
            "account" => write!(out, "sa-{}", turn % accounts),
            "app" => write!(out, "app-{}", turn % apps),
            "env" => write!(out, "{}", environment(namespace + turn)),
            "groups" => self.groups.write_labels(self.number, out),
            "hash" => write!(out, "{:08x}", namespace * 31 + turn % apps),
            "ipv4" => write!(out, "10.{}.{}.{slot}", node / 256, node % 256),
            "ipv6" => write!(out, "fd00:10:{node:x}::{slot:x}"),
            "namespace" => write!(out, "ns-{namespace}"),
            "node" => write!(out, "{}", node_name(node)),
            "number" => write!(out, "{}", self.number),
            "tier" => write!(out, "{}", tier(turn)),
            "uid" => write!(out, "{:012x}", self.number),
            "version" => write!(out, "{}", self.number % 7),
            unknown => Err(io::Error::other(format!(
                "the template asks for `{unknown}`"
            ))),
        }
    }
}

fn environment(number: usize) -> &'static str {
    ENVIRONMENTS
        .iter()
        .cycle()
        .nth(number % ENVIRONMENTS.len())
        .unwrap_or(&"")
}

fn tier(number: usize) -> &'static str {
    TIERS
        .iter()
        .cycle()
        .nth(number % TIERS.len())
        .unwrap_or(&"")
}

/// A text with places to fill in, `${name}`; a line each in the source, one line in the output.
struct Template {
    /// Text and the name of the place behind it.
    parts: Vec<(String, Option<String>)>,
}

impl Template {
    fn of(source: &str) -> Self {
        let text: String = source.lines().map(str::trim_start).collect();
        let mut pieces = text.split("${");
        let first = pieces.next().unwrap_or_default().to_owned();
        let mut parts = vec![(first, None)];

        for piece in pieces {
            let (name, behind) = piece.split_once('}').unwrap_or((piece, ""));
            if let Some(last) = parts.last_mut() {
                last.1 = Some(name.to_owned());
            }
            parts.push((behind.to_owned(), None));
        }

        Self { parts }
    }

    fn write<Out: Write>(
        &self,
        out: &mut Out,
        mut fill: impl FnMut(&str, &mut Out) -> io::Result<()>,
    ) -> io::Result<()> {
        for (text, name) in &self.parts {
            out.write_all(text.as_bytes())?;
            name.as_deref().map_or(Ok(()), |name| fill(name, out))?;
        }
        Ok(())
    }
}
