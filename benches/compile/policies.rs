//! Policies of synthetic clusters, as YAML.

use std::io::{self, Write};

use super::generator::{ENVIRONMENTS, Peers, Policies, ROLES, Scopes, Shape, TEAMS, TIERS};
use super::groups::Groups;
use super::random::Random;

/// Of 19,992 rules that large deployments were seen to have, how many name a set.
const RULES_WITH_SET_PER_MILLE: usize = 242;

/// Rules of the passing tier that do not pass: these deny, and one allows.
const DENIES: usize = 10;

/// Peers of the policies below the passing tier: small sets, so that the sets are those of the
/// passing tier.
const SMALL_PEERS: Peers = Peers {
    account_names: 60,
    account_labels: 20,
    pod_labels: 0,
    namespace_labels: 0,
    prefixes: 15,
};

/// Writes all policies of a shape.
pub(super) fn write(shape: &Shape, out: &mut impl Write) -> io::Result<()> {
    match shape.policies {
        Policies::Mixed {
            policies,
            rules,
            peers,
        } => mixed(shape, policies, rules, peers, out),
        Policies::Passing {
            policies,
            rules,
            scopes,
            below,
        } => {
            passing(shape, policies, rules, scopes, out)?;
            mixed(shape, below, 4, SMALL_PEERS, out)
        }
        Policies::ThreePerNamespace => {
            (0..shape.namespaces).try_for_each(|namespace| three(namespace, out))
        }
        Policies::Same { policies } => (0..policies)
            .try_for_each(|number| pair("ns-0", &format!("same-{number}"), "app-0", "app-0", out)),
    }
}

/// The head of a Calico policy.
struct Head {
    kind: &'static str,
    name: String,
    /// Lines of the metadata and of the spec.
    metadata: String,
    spec: String,
}

fn calico(
    head: &Head,
    ingress: &[String],
    egress: &[String],
    out: &mut impl Write,
) -> io::Result<()> {
    let Head {
        kind,
        name,
        metadata,
        spec,
    } = head;

    write!(
        out,
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata:\n  name: \
         {name}\n{metadata}spec:\n{spec}"
    )?;
    writeln!(
        out,
        "  types: [Ingress{}]",
        if egress.is_empty() { "" } else { ", Egress" }
    )?;

    for (direction, rules) in [("ingress", ingress), ("egress", egress)] {
        if !rules.is_empty() {
            write!(out, "  {direction}:\n{}", rules.concat())?;
        }
    }

    Ok(())
}

/// An ingress rule with a source, or an egress rule with a destination; `peer` are lines.
fn rule(action: &str, is_ingress: bool, peer: &str, port: usize) -> String {
    let ports = format!("        ports: [{port}]\n");
    let sides = match (is_ingress, peer.is_empty()) {
        (true, false) => format!("      source:\n{peer}      destination:\n{ports}"),
        (true, true) | (false, _) => format!("      destination:\n{peer}{ports}"),
    };
    format!("    - action: {action}\n      protocol: TCP\n{sides}")
}

/// A tier in front that all pods pass through, then policies of namespaces, and global ones by the
/// role of accounts.
fn mixed(
    shape: &Shape,
    policies: usize,
    rules: usize,
    peers: Peers,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut random = Random::new(shape.seed ^ 1);
    write!(
        out,
        "---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: security\nspec:\n  \
         order: 200\n  defaultAction: Pass\n"
    )?;

    for number in 0..policies.min(3) {
        let spec = format!("  tier: security\n  order: {number}\n  selector: all()\n");
        let head = Head {
            kind: "GlobalNetworkPolicy",
            name: format!("security.quarantine-{number}"),
            metadata: String::new(),
            spec,
        };
        calico(
            &head,
            &[rule("Deny", true, &prefix(&mut random), 22)],
            &[],
            out,
        )?;
    }

    for number in 3..policies {
        let namespace = number % shape.namespaces;
        match number % 10 {
            0 => global(number, shape, rules, peers, &mut random, out)?,
            1 => kubernetes(&format!("ns-{namespace}"), number, shape, &mut random, out)?,
            _ => namespaced(namespace, number, shape, rules, peers, &mut random, out)?,
        }
    }

    Ok(())
}

fn global(
    number: usize,
    shape: &Shape,
    rules: usize,
    peers: Peers,
    random: &mut Random,
    out: &mut impl Write,
) -> io::Result<()> {
    let spec = format!(
        "  order: {}\n  serviceAccountSelector: role == 'role-{}'\n",
        500 + number % 500,
        random.below(ROLES)
    );
    let head = Head {
        kind: "GlobalNetworkPolicy",
        name: format!("global-{number}"),
        metadata: String::new(),
        spec,
    };
    // names of accounts would be those of every namespace here
    let peers = Peers {
        account_names: 0,
        account_labels: peers.account_names + peers.account_labels,
        ..peers
    };

    let rules: Vec<String> = (0..rules)
        .map(|_| rule("Allow", true, &peer(shape, &peers, random), port(random)))
        .collect();
    calico(&head, &rules, &[], out)
}

fn namespaced(
    namespace: usize,
    number: usize,
    shape: &Shape,
    rules: usize,
    peers: Peers,
    random: &mut Random,
    out: &mut impl Write,
) -> io::Result<()> {
    let applies = match number % 2 {
        0 => format!(
            "serviceAccountSelector: projectcalico.org/name == 'sa-{}'",
            random.below(shape.accounts)
        ),
        _ => format!("selector: app == 'app-{}'", random.below(shape.apps)),
    };
    let metadata = format!("  namespace: ns-{namespace}\n");
    let head = Head {
        kind: "NetworkPolicy",
        name: format!("policy-{number}"),
        metadata,
        spec: format!("  order: {}\n  {applies}\n", number % 500),
    };
    let mut side = |is_ingress, count| -> Vec<String> {
        (0..count)
            .map(|_| {
                rule(
                    "Allow",
                    is_ingress,
                    &peer(shape, &peers, random),
                    port(random),
                )
            })
            .collect()
    };
    let (ingress, egress) = (side(true, rules.div_ceil(2)), side(false, rules / 2));

    calico(&head, &ingress, &egress, out)
}

/// A Kubernetes policy between two apps of a namespace.
fn kubernetes(
    namespace: &str,
    number: usize,
    shape: &Shape,
    random: &mut Random,
    out: &mut impl Write,
) -> io::Result<()> {
    let apps = [random.below(shape.apps), random.below(shape.apps)].map(|app| format!("app-{app}"));
    let [to, from] = &apps;
    pair(namespace, &format!("pair-{number}"), to, from, out)
}

fn port(random: &mut Random) -> usize {
    [80, 443, 8080, 9090, 5432]
        .get(random.below(8))
        .copied()
        .unwrap_or(1024 + random.below(4096))
}

/// Lines of one side of a rule.
fn peer(shape: &Shape, peers: &Peers, random: &mut Random) -> String {
    let Peers {
        account_names,
        account_labels,
        pod_labels,
        namespace_labels,
        prefixes,
    } = *peers;
    let mut lot = random.below(100);

    let mut drawn = |share: usize| {
        let hit = lot < share;
        lot = lot.wrapping_sub(share);
        hit
    };
    if drawn(account_names) {
        let names: std::collections::BTreeSet<usize> =
            [random.below(shape.accounts), random.below(shape.accounts)].into();
        let names: Vec<String> = names.iter().map(|number| format!("sa-{number}")).collect();
        format!(
            "        serviceAccounts:\n          names: [{}]\n",
            names.join(", ")
        )
    } else if drawn(account_labels) {
        let place = format!(
            "        namespaceSelector: team == 'team-{}'\n",
            random.below(TEAMS)
        );
        format!(
            "{place}        serviceAccounts:\n          selector: role == 'role-{}'\n",
            random.below(ROLES)
        )
    } else if drawn(pod_labels) {
        let env = ENVIRONMENTS
            .get(random.below(ENVIRONMENTS.len()))
            .unwrap_or(&"");
        format!(
            "        selector: app == 'app-{}' && env != '{env}'\n",
            random.below(shape.apps)
        )
    } else if drawn(namespace_labels) {
        format!(
            "        namespaceSelector: team == 'team-{}'\n",
            random.below(TEAMS)
        )
    } else if drawn(prefixes) {
        prefix(random)
    } else {
        String::new()
    }
}

fn prefix(random: &mut Random) -> String {
    format!(
        "        nets: [172.{}.{}.0/24]\n",
        16 + random.below(16),
        random.below(256)
    )
}

/// The tier of a large deployment: nearly all rules pass, and nearly a quarter of them name a set.
fn passing(
    shape: &Shape,
    policies: usize,
    rules: usize,
    scopes: Scopes,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut random = Random::new(shape.seed ^ 2);
    write!(
        out,
        "---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: platform\nspec:\n  \
         order: 100\n"
    )?;

    let selectors = Groups::of_production(shape.seed).selectors();
    let order = random.permutation(policies * rules);
    let lots: Vec<Passing> = order
        .iter()
        .map(|lot| Passing::of(*lot, policies * rules, &selectors, &mut random))
        .collect();
    for (number, own) in lots.chunks(rules).enumerate() {
        let (ingress, egress) = own.split_at(own.len() / 2);
        let side = |is_ingress, lots: &[Passing]| -> Vec<String> {
            lots.iter().map(|lot| lot.rule(is_ingress)).collect()
        };
        let (ingress, egress) = (side(true, ingress), side(false, egress));
        let spec = format!(
            "  tier: platform\n  order: {number}\n  selector: {}\n",
            scope(number, scopes)
        );
        let head = Head {
            kind: "GlobalNetworkPolicy",
            name: format!("platform.policy-{number}"),
            metadata: String::new(),
            spec,
        };
        calico(&head, &ingress, &egress, out)?;
    }

    Ok(())
}

/// A rule of the passing tier, of which not yet is known in which direction it will stand.
struct Passing {
    action: &'static str,
    peer: String,
    port: usize,
}

impl Passing {
    /// The rule that has drawn this lot of so many.
    fn of(lot: usize, lots: usize, selectors: &[String], random: &mut Random) -> Self {
        let by_selector = selectors
            .get(lot % selectors.len())
            .filter(|_| lot < lots * RULES_WITH_SET_PER_MILLE / 1000);
        let peer = by_selector.map_or_else(
            || prefix(random),
            |selector| format!("        selector: {selector}\n"),
        );
        let action = match lots - 1 - lot {
            0 => "Allow",
            behind if behind <= DENIES => "Deny",
            _ => "Pass",
        };

        Self {
            action,
            peer,
            port: port(random),
        }
    }

    fn rule(&self, is_ingress: bool) -> String {
        rule(self.action, is_ingress, &self.peer, self.port)
    }
}

fn scope(number: usize, scopes: Scopes) -> String {
    let word = |words: &[&str]| {
        words
            .get(number / 3 % words.len())
            .copied()
            .unwrap_or_default()
            .to_owned()
    };

    match (scopes, number % 3) {
        (Scopes::Many, 1) => format!("env == '{}'", word(&ENVIRONMENTS)),
        (Scopes::Many, 2) => format!("tier == '{}'", word(&TIERS)),
        (Scopes::Many | Scopes::All, _) => "all()".to_owned(),
    }
}

/// What Antrea's benchmark has in each of its small namespaces.
fn three(namespace: usize, out: &mut impl Write) -> io::Result<()> {
    let name = format!("ns-{namespace}");
    write!(
        out,
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: \
         default-deny\n  namespace: {name}\n"
    )?;
    write!(
        out,
        "spec:\n  podSelector: {{}}\n  policyTypes:\n    - Ingress\n"
    )?;
    pair(&name, "first", "app-0", "app-1", out)?;

    pair(&name, "second", "app-2", "app-3", out)
}

/// A Kubernetes policy that lets one app talk to another.
fn pair(namespace: &str, name: &str, to: &str, from: &str, out: &mut impl Write) -> io::Result<()> {
    let metadata = format!("metadata:\n  name: {name}\n  namespace: {namespace}\n");
    write!(
        out,
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n{metadata}spec:\n"
    )?;
    write!(
        out,
        "  podSelector:\n    matchLabels:\n      app: {to}\n  policyTypes:\n    - Ingress\n  \
         ingress:\n    - from:\n"
    )?;
    write!(
        out,
        "        - podSelector:\n            matchLabels:\n              app: {from}\n"
    )?;

    write!(
        out,
        "      ports:\n        - port: 8080\n          protocol: TCP\n"
    )
}
