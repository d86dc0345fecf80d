//! Exit statuses and streams: data on standard output, everything else on standard error.

use std::path::Path;
use std::process::Output;

use crate::bad_input::{Place, cluster, is_refusal};
use crate::palisade::{Outcome, files_below, run, run_with_input};
use crate::tools;

/// A shell line in which `$P` is the program, with no variable of the caller's but those in the
/// line.
fn shell(directory: &Path, line: &str) -> Outcome {
    let mut command = tools::command("bash");
    command
        .args(["-c", line])
        .current_dir(directory)
        .env_clear()
        .env("PATH", tools::PATH);
    command
        .env("P", env!("CARGO_BIN_EXE_palisade"))
        .env("E", cluster());

    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("bash starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");

    Outcome {
        status: status.code().expect("no signal"),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// Status and standard output of shell lines.
fn lines_give(directory: &Path, cases: &[(&str, i32, &str)]) {
    for (line, status, stdout) in cases {
        let outcome = shell(directory, line);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (*status, *stdout),
            "{line}:\n{}",
            outcome.stderr
        );
        assert!(
            !outcome.stderr.contains("panicked"),
            "{line}:\n{}",
            outcome.stderr
        );
    }
}

#[test]
fn check_gives_0_1_or_2_and_writes_nothing_to_standard_output() {
    let place = Place::new();
    place.write("bad.yaml", "apiVersion: v1\n");
    place.write(
        "old.yaml",
        "apiVersion: crd.projectcalico.org/v1\nkind: Tier\nmetadata: {name: a}\nspec: {}\n",
    );

    let before = place.names();
    lines_give(
        place.path(),
        &[
            ("$P check $E", 1, ""),
            ("$P check -q $E", 1, ""),
            ("$P check $E --allow default-service-account", 0, ""),
            ("$P check $E/../online-boutique", 0, ""),
            ("$P check $E --allow default-serviceaccount", 2, ""),
            ("$P check bad.yaml", 2, ""),
            ("$P check old.yaml", 1, ""),
            ("$P check old.yaml --allow no-policies", 0, ""),
            (
                "(cat $E/policies.yaml; echo ---; cat $E/cluster.yaml) | $P check -",
                1,
                "",
            ),
            ("$P check - < /dev/null", 2, ""),
            ("$P check - <&-", 2, ""),
            ("$P check", 2, ""),
            ("$P check $E --nonsense", 2, ""),
            ("$P nonsense", 2, ""),
            ("$P", 2, ""),
        ],
    );
    place.is_untouched(&before, "check");

    assert!(
        shell(place.path(), "$P check $E")
            .stderr
            .contains("valid: ")
    );
}

#[test]
fn lints_are_chosen_by_flag_and_file() {
    let place = Place::new();
    place.write("allow.yaml", "lints: {default-service-account: allow}\n");
    place.write("deny.yaml", "lints: {default-service-account: deny}\n");
    place.write("level.yaml", "lints: {default-service-account: warn}\n");
    place.write("name.yaml", "lints: {no-dsn: allow}\n");
    lines_give(
        place.path(),
        &[
            ("$P check $E --config allow.yaml", 0, ""),
            ("$P check $E --config deny.yaml", 1, ""),
            (
                "$P check $E --config deny.yaml --allow default-service-account",
                0,
                "",
            ),
            ("$P check $E --config level.yaml", 2, ""),
            ("$P check $E --config name.yaml", 2, ""),
            ("$P render $E --out new --config name.yaml", 2, ""),
        ],
    );
    let told = |line: &str| shell(place.path(), line).stderr;
    assert!(told("$P check $E --config name.yaml").contains("did you mean `no-dns`?"));
    assert!(
        told("$P check $E --allow defaultserviceaccount")
            .contains("did you mean `default-service-account`?")
    );
    assert!(
        told("$P check $E --format json")
            .contains(r#""code":"default-service-account","severity":"lint""#)
    );
}

#[test]
fn the_check_of_a_bundle_gives_0_or_1_and_never_writes() {
    let place = Place::new();
    let home = place.path();
    place.write(
        "more.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n",
    );

    let before = place.names();
    let same = run(home, &["render", &cluster(), "--out", "old", "--check"]);
    assert_eq!(
        (same.status, same.stdout.as_str()),
        (0, ""),
        "{}",
        same.stderr
    );

    let other = run(
        home,
        &["render", &cluster(), "more.yaml", "--out", "old", "--check"],
    );
    assert_eq!(other.status, 1, "{}", other.stderr);
    assert!(
        other.stdout.contains("+++ b/palisade.json") && other.stderr.is_empty(),
        "{}{}",
        other.stdout,
        other.stderr
    );

    let none = run(
        home,
        &["render", &cluster(), "--out", "none/deep", "--check"],
    );
    assert_eq!(none.status, 1, "{}", none.stderr);
    assert!(none.stdout.contains("+*filter"));
    is_refusal(
        &run(
            home,
            &["render", &cluster(), "--out", "more.yaml", "--check"],
        ),
        "a file as bundle",
    );
    is_refusal(
        &run(home, &["render", "nothing", "--out", "old", "--check"]),
        "bad input",
    );

    place.is_untouched(&before, "--check");
}

#[test]
fn unknown_nodes_are_refused() {
    let place = Place::new();
    let before = place.names();
    for words in [
        ["--node", "nowhere"],
        ["--node", "../../etc"],
        ["--node", ""],
    ] {
        let outcome = run(
            place.path(),
            &[&["render", &cluster(), "--out", "new"], words.as_slice()].concat(),
        );
        is_refusal(&outcome, &words.join(" "));
    }

    place.is_untouched(&before, "--node");
}

#[test]
fn selectors_give_0_1_or_2() {
    let place = Place::new();
    lines_give(
        place.path(),
        &[
            (r#"$P selector match 'a == "b"' --label a=b"#, 0, ""),
            (r#"$P selector match 'a == "b"' --label a=c"#, 1, ""),
            (r#"$P selector match 'a == "b"'"#, 1, ""),
            (r#"$P selector match 'all()'"#, 0, ""),
            (r#"$P selector match 'a = "b"' --label a=b"#, 2, ""),
            (r#"$P selector match 'all()' --label a"#, 2, ""),
            (r#"$P selector match 'all()' --label =a"#, 2, ""),
            (
                r#"$P selector format " a  in{'x',\"y\"}&&!(!has(b)) ""#,
                0,
                "(a in {\"x\", \"y\"} && has(b))\n",
            ),
            (r#"$P selector format 'a =='"#, 2, ""),
            (r#"$P selector format $'a == "\x01\n'"#, 2, ""),
            (r#"$P selector format $'\xff'"#, 2, ""),
            (r#"$P selector format -- '--'"#, 2, ""),
        ],
    );
    let told = run(place.path(), &["selector", "format", "app = 'web'"]).stderr;
    assert!(
        told.contains("[selector-syntax]") && told.contains("<selector>:1:5"),
        "{told}"
    );
}

#[test]
fn closed_and_full_streams_are_no_panic() {
    let place = Place::new();
    lines_give(
        place.path(),
        &[
            (
                "set -o pipefail; $P render $E --out none --check | head -1 >/dev/null; test $? \
                 -ne 101",
                0,
                "",
            ),
            (
                "$P render $E --out none --check >&-; test $? -ne 101",
                0,
                "",
            ),
            ("$P render $E --out none --check > /dev/full", 2, ""),
            ("$P selector format 'has(a)' > /dev/full", 2, ""),
            ("$P check nothing 2>&-", 2, ""),
            ("$P check nothing 2>/dev/full", 2, ""),
            ("$P check nothing <&- >&- 2>&-", 2, ""),
            ("$P --help >&-; test $? -ne 101", 0, ""),
            ("$P --nonsense 2>&-", 2, ""),
            ("$P render $E --out fresh <&- >&- 2>&-", 0, ""),
        ],
    );

    assert!(place.path().join("fresh/palisade.json").is_file());
}

#[test]
fn problems_as_json_are_one_object_a_line() {
    let place = Place::new();
    place.write(
        "bad.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: 'A\n\n  b', labels: {'ä': b}}\n---\na: \
         b\n",
    );

    let outcome = run(
        place.path(),
        &["check", "--format", "json", "bad.yaml", "nothing"],
    );
    is_refusal(&outcome, "json");

    let lines: Vec<serde_json::Value> = outcome
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert!(lines.len() >= 4, "{}", outcome.stderr);

    for line in &lines {
        assert!(
            line["code"].is_string() && line["message"].is_string() && line["severity"] == "error",
            "{line}"
        );
    }

    let placed = lines
        .iter()
        .filter(|line| line["labels"][0]["file"] == "bad.yaml");
    assert!(placed.clone().count() >= 3, "{}", outcome.stderr);
    assert!(
        placed
            .into_iter()
            .all(|line| line["labels"][0]["line"].as_u64() > Some(0)
                && line["labels"][0]["column"].as_u64() > Some(0))
    );
}

#[test]
fn quiet_colour_and_their_variables() {
    let place = Place::new();
    place.write(
        "note.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
    );

    let told = |line: &str| shell(place.path(), line).stderr;
    assert!(told("$P check note.yaml").contains("note[skipped-kinds]"));
    assert_eq!(told("$P check -q note.yaml"), "");
    assert!(told("$P check -q nothing").contains("[unreadable]"));
    assert!(told("$P check nothing --color always").contains("\u{1b}["));
    assert!(told("NO_COLOR=1 $P check nothing --color always").contains("\u{1b}["));
    assert!(told("PALISADE_COLOR=always $P check nothing").contains("\u{1b}["));
    assert!(!told("PALISADE_COLOR=always $P check nothing --color never").contains('\u{1b}'));
    assert!(!told("$P check nothing").contains('\u{1b}'));
    assert!(told("PALISADE_FORMAT=json $P check nothing").starts_with('{'));

    let on_terminal = |variable: &str| {
        let line = format!("{variable} script -qec \"$P check nothing\" /dev/null; true");
        shell(place.path(), &line).stdout
    };
    assert!(on_terminal("").contains("\u{1b}["), "{}", on_terminal(""));
    assert!(!on_terminal("NO_COLOR=1").contains("\u{1b}["));

    assert!(on_terminal("NO_COLOR=").contains("\u{1b}["));
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let place = Place::new();
    place.write("drop.yaml", "endpointToHost: drop\n");
    place.write("accept.yaml", "endpointToHost: accept\n");
    place.write("empty.yaml", "");

    let bundle = |line: &str| {
        let outcome = shell(place.path(), &format!("{line} --out new $E"));
        assert_eq!(outcome.status, 0, "{line}:\n{}", outcome.stderr);
        files_below(&place.path().join("new"))
    };
    let accept = bundle("$P render");

    let drop = bundle("$P render --endpoint-to-host drop");
    assert_ne!(accept, drop);
    for line in [
        "$P render --config drop.yaml",
        "PALISADE_CONFIG=drop.yaml $P render",
        "PALISADE_CONFIG=accept.yaml $P render --config drop.yaml",
        "PALISADE_ENDPOINT_TO_HOST=drop $P render",
        "PALISADE_ENDPOINT_TO_HOST=drop $P render --config accept.yaml",
        "PALISADE_ENDPOINT_TO_HOST=accept $P render --config accept.yaml --endpoint-to-host drop",
    ] {
        assert_eq!(bundle(line), drop, "{line}");
    }

    for line in [
        "$P render --config empty.yaml",
        "PALISADE_ENDPOINT_TO_HOST=accept $P render --config drop.yaml",
    ] {
        assert_eq!(bundle(line), accept, "{line}");
    }
}

#[test]
fn wrong_words_in_variables_are_refused() {
    let place = Place::new();
    let before = place.names();
    for variable in [
        "ENDPOINT_TO_HOST",
        "UNKNOWN_ENDPOINT",
        "HOOK_POSITION",
        "ENCAPSULATED",
        "FORMAT",
        "COLOR",
        "TEMPLATES",
        "CONFIG",
    ] {
        for word in ["nonsense", "$'\\xff'", "$'a\\nb'"] {
            let outcome = shell(
                place.path(),
                &format!("PALISADE_{variable}={word} $P render $E --out new"),
            );
            is_refusal(&outcome, variable);
        }
    }

    place.is_untouched(&before, "variables");
}

#[test]
fn help_is_data_and_fits_the_screen() {
    let place = Place::new();

    for command in [
        "--help",
        "check --help",
        "render --help",
        "eval --help",
        "explain --help",
        "connectivity --help",
        "diff --help",
        "selector --help",
        "selector match --help",
        "selector format --help",
    ] {
        let outcome = shell(place.path(), &format!("$P {command}"));
        assert_eq!(
            (outcome.status, outcome.stderr.as_str()),
            (0, ""),
            "{command}"
        );
        assert!(outcome.stdout.contains("Usage: palisade"), "{command}");
        assert!(
            outcome
                .stdout
                .lines()
                .all(|line| line.chars().count() <= 100),
            "{command}"
        );
    }
}

#[test]
fn standard_input_is_one_more_file() {
    let place = Place::new();
    let outcome = run_with_input(
        place.path(),
        &["check", "-"],
        b"apiVersion: v1\nkind: Namespace\nmetadata: {name: A}\n",
    );
    is_refusal(&outcome, "standard input");
    assert!(outcome.stderr.contains("<stdin>:"), "{}", outcome.stderr);
}

#[test]
fn help_is_of_a_command_or_of_a_code() {
    let place = Place::new();
    for command in ["", "render", "selector", "selector match", "help"] {
        let help = shell(place.path(), &format!("$P help {command}"));
        let flag = shell(place.path(), &format!("$P {command} --help"));
        assert_eq!(help, flag, "{command}");
        assert_eq!((help.status, help.stderr.as_str()), (0, ""), "{command}");
    }

    let entry = shell(place.path(), "$P help unknown-tier");
    assert_eq!((entry.status, entry.stderr.as_str()), (0, ""));
    assert!(
        entry
            .stdout
            .starts_with("error[unknown-tier]: a policy names a tier")
            && entry.stdout.contains("\n\nExample:\n")
            && entry.stdout.contains("\n    kind: GlobalNetworkPolicy\n")
            && entry.stdout.contains("\n\nFix: "),
        "{}",
        entry.stdout
    );

    let lint = shell(place.path(), "$P help no-dns").stdout;
    assert!(lint.starts_with("lint[no-dns]: "), "{lint}");
    // whatever the format is of other commands
    for line in [
        "PALISADE_FORMAT=junit $P help render",
        "PALISADE_FORMAT=junit $P help no-dns",
        "$P --format csv help no-dns",
    ] {
        assert_eq!(shell(place.path(), line).status, 0, "{line}");
    }
}

#[test]
fn help_of_nothing_suggests_the_nearest() {
    let place = Place::new();

    for (line, suggestion) in [
        ("help unkown-tier", "did you mean `unknown-tier`?"),
        ("help rendr", "did you mean `render`?"),
        (
            "help selector formt",
            "there is no command and no code `formt`",
        ),
        (
            "help unknown-tier no-dns",
            "there is no command and no code `unknown-tier`",
        ),
        ("help xyzzy", "`palisade help` lists the commands"),
        ("help \"\"", "there is no command and no code ``"),
    ] {
        let outcome = shell(place.path(), &format!("$P {line}"));
        is_refusal(&outcome, line);
        assert!(
            outcome.stderr.contains(suggestion),
            "{line}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_command_takes_its_own_formats() {
    let place = Place::new();
    let cases = [
        ("check", "text, json"),
        ("selector format", "text, json"),
        ("status", "text, json, prometheus"),
        ("connectivity", "text, json, csv, md, dot"),
        ("diff", "text, json, md, sarif"),
        ("test", "text, json, junit"),
        ("man", "text"),
    ];
    for (command, formats) in cases {
        let help = shell(place.path(), &format!("$P {command} -h")).stdout;
        let shown = format!("[default: text] [possible values: {formats}]");
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(&shown), "{command}: {help}");
        let other = if formats.contains("dot") {
            "sarif"
        } else {
            "dot"
        };
        for line in [
            format!("$P {command} --format {other}"),
            format!("$P --format {other} {command} has(a)"),
            format!("PALISADE_FORMAT={other} $P {command} has(a)"),
        ] {
            let line = line.replace(
                "has(a)",
                if command.starts_with("selector") {
                    "'has(a)'"
                } else {
                    ""
                },
            );
            let outcome = shell(place.path(), &line);
            is_refusal(&outcome, &line);
        }
    }

    // a format stands before the command or after it, or in the variable, and the last place wins
    for line in [
        "$P check nothing --format json",
        "$P --format json check nothing",
        "PALISADE_FORMAT=json $P check nothing",
        "PALISADE_FORMAT=text $P --format json check nothing",
        "$P --format text check nothing --format json",
        "PALISADE_FORMAT=csv $P check nothing --format json",
    ] {
        let said = shell(place.path(), line).stderr;
        assert!(
            said.starts_with("{\"code\":\"unreadable\""),
            "{line}: {said}"
        );
    }

    let refusal = |line: &str| shell(place.path(), line).stderr;
    let after = refusal("$P check nothing --format dot");
    assert!(
        after.contains("invalid value 'dot' for '--format <FORMAT>'")
            && after.contains("[possible values: text, json]"),
        "{after}"
    );
    assert_eq!(refusal("$P --format dot check nothing"), after);

    assert_eq!(refusal("PALISADE_FORMAT=dot $P check nothing"), after);
}

#[test]
fn completions_have_the_formats_of_each_command_and_all_codes() {
    let place = Place::new();
    let script = shell(place.path(), "$P completions bash").stdout;
    for words in [
        "\"text json\"",
        "\"text json csv md dot\"",
        "\"text json md sarif\"",
        " unknown-tier ",
        " no-dns ",
    ] {
        assert!(script.contains(words), "{words}");
    }
}
