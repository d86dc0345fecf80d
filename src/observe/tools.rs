//! The programs, by the build of iptables that is asked.

use crate::net::Family;
use crate::observe::IptablesBackend;
use crate::ruleset::TableKind;
use crate::runner::ToolCall;

/// How the kernel is asked and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolSettings {
    /// The build of iptables.
    pub backend: IptablesBackend,
    /// How many seconds a restore waits for the xtables lock.
    pub lock_wait: u32,
}

impl ToolSettings {
    /// Lists a family's tables with their counters: the one table, or all that there are.
    pub fn save(&self, family: Family, table: Option<TableKind>) -> ToolCall {
        let mut arguments = vec!["-c"];
        arguments.extend(table.map(|kind| ["-t", kind.label()]).into_iter().flatten());
        ToolCall::new(&self.program(family, "save"), &arguments)
    }

    /// Changes a family's tables. Each table in the input is one transaction.
    pub fn restore(&self, family: Family) -> ToolCall {
        ToolCall::new(
            &self.program(family, "restore"),
            &["--noflush", "-w", &self.lock_wait.to_string()],
        )
    }

    /// Lists all sets.
    pub fn sets_save(&self) -> ToolCall {
        ToolCall::new("ipset", &["save"])
    }

    /// Changes sets, line by line: what is there already is no error, nor is what is gone already.
    pub fn sets_restore(&self) -> ToolCall {
        ToolCall::new("ipset", &["-exist", "restore"])
    }

    /// `iptables-nft-save`.
    fn program(&self, family: Family, verb: &str) -> String {
        let tool = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        format!("{tool}-{}-{verb}", self.backend.label())
    }
}
