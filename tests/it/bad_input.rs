//! Bad input: exit status 2, words that say what to do, no panic, nothing written, and the bundle
//! that was there untouched.
#![expect(
    clippy::disallowed_methods,
    reason = "tests write files and start programs"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::palisade::{Outcome, files_below, root, run};
use crate::tools::command;

/// A directory with room for bad files and a good bundle `old`.
pub(crate) struct Place {
    home: TempDir,
    old: BTreeMap<String, String>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let outcome = run(home.path(), &["render", &cluster(), "--out", "old"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let old = files_below(&home.path().join("old"));
        Self { home, old }
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    /// Renders the example cluster together with what the words name, into a new place and over the
    /// old bundle. Both must be refused and change nothing. Gives what was said.
    pub(crate) fn refused(&self, words: &[&str]) -> String {
        let before = self.names();
        let [new, old] = ["new/deep", "old"].map(|out| {
            let outcome = run(
                self.path(),
                &[&["render", &cluster(), "--out", out], words].concat(),
            );
            is_refusal(&outcome, &words.join(" "));
            outcome.stderr
        });

        assert_eq!(new, old, "{words:?}: two refusals of one input differ");
        self.is_untouched(&before, &words.join(" "));
        new
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path())
            .expect("home")
            .map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = entries
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn is_untouched(&self, before: &[String], about: &str) {
        assert_eq!(self.names(), before, "{about}: something was left behind");
        assert_eq!(
            files_below(&self.path().join("old")),
            self.old,
            "{about}: the old bundle was changed"
        );
    }
}

/// The example whose inventory bad policy is given with.
pub(crate) fn cluster() -> String {
    root()
        .join("examples/service-accounts")
        .display()
        .to_string()
}

/// Status 2, an error with a code, and no word of Rust.
pub(crate) fn is_refusal(outcome: &Outcome, about: &str) {
    let Outcome {
        status,
        stdout,
        stderr,
    } = outcome;

    assert_eq!((*status, stdout.as_str()), (2, ""), "{about}:\n{stderr}");
    assert!(
        stderr.contains("error"),
        "{about}: no error is told:\n{stderr}"
    );

    for word in [
        "panicked",
        "src/",
        "Some(",
        "Err(",
        "unwrap",
        "RUST_BACKTRACE",
    ] {
        assert!(!stderr.contains(word), "{about}: `{word}` in\n{stderr}");
    }
}

pub(crate) fn says(told: &str, parts: &[&str], about: &str) {
    for part in parts {
        assert!(
            told.contains(part),
            "{about}: nothing of `{part}` in\n{told}"
        );
    }
}

pub(crate) const POLICY: &str = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: \
                                 {name: bad, namespace: shop}\nspec:\n";

/// What a policy's `spec` says, and what is to be told.
#[rustfmt::skip]
const SPECS: &[(&str, &[&str])] = &[
    ("  selectr: all()", &["[unknown-field]", "`selectr`", "did you mean `selector`?", "bad.yaml:5:3"]),
    ("  selector: [all()]", &["[wrong-type]", "expected a string, found a list"]),
    ("  order: first", &["[wrong-type]", "expected a number, found a string"]),
    ("  selector: app = 'web'", &["[selector-syntax]", "bad.yaml:5:"]),
    ("  selector: has(a", &["[selector-syntax]", "at the end"]),
    ("  selector: \"a == 'x\\ny\"", &["[selector-syntax]"]),
    ("  ingress: [{action: Allow, source: {nets: [10.0.0.0/33]}}]", &["[invalid-cidr]", "10.0.0.0/33"]),
    ("  ingress: [{action: Allow, source: {nets: [10.0.0.1/8]}}]", &["[invalid-cidr]", "10.0.0.0/8"]),
    ("  ingress: [{action: Allow, source: {nets: ['$(reboot)']}}]", &["[invalid-cidr]"]),
    ("  ingress: [{action: Allow, protocol: TCP, destination: {ports: [0]}}]", &["[invalid-port]"]),
    ("  ingress: [{action: Allow, protocol: TCP, destination: {ports: [65536]}}]", &["[invalid-port]"]),
    ("  ingress: [{action: Allow, protocol: TCP, destination: {ports: ['90:80']}}]", &["[invalid-port]"]),
    ("  ingress: [{action: Allow, protocol: TCP, destination: {ports: [-1]}}]", &["[invalid-port]"]),
    ("  ingress: [{action: Allow, protocol: XTP}]", &["[invalid-protocol]"]),
    ("  ingress: [{action: Permit}]", &["[invalid-value]", "`Permit`", "`Allow`"]),
    ("  ingress: [{action: Allow, source: {serviceAccounts: {names: ['a\"; reboot']}}}]", &["[invalid-name]"]),
    ("  ingress: [{action: Allow, source: {ports: [80]}}]", &["[ports-need-protocol]"]),
    ("  ingress: {action: Allow}", &["[wrong-type]", "expected a list, found a mapping"]),
    ("  tier: nowhere", &["[unknown-tier]", "`nowhere`"]),
    ("  selector: all()\n  selector: has(a)", &["[duplicate-field]", "first here"]),
];

#[test]
fn a_bad_policy_is_refused() {
    let place = Place::new();
    for (spec, parts) in SPECS {
        place.write("bad.yaml", format!("{POLICY}{spec}\n"));
        says(&place.refused(&["bad.yaml"]), parts, spec);
    }
}

/// Whole texts, their file's name, and what is to be told.
#[rustfmt::skip]
const TEXTS: &[(&str, &[u8], &[&str])] = &[
    ("empty.yaml", b"", &["[no-objects]", "empty.yaml", "leave it out"]),
    ("empty.json", b"", &["[no-objects]"]),
    ("comments.yaml", b"# nothing\n---\n# more of it\n", &["[no-objects]"]),
    ("blank.json", b" \n\n", &["[no-objects]"]),
    ("latin.yaml", b"a: 1\nb: caf\xe9\n", &["[not-utf-8]", "line 2", "save it as UTF-8"]),
    ("utf16.yaml", b"\xff\xfea\0:\0", &["[not-utf-8]", "line 1"]),
    ("nul.yaml", b"apiVersion: v1\nkind: Na\0mespace\nmetadata: {name: a}\n", &["nul.yaml:"]),
    ("nul.json", b"{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\\u0000b\"}}", &["[invalid-name]"]),
    ("lone.json", b"{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\\ud800b\"}}", &["[json-syntax]", "lone.json:1:"]),
    ("cut.json", b"{\"apiVersion\": \"v1\", \"kind\"", &["[json-syntax]", "cut short"]),
    ("alias.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: *a}\n", &["[yaml-syntax]", "has no anchor"]),
    ("name-line.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: \"a\\n-A pal-x\"}\n", &["[invalid-name]"]),
    ("name-shell.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: $(reboot)}\n", &["[invalid-name]", "$(reboot)"]),
    ("name-quote.yaml", b"apiVersion: v1\nkind: Node\nmetadata: {name: 'a\"b'}\n", &["[invalid-name]"]),
    ("name-dots.yaml", b"apiVersion: v1\nkind: Node\nmetadata: {name: ../../etc}\n", &["[invalid-name]"]),
    ("name-letters.yaml", b"apiVersion: v1\nkind: Node\nmetadata: {name: \xd1\x8b}\n", &["[invalid-name]"]),
    ("label.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {k: \"v\\n$(x)\"}}\n", &["[invalid-label]"]),
    ("twice.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {k: x}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {k: z}}\n", &["[duplicate-object]", "twice.yaml:2:", "twice.yaml:6:"]),
    ("kind.yaml", b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolice\nmetadata: {name: a}\n", &["[unsupported-kind]", "did you mean `GlobalNetworkPolicy`?"]),
    ("list.yaml", b"- a\n- b\n", &["[not-an-object]", "`items`"]),
    ("host.yaml", b"apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: a, labels: {projectcalico.org/namespace: shop}}\nspec: {node: n1, interfaceName: '*'}\n", &["[invalid-label]", "host.yaml:3:30", "`projectcalico.org/namespace`", "in no namespace"]),
    ("profile.yaml", b"apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: a}\nspec: {labelsToApply: {projectcalico.org/namespace: shop}}\n", &["[invalid-label]", "`projectcalico.org/namespace`"]),
    ("helm.yaml", b"apiVersion: v1\nkind: {{ .Values.kind }}\n", &["Helm template"]),
];

#[test]
fn a_misspelt_protocol_is_told_once() {
    let place = Place::new();
    place.write(
        "bad.yaml",
        format!(
            "{POLICY}  ingress: [{{action: Allow, protocol: XTP, destination: {{ports: [80]}}}}]\n"
        ),
    );

    says(
        &place.refused(&["bad.yaml"]),
        &["[invalid-protocol]", "1 error;"],
        "XTP",
    );
}

#[test]
fn a_bad_text_is_refused() {
    let place = Place::new();
    for (name, text, parts) in TEXTS {
        place.write(name, text);
        says(&place.refused(&[name]), parts, name);
    }
}

#[test]
fn two_live_pods_with_one_address_are_refused() {
    let place = Place::new();
    let pod = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: \
             {{nodeName: node-a}}\nstatus: {{phase: Running, podIP: 192.0.2.9, podIPs: [{{ip: \
             192.0.2.9}}]}}\n"
        )
    };
    place.write("pods.yaml", pod("one") + &pod("two"));

    says(
        &place.refused(&["pods.yaml"]),
        &["[duplicate-address]", "shop/one", "shop/two"],
        "pods",
    );
}

/// YAML that grows without bound once aliases, or merges of maps, are put in.
fn expansions() -> [String; 2] {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut merges = "a0: &a0 {k0: x, l0: x}\n".to_owned();

    for level in 1..40 {
        let before = level - 1;
        let _ = writeln!(
            aliases,
            "a{level}: &a{level} [{}]",
            vec![format!("*a{before}"); 9].join(", ")
        );
        let _ = writeln!(
            merges,
            "a{level}: &a{level} {{<<: [*a{before}, *a{before}], k{level}: *a{before}, l{level}: \
             *a{before}}}"
        );
    }

    [aliases, merges]
}

#[test]
fn bombs_are_refused_early() {
    let place = Place::new();
    let deep = 100_000;
    let [aliases, merges] = expansions();
    let blocks = (0..3_000).fold(String::new(), |text, depth| {
        text + &" ".repeat(depth) + "a:\n"
    });
    let pod = "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\", \
               \"namespace\": \"b\"}, \"spec\": ";
    let policy = "{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"GlobalNetworkPolicy\", \
                  \"metadata\": {\"name\": \"a\"}, \"spec\": ";

    let cases: Vec<(&str, String, &str)> = vec![
        (
            "flow.yaml",
            format!("a: {}", "[".repeat(deep)),
            "[nesting-too-deep]",
        ),
        (
            "closed.yaml",
            format!("a: {}{}", "[".repeat(deep), "]".repeat(deep)),
            "[nesting-too-deep]",
        ),
        ("maps.yaml", "{a: ".repeat(deep), "[nesting-too-deep]"),
        (
            "keys.yaml",
            format!("a: {}", "{? ".repeat(deep)),
            "[nesting-too-deep]",
        ),
        ("block.yaml", blocks, "[nesting-too-deep]"),
        ("dashes.yaml", "- ".repeat(deep), "[nesting-too-deep]"),
        (
            "open.json",
            format!("{pod}{}", "[".repeat(deep)),
            "[json-syntax]",
        ),
        (
            "policy.json",
            format!("{policy}{}1{}}}", "{\"a\": ".repeat(deep), "}".repeat(deep)),
            "[nesting-too-deep]",
        ),
        ("aliases.yaml", aliases, "[alias-expansion]"),
        ("merges.yaml", merges, "[alias-expansion]"),
        (
            "loop.yaml",
            "apiVersion: v1\nkind: Pod\nspec: &a {b: *a}\n".to_owned(),
            "[alias-expansion]",
        ),
        (
            "documents.yaml",
            "---\na\n".repeat(deep),
            "more than 1000 errors",
        ),
        ("values.json", "1 ".repeat(deep), "more than 1000 errors"),
        (
            "selector.yaml",
            format!("{POLICY}  selector: \"{}has(a)\"\n", "(".repeat(deep)),
            "[selector-syntax]",
        ),
        (
            "negation.yaml",
            format!("{POLICY}  selector: \"{}has(a)\"\n", "!".repeat(deep)),
            "[selector-syntax]",
        ),
    ];
    for (name, text, part) in cases {
        place.write(name, text);
        says(&place.refused(&[name]), &[part, name], name);
    }
}

/// Starts the program with limits on its address space and on the processor time that it takes. A
/// busy machine makes neither larger.
pub(crate) fn bounded(directory: &Path, words: &str) -> Outcome {
    limited(directory, words, 2_000_000)
}

/// The same, with so many kilobytes.
pub(crate) fn limited(directory: &Path, words: &str, kilobytes: usize) -> Outcome {
    let script = format!("ulimit -v {kilobytes}; ulimit -t 120; exec timeout 3600 \"$0\" {words}");
    let output = command("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_palisade")])
        .current_dir(directory)
        .output()
        .expect("sh starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");

    Outcome {
        status: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[test]
fn huge_files_are_refused_in_bounded_memory_and_time() {
    let place = Place::new();
    let zeros = fs::File::create_new(place.path().join("zeros.yaml")).expect("a file");
    zeros.set_len(200 << 20).expect("a sparse file");
    place.write(
        "garbage.yaml",
        [vec![b'a'; 1 << 20], vec![0xfe; 1]].concat(),
    );

    let garbage = fs::OpenOptions::new()
        .append(true)
        .open(place.path().join("garbage.yaml"))
        .expect("a file");
    garbage.set_len(200 << 20).expect("a sparse file");
    place.write("zeros.json", "");
    fs::OpenOptions::new()
        .append(true)
        .open(place.path().join("zeros.json"))
        .expect("a file")
        .set_len(200 << 20)
        .expect("a sparse file");

    let before = place.names();
    for (name, part) in [
        ("zeros.yaml", "[too-large]"),
        ("garbage.yaml", "[not-utf-8]"),
        ("zeros.json", "[json-syntax]"),
    ] {
        let outcome = bounded(place.path(), &format!("render {name} --out old"));
        is_refusal(&outcome, name);
        says(&outcome.stderr, &[part, name], name);
        assert!(outcome.stderr.len() < 10_000, "{name}: a long excerpt");
    }

    place.is_untouched(&before, "huge files");
}

#[test]
#[ignore = "takes half a minute in a debug build"]
fn a_document_of_too_many_values_is_refused_in_bounded_memory() {
    let place = Place::new();
    place.write("dashes.yaml", "- a\n".repeat(15 << 20));
    let outcome = bounded(place.path(), "render dashes.yaml --out old");
    is_refusal(&outcome, "dashes");
    says(
        &outcome.stderr,
        &["[too-large]", "dashes.yaml:4194304:", "split it"],
        "dashes",
    );
}

#[test]
fn a_set_beyond_the_limit_is_refused() {
    let place = Place::new();
    let nets = (0..=1u32 << 20).map(|index| std::net::Ipv4Addr::from((10 << 24) + 2 * index));
    let mut text = r#"{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet", "metadata": {"name": "big", "labels": {"a": "b"}}, "spec": {"nets": ["#.to_owned();
    for (index, net) in nets.enumerate() {
        let _ = write!(text, "{}\"{net}/32\"", if index == 0 { "" } else { "," });
    }
    place.write("big.json", text + "]}}");
    place.write(
        "policy.yaml",
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: \
         all}\nspec: {ingress: [{action: Allow, source: {selector: a == 'b'}}]}\n",
    );
    let before = place.names();
    let outcome = bounded(
        place.path(),
        &format!("render {} big.json policy.yaml --out new", cluster()),
    );
    is_refusal(&outcome, "a big set");
    says(
        &outcome.stderr,
        &["[set-too-large]", "1048577 members", "larger prefixes"],
        "a big set",
    );
    place.is_untouched(&before, "a big set");
}

#[test]
fn paths_that_cannot_be_read_are_refused() {
    let place = Place::new();
    let home = place.path();
    fs::create_dir_all(home.join("dangling")).expect("a directory");
    symlink("nowhere.yaml", home.join("dangling/a.yaml")).expect("a link");
    fs::create_dir_all(home.join("lost")).expect("a directory");
    symlink("nowhere", home.join("lost/policies")).expect("a link");
    symlink("round.yaml", home.join("round.yaml")).expect("a link");
    fs::create_dir_all(home.join("pipe")).expect("a directory");
    assert!(
        command("mkfifo")
            .arg(home.join("pipe/a.yaml"))
            .status()
            .expect("mkfifo")
            .success()
    );
    fs::create_dir_all(home.join("latin")).expect("a directory");
    place.write("latin/\u{1b}[31m\n.yaml", b"\xff");

    let cases = [
        ("nothing", "check the path"),
        ("dangling", "dangling/a.yaml"),
        ("lost", "lost/policies"),
        ("round.yaml", "cannot read `round.yaml`"),
        ("pipe", "neither a file nor a directory"),
        ("/proc/self/mem", "cannot read `/proc/self/mem`"),
        ("latin", "[not-utf-8]"),
    ];
    for (path, part) in cases {
        let told = place.refused(&[path]);
        says(&told, &[part], path);
        assert!(
            !told.contains('\u{1b}'),
            "{path}: a file's name reaches the terminal:\n{told}"
        );
    }
}

#[test]
fn directories_that_lead_back_are_read_once() {
    let place = Place::new();
    let home = place.path();
    place.write("all/policy.yaml", format!("{POLICY}  selector: all()\n"));
    symlink("..", home.join("all/up")).expect("a link");
    symlink(".", home.join("all/here")).expect("a link");
    symlink("policy.yaml", home.join("all/again.yaml")).expect("a link");
    let outcome = run(home, &["check", "all"]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    says(&outcome.stderr, &["valid: 1 policies"], "all");
}

/// A volume that is not mounted and a clone that broke off look so, and policy of nothing allows
/// everything.
#[test]
fn directories_without_manifests_are_refused() {
    let place = Place::new();
    let home = place.path();
    place.write("notes/readme.txt", "none");
    place.write("hidden/.git/a.yaml", format!("{POLICY}  selector: all()\n"));
    place.write(
        "bundle/palisade.json",
        r#"{"formatVersion": 1, "nodes": [], "files": {}}"#,
    );
    fs::create_dir_all(home.join("empty/sub")).expect("a directory");
    place.write(
        "full/sub/policy.yaml",
        format!("{POLICY}  selector: all()\n"),
    );
    for path in ["notes", "hidden", "bundle", "empty", "empty/sub"] {
        let told = place.refused(&[path, "full"]);
        says(
            &told,
            &[
                "[no-objects]",
                &format!("there is no manifest in the directory `{path}`"),
                "is it mounted",
            ],
            path,
        );
    }
    for paths in [
        "full full",
        "full/sub full",
        "full full/sub",
        "full/sub/policy.yaml full",
    ] {
        let outcome = run(
            home,
            &[
                &["render", &cluster(), "--out", "other"],
                paths.split(' ').collect::<Vec<_>>().as_slice(),
            ]
            .concat(),
        );
        assert!(
            !outcome.stderr.contains("no manifest"),
            "{paths}: {}",
            outcome.stderr
        );
    }
}

/// A policy that is left out may open what it closes, so a hidden one is not left out in silence.
#[test]
fn hidden_manifests_are_not_passed_over_in_silence() {
    let place = Place::new();
    let policy = format!("{POLICY}  selector: all()\n");
    place.write("all/policy.yaml", policy.replace("name: ", "name: first-"));

    for (hidden, is_told) in [
        (".policy.yaml", true),
        (".b.yml", true),
        (".pre-commit-config.yaml", false),
        (".git/policy.yaml", false),
    ] {
        let path = format!("all/{hidden}");
        let text = if hidden.contains("pre-commit") {
            "repos: []\n"
        } else {
            policy.as_str()
        };
        place.write(&path, text);
        let outcome = run(place.path(), &["check", "all"]);
        assert_eq!(outcome.status, 0, "{hidden}: {}", outcome.stderr);
        assert_eq!(
            outcome.stderr.contains("[hidden-manifests]"),
            is_told,
            "{hidden}: {}",
            outcome.stderr
        );
        fs::remove_file(place.path().join(&path)).expect("removed");
    }
}

/// The index of a bundle is passed over for what it says, not for its name.
#[test]
fn a_policy_in_a_file_with_the_name_of_an_index_is_read() {
    let place = Place::new();
    let policy = r#"{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "p"}, "spec": {"selector": "=="}}"#;
    place.write("policy/palisade.json", policy);
    place.write(
        "policy/index/palisade.json",
        r#"{"formatVersion": 1, "nodes": [], "files": {}}"#,
    );
    says(
        &place.refused(&["policy"]),
        &["[selector-syntax]", "policy/palisade.json"],
        "policy",
    );

    for (name, text) in [
        ("empty", "{}"),
        ("both", r#"{"formatVersion": 1, "kind": "Pod"}"#),
        ("yaml", "formatVersion: 1"),
        ("bad", "{"),
    ] {
        place.write(&format!("{name}/palisade.json"), text);
        let told = place.refused(&[name]);
        assert!(
            !told.contains("no manifest") && told.contains(&format!("{name}/palisade.json")),
            "{name}: {told}"
        );
    }
}

#[test]
fn output_places_that_cannot_be_used_are_refused() {
    let place = Place::new();
    let home = place.path();
    place.write("file", "dear");
    place.write("full/letter.txt", "dear");
    symlink("nowhere", home.join("link")).expect("a link");

    let before = place.names();
    for (out, part) in [
        ("file", "[not-a-bundle]"),
        ("full", "[not-a-bundle]"),
        ("file/below", "file"),
        ("file/far/below", "file"),
        ("link", "[not-a-bundle]"),
        ("fresh/..", "[not-a-bundle]"),
        ("/proc/palisade/bundle", "[unwritable]"),
        ("/", "[not-a-bundle]"),
    ] {
        let outcome = run(home, &["render", &cluster(), "--out", out]);
        is_refusal(&outcome, out);
        says(&outcome.stderr, &[part], out);
        place.is_untouched(&before, out);
    }

    assert_eq!(
        fs::read_to_string(home.join("full/letter.txt")).expect("a letter"),
        "dear"
    );
    assert_eq!(files_below(&home.join("full")).len(), 1);
}

/// On a file system of 16 KiB, in namespaces of its own. Then lists what is there.
const FULL_DISK: &str = r#"mount -t tmpfs -o size=16k tmpfs "$1" && cd "$1" && mkdir kept && echo dear > kept/letter &&
    "$0" render "$2" --out new/deep; echo "status $?"; cd "$1" && find . -mindepth 1 | sort"#;

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let place = Place::new();
    fs::create_dir(place.path().join("disk")).expect("a directory");
    let output = command("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            FULL_DISK,
            env!("CARGO_BIN_EXE_palisade"),
        ])
        .args([place.path().join("disk"), PathBuf::from(cluster())])
        .output()
        .expect("unshare starts");

    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(stdout, "status 2\n./kept\n./kept/letter\n", "{stderr}");
    says(
        &stderr,
        &["[unwritable]", "No space left", "nothing was changed"],
        "a full disk",
    );
}

#[rustfmt::skip]
const TEMPLATES: &[(&str, &str, &str)] = &[
    ("filter.rules.hbs", "{{#if", "[invalid-template]"),
    ("filter.rules.hbs", "{{secret}}", "[invalid-template]"),
    ("filter.rules.hbs", "", "every part of the script"),
    ("filter.rules.hbs", "*filter\n{{declarations}}\n{{hooks}}\nCOMMIT\n", "every part of the script"),
    ("filter.rules.hbs", "*filter\n{{declarations}}\n{{rules}}\n{{hooks}}\n", "every part of the script"),
    ("filter.rules.hbs", "{{declarations}}\n{{rules}}\n{{hooks}}\nCOMMIT\n", "every part of the script"),
    ("filter.rules.hbs", "*filter\n{{rules}}\n{{declarations}}\n{{hooks}}\nCOMMIT\n", "every part of the script"),
    ("filter.rules.hbs", "*filter\n{{declarations}}\n{{rules}}\n# {{hooks}}\nCOMMIT\n", "every part of the script"),
    ("filter.rules.hbs", "*filter\n{{declarations}}\n# {{rules}}\n{{rules}}\n{{hooks}}\nCOMMIT\n", "every part of the script"),
    ("filter.rules.hbs", "*filter\n{{declarations}}\n{{rules}}\n{{hooks}}\n{{hooks}}\nCOMMIT\n", "every part of the script"),
    ("filter.rules.hbs", "*filter\r\n{{declarations}}\r\n{{rules}}\r\n{{hooks}}\r\nCOMMIT\r\n", "every part of the script"),
    ("filter.rules.hbs", "{{> filter.rules.hbs}}", "partials"),
    ("filter.rules.hbs", "{{~#* inline \"a\"}}{{> a}}{{/inline}}{{> a}}", "partials"),
    ("sets.ipset.hbs", "# no sets\n", "every part of the script"),
    ("sets.ipset.hbs", "{{sets}}{{sets}}\n", "every part of the script"),
];

#[test]
fn templates_that_cannot_be_used_are_refused() {
    let place = Place::new();
    for (index, (file, text, part)) in TEMPLATES.iter().enumerate() {
        let directory = format!("t{index}");
        place.write(&format!("{directory}/{file}"), text);
        says(
            &place.refused(&["--templates", &directory]),
            &[part, "templates/README.md"],
            text,
        );
    }

    place.write("none/letter.txt", "dear");
    says(
        &place.refused(&["--templates", "none"]),
        &["holds neither"],
        "no template",
    );
    says(
        &place.refused(&["--templates", "nowhere"]),
        &["[unreadable]", "takes a directory"],
        "no directory",
    );
    place.write("latin/sets.ipset.hbs", b"\xff{{sets}}\n");

    says(
        &place.refused(&["--templates", "latin"]),
        &["[unreadable]"],
        "no UTF-8",
    );
}

#[test]
fn a_template_of_ones_own_is_used() {
    let place = Place::new();
    place.write("t/sets.ipset.hbs", "# mine\n{{sets}}\n");
    let outcome = run(
        place.path(),
        &["render", &cluster(), "--out", "new", "--templates", "t"],
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);

    let files = files_below(&place.path().join("new"));
    let sets = files
        .iter()
        .filter(|(name, _)| name.ends_with("sets.ipset"));
    assert!(
        sets.into_iter()
            .all(|(_, text)| text.starts_with("# mine\n# "))
    );
}

#[test]
fn configurations_that_cannot_be_used_are_refused() {
    let place = Place::new();
    for (text, parts) in [
        (
            "endpointToHots: drop\n",
            ["endpointToHots", "endpointToHost"],
        ),
        (
            "endpointToHost: reject\n",
            [
                "`reject` is no value of `endpointToHost`",
                "write `accept` or `drop`",
            ],
        ),
        ("unknownEndpoint: [drop]\n", ["config.yaml", "line 1"]),
        ("- a\n", ["config.yaml", "render --help"]),
        ("a: [\n", ["config.yaml", "render --help"]),
        (
            "hookPosition: 'he\\nad'\n",
            ["is no value of `hookPosition`", "`head` or `tail`"],
        ),
        ("templates: nowhere\n", ["nowhere", "takes a directory"]),
    ] {
        place.write("config.yaml", text);
        says(&place.refused(&["--config", "config.yaml"]), &parts, text);
    }

    place.write("latin.yaml", b"\xff");
    says(
        &place.refused(&["--config", "latin.yaml"]),
        &["[invalid-config]"],
        "no UTF-8",
    );

    says(
        &place.refused(&["--config", "nowhere.yaml"]),
        &["nowhere.yaml", "PALISADE_CONFIG"],
        "no file",
    );
}

/// Twelve mistakes, one of each sort.
const TWELVE: &str = "\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: twelve, namespace: shop, labels: {-a: b}}
spec:
  tier: nowhere
  selectr: all()
  selector: app == web
  order: first
  types: [Outgress]
  ingress:
  - action: Permit
  - {action: Allow, protocol: XTP}
  - {action: Allow, protocol: TCP, destination: {ports: [0]}}
  - {action: Allow, source: {nets: [10.0.0.1/8]}}
  - {action: Allow, source: {selector: has(a}}
  - {action: Allow, source: {ports: [80]}}
";

#[test]
fn all_problems_are_listed_at_once() {
    let place = Place::new();
    place.write("bad.yaml", TWELVE);
    let told = place.refused(&["bad.yaml"]);
    let heads: Vec<String> = (told.lines().zip(told.lines().skip(1)))
        .filter(|(head, _)| head.starts_with("error"))
        .map(|(head, place)| format!("{} {}", place.trim_start_matches([' ', '-', '>']), head))
        .collect();

    let expected = "\
bad.yaml:3:52 error[invalid-label]: `-a` is no valid label key
bad.yaml:5:9 error[unknown-tier]: there is no tier `nowhere`
bad.yaml:6:3 error[unknown-field]: unknown field `selectr`
bad.yaml:7:20 error[selector-syntax]: expected a quoted value, found `web`
bad.yaml:8:10 error[wrong-type]: expected a number, found a string
bad.yaml:9:11 error[invalid-value]: `Outgress` is none of `Egress`, `Ingress`
bad.yaml:11:13 error[invalid-value]: `Permit` is none of `Allow`, `Deny`, `Log`, `Pass`
bad.yaml:12:31 error[invalid-protocol]: `XTP` is no protocol
bad.yaml:13:58 error[invalid-port]: `0` is no port
bad.yaml:14:37 error[invalid-cidr]: `10.0.0.1/8` has bits set behind its prefix length
bad.yaml:15:45 error[selector-syntax]: expected `)`, found the end
bad.yaml:16:38 error[ports-need-protocol]: ports need a protocol that has them";
    assert_eq!(heads.join("\n"), expected);

    assert!(told.ends_with("12 errors; nothing was written\n"), "{told}");
}
