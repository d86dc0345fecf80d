//! Time and memory of `palisade apply` beside those of the raw tools. `benches/README.md` says how
//! to run it; root.
//!
//! Each row is measured in network namespaces of its own, with a `/run` of its own: by this program
//! again, as their first process.
#![expect(
    clippy::disallowed_methods,
    reason = "benches start programs and read files"
)]

mod measure;
mod scripts;
#[path = "../../tests/tools/mod.rs"]
mod tools;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;

use measure::Cost;
use scripts::{Edit, Size};

/// Time `palisade apply` beside the tools that it calls
#[derive(Parser)]
struct Arguments {
    /// Cases to run: smoke, 1k, 10k, 100k, members
    #[arg(default_value = "smoke")]
    cases: Vec<String>,
    /// How often; the best is told
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// The build of iptables; both when none is named
    #[arg(long)]
    backend: Option<String>,
    /// The program to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_palisade"))]
    palisade: PathBuf,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    /// Run one part, here, on the bundles in this directory
    #[arg(long, hide = true, num_args = 2, value_names = ["PART", "DIR"])]
    inside: Option<Vec<String>>,
}

/// By name: the size, and which edits are measured.
const CASES: [(&str, Size, &[Edit]); 5] = [
    (
        "smoke",
        Size {
            rules: 100,
            sets: 10,
            members: 5,
            first: 50,
        },
        &[Edit::Chain, Edit::Member, Edit::TwoSets],
    ),
    (
        "1k",
        Size {
            rules: 1_000,
            sets: 100,
            members: 20,
            first: 20,
        },
        &[Edit::Chain],
    ),
    (
        "10k",
        Size {
            rules: 10_000,
            sets: 500,
            members: 20,
            first: 20,
        },
        &[Edit::Chain],
    ),
    (
        "100k",
        Size {
            rules: 100_000,
            sets: 1_000,
            members: 20,
            first: 20,
        },
        &[Edit::Chain],
    ),
    (
        "members",
        Size {
            rules: 1_000,
            sets: 100,
            members: 20,
            first: 100_000,
        },
        &[Edit::Chain, Edit::Member, Edit::TwoSets],
    ),
];

/// Parts, each with a kernel of its own.
const PARTS: [&str; 2] = ["raw", "apply"];

/// `/run` of our own has the lock of iptables, which would be the host's else.
const PREPARE: &str = r#"mount -t tmpfs tmpfs /run && exec "$@""#;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    if let (Some([part, directory]), Some(backend)) =
        (arguments.inside.as_deref(), &arguments.backend)
    {
        let inside = Inside {
            palisade: &arguments.palisade,
            backend,
            directory: Path::new(directory),
        };
        return if part == "raw" {
            inside.raw()
        } else {
            inside.apply()
        };
    }

    for case in &arguments.cases {
        let known = CASES.iter().find(|(name, ..)| name == case);
        let (name, size, edits) =
            known.ok_or_else(|| io::Error::other(format!("there is no case `{case}`")))?;
        let home = tempfile::tempdir()?;
        for edit in [Edit::Nothing].iter().chain(*edits) {
            scripts::write(*size, *edit, &home.path().join(format!("{edit:?}")))?;
        }
        for backend in ["legacy", "nft"].iter().filter(|word| {
            arguments
                .backend
                .as_deref()
                .is_none_or(|asked| asked == **word)
        }) {
            let rows = rows(arguments, backend, home.path())?;
            print(&format!("{name}, {backend}"), &rows)?;
        }
    }

    Ok(())
}

/// What each row took at best, in the order of their labels.
fn rows(arguments: &Arguments, backend: &str, home: &Path) -> io::Result<BTreeMap<String, Cost>> {
    let mut rows = BTreeMap::new();
    for part in (0..arguments.times).flat_map(|_| PARTS) {
        let mut command = tools::command("unshare");
        command
            .args(["--net", "--mount", "sh", "-c", PREPARE, "sh"])
            .arg(std::env::current_exe()?);
        command
            .args(["--backend", backend, "--palisade"])
            .arg(&arguments.palisade)
            .args(["--inside", part])
            .arg(home);
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!(
                "{part}: {} (this takes root)",
                output.status
            )));
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let words: Vec<&str> = line.split('\t').collect();
            let [label, passed, busy, peak] = words.as_slice() else {
                continue;
            };
            let number = |word: &str| word.parse::<u64>().map_err(io::Error::other);
            let [passed, busy] = [passed, busy].map(|word| number(word).map(Duration::from_micros));
            let cost = Cost {
                passed: passed?,
                busy: busy?,
                peak_kilobytes: peak.parse().map_err(io::Error::other)?,
            };
            rows.entry((*label).to_owned())
                .and_modify(|best: &mut Cost| *best = best.best(cost))
                .or_insert(cost);
        }
    }

    Ok(rows)
}

fn print(title: &str, rows: &BTreeMap<String, Cost>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let load = fs::read_to_string("/proc/loadavg")?;
    writeln!(
        out,
        "\n### {title} (load {})\n",
        load.split(' ').next().unwrap_or_default()
    )?;
    writeln!(
        out,
        "| | passed, ms | own processor, ms | peak, MB | of the raw load \
         |\n|---|---:|---:|---:|---:|"
    )?;

    let raw = rows
        .get("1 raw load")
        .map_or(1.0, |cost| cost.passed.as_secs_f64());

    for (label, cost) in rows {
        let [passed, busy] = [cost.passed, cost.busy].map(|time| time.as_secs_f64() * 1000.0);
        let ratio = cost.passed.as_secs_f64() / raw;
        writeln!(
            out,
            "| {label} | {passed:.0} | {busy:.0} | {} | {ratio:.2} |",
            cost.peak_kilobytes / 1024
        )?;
    }

    Ok(())
}

/// What runs in a kernel of its own.
struct Inside<'run> {
    palisade: &'run Path,
    backend: &'run str,
    directory: &'run Path,
}

impl Inside<'_> {
    /// The scripts by the raw tools, and what it takes to print what they made.
    fn raw(&self) -> io::Result<()> {
        let scripts = self.bundle(Edit::Nothing).join("nodes/n1");
        let script = |name: &str| File::open(scripts.join(name)).map(Some);
        let [v4, v6] = ["iptables", "ip6tables"].map(|tool| format!("{tool}-{}", self.backend));
        let sets = measure::run(
            tools::command("ipset").arg("restore"),
            script("sets.ipset")?,
        )?;
        let tables = [(&v4, "filter.v4.rules"), (&v6, "filter.v6.rules")];

        let tables = tables.map(|(tool, file)| {
            measure::run(
                tools::command(format!("{tool}-restore")).arg("--noflush"),
                script(file)?,
            )
        });
        tell("1 raw load", &sum(tables.into_iter().chain([Ok(sets)]))?)?;

        let saves = [v4, v6].map(|tool| {
            measure::run(
                tools::command(format!("{tool}-save")).args(["-c", "-t", "filter"]),
                None,
            )
        });

        tell(
            "2 raw save, once",
            &sum(saves
                .into_iter()
                .chain([measure::run(tools::command("ipset").arg("save"), None)]))?,
        )
    }

    /// Applies the bundle, then again, then each edit of it, and back behind each.
    fn apply(&self) -> io::Result<()> {
        tell("3 apply", &self.palisade(Edit::Nothing)?)?;
        tell(
            "4 apply again, nothing to do",
            &self.palisade(Edit::Nothing)?,
        )?;

        for (label, edit) in [
            ("5 one rule changed", Edit::Chain),
            ("6 one pod into a set", Edit::Member),
            ("7 one pod into two sets", Edit::TwoSets),
        ] {
            if self.bundle(edit).exists() {
                tell(label, &self.palisade(edit)?)?;
                self.palisade(Edit::Nothing)?;
            }
        }

        Ok(())
    }

    fn palisade(&self, edit: Edit) -> io::Result<Cost> {
        let mut command = tools::command(self.palisade);
        command.args([
            "apply",
            "--node",
            "n1",
            "--backend",
            self.backend,
            "--timeout",
            "600",
            "--state-dir",
            "/run/palisade-state",
        ]);

        measure::run(command.arg(self.bundle(edit)), None)
    }

    fn bundle(&self, edit: Edit) -> PathBuf {
        self.directory.join(format!("{edit:?}"))
    }
}

fn sum(costs: impl Iterator<Item = io::Result<Cost>>) -> io::Result<Cost> {
    costs.into_iter().try_fold(Cost::default(), |sum, cost| {
        let cost = cost?;
        let peak_kilobytes = sum.peak_kilobytes.max(cost.peak_kilobytes);
        Ok(Cost {
            passed: sum.passed + cost.passed,
            busy: sum.busy + cost.busy,
            peak_kilobytes,
        })
    })
}

fn tell(label: &str, cost: &Cost) -> io::Result<()> {
    writeln!(
        io::stdout(),
        "{label}\t{}\t{}\t{}",
        cost.passed.as_micros(),
        cost.busy.as_micros(),
        cost.peak_kilobytes
    )
}
