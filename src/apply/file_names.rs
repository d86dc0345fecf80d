//! Names of files that several modules of this room use.

/// The last good bundle, which contains only this node.
pub const GOOD: &str = "good";
/// The bundle that is pending confirmation.
pub(super) const WAITING: &str = "waiting";
/// The record of a pending confirmation, with its deadline.
pub(super) const PENDING: &str = "pending.json";
/// The bundle that the reconcile loop compiled on this node.
pub const COMPILED: &str = "compiled";
