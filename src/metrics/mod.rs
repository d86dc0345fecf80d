//! Measurements to the text that Prometheus and the textfile collector of node_exporter read.
//!
//! In: [`Metrics`], filled family by family. Out: the classic text format, version 0.0.4. Not
//! OpenMetrics: its info type makes the textfile collector drop the whole file (measured with
//! node_exporter 1.5.0). Absent: files, time, and what is measured.
//!
//! ```
//! use palisade::metrics::Metrics;
//!
//! let mut metrics = Metrics::default();
//! metrics.gauge("palisade_in_sync", "Whether the kernel holds what the bundle says.").add(&[], true);
//! let packets = metrics.counter("palisade_rule_packets_total", "Packets that a policy rule took.");
//! packets.add(&[("tier", "default"), ("rule", "1")], 12_u64);
//! assert!(metrics.to_string().ends_with("palisade_rule_packets_total{tier=\"default\",rule=\"1\"} 12\n"));
//! ```
//!
//! Cost: linear in the samples.

use std::fmt;

use crate::output::{Sink, Terminal, visible};

/// Families of samples, in the order in which they were begun.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    families: Vec<Family>,
}

/// Samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<(Vec<(&'static str, String)>, Value)>,
}

/// What a sample says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A count; all 64 bits of it are printed.
    Whole(u64),
    /// A measure.
    Real(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

impl Metrics {
    /// Begins a family of what only grows (until the kernel or the rule begins anew); its name ends
    /// in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, Kind::Counter)
    }

    /// Begins a family of what goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, Kind::Gauge)
    }

    /// The family of a name, whose samples must stand together.
    fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) -> &mut Family {
        let at = self
            .families
            .iter()
            .position(|family| family.name == name)
            .unwrap_or(self.families.len());
        if at == self.families.len() {
            self.families.push(Family {
                name,
                help,
                kind,
                samples: Vec::new(),
            });
        }
        // it was found or pushed just now
        #[expect(clippy::indexing_slicing, reason = "the index is that of a family")]
        &mut self.families[at]
    }
}

impl Family {
    /// Adds a sample. No two of a family may have the same labels.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) {
        let labels = labels
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        self.samples.push((labels, value.into()));
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Value::Whole(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Value::Whole(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Value {
    fn from(holds: bool) -> Self {
        Value::Whole(u64::from(holds))
    }
}

impl From<f64> for Value {
    fn from(measure: f64) -> Self {
        Value::Real(measure)
    }
}

impl Metrics {
    /// Prints the text.
    pub fn text(&self, out: &mut Sink<'_>) {
        Terminal::on(out).rendered(self.to_string().trim_end(), false);
    }
}

impl fmt::Display for Metrics {
    /// The text. A family without samples is left out. A control character in a label is written
    /// out, since people look at metrics, too.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.families
            .iter()
            .filter(|family| !family.samples.is_empty())
            .try_for_each(|family| family.fmt(out))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
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

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Whole(count) => count.fmt(out),
            Value::Real(measure) if measure.is_nan() => out.write_str("NaN"),
            Value::Real(measure) if measure.is_infinite() => {
                out.write_str(if *measure > 0.0 { "+Inf" } else { "-Inf" })
            }
            Value::Real(measure) => measure.fmt(out),
        }
    }
}

/// A label's text without letters that steer a terminal. The format has an escape for newlines
/// only.
fn label(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// A text in which some letters stand behind a backslash, as the format has them.
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
