//! The kernel does what the policies say: the examples and the golden bundles, in real kernels, on
//! both builds of iptables.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use palisade::diagnostic::Diagnostics;
use palisade::inventory::Inventory;
use palisade::policy::StagedPolicies;
use palisade::source::SourceFiles;

use crate::golden;
use crate::kernel::{self, Build, Cluster, Host, Node, Probe, Question, Scripts};
use crate::palisade::{files_below, root, run};

pub(crate) const BUILDS: [Build; 2] = [Build::Legacy, Build::Nft];

#[test]
fn the_three_policies_of_the_request_hold() {
    Example::load("examples/service-accounts").check();
}

#[test]
fn the_online_boutique_holds() {
    Example::load("examples/online-boutique").check();
}

#[test]
fn stock_tools_take_every_golden_bundle() {
    if kernel::skipped() {
        return;
    }

    for case in golden::cases() {
        for scripts in node_names(&case.join("bundle"))
            .iter()
            .map(|node| scripts(&case.join("bundle"), node))
        {
            for build in BUILDS {
                let taken = kernel::restores(&scripts, build);
                assert!(
                    taken.is_ok(),
                    "{} {build:?}: {}",
                    case.display(),
                    taken.unwrap_err()
                );
            }
        }
    }
}

/// Names of the nodes of a bundle.
pub(crate) fn node_names(bundle: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(bundle.join("nodes")) else {
        return Vec::new();
    };

    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect()
}

/// A node's scripts; what stands in the raw and mangle tables follows the filter table of the same
/// family.
pub(crate) fn scripts(bundle: &Path, node: &str) -> Scripts {
    let read = |name: &str| {
        fs::read_to_string(bundle.join("nodes").join(node).join(name)).expect("a script")
    };
    let early = |name: &str| {
        fs::read_to_string(bundle.join("nodes").join(node).join(name)).unwrap_or_default()
    };
    let tables = |family: &str| {
        let early = ["raw", "mangle"].map(|table| early(&format!("{table}.{family}.rules")));
        format!(
            "{}{}",
            early.concat(),
            read(&format!("filter.{family}.rules"))
        )
    };

    Scripts {
        sets: read("sets.ipset"),
        v4: tables("v4"),
        v6: tables("v6"),
    }
}

/// An example: its cluster with the scripts that palisade renders, and everything that can be asked
/// with its answer.
struct Example {
    cluster: Cluster,
    questions: Vec<(Question, bool)>,
}

impl Example {
    fn load(folder: &str) -> Self {
        let expected = Expected::read(
            &fs::read_to_string(root().join(folder).join("expected.txt")).expect("expected.txt"),
        );
        let bundle = tempfile::tempdir().expect("a directory");
        let place = bundle.path().join("bundle");
        let words = [
            "render".to_owned(),
            folder.to_owned(),
            "--out".to_owned(),
            place.display().to_string(),
        ];

        let outcome = run(&root(), &words);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let cluster = cluster(
            &inventory(&root().join(folder)),
            &node_addresses(&root().join(folder)),
            &expected,
            &place,
        );

        let questions = expected.questions(&cluster);
        Self { cluster, questions }
    }

    fn check(&self) {
        let allowed = self
            .questions
            .iter()
            .filter(|(_, allowed)| *allowed)
            .count();

        assert!(
            allowed > 100 && allowed < self.questions.len(),
            "{allowed} of {} allowed",
            self.questions.len()
        );
        BUILDS
            .iter()
            .for_each(|build| kernel::check(&self.cluster, *build, &self.questions));
    }
}

/// What `expected.txt` says.
struct Expected {
    allowed: Vec<(String, String, String)>,
    outside: Vec<Host>,
    probes: Vec<(String, Probe)>,
}

impl Expected {
    fn read(text: &str) -> Self {
        let mut expected = Self {
            allowed: Vec::new(),
            outside: Vec::new(),
            probes: vec![("ICMP/echo".to_owned(), Probe::Icmp)],
        };

        for line in text.lines() {
            match line.strip_prefix('#') {
                Some(remark) => expected.heading(remark.trim()),
                None => expected.allowed.extend(connection(line)),
            }
        }

        expected
    }

    /// Lines of the heading that say which ports are asked and who is outside.
    fn heading(&mut self, remark: &str) {
        if let Some((name, addresses)) = remark
            .split_once(" is ")
            .filter(|(name, _)| name.starts_with("outside/"))
        {
            let addresses = addresses
                .split(" and ")
                .map(|address| address.parse().expect("an address"))
                .collect();
            self.outside.push(Host {
                name: name.to_owned(),
                addresses,
            });
        }

        for part in remark
            .split("; ")
            .filter(|part| remark.ends_with("ICMP echo") && !part.starts_with("ICMP"))
        {
            let (protocol, ports) = part.split_once(' ').expect("a protocol and its ports");
            self.probes
                .extend(ports.split(", ").map(|port| probe(protocol, port)));
        }
    }

    /// Every pair with a pod at one end, by every probe, in both families.
    fn questions(&self, cluster: &Cluster) -> Vec<(Question, bool)> {
        let ends = ends(cluster);
        let pods: Vec<&String> = cluster
            .nodes
            .iter()
            .flat_map(|node| node.pods.iter().map(|pod| &pod.name))
            .collect();
        let pairs = ends
            .iter()
            .flat_map(|from| ends.iter().map(move |to| (&from.0, to)));

        let asked = pairs
            .filter(|(from, to)| **from != to.0 && (pods.contains(from) || pods.contains(&&to.0)));
        asked
            .flat_map(|(from, (to, addresses))| self.between(from, to, addresses))
            .collect()
    }

    /// Every probe of a pair.
    fn between(&self, from: &str, to: &str, addresses: &[IpAddr]) -> Vec<(Question, bool)> {
        let allowed = |word: &str| {
            self.allowed.iter().any(|known| {
                (known.0.as_str(), known.1.as_str(), known.2.as_str()) == (from, to, word)
            })
        };
        let question = |to: &IpAddr, probe| Question {
            from: from.to_owned(),
            to: *to,
            probe,
            source_port: None,
        };

        let probes = self
            .probes
            .iter()
            .map(|(word, probe)| (*probe, allowed(word)));
        probes
            .flat_map(|(probe, allowed)| {
                addresses
                    .iter()
                    .map(move |to| (question(to, probe), allowed))
            })
            .collect()
    }
}

fn connection(line: &str) -> Option<(String, String, String)> {
    let (from, rest) = line.split_once(" -> ")?;
    let (to, what) = rest.split_once(" : ")?;
    Some((from.to_owned(), to.to_owned(), what.to_owned()))
}

fn probe(protocol: &str, port: &str) -> (String, Probe) {
    let number = port.parse().expect("a port");
    let probe = match protocol {
        "TCP" => Probe::Tcp(number),
        "UDP" => Probe::Udp(number),
        other => unreachable!("{other}"),
    };
    (format!("{protocol}/{port}"), probe)
}

/// Everyone who can ask or be asked, with addresses.
fn ends(cluster: &Cluster) -> Vec<(String, Vec<IpAddr>)> {
    let pods = cluster
        .nodes
        .iter()
        .flat_map(|node| &node.pods)
        .chain(&cluster.outside);

    let hosts = pods.map(|host| (host.name.clone(), host.addresses.clone()));
    hosts
        .chain(
            cluster
                .nodes
                .iter()
                .map(|node| (node.name.clone(), node.addresses.clone())),
        )
        .collect()
}

/// The inventory as palisade reads it.
fn inventory(folder: &Path) -> Inventory {
    let mut files = SourceFiles::default();
    for (name, text) in files_below(folder)
        .into_iter()
        .filter(|(name, _)| name.ends_with(".yaml"))
    {
        files.add(name, text).expect("a small file");
    }
    palisade::read(
        &files,
        StagedPolicies::Proposed,
        &mut Diagnostics::default(),
    )
    .inventory
}

/// The nodes' own addresses, which palisade does not read.
fn node_addresses(folder: &Path) -> BTreeMap<String, Vec<IpAddr>> {
    let text = fs::read_to_string(folder.join("cluster.yaml")).expect("cluster.yaml");
    let nodes = text
        .split("\n---")
        .filter(|document| document.lines().any(|line| line == "kind: Node"));

    nodes
        .map(|node| {
            (
                after(node, "name:").remove(0),
                after(node, "address:")
                    .iter()
                    .filter_map(|word| word.parse().ok())
                    .collect(),
            )
        })
        .collect()
}

/// The words after each `key`, braces, quotes and commas left out.
fn after(text: &str, key: &str) -> Vec<String> {
    let word = |rest: &str| {
        rest.trim_start()
            .chars()
            .take_while(|letter| !" ,}\n".contains(*letter))
            .filter(|letter| *letter != '"')
            .collect()
    };
    text.split(key).skip(1).map(word).collect()
}

fn cluster(
    inventory: &Inventory,
    addresses: &BTreeMap<String, Vec<IpAddr>>,
    expected: &Expected,
    bundle: &Path,
) -> Cluster {
    let pods = |id| {
        let here = inventory
            .endpoints
            .iter()
            .filter(move |endpoint| endpoint.node == Some(id));
        here.map(|endpoint| Host {
            name: format!("{}/{}", endpoint.namespace, endpoint.name),
            addresses: endpoint.addresses.to_vec(),
        })
    };

    let nodes = inventory.nodes_with_ids().map(|(id, node)| Node {
        name: format!("node/{}", node.name),
        addresses: addresses.get(&*node.name).cloned().unwrap_or_default(),
        pods: pods(id).collect(),
        scripts: scripts(bundle, &node.name),
    });

    Cluster {
        nodes: nodes.collect(),
        outside: expected.outside.clone(),
    }
}
