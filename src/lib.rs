//! Palisade compiles network policy to `ipset` and `iptables` scripts.

// ground: no stage, anyone may use
pub mod text;
pub mod diagnostic;
pub mod net;
pub mod name;
// compile
pub mod document;
pub mod manifest;
pub mod selector;
// pub mod inventory;
pub mod policy;
