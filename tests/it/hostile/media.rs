//! Judges of what was printed, one for each medium. They read it as its readers do.

use quick_xml::events::Event;
use serde_json::Value;

/// What output is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Terminal,
    Json,
    /// An object a line.
    JsonLines,
    Csv,
    Markdown,
    Dot,
    Sarif,
    Junit,
    Prometheus,
}

/// Columns of `connectivity --format csv`.
const COLUMNS: usize = 16;

/// HTML that our own Markdown has.
const OWN_HTML: [&str; 5] = ["<br>", "<details>", "</details>", "<summary>", "</summary>"];

impl Medium {
    /// The medium of a word for `--format`.
    pub(crate) fn of(format: &str) -> Self {
        match format {
            "text" => Self::Terminal,
            "json" => Self::Json,
            "csv" => Self::Csv,
            "md" => Self::Markdown,
            "dot" => Self::Dot,
            "sarif" => Self::Sarif,
            "junit" => Self::Junit,
            "prometheus" => Self::Prometheus,
            other => panic!("nobody judges the format `{other}`: add a judge"),
        }
    }

    /// Fails where something hostile got through.
    pub(crate) fn judge(self, text: &str, about: &str) {
        harmless(text, about);
        if text.is_empty() {
            return;
        }

        match self {
            Self::Terminal => {}
            Self::Json => drop(values(text, about)),
            Self::JsonLines => text.lines().for_each(|line| drop(values(line, about))),
            Self::Csv => csv(text, about),
            Self::Markdown => markdown(text, about),
            Self::Dot => dot(text, about),
            Self::Sarif => values(text, about).iter().for_each(|log| sarif(log, about)),
            Self::Junit => junit(text, about),
            Self::Prometheus => prometheus(text, about),
        }
    }
}

/// No character steers a terminal, and no line a build service.
fn harmless(text: &str, about: &str) {
    let is_known = |letter: char| letter == '\n' || !steers(letter);
    assert!(text.chars().all(is_known), "{about}: {text:?}");

    for line in text.split('\n') {
        // rustc's mark of another file begins no command: its name would be `:`
        let line = line.trim_start();
        assert!(
            !line.starts_with("::") || line.starts_with("::: "),
            "{about}: {line:?}"
        );
        let runs = line.split("##").skip(1);
        let begins = |rest: &str| {
            rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric())
                .starts_with('[')
        };
        assert!(!runs.into_iter().any(begins), "{about}: {line:?}");
    }
}

/// A list of its own, by blocks: what the program should take for steering, at least.
fn steers(letter: char) -> bool {
    let code = u32::from(letter);
    const RANGES: [(u32, u32); 15] = [
        (0, 0x1f),
        (0x7f, 0x9f),
        (0xad, 0xad),
        (0x34f, 0x34f),
        (0x61c, 0x61c),
        (0x180b, 0x180f),
        (0x200b, 0x200f),
        (0x2028, 0x202e),
        (0x2060, 0x206f),
        (0x3164, 0x3164),
        (0xfe00, 0xfe0f),
        (0xfeff, 0xfeff),
        (0xfff0, 0xfffb),
        (0x1d173, 0x1d17a),
        (0xe0000, 0xe0fff),
    ];

    RANGES
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&code))
}

fn values(text: &str, about: &str) -> Vec<Value> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values
        .map(|value| value.unwrap_or_else(|error| panic!("{about}: {error}: {text}")))
        .collect()
}

fn csv(text: &str, about: &str) {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());

    for record in reader.records() {
        let record = record.unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_eq!(record.len(), COLUMNS, "{about}: {record:?}");
        for cell in &record {
            let first = cell.trim_start().chars().next();
            assert!(
                !first.is_some_and(|first| "=+-@＝＋－＠".contains(first)),
                "{about}: {cell:?}"
            );
        }
    }
}

/// Outside of code, and less our own HTML, no mark of Markdown or of a forge is left; and every row
/// of a table has the cells of its head.
fn markdown(text: &str, about: &str) {
    let mut cells = None;
    for line in text.lines() {
        let plain = OWN_HTML
            .iter()
            .fold(without_code(line, about), |line, html| {
                line.replace(html, "")
            });
        let row = plain.replace("&#124;", "");
        let count = row.matches('|').count();
        if line.starts_with('|') {
            assert_eq!(count, *cells.get_or_insert(count), "{about}: {line:?}");
        } else {
            assert_eq!(count, 0, "{about}: {line:?}");
            cells = None;
        }

        let row = row
            .trim_start_matches('#')
            .replace("**", "")
            .replace("\\_", "")
            .replace("|---", "");
        assert!(
            !row.contains(|letter: char| "<>@#&`*_[]!~\\$^{}%".contains(letter)),
            "{about}: {line:?}: {row:?}"
        );
        assert!(
            !row.contains("://") && !row.contains("www."),
            "{about}: {line:?}"
        );
    }
}

/// A line less its code spans, whose fences are rows of as many backticks.
fn without_code(line: &str, about: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        plain.push_str(&rest[..start]);
        let from = &rest[start..];
        let fence = from.len() - from.trim_start_matches('`').len();
        let mut at = fence;
        loop {
            let next = from[at..]
                .find('`')
                .unwrap_or_else(|| panic!("{about}: {line:?}: a span does not end"));
            let row = &from[at + next..];
            let length = row.len() - row.trim_start_matches('`').len();
            at += next + length;
            if length == fence {
                break;
            }
        }
        rest = &from[at..];
    }

    plain + rest
}

/// Every line is a node, an edge, or the frame.
fn dot(text: &str, about: &str) {
    const FRAME: [&str; 4] = [
        "digraph connectivity {",
        "  rankdir=LR;",
        "  node [shape=box];",
        "}",
    ];
    const SHAPES: [&str; 3] = [
        "  \"\";",
        "  \"\" [shape=ellipse];",
        "  \"\" -> \"\" [label=\"\"];",
    ];

    for line in text.lines().filter(|line| !FRAME.contains(line)) {
        let shape = without_quoted(line);
        assert!(SHAPES.contains(&shape.as_str()), "{about}: {line:?}");
    }
}

/// The line less what is in quotes, in which a backslash is before a letter that means itself.
fn without_quoted(line: &str) -> String {
    let mut shape = String::new();
    let mut is_quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, is_quoted) {
            ('"', _) => {
                is_quoted = !is_quoted;
                shape.push('"');
            }
            ('\\', true) => drop(letters.next()),
            (_, true) => {}
            (_, false) => shape.push(letter),
        }
    }

    shape
}

/// No message has a link, and no place leaves the files.
fn sarif(log: &Value, about: &str) {
    for result in log["runs"][0]["results"]
        .as_array()
        .unwrap_or_else(|| panic!("{about}: {log}"))
    {
        let message = result["message"]["text"].as_str().unwrap();
        let plain = message
            .replace("\\\\", "")
            .replace("\\[", "")
            .replace("\\]", "");
        assert!(!plain.contains(['[', ']']), "{about}: {message}");
        for location in result["locations"].as_array().unwrap() {
            let uri = location["physicalLocation"]["artifactLocation"]["uri"]
                .as_str()
                .unwrap();
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_~%".contains(&byte);
            assert!(uri.bytes().all(is_plain), "{about}: {uri}");
        }
    }
}

fn junit(text: &str, about: &str) {
    let mut reader = quick_xml::Reader::from_str(text);

    loop {
        let event = reader
            .read_event()
            .unwrap_or_else(|error| panic!("{about}: {error}: {text}"));
        let (Event::Start(tag) | Event::Empty(tag)) = event else {
            let is_known = matches!(
                event,
                Event::End(_) | Event::Text(_) | Event::Decl(_) | Event::GeneralRef(_) | Event::Eof
            );
            assert!(is_known, "{about}: {event:?}");
            if event == Event::Eof {
                return;
            }
            continue;
        };
        let name = String::from_utf8_lossy(tag.name().as_ref().as_bytes()).into_owned();
        assert!(
            ["testsuites", "testsuite", "testcase", "failure"].contains(&name.as_str()),
            "{about}: {name}"
        );
        assert!(
            tag.attributes().all(|attribute| attribute.is_ok()),
            "{about}: {text}"
        );
    }
}

/// Every line is a comment or a sample.
fn prometheus(text: &str, about: &str) {
    for line in text.lines() {
        let begins = ["# HELP palisade_", "# TYPE palisade_", "palisade_"];
        assert!(
            begins.iter().any(|begin| line.starts_with(begin)),
            "{about}: {line:?}"
        );
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(
            line.starts_with('#') || value.parse::<f64>().is_ok(),
            "{about}: {line:?}"
        );
    }
}

/// A judge that finds nothing would let everything through.
#[test]
fn judges_find_what_is_hostile() {
    let row = |cells: &[&str]| format!("{}\n{}\n", ["h"; COLUMNS].join(","), cells.join(","));
    let result = |text: &str| {
        format!(
            "{{\"runs\": [{{\"results\": [{{\"message\": {{\"text\": \"{text}\"}}, \"locations\": \
             []}}]}}]}}"
        )
    };

    let cases = [
        (Medium::Terminal, "a\u{1b}[2J\n".to_owned()),
        (Medium::Terminal, "a\u{202e}b\n".to_owned()),
        (Medium::Terminal, "a\rb\n".to_owned()),
        (Medium::Terminal, "a\n \u{a0}::error::b\n".to_owned()),
        (Medium::Terminal, "a ##[error]b\n".to_owned()),
        (Medium::Json, "{\"a\": \"b\u{200b}\"}".to_owned()),
        (Medium::Json, "{\"a\": ".to_owned()),
        (Medium::JsonLines, "{}\nerror\n".to_owned()),
        (Medium::Csv, row(&["a"; COLUMNS - 1])),
        (
            Medium::Csv,
            row(&[["a"; COLUMNS - 1].as_slice(), &["=1"]].concat()),
        ),
        (
            Medium::Markdown,
            "| a | b |\n|---|---|\n| a | b | c |\n".to_owned(),
        ),
        (Medium::Markdown, "a @org/team\n".to_owned()),
        (Medium::Markdown, "a \\@org/team\n".to_owned()),
        (Medium::Markdown, "a <img src=x>\n".to_owned()),
        (Medium::Markdown, "`a` `b\n".to_owned()),
        (Medium::Markdown, "a https://b.example\n".to_owned()),
        (Medium::Dot, "  \"a\"];evil[label=\"b\";\n".to_owned()),
        (Medium::Dot, "  \"a\\\";\n".to_owned()),
        (Medium::Sarif, result("[a](b)")),
        (Medium::Junit, "<testsuites><evil/></testsuites>".to_owned()),
        (Medium::Junit, "<testsuites name=\"a\"b\"/>".to_owned()),
        (Medium::Prometheus, "evil 1\n".to_owned()),
    ];
    for (medium, text) in cases {
        let judged = std::panic::catch_unwind(|| medium.judge(&text, "a bad one"));
        assert!(judged.is_err(), "{text:?}");
    }

    let good = [
        (
            Medium::Terminal,
            "a \\u{1b}: ::error::\n  ::: b.yaml:1:2\n".to_owned(),
        ),
        (Medium::Csv, row(&["'=1"; COLUMNS])),
        (
            Medium::Markdown,
            "| a\\_b | `@c` |\n|---|---|\n| `` ` `` | d<br>e |\n".to_owned(),
        ),
        (
            Medium::Dot,
            "  \"a\\\"\\\\\" -> \"b\" [label=\"c\"];\n".to_owned(),
        ),
        (Medium::Sarif, result("\\\\[a\\\\](b)")),
    ];
    good.iter()
        .for_each(|(medium, text)| medium.judge(text, "a good one"));
}
