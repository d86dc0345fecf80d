//! Policies mean the same three times: an evaluator written from `docs/semantics.md`, which shares
//! no code with palisade ([`meaning`]), palisade's own idea of what a node owes a packet, and its
//! interpreter of the rendered scripts, which shares none with the compile (`palisade::netfilter`),
//! agree on every packet. Worlds and packets are random from fixed seeds, and from one more in
//! `PALISADE_SEED`; nothing depends on the clock.
#![expect(
    clippy::disallowed_methods,
    reason = "the seed comes from the environment"
)]

mod answers;
mod assertions;
mod cases;
mod difference;
mod difference_at_hosts;
mod hosts;
mod lints;
mod manifests;
mod meaning;
mod packet;
pub(crate) mod random;
mod sample;
mod space;
mod verify;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::net::IpAddr;

use palisade::diagnostic::Diagnostics;
use palisade::netfilter::NodeKernel;
use palisade::options::{
    CompileOptions, Encapsulated, EndpointToHost, ExtensionSet, FailsafeList, FailsafePorts,
    SourceValidation, UnknownEndpoint,
};
use palisade::policy::StagedPolicies;
use palisade::render::{self, NodeScripts, TemplateSet};
use palisade::resolve::{self, ResolvedPolicy};
use palisade::ruleset::CheckedScripts;
use palisade::semantics::evaluate::{Evaluator, ListTrace};
use palisade::semantics::node::NodeSemantics;
use palisade::source::SourceFiles;
use palisade::{Input, lower};

use meaning::Cluster;
use packet::{Hook, Packet, Verdict};
use random::{Aim, Dice};
use world::{Failsafe, Net, Policy, Profile, Rule, Sources, World};

/// Where the random numbers begin. A failure prints the seed of its world, for `PALISADE_SEED`.
const SEEDS: [u64; 3] = [1, 2_026, 0xca11_c0de];

/// Worlds of a seed, and packets of a world.
const WORLDS: u64 = 50;
const PACKETS: usize = 200;

/// Where the seed of every world of a run comes from: far enough apart for all to differ.
const STRIDE: u64 = 1_000_003;

#[test]
fn scripts_do_what_policies_say() {
    let mut seen: BTreeMap<Fate, usize> = BTreeMap::new();
    for seed in seeds(WORLDS) {
        let mut dice = Dice(seed);
        let world = random::world(&mut dice);
        let aim = Aim::at(&world);
        let packets: Vec<Packet> = (0..PACKETS)
            .map(|_| aim.packet(&mut dice, &world))
            .collect();
        match compare(&world, &packets) {
            Ok(verdicts) => verdicts
                .into_iter()
                .for_each(|verdict| *seen.entry(verdict).or_default() += 1),
            Err(_) => {
                let (world, packets) = smaller(world, packets);
                let problem = compare(&world, &packets).err().unwrap_or_default();
                panic!(
                    "PALISADE_SEED={seed}\n{problem}\n{}",
                    manifests::yaml(&world)
                );
            }
        }
    }

    assert!(
        seen.values().sum::<usize>() >= 10_000,
        "too few packets: {seen:?}"
    );

    for fate in [Verdict::Accept, Verdict::Drop]
        .into_iter()
        .flat_map(|verdict| HOOKS.map(|hook| (hook, verdict, false)))
    {
        assert!(
            seen.get(&fate).is_some_and(|count| *count > 100),
            "hardly any {fate:?}: {seen:?}"
        );
    }

    let untracked: usize = HOOKS
        .iter()
        .filter_map(|hook| seen.get(&(*hook, Verdict::Accept, true)))
        .sum();
    assert!(untracked > 50, "hardly any that is not tracked: {seen:?}");
}

/// Where a packet is seen, what becomes of it, and whether it is kept from connection tracking.
type Fate = (Hook, Verdict, bool);

const HOOKS: [Hook; 3] = [Hook::Forward, Hook::Input, Hook::Output];

/// The seeds of so many worlds for each of the fixed ones, and the one that the environment asks
/// for before them.
fn seeds(worlds: u64) -> impl Iterator<Item = u64> {
    let own = std::env::var("PALISADE_SEED")
        .ok()
        .map(|seed| seed.parse().expect("PALISADE_SEED is a number"));
    let fixed = SEEDS.iter().flat_map(move |seed| {
        (0..worlds).map(move |index| seed.wrapping_add(index.wrapping_mul(STRIDE)))
    });
    own.into_iter().chain(fixed)
}

/// Compiles a world and asks about every packet; gives the verdicts, or the first disagreement.
fn compare(world: &World, packets: &[Packet]) -> Result<Vec<Fate>, String> {
    let mut verdicts = compare_staging(world, world, StagedPolicies::Proposed, packets)?;
    if !world.staged.is_empty() {
        let found = compare_staging(
            world,
            &meaning::with_staged(world),
            StagedPolicies::InForce,
            packets,
        );
        verdicts
            .extend(found.map_err(|problem| format!("with staged policies in force: {problem}"))?);
    }

    Ok(verdicts)
}

/// The same with staged policies in force or not, against a world whose policies count as they
/// stand.
fn compare_staging(
    written: &World,
    world: &World,
    staging: StagedPolicies,
    packets: &[Packet],
) -> Result<Vec<Fate>, String> {
    let input = read(manifests::yaml(written), staging)?;
    let mut diagnostics = Diagnostics::default();
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    refuse_errors(&diagnostics)?;

    let options = options(world);
    let names = node_names(world);
    let kernels = kernels(&scripts(&resolved, &names, &options)?)?;
    let (cluster, evaluator) = (Cluster::of(world), Evaluator::new(&resolved));
    let ids = names
        .iter()
        .map(|name| resolved.inventory.find_node(name).ok_or("the node is gone"));
    let nodes = ids
        .map(|id| id.map(|id| NodeSemantics::new(&evaluator, id, &options)))
        .collect::<Result<Vec<NodeSemantics<'_, '_, '_>>, _>>()?;
    let mut verdicts = Vec::with_capacity(packets.len());

    for packet in packets {
        compare_policy(&cluster, &evaluator, packet)?;
        let expected = cluster.verdict(packet);
        let owed = nodes
            .get(packet.node)
            .ok_or("no such node")?
            .expect(&packet.seen());
        if expected != (owed.verdict.into(), owed.is_untracked) {
            let words: Vec<String> = owed.passages.iter().flat_map(way).collect();
            return Err(format!(
                "{packet:?}\nshould be {expected:?}, and the node owes it {:?} by {:?}, untracked \
                 {}:\n{}",
                owed.verdict,
                owed.cause,
                owed.is_untracked,
                words.join("\n")
            ));
        }
        let run = kernels
            .get(packet.node)
            .ok_or("no such node")?
            .run(&packet.seen());
        if expected != (run.verdict.into(), run.is_untracked) {
            let passed: String = run
                .passed
                .iter()
                .map(|passed| format!("\n  {passed}"))
                .collect();
            let found = run.verdict;
            return Err(format!(
                "{packet:?}\nshould be {expected:?}, and the scripts say {found:?}, untracked \
                 {}:{passed}",
                run.is_untracked
            ));
        }
        verdicts.push((packet.hook, expected.0, expected.1));
    }

    Ok(verdicts)
}

/// The two evaluators of policy, on both ends of a packet.
fn compare_policy(
    cluster: &Cluster<'_>,
    evaluator: &Evaluator<'_, '_>,
    packet: &Packet,
) -> Result<(), String> {
    let expected = cluster.policy(packet);
    let decision = evaluator.decide(&packet.flow());
    let found = [&decision.egress, &decision.ingress]
        .map(|passage| passage.as_ref().map(ListTrace::is_allowed));
    let words: Vec<String> = [&decision.egress, &decision.ingress]
        .into_iter()
        .flatten()
        .flat_map(way)
        .collect();

    match found == [expected.0, expected.1] {
        true => Ok(()),
        false => Err(format!(
            "{packet:?}\npolicy should allow {expected:?} (egress, ingress), and the evaluator \
             says {found:?}:\n{}",
            words.join("\n")
        )),
    }
}

/// The tiers of a way with their policies and the numbers of the rules that match.
fn way<'passage>(passage: &'passage ListTrace<'_>) -> impl Iterator<Item = String> + 'passage {
    passage.tiers.iter().map(|passed| {
        let policies = passed.policies.iter().map(|policy| {
            let numbers: Vec<usize> = policy.rules.iter().map(|rule| rule.number).collect();
            format!(" {} {numbers:?}", policy.policy.key)
        });
        format!(
            "  {:?} {:?} tier {}:{} -> {:?}",
            passage.list,
            passage.direction,
            passed.tier.name,
            policies.collect::<String>(),
            passed.end
        )
    })
}

fn node_names(world: &World) -> Vec<&str> {
    world.nodes.iter().map(|node| node.name.as_str()).collect()
}

/// Manifests as palisade reads them.
fn read(yaml: String, staging: StagedPolicies) -> Result<Input, String> {
    let mut files = SourceFiles::default();
    files.add("world.yaml", yaml).map_err(|_| "too long")?;
    let mut diagnostics = Diagnostics::default();
    let input = palisade::read(&files, staging, &mut diagnostics);
    refuse_errors(&diagnostics)?;
    Ok(input)
}

/// What palisade renders for nodes.
fn scripts(
    resolved: &ResolvedPolicy<'_>,
    nodes: &[&str],
    options: &CompileOptions,
) -> Result<Vec<NodeScripts>, String> {
    let mut diagnostics = Diagnostics::default();
    let templates = TemplateSet::new(&[]).map_err(|problem| problem.message)?;
    let script = |node: &&str| {
        let id = resolved
            .inventory
            .find_node(node)
            .ok_or("the node is gone")?;
        let program = lower::to_chains(resolved, id, options, &mut diagnostics);
        refuse_errors(&diagnostics)?;
        render::to_text(&program, &templates).map_err(|problem| problem.message)
    };
    nodes.iter().map(script).collect()
}

fn kernels(scripts: &[NodeScripts]) -> Result<Vec<NodeKernel>, String> {
    let load = |scripts: &NodeScripts| {
        CheckedScripts::read(scripts.files(), &ExtensionSet::default())
            .map(|checked| NodeKernel::load(&checked))
    };
    scripts
        .iter()
        .map(|scripts| load(scripts).map_err(|refused| refused.to_string()))
        .collect()
}

/// What palisade renders for each node of a world.
pub(crate) fn compiled(world: &World) -> Result<Vec<NodeScripts>, String> {
    let input = read(manifests::yaml(world), StagedPolicies::Proposed)?;
    let resolved = resolve::selectors(
        &input.policies,
        &input.inventory,
        &mut Diagnostics::default(),
    );
    scripts(&resolved, &node_names(world), &options(world))
}

fn compile_yaml(
    yaml: String,
    nodes: &[&str],
    options: &CompileOptions,
) -> Result<Vec<NodeKernel>, String> {
    let input = read(yaml, StagedPolicies::Proposed)?;
    let resolved = resolve::selectors(
        &input.policies,
        &input.inventory,
        &mut Diagnostics::default(),
    );
    kernels(&scripts(&resolved, nodes, options)?)
}

fn options(world: &World) -> CompileOptions {
    let [inbound, outbound] =
        [&world.choices.inbound, &world.choices.outbound].map(|list| failsafes(list));
    let mut options = CompileOptions {
        failsafes: FailsafePorts { inbound, outbound },
        ..CompileOptions::default()
    };

    if world.choices.host_closed {
        options.endpoint_to_host = EndpointToHost::Drop;
    }

    if world.choices.unknown_accepted {
        options.unknown_endpoint = UnknownEndpoint::Accept;
    }

    if world.choices.encapsulated_dropped {
        options.encapsulated = Encapsulated::Drop;
    }

    options.source_validation = match world.choices.sources {
        Sources::Strict => SourceValidation::Strict,
        Sources::Loose => SourceValidation::Loose,
        Sources::Logged => SourceValidation::Log,
        Sources::Trusted => SourceValidation::Off,
    };

    let links = world.choices.pod_links.iter();
    options.pod_interfaces = links
        .map(|link| link.parse().expect("an interface"))
        .collect();
    options
}

fn failsafes(list: &[Failsafe]) -> FailsafeList {
    let item = |failsafe: &Failsafe| {
        let protocol = if failsafe.protocol == 6 { "tcp" } else { "udp" };
        let net = failsafe
            .net
            .map_or_else(String::new, |Net { address, length }| match address {
                IpAddr::V4(_) => format!("{address}/{length}:"),
                IpAddr::V6(_) => format!("[{address}/{length}]:"),
            });
        format!("{protocol}:{net}{}", failsafe.port)
    };

    let items: Vec<String> = list.iter().map(item).collect();
    let text = if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(",")
    };

    text.parse().expect("failsafe ports")
}

fn refuse_errors(found: &Diagnostics) -> Result<(), String> {
    let messages: Vec<&str> = found
        .sorted()
        .iter()
        .map(|diagnostic| diagnostic.message.as_str())
        .collect();
    if found.has_errors() {
        Err(format!("palisade refuses this: {}", messages.join("; ")))
    } else {
        Ok(())
    }
}

/// Takes away whatever a disagreement does not need.
fn smaller(mut world: World, mut packets: Vec<Packet>) -> (World, Vec<Packet>) {
    // what palisade refuses is no disagreement
    let fails = |world: &World, packets: &[Packet]| {
        compare(world, packets).is_err_and(|problem| !problem.contains("palisade refuses"))
    };

    if let Some(packet) = packets
        .iter()
        .find(|packet| fails(&world, std::slice::from_ref(packet)))
    {
        packets = vec![packet.clone()];
    }
    while let Some(less) = parts_less(&world)
        .into_iter()
        .find(|less| fails(less, &packets))
    {
        world = less;
    }
    (world, packets)
}

/// The same world without one of its policies, rules, network sets, services, endpoints, host
/// endpoints, proposals or profiles, in every way.
pub(crate) fn parts_less(world: &World) -> Vec<World> {
    let mut all = Vec::new();
    let mut without = |cut: &dyn Fn(&mut World)| {
        let mut less = world.clone();
        cut(&mut less);
        all.push(less);
    };
    (0..world.policies.len()).for_each(|index| without(&|less| drop(less.policies.remove(index))));
    (0..world.net_sets.len()).for_each(|index| without(&|less| drop(less.net_sets.remove(index))));
    (0..world.backends.len()).for_each(|index| without(&|less| drop(less.backends.remove(index))));
    (0..world.pods.len()).for_each(|index| without(&|less| drop(less.pods.remove(index))));
    (0..world.hosts.len()).for_each(|index| without(&|less| drop(less.hosts.remove(index))));
    (0..world.staged.len()).for_each(|index| without(&|less| drop(less.staged.remove(index))));
    (0..world.profiles.len()).for_each(|index| without(&|less| drop(less.profiles.remove(index))));

    for (index, profile) in world.profiles.iter().enumerate() {
        let cut = |less: &mut World, from: fn(&mut Profile) -> &mut Vec<Rule>, rule: usize| {
            less.profiles
                .get_mut(index)
                .into_iter()
                .for_each(|profile| drop(from(profile).remove(rule)));
        };
        (0..profile.ingress.len())
            .for_each(|rule| without(&|less| cut(less, |profile| &mut profile.ingress, rule)));
        (0..profile.egress.len())
            .for_each(|rule| without(&|less| cut(less, |profile| &mut profile.egress, rule)));
    }

    for (index, policy) in world.policies.iter().enumerate() {
        let counts = match policy {
            Policy::Calico(policy) => [policy.ingress.len(), policy.egress.len()],
            Policy::Kubernetes(policy) => [policy.ingress.len(), policy.egress.len()],
            Policy::Cluster(policy) => [policy.ingress.len(), policy.egress.len()],
        };
        for (ingress, count) in [true, false].into_iter().zip(counts) {
            // the last one stays: a list that becomes empty changes the directions
            (0..count)
                .filter(|_| count > 1)
                .for_each(|rule| without(&|less| cut_rule(less, index, ingress, rule)));
        }
    }

    all
}

fn cut_rule(world: &mut World, policy: usize, ingress: bool, rule: usize) {
    match world.policies.get_mut(policy) {
        Some(Policy::Calico(policy)) if ingress => drop(policy.ingress.remove(rule)),
        Some(Policy::Calico(policy)) => drop(policy.egress.remove(rule)),
        Some(Policy::Kubernetes(policy)) if ingress => drop(policy.ingress.remove(rule)),
        Some(Policy::Kubernetes(policy)) => drop(policy.egress.remove(rule)),
        Some(Policy::Cluster(policy)) if ingress => drop(policy.ingress.remove(rule)),
        Some(Policy::Cluster(policy)) => drop(policy.egress.remove(rule)),
        None => {}
    }
}
