//! Comma-separated values for spreadsheets and scripts.

use std::io::{self, Write};

use crate::output::OutputSink;
use crate::output::visible::{shown, without_commands};

/// First characters of cells that a spreadsheet takes for a formula, including their full-width
/// forms. Tab and carriage return have the same effect, but never get into a cell.
const FORMULA: [char; 8] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];

/// Writes records. A cell is one line of text. A cell that a spreadsheet would compute gets a
/// leading `'`, which makes it text.
pub struct CsvWriter<'sink, 'out>(csv::Writer<CsvBytes<'sink, 'out>>);

/// Adapter from the writer of the `csv` crate to a sink.
struct CsvBytes<'sink, 'out>(&'sink mut OutputSink<'out>);

impl<'sink, 'out> CsvWriter<'sink, 'out> {
    /// Creates a writer on a sink and writes the column headings.
    pub fn on(sink: &'sink mut OutputSink<'out>, heads: &[&'static str]) -> Self {
        let mut csv = Self(csv::Writer::from_writer(CsvBytes(sink)));
        csv.record(heads.iter());
        csv
    }

    /// Writes a record. It must have as many cells as there are columns.
    pub fn record(&mut self, cells: impl Iterator<Item: AsRef<str>>) {
        let cells = cells.map(|cell| escaped(cell.as_ref()));
        // the sink stores its own errors, and all records have the same length
        let _ = self.0.write_record(cells);
    }

    /// Whether the sink is closed, so that further output can be skipped.
    pub fn is_closed(&self) -> bool {
        self.0.get_ref().0.is_closed()
    }
}

fn escaped(cell: &str) -> String {
    let cell = without_commands(&shown(cell)).into_owned();
    match cell.trim_start().starts_with(FORMULA) {
        true => format!("'{cell}"),
        false => cell,
    }
}

impl Write for CsvBytes<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
