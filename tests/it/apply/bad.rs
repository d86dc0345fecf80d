//! Bundles with something else than a file in the place of a part.

use crate::bad_files::{NO_FILES, NO_PARTS, replace};

use super::world::{BEFORE, MOVED, World, bundle};

pub(super) fn parts_that_are_no_files_are_refused_and_the_kernel_stays(world: &World) {
    world.apply(MOVED).unwrap();
    let before = world.print();
    for (part, told) in NO_PARTS {
        let path = match part {
            "palisade.json" => "/run/bad/palisade.json".into(),
            script => std::path::PathBuf::from("/run/bad/nodes/n1").join(script),
        };
        world.tool("cp", &["-r", &bundle(BEFORE), "/run/bad"], "");
        for ((about, script), says) in NO_FILES.into_iter().zip(told) {
            replace(&path, script);
            let (status, said) = world.palisade(&["apply", "/run/bad", "--node", "n1"]);
            assert!(
                status == 2 && said.contains(says),
                "{part} is {about}, {status}: {said}"
            );
            let (status, said) = world.palisade(&["reconcile", "/run/bad", "--once"]);
            assert!(
                status == 2 && said.contains("the last good bundle stays in force"),
                "{part} is {about}, {status}: {said}"
            );
            assert_eq!(world.print(), before, "{part} is {about}");
        }
        world.tool("rm", &["-r", "/run/bad"], "");
    }
    // nor is one of our own files waited for
    for (name, says) in [
        (
            "run/memory.json",
            "it is a named pipe, and no file of palisade's",
        ),
        ("state/pending.json", "it is a named pipe, and no file"),
        (
            "state/good/palisade.json",
            "good` holds what palisade did not write: `palisade.json`",
        ),
    ] {
        let path = std::path::Path::new("/run/p").join(name);
        let kept = std::fs::read(&path).unwrap_or_default();
        std::fs::write(&path, "").unwrap();
        replace(&path, "mkfifo $1");
        let (status, said) = world.palisade(&["apply", &bundle(MOVED), "--node", "n1"]);
        assert!(
            status == 2 && said.contains(says),
            "{name}, {status}: {said}"
        );
        assert_eq!(world.print(), before, "{name}");
        std::fs::remove_file(&path).unwrap();
        if !kept.is_empty() {
            std::fs::write(&path, kept).unwrap();
        }
    }
}
