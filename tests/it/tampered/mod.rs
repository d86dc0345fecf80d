//! Scripts that were tampered with: what is proven of them is what the stock tools read.
//!
//! `cargo test --test it tampered -- --nocapture` prints the counts. `PALISADE_MUTATIONS` says how
//! many mutants each build of iptables is tried with.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read files and models of kernels"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it counted"
)]

mod bytes;
mod commands;
mod index;
mod limits;
mod mutate;
mod property;

use crate::apply::sandbox::cases;

cases! { by run:
    property:
        mutants_that_are_proven_load_as_they_are_read;
    limits:
        limits_are_those_of_the_tools;
    commands:
        every_command_refuses_what_was_tampered_with
        extensions_are_taken_where_they_are_allowed;
    index:
        nodes_refuse_what_the_index_does_not_say;
}
