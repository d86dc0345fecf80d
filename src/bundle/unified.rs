//! Unified diffs of texts, in the format of `diff -u`.

use std::fmt;

use imara_diff::{
    Algorithm, Diff, InternedInput, Interner, Token, UnifiedDiffConfig, UnifiedDiffPrinter,
};

/// Lines of context around a change, as `diff -u` and `git diff` show.
const CONTEXT_LINES: u32 = 3;

/// Returns the hunks that change `old` into `new`. Empty if the texts are equal.
///
/// Cost: the lines of both texts times the lines that differ, in the worst case (Myers' algorithm
/// with a bounded search).
pub(super) fn hunks(old: &str, new: &str) -> String {
    let input = InternedInput::new(old, new);
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_lines(&input);

    let mut config = UnifiedDiffConfig::default();
    config.context_len(CONTEXT_LINES);
    diff.unified_diff(&LinePrinter(&input.interner), config, &input)
        .to_string()
}

/// Prints lines as `diff -u` does.
struct LinePrinter<'texts>(&'texts Interner<&'texts str>);

impl LinePrinter<'_> {
    fn line(&self, out: &mut impl fmt::Write, sign: char, token: Token) -> fmt::Result {
        let line = self.0[token];
        match line.strip_suffix('\n') {
            Some(line) => writeln!(out, "{sign}{line}"),
            None => writeln!(out, "{sign}{line}\n\\ No newline at end of file"),
        }
    }
}

impl UnifiedDiffPrinter for LinePrinter<'_> {
    fn display_header(
        &self,
        mut out: impl fmt::Write,
        old_start: u32,
        new_start: u32,
        old_len: u32,
        new_len: u32,
    ) -> fmt::Result {
        let [old, new] =
            [(old_start, old_len), (new_start, new_len)].map(|(start, len)| range(start, len));
        writeln!(out, "@@ -{old} +{new} @@")
    }

    fn display_context_token(&self, mut out: impl fmt::Write, token: Token) -> fmt::Result {
        self.line(&mut out, ' ', token)
    }

    fn display_hunk(
        &self,
        mut out: impl fmt::Write,
        before: &[Token],
        after: &[Token],
    ) -> fmt::Result {
        before
            .iter()
            .try_for_each(|token| self.line(&mut out, '-', *token))?;
        after
            .iter()
            .try_for_each(|token| self.line(&mut out, '+', *token))
    }
}

/// Formats the range of a hunk: the first line, from 1, and the number of lines unless it is 1. An
/// empty range names the line before it (POSIX, `diff -u`).
fn range(start: u32, len: u32) -> String {
    match len {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        _ => format!("{},{len}", start + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::hunks;

    #[test]
    fn hunks_are_those_of_diff() {
        let cases = [
            ("", "", ""),
            ("a\n", "a\n", ""),
            ("", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"),
            ("a\n", "", "@@ -1 +0,0 @@\n-a\n"),
            ("a\nb\n", "a\nc\n", "@@ -1,2 +1,2 @@\n a\n-b\n+c\n"),
            (
                "a\nb",
                "a\n",
                "@@ -1,2 +1 @@\n a\n-b\n\\ No newline at end of file\n",
            ),
            (
                "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n",
                "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n",
                "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n@@ -7,4 +8,3 @@\n 7\n 8\n 9\n-10\n",
            ),
        ];

        for (old, new, expected) in cases {
            assert_eq!(hunks(old, new), expected, "{old:?} to {new:?}");
        }
    }
}
