//! User options for the chains around the policy.

use crate::options::{ExtensionSet, FailsafePorts, InterfacePattern};

/// Options for traffic that policy does not cover.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompileOptions {
    /// What happens to traffic from endpoints to their node that egress policy allows.
    pub endpoint_to_host: EndpointToHost,
    /// What happens to traffic of addresses in the node's pod ranges that belong to no endpoint.
    pub unknown_endpoint: UnknownEndpoint,
    /// Position of Palisade's jumps in the kernel's chains.
    pub hook_position: HookPosition,
    /// Whether endpoints may send encapsulated traffic (VXLAN, IPIP).
    pub encapsulated: Encapsulated,
    /// Ports of host endpoints that stay open.
    pub failsafes: FailsafePorts,
    /// How sources of packets are validated.
    pub source_validation: SourceValidation,
    /// Interfaces whose packets are always validated strictly, unless validation is off. Sorted and
    /// deduplicated.
    pub pod_interfaces: Vec<InterfacePattern>,
    /// Matches and targets that scripts may use in addition to Palisade's own.
    pub extensions: ExtensionSet,
}

/// What happens to traffic from endpoints to their node that egress policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndpointToHost {
    /// The traffic is accepted.
    #[default]
    Accept,
    /// The traffic is dropped, except replies.
    Drop,
}

/// What happens to traffic of addresses in the node's pod ranges that belong to no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownEndpoint {
    /// The kernel's other rules decide.
    Accept,
    /// The traffic is logged, at most ten packets per second, and dropped.
    #[default]
    Drop,
}

/// Position of Palisade's jumps in the kernel's chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HookPosition {
    /// Before all other rules.
    #[default]
    Head,
    /// After all other rules.
    Tail,
}

/// What happens to VXLAN (UDP port 4789, RFC 7348) and IPIP (protocol 4, RFC 2003) traffic of
/// endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encapsulated {
    /// Policy decides, as for all other traffic.
    #[default]
    Policed,
    /// The traffic is dropped before policy.
    Drop,
}

/// What happens to packets that claim a pod's address and arrive on an interface that the route
/// back to that address does not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceValidation {
    /// Packets with any pod's address are dropped if the route back does not use the arriving
    /// interface.
    #[default]
    Strict,
    /// Like `Strict` for addresses of the node's own pods. Packets with other pods' addresses are
    /// dropped only if there is no route back.
    Loose,
    /// Packets that `Strict` drops are counted and logged.
    Log,
    /// Sources are not validated.
    Off,
}

/// The words for a choice, as users write them in flags, environment variables and the
/// configuration file.
pub trait ChoiceWords: Copy + Sized + 'static {
    /// Every choice with its word.
    const WORDS: &'static [(&'static str, Self)];

    /// Returns the choice with a word, or `None` if no choice has it.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|row| row.0 == word)
            .map(|row| row.1)
    }
}

impl ChoiceWords for EndpointToHost {
    const WORDS: &'static [(&'static str, Self)] =
        &[("accept", Self::Accept), ("drop", Self::Drop)];
}

impl ChoiceWords for UnknownEndpoint {
    const WORDS: &'static [(&'static str, Self)] =
        &[("accept", Self::Accept), ("drop", Self::Drop)];
}

impl ChoiceWords for HookPosition {
    const WORDS: &'static [(&'static str, Self)] = &[("head", Self::Head), ("tail", Self::Tail)];
}

impl ChoiceWords for Encapsulated {
    const WORDS: &'static [(&'static str, Self)] =
        &[("policed", Self::Policed), ("drop", Self::Drop)];
}

impl ChoiceWords for SourceValidation {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("strict", Self::Strict),
        ("loose", Self::Loose),
        ("log", Self::Log),
        ("off", Self::Off),
    ];
}
