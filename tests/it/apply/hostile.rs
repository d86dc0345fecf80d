//! Nothing that tools, bundles or rules of others say steers what reads the output of a command
//! here.

use std::fs;
use std::path::Path;

use super::world::{BEFORE, World, bundle};
use crate::hostile::media::Medium;
use crate::hostile::texts::{FIXED, MARK};
use crate::hostile::{COMMANDS, Command, Reads, all_formats, has_no_format};
use crate::palisade::files_below;

/// Says what `/run/said` holds, as an answer and as a complaint.
const TALKATIVE: &str = "cat /run/said; cat /run/said >&2; exit 1";

pub(super) fn nothing_hostile_gets_through_on_a_node(world: &World) {
    let bundles = bundles();
    world.apply(BEFORE).unwrap();
    let said: String = FIXED
        .iter()
        .map(|text| text.replace('\0', "") + "\n")
        .collect();
    fs::write("/run/said", said).unwrap();

    let mut marked = sweep(world, &bundles);
    for text in FIXED {
        // a tool that does not take the comment has nothing to print
        for family in palisade::net::Family::BOTH {
            let rule = [
                "-A",
                "pal-FORWARD",
                "-m",
                "comment",
                "--comment",
                text,
                "-j",
                "ACCEPT",
            ];
            world.try_tool(&world.iptables(family, ""), &rule, "");
        }
    }
    marked += sweep(world, &bundles);
    for tool in [
        "ipset",
        "iptables-save",
        "iptables-nft-save",
        "iptables-legacy-save",
        "conntrack",
        "sysctl",
    ] {
        let _replaced = world.replace(tool, TALKATIVE);
        marked += sweep(world, &bundles[..1]);
    }
    assert!(
        marked > 20,
        "{marked} runs show anything hostile, so this tests little"
    );
}

/// A sound bundle, damaged ones, and none, in directories of hostile names.
fn bundles() -> Vec<String> {
    let name = |index: usize| format!("/run/b{}", FIXED[index].replace(['/', '\0'], "_"));
    let mut made = vec![name(0)];
    put(&made[0], |_, text| text);
    for index in [1, 2] {
        put(&name(index), |path, text| {
            match path.ends_with("filter.v4.rules") {
                true => text + FIXED[index],
                false => text,
            }
        });
        made.push(name(index));
    }

    put(&name(3), |_, text| {
        text.replace("\"n1\"", &serde_json::to_string(FIXED[4]).unwrap())
    });
    put(&name(4), |path, text| {
        if path == "palisade.json" {
            text.replace("n1", "n1\u{1b}mrk")
        } else {
            text
        }
    });
    made.extend([name(3), name(4), name(5)]);

    made
}

fn put(place: &str, change: impl Fn(&str, String) -> String) {
    for (path, text) in files_below(Path::new(&bundle(BEFORE))) {
        let file = Path::new(place).join(&path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, change(&path, text)).unwrap();
    }
}

/// Runs every command of a node in every format; how many runs show anything of the hostile texts.
fn sweep(world: &World, bundles: &[String]) -> usize {
    let commands = COMMANDS
        .iter()
        .filter(|command| command.reads == Reads::Node);
    let formats = all_formats();
    let runs = commands.flat_map(|command| formats.iter().map(move |format| (command, format)));
    runs.map(|(command, format)| run_all(world, command, format, bundles))
        .sum()
}

fn run_all(world: &World, command: &Command, format: &str, bundles: &[String]) -> usize {
    let is_known = command.formats.contains(&format);
    let own = ["--format", format];
    let mut lines: Vec<Vec<&str>> = match command.name {
        "apply" => bundles
            .iter()
            .flat_map(|bundle| [vec![bundle.as_str(), "--dry-run"], vec![bundle]])
            .collect(),
        "reconcile" => bundles
            .iter()
            .map(|bundle| vec![bundle.as_str(), "--once"])
            .collect(),
        "status" => bundles
            .iter()
            .map(|bundle| vec![bundle.as_str()])
            .chain([vec![]])
            .collect(),
        "confirm" => vec![vec![], vec!["--undo"]],
        "doctor" => vec![vec![]],
        // removes what the others look at
        "uninstall" if is_known => return 0,
        "uninstall" => vec![vec![]],
        other => panic!("`{other}` is never run: add its command lines"),
    };

    if !is_known {
        lines.truncate(1);
    }

    let marked = lines.iter().filter(|line| {
        let words = [&[command.name], &own[..], line].concat();
        let output = world.command(&words).output().expect("palisade starts");
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        assert_eq!(
            !has_no_format(&stderr),
            is_known,
            "{words:?}: add it to the table"
        );
        let about = format!("{words:?}");
        Medium::of(format).judge(if is_known { &stdout } else { "" }, &about);
        let problems = if format == "json" {
            Medium::JsonLines
        } else {
            Medium::Terminal
        };
        problems.judge(&stderr, &about);
        stdout.contains(MARK) || stderr.contains(MARK)
    });
    marked.count()
}
