//! Disagreements that were found once, written down so that they are looked at first.
