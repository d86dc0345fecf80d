//! Checks the answer of a tool, and returns its output or the reason not to trust it.

use crate::observe::KernelProblem;
use crate::runner::{ProcessOutput, Runner, RunnerFailure, ToolCall};

/// Prefix of lines on standard error that are not errors.
const REMARK: &str = "# Warning";

/// Exit status of `iptables-legacy-restore` if it did not get the xtables lock. Some versions exit
/// with another status, but print these words. `iptables-nft-restore` uses the same status if the
/// kernel refuses a rule, so the program's name matters.
const LOCKED: i32 = 4;
const LOCKING: &str = "-legacy-restore";
const LOCKED_WORDS: &str = "holding the xtables lock";

/// Message of the same status if the tool cannot open the lock file. Waiting does not help then.
const LOCK_FILE_WORDS: &str = "open lock file";

/// Maximum number of characters of a tool's message in an error.
const MOST_SAID: usize = 2_000;

/// Runs a call, and returns its standard output.
///
/// # Errors
/// If there is no answer, the exit status is not 0, or standard error contains an error.
pub fn ask(runner: &mut dyn Runner, call: &ToolCall) -> Result<String, KernelProblem> {
    answered(call, runner.run(call))
}

/// Runs independent calls concurrently, each like [`ask`]. Returns the outputs in the order of the
/// calls.
pub fn ask_all(runner: &mut dyn Runner, calls: &[ToolCall]) -> Vec<Result<String, KernelProblem>> {
    calls
        .iter()
        .zip(runner.run_all(calls))
        .map(|(call, answer)| answered(call, answer))
        .collect()
}

/// Checks an answer, and returns the output.
fn answered(
    call: &ToolCall,
    answer: Result<ProcessOutput, RunnerFailure>,
) -> Result<String, KernelProblem> {
    let answer = answer.map_err(KernelProblem::NoAnswer)?;
    let mut said: Vec<&str> = answer
        .errors
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(REMARK))
        .collect();

    match answer.status {
        Some(0) if said.is_empty() => return Ok(answer.output),
        // The message about the lock file comes with the same status, so it is checked first.
        Some(_) if said.iter().any(|line| line.contains(LOCK_FILE_WORDS)) => {}
        Some(LOCKED) if call.program.ends_with(LOCKING) => return Err(busy()),
        Some(0) | None => {}
        Some(_) if said.iter().any(|line| line.contains(LOCKED_WORDS)) => return Err(busy()),
        Some(_) => {}
    }

    let ended = match answer.status {
        Some(0) => String::new(),
        Some(status) => format!("exit status {status}"),
        None => "it was killed by a signal".to_owned(),
    };
    said.extend((!ended.is_empty()).then_some(ended.as_str()));

    Err(refused(call, &said.join("; ")))
}

/// Error: the output of a call cannot be trusted. Control characters become spaces, because the
/// message goes to a terminal.
pub(super) fn refused(call: &ToolCall, said: &str) -> KernelProblem {
    let said = said
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MOST_SAID)
        .collect();
    KernelProblem::Refused {
        call: call.to_string(),
        said,
    }
}

fn busy() -> KernelProblem {
    KernelProblem::Busy("the xtables lock".to_owned())
}
