//! Scripts that are changed are found out: mutants of golden bundles, judged by `verify` and, packet by packet, by the interpreter.
#![expect(clippy::disallowed_methods, reason = "tests read files")]
#![expect(clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic, and says what it counted")]

use std::fs;
use std::path::Path;

use palisade::analysis::evaluate::Evaluator;
use palisade::analysis::netfilter::{Kernel, TableTexts, Texts};
use palisade::analysis::space::{Cuts, Traffic};
use palisade::analysis::{Flow, Hook, Packet, State, Verdict, verify};
use palisade::diagnostic::Diagnostics;
use palisade::options::Options;
use palisade::policy::Staging;
use palisade::resolve;
use palisade::text::Files;

use crate::palisade::root;

/// Bundles whose scripts are changed, and the node.
const CASES: [(&str, &str); 2] = [("dual-stack", "n1"), ("several-nodes", "n1")];

/// Of all mutants of a script, every so many-th is tried.
const STRIDE: usize = 7;

/// Of one node: sets, and the filter tables.
type Scripts = [String; 3];

#[derive(Debug, Default)]
struct Counts {
    mutants: usize,
    refused: usize,
    changed: usize,
    equal: usize,
}

#[test]
fn whatever_changes_a_verdict_is_found() {
    let mut counts = Counts::default();
    for (case, node) in CASES {
        check(&root().join("golden").join(case), node, &mut counts);
    }
    println!("{counts:?}, none missed");
    assert!(counts.changed > 20 && counts.equal > 0 && counts.refused > 20, "{counts:?}");
}

fn check(case: &Path, node: &str, counts: &mut Counts) {
    let mut files = Files::default();
    for file in ["manifest.yaml", "inventory.yaml"] {
        files.add(file, fs::read_to_string(case.join(file)).expect("a file")).expect("short");
    }
    let mut found = Diagnostics::default();
    let input = palisade::read(&files, Staging::Proposed, &mut found);
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
    let evaluator = Evaluator::of(&resolved);
    let id = resolved.inventory.find_node(node).expect("the node");
    let options = Options::default();
    let folder = case.join("bundle/nodes").join(node);
    let scripts = ["sets.ipset", "filter.v4.rules", "filter.v6.rules"].map(|file| fs::read_to_string(folder.join(file)).expect("a script"));
    let original = load(&scripts).expect("it loads");
    for mutant in mutants(&scripts) {
        counts.mutants += 1;
        let Some(kernel) = load(&mutant) else {
            counts.refused += 1;
            continue;
        };
        let is_changed = !kernel.misplaced(true).is_empty() || differ(&original, &kernel);
        let verification = verify::of_kernel(&evaluator, id, &options, &kernel);
        assert_eq!(is_changed, !verification.differences.is_empty(), "{}:\n{}", case.display(), first_change(&scripts, &mutant));
        *(if is_changed { &mut counts.changed } else { &mut counts.equal }) += 1;
    }
}

fn load([sets, v4, v6]: &Scripts) -> Option<Kernel> {
    let table = |filter| TableTexts { raw: None, mangle: None, filter };
    Kernel::load(&Texts { sets, v4: table(v4), v6: table(v6) }).ok()
}

/// Every line dropped, doubled and swapped with the next, and every word changed.
fn mutants(scripts: &Scripts) -> impl Iterator<Item = Scripts> + '_ {
    let all = (0..scripts.len()).flat_map(move |script| {
        let lines: Vec<&str> = scripts[script].lines().collect();
        let mut texts = Vec::new();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let with = |new: &[&str]| {
                let behind = lines.iter().skip(at + 1);
                lines.iter().take(at).chain(new).chain(behind).map(|line| format!("{line}\n")).collect::<String>()
            };
            texts.extend([with(&[]), with(&[line, line])]);
            if let Some(next) = lines.get(at + 1) {
                let mut swapped = lines.clone();
                (swapped[at], swapped[at + 1]) = (*next, *line);
                texts.push(swapped.iter().map(|line| format!("{line}\n")).collect());
            }
            texts.extend(changed_words(line, &lines).iter().map(|line| with(&[line.as_str()])));
        }
        texts.into_iter().map(move |text| {
            let mut mutant = scripts.clone();
            mutant[script] = text;
            mutant
        })
    });
    all.step_by(STRIDE)
}

/// The line with one word changed, in every way.
fn changed_words(line: &str, lines: &[&str]) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut changed = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let others: Vec<String> = match *word {
            "ACCEPT" | "DROP" | "RETURN" => ["ACCEPT", "DROP", "RETURN"].map(str::to_owned).to_vec(),
            "-g" => vec!["-j".to_owned()],
            "-j" => vec!["-g".to_owned()],
            "src" => vec!["dst".to_owned()],
            "dst" => vec!["src".to_owned()],
            "-s" => vec!["-d".to_owned()],
            "-d" => vec!["-s".to_owned()],
            "tcp" => vec!["udp".to_owned(), "udplite".to_owned()],
            "udp" => vec!["tcp".to_owned()],
            "RELATED,ESTABLISHED" | "ESTABLISHED,RELATED" => vec!["NEW".to_owned(), "ESTABLISHED".to_owned()],
            "INVALID" => vec!["NEW".to_owned()],
            "-m" | "-p" => vec![],
            "!" => vec![String::new()],
            "--match-set" => vec!["! --match-set".to_owned()],
            "--dports" => vec!["--sports".to_owned(), "! --dports".to_owned()],
            "lo" => vec!["eth0".to_owned()],
            word if word.starts_with("pal-") => lines
                .iter()
                .flat_map(|line| line.split(' '))
                .filter(|other| other.trim_start_matches(':').starts_with("pal-") && *other != word)
                .map(|other| other.trim_start_matches(':').to_owned())
                .take(3)
                .collect(),
            word => match word.parse::<u16>() {
                Ok(number) => vec![(number.wrapping_add(1)).to_string(), (number.wrapping_sub(1)).to_string()],
                Err(_) if word.contains('.') || word.contains("::") => vec![format!("{word}1"), word.replacen('1', "2", 1)],
                Err(_) => vec![],
            },
        };
        for other in others {
            let mut words: Vec<&str> = words.clone();
            words[at] = &other;
            changed.push(words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" "));
        }
    }
    changed
}

/// Whether any packet is decided otherwise: one of each kind that either of both tells apart.
fn differ(left: &Kernel, right: &Kernel) -> bool {
    let mut cuts = Cuts::default();
    [left, right].into_iter().for_each(|kernel| kernel.cut(&mut cuts));
    let traffic = Traffic::of(&cuts);
    let examples: Vec<_> = traffic.classes(Traffic::ALL).filter_map(palisade::analysis::space::Class::example).collect();
    let mut addresses: Vec<std::net::IpAddr> = ["192.0.2.77", "2001:db8::77"].map(|text| text.parse().expect("an address")).to_vec();
    let lists = [left, right].into_iter().flat_map(Kernel::prefixes).flatten();
    addresses.extend(lists.flat_map(|net| {
        [palisade::analysis::space::Range::of(net).first_address(), palisade::analysis::space::Range::of(net).last_address()]
    }));
    addresses.sort_unstable();
    addresses.dedup();
    let kinds = |address: &std::net::IpAddr| -> Vec<bool> {
        [left, right]
            .into_iter()
            .flat_map(Kernel::prefixes)
            .map(|list| list.iter().any(|net| net.holds(*address)))
            .chain([address.is_ipv4()])
            .collect()
    };
    let mut known = std::collections::BTreeSet::new();
    addresses.retain(|address| known.insert(kinds(address)));
    let own = |kernel: &Kernel, address| is_local(kernel, address);
    let pairs = addresses.iter().flat_map(|source| addresses.iter().map(move |destination| (*source, *destination)));
    let pairs = pairs.filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
    let mut packets = pairs.flat_map(|(source, destination)| {
        examples.iter().flat_map(move |(protocol, ports, message)| {
            let icmp = message.filter(|_| (*protocol == palisade::net::Protocol::ICMP) == source.is_ipv4());
            let flow = Flow { source, destination, protocol: *protocol, ports: *ports, icmp };
            hooks().into_iter().flat_map(move |hook| {
                [State::New, State::Established, State::Related, State::Invalid].map(|state| Packet {
                    flow,
                    original: None,
                    hook: hook.clone(),
                    state,
                })
            })
        })
    });
    packets.any(|packet| {
        let is_possible = match packet.hook {
            Hook::Forward { .. } => true,
            Hook::Input { .. } => !own(left, packet.flow.destination),
            Hook::Output { .. } => !own(left, packet.flow.source),
        };
        is_possible && left.run(&packet).verdict != right.run(&packet).verdict
    })
}

/// An endpoint of the node: what it sends to a known connection is accepted.
fn is_local(kernel: &Kernel, address: std::net::IpAddr) -> bool {
    let flow = Flow { source: address, destination: address, protocol: palisade::net::Protocol::TCP, ports: None, icmp: None };
    let hook = Hook::Input { arrives: "eth0".to_owned() };
    kernel.run(&Packet { flow, original: None, hook, state: State::Established }).verdict == Verdict::Accept
}

fn hooks() -> [Hook; 4] {
    let eth0 = || "eth1".to_owned();
    [
        Hook::Forward { arrives: eth0(), leaves: eth0() },
        Hook::Input { arrives: eth0() },
        Hook::Input { arrives: "lo".to_owned() },
        Hook::Output { leaves: eth0() },
    ]
}

fn first_change(left: &Scripts, right: &Scripts) -> String {
    let pairs = left.iter().zip(right).filter(|(left, right)| left != right);
    pairs.map(|(left, right)| similar::TextDiff::from_lines(left, right).unified_diff().context_radius(1).to_string()).collect()
}

/// A template that adds a rule of its own: `render --verify` writes nothing and says `not-proven`.
#[test]
fn what_is_not_proven_is_not_written() {
    let place = tempfile::tempdir().expect("a directory");
    let template = fs::read_to_string(root().join("templates/filter.rules.hbs")).expect("the template");
    let changed = template.replace("COMMIT", "-I FORWARD 1 -j DROP\nCOMMIT");
    fs::write(place.path().join("filter.rules.hbs"), changed).expect("written");
    let out = place.path().join("bundle").display().to_string();
    let templates = place.path().display().to_string();
    let words = ["render", "--verify", "--templates", &templates, "--out", &out, "manifest.yaml", "inventory.yaml"].map(str::to_owned);
    let outcome = crate::palisade::run(&root().join("golden/several-nodes"), &words);
    assert_eq!(outcome.status, 2);
    assert!(outcome.stderr.contains("error[not-proven]"), "{}", outcome.stderr);
    assert!(!Path::new(&out).exists());
}
