//! Lints: finds policy that is valid but questionable, because it has no effect or another effect
//! than its author may expect.
//!
//! In: [`ResolvedPolicy`], and which lints are enabled. Out: findings, each with a code, a location
//! in the user's file and advice. Absent: refusing or changing anything. A render does not run
//! lints.
//!
//! Cost: every selector is examined once, and every policy and rule a bounded number of times.
//! Endpoints are counted by class.

mod accounts;
mod cover;
mod dns;
mod empty;
mod known;
mod policies;
mod selectors;
mod shadowed;

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::net::Direction;
use crate::policy::{PeerSelection, Policy, Rule, SelectorId};
use crate::resolve::ResolvedPolicy;
use crate::source::Span;

/// Whether findings of a lint are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LintLevel {
    /// They are not reported.
    Allow,
    /// They are reported.
    Deny,
}

/// Every lint with its default level.
pub const LINTS: &[(Code, LintLevel)] = &[
    (Code::SelectorContradiction, LintLevel::Deny),
    (Code::SelectorMatchesNothing, LintLevel::Deny),
    (Code::ReservedLabel, LintLevel::Deny),
    (Code::EmptyPeer, LintLevel::Deny),
    (Code::ShadowedRule, LintLevel::Deny),
    (Code::UnusedRules, LintLevel::Deny),
    (Code::LogOnly, LintLevel::Deny),
    (Code::PassOnly, LintLevel::Deny),
    (Code::NoDns, LintLevel::Deny),
    (Code::NotSelectorAlone, LintLevel::Deny),
    (Code::HttpWithoutMesh, LintLevel::Deny),
    (Code::DefaultServiceAccount, LintLevel::Deny),
    (Code::NoPolicies, LintLevel::Deny),
];

/// The levels of all lints.
#[derive(Debug, Clone, Default)]
pub struct LintLevels {
    stated: BTreeMap<Code, LintLevel>,
}

impl LintLevels {
    /// Sets the level of a lint.
    pub fn set(&mut self, code: Code, level: LintLevel) {
        self.stated.insert(code, level);
    }

    /// The level of a lint: the one that was set, or the default.
    pub fn level(&self, code: Code) -> LintLevel {
        let own = || {
            LINTS
                .iter()
                .find(|row| row.0 == code)
                .map_or(LintLevel::Allow, |row| row.1)
        };
        self.stated.get(&code).copied().unwrap_or_else(own)
    }
}

/// Returns the lint with a name, or `None` if no lint has it.
pub fn by_name(name: &str) -> Option<Code> {
    LINTS
        .iter()
        .map(|row| row.0)
        .find(|code| code.name() == name)
}

/// Runs all enabled lints and adds their findings to `diagnostics`.
pub fn all(resolved: &ResolvedPolicy<'_>, levels: &LintLevels, diagnostics: &mut Diagnostics) {
    if levels.level(Code::HttpWithoutMesh) == LintLevel::Deny {
        // a note already reports these; here they become findings
        diagnostics.recode(Code::HttpNotEnforced, Code::HttpWithoutMesh);
    }

    let has_policies = resolved.policies.policies().next().is_some();
    let has_endpoints =
        !resolved.inventory.endpoints.is_empty() || !resolved.policies.host_endpoints.is_empty();
    if has_policies && !has_endpoints {
        diagnostics.push(no_endpoints());
    }

    let mut findings = LintFindings {
        levels,
        has_endpoints,
        found: diagnostics,
        told: FxHashSet::default(),
    };

    if !has_policies {
        findings.push(no_policies());
    }

    // First, because later lints skip selectors that already have an explanation.
    let explained = selectors::lint(resolved, &mut findings);
    empty::lint(resolved, &explained, &mut findings);
    shadowed::lint(resolved, &explained, &mut findings);
    policies::lint(resolved, &mut findings);
    dns::lint(resolved, &mut findings);
    accounts::lint(resolved, &mut findings);
}

/// Lints about current endpoints. They report nothing if the input has no endpoints.
const ABOUT_TODAY: [Code; 3] = [Code::SelectorMatchesNothing, Code::EmptyPeer, Code::NoDns];

fn no_endpoints() -> Diagnostic {
    let message = "there is no endpoint in the input, so that no selector matches anything today";
    Diagnostic::new(Code::NoEndpoints, message)
        .help("add the cluster's pods, or the workloads that make them, to check that too")
}

fn no_policies() -> Diagnostic {
    let message = "there is no policy in the input, which denies nothing";
    Diagnostic::new(Code::NoPolicies, message)
        .help("see whether the paths are those of the policies")
}

/// Collects findings: at most one per location, and only of enabled lints.
struct LintFindings<'run> {
    levels: &'run LintLevels,
    /// Whether the input has any endpoint.
    has_endpoints: bool,
    found: &'run mut Diagnostics,
    told: FxHashSet<(Code, Span)>,
}

impl LintFindings<'_> {
    fn push(&mut self, finding: Diagnostic) {
        let is_new = finding
            .labels
            .first()
            .is_none_or(|label| self.told.insert((finding.code, label.span)));
        let is_about_today = ABOUT_TODAY.contains(&finding.code);

        if is_new
            && self.levels.level(finding.code) == LintLevel::Deny
            && (self.has_endpoints || !is_about_today)
        {
            self.found.push(finding);
        }
    }

    /// Adds a finding that replaces a less specific note with this code and location.
    fn push_for(&mut self, note: Code, place: Span, finding: Diagnostic) {
        if self.levels.level(finding.code) == LintLevel::Deny {
            // The note and the finding would describe the same mistake twice.
            self.found.withdraw(note, place);
        }
        self.push(finding);
    }
}

/// Selectors with a finding that explains why they select nothing.
type ExplainedSelectors = BTreeSet<SelectorId>;

/// A use of a selector: it determines the endpoints of a policy, or the peers of one side of a
/// rule.
struct SelectorUse<'input> {
    id: SelectorId,
    place: Span,
    /// The rule, or `None` if the selector is the policy's own.
    rule: Option<(Direction, &'input Rule)>,
}

/// All uses of selectors, in order of evaluation.
fn uses<'input>(resolved: &ResolvedPolicy<'input>) -> impl Iterator<Item = SelectorUse<'input>> {
    resolved
        .policies
        .policies()
        .flat_map(|(_, policy)| uses_of(policy))
}

/// The uses of selectors in one policy.
fn uses_of(policy: &Policy) -> impl Iterator<Item = SelectorUse<'_>> {
    let own = SelectorUse {
        id: policy.applies_to,
        place: policy.selector,
        rule: None,
    };

    let of_rules = rules(policy).flat_map(|(direction, rule)| {
        let sides = [
            (&rule.source, rule.places.source),
            (&rule.destination, rule.places.destination),
        ];
        sides
            .into_iter()
            .filter_map(move |(peer, place)| match peer.selected {
                PeerSelection::By(id) => Some(SelectorUse {
                    id,
                    place,
                    rule: Some((direction, rule)),
                }),
                PeerSelection::Anyone => None,
            })
    });
    std::iter::once(own).chain(of_rules)
}

/// The rules of both directions.
fn rules(policy: &Policy) -> impl Iterator<Item = (Direction, &Rule)> {
    let of = |direction| {
        policy
            .rules(direction)
            .unwrap_or_default()
            .iter()
            .map(move |rule| (direction, rule))
    };
    Direction::BOTH.into_iter().flat_map(of)
}

#[cfg(test)]
mod tests;
