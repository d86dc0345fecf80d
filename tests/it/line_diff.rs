//! What differs between two texts, for the message of a test that fails.

use imara_diff::{Algorithm, BasicLineDiffPrinter, Diff, InternedInput, UnifiedDiffConfig};

/// Returns the unified diff from the expected text to what was found.
pub(crate) fn line_diff(expected: &str, found: &str) -> String {
    let input = InternedInput::new(expected, found);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    diff.unified_diff(
        &BasicLineDiffPrinter(&input.interner),
        UnifiedDiffConfig::default(),
        &input,
    )
    .to_string()
}
