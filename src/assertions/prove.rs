//! Whether assertions hold.

use crate::assertions::coverage::{Coverage, TouchedRules};
use crate::assertions::endpoint_selection::{EndpointAddress, EndpointAddresses, PartySelector};
use crate::assertions::{Assertion, ExpectedOutcome};
use crate::diagnostic::{Code, Diagnostic};
use crate::explain::query::{QueryCase, SOURCE_PORT, is_itself};
use crate::explain::{self, ExplainedGroup};
use crate::net::{Family, Side};
use crate::packet::{Conversation, Party};
use crate::packet_space::traffic_pattern::is_control_of_other;
use crate::packet_space::{
    ClusterSpace, EndpointClassId, HeaderClass, HeaderSetId, HeaderSpace, PartitionBuilder,
    TrafficPattern,
};
use crate::resolve::ResolvedPolicy;
use crate::semantics::evaluate::Evaluator;

/// What was found of assertions.
#[derive(Debug)]
pub struct AssertionReport<'input> {
    /// A verdict for each assertion, in order.
    pub verdicts: Vec<AssertionVerdict<'input>>,
    /// Which rules they touch; none where nobody asked.
    pub coverage: Option<Coverage<'input>>,
}

/// What was found of an assertion.
#[derive(Debug)]
pub enum AssertionVerdict<'input> {
    /// It holds for every packet that it covers.
    Holds,
    /// It covers less than it says: why, for each part that is nobody. An assertion that may be
    /// empty holds all the same.
    Empty(Vec<String>),
    /// It does not hold for one packet, of one case: what becomes of it, and why.
    Fails(Box<ExplainedGroup<'input>>),
}

impl AssertionVerdict<'_> {
    /// Whether an assertion of which this was found has passed.
    pub fn is_passed(&self, assertion: &Assertion) -> bool {
        match self {
            AssertionVerdict::Holds => true,
            AssertionVerdict::Empty(_) => assertion.may_be_empty,
            AssertionVerdict::Fails(_) => false,
        }
    }
}

/// Why an assertion covers nothing although its ends are somebody.
const NO_PACKET: &str = "covers nothing: no such packet goes between two endpoints, or an \
                         endpoint and an address, of one family";

/// Decides about all assertions; tells which rules they touch, where that is wanted.
///
/// # Errors
/// When two ways to decide about one packet disagree, which is a mistake in Palisade.
pub fn prove<'input>(
    resolved: &ResolvedPolicy<'input>,
    assertions: &[Assertion],
    wants_coverage: bool,
) -> Result<AssertionReport<'input>, Diagnostic> {
    let mut cuts = PartitionBuilder::default();
    cuts.of_policy(resolved);
    assertions
        .iter()
        .flat_map(|assertion| &assertion.what)
        .for_each(|what| what.add_cuts(&mut cuts));

    let mut traffic = HeaderSpace::of(&cuts);
    let space = ClusterSpace::new(resolved, &mut traffic);
    let mut prover = AssertionProver {
        resolved,
        evaluator: Evaluator::new(resolved),
        space,
        traffic,
        touched: wants_coverage.then(TouchedRules::default),
    };
    let verdicts = assertions
        .iter()
        .map(|assertion| prover.verdict(assertion))
        .collect::<Result<Vec<AssertionVerdict<'input>>, Diagnostic>>()?;

    let coverage = prover
        .touched
        .map(|touched| touched.coverage(&prover.space.relation, resolved));
    Ok(AssertionReport { verdicts, coverage })
}

struct AssertionProver<'resolved, 'input> {
    resolved: &'resolved ResolvedPolicy<'input>,
    evaluator: Evaluator<'resolved, 'input>,
    space: ClusterSpace<'input>,
    traffic: HeaderSpace,
    touched: Option<TouchedRules>,
}

/// Two classes with everyone who is meant in each.
struct ClassPair<'spots> {
    family: Family,
    /// What is sent.
    sent: HeaderSetId,
    classes: [EndpointClassId; 2],
    from: &'spots [EndpointAddress],
    to: &'spots [EndpointAddress],
}

impl<'input> AssertionProver<'_, 'input> {
    fn verdict(&mut self, assertion: &Assertion) -> Result<AssertionVerdict<'input>, Diagnostic> {
        let mut empty = Vec::new();
        let from = self.spots(&assertion.from, &mut empty);
        let to = self.spots(&assertion.to, &mut empty);
        let mut is_empty = true;
        let mut fails = None;
        let sent = Family::BOTH
            .map(|family| (family, self.sent(&assertion.what, family)))
            .into_iter();

        let sent = sent.filter(|(_, sent)| *sent != HeaderSpace::NONE);
        for ends in sent.flat_map(|(family, sent)| pairs(&from, &to, family, sent)) {
            let Some(pair) = self.pair(&ends) else {
                continue;
            };
            is_empty = false;
            if let Some(touched) = &mut self.touched {
                touched.add(
                    &self.space.relation,
                    ends.classes,
                    ends.sent,
                    &mut self.traffic,
                );
            }
            fails = fails.or_else(|| {
                self.wrong(assertion.expected, &ends)
                    .and_then(|class| case(pair, ends.family, &class))
            });
            if fails.is_some() && self.touched.is_none() {
                break;
            }
        }

        if let Some(case) = fails {
            return self.explained(assertion.expected, case);
        }

        if is_empty && empty.is_empty() {
            empty.push(NO_PACKET.to_owned());
        }

        Ok(if empty.is_empty() {
            AssertionVerdict::Holds
        } else {
            AssertionVerdict::Empty(empty)
        })
    }

    /// Everyone meant by any of these; notes those by which nobody is.
    fn spots(&self, who: &[PartySelector], empty: &mut Vec<String>) -> EndpointAddresses {
        let inventory = self.resolved.inventory;
        let mut all = EndpointAddresses::new();
        for who in who {
            let spots = who.spots(&self.space.places, inventory);
            if spots.is_empty() {
                empty.push(
                    who.unknown(inventory)
                        .unwrap_or_else(|| format!("`{}` is nobody in the input", who.as_str())),
                );
            }
            spots
                .into_iter()
                .for_each(|(class, more)| all.entry(class).or_default().extend(more));
        }

        all
    }

    /// What is sent between addresses of a family.
    fn sent(&mut self, what: &[TrafficPattern], family: Family) -> HeaderSetId {
        if what.is_empty() {
            return HeaderSpace::ALL;
        }
        what.iter().fold(HeaderSpace::NONE, |all, what| {
            let one = what.between(family, &mut self.traffic);
            self.traffic.or(all, one)
        })
    }

    /// Two who can send to one another: not a pod to itself.
    fn pair(&self, ends: &ClassPair<'_>) -> Option<[EndpointAddress; 2]> {
        let mut pairs = ends
            .from
            .iter()
            .flat_map(|from| ends.to.iter().map(move |to| [*from, *to]));
        pairs.find(|pair| !is_itself(pair.map(|spot| spot.owner), self.resolved.inventory))
    }

    /// A class of what is sent that does not fare as expected, one with a usual source port where
    /// there is any.
    fn wrong(&mut self, expected: ExpectedOutcome, ends: &ClassPair<'_>) -> Option<HeaderClass> {
        let [source, destination] = ends.classes;
        let allowed = self
            .space
            .relation
            .allowed(source, destination, &mut self.traffic);
        let wrong = match expected {
            ExpectedOutcome::Allowed => self.traffic.less(ends.sent, allowed),
            ExpectedOutcome::Denied => self.traffic.and(ends.sent, allowed),
        };

        let usual = usual(&mut self.traffic);
        let usual = self.traffic.and(wrong, usual);
        self.traffic
            .first(usual)
            .or_else(|| self.traffic.first(wrong))
    }

    fn explained(
        &self,
        expected: ExpectedOutcome,
        case: QueryCase,
    ) -> Result<AssertionVerdict<'input>, Diagnostic> {
        let group = explain::answer(&self.evaluator, &[case]).into_iter().next();
        match group.filter(|group| group.is_allowed == (expected == ExpectedOutcome::Denied)) {
            Some(group) => Ok(AssertionVerdict::Fails(Box::new(group))),
            None => Err(Diagnostic::new(
                Code::InternalError,
                format!(
                    "the evaluator and the packet space disagree about {:?}",
                    case.flow
                ),
            )),
        }
    }
}

/// The pairs of classes of a family of which one at least has endpoints.
fn pairs<'spots>(
    from: &'spots EndpointAddresses,
    to: &'spots EndpointAddresses,
    family: Family,
    sent: HeaderSetId,
) -> impl Iterator<Item = ClassPair<'spots>> {
    let of_family = move |spots: &'spots EndpointAddresses| {
        spots.iter().filter(move |((own, _), _)| *own == family)
    };
    let all = of_family(from).flat_map(move |from| of_family(to).map(move |to| (from, to)));
    let is_inside = |spots: &[EndpointAddress]| spots.iter().any(|spot| spot.owner.is_some());

    let inside = all.filter(move |((_, from), (_, to))| is_inside(from) || is_inside(to));
    inside.map(
        move |(((_, source), from), ((_, destination), to))| ClassPair {
            family,
            sent,
            classes: [*source, *destination],
            from,
            to,
        },
    )
}

/// Packets that people expect to see before others: from a usual port, and not to port 0.
fn usual(traffic: &mut HeaderSpace) -> HeaderSetId {
    let from = traffic.touching(Side::Source, SOURCE_PORT..=SOURCE_PORT);
    let without_ports = traffic.without_ports();
    let all = traffic.or(from, without_ports);
    traffic.and(all, traffic.listed())
}

/// A packet of a class.
fn case(
    [from, to]: [EndpointAddress; 2],
    family: Family,
    class: &HeaderClass,
) -> Option<QueryCase> {
    let (protocol, ports, icmp) = class.example()?;
    let icmp = icmp.filter(|_| !is_control_of_other(protocol, family));
    let party = |spot: EndpointAddress| Party {
        owner: spot.owner,
        address: spot.address,
    };
    let flow = Conversation {
        source: party(from),
        destination: party(to),
        family,
        protocol,
        ports,
        icmp,
    };

    Some(QueryCase {
        from: from.end()?,
        to: to.end()?,
        flow,
    })
}
