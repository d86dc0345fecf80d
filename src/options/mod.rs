//! What the user may choose about the traffic around policy.
//!
//! Values only: `cli` fills them in from flags, variables and the configuration file, `lower`
//! writes rules by them, and `analysis` reads the same ones to say what those rules ought to do.

mod choices;
mod extensions;
mod failsafe;
mod interface;
mod known_extensions;

pub use choices::{
    Encapsulated, EndpointToHost, HookPosition, Options, SourceValidation, UnknownEndpoint, Words,
};
pub use extensions::{Extension, Extensions};
pub use failsafe::{Failsafe, FailsafeList, Failsafes};
pub use interface::InterfacePattern;
pub use known_extensions::{ExtensionOption, KnownExtension};

#[cfg(test)]
mod tests;
