//! A node: its kernel, its files, and others who have rules there too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use palisade::apply::{self, ApplyError, ApplyOutcome, ApplySettings, ApplyTarget, TargetBundle};
use palisade::bundle::BundleOnDisk;
use palisade::net::{Family, Protocol, State};
use palisade::netfilter::NodeKernel;
use palisade::observe::{self, IptablesBackend, ObservedKernel, TableScope, ToolSettings};
use palisade::options::ExtensionSet;
use palisade::packet::{Flow, Hook, Packet, PortPair, ReversePath, Verdict};
use palisade::plan::{self, DesiredKernel, PrintCache};
use palisade::ruleset::{
    KernelContents, ParsedMember, ParsedTable, RuleJump, RulePosition, RuleText, TableId, TableKind,
};
use palisade::runner::{ProcessRunner, ProcessSettings as Places, Runner};

use crate::palisade::{HANG, root};
use crate::tools;

/// Bundles of a node, and of the same one with other members and other policy.
pub(crate) const BEFORE: &str = "dual-stack";
pub(crate) const MOVED: &str = "several-nodes";
pub(crate) const OTHER: &str = "tier-order";
pub(crate) const HOST: &str = "host-pre-dnat";

/// Rules of Docker's and kube-proxy's kind.
const OTHERS: &str = "*nat\n:DOCKER - [0:0]\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -m addrtype \
                      --dst-type LOCAL -j DOCKER\n-A PREROUTING -j KUBE-SERVICES\n-A \
                      KUBE-SERVICES -p tcp --dport 80 -j RETURN\nCOMMIT\n*filter\n:DOCKER - \
                      [0:0]\n:DOCKER-USER - [0:0]\n:KUBE-FORWARD - [0:0]\n-A FORWARD -j \
                      DOCKER-USER\n-A FORWARD -o docker0 -j DOCKER\n-A FORWARD -j \
                      KUBE-FORWARD\n-A DOCKER-USER -j RETURN\n-A KUBE-FORWARD -m conntrack \
                      --ctstate INVALID -j DROP\n-A INPUT -i eth7 -j ACCEPT\nCOMMIT\n";
const SETS_OF_OTHERS: &str = "create KUBE-LOOP hash:ip,port,ip family inet\nadd KUBE-LOOP \
                              10.96.0.1,tcp:443,10.96.0.1\ncreate theirs hash:ip family inet\n";

/// A node.
pub(crate) struct World {
    pub(crate) build: IptablesBackend,
}

impl World {
    /// A node where others have rules.
    pub(crate) fn new(build: IptablesBackend) -> Self {
        let world = Self { build };
        world.tool("ipset", &["restore"], SETS_OF_OTHERS);
        for family in Family::BOTH {
            world.tool(&world.iptables(family, "-restore"), &["--noflush"], OTHERS);
        }
        world
    }

    /// Takes everything of palisade's away, and what else was changed in tables.
    pub(crate) fn clear(&self) {
        let tables = format!("{OTHERS}*raw\nCOMMIT\n*mangle\nCOMMIT\n");
        for family in Family::BOTH {
            self.tool(&self.iptables(family, "-restore"), &[], &tables);
        }

        let listed = self.tool("ipset", &["list", "-n"], "");
        let ours = listed.lines().filter(|name| name.starts_with("pal-"));
        self.tool(
            "ipset",
            &["restore"],
            &ours
                .map(|name| format!("destroy {name}\n"))
                .collect::<String>(),
        );
    }

    /// What runs processes and keeps files below `/run`.
    pub(crate) fn processes(&self) -> ProcessRunner {
        let [run_directory, state_directory] = ["/run/p/run", "/run/p/state"].map(PathBuf::from);
        ProcessRunner::new(Places {
            run_directory,
            state_directory,
            limit: HANG,
        })
    }

    pub(crate) fn settings(&self) -> ApplySettings {
        ApplySettings {
            backend: Some(self.build),
            wait: HANG,
            takes_over: false,
        }
    }

    /// Applies a golden case's bundle.
    pub(crate) fn apply(&self, case: &str) -> Result<ApplyOutcome, ApplyError> {
        self.apply_by(&mut self.processes(), case)
    }

    /// The same, where every effect goes through somebody.
    pub(crate) fn apply_by(
        &self,
        runner: &mut dyn Runner,
        case: &str,
    ) -> Result<ApplyOutcome, ApplyError> {
        apply::run(
            &mut ApplyTarget {
                runner,
                settings: self.settings(),
            },
            &wanted(case),
        )
    }

    /// What the kernel has of ours.
    pub(crate) fn observe(&self) -> ObservedKernel {
        observe::kernel(&mut self.processes(), self.tools(), TableScope::All)
            .expect("the kernel can be seen")
    }

    pub(crate) fn tools(&self) -> ToolSettings {
        ToolSettings {
            backend: self.build,
            lock_wait: 600,
        }
    }

    /// Fails unless the kernel holds what a bundle says, and nothing else of ours. The memory is
    /// asked only of rules that the tools print in their own way, which it has the digests of.
    pub(crate) fn holds(&self, case: &str) {
        let plan = self.plan(case, &self.observe());
        assert!(plan.steps.is_empty(), "{case} is not in force:\n{plan}");
    }

    /// Whether the kernel holds that now; it may be in between.
    pub(crate) fn is_held(&self, case: &str) -> bool {
        let seen = observe::kernel(&mut self.processes(), self.tools(), TableScope::All);
        seen.is_ok_and(|seen| self.plan(case, &seen).steps.is_empty())
    }

    fn plan(&self, case: &str, seen: &ObservedKernel) -> plan::Plan {
        plan::between(&wanted(case).desired, seen, &memory(), &self.tools())
    }

    /// Everything that is not ours, as the tools print it.
    pub(crate) fn others(&self) -> String {
        self.print_but("pal-")
    }

    /// Everything, as the tools print it.
    pub(crate) fn print(&self) -> String {
        self.print_but("# ")
    }

    /// Everything that is not ours, as both builds print it.
    pub(crate) fn others_of_both(&self) -> String {
        let builds = [self.build, self.build.other()];
        builds.map(|build| World { build }.others()).join("\n")
    }

    /// All lines without these words, and without what the kernel counted. A table of nothing but
    /// the kernel's chains is as good as none: the kernel keeps some that were looked at.
    fn print_but(&self, left_out: &str) -> String {
        let saves = Family::BOTH.map(|family| self.tool(&self.iptables(family, "-save"), &[], ""));
        let sets = self.tool("ipset", &["save"], "");
        let mut lines: Vec<String> = sets
            .lines()
            .filter(|line| !line.contains(left_out))
            .map(str::to_owned)
            .collect();
        lines.sort_unstable();

        for table in saves
            .iter()
            .flat_map(|text| text.split_inclusive("COMMIT\n"))
        {
            let kept = table
                .lines()
                .filter(|line| !line.contains(left_out) && !line.starts_with('#'));
            let kept: Vec<&str> = kept
                .map(|line| {
                    line.split_once(" [")
                        .filter(|_| line.starts_with(':'))
                        .map_or(line, |parts| parts.0)
                })
                .collect();
            let is_empty = !kept
                .iter()
                .any(|line| line.starts_with('-') || line.starts_with(':') && line.ends_with(" -"));
            lines.extend(kept.into_iter().filter(|_| !is_empty).map(str::to_owned));
        }

        lines.join("\n")
    }

    /// `iptables-nft`, with an ending.
    pub(crate) fn iptables(&self, family: Family, ending: &str) -> String {
        let tool = if family == Family::V4 {
            "iptables"
        } else {
            "ip6tables"
        };
        format!("{tool}-{}{ending}", self.build.label())
    }

    /// Runs a tool, which must go well.
    pub(crate) fn tool(&self, program: &str, words: &[&str], input: &str) -> String {
        match self.try_tool(program, words, input) {
            (true, said) => said,
            (false, said) => panic!("`{program} {}`: {said}", words.join(" ")),
        }
    }

    /// Runs a tool; whether it went well, and what it said.
    pub(crate) fn try_tool(&self, program: &str, words: &[&str], input: &str) -> (bool, String) {
        let input = {
            let mut file = tempfile::tempfile_in("/run").expect("a file");
            std::io::Write::write_all(&mut file, input.as_bytes()).expect("written");
            std::io::Seek::rewind(&mut file).expect("rewound");
            file
        };

        let output = tools::command(program)
            .args(words)
            .stdin(Stdio::from(input))
            .output()
            .expect("the tool starts");
        let said = if output.status.success() {
            output.stdout
        } else {
            output.stderr
        };

        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// Runs the program itself, with our directories and this build, to its end or until it is
    /// clear that it hangs.
    pub(crate) fn palisade(&self, words: &[&str]) -> (i32, String) {
        let command = self.command(words);
        let mut bounded = tools::command("timeout");
        bounded
            .args(["-k", "1", "3600"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null());

        let output = bounded.output().expect("palisade starts");
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code().expect("no signal"), text.concat())
    }

    /// Returns a command that runs the program, with our directories and this build.
    ///
    /// It waits for locks and tools as long as a test does, unless the words name another limit.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = tools::command(env!("CARGO_BIN_EXE_palisade"));
        command.args(words).args(["--backend", self.build.label()]);
        command.args(["--run-dir", "/run/p/run", "--state-dir", "/run/p/state"]);
        for limit in ["--timeout", "--lock-wait"]
            .iter()
            .filter(|limit| !words.contains(limit))
        {
            command.args([limit, "600"]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Verdicts of some packets, as the kernel's rules of ours stand now.
    pub(crate) fn verdicts(&self) -> BTreeMap<String, Verdict> {
        verdicts(&kernel_of(&self.observe()))
    }
}

/// What apply keeps in mind.
fn memory() -> PrintCache {
    let Ok(text) = std::fs::read_to_string("/run/p/run/memory.json") else {
        return PrintCache::default();
    };
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(value["memory"].clone()).expect("a memory")
}

/// The folder of a golden case's bundle.
pub(crate) fn bundle(case: &str) -> String {
    root()
        .join("golden")
        .join(case)
        .join("bundle")
        .display()
        .to_string()
}

/// The first node of a golden case.
pub(crate) fn wanted(case: &str) -> TargetBundle {
    let bundle = BundleOnDisk::open(&PathBuf::from(bundle(case))).expect("a bundle");
    let node = bundle.nodes().next().expect("a node").to_owned();
    TargetBundle::read(&bundle, &node, &ExtensionSet::default()).expect("scripts")
}

/// Verdicts of some packets by a bundle; of none where it is empty.
pub(crate) fn verdicts_of(case: Option<&str>) -> BTreeMap<String, Verdict> {
    let desired = case.map_or_else(DesiredKernel::default, |case| wanted(case).desired);
    verdicts(&kernel_of(&ObservedKernel {
        sets: desired.sets,
        tables: desired.tables,
        ..ObservedKernel::default()
    }))
}

/// Fails where a packet fares otherwise than by both of two states.
pub(crate) fn is_between(
    now: &BTreeMap<String, Verdict>,
    states: [&BTreeMap<String, Verdict>; 2],
    about: &str,
) {
    for (packet, verdict) in now {
        assert!(
            states
                .iter()
                .any(|state| state.get(packet) == Some(verdict)),
            "{about}: {packet} meets {verdict:?}"
        );
    }
}

pub(crate) fn kernel_of(observed: &ObservedKernel) -> NodeKernel {
    let mut sets = String::new();
    for (name, set) in &observed.sets {
        sets.push_str(&set.create_line(name));
        set.members
            .iter()
            .for_each(|member: &ParsedMember| sets.push_str(&format!("add {name} {member}\n")));
    }

    let table = |family, kind| {
        observed
            .tables
            .get(&TableId { family, kind })
            .map(|table| text(table, kind))
    };
    let empty = || "*filter\nCOMMIT\n".to_owned();
    let texts: Vec<[Option<String>; 3]> = Family::BOTH
        .map(|family| TableKind::OF_BUNDLES.map(|kind| table(family, kind)))
        .into();
    let filters: Vec<String> = texts
        .iter()
        .map(|family| family[2].clone().unwrap_or_else(empty))
        .collect();
    let mut files = vec![
        ("sets.ipset", sets.as_str()),
        ("filter.v4.rules", &filters[0]),
        ("filter.v6.rules", &filters[1]),
    ];

    for (at, names) in [
        ["raw.v4.rules", "mangle.v4.rules"],
        ["raw.v6.rules", "mangle.v6.rules"],
    ]
    .into_iter()
    .enumerate()
    {
        let early = texts[at].iter().zip(names).take(2);
        files.extend(early.filter_map(|(text, name)| Some((name, text.as_deref()?))));
    }

    let holdings = KernelContents::of_kernel(files);
    NodeKernel::of_holdings(
        &holdings.unwrap_or_else(|error| panic!("{error:?}\n{sets}\n{}", filters.concat())),
    )
}

fn text(table: &ParsedTable, kind: TableKind) -> String {
    let mut text = format!("*{}\n", kind.label());
    let chains = reachable(table);
    chains
        .iter()
        .for_each(|(name, _)| text.push_str(&format!(":{name} - [0:0]\n")));

    for hook in &table.hooks {
        let verb = if hook.place == RulePosition::Head || hook.place == RulePosition::Number(1) {
            "-I"
        } else {
            "-A"
        };
        let place = if verb == "-I" { " 1" } else { "" };
        text.push_str(&format!(
            "{verb} {}{place} {}\n",
            hook.from,
            hook.rule.text()
        ));
    }

    for (name, rules) in chains {
        rules
            .iter()
            .for_each(|rule| text.push_str(&format!("-A {name} {}\n", rule.text())));
    }

    // the interpreter knows the words of scripts
    text.replace("ipv6-icmp", "icmpv6")
        .replace("10/sec ", "10/second ")
        + "COMMIT\n"
}

/// Chains that packets get to: the interpreter refuses others.
fn reachable(table: &ParsedTable) -> Vec<(&String, &Vec<RuleText>)> {
    let name = |rule: &RuleText| match rule.leads() {
        Some(RuleJump::Jump(to) | RuleJump::Goto(to)) => Some(to.to_owned()),
        None => None,
    };
    let mut open: Vec<String> = table
        .hooks
        .iter()
        .filter_map(|hook| name(&hook.rule))
        .collect();
    let mut found = BTreeMap::new();

    while let Some(chain) = open.pop() {
        if let Some((chain, rules)) = table.chains.get_key_value(&chain)
            && found.insert(chain, rules).is_none()
        {
            open.extend(rules.iter().filter_map(name));
        }
    }

    found.into_iter().collect()
}

/// Addresses of the golden cases' pods, and one of nobody.
const ADDRESSES: [&str; 9] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.1.1",
    "10.0.2.1",
    "192.0.2.9",
    "fd00::1",
    "fd00::2",
    "2001:db8::9",
];

fn verdicts(kernel: &NodeKernel) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    let addresses =
        ADDRESSES.map(|address| address.parse::<std::net::IpAddr>().expect("an address"));
    let pairs = addresses
        .iter()
        .flat_map(|from| addresses.iter().map(move |to| (*from, *to)));
    for (source, destination) in
        pairs.filter(|(from, to)| from != to && from.is_ipv4() == to.is_ipv4())
    {
        for (protocol, port) in [
            (Protocol::TCP, 80),
            (Protocol::TCP, 443),
            (Protocol::UDP, 53),
            (Protocol::TCP, 8080),
        ] {
            let flow = Flow {
                source,
                destination,
                protocol,
                ports: Some(PortPair {
                    source: 40_000,
                    destination: port,
                }),
                icmp: None,
            };
            let eth0 = || "eth0".to_owned();
            for hook in [
                Hook::Forward {
                    arrives: eth0(),
                    leaves: eth0(),
                },
                Hook::Input { arrives: eth0() },
            ] {
                let name = format!("{source} to {destination}, {protocol:?} {port}, {hook:?}");
                let packet = Packet {
                    flow,
                    original: None,
                    hook,
                    state: State::New,
                    reverse_path: ReversePath::Arriving,
                };
                verdicts.insert(name, kernel.run(&packet).verdict);
            }
        }
    }

    verdicts
}
