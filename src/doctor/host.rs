//! Checks of the host's configuration.

use crate::doctor::{CheckContext, NodeFinding};
use crate::runner::ToolCall;

/// Fraction of the conntrack table from which a warning is due.
const MOST_CONNECTIONS: f64 = 0.8;

/// A sysctl that should be 1 on a node that enforces policy.
struct SysctlSetting {
    path: &'static str,
    /// Message if it has another value.
    otherwise: &'static str,
    advice: &'static str,
}

const FORWARDING: [SysctlSetting; 2] = [
    SysctlSetting {
        path: "net/ipv4/ip_forward",
        otherwise: "no packet is forwarded, so pods reach nobody and policy is asked about nothing",
        advice: "`sysctl net.ipv4.ip_forward=1`, and keep it in /etc/sysctl.d",
    },
    SysctlSetting {
        path: "net/ipv6/conf/all/forwarding",
        otherwise: "no IPv6 packet is forwarded",
        advice: "`sysctl net.ipv6.conf.all.forwarding=1`, if pods have IPv6 addresses",
    },
];

const BRIDGES: [SysctlSetting; 2] = [
    SysctlSetting {
        path: "net/bridge/bridge-nf-call-iptables",
        otherwise: "packets between pods on one bridge pass policy by",
        advice: "`sysctl net.bridge.bridge-nf-call-iptables=1`, if pods are on a bridge",
    },
    SysctlSetting {
        path: "net/bridge/bridge-nf-call-ip6tables",
        otherwise: "IPv6 packets between pods on one bridge pass policy by",
        advice: "`sysctl net.bridge.bridge-nf-call-ip6tables=1`, if pods are on a bridge",
    },
];

/// Checks whether the host forwards packets.
pub(super) fn forwarding(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    FORWARDING
        .iter()
        .map(|setting| setting.check(node))
        .collect()
}

/// Checks whether packets between ports of a bridge traverse iptables. Without br_netfilter the
/// sysctls do not exist, and the packets do not.
pub(super) fn bridges(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    match BRIDGES
        .iter()
        .all(|setting| node.setting(setting.path).is_none())
    {
        false => BRIDGES.iter().map(|setting| setting.check(node)).collect(),
        true => {
            let found =
                "br_netfilter is not loaded: packets between pods on one bridge pass policy by";
            vec![NodeFinding::warning(
                "bridges",
                found,
                "`modprobe br_netfilter`, if pods are on a bridge (routed ones, as Calico's, are \
                 not)",
            )]
        }
    }
}

impl SysctlSetting {
    fn check(&self, node: &mut CheckContext<'_>) -> NodeFinding {
        let name = self.path.replace('/', ".");
        match node.setting(self.path) {
            Some(value) if value == "1" => NodeFinding::good(name, value),
            Some(value) => {
                NodeFinding::warning(name, format!("{value}: {}", self.otherwise), self.advice)
            }
            None => NodeFinding::warning(
                name,
                format!("there is no such setting: {}", self.otherwise),
                self.advice,
            ),
        }
    }
}

impl CheckContext<'_> {
    fn setting(&mut self, path: &str) -> Option<String> {
        self.file(&format!("sys/{path}"))
            .map(|value| value.trim().to_owned())
    }
}

/// Checks the free space in the conntrack table. A full table drops packets, whatever policy says.
pub(super) fn connections(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    const WHAT: &str = "connection tracking";
    let number = |node: &mut CheckContext<'_>, name: &str| {
        node.setting(&format!("net/netfilter/{name}"))?
            .parse::<u32>()
            .ok()
    };

    let (Some(count), Some(most)) = (
        number(node, "nf_conntrack_count"),
        number(node, "nf_conntrack_max"),
    ) else {
        return vec![NodeFinding::warning(
            WHAT,
            "nf_conntrack is not loaded",
            "`modprobe nf_conntrack`, unless loading rules does so",
        )];
    };

    let found = format!("{count} connections, room for {most}");
    match f64::from(count) <= f64::from(most) * MOST_CONNECTIONS {
        true => vec![NodeFinding::good(WHAT, found)],
        false => vec![NodeFinding::warning(
            WHAT,
            found,
            "raise net.netfilter.nf_conntrack_max: a full table drops packets that policy allows",
        )],
    }
}

/// Checks whether firewalld runs. Its reload removes the rules of all programs
/// (rancher/rke2#10469).
pub(super) fn firewalld(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    const WHAT: &str = "firewalld";
    match node.ask(&ToolCall::new("firewall-cmd", &["--state"])) {
        Ok(_) => {
            let advice = "its reload may remove our rules: install deploy/firewalld/, or keep \
                          `palisade reconcile` running";
            vec![NodeFinding::warning(WHAT, "running", advice)]
        }
        // A program that is not installed does not run.
        Err(_) => vec![NodeFinding::good(WHAT, "not running")],
    }
}
