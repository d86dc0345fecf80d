//! The reachability matrix: which traffic is allowed between every two endpoint classes.
//!
//! In: [`ResolvedPolicy`], its [`EndpointClasses`], and a [`HeaderSpace`]. Out: a
//! [`ReachabilityMatrix`], which answers for every pair of endpoint classes. A *policy profile* is
//! the result of an endpoint's policies in one direction. Classes with the same policies share one.
//! A profile has one answer for most classes at the other end, and separate answers for the classes
//! that its rules name.
//!
//! Cost: for each profile, the classes that its rules name, times a logarithm of the number of its
//! rules, in operations on sets of headers. Then each answer costs two look-ups.

mod host_endpoints;

pub use host_endpoints::{HostList, HostListId, HostListStage};

use std::ops::Range;

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::inventory::{EndpointId, Inventory, ProfileList, ProfileName, profile_name};
use crate::net::{Direction, Family, Side};
use crate::packet_space::cascade::{CascadeRule, RuleCascade};
use crate::packet_space::endpoint_class::{EndpointClass, EndpointClassId, EndpointClasses};
use crate::packet_space::header_space::{HeaderSetId, HeaderSpace};
use crate::packet_space::peer_table::{PeerTable, SideContext, SideId};
use crate::policy::{Action, DefaultAction, PolicyKey, PolicyListKind, Rule, Tier};
use crate::resolve::ResolvedPolicy;

/// The id of a policy profile: the result of policy in one direction, for every class at the other
/// end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyProfileId(u32);

/// A rule, with the policy or profile that contains it.
#[derive(Debug, Clone, Copy)]
pub struct RuleId<'input> {
    /// The tier of the policy; `None` for a rule of a profile.
    pub tier: Option<&'input Tier>,
    /// The policy or profile.
    pub key: &'input PolicyKey,
    /// The direction.
    pub direction: Direction,
    /// The rule.
    pub rule: &'input Rule,
}

/// What decides the verdict for some traffic.
#[derive(Debug, Clone, Copy)]
pub enum DecisionCause<'input> {
    /// A rule.
    Rule(RuleId<'input>),
    /// The end of a tier whose default action denies.
    Tier(&'input Tier),
    /// The end of the profiles.
    Profiles,
}

/// Traffic, with what decides its verdict.
#[derive(Debug, Clone, Copy)]
pub struct DecidedTraffic<'input> {
    /// The traffic; not empty.
    pub traffic: HeaderSetId,
    /// What decides.
    pub cause: DecisionCause<'input>,
    /// `true` if the traffic is allowed.
    pub is_allowed: bool,
}

/// The allowed traffic between all pairs of endpoint classes.
#[derive(Debug)]
pub struct ReachabilityMatrix<'input> {
    rules: Vec<RuleId<'input>>,
    tiers: Vec<&'input Tier>,
    sides: PeerTable<'input>,
    steps: IndexSet<Vec<ProfileStep>, FxBuildHasher>,
    views: Vec<PolicyProfile>,
    egress: Vec<PolicyProfileId>,
    ingress: Vec<PolicyProfileId>,
    hosts: host_endpoints::HostLists<'input>,
}

/// The traffic that a policy profile allows.
#[derive(Debug)]
struct PolicyProfile {
    default: HeaderSetId,
    listed: Vec<(EndpointClassId, HeaderSetId)>,
}

/// One step in the evaluation of the policies of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ProfileStep {
    /// A rule, with the traffic that its protocol and its local side leave.
    Rule {
        rule: u32,
        far: SideId,
        traffic: HeaderSetId,
        action: Action,
    },
    /// The end of a tier.
    Tier { tier: u32, default: DefaultAction },
    /// The end of a profile.
    Profile,
    /// The end of the evaluation.
    End { is_allowed: bool },
}

/// The traffic that is still undecided during an evaluation.
struct Residual {
    /// The traffic that no rule of the tier has decided yet.
    open: HeaderSetId,
    /// The traffic that a rule of the tier passes to the next tier.
    passed: HeaderSetId,
    allowed: HeaderSetId,
}

/// The state while policy profiles are computed.
struct RelationBuilder<'work, 'input> {
    work: SideContext<'work, 'input>,
    relation: ReachabilityMatrix<'input>,
    /// For every rule, its sides and the traffic of its protocol.
    prepared: Vec<PreparedRule>,
    /// The number of the first rule of each policy or profile in each direction.
    firsts: FxHashMap<(&'input PolicyKey, Direction), u32>,
}

/// A rule before its sides are evaluated at a class.
#[derive(Debug, Clone, Copy)]
struct PreparedRule {
    source: SideId,
    destination: SideId,
    traffic: HeaderSetId,
}

impl<'input> ReachabilityMatrix<'input> {
    /// Evaluates policy for every pair of endpoint classes.
    pub fn new(
        resolved: &ResolvedPolicy<'input>,
        places: &EndpointClasses<'input>,
        traffic: &mut HeaderSpace,
    ) -> Self {
        Self::local_class(resolved, places, traffic, |_| true)
    }

    /// As [`Self::new`], but evaluates the lists of host endpoints too.
    pub fn with_hosts(
        resolved: &ResolvedPolicy<'input>,
        places: &EndpointClasses<'input>,
        traffic: &mut HeaderSpace,
    ) -> Self {
        Self::made(resolved, places, true, traffic, |_| true)
    }

    /// Evaluates the policies of some endpoint classes only. The other classes allow everything.
    pub fn local_class(
        resolved: &ResolvedPolicy<'input>,
        places: &EndpointClasses<'input>,
        traffic: &mut HeaderSpace,
        is_near: impl Fn(&EndpointClass) -> bool,
    ) -> Self {
        Self::made(resolved, places, false, traffic, is_near)
    }

    fn made(
        resolved: &ResolvedPolicy<'input>,
        places: &EndpointClasses<'input>,
        of_hosts: bool,
        traffic: &mut HeaderSpace,
        is_near: impl Fn(&EndpointClass) -> bool,
    ) -> Self {
        let relation = Self {
            rules: Vec::new(),
            tiers: resolved.policies.tiers.iter().collect(),
            sides: PeerTable::default(),
            steps: IndexSet::default(),
            views: Vec::new(),
            egress: Vec::new(),
            ingress: Vec::new(),
            hosts: host_endpoints::HostLists::default(),
        };

        let mut maker = RelationBuilder {
            work: SideContext {
                resolved,
                places,
                traffic,
            },
            relation,
            prepared: Vec::new(),
            firsts: FxHashMap::default(),
        };
        maker.number_rules();

        if of_hosts {
            maker.add_hosts();
        }

        for (id, class) in places.classes() {
            let [egress, ingress] =
                [Direction::Egress, Direction::Ingress].map(|direction| match is_near(class) {
                    true => maker.view(id, class, direction),
                    false => maker.open_view(),
                });
            maker.relation.egress.push(egress);
            maker.relation.ingress.push(ingress);
        }

        maker.decide();
        maker.relation
    }

    /// Returns the traffic that may go from one class to another class of the same family.
    pub fn allowed(
        &self,
        source: EndpointClassId,
        destination: EndpointClassId,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        let leaves = self.seen(self.view(source, Direction::Egress), destination);
        let enters = self.seen(self.view(destination, Direction::Ingress), source);
        traffic.and(leaves, enters)
    }

    /// Returns the policy profile of a class in one direction.
    pub fn view(&self, class: EndpointClassId, direction: Direction) -> PolicyProfileId {
        let views = match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        };
        views
            .get(class.0 as usize)
            .copied()
            .unwrap_or(PolicyProfileId(u32::MAX))
    }

    /// Returns the traffic that a profile allows with a class at the other end. Empty for a profile
    /// of another matrix.
    pub fn seen(&self, view: PolicyProfileId, far: EndpointClassId) -> HeaderSetId {
        let Some(view) = self.views.get(view.0 as usize) else {
            return HeaderSpace::NONE;
        };
        let found = view.listed.binary_search_by_key(&far, |row| row.0).ok();
        found
            .and_then(|at| view.listed.get(at))
            .map_or(view.default, |row| row.1)
    }

    /// Returns the traffic that a profile allows with the classes that are not exceptions.
    pub fn seen_by_default(&self, view: PolicyProfileId) -> HeaderSetId {
        self.views
            .get(view.0 as usize)
            .map_or(HeaderSpace::NONE, |view| view.default)
    }

    /// Returns the classes at the other end for which a profile differs from its default, in order,
    /// with the traffic that it allows there.
    pub fn exceptions(&self, view: PolicyProfileId) -> &[(EndpointClassId, HeaderSetId)] {
        self.views
            .get(view.0 as usize)
            .map_or(&[], |view| &view.listed)
    }

    /// Returns what decides about the traffic `sent`, for a profile and a class at the other end,
    /// in order of evaluation. The parts are disjoint and cover `sent`.
    ///
    /// Cost: the rules, each with the part of the traffic that reaches it.
    pub fn causes(
        &self,
        view: PolicyProfileId,
        far: EndpointClassId,
        sent: HeaderSetId,
        traffic: &mut HeaderSpace,
    ) -> Vec<DecidedTraffic<'input>> {
        let mut decided = Vec::new();
        let Some(steps) = self.steps.get_index(view.0 as usize) else {
            return decided;
        };

        let mut way = Residual {
            open: sent,
            ..Residual::new()
        };
        for step in steps {
            let here = match step {
                ProfileStep::Rule { far: side, .. } => self
                    .sides
                    .table(*side)
                    .map_or(HeaderSpace::NONE, |table| table.at(far)),
                ProfileStep::Tier { .. } | ProfileStep::Profile | ProfileStep::End { .. } => {
                    HeaderSpace::ALL
                }
            };
            let taken = way.subtract(*step, here, traffic);
            let Some((cause, is_allowed)) = self.cause(*step) else {
                continue;
            };
            if taken != HeaderSpace::NONE {
                decided.push(DecidedTraffic {
                    traffic: taken,
                    cause,
                    is_allowed,
                });
            }
        }

        decided
    }

    /// Returns the classes at the other end that any rule of a profile names, in order. For all
    /// other classes, the profile has the same verdicts, by the same rules.
    pub fn named(&self, view: PolicyProfileId) -> Vec<EndpointClassId> {
        let steps = self.steps.get_index(view.0 as usize).into_iter().flatten();
        let tables = steps.filter_map(|step| match step {
            ProfileStep::Rule { far, .. } => self.sides.table(*far),
            ProfileStep::Tier { .. } | ProfileStep::Profile | ProfileStep::End { .. } => None,
        });

        let mut named: Vec<EndpointClassId> = tables
            .flat_map(|table| table.listed.iter().map(|row| row.0))
            .collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    /// Returns the part of `sent` that each rule takes, for a profile and a class at the other end,
    /// by the rule's index in [`ReachabilityMatrix::rules`]. Rules that take nothing are left out.
    /// A Pass rule takes packets too; a Log rule does not.
    pub fn taken(
        &self,
        view: PolicyProfileId,
        far: EndpointClassId,
        sent: HeaderSetId,
        traffic: &mut HeaderSpace,
    ) -> Vec<(usize, HeaderSetId)> {
        let mut all = Vec::new();
        let mut way = Residual {
            open: sent,
            ..Residual::new()
        };
        for step in self.steps.get_index(view.0 as usize).into_iter().flatten() {
            let ProfileStep::Rule {
                rule, far: side, ..
            } = step
            else {
                way.subtract(*step, HeaderSpace::ALL, traffic);
                continue;
            };
            let here = self
                .sides
                .table(*side)
                .map_or(HeaderSpace::NONE, |table| table.at(far));
            let taken = way.subtract(*step, here, traffic);
            if taken != HeaderSpace::NONE {
                all.push((*rule as usize, taken));
            }
        }

        all
    }

    /// Returns every rule: those of policies in the order of evaluation, then those of profiles.
    pub fn rules(&self) -> &[RuleId<'input>] {
        &self.rules
    }

    /// Returns what a step is and whether it allows, or `None` if the step decides nothing.
    fn cause(&self, step: ProfileStep) -> Option<(DecisionCause<'input>, bool)> {
        match step {
            ProfileStep::Rule {
                rule,
                action: Action::Allow,
                ..
            } => Some((DecisionCause::Rule(*self.rules.get(rule as usize)?), true)),
            ProfileStep::Rule {
                rule,
                action: Action::Deny,
                ..
            } => Some((DecisionCause::Rule(*self.rules.get(rule as usize)?), false)),
            ProfileStep::Rule {
                action: Action::Pass | Action::Log,
                ..
            }
            | ProfileStep::Tier {
                default: DefaultAction::Pass,
                ..
            }
            | ProfileStep::Profile => None,
            ProfileStep::Tier {
                tier,
                default: DefaultAction::Deny,
            } => Some((DecisionCause::Tier(self.tiers.get(tier as usize)?), false)),
            ProfileStep::End { is_allowed } => Some((DecisionCause::Profiles, is_allowed)),
        }
    }
}

impl Residual {
    fn new() -> Self {
        Self {
            open: HeaderSpace::ALL,
            passed: HeaderSpace::NONE,
            allowed: HeaderSpace::NONE,
        }
    }

    /// Applies one step. `here` is the traffic that the far side of the rule matches. Returns the
    /// traffic that the step removes from the open traffic.
    fn subtract(
        &mut self,
        step: ProfileStep,
        here: HeaderSetId,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        match step {
            ProfileStep::Rule {
                action: Action::Log,
                ..
            } => HeaderSpace::NONE,
            ProfileStep::Rule {
                traffic: wanted,
                action,
                ..
            } => {
                let wanted = traffic.and(wanted, here);
                let taken = traffic.and(self.open, wanted);
                self.open = traffic.less(self.open, taken);
                match action {
                    Action::Allow => self.allowed = traffic.or(self.allowed, taken),
                    Action::Pass => self.passed = traffic.or(self.passed, taken),
                    Action::Deny | Action::Log => {}
                }
                taken
            }
            ProfileStep::Tier {
                default: DefaultAction::Deny,
                ..
            } => {
                let passed = std::mem::replace(&mut self.passed, HeaderSpace::NONE);
                std::mem::replace(&mut self.open, passed)
            }
            ProfileStep::Tier {
                default: DefaultAction::Pass,
                ..
            }
            | ProfileStep::Profile => {
                let passed = std::mem::replace(&mut self.passed, HeaderSpace::NONE);
                self.open = traffic.or(self.open, passed);
                HeaderSpace::NONE
            }
            ProfileStep::End { is_allowed } => {
                let rest = std::mem::replace(&mut self.open, HeaderSpace::NONE);
                if is_allowed {
                    self.allowed = traffic.or(self.allowed, rest);
                }
                rest
            }
        }
    }
}

impl<'input> RelationBuilder<'_, 'input> {
    fn number_rules(&mut self) {
        let policies = self.work.resolved.policies;
        for (tier, policy) in policies.policies() {
            for direction in Direction::BOTH {
                self.number(
                    Some(tier),
                    &policy.key,
                    direction,
                    policy.rules(direction).unwrap_or_default(),
                );
            }
        }

        for profile in policies.profiles.values() {
            for direction in Direction::BOTH {
                self.number(None, &profile.key, direction, profile.rules(direction));
            }
        }
    }

    fn number(
        &mut self,
        tier: Option<&'input Tier>,
        key: &'input PolicyKey,
        direction: Direction,
        rules: &'input [Rule],
    ) {
        self.firsts
            .insert((key, direction), number(self.relation.rules.len()));

        for rule in rules {
            let source =
                self.relation
                    .sides
                    .add(Side::Source, &rule.source, rule.protocol, &mut self.work);
            let destination = self.relation.sides.add(
                Side::Destination,
                &rule.destination,
                rule.protocol,
                &mut self.work,
            );
            let traffic = self.work.traffic.of_rule(rule.protocol, rule.icmp);
            self.prepared.push(PreparedRule {
                source,
                destination,
                traffic,
            });
            self.relation.rules.push(RuleId {
                tier,
                key,
                direction,
                rule,
            });
        }
    }

    /// Returns the profile of a class; adds it if it is new.
    fn view(
        &mut self,
        id: EndpointClassId,
        class: &EndpointClass,
        direction: Direction,
    ) -> PolicyProfileId {
        let steps = match class.owner {
            None => vec![ProfileStep::End { is_allowed: true }],
            Some(owner) => self.steps(
                owner,
                LocalClass {
                    id,
                    family: class.family,
                    direction,
                },
            ),
        };
        PolicyProfileId(number(self.relation.steps.insert_full(steps).0))
    }

    /// Returns the profile of classes without policies.
    fn open_view(&mut self) -> PolicyProfileId {
        PolicyProfileId(number(
            self.relation
                .steps
                .insert_full(vec![ProfileStep::End { is_allowed: true }])
                .0,
        ))
    }

    fn steps(&mut self, owner: EndpointId, near: LocalClass) -> Vec<ProfileStep> {
        let resolved = self.work.resolved;
        let mut places: Vec<_> = resolved
            .applied_to(owner)
            .iter()
            .flat_map(|selector| resolved.policies_of(*selector))
            .copied()
            .collect();
        // positions sort in the order of evaluation: by tier, then by policy
        places.sort_unstable();

        let (mut steps, mut last) = (Vec::new(), None);
        for place in places {
            let Some(tier) = resolved.policies.tiers.get(place.tier) else {
                continue;
            };
            let Some(policy) = tier
                .policies
                .get(place.policy)
                .filter(|policy| policy.is_on(PolicyListKind::Normal))
            else {
                continue;
            };
            let Some(rules) = policy.rules(near.direction) else {
                continue;
            };
            if let Some(before) = last
                .replace(place.tier)
                .filter(|before| *before != place.tier)
            {
                steps.extend(self.end_of_tier(before));
            }
            self.add_rules(&policy.key, rules, near, &mut steps);
        }

        steps.extend(last.and_then(|tier| self.end_of_tier(tier)));
        self.add_profiles(owner, near, &mut steps);
        steps
    }

    fn end_of_tier(&self, position: usize) -> Option<ProfileStep> {
        let default = self
            .work
            .resolved
            .policies
            .tiers
            .get(position)?
            .default_action;

        Some(ProfileStep::Tier {
            tier: number(position),
            default,
        })
    }

    /// Adds the steps of profiles after those of tiers. What a profile passes or does not decide
    /// continues with the next profile (semantics §4.3.6).
    fn add_profiles(&mut self, owner: EndpointId, near: LocalClass, steps: &mut Vec<ProfileStep>) {
        let inventory: &'input Inventory = self.work.resolved.inventory;
        self.add_rules_of(&inventory.endpoint(owner).profiles, near, steps);
    }

    fn add_rules_of(
        &mut self,
        profiles: &'input ProfileList,
        near: LocalClass,
        steps: &mut Vec<ProfileStep>,
    ) {
        let resolved = self.work.resolved;
        if *profiles == ProfileList::OfPod {
            steps.push(ProfileStep::End { is_allowed: true });
            return;
        }

        for name in profiles.names().map(profile_name) {
            let profile = match name {
                ProfileName::ServiceAccount(..) => continue,
                ProfileName::Namespace(_) | ProfileName::AllowAll => {
                    steps.push(ProfileStep::End { is_allowed: true });
                    return;
                }
                ProfileName::Named(name) => resolved.policies.profiles.get(name),
            };
            // a profile that is not in the input denies, whatever comes after it
            let Some(profile) = profile else { break };
            self.add_rules(&profile.key, profile.rules(near.direction), near, steps);
            steps.push(ProfileStep::Profile);
        }

        steps.push(ProfileStep::End { is_allowed: false });
    }

    /// Adds the rules that can match if the local side is this class.
    fn add_rules(
        &mut self,
        key: &'input PolicyKey,
        rules: &'input [Rule],
        near: LocalClass,
        steps: &mut Vec<ProfileStep>,
    ) {
        let first = self
            .firsts
            .get(&(key, near.direction))
            .copied()
            .unwrap_or(u32::MAX);

        for (number, rule) in (first..)
            .zip(rules)
            .filter(|(_, rule)| rule.applies_to(near.family))
        {
            let Some(prepared) = self.prepared.get(number as usize).copied() else {
                continue;
            };
            let (own, far) = match near.direction {
                Direction::Egress => (prepared.source, prepared.destination),
                Direction::Ingress => (prepared.destination, prepared.source),
            };
            let own = self
                .relation
                .sides
                .table(own)
                .map_or(HeaderSpace::NONE, |table| table.at(near.id));
            let traffic = self.work.traffic.and(prepared.traffic, own);
            if traffic != HeaderSpace::NONE {
                steps.push(ProfileStep::Rule {
                    rule: number,
                    far,
                    traffic,
                    action: rule.action,
                });
            }
        }
    }

    /// Evaluates every policy profile.
    fn decide(&mut self) {
        let steps = std::mem::take(&mut self.relation.steps);
        self.relation.views = steps.iter().map(|steps| self.decide_view(steps)).collect();
        self.relation.steps = steps;
    }

    fn decide_view(&mut self, steps: &[ProfileStep]) -> PolicyProfile {
        let mut common = CommonSteps::default();
        let mut touched: FxHashMap<EndpointClassId, Vec<(usize, HeaderSetId)>> =
            FxHashMap::default();
        let mut rules = Vec::new();
        for (position, step) in steps.iter().enumerate() {
            let ProfileStep::Rule {
                far,
                traffic: wanted,
                action,
                ..
            } = step
            else {
                common.ends.push(position);
                continue;
            };
            let Some(table) = self.relation.sides.table(*far) else {
                continue;
            };
            if let Some(rule) = taken(*action, self.work.traffic.and(*wanted, table.default)) {
                common.positions.push(position);
                rules.push(rule);
            }
            table.listed.iter().for_each(|(class, traffic)| {
                touched
                    .entry(*class)
                    .or_default()
                    .push((position, *traffic))
            });
        }
        common.rules = RuleCascade::new(rules);

        // only classes that a rule names can differ from this
        let default = common.walk(steps, &[], self.work.traffic);
        let rows = touched
            .iter()
            .map(|(class, own)| (*class, common.walk(steps, own, self.work.traffic)));
        let mut listed: Vec<(EndpointClassId, HeaderSetId)> =
            // a named class may have the default result anyway
            rows.filter(|row| row.1 != default).collect();
        listed.sort_unstable();
        PolicyProfile { default, listed }
    }
}

/// The indices of the sinks of a [`RuleCascade`] here.
const ALLOWED: usize = 0;
const PASSED: usize = 1;

/// Returns the effect of a rule on the traffic that it matches, or `None` if it has none.
fn taken(action: Action, wanted: HeaderSetId) -> Option<CascadeRule<2>> {
    match action {
        _ if wanted == HeaderSpace::NONE => None,
        Action::Log => None,
        Action::Allow => Some(CascadeRule::into_sink(ALLOWED, wanted)),
        Action::Pass => Some(CascadeRule::into_sink(PASSED, wanted)),
        Action::Deny => Some(CascadeRule {
            off: wanted,
            ..CascadeRule::NOTHING
        }),
    }
}

/// The steps of a profile that apply to most classes at the other end.
///
/// For a class that rules name, all steps between these are evaluated at once ([`RuleCascade`]). A
/// profile therefore costs the rows of its rules' tables, not classes times rules.
struct CommonSteps {
    /// The positions of the rules that match most classes, in order.
    positions: Vec<usize>,
    /// The effects of these rules.
    rules: RuleCascade<2>,
    /// The positions of the steps that are not rules, in order.
    ends: Vec<usize>,
}

impl Default for CommonSteps {
    fn default() -> Self {
        Self {
            positions: Vec::new(),
            rules: RuleCascade::new(Vec::new()),
            ends: Vec::new(),
        }
    }
}

impl CommonSteps {
    /// Returns the traffic that all steps allow with a class. `rules` are the positions at which a
    /// rule differs from the default for this class, in order.
    fn walk(
        &mut self,
        steps: &[ProfileStep],
        own: &[(usize, HeaderSetId)],
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        let ends: Vec<(usize, HeaderSetId)> = self
            .ends
            .iter()
            .map(|position| (*position, HeaderSpace::ALL))
            .collect();
        let (mut way, mut next) = (Residual::new(), 0);

        for (position, here) in merged(&ends, own) {
            self.pass(next..position, &mut way, traffic);
            if let Some(step) = steps.get(position) {
                way.subtract(*step, here, traffic);
            }
            next = position + 1;
        }

        self.pass(next..steps.len(), &mut way, traffic);
        way.allowed
    }

    /// Applies the common rules in a range of positions.
    fn pass(&mut self, range: Range<usize>, way: &mut Residual, traffic: &mut HeaderSpace) {
        let number = |position: usize| self.positions.partition_point(|known| *known < position);
        let rules = number(range.start)..number(range.end);
        let mut sinks = [way.allowed, way.passed];
        way.open = self.rules.pass(rules, way.open, &mut sinks, traffic);
        [way.allowed, way.passed] = sinks;
    }
}

/// The class whose policies are evaluated.
#[derive(Debug, Clone, Copy)]
struct LocalClass {
    id: EndpointClassId,
    family: Family,
    direction: Direction,
}

/// Merges two sorted lists by position. If both have a position, the second list wins.
fn merged<'rows>(
    always: &'rows [(usize, HeaderSetId)],
    own: &'rows [(usize, HeaderSetId)],
) -> impl Iterator<Item = (usize, HeaderSetId)> + use<'rows> {
    let (mut always, mut own) = (
        always.iter().copied().peekable(),
        own.iter().copied().peekable(),
    );

    std::iter::from_fn(move || match (always.peek(), own.peek()) {
        // both lists are sorted by position
        (Some(left), Some(right)) if left.0 < right.0 => always.next(),
        (Some(left), Some(right)) => {
            if left.0 == right.0 {
                always.next();
            }
            own.next()
        }
        (Some(_), None) => always.next(),
        (None, _) => own.next(),
    })
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
