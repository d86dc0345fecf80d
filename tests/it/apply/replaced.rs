//! Programs in place of the tools that `palisade` runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::world::World;
use crate::tools;

/// The directory that `palisade` searches first, and tests never.
const FIRST: &str = "/usr/local/sbin";
/// What is mounted there.
const REPLACED: &str = "/run/replaced";

/// A program that `palisade` runs in place of a tool, as long as this value lives.
pub(crate) struct Replaced {
    path: PathBuf,
}

impl World {
    /// Puts a shell script in place of a tool. In the script `$real` is the path of the tool.
    pub(crate) fn replace(&self, tool: &str, script: &str) -> Replaced {
        if !Path::new(REPLACED).exists() {
            fs::create_dir(REPLACED).expect("a directory");
            self.tool("mount", &["--bind", REPLACED, FIRST], "");
        }

        let path = Path::new(REPLACED).join(tool);
        let draft = Path::new("/run").join(format!("{tool}.draft"));
        let real = place_of(tool);
        fs::write(
            &draft,
            format!("#!/bin/sh\nreal={}\n{script}\n", real.display()),
        )
        .expect("written");
        fs::set_permissions(&draft, Permissions::from_mode(0o755)).expect("executable");
        // a process that is about to run the script never finds half of it
        fs::rename(&draft, &path).expect("in place");
        Replaced { path }
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        fs::remove_file(&self.path).expect("it was there");
    }
}

/// Returns the path of a tool. One that the machine does not have is where it would be.
pub(crate) fn place_of(tool: &str) -> PathBuf {
    let mut places = std::env::split_paths(tools::PATH).map(|directory| directory.join(tool));
    places
        .find(|place| place.exists())
        .unwrap_or_else(|| Path::new("/usr/bin").join(tool))
}
