//! One round.

use std::fs;
use std::path::Path;
use std::time::Duration;

use palisade::runner::Runner;

use super::{drift, put, put_damaged};
use crate::apply::world::{BEFORE, MOVED, World, bundle};
use crate::palisade::root;

fn once(world: &World, words: &[&str]) -> (i32, String) {
    world.palisade(&[&["reconcile", "--once"], words].concat())
}

pub(super) fn once_is_one_round(world: &World) {
    let place = Path::new("/run/b/bundle");
    let given = place.display().to_string();
    put(BEFORE, place);
    let others = world.others();
    let (status, said) = once(world, &[&given]);
    assert!(
        status == 0 && said.contains(": done in 3 calls: "),
        "{status}: {said}"
    );
    world.holds(BEFORE);
    let (status, said) = once(world, &[&given]);
    assert!(
        status == 0 && said.contains(": in sync, nothing was written"),
        "{status}: {said}"
    );

    // what is bad or missing does not keep the last good one from being repaired
    put_damaged(MOVED, place);
    for about in ["damaged", "missing"] {
        drift(world);
        let (status, said) = once(world, &[&given, "--node", "n1"]);
        assert!(
            status == 2
                && said.contains("the last good bundle stays in force")
                && said.contains("error["),
            "{about}, {status}: {said}"
        );
        world.holds(BEFORE);
        fs::remove_dir_all(place).unwrap_or_default();
    }
    // nor is it kept by a bundle that has nothing for this node
    let (status, said) = once(world, &[&bundle(MOVED), "--node", "n9"]);
    assert!(
        status == 2 && said.contains("nothing for node `n9`"),
        "{status}: {said}"
    );
    world.holds(BEFORE);

    put(MOVED, place);
    let (status, said) = once(world, &[&given, "--node", "n1"]);
    assert_eq!(status, 0, "{said}");
    world.holds(MOVED);
    assert_eq!(world.others(), others);
}

pub(super) fn once_with_nothing_to_keep(world: &World) {
    let before = world.print();
    put_damaged(BEFORE, Path::new("/run/b/bundle"));
    for place in ["/run/none/bundle", "/run/b/bundle"] {
        let (status, said) = once(world, &[place]);
        assert!(
            status == 2 && said.contains("there is no good bundle yet: the kernel stays as it is"),
            "{status}: {said}"
        );
        assert_eq!(world.print(), before);
    }
}

pub(super) fn once_while_somebody_else_is_at_it(world: &World) {
    world.apply(BEFORE).unwrap();
    let before = world.print();
    let lock = world.processes().lock(Duration::ZERO).unwrap();
    assert!(lock.is_some());

    let (status, said) = once(world, &[&bundle(MOVED), "--node", "n1", "--lock-wait", "1"]);
    assert!(
        status == 4 && said.contains("error[node-busy]"),
        "{status}: {said}"
    );
    assert_eq!(world.print(), before);
    drop(lock);
    assert_eq!(once(world, &[&bundle(MOVED), "--node", "n1"]).0, 0);

    world.holds(MOVED);
}

pub(super) fn once_from_policies(world: &World) {
    let case = root().join("golden").join(BEFORE);
    let [inventory, policies] =
        ["inventory.yaml", "manifest.yaml"].map(|name| case.join(name).display().to_string());
    let (status, said) = once(
        world,
        &["--node", "n1", "--policies", &inventory, &policies],
    );
    assert!(
        status == 0 && said.contains("node n1 (compiled here)"),
        "{status}: {said}"
    );
    world.holds(BEFORE);
    let (status, said) = world.palisade(&["apply", &bundle(BEFORE)]);
    assert!(
        status == 0 && said.contains("in sync"),
        "the rendered bundle is the same: {said}"
    );

    let text = fs::read_to_string(&policies).unwrap();
    let wrong = "/run/wrong.yaml";
    for (about, text) in [
        ("no selector", text.replace("app == \"api\"", "app = = api")),
        ("no YAML", "{".to_owned()),
    ] {
        fs::write(wrong, text).unwrap();
        drift(world);
        let (status, said) = once(world, &["--node", "n1", "--policies", &inventory, wrong]);
        assert!(
            status == 2 && said.contains("the last good bundle stays in force"),
            "{about}, {status}: {said}"
        );
        assert!(said.contains("wrong.yaml:"), "{about}: {said}");
        world.holds(BEFORE);
    }
    // patches of a kustomization are no policy
    let app = "/run/app";
    fs::create_dir_all(app).unwrap();
    fs::write(
        format!("{app}/kustomization.yaml"),
        "resources: [policy.yaml]\n",
    )
    .unwrap();
    fs::copy(&policies, format!("{app}/policy.yaml")).unwrap();
    drift(world);
    let (status, said) = once(world, &["--node", "n1", "--policies", &inventory, app]);
    assert!(
        status == 2 && said.contains("[needs-build]"),
        "{status}: {said}"
    );
    assert!(
        said.contains("the last good bundle stays in force"),
        "{said}"
    );
    world.holds(BEFORE);
    // a node that nobody knows has no policy to be compiled
    let (status, said) = once(
        world,
        &["--node", "n9", "--policies", &inventory, &policies],
    );
    assert!(status == 2 && said.contains("n9"), "{status}: {said}");
    world.holds(BEFORE);
    // nor are pods that were lost on the way taken for a cluster without any
    let lost = root().join("golden/render-without-endpoints");
    let [inventory, policies] =
        ["inventory.yaml", "manifest.yaml"].map(|name| lost.join(name).display().to_string());
    let words = ["--node", "n1", "--policies", &inventory, &policies];
    let (status, said) = once(world, &words);
    assert!(
        status == 2 && said.contains("[missing-endpoints]"),
        "{status}: {said}"
    );
    world.holds(BEFORE);
    let (status, said) = once(world, &[&["--allow-no-endpoints"], &words[..]].concat());
    assert_eq!(status, 0, "{said}");
}
