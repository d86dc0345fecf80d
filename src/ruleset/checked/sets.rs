//! Reads the script for sets.

use std::collections::BTreeMap;

use crate::limits;
use crate::net::SetSize;
use crate::ruleset::checked::{CheckLevel, ReadResult, ReadScript, ensure, lines};
use crate::ruleset::{PREFIX, ParsedMember, ParsedSet, ParsedSets, SetKind};

/// The sets read so far.
struct CheckedSetReader<'text> {
    level: CheckLevel<'text>,
    done: ParsedSets,
    /// The current set.
    open: Option<OpenSet<'text>>,
    /// Number of members in all sets.
    total: usize,
}

/// A set whose members are being read.
struct OpenSet<'text> {
    name: &'text str,
    kind: SetKind,
    set: ParsedSet,
    /// Line number of its `create`.
    line: usize,
}

/// Reads the script for sets.
///
/// # Errors
/// A line other than `create` or `add` in the form that Palisade writes; or members that are
/// unsorted, duplicate or, for ports, not in the fewest possible ranges.
pub(super) fn read<'text>(text: &'text str, level: CheckLevel<'text>) -> ReadScript<ParsedSets> {
    let mut reader = CheckedSetReader {
        level,
        done: BTreeMap::new(),
        open: None,
        total: 0,
    };
    for (number, line) in lines::lines(text, limits::IPSET_LINE)? {
        reader.line(number, line)?;
    }
    reader.close()?;

    Ok(reader.done)
}

impl<'text> CheckedSetReader<'text> {
    fn line(&mut self, number: usize, line: &'text str) -> ReadScript<()> {
        let at = |problem: String| (Some(number), problem);
        let unknown = || at(format!("unknown line `{line}`"));
        let (verb, rest) = line.split_once(' ').ok_or_else(unknown)?;
        let (name, rest) = rest.split_once(' ').ok_or_else(unknown)?;

        match verb {
            "create" => {
                self.close()?;
                let (kind, set) = self.create(name, rest).map_err(at)?;
                self.open = Some(OpenSet {
                    name,
                    kind,
                    set,
                    line: number,
                });
                Ok(())
            }
            "add" => self.add(name, rest).map_err(at),
            _ => Err(unknown()),
        }
    }

    fn create(&self, name: &str, words: &str) -> ReadResult<(SetKind, ParsedSet)> {
        ensure(self.is_name(name), || {
            format!("bad name of a set: `{name}`")
        })?;
        ensure(!self.done.contains_key(name), || {
            format!("`{name}` is created twice")
        })?;
        header(words)
    }

    /// Returns whether a set name is valid. Names in bundles contain letters, digits and `-`. In a
    /// kernel, the name of a slot contains another mark, too.
    fn is_name(&self, name: &str) -> bool {
        let is_known = |byte: u8| match self.level {
            CheckLevel::Bundle(_) => byte.is_ascii_alphanumeric() || byte == b'-',
            CheckLevel::Kernel => byte.is_ascii_graphic(),
        };
        let own = name.strip_prefix(PREFIX).unwrap_or_default();
        !own.is_empty() && name.len() <= limits::SET_NAME && own.bytes().all(is_known)
    }

    fn add(&mut self, name: &str, word: &str) -> ReadResult<()> {
        let level = self.level;
        let open = self.open.as_mut().filter(|open| open.name == name);
        let open = open.ok_or_else(|| format!("a member of `{name}`, not behind its `create`"))?;

        let bad = || format!("bad member `{word}` of `{name}`");
        let (first, last) = open.kind.read(word).ok_or_else(bad)?;
        let is_in_order = match (open.set.members.last(), level) {
            (None, _) | (Some(_), CheckLevel::Kernel) => true,
            (Some(before), CheckLevel::Bundle(_)) => before.is_before(first),
        };
        ensure(is_in_order, || {
            format!("`{word}` of `{name}` is out of order, or there twice")
        })?;

        let count = usize::from(last - first.port_or_zero()) + 1;
        self.total += count;
        // Checked before the range is expanded, which allocates memory.
        ensure(self.total <= limits::ALL_ELEMENTS, || {
            format!("more than {} members in all sets", limits::ALL_ELEMENTS)
        })?;
        open.set.members.extend(first.up_to(last));
        let most = open.set.maxelem as usize;
        let has_room = open.kind == SetKind::Ports || open.set.members.len() <= most;
        ensure(has_room, || {
            format!("`{name}` is full: its maxelem is {most}")
        })
    }

    /// Closes the current set. A bundle's set must have the size that its members need, because the
    /// kernel allocates its memory at creation.
    fn close(&mut self) -> ReadScript<()> {
        let Some(OpenSet {
            name,
            kind,
            mut set,
            line,
        }) = self.open.take()
        else {
            return Ok(());
        };

        match self.level {
            CheckLevel::Bundle(_) if kind != SetKind::Ports => {
                let (is, needed) = (set.size(), SetSize::for_members(set.members.len()));
                let problem = || {
                    let count = set.members.len();
                    format!("`{name}` has `{is}`, and `{needed}` is the size for {count} members")
                };
                ensure(is == needed, problem).map_err(|problem| (Some(line), problem))?;
            }
            CheckLevel::Bundle(_) => {}
            CheckLevel::Kernel => {
                set.members.sort_unstable();
                set.members.dedup();
            }
        }

        self.done.insert(name.to_owned(), set);
        Ok(())
    }
}

/// Reads the type and size of a set.
fn header(words: &str) -> ReadResult<(SetKind, ParsedSet)> {
    let unknown = || format!("unknown set: {words}");
    let is = |kind: &SetKind| {
        let rest = words.strip_prefix(kind.type_name());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let kind = SetKind::ALL.into_iter().find(is).ok_or_else(unknown)?;
    let mut set = ParsedSet {
        kind: Some(kind),
        hashsize: 0,
        maxelem: 0,
        members: Vec::new(),
    };
    if kind != SetKind::Ports {
        let options: Vec<&str> = words.split(' ').skip(3).collect();
        let ["hashsize", size, "maxelem", most] = options.as_slice() else {
            return Err(unknown());
        };
        let number = |word: &str, most: usize| word.parse().ok().filter(|n| *n as usize <= most);
        let bad = || format!("bad size: {size} of {most}");
        set.hashsize = number(size, limits::SET_ELEMENTS).ok_or_else(bad)?;
        set.maxelem = number(most, 2 * limits::SET_ELEMENTS).ok_or_else(bad)?;
        let is_size = set.hashsize.is_power_of_two() && set.hashsize >= limits::LEAST_HASHSIZE;
        ensure(is_size && set.maxelem > 0, bad)?;
    }

    // A number such as `01024` parses but is not in canonical form.
    let is_as_written = set.create_line("x").trim_end() == format!("create x {words}");
    ensure(is_as_written, unknown)?;
    Ok((kind, set))
}

impl SetKind {
    /// Reads a member of an `add` line in canonical form. Returns the first member and the last
    /// port of a range; for a single member, its own port, or 0.
    fn read(self, word: &str) -> Option<(ParsedMember, u16)> {
        let (first, last) = match word.split_once('-') {
            Some((first, last)) if self == SetKind::Ports => (first, Some(last)),
            Some(_) | None => (word, None),
        };
        let (text, is_exception) = match first.strip_suffix(" nomatch") {
            Some(text) => (text, true),
            None => (first, false),
        };
        let member = self
            .member(text, is_exception)
            .filter(|member| member.can_be_held())?;
        if member.to_string() != first {
            return None;
        }
        let Some(last) = last else {
            return Some((member, member.port_or_zero()));
        };

        let port: u16 = last.parse().ok()?;
        let is_range = port.to_string() == last && member.port_or_zero() < port;
        is_range.then_some((member, port))
    }
}

impl ParsedMember {
    /// Returns whether a set can hold the member unchanged: no prefix of length 0, no port 0, and
    /// no protocol whose members have another syntax (ipset 7.17, `ipset_parse_proto_port` in
    /// lib/parse.c).
    fn can_be_held(self) -> bool {
        match self {
            ParsedMember::Net(net, _) => !net.is_everything(),
            ParsedMember::Service(_, protocol, _) => protocol.has_ports(),
            ParsedMember::Port(port) => port != 0,
        }
    }

    fn port_or_zero(self) -> u16 {
        match self {
            ParsedMember::Port(port) => port,
            ParsedMember::Net(..) | ParsedMember::Service(..) => 0,
        }
    }

    /// Returns the members from this port to the last one, or the member alone if it is not a port.
    fn up_to(self, last: u16) -> impl Iterator<Item = ParsedMember> {
        let ports = match self {
            ParsedMember::Port(first) => Some((first..=last).map(ParsedMember::Port)),
            ParsedMember::Net(..) | ParsedMember::Service(..) => None,
        };
        let alone = ports.is_none().then_some(self);
        ports.into_iter().flatten().chain(alone)
    }

    /// Returns whether another member may directly follow this one: sorted and without duplicates.
    /// Adjacent ports may not, because they would be one range.
    fn is_before(self, next: ParsedMember) -> bool {
        match (self, next) {
            (ParsedMember::Net(before, _), ParsedMember::Net(next, _)) => before < next,
            (ParsedMember::Port(before), ParsedMember::Port(next)) => {
                next > before.saturating_add(1)
            }
            (before, next) => before < next,
        }
    }
}
