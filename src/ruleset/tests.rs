use std::collections::BTreeMap;

use crate::net::Family;
use crate::ruleset::{
    ParsedMember, ParsedSet, ParsedTable, RuleCounters, RuleJump, RulePosition, RuleText, SetKind,
    TableId, TableKind, lines,
};

#[test]
fn sets_of_scripts_and_of_the_kernel_are_the_same() {
    let ours = "# a comment\ncreate pal-a hash:net family inet hashsize 1024 maxelem 65536\nadd \
                pal-a 10.0.0.2\nadd pal-a 10.0.0.0/30 nomatch\ncreate pal-p bitmap:port range \
                0-65535\nadd pal-p 80-82\n";
    let saved = "create other hash:mac hashsize 64 maxelem 10 bucketsize 12 initval 0x1\nadd \
                 other 00:11:22:33:44:55\ncreate pal-a hash:net family inet hashsize 1024 maxelem \
                 65536 bucketsize 12 initval 0x20e48b09\nadd pal-a 10.0.0.0/30 nomatch\nadd pal-a \
                 10.0.0.2\ncreate pal-p bitmap:port range 0-65535\nadd pal-p 80\nadd pal-p \
                 81\nadd pal-p 82\n";
    let (ours, saved) = (
        ParsedSet::read(ours).unwrap(),
        ParsedSet::read(saved).unwrap(),
    );

    assert_eq!(ours, saved);
    assert_eq!(ours["pal-p"].members, [80, 81, 82].map(ParsedMember::Port));
    assert_eq!(ours["pal-a"].kind, Some(SetKind::Nets(Family::V4)));
    assert_eq!(
        ours["pal-a"].create_line("pal-b"),
        "create pal-b hash:net family inet hashsize 1024 maxelem 65536\n"
    );
}

#[test]
fn sets_that_are_none_of_ours_to_make() {
    for create in [
        "hash:net,iface family inet hashsize 1024 maxelem 65536",
        "hash:net family inet hashsize 1024 maxelem 65536 timeout 60",
    ] {
        let text = format!("create pal-x {create}\nadd pal-x 10.0.0.1,eth0 timeout 3\n");
        assert_eq!(
            ParsedSet::read(&text).unwrap()["pal-x"].kind,
            None,
            "{create}"
        );
    }

    for (text, problem) in [
        ("add pal-x 10.0.0.1\n", "line 1: there is no set `pal-x`"),
        (
            "create pal-x bitmap:port range 0-65535\nadd pal-x http\n",
            "line 2: bad member `http` of `pal-x`",
        ),
        ("Error\n", "line 1: unknown line `Error`"),
    ] {
        assert_eq!(ParsedSet::read(text).unwrap_err().to_string(), problem);
    }
}

#[test]
fn rules_of_scripts_and_of_the_kernel_have_the_same_words() {
    for (written, printed) in [
        (
            r#"-p icmpv6 -m icmp6 --icmpv6-type 130 -m comment --comment "a b" -j ACCEPT"#,
            r#"-p ipv6-icmp -m icmp6 --icmpv6-type 130 -m comment --comment "a b" -j ACCEPT"#,
        ),
        (
            r#"-m comment --comment "palisade" -j pal-INPUT"#,
            "-m comment --comment palisade -j pal-INPUT",
        ),
        ("-s 10.0.0.1 -j DROP", "-s 10.0.0.1/32 -j DROP"),
        ("-d fd00::1 -j DROP", "-d fd00::1/128 -j DROP"),
        (
            "! -i lo -s 10.0.0.0/24 -m set ! --match-set pal-a src -j DROP",
            "-s 10.0.0.0/24 ! -i lo -m set ! --match-set pal-a src -j DROP",
        ),
        (
            "-p tcp ! -d 10.0.0.1 -m multiport --dports 80 -j DROP",
            "! -d 10.0.0.1/32 -p tcp -m multiport --dports 80 -j DROP",
        ),
    ] {
        assert_eq!(
            RuleText::new(written).split_words(),
            RuleText::new(printed).split_words()
        );
        assert!(RuleText::new(written).does_same(&RuleText::new(printed)));
    }
    for (left, right) in [
        (
            "! -i lo -s 10.0.0.0/24 -j DROP",
            "-i lo ! -s 10.0.0.0/24 -j DROP",
        ),
        (
            "-s 10.0.0.1 -d 10.0.0.2 -j DROP",
            "-s 10.0.0.2 -d 10.0.0.1 -j DROP",
        ),
        (
            "-p tcp -m multiport ! --dports 80 -j DROP",
            "! -p tcp -m multiport --dports 80 -j DROP",
        ),
        (
            r#"-m comment --comment "-s" -j DROP"#,
            r#"-m comment --comment "-d" -j DROP"#,
        ),
        (
            "-m set --match-set pal-a src -m set --match-set pal-b dst -j DROP",
            "-m set --match-set pal-a dst -m set --match-set pal-b src -j DROP",
        ),
    ] {
        assert!(
            !RuleText::new(left).does_same(&RuleText::new(right)),
            "{left} {right}"
        );
    }
}

/// A written rule, and how some version of the tools prints it.
const PRINTED: [(&str, &str); 27] = [
    ("-s 0.0.0.0/0 -d ::/0 -i + -j DROP", "-j DROP"),
    ("-s 10.0.0.1 -j DROP", "-s 10.0.0.1/32 -j DROP"),
    ("-s 10.1.2.3/255.255.0.0 -j DROP", "-s 10.1.0.0/16 -j DROP"),
    ("-s ::102:304 -j DROP", "-s ::1.2.3.4/128 -j DROP"),
    (
        "! -i lo -s 10.0.0.0/24 -j DROP",
        "-s 10.0.0.0/24 ! -i lo -j DROP",
    ),
    (
        "-m conntrack ! --ctorigdst 10.0.0.1/32 -j DROP",
        "-m conntrack ! --ctorigdst 10.0.0.1 -j DROP",
    ),
    (
        "-m conntrack --ctorigdst 10.0.0.1/32 -m conntrack --ctorigdstport 7:7 -g a",
        "-m conntrack --ctorigdst 10.0.0.1 --ctorigdstport 7 -g a",
    ),
    (
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ),
    (
        "-p icmpv6 -m icmp6 --icmpv6-type 1/4 -j ACCEPT",
        "-p ipv6-icmp -m icmp6 --icmpv6-type 1/4 -j ACCEPT",
    ),
    (
        "-p icmp --icmp-type echo-request -j ACCEPT",
        "-p icmp -m icmp --icmp-type 8 -j ACCEPT",
    ),
    ("-p 47 -j ACCEPT", "-p gre -j ACCEPT"),
    ("! -p 4 -j ACCEPT", "! -p ipv4 -j ACCEPT"),
    ("-p 132 -j ACCEPT", "-p sctp -j ACCEPT"),
    ("-p 0 -j ACCEPT", "-j ACCEPT"),
    (
        "-p tcp --dport 80 -j ACCEPT",
        "-p tcp -m tcp --dport 80 -j ACCEPT",
    ),
    (
        "-p tcp -m multiport --dports http,22 -j ACCEPT",
        "-p tcp -m multiport --dports 80,22 -j ACCEPT",
    ),
    (
        "-p tcp -m multiport --dports 80 -j ACCEPT",
        "-p tcp -m tcp --dport 80 -j ACCEPT",
    ),
    (
        "-p tcp --syn -j ACCEPT",
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT",
    ),
    (
        "-m limit --limit 10/second --limit-burst 20 -j LOG",
        "-m limit --limit 10/sec --limit-burst 20 -j LOG",
    ),
    (
        "-m limit --limit 600/minute --limit-burst 5 -j RETURN",
        "-m limit --limit 10/sec -j RETURN",
    ),
    (
        "-j LOG --log-prefix \"-s \" --log-level 4",
        "-j LOG --log-prefix \"-s \"",
    ),
    ("-j MARK --set-mark 1", "-j MARK --set-xmark 0x1/0xffffffff"),
    ("-j REJECT", "-j REJECT --reject-with icmp-port-unreachable"),
    ("-m mark --mark 1 -j DROP", "-m mark --mark 0x1 -j DROP"),
    (
        "--source 10.0.0.1 --in-interface a --jump DROP",
        "-s 10.0.0.1/32 -i a -j DROP",
    ),
    (
        "-m comment --comment \"-s 10.0.0.1\" -j CT --notrack",
        "-m comment --comment \"-s 10.0.0.1\" -j CT --notrack",
    ),
    (
        "-m comment --comment \"-s\" -j pal-a",
        "-m comment --comment -s -j pal-a",
    ),
];

/// A written rule, and a rule with more, fewer or other options.
const OTHERWISE: [(&str, &str); 33] = [
    ("-s 10.0.0.1 -j ACCEPT", "-j ACCEPT"),
    ("-s 10.0.0.1 -j ACCEPT", "-s 10.0.0.0/8 -j ACCEPT"),
    ("-s 10.0.0.1 -j ACCEPT", "! -s 10.0.0.1 -j ACCEPT"),
    ("-s 10.0.0.1 -j ACCEPT", "-d 10.0.0.1 -j ACCEPT"),
    ("! -s 0.0.0.0/0 -j ACCEPT", "-j ACCEPT"),
    ("-j DROP", "-s 10.0.0.1 -j DROP"),
    ("-j DROP", "-p tcp -j DROP"),
    ("-j DROP", "-m mark --mark 7 -j DROP"),
    ("-j DROP", "-m socket -j DROP"),
    ("-j DROP", "-f -j DROP"),
    ("-m mark --mark 7 -j ACCEPT", "-j ACCEPT"),
    ("-i eth0 -g pal-a", "-g pal-a"),
    ("-i eth0 -g pal-a", "-i eth+ -g pal-a"),
    ("-i eth0 -g pal-a", "-o eth0 -g pal-a"),
    ("! -i lo -g pal-a", "-g pal-a"),
    ("-p tcp -j ACCEPT", "-j ACCEPT"),
    ("-p tcp -j ACCEPT", "-p udp -j ACCEPT"),
    ("-p tcp -j ACCEPT", "-p other -j ACCEPT"),
    ("-p 47 -j ACCEPT", "-p esp -j ACCEPT"),
    ("-p 47 -j ACCEPT", "-p 99 -j ACCEPT"),
    (
        "-p tcp -m multiport --dports 80 -j ACCEPT",
        "-p tcp -m multiport --dports 80,81 -j ACCEPT",
    ),
    (
        "-p tcp -m multiport --dports 80 -j ACCEPT",
        "-p tcp -m multiport --sports 80 -j ACCEPT",
    ),
    (
        "-p tcp -m multiport --dports 80 -j ACCEPT",
        "-p tcp -j ACCEPT",
    ),
    (
        "-p icmp -m icmp --icmp-type 8 -j ACCEPT",
        "-p icmp -m icmp --icmp-type any -j ACCEPT",
    ),
    (
        "-m conntrack --ctstate ESTABLISHED -j ACCEPT",
        "-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
    ),
    (
        "-m conntrack --ctorigdst 10.0.0.1 -j ACCEPT",
        "-m conntrack -j ACCEPT",
    ),
    (
        "-m set --match-set pal-a src -j ACCEPT",
        "-m set --match-set pal-a dst -j ACCEPT",
    ),
    (
        "-m set --match-set pal-a src -j ACCEPT",
        "-m set ! --match-set pal-a src -j ACCEPT",
    ),
    (
        "-m set --match-set pal-a src -j ACCEPT",
        "-m set --match-set pal-a src --return-nomatch -j ACCEPT",
    ),
    (
        "-m limit --limit 10/second -j LOG",
        "-m limit --limit 100/sec -j LOG",
    ),
    (
        "-m comment --comment a -j DROP",
        "-m comment --comment b -j DROP",
    ),
    ("-g pal-a", "-j pal-a"),
    ("-j CT --notrack", "-j CT --zone 5"),
];

#[test]
fn ways_of_printing_are_told_from_other_rules() {
    for (wrote, read) in PRINTED {
        assert!(
            RuleText::new(wrote).is_printed_as(&RuleText::new(read)),
            "{wrote} is printed as {read}"
        );
    }

    for (wrote, read) in OTHERWISE {
        assert!(
            !RuleText::new(wrote).is_printed_as(&RuleText::new(read)),
            "{wrote} is never printed as {read}"
        );
    }
}

#[test]
fn parts_of_a_rule() {
    let rule = RuleText::new(
        r#"-m set ! --match-set pal-a src,dst -m set --match-set pal-b src -m comment --comment "see --match-set pal-c -j X" -g pal-d"#,
    );
    assert_eq!(rule.sets(), ["pal-a", "pal-b"]);
    let looks: Vec<_> = rule
        .looks()
        .iter()
        .map(|look| (look.set, look.is_negated, look.sides))
        .collect();
    assert_eq!(looks, [("pal-a", true, "src,dst"), ("pal-b", false, "src")]);
    assert_eq!(rule.leads(), Some(RuleJump::Goto("pal-d")));
    assert_eq!(rule.comment(), "see --match-set pal-c -j X");
    let other = rule.with_sets(|name| format!("{name}~1"));
    assert_eq!(other.sets(), ["pal-a~1", "pal-b~1"]);
    assert_eq!(
        other.with_sets(|name| name.trim_end_matches("~1").to_owned()),
        rule
    );
}

const SAVED: &str = "# Generated by iptables-save\n*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING \
                     -j DOCKER\nCOMMIT\n*filter\n:INPUT ACCEPT [1:2]\n:DOCKER - \
                     [0:0]\n:pal-FORWARD - [0:0]\n[5:300] -A FORWARD -j DOCKER\n[7:420] -A \
                     FORWARD -m comment --comment palisade -j pal-FORWARD\n[1:60] -A DOCKER -m \
                     set --match-set theirs src -j DROP\n[2:120] -A pal-FORWARD -m set \
                     --match-set pal-a src -j DROP\nCOMMIT\n";

#[test]
fn what_the_kernel_has_is_told_apart() {
    let tables = ParsedTable::read(SAVED, Family::V4).unwrap();
    let id = TableId {
        family: Family::V4,
        kind: TableKind::Filter,
    };
    let table = &tables[&id];

    assert_eq!(tables.len(), 1);
    assert_eq!(
        table.chains["pal-FORWARD"][0].counters,
        Some(RuleCounters {
            packets: 2,
            bytes: 120
        })
    );
    assert_eq!(
        table.chains["pal-FORWARD"][0].text(),
        "-m set --match-set pal-a src -j DROP"
    );
    assert_eq!(
        table
            .hooks
            .iter()
            .map(|hook| (hook.from.as_str(), hook.place))
            .collect::<Vec<_>>(),
        [("FORWARD", RulePosition::Number(2))]
    );
    assert_eq!(
        table.lengths,
        BTreeMap::from([("FORWARD".to_owned(), 2), ("DOCKER".to_owned(), 1)])
    );

    assert_eq!(table.sets_of_others.iter().collect::<Vec<_>>(), ["theirs"]);
}

#[test]
fn a_newline_in_a_comment_ends_no_line() {
    let comment =
        "two\nlines -A x \\\" q\n\nCOMMIT\n*nat\n:pal-x - [0:0]\n-A FORWARD -j pal-x b\\\\";
    let text = format!(
        "# a \"comment\n*filter\n:a\"b - [0:0]\n[0:0] -A a\"b -j ACCEPT\n[0:0] -A FORWARD -m \
         comment --comment \"{comment}\" -j LOG --log-prefix \"\n\"\n[0:0] -A FORWARD -m comment \
         --comment \"x\n\" -j pal-x\n:pal-x - [0:0]\nCOMMIT\n"
    );

    let numbers: Vec<usize> = lines(&text).map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 13, 15, 16]);
    let table = ParsedTable::read(&text, Family::V4)
        .unwrap()
        .remove(&TableId {
            family: Family::V4,
            kind: TableKind::Filter,
        })
        .unwrap();

    assert_eq!(
        table.lengths,
        BTreeMap::from([("a\"b".to_owned(), 1), ("FORWARD".to_owned(), 2)])
    );
    assert_eq!(
        table
            .hooks
            .iter()
            .map(|hook| hook.rule.comment())
            .collect::<Vec<_>>(),
        ["x\n"]
    );
    assert_eq!(table.chains.keys().collect::<Vec<_>>(), ["pal-x"]);

    // A table without its end is half a table.
    let half = text.split_at(text.find("CO").unwrap()).0;
    assert!(ParsedTable::read(half, Family::V4).is_err());
    assert_eq!(lines("a --comment \"b\nc\n").count(), 2);
}

#[test]
fn half_a_table_is_no_table() {
    let cut: Vec<&str> = SAVED.lines().collect();
    for end in 1..cut.len() {
        let text = cut[..end].join("\n");
        let is_between_tables = cut[end - 1] == "COMMIT" || end == 1;
        assert_eq!(
            ParsedTable::read(&text, Family::V4).is_ok(),
            is_between_tables,
            "{text}"
        );
    }
}
