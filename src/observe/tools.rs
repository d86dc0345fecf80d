//! Command lines of the tools, by iptables build.

use crate::net::Family;
use crate::observe::IptablesBackend;
use crate::ruleset::TableKind;
use crate::runner::ToolCall;

/// How to call the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolSettings {
    /// The iptables build.
    pub backend: IptablesBackend,
    /// How long a restore waits for the xtables lock, in seconds.
    pub lock_wait: u32,
}

impl ToolSettings {
    /// Returns the call that lists a family's tables with counters: one table, or all existing
    /// ones.
    pub fn save(&self, family: Family, table: Option<TableKind>) -> ToolCall {
        let mut arguments = vec!["-c"];
        arguments.extend(table.map(|kind| ["-t", kind.label()]).into_iter().flatten());
        ToolCall::new(&self.program(family, "save"), &arguments)
    }

    /// Returns the call that changes a family's tables. Each table in its input is one transaction.
    pub fn restore(&self, family: Family) -> ToolCall {
        ToolCall::new(
            &self.program(family, "restore"),
            &["--noflush", "-w", &self.lock_wait.to_string()],
        )
    }

    /// Returns the call that lists all sets.
    pub fn sets_save(&self) -> ToolCall {
        ToolCall::new("ipset", &["save"])
    }

    /// Returns the call that changes sets, line by line. With `-exist`, adding what exists and
    /// deleting what does not exist are no errors.
    pub fn sets_restore(&self) -> ToolCall {
        ToolCall::new("ipset", &["-exist", "restore"])
    }

    /// Returns a program's name, such as `iptables-nft-save`.
    fn program(&self, family: Family, verb: &str) -> String {
        let tool = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        format!("{tool}-{}-{verb}", self.backend.label())
    }
}
