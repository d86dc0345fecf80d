use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::conntrack::interfaces::{NodeInterfaces, RouteHop, addresses, any, choices_of, route};
use crate::conntrack::{ConntrackCleanup, TrackedConnection, cut_denied, deletion, denied};
use crate::netfilter::NodeKernel;
use crate::ruleset::KernelContents;
use crate::runner::{
    FileTree, NetfilterRequest, NodeLock, ProcessOutput, Retention, Runner, RunnerFailure, ToolCall,
};

/// `10.0.1.1` is an endpoint that may send only to `10.0.2.1`.
const SETS: &str = "create pal-local4 hash:net family inet hashsize 1024 maxelem 65536\nadd \
                    pal-local4 10.0.1.1\ncreate pal-s4-a hash:net family inet hashsize 1024 \
                    maxelem 65536\nadd pal-s4-a 10.0.2.1\n";
const V4: &str = "*filter\n:pal-FORWARD - [0:0]\n-A pal-FORWARD -m conntrack --ctstate \
                  RELATED,ESTABLISHED -j ACCEPT\n-A pal-FORWARD -m set ! --match-set pal-local4 \
                  src -j RETURN\n-A pal-FORWARD -m set --match-set pal-s4-a dst -j ACCEPT\n-A \
                  pal-FORWARD -j DROP\n-I FORWARD 1 -j pal-FORWARD\nCOMMIT\n";
const V6: &str = "*filter\nCOMMIT\n";

/// Entries as `conntrack -L -o extended,id` prints them. The comments describe each.
const KNOWN: [(&str, bool); 9] = [
    // allowed
    (
        "ipv4 2 tcp 6 431999 ESTABLISHED src=10.0.1.1 dst=10.0.2.1 sport=5 dport=80 src=10.0.2.1 \
         dst=10.0.1.1 sport=80 dport=5 [ASSURED] mark=0 use=1 id=1",
        false,
    ),
    // denied
    (
        "ipv4 2 tcp 6 431999 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 dport=80 src=10.0.2.2 \
         dst=10.0.1.1 sport=80 dport=5 [ASSURED] mark=0 use=1 id=2",
        true,
    ),
    (
        "ipv4 2 udp 17 29 src=10.0.1.1 dst=10.0.2.2 sport=5 dport=53 [UNREPLIED] src=10.0.2.2 \
         dst=10.0.1.1 sport=53 dport=5 mark=0 zone=7 use=1 id=3",
        true,
    ),
    (
        "ipv4 2 icmp 1 29 src=10.0.1.1 dst=10.0.2.2 type=8 code=0 id=77 src=10.0.2.2 dst=10.0.1.1 \
         type=0 code=0 id=77 mark=0 use=1 id=4",
        true,
    ),
    // to a service, translated to an allowed and to a denied destination
    (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.96.0.1 sport=5 dport=443 src=10.0.2.1 \
         dst=10.0.1.1 sport=8443 dport=5 [ASSURED] use=1 id=5",
        false,
    ),
    (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.1 sport=5 dport=443 src=10.0.2.2 \
         dst=10.0.1.1 sport=8443 dport=5 [ASSURED] use=1 id=6",
        true,
    ),
    // from a foreign host, which no policy concerns
    (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.3.1 dst=10.0.2.2 sport=5 dport=80 src=10.0.2.2 \
         dst=10.0.3.1 sport=80 dport=5 [ASSURED] use=1 id=7",
        false,
    ),
    // to the node itself
    (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.0.1 sport=5 dport=80 src=10.0.0.1 \
         dst=10.0.1.1 sport=80 dport=5 [ASSURED] use=1 id=8",
        false,
    ),
    // with a protocol that has neither ports nor messages
    (
        "ipv4 2 unknown 47 599 src=10.0.1.1 dst=10.0.2.2 src=10.0.2.2 dst=10.0.1.1 mark=0 use=1 \
         id=9",
        true,
    ),
];

#[expect(
    clippy::disallowed_methods,
    reason = "a part of a bundle is a kernel that is modelled"
)]
fn kernel() -> NodeKernel {
    let files = [
        ("sets.ipset", SETS),
        ("filter.v4.rules", V4),
        ("filter.v6.rules", V6),
    ];
    NodeKernel::of_holdings(&KernelContents::of_kernel(files).expect("it loads"))
}

#[test]
fn only_what_is_denied_is_cut() {
    let interfaces = NodeInterfaces {
        own: BTreeSet::from(["10.0.0.1".parse().unwrap()]),
        any: any(&kernel()),
        ..NodeInterfaces::default()
    };

    for (line, is_cut) in KNOWN {
        let (known, unread) = TrackedConnection::read_all(line);
        assert_eq!((known.len(), unread), (1, 0), "{line}");
        assert_eq!(
            !denied(&kernel(), known, &interfaces).is_empty(),
            is_cut,
            "{line}"
        );
    }
}

#[test]
fn what_is_not_understood_stays() {
    for line in [
        "tcp 6 431999 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 dport=80",
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 src=10.0.2.2 dst=10.0.1.1 \
         sport=80 dport=5",
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 src=10.0.2.2 dst=10.0.1.1",
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 dport=80 src=10.0.2.2 \
         dst=10.0.1.1 sport=80 dport=5 zone-orig=3 use=1 id=1",
        "ipv6 10 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 dport=80 src=10.0.2.2 \
         dst=10.0.1.1 sport=80 dport=5",
        // The `id` before `use` is not the entry's.
        "ipv4 2 icmp 1 29 src=10.0.1.1 dst=10.0.2.2 type=8 code=0 id=77 src=10.0.2.2 dst=10.0.1.1 \
         type=0 code=0 id=77 mark=0 use=1",
        "garbage",
    ] {
        assert_eq!(TrackedConnection::read_all(line), (vec![], 1), "{line}");
    }
}

/// Written by hand from `linux/netfilter/nfnetlink_conntrack.h`. Attribute types are in host byte
/// order, their values in network byte order.
#[test]
fn an_entry_is_deleted_by_its_replies_and_its_identifier() {
    let [udp, icmp] =
        [2, 3].map(|at: usize| deletion::request(&TrackedConnection::read_all(KNOWN[at].0).0[0]));
    let word = |number: u16| number.to_ne_bytes();
    let part = |length: u16, kind: u16, value: &[u8]| [&word(length), &word(kind), value].concat();
    let addresses = [
        part(20, 0x8001, &[]),
        part(8, 1, &[10, 0, 2, 2]),
        part(8, 2, &[10, 0, 1, 1]),
    ]
    .concat();
    let ports = [
        part(5, 1, &[17, 0, 0, 0]),
        part(6, 2, &[0, 53, 0, 0]),
        part(6, 3, &[0, 5, 0, 0]),
    ]
    .concat();
    let zone = part(6, 18, &[0, 7, 0, 0]);
    let body = [
        vec![2, 0, 0, 0],
        part(52, 0x8002, &[]),
        addresses.clone(),
        part(28, 0x8002, &[]),
        ports,
        zone,
        part(8, 12, &[0, 0, 0, 3]),
    ];

    assert_eq!(
        udp,
        NetfilterRequest {
            kind: 0x102,
            body: body.concat()
        }
    );

    let message = [
        part(5, 1, &[1, 0, 0, 0]),
        part(6, 4, &[0, 77, 0, 0]),
        part(5, 5, &[0; 4]),
        part(5, 6, &[0; 4]),
    ]
    .concat();
    let body = [
        vec![2, 0, 0, 0],
        part(60, 0x8002, &[]),
        addresses,
        part(36, 0x8002, &[]),
        message,
        part(8, 12, &[0, 0, 0, 4]),
    ];

    assert_eq!(
        icmp,
        NetfilterRequest {
            kind: 0x102,
            body: body.concat()
        }
    );
}

#[test]
fn addresses_of_the_node() {
    let text = "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n2: eth0    \
                inet6 fd00::1/64 scope global \n3: x    link/ether\n";
    assert_eq!(
        addresses(text),
        ["127.0.0.1", "fd00::1"]
            .map(|text| text.parse().unwrap())
            .into()
    );
}

#[test]
fn interfaces_that_lead_to_an_address() {
    let hop = |router: &str, interface: &str| RouteHop {
        router: router.to_owned(),
        interface: interface.to_owned(),
    };

    for (line, expected) in [
        (
            "10.0.0.9 dev eth0 src 10.0.0.1 uid 0 \\    cache ",
            Some(("10.0.0.9", hop("", "eth0"))),
        ),
        (
            "10.9.0.5 via 10.0.0.8 dev eth0 src 10.0.0.1 uid 0 \\    cache ",
            Some(("10.9.0.5", hop("10.0.0.8", "eth0"))),
        ),
        (
            "10.9.0.5 via inet6 fe80::1 dev eth0 src 10.0.0.1 uid 0 ",
            Some(("10.9.0.5", hop("inet6 fe80::1", "eth0"))),
        ),
        (
            "fd00::7 from :: dev eth1 proto kernel src fd00::1 metric 256 pref medium",
            Some(("fd00::7", hop("", "eth1"))),
        ),
        (
            "local 10.0.0.1 dev lo src 10.0.0.1 uid 0 \\    cache <local> ",
            None,
        ),
        ("10.0.0.9", None),
        ("", None),
    ] {
        assert_eq!(
            route(line),
            expected.map(|(address, hop)| (address.parse().unwrap(), hop)),
            "{line}"
        );
    }

    let routes = "default via 10.0.2.1 dev eth2 \n10.9.0.0/16 \\\tnexthop via 10.0.0.9 dev eth0 \
                  weight 1 \\\tnexthop dev ppp0 weight 1 \n";
    assert_eq!(
        choices_of(routes),
        [hop("10.0.0.9", "eth0"), hop("", "ppp0")].into()
    );
}

/// A kernel's conntrack table, with a fault.
struct Fake {
    known: Vec<&'static str>,
    asked: Vec<ToolCall>,
    /// Exit status of each process.
    status: i32,
    /// The kernel's answer to the first deletion, and whether the entry is gone then.
    first: Option<(io::ErrorKind, bool)>,
}

impl Fake {
    fn new() -> Self {
        Self {
            known: KNOWN.iter().map(|row| row.0).collect(),
            asked: Vec::new(),
            status: 0,
            first: None,
        }
    }

    fn delete(&mut self, request: &NetfilterRequest) -> io::Result<()> {
        let first = self.first.take();
        let at = self.known.iter().position(|line| {
            deletion::request(&TrackedConnection::read_all(line).0[0]) == *request
        });
        if first.is_none_or(|(_, is_gone)| is_gone) {
            self.known.remove(at.expect("it is known"));
        }
        first.map_or(Ok(()), |(kind, _)| Err(kind.into()))
    }
}

impl Runner for Fake {
    fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
        self.asked.push(call.clone());
        let shown = |lines: &[&str]| {
            (
                lines
                    .iter()
                    .map(|line| format!("{line}\n"))
                    .collect::<String>(),
                format!(
                    "conntrack v1.4.7 (conntrack-tools): {} flow entries have been shown.\n",
                    lines.len()
                ),
            )
        };

        let (output, errors) = match call.arguments.last().map(String::as_str) {
            Some("ipv4") => shown(&self.known),
            Some("ipv6") => shown(&[]),
            _ => ("2: eth0    inet 10.0.0.1/24 \n".to_owned(), String::new()),
        };

        Ok(ProcessOutput {
            status: Some(self.status),
            output,
            errors,
        })
    }

    fn ask(&mut self, requests: &[NetfilterRequest]) -> Result<Vec<io::Result<()>>, RunnerFailure> {
        Ok(requests
            .iter()
            .map(|request| self.delete(request))
            .collect())
    }

    fn start(&mut self, call: &ToolCall) -> Result<(), RunnerFailure> {
        self.run(call).map(drop)
    }

    fn lock(&mut self, _: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        Ok(None)
    }

    fn read(&mut self, _: Retention, _: &str) -> Result<Option<Vec<u8>>, RunnerFailure> {
        Ok(None)
    }

    fn write_folder(
        &mut self,
        _: Retention,
        _: &str,
        _: Option<&FileTree>,
    ) -> Result<(), RunnerFailure> {
        Ok(())
    }

    fn place(&self, _: Retention, name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    fn write(&mut self, _: Retention, _: &str, _: Option<&[u8]>) -> Result<(), RunnerFailure> {
        Ok(())
    }
}

#[test]
fn all_denied_ones_go() {
    let mut fake = Fake::new();
    let ConntrackCleanup {
        known,
        denied,
        ended,
        unread,
    } = cut_denied(&mut fake, &kernel()).unwrap();
    assert_eq!((known, denied.len(), ended, unread), (9, 5, 5, 0));
    assert_eq!((fake.asked.len(), fake.known.len()), (3, 4));
}

#[test]
fn one_that_ends_by_itself_is_not_counted() {
    let mut fake = Fake {
        first: Some((io::ErrorKind::NotFound, true)),
        ..Fake::new()
    };
    let ConntrackCleanup {
        known,
        denied,
        ended,
        ..
    } = cut_denied(&mut fake, &kernel()).unwrap();

    assert_eq!((known, denied.len(), ended, fake.known.len()), (9, 5, 4, 4));
}

#[test]
fn one_that_stays_is_told_and_does_not_keep_the_others() {
    for (kind, says) in [
        (
            io::ErrorKind::NotFound,
            "the kernel lists them, and does not find them",
        ),
        (io::ErrorKind::ResourceBusy, "resource busy"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
    ] {
        let mut fake = Fake {
            first: Some((kind, false)),
            ..Fake::new()
        };
        let problem = cut_denied(&mut fake, &kernel()).unwrap_err();
        assert_eq!(
            problem.to_string(),
            format!("1 of their entries cannot be deleted: {says}")
        );
        assert_eq!(fake.known.len(), 5);
    }
}

#[test]
fn a_refusal_is_told() {
    let problem = cut_denied(
        &mut Fake {
            status: 1,
            ..Fake::new()
        },
        &kernel(),
    )
    .unwrap_err();

    assert!(
        problem
            .to_string()
            .starts_with("`conntrack --dump --output extended,id --family ipv4` failed"),
        "{problem}"
    );
}
