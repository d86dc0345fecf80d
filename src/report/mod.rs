//! Answers to questions, as text for people and as JSON and other forms for machines; a folder
//! each.
//!
//! In: typed answers (`verify`, `explain`, `connectivity`, `diff`, `assertions`) and what they
//! are about. Out: text. Absent: deciding anything.

pub mod assertions;
pub mod connectivity;
pub mod diff;
pub mod eval;
pub mod verify;
