//! Printing: data to standard output, diagnostics to standard error.

use std::io::{self, BufWriter, IsTerminal};

use crate::cli::{ColorChoice, ExitStatus, GlobalArguments, OutputFormat};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, MOST, Severity, print};
use crate::output::{BufferedOutput, JsonWriter, OutputSink, TerminalWriter, is_steering};
use crate::source::SourceFiles;

/// Where and how this run prints.
pub(super) struct OutputStreams {
    format: OutputFormat,
    colour: bool,
    quiet: bool,
    /// What people are told behind the number of errors, of a command that else writes files.
    outcome: &'static str,
}

impl OutputStreams {
    /// For a command that writes files, or for one that does not.
    pub(super) fn new(global: &GlobalArguments, writes: bool) -> Self {
        let colour = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                io::stderr().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };

        Self {
            format: global.format,
            colour,
            quiet: global.quiet,
            outcome: if writes { "; nothing was written" } else { "" },
        }
    }

    /// Whether machines read this.
    pub(super) fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// How answers are printed.
    pub(super) fn format(&self) -> OutputFormat {
        self.format
    }

    /// Prints diagnostics, in order, and, for people, how many errors there were. Gives
    /// [`ExitStatus::Invalid`] on any error.
    pub(super) fn diagnostics(&mut self, found: &Diagnostics, files: &SourceFiles) -> ExitStatus {
        let sorted = found.sorted();
        let errors = sorted
            .iter()
            .filter(|diagnostic| diagnostic.severity() == Severity::Error)
            .count();
        let is_shown =
            |diagnostic: &&&Diagnostic| !self.quiet || diagnostic.severity() == Severity::Error;

        to_stderr(|err| {
            sorted
                .iter()
                .filter(is_shown)
                .for_each(|diagnostic| self.one(diagnostic, files, err));
            if errors > 0 && self.format != OutputFormat::Json {
                TerminalWriter::on(err).line(self.count(errors, found));
            }
        });

        if errors > 0 {
            ExitStatus::Invalid
        } else {
            ExitStatus::Clean
        }
    }

    /// `2 errors; nothing was written`.
    fn count(&self, errors: usize, found: &Diagnostics) -> String {
        let outcome = self.outcome;
        match found.error_count() {
            all if all > MOST => {
                format!("more than {MOST} errors; the rest of the input was not read{outcome}")
            }
            _ if errors == 1 => format!("1 error{outcome}"),
            _ => format!("{errors} errors{outcome}"),
        }
    }

    /// Prints one diagnostic that belongs to no input.
    pub(super) fn diagnostic(&mut self, diagnostic: Diagnostic) -> ExitStatus {
        let mut found = Diagnostics::default();
        found.push(diagnostic);
        self.diagnostics(&found, &SourceFiles::default())
    }

    /// Prints one diagnostic that is about this node, and nothing on what was written.
    pub(super) fn failure(&mut self, diagnostic: &Diagnostic) {
        to_stderr(|err| self.one(diagnostic, &SourceFiles::default(), err));
    }

    fn one(&self, diagnostic: &Diagnostic, files: &SourceFiles, err: &mut OutputSink<'_>) {
        if self.is_json() {
            let mut err = JsonWriter::on(err);
            err.text(&print::json(diagnostic, files));
            return err.literal("\n");
        }

        let mut err = TerminalWriter::on(err);
        err.rendered(&print::human(diagnostic, files, self.colour), self.colour);
        err.literal("\n");
    }

    /// Prints data. A reader that has gone away (`| head`) is no failure; any other trouble is.
    pub(super) fn data(&mut self, text: &BufferedOutput) -> Result<(), Diagnostic> {
        written(to_stdout(|out| out.printed(text)))
    }

    /// Prints data and gives its status, or says why it cannot be printed.
    pub(super) fn answer(&mut self, text: &BufferedOutput, status: ExitStatus) -> ExitStatus {
        match self.data(text) {
            Ok(()) => status,
            Err(diagnostic) => self.diagnostic(diagnostic),
        }
    }

    /// Prints data as it is made, in the format that was asked for.
    pub(super) fn data_by(
        &mut self,
        write: impl FnOnce(OutputFormat, &mut OutputSink<'_>),
    ) -> ExitStatus {
        match written(to_stdout(|out| write(self.format, out))) {
            Ok(()) => ExitStatus::Clean,
            Err(diagnostic) => self.diagnostic(diagnostic),
        }
    }

    /// Says something about what was done.
    pub(super) fn remark(&mut self, text: &str) {
        if !self.quiet && self.format != OutputFormat::Json {
            to_stderr(|err| TerminalWriter::on(err).line(text));
        }
    }
}

/// Opens standard output. No other function does, so that nothing gets there but through a
/// [`OutputSink`].
fn to_stdout(print: impl FnOnce(&mut OutputSink<'_>)) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut sink = OutputSink::on(&mut out);
    print(&mut sink);
    sink.finish()
}

/// Opens standard error, in the same way. Where it is closed, there is no place left to say so.
fn to_stderr(print: impl FnOnce(&mut OutputSink<'_>)) {
    let mut err = BufWriter::new(io::stderr().lock());
    let mut sink = OutputSink::on(&mut err);
    print(&mut sink);
    let _ = sink.finish();
}

fn written(outcome: io::Result<()>) -> Result<(), Diagnostic> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Diagnostic::new(
            Code::Unwritable,
            format!("cannot write to standard output: {error}"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Says that a command is ready, to the process that started it.
pub(super) fn ready() {
    // where nobody reads it, nobody waits for it
    let _ = to_stdout(|out| TerminalWriter::on(out).literal("ready\n"));
}

/// Prints what clap has to say: help and version are data, anything else is a refusal, which
/// repeats arguments and variables.
pub(super) fn usage(error: &clap::Error) -> ExitStatus {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitStatus::Clean;
    }

    let is_styled = io::stderr().is_terminal() && !is_steered();
    let text = error.render();
    let text = if is_styled {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    to_stderr(|err| TerminalWriter::on(err).rendered(text.trim_end(), is_styled));
    ExitStatus::Invalid
}

/// Whether an argument or a variable of ours has letters that steer a terminal: then clap's own
/// colours could not be told from those in its message.
fn is_steered() -> bool {
    let variables = std::env::vars_os();
    let ours = variables.filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PALISADE_"));
    let mut words = std::env::args_os().chain(ours.map(|(_, value)| value));
    words.any(|word| word.to_string_lossy().contains(is_steering))
}
