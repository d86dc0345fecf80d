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
use crate::netfilter::{EarlyOutcome, HookContext, TableOutcome};
use crate::packet::{Hook, PreDnatDestination, ReversePath};
use crate::packet_space::{HeaderSetId, HeaderSpace, LocationSet, PairBlock};
use crate::verify::compare::{EarlyComparison, FamilyComparison, FilterCase};
use crate::verify::expected::{EarlyExpected, ExpectedPortion, VerdictSets};

/// Ports that a connection can be made to, one of each kind, or none for the port that the packet
/// is for, with what rules that ask for the original destination take.
pub(super) type DnatPorts = Vec<(Option<u16>, Box<[HeaderSetId]>)>;

/// Sets of packets that would be in another set if they were for a port.
pub(super) type RedirectedSets = FxHashMap<(HeaderSetId, u16), HeaderSetId>;

/// What tells kinds of destinations before translation apart: what is behind the packets, and what
/// rules are answered that ask for the original destination.
type DnatKind = (EarlyComparison, Box<[HeaderSetId]>);

/// The kinds, each with the sources for which there is such a destination, and with which.
type DnatKinds = IndexMap<DnatKind, Vec<(LocationSet, PreDnatDestination)>, FxBuildHasher>;

impl FamilyComparison<'_, '_, '_, '_> {
    /// All packets of a hook that begin a connection and whose destination is translated. Those
    /// that are kept from connection tracking are not, so that they are among those of
    /// [`Self::hook`]; and so is, with their destination for its own, whatever is decided before
    /// the filter table.
    pub(super) fn translated(
        &mut self,
        hook: &Hook,
        ports: &DnatPorts,
        redirected: &mut RedirectedSets,
    ) {
        let Some(possible) = self.ground.possible(hook) else {
            return;
        };

        for ((before, asked), originals) in self.kinds(hook, &possible.sources, ports, redirected) {
            let sources = originals
                .iter()
                .map(|row| row.0.clone())
                .reduce(|all, some| all.with(&some));
            let destinations = possible.destinations.clone();
            let block = sources.map(|sources| PairBlock {
                sources,
                destinations,
            });
            block
                .into_iter()
                .for_each(|block| self.behind(hook, &before, &asked, &originals, block));
        }
    }

    /// Destinations before translation, one of each kind for each source.
    fn kinds(
        &mut self,
        hook: &Hook,
        sources: &LocationSet,
        ports: &DnatPorts,
        redirected: &mut RedirectedSets,
    ) -> DnatKinds {
        let mut kinds = DnatKinds::default();
        let anywhere = LocationSet::filter(self.ground.places.len(), |_| true);
        let all = PairBlock {
            sources: sources.clone(),
            destinations: anywhere,
        };
        let ground = self.ground;

        let sent = |(block, before): (PairBlock, EarlyComparison)| {
            let to = move |(is_sent, places): &'_ (Box<[bool]>, LocationSet)| {
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
            .before(hook, State::New, ReversePath::Arriving, all)
            .into_iter()
            .flat_map(sent);
        for ((sources, before, is_sent, address), (port, answers)) in
            sent.flat_map(|sent| ports.iter().map(move |port| (sent.clone(), port)))
        {
            let before = self.redirect(&before, *port, redirected);
            add(
                kinds
                    .entry((before, answered(&is_sent, answers)))
                    .or_default(),
                &sources,
                PreDnatDestination {
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
        before: &EarlyComparison,
        port: Option<u16>,
        redirected: &mut RedirectedSets,
    ) -> EarlyComparison {
        let Some(port) = port else { return *before };
        let mut of = |set: HeaderSetId| {
            *redirected
                .entry((set, port))
                .or_insert_with(|| self.traffic.redirected(set, port))
        };

        let EarlyComparison { found, owed } = before;
        EarlyComparison {
            found: EarlyOutcome {
                dropped: of(found.dropped),
                unclear: HeaderSpace::NONE,
                untracked: of(found.untracked),
            },
            owed: EarlyExpected {
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
        before: &EarlyComparison,
        asked: &[HeaderSetId],
        originals: &[(LocationSet, PreDnatDestination)],
        block: PairBlock,
    ) {
        let gone = [
            before.found.dropped,
            before.found.untracked,
            before.owed.dropped,
            before.owed.untracked,
        ];
        let gone = gone
            .into_iter()
            .fold(HeaderSpace::NONE, |all, set| self.traffic.or(all, set));
        let on = self.traffic.less(HeaderSpace::ALL, gone);

        let mut portions = before.owed.portions(State::New, self.traffic);
        portions
            .iter_mut()
            .for_each(|portion: &mut ExpectedPortion| {
                portion.here = self.traffic.and(portion.here, on)
            });

        let at = HookContext {
            columns: &self.ground.columns,
            hook,
            state: State::New,
            reverse_path: ReversePath::Arriving,
            origins: Some(asked),
        };
        let found = self
            .symbolic
            .filter(&at, block, on, TableOutcome::NONE, self.traffic);
        let (owed, kept) = (VerdictSets::NONE, HeaderSpace::NONE);
        let mut case = FilterCase {
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

/// What rules that ask for the original destination take of packets to an address and a port:
/// nothing where the rule does not take the address, otherwise what it takes of the port.
fn answered(is_sent: &[bool], answers: &[HeaderSetId]) -> Box<[HeaderSetId]> {
    let answer = |(is_sent, answer): (&bool, &HeaderSetId)| {
        if *is_sent { *answer } else { HeaderSpace::NONE }
    };
    is_sent.iter().zip(answers).map(answer).collect()
}

/// Adds a destination for those sources that have none yet.
fn add(
    originals: &mut Vec<(LocationSet, PreDnatDestination)>,
    sources: &LocationSet,
    original: PreDnatDestination,
) {
    let mut new = Some(sources.clone());
    for (known, _) in originals.iter() {
        new = new.and_then(|new| new.split(known).1);
    }
    originals.extend(new.map(|new| (new, original)));
}
