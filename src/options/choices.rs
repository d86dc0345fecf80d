//! What the user may choose about the chains around the policy.

use crate::options::{ExtensionSet, FailsafePorts, InterfacePattern};

/// Choices about traffic that policy does not speak about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompileOptions {
    /// What becomes of traffic from endpoints to their node that egress policy allows.
    pub endpoint_to_host: EndpointToHost,
    /// What becomes of traffic of addresses in the node's pod ranges that no endpoint has.
    pub unknown_endpoint: UnknownEndpoint,
    /// Where our jumps stand in the kernel's chains.
    pub hook_position: HookPosition,
    /// Whether endpoints may send encapsulated traffic (VXLAN, IPIP).
    pub encapsulated: Encapsulated,
    /// Ports that host endpoints keep open.
    pub failsafes: FailsafePorts,
    /// How sources of packets are validated.
    pub source_validation: SourceValidation,
    /// Interfaces whose packets are always validated strictly, unless validation is off. Sorted,
    /// each once.
    pub pod_interfaces: Vec<InterfacePattern>,
    /// Matches and targets that scripts may have beside palisade's own.
    pub extensions: ExtensionSet,
}

/// What becomes of traffic from endpoints to their node that egress policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndpointToHost {
    /// Accepted.
    #[default]
    Accept,
    /// Dropped, but for replies.
    Drop,
}

/// What becomes of traffic of addresses in the node's pod ranges that no endpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownEndpoint {
    /// Left to the rest of the kernel's rules.
    Accept,
    /// Logged, at most ten a second, and dropped.
    #[default]
    Drop,
}

/// Where our jumps stand in the kernel's chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HookPosition {
    /// Before all other rules.
    #[default]
    Head,
    /// Behind all other rules.
    Tail,
}

/// What becomes of traffic of endpoints in VXLAN (UDP port 4789, RFC 7348) or IPIP (protocol 4, RFC
/// 2003).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encapsulated {
    /// Policy decides, as for all else.
    #[default]
    Policed,
    /// Dropped before policy.
    Drop,
}

/// What becomes of packets that claim an address of a pod and arrive where the route back to that
/// address does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceValidation {
    /// Packets of all pods' addresses whose route back is not the arriving interface are dropped.
    #[default]
    Strict,
    /// As `Strict` for addresses of the node's own pods. Others are dropped only if there is no
    /// route back.
    Loose,
    /// What `Strict` drops is counted and logged.
    Log,
    /// Sources are not validated.
    Off,
}

/// The words of a choice, as users write them in flags, variables and the configuration file.
pub trait ChoiceWords: Copy + Sized + 'static {
    /// Every choice with its word.
    const WORDS: &'static [(&'static str, Self)];

    /// The choice of a word.
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
