//! `palisade completions` and `palisade man`: what the arguments are, for shells and for `man`.

use clap::Args;
use clap_complete::Shell;

use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, format, program};

/// Print a script that completes this program's arguments
///
/// For bash: `palisade completions bash > /usr/share/bash-completion/completions/palisade`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual page
///
/// One page with all commands: `palisade man > /usr/share/man/man1/palisade.1`.
#[derive(Debug, Args)]
pub(super) struct ManArguments {}

pub(super) fn completions(
    arguments: &CompletionsArguments,
    report: &mut OutputStreams,
) -> ExitStatus {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program(), "palisade", &mut script);
    report.data_by(|_, out| out.without_input(&script))
}

pub(super) fn man(report: &mut OutputStreams) -> ExitStatus {
    let mut page = Vec::new();
    // a vector takes everything that is written to it
    let _ = write_page(&mut page);
    report.data_by(|_, out| out.without_input(&page))
}

fn write_page(out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let mut program = program();
    program.build();
    clap_mangen::Man::new(program.clone()).render(out)?;
    let commands = program
        .get_subcommands()
        .filter(|command| command.get_name() != "help");
    commands
        .cloned()
        .try_for_each(|command| section(command, out))
}

/// A command's part of the page: its heading, how it is called, what it is for, its own options and
/// its formats.
fn section(command: clap::Command, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let name = command.get_name().to_uppercase();
    let command = command.mut_args(|argument| {
        if argument.is_global_set() && argument.get_id() != format::ID {
            argument.hide(true)
        } else {
            argument
        }
    });
    let page = clap_mangen::Man::new(command);

    writeln!(out, ".SH \"PALISADE {name}\"")?;
    let mut parts = Vec::new();
    page.render_synopsis_section(&mut parts)?;
    page.render_description_section(&mut parts)?;
    page.render_options_section(&mut parts)?;

    // sections of the command are parts of its section here
    let text = String::from_utf8_lossy(&parts).replace(".SH ", ".SS ");
    out.write_all(text.as_bytes())
}
