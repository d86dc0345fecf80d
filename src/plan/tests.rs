use std::collections::BTreeMap;

use crate::net::Family;
use crate::plan::delta::{MemberDelta, is_hitless};
use crate::plan::set_references::SetReferences;
use crate::ruleset::{ParsedMember, ParsedTable};

/// Rules, lines for the sets that they reference, and whether these lines are hitless.
const IN_PLACE: [(&[&str], &[&str], bool); 13] = [
    (&["a src -j RETURN"], &["+a 10.0.0.1"], true),
    (&["a src -j RETURN"], &["+a 10.0.0.1", "+a 10.0.0.2"], true),
    (
        &["a src -j RETURN"],
        &["+a 10.0.0.1", "+a 10.0.0.0/24"],
        false,
    ),
    (
        &["a src -j RETURN", "b src -j DROP"],
        &["+a 10.0.0.1", "+b 10.0.0.2"],
        true,
    ),
    (
        &["a src -j RETURN", "b dst -j DROP"],
        &["+a 10.0.0.1", "+b 10.0.0.2"],
        false,
    ),
    (
        &["a src -j RETURN", "a dst -j RETURN"],
        &["+a 10.0.0.1", "+a 10.0.0.2"],
        false,
    ),
    (
        &["a src -j ACCEPT", "b dst -g pal-allowed"],
        &["+a 10.0.0.1", "+b 10.0.0.1"],
        true,
    ),
    (
        &["a src -j ACCEPT", "b dst -j ACCEPT"],
        &["+a 10.0.0.1", "-b 10.0.0.1"],
        false,
    ),
    (
        &["a src -j ACCEPT", "b dst -j DROP"],
        &["+a 10.0.0.1", "-b 10.0.0.1"],
        true,
    ),
    (
        &["a src -j ACCEPT", "!b dst -j ACCEPT"],
        &["+a 10.0.0.1", "-b 10.0.0.1"],
        true,
    ),
    (
        &["a src -j ACCEPT", "!b dst -j ACCEPT"],
        &["+a 10.0.0.1", "+b 10.0.0.1"],
        false,
    ),
    (
        &["a src -j ACCEPT", "a src -j DROP"],
        &["+a 10.0.0.1", "+a 10.0.0.0/24"],
        false,
    ),
    (
        &["a src -j ACCEPT"],
        &["+a 10.0.0.1", "+a 10.0.0.0/24 nomatch"],
        false,
    ),
];

#[test]
fn lines_that_packets_may_see_one_by_one() {
    for (rules, lines, expected) in IN_PLACE {
        let rule = |rule: &&str| {
            let (negation, rule) = rule
                .strip_prefix('!')
                .map_or(("", *rule), |rule| ("! ", rule));
            format!("-A pal-x -m set {negation}--match-set pal-{rule}\n")
        };
        let text = format!(
            "*filter\n:pal-x - [0:0]\n{}COMMIT\n",
            rules.iter().map(rule).collect::<String>()
        );
        let tables = ParsedTable::read(&text, Family::V4).unwrap();
        let mut deltas: BTreeMap<String, MemberDelta> = BTreeMap::new();
        for line in lines {
            let (set, word) = line[1..].split_once(' ').unwrap();
            let (net, is_exception) = word
                .split_once(' ')
                .map_or((word, false), |(net, _)| (net, true));
            let member =
                ParsedMember::Net(crate::net::Cidr::parse_lenient(net).unwrap(), is_exception);
            let delta = deltas.entry(format!("pal-{set}")).or_default();
            if line.starts_with('+') {
                &mut delta.missing
            } else {
                &mut delta.extra
            }
            .push(member);
        }
        let changes: Vec<(&str, &MemberDelta)> = deltas
            .iter()
            .map(|(set, delta)| (set.as_str(), delta))
            .collect();
        assert_eq!(
            is_hitless(&changes, Family::V4, &SetReferences::collect(&tables)),
            expected,
            "{rules:?} {lines:?}"
        );
    }
}

/// Members of a set, those that are removed, and whether packets might miss other members
/// meanwhile.
const LENGTHS: [(&[&str], &[&str], bool); 6] = [
    (&["10.0.0.1", "10.0.0.2"], &["10.0.0.1", "10.0.0.2"], false),
    (&["10.0.0.1", "10.1.0.0/16"], &["10.0.0.1"], true),
    (
        &["10.0.0.1", "10.0.0.2", "10.1.0.0/16"],
        &["10.0.0.1"],
        false,
    ),
    (&["10.0.0.1", "10.1.0.0/16"], &["10.1.0.0/16"], false),
    (
        &["10.0.0.1", "10.0.2.0/24", "10.1.0.0/16"],
        &["10.0.2.0/24"],
        true,
    ),
    (&["10.0.0.1", "10.0.2.0/24"], &[], false),
];

#[test]
fn the_last_of_a_length_does_not_go_in_place() {
    let members = |words: &[&str]| {
        words
            .iter()
            .map(|word| ParsedMember::Net(crate::net::Cidr::parse_lenient(word).unwrap(), false))
            .collect()
    };

    for (found, gone, expected) in LENGTHS {
        let found: Vec<ParsedMember> = members(found);
        assert_eq!(
            MemberDelta {
                missing: Vec::new(),
                extra: members(gone)
            }
            .ends_a_length(&found),
            expected,
            "{found:?} {gone:?}"
        );
    }
}
