use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    IptablesBackend, KernelProblem, ObservedKernel, TableScope, ToolSettings, ask, backend, kernel,
    refuse_other,
};
use crate::runner::{
    FileTree, NodeLock, ProcessOutput, Retention, Runner, RunnerFailure, ToolCall,
};

/// A runner that answers from a table.
#[derive(Default)]
struct Scripted {
    answers: BTreeMap<String, ProcessOutput>,
    files: BTreeMap<String, String>,
    asked: Vec<String>,
}

impl Scripted {
    /// Rows of `call => status, output, errors`.
    fn of(rows: &[(&str, i32, &str, &str)]) -> Self {
        let row = |(call, status, output, errors): &(&str, i32, &str, &str)| {
            (
                (*call).to_owned(),
                ProcessOutput {
                    status: Some(*status),
                    output: (*output).to_owned(),
                    errors: (*errors).to_owned(),
                },
            )
        };

        Self {
            answers: rows.iter().map(row).collect(),
            ..Self::default()
        }
    }
}

impl Runner for Scripted {
    fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
        self.asked.push(call.to_string());
        self.answers
            .get(&call.to_string())
            .cloned()
            .ok_or_else(|| RunnerFailure::NotFound(call.program.clone()))
    }

    fn start(&mut self, _: &ToolCall) -> Result<(), RunnerFailure> {
        Ok(())
    }

    fn lock(&mut self, _: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        Ok(Some(NodeLock::none()))
    }

    fn read(&mut self, _: Retention, name: &str) -> Result<Option<Vec<u8>>, RunnerFailure> {
        Ok(self.files.get(name).map(|text| text.clone().into_bytes()))
    }

    fn write(&mut self, _: Retention, _: &str, _: Option<&[u8]>) -> Result<(), RunnerFailure> {
        panic!("looking writes nothing")
    }

    fn write_folder(
        &mut self,
        _: Retention,
        _: &str,
        _: Option<&FileTree>,
    ) -> Result<(), RunnerFailure> {
        panic!("looking writes nothing")
    }

    fn place(&self, _: Retention, name: &str) -> PathBuf {
        name.into()
    }
}

const NFT: ToolSettings = ToolSettings {
    backend: IptablesBackend::Nft,
    lock_wait: 5,
};
const SET: &str =
    "create pal-a hash:net family inet hashsize 1024 maxelem 65536\nadd pal-a 10.0.0.1\n";
const TABLE: &str = "*filter\n:pal-FORWARD - [0:0]\n[1:2] -A pal-FORWARD -j DROP\nCOMMIT\n";
const EMPTY: &str = "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n";

/// Reads a kernel with one answer replaced.
fn seen_with(row: (&str, i32, &str, &str)) -> Result<ObservedKernel, KernelProblem> {
    let good = [
        ("ipset save", 0, SET, ""),
        ("ipset list -n", 0, "pal-a\nother\n", ""),
        ("ipset save pal-a", 0, SET, ""),
        (
            "iptables-nft-save -c -t filter",
            0,
            TABLE,
            "# Warning: iptables-legacy tables present\n",
        ),
        ("ip6tables-nft-save -c -t filter", 0, EMPTY, ""),
    ];

    let rows: Vec<_> = good
        .into_iter()
        .filter(|good| good.0 != row.0)
        .chain([row])
        .collect();
    kernel(&mut Scripted::of(&rows), NFT, TableScope::Filter)
}

#[test]
fn answers_that_are_not_whole_are_never_nothing() {
    let v4 = "iptables-nft-save -c -t filter";
    let seen = seen_with(("", 0, "", "")).unwrap();
    assert!(
        seen.sets.contains_key("pal-a") && seen.tables.len() == 2,
        "{seen:?}"
    );

    for (row, problem) in [
        (
            (v4, 0, TABLE, "Error: bad file descriptor\n"),
            "failed: Error: bad file descriptor",
        ),
        (
            (v4, 0, "*filter\n:pal-FORWARD - [0:0]\n", ""),
            "failed: its output is not whole: line 2: the table does not end in `COMMIT`",
        ),
        (
            (v4, 0, "*filter\n:pal-FORWARD - [0:0]\nCOMM", ""),
            "failed: its output ends in the middle of a line",
        ),
        (
            (v4, 0, "\u{1}garbage\n", ""),
            "failed: its output is not whole: line 1: unknown line ` garbage`",
        ),
        (
            (
                v4,
                0,
                "# Table `filter' is incompatible, use 'nft' tool.\n",
                "",
            ),
            "failed: # Table `filter' is incompatible, use 'nft' tool.",
        ),
        (
            (v4, 3, "", "no memory\n"),
            "failed: no memory; exit status 3",
        ),
        ((v4, 1, EMPTY, ""), "failed: exit status 1"),
    ] {
        assert_eq!(
            seen_with(row).unwrap_err().to_string(),
            format!("`{v4}` {problem}")
        );
    }

    assert!(matches!(
        kernel(&mut Scripted::default(), NFT, TableScope::All),
        Err(KernelProblem::NoAnswer(RunnerFailure::NotFound(_)))
    ));
}

#[test]
fn a_table_that_cannot_be_printed_is_an_error_where_ours_may_stand_in_it() {
    for (table, is_ours) in [
        ("raw", true),
        ("mangle", true),
        ("filter", true),
        ("nat", false),
        ("security", false),
        ("theirs", false),
    ] {
        let text = format!("# Table `{table}' is incompatible, use 'nft' tool.\n{TABLE}");
        let rows = [
            ("ipset save", 0, SET, ""),
            ("iptables-nft-save -c", 0, &text, ""),
            ("ip6tables-nft-save -c", 0, "", ""),
        ];
        let seen = kernel(&mut Scripted::of(&rows), NFT, TableScope::All);
        assert_eq!(seen.is_err(), is_ours, "{table}: {seen:?}");
        let tools = ToolSettings {
            backend: IptablesBackend::Legacy,
            ..NFT
        };
        let other = refuse_other(
            &mut Scripted::of(&[
                ("iptables-nft-save -c", 0, &text.replace(TABLE, EMPTY), ""),
                rows[2],
            ]),
            tools,
        );
        assert_eq!(
            other.is_err(),
            is_ours,
            "{table} of the other build: {other:?}"
        );
    }
}

#[test]
fn a_set_that_cannot_be_listed_does_not_hide_the_others() {
    let revision = "Kernel and userspace incompatible: settype hash:net with revision 9 not \
                    supported by userspace.\n";
    let rows = [
        ("ipset save", 1, "", revision),
        ("ipset list -n", 0, "other\npal-a\npal-b\n", ""),
        ("ipset save pal-a", 0, SET, ""),
        ("ipset save pal-b", 1, "", revision),
        ("iptables-nft-save -c", 0, "", ""),
        ("ip6tables-nft-save -c", 0, "", ""),
    ];

    let seen = kernel(&mut Scripted::of(&rows), NFT, TableScope::All).unwrap();
    assert_eq!(seen.sets.keys().collect::<Vec<_>>(), ["pal-a"]);
    assert_eq!(seen.unlisted.iter().collect::<Vec<_>>(), ["pal-b"]);
    let refused = [
        (
            "ipset save",
            1,
            "",
            "Kernel error received: Operation not permitted\n",
        ),
        ("ipset list -n", 1, "", "the same\n"),
    ];
    let problem = kernel(&mut Scripted::of(&refused), NFT, TableScope::All).unwrap_err();

    assert_eq!(
        problem.to_string(),
        "`ipset save` failed: Kernel error received: Operation not permitted; exit status 1"
    );
}

#[test]
fn which_build_it_is() {
    for (rows, expected) in [
        (
            vec![("iptables -V", 0, "iptables v1.8.9 (nf_tables)\n", "")],
            Some(IptablesBackend::Nft),
        ),
        (
            vec![("iptables -V", 0, "iptables v1.8.9 (legacy)\n", "")],
            Some(IptablesBackend::Legacy),
        ),
        (
            vec![("iptables -V", 0, "iptables v1.6.1\n", "")],
            Some(IptablesBackend::Legacy),
        ),
        (
            vec![("iptables-legacy -V", 0, "", "")],
            Some(IptablesBackend::Legacy),
        ),
        (vec![], None),
        (vec![("iptables -V", 127, "", "")], None),
    ] {
        assert_eq!(backend(&mut Scripted::of(&rows)).ok(), expected, "{rows:?}");
    }
}

#[test]
fn chains_of_ours_in_the_other_build_are_found() {
    let legacy = |text| {
        [
            ("iptables-legacy-save -c", 0, text, ""),
            ("ip6tables-legacy-save -c", 0, EMPTY, ""),
        ]
    };

    for (names, text, is_refused) in [
        ("", TABLE, false),
        ("filter\n", EMPTY, false),
        ("filter\n", TABLE, true),
    ] {
        let mut node = Scripted::of(&legacy(text));
        node.files = [("net/ip_tables_names".to_owned(), names.to_owned())].into();
        assert_eq!(
            refuse_other(&mut node, NFT).is_err(),
            is_refused,
            "{names} {text}"
        );
        assert_eq!(
            node.asked.is_empty(),
            names.is_empty(),
            "nothing is asked where there is nothing"
        );
    }

    let tools = ToolSettings {
        backend: IptablesBackend::Legacy,
        ..NFT
    };

    let refused = |row| {
        refuse_other(
            &mut Scripted::of(&[row, ("ip6tables-nft-save -c", 0, "", "")]),
            tools,
        )
        .is_err()
    };
    assert!(refused(("iptables-nft-save -c", 0, TABLE, "")));
    assert!(refused((
        "iptables-nft-save -c",
        1,
        "",
        "no buffer space\n"
    )));
    assert!(!refused((
        "iptables-nft-save -c",
        1,
        "",
        "Could not fetch rule set generation id: Protocol not supported\n"
    )));
    assert!(
        !refused(("iptables -V", 0, "", "")),
        "there is no such program"
    );

    let by_nft = |chain: &str| {
        let text = format!(
            "table ip filter {{\n\tchain {chain} {{\n\t\ttype filter hook forward priority \
             filter; policy accept;\n\t}}\n}}\n"
        );
        refuse_other(
            &mut Scripted::of(&[("nft list chains", 0, &text, "")]),
            tools,
        )
    };
    assert_eq!(by_nft("FORWARD"), Ok(()));

    assert_eq!(
        by_nft("pal-FORWARD"),
        Err(KernelProblem::OtherBackend(IptablesBackend::Nft)),
        "where iptables-nft is not installed, nft tells"
    );
}

#[test]
fn a_lock_that_is_held_is_told_from_one_that_cannot_be_had() {
    let held = "Another app is currently holding the xtables lock; still 1s 0us time ahead to \
                have a chance\n";
    let not_to_be_had = "Fatal: can't open lock file /run/xtables.lock: Read-only file system\n";
    let refused = "iptables-nft-restore v1.8.9 (nf_tables): \nline 37: RULE_INSERT failed (Too \
                   many links): rule in chain FORWARD\n";

    for (program, status, words, is_busy) in [
        ("iptables-legacy-restore", 4, held, true),
        ("iptables-legacy-restore", 4, "", true),
        ("iptables-legacy-restore", 1, held, true),
        ("iptables-legacy-restore", 4, not_to_be_had, false),
        ("iptables-nft-restore", 4, held, true),
        ("iptables-nft-restore", 4, refused, false),
        ("ip6tables-nft-restore", 4, "", false),
    ] {
        let call = ToolCall::new(program, &["--noflush"]);
        let problem = ask(
            &mut Scripted::of(&[(&call.to_string(), status, "", words)]),
            &call,
        )
        .unwrap_err();
        assert_eq!(
            matches!(problem, KernelProblem::Busy(_)),
            is_busy,
            "{program}: {problem}"
        );
    }
}
