//! `reconcile` against the real kernel, and connections that are ended: in namespaces of their own,
//! with both builds of iptables, as the cases of [`crate::apply`].
#![expect(
    clippy::disallowed_methods,
    reason = "tests start programs and read files"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

mod cut;
mod entries;
mod fallback;
pub(crate) mod keeper;
mod keeps;
mod looks;
mod once;
mod sources;
mod uncut;

use std::fs;
use std::path::Path;

use crate::apply::sandbox::cases;
use crate::apply::world::{World, bundle};

cases! { by run_at_once:
    once:
        once_is_one_round
        once_with_nothing_to_keep
        once_while_somebody_else_is_at_it
        once_from_policies;
    keeps:
        the_loop_repairs_what_others_do
        the_loop_takes_what_changes
        the_loop_tells_how_it_is
        the_loop_goes_on_where_nobody_listens;
    sources:
        a_bundle_that_is_copied_in_piece_by_piece
        policies_are_compiled_once_there_is_room
        the_loop_goes_on_where_nothing_can_be_watched;
    fallback:
        what_the_kernel_refuses_gives_way_to_the_last_good_one
        what_does_not_settle_gives_way_to_what_was_before
        what_was_not_kept_is_not_replaced_by_what_is_older
        a_last_good_bundle_that_is_not_ours_or_damaged_is_not_taken
        connections_are_ended_also_where_policy_was_not_kept_at_first;
    looks:
        metrics_cost_no_look;
    cut:
        denied_connections_are_ended_and_no_others;
    entries:
        entries_of_all_kinds_are_counted_as_they_end
        thousands_of_entries_end
        an_entry_that_begins_again_stays
        entries_are_judged_over_the_interface_of_their_route;
    uncut:
        entries_of_other_zones_stay
        a_cut_that_fails_is_told_and_done_the_next_time
        the_loop_goes_on_where_connections_cannot_be_ended;
}

/// Puts a copy of a golden case's bundle at a place, as one that is rendered there: by a rename.
fn put(case: &str, place: &Path) {
    put_changed(case, place, |text| text);
}

/// The same, with other texts in its scripts of IPv4's filter table than its index says.
pub(crate) fn put_damaged(case: &str, place: &Path) {
    put_changed(case, place, |text| text.replace("-j DROP", "-j ACCEPT"));
}

fn put_changed(case: &str, place: &Path, change: impl Fn(String) -> String) {
    let new = place.with_extension("new");
    for (name, text) in crate::palisade::files_below(Path::new(&bundle(case))) {
        let path = new.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = if name.ends_with("filter.v4.rules") {
            change(text)
        } else {
            text
        };
        fs::write(path, text).unwrap();
    }

    if place.exists() {
        fs::rename(place, place.with_extension("old")).unwrap();
    }

    fs::rename(&new, place).unwrap();
    let _ = fs::remove_dir_all(place.with_extension("old"));
}

/// Takes our jump away.
fn drift(world: &World) {
    for family in palisade::net::Family::BOTH {
        world.tool(
            &world.iptables(family, ""),
            &["-w", "600", "-D", "FORWARD", "1"],
            "",
        );
    }
}
