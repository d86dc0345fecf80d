//! Reads, plans and writes in rounds, until the kernel holds the desired state.

use std::thread;
use std::time::Duration;

use crate::apply::goal::{ConvergenceGoal, GoalKind};
use crate::apply::journal::{KernelSnapshot, RunStart};
use crate::apply::state_store::{self, AppliedState};
use crate::apply::{ApplyError, ApplyOutcome, ApplyTarget, DifferenceCounts, Inspection};
use crate::observe::{KernelProblem, ObservedKernel, ToolSettings, ask_all, refuse_other};
use crate::plan::{Plan, PlanStep, PrintCache, StepWeight, between, remember_and_plan};
use crate::runner::RunnerFailure;

/// Maximum number of write rounds. Other programs may write between them.
const MOST_ROUNDS: usize = 3;

/// How often to try to remove an unused object, and the pause between attempts: nf_tables releases
/// references a little after the transaction.
const REMOVALS: usize = 5;
const PAUSE: Duration = Duration::from_millis(40);

/// Brings the kernel to the goal with one iptables build. After a failure the kernel may hold a
/// part of it, and the journal holds the previous state.
pub(super) fn converge_with(
    node: &mut ApplyTarget<'_>,
    goal: ConvergenceGoal<'_>,
    tools: ToolSettings,
    start: &mut RunStart<'_>,
) -> Result<ApplyOutcome, ApplyError> {
    let last = state_store::remembered(node.runner, tools.backend);
    let scope = goal.scope(last.as_ref());
    let backend = tools.backend.label().to_owned();
    let fresh = || PrintCache {
        version: PrintCache::VERSION,
        backend,
        ..PrintCache::default()
    };
    // A rollback needs no print cache: its desired rules were read back, so they are in the tools'
    // form.
    let known = last
        .as_ref()
        .filter(|_| !matches!(goal.sort, GoalKind::Before { .. }));
    let mut memory = known.map_or_else(fresh, |last| last.memory.clone());
    let mut written: Option<Plan> = None;
    let mut outcome = ApplyOutcome::new(goal.node, tools.backend);

    for round in 0..=MOST_ROUNDS {
        let observed = goal.observe(node, tools, scope)?;
        let mut plan;
        (memory, plan) = match written.take() {
            Some(ran) => remember_and_plan(goal.desired, &observed, &ran, memory, &tools),
            None => {
                let plan = between(goal.desired, &observed, &memory, &tools);
                (memory, plan)
            }
        };
        if round == 0 {
            outcome.counts = DifferenceCounts::from_differences(&plan.differences);
            prepare(node, tools, goal, &observed, &plan, last.as_ref(), start)?;
        }
        // The reading shows the desired policy. Only removals remain.
        if plan.is_in_force() {
            outcome.rounds = round;
            remove(node, &plan, &mut outcome);
            goal.remember(node, last.as_ref(), memory, &observed, &mut outcome);
            outcome.look = plan.steps.is_empty().then(|| {
                Box::new(Inspection {
                    tools,
                    observed,
                    plan,
                })
            });
            return Ok(outcome);
        }
        if round == MOST_ROUNDS {
            return Err(ApplyError::NotSettled(plan.differences));
        }
        if round == 0 {
            let has_sets = goal.sort != GoalKind::NoChains;
            start.journal.note(KernelSnapshot {
                tools,
                scope,
                has_sets,
                observed,
                last: last.clone(),
            });
        }
        outcome.calls += write(node, &mut plan)?;
        written = Some(plan);
    }

    Err(ApplyError::NotSettled(Vec::new()))
}

/// Makes the calls that the plan depends on. Returns their number.
fn write(node: &mut ApplyTarget<'_>, plan: &mut Plan) -> Result<usize, ApplyError> {
    let mut count = 0;
    for step in plan
        .steps
        .iter_mut()
        .filter(|step| step.weight == StepWeight::Must)
    {
        let calls = std::mem::take(&mut step.calls); // they are as long as the scripts
        count += calls.len();
        let answers = ask_all(node.runner, &calls);
        let mut problems: Vec<KernelProblem> =
            answers.into_iter().filter_map(Result::err).collect();
        // Of several failures, a stuck process is the most important one: it may still write.
        problems.sort_by_key(|problem| {
            !matches!(problem, KernelProblem::NoAnswer(RunnerFailure::Stuck(..)))
        });
        if let Some(problem) = problems.into_iter().next() {
            return Err(ApplyError::Kernel(problem));
        }
    }

    Ok(count)
}

/// Does what must precede the first write.
fn prepare(
    node: &mut ApplyTarget<'_>,
    tools: ToolSettings,
    goal: ConvergenceGoal<'_>,
    observed: &ObservedKernel,
    plan: &Plan,
    last: Option<&AppliedState>,
    start: &mut RunStart<'_>,
) -> Result<(), ApplyError> {
    if plan.steps.is_empty() {
        return Ok(());
    }

    // Packets would traverse the rules of both builds.
    if goal.sort == GoalKind::Bundle && !node.settings.takes_over {
        refuse_other(node.runner, tools).map_err(ApplyError::Kernel)?;
    }

    if plan.is_in_force() {
        return Ok(());
    }

    if let Some(first) = &mut start.first {
        first(node, observed)?;
    }

    match last {
        // Recorded before the write. Otherwise a killed apply would leave early tables that the
        // next one does not read.
        Some(last) if goal.early && !last.early => state_store::remember(
            node.runner,
            &AppliedState {
                early: true,
                ..last.clone()
            },
        )
        .map_err(ApplyError::Files),
        Some(_) | None => Ok(()),
    }
}

/// Removes unused objects. Failures are reported in the outcome, and the next apply tries again.
fn remove(node: &mut ApplyTarget<'_>, plan: &Plan, outcome: &mut ApplyOutcome) {
    for step in &plan.steps {
        outcome.calls += step.calls.len();
        outcome.left.extend(
            try_removal(node, step)
                .into_iter()
                .map(|problem| format!("{}: {problem}", step.about)),
        );
    }
}

/// Tries calls until all succeed or the attempts are used up. Returns the remaining problems.
fn try_removal(node: &mut ApplyTarget<'_>, step: &PlanStep) -> Vec<KernelProblem> {
    let (mut left, mut problems) = (step.calls.clone(), Vec::new());
    for attempt in 0..REMOVALS {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        let failed = ask_all(node.runner, &left)
            .into_iter()
            .zip(left)
            .filter_map(|(answer, call)| Some((answer.err()?, call)));
        (problems, left) = failed.unzip();
        if left.is_empty() {
            break;
        }
    }

    problems
}
