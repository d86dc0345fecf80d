//! The namespaces of a cluster: who lives where, and the `ip -batch` scripts that make it so.
//!
//! Every pod, node and outside host is a leaf on a point-to-point link to a router (its node, or
//! the fabric): default route to the router, one route back per address. A router has the same
//! link-local addresses on all its links, as in Calico.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::IpAddr;

use super::{Cluster, Host, Node, tools};

/// The plan of all namespaces.
pub(crate) struct Topology {
    namespaces: Vec<Namespace>,
    links: String,
    homes: BTreeMap<String, Home>,
    owners: BTreeMap<IpAddr, String>,
}

/// Where a named host lives.
struct Home {
    namespace: String,
    addresses: Vec<IpAddr>,
}

struct Namespace {
    name: String,
    forwards: bool,
    commands: String,
}

/// A namespace with leaves behind it.
struct Router {
    namespace: Namespace,
    v4: &'static str,
}

const FABRIC: &str = "fabric";

/// A router's end of a link; in IPv4 its own router must not have the same one.
const NODE_V4: &str = "169.254.1.1";
const FABRIC_V4: &str = "169.254.2.1";
const ROUTER_V6: &str = "fe80::1";
/// A node's end of its uplink, to route to its pods through it.
const UPLINK_V4: &str = "169.254.2.2";
const LEAF_V6: &str = "fe80::2";

/// For every namespace, before it has interfaces: no address waits for duplicate detection, none
/// comes by itself, all routes may be asymmetric, none is changed by a neighbour's word, and group
/// 0 (ours) may open ping sockets.
const SETTINGS: [(&str, &str); 12] = [
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv6/conf/all/accept_redirects", "0"),
    ("ipv6/conf/default/accept_redirects", "0"),
    ("ipv4/ping_group_range", "0 0"),
];

const FORWARDING: [(&str, &str); 2] = [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];

impl Topology {
    /// Plans a cluster; panics if a name or an address occurs twice.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let mut plan = Self {
            namespaces: Vec::new(),
            links: String::new(),
            homes: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        let mut fabric = Router::new(FABRIC, FABRIC_V4);

        for (number, node) in cluster.nodes.iter().enumerate() {
            plan.node(&format!("n{number}"), node, &mut fabric);
        }

        for (number, host) in cluster.outside.iter().enumerate() {
            let name = format!("o{number}");
            plan.leaf(&name, host, &mut fabric, &name);
        }

        plan.namespaces.push(fabric.namespace);
        plan
    }

    /// Makes the namespaces, their links, addresses and routes.
    pub(crate) fn build(&self) -> Result<(), String> {
        let create: String = self
            .namespaces
            .iter()
            .map(|namespace| format!("netns add {}\n", namespace.name))
            .collect();
        tools::run("ip", &["-batch", "-"], &create)?;

        for namespace in &self.namespaces {
            namespace.set()?;
        }

        tools::run("ip", &["-batch", "-"], &self.links)?;
        for namespace in &self.namespaces {
            tools::enter(&namespace.name)?;
            tools::run("ip", &["-batch", "-"], &namespace.commands)?;
        }

        Ok(())
    }

    /// The namespace of a host.
    pub(crate) fn namespace_of(&self, name: &str) -> &str {
        &self.home(name).namespace
    }

    /// The namespace that has no rules: the router between the nodes.
    pub(super) fn without_rules(&self) -> &str {
        let fabric = self
            .namespaces
            .last()
            .map(|namespace| namespace.name.as_str());
        fabric.expect("it was added last")
    }

    /// The namespace that has an address; panics if none has.
    pub(super) fn owner_of(&self, address: IpAddr) -> &str {
        let owner = self.owners.get(&address);
        owner.unwrap_or_else(|| {
            panic!(
                "nobody in the cluster has the address {address}: a question to it would prove \
                 nothing"
            )
        })
    }

    /// The address that a host asks from; panics if it has none of that family.
    pub(super) fn source(&self, name: &str, to: IpAddr) -> IpAddr {
        let source = self
            .home(name)
            .addresses
            .iter()
            .find(|address| address.is_ipv4() == to.is_ipv4());
        *source.unwrap_or_else(|| panic!("`{name}` has no address of the family of {to}"))
    }

    fn home(&self, name: &str) -> &Home {
        self.homes
            .get(name)
            .unwrap_or_else(|| panic!("no host in the cluster is named `{name}`"))
    }

    fn node(&mut self, name: &str, node: &Node, fabric: &mut Router) {
        let mut router = Router::new(name, NODE_V4);
        self.settle(name, &node.name, &node.addresses);
        self.link(name, FABRIC, name);
        router.namespace.uplink(FABRIC_V4, &node.addresses);
        router
            .namespace
            .add(format_args!("addr add {UPLINK_V4}/32 dev eth0"));
        fabric.downlink(name, &node.addresses);

        for (number, pod) in node.pods.iter().enumerate() {
            self.leaf(
                &format!("{name}p{number}"),
                pod,
                &mut router,
                &format!("cali{number}"),
            );
            fabric.routes_through(name, &pod.addresses);
        }

        self.namespaces.push(router.namespace);
    }

    fn leaf(&mut self, name: &str, host: &Host, router: &mut Router, interface: &str) {
        let mut namespace = Namespace::new(name);
        self.settle(name, &host.name, &host.addresses);
        self.link(name, &router.namespace.name, interface);
        namespace.uplink(router.v4, &host.addresses);
        router.downlink(interface, &host.addresses);
        self.namespaces.push(namespace);
    }

    fn settle(&mut self, namespace: &str, name: &str, addresses: &[IpAddr]) {
        let home = Home {
            namespace: namespace.to_owned(),
            addresses: addresses.to_vec(),
        };
        assert!(
            self.homes.insert(name.to_owned(), home).is_none(),
            "two hosts of the cluster are named `{name}`"
        );

        for address in addresses {
            let before = self.owners.insert(*address, namespace.to_owned());
            assert!(
                before.is_none(),
                "two hosts of the cluster have the address {address}"
            );
        }
    }

    fn link(&mut self, leaf: &str, router: &str, interface: &str) {
        writeln!(
            self.links,
            "link add eth0 netns {leaf} type veth peer name {interface} netns {router}"
        )
        .expect("a string takes all");
    }
}

impl Namespace {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            forwards: false,
            commands: "link set lo up\n".to_owned(),
        }
    }

    fn set(&self) -> Result<(), String> {
        tools::enter(&self.name)?;
        let forwarding: &[_] = if self.forwards { &FORWARDING } else { &[] };
        for (setting, value) in SETTINGS.iter().chain(forwarding) {
            let path = format!("/proc/sys/net/{setting}");
            std::fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(())
    }

    fn uplink(&mut self, router_v4: &str, addresses: &[IpAddr]) {
        self.add(format_args!("link set eth0 up"));
        for address in addresses {
            self.add(format_args!(
                "addr add {}{} dev eth0",
                whole(*address),
                if address.is_ipv6() { " nodad" } else { "" }
            ));
        }

        self.add(format_args!("addr add {LEAF_V6}/64 dev eth0 nodad"));
        self.add(format_args!(
            "route add 0.0.0.0/0 via {router_v4} dev eth0 onlink"
        ));
        self.add(format_args!("route add ::/0 via {ROUTER_V6} dev eth0"));
    }

    fn add(&mut self, command: fmt::Arguments<'_>) {
        writeln!(self.commands, "{command}").expect("a string takes all");
    }
}

impl Router {
    fn new(name: &str, v4: &'static str) -> Self {
        Self {
            namespace: Namespace {
                forwards: true,
                ..Namespace::new(name)
            },
            v4,
        }
    }

    fn downlink(&mut self, interface: &str, addresses: &[IpAddr]) {
        self.namespace.add(format_args!("link set {interface} up"));
        self.namespace
            .add(format_args!("addr add {}/32 dev {interface}", self.v4));
        self.namespace.add(format_args!(
            "addr add {ROUTER_V6}/64 dev {interface} nodad"
        ));

        for address in addresses {
            self.namespace.add(format_args!(
                "route add {} dev {interface}",
                whole(*address)
            ));
        }
    }

    fn routes_through(&mut self, interface: &str, addresses: &[IpAddr]) {
        for address in addresses {
            let via = if address.is_ipv4() {
                UPLINK_V4
            } else {
                LEAF_V6
            };
            self.namespace.add(format_args!(
                "route add {} via {via} dev {interface} onlink",
                whole(*address)
            ));
        }
    }
}

fn whole(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}
