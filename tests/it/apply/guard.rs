//! The guard of several tables, in the kernel.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use palisade::net::Family;
use palisade::plan::{self, Plan, PrintCache};
use palisade::ruleset::{TableId, TableKind};

use super::world::{HOST, World, wanted};
use crate::palisade::HANG;

/// Bundles that differ in the mangle and the filter table, or in the raw and the filter table.
const PAIRS: [[&str; 2]; 2] = [
    [HOST, "host-pre-dnat-allow"],
    ["host-untracked", "host-chains-lead-somewhere"],
];

pub(super) fn several_tables_change_behind_a_guard(world: &World) {
    let others = world.others();

    for [old, new] in PAIRS {
        for case in [old, new, old] {
            let is_guarded = said_of(&plan(world, case)).matches("as a guard").count();
            assert!(
                is_guarded == 2 || !world.is_held(if case == new { old } else { new }),
                "{case}"
            );
            let outcome = world
                .apply(case)
                .unwrap_or_else(|error| panic!("{case}: {error:?}"));
            assert!(
                outcome.left.is_empty() && outcome.rounds == 1,
                "{case}: {outcome:?}"
            );
            world.holds(case);
            assert_eq!(world.others(), others, "{case}");
        }
    }
}

/// Killed behind any of its transactions, a plan finds its guard as it is to be, and takes it away.
pub(super) fn a_guard_that_was_left_is_known(world: &World) {
    for [old, new] in PAIRS {
        for count in 1..4 {
            world.apply(old).unwrap();
            killed_behind(world, new, count);
            let ids = Family::BOTH.map(|family| TableId {
                family,
                kind: TableKind::Security,
            });
            let seen = world.observe();
            assert!(
                ids.iter().all(|id| !seen
                    .tables
                    .get(id)
                    .is_none_or(|table| table.hooks.is_empty())),
                "{new} {count}"
            );
            let next = plan(world, new);
            let away = next
                .steps
                .iter()
                .flat_map(|step| &step.calls)
                .filter(|call| call.input.contains("*security\n:"));
            assert_eq!(away.clone().count(), 2, "{next}");
            assert!(
                away.into_iter()
                    .all(|call| call.input.matches("*security\n").count() == 1),
                "{count}: it is not known:\n{next}"
            );
            world.apply(new).unwrap();
            world.holds(new);
        }
    }
}

/// Runs so many transactions of a family's commit, in both families.
fn killed_behind(world: &World, case: &str, count: usize) {
    let plan = plan(world, case);

    for call in plan.steps.iter().flat_map(|step| &step.calls) {
        let words: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
        match call.input.contains("COMMIT\n") {
            false if call.input.contains("create ") || call.input.contains("add ") => {
                drop(world.tool(&call.program, &words, &call.input))
            }
            true if call.input.contains("-X ") => {}
            true => {
                let input: String = call.input.split_inclusive("COMMIT\n").take(count).collect();
                world.tool(&call.program, &words, &input);
            }
            false => {}
        }
    }
}

pub(super) fn what_the_filter_table_accepts_the_guard_is_asked(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let reaches = |patience| TcpStream::connect_timeout(&address, patience).is_ok();

    let restore = |text: &str| {
        drop(world.tool(
            &world.iptables(Family::V4, "-restore"),
            &["--noflush"],
            text,
        ))
    };
    restore("*filter\n-I INPUT 1 -j ACCEPT\n-I OUTPUT 1 -j ACCEPT\nCOMMIT\n");
    assert!(reaches(HANG));

    for chain in ["INPUT", "OUTPUT"] {
        let rule = format!("{chain} -p tcp --dport {} -j DROP", address.port());
        restore(&format!("*security\n-A {rule}\nCOMMIT\n"));
        assert!(!reaches(Duration::from_millis(300)), "{chain}");
        restore(&format!("*security\n-D {rule}\nCOMMIT\n"));
        assert!(reaches(HANG), "{chain}");
    }
}

fn plan(world: &World, case: &str) -> Plan {
    plan::between(
        &wanted(case).desired,
        &world.observe(),
        &PrintCache::default(),
        &world.tools(),
    )
}

fn said_of(plan: &Plan) -> String {
    plan.steps
        .iter()
        .map(|step| step.about.as_str())
        .collect::<Vec<_>>()
        .join("; ")
}
