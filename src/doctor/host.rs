//! How the host is set up.

use crate::doctor::{Finding, Node};
use crate::runner::Call;

/// Which part of the table of connections may be in use without a word.
const MOST_CONNECTIONS: f64 = 0.8;

/// A setting that is 1 on a node that does what policy is about.
struct Setting {
    path: &'static str,
    /// What to say where it is something else.
    otherwise: &'static str,
    advice: &'static str,
}

const FORWARDING: [Setting; 2] = [
    Setting {
        path: "net/ipv4/ip_forward",
        otherwise: "no packet is forwarded, so pods reach nobody and policy is asked about nothing",
        advice: "`sysctl net.ipv4.ip_forward=1`, and keep it in /etc/sysctl.d",
    },
    Setting {
        path: "net/ipv6/conf/all/forwarding",
        otherwise: "no IPv6 packet is forwarded",
        advice: "`sysctl net.ipv6.conf.all.forwarding=1`, if pods have IPv6 addresses",
    },
];

const BRIDGES: [Setting; 2] = [
    Setting {
        path: "net/bridge/bridge-nf-call-iptables",
        otherwise: "packets between pods on one bridge pass policy by",
        advice: "`sysctl net.bridge.bridge-nf-call-iptables=1`, if pods are on a bridge",
    },
    Setting {
        path: "net/bridge/bridge-nf-call-ip6tables",
        otherwise: "IPv6 packets between pods on one bridge pass policy by",
        advice: "`sysctl net.bridge.bridge-nf-call-ip6tables=1`, if pods are on a bridge",
    },
];

/// Whether the host forwards.
pub(super) fn forwarding(node: &mut Node<'_>) -> Vec<Finding> {
    FORWARDING
        .iter()
        .map(|setting| setting.look(node))
        .collect()
}

/// Whether packets between ports of a bridge meet iptables. Without the module there is no such
/// setting, and they do not.
pub(super) fn bridges(node: &mut Node<'_>) -> Vec<Finding> {
    match BRIDGES
        .iter()
        .all(|setting| node.setting(setting.path).is_none())
    {
        false => BRIDGES.iter().map(|setting| setting.look(node)).collect(),
        true => {
            let found =
                "br_netfilter is not loaded: packets between pods on one bridge pass policy by";
            vec![Finding::warning(
                "bridges",
                found,
                "`modprobe br_netfilter`, if pods are on a bridge (routed ones, as Calico's, are \
                 not)",
            )]
        }
    }
}

impl Setting {
    fn look(&self, node: &mut Node<'_>) -> Finding {
        let name = self.path.replace('/', ".");
        match node.setting(self.path) {
            Some(value) if value == "1" => Finding::good(name, value),
            Some(value) => {
                Finding::warning(name, format!("{value}: {}", self.otherwise), self.advice)
            }
            None => Finding::warning(
                name,
                format!("there is no such setting: {}", self.otherwise),
                self.advice,
            ),
        }
    }
}

impl Node<'_> {
    fn setting(&mut self, path: &str) -> Option<String> {
        self.file(&format!("sys/{path}"))
            .map(|value| value.trim().to_owned())
    }
}

/// Whether the table of connections has room: a full one drops packets, whatever policy says.
pub(super) fn connections(node: &mut Node<'_>) -> Vec<Finding> {
    const WHAT: &str = "connection tracking";
    let number = |node: &mut Node<'_>, name: &str| {
        node.setting(&format!("net/netfilter/{name}"))?
            .parse::<u32>()
            .ok()
    };
    let (Some(count), Some(most)) = (
        number(node, "nf_conntrack_count"),
        number(node, "nf_conntrack_max"),
    ) else {
        return vec![Finding::warning(
            WHAT,
            "nf_conntrack is not loaded",
            "`modprobe nf_conntrack`, unless loading rules does so",
        )];
    };
    let found = format!("{count} connections, room for {most}");
    match f64::from(count) <= f64::from(most) * MOST_CONNECTIONS {
        true => vec![Finding::good(WHAT, found)],
        false => vec![Finding::warning(
            WHAT,
            found,
            "raise net.netfilter.nf_conntrack_max: a full table drops packets that policy allows",
        )],
    }
}

/// Whether firewalld runs: its reload takes everybody's rules away (rancher/rke2#10469).
pub(super) fn firewalld(node: &mut Node<'_>) -> Vec<Finding> {
    const WHAT: &str = "firewalld";
    match node.ask(&Call::of("firewall-cmd", &["--state"])) {
        Ok(_) => {
            let advice = "its reload may remove our rules: install deploy/firewalld/, or keep \
                          `palisade reconcile` running";
            vec![Finding::warning(WHAT, "running", advice)]
        }
        Err(_) => vec![Finding::good(WHAT, "not running")],
    }
}
