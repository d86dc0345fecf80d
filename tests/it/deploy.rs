//! What lies in `deploy/` calls palisade as it is.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start programs and read files"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::palisade::{files_below, root, run};
use crate::tools;

/// The words behind each `palisade` of a text that is a command and no prose, with the options that
/// stand before the command.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        let listed = ["args: [", "command: [palisade, "]
            .into_iter()
            .find_map(|begin| line.split_once(begin));
        let words = match (listed, line.find("palisade ")) {
            (Some((_, list)), _) => list
                .split(']')
                .next()
                .unwrap_or_default()
                .replace(", ", " ")
                .replace('"', ""),
            (None, Some(at)) if is_call(line, at) => line[at + "palisade ".len()..].to_owned(),
            (None, Some(_) | None) => continue,
        };
        let ends = |word: &&str| !["||", "&&", ">", "|", ";"].contains(word);
        lines.push(
            words
                .split(['`', ')'])
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .take_while(ends)
                .map(str::to_owned)
                .collect(),
        );
    }

    lines
}

/// Whether `palisade ` at a place of a line is what is run.
fn is_call(line: &str, at: usize) -> bool {
    ["/usr/local/bin/", "root  ", "`", "$ ", "    "]
        .iter()
        .any(|before| line[..at].ends_with(before))
}

#[test]
fn every_command_line_of_deploy_is_one() {
    let mut seen = Vec::new();
    for (path, text) in files_below(&root().join("deploy")) {
        for mut words in command_lines(&text) {
            let at = words
                .iter()
                .position(|word| !word.starts_with('-'))
                .unwrap_or_else(|| panic!("{path}: {words:?}"));
            let command = words[at].clone();
            seen.push(command.clone());
            // with --help nothing runs, and what stands before it is parsed; what is required and
            // missing, or unknown, is refused
            let known = run(&root(), &[command.as_str(), "--help"]);
            assert_eq!(known.status, 0, "{path}: {command}");
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(
                    known.stdout.contains(option.as_str()),
                    "{path}: `{option}` of {words:?}"
                );
            }
            words.push("--help".to_owned());
            assert_eq!(run(&root(), &words).status, 0, "{path}: {words:?}");
        }
    }

    for command in ["apply", "status", "doctor", "reconcile"] {
        assert!(
            seen.iter().any(|seen| seen == command),
            "{command} is nowhere in {seen:?}"
        );
    }
}

/// One unit that reads other settings than the rest would, for one, load the other build of
/// iptables.
#[test]
fn units_agree_on_settings_and_rights() {
    let units: Vec<(String, String)> = files_below(&root().join("deploy"))
        .into_iter()
        .filter(|(path, _)| path.ends_with(".service"))
        .collect();
    let call_palisade = units
        .iter()
        .filter(|(_, text)| text.contains("/bin/palisade "));
    let without_settings = call_palisade
        .filter(|(_, text)| !text.contains("\nEnvironmentFile=-/etc/palisade/environment\n"));

    assert_eq!(
        without_settings
            .map(|(path, _)| path.as_str())
            .collect::<Vec<_>>(),
        Vec::<&str>::new()
    );

    let rights = |text: &str| {
        let begins = [
            "Capability",
            "NoNew",
            "Private",
            "Protect",
            "Restrict",
            "Lock",
            "Memory",
            "SystemCall",
            "ReadWrite",
            "UMask",
        ];
        let is_one = |line: &&str| begins.iter().any(|begin| line.starts_with(begin));
        // at boot /tmp may not be there yet
        text.lines()
            .filter(is_one)
            .filter(|line| *line != "PrivateTmp=yes")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let ours = units
        .iter()
        .filter(|(path, _)| path.starts_with("systemd/palisade-"));
    let all: Vec<Vec<String>> = ours.map(|(_, text)| rights(text)).collect();

    assert!(
        all.len() == 3 && all[0].len() > 15 && all.iter().all(|rights| *rights == all[0]),
        "{all:#?}"
    );
}

#[test]
fn others_can_read_the_metrics_of_a_unit() {
    let place = tempfile::tempdir().expect("a directory");
    // nothing is applied: there is no bundle
    let line = "umask 0077; exec \"$0\" reconcile none --once --run-dir run --state-dir state \
                --metrics-file palisade.prom";

    let status = tools::command("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_palisade")])
        .current_dir(place.path())
        .output()
        .expect("sh")
        .status;
    assert_eq!(status.code(), Some(2));

    let mode = fs::metadata(place.path().join("palisade.prom"))
        .expect("metrics")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn the_daemon_set_has_no_right_that_it_does_not_need() {
    let text =
        fs::read_to_string(root().join("deploy/daemonset/daemonset.yaml")).expect("the manifest");
    for line in [
        "automountServiceAccountToken: false",
        "privileged: false",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "drop: [ALL]",
        "add: [NET_ADMIN, NET_RAW]",
        "hostPath: {path: /run/xtables.lock, type: FileOrCreate}",
    ] {
        assert!(text.lines().any(|found| found.trim() == line), "{line}");
    }

    for word in ["hostPID", "hostIPC", "SYS_ADMIN", "SYS_MODULE"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn the_policies_of_the_daemon_set_are_valid() {
    let outcome = run(&root(), &["check", "deploy/daemonset/policies.yaml"]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn completions_and_the_manual_know_every_command() {
    let manual = run(&root(), &["man"]);
    let help = run(&root(), &["--help"]).stdout;
    let listed = help
        .split("Commands:\n")
        .nth(1)
        .expect("commands")
        .lines()
        .take_while(|line| !line.is_empty());
    // what does not fit goes on further to the right
    let begins = listed
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '));
    let commands: Vec<&str> = begins
        .filter_map(|line| line.split_whitespace().next())
        .collect();

    assert!(
        commands.contains(&"apply") && commands.contains(&"doctor"),
        "{commands:?}"
    );

    for command in commands.iter().filter(|command| **command != "help") {
        assert!(
            manual
                .stdout
                .contains(&format!(".SH \"PALISADE {}\"", command.to_uppercase())),
            "{command}"
        );
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let script = run(&root(), &["completions", shell]);
            assert!(
                script.status == 0 && script.stdout.contains(command),
                "{shell}: {command}"
            );
        }
    }

    assert!(
        manual.stdout.contains("\\-\\-take\\-over"),
        "options of commands"
    );
}
