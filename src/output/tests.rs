use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::events::attributes::Attribute;

use super::visible::without_commands;
use super::{
    BufferedOutput, CsvWriter, DotWriter, JsonWriter, MarkdownWriter, OutputSink, TerminalWriter,
    XmlWriter, is_steering, visible,
};

/// Texts that control a terminal, a spreadsheet or a build service.
const HOSTILE: [&str; 27] = [
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "a\nb\r\nc\u{85}d\u{2028}e\u{2029}f",
    "\u{9b}31m\u{7f}\0",
    "\u{202e}txt.exe\u{2066}\u{200f}\u{61c}",
    "zero\u{200b}width\u{2060}\u{feff}\u{ad}\u{e0041}",
    "::error file=a::b",
    ":::error::",
    ":: x::",
    "::add::x",
    " \u{a0}::stop-commands::token",
    "x ##[add-mask]y ##vso[task.setvariable variable=a]b ##teamcity[message]",
    "###[group]x",
    "=HYPERLINK(\"http://evil.example/\")",
    " +1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\u{ff1d}1",
    "\t=1",
    "a,\"b\",c;d",
    "a | b || c |",
    "`code` ``` \\` \\| \\",
    "<img src=x onerror=alert(1)> &lt;b&gt; &#64;",
    "@org/team #12 org/repo#3 GH-7 www.evil.example http://evil.example a@b.example",
    "[link](javascript:alert(1)) ![i](x) *b* __u__ ~~s~~ $x$",
    "# heading\n- item\n1. item\n---\n===\n> quote",
    "\"];evil[label=\"y\\",
    "\u{fffe}\u{ffff}\u{fdd0}\u{1b}]8;;http://evil\u{1b}\\link",
];

fn printed(print: impl FnOnce(&mut OutputSink<'_>)) -> String {
    BufferedOutput::capture(print).as_str().to_owned()
}

/// Asserts that no line controls a terminal or a build service.
fn assert_harmless(text: &str) {
    let steers = |letter: char| letter != '\n' && is_steering(letter);
    assert!(!text.contains(steers), "{text:?}");
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("::"), "{line:?}");
        for mark in ["##[", "##vso[", "##teamcity["] {
            assert!(!line.contains(mark), "{line:?}");
        }
    }
}

#[test]
fn letters_that_steer_are_written_out() {
    assert_eq!(visible("a\n\u{1b}[0m\u{202e}"), "a\\n\\u{1b}[0m\\u{202e}");
    for harmless in [
        "",
        "shop/web → shop/db",
        "é漢字 😀 « ' \" \\",
        "\u{fffd}\u{a0}",
    ] {
        assert_eq!(visible(harmless), harmless);
    }
}

#[test]
fn a_line_of_a_terminal_is_one_line() {
    for text in HOSTILE {
        let once = printed(|out| TerminalWriter::on(out).line(text));
        assert_eq!(once.matches('\n').count(), 1, "{once:?}");
        assert_harmless(&once);

        let indented = printed(|out| TerminalWriter::on(out).indented(2, text));
        assert!(indented.starts_with("    "), "{indented:?}");
        assert_harmless(&indented);

        let joined = printed(|out| {
            let mut out = TerminalWriter::on(out);
            out.text(text.get(..1).unwrap_or_default());
            out.text(text.get(1..).unwrap_or_default());
        });
        assert_harmless(&joined);
        assert_harmless(&printed(|out| {
            TerminalWriter::on(out).rendered(text, false)
        }));
        let styled = printed(|out| TerminalWriter::on(out).rendered(text, true));
        assert!(!styled.contains('\u{1b}'), "{styled:?}");
    }
}

#[test]
fn literals_have_lines_and_addresses_stay() {
    let text = printed(|out| {
        let mut out = TerminalWriter::on(out);
        out.literal("a\n\n  b\nc ");
        out.line(1);
        out.line("::/0 to ::1");
        out.line("::ffff:10.0.0.1, ::2");
        out.line("  ::: a.yaml:1:2");
        out.literal("end");
    });

    assert_eq!(
        text,
        "a\n\n  b\nc 1\n::/0 to ::1\n::ffff:10.0.0.1, ::2\n  ::: a.yaml:1:2\nend"
    );
}

#[test]
fn colours_of_a_renderer_stay() {
    let styled = "\u{1b}[1m\u{1b}[38;5;9merror\u{1b}[0m: x";
    assert_eq!(
        printed(|out| TerminalWriter::on(out).rendered(styled, true)),
        format!("{styled}\n")
    );
    let hidden = "\u{1b}[8m::error::x\u{1b}[0m";
    assert_harmless(&printed(|out| {
        TerminalWriter::on(out).rendered(hidden, true)
    }));
}

#[test]
fn json_is_read_back() {
    for text in HOSTILE {
        let line = printed(|out| JsonWriter::on(out).line(&text));
        let pretty = printed(|out| JsonWriter::on(out).pretty(&text));
        for json in [line, pretty] {
            assert_harmless(&json);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}

#[test]
fn csv_has_its_columns_and_no_formula() {
    for text in HOSTILE {
        let csv = printed(|out| {
            let mut table = CsvWriter::on(out, &["a", "b", "c"]);
            table.record([text, "x", text].into_iter());
        });
        assert_harmless(&csv);
        assert_eq!(csv.lines().count(), 2, "{csv:?}");
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!((record.len(), &record[1]), (3, "x"));
        for cell in &record {
            let begins = cell.trim_start().chars().next();
            assert!(
                !begins.is_some_and(|first| "=+-@\t\r".contains(first)),
                "{cell:?}"
            );
        }
    }
}

#[test]
fn markdown_has_no_marks_outside_of_code() {
    for text in HOSTILE {
        let row = printed(|out| MarkdownWriter::on(out).row(&[text, "x", text]));
        assert_harmless(&row);
        assert_eq!(row.matches('\n').count(), 1, "{row:?}");
        assert_eq!(row.matches('|').count(), 4, "{row:?}");
        let plain = without_code(row.trim_end());
        let marks = |letter: char| "@#<>*[]!~$\\`{}^=+%".contains(letter);
        let plain = plain.replace("&#124;", "").replace("\\_", "");
        assert!(
            !plain.contains(marks) && !plain.contains('&'),
            "{row:?}: {plain:?}"
        );
        for link in ["www.", "://", "GH-"] {
            assert!(!plain.contains(link), "{row:?}");
        }
    }

    let plain = "shop/Deployment/web_1 (10.0.0.1) → outside 0.0.0.0/0: \"TCP\" 80,443; p.yaml:12 -";
    let shown = printed(|out| MarkdownWriter::on(out).text(plain));
    assert_eq!(shown, plain.replace('_', "\\_").replace(" -", " `-`"));
}

/// The text without its code spans, as defined by CommonMark (section 6.1).
fn without_code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let (before, from) = rest.split_at(start);
        let length = from.len() - from.trim_start_matches('`').len();
        let (fence, inside) = from.split_at(length);
        let rows = inside.match_indices(fence).map(|found| found.0);
        let is_fence = |at: &usize| {
            let (before, behind) = (inside.get(..*at), inside.get(at + length..));
            !before.unwrap_or_default().ends_with('`')
                && !behind.unwrap_or_default().starts_with('`')
        };
        let end = rows
            .into_iter()
            .find(is_fence)
            .unwrap_or_else(|| panic!("{text:?}"));
        out.push_str(before);
        rest = inside.get(end + length..).unwrap_or_default();
    }

    out + rest
}

#[test]
fn dot_is_read_back() {
    for text in HOSTILE {
        let quoted = printed(|out| DotWriter::on(out).quoted(text));
        assert_harmless(&quoted);
        let inside = quoted.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        let mut letters = inside.chars();
        let mut read = String::new();
        while let Some(letter) = letters.next() {
            assert_ne!(letter, '"', "{quoted:?}");
            read.push(if letter == '\\' {
                letters.next().expect("an escaped letter")
            } else {
                letter
            });
        }
        assert_eq!(read.replace("&amp;", "&"), shown(text));
    }
}

fn document(xml: &mut XmlWriter, text: &str) {
    let lines = [text.to_owned(), "second".to_owned()];
    xml.element("a", &[("name", text)], |xml| {
        xml.lines("b", &[("name", text)], &lines)
    });
}

#[test]
fn xml_is_read_back() {
    for text in HOSTILE {
        let xml = printed(|out| XmlWriter::document(out, |xml| document(xml, text)));
        assert_harmless(&xml);
        let mut reader = quick_xml::Reader::from_str(&xml);
        let mut values = Vec::new();
        loop {
            let event = reader.read_event().unwrap();
            if event == Event::Eof {
                break;
            }
            if let Event::Start(tag) = event {
                values.extend(tag.attributes().map(|found| value(&found.unwrap())));
            }
        }
        assert_eq!(values, [shown(text), shown(text)], "{xml}");
    }
}

fn value(attribute: &Attribute<'_>) -> String {
    attribute
        .normalized_value(XmlVersion::Explicit1_0)
        .unwrap()
        .into_owned()
}

/// The text as every medium except JSON writes it.
fn shown(text: &str) -> String {
    without_commands(&visible(text)).into_owned()
}

#[test]
fn the_last_look_finds_what_a_medium_missed() {
    assert_eq!(
        printed(|out| out.put("a\n\u{1b}[2Jb\u{202e}")),
        "a\n\\u{1b}[2Jb\\u{202e}"
    );
}
