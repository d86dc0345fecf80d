//! Look, write, look again, until the kernel holds what it is to hold.

use std::thread;
use std::time::Duration;

use crate::apply::kept::{self, Remembered};
use crate::apply::{Counts, Error, Node, Outcome, Wanted, scope};
use crate::observe::{Observed, Problem, Scope, Tools, ask_all, kernel, refuse_other};
use crate::plan::{Desired, Memory, Plan, Step, Weight, between, remember_and_plan};
use crate::script::TableKind;

/// How often is written before we give up: others may write between.
const MOST_ROUNDS: usize = 3;

/// How often, and after how long, something unused is tried to be removed: nf_tables lets go of what it no longer needs a little later.
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
    let tools = kept::tools(node)?;
    let last = kept::remembered(node.runner, tools.backend);
    let observed = kernel(node.runner, tools, scope(last.as_ref(), wanted.has_early_tables())).map_err(Error::Kernel)?;
    let memory = last.map(|last| last.memory).unwrap_or_default();
    let plan = between(&wanted.desired, &observed, &memory, &tools);
    Ok(Look { tools, observed, plan })
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
}

impl<'goal> Goal<'goal> {
    pub(super) fn of(wanted: &'goal Wanted) -> Self {
        let early = wanted.has_early_tables();
        Self { desired: &wanted.desired, node: &wanted.node, scripts: &wanted.scripts, early, sort: Sort::Bundle }
    }

    /// Nothing of ours.
    pub(super) fn nothing(nothing: &'goal Desired) -> Self {
        Self { desired: nothing, node: "", scripts: "", early: false, sort: Sort::Nothing }
    }

    /// No chains of ours.
    pub(super) fn no_chains(nothing: &'goal Desired) -> Self {
        Self { sort: Sort::NoChains, ..Self::nothing(nothing) }
    }

    /// The kernel as far as it matters.
    fn see(&self, node: &mut Node<'_>, tools: Tools, scope: Scope) -> Result<Observed, Error> {
        let observed = kernel(node.runner, tools, scope).map_err(Error::Kernel)?;
        match self.sort {
            Sort::Bundle | Sort::Nothing => Ok(observed),
            Sort::NoChains => Ok(Observed { tables: observed.tables, ..Observed::default() }),
        }
    }
}

impl Goal<'_> {
    /// Keeps in mind what was written. Where that fails, the next apply writes more than it must.
    fn remember(&self, node: &mut Node<'_>, (last, memory): (Option<&Remembered>, Memory), observed: &Observed, outcome: &mut Outcome) {
        if self.sort != Sort::Bundle {
            return;
        }
        let memory = Memory { node: self.node.to_owned(), scripts: self.scripts.to_owned(), ..memory };
        let now = Remembered { early: has_early_tables(observed), memory };
        if last != Some(&now) {
            let kept = kept::remember(node.runner, &now);
            outcome.left.extend(kept.err().map(|failure| format!("keep in mind what was written: {failure}")));
        }
    }
}

/// What is to be done before the first write, with what the kernel holds; an error keeps the kernel as it is.
pub(super) type First<'first> = dyn FnMut(&mut Node<'_>, &Observed) -> Result<(), Error> + 'first;

/// Nothing is.
pub(super) fn nothing_first(_: &mut Node<'_>, _: &Observed) -> Result<(), Error> {
    Ok(())
}

/// Brings the kernel there.
pub(super) fn bring(node: &mut Node<'_>, goal: Goal<'_>, first: &mut First<'_>) -> Result<Outcome, Error> {
    let tools = kept::tools(node)?;
    bring_with(node, goal, tools, first)
}

/// The same by a build of iptables.
pub(super) fn bring_with(node: &mut Node<'_>, goal: Goal<'_>, tools: Tools, first: &mut First<'_>) -> Result<Outcome, Error> {
    let last = kept::remembered(node.runner, tools.backend);
    let scope = if goal.sort == Sort::Bundle { scope(last.as_ref(), goal.early) } else { Scope::All };
    let backend = tools.backend.word().to_owned();
    let fresh = || Memory { version: Memory::VERSION, backend, ..Memory::default() };
    let mut memory = last.as_ref().map_or_else(fresh, |last| last.memory.clone());
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
            prepare(node, (tools, goal), (&observed, &plan, last.as_ref()), first)?;
        }
        if plan.is_in_force() {
            outcome.rounds = round;
            remove(node, &plan, &mut outcome);
            goal.remember(node, (last.as_ref(), memory), &observed, &mut outcome);
            outcome.look = plan.steps.is_empty().then(|| Box::new(Look { tools, observed, plan }));
            return Ok(outcome);
        }
        if round == MOST_ROUNDS {
            return Err(Error::NotSettled(plan.differences));
        }
        drop(observed);
        for step in plan.steps.iter_mut().filter(|step| step.weight == Weight::Must) {
            let calls = std::mem::take(&mut step.calls); // they are as long as the scripts
            ask_all(node.runner, &calls).into_iter().try_for_each(|answer| answer.map(drop)).map_err(Error::Kernel)?;
            outcome.calls += calls.len();
        }
        written = Some(plan);
    }
    Err(Error::NotSettled(Vec::new()))
}

/// What is to be done before the first write.
fn prepare(
    node: &mut Node<'_>,
    (tools, goal): (Tools, Goal<'_>),
    (observed, plan, last): (&Observed, &Plan, Option<&Remembered>),
    first: &mut First<'_>,
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
    first(node, observed)?;
    match last {
        // killed behind the write, we would not look there again
        Some(last) if goal.early && !last.early => {
            kept::remember(node.runner, &Remembered { early: true, ..last.clone() }).map_err(Error::Files)
        }
        Some(_) | None => Ok(()),
    }
}

fn has_early_tables(observed: &Observed) -> bool {
    observed.tables.iter().any(|(id, table)| id.kind != TableKind::Filter && !table.is_empty())
}

/// Removes what is no longer used. What cannot be removed is told, and tried again with the next apply.
fn remove(node: &mut Node<'_>, plan: &Plan, outcome: &mut Outcome) {
    for step in &plan.steps {
        outcome.calls += step.calls.len();
        outcome.left.extend(try_removal(node, step).into_iter().map(|problem| format!("{}: {problem}", step.about)));
    }
}

/// Tries calls until none fails or it is enough; gives why those do that still fail.
fn try_removal(node: &mut Node<'_>, step: &Step) -> Vec<Problem> {
    let (mut left, mut problems) = (step.calls.clone(), Vec::new());
    for attempt in 0..REMOVALS {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        let failed = ask_all(node.runner, &left).into_iter().zip(left).filter_map(|(answer, call)| Some((answer.err()?, call)));
        (problems, left) = failed.unzip();
        if left.is_empty() {
            break;
        }
    }
    problems
}
