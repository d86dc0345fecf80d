use super::{MetricFamilies, MetricValue};

#[test]
fn families_stand_together_with_help_and_type() {
    let mut metrics = MetricFamilies::default();
    metrics.gauge("a", "First.").add(&[], true);
    metrics
        .counter("b_total", "Second.")
        .add(&[("x", "1"), ("y", "2")], u64::MAX);
    metrics.gauge("empty", "Never seen.");
    metrics.gauge("a", "First.").add(&[("x", "z")], 0.25);

    let expected = "# HELP a First.\n# TYPE a gauge\na 1\na{x=\"z\"} 0.25\n# HELP b_total \
                    Second.\n# TYPE b_total counter\nb_total{x=\"1\",y=\"2\"} \
                    18446744073709551615\n";
    assert_eq!(metrics.to_string(), expected);
}

#[test]
fn no_text_ends_a_label_or_a_line() {
    let mut metrics = MetricFamilies::default();
    metrics
        .gauge("a", "One\nline, \"one\" \\.")
        .add(&[("x", "a\\b\"} 1\nb 2")], false);
    let expected =
        "# HELP a One\\nline, \"one\" \\\\.\n# TYPE a gauge\na{x=\"a\\\\b\\\"} 1\\nb 2\"} 0\n";
    assert_eq!(metrics.to_string(), expected);
}

#[test]
fn numbers_that_are_none_have_names() {
    let words = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e21]
        .map(|number| MetricValue::Real(number).to_string());
    assert_eq!(words, ["NaN", "+Inf", "-Inf", "1000000000000000000000"]);
}
