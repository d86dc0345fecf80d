//! Palisade compiles network policy to `ipset` and `iptables` scripts.

// ground: no stage, anyone may use
pub mod diagnostic;
pub mod net;
pub mod text;

// compile
pub mod document;

pub mod selector;

pub mod inventory;

pub mod policy;

pub mod resolve;
