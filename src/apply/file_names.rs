//! Names of our files that more than one part of the room uses.

/// The last good bundle: of this node only.
pub const GOOD: &str = "good";
/// The bundle that waits to be confirmed.
pub(super) const WAITING: &str = "waiting";
/// That something waits, and until when.
pub(super) const PENDING: &str = "pending.json";
/// The bundle that the loop compiled here.
pub const COMPILED: &str = "compiled";
