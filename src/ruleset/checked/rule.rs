//! The conditions and the target of one rule.
//!
//! Accepts the options that Palisade writes, in the form in which it writes them, and the
//! extensions that the user allows, if they can only drop or observe.

use crate::limits;
use crate::net::{Cidr, Family, PortRange, Protocol, Side, State};
use crate::policy::Icmp;
use crate::ruleset::checked::model::{
    CheckedRule, CheckedTarget, ConntrackMatch, InterfaceMatch, RuleCondition,
};
use crate::ruleset::checked::reader::{RulePlace, RuleReader};
use crate::ruleset::checked::words::ScriptWord;
use crate::ruleset::checked::{CheckLevel, ReadResult, ensure, extension};
use crate::ruleset::{PREFIX, SetKind, TableKind};

/// Protocols with ports, which `multiport` requires.
const WITH_PORTS: [Protocol; 4] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::SCTP,
    Protocol::UDPLITE,
];

/// The order in which iptables-save prints states (iptables 1.8.9, `print_state` in
/// extensions/libxt_conntrack.c).
const STATES: [State; 5] = [
    State::Invalid,
    State::New,
    State::Related,
    State::Established,
    State::Untracked,
];

/// The order in which iptables-save prints the options of `conntrack` (iptables 1.8.9,
/// `conntrack_dump` in extensions/libxt_conntrack.c).
const CONNECTION_OPTIONS: [&str; 3] = ["--ctstate", "--ctorigdst", "--ctorigdstport"];

/// The only limit that Palisade writes.
const LIMIT: [&str; 4] = ["--limit", "10/second", "--limit-burst", "20"];

/// The type number that iptables uses for all ICMP types (extensions/libxt_icmp.h).
const ANY_ICMP: u8 = 255;

/// Reads the words after `-A chain` in a line.
pub(super) fn read(
    text: &str,
    words: &[ScriptWord<'_>],
    context: RulePlace<'_>,
) -> ReadResult<CheckedRule> {
    let mut reader = RuleReader {
        words,
        context,
        conditions: Vec::new(),
        comment: None,
        known: Vec::new(),
        extensions: Vec::new(),
    };
    let target = reader.read()?;
    ensure(reader.words.is_empty(), || {
        "words behind the target".to_owned()
    })?;
    reader.check_extensions(&target)?;

    Ok(CheckedRule {
        line: 0,
        text: text.to_owned(),
        conditions: reader.conditions,
        target,
        comment: reader.comment.unwrap_or_default(),
        is_at_head: false,
        extensions: reader.extensions,
    })
}

impl<'run, 'line> RuleReader<'run, 'line> {
    fn read(&mut self) -> ReadResult<CheckedTarget> {
        while !self.words.is_empty() {
            let is_negated = self.skip("!");
            match self.next_bare()? {
                word @ ("-m" | "-j" | "-g") if is_negated => {
                    return Err(format!("a `!` before `{word}`"));
                }
                "-m" => self.extension()?,
                "-j" => return self.jump(),
                "-g" => return self.chain().map(CheckedTarget::Goto),
                option => {
                    let condition = self.general(option)?;
                    // Legacy iptables treats this as any address, and nft refuses it.
                    let is_all =
                        matches!(condition, RuleCondition::Address(_, net) if net.is_everything());
                    let is_met = !is_negated || !is_all;
                    ensure(is_met, || format!("`! {option}` of all addresses"))?;
                    self.conditions.push((is_negated, condition));
                }
            }
        }

        Err("there is no target".to_owned())
    }

    /// Reads an option that needs no extension.
    fn general(&mut self, option: &str) -> ReadResult<RuleCondition> {
        let known = ["-p", "-s", "-d", "-i", "-o"]
            .into_iter()
            .find(|known| *known == option);
        let known = known.ok_or_else(|| format!("unknown option `{option}`"))?;
        ensure(!self.known.contains(&known), || format!("`{known}` twice"))?;
        self.known.push(known);

        match known {
            "-p" => self.protocol(),
            "-s" => self
                .address()
                .map(|net| RuleCondition::Address(Side::Source, net)),
            "-d" => self
                .address()
                .map(|net| RuleCondition::Address(Side::Destination, net)),
            "-i" => self.interfaces().map(RuleCondition::Arrives),
            _ => self.interface().map(RuleCondition::Leaves),
        }
    }

    fn protocol(&mut self) -> ReadResult<RuleCondition> {
        let word = self.next_bare()?;
        let protocol = Protocol::from_keyword(word).filter(|known| known.keyword() == word);
        protocol
            .map(RuleCondition::Protocol)
            .ok_or_else(|| format!("unknown protocol `{word}`"))
    }

    fn address(&mut self) -> ReadResult<Cidr> {
        let word = self.next_bare()?;
        let net = prefix(word).filter(|net| net.family() == self.context.id.family);
        net.ok_or_else(|| format!("bad address `{word}`"))
    }

    /// Reads an interface name, or a prefix of names with a trailing `+`.
    fn interfaces(&mut self) -> ReadResult<InterfaceMatch> {
        let word = self.next_bare()?;
        let (stem, is_open) = word
            .strip_suffix('+')
            .map_or((word, false), |stem| (stem, true));

        let is_short = word.len() <= limits::INTERFACE;
        ensure(is_short && is_interface(stem), || {
            format!("bad interface `{word}`")
        })?;
        Ok(InterfaceMatch {
            stem: stem.to_owned(),
            is_open,
        })
    }

    fn interface(&mut self) -> ReadResult<String> {
        let name = self.next_bare()?;
        let is_short = name.len() <= limits::INTERFACE;
        ensure(is_short && is_interface(name), || {
            format!("bad interface `{name}`")
        })?;
        Ok(name.to_owned())
    }

    /// Reads a match after `-m`.
    fn extension(&mut self) -> ReadResult<()> {
        let name = self.next_bare()?;

        match name {
            "comment" => self.comment(),
            "set" => self.negatable(Self::set),
            "multiport" => self.negatable(Self::ports),
            name if name == self.icmp_match() => self.negatable(Self::icmp),
            "conntrack" => self.connection(),
            "rpfilter" => self.reverse_path(),
            // Only the limit that Palisade's own log rules use.
            "limit" if self.is_own_limit() => {
                self.words = self.words.get(LIMIT.len()..).unwrap_or_default();
                self.conditions.push((false, RuleCondition::Limit));
                Ok(())
            }
            name if self.is_allowed(name) => extension::read_match(self, name),
            name => Err(format!("unknown match `{name}`")),
        }
    }

    fn is_own_limit(&self) -> bool {
        let words = self.words.iter().take(LIMIT.len()).map(|word| word.bare());
        words.eq(LIMIT.map(Some))
    }

    fn comment(&mut self) -> ReadResult<()> {
        self.expect("--comment")?;
        ensure(self.comment.is_none(), || "two comments".to_owned())?;
        self.comment = Some(self.next_quoted(limits::COMMENT)?.to_owned());
        Ok(())
    }

    /// Reads a condition after an optional `!`.
    fn negatable(
        &mut self,
        condition: fn(&mut Self) -> ReadResult<RuleCondition>,
    ) -> ReadResult<()> {
        let is_negated = self.skip("!");
        let condition = condition(self)?;
        self.conditions.push((is_negated, condition));
        Ok(())
    }

    fn set(&mut self) -> ReadResult<RuleCondition> {
        self.expect("--match-set")?;
        let name = self.next_bare()?;
        let sides = self
            .next_bare()?
            .split(',')
            .map(side)
            .collect::<ReadResult<Vec<Side>>>()?;
        let set = self
            .context
            .sets
            .get(name)
            .ok_or_else(|| format!("there is no set `{name}`"))?;
        let family = self.context.id.family;

        let fits = match set.kind {
            Some(SetKind::Nets(own)) => own == family && sides.len() == 1,
            Some(SetKind::Services(own)) => own == family && sides.len() == 2,
            Some(SetKind::Ports) => sides.len() == 1,
            None => false,
        };
        ensure(fits, || format!("`{name}` does not fit here"))?;

        Ok(RuleCondition::Set(name.to_owned(), sides))
    }

    fn ports(&mut self) -> ReadResult<RuleCondition> {
        let side = match self.next_bare()? {
            "--sports" => Side::Source,
            "--dports" => Side::Destination,
            other => return Err(format!("unknown option `{other}` of `multiport`")),
        };

        ensure(self.has_protocol(&WITH_PORTS), || {
            "multiport without a protocol that has ports".to_owned()
        })?;
        let words = self.next_bare()?;
        let ranges = words
            .split(',')
            .map(range)
            .collect::<Option<Vec<PortRange>>>();
        let ranges = ranges.ok_or_else(|| format!("bad ports `{words}`"))?;

        // A range takes two of the slots of multiport.
        let slots: usize = ranges.iter().map(|range| range.slots()).sum();
        ensure(slots <= limits::MULTIPORT_SLOTS, || {
            format!("too many ports: `{words}`")
        })?;
        Ok(RuleCondition::Ports(side, ranges))
    }

    /// Returns the name of the ICMP match, which differs by family.
    fn icmp_match(&self) -> &'static str {
        match self.context.id.family {
            Family::V4 => "icmp",
            Family::V6 => "icmp6",
        }
    }

    fn icmp(&mut self) -> ReadResult<RuleCondition> {
        let (option, protocol) = match self.context.id.family {
            Family::V4 => ("--icmp-type", Protocol::ICMP),
            Family::V6 => ("--icmpv6-type", Protocol::ICMPV6),
        };
        self.expect(option)?;
        ensure(self.has_protocol(&[protocol]), || {
            format!("`{option}` without its protocol")
        })?;

        let word = self.next_bare()?;
        let (kind, code) = match word.split_once('/') {
            Some((kind, code)) => (kind, Some(code)),
            None => (word, None),
        };
        let number = |text: &str| {
            let number: Option<u8> = text.parse().ok();
            // `007` parses, but is not the canonical form.
            let number = number.filter(|number| number.to_string() == text);
            number.ok_or_else(|| format!("bad ICMP type `{word}`"))
        };

        let icmp = Icmp {
            kind: number(kind)?,
            code: code.map(number).transpose()?,
        };
        ensure(icmp.kind != ANY_ICMP, || format!("bad ICMP type `{word}`"))?;
        Ok(RuleCondition::Icmp(icmp))
    }

    /// Reads the options of `rpfilter`. `--validmark` makes the packet's mark an input of the route
    /// lookup. Palisade does not model routes, so it ignores the option.
    fn reverse_path(&mut self) -> ReadResult<()> {
        // The kernel permits this match only in raw and mangle (`rpfilter_check` in
        // net/ipv4/netfilter/ipt_rpfilter.c).
        let is_early = self.context.id.kind != TableKind::Filter;
        ensure(is_early, || "rpfilter in the filter table".to_owned())?;

        let is_known =
            |row: &(bool, RuleCondition)| matches!(row.1, RuleCondition::ReversePath { .. });
        ensure(!self.conditions.iter().any(is_known), || {
            "rpfilter twice".to_owned()
        })?;

        let is_loose = self.skip("--loose");
        let _ = self.skip("--validmark");
        let is_negated = self.skip("--invert");
        self.conditions
            .push((is_negated, RuleCondition::ReversePath { is_loose }));
        Ok(())
    }

    /// Reads the options of one `conntrack` match, which needs at least one.
    fn connection(&mut self) -> ReadResult<()> {
        let is_tracked = self.context.id.kind != TableKind::Raw;
        ensure(is_tracked, || {
            "conntrack, in the table before connections are tracked".to_owned()
        })?;

        let (mut connection, mut last) = (ConntrackMatch::default(), None);
        loop {
            let is_behind_mark = self.peek() == Some("!");
            let option = self
                .words
                .get(usize::from(is_behind_mark))
                .and_then(|word| word.bare());
            if option.is_none_or(|option| !option.starts_with("--ct")) {
                break;
            }
            let is_negated = self.skip("!");
            let place = CONNECTION_OPTIONS
                .iter()
                .position(|known| Some(*known) == option);
            ensure(place.is_none() || last < place, || {
                "options of conntrack out of order".to_owned()
            })?;
            last = place.max(last);
            self.option_of_connection(&mut connection, is_negated)?;
        }

        ensure(connection != ConntrackMatch::default(), || {
            "conntrack without an option".to_owned()
        })?;
        self.conditions
            .push((false, RuleCondition::Connection(connection)));
        Ok(())
    }

    fn option_of_connection(
        &mut self,
        connection: &mut ConntrackMatch,
        is_negated: bool,
    ) -> ReadResult<()> {
        match self.next_bare()? {
            "--ctstate" if connection.states.is_none() => {
                let word = self.next_bare()?;
                let states = word
                    .split(',')
                    .map(State::from_word)
                    .collect::<Option<Vec<State>>>();
                let states = states.ok_or_else(|| format!("unknown state in `{word}`"))?;
                let place = |state: &State| STATES.iter().position(|own| own == state);
                let is_sorted = states.is_sorted_by(|one, next| place(one) < place(next));
                ensure(is_sorted, || {
                    format!("`{word}` is not in the order in which tools print it")
                })?;
                connection.states = Some((is_negated, states));
            }
            "--ctorigdst" if connection.address.is_none() => {
                let net = self.address()?;
                let is_met = !is_negated || !net.is_everything();
                ensure(is_met, || "`! --ctorigdst` of all addresses".to_owned())?;
                connection.address = Some((is_negated, net));
            }
            "--ctorigdstport" if connection.port.is_none() => {
                ensure(self.has_protocol(&WITH_PORTS), || {
                    "conntrack asks for a port without a protocol that has ports".to_owned()
                })?;
                let word = self.next_bare()?;
                let range = range(word).ok_or_else(|| format!("bad port `{word}`"))?;
                connection.port = Some((is_negated, range));
            }
            option => return Err(format!("unknown option `{option}` of `conntrack`")),
        }

        Ok(())
    }

    fn jump(&mut self) -> ReadResult<CheckedTarget> {
        match self.peek() {
            Some("ACCEPT") => self.accept(),
            Some("DROP") => self.simple(CheckedTarget::Drop),
            Some("RETURN") => self.simple(CheckedTarget::Return),
            Some("LOG") if self.is_own_log() => {
                self.words = &[];
                Ok(CheckedTarget::Log)
            }
            Some("CT") => {
                self.expect("CT")?;
                let is_known = self.skip("--notrack") && self.context.id.kind == TableKind::Raw;
                ensure(is_known, || {
                    "CT, but for `--notrack` in the raw table".to_owned()
                })?;
                Ok(CheckedTarget::NoTrack)
            }
            Some(name) if self.is_allowed(name) => {
                self.words = self.words.get(1..).unwrap_or_default();
                extension::read_target(self, name, self.context.id)
            }
            Some(name) if !name.starts_with(PREFIX) => Err(format!("unknown target `{name}`")),
            Some(_) | None => self.chain().map(CheckedTarget::Jump),
        }
    }

    /// Reads ACCEPT. It ends the built-in chain. In raw and mangle that is not a verdict, but it
    /// would skip the foreign rules after ours. RETURN from a chain that was entered by goto lets
    /// the packet pass without skipping any. A kernel may contain an ACCEPT from another program.
    fn accept(&mut self) -> ReadResult<CheckedTarget> {
        let kind = self.context.id.kind;
        let is_verdict = !matches!(kind, TableKind::Raw | TableKind::Mangle)
            || matches!(self.context.level, CheckLevel::Kernel);
        ensure(is_verdict, || {
            format!(
                "ACCEPT in the {} table, where it would skip the rules of others",
                kind.label()
            )
        })?;
        self.simple(CheckedTarget::Accept)
    }

    fn simple(&mut self, target: CheckedTarget) -> ReadResult<CheckedTarget> {
        self.next().map(|_| target)
    }

    /// Returns whether the target is LOG in the form that Palisade writes.
    fn is_own_log(&self) -> bool {
        let [_, option, prefix, level, number] = self.words else {
            return false;
        };
        let options = [option, level, number].map(|word| word.bare());
        let is_short = self.is_text(*prefix) && prefix.text.len() <= limits::LOG_PREFIX;
        is_short && options == ["--log-prefix", "--log-level", "5"].map(Some)
    }

    fn chain(&mut self) -> ReadResult<String> {
        let name = self.next_bare()?;
        ensure(name.starts_with(PREFIX), || {
            format!("`{name}` is no chain of palisade's")
        })?;
        Ok(name.to_owned())
    }

    /// Checks that a rule with an extension can only drop or observe. A rule without one may have a
    /// limit only if it logs: packets above a limit would miss the verdict.
    fn check_extensions(&self, target: &CheckedTarget) -> ReadResult<()> {
        if self.extensions.is_empty() {
            let is_limited = self
                .conditions
                .iter()
                .any(|row| row.1 == RuleCondition::Limit);
            let is_sound = !is_limited || *target == CheckedTarget::Log;
            return ensure(is_sound, || {
                "a limit on a rule that does not log".to_owned()
            });
        }

        let names = self.extensions.join("`, `");
        ensure(
            matches!(target, CheckedTarget::Drop | CheckedTarget::Log),
            || format!("a rule with `{names}` may drop, reject or log, and nothing else"),
        )
    }
}

/// Parses an address, or a prefix without host bits, in canonical form.
fn prefix(word: &str) -> Option<Cidr> {
    let net = match word.contains('/') {
        true => Cidr::parse_strict(word).ok(),
        false => word.parse().ok().map(Cidr::host),
    }?;
    let whole = format!("{}/{}", net.address(), net.prefix());
    (whole == word || net.to_string() == word).then_some(net)
}

fn is_interface(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(is_known)
}

fn side(word: &str) -> ReadResult<Side> {
    match word {
        "src" => Ok(Side::Source),
        "dst" => Ok(Side::Destination),
        other => Err(format!("unknown side `{other}`")),
    }
}

/// Parses `80` or `80:90` in canonical form: the tools read `010` as octal 8.
fn range(word: &str) -> Option<PortRange> {
    let (first, last) = word.split_once(':').unwrap_or((word, word));
    let range = PortRange::new(first.parse().ok()?, last.parse().ok()?)?;
    (range.to_string() == word).then_some(range)
}
