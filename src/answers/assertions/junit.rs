//! For continuous integration: JUnit's XML, a suite for each file of assertions.

use std::collections::BTreeMap;
use std::io::{self, Write};

use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::writer::Writer;

use crate::analysis::assertions::{Assertion, Verdict};
use crate::answers::assertions::Tested;
use crate::answers::assertions::text::details;
use crate::text::FileId;

/// Assertions with their verdicts.
type Found<'tested, 'input> = Vec<(&'tested Assertion, &'tested Verdict<'input>)>;

/// What was found, as an XML document.
pub fn junit(tested: &Tested<'_, '_>) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    // a vector takes everything that is written to it
    let _ = document(tested, &mut writer);
    String::from_utf8(writer.into_inner()).unwrap_or_default() + "\n"
}

fn document<Out: Write>(tested: &Tested<'_, '_>, writer: &mut Writer<Out>) -> io::Result<()> {
    let mut suites: BTreeMap<FileId, Found<'_, '_>> = BTreeMap::new();
    tested.found().for_each(|row| suites.entry(row.0.span.file).or_default().push(row));
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let (tests, failures) = (tested.assertions.len().to_string(), tested.failed().to_string());
    let root = writer.create_element("testsuites").with_attributes([("name", "palisade"), ("tests", &tests), ("failures", &failures)]);
    root.write_inner_content(|writer| suites.values().try_for_each(|suite| self::suite(tested, suite, writer)))?;
    Ok(())
}

fn suite<'tested, 'input, Out: Write>(
    tested: &Tested<'tested, 'input>,
    suite: &Found<'tested, 'input>,
    writer: &mut Writer<Out>,
) -> io::Result<()> {
    let name = suite.first().map(|(assertion, _)| attribute(tested.file(assertion.span))).unwrap_or_default();
    let failures = suite.iter().filter(|(assertion, verdict)| !verdict.is_passed(assertion)).count().to_string();
    let tests = suite.len().to_string();
    let attributes = [("name", name.as_str()), ("tests", &tests), ("failures", &failures), ("errors", "0"), ("skipped", "0")];
    let element = writer.create_element("testsuite").with_attributes(attributes);
    element.write_inner_content(|writer| suite.iter().try_for_each(|(assertion, verdict)| case(tested, assertion, verdict, writer)))?;
    Ok(())
}

fn case<'input, Out: Write>(
    tested: &Tested<'_, 'input>,
    assertion: &Assertion,
    verdict: &Verdict<'input>,
    writer: &mut Writer<Out>,
) -> io::Result<()> {
    let (file, line) = (attribute(tested.file(assertion.span)), tested.line(assertion.span).to_string());
    let title = attribute(&assertion.title());
    let attributes = [("name", title.as_str()), ("classname", &file), ("file", &file), ("line", &line), ("time", "0")];
    let element = writer.create_element("testcase").with_attributes(attributes);
    let message = tested.message(assertion, verdict).filter(|_| !verdict.is_passed(assertion));
    let Some(message) = message else {
        element.write_empty()?;
        return Ok(());
    };
    let text = details(tested, assertion, verdict).join("\n");
    element.write_inner_content(|writer| {
        let failure = writer.create_element("failure").with_attributes([("type", kind(verdict)), ("message", &attribute(&message))]);
        failure.write_text_content(BytesText::new(&characters(&text)))?;
        Ok(())
    })?;
    Ok(())
}

fn kind(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Holds | Verdict::Fails(_) => "counter-example",
        Verdict::Empty(_) => "empty",
    }
}

/// Text as XML 1.0 can hold it (section 2.2).
fn characters(text: &str) -> String {
    let is_allowed = |letter: char| !letter.is_control() || matches!(letter, '\t' | '\n' | '\u{80}'..='\u{9f}');
    let fits = |letter: char| is_allowed(letter) && !matches!(letter, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|letter| if fits(letter) { letter } else { '\u{fffd}' }).collect()
}

/// The same on one line.
fn attribute(text: &str) -> String {
    characters(text).split_whitespace().collect::<Vec<_>>().join(" ")
}
