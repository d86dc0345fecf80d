//! Compares packets with a translated destination. The tables before DNAT decide by the original
//! destination.
//!
//! Original destinations are grouped into kinds. Two are of one kind for a source if raw and mangle
//! treat the packets alike and matches on the original destination have the same answers. For each
//! kind, all pairs of locations are compared at once.
//!
//! Cost: one comparison for each kind.

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::net::State;
use crate::netfilter::{EarlyOutcome, HookContext, TableOutcome};
use crate::packet::{Hook, PreDnatDestination, ReversePath};
use crate::packet_space::{HeaderSetId, HeaderSpace, LocationSet, PairBlock};
use crate::verify::compare::{EarlyComparison, FamilyComparison, FilterCase};
use crate::verify::expected::{EarlyExpected, ExpectedPortion, VerdictSets};

/// One original port of each kind, with the headers that matches on the original destination
/// accept. `None` means the port that the packet has now.
pub(super) type DnatPorts = Vec<(Option<u16>, Box<[HeaderSetId]>)>;

/// For a set of headers and an original port, the headers that are in the set once their port is
/// replaced by that port.
pub(super) type RedirectedSets = FxHashMap<(HeaderSetId, u16), HeaderSetId>;

/// The properties that distinguish original destinations: the outcome before the filter table, and
/// the answers of matches on the original destination.
type DnatKind = (EarlyComparison, Box<[HeaderSetId]>);

/// The kinds. For each kind, the sources that have such a destination, each with an example.
type DnatKinds = IndexMap<DnatKind, Vec<(LocationSet, PreDnatDestination)>, FxBuildHasher>;

impl FamilyComparison<'_, '_, '_, '_> {
    /// Compares all packets of a hook that begin a connection and have a translated destination.
    /// The kernel does not translate untracked packets, so [`Self::hook`] compares those. It also
    /// compares everything that raw and mangle decide, because there the original destination is
    /// the packet's own.
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

    /// Returns the kinds of original destinations, with one destination of each kind for each
    /// source.
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

    /// Returns the outcome before the filter table for packets that were sent to `port` and have
    /// another port now.
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
                // these packets are new, so their original destination is known
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

    /// Compares tracked packets after DNAT.
    fn behind(
        &mut self,
        hook: &Hook,
        before: &EarlyComparison,
        asked: &[HeaderSetId],
        originals: &[(LocationSet, PreDnatDestination)],
        block: PairBlock,
    ) {
        // packets that either side drops or leaves untracked are never translated
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

/// Returns the answers of matches on the original destination for an address and a port: nothing if
/// the match does not accept the address, else the headers that it accepts for the port.
fn answered(is_sent: &[bool], answers: &[HeaderSetId]) -> Box<[HeaderSetId]> {
    let answer = |(is_sent, answer): (&bool, &HeaderSetId)| {
        if *is_sent { *answer } else { HeaderSpace::NONE }
    };
    is_sent.iter().zip(answers).map(answer).collect()
}

/// Adds a destination for the sources that have none yet.
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
