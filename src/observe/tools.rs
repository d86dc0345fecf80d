//! The programs, by the build of iptables that is asked.

use crate::net::Family;
use crate::observe::Backend;
use crate::ruleset::TableKind;
use crate::runner::Call;

/// How the kernel is asked and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tools {
    /// The build of iptables.
    pub backend: Backend,
    /// How many seconds a restore waits for the xtables lock.
    pub lock_wait: u32,
}

impl Tools {
    /// Lists a family's tables with their counters: the one table, or all that there are.
    pub fn save(&self, family: Family, table: Option<TableKind>) -> Call {
        let mut arguments = vec!["-c"];
        arguments.extend(table.map(|kind| ["-t", kind.word()]).into_iter().flatten());
        Call::of(&self.program(family, "save"), &arguments)
    }

    /// Changes a family's tables. Each table in the input is one transaction.
    pub fn restore(&self, family: Family) -> Call {
        Call::of(
            &self.program(family, "restore"),
            &["--noflush", "-w", &self.lock_wait.to_string()],
        )
    }

    /// Lists all sets.
    pub fn sets_save(&self) -> Call {
        Call::of("ipset", &["save"])
    }

    /// Changes sets, line by line: what is there already is no error, nor is what is gone already.
    pub fn sets_restore(&self) -> Call {
        Call::of("ipset", &["-exist", "restore"])
    }

    /// `iptables-nft-save`.
    fn program(&self, family: Family, verb: &str) -> String {
        let tool = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        format!("{tool}-{}-{verb}", self.backend.word())
    }
}
