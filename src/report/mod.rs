//! Formats answers: text for people, JSON and other formats for programs. Each kind of answer has
//! its own folder.
//!
//! In: typed answers (`verify`, `explain`, `connectivity`, `diff`, `assertions`) and the data that
//! they refer to. Out: text. Absent: all decisions.

pub mod assertions;
pub mod connectivity;
pub mod diff;
pub mod eval;
pub mod verify;
