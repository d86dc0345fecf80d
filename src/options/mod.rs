//! What the user may choose about the traffic around policy.
//!
//! Values only: `cli` fills them in from flags, variables and the configuration file, `lower`
//! writes rules by them, and `semantics` and `verify` read the same ones to say what those
//! rules ought to do.

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
