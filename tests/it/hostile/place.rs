//! A directory whose files, and names of files, are full of hostile text.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::diff::git;
use crate::palisade::run;

/// A small cluster that is sound.
const CLUSTER: &str = "apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDR: 10.0.0.0/24}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: n1, serviceAccountName: web, containers: []}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: n1, serviceAccountName: db, containers: []}
status: {podIP: 10.0.0.3}
";

/// Bytes of a name that are of a hostile text.
const LONGEST_NAME: usize = 80;

/// The directory.
pub(crate) struct Place {
    directory: TempDir,
    texts: Vec<String>,
}

/// A string in YAML, in which every character that YAML cannot hold is escaped.
fn yaml(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            ' '..='~' => out.push(letter),
            _ => out.push_str(&format!("\\U{:08X}", u32::from(letter))),
        }
    }
    out + "\""
}

/// A name of a file, as far as a file can have it.
fn name(before: &str, text: &str) -> String {
    let mut end = LONGEST_NAME.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{before}{}", text[..end].replace(['/', '\0'], "_"))
}

/// A selector that compares with a text.
fn selector(text: &str) -> String {
    format!("app == '{}'", text.replace('\'', ""))
}

fn policy(index: usize, text: &str, action: &str) -> String {
    let (note, nobody, port) = (yaml(text), yaml(&selector(text)), 1000 + index);
    let selector = yaml(&format!("app == 'web' || {}", selector(text)));

    format!(
        "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: p{index}, namespace: shop, annotations: {{a: {note}}}}}
spec:
  order: {index}
  selector: app == 'db'
  ingress:
  - {{action: {action}, protocol: TCP, source: {{selector: {selector}}}, destination: {{ports: \
         [{port}]}}}}
  - {{action: Allow, source: {{selector: {nobody}}}}}
",
    )
}

/// Objects in which every text that can be is hostile.
fn bad(text: &str) -> String {
    let t = yaml(text);
    let unclosed = yaml(&format!("app == '{}", text.replace('\'', "")));

    format!(
        "apiVersion: {t}
kind: {t}
metadata: {{name: {t}}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: {t}, namespace: {t}, labels: {{{t}: {t}}}, annotations: {{{t}: {t}}}, {t}: 1}}
spec:
  {t}: {t}
  tier: {t}
  order: {t}
  selector: {t}
  serviceAccountSelector: {unclosed}
  types: [{t}]
  ingress:
  - {{action: {t}, protocol: {t}, source: {{nets: [{t}], ports: [{t}], selector: {unclosed}}}}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: a, namespace: shop, ownerReferences: [{{apiVersion: {t}, kind: {t}, name: \
         {t}}}]}}
spec: {{tier: {t}, ingress: [{{action: Allow, destination: {{services: {{name: {t}}}}}}}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: b, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{{t}: {t}}}, matchExpressions: [{{key: {t}, operator: {t}, values: \
         [{t}]}}]}}
  ingress: [{{from: [{{ipBlock: {{cidr: {t}, except: [{t}]}}}}], ports: [{{port: {t}, protocol: \
         {t}}}]}}]
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: {t}}}
spec: {{node: {t}, interfaceName: {t}, expectedIPs: [{t}], profiles: [{t}], ports: [{{name: {t}, \
         port: 1, protocol: {t}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {t}, namespace: {t}, labels: {{{t}: {t}}}, ownerReferences: [{{apiVersion: {t}, \
         kind: {t}, name: {t}}}]}}
spec: {{nodeName: {t}, serviceAccountName: {t}, containers: [{{ports: [{{name: {t}, protocol: {t}, \
         containerPort: 1}}]}}]}}
status: {{podIP: {t}}}
"
    )
}

impl Place {
    pub(super) fn new(texts: &[String]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Self {
            directory,
            texts: texts.to_vec(),
        };
        place.write_states();
        place.write_bad();
        place.write_questions();
        place.write_bundles();
        place
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A name that holds the text of a number.
    fn name(&self, before: &str, index: usize) -> String {
        name(before, &self.texts[index % self.texts.len()])
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    /// Two states that differ in every policy, in the file system and in a repository.
    fn write_states(&self) {
        self.write("with/cluster.yaml", CLUSTER);
        for (index, text) in self.texts.iter().enumerate() {
            let file = name(&format!("p{index}"), text) + ".yaml";
            self.write(
                &format!("{}/{file}", self.name("old", 0)),
                policy(index, text, "Deny"),
            );
            self.write(
                &format!("{}/{file}", self.name("new", 1)),
                policy(index, text, "Allow"),
            );
        }

        git(self.path(), &["init", "-q"]);
        git(self.path(), &["add", "-A"]);
        git(self.path(), &["commit", "-qm", "all"]);
    }

    fn write_bad(&self) {
        for (index, text) in self.texts.iter().enumerate() {
            let directory = self.name("bad", 2);
            self.write(
                &format!("{directory}/{}.yaml", name(&format!("y{index}"), text)),
                bad(text),
            );
            self.write(
                &format!("{directory}/{}.json", name(&format!("j{index}"), text)),
                format!("{{\"{text}"),
            );
            self.write(
                &format!("{directory}/{}.yml", name(&format!("r{index}"), text)),
                format!("a: [{text}\n  : {text}"),
            );
        }

        self.write(&format!("{}/x.yaml", self.name("bytes", 3)), b"a: \xff\n");
    }

    /// Assertions, configuration and templates.
    fn write_questions(&self) {
        let mut assertions = String::from("assertions:\n");
        for text in &self.texts {
            let text = yaml(text);
            assertions += &format!(
                "- description: {text}\n  deny: {{from: shop/web, to: shop/db, port: tcp/1000}}\n"
            );
            assertions += &format!(
                "- description: {text}\n  allow: {{from: shop/web, to: shop/db, port: tcp/80}}\n"
            );
        }
        self.write(&format!("{}/a.yaml", self.name("asserted", 4)), assertions);
        for (index, text) in self.texts.iter().enumerate() {
            let text = yaml(text);
            let bad = format!(
                "assertions:\n- {{description: {text}, {text}: {text}, allow: {{from: {text}, to: \
                 {{selector: {text}}}, ports: [{text}]}}}}\n"
            );
            self.write(
                &format!("{}/a{index}.yaml", self.name("misasserted", 5)),
                bad,
            );
        }

        let [first, second] = [0, 1].map(|index| yaml(&self.texts[index]));
        let file = self.name("c", 6);
        self.write(&format!("{file}0.yaml"), format!("{first}: {second}\n"));
        self.write(
            &format!("{file}1.yaml"),
            format!("endpointToHost: {first}\n"),
        );
        self.write(
            &format!("{file}2.yaml"),
            format!("lints: {{{first}: allow}}\n"),
        );
        self.write(&format!("{file}3.yaml"), format!("templates: {first}\n"));
        self.write(
            &format!("{file}4.yaml"),
            format!("lints: {{empty-selector: {first}}}\nfailsafeInbound: {second}\n"),
        );
        for (index, text) in self.texts.iter().take(3).enumerate() {
            self.write(
                &format!(
                    "{}/filter.rules.hbs",
                    self.name(&format!("templates{index}"), 7)
                ),
                format!("{{{{{text}}}}}"),
            );
        }
    }

    /// A bundle, and one with hostile lines in it and hostile files beside it.
    fn write_bundles(&self) {
        let (good, changed) = (self.name("good", 8), self.name("changed", 9));
        for out in [&good, &changed] {
            let outcome = run(
                self.path(),
                &["render", "with", &self.name("old", 0), "--out", out],
            );
            assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        }

        let script = format!("{changed}/nodes/n1/filter.v4.rules");
        let mut text = fs::read_to_string(self.path().join(&script)).expect("a script");
        for hostile in &self.texts {
            text = text.replacen(
                "\nCOMMIT",
                &format!("\n# {hostile}\n-A {hostile} -m comment --comment \"{hostile}\"\nCOMMIT"),
                1,
            );
        }

        self.write(&script, text);
        self.write(
            &format!("{changed}/nodes/{}/sets.ipset", self.name("n", 10)),
            &self.texts[0],
        );
    }

    /// Command lines that are well formed, as far as `palisade` can tell before it reads.
    pub(super) fn words(&self, command: &str) -> Vec<Vec<String>> {
        let text = |index: usize| self.texts[index % self.texts.len()].clone();
        let (old, new, bad) = (
            self.name("old", 0),
            self.name("new", 1),
            self.name("bad", 2),
        );
        let (good, changed, config) = (
            self.name("good", 8),
            self.name("changed", 9),
            self.name("c", 6),
        );
        let asked = ["--from", "shop/web", "--to", "shop/db", "--port", "tcp/80"];
        let sound = ["with", old.as_str()];

        let lines: Vec<Vec<&str>> = match command {
            "check" => vec![sound.to_vec(), vec![&bad], vec!["missing\n::error::mrk"]],
            "render" => vec![
                [&sound[..], &["--out", &good]].concat(),
                [&sound[..], &["--out", &good, "--verify"]].concat(),
                [&sound[..], &["--out", &changed, "--check"]].concat(),
                vec![&bad, "--out", &changed],
            ],
            "eval" | "explain" => vec![
                [&sound[..], &asked].concat(),
                [&[bad.as_str()][..], &asked].concat(),
            ],
            "connectivity" => vec![sound.to_vec(), vec![&bad]],
            "diff" => vec![
                vec![&old, &new, "--with", "with"],
                vec![&old, &bad, "--with", "with"],
            ],
            "test" => vec![],
            "selector" => vec![],
            "verify" => vec![
                [&sound[..], &["--bundle", &good]].concat(),
                [&sound[..], &["--bundle", &changed]].concat(),
                vec![&bad, "--bundle", &good],
            ],
            "completions" => vec![vec!["bash"], vec!["zsh"]],
            "man" => vec![vec![]],
            other => panic!("`{other}` is never run: add its command lines"),
        };

        let mut lines: Vec<Vec<String>> = lines
            .iter()
            .map(|line| line.iter().map(|word| (*word).to_owned()).collect())
            .collect();
        lines.extend(self.more_words(command, text));

        if ["check", "render", "eval", "explain", "diff", "verify"].contains(&command) {
            let configured =
                (0..5).map(|index| ["--config".to_owned(), format!("{config}{index}.yaml")]);
            let first = lines[0].clone();
            lines.extend(configured.map(|words| [&first[..], &words].concat()));
        }

        lines
            .iter()
            .map(|line| [&[command.to_owned()][..], line].concat())
            .collect()
    }

    /// Those with hostile words.
    fn more_words(&self, command: &str, text: impl Fn(usize) -> String) -> Vec<Vec<String>> {
        let words = |line: &[&str]| {
            line.iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let (old, bad) = (self.name("old", 0), self.name("bad", 2));
        let all = 0..self.texts.len();

        match command {
            "check" => vec![
                words(&["with", &self.name("bytes", 3)]),
                words(&["with", &old, "--allow", &self.name("x", 1)]),
            ],
            "render" => (0..3)
                .map(|index| {
                    let templates = self.name(&format!("templates{index}"), 7);
                    words(&[
                        "with",
                        &old,
                        "--out",
                        "none",
                        "--templates",
                        &templates,
                        "--node",
                        &self.name("x", index),
                    ])
                })
                .chain([words(&["with", &old, "--out", &bad])])
                .collect(),
            "explain" => vec![words(&[
                "with",
                &old,
                "--from",
                "shop/web",
                "--to",
                "shop/db",
                "--port",
                "tcp/80",
                "--verbose",
            ])],
            "diff" => {
                let revision =
                    |index| format!("git:x{}:old", self.name("", index).replace(':', "_"));
                let path = |index| format!("git:HEAD:{}", self.name("", index));
                let pairs = all.flat_map(|index| [revision(index), path(index)]);
                let mut lines: Vec<Vec<String>> =
                    pairs.take(8).map(|path| words(&[&path, "with"])).collect();
                lines.push(words(&[
                    &format!("git:HEAD:{old}"),
                    &self.name("new", 1),
                    "--with",
                    "with",
                ]));
                lines
            }
            "test" => {
                let (asserted, wrong) = (self.name("asserted", 4), self.name("misasserted", 5));
                let lines = [
                    &[&*asserted, "with", &old, "--coverage"][..],
                    &[&wrong, "with", &old],
                    &[&asserted, &bad],
                ];
                lines.iter().map(|line| words(line)).collect()
            }
            "selector" => all
                .flat_map(|index| {
                    let (text, own) = (
                        text(index).replace('\0', ""),
                        selector(&text(index)).replace('\0', ""),
                    );
                    let label = format!("--label=app={text}");
                    [
                        words(&["format", "--", &own]),
                        words(&["format", "--", &text]),
                        words(&["match", &label, "--", &own]),
                    ]
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}
