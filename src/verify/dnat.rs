//! Packets whose destination is translated: what the tables before that decide is about the
//! destination that they were sent to.
//!
//! Those are put into kinds: two are of one kind for a source where they have the same behind them,
//! and rules that ask for the original destination are answered the same. For each kind, all pairs
//! of places are compared at once.
//!
//! Cost: a comparison for each kind.

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::net::State;
use crate::netfilter::{At, Early, Out};
use crate::packet::{Hook, Original, ReversePath};
use crate::packet_space::{Block, Members, Traffic, TrafficId};
use crate::verify::compare::{Before, Case, Comparison};
use crate::verify::expected::{EarlyOwed, Fates, Portion};

/// Ports that a connection can be made to, one of each kind, or none for the port that the packet
/// is for, with what rules that ask for the original destination take.
pub(super) type Ports = Vec<(Option<u16>, Box<[TrafficId]>)>;

/// Sets of packets that would be in another set if they were for a port.
pub(super) type Redirected = FxHashMap<(TrafficId, u16), TrafficId>;

/// What tells kinds of destinations before translation apart: what is behind the packets, and what
/// rules are answered that ask for the original destination.
type Kind = (Before, Box<[TrafficId]>);

/// The kinds, each with the sources for which there is such a destination, and with which.
type Kinds = IndexMap<Kind, Vec<(Members, Original)>, FxBuildHasher>;

impl Comparison<'_, '_, '_, '_> {
    /// All packets of a hook that begin a connection and whose destination is translated. Those
    /// that are kept from connection tracking are not, so that they are among those of
    /// [`Self::hook`]; and so is, with their destination for its own, whatever is decided before
    /// the filter table.
    pub(super) fn translated(
        &mut self,
        hook: &Hook,
        (ports, redirected): (&Ports, &mut Redirected),
    ) {
        let Some(possible) = self.ground.possible(hook) else {
            return;
        };
        for ((before, asked), originals) in self.kinds(hook, &possible.sources, (ports, redirected))
        {
            let sources = originals
                .iter()
                .map(|row| row.0.clone())
                .reduce(|all, some| all.with(&some));
            let destinations = possible.destinations.clone();
            let block = sources.map(|sources| Block {
                sources,
                destinations,
            });
            block
                .into_iter()
                .for_each(|block| self.behind(hook, (&before, &asked, &originals), block));
        }
    }

    /// Destinations before translation, one of each kind for each source.
    fn kinds(
        &mut self,
        hook: &Hook,
        sources: &Members,
        (ports, redirected): (&Ports, &mut Redirected),
    ) -> Kinds {
        let mut kinds = Kinds::default();
        let anywhere = Members::of(self.ground.places.len(), |_| true);
        let all = Block {
            sources: sources.clone(),
            destinations: anywhere,
        };
        let ground = self.ground;
        let sent = |(block, before): (Block, Before)| {
            let to = move |(is_sent, places): &'_ (Box<[bool]>, Members)| {
                let first = block.destinations.split(places).0?.iter().next()?;
                Some((
                    block.sources.clone(),
                    before,
                    is_sent.clone(),
                    ground.places.get(first)?.address,
                ))
            };
            ground.sent.iter().filter_map(to).collect::<Vec<_>>()
        };
        let sent = self
            .before(hook, (State::New, ReversePath::Arriving), all)
            .into_iter()
            .flat_map(sent);
        for ((sources, before, is_sent, address), (port, answers)) in
            sent.flat_map(|sent| ports.iter().map(move |port| (sent.clone(), port)))
        {
            let before = self.redirect(&before, *port, redirected);
            let answer = |(is_sent, answer): (&bool, &TrafficId)| {
                if *is_sent { *answer } else { Traffic::NONE }
            };
            let asked = is_sent.iter().zip(answers).map(answer).collect();
            add(
                kinds.entry((before, asked)).or_default(),
                &sources,
                Original {
                    address,
                    port: *port,
                },
            );
        }
        kinds
    }

    /// The same, for packets that were sent to this port and are for others now.
    fn redirect(
        &mut self,
        before: &Before,
        port: Option<u16>,
        redirected: &mut Redirected,
    ) -> Before {
        let Some(port) = port else { return *before };
        let mut of = |set: TrafficId| {
            *redirected
                .entry((set, port))
                .or_insert_with(|| self.traffic.redirected(set, port))
        };
        let Before { found, owed } = before;
        Before {
            found: Early {
                dropped: of(found.dropped),
                unclear: Traffic::NONE,
                untracked: of(found.untracked),
            },
            owed: EarlyOwed {
                dropped: of(owed.dropped),
                untracked: of(owed.untracked),
                let_through: of(owed.let_through),
            },
        }
    }

    /// Tracked packets behind the translation.
    fn behind(
        &mut self,
        hook: &Hook,
        (before, asked, originals): (&Before, &[TrafficId], &[(Members, Original)]),
        block: Block,
    ) {
        let gone = [
            before.found.dropped,
            before.found.untracked,
            before.owed.dropped,
            before.owed.untracked,
        ];
        let gone = gone
            .into_iter()
            .fold(Traffic::NONE, |all, set| self.traffic.or(all, set));
        let on = self.traffic.less(Traffic::ALL, gone);
        let mut portions = before.owed.portions(State::New, self.traffic);
        portions
            .iter_mut()
            .for_each(|portion: &mut Portion| portion.here = self.traffic.and(portion.here, on));
        let at = At {
            columns: &self.ground.columns,
            hook,
            state: State::New,
            reverse_path: ReversePath::Arriving,
            origins: Some(asked),
        };
        let found = self
            .symbolic
            .filter(&at, (block, on, Out::NONE), self.traffic);
        let (owed, kept) = (Fates::NONE, Traffic::NONE);
        let mut case = Case {
            hook,
            state: State::New,
            reverse_path: ReversePath::Arriving,
            portions,
            owed,
            kept,
            originals,
            known: FxHashMap::default(),
        };
        found
            .into_iter()
            .for_each(|(block, found)| self.judge(&mut case, &block, found));
    }
}

/// Adds a destination for those sources that have none yet.
fn add(originals: &mut Vec<(Members, Original)>, sources: &Members, original: Original) {
    let mut new = Some(sources.clone());
    for (known, _) in originals.iter() {
        new = new.and_then(|new| new.split(known).1);
    }
    originals.extend(new.map(|new| (new, original)));
}
