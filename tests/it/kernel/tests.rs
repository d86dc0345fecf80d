//! The harness against scripts simple enough to know the answers.

use std::net::IpAddr;

use super::{
    Build, Cluster, Host, Node, Probe, Question, Scripts, ask_expecting, check, restores, skipped,
};

const NOTHING: &str = "*filter\nCOMMIT\n";
const BUILDS: [Build; 2] = [Build::Legacy, Build::Nft];
const PROBES: [Probe; 3] = [Probe::Tcp(80), Probe::Udp(53), Probe::Icmp];

#[test]
fn everything_reaches_everything_through_empty_scripts() {
    for build in BUILDS {
        let cluster = cluster(3, 4);
        let questions: Vec<_> = everything(&cluster)
            .into_iter()
            .map(|question| (question, true))
            .collect();
        check(&cluster, build, &questions);
    }
}

#[test]
fn a_host_may_have_one_family_or_many_addresses() {
    let mut cluster = cluster(2, 2);
    cluster.nodes[0].addresses = vec![address("192.168.0.0")];
    cluster.nodes[0].pods[0].addresses = vec![
        address("10.1.0.0"),
        address("10.7.7.7"),
        address("192.0.2.1"),
    ];
    cluster.nodes[1].addresses = vec![address("fd00:2::1")];
    cluster.nodes[1].pods[0].addresses = vec![address("fd00:1::1:0"), address("fd00:7::7")];
    cluster.outside[0].addresses = vec![address("2001:db8::9")];

    let asks = |question: &Question| {
        question.from == "n0/p1" || (question.from == "n0" && question.to.is_ipv4())
    };

    let asked = everything(&cluster)
        .into_iter()
        .filter(asks)
        .map(|question| (question, true));
    check(&cluster, Build::Nft, &asked.collect::<Vec<_>>());
}

#[test]
fn answers_count_even_if_none_is_expected() {
    for build in BUILDS {
        let cluster = cluster(2, 3);
        let questions = everything(&cluster);
        let answers = ask_expecting(
            &cluster,
            build,
            &questions,
            &vec![skipped(); questions.len()],
        );
        assert_eq!(
            answers.iter().filter(|through| **through).count(),
            questions.len()
        );
    }
}

#[test]
fn only_what_a_rule_drops_is_stopped() {
    for build in BUILDS {
        let mut cluster = cluster(2, 2);
        cluster.nodes[0].scripts = Scripts {
            sets: "create web4 hash:ip family inet\nadd web4 10.1.1.1\ncreate web6 hash:ip family \
                   inet6\nadd web6 fd00:1::1:1\n"
                .to_owned(),
            v4: "*filter\n-A FORWARD -d 10.1.0.0/32 -p tcp --dport 80 -m set --match-set web4 src \
                 -j DROP\nCOMMIT\n"
                .to_owned(),
            v6: "*filter\n-A FORWARD -d fd00:1::/128 -p tcp --dport 80 -m set --match-set web6 \
                 src -j REJECT\nCOMMIT\n"
                .to_owned(),
        };
        let dropped = [address("10.1.0.0"), address("fd00:1::")];
        let stopped = |question: &Question| {
            question.from == "n1/p1"
                && question.probe == Probe::Tcp(80)
                && dropped.contains(&question.to)
        };
        let questions: Vec<_> = everything(&cluster)
            .into_iter()
            .map(|question| (question.clone(), !stopped(&question)))
            .collect();
        assert_eq!(questions.iter().filter(|(_, through)| !through).count(), 2);
        check(&cluster, build, &questions);
    }
}

#[test]
fn rules_on_a_source_port_see_it() {
    for build in BUILDS {
        let mut cluster = cluster(2, 1);
        let rules = "*filter\n-A FORWARD -p tcp --sport 4000 -j DROP\n-A FORWARD -p udp --sport \
                     4000 -j DROP\nCOMMIT\n";
        cluster.nodes[0].scripts = Scripts {
            sets: String::new(),
            v4: rules.to_owned(),
            v6: rules.to_owned(),
        };
        let mut questions = Vec::new();
        for (to, probe, port) in [
            ("10.1.1.0", Probe::Tcp(80), 4000),
            ("fd00:1::1:0", Probe::Udp(80), 4000),
        ] {
            questions.push((question("n0/p0", to, probe, Some(port)), false));
            questions.push((question("n0/p0", to, probe, Some(80)), true));
            questions.push((question("out", to, probe, Some(port)), true));
        }
        check(&cluster, build, &questions);
    }
}

#[test]
fn one_source_port_may_ask_many_and_listen_too() {
    let cluster = cluster(1, 3);
    let mut questions = Vec::new();
    for probe in [Probe::Tcp(80), Probe::Udp(80)] {
        questions.push((question("n0/p0", "10.1.0.1", probe, Some(80)), true));
        questions.push((question("n0/p0", "10.1.0.2", probe, Some(80)), true));
        questions.push((question("n0/p1", "10.1.0.2", probe, Some(80)), true));
    }
    check(&cluster, Build::Nft, &questions);
}

#[test]
fn a_wrong_expectation_is_told_with_the_counters() {
    if skipped() {
        return;
    }

    let mut cluster = cluster(1, 2);
    cluster.nodes[0].scripts.v4 = "*filter\n-A FORWARD -p udp -j DROP\nCOMMIT\n".to_owned();
    let questions = [
        (question("n0/p0", "10.1.0.1", Probe::Udp(53), None), false),
        (question("n0/p0", "10.1.0.1", Probe::Icmp, None), false),
    ];

    let message = panic_of(move || check(&cluster, Build::Nft, &questions));
    assert!(message.contains("nft: 1 of 2 answers differ"), "{message}");
    assert!(
        message.lines().any(|line| line
            .split_whitespace()
            .eq(["n0/p0", "10.1.0.1", "icmp", "stopped", "through"])),
        "{message}"
    );
    assert!(message.contains("counters of n0"), "{message}");

    assert!(message.contains("-A FORWARD -p udp -j DROP"), "{message}");
}

#[test]
fn a_refused_script_panics_with_the_words_of_the_tool() {
    if skipped() {
        return;
    }

    for build in BUILDS {
        let mut cluster = cluster(1, 2);
        cluster.nodes[0].scripts.v4 = "*filter\n-A FORWARD -j NOWHERE\nCOMMIT\n".to_owned();
        let asked = question("n0/p0", "10.1.0.1", Probe::Icmp, None);
        let message = panic_of(move || drop(ask_expecting(&cluster, build, &[asked], &[true])));
        assert!(message.contains("node `n0`: `iptables-"), "{message}");
        assert!(
            message.contains("restore") && message.contains("line"),
            "{message}"
        );
    }
}

#[test]
fn restores_takes_what_the_tools_take() {
    if skipped() {
        return;
    }

    for build in BUILDS {
        let good = Scripts {
            sets: "create s hash:ip\n".to_owned(),
            v4: "*filter\n-A INPUT -m set --match-set s src\nCOMMIT\n".to_owned(),
            ..empty()
        };
        assert_eq!(restores(&good, build), Ok(()));
        let garbage = [
            Scripts {
                sets: "creat\n".to_owned(),
                ..empty()
            },
            Scripts {
                v4: "garbage\n".to_owned(),
                ..empty()
            },
            Scripts {
                v6: "*filter\n-A INPUT -m set --match-set missing src\nCOMMIT\n".to_owned(),
                ..empty()
            },
        ];
        for scripts in garbage {
            let refusal = restores(&scripts, build).unwrap_err();
            assert!(refusal.contains("restore"), "{refusal}");
        }
    }
}

/// The message of the panic, which the test harness keeps to itself.
fn panic_of(work: impl FnOnce() + Send + 'static) -> String {
    let panic = std::thread::spawn(work)
        .join()
        .expect_err("the work panics");
    *panic.downcast::<String>().expect("a panic with words")
}

/// Every host to every other address of the cluster, by every probe.
fn everything(cluster: &Cluster) -> Vec<Question> {
    let nodes = cluster
        .nodes
        .iter()
        .map(|node| (&node.name, &node.addresses));
    let pods = cluster.nodes.iter().flat_map(|node| &node.pods);
    let hosts: Vec<_> = nodes
        .chain(
            pods.chain(&cluster.outside)
                .map(|host| (&host.name, &host.addresses)),
        )
        .collect();
    let pairs = hosts
        .iter()
        .flat_map(|from| hosts.iter().map(move |to| (from, to)))
        .filter(|(from, to)| from.0 != to.0);
    let targets = pairs.flat_map(|(from, to)| to.1.iter().map(move |address| (from.0, *address)));

    let asked = targets.flat_map(|(from, to)| {
        PROBES.map(|probe| Question {
            from: from.clone(),
            to,
            probe,
            source_port: None,
        })
    });
    asked.collect()
}

/// Nodes `n0`… at 192.168.0.0…, pods `n0/p0`… at 10.1.0.0…, one host `out`; both families.
fn cluster(nodes: u8, pods: u8) -> Cluster {
    let nodes = (0..nodes).map(|number| node(number, pods)).collect();
    Cluster {
        nodes,
        outside: vec![host("out", ["203.0.113.9", "2001:db8::9"])],
    }
}

fn node(number: u8, pods: u8) -> Node {
    let pod = |pod: u8| {
        host(
            &format!("n{number}/p{pod}"),
            [
                &format!("10.1.{number}.{pod}"),
                &format!("fd00:1::{number}:{pod}"),
            ],
        )
    };

    let addresses = vec![
        address(&format!("192.168.0.{number}")),
        address(&format!("fd00:2::{number}")),
    ];
    Node {
        name: format!("n{number}"),
        addresses,
        pods: (0..pods).map(pod).collect(),
        scripts: empty(),
    }
}

fn host(name: &str, addresses: [&str; 2]) -> Host {
    Host {
        name: name.to_owned(),
        addresses: addresses.map(address).to_vec(),
    }
}

fn empty() -> Scripts {
    Scripts {
        sets: String::new(),
        v4: NOTHING.to_owned(),
        v6: NOTHING.to_owned(),
    }
}

fn question(from: &str, to: &str, probe: Probe, source_port: Option<u16>) -> Question {
    Question {
        from: from.to_owned(),
        to: address(to),
        probe,
        source_port,
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
