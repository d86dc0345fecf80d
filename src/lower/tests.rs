use super::names::{KernelNames, NameSource, log_prefix};
use super::program::Sense;
use super::sets::with_exceptions;
use crate::diagnostic::{Code, Diagnostics};
use crate::limits;
use crate::net::Cidr;

fn cidrs(text: &str) -> Vec<Cidr> {
    text.split_whitespace()
        .map(|cidr| Cidr::parse_strict(cidr).unwrap())
        .collect()
}

/// Members for "in one of `nets` and in none of `except`". Exceptions have a `!`.
fn members(nets: &str, except: &str) -> String {
    let members = with_exceptions(&cidrs(nets), &cidrs(except));
    let text = |sense| if sense == Sense::IsNot { "!" } else { "" };
    members
        .iter()
        .map(|member| format!("{}{}", text(member.sense), member.net))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn exceptions_hold_whatever_their_size() {
    let cases = [
        ("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8 !10.1.0.0/16"),
        ("10.1.0.0/16", "10.0.0.0/8", ""),
        ("10.0.0.0/8", "10.0.0.0/8", ""),
        (
            "10.0.0.0/8 10.1.2.0/24",
            "10.1.0.0/16",
            "10.0.0.0/8 !10.1.0.0/16",
        ),
        ("10.0.0.0/8", "192.168.0.0/16", "10.0.0.0/8"),
        (
            "0.0.0.0/0",
            "10.0.0.0/8",
            "0.0.0.0/1 !10.0.0.0/8 128.0.0.0/1",
        ),
        ("::/0", "2001:db8::/32", "::/1 !2001:db8::/32 8000::/1"),
        // an exception equal to a half replaces that half
        ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"),
        ("0.0.0.0/0", "0.0.0.0/1 128.0.0.0/1", ""),
    ];

    for (nets, except, expected) in cases {
        assert_eq!(members(nets, except), expected, "{nets} except {except}");
    }
}

#[test]
fn exceptions_agree_with_the_longest_prefix_rule_of_the_kernel() {
    let lists = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/8 10.1.0.0/16",
        "0.0.0.0/1",
        "10.1.0.0/16 10.1.2.0/24",
        "128.0.0.0/1 10.1.2.3/32",
    ];

    let addresses = [
        "10.0.0.1",
        "10.1.0.1",
        "10.1.2.3",
        "10.1.2.4",
        "11.0.0.1",
        "127.0.0.1",
        "128.0.0.1",
        "255.0.0.1",
    ];

    for (nets, except) in lists
        .iter()
        .flat_map(|nets| lists.iter().map(move |except| (nets, except)))
    {
        let members = with_exceptions(&cidrs(nets), &cidrs(except));
        for address in addresses {
            let address = address.parse().unwrap();
            let inside = |list: &str| cidrs(list).iter().any(|net| net.holds(address));
            let longest = members
                .iter()
                .filter(|member| member.net.holds(address))
                .max_by_key(|member| member.net.prefix());
            let matched = longest.is_some_and(|member| member.sense == Sense::Is);
            assert_eq!(
                matched,
                inside(nets) && !inside(except),
                "{address} in {nets} except {except}"
            );
        }
    }
}

#[test]
fn names_fit_the_kernel_and_depend_on_content_alone() {
    let mut names = KernelNames::default();
    let mut diagnostics = Diagnostics::default();
    let word = "A very long policy name, with \"quotes\"\nand lines";
    let identity = NameSource {
        sort: "ep",
        word,
        content: "x",
    };
    let chain = names.chain(identity, &mut diagnostics);

    assert_eq!(
        chain,
        KernelNames::default().chain(identity, &mut diagnostics)
    );

    let other = names.chain(
        NameSource {
            content: "y",
            ..identity
        },
        &mut diagnostics,
    );
    let set = names.set(identity, &mut diagnostics).to_string();

    assert_ne!(chain, other);
    assert!(
        chain.to_string().len() <= limits::CHAIN_NAME && set.len() <= limits::SET_NAME,
        "{chain} {set}"
    );

    for name in [chain.to_string(), set] {
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "{name}"
        );
    }

    assert!(!diagnostics.has_errors());
}

#[test]
fn log_prefixes_fit_and_hold_no_quote() {
    for (word, number) in [
        ("x", Some(1)),
        ("a\"b\nc", Some(7)),
        (&"long-".repeat(20), Some(1024)),
        ("unknown", None),
    ] {
        let prefix = log_prefix(word, number).to_string();
        assert!(
            prefix.len() <= limits::LOG_PREFIX
                && prefix.ends_with(' ')
                && !prefix.contains(['"', '\n']),
            "{prefix}"
        );
    }
}
#[test]
fn two_things_with_one_name_are_refused() {
    let mut names = KernelNames::default();
    let mut diagnostics = Diagnostics::default();
    let identity = NameSource {
        sort: "e",
        word: "web",
        content: "app == \"web\"",
    };
    let name = names.chain(identity, &mut diagnostics);

    assert_eq!(
        (
            names.chain(identity, &mut diagnostics),
            diagnostics.error_count()
        ),
        (name, 0)
    );
    // simulates a second content with the same hash
    names
        .given
        .values_mut()
        .for_each(|content| content.push('x'));
    names.chain(identity, &mut diagnostics);

    assert_eq!(
        diagnostics
            .sorted()
            .iter()
            .map(|told| told.code)
            .collect::<Vec<_>>(),
        [Code::NameCollision]
    );
}
