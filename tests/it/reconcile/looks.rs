//! How often the loop looks at the kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::apply::confirmed::until;
use crate::apply::world::{BEFORE, World};
use crate::reconcile::keeper::Keeper;
use crate::reconcile::put;

/// Writes down what it is asked.
const IPSET: &str = "#!/bin/sh\necho \"$@\" >> /run/asked\nPATH=/usr/sbin:/sbin exec ipset \"$@\"\n";

pub(super) fn metrics_cost_no_look(world: &World) {
    put(BEFORE, Path::new("/run/b/bundle"));
    fs::create_dir_all("/run/bin").unwrap();
    fs::write("/run/bin/ipset", IPSET).unwrap();
    fs::set_permissions("/run/bin/ipset", PermissionsExt::from_mode(0o755)).unwrap();
    let words = ["/run/b/bundle", "--node", "n1", "--interval", "1", "--metrics-file", "/run/pal.prom"];
    let keeper = Keeper::start(world, &words, &[("PATH", "/run/bin:/usr/bin:/bin")]);
    until("three rounds", || rounds() >= 3);
    assert_eq!(keeper.end(), Some(0));
    let looks = fs::read_to_string("/run/asked").unwrap().lines().filter(|asked| *asked == "save").count();
    assert_eq!(looks, rounds() + 1, "the first round reads back what it wrote");
}

/// How many rounds have been measured.
fn rounds() -> usize {
    let metrics = fs::read_to_string("/run/pal.prom").unwrap_or_default();
    metrics.lines().find_map(|line| line.strip_prefix("palisade_rounds_total{end=\"done\"} ")?.parse().ok()).unwrap_or_default()
}
