use crate::net::{Protocol, State};
use crate::netfilter::NodeKernel;
use crate::packet::{Flow, Hook, Packet, PortPair, PreDnatDestination, ReversePath, Verdict};
use crate::ruleset::KernelContents;

const NOTHING: &str = "*filter\nCOMMIT\n";

fn load(sets: &str, rules: &str) -> Result<NodeKernel, String> {
    let filter = format!("*filter\n{rules}COMMIT\n");
    load_all(sets, &[("filter.v4.rules", &filter)])
}

#[expect(
    clippy::disallowed_methods,
    reason = "a part of a bundle is a kernel that is modelled"
)]
fn load_all(sets: &str, tables: &[(&str, &str)]) -> Result<NodeKernel, String> {
    let always = [("sets.ipset", sets), ("filter.v6.rules", NOTHING)];
    let files = always.into_iter().chain(tables.iter().copied());
    let holdings = KernelContents::of_kernel(files).map_err(|refused| refused.to_string())?;
    Ok(NodeKernel::of_holdings(&holdings))
}

fn forwarded(kernel: &NodeKernel, destination: &str, port: u16) -> (Verdict, Vec<usize>) {
    let flow = Flow {
        source: "10.0.0.1".parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: Protocol::TCP,
        ports: Some(PortPair {
            source: 4000,
            destination: port,
        }),
        icmp: None,
    };

    let hook = Hook::Forward {
        arrives: "eth0".to_owned(),
        leaves: "cali0".to_owned(),
    };
    let run = kernel.run(&Packet {
        flow,
        original: None,
        hook,
        state: State::New,
        reverse_path: ReversePath::Arriving,
    });

    (
        run.verdict,
        run.passed.iter().map(|passed| passed.line).collect(),
    )
}

#[test]
fn return_goes_back_and_goto_gives_up_the_chain() {
    let rules = ":pal-a - [0:0]\n:pal-b - [0:0]\n-A FORWARD -j pal-a\n-A FORWARD -j DROP\n-A \
                 pal-a -p tcp -m multiport --dports 80 -g pal-b\n-A pal-a -j ACCEPT\n-A pal-b -j \
                 RETURN\n";
    let kernel = load("", rules).unwrap();
    assert_eq!(
        forwarded(&kernel, "10.0.0.2", 80),
        (Verdict::Drop, vec![4, 6, 8, 5])
    );
    assert_eq!(
        forwarded(&kernel, "10.0.0.2", 81),
        (Verdict::Accept, vec![4, 7])
    );

    assert_eq!(
        forwarded(&load("", "").unwrap(), "10.0.0.2", 80),
        (Verdict::Undecided, vec![])
    );
}

#[test]
fn the_longest_prefix_of_a_set_decides() {
    let sets = "create pal-s hash:net family inet hashsize 64 maxelem 64\nadd pal-s \
                10.0.0.0/8\nadd pal-s 10.1.0.0/16 nomatch\nadd pal-s 10.1.1.1\n";
    let kernel = load(sets, "-A FORWARD -m set --match-set pal-s dst -j DROP\n").unwrap();

    for (destination, verdict) in [
        ("10.2.0.1", Verdict::Drop),
        ("10.1.2.3", Verdict::Undecided),
        ("10.1.1.1", Verdict::Drop),
    ] {
        assert_eq!(
            forwarded(&kernel, destination, 80).0,
            verdict,
            "{destination}"
        );
    }
}

/// A packet to 192.0.2.1:443, which is translated to 10.0.0.2:80, on each of its ways, with what
/// its verdict is and whether it is kept from connection tracking.
fn ways(raw: &str, mangle: &str, filter: &str, state: State) -> Vec<(Verdict, bool)> {
    let texts = [("raw", raw), ("mangle", mangle), ("filter", filter)]
        .map(|(name, rules)| format!("*{name}\n{rules}COMMIT\n"));
    let [raw, mangle, filter] = &texts;
    let tables = [
        ("raw.v4.rules", raw),
        ("mangle.v4.rules", mangle),
        ("filter.v4.rules", filter),
    ];
    let kernel = load_all("", &tables.map(|(file, text)| (file, text.as_str()))).unwrap();
    let [arrives, leaves] = ["eth0", "eth1"].map(str::to_owned);
    let hooks = [
        Hook::Forward {
            arrives: arrives.clone(),
            leaves: leaves.clone(),
        },
        Hook::Input { arrives },
        Hook::Output { leaves },
    ];

    let packet = |hook| {
        let flow = Flow {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2".parse().unwrap(),
            protocol: Protocol::TCP,
            ports: Some(PortPair {
                source: 4000,
                destination: 80,
            }),
            icmp: None,
        };
        Packet {
            flow,
            original: Some(PreDnatDestination {
                address: "192.0.2.1".parse().unwrap(),
                port: Some(443),
            }),
            hook,
            state,
            reverse_path: ReversePath::Arriving,
        }
    };

    let runs = hooks.into_iter().map(|hook| {
        let run = kernel.run(&packet(hook));
        (run.verdict, run.is_untracked)
    });
    runs.collect()
}

#[test]
fn a_packet_goes_through_the_tables_of_its_hook() {
    let [accept, drop, undecided] =
        [Verdict::Accept, Verdict::Drop, Verdict::Undecided].map(|verdict| (verdict, false));
    let new = |raw, mangle, filter| ways(raw, mangle, filter, State::New);
    // an early ACCEPT is one of its table only
    assert_eq!(
        new(
            "-A PREROUTING -j ACCEPT\n",
            "-A PREROUTING -i eth0 -j DROP\n",
            ""
        ),
        [drop, drop, undecided]
    );
    assert_eq!(
        new(
            "-A PREROUTING -i eth1 -j DROP\n-A OUTPUT -o eth1 -j DROP\n",
            "",
            ""
        ),
        [undecided, undecided, drop]
    );
    // a packet that does not arrive anywhere does not arrive at lo, either
    assert_eq!(
        new(
            "",
            "",
            "-A FORWARD -o eth1 -j ACCEPT\n-A OUTPUT ! -i lo -j ACCEPT\n"
        ),
        [accept, undecided, accept]
    );

    // the early tables see the destination that was sent to
    assert_eq!(
        new(
            "",
            "-A PREROUTING -d 192.0.2.1 -j DROP\n",
            "-A OUTPUT -d 10.0.0.2 -j ACCEPT\n"
        ),
        [drop, drop, accept]
    );
}

#[test]
fn what_is_not_tracked_has_no_connection_and_no_translation() {
    let no_track = "-A PREROUTING -j CT --notrack\n";
    let untracked =
        "-A INPUT -m conntrack --ctstate UNTRACKED -j DROP\n-A FORWARD -d 192.0.2.1 -j ACCEPT\n";
    let undecided = (Verdict::Undecided, false);
    assert_eq!(
        ways(no_track, "", untracked, State::Established),
        [(Verdict::Accept, true), (Verdict::Drop, true), undecided]
    );
    assert_eq!(ways("", "", untracked, State::Established), [undecided; 3]);

    for (options, state, matches) in [
        (
            "--ctorigdst 192.0.2.0/24 --ctorigdstport 440:450",
            State::New,
            true,
        ),
        (
            "--ctorigdst 192.0.2.1 ! --ctorigdstport 443",
            State::New,
            false,
        ),
        ("! --ctorigdst 10.0.0.2", State::New, true),
        ("! --ctorigdst 10.0.0.2", State::Invalid, false),
        (
            "--ctstate INVALID ! --ctorigdst 10.0.0.2",
            State::Invalid,
            true,
        ),
        ("--ctstate NEW --ctorigdst 10.0.0.2", State::New, false),
    ] {
        let rule = format!("-A INPUT -p tcp -m conntrack {options} -s 10.0.0.1 -j DROP\n");
        let verdict = ways("", "", &rule, state).get(1).map(|way| way.0);
        assert_eq!(
            verdict == Some(Verdict::Drop),
            matches,
            "{options} {state:?}"
        );
    }
}

/// Sets, rules of the filter table, and the error message of the tools.
const REFUSED: [(&str, &str, &str); 19] = [
    (
        "create pal-s hash:net family inet hashsize 63 maxelem 64\n",
        "",
        "sets.ipset, line 1: bad size: 63 of 64",
    ),
    (
        "create pal-s hash:net family inet hashsize 64 maxelem 64\nadd pal-s 10.0.0.1/8\n",
        "",
        "sets.ipset, line 2: bad member `10.0.0.1/8` of `pal-s`",
    ),
    (
        "create pal-s hash:net family inet hashsize 64 maxelem 64\nadd pal-s 0.0.0.0/0\n",
        "",
        "sets.ipset, line 2: bad member `0.0.0.0/0` of `pal-s`",
    ),
    (
        "create pal-s hash:net family inet hashsize 64 maxelem 1\nadd pal-s 10.0.0.1\nadd pal-s 10.0.0.2\n",
        "",
        "sets.ipset, line 3: `pal-s` is full: its maxelem is 1",
    ),
    (
        "",
        "-A FORWARD -j pal-a\n",
        "filter.v4.rules: there is no chain `pal-a`",
    ),
    (
        "",
        ":pal-a - [0:0]\n",
        "filter.v4.rules: no packet gets to pal-a",
    ),
    (
        "",
        ":pal-a - [0:0]\n-A FORWARD -j pal-a\n-A pal-a -j pal-a\n",
        "filter.v4.rules: `pal-a` is nested too deep",
    ),
    (
        "",
        "-A FORWARD -m set --match-set pal-s src -j DROP\n",
        "filter.v4.rules, line 2: there is no set `pal-s`",
    ),
    (
        "create pal-s hash:net family inet hashsize 64 maxelem 64\n",
        "-A FORWARD -m set --match-set pal-s src,dst -j DROP\n",
        "filter.v4.rules, line 2: `pal-s` does not fit here",
    ),
    (
        "",
        "-A FORWARD -m multiport --dports 80 -j DROP\n",
        "filter.v4.rules, line 2: multiport without a protocol that has ports",
    ),
    (
        "",
        "-A FORWARD -d fd00::1 -j DROP\n",
        "filter.v4.rules, line 2: bad address `fd00::1`",
    ),
    (
        "",
        "-A FORWARD -m comment --comment \"x -j DROP\n",
        "filter.v4.rules, line 2: a quote is left open",
    ),
    (
        "",
        "-A FORWARD -o eth+ -j DROP\n",
        "filter.v4.rules, line 2: bad interface `eth+`",
    ),
    (
        "",
        "-A FORWARD -i + -j DROP\n",
        "filter.v4.rules, line 2: bad interface `+`",
    ),
    (
        "",
        "-A FORWARD -m rpfilter --invert -j DROP\n",
        "filter.v4.rules, line 2: rpfilter in the filter table",
    ),
    (
        "",
        "-A FORWARD -j CT --notrack\n",
        "filter.v4.rules, line 2: CT, but for `--notrack` in the raw table",
    ),
    (
        "",
        "-A FORWARD -m conntrack --ctorigdstport 80 -j DROP\n",
        "filter.v4.rules, line 2: conntrack asks for a port without a protocol that has ports",
    ),
    (
        "",
        "-A PREROUTING -j DROP\n",
        "filter.v4.rules, line 2: there is no chain `PREROUTING`",
    ),
    (
        "",
        "COMMIT\n",
        "filter.v4.rules, line 3: text behind `COMMIT`",
    ),
];

#[test]
fn what_the_tools_refuse_is_refused() {
    for (sets, rules, problem) in REFUSED {
        assert_eq!(load(sets, rules).unwrap_err(), problem);
    }
}

/// Which packets match, by where they arrive and where the route back leads.
#[test]
fn reverse_paths_are_those_of_rpfilter() {
    use ReversePath::{Arriving, Elsewhere, Nowhere};

    for (options, arrives, dropped) in [
        (
            "-m rpfilter --validmark --invert",
            "eth0",
            &[Elsewhere, Nowhere][..],
        ),
        (
            "-m rpfilter --loose --validmark --invert",
            "eth0",
            &[Nowhere],
        ),
        ("-m rpfilter --validmark", "eth0", &[Arriving]),
        ("-m rpfilter --loose", "eth0", &[Arriving, Elsewhere]),
        (
            "-i cali+ -m rpfilter --invert",
            "cali7",
            &[Elsewhere, Nowhere],
        ),
        ("-i cali+ -m rpfilter --invert", "eth0", &[]),
        (
            "! -i cali+ -m rpfilter --invert",
            "eth0",
            &[Elsewhere, Nowhere],
        ),
    ] {
        let raw = format!(
            "*raw\n:pal-PREROUTING - [0:0]\n-A pal-PREROUTING {options} -j DROP\n-A PREROUTING -j \
             pal-PREROUTING\nCOMMIT\n"
        );
        let kernel = load_all("", &[("raw.v4.rules", &raw), ("filter.v4.rules", NOTHING)]).unwrap();
        for reverse_path in [Arriving, Elsewhere, Nowhere] {
            let flow = Flow {
                source: "10.0.0.1".parse().unwrap(),
                destination: "10.0.0.2".parse().unwrap(),
                protocol: Protocol::TCP,
                ports: Some(PortPair {
                    source: 4000,
                    destination: 80,
                }),
                icmp: None,
            };
            let hook = Hook::Input {
                arrives: arrives.to_owned(),
            };
            let packet = Packet {
                flow,
                original: None,
                hook,
                state: State::New,
                reverse_path,
            };
            let is_dropped = kernel.run(&packet).verdict == Verdict::Drop;
            assert_eq!(
                is_dropped,
                dropped.contains(&reverse_path),
                "{options} {arrives} {reverse_path:?}"
            );
        }
    }
}
