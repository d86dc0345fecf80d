//! Printing: data to standard output, diagnostics to standard error.

use std::io::{self, IsTerminal, Write};

use crate::cli::{Color, Format, Global, Status};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, MOST, Severity, print};
use crate::text::Files;

/// Where and how this run prints.
pub(super) struct Report {
    format: Format,
    colour: bool,
    quiet: bool,
    /// What people are told behind the number of errors, of a command that else writes files.
    outcome: &'static str,
}

impl Report {
    /// For a command that writes files, or for one that does not.
    pub(super) fn new(global: &Global, writes: bool) -> Self {
        let colour = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Self { format: global.format, colour, quiet: global.quiet, outcome: if writes { "; nothing was written" } else { "" } }
    }

    /// Whether machines read this.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// How answers are printed.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Prints diagnostics, in order, and, for people, how many errors there were. Gives [`Status::Invalid`] on any error.
    pub(super) fn diagnostics(&mut self, found: &Diagnostics, files: &Files) -> Status {
        let mut err = io::BufWriter::new(io::stderr().lock());
        let mut shown = 0;
        for diagnostic in found.sorted() {
            shown += usize::from(diagnostic.severity() == Severity::Error);
            if self.quiet && diagnostic.severity() != Severity::Error {
                continue;
            }
            let text = match self.format {
                Format::Json => print::json(diagnostic, files) + "\n",
                Format::Text | Format::Csv | Format::Md | Format::Dot | Format::Sarif | Format::Junit | Format::Prometheus => {
                    print::human(diagnostic, files, self.colour) + "\n\n"
                }
            };
            // nobody is left to tell when standard error is closed
            let _ = err.write_all(text.as_bytes());
        }
        if shown > 0 && self.format != Format::Json {
            let outcome = self.outcome;
            let _ = match found.error_count() {
                all if all > MOST => writeln!(err, "more than {MOST} errors; the rest of the input was not read{outcome}"),
                _ if shown == 1 => writeln!(err, "1 error{outcome}"),
                _ => writeln!(err, "{shown} errors{outcome}"),
            };
        }
        let _ = err.flush();
        if shown > 0 { Status::Invalid } else { Status::Clean }
    }

    /// Prints one diagnostic that belongs to no input.
    pub(super) fn diagnostic(&mut self, diagnostic: Diagnostic) -> Status {
        let mut found = Diagnostics::default();
        found.push(diagnostic);
        self.diagnostics(&found, &Files::default())
    }

    /// Prints one diagnostic that is about this node, and nothing on what was written.
    pub(super) fn failure(&mut self, diagnostic: &Diagnostic) {
        let files = Files::default();
        let text = match self.is_json() {
            true => print::json(diagnostic, &files) + "\n",
            false => print::human(diagnostic, &files, self.colour) + "\n\n",
        };
        // nobody is left to tell when standard error is closed
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Prints data. A reader that has gone away (`| head`) is no failure; any other trouble is.
    pub(super) fn data(&mut self, text: &str) -> Result<(), Diagnostic> {
        let mut out = io::stdout().lock();
        written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Prints data and gives its status, or says why it cannot be printed.
    pub(super) fn answer(&mut self, text: &str, status: Status) -> Status {
        match self.data(text) {
            Ok(()) => status,
            Err(diagnostic) => self.diagnostic(diagnostic),
        }
    }

    /// Prints data as it is made, in the format that was asked for.
    pub(super) fn data_by(&mut self, write: impl FnOnce(Format, &mut dyn Write) -> io::Result<()>) -> Status {
        let mut out = io::BufWriter::new(io::stdout().lock());
        match written(write(self.format, &mut out).and_then(|()| out.flush())) {
            Ok(()) => Status::Clean,
            Err(diagnostic) => self.diagnostic(diagnostic),
        }
    }

    /// Says something about what was done.
    pub(super) fn remark(&mut self, text: &str) {
        if !self.quiet && self.format != Format::Json {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

fn written(outcome: io::Result<()>) -> Result<(), Diagnostic> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Diagnostic::new(Code::Unwritable, format!("cannot write to standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints what clap has to say: help and version are data, anything else is a refusal.
pub(super) fn usage(error: &clap::Error) -> Status {
    let _ = error.print();
    match error.use_stderr() {
        true => Status::Invalid,
        false => Status::Clean,
    }
}
