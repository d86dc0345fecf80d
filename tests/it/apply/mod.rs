//! `apply` against the real kernel, in namespaces of its own: both builds of iptables, both
//! families, with faults of every sort.
//!
//! Each case is a process in fresh user, network and mount namespaces ([`sandbox`]), once a build.
//! In it the library and the program work as they do on a node, on a [`world::World`] where others
//! have rules too.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start programs and read files"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it counted"
)]

mod bad;
mod beside;
pub(crate) mod confirmed;
mod drift;
mod early;
mod environment;
mod faults;
mod faulty;
mod guard;
mod good;
mod hostile;
mod foreign;
mod listings;
mod own;
mod plain;
mod rate;
mod reboot;
pub(crate) mod replaced;
mod rollback;
pub(crate) mod sandbox;
mod told;
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
    bad:
        parts_that_are_no_files_are_refused_and_the_kernel_stays;
    own:
        what_others_put_among_our_files_stays
        directories_of_others_are_not_used;
    beside:
        who_looks_waits_for_who_changes;
    drift:
        every_line_that_is_deleted_comes_back
        whatever_others_do_is_repaired
        a_set_that_others_use_stays;
    early:
        every_line_of_raw_and_mangle_is_told_and_mended;
    environment:
        no_path_leads_to_programs_of_strangers
        no_variable_of_the_caller_reaches_a_program;
    hostile:
        nothing_hostile_gets_through_on_a_node;
    listings:
        one_of_three_listings_goes_wrong
        a_listing_that_hangs_is_given_up;
    faults:
        killed_anywhere_the_next_apply_goes_on
        tools_that_fail
        tools_that_are_not_there
        others_who_do_not_give_in
        rules_that_were_widened_are_never_ours
        no_rule_of_ours_is_refused
        a_lock_that_is_held
        a_set_that_cannot_be_listed
        no_room_for_our_files;
    rollback:
        what_fails_is_taken_back
        a_state_that_drifted_comes_back_as_it_was
        a_state_between_two_comes_back
        a_take_over_that_fails_leaves_both
        a_rival_who_gives_in;
    foreign:
        rules_of_nft_in_other_tables_keep_nobody_out
        newlines_in_comments_of_others_are_read;
    confirmed:
        taken_back_unless_confirmed
        taken_back_without_the_guard
        taken_back_when_it_goes_wrong;
    reboot:
        a_boot_brings_back_the_last_good_bundle
        a_boot_takes_back_what_nobody_confirmed
        the_loop_begins_at_boot;
    good:
        a_damaged_one_is_no_way_back_and_is_mended
        a_damaged_one_wedges_nothing
        a_staged_one_is_applied_at_boot
        a_bundle_of_another_node_is_refused;
    told:
        what_waits_is_told
        the_guard_is_in_a_scope_of_its_own
        uninstall_names_the_rules_that_hold_on;
    rate:
        nothing_is_lost_or_leaked_at_a_high_rate
        flush_and_load_is_found_out;
}
