//! Plans of small cases, as people read them: `golden/plans/<case>.txt`. `UPDATE_GOLDEN=1` writes
//! what they are now.
#![expect(clippy::disallowed_methods, reason = "tests read and write files")]
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::{env, fs};

use palisade::net::Family;
use palisade::observe::{IptablesBackend, ToolSettings};
use palisade::plan::{self, DesiredKernel, Plan, PrintCache};

use super::desired_of;
use super::model::{Members, World};
use crate::line_diff::line_diff;
use crate::palisade::root;

const SETS: &str = "create pal-local4 hash:net family inet hashsize 1024 maxelem 65536
add pal-local4 10.0.0.1
create pal-s4-ops hash:net family inet hashsize 1024 maxelem 65536
add pal-s4-ops 10.0.9.1
create pal-s4-web hash:net family inet hashsize 1024 maxelem 65536
add pal-s4-web 10.0.1.1
add pal-s4-web 10.0.1.2
";

const FILTER: &str = r#"*filter
:pal-FORWARD - [0:0]
:pal-i-web - [0:0]
-A pal-FORWARD -m set --match-set pal-local4 dst -m comment --comment "to an endpoint" -g pal-i-web
-A pal-i-web -m set --match-set pal-s4-web src -m comment --comment "web" -j ACCEPT
-A pal-i-web -m set --match-set pal-s4-ops src -m comment --comment "ops" -j ACCEPT
-A pal-i-web -m comment --comment "end of tier" -j DROP
-I FORWARD 1 -m comment --comment "palisade" -j pal-FORWARD
COMMIT
"#;

const TOOLS: ToolSettings = ToolSettings {
    backend: IptablesBackend::Nft,
    lock_wait: 5,
};

/// A case: its name and what it is about; what is replaced in the scripts that are to be; what
/// happened to the kernel, which was in sync.
struct Case {
    name: &'static str,
    about: &'static str,
    wanted: &'static [(&'static str, &'static str)],
    happened: fn(&mut World),
}

const NOTHING: &[(&str, &str)] = &[];

const CASES: [Case; 26] = [
    Case {
        name: "from-nothing",
        about: "Nothing of ours is there.",
        wanted: NOTHING,
        happened: |world| *world = World::new(true),
    },
    Case {
        name: "in-sync",
        about: "Everything is there.",
        wanted: NOTHING,
        happened: |_| {},
    },
    Case {
        name: "one-member",
        about: "A set gets one member: one line, which nobody can see half.",
        wanted: &[(
            "add pal-s4-web 10.0.1.2\n",
            "add pal-s4-web 10.0.1.2\nadd pal-s4-web 10.0.1.3\n",
        )],
        happened: |_| {},
    },
    Case {
        name: "other-members-of-one-side",
        about: "Members come and go, each seen by other packets: line by line.",
        wanted: &[
            ("add pal-s4-web 10.0.1.2\n", "add pal-s4-web 10.0.1.3\n"),
            ("10.0.9.1", "10.0.9.2"),
        ],
        happened: |_| {},
    },
    Case {
        name: "member-of-two-sets-that-open",
        about: "An address comes into two sets whose rules all accept: line by line, since each \
                only allows more.",
        wanted: &[
            ("10.0.9.1\n", "10.0.9.1\nadd pal-s4-ops 10.0.1.9\n"),
            ("10.0.1.2\n", "10.0.1.2\nadd pal-s4-web 10.0.1.9\n"),
        ],
        happened: |_| {},
    },
    Case {
        name: "member-of-two-sets-switch",
        about: "An address comes into two sets of which one leads to policy: between the two \
                lines it would be open. Fresh sets, and one commit.",
        wanted: &[
            ("10.0.0.1\n", "10.0.0.1\nadd pal-local4 10.0.1.1\n"),
            ("10.0.1.2\n", "10.0.1.2\nadd pal-s4-web 10.0.0.1\n"),
        ],
        happened: |_| {},
    },
    Case {
        name: "address-moves-between-sets",
        about: "An address leaves a set and comes into another: what both allow would be denied \
                in between. Fresh sets, and one commit.",
        wanted: &[
            ("add pal-s4-web 10.0.1.2\n", ""),
            ("10.0.9.1\n", "10.0.9.1\nadd pal-s4-ops 10.0.1.2\n"),
        ],
        happened: |_| {},
    },
    Case {
        name: "swap",
        about: "A set gets all other members, and nothing else changes: a copy and a swap.",
        wanted: &[(
            "add pal-s4-web 10.0.1.1\nadd pal-s4-web 10.0.1.2\n",
            "add pal-s4-web 10.0.2.1\n",
        )],
        happened: |_| {},
    },
    Case {
        name: "last-of-its-length",
        about: "The last prefixes of a length go and wider ones stay, which the kernel may step \
                over then: a copy and a swap, not line by line.",
        wanted: &[(
            "10.0.1.1\nadd pal-s4-web 10.0.1.2\n",
            "10.3.0.0/16\nadd pal-s4-web 10.4.0.0/16\nadd pal-s4-web 10.5.0.0/16\n",
        )],
        happened: |world| {
            let set = world.sets.get_mut("pal-s4-web").expect("it");
            set.members.extend(
                ["10.3.0.0/16", "10.4.0.0/16", "10.5.0.0/16"].map(|net| (net.to_owned(), false)),
            );
        },
    },
    Case {
        name: "set-too-small",
        about: "A set has no room for its members: a copy and a swap.",
        wanted: &[("10.0.1.2\n", "10.0.1.2\nadd pal-s4-web 10.0.1.3\n")],
        happened: |world| {
            world.sets.get_mut("pal-s4-web").expect("it").create =
                "hash:net family inet hashsize 64 maxelem 2".to_owned()
        },
    },
    Case {
        name: "set-of-another-type",
        about: "A set was made anew by somebody, with a timeout: not ours to fill or to swap.",
        wanted: NOTHING,
        happened: |world| {
            let set = world.sets.get_mut("pal-s4-web").expect("it");
            set.create.push_str(" timeout 60");
        },
    },
    Case {
        name: "rule-changes",
        about: "Only the chain that differs is written; a set that changes with it is switched by \
                the same commit.",
        wanted: &[
            ("\"ops\" -j ACCEPT", "\"ops\" -j DROP"),
            ("10.0.9.1", "10.0.9.2"),
        ],
        happened: |_| {},
    },
    Case {
        name: "hook-moved",
        about: "Somebody put a rule before our jump.",
        wanted: NOTHING,
        happened: |world| world.insert(Family::V4, "filter", "FORWARD", 0, "-i docker0 -j ACCEPT"),
    },
    Case {
        name: "hook-repeated",
        about: "Our jump is there twice.",
        wanted: NOTHING,
        happened: |world| {
            world.insert(
                Family::V4,
                "filter",
                "FORWARD",
                9,
                r#"-m comment --comment "palisade" -j pal-FORWARD"#,
            )
        },
    },
    Case {
        name: "foreign-rule-in-our-chain",
        about: "Somebody put a rule into our chain.",
        wanted: NOTHING,
        happened: |world| {
            world.insert(
                Family::V4,
                "filter",
                "pal-i-web",
                0,
                "-s 10.66.0.0/16 -j ACCEPT",
            )
        },
    },
    Case {
        name: "tables-flushed",
        about: "`iptables -F; iptables -X`: sets are there, chains and jumps are not.",
        wanted: NOTHING,
        happened: |world| {
            drop(world.tables.insert(
                (Family::V4, "filter"),
                World::new(true).tables[&(Family::V4, "filter")].clone(),
            ))
        },
    },
    Case {
        name: "set-that-cannot-be-listed",
        about: "A newer ipset made a set that ours cannot list; rules look into it.",
        wanted: NOTHING,
        happened: |world| {
            world.sets.remove("pal-s4-web");
            world.unlisted.insert("pal-s4-web".to_owned());
        },
    },
    Case {
        name: "leftovers",
        about: "A chain, a set and a copy of a set that nobody wants; another chain is led to by \
                somebody's rule, and a set looked into.",
        wanted: NOTHING,
        happened: leftovers,
    },
    Case {
        name: "policy-goes",
        about: "A chain and a set are no longer wanted: emptied with the commit, removed behind \
                it.",
        wanted: &[
            ("-g pal-i-web", "-j ACCEPT"),
            (":pal-i-web - [0:0]\n", ""),
            (
                "-A pal-i-web -m set --match-set pal-s4-web src -m comment --comment \"web\" -j \
                 ACCEPT\n",
                "",
            ),
            (
                "-A pal-i-web -m set --match-set pal-s4-ops src -m comment --comment \"ops\" -j \
                 ACCEPT\n",
                "",
            ),
            (
                "-A pal-i-web -m comment --comment \"end of tier\" -j DROP\n",
                "",
            ),
            (
                "create pal-s4-ops hash:net family inet hashsize 1024 maxelem 65536\nadd \
                 pal-s4-ops 10.0.9.1\n",
                "",
            ),
        ],
        happened: |_| {},
    },
    Case {
        name: "killed-behind-sets",
        about: "A first apply was killed when half of the sets were filled.",
        wanted: NOTHING,
        happened: |world| {
            let sets = std::mem::take(&mut world.sets);
            *world = World::new(true);
            world.sets = sets;
            world.sets.remove("pal-s4-web");
            world
                .sets
                .get_mut("pal-s4-ops")
                .expect("it")
                .members
                .clear();
        },
    },
    Case {
        name: "killed-before-the-switch",
        about: "Rules look into a copy with other members; the one to switch to is filled already.",
        wanted: NOTHING,
        happened: |world| copy(world, "10.0.1.2"),
    },
    Case {
        name: "two-copies",
        about: "Rules look into two copies, and neither is right: a third is filled.",
        wanted: NOTHING,
        happened: |world| {
            copy(world, "10.0.1.2");
            world
                .sets
                .get_mut("pal-s4-web")
                .expect("it")
                .members
                .remove("10.0.1.1");
            world.insert(
                Family::V4,
                "filter",
                "pal-FORWARD",
                0,
                "-m set --match-set pal-s4-web src -j RETURN",
            );
        },
    },
    Case {
        name: "many-copies",
        about: "Rules look into five copies, and none is right: a sixth is filled.",
        wanted: NOTHING,
        happened: |world| copies(world, 5, "pal-FORWARD"),
    },
    Case {
        name: "all-names-lent",
        about: "Rules of others look into all the set's names but the one that is live: one of \
                theirs is filled, and they see it.",
        wanted: &[
            ("10.0.0.1\n", "10.0.0.1\nadd pal-local4 10.0.1.1\n"),
            ("10.0.1.2\n", "10.0.1.2\nadd pal-s4-web 10.0.0.1\n"),
        ],
        happened: |world| {
            let own = world.sets["pal-s4-web"].clone();
            copies(world, usize::MAX, "FORWARD");
            world.sets.insert("pal-s4-web".to_owned(), own);
        },
    },
    Case {
        name: "all-names-taken",
        about: "Rules look into all copies that a set may have, and none is right: one is changed \
                in place, and the plan says what that means.",
        wanted: NOTHING,
        happened: |world| copies(world, usize::MAX, "pal-FORWARD"),
    },
    Case {
        name: "guard-left",
        about: "A plan was killed when both tables were written, and its guard was not taken away \
                yet.",
        wanted: NOTHING,
        happened: |world| {
            let filter = world.tables[&(Family::V4, "filter")].clone();
            world.tables.insert((Family::V4, "security"), filter);
        },
    },
];

/// So many copies of a set, its own name among them, that lack a member, and rules of a chain that
/// look into them.
fn copies(world: &mut World, count: usize, chain: &str) {
    let mut copy = world.sets["pal-s4-web"].clone();
    copy.members.remove("10.0.1.2");
    for slot in plan::slots("pal-s4-web").take(count) {
        world.sets.insert(slot.clone(), copy.clone());
        world.insert(
            Family::V4,
            "filter",
            chain,
            usize::MAX,
            &format!("-m set --match-set {slot} src -j RETURN"),
        );
    }
}

/// Rules look into a copy that lacks a member.
fn copy(world: &mut World, lacks: &str) {
    let mut copy = world.sets["pal-s4-web"].clone();
    copy.members.remove(lacks);
    world.sets.insert("pal-s4~web".to_owned(), copy);

    let rules = world
        .tables
        .get_mut(&(Family::V4, "filter"))
        .and_then(|table| table.get_mut("pal-i-web"))
        .expect("a chain");
    rules
        .iter_mut()
        .for_each(|rule| *rule = rule.replace("pal-s4-web", "pal-s4~web"));
}

fn leftovers(world: &mut World) {
    let copy = world.sets["pal-s4-web"].clone();
    world.sets.insert("pal-s4+web".to_owned(), copy);
    let create = "hash:net family inet hashsize 1024 maxelem 65536".to_owned();

    for name in ["pal-s4-old", "pal-s4-lent"] {
        world.sets.insert(
            name.to_owned(),
            Members {
                create: create.clone(),
                members: BTreeMap::new(),
            },
        );
    }

    let table = world
        .tables
        .get_mut(&(Family::V4, "filter"))
        .expect("a table");
    table.insert("pal-old".to_owned(), vec!["-j DROP".to_owned()]);
    table.insert("pal-held".to_owned(), vec!["-j DROP".to_owned()]);

    table.insert(
        "THEIRS".to_owned(),
        vec![
            "-j pal-held".to_owned(),
            "-m set --match-set pal-s4-lent src -j DROP".to_owned(),
        ],
    );
}

#[test]
fn plans_are_these() {
    let mut wrong = Vec::new();
    let mut expected = BTreeSet::new();
    for case in &CASES {
        let (world, plan) = case.plan();
        run(world, &plan, case.name);
        compare(case.name, case.about, &plan, &mut wrong);
        expected.insert(format!("{}.txt", case.name));
    }

    let plan = plan::removal(&in_sync().observed(), &TOOLS);
    let left = run(in_sync(), &plan, "uninstall");
    assert_eq!(left, World::new(true));
    compare("uninstall", "Everything of ours goes.", &plan, &mut wrong);
    expected.insert("uninstall.txt".to_owned());

    let (world, plan) = several_tables();
    run(world, &plan, "several-tables");
    compare(
        "several-tables",
        "The mangle and the filter table change: a guard stands behind both until both are \
         written.",
        &plan,
        &mut wrong,
    );
    expected.insert("several-tables.txt".to_owned());

    let files = fs::read_dir(root().join("golden/plans")).expect("golden/plans");
    let files: BTreeSet<String> = files
        .map(|file| {
            file.expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(files, expected, "files without a case");

    assert!(
        wrong.is_empty(),
        "{}\nUPDATE_GOLDEN=1 accepts this",
        wrong.join("\n")
    );
}

/// With what the plan wrote remembered, and printed otherwise than written, nothing differs; a
/// change to that is seen.
#[test]
fn what_the_tools_print_in_their_own_way_is_remembered() {
    let limited = FILTER.replace(
        "-m comment --comment \"end of tier\"",
        "-m limit --limit 7/minute -m comment --comment \"end of tier\"",
    );
    let desired = desired(SETS, &limited);
    let mut world = World::new(true);

    let plan = plan::between(&desired, &world.observed(), &PrintCache::default(), &TOOLS);
    plan.steps
        .iter()
        .for_each(|step| world.step(step, &mut |_| {}).expect("it runs"));

    let previous = PrintCache {
        version: PrintCache::VERSION,
        backend: "nft".to_owned(),
        node: "n1".to_owned(),
        ..PrintCache::default()
    };
    assert!(!plan::between(&desired, &world.observed(), &previous, &TOOLS).is_in_force());

    let memory = plan::remember(&desired, &world.observed(), &plan, previous.clone());
    assert_eq!(
        (
            memory.node.as_str(),
            memory.chains.len(),
            memory.hooks.len()
        ),
        ("n1", 1, 0)
    );

    let now = plan::between(&desired, &world.observed(), &memory, &TOOLS);
    assert_eq!(now, Plan::default());
    // what the plan did not write is not taken for ours
    assert_eq!(
        plan::remember(&desired, &world.observed(), &now, previous)
            .chains
            .len(),
        0
    );
    assert_eq!(
        plan::remember(&desired, &world.observed(), &now, memory.clone()),
        memory
    );

    let other = ToolSettings {
        backend: IptablesBackend::Legacy,
        ..TOOLS
    };
    assert!(
        !plan::between(&desired, &world.observed(), &memory, &other).is_in_force(),
        "the other build prints otherwise"
    );

    let rule = world
        .tables
        .get_mut(&(Family::V4, "filter"))
        .and_then(|table| table.get_mut("pal-i-web")?.last_mut())
        .expect("a rule");
    *rule = rule.replace("7/minute", "8/minute");

    let plan = plan::between(&desired, &world.observed(), &memory, &TOOLS);
    assert_eq!(plan.differences.len(), 1, "{plan}");
}

fn desired(sets: &str, filter: &str) -> DesiredKernel {
    let text = |name: &str| match name {
        "sets.ipset" => Some(sets),
        "filter.v4.rules" => Some(filter),
        _ => None,
    };
    desired_of(text)
}

fn in_sync() -> World {
    let mut world = World::new(true);
    let plan = plan::between(
        &desired(SETS, FILTER),
        &world.observed(),
        &PrintCache::default(),
        &TOOLS,
    );
    plan.steps
        .iter()
        .for_each(|step| world.step(step, &mut |_| {}).expect("it runs"));

    world
}

/// A kernel, and the plan that opens in one table what it closes in another.
fn several_tables() -> (World, Plan) {
    let mangle = |port: u16| {
        let rule = format!("-A pal-PREROUTING -p tcp -m multiport --dports {port} -j DROP");
        format!(
            "*mangle\n:pal-PREROUTING - [0:0]\n{rule}\n-I PREROUTING 1 -j pal-PREROUTING\nCOMMIT\n"
        )
    };
    let scripts = |mangle: &str, filter: &str| {
        let text = |name: &str| match name {
            "sets.ipset" => Some(SETS),
            "mangle.v4.rules" => Some(mangle),
            "filter.v4.rules" => Some(filter),
            _ => None,
        };
        desired_of(text)
    };
    let plan = |desired: &DesiredKernel, world: &World| {
        plan::between(desired, &world.observed(), &PrintCache::default(), &TOOLS)
    };
    let mut world = World::new(true);

    let first = plan(&scripts(&mangle(80), FILTER), &world);
    first
        .steps
        .iter()
        .for_each(|step| world.step(step, &mut |_| {}).expect("it runs"));

    let filter = FILTER.replace("\"ops\" -j ACCEPT", "\"ops\" -j DROP");
    let plan = plan(&scripts(&mangle(81), &filter), &world);
    (world, plan)
}

impl Case {
    fn plan(&self) -> (World, Plan) {
        let mut world = in_sync();
        (self.happened)(&mut world);
        let replaced = |text: &str| {
            self.wanted
                .iter()
                .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
        };
        let desired = desired(&replaced(SETS), &replaced(FILTER));
        let plan = plan::between(&desired, &world.observed(), &PrintCache::default(), &TOOLS);
        let mut end = world.clone();

        plan.steps.iter().for_each(|step| {
            end.step(step, &mut |_| {})
                .unwrap_or_else(|problem| panic!("{}: {problem}", self.name))
        });

        let again = plan::between(&desired, &end.observed(), &PrintCache::default(), &TOOLS);
        assert_eq!(again, Plan::default(), "{}: {again}", self.name);
        (world, plan)
    }
}

fn run(mut world: World, plan: &Plan, name: &str) -> World {
    plan.steps.iter().for_each(|step| {
        world
            .step(step, &mut |_| {})
            .unwrap_or_else(|problem| panic!("{name}: {problem}\n{plan}"))
    });
    world
}

fn compare(name: &str, about: &str, plan: &Plan, wrong: &mut Vec<String>) {
    let path = root().join("golden/plans").join(format!("{name}.txt"));
    let text = format!("# {about}\n\n{plan}");
    if env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty()) {
        fs::write(&path, &text).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        wrong.push(format!("{name}:\n{}", line_diff(&expected, &text)));
    }
}

/// The memory after a write is what the next look needs, and the plan is the one from there,
/// whether the tools print in their own way or not.
#[test]
fn what_is_remembered_is_what_the_next_plan_needs() {
    let end = "-m comment --comment \"end of tier\"";
    let limited = FILTER.replace(end, &format!("-m limit --limit 7/minute {end}"));

    for (filter, chains) in [(FILTER.to_owned(), 0), (limited, 1)] {
        let desired = desired(SETS, &filter);
        let previous = PrintCache {
            version: PrintCache::VERSION,
            backend: "nft".to_owned(),
            node: "n1".to_owned(),
            ..PrintCache::default()
        };
        let mut world = World::new(true);
        let ran = plan::between(&desired, &world.observed(), &previous, &TOOLS);
        let world_before = world.clone();
        ran.steps
            .iter()
            .for_each(|step| world.step(step, &mut |_| {}).expect("it runs"));
        for (world, is_in_sync) in [(world, true), (world_before, false)] {
            let (memory, next) = plan::remember_and_plan(
                &desired,
                &world.observed(),
                &ran,
                previous.clone(),
                &TOOLS,
            );
            let expected = plan::remember(&desired, &world.observed(), &ran, previous.clone());
            assert_eq!(memory, expected);
            assert_eq!(
                next,
                plan::between(&desired, &world.observed(), &expected, &TOOLS)
            );
            assert_eq!(next == Plan::default(), is_in_sync, "{next}");
            assert_eq!(memory.chains.len(), if is_in_sync { chains } else { 0 });
            assert_eq!(memory.node, "n1");
        }
    }
}
