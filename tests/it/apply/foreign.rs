//! What others have in tables of their own and in ours that the tools print in no easy way.

use std::fs;

use palisade::net::Family;

use super::world::{BEFORE, MOVED, World, bundle};

/// Rules that only `nft` can list, in tables that palisade has nothing in. The legacy build asks
/// whether ours are there, too.
const NATIVE: &str = "table ip nat {\nchain mine {\nct state new accept\n}\n}\ntable ip security \
                      {\nchain mine {\nct state new accept\n}\n}\n";

pub(super) fn rules_of_nft_in_other_tables_keep_nobody_out(world: &World) {
    world.tool("nft", &["-f", "-"], NATIVE);
    let told = world.tool("iptables-nft-save", &["-c"], "");
    assert!(
        told.contains("`nat' is incompatible") && told.contains("`security' is incompatible"),
        "{told}"
    );
    // at boot: nothing of what was written last is known
    world.apply(BEFORE).unwrap();
    world.holds(BEFORE);
    fs::remove_dir_all("/run/p/run").unwrap();

    let (status, said) = world.palisade(&["apply", &bundle(MOVED), "--node", "n1"]);
    assert_eq!(status, 0, "{said}");
    world.holds(MOVED);
    // where ours may stand it is an error
    world.tool("nft", &["-f", "-"], &NATIVE.replace("nat", "mangle"));
    fs::remove_dir_all("/run/p/run").unwrap();

    let (status, said) = world.palisade(&["apply", &bundle(BEFORE), "--node", "n1"]);
    assert!(
        status == 3 && said.contains("`mangle' is incompatible"),
        "{status}: {said}"
    );
    assert!(world.palisade(&["uninstall"]).0 == 3);
}

/// Comments of others that look like lines of a table.
const COMMENTS: [&str; 4] = [
    "two\nlines",
    "a \" b\nCOMMIT\n*nat\n:pal-x - [0:0]\n-A FORWARD -j pal-x",
    "\n# Table `filter' is incompatible\n",
    "ends in \\\n\n",
];

pub(super) fn newlines_in_comments_of_others_are_read(world: &World) {
    let add = |family, comment: &str, leads: &str| {
        world.tool(
            &world.iptables(family, ""),
            &[
                "-A",
                "FORWARD",
                "-m",
                "comment",
                "--comment",
                comment,
                "-j",
                leads,
            ],
            "",
        );
    };

    for family in Family::BOTH {
        COMMENTS
            .iter()
            .for_each(|comment| add(family, comment, "DOCKER-USER"));
    }

    let others = world.others();
    world.apply(BEFORE).unwrap();
    world.holds(BEFORE);
    assert!(world.apply(BEFORE).unwrap().is_in_sync());
    // a jump of ours with one is none of ours
    COMMENTS
        .iter()
        .for_each(|comment| add(Family::V4, comment, "pal-FORWARD"));

    let (status, said) = world.palisade(&["status"]);
    assert!(
        status == 1 && said.contains("jump from FORWARD: it is there 5 times"),
        "{status}: {said}"
    );
    world.apply(BEFORE).unwrap();
    world.holds(BEFORE);
    assert_eq!(world.others(), others);

    let (status, said) = world.palisade(&["uninstall"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(world.others(), others);
}
