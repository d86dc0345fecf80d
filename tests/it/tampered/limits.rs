//! The limits that palisade takes from the tools' sources, asked of the tools themselves.

use palisade::limits;
use palisade::net::Family;

use crate::apply::world::World;

const RULE: &str = "-A FORWARD -j ACCEPT";

/// The tail of a line that is too long is a line of its own to the tools, and that of a line just
/// as long as they read is not.
pub(super) fn limits_are_those_of_the_tools(world: &World) {
    for family in Family::BOTH {
        let tool = world.iptables(family, "-restore");
        for (extra, is_read) in [(0, false), (1, true)] {
            // the newline is a byte of the line
            let filler = " ".repeat(limits::IPTABLES_LINE + extra - 1 - RULE.len() * (1 - extra));
            let comment = format!("*filter\n#{filler}{RULE}\nCOMMIT\n");
            world.tool(&tool, &["--noflush"], &comment);
            let listing = world.tool(&world.iptables(family, "-save"), &["-t", "filter"], "");
            assert_eq!(listing.contains(RULE), is_read, "{tool} {extra}");
        }
        let words =
            |count: usize| format!("*filter\n-A FORWARD{}\nCOMMIT\n", " x".repeat(count - 2));
        for (count, is_taken) in [
            (limits::IPTABLES_WORDS, true),
            (limits::IPTABLES_WORDS + 1, false),
        ] {
            let (_, said) = world.try_tool(&tool, &["--noflush"], &words(count));
            assert_eq!(
                !said.contains("more arguments"),
                is_taken,
                "{tool} {count}: {said}"
            );
        }
        for (length, is_taken) in [
            (limits::IPTABLES_WORD, true),
            (limits::IPTABLES_WORD + 1, false),
        ] {
            let text = format!("*filter\n-A FORWARD {}\nCOMMIT\n", "x".repeat(length));
            let (_, said) = world.try_tool(&tool, &["--noflush"], &text);
            assert_eq!(
                !said.contains("too long"),
                is_taken,
                "{tool} {length}: {said}"
            );
        }
    }

    world.tool("ipset", &["restore"], "create tail hash:net\n");
    for (extra, is_read) in [(0, false), (1, true)] {
        let order = "add tail 203.0.113.66";
        let filler = " ".repeat(limits::IPSET_LINE + extra - 1 - order.len() * (1 - extra));
        world.tool("ipset", &["restore"], &format!("#{filler}{order}\n"));
        let listing = world.tool("ipset", &["save", "tail"], "");
        assert_eq!(listing.contains(order), is_read, "{extra}");
    }
}
