//! The sets of one node. Each distinct set exists once and is filled from resolved policy.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostics;
use crate::inventory::{NodeId, ServiceKey};
use crate::lower::names::{KernelNames, NameSource};
use crate::lower::program::{NetMember, ProgramSet, Sense, ServiceMember, SetMembers, SetName};
use crate::net::{Cidr, Family, PortRange, Protocol};
use crate::policy::{PeerSelection, SelectorId};
use crate::resolve::{self, ResolvedPolicy};

/// The sets that the node's rules use so far.
pub(super) struct SetBuilder<'input> {
    resolved: &'input ResolvedPolicy<'input>,
    node: NodeId,
    sets: BTreeMap<SetName, ProgramSet>,
}

/// Which addresses the set of a selection contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetReach {
    /// All addresses. For the remote side of a rule.
    Cluster,
    /// The addresses of this node's endpoints and of network sets. For the side of a rule that the
    /// policy applies to. Other addresses cannot occur there, so the set stays small.
    Node,
}

impl SetReach {
    fn prefix(self) -> char {
        match self {
            SetReach::Cluster => 's',
            SetReach::Node => 'o',
        }
    }

    fn remark(self) -> &'static str {
        match self {
            SetReach::Cluster => "",
            SetReach::Node => ", of this node",
        }
    }
}

impl<'input> SetBuilder<'input> {
    pub(super) fn new(resolved: &'input ResolvedPolicy<'input>, node: NodeId) -> Self {
        Self {
            resolved,
            node,
            sets: BTreeMap::new(),
        }
    }

    /// All sets, by name.
    pub(super) fn finish(self) -> Vec<ProgramSet> {
        self.sets.into_values().collect()
    }

    /// Adds a set if it does not exist yet.
    pub(super) fn add(
        &mut self,
        name: SetName,
        about: impl FnOnce() -> String,
        members: impl FnOnce() -> SetMembers,
    ) -> SetName {
        self.sets.entry(name.clone()).or_insert_with(|| ProgramSet {
            name: name.clone(),
            about: about(),
            members: members(),
        });
        name
    }

    /// The set of the addresses that a selector selects.
    pub(super) fn selection(
        &mut self,
        selector: SelectorId,
        reach: SetReach,
        family: Family,
        names: &mut KernelNames,
        diagnostics: &mut Diagnostics,
    ) -> SetName {
        let text = self.resolved.policies.selectors.describe(selector);
        let sort = format!("{}{}", reach.prefix(), family_suffix(family));
        let name = names.set(
            NameSource {
                sort: &sort,
                word: &informative(&text),
                content: &text,
            },
            diagnostics,
        );
        let (resolved, node) = (self.resolved, self.node);

        let members = || match reach {
            SetReach::Cluster => addresses(family, resolved.addresses(selector, family)),
            SetReach::Node => addresses(family, &resolved.local_addresses(selector, family, node)),
        };
        self.add(name, || format!("{text}{}", reach.remark()), members)
    }

    /// The set of prefixes, possibly with exceptions.
    pub(super) fn prefixes(
        &mut self,
        family: Family,
        nets: &[Cidr],
        except: &[Cidr],
        names: &mut KernelNames,
        diagnostics: &mut Diagnostics,
    ) -> SetName {
        let list = |nets: &[Cidr]| {
            nets.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let about = match except {
            [] => list(nets),
            _ => format!("{} except {}", list(nets), list(except)),
        };
        let sort = format!("c{}", family_suffix(family));
        let name = names.set(
            NameSource {
                sort: &sort,
                word: &about,
                content: &about,
            },
            diagnostics,
        );

        self.add(
            name,
            || format!("prefixes {about}"),
            || SetMembers::Addresses(family, with_exceptions(nets, except)),
        )
    }

    /// The set of the addresses of a service's backends.
    pub(super) fn service_addresses(
        &mut self,
        key: &ServiceKey,
        family: Family,
        names: &mut KernelNames,
        diagnostics: &mut Diagnostics,
    ) -> SetName {
        let content = format!("backends of service {key}");
        let sort = format!("b{}", family_suffix(family));
        let name = names.set(
            NameSource {
                sort: &sort,
                word: &key.name,
                content: &content,
            },
            diagnostics,
        );

        let backends = self
            .resolved
            .inventory
            .services
            .get(key)
            .map_or(&[][..], |service| &service.addresses);
        let members = || {
            backends
                .iter()
                .copied()
                .map(Cidr::host)
                .filter(|host| host.family() == family)
                .map(NetMember::from_prefix)
                .collect()
        };

        self.add(
            name,
            || content.clone(),
            || SetMembers::Addresses(family, members()),
        )
    }

    /// The set of the addresses and ports of a service's backends.
    pub(super) fn service_ports(
        &mut self,
        key: &ServiceKey,
        family: Family,
        names: &mut KernelNames,
        diagnostics: &mut Diagnostics,
    ) -> SetName {
        let content = format!("backends of service {key}, with ports");
        let sort = format!("bp{}", family_suffix(family));
        let name = names.set(
            NameSource {
                sort: &sort,
                word: &key.name,
                content: &content,
            },
            diagnostics,
        );

        let backends = self
            .resolved
            .inventory
            .services
            .get(key)
            .map_or(&[][..], |service| &service.ports);
        let of_family = backends
            .iter()
            .filter(|(address, ..)| Cidr::host(*address).family() == family);
        let members = || {
            of_family
                .map(|(address, protocol, port)| ServiceMember {
                    address: *address,
                    protocol: *protocol,
                    port: *port,
                })
                .collect()
        };

        self.add(
            name,
            || content.clone(),
            || SetMembers::Services(family, members()),
        )
    }

    /// The set of port numbers.
    pub(super) fn ports(
        &mut self,
        ranges: &[PortRange],
        names: &mut KernelNames,
        diagnostics: &mut Diagnostics,
    ) -> SetName {
        let list = ranges
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let name = names.set(
            NameSource {
                sort: "p",
                word: &list,
                content: &list,
            },
            diagnostics,
        );

        self.add(
            name,
            || format!("ports {list}"),
            || SetMembers::Ports(ranges.to_vec()),
        )
    }

    /// The set of the addresses and ports to which endpoints give these names. Restricted to the
    /// protocol of the rule, if it has one.
    pub(super) fn named_ports(
        &mut self,
        wanted: &NamedPortQuery<'_>,
        family: Family,
        names: &mut KernelNames,
        diagnostics: &mut Diagnostics,
    ) -> SetName {
        let whom = match wanted.selected {
            PeerSelection::Anyone => "all()".to_owned(),
            PeerSelection::By(selector) => self.resolved.policies.selectors.describe(selector),
        };
        let protocol = wanted.protocol.map_or_else(
            || "any protocol".to_owned(),
            |protocol| protocol.to_string(),
        );
        let ports = wanted.names.join(",");
        let content = format!("port {ports} ({protocol}) of {whom}");
        let sort = format!("{}p{}", wanted.reach.prefix(), family_suffix(family));
        let name = names.set(
            NameSource {
                sort: &sort,
                word: &ports,
                content: &content,
            },
            diagnostics,
        );
        let (resolved, node) = (self.resolved, self.node);

        self.add(
            name,
            || format!("{content}{}", wanted.reach.remark()),
            || services(resolved, node, wanted, family),
        )
    }
}

/// A query for named ports: the names and the endpoints.
#[derive(Clone, Copy)]
pub(super) struct NamedPortQuery<'rule> {
    pub(super) names: &'rule [String],
    pub(super) protocol: Option<Protocol>,
    pub(super) selected: PeerSelection,
    pub(super) reach: SetReach,
}

/// The members of the set of [`SetBuilder::named_ports`].
fn services(
    resolved: &ResolvedPolicy<'_>,
    node: NodeId,
    wanted: &NamedPortQuery<'_>,
    family: Family,
) -> SetMembers {
    let NamedPortQuery {
        names,
        protocol,
        selected,
        reach,
    } = *wanted;
    // Only ports of local pods can occur on the local side of a rule.
    let node = (reach == SetReach::Node).then_some(node);
    let members = resolved.named_ports(
        &resolve::ResolvedPorts {
            names,
            protocol,
            selected,
            node,
        },
        family,
    );

    SetMembers::Services(
        family,
        members
            .into_iter()
            .map(|(address, protocol, port)| ServiceMember {
                address,
                protocol,
                port,
            })
            .collect(),
    )
}

/// Members without exceptions.
fn addresses(family: Family, nets: &[Cidr]) -> SetMembers {
    SetMembers::Addresses(
        family,
        nets.iter().copied().map(NetMember::from_prefix).collect(),
    )
}

/// Members for "in one of `nets` and in none of `except`".
///
/// In the kernel the longest prefix decides. So prefixes inside an exception are removed, and
/// exceptions outside all prefixes may be removed. `/0` becomes two halves, because such a set
/// cannot contain it.
pub(super) fn with_exceptions(nets: &[Cidr], except: &[Cidr]) -> Vec<NetMember> {
    let halved = |nets: &[Cidr]| {
        nets.iter()
            .copied()
            .flat_map(without_whole_family)
            .collect::<Vec<Cidr>>()
    };
    let (nets, except) = (halved(nets), halved(except));
    // Quadratic, but Calico allows at most 256 prefixes and 256 exceptions, and a Kubernetes block
    // with exceptions is a single prefix.
    let excepted = |net: &Cidr| except.iter().any(|exception| exception.contains(*net));
    let kept: Vec<Cidr> = nets.into_iter().filter(|net| !excepted(net)).collect();
    let needed = except
        .iter()
        .copied()
        .filter(|exception| kept.iter().any(|net| net.contains(*exception)));
    let exceptions = needed.map(|net| NetMember {
        net,
        sense: Sense::IsNot,
    });

    let mut members: Vec<NetMember> = kept
        .iter()
        .copied()
        .map(NetMember::from_prefix)
        .chain(exceptions)
        .collect();
    members.sort_unstable();
    members.dedup();

    members
}

/// A prefix, or the two halves of a whole family.
fn without_whole_family(net: Cidr) -> Vec<Cidr> {
    match net.is_everything() {
        true => net.halves().into_iter().flatten().collect(),
        false => vec![net],
    }
}

/// `4` or `6`.
pub(super) fn family_suffix(family: Family) -> char {
    match family {
        Family::V4 => '4',
        Family::V6 => '6',
    }
}

/// The part of a selector that distinguishes it from others. Omits the clauses that nearly every
/// selector has.
fn informative(selector: &str) -> String {
    let parts = selector.split(" && ").filter(|part| {
        !part.contains("projectcalico.org/orchestrator") || !selector.contains(" && ")
    });

    let mut parts: Vec<&str> = parts.collect();
    if parts.len() > 1 {
        parts.retain(|part| !part.contains("projectcalico.org/namespace"));
    }

    let text = parts.join(" ").replace('!', "not ");
    text.replace("projectcalico.org/", "")
        .replace("serviceaccount in", "sa")
        .replace("pcsa.", "sa-")
        .replace("pcns.", "ns-")
}
