//! The matches and targets that a user may allow, with all options that rules may use.
//!
//! Each of them only matches a packet, drops it, or reports it. The table omits extensions that
//! write state which others read (`recent`, `connlabel`, `set`, `rateest`, `SET`), that change
//! packets, connections, marks or sysctls (`socket`, `connbytes`, `physdev`, `CONNMARK`), or that
//! refer to files (`bpf`, `cgroup`). It also omits extensions whose rules `iptables-save` may fail
//! to print, because such rules could not be read back. Options are those of iptables 1.8.9
//! (extensions/libxt_*.c, libipt_*.c, libip6t_*.c).

use crate::net::{Family, Protocol};

/// A match or a target that a user may allow.
#[derive(Debug)]
pub struct KnownExtension {
    /// The name, as `-m` or `-j` takes it.
    pub name: &'static str,
    /// The family, if only one family has the extension.
    pub family: Option<Family>,
    /// The protocol that a rule with this extension must match.
    pub protocol: Option<Protocol>,
    /// Its options.
    pub options: &'static [ExtensionOption],
}

/// A long option of an extension.
#[derive(Debug)]
pub struct ExtensionOption {
    /// The name, without `--`.
    pub name: &'static str,
    /// Number of words that follow it.
    pub values: usize,
    /// Whether `!` may precede it.
    pub is_negatable: bool,
}

/// Matches that can be allowed.
pub(super) const MATCHES: [KnownExtension; 28] = [
    of_all(
        "addrtype",
        &[
            not("src-type"),
            not("dst-type"),
            flag("limit-iface-in"),
            flag("limit-iface-out"),
        ],
    ),
    of_all(
        "connlimit",
        &[
            one("connlimit-upto"),
            one("connlimit-above"),
            one("connlimit-mask"),
            flag("connlimit-saddr"),
            flag("connlimit-daddr"),
        ],
    ),
    of_all("connmark", &[not("mark")]),
    of_all("cpu", &[not("cpu")]),
    of_all("devgroup", &[not("src-group"), not("dst-group")]),
    of_all("dscp", &[not("dscp"), not("dscp-class")]),
    of_all(
        "hashlimit",
        &[
            one("hashlimit-upto"),
            one("hashlimit-above"),
            one("hashlimit-burst"),
            one("hashlimit-mode"),
            one("hashlimit-srcmask"),
            one("hashlimit-dstmask"),
            one("hashlimit-name"),
        ],
    ),
    of_all("helper", &[not("helper")]),
    of_family(
        "hl",
        Family::V6,
        &[not("hl-eq"), one("hl-lt"), one("hl-gt")],
    ),
    of_all("iprange", &[not("src-range"), not("dst-range")]),
    of_all("length", &[not("length")]),
    of_all("limit", &[one("limit"), one("limit-burst")]),
    of_all("mac", &[not("mac-source")]),
    of_all("mark", &[not("mark")]),
    of_all(
        "owner",
        &[
            not("uid-owner"),
            not("gid-owner"),
            negatable_flag("socket-exists"),
        ],
    ),
    of_all("pkttype", &[not("pkt-type")]),
    of_all("realm", &[not("realm")]),
    of_protocol("sctp", Protocol::SCTP, &[not("sport"), not("dport")]),
    of_all("state", &[not("state")]),
    of_all(
        "statistic",
        &[one("mode"), not("probability"), not("every"), one("packet")],
    ),
    of_all(
        "string",
        &[
            one("from"),
            one("to"),
            one("algo"),
            not("string"),
            not("hex-string"),
            flag("icase"),
        ],
    ),
    of_protocol(
        "tcp",
        Protocol::TCP,
        &[
            not("sport"),
            not("dport"),
            ExtensionOption {
                name: "tcp-flags",
                values: 2,
                is_negatable: true,
            },
            negatable_flag("syn"),
            not("tcp-option"),
        ],
    ),
    of_protocol("tcpmss", Protocol::TCP, &[not("mss")]),
    of_all(
        "time",
        &[
            one("datestart"),
            one("datestop"),
            one("timestart"),
            one("timestop"),
            not("monthdays"),
            not("weekdays"),
            flag("kerneltz"),
            flag("contiguous"),
        ],
    ),
    of_all("tos", &[not("tos")]),
    of_family(
        "ttl",
        Family::V4,
        &[not("ttl-eq"), one("ttl-lt"), one("ttl-gt")],
    ),
    of_all("u32", &[not("u32")]),
    of_protocol("udp", Protocol::UDP, &[not("sport"), not("dport")]),
];

/// Targets that can be allowed.
pub(super) const TARGETS: [KnownExtension; 5] = [
    of_all("REJECT", &[one("reject-with")]),
    of_all(
        "LOG",
        &[
            one("log-level"),
            one("log-prefix"),
            flag("log-tcp-sequence"),
            flag("log-tcp-options"),
            flag("log-ip-options"),
            flag("log-uid"),
            flag("log-macdecode"),
        ],
    ),
    of_all(
        "NFLOG",
        &[
            one("nflog-group"),
            one("nflog-prefix"),
            one("nflog-range"),
            one("nflog-size"),
            one("nflog-threshold"),
        ],
    ),
    of_all("AUDIT", &[one("type")]),
    of_all("TRACE", &[]),
];

impl KnownExtension {
    /// Returns the match or target with a name, or `None` if rules may never use it.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::every().find(|known| known.name == name)
    }

    /// All extensions that can be allowed.
    pub fn every() -> impl Iterator<Item = &'static Self> {
        const { &MATCHES }.iter().chain(const { &TARGETS })
    }
}

const fn of_all(name: &'static str, options: &'static [ExtensionOption]) -> KnownExtension {
    KnownExtension {
        name,
        family: None,
        protocol: None,
        options,
    }
}

const fn of_family(
    name: &'static str,
    family: Family,
    options: &'static [ExtensionOption],
) -> KnownExtension {
    KnownExtension {
        name,
        family: Some(family),
        protocol: None,
        options,
    }
}

const fn of_protocol(
    name: &'static str,
    protocol: Protocol,
    options: &'static [ExtensionOption],
) -> KnownExtension {
    KnownExtension {
        name,
        family: None,
        protocol: Some(protocol),
        options,
    }
}

/// An option with one value.
const fn one(name: &'static str) -> ExtensionOption {
    ExtensionOption {
        name,
        values: 1,
        is_negatable: false,
    }
}

/// An option with one value, which `!` may precede.
const fn not(name: &'static str) -> ExtensionOption {
    ExtensionOption {
        name,
        values: 1,
        is_negatable: true,
    }
}

/// An option without a value.
const fn flag(name: &'static str) -> ExtensionOption {
    ExtensionOption {
        name,
        values: 0,
        is_negatable: false,
    }
}

/// An option without a value, which `!` may precede.
const fn negatable_flag(name: &'static str) -> ExtensionOption {
    ExtensionOption {
        name,
        values: 0,
        is_negatable: true,
    }
}
