//! Proves assertions.

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

/// The result for all assertions.
#[derive(Debug)]
pub struct AssertionReport<'input> {
    /// A verdict for each assertion, in order.
    pub verdicts: Vec<AssertionVerdict<'input>>,
    /// The coverage of rules; `None` if it was not requested.
    pub coverage: Option<Coverage<'input>>,
}

/// The verdict for one assertion.
#[derive(Debug)]
pub enum AssertionVerdict<'input> {
    /// The assertion holds for every packet that it covers.
    Holds,
    /// The assertion covers less than it names. Contains the reason for each part that matches
    /// nothing. The assertion passes only if it may be empty.
    Empty(Vec<String>),
    /// The assertion does not hold. Contains the explanation of one packet.
    Fails(Box<ExplainedGroup<'input>>),
}

impl AssertionVerdict<'_> {
    /// Returns `true` if an assertion with this verdict passes.
    pub fn is_passed(&self, assertion: &Assertion) -> bool {
        match self {
            AssertionVerdict::Holds => true,
            AssertionVerdict::Empty(_) => assertion.may_be_empty,
            AssertionVerdict::Fails(_) => false,
        }
    }
}

/// The reason if both ends match but no packet can go between them.
const NO_PACKET: &str = "covers nothing: no such packet goes between two endpoints, or an \
                         endpoint and an address, of one family";

/// Proves all assertions. Computes the coverage of rules if `wants_coverage` is set.
///
/// # Errors
/// If the evaluator and the packet space disagree about a packet. That is a bug in Palisade.
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

/// Two classes, with the matching addresses in each.
struct ClassPair<'spots> {
    family: Family,
    /// The traffic.
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
            // a pair of classes can be a pod and itself only, which does not count
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
            // coverage needs all pairs, even after a counterexample
            if fails.is_some() && self.touched.is_none() {
                break;
            }
        }

        if let Some(case) = fails {
            return self.explained(assertion.expected, case);
        }

        // both ends match, but no packet can go between them
        if is_empty && empty.is_empty() {
            empty.push(NO_PACKET.to_owned());
        }

        Ok(if empty.is_empty() {
            AssertionVerdict::Holds
        } else {
            AssertionVerdict::Empty(empty)
        })
    }

    /// Returns all addresses that match any of the selectors. Adds a reason to `empty` for each
    /// selector that matches nothing.
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

    /// Returns the traffic between addresses of a family.
    fn sent(&mut self, what: &[TrafficPattern], family: Family) -> HeaderSetId {
        if what.is_empty() {
            return HeaderSpace::ALL;
        }
        what.iter().fold(HeaderSpace::NONE, |all, what| {
            let one = what.between(family, &mut self.traffic);
            self.traffic.or(all, one)
        })
    }

    /// Returns a sender and a receiver that can exchange packets, that is, not a pod and itself.
    fn pair(&self, ends: &ClassPair<'_>) -> Option<[EndpointAddress; 2]> {
        let mut pairs = ends
            .from
            .iter()
            .flat_map(|from| ends.to.iter().map(move |to| [*from, *to]));
        pairs.find(|pair| !is_itself(pair.map(|spot| spot.owner), self.resolved.inventory))
    }

    /// Returns a header class whose outcome is not the expected one, if possible with a usual
    /// source port.
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
        // the evaluator is independent of the packet space, so this checks the counterexample
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

/// Returns the pairs of classes of one family in which at least one end has endpoints.
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

/// Returns the traffic that users expect in an example: from a usual source port, and not to
/// port 0.
fn usual(traffic: &mut HeaderSpace) -> HeaderSetId {
    let from = traffic.touching(Side::Source, SOURCE_PORT..=SOURCE_PORT);
    let without_ports = traffic.without_ports();
    let all = traffic.or(from, without_ports);
    traffic.and(all, traffic.listed())
}

/// Returns an example packet of a header class.
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
