use super::{Code, Diagnostic, nearest, print};
use crate::source::SourceFiles;

#[test]
fn code_names_are_kebab_case_and_unique() {
    let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert!(names.iter().all(|name| {
        name.chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    }));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn the_nearest_name_is_near() {
    let known = ["selector", "serviceAccountSelector", "types", "order"];
    let cases = [
        ("selektor", Some("selector")),
        ("Types", Some("types")),
        ("oder", Some("order")),
        ("podSelector", Some("selector")),
        ("namespaceSelector", None),
        ("x", None),
        ("tpyes", Some("types")),
    ];
    for (written, expected) in cases {
        assert_eq!(nearest(written, known), expected, "{written}");
    }
}

#[test]
fn people_see_the_line_and_a_caret() {
    let mut files = SourceFiles::default();
    let file = files
        .add(
            "dir/a.yaml",
            "one: 1\ntwo: 2\nthree: 3\nfour: 4\n".to_owned(),
        )
        .unwrap();
    let diagnostic = Diagnostic::new(Code::UnknownField, "unknown field `three`")
        .label(file.span(14..19), "not a number")
        .help("write `3`");
    let printed = print::human(&diagnostic, &files, false);

    assert_eq!(
        printed,
        "error[unknown-field]: unknown field `three`\n --> dir/a.yaml:3:1\n  |\n3 | three: 3\n  | \
         ^^^^^ not a number\n  |\n  = help: write `3`"
    );
}

#[test]
fn text_of_the_user_cannot_steer_the_terminal() {
    let diagnostic = Diagnostic::new(
        Code::UnknownTier,
        "there is no tier `\u{1b}[31m\n\u{202e}x`",
    )
    .help("add `\u{1b}[2J`");
    let printed = print::human(&diagnostic, &SourceFiles::default(), false);
    assert_eq!(
        printed,
        r"error[unknown-tier]: there is no tier `\u{1b}[31m\n\u{202e}x`
 |
 = help: add `\u{1b}[2J`"
    );
}

#[test]
fn text_of_a_file_cannot_steer_the_terminal() {
    let mut files = SourceFiles::default();
    let text = "\tone\u{1b}: \u{9b}\u{202e}two\u{7f}".to_owned();
    let file = files.add("a\n::error::\u{1b}.yaml", text).unwrap();
    let diagnostic = Diagnostic::at(Code::WrongType, file.span(12..15), "x");
    let printed = print::human(&diagnostic, &files, false);
    let expected = "error[wrong-type]: x\n --> a\\n::error::\\u{1b}.yaml:1:10\n  |\n1 |     one␛: \
                    ��two␡\n  |             ^^^";
    assert_eq!(printed, expected);
}

#[test]
fn machines_see_line_and_column() {
    let mut files = SourceFiles::default();
    let file = files.add("a.yaml", "one: 1\ntwo: 2".to_owned()).unwrap();
    let diagnostic = Diagnostic::at(Code::WrongType, file.span(12..13), "expected a string");
    let printed = print::json(&diagnostic, &files);
    let expected = r#"{"code":"wrong-type","severity":"error","message":"expected a string","help":null,"labels":[{"file":"a.yaml","line":2,"column":6,"end_line":2,"end_column":7,"message":""}]}"#;
    assert_eq!(printed.as_str(), expected);
}
