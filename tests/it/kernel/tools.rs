//! The stock tools, run in the namespace where this thread is.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::Stdio;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Build, Scripts};
use crate::tools::command;

/// What to say when something is missing.
pub(super) const NEEDS: &str = "Kernel tests need the Debian packages `iptables ipset conntrack iproute2 util-linux`, and \
     user namespaces open to this user (`unshare -Urnm true` must work; on Ubuntu: `sysctl \
     kernel.apparmor_restrict_unprivileged_userns=0`). PALISADE_SKIP_KERNEL=1 turns them off.";

/// Moves this thread into a named network namespace: sockets opened and programs started from here
/// on belong to it.
pub(crate) fn enter(namespace: &str) -> Result<(), String> {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| format!("{path}: {error}"))
}

/// Loads the sets, then the rules of both families.
pub(super) fn load(scripts: &Scripts, build: Build, options: &[&str]) -> Result<(), String> {
    run("ipset", &["restore"], &scripts.sets)?;
    run(&build.tool("iptables", "restore"), options, &scripts.v4)?;
    run(&build.tool("ip6tables", "restore"), options, &scripts.v6)?;
    Ok(())
}

/// The rules and chains that packets met, with their counters, in both families.
pub(super) fn counters(build: Build) -> Result<String, String> {
    let v4 = run(&build.tool("iptables", "save"), &["-c"], "")?;
    let v6 = run(&build.tool("ip6tables", "save"), &["-c"], "")?;
    let met = |line: &&str| !line.contains("[0:0]") && !line.starts_with('#') && *line != "COMMIT";
    Ok(v4
        .lines()
        .chain(v6.lines())
        .filter(met)
        .map(|line| format!("{line}\n"))
        .collect())
}

/// Runs a program to its end; its output, or the program's name and what it said on standard error.
pub(super) fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start `{program}`: {error}\n{NEEDS}"))?;
    // A program that stops reading has failed: its status tells more than the broken pipe.
    let _written = child
        .stdin
        .take()
        .expect("standard input is piped")
        .write_all(input.as_bytes());

    let output = child
        .wait_with_output()
        .map_err(|error| format!("`{program}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }

    Err(format!(
        "`{program} {}`, {}: {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}
