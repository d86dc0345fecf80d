//! The law under load: while bundles are applied in a loop, no packet is lost that old and new
//! allow, and none leaks that both deny.
//!
//! Packets come from all clients to all servers, in both families, each as a new connection
//! ([`traffic`]); the cluster changes in many ways ([`cluster`]); between two applies others
//! meddle. A pair is judged in an apply where the bundles before, of and behind it agree: a packet
//! may be late by one. No apply begins before all packets of the last but one have met the rules,
//! however busy the machine.

mod cluster;
mod traffic;

use std::collections::BTreeMap;

use palisade::apply::{self, ApplyTarget, TargetBundle};
use palisade::net::Family;

use super::world::World;
use cluster::{KNOBS, Knob};
use traffic::{Pair, Traffic, Went};

/// Applies where several things change, and where members of sets do.
const SEVERAL: u32 = 14;
const MEMBERS: usize = 12;
/// Applies behind them that grow and shrink a list: what shrinks much is swapped.
const SWAPS: usize = 10;
/// Where the random changes begin.
const SEED: u32 = 2026;
/// Packets of every pair and family between two changes.
const ROUNDS: u64 = 3;

/// What others do, between applies: nothing that the packets of a judged pair can tell.
const DEEDS: [&[&str]; 5] = [
    &["iptables -I pal-FORWARD 1 -s 10.9.9.9 -j ACCEPT"],
    &[
        "ip6tables -A pal-allowed -j ACCEPT",
        "iptables -A pal-OUTPUT -j RETURN",
    ],
    &["iptables -I FORWARD 1 -m comment --comment palisade -j pal-FORWARD"],
    &[
        "ipset add pal-local4 10.99.0.1",
        "ipset add pal-local6 fd00:99::1",
    ],
    &[
        "ip6tables -I FORWARD 1 -i eth8 -j ACCEPT",
        "iptables -D pal-OUTPUT 1",
    ],
];

/// Packets of pairs that were judged.
#[derive(Debug, Default)]
struct Judged {
    allowed: u64,
    denied: u64,
    unjudged: u64,
    lost: u64,
    leaked: u64,
    /// The first few of those.
    first: Vec<String>,
}

pub(super) fn nothing_is_lost_or_leaked_at_a_high_rate(world: &World) {
    let versions = versions();
    let bundles = cluster::render(&versions);
    let pairs = cluster::pairs();
    traffic::build(world, &pairs);
    apply(world, &bundles[0]);

    let (mut ways, mut swaps) = (BTreeMap::new(), Vec::new());
    let traffic = Traffic::start(&pairs, bundles.len());
    for (number, wanted) in bundles.iter().enumerate().skip(1) {
        traffic.begin(number);
        traffic.go_on(ROUNDS);
        if number % 3 == 0 {
            meddle(world, DEEDS[number / 3 % DEEDS.len()]);
        }
        if look(world, wanted, &mut ways) {
            swaps.push(number);
        }
        apply(world, wanted);
        traffic.go_on(ROUNDS);
    }

    let went = traffic.end();
    let judged = judge(&bundles, &pairs, &went);
    println!(
        "{}: {} applies, {ways:?}, {judged:?}, {} without room",
        world.build.label(),
        bundles.len() - 1,
        went.drops
    );
    assert_eq!(
        went.drops, 0,
        "packets found no room in an interface or a socket"
    );
    assert_eq!(
        (judged.lost, judged.leaked),
        (0, 0),
        "{versions:?}: {:#?}",
        judged.first
    );
    assert!(judged.allowed > 1000 && judged.denied > 1000, "{judged:?}");

    // the list that is swapped decides on these packets
    let listed = |at: &usize| {
        pairs[*at].from.to_string() == cluster::LISTED[0]
            && pairs[*at].to.to_string() == cluster::LISTED[1]
    };
    let at_swaps: Vec<u64> = swaps
        .iter()
        .map(|number| {
            (0..pairs.len())
                .filter(listed)
                .map(|at| went.sent[at][*number])
                .sum()
        })
        .collect();

    assert!(
        swaps.len() >= SWAPS / 2 && at_swaps.iter().all(|sent| *sent > 0),
        "{swaps:?}: {at_swaps:?}"
    );
    assert!(
        ["in place", "swap", "that no rule looks into", "write"]
            .iter()
            .all(|way| ways.contains_key(way)),
        "{ways:?}"
    );
}

/// The judge sees what happens where rules and sets are emptied and loaded again.
pub(super) fn flush_and_load_is_found_out(world: &World) {
    let bundles = cluster::render(&[0; 7]);
    let pairs = cluster::pairs();
    traffic::build(world, &pairs);
    apply(world, &bundles[0]);

    let peers: Vec<String> = world
        .observe()
        .sets
        .into_keys()
        .filter(|name| name.starts_with("pal-s"))
        .collect();
    assert!(!peers.is_empty(), "{:?}", world.observe().sets.keys());

    let traffic = Traffic::start(&pairs, bundles.len());
    for (number, wanted) in bundles.iter().enumerate().skip(1) {
        traffic.go_on(ROUNDS);
        traffic.begin(number);
        let between = || traffic.go_on(1);
        if number % 2 == 0 {
            Family::BOTH
                .into_iter()
                .for_each(|family| flush_and_load(world, family, wanted, &between));
        } else {
            peers
                .iter()
                .for_each(|name| drop(world.tool("ipset", &["flush", name], "")));
            between();
            world.tool(
                "ipset",
                &["restore", "-exist"],
                wanted.text("sets.ipset").expect("a script"),
            );
        }
    }

    let went = traffic.end();
    let judged = judge(&bundles, &pairs, &went);
    println!(
        "{}: {judged:?}, {} without room",
        world.build.label(),
        went.drops
    );

    assert!(judged.lost > 0 && judged.leaked > 0, "{judged:?}");
}

fn flush_and_load(world: &World, family: Family, wanted: &TargetBundle, between: &dyn Fn()) {
    let file = if family == Family::V4 {
        "filter.v4.rules"
    } else {
        "filter.v6.rules"
    };

    world.tool(&world.iptables(family, ""), &["-F"], "");
    between();
    world.tool(
        &world.iptables(family, "-restore"),
        &["--noflush"],
        wanted.text(file).expect("a script"),
    );
}

/// Versions: from each to the next one thing changes, all of them in turn; then up to three; then
/// one of those that are about members only; then a list that grows and shrinks.
fn versions() -> Vec<u32> {
    let (mut dice, mut version) = (SEED, 0);
    let mut roll = || {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 << ((dice >> 16) % KNOBS)
    };
    let alone = (0..KNOBS).map(|knob| 1 << knob);
    let several: Vec<u32> = (0..SEVERAL)
        .map(|step| 1 << (step % KNOBS) | roll() | roll())
        .collect();
    let of_members = cluster::OF_MEMBERS
        .into_iter()
        .cycle()
        .take(MEMBERS)
        .map(|knob| 1 << knob as u32);
    let of_swaps = std::iter::repeat_n(1 << Knob::ListGrows as u32, SWAPS);

    let changes = alone
        .chain(several)
        .chain(of_members)
        .chain(of_swaps)
        .map(|change| {
            version ^= change;
            version
        });
    std::iter::once(0).chain(changes).collect()
}

fn apply(world: &World, wanted: &TargetBundle) {
    let mut runner = world.processes();
    apply::run(
        &mut ApplyTarget {
            runner: &mut runner,
            settings: world.settings(),
        },
        wanted,
    )
    .unwrap_or_else(|error| panic!("{error:?}"));
}

/// Counts by which ways the next apply goes; whether a swap is among them.
fn look(world: &World, wanted: &TargetBundle, ways: &mut BTreeMap<&'static str, usize>) -> bool {
    let mut runner = world.processes();
    let look = apply::inspect(
        &mut ApplyTarget {
            runner: &mut runner,
            settings: world.settings(),
        },
        wanted,
    )
    .expect("seen");

    for way in ["in place", "swap", "that no rule looks into", "write"] {
        let count = look
            .plan
            .steps
            .iter()
            .filter(|step| step.about.contains(way) && !step.about.starts_with("remove"))
            .count();
        if count > 0 {
            *ways.entry(way).or_default() += count;
        }
    }

    look.plan
        .steps
        .iter()
        .any(|step| step.about.contains("swap"))
}

fn meddle(world: &World, deeds: &[&str]) {
    for deed in deeds {
        let words: Vec<&str> = deed.split(' ').collect();
        match words[..] {
            ["ipset", verb, start, member] => {
                let copies = world
                    .observe()
                    .sets
                    .into_keys()
                    .filter(|name| name.starts_with(start));
                copies.for_each(|name| drop(world.tool("ipset", &[verb, &name, member], "")));
            }
            ["iptables", ..] => drop(world.tool(&world.iptables(Family::V4, ""), &words[1..], "")),
            _ => drop(world.tool(&world.iptables(Family::V6, ""), &words[1..], "")),
        }
    }
}

fn judge(bundles: &[TargetBundle], pairs: &[Pair], went: &Went) -> Judged {
    let allowed: Vec<Vec<bool>> = bundles
        .iter()
        .map(|wanted| cluster::allowed(wanted, pairs))
        .collect();
    let mut judged = Judged::default();

    for (at, pair) in pairs.iter().enumerate() {
        for number in 0..bundles.len() {
            let (sent, received) = (went.sent[at][number], went.received[at][number]);
            let around = &allowed[number.saturating_sub(1)..bundles.len().min(number + 2)];
            let passes: Vec<bool> = around.iter().map(|bundle| bundle[at]).collect();
            judged.take(
                passes.as_slice(),
                sent,
                received,
                &format!("{pair:?} in apply {number}"),
            );
        }
    }

    judged
}

impl Judged {
    fn take(&mut self, passes: &[bool], sent: u64, received: u64, about: &str) {
        let wrong = if passes.iter().all(|passes| *passes) {
            self.allowed += sent;
            self.lost += sent.abs_diff(received);
            sent != received
        } else if passes.iter().any(|passes| *passes) {
            self.unjudged += sent;
            false
        } else {
            self.denied += sent;
            self.leaked += received;
            received > 0
        };

        if wrong && self.first.len() < 20 {
            self.first
                .push(format!("{about}: {sent} sent, {received} received"));
        }
    }
}
