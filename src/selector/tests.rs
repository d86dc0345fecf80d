use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};

use super::{Expr, LabelTest, Labels, MAX_DEPTH, contradicts, implies, oracle, parse};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn tree(text: &str) -> Expr {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Checks a selector against `app: db` in a missing, equal, other and empty `app` label.
fn check_verdicts(text: &str, expected: [bool; 4]) {
    let cases = [
        labels(&[("tier", "db")]),
        labels(&[("app", "db")]),
        labels(&[("app", "web")]),
        labels(&[("app", "")]),
    ];

    assert_eq!(
        cases.map(|labels| tree(text).matches(&labels)),
        expected,
        "{text}"
    );
}

#[test]
fn every_operator_with_a_missing_an_equal_another_and_an_empty_value() {
    const NO: bool = false;
    const YES: bool = true;
    let cases = [
        (r#"app == "db""#, [NO, YES, NO, NO]),
        (r#"app != "db""#, [YES, NO, YES, YES]),
        (r#"app == """#, [NO, NO, NO, YES]),
        (r#"app in {"db", "x"}"#, [NO, YES, NO, NO]),
        (r#"app not in {"db", "x"}"#, [YES, NO, YES, YES]),
        ("app in {}", [NO; 4]),
        ("app not in {}", [YES; 4]),
        (r#"app contains "b""#, [NO, YES, YES, NO]),
        (r#"app contains "db""#, [NO, YES, NO, NO]),
        (r#"app contains """#, [NO, YES, YES, YES]),
        (r#"app starts with "d""#, [NO, YES, NO, NO]),
        (r#"app starts with """#, [NO, YES, YES, YES]),
        (r#"app ends with "eb""#, [NO, NO, YES, NO]),
        (r#"app ends with """#, [NO, YES, YES, YES]),
        (r#"app == "DB""#, [NO; 4]),
        ("has(app)", [NO, YES, YES, YES]),
        ("!has(app)", [YES, NO, NO, NO]),
        (r#"!app == "db""#, [YES, NO, YES, YES]),
        ("all()", [YES; 4]),
        ("global()", [YES; 4]),
        ("!all()", [NO; 4]),
        ("!global()", [NO; 4]),
        (r#"has(app) && app != "db""#, [NO, NO, YES, YES]),
        (r#"has(tier) || app == "db""#, [YES, YES, NO, NO]),
        (
            r#"has(tier) || has(app) && app == "web""#,
            [YES, NO, YES, NO],
        ),
        (
            r#"(has(tier) || has(app)) && app == "web""#,
            [NO, NO, YES, NO],
        ),
        ("", [YES; 4]),
    ];
    for (text, expected) in cases {
        check_verdicts(text, expected);
    }
}

#[test]
fn contradictions_are_proven_and_nothing_else_is() {
    let cases = [
        (r#"a == "x" && a == "y""#, true),
        (r#"a == "x" && a != "y""#, false),
        (r#"a == "x" && b == "y""#, false),
        (r#"a == "x" && a in {"y", "z"}"#, true),
        (r#"a in {"x", "y"} && a in {"y", "z"}"#, false),
        (r#"a in {"x", "y"} && a != "x" && !(a == "y")"#, true),
        ("a in {}", true),
        ("a not in {}", false),
        ("has(a) && !has(a)", true),
        (r#"!has(a) && a != "x""#, false),
        (r#"!has(a) && a contains """#, true),
        (r#"has(a) && !(a contains "")"#, true),
        (r#"a starts with "ab" && a starts with "a""#, false),
        (r#"a starts with "ab" && a starts with "b""#, true),
        (r#"a ends with "ab" && a ends with "b""#, false),
        (r#"a ends with "ab" && a ends with "a""#, true),
        (r#"a starts with "ab" && a ends with "ba""#, false),
        (r#"a starts with "ab" && !(a contains "b")"#, true),
        (r#"a contains "ab" && !(a contains "b")"#, true),
        (r#"a contains "ab" && !(a starts with "ab")"#, false),
        (r#"a starts with "a" && a != "a""#, false),
        (r#"a starts with "x" && (a == "y" || a == "z")"#, true),
        (r#"a starts with "x" && (a == "y" || a == "xz")"#, false),
        (r#"(a == "x" || b == "y") && a != "x" && b != "y""#, true),
        (r#"(a == "x" || b == "y") && (a == "z" || b == "z")"#, false),
        (r#"(a == "x" || b == "y") && (a == "z" || b == "y")"#, false),
        ("!all()", true),
        ("!global() || !all()", true),
        ("all()", false),
    ];
    for (text, expected) in cases {
        assert_eq!(contradicts(&tree(text)), expected, "{text}");
    }
}

#[test]
fn a_proof_that_takes_too_long_is_given_up() {
    // pigeonhole principle: a contradiction that needs more steps than the budget
    let one_of = |pigeon: usize| {
        (0..9)
            .map(|hole| format!("p{pigeon}h{hole} == 'y'"))
            .collect::<Vec<_>>()
            .join(" || ")
    };
    let alone = |hole: usize| {
        let pairs = (0..10).flat_map(|left| (left + 1..10).map(move |right| (left, right)));
        pairs
            .map(|(left, right)| format!("(p{left}h{hole} != 'y' || p{right}h{hole} != 'y')"))
            .collect::<Vec<_>>()
            .join(" && ")
    };

    let pigeons: Vec<String> = (0..10)
        .map(|pigeon| format!("({})", one_of(pigeon)))
        .chain((0..9).map(alone))
        .collect();
    assert!(!contradicts(&tree(&pigeons.join(" && "))));

    let wide: Vec<String> = (0..20_000)
        .map(|number| format!("a != '{number}'"))
        .collect();
    assert!(!contradicts(&tree(&wide.join(" && "))));
}

fn check_print(text: &str, expected: &str) {
    assert_eq!(tree(text).to_string(), expected, "{text}");
    assert_eq!(tree(expected), tree(text), "{text}");
}

#[test]
fn canonical_form() {
    let cases = [
        ("", "all()"),
        (" \t ", "all()"),
        ("all( )", "all()"),
        ("global(\t)", "global()"),
        ("has( a )", "has(a)"),
        ("!(has(b)||!has(a))", "!(has(b) || !has(a))"),
        (r#"a=="b""#, r#"a == "b""#),
        ("a!='b'", r#"a != "b""#),
        (r#"!a == "b""#, r#"!a == "b""#),
        (r#"! ( a == "b" )"#, r#"!a == "b""#),
        (r#"a == 'say "b"'"#, r#"a == 'say "b"'"#),
        (r#"a == "it's""#, r#"a == "it's""#),
        ("a == 'b\\'", r#"a == "b\""#),
        ("a == 'two\nlines'", "a == \"two\nlines\""),
        ("a == 'ü…'", r#"a == "ü…""#),
        ("a in {'c', \"b\",'a' , 'b',}", r#"a in {"a", "b", "c"}"#),
        (r#"a in{'"', "'"}"#, r#"a in {'"', "'"}"#),
        ("a in {'b','B','é','a'}", r#"a in {"B", "a", "b", "é"}"#),
        ("a notin {}", "a not in {}"),
        ("a not \t in{'b'}", r#"a not in {"b"}"#),
        ("a startswith 'b'", r#"a starts with "b""#),
        ("a starts\twith'b'", r#"a starts with "b""#),
        ("a endswith 'b'", r#"a ends with "b""#),
        (r#"a contains"b""#, r#"a contains "b""#),
        ("!!has(a)", "has(a)"),
        ("! ! !has(a)", "!has(a)"),
        ("!(!has(a))", "has(a)"),
        ("!(!(!has(a)))", "!has(a)"),
        ("((has(a)))", "has(a)"),
        ("has(a) && has(b) && has(c)", "(has(a) && has(b) && has(c))"),
        (
            "has(a) && (has(b) && has(c))",
            "(has(a) && (has(b) && has(c)))",
        ),
        (
            "has(a) || has(b) && has(c)",
            "(has(a) || (has(b) && has(c)))",
        ),
        (
            "(has(a) || has(b)) && has(c)",
            "((has(a) || has(b)) && has(c))",
        ),
        (
            "!has(a) && !(has(b) && has(c))",
            "(!has(a) && !(has(b) && has(c)))",
        ),
        ("has(a)&&has(b)||has(c)", "((has(a) && has(b)) || has(c))"),
    ];
    for (text, expected) in cases {
        check_print(text, expected);
    }
}

#[test]
fn words_are_operators_only_behind_a_label() {
    let cases = [
        ("in in {'in'}", r#"in in {"in"}"#),
        ("not not in {'a'}", r#"not not in {"a"}"#),
        ("has == 'x'", r#"has == "x""#),
        ("all != 'x'", r#"all != "x""#),
        ("global contains 'x'", r#"global contains "x""#),
        ("contains contains 'x'", r#"contains contains "x""#),
        ("starts starts with 'x'", r#"starts starts with "x""#),
        ("startswith startswith 'x'", r#"startswith starts with "x""#),
        ("ends ends with 'x'", r#"ends ends with "x""#),
        ("with == 'x'", r#"with == "x""#),
        ("notin notin {}", "notin not in {}"),
        ("has(in)", "has(in)"),
        ("has(not) && has(has)", "(has(not) && has(has))"),
        ("!in == 'x'", r#"!in == "x""#),
        ("a/b.c_D-9 == 'x'", r#"a/b.c_D-9 == "x""#),
        ("-./_ == 'x'", r#"-./_ == "x""#),
        ("9 == 'x'", r#"9 == "x""#),
        ("not/has == 'x'", r#"not/has == "x""#),
    ];
    for (text, expected) in cases {
        check_print(text, expected);
    }
}

/// Checks the error of a text: its message, and the part of the text that it points at.
fn check_error(text: &str, message: &str, underlined: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!(
        (error.message.as_str(), &text[error.range.clone()]),
        (message, underlined),
        "{text}"
    );
    assert!(error.help.is_some_and(|help| !help.is_empty()), "{text}");
}

/// Text, message, underlined text.
const ERRORS: &[(&str, &str, &str)] = &[
    // signs
    ("a = 'b'", "expected `==`", "="),
    ("a === 'b'", "expected `==`", "="),
    ("= 'b'", "expected `==`", "="),
    ("has(a) & has(b)", "expected `&&`", "&"),
    ("has(a) | has(b)", "expected `||`", "|"),
    ("has(a) &&& has(b)", "expected `&&`", "&"),
    // strings
    ("a == 'b", "unterminated string", "'b"),
    ("a == \"b'", "unterminated string", "\"b'"),
    ("a == 'ü", "unterminated string", "'ü"),
    (
        r#"a == "b\"c""#,
        "expected `&&`, `||` or the end, found `c`",
        "c",
    ),
    // line breaks
    ("has(a) &&\nhas(b)", "line break in a selector", "\n"),
    ("has(a)\n", "line break in a selector", "\n"),
    ("a\nin {'b'}", "line break in a selector", "\n"),
    ("\r\n", "line break in a selector", "\r"),
    ("a in {'b',\n'c'}", "line break in a selector", "\n"),
    // no condition
    ("%", "expected a condition, found `%`", "%"),
    ("has(a) && ;", "expected a condition, found `;`", ";"),
    ("é == 'a'", "expected a condition, found `é`", "é"),
    (
        "\u{a0}has(a)",
        "expected a condition, found `\\u{a0}`",
        "\u{a0}",
    ),
    (
        "\u{1b}[31m",
        "expected a condition, found `\\u{1b}`",
        "\u{1b}",
    ),
    (
        "\u{feff}has(a)",
        "expected a condition, found `\\u{feff}`",
        "\u{feff}",
    ),
    ("'a' == b", "expected a condition, found `'a'`", "'a'"),
    ("()", "expected a condition, found `)`", ")"),
    ("!", "expected a condition, found the end", ""),
    ("has(a) &&", "expected a condition, found the end", ""),
    ("has(a) && ", "expected a condition, found the end", ""),
    ("|| has(a)", "expected a condition, found `||`", "||"),
    (
        "has(a) && || has(b)",
        "expected a condition, found `||`",
        "||",
    ),
    ("!= 'a'", "expected a condition, found `!=`", "!="),
    ("{", "expected a condition, found `{`", "{"),
    (")", "expected a condition, found `)`", ")"),
    ("(", "expected a condition, found the end", ""),
    // functions
    ("has()", "expected a label, found `)`", ")"),
    ("has(", "expected a label, found the end", ""),
    ("has('a')", "expected a label, found `'a'`", "'a'"),
    ("has(%)", "expected a label, found `%`", "%"),
    ("has(has(a))", "expected a label, found `has(`", "has("),
    ("has(a", "expected `)`, found the end", ""),
    ("has(a b)", "expected `)`, found `b`", "b"),
    ("has(a in {'b'})", "expected `)`, found `in`", "in"),
    ("has(a == 'b')", "expected `)`, found `==`", "=="),
    ("all(", "expected `)`, found the end", ""),
    ("all(x)", "expected `)`, found `x`", "x"),
    ("global(x)", "expected `)`, found `x`", "x"),
    // operators
    ("a", "expected an operator after `a`, found the end", "a"),
    (
        "has(b) && a ",
        "expected an operator after `a`, found the end",
        "a",
    ),
    ("(app)", "expected an operator after `app`, found `)`", ")"),
    (
        "a && has(b)",
        "expected an operator after `a`, found `&&`",
        "&&",
    ),
    (
        "has (a)",
        "expected an operator after `has`, found `(`",
        "(",
    ),
    ("all ()", "expected an operator after `all`, found `(`", "("),
    ("Has(a)", "expected an operator after `Has`, found `(`", "("),
    (
        "xhas(a)",
        "expected an operator after `xhas`, found `(`",
        "(",
    ),
    (
        "a 'b'",
        "expected an operator after `a`, found `'b'`",
        "'b'",
    ),
    ("a {'b'}", "expected an operator after `a`, found `{`", "{"),
    ("a !b", "expected an operator after `a`, found `!`", "!"),
    ("a b", "expected an operator after `a`, found `b`", "b"),
    ("a %", "expected an operator after `a`, found `%`", "%"),
    ("a ü", "expected an operator after `a`, found `ü`", "ü"),
    (
        "a has(b)",
        "expected an operator after `a`, found `has`",
        "has",
    ),
    (
        "a IN {'b'}",
        "expected an operator after `a`, found `IN`",
        "IN",
    ),
    (
        "a not in foo",
        "expected an operator after `a`, found `not`",
        "not",
    ),
    (
        "a starts with foo",
        "expected an operator after `a`, found `starts`",
        "starts",
    ),
    (
        "a inb {'c'}",
        "expected an operator after `a`, found `inb`",
        "inb",
    ),
    (
        "a not {'b'}",
        "expected an operator after `a`, found `not`",
        "not",
    ),
    (
        "a contains-x 'b'",
        "expected an operator after `a`, found `contains-x`",
        "contains-x",
    ),
    // values
    ("a == b", "expected a quoted value, found `b`", "b"),
    ("a == “b”", "expected a quoted value, found `“`", "“"),
    (
        "a contains foo",
        "expected a quoted value, found `foo`",
        "foo",
    ),
    ("a == {'b'}", "expected a quoted value, found `{`", "{"),
    ("a == in", "expected a quoted value, found `in`", "in"),
    ("a !=", "expected a quoted value, found the end", ""),
    // sets
    ("a in foo", "expected a set, found `foo`", "foo"),
    ("a in in {'b'}", "expected a set, found `in`", "in"),
    ("a in ('b')", "expected a set, found `(`", "("),
    ("a in ['b']", "expected a set, found `[`", "["),
    ("a not in 'b'", "expected a set, found `'b'`", "'b'"),
    ("a in", "expected a set, found the end", ""),
    ("a in {,}", "expected a quoted value or `}`, found `,`", ","),
    ("a in {b}", "expected a quoted value or `}`, found `b`", "b"),
    (
        "a in {'b',,}",
        "expected a quoted value or `}`, found `,`",
        ",",
    ),
    (
        "a in {",
        "expected a quoted value or `}`, found the end",
        "",
    ),
    ("a in {'b' 'c'}", "expected `,` or `}`, found `'c'`", "'c'"),
    ("a in {'b'", "expected `,` or `}`, found the end", ""),
    // after a condition
    (
        "has(a) has(b)",
        "expected `&&`, `||` or the end, found `has(`",
        "has(",
    ),
    ("has(a))", "expected the end, found `)`", ")"),
    (
        "a == 'b' c",
        "expected `&&`, `||` or the end, found `c`",
        "c",
    ),
    (
        "a == 'b' in {'c'}",
        "expected `&&`, `||` or the end, found `in`",
        "in",
    ),
    ("(has(a)", "expected `)`, found the end", ""),
    (
        "(has(a) has(b)",
        "expected `&&`, `||` or `)`, found `has(`",
        "has(",
    ),
    ("(has(a)}", "expected `&&`, `||` or `)`, found `}`", "}"),
];

#[test]
fn every_error_names_what_was_expected_and_points_at_it() {
    for (text, message, underlined) in ERRORS {
        check_error(text, message, underlined);
        assert_eq!(oracle::parse(text), None, "{text}");
    }
}

fn check_help(text: &str, expected: &str) {
    assert_eq!(
        parse(text).expect_err(text).help.as_deref(),
        Some(expected),
        "{text}"
    );
}

#[test]
fn help_says_what_to_write() {
    let cases = [
        ("app", "to test that the label exists, write `has(app)`"),
        ("!(app)", "to test that the label exists, write `has(app)`"),
        ("has (a)", "write `has(` without a blank"),
        (
            "Has(a)",
            "the functions are `has(label)`, `all()` and `global()`",
        ),
        (
            "a equals 'b'",
            "the operators are `==`, `!=`, `in`, `not in`, `contains`, `starts with` and `ends \
             with`",
        ),
        ("a not in foo", r#"write `not in {"value"}`"#),
        ("a starts 'b'", r#"write `starts with "value"`"#),
        ("a = 'b'", "one `=` compares nothing, write `==`"),
        (
            "a == b",
            r#"values stand in straight quotes: `"value"` or `'value'`"#,
        ),
        (
            "has(a)\n",
            "a selector is one line; in YAML, the block scalars `|`, `|-` and `>` keep line \
             breaks, write `>-`",
        ),
    ];
    for (text, expected) in cases {
        check_help(text, expected);
    }
}

#[test]
fn long_labels() {
    let longest = "x".repeat(512);
    let longer = "x".repeat(513);
    check_print(&format!("has({longest})"), &format!("has({longest})"));
    check_print(&format!("{longest} == 'a'"), &format!("{longest} == \"a\""));
    check_error(
        &format!("has(a) && {longer} == 'a'"),
        "label too long",
        &longer,
    );
    check_error(&format!("has({longer})"), "label too long", &longer);

    check_error(
        &format!("a {longer}"),
        &format!(
            "expected an operator after `a`, found `{}…`",
            "x".repeat(40)
        ),
        &longer,
    );
}

#[test]
fn constructors() {
    let has = |name: &str| Expr::label(name, LabelTest::Present);
    let cases = [
        (Expr::and(vec![]), "all()"),
        (Expr::or(vec![]), "!all()"),
        (Expr::and(vec![has("a")]), "has(a)"),
        (Expr::or(vec![has("a")]), "has(a)"),
        (
            Expr::and(vec![has("a"), Expr::and(vec![has("b"), has("c")])]),
            "(has(a) && (has(b) && has(c)))",
        ),
        (has("a").not(), "!has(a)"),
        (has("a").not().not(), "has(a)"),
        (
            Expr::label("a", LabelTest::Equals("'\"".to_owned())),
            "a == ''\"'",
        ),
    ];

    for (expr, expected) in cases {
        assert_eq!(expr.to_string(), expected);
    }
}

#[test]
fn rewriting() {
    let expr = tree("all() && !global() && a == 'all()' && (has(a) || !b in {'global()'})");
    let with = tree("!has(x)");
    let prefixed =
        r#"(all() && !global() && p.a == "all()" && (has(p.a) || !p.b in {"global()"}))"#;
    let without_all = r#"(!has(x) && !global() && a == "all()" && (has(a) || !b in {"global()"}))"#;
    let without_global = r#"(all() && has(x) && a == "all()" && (has(a) || !b in {"global()"}))"#;
    assert_eq!(expr.clone().prefixed("p.").to_string(), prefixed);
    assert_eq!(expr.clone().replacing_all(&with).to_string(), without_all);
    assert_eq!(
        expr.clone().replacing_global(&with).to_string(),
        without_global
    );
    assert!(expr.mentions_global());
    assert!(!tree("a == 'global()' && all()").mentions_global());
    assert_eq!(expr.label_names(), ["a", "b"].into());
}

/// Runs on a thread with half of Rust's default stack size.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn hostile_nesting_is_refused() {
    on_a_small_stack(|| {
        for part in [
            "(",
            "!",
            "!(",
            "! (",
            "!!(!",
            "(has(a)&&",
            "!(has(a)||has(b)&&",
            "a in {'b'} && (",
        ] {
            let error = parse(&part.repeat(100_000)).expect_err(part);
            assert_eq!(error.message, "nested too deeply", "{part}");
        }
    });
}

#[test]
fn hostile_length_is_no_danger() {
    on_a_small_stack(|| {
        for part in [
            "has(",
            "all(",
            "a",
            "'",
            "''",
            "{",
            ")",
            "a in {",
            "\"(",
            " ",
            "\t",
            "é",
            "\u{0}",
            "has(a)",
            "a == '(' && ",
            "a in {'b',",
        ] {
            drop(parse(&part.repeat(100_000)));
        }
        let wide = parse(&format!("{}has(a)", "!has(b) && ".repeat(100_000))).unwrap();
        assert!(!wide.matches(&labels(&[("b", "")])));
        let set = parse(&format!("a in {{{}}}", "'b', 'c',".repeat(100_000))).unwrap();
        assert_eq!(set.to_string(), r#"a in {"b", "c"}"#);
    });
}

/// `depth` nested groups, each negated.
fn nested(depth: usize) -> String {
    format!(
        "{}has(z){}",
        "!(has(a) || ".repeat(depth),
        ")".repeat(depth)
    )
}

#[test]
fn the_deepest_tree_can_be_walked() {
    on_a_small_stack(|| {
        let expr = parse(&nested(MAX_DEPTH)).unwrap();
        let none = labels(&[]);
        assert!(!expr.clone().matches(&none));
        assert_eq!(parse(&expr.to_string()).as_ref(), Ok(&expr));
        assert_eq!(
            expr.clone().prefixed("p.").label_names(),
            ["p.a", "p.z"].into()
        );
        assert!(!format!("{expr:?}").is_empty());
    });
}

#[test]
fn nesting_is_counted_as_written_and_as_printed() {
    let redundant = |depth: usize| format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    let implied = |depth: usize| {
        format!(
            "{}has(z){}",
            "has(a) || has(b) && (".repeat(depth),
            ")".repeat(depth)
        )
    };
    let negated = |depth: usize| format!("{}has(a)", "!".repeat(depth));
    let cases = [
        (redundant(MAX_DEPTH), true),
        (redundant(MAX_DEPTH + 1), false),
        (nested(MAX_DEPTH), true),
        (nested(MAX_DEPTH + 1), false),
    ];

    let more = [
        (implied(MAX_DEPTH / 2), true),
        (implied(MAX_DEPTH / 2 + 1), false),
        (negated(MAX_DEPTH), true),
        (negated(MAX_DEPTH + 1), false),
    ];
    for (text, allowed) in cases.into_iter().chain(more) {
        assert_eq!(parse(&text).is_ok(), allowed, "{text}");
    }

    assert!(
        parse(&"(has(a)) && ".repeat(2000).replace("&& ", "&&!"))
            .is_err_and(|error| error.message.starts_with("expected a condition"))
    );
}

const NAMES: [&str; 14] = [
    "a", "b", "c", "in", "not", "has", "all", "global", "contains", "starts", "ends", "with",
    "notin", "x/y.z-1",
];
const VALUES: [&str; 10] = [
    "",
    "a",
    "b",
    "ab",
    "aba",
    "it's",
    "say \"a\"",
    "all()",
    "ü",
    "two\nlines",
];
const PIECES: [&str; 43] = [
    "a",
    "b",
    "in",
    "not",
    "has",
    "contains",
    "starts",
    "ends",
    "with",
    "notin",
    "startswith",
    "has(",
    "all(",
    "global(",
    "has(a)",
    "all()",
    "global()",
    "(",
    ")",
    "{",
    "}",
    ",",
    "==",
    "!=",
    "!",
    "&&",
    "||",
    "=",
    "&",
    "|",
    "'a'",
    "\"b\"",
    "''",
    "'",
    "\"",
    " ",
    "\t",
    "\n",
    "é",
    "a == 'b'",
    "a in {'b'}",
    "&& has(b)",
    "%",
];

fn any_test() -> impl Strategy<Value = LabelTest> {
    let value = || {
        prop_oneof![
            select(&VALUES[..]).prop_map(str::to_owned),
            "[^\"]{0,6}",
            "[^']{0,6}"
        ]
    };
    let values = || proptest::collection::btree_set(value(), 0..4);

    prop_oneof![
        Just(LabelTest::Present),
        value().prop_map(LabelTest::Equals),
        value().prop_map(LabelTest::NotEquals),
        values().prop_map(LabelTest::In),
        values().prop_map(LabelTest::NotIn),
        value().prop_map(LabelTest::Contains),
        value().prop_map(LabelTest::StartsWith),
        value().prop_map(LabelTest::EndsWith),
    ]
}

fn any_expr() -> impl Strategy<Value = Expr> {
    let name =
        prop_oneof![4 => select(&NAMES[..]).prop_map(str::to_owned), 1 => "[A-Za-z0-9_./-]{1,12}"];
    let label = (name, any_test()).prop_map(|(name, test)| Expr::label(name, test));
    let leaf = prop_oneof![6 => label, 1 => Just(Expr::All), 1 => Just(Expr::Global)];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Expr::not),
            vec(inner.clone(), 2..5).prop_map(Expr::and),
            vec(inner, 2..5).prop_map(Expr::or),
        ]
    })
}

/// Selectors over a single label, so that many proofs succeed.
fn one_label() -> impl Strategy<Value = Expr> {
    let leaf = any_test().prop_map(|test| Expr::label("a", test));
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(Expr::not),
            vec(inner.clone(), 2..4).prop_map(Expr::and),
            vec(inner, 2..4).prop_map(Expr::or)
        ]
    })
}

fn any_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let own = |text: &'static str| text.to_owned();
    proptest::collection::btree_map(
        select(&NAMES[..]).prop_map(own),
        select(&VALUES[..]).prop_map(own),
        0..6,
    )
}

/// Tokens and fragments of tokens, with or without blanks between them.
fn soup() -> impl Strategy<Value = String> {
    let glue = select(&["", " ", " ", "  ", "\t"][..]);
    vec((select(&PIECES[..]), glue), 0..14).prop_map(|pairs| {
        pairs
            .into_iter()
            .flat_map(|(piece, glue)| [piece, glue])
            .collect()
    })
}

/// A printed tree with a part deleted, duplicated or inserted.
fn damaged() -> impl Strategy<Value = String> {
    (
        any_expr(),
        any::<prop::sample::Index>(),
        0..4_usize,
        select(&PIECES[..]),
        any::<bool>(),
    )
        .prop_map(|(expr, at, length, piece, insert)| {
            let text: Vec<char> = expr.to_string().chars().collect();
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            let middle = if insert {
                piece.to_owned()
            } else {
                String::new()
            };
            text[..start]
                .iter()
                .copied()
                .chain(middle.chars())
                .chain(text[end..].iter().copied())
                .collect()
        })
}

/// Both implementations agree, and an error points into the text.
fn check_agreement(text: &str) {
    let parsed = parse(text);
    assert_eq!(
        parsed.as_ref().ok(),
        oracle::parse(text).as_ref(),
        "{text:?}"
    );
    if let Err(error) = parsed {
        assert!(text.get(error.range).is_some(), "{text:?}");
    }
}

struct Upstream<'labels>(&'labels BTreeMap<String, String>);

impl Labels for Upstream<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name.strip_prefix("p.")?).map(String::as_str)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_trees_parse_to_themselves(expr in any_expr()) {
        let printed = expr.to_string();
        prop_assert_eq!(parse(&printed), Ok(expr.clone()));
        prop_assert_eq!(oracle::parse(&printed), Some(expr));
    }

    #[test]
    fn verdicts_agree_with_a_second_evaluator(expr in any_expr(), labels in any_labels()) {
        prop_assert_eq!(expr.matches(&labels), oracle::matches(&expr, &labels));
    }

    #[test]
    fn negation_inverts_and_groups_join(left in any_expr(), right in any_expr(), labels in any_labels()) {
        let (first, second) = (left.matches(&labels), right.matches(&labels));
        prop_assert_eq!(left.clone().not().matches(&labels), !first);
        prop_assert_eq!(left.clone().not().not(), left.clone());
        prop_assert_eq!(Expr::and(vec![left.clone(), right.clone()]).matches(&labels), first && second);
        prop_assert_eq!(Expr::or(vec![left, right]).matches(&labels), first || second);
    }

    #[test]
    fn what_is_refuted_matches_nothing(expr in any_expr(), labels in any_labels()) {
        prop_assert!(!contradicts(&expr) || !oracle::matches(&expr, &labels));
        prop_assert!(!implies(&expr, &expr.clone().not()) || !oracle::matches(&expr, &labels));
    }

    #[test]
    fn what_is_implied_holds(left in one_label(), right in one_label(), value in proptest::option::of(select(&VALUES[..]))) {
        let labels: BTreeMap<String, String> = value.map(|value| ("a".to_owned(), value.to_owned())).into_iter().collect();
        let (first, second) = (oracle::matches(&left, &labels), oracle::matches(&right, &labels));
        prop_assert!(!implies(&left, &right) || !first || second, "{} {}", left, right);
        prop_assert!(!contradicts(&Expr::and(vec![left.clone(), right.clone()])) || !first || !second, "{} {}", left, right);
        prop_assert!(contradicts(&Expr::and(vec![left.clone(), left.not()])));
    }

    #[test]
    fn prefixes_move_names_and_nothing_else(expr in any_expr(), labels in any_labels()) {
        let prefixed = expr.clone().prefixed("p.");
        prop_assert_eq!(prefixed.matches(&Upstream(&labels)), expr.matches(&labels));
        let names: Vec<String> = expr.label_names().into_iter().map(|name| format!("p.{name}")).collect();
        prop_assert_eq!(prefixed.label_names().into_iter().collect::<Vec<_>>(), names);
        prop_assert_eq!(expr.clone().prefixed(""), expr);
    }

    #[test]
    fn replacements_leave_none_of_what_they_replace(expr in any_expr(), with in any_expr()) {
        prop_assert_eq!(expr.clone().replacing_all(&Expr::All), expr.clone());
        prop_assert_eq!(expr.clone().replacing_global(&Expr::Global), expr.clone());
        prop_assert!(!expr.clone().replacing_global(&Expr::All).mentions_global());
        let swapped = expr.clone().replacing_global(&with);
        prop_assert_eq!(swapped.mentions_global(), expr.mentions_global() && with.mentions_global());
        prop_assert_eq!(parse(&swapped.to_string()), Ok(swapped));
    }

    #[test]
    fn random_text_agrees_with_the_second_reading(text in any::<String>()) {
        check_agreement(&text);
    }

    #[test]
    fn random_bytes_agree_with_the_second_reading(bytes in vec(any::<u8>(), 0..80)) {
        check_agreement(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn token_soup_agrees_with_the_second_reading(text in soup()) {
        check_agreement(&text);
    }

    #[test]
    fn damaged_selectors_agree_with_the_second_reading(text in damaged()) {
        check_agreement(&text);
    }
}
