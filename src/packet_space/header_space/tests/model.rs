//! Random cuts, and the classes that they leave by the definition.

use std::collections::{BTreeMap, BTreeSet};

use crate::net::{PortRange, Protocol, Side};
use crate::packet::{IcmpMessage, PortPair};
use crate::packet_space::header_space::{HeaderClass, PartitionBuilder, WITH_MESSAGES};
use crate::policy::Icmp;

/// Random numbers by a linear congruence (Knuth's MMIX).
pub(super) struct RandomChoices(pub(super) u64);

impl RandomChoices {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    pub(super) fn one_of<Row: Clone>(&mut self, rows: &[Row]) -> Row {
        rows[self.below(rows.len())].clone()
    }

    pub(super) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    /// A port, mostly low, so that ranges meet; now and then the last.
    pub(super) fn port(&mut self) -> u16 {
        match self.below(12) {
            0 => u16::MAX,
            1 => u16::try_from(1 + self.below(65_535)).unwrap(),
            _ => u16::try_from(1 + self.below(1_500)).unwrap(),
        }
    }

    pub(super) fn range(&mut self) -> PortRange {
        let (one, other) = (self.port(), self.port());
        let last = if self.below(3) == 0 {
            one
        } else {
            one.max(other)
        };
        PortRange::new(one.min(last), last).unwrap()
    }
}

/// What rules name, and the classes that this leaves, by the definition.
#[derive(Default)]
pub(super) struct FlagModel {
    pub(super) cuts: PartitionBuilder,
    pub(super) ports: BTreeMap<(Protocol, Side), Vec<PortRange>>,
    pub(super) messages: BTreeSet<(Protocol, u8, Option<u8>)>,
    pub(super) protocols: BTreeSet<Protocol>,
    pub(super) classes: Vec<HeaderClass>,
}

impl FlagModel {
    pub(super) fn random(dice: &mut RandomChoices) -> Self {
        let mut model = Self::default();
        for protocol in [
            Protocol::TCP,
            Protocol::UDP,
            Protocol::SCTP,
            Protocol::UDPLITE,
        ] {
            model.cut_ports(protocol, Side::Source, [1, 1, 3, 12, 12], dice);
            model.cut_ports(protocol, Side::Destination, [1, 1, 3, 12, 500], dice);
        }

        for protocol in WITH_MESSAGES {
            for _ in 0..dice.below(6) {
                let (kind, code) = (
                    dice.byte() % 8,
                    Some(dice.byte() % 4).filter(|_| dice.below(3) > 0),
                );
                model.cuts.message(protocol, Icmp { kind, code });
                model.messages.insert((protocol, kind, code));
            }
        }

        for protocol in (0..dice.below(4)).filter_map(|_| Protocol::from_number(dice.byte().max(1)))
        {
            model.cuts.protocol(protocol);
            model.protocols.insert(protocol);
        }

        model.classes = model.all_classes();
        model
    }

    pub(super) fn cut_ports(
        &mut self,
        protocol: Protocol,
        side: Side,
        most: [usize; 5],
        dice: &mut RandomChoices,
    ) {
        let most = dice.one_of(&most);
        for _ in 0..dice.below(most) {
            let range = dice.range();
            self.cuts.ports(protocol, side, range);
            self.ports.entry((protocol, side)).or_default().push(range);
        }
    }

    pub(super) fn all_classes(&self) -> Vec<HeaderClass> {
        let mut classes = Vec::new();
        let mut special = vec![Protocol::TCP, Protocol::UDP, Protocol::SCTP];
        special.extend(
            self.ports
                .keys()
                .any(|key| key.0 == Protocol::UDPLITE)
                .then_some(Protocol::UDPLITE),
        );

        for protocol in &special {
            for source in self.port_classes(*protocol, Side::Source) {
                let of_source = self.port_classes(*protocol, Side::Destination).into_iter();
                classes.extend(of_source.map(|destination| HeaderClass::Ports {
                    protocol: *protocol,
                    source,
                    destination,
                }));
            }
        }

        for protocol in WITH_MESSAGES {
            // a class is what the same of these names hold; its first message comes with the class
            let mut examples: BTreeMap<(u16, u16), IcmpMessage> = BTreeMap::new();
            for (kind, code) in
                (0..=u8::MAX).flat_map(|kind| (0..=u8::MAX).map(move |code| (kind, code)))
            {
                examples
                    .entry(self.names(protocol, kind, code))
                    .or_insert(IcmpMessage { kind, code });
            }
            let name = |number: u16| u8::try_from(number).ok();
            let message = |((kind, code), example)| HeaderClass::Message {
                protocol,
                kind: name(kind),
                code: name(code),
                example,
            };
            classes.extend(examples.into_iter().map(message));
        }

        special.extend(WITH_MESSAGES);
        let rest = (1..=u8::MAX)
            .filter_map(Protocol::from_number)
            .filter(|protocol| !special.contains(protocol));
        let (named, unnamed): (Vec<_>, Vec<_>) =
            rest.partition(|protocol| self.protocols.contains(protocol));

        classes.extend(
            named
                .into_iter()
                .map(|protocol| HeaderClass::Protocols(vec![protocol])),
        );
        classes.push(HeaderClass::Protocols(unnamed));
        classes
    }

    /// The classes of ports: those that the same ranges hold. Port 0 is in none, and apart at the
    /// receiver.
    pub(super) fn port_classes(&self, protocol: Protocol, side: Side) -> Vec<(u16, u16)> {
        let ranges = self.ports.get(&(protocol, side));
        let mut firsts: BTreeSet<u16> = ranges
            .into_iter()
            .flatten()
            .flat_map(|range| [Some(range.first()), range.last().checked_add(1)])
            .flatten()
            .collect();

        firsts.insert(0);
        if ranges.is_some() || side == Side::Destination {
            firsts.insert(1);
        }

        let lasts = firsts
            .iter()
            .skip(1)
            .map(|first| first - 1)
            .chain([u16::MAX]);
        firsts.iter().copied().zip(lasts).collect()
    }

    /// Type and code as the class of a message has them; 256 for what is not named, so that it is
    /// the last.
    pub(super) fn names(&self, protocol: Protocol, kind: u8, code: u8) -> (u16, u16) {
        let of_kind: Vec<Option<u8>> = self
            .messages
            .iter()
            .filter(|row| (row.0, row.1) == (protocol, kind))
            .map(|row| row.2)
            .collect();

        match (of_kind.is_empty(), of_kind.contains(&Some(code))) {
            (true, _) => (256, 256),
            (false, true) => (kind.into(), code.into()),
            (false, false) => (kind.into(), 256),
        }
    }

    pub(super) fn flags(&self, test: impl Fn(&HeaderClass) -> bool) -> Vec<bool> {
        self.classes.iter().map(test).collect()
    }

    /// The class of a packet.
    pub(super) fn class_of(
        &self,
        protocol: Protocol,
        ports: PortPair,
        message: IcmpMessage,
    ) -> Option<usize> {
        let within = |(first, last): (u16, u16), port: u16| (first..=last).contains(&port);
        self.classes.iter().position(|class| match class {
            HeaderClass::Ports {
                protocol: own,
                source,
                destination,
            } => {
                *own == protocol
                    && within(*source, ports.source)
                    && within(*destination, ports.destination)
            }
            HeaderClass::Message {
                protocol: own,
                kind,
                code,
                ..
            } => {
                let name = |number: u16| u8::try_from(number).ok();
                let (own_kind, own_code) = self.names(protocol, message.kind, message.code);
                *own == protocol && (*kind, *code) == (name(own_kind), name(own_code))
            }
            HeaderClass::Protocols(own) => own.contains(&protocol),
        })
    }
}
