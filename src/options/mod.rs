//! User options for the traffic around policy.
//!
//! Values only. `cli` fills them in from flags, environment variables and the configuration file,
//! `lower` generates rules from them, and `semantics` and `verify` use the same values to derive
//! the expected verdicts.

mod choices;
mod extensions;
mod failsafe;
mod interface;
mod known_extensions;

pub use choices::{
    ChoiceWords, CompileOptions, Encapsulated, EndpointToHost, HookPosition, SourceValidation,
    UnknownEndpoint,
};
pub use extensions::{ExtensionName, ExtensionSet};
pub use failsafe::{FailsafeList, FailsafePort, FailsafePorts};
pub use interface::InterfacePattern;
pub use known_extensions::{ExtensionOption, KnownExtension};

#[cfg(test)]
mod tests;
