//! The loop as a process.

use std::fs::{self, File};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::apply::confirmed::until;
use crate::apply::world::World;

const SAID: &str = "/run/said";

/// A loop that runs; it does not outlive this.
pub(crate) struct Keeper {
    child: Child,
}

impl Keeper {
    /// Starts `reconcile` with these words and variables, and waits until its first round is told
    /// of.
    pub(crate) fn start(world: &World, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let keeper = Self::start_only(world.command(&[&["reconcile"], words].concat()), variables);
        until("the first round", || !keeper.said().is_empty());
        keeper
    }

    fn start_only(mut command: Command, variables: &[(&str, &str)]) -> Self {
        let said = File::create(SAID).unwrap();
        command
            .envs(variables.iter().copied())
            .stdout(said.try_clone().unwrap())
            .stderr(said);
        Self {
            child: command.spawn().unwrap(),
        }
    }

    /// What it has said up to now.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(SAID).unwrap()
    }

    /// How many of its rounds changed something and are over.
    pub(crate) fn applies(&self) -> usize {
        self.said().matches(": done in ").count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// While it is held up, so that it does not see one half of it.
    pub(crate) fn behind_its_back(&self, work: impl FnOnce()) {
        self.signal(Signal::STOP);
        work();
        self.signal(Signal::CONT);
    }

    /// Tells it to end; its status.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // it may have ended
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
