//! `apply` against the real kernel, in namespaces of its own: both builds of iptables, both families, with faults of every sort.
//!
//! Each case is a process in fresh user, network and mount namespaces ([`sandbox`]), once a build. In it the library and the program work as they
//! do on a node, on a [`world::World`] where others have rules too.
#![expect(clippy::disallowed_methods, reason = "tests start programs and read files")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it counted"
)]

pub(crate) mod confirmed;
mod drift;
mod faults;
mod faulty;
mod guard;
mod plain;
mod rate;
pub(crate) mod sandbox;
pub(crate) mod world;

use sandbox::cases;

cases! { by run:
    plain:
        first_apply_then_nothing
        members_and_policy_change
        uninstall_leaves_what_is_not_ours
        the_other_build_is_refused_or_taken_over;
    guard:
        several_tables_change_behind_a_guard
        a_guard_that_was_left_is_known
        what_the_filter_table_accepts_the_guard_is_asked;
    drift:
        every_line_that_is_deleted_comes_back
        whatever_others_do_is_repaired
        a_set_that_others_use_stays;
    faults:
        killed_anywhere_the_next_apply_goes_on
        tools_that_fail
        tools_that_are_not_there
        others_who_do_not_give_in
        a_lock_that_is_held
        a_set_that_cannot_be_listed
        no_room_for_our_files;
    confirmed:
        taken_back_unless_confirmed
        taken_back_without_the_guard
        taken_back_when_it_goes_wrong;
    rate:
        nothing_is_lost_or_leaked_at_a_high_rate
        flush_and_load_is_found_out;
}
