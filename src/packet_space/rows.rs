//! Rows of the reachability matrix: everything that an endpoint class can reach, computed at once.
//!
//! In: a [`ClusterSpace`] and a direction. Out: [`ReachabilityRows`], which returns for a class all
//! classes with which traffic is allowed.
//!
//! Cost: once, the exceptions of all policy profiles. Then a row costs the classes that its profile
//! names, plus the classes that open profiles leave open. Pairs that either side's policy denies by
//! default cost nothing.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::net::{Direction, Family};
use crate::packet_space::{
    ClusterSpace, EndpointClassId, HeaderSetId, HeaderSpace, PolicyProfileId, ReachabilityMatrix,
};

/// The allowed traffic between a class and each other class, one class at a time.
#[derive(Debug)]
pub struct ReachabilityRows<'space, 'input> {
    relation: &'space ReachabilityMatrix<'input>,
    /// The direction of the class whose row is computed.
    direction: Direction,
    families: Vec<Family>,
    /// Classes of one family, grouped by their policy profile in the other direction.
    others: Vec<ClassesByProfile>,
    /// For each family, the indices in `others` whose profile allows something by default, in
    /// order.
    open: [Vec<usize>; 2],
    /// For each class, the indices in `others` whose profile names it, in order.
    naming: FxHashMap<EndpointClassId, Vec<(usize, HeaderSetId)>>,
    /// What the profile in `filled` allows with each class.
    near: Vec<HeaderSetId>,
    /// The profile that `near` was filled from.
    filled: Option<PolicyProfileId>,
}

/// Classes with the same policy profile.
#[derive(Debug)]
struct ClassesByProfile {
    classes: Vec<EndpointClassId>,
    by_default: HeaderSetId,
}

impl<'space, 'input> ReachabilityRows<'space, 'input> {
    /// Prepares rows of what classes may send (egress) or receive (ingress).
    pub fn new(space: &'space ClusterSpace<'input>, direction: Direction) -> Self {
        let (relation, other) = (&space.relation, direction.opposite());
        let families: Vec<Family> = space
            .places
            .classes()
            .map(|(_, class)| class.family)
            .collect();
        let mut by_view: BTreeMap<(Family, PolicyProfileId), Vec<EndpointClassId>> =
            BTreeMap::new();

        for (id, class) in space.places.classes() {
            by_view
                .entry((class.family, relation.view(id, other)))
                .or_default()
                .push(id);
        }

        let near = vec![HeaderSpace::NONE; families.len()];
        let (others, open, naming) = (Vec::new(), [Vec::new(), Vec::new()], FxHashMap::default());
        let mut rows = Self {
            relation,
            direction,
            families,
            others,
            open,
            naming,
            near,
            filled: None,
        };

        by_view
            .into_iter()
            .for_each(|((family, view), classes)| rows.add_others(family, view, classes));
        rows
    }

    fn add_others(&mut self, family: Family, view: PolicyProfileId, classes: Vec<EndpointClassId>) {
        let position = self.others.len();
        let by_default = self.relation.seen_by_default(view);
        if by_default != HeaderSpace::NONE {
            let [v4, v6] = &mut self.open;
            match family {
                Family::V4 => v4.push(position),
                Family::V6 => v6.push(position),
            }
        }

        for (class, seen) in self.relation.exceptions(view) {
            if self.families.get(class.index()) == Some(&family) {
                self.naming
                    .entry(*class)
                    .or_default()
                    .push((position, *seen));
            }
        }

        self.others.push(ClassesByProfile {
            classes,
            by_default,
        });
    }

    /// Returns every class with which any traffic is allowed, and that traffic.
    pub fn with(
        &mut self,
        class: EndpointClassId,
        traffic: &mut HeaderSpace,
    ) -> Vec<(EndpointClassId, HeaderSetId)> {
        let mut row = Vec::new();
        let Some(family) = self.families.get(class.index()).copied() else {
            return row;
        };

        let view = self.relation.view(class, self.direction);
        // a closed profile has only its exceptions; looking at all other classes would be quadratic
        if self.relation.seen_by_default(view) == HeaderSpace::NONE {
            let is_far = |far: &EndpointClassId| self.families.get(far.index()) == Some(&family);
            for (far, near) in self
                .relation
                .exceptions(view)
                .iter()
                .filter(|(far, _)| is_far(far))
            {
                let seen = self
                    .relation
                    .seen(self.relation.view(*far, self.direction.opposite()), class);
                row.push((*far, traffic.and(*near, seen)));
            }
        } else {
            self.fill(view);
            for (others, seen) in self.allowing(class, family) {
                self.add(others, seen, traffic, &mut row);
            }
        }

        // an intersection of two open profiles may still be empty
        row.retain(|(_, passing)| *passing != HeaderSpace::NONE);
        row
    }

    fn fill(&mut self, view: PolicyProfileId) {
        // callers ask class by class, and neighbouring classes often have the same profile
        if self.filled.replace(view) == Some(view) {
            return;
        }
        self.near.fill(self.relation.seen_by_default(view));
        for (far, seen) in self.relation.exceptions(view) {
            self.near
                .get_mut(far.index())
                .into_iter()
                .for_each(|near| *near = *seen);
        }
    }

    /// Returns the groups that allow anything with a class, and what they allow.
    fn allowing(
        &self,
        class: EndpointClassId,
        family: Family,
    ) -> Vec<(&ClassesByProfile, HeaderSetId)> {
        let naming = self.naming.get(&class).map_or(&[][..], Vec::as_slice);
        let [v4, v6] = &self.open;
        let open = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        let mut next = naming.iter().copied().peekable();
        let mut allowing = Vec::with_capacity(open.len() + naming.len());

        for position in open {
            // both lists are sorted; a profile that names the class is handled below, not by its
            // default
            while next.next_if(|row| row.0 < *position).is_some() {}
            if next.peek().is_none_or(|row| row.0 != *position) {
                allowing.extend(
                    self.others
                        .get(*position)
                        .map(|others| (others, others.by_default)),
                );
            }
        }

        let named = naming.iter().filter(|row| row.1 != HeaderSpace::NONE);
        allowing.extend(
            named.filter_map(|(position, seen)| Some((self.others.get(*position)?, *seen))),
        );
        allowing
    }

    /// Adds the classes of a group to a row. Neighbours mostly have the same traffic, so the last
    /// intersection is reused.
    fn add(
        &self,
        others: &ClassesByProfile,
        seen: HeaderSetId,
        traffic: &mut HeaderSpace,
        row: &mut Vec<(EndpointClassId, HeaderSetId)>,
    ) {
        let mut last = (HeaderSpace::NONE, HeaderSpace::NONE);
        for far in &others.classes {
            let near = self
                .near
                .get(far.index())
                .copied()
                .unwrap_or(HeaderSpace::NONE);
            if near != last.0 {
                last = (near, traffic.and(near, seen));
            }
            row.push((*far, last.1));
        }
    }
}
