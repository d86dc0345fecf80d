//! Formats measurements for Prometheus and for the textfile collector of node_exporter.
//!
//! In: [`MetricFamilies`], filled family by family. Out: the classic text format, version 0.0.4.
//! Not OpenMetrics: its info type makes the textfile collector drop the whole file (measured with
//! node_exporter 1.5.0). Absent: files, time, and the meaning of the measurements.
//!
//! ```
//! use palisade::metrics::MetricFamilies;
//!
//! let mut metrics = MetricFamilies::default();
//! metrics
//!     .gauge("palisade_in_sync", "Whether the kernel holds what the bundle says.")
//!     .add(&[], true);
//! let packets =
//!     metrics.counter("palisade_rule_packets_total", "Packets that a policy rule took.");
//! packets.add(&[("tier", "default"), ("rule", "1")], 12_u64);
//! let sample = "palisade_rule_packets_total{tier=\"default\",rule=\"1\"} 12\n";
//! assert!(metrics.to_string().ends_with(sample));
//! ```
//!
//! Cost: linear in the samples.

use std::fmt;

use crate::output::{OutputSink, TerminalWriter, visible};

/// Metric families, in the order of their creation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricFamilies {
    families: Vec<MetricFamily>,
}

/// Samples with one name.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    name: &'static str,
    help: &'static str,
    kind: MetricKind,
    samples: Vec<(Vec<(&'static str, String)>, MetricValue)>,
}

/// The value of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricValue {
    /// A count. All 64 bits are printed.
    Whole(u64),
    /// A measurement.
    Real(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    Counter,
    Gauge,
}

impl MetricFamilies {
    /// Creates or returns a family whose values only grow, until the kernel or the rule starts
    /// over. Its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> &mut MetricFamily {
        self.family(name, help, MetricKind::Counter)
    }

    /// Creates or returns a family whose values rise and fall.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut MetricFamily {
        self.family(name, help, MetricKind::Gauge)
    }

    /// Returns the family with this name. The format requires all its samples in one group.
    fn family(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: MetricKind,
    ) -> &mut MetricFamily {
        let at = self
            .families
            .iter()
            .position(|family| family.name == name)
            .unwrap_or(self.families.len());

        if at == self.families.len() {
            self.families.push(MetricFamily {
                name,
                help,
                kind,
                samples: Vec::new(),
            });
        }

        // The index was found or the family was pushed just now.
        #[expect(clippy::indexing_slicing, reason = "the index is that of a family")]
        &mut self.families[at]
    }
}

impl MetricFamily {
    /// Adds a sample. Two samples of a family must not have the same labels.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: impl Into<MetricValue>) {
        let labels = labels
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        self.samples.push((labels, value.into()));
    }
}

impl From<u64> for MetricValue {
    fn from(count: u64) -> Self {
        MetricValue::Whole(count)
    }
}

impl From<usize> for MetricValue {
    fn from(count: usize) -> Self {
        MetricValue::Whole(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

impl From<bool> for MetricValue {
    fn from(holds: bool) -> Self {
        MetricValue::Whole(u64::from(holds))
    }
}

impl From<f64> for MetricValue {
    fn from(measure: f64) -> Self {
        MetricValue::Real(measure)
    }
}

impl MetricFamilies {
    /// Prints the metrics.
    pub fn text(&self, out: &mut OutputSink<'_>) {
        TerminalWriter::on(out).rendered(self.to_string().trim_end(), false);
    }
}

impl fmt::Display for MetricFamilies {
    /// Formats the metrics. Omits families without samples. Escapes control characters in labels,
    /// because operators view metrics in terminals.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.families
            .iter()
            .filter(|family| !family.samples.is_empty())
            .try_for_each(|family| family.fmt(out))
    }
}

impl fmt::Display for MetricFamily {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        writeln!(
            out,
            "# HELP {} {}",
            self.name,
            escaped(self.help, &['\\', '\n'])
        )?;
        writeln!(out, "# TYPE {} {kind}", self.name)?;

        for (labels, value) in &self.samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, text)| {
                    format!("{name}=\"{}\"", escaped(&label(text), &['\\', '\n', '"']))
                })
                .collect();
            match labels.is_empty() {
                true => writeln!(out, "{} {value}", self.name)?,
                false => writeln!(out, "{}{{{}}} {value}", self.name, labels.join(","))?,
            }
        }

        Ok(())
    }
}

impl fmt::Display for MetricValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricValue::Whole(count) => count.fmt(out),
            // The format has its own names for these values.
            MetricValue::Real(measure) if measure.is_nan() => out.write_str("NaN"),
            MetricValue::Real(measure) if measure.is_infinite() => {
                out.write_str(if *measure > 0.0 { "+Inf" } else { "-Inf" })
            }
            MetricValue::Real(measure) => measure.fmt(out),
        }
    }
}

/// Escapes characters in a label that control a terminal. The format itself can escape only
/// newlines.
fn label(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// Puts a backslash before some characters, as the format requires.
fn escaped(text: &str, letters: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' if letters.contains(&'\n') => out.push_str("\\n"),
            letter if letters.contains(&letter) => out.extend(['\\', letter]),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests;
