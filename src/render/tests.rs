use super::comment::{comment_line, rule_comment};
use super::{TEMPLATES, TemplateSet};
use crate::limits;

const HOSTILE: [&str; 5] = [
    "a\" -j ACCEPT\n-A INPUT -j ACCEPT",
    "back\\slash",
    "line\rreturn\u{2028}\u{85}",
    "\u{0}\u{1}1\u{1}",
    "öäü → \u{202e}",
];

#[test]
fn no_text_ends_a_comment_early() {
    for text in HOSTILE
        .iter()
        .map(|text| (*text).to_owned())
        .chain([HOSTILE.concat().repeat(50)])
    {
        let rule = rule_comment(&text);
        assert!(
            rule.bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic() && !b"\"\\'`$".contains(&byte)),
            "{rule}"
        );
        assert!(rule.len() <= limits::COMMENT);
        let line = comment_line(&text);
        assert!(
            line.bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic()),
            "{line}"
        );
        assert!(line.len() <= limits::COMMENT_LINE);
    }
}

/// Scripts are printable ASCII: the strict reader refuses anything else.
#[test]
fn comments_are_printable_ascii_whatever_character_is_in_the_text() {
    let is_printable = |text: String| {
        text.bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    };

    for letter in ('\0'..='\u{ffff}').chain(['\u{1f600}', '\u{e0041}', char::MAX]) {
        let text = format!("a{letter}b");
        assert!(
            is_printable(rule_comment(&text)) && is_printable(comment_line(&text)),
            "{letter:?}"
        );
    }
}

/// The diagnostic for a template that replaces a built-in one.
fn refusal(file: &str, text: &str) -> String {
    let replaced = [(file.to_owned(), text.to_owned())];
    TemplateSet::new(&replaced)
        .err()
        .map(|diagnostic| diagnostic.message)
        .unwrap_or_default()
}

#[test]
fn templates_that_leave_something_out_are_refused() {
    assert_eq!(refusal("sets.ipset.hbs", "# mine\n{{sets}}\n"), "");
    let whole = "*filter\n{{declarations}}\n{{rules}}\n{{hooks}}\nCOMMIT\n";
    assert_eq!(refusal("filter.rules.hbs", whole), "");
    for broken in [
        "",
        "{{sets}} {{sets}}",
        "{{ sets",
        "{{nothing}}\n{{sets}}\n",
        "{{#if sets}}{{/if}}",
    ] {
        assert!(
            refusal("sets.ipset.hbs", broken)
                .starts_with("template `sets.ipset.hbs` cannot be used"),
            "{broken}"
        );
    }

    for part in ["{{declarations}}\n", "{{rules}}\n", "{{hooks}}\n"] {
        assert!(
            !refusal("filter.rules.hbs", &whole.replace(part, "")).is_empty(),
            "{part}"
        );
    }

    assert_eq!(refusal("other.hbs", ""), "there is no template `other.hbs`");
}

#[test]
fn our_own_templates_render() {
    assert!(TemplateSet::new(&[]).is_ok());
    assert!(
        TEMPLATES
            .iter()
            .all(|template| template.text.ends_with('\n'))
    );
}
