//! Who can talk to whom on what.
//!
//! In: [`Resolved`] policy, and what of it is [`Asked`] for. Out: [`Connectivity`]: for every two peers but two outside, all that may go from
//! one to the other, where that is something.
//!
//! Cost: the pairs of peers, each with the pairs of their classes.

use crate::analysis::peers::{By, Peer, Peers};
use crate::analysis::space::{Class, Cuts, Range, Space, Traffic, TrafficId};
use crate::analysis::subject::{Members, Subject};
use crate::analysis::{Side, What};
use crate::diagnostic::Diagnostic;
use crate::inventory::Inventory;
use crate::net::Cidr;
use crate::resolve::Resolved;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What makes endpoints one peer.
    pub by: By,
    /// Senders; none are all.
    pub from: Vec<Subject>,
    /// Receivers; none are all.
    pub to: Vec<Subject>,
    /// What is sent; none is everything.
    pub what: Vec<What>,
}

/// All that was asked for.
#[derive(Debug)]
pub struct Connectivity {
    /// Everyone who was asked about as sender, in order.
    pub senders: Vec<Peer>,
    /// Everyone who was asked about as receiver, in order.
    pub receivers: Vec<Peer>,
    /// What may go, by sender and receiver.
    pub pairs: Vec<Pair>,
    /// What the pairs' traffic is of.
    pub traffic: Traffic,
    /// All traffic that listings have: without port 0, which is reserved.
    pub everything: TrafficId,
}

/// What may go from one peer to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Position among the senders.
    pub from: u32,
    /// Position among the receivers.
    pub to: u32,
    /// Not nothing.
    pub traffic: TrafficId,
}

/// Decides about all pairs that are asked for.
///
/// # Errors
/// When somebody is asked for who is not in the input.
pub fn of(resolved: &Resolved<'_>, asked: &Asked) -> Result<Connectivity, Diagnostic> {
    let mut cuts = Cuts::default();
    cuts.of_policy(resolved);
    asked.what.iter().for_each(|what| what.cut(&mut cuts));
    let mut traffic = Traffic::of(&cuts);
    let space = Space::of(resolved, &mut traffic);
    let peers = Peers::of(resolved.inventory, &space, asked.by);
    let senders = chosen(&peers, &asked.from, resolved.inventory)?;
    let receivers = chosen(&peers, &asked.to, resolved.inventory)?;
    let everything = traffic.select(is_listed);
    let wanted = wanted(&asked.what, everything, &mut traffic);
    let mut pairs = Vec::new();
    for (from, sender) in (0u32..).zip(&senders) {
        let others = (0u32..).zip(&receivers).filter(|(_, receiver)| !(sender.is_outside() && receiver.is_outside()));
        for (to, receiver) in others {
            let allowed = sender.allowed_to(receiver, &space, &mut traffic);
            let allowed = traffic.and(allowed, wanted);
            if allowed != Traffic::NONE {
                pairs.push(Pair { from, to, traffic: allowed });
            }
        }
    }
    Ok(Connectivity { senders, receivers, pairs, traffic, everything })
}

/// Whether nobody listens at port 0 of either side.
fn is_listed(class: &Class) -> bool {
    [Side::Source, Side::Destination].into_iter().all(|side| class.port(side) != Some((0, 0)))
}

fn wanted(what: &[What], everything: TrafficId, traffic: &mut Traffic) -> TrafficId {
    if what.is_empty() {
        return everything;
    }
    let mut all = Traffic::NONE;
    for what in what {
        let one = what.traffic(traffic);
        all = traffic.or(all, one);
    }
    traffic.and(all, everything)
}

/// The peers of subjects, in order; all where there is no subject.
fn chosen(peers: &Peers, subjects: &[Subject], inventory: &Inventory) -> Result<Vec<Peer>, Diagnostic> {
    if subjects.is_empty() {
        return Ok(peers.all().to_vec());
    }
    let meant = subjects.iter().map(|subject| subject.resolve(inventory)).collect::<Result<Vec<Members>, Diagnostic>>()?;
    let mut chosen = Vec::new();
    for peer in peers.all() {
        match peer.is_outside() {
            false => chosen.extend(meant.iter().any(|meant| is_meant(peer, meant, inventory)).then(|| peer.clone())),
            true => chosen.extend(meant.iter().filter_map(prefix).filter_map(|prefix| peer.within(Range::of(prefix)))),
        }
    }
    chosen.dedup_by(|left, right| left.identity == right.identity);
    Ok(chosen)
}

fn prefix(meant: &Members) -> Option<Cidr> {
    match meant {
        Members::Addresses(cidr) => Some(*cidr),
        Members::Endpoints(_) => None,
    }
}

/// Whether one of a peer's endpoints is meant.
fn is_meant(peer: &Peer, meant: &Members, inventory: &Inventory) -> bool {
    peer.endpoints.iter().any(|id| match meant {
        Members::Endpoints(ids) => ids.binary_search(id).is_ok(),
        Members::Addresses(cidr) => inventory.endpoint(*id).addresses.iter().any(|address| cidr.holds(*address)),
    })
}
