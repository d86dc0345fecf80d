//! Answers to questions, as text for people and as JSON and other forms for machines.
//!
//! In: typed answers of `analysis`, and what they are about. Out: text. Absent: deciding anything.

pub mod connectivity;
