//! What judges plans: a kernel is brought from a state to another, every instant of it is looked
//! at, the plan is killed and made anew.
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade::net::{Family, Protocol, State};
use palisade::netfilter::NodeKernel;
use palisade::observe::ToolSettings;
use palisade::packet::{Flow, Hook, Packet, PreDnatDestination, ReversePath, Verdict};
use palisade::packet_space::{AddressRange, HeaderSpace, PartitionBuilder};
use palisade::plan::{self, DesiredKernel, Plan, PrintCache};

use super::model::{Loaded, World, WorldTexts};
use crate::agree::random::Dice;

/// Packets of a pair.
const PACKETS: usize = 800;
/// Of the instants of a plan, so many are tried as the last one.
const KILLS: usize = 8;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) pairs: usize,
    pub(super) refused: usize,
    /// States that packets could meet, and those of them that differ from the one before.
    pub(super) instants: usize,
    pub(super) visible: usize,
    pub(super) packets: usize,
    pub(super) kills: usize,
    pub(super) in_place: usize,
    /// Steps that change sets of source validation around all else.
    pub(super) gates: usize,
    pub(super) swaps: usize,
    pub(super) switches: usize,
    /// Families that are written with a guard.
    pub(super) guarded: usize,
    /// Families where the plan says that the law may be broken, by [`BREACHES`].
    pub(super) said: [usize; 3],
    /// Packets of these families that met it.
    pub(super) leaks: usize,
    pub(super) losses: usize,
}

/// A packet, what old and new say of it, and whether they track it alike.
pub(super) struct Decided {
    pub(super) packet: Packet,
    pub(super) verdict: Verdict,
    pub(super) is_tracked_alike: bool,
}

/// The texts of states that were judged.
pub(super) type Known = BTreeSet<WorldTexts>;

/// What a plan says of itself, by family.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) leaks: [bool; 2],
    pub(super) losses: [bool; 2],
}

/// Words for people, and whether they are about leaks.
const BREACHES: [(&str, bool); 3] = [
    ("a packet may pass between", true),
    ("which was killed, denied already", true),
    ("may be lost", false),
];

/// A plan under way.
pub(super) struct Watch<'all> {
    pub(super) packets: &'all [Decided],
    pub(super) known: &'all mut Known,
    pub(super) last: WorldTexts,
    pub(super) said: Said,
    pub(super) counts: &'all mut Counts,
    pub(super) problem: Option<String>,
}

/// A kernel, and what is to become of it.
pub(super) struct Pair {
    pub(super) start: World,
    pub(super) memory: PrintCache,
    pub(super) goal: World,
    pub(super) new: DesiredKernel,
    pub(super) tools: ToolSettings,
}

impl Pair {
    pub(super) fn ends(&self) -> [Loaded; 2] {
        [&self.start, &self.goal].map(|world| world.texts().load())
    }
}

pub(super) fn check(pair: &Pair, dice: &mut Dice, counts: &mut Counts) -> Result<(), String> {
    let packets = packets(&pair.ends(), dice);
    counts.packets += packets.len();
    let mut known = BTreeSet::new();
    let plan = plan::between(&pair.new, &pair.start.observed(), &pair.memory, &pair.tools);
    count(&plan, counts);

    let mut states = vec![pair.start.clone()];
    let first = Said::of(&plan);
    let end = watched(
        &pair.start,
        &plan,
        first,
        &packets,
        counts,
        &mut known,
        &mut |state| states.extend((!state.is_fleeting).then(|| state.clone())),
    )?;
    in_sync(&end, pair, &plan)?;

    let stride = states.len().div_ceil(KILLS);
    for killed in states.iter().skip(dice.below(stride)).step_by(stride) {
        counts.kills += 1;
        let plan = plan::between(&pair.new, &killed.observed(), &pair.memory, &pair.tools);
        count(&plan, counts);
        let again = (&packets[..], &mut *counts, &mut known);
        let said = Said::of(&plan).or(first); // it begins with what the first one did
        let end = watched(killed, &plan, said, again.0, again.1, again.2, &mut |_| {})
            .map_err(|problem| format!("killed before: {problem}"))?;
        in_sync(&end, pair, &plan).map_err(|problem| format!("killed before: {problem}"))?;
    }

    Ok(())
}

/// Runs a plan and judges every state on the way.
fn watched(
    start: &World,
    plan: &Plan,
    said: Said,
    packets: &[Decided],
    counts: &mut Counts,
    known: &mut Known,
    then: &mut dyn FnMut(&World),
) -> Result<World, String> {
    let mut watch = Watch {
        packets,
        known,
        last: start.texts(),
        said,
        counts,
        problem: None,
    };
    let mut world = start.clone();

    for step in &plan.steps {
        let done = world.step(step, &mut |state| {
            watch.look(state);
            then(state);
        });
        done.map_err(|problem| format!("{problem}\n{plan}"))?;
    }

    match watch.problem {
        Some(problem) => Err(format!("{problem}\n{plan}")),
        None => Ok(world),
    }
}

impl Watch<'_> {
    pub(super) fn look(&mut self, state: &World) {
        self.counts.instants += 1;
        let texts = state.texts();
        if texts == self.last || self.problem.is_some() {
            return;
        }

        self.counts.visible += 1;
        self.last = texts.clone();
        if !self.known.insert(texts.clone()) {
            return;
        }

        let kernel = texts.load();
        for decided in self.packets {
            let Decided {
                packet, verdict, ..
            } = decided;
            let (met, _, passed) = kernel.run(packet);
            if met == *verdict || self.is_said(decided) {
                continue;
            }
            let passed: String = passed
                .iter()
                .map(|passed| format!("\n  {passed}"))
                .collect();
            self.problem = Some(format!(
                "{packet:?}\nold and new say {verdict:?}, and on the way it is {met:?}:{passed}"
            ));
            return;
        }
    }

    /// Whether the plan said that this may happen to a packet which is decided otherwise on the
    /// way, and counts it then.
    fn is_said(&mut self, decided: &Decided) -> bool {
        let family = usize::from(decided.packet.flow.family() == Family::V6);
        let is_leak = decided.verdict == Verdict::Drop;
        let is_said = if is_leak {
            self.said.leaks[family]
        } else {
            self.said.losses[family] && !decided.is_tracked_alike
        };
        let count = if is_leak {
            &mut self.counts.leaks
        } else {
            &mut self.counts.losses
        };

        *count += usize::from(is_said);
        is_said
    }
}

impl Said {
    pub(super) fn of(plan: &Plan) -> Self {
        let parts: Vec<&str> = plan
            .steps
            .iter()
            .flat_map(|step| step.about.split("; "))
            .collect();
        let says = |is_leak: bool| {
            ["meanwhile, in IPv4, ", "meanwhile, in IPv6, "].map(|family| {
                parts
                    .iter()
                    .any(|part| part.starts_with(family) && tells_breach(part, is_leak))
            })
        };

        Self {
            leaks: says(true),
            losses: says(false),
        }
    }

    fn or(mut self, other: Self) -> Self {
        for family in 0..2 {
            self.leaks[family] |= other.leaks[family];
            self.losses[family] |= other.losses[family];
        }
        self
    }
}

/// Whether words of a plan tell of packets that leak, or else of packets that are lost.
fn tells_breach(words: &str, is_leak: bool) -> bool {
    BREACHES
        .iter()
        .any(|(part, leaks)| *leaks == is_leak && words.contains(part))
}

/// The end: nothing differs, and every packet fares as new says.
fn in_sync(end: &World, pair: &Pair, plan: &Plan) -> Result<(), String> {
    let observed = end.observed();
    let memory = remembered(&pair.new, end, plan, &pair.memory, &pair.tools);
    let again = plan::between(&pair.new, &observed, &memory, &pair.tools);
    if !again.steps.is_empty() || !again.differences.is_empty() {
        return Err(format!("not in sync behind\n{plan}\nbut\n{again}"));
    }

    // which slot a set stands in is nobody's business
    let bare = |world: &World| lines(&world.texts().whole());
    if bare(end) == bare(&pair.goal) {
        Ok(())
    } else {
        Err(format!(
            "another end than from nothing:\n{plan}\n{}",
            end.texts().whole()
        ))
    }
}

/// The lines of a text with the sets' own names, sorted where they stand for sets.
fn lines(text: &str) -> Vec<String> {
    let word = |word: &str| {
        if word.starts_with("pal-") {
            plan::base(word)
        } else {
            word.to_owned()
        }
    };

    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = text.lines().map(line).collect();
    let chain = |line: &String| {
        line.starts_with("-A")
            .then(|| line.split(' ').nth(1).unwrap_or_default().to_owned())
    };

    lines.sort_by_key(|line| {
        (
            chain(line),
            if line.starts_with("-A") {
                String::new()
            } else {
                line.clone()
            },
        )
    });

    lines
}

/// Runs a plan, and says what is to be remembered of it.
pub(super) fn converge(
    world: &mut World,
    desired: &DesiredKernel,
    tools: &ToolSettings,
) -> Result<PrintCache, String> {
    let plan = plan::between(desired, &world.observed(), &PrintCache::default(), tools);
    plan.steps
        .iter()
        .try_for_each(|step| world.step(step, &mut |_| {}))
        .map_err(|problem| format!("{problem}\n{plan}"))?;
    Ok(remembered(
        desired,
        world,
        &plan,
        &PrintCache::default(),
        tools,
    ))
}

fn remembered(
    desired: &DesiredKernel,
    world: &World,
    plan: &Plan,
    previous: &PrintCache,
    tools: &ToolSettings,
) -> PrintCache {
    let previous = PrintCache {
        version: PrintCache::VERSION,
        backend: tools.backend.label().to_owned(),
        ..previous.clone()
    };
    plan::remember(desired, &world.observed(), plan, previous)
}

fn count(plan: &Plan, counts: &mut Counts) {
    for (count, (words, _)) in counts.said.iter_mut().zip(BREACHES) {
        *count += plan
            .steps
            .iter()
            .map(|step| step.about.matches(words).count())
            .sum::<usize>();
    }

    counts.guarded += plan
        .steps
        .iter()
        .map(|step| step.about.matches("as a guard").count())
        .sum::<usize>();

    for step in &plan.steps {
        counts.swaps += usize::from(step.about.contains("swap"));
        counts.in_place += usize::from(step.about.contains("in place"));
        counts.gates += usize::from(step.about.contains("of source validation"));
        counts.switches += step
            .calls
            .iter()
            .filter(|call| call.input.contains("COMMIT\n") && call.input.contains("--match-set"))
            .count();
    }
}

/// Packets that both kernels decide alike, and how: random ones of the kinds that either tells
/// apart.
pub(super) fn packets(ends: &[Loaded; 2], dice: &mut Dice) -> Vec<Decided> {
    let mut cuts = PartitionBuilder::default();
    let kernels: Vec<&NodeKernel> = ends.iter().flat_map(Loaded::kernels).collect();
    kernels.iter().for_each(|kernel| kernel.add_cuts(&mut cuts));
    let traffic = HeaderSpace::of(&cuts);
    let examples: Vec<_> = traffic
        .classes(HeaderSpace::ALL)
        .filter_map(|class| class.example())
        .collect();
    let addresses = Family::BOTH.map(|family| addresses(&kernels, family));

    let mut interfaces: Vec<String> = kernels
        .iter()
        .flat_map(|kernel| kernel.interfaces())
        .map(str::to_owned)
        .collect();
    interfaces.extend(["eth1", "cali0", "lo"].map(str::to_owned));

    let states = [
        State::New,
        State::New,
        State::New,
        State::New,
        State::Established,
        State::Related,
        State::Invalid,
        State::Untracked,
    ];

    let mut packets = Vec::new();
    while packets.len() < PACKETS {
        let addresses = dice.pick(&addresses);
        let (source, destination) = (dice.pick(&addresses), dice.pick(&addresses));
        let (protocol, ports, message) = dice.pick(&examples);
        let icmp = message.filter(|_| (protocol == Protocol::ICMP) == source.is_ipv4());
        let [arrives, leaves] = [(); 2].map(|()| dice.pick(&interfaces));
        let hook = match dice.below(4) {
            0 | 1 => Hook::Forward { arrives, leaves },
            2 => Hook::Input { arrives },
            _ => Hook::Output { leaves },
        };
        let original = dice.chance(12).then(|| PreDnatDestination {
            address: dice.pick(&addresses),
            port: ports.map(|ports| ports.destination),
        });
        let flow = Flow {
            source,
            destination,
            protocol,
            ports,
            icmp,
        };
        let reverse_path = match hook.arrives() {
            Some("lo") | None => ReversePath::Arriving,
            Some(_) if dice.chance(60) => ReversePath::Arriving,
            Some(_) => dice.pick(&[ReversePath::Elsewhere, ReversePath::Nowhere]),
        };
        packets.push(Packet {
            flow,
            original,
            hook,
            state: dice.pick(&states),
            reverse_path,
        });
    }

    let decided = packets.into_iter().filter_map(|packet| {
        let [(old, is_untracked, _), (new, will_be_untracked, _)] =
            ends.each_ref().map(|end| end.run(&packet));
        (old == new).then_some(Decided {
            packet,
            verdict: old,
            is_tracked_alike: is_untracked == will_be_untracked,
        })
    });
    decided.collect()
}

/// One address of each kind that the kernels tell apart.
fn addresses(kernels: &[&NodeKernel], family: Family) -> Vec<IpAddr> {
    let lists: Vec<_> = kernels
        .iter()
        .flat_map(|kernel| kernel.prefixes())
        .collect();
    let outside = if family == Family::V4 {
        "192.0.2.77"
    } else {
        "2001:db8:ffff::77"
    };

    let nets = lists.iter().flatten().filter(|net| net.family() == family);
    let ends = nets.flat_map(|net| {
        [
            AddressRange::from_prefix(*net).first_address(),
            AddressRange::from_prefix(*net).last_address(),
        ]
    });
    let all = ends.chain([outside.parse().expect("an address")]);

    let kinds: BTreeMap<Vec<bool>, IpAddr> = all
        .map(|address| {
            (
                lists
                    .iter()
                    .map(|list| list.iter().any(|net| net.holds(address)))
                    .collect(),
                address,
            )
        })
        .collect();
    kinds.into_values().collect()
}
