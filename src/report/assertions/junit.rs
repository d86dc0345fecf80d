//! Assertion results as JUnit XML for continuous integration, with a suite for each assertions
//! file.

use std::collections::BTreeMap;

use crate::assertions::{Assertion, AssertionVerdict};
use crate::output::{OutputSink, XmlWriter};
use crate::report::assertions::TestedAssertions;
use crate::report::assertions::text::details;
use crate::source::FileId;

/// Assertions with their verdicts.
type FailedAssertions<'tested, 'input> =
    Vec<(&'tested Assertion, &'tested AssertionVerdict<'input>)>;

/// Writes the results as an XML document.
pub fn junit(tested: &TestedAssertions<'_, '_>, out: &mut OutputSink<'_>) {
    let mut suites: BTreeMap<FileId, FailedAssertions<'_, '_>> = BTreeMap::new();
    tested
        .found()
        .for_each(|row| suites.entry(row.0.span.file).or_default().push(row));

    let (tests, failures) = (
        tested.assertions.len().to_string(),
        tested.failed().to_string(),
    );
    let attributes = [
        ("name", "palisade"),
        ("tests", &tests),
        ("failures", &failures),
    ];
    XmlWriter::document(out, |xml| {
        xml.element("testsuites", &attributes, |xml| {
            suites
                .values()
                .for_each(|suite| self::suite(tested, suite, xml));
        });
    });
}

fn suite<'tested, 'input>(
    tested: &TestedAssertions<'tested, 'input>,
    suite: &FailedAssertions<'tested, 'input>,
    xml: &mut XmlWriter,
) {
    let is_failed = |row: &&(&Assertion, &AssertionVerdict<'_>)| !row.1.is_passed(row.0);
    let failures = suite.iter().filter(is_failed).count().to_string();
    let name = suite
        .first()
        .map(|(assertion, _)| tested.file(assertion.span))
        .unwrap_or_default();
    let tests = suite.len().to_string();

    let attributes = [
        ("name", name),
        ("tests", &tests),
        ("failures", &failures),
        ("errors", "0"),
        ("skipped", "0"),
    ];
    xml.element("testsuite", &attributes, |xml| {
        suite
            .iter()
            .for_each(|(assertion, verdict)| case(tested, assertion, verdict, xml));
    });
}

fn case<'input>(
    tested: &TestedAssertions<'_, 'input>,
    assertion: &Assertion,
    verdict: &AssertionVerdict<'input>,
    xml: &mut XmlWriter,
) {
    let (file, line) = (
        tested.file(assertion.span),
        tested.line(assertion.span).to_string(),
    );
    let title = assertion.title();
    let attributes = [
        ("name", title.as_str()),
        ("classname", file),
        ("file", file),
        ("line", &line),
        ("time", "0"),
    ];
    let message = tested
        .message(assertion, verdict)
        .filter(|_| !verdict.is_passed(assertion));
    let Some(message) = message else {
        return xml.empty("testcase", &attributes);
    };

    let lines = details(tested, assertion, verdict);
    let failure = [("type", kind(verdict)), ("message", message.as_str())];
    xml.element("testcase", &attributes, |xml| {
        xml.lines("failure", &failure, &lines)
    });
}

fn kind(verdict: &AssertionVerdict<'_>) -> &'static str {
    match verdict {
        AssertionVerdict::Holds | AssertionVerdict::Fails(_) => "counter-example",
        AssertionVerdict::Empty(_) => "empty",
    }
}
