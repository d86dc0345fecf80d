use crate::limits;
use crate::net::{Family, SetSize};
use crate::options::{ExtensionSet, KnownExtension};
use crate::ruleset::checked::{CheckedScripts, ScriptError};
use std::net::Ipv4Addr;

const SETS: &str = "\
# endpoints
create pal-local4 hash:net family inet hashsize 1024 maxelem 65536
add pal-local4 10.0.0.1
add pal-local4 10.0.0.2
create pal-local6 hash:net family inet6 hashsize 1024 maxelem 65536
create pal-c4-x hash:net family inet hashsize 1024 maxelem 65536
add pal-c4-x 10.0.0.0/8
add pal-c4-x 10.1.0.0/16 nomatch
create pal-p-x bitmap:port range 0-65535
add pal-p-x 80
add pal-p-x 90-99
create pal-sp4-x hash:ip,port family inet hashsize 1024 maxelem 65536
add pal-sp4-x 10.0.0.1,tcp:80
";

/// The filter table of IPv4. The one of IPv6 differs only in its sets.
const FILTER: &str = r#"# filter
*filter
:pal-FORWARD - [0:0]
:pal-INPUT - [0:0]
:pal-OUTPUT - [0:0]
:pal-from-endpoint - [0:0]
:pal-allowed - [0:0]
:pal-to-endpoint - [0:0]

-A pal-FORWARD -m set --match-set pal-local4 src -m comment --comment "from" -g pal-from-endpoint
-A pal-FORWARD -m set --match-set pal-local4 dst -m comment --comment "to" -g pal-to-endpoint
-A pal-INPUT -m set --match-set pal-local4 src -m comment --comment "from" -g pal-from-endpoint
-A pal-OUTPUT -m set --match-set pal-local4 dst -m comment --comment "to" -j RETURN
-A pal-from-endpoint -p tcp -m multiport --dports 80 -m comment --comment "rule" -j DROP
-A pal-from-endpoint -m comment --comment "end" -g pal-allowed
-A pal-allowed -m set --match-set pal-local4 dst -m comment --comment "to" -g pal-to-endpoint
-A pal-allowed -m comment --comment "end" -j ACCEPT
-A pal-to-endpoint -m comment --comment "end" -j ACCEPT
# hooks
-I FORWARD 1 -m comment --comment "palisade" -j pal-FORWARD
-I INPUT 1 -m comment --comment "palisade" -j pal-INPUT
-I OUTPUT 1 -m comment --comment "palisade" -j pal-OUTPUT
COMMIT
"#;

/// The rule of [`FILTER`] that the tests replace.
const RULE: &str =
    r#"-A pal-from-endpoint -p tcp -m multiport --dports 80 -m comment --comment "rule" -j DROP"#;

fn allowed(names: &[&str]) -> ExtensionSet {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn read_all(
    sets: &str,
    filter: &str,
    raw: Option<&str>,
    allowed: &ExtensionSet,
) -> Result<CheckedScripts, ScriptError> {
    let v6 = FILTER.replace("pal-local4", "pal-local6");
    let files = [
        ("sets.ipset", sets),
        ("filter.v4.rules", filter),
        ("filter.v6.rules", &v6),
    ];
    let early = raw.map(|text| ("raw.v4.rules", text));
    CheckedScripts::read(files.into_iter().chain(early), allowed)
}

fn refusal(sets: &str, filter: &str) -> String {
    let refused = read_all(sets, filter, None, &ExtensionSet::default());
    refused.expect_err(&format!("{sets}{filter}")).to_string()
}

/// Reads [`FILTER`] with this rule in place of [`RULE`], with these extensions allowed.
fn rule(rule: &str, names: &[&str]) -> Result<CheckedScripts, ScriptError> {
    read_all(SETS, &FILTER.replace(RULE, rule), None, &allowed(names))
}

/// Reads a DROP rule with these conditions, in the filter table of a family.
fn rule_of(family: &str, conditions: &str) -> Result<CheckedScripts, ScriptError> {
    let sized = |filter: String| filter.replace("pal-local4", "pal-local6");
    let [plain, changed] = [
        FILTER.to_owned(),
        FILTER.replace(RULE, &format!("-A pal-from-endpoint {conditions} -j DROP")),
    ];
    let (v4, v6) = match family {
        "v4" => (changed, sized(plain)),
        _ => (plain, sized(changed)),
    };

    let files = [
        ("sets.ipset", SETS),
        ("filter.v4.rules", &v4),
        ("filter.v6.rules", &v6),
    ];
    CheckedScripts::read(files, &ExtensionSet::every())
}

#[test]
fn what_palisade_writes_is_read() {
    let read = read_all(SETS, FILTER, None, &ExtensionSet::default()).unwrap();
    let members: Vec<usize> = read
        .holdings()
        .sets()
        .values()
        .map(|set| set.members.len())
        .collect();
    assert_eq!(members, [2, 2, 0, 11, 1]);
}

#[test]
fn bytes_that_tools_read_otherwise_are_refused() {
    for byte in (0..=u8::MAX).filter(|byte| !(b' '..=b'~').contains(byte) && *byte != b'\n') {
        let bad = String::from_utf8_lossy(&[byte]).into_owned();
        for place in ["# endpoints", "create", "10.0.0.2"] {
            let sets = SETS.replace(place, &format!("{place}{bad}"));
            assert!(
                refusal(&sets, FILTER).contains("printable ASCII"),
                "{byte} in {place}"
            );
        }
        for place in ["# filter", "rule\"", "-j DROP", "COMMIT"] {
            let filter = FILTER.replace(place, &format!("{bad}{place}"));
            assert!(
                refusal(SETS, &filter).contains("printable ASCII"),
                "{byte} in {place}"
            );
        }
    }
}

#[test]
fn lines_are_as_long_as_the_tools_read() {
    for (extra, is_read) in [(0, true), (1, false)] {
        let comment = |length: usize| format!("#{}\n", " ".repeat(length + extra - 1));
        let sets = format!("{SETS}{}", comment(limits::IPSET_LINE));
        let filter = format!("{}{FILTER}", comment(limits::IPTABLES_LINE));
        for (sets, filter) in [(&*sets, FILTER), (SETS, &*filter)] {
            let read = read_all(sets, filter, None, &ExtensionSet::default());
            assert_eq!(read.is_ok(), is_read, "{extra}: {read:?}");
        }
    }

    let open = SETS.trim_end();
    assert_eq!(
        refusal(open, FILTER),
        "sets.ipset, line 13: the last line does not end in a newline"
    );
}

#[test]
fn rules_have_one_form() {
    for refused in [
        // numbers that the tools read or print differently
        "-p tcp -m multiport --dports 010 -j DROP",
        "-p tcp -m multiport --dports +80 -j DROP",
        "-p tcp -m multiport --dports 0x50 -j DROP",
        "-p tcp -m multiport --dports 80:80 -j DROP",
        "-p 06 -j DROP",
        "-p 6 -j DROP",
        "-p icmp -m icmp --icmp-type 255 -j DROP",
        "-p icmp -m icmp --icmp-type 08 -j DROP",
        "-s 10.0.0.0/08 -j DROP",
        "-s 10.0.0.1/8 -j DROP",
        "-s 10.0.0.0/255.0.0.0 -j DROP",
        "-m conntrack --ctstate ESTABLISHED,RELATED -j DROP",
        "-m conntrack --ctorigdst 10.0.0.1 --ctstate NEW -j DROP",
        "-p tcp -m conntrack --ctorigdstport 80 --ctorigdst 10.0.0.1 -j DROP",
        "-p tcp -m conntrack --ctorigdstport 90:80 -j DROP",
        "-p tcp -m multiport --dports 90:80 -j DROP",
        "-p 0 -j DROP",
        // words
        "-p  tcp -j DROP",
        "-p tcp -j DROP ",
        "-p \"tcp\" -j DROP",
        "-p tcp -p tcp -j DROP",
        "-m comment --comment x -j DROP",
        "-m comment --comment \"\" -j DROP",
        "-m comment --comment \"a\\\" -j DROP",
        "-m comment --comment \"a'b\" -j DROP",
        "-m comment --comment \"a\"b -j DROP",
        "-m comment --comment \"a\" -m comment --comment \"b\" -j DROP",
        "-o eth+ -j DROP",
        "-i + -j DROP",
        "-m rpfilter --validmark --invert -j DROP",
        "-i -j DROP",
        // rules without a limit: packets above it would pass
        "-m limit --limit 10/second --limit-burst 20 -j DROP",
        "-m limit --limit 1/second --limit-burst 20 -j LOG --log-prefix \"x\" --log-level 5",
        // targets and commands
        "-j REJECT",
        "-j MARK --set-mark 1",
        "-j CT --notrack",
        "-j ACCEPT -j DROP",
        "-g ACCEPT",
        "-j INPUT",
        "-p tcp",
        "-t nat -j DROP",
        "-p tcp --dport 80 -j DROP",
        "-m tcp --dport 80 -j DROP",
    ] {
        let text = format!("-A pal-from-endpoint {refused}");
        let read = rule(&text, &[]);
        assert!(read.is_err(), "{refused}");
    }

    for taken in [
        "-s 10.0.0.1 -j DROP",
        "-s 10.0.0.1/32 ! -d 10.0.0.0/8 ! -i eth0.1 -p 6 -j DROP",
        "-p tcp -m conntrack --ctstate NEW,RELATED ! --ctorigdstport 80 -j ACCEPT",
        "-m limit --limit 10/second --limit-burst 20 -j LOG --log-prefix \"x \" --log-level 5",
        "-p udp -m set ! --match-set pal-p-x dst -m set --match-set pal-sp4-x src,src -j RETURN",
    ] {
        let text = format!("-A pal-from-endpoint {}", taken.replace("-p 6 ", "-p 47 "));
        let read = rule(&text, &[]);
        assert!(read.is_ok(), "{taken}: {read:?}");
    }
}

/// Covers both families and every option that takes an address. Without `!`, all are accepted.
#[test]
fn negated_conditions_that_no_packet_meets_are_refused() {
    for (family, all) in [("v4", "0.0.0.0/0"), ("v6", "::/0")] {
        for option in ["-s", "-d", "-m conntrack ! --ctorigdst"] {
            let negated = match option.contains('!') {
                true => format!("{option} {all}"),
                false => format!("! {option} {all}"),
            };
            assert!(rule_of(family, &negated).is_err(), "{negated}");

            let met = negated.replace("! ", "");
            rule_of(family, &met).unwrap_or_else(|refused| panic!("{met}: {refused}"));
        }
    }
}

#[test]
fn control_messages_are_those_of_the_family() {
    let families = [("v4", "icmp", "icmp"), ("v6", "icmp6", "icmpv6")];
    for (family, own, own_protocol) in families {
        for (_, name, protocol) in families {
            for (_, _, option) in families {
                let text = format!("-p {protocol} -m {name} --{option}-type 8");
                let is_own = name == own && protocol == own_protocol && option == own_protocol;
                assert_eq!(rule_of(family, &text).is_ok(), is_own, "{family}: {text}");
            }
        }
    }
}

/// All lists of two and three states.
#[test]
fn states_are_listed_once_and_in_order() {
    const STATES: [&str; 5] = ["INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED"];
    for (first, one) in STATES.iter().enumerate() {
        for (second, other) in STATES.iter().enumerate() {
            let text = format!("-m conntrack --ctstate {one},{other}");
            assert_eq!(rule_of("v4", &text).is_ok(), first < second, "{text}");
            for (third, last) in STATES.iter().enumerate() {
                let text = format!("-m conntrack --ctstate {one},{other},{last}");
                let is_sorted = first < second && second < third;
                assert_eq!(rule_of("v4", &text).is_ok(), is_sorted, "{text}");
            }
        }
    }
}

#[test]
fn lines_are_those_of_bundles() {
    for line in [
        "[1:1] -A pal-from-endpoint -j DROP",
        " -A pal-from-endpoint -j DROP",
        "-A INPUT -j ACCEPT",
        "-A INPUT -m comment --comment \"palisade\" -j pal-OUTPUT",
        "-A FORWARD -m comment --comment \"palisade\" -j pal-FORWARD",
        "-I pal-from-endpoint 1 -j DROP",
        "-I FORWARD 2 -m comment --comment \"palisade\" -j pal-FORWARD",
        "-A FORWARD 1 -m comment --comment \"palisade\" -j pal-FORWARD",
        "-D pal-from-endpoint 1",
        "-X pal-allowed",
        "-P INPUT ACCEPT",
        ":INPUT ACCEPT [0:0]",
        ":pal-late - [0:0]",
        "*nat",
        "COMMIT",
        "COMMIT ",
        " # a comment",
    ] {
        let read = rule(line, &[]);
        assert!(read.is_err(), "{line}");
    }

    for (from, to) in [
        ("*filter", "*nat"),
        ("*filter", "* filter"),
        ("*filter", "*filter "),
        (":pal-allowed - [0:0]", ":pal-allowed - [1:1]"),
        (":pal-allowed - [0:0]", ":pal-allowed -"),
        (":pal-allowed - [0:0]", ":allowed - [0:0]"),
        (
            ":pal-allowed - [0:0]",
            ":pal-allowed - [0:0]\n:pal-allowed - [0:0]",
        ),
        (
            ":pal-allowed - [0:0]",
            ":pal-allowed - [0:0]\n:pal-unused - [0:0]",
        ),
    ] {
        refusal(SETS, &FILTER.replacen(from, to, 1));
    }
}

#[test]
fn members_have_one_form_and_order() {
    for (from, to) in [
        ("10.0.0.2", "10.0.0.1"),
        ("10.0.0.2", "10.0.0.0"),
        ("10.0.0.2", "10.0.0.2/32"),
        ("10.0.0.2", "0.0.0.0/0"),
        ("10.0.0.2", "010.0.0.2"),
        ("10.0.0.2", "10.0.0.2-10.0.0.9"),
        ("10.0.0.2", "fd00::1"),
        ("10.0.0.2", "10.0.0.2 timeout 1"),
        ("10.0.0.2", "10.0.0.2  nomatch"),
        ("10.1.0.0/16 nomatch", "10.0.0.0/8 nomatch"),
        ("90-99", "81-99"),
        ("90-99", "80-99"),
        ("90-99", "70"),
        ("90-99", "90-90"),
        ("90-99", "99-90"),
        ("90-99", "090-99"),
        ("90-99", "0-65535"),
        ("add pal-p-x 80", "add pal-p-x 0"),
        ("tcp:80", "icmp:80"),
        ("tcp:80", "6:80"),
        ("tcp:80", "tcp:080"),
        ("tcp:80", "80"),
        ("add pal-p-x 80", "add pal-c4-x 11.0.0.0/8"),
        ("add pal-p-x 80", "flush pal-p-x"),
        ("add pal-p-x 80", " add pal-p-x 80"),
        ("add pal-p-x 80", "-exist add pal-p-x 80"),
        ("pal-p-x", "p-x"),
        ("pal-c4-x", "pal-c4_x"),
        ("hashsize 1024", "hashsize 1023"),
        ("hashsize 1024", "hashsize 2147483648"),
        ("maxelem 65536", "maxelem 1"),
        ("maxelem 65536", "maxelem 065536"),
        ("maxelem 65536", "maxelem 65536 timeout 9"),
        ("range 0-65535", "range 0-1024"),
    ] {
        let sets = SETS.replace(from, to);
        assert_ne!(sets, SETS);
        refusal(&sets, FILTER);
    }
}

/// The kernel allocates a set's buckets at creation, however few members it has.
#[test]
fn sets_have_the_size_that_their_members_need() {
    for members in [0, 1, 1024, 1025, 2048, 40_000] {
        let size = SetSize::for_members(members);
        let script = |size: SetSize| {
            let create = format!("create pal-c4-z hash:net family inet {size}\n");
            let number = |n: usize| u32::try_from(n).unwrap() + 0x0b00_0000;
            let addresses = (0..members).map(|n| Ipv4Addr::from(number(n)));
            let adds = addresses.map(|address| format!("add pal-c4-z {address}\n"));
            format!("{SETS}{create}{}", adds.collect::<String>())
        };
        let read = |size: SetSize| {
            read_all(&script(size), FILTER, None, &ExtensionSet::default()).map(|_| ())
        };
        read(size).unwrap();

        for factor in [2, 16, 1024] {
            let larger = SetSize {
                hashsize: size.hashsize * factor,
                ..size
            };
            let refused = read(larger).unwrap_err();
            assert_eq!(refused.line, Some(14), "{refused}");
            read(SetSize {
                maxelem: size.maxelem * factor,
                ..size
            })
            .unwrap_err();
        }
        read(SetSize {
            hashsize: size.hashsize / 2,
            ..size
        })
        .unwrap_err();
        read(SetSize {
            maxelem: size.maxelem / 2,
            ..size
        })
        .unwrap_err();
    }
}

/// The limit applies before ranges are expanded, so refused scripts allocate no memory.
#[test]
fn all_sets_together_are_bounded() {
    let one = "create pal-p-0 bitmap:port range 0-65535\nadd pal-p-0 1-65535\n";
    let many: String = (0..80)
        .map(|number| one.replace("-0 ", &format!("-{number} ")))
        .collect();
    let refused = refusal(&format!("{SETS}{many}"), FILTER);
    assert!(refused.ends_with("members in all sets"), "{refused}");
}

#[test]
fn fixed_chains_lead_into_policy() {
    let of_rule = |line: &str| line.starts_with("-A pal-") || line.starts_with("-I ");
    for (number, line) in FILTER.lines().enumerate().filter(|(_, line)| of_rule(line)) {
        if line == RULE {
            continue;
        }
        let lines = FILTER.lines().enumerate().filter(|(own, _)| *own != number);
        let less: String = lines.map(|(_, line)| format!("{line}\n")).collect();
        refusal(SETS, &less);

        // If a rule before it takes every packet, the rule might as well be missing.
        let words: Vec<&str> = line.split(' ').collect();
        if line.starts_with("-A") && line.contains("-m set") {
            let early = format!("-A {} -j ACCEPT\n{line}", words[1]);
            refusal(SETS, &FILTER.replace(line, &early));
        }
    }
    let drop = "-A pal-INPUT -m set --match-set pal-local4 src -j DROP";
    let other = FILTER
        .lines()
        .find(|line| line.starts_with("-A pal-INPUT"))
        .unwrap();
    read_all(
        SETS,
        &FILTER.replace(other, drop),
        None,
        &ExtensionSet::default(),
    )
    .unwrap();
}

#[test]
fn early_tables_have_jumps_of_their_own() {
    let raw = "*raw\n:pal-PREROUTING - [0:0]\n-A pal-PREROUTING -j CT --notrack\n-I PREROUTING 1 \
               -m comment --comment \"palisade\" -j pal-PREROUTING\nCOMMIT\n";
    let read = |raw: &str| read_all(SETS, FILTER, Some(raw), &ExtensionSet::default());
    read(raw).unwrap();

    for (from, to) in [
        (
            "-I PREROUTING 1 -m comment --comment \"palisade\" -j pal-PREROUTING\n",
            "",
        ),
        ("-A pal-PREROUTING -j CT --notrack\n", ""),
        (
            "-A pal-PREROUTING -j CT --notrack\n",
            "-A pal-PREROUTING -j CT --zone 1\n",
        ),
        ("-j CT", "-m conntrack --ctstate NEW -j CT"),
        ("*raw", "*nat"),
    ] {
        assert!(read(&raw.replace(from, to)).is_err(), "{from} to {to}");
    }

    assert!(read("*raw\nCOMMIT\n").is_err());
}

/// In raw and mangle, the only effect of ACCEPT is to skip foreign rules.
#[test]
fn early_tables_accept_nothing() {
    for (kind, conditions) in [
        ("raw", ""),
        ("raw", "-m rpfilter "),
        ("raw", "-m rpfilter --validmark --invert "),
        ("raw", "-i eth0 -p tcp -m multiport --dports 22 "),
        ("raw", "-m set --match-set pal-local4 src "),
        ("mangle", ""),
        ("mangle", "-m rpfilter "),
        ("mangle", "-m conntrack --ctstate RELATED,ESTABLISHED "),
        ("mangle", "! -i lo -m comment --comment \"x\" "),
    ] {
        for chain in ["PREROUTING", "more"] {
            let read = |target: &str| {
                let rule = format!("-A pal-{chain} {conditions}-j {target}\n");
                let table = format!(
                    "*{kind}\n:pal-PREROUTING - [0:0]\n:pal-more - [0:0]\n{rule}-A pal-PREROUTING \
                     -g pal-more\n-A pal-more -j RETURN\n-I PREROUTING 1 -m comment --comment \
                     \"palisade\" -j pal-PREROUTING\nCOMMIT\n"
                );
                let file = format!("{kind}.v4.rules");
                let v6 = FILTER.replace("pal-local4", "pal-local6");
                let files = [
                    ("sets.ipset", SETS),
                    ("filter.v4.rules", FILTER),
                    ("filter.v6.rules", &v6),
                    (&file, &table),
                ];
                CheckedScripts::read(files, &ExtensionSet::every())
                    .map(drop)
                    .map_err(|refused| refused.to_string())
            };
            let refused = format!(
                "{kind}.v4.rules, line 4: ACCEPT in the {kind} table, where it would skip the \
                 rules of others"
            );
            assert_eq!(read("ACCEPT"), Err(refused), "{conditions}");
            for target in ["RETURN", "DROP"] {
                assert_eq!(read(target), Ok(()), "{conditions}{target}");
            }
        }
    }
}

#[test]
fn other_files_are_refused() {
    let files = [("sets.ipset", SETS), ("nat.v4.rules", "*nat\nCOMMIT\n")];
    let refused = CheckedScripts::read(files, &ExtensionSet::default()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "nat.v4.rules: it is no script of a bundle"
    );
    let refused =
        CheckedScripts::read([("sets.ipset", SETS)], &ExtensionSet::default()).unwrap_err();
    assert_eq!(refused.to_string(), "filter.v4.rules: it is missing");
}

#[test]
fn extensions_drop_or_observe() {
    const NAMES: [&str; 6] = ["tcp", "mark", "string", "limit", "REJECT", "NFLOG"];
    for taken in [
        "-p tcp -m tcp --dport 22 -j DROP",
        "-p tcp -m tcp ! --dport 22 --tcp-flags SYN,ACK SYN -j REJECT --reject-with tcp-reset",
        "-m mark --mark 0x1/0xff -j NFLOG --nflog-prefix \"a b\" --nflog-group 1",
        "-m string --algo bm --string \"a b\" -j DROP",
        "-m limit --limit 5/minute -j NFLOG",
        "-m mark --mark 1 -j LOG --log-prefix \"x\" --log-level 5",
        "-s 10.0.0.1 -j REJECT",
    ] {
        let text = format!("-A pal-from-endpoint {taken}");
        let read = rule(&text, &NAMES).unwrap_or_else(|refused| panic!("{taken}: {refused}"));
        assert!(!read.extensions().is_empty(), "{taken}");
        assert!(rule(&text, &[]).is_err(), "{taken}");
    }

    for refused in [
        "-p tcp -m tcp --dport 22 -j ACCEPT",
        "-p tcp -m tcp --dport 22 -j RETURN",
        "-p tcp -m tcp --dport 22 -g pal-allowed",
        "-p tcp -m tcp --dport 22 -j pal-allowed",
        "-m mark --mark 1 --jump ACCEPT -j DROP",
        "-m mark --mark 1 --ju ACCEPT",
        "-m mark --mark 1 --in-interface lo -j DROP",
        "-m mark --mark 1 --append INPUT -j DROP",
        "-m mark --mark 1 -D INPUT -j DROP",
        "-m mark --mark 1 -t nat -j DROP",
        "-m mark --mark 1 -4 -j DROP",
        "-m mark -- -j DROP",
        "-m mark --mark \"1 -j DROP",
        "-m addrtype --dst-type LOCAL -j DROP",
        "-j NFLOG --nflog-prefix x -j ACCEPT",
        "-j AUDIT --type drop",
        "-j DNAT --to-destination 10.0.0.1",
    ] {
        let read = rule(&format!("-A pal-from-endpoint {refused}"), &NAMES);
        assert!(read.is_err(), "{refused}");
    }

    assert!(rule("-A INPUT -p tcp -m tcp --dport 22 -j DROP", &NAMES).is_err());
}

/// Returns the family and the conditions before the options of an extension.
fn begun(known: &KnownExtension) -> (&'static str, String) {
    let family = known.family.map_or(
        "v4",
        |family| if family == Family::V6 { "v6" } else { "v4" },
    );
    let protocol = known
        .protocol
        .map(|protocol| format!("-p {} ", protocol.keyword()));

    (
        family,
        format!("{}-m {}", protocol.unwrap_or_default(), known.name),
    )
}

/// Returns the matches that a user may allow.
fn matches() -> impl Iterator<Item = &'static KnownExtension> {
    KnownExtension::every().filter(|known| known.name.to_ascii_lowercase() == known.name)
}

#[test]
fn options_of_extensions_are_known_in_full() {
    for known in matches() {
        let (family, begun) = begun(known);
        for option in known.options {
            let value = if option.name == "hashlimit-name" {
                " pal-x"
            } else {
                " 1"
            };
            let values = value.repeat(option.values);
            let text = |name: &str| format!("{begun} --{name}{values}");
            let taken = text(option.name);
            rule_of(family, &taken).unwrap_or_else(|refused| panic!("{taken}: {refused}"));

            let negated = taken.replace(" --", " ! --");
            assert_eq!(
                rule_of(family, &negated).is_ok(),
                option.is_negatable,
                "{negated}"
            );
            // getopt_long accepts every unambiguous abbreviation of an option.
            for length in 0..option.name.len() {
                let (part, _) = option.name.split_at(length);
                let is_other = known.options.iter().any(|other| other.name == part);
                let short = text(part);
                assert!(is_other || rule_of(family, &short).is_err(), "{short}");
            }
            for more in [
                format!("{taken} --{}{values}", option.name),
                format!("{taken} 1"),
            ] {
                assert!(rule_of(family, &more).is_err(), "{more}");
            }
            if option.values > 0 {
                let less = format!(
                    "{begun} --{}{}",
                    option.name,
                    value.repeat(option.values - 1)
                );
                assert!(rule_of(family, &less).is_err(), "{less}");
            }
        }
        let twice = format!("{begun} -m {}", known.name);
        assert!(rule_of(family, &twice).is_err(), "{twice}");
    }
}

/// Options of the tools, in full, short or abbreviated, and of extensions that cannot be allowed.
const FOREIGN: &str = "-4 -6 -A -D -F -I -M -V -X -Z -c -d -f -g -h -i -j -m -n -o -p -s -t -v -w \
                       -x -- - ! --append --delete --destination --flush --fragment --goto --help \
                       --in-interface --insert --ipv4 --ipv6 --jump --label --match --modprobe \
                       --policy --set --set-counters --table --version --vers --wait --zero";

/// The tools remove quotes before they look for options.
#[test]
fn words_of_extensions_are_no_options_of_the_tools_in_quotes_or_without() {
    let words = FOREIGN.split(' ').filter(|word| !word.is_empty());
    let words: Vec<String> = words
        .flat_map(|word| [word.to_owned(), format!("\"{word}\"")])
        .collect();
    let behind = ["", " x", " \"x\"", " recent --set"];
    let ends: Vec<(&String, &str)> = words
        .iter()
        .flat_map(|word| behind.map(|behind| (word, behind)))
        .collect();

    for known in matches() {
        let (family, begun) = begun(known);
        let option = known.options.first().unwrap();
        let name = format!("{begun} --{}", option.name);
        let value = format!("{name}{}", " 1".repeat(option.values));
        let places = [&begun, &name, &value];
        for (before, (word, behind)) in places
            .iter()
            .flat_map(|place| ends.iter().map(move |end| (place, end)))
        {
            let text = format!("{before} {word}{behind}");
            // An interface match is a condition that Palisade writes itself.
            let is_own = ["-i", "-o"].contains(&word.as_str()) && *behind == " x";
            let is_own = is_own && (*before != &name || option.values == 0);
            assert_eq!(rule_of(family, &text).is_ok(), is_own, "{text}");
        }
    }
}

#[test]
fn tables_of_limits_are_not_those_of_others() {
    for name in [
        "kubeX",
        "pal",
        "pal-",
        "Xpal-a",
        "\"kubeX\"",
        "\"pal-a b\"",
        "pal-../x",
        "PAL-a",
    ] {
        let text = format!("-m hashlimit --hashlimit-upto 1/sec --hashlimit-name {name}");
        assert!(rule_of("v4", &text).is_err(), "{text}");
    }
}

#[test]
fn what_could_widen_is_never_allowed() {
    for name in [
        "ACCEPT",
        "DNAT",
        "SNAT",
        "MASQUERADE",
        "REDIRECT",
        "TPROXY",
        "TEE",
        "NFQUEUE",
        "MARK",
        "CONNMARK",
        "CT",
        "SET",
        "CLASSIFY",
        "SYNPROXY",
        "NETMAP",
        "RETURN",
        "recent",
        "connbytes",
        "physdev",
        "quota",
        "rateest",
        "bpf",
        "cgroup",
        "set",
        "connlabel",
        "socket",
        "conntrack",
        "",
        "tcp udp",
        "TCPMSS",
        "Tcp",
        "--jump",
        "a\n",
    ] {
        assert!(
            name.parse::<crate::options::ExtensionName>().is_err(),
            "{name}"
        );
        assert!(!ExtensionSet::every().has(name), "{name}");
    }

    for name in ["tcp", "mark", "addrtype", "REJECT", "NFLOG", "LOG", "limit"] {
        assert!(ExtensionSet::every().has(name), "{name}");
    }
}
