use super::LINTS;
use crate::diagnostic::{Code, Severity};

#[test]
fn the_table_has_every_lint_once() {
    let listed: Vec<Code> = LINTS.iter().map(|row| row.0).collect();
    let known: Vec<Code> = Code::ALL
        .iter()
        .copied()
        .filter(|code| code.severity() == Severity::Lint)
        .collect();
    assert_eq!(listed, known);
}
