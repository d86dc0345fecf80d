//! What a tool said: its output, or why that is not to be relied on.

use crate::observe::KernelProblem;
use crate::runner::{ProcessOutput, Runner, RunnerFailure, ToolCall};

/// Lines on standard error that are no errors begin with this.
const REMARK: &str = "# Warning";

/// What `iptables-legacy-restore` ends with where it did not get the xtables lock; the words are
/// those of versions that end with another one. `iptables-nft-restore` ends with it where the
/// kernel refuses a rule.
const LOCKED: i32 = 4;
const LOCKING: &str = "-legacy-restore";
const LOCKED_WORDS: &str = "holding the xtables lock";

/// What it says where it cannot have the lock's file, and ends with the same status.
const LOCK_FILE_WORDS: &str = "open lock file";

/// Most that is repeated of what a tool said.
const MOST_SAID: usize = 2_000;

/// Runs a call; gives what it printed.
///
/// # Errors
/// When there is no answer, its exit status is not 0, or it has an error on standard error.
pub fn ask(runner: &mut dyn Runner, call: &ToolCall) -> Result<String, KernelProblem> {
    answered(call, runner.run(call))
}

/// Runs calls that do not depend on each other, all at once, as [`ask`] does; what each printed.
pub fn ask_all(runner: &mut dyn Runner, calls: &[ToolCall]) -> Vec<Result<String, KernelProblem>> {
    calls
        .iter()
        .zip(runner.run_all(calls))
        .map(|(call, answer)| answered(call, answer))
        .collect()
}

/// What a call printed, of its answer.
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

/// What a call printed is not to be relied on.
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
