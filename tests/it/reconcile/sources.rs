//! Where what is to be in force cannot be read at once, or not be watched.

use std::fs;
use std::path::Path;

use super::keeper::Keeper;
use super::{drift, put};
use crate::apply::confirmed::until;
use crate::apply::world::{BEFORE, MOVED, World, bundle};
use crate::palisade::{files_below, root};

/// Copies a golden case's bundle over what is there, as `cp -r` may: its index first, and the
/// scripts when the loop has tried to read it.
fn copy_by_pieces(
    case: &str,
    place: &Path,
    keeper: &mut Option<Keeper>,
    start: impl Fn() -> Keeper,
    is_told: impl Fn(&Keeper) -> bool,
) {
    let copy = |name: &str| {
        let path = place.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(Path::new(&bundle(case)).join(name), path).unwrap();
    };
    copy("palisade.json");

    let keeper = keeper.get_or_insert_with(start);
    until("half a bundle is told of", || is_told(keeper));
    files_below(Path::new(&bundle(case)))
        .keys()
        .filter(|name| *name != "palisade.json")
        .for_each(|name| copy(name));
}

pub(super) fn a_bundle_that_is_copied_in_piece_by_piece(world: &World) {
    let place = Path::new("/run/b/bundle");
    let start = || {
        Keeper::start(
            world,
            &["/run/b/bundle", "--node", "n1", "--interval", "1"],
            &[],
        )
    };

    let mut keeper = None;
    copy_by_pieces(BEFORE, place, &mut keeper, start, |keeper| {
        keeper.said().contains("there is no good bundle yet")
    });
    until("the first bundle", || world.is_held(BEFORE));
    copy_by_pieces(MOVED, place, &mut keeper, start, |keeper| {
        keeper
            .said()
            .contains("the last good bundle stays in force")
    });

    until("the next bundle", || world.is_held(MOVED));
}

pub(super) fn policies_are_compiled_once_there_is_room(world: &World) {
    fs::create_dir_all("/run/p/state").unwrap();
    world.tool(
        "mount",
        &[
            "-t",
            "tmpfs",
            "-o",
            "size=8k,mode=755",
            "tmpfs",
            "/run/p/state",
        ],
        "",
    );

    let case = root().join("golden").join(BEFORE);
    let [inventory, policies] =
        ["inventory.yaml", "manifest.yaml"].map(|name| case.join(name).display().to_string());
    let keeper = Keeper::start(
        world,
        &[
            "--node",
            "n1",
            "--interval",
            "1",
            "--policies",
            &inventory,
            &policies,
        ],
        &[],
    );

    until("there is no room", || {
        keeper.said().contains("No space left")
    });
    world.tool("mount", &["-o", "remount,size=8m", "/run/p/state"], "");
    until("there is room", || world.is_held(BEFORE));
}

pub(super) fn the_loop_goes_on_where_nothing_can_be_watched(world: &World) {
    world.apply(BEFORE).unwrap();
    drift(world);
    fs::write("/proc/sys/user/max_inotify_instances", "0").unwrap();
    let keeper = Keeper::start(
        world,
        &["/run/not/mounted/bundle", "--node", "n1", "--interval", "1"],
        &[],
    );

    until("the last good bundle", || world.is_held(BEFORE));
    assert_eq!(
        keeper.said().matches("cannot watch for changes: ").count(),
        1,
        "{}",
        keeper.said()
    );
    put(MOVED, Path::new("/run/not/mounted/bundle"));
    until("the bundle comes", || world.is_held(MOVED));

    assert_eq!(keeper.end(), Some(0));
}
