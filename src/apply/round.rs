//! Look, write, look again, until the kernel holds what it is to hold.

use std::thread;
use std::time::Duration;

use crate::apply::rollback::{Before, Journal};
use crate::apply::state_store::{self, Remembered};
use crate::apply::{Counts, Error, Node, Outcome, Wanted, scope};
use crate::observe::{Observed, Problem, Scope, Tools, ask_all, kernel, refuse_other};
use crate::plan::{Desired, Memory, Plan, Step, Weight, between, remember_and_plan};
use crate::ruleset::TableKind;
use crate::runner::Failure;

/// How often is written before we give up: others may write between.
const MOST_ROUNDS: usize = 3;

/// How often, and after how long, something unused is tried to be removed: nf_tables lets go of
/// what it no longer needs a little later.
const REMOVALS: usize = 5;
const PAUSE: Duration = Duration::from_millis(40);

/// What the kernel holds, and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The calls that were used.
    pub tools: Tools,
    /// What the kernel holds.
    pub observed: Observed,
    /// What would be done.
    pub plan: Plan,
}

/// Looks at the kernel, when no apply is under way, and writes nothing.
///
/// # Errors
/// When it cannot be seen, or an apply does not end in time.
pub fn look(node: &mut Node<'_>, wanted: &Wanted) -> Result<Look, Error> {
    let _lock = node.lock_to_look()?;
    let tools = state_store::tools(node)?;
    let last = state_store::remembered(node.runner, tools.backend);
    let observed = kernel(
        node.runner,
        tools,
        scope(last.as_ref(), wanted.has_early_tables()),
    )
    .map_err(Error::Kernel)?;
    let memory = last.map(|last| last.memory).unwrap_or_default();
    let plan = between(&wanted.desired, &observed, &memory, &tools);
    Ok(Look {
        tools,
        observed,
        plan,
    })
}

/// What the kernel is to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal<'goal> {
    desired: &'goal Desired,
    node: &'goal str,
    scripts: &'goal str,
    early: bool,
    sort: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// A bundle's sets and chains.
    Bundle,
    /// Nothing of ours.
    Nothing,
    /// No chains of ours; sets stay.
    NoChains,
    /// What was observed before a run.
    Before {
        /// In these tables.
        scope: Scope,
        /// And whether sets were looked at, too.
        has_sets: bool,
    },
}

impl<'goal> Goal<'goal> {
    pub(super) fn of(wanted: &'goal Wanted) -> Self {
        let early = wanted.has_early_tables();
        Self {
            desired: &wanted.desired,
            node: &wanted.node,
            scripts: &wanted.scripts,
            early,
            sort: Sort::Bundle,
        }
    }

    /// Nothing of ours.
    pub(super) fn nothing(nothing: &'goal Desired) -> Self {
        Self {
            desired: nothing,
            node: "",
            scripts: "",
            early: false,
            sort: Sort::Nothing,
        }
    }

    /// No chains of ours.
    pub(super) fn no_chains(nothing: &'goal Desired) -> Self {
        Self {
            sort: Sort::NoChains,
            ..Self::nothing(nothing)
        }
    }

    /// What was observed in a scope before a run, with sets or without.
    pub(super) fn before(before: &'goal Desired, scope: Scope, has_sets: bool) -> Self {
        Self {
            sort: Sort::Before { scope, has_sets },
            ..Self::nothing(before)
        }
    }

    /// Which tables are looked at.
    fn scope(&self, last: Option<&Remembered>) -> Scope {
        match self.sort {
            Sort::Bundle => scope(last, self.early),
            Sort::Nothing | Sort::NoChains => Scope::All,
            Sort::Before { scope, .. } => scope,
        }
    }

    /// The kernel as far as it matters.
    fn see(&self, node: &mut Node<'_>, tools: Tools, scope: Scope) -> Result<Observed, Error> {
        let observed = kernel(node.runner, tools, scope).map_err(Error::Kernel)?;
        match self.sort {
            Sort::Bundle | Sort::Nothing | Sort::Before { has_sets: true, .. } => Ok(observed),
            Sort::NoChains
            | Sort::Before {
                has_sets: false, ..
            } => Ok(Observed {
                tables: observed.tables,
                ..Observed::default()
            }),
        }
    }
}

impl Goal<'_> {
    /// Keeps in mind what was written. Where that fails, the next apply writes more than it must.
    fn remember(
        &self,
        node: &mut Node<'_>,
        (last, memory): (Option<&Remembered>, Memory),
        observed: &Observed,
        outcome: &mut Outcome,
    ) {
        if self.sort != Sort::Bundle {
            return;
        }
        let memory = Memory {
            node: self.node.to_owned(),
            scripts: self.scripts.to_owned(),
            ..memory
        };
        let now = Remembered {
            early: has_early_tables(observed),
            memory,
        };
        if last != Some(&now) {
            let kept = state_store::remember(node.runner, &now);
            outcome.left.extend(
                kept.err()
                    .map(|failure| format!("keep in mind what was written: {failure}")),
            );
        }
    }
}

/// What is to be done before the first write, with what the kernel holds; an error keeps the kernel
/// as it is.
pub(super) type First<'first> = dyn FnMut(&mut Node<'_>, &Observed) -> Result<(), Error> + 'first;

/// What goes before the first write of a run.
#[derive(Default)]
pub(super) struct Start<'first> {
    /// What is done, if anything.
    first: Option<&'first mut First<'first>>,
    /// What the kernel held then.
    pub(super) journal: Journal,
}

/// Brings the kernel there. Where that fails behind the first write, what the kernel held before
/// comes back.
pub(super) fn bring(node: &mut Node<'_>, goal: Goal<'_>) -> Result<Outcome, Error> {
    bring_or_roll_back(node, goal, Start::default())
}

/// The same, where something is to be done before the first write.
pub(super) fn bring_first<'first>(
    node: &mut Node<'_>,
    goal: Goal<'_>,
    first: &'first mut First<'first>,
) -> Result<Outcome, Error> {
    bring_or_roll_back(
        node,
        goal,
        Start {
            first: Some(first),
            ..Start::default()
        },
    )
}

fn bring_or_roll_back(
    node: &mut Node<'_>,
    goal: Goal<'_>,
    mut start: Start<'_>,
) -> Result<Outcome, Error> {
    let tools = state_store::tools(node)?;
    let brought = bring_with(node, goal, tools, &mut start);
    brought.map_err(|error| start.journal.roll_back(node, error))
}

/// Brings the kernel there by a build of iptables. Where that fails, it may hold a part of it, and
/// the journal has what it held before.
pub(super) fn bring_with(
    node: &mut Node<'_>,
    goal: Goal<'_>,
    tools: Tools,
    start: &mut Start<'_>,
) -> Result<Outcome, Error> {
    let last = state_store::remembered(node.runner, tools.backend);
    let scope = goal.scope(last.as_ref());
    let backend = tools.backend.word().to_owned();
    let fresh = || Memory {
        version: Memory::VERSION,
        backend,
        ..Memory::default()
    };
    let known = last
        .as_ref()
        .filter(|_| !matches!(goal.sort, Sort::Before { .. }));
    let mut memory = known.map_or_else(fresh, |last| last.memory.clone());
    let mut written: Option<Plan> = None;
    let mut outcome = Outcome::new(goal.node, tools.backend);
    for round in 0..=MOST_ROUNDS {
        let observed = goal.see(node, tools, scope)?;
        let mut plan;
        (memory, plan) = match written.take() {
            Some(ran) => remember_and_plan(goal.desired, &observed, (&ran, memory), &tools),
            None => {
                let plan = between(goal.desired, &observed, &memory, &tools);
                (memory, plan)
            }
        };
        if round == 0 {
            outcome.counts = Counts::of(&plan.differences);
            prepare(
                node,
                (tools, goal),
                (&observed, &plan, last.as_ref()),
                start,
            )?;
        }
        if plan.is_in_force() {
            outcome.rounds = round;
            remove(node, &plan, &mut outcome);
            goal.remember(node, (last.as_ref(), memory), &observed, &mut outcome);
            outcome.look = plan.steps.is_empty().then(|| {
                Box::new(Look {
                    tools,
                    observed,
                    plan,
                })
            });
            return Ok(outcome);
        }
        if round == MOST_ROUNDS {
            return Err(Error::NotSettled(plan.differences));
        }
        if round == 0 {
            let has_sets = goal.sort != Sort::NoChains;
            start.journal.note(Before {
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
    Err(Error::NotSettled(Vec::new()))
}

/// Makes the calls without which the plan fails; how many they were.
fn write(node: &mut Node<'_>, plan: &mut Plan) -> Result<usize, Error> {
    let mut count = 0;
    for step in plan
        .steps
        .iter_mut()
        .filter(|step| step.weight == Weight::Must)
    {
        let calls = std::mem::take(&mut step.calls); // they are as long as the scripts
        count += calls.len();
        let answers = ask_all(node.runner, &calls);
        let mut problems: Vec<Problem> = answers.into_iter().filter_map(Result::err).collect();
        // of calls that ran at once, one that may still write says most
        problems.sort_by_key(|problem| !matches!(problem, Problem::NoAnswer(Failure::Stuck(..))));
        if let Some(problem) = problems.into_iter().next() {
            return Err(Error::Kernel(problem));
        }
    }
    Ok(count)
}

/// What is to be done before the first write.
fn prepare(
    node: &mut Node<'_>,
    (tools, goal): (Tools, Goal<'_>),
    (observed, plan, last): (&Observed, &Plan, Option<&Remembered>),
    start: &mut Start<'_>,
) -> Result<(), Error> {
    if plan.steps.is_empty() {
        return Ok(());
    }
    if goal.sort == Sort::Bundle && !node.settings.takes_over {
        refuse_other(node.runner, tools).map_err(Error::Kernel)?;
    }
    if plan.is_in_force() {
        return Ok(());
    }
    if let Some(first) = &mut start.first {
        first(node, observed)?;
    }
    match last {
        // killed behind the write, we would not look there again
        Some(last) if goal.early && !last.early => state_store::remember(
            node.runner,
            &Remembered {
                early: true,
                ..last.clone()
            },
        )
        .map_err(Error::Files),
        Some(_) | None => Ok(()),
    }
}

fn has_early_tables(observed: &Observed) -> bool {
    observed
        .tables
        .iter()
        .any(|(id, table)| id.kind != TableKind::Filter && !table.is_empty())
}

/// Removes what is no longer used. What cannot be removed is told, and tried again with the next
/// apply.
fn remove(node: &mut Node<'_>, plan: &Plan, outcome: &mut Outcome) {
    for step in &plan.steps {
        outcome.calls += step.calls.len();
        outcome.left.extend(
            try_removal(node, step)
                .into_iter()
                .map(|problem| format!("{}: {problem}", step.about)),
        );
    }
}

/// Tries calls until none fails or it is enough; gives why those do that still fail.
fn try_removal(node: &mut Node<'_>, step: &Step) -> Vec<Problem> {
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
