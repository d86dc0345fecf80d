//! Groups of pods as labels, with sizes as a large deployment has them.

use std::io::{self, Write};

use super::random::Random;

/// Pods of the cluster that has the groups, which is also the size of the largest group, `all()`.
pub(super) const PODS: usize = 54_566;

/// How many groups have how many members, from least to most (anonymised diagnostics of one node of
/// a large deployment: projectcalico/calico, app-policy/checker/bench_test.go). With `all()` these
/// are 3,708 groups of some 256,000 members. There the classes end at 9, 99, 999 and 9,999; the
/// limits here are such that all members together are as many.
const SIZES: [(usize, usize, usize); 5] = [
    (4, 0, 0),
    (3_035, 1, 9),
    (446, 10, 50),
    (64, 100, 400),
    (158, 1_000, 1_010),
];

/// Label names that groups go by. A pod has one value of each, so that the groups of one name do
/// not overlap.
const NAMES: usize = 4;

/// Groups, by the label name they go by.
pub(super) struct Groups {
    by_name: Vec<Vec<Group>>,
}

/// The pods from `first` to before `end` have the value `group-<number>`.
struct Group {
    number: usize,
    first: usize,
    end: usize,
}

impl Groups {
    pub(super) fn none() -> Self {
        Self {
            by_name: Vec::new(),
        }
    }

    /// The groups of the production case, laid side by side over the pods, name after name.
    pub(super) fn of_production(seed: u64) -> Self {
        let mut by_name: Vec<Vec<Group>> = (0..NAMES).map(|_| Vec::new()).collect();
        for (number, size) in sizes(seed).into_iter().enumerate() {
            let groups = by_name.iter_mut().find(|groups| end(groups) + size <= PODS);
            if let Some(groups) = groups {
                let first = end(groups);
                groups.push(Group {
                    number,
                    first,
                    end: first + size,
                });
            }
        }

        Self { by_name }
    }

    /// Selectors of all groups, `all()` last.
    pub(super) fn selectors(&self) -> Vec<String> {
        let of_name = |(name, groups): (usize, &Vec<Group>)| {
            groups
                .iter()
                .map(move |group| format!("group-{name} == 'group-{}'", group.number))
                .collect::<Vec<_>>()
        };
        let mut selectors: Vec<String> =
            self.by_name.iter().enumerate().flat_map(of_name).collect();
        selectors.push("all()".to_owned());
        selectors
    }

    /// The labels of a pod as members of a JSON object.
    pub(super) fn write_labels(&self, pod: usize, out: &mut impl Write) -> io::Result<()> {
        for (name, groups) in self.by_name.iter().enumerate() {
            let at = groups.partition_point(|group| group.end <= pod);
            if let Some(group) = groups.get(at).filter(|group| group.first <= pod) {
                write!(out, r#""group-{name}": "group-{}","#, group.number)?;
            }
        }
        Ok(())
    }
}

fn end(groups: &[Group]) -> usize {
    groups.last().map_or(0, |group| group.end)
}

fn sizes(seed: u64) -> Vec<usize> {
    let mut random = Random::new(seed);
    let mut sizes = Vec::new();
    for (count, least, most) in SIZES {
        sizes.extend((0..count).map(|_| least + random.below(most - least + 1)));
    }
    sizes
}
