//! With whom a class of places may speak, for all of them at once.
//!
//! In: a [`ClusterSpace`], and the direction that is looked into. Out: [`ReachabilityRows`], which
//! gives for a class everyone with whom anything may pass.
//!
//! Cost: once, the exceptions of all views; then a row costs what it names, and the classes that an
//! open view leaves open: those between whom nothing may pass are not looked at where either side's
//! policy closes by default.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::net::{Direction, Family};
use crate::packet_space::{
    ClusterSpace, EndpointClassId, HeaderSetId, HeaderSpace, PolicyProfileId, ReachabilityMatrix,
};

/// What may pass between a class and each other class, class by class.
#[derive(Debug)]
pub struct ReachabilityRows<'space, 'input> {
    relation: &'space ReachabilityMatrix<'input>,
    /// The direction of the class that is asked about.
    direction: Direction,
    families: Vec<Family>,
    /// Classes of a family by their view in the other direction.
    others: Vec<ClassesByProfile>,
    /// Those in each family whose view allows something by default, in order.
    open: [Vec<usize>; 2],
    /// Of others, those whose view speaks about a class, in order.
    naming: FxHashMap<EndpointClassId, Vec<(usize, HeaderSetId)>>,
    /// What the class that is asked about allows with each other one.
    near: Vec<HeaderSetId>,
    /// The view that is written there.
    filled: Option<PolicyProfileId>,
}

/// Classes with one view.
#[derive(Debug)]
struct ClassesByProfile {
    classes: Vec<EndpointClassId>,
    by_default: HeaderSetId,
}

impl<'space, 'input> ReachabilityRows<'space, 'input> {
    /// Rows of what classes may send (egress) or get (ingress).
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

    /// Everyone with whom anything may pass, and what.
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

        row.retain(|(_, passing)| *passing != HeaderSpace::NONE);
        row
    }

    fn fill(&mut self, view: PolicyProfileId) {
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

    /// The others that allow anything with a class, and what.
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

    /// Most classes of a view are seen alike, so that the last answer is mostly the next.
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
