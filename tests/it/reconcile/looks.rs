//! How often the loop looks at the kernel.

use std::fs;
use std::path::Path;

use crate::apply::confirmed::until;
use crate::apply::world::{BEFORE, World};
use crate::reconcile::keeper::Keeper;
use crate::reconcile::put;

/// Writes down what it is asked.
const IPSET: &str = "echo \"$@\" >> /run/asked\nexec \"$real\" \"$@\"";

pub(super) fn metrics_cost_no_look(world: &World) {
    put(BEFORE, Path::new("/run/b/bundle"));
    let _replaced = world.replace("ipset", IPSET);
    let words = [
        "/run/b/bundle",
        "--node",
        "n1",
        "--interval",
        "1",
        "--metrics-file",
        "/run/pal.prom",
    ];
    let keeper = Keeper::start(world, &words, &[]);

    until("three rounds", || rounds() >= 3);
    assert_eq!(keeper.end(), Some(0));
    let looks = fs::read_to_string("/run/asked")
        .unwrap()
        .lines()
        .filter(|asked| *asked == "save")
        .count();

    assert_eq!(
        looks,
        rounds() + 1,
        "the first round reads back what it wrote"
    );
}

/// How many rounds have been measured.
fn rounds() -> usize {
    let metrics = fs::read_to_string("/run/pal.prom").unwrap_or_default();
    metrics
        .lines()
        .find_map(|line| {
            line.strip_prefix("palisade_rounds_total{end=\"done\"} ")?
                .parse()
                .ok()
        })
        .unwrap_or_default()
}
