//! What is said of an assertion is what the evaluator says of the packets that it covers: none that
//! is drawn speaks against one that holds, and the counter-example of one that fails is covered and
//! speaks against it.

use std::fmt::Write;
use std::net::IpAddr;

use palisade::assertions::{self, AssertionVerdict, Coverage};
use palisade::diagnostic::Diagnostics;
use palisade::inventory::{Endpoint, Inventory};
use palisade::net::{Cidr, Protocol};
use palisade::packet::Flow;
use palisade::policy::{Action, StagedPolicies};
use palisade::semantics::evaluate::Evaluator;
use palisade::source::SourceFiles;
use palisade::{resolve, selector};

use super::packet::Packet;
use super::random::{self, Aim, Dice};
use super::world::World;
use super::{PACKETS, manifests, read, seeds};

const ASSERTIONS: usize = 40;

/// One side, as it is written and as it is meant.
#[derive(Debug, Clone)]
enum Who {
    Any,
    Outside,
    Endpoint(String, String),
    Account(String, String),
    Namespace(String),
    Selected(String),
    Addresses(Cidr),
    But(Option<Box<Who>>, Box<Who>),
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
enum What {
    Any,
    Protocol(u8, &'static str),
    Ports(u8, &'static str, u16, u16),
    Messages(u8, u8),
}

#[derive(Debug)]
struct Assertion {
    is_allow: bool,
    from: Vec<Who>,
    to: Vec<Who>,
    what: Vec<What>,
}

#[test]
fn assertions_hold_for_every_packet_or_have_a_counter_example() {
    let (mut held, mut failed, mut empty, mut drawn) = (0, 0, 0, 0);
    for seed in seeds(20) {
        let mut dice = Dice(seed);
        let world = random::world(&mut dice);
        let aim = Aim::at(&world);
        let packets: Vec<Packet> = (0..PACKETS)
            .map(|_| aim.packet(&mut dice, &world))
            .collect();
        let seen = compare(&mut dice, &world, &packets).unwrap_or_else(|problem| {
            panic!(
                "PALISADE_SEED={seed}\n{problem}\n{}",
                manifests::yaml(&world)
            )
        });
        (held, failed, empty, drawn) = (
            held + seen[0],
            failed + seen[1],
            empty + seen[2],
            drawn + seen[3],
        );
    }

    assert!(
        held > 300 && failed > 300 && drawn > 500,
        "{held} hold, {failed} fail, {empty} are empty, for {drawn} packets"
    );
}

/// How many hold, fail, and are empty, and how many packets those that hold cover.
fn compare(dice: &mut Dice, world: &World, packets: &[Packet]) -> Result<[usize; 4], String> {
    let input = read(manifests::yaml(world), StagedPolicies::Proposed)?;
    let inventory = &input.inventory;
    let resolved = resolve::selectors(&input.policies, inventory, &mut Diagnostics::default());
    let flows: Vec<Flow> = packets.iter().map(Packet::flow).collect();
    let written: Vec<Assertion> = (0..ASSERTIONS)
        .map(|_| assertion(dice, inventory, &flows))
        .collect();
    let assertions = parse(&written)?;
    let proof =
        assertions::prove(&resolved, &assertions, true).map_err(|problem| problem.message)?;
    let evaluator = Evaluator::new(&resolved);
    let mut seen = [0; 4];

    for (assertion, verdict) in written.iter().zip(&proof.verdicts) {
        let speaks_against =
            |flow: &Flow| evaluator.decide(flow).is_allowed() != assertion.is_allow;
        let covered: Vec<&Flow> = flows
            .iter()
            .filter(|flow| assertion.covers(flow, inventory))
            .collect();
        covered
            .iter()
            .try_for_each(|flow| is_touched(&evaluator, flow, proof.coverage.as_ref()))?;
        match verdict {
            AssertionVerdict::Holds => {
                seen[0] += 1;
                seen[3] += covered.len();
                if let Some(flow) = covered.iter().find(|flow| speaks_against(flow)) {
                    return Err(format!("{assertion:?}\nis said to hold, against {flow:?}"));
                }
            }
            AssertionVerdict::Empty(_) => {
                seen[2] += 1;
                if let Some(flow) = covered.iter().find(|flow| speaks_against(flow)) {
                    return Err(format!(
                        "{assertion:?}\nis said to be empty, against {flow:?}"
                    ));
                }
            }
            AssertionVerdict::Fails(group) => {
                seen[1] += 1;
                let case = group.cases.first().ok_or("no case")?;
                let Some(flow) = case.flow.flow() else {
                    continue;
                };
                if !assertion.covers(&flow, inventory) || !speaks_against(&flow) {
                    return Err(format!("{assertion:?}\nis said to fail, by {flow:?}"));
                }
            }
        }
    }

    Ok(seen)
}

/// Every rule that a covered packet meets, and that does not only log, counts as touched.
fn is_touched(
    evaluator: &Evaluator<'_, '_>,
    flow: &Flow,
    coverage: Option<&Coverage<'_>>,
) -> Result<(), String> {
    let decision = evaluator.decide(flow);
    let tiers = [&decision.egress, &decision.ingress]
        .into_iter()
        .flatten()
        .flat_map(|passage| &passage.tiers);
    for rule in tiers
        .flat_map(|tier| &tier.policies)
        .flat_map(|policy| &policy.rules)
        .filter(|rule| rule.action != Action::Log)
    {
        if !coverage
            .iter()
            .flat_map(|coverage| &coverage.rules)
            .any(|(of, is_touched)| *is_touched && std::ptr::eq(of.rule, *rule))
        {
            return Err(format!(
                "{flow:?} meets {rule:?}, which is said to be untouched"
            ));
        }
    }

    Ok(())
}

fn parse(written: &[Assertion]) -> Result<Vec<assertions::Assertion>, String> {
    let mut text = "assertions:\n".to_owned();
    for assertion in written {
        let list = |items: Vec<String>| items.join(", ");
        let who = |who: &[Who]| list(who.iter().map(Who::text).collect());
        let verb = if assertion.is_allow { "allow" } else { "deny" };
        let what = list(assertion.what.iter().map(What::text).collect());
        let what = if what.is_empty() {
            what
        } else {
            format!(", ports: [{what}]")
        };
        writeln!(
            text,
            "- {verb}: {{from: [{}], to: [{}]{what}}}",
            who(&assertion.from),
            who(&assertion.to)
        )
        .map_err(|error| error.to_string())?;
    }

    let mut files = SourceFiles::default();
    let file = files
        .add("assertions.yaml", text.clone())
        .map_err(|_| "too long")?;
    let mut diagnostics = Diagnostics::default();
    let assertions = assertions::read(&files, &[file], &mut diagnostics);

    let problem = diagnostics
        .sorted()
        .into_iter()
        .next()
        .map(|problem| format!("{problem:?}\n{text}"));
    problem.map_or(Ok(assertions), Err)
}

fn assertion(dice: &mut Dice, inventory: &Inventory, flows: &[Flow]) -> Assertion {
    let flow = dice.pick(flows);
    let from = (0..=dice.below(2))
        .map(|_| who(dice, inventory, flow.source))
        .collect();
    let to = (0..=dice.below(2))
        .map(|_| who(dice, inventory, flow.destination))
        .collect();
    let what = (0..dice.below(3)).map(|_| what(dice, &flow)).collect();

    Assertion {
        is_allow: dice.below(2) == 0,
        from,
        to,
        what,
    }
}

/// Somebody, often somebody who is at an address.
fn who(dice: &mut Dice, inventory: &Inventory, near: IpAddr) -> Who {
    let owner = inventory
        .endpoints
        .iter()
        .find(|endpoint| endpoint.addresses.contains(&near));
    let some = inventory
        .endpoints
        .get(dice.below(inventory.endpoints.len()))
        .expect("an endpoint");
    let endpoint = owner.filter(|_| dice.below(3) > 0).unwrap_or(some);
    let namespace = endpoint.namespace.to_string();

    match dice.below(9) {
        0 => Who::Any,
        1 => Who::Outside,
        2 => Who::Endpoint(namespace, endpoint.name.to_string()),
        3 if endpoint.service_account.is_some() => Who::Account(
            namespace,
            endpoint
                .service_account
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
        ),
        4 => Who::Namespace(namespace),
        5 | 6 => {
            let labels: Vec<(&str, &str)> = inventory.labels(endpoint).iter().collect();
            let (key, value) = dice.pick(&labels);
            let operator = if dice.below(3) == 0 { "!=" } else { "==" };
            Who::Selected(format!("{key} {operator} \"{value}\""))
        }
        7 => {
            let whole = who(dice, inventory, near);
            let is_mapping = matches!(
                whole,
                Who::Account(..) | Who::Namespace(_) | Who::Selected(_) | Who::Addresses(_)
            );
            Who::But(
                is_mapping.then(|| Box::new(whole)),
                Box::new(who(dice, inventory, near)),
            )
        }
        _ => {
            let width: u8 = if near.is_ipv4() { 32 } else { 128 };
            let length = width - u8::try_from(dice.below(20)).expect("small");
            Who::Addresses(Cidr::around(near, length).expect("a prefix"))
        }
    }
}

fn what(dice: &mut Dice, flow: &Flow) -> What {
    let (number, name) = dice.pick(&[(6, "tcp"), (17, "udp"), (132, "sctp")]);
    let port = flow.ports.map_or(80, |ports| ports.destination).max(1);

    match (dice.below(6), flow.icmp) {
        (0, _) => What::Any,
        (1, _) => What::Protocol(number, name),
        (2, _) => What::Protocol(1, "icmp"),
        (3, _) => What::Protocol(58, "icmpv6"),
        (4, Some(message)) => What::Messages(flow.protocol.number(), message.kind),
        _ => What::Ports(
            number,
            name,
            port,
            port.saturating_add(u16::try_from(dice.below(3)).expect("small")),
        ),
    }
}

impl Who {
    fn text(&self) -> String {
        match self {
            Who::Any => "any".to_owned(),
            Who::Outside => "outside".to_owned(),
            Who::Endpoint(namespace, name) => format!("{namespace}/{name}"),
            Who::Account(namespace, name) => format!("{{serviceAccount: {namespace}/{name}}}"),
            Who::Namespace(name) => format!("{{namespace: '{name}'}}"),
            Who::Selected(selector) => format!("{{selector: '{selector}'}}"),
            Who::Addresses(cidr) => format!("{{cidr: '{cidr}'}}"),
            Who::But(None, except) => format!("{{except: {}}}", except.text()),
            Who::But(Some(who), except) => format!(
                "{}, except: {}}}",
                who.text().trim_end_matches('}'),
                except.text()
            ),
        }
    }

    fn means(&self, address: IpAddr, owner: Option<&Endpoint>, inventory: &Inventory) -> bool {
        match self {
            Who::Any => true,
            Who::Outside => owner.is_none(),
            Who::Endpoint(namespace, name) => {
                owner.is_some_and(|own| *own.namespace == **namespace && *own.name == **name)
            }
            Who::Account(namespace, name) => owner.is_some_and(|own| {
                *own.namespace == **namespace && own.service_account.as_deref() == Some(name)
            }),
            Who::Namespace(name) => owner.is_some_and(|own| *own.namespace == **name),
            Who::Selected(text) => {
                let selector = selector::parse(text).expect("a selector");
                owner.is_some_and(|own| selector.matches(&inventory.labels(own)))
            }
            Who::Addresses(cidr) => cidr.holds(address),
            Who::But(who, except) => {
                let is_of_whole = who
                    .as_ref()
                    .is_none_or(|who| who.means(address, owner, inventory));
                is_of_whole && !except.means(address, owner, inventory)
            }
        }
    }
}

impl What {
    fn text(&self) -> String {
        match self {
            What::Any => "any".to_owned(),
            What::Protocol(_, name) => (*name).to_owned(),
            What::Ports(_, name, first, last) if first == last => format!("{name}/{first}"),
            What::Ports(_, name, first, last) => format!("{name}/{first}-{last}"),
            What::Messages(protocol, kind) => {
                format!("{}/{kind}", if *protocol == 1 { "icmp" } else { "icmpv6" })
            }
        }
    }

    fn holds(self, flow: &Flow) -> bool {
        let is_own = |number: u8| Protocol::from_number(number) == Some(flow.protocol);
        let is_other_family = |number: u8| {
            (number == 1 && !flow.source.is_ipv4()) || (number == 58 && flow.source.is_ipv4())
        };

        match self {
            What::Any => true,
            What::Protocol(number, _) => is_own(number) && !is_other_family(number),
            What::Ports(number, _, first, last) => {
                is_own(number)
                    && flow
                        .ports
                        .is_some_and(|ports| (first..=last).contains(&ports.destination))
            }
            What::Messages(number, kind) => {
                is_own(number)
                    && !is_other_family(number)
                    && flow.icmp.is_some_and(|message| message.kind == kind)
            }
        }
    }
}

impl Assertion {
    fn covers(&self, flow: &Flow, inventory: &Inventory) -> bool {
        let owner = |address: IpAddr| {
            inventory
                .endpoints
                .iter()
                .find(|endpoint| endpoint.addresses.contains(&address))
        };
        let (from, to) = (owner(flow.source), owner(flow.destination));
        let is_inside = from.is_some() || to.is_some();
        let is_itself = from
            .zip(to)
            .is_some_and(|(from, to)| std::ptr::eq(from, to));
        let is_sent = self.what.is_empty() || self.what.iter().any(|what| what.holds(flow));
        let is_from = self
            .from
            .iter()
            .any(|who| who.means(flow.source, from, inventory));

        let is_to = self
            .to
            .iter()
            .any(|who| who.means(flow.destination, to, inventory));
        is_inside && !is_itself && is_sent && is_from && is_to
    }
}
