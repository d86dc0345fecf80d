//! Checks Calico policies.

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::manifest::{self, Action, RuleSide, WrittenProtocol};
use crate::net::{Cidr, Direction, Family, Protocol};
use crate::policy::order::{DEFAULT_TIER, TieredPolicy};
use crate::policy::scope::{self, PeerClause};
use crate::policy::{
    AddressCondition, HostStage, IcmpMatch, PeerSelection, Policy, PolicyKey, PolicyKind,
    PortCondition, ProtocolMatch, Rule, RuleFamilies, RulePeer, SelectorField, SelectorTable,
    SidePositions, addresses, ports, services,
};
use crate::source::{Span, Spanned};

/// Checks a policy and returns it with the name of its tier. Checking continues after a wrong
/// selector, so that all mistakes are reported at once. The compile is refused anyway.
pub(super) fn policy(
    written: &manifest::Policy,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> TieredPolicy {
    let metadata = &written.metadata;
    let first = selectors.written().len();
    let applies_to = applies_to(written, selectors, diagnostics);
    let own = first..selectors.written().len();
    let key = key(written);
    let namespace = key.namespace.clone();
    let directions = directions(written);
    let mut rules = |direction: Direction, written: &[manifest::Rule]| {
        let checked = rules(
            written,
            direction,
            namespace.as_deref(),
            selectors,
            diagnostics,
        );
        directions.contains(&direction).then_some(checked)
    };
    let ingress = rules(Direction::Ingress, &written.ingress);
    let egress = rules(Direction::Egress, &written.egress);
    let order = written.order.map(|order| order.value);
    let applies_to = selectors.intern(applies_to);
    let stage = stage(written, diagnostics);

    selectors.join(own, applies_to);
    let first_of = |rules: &[manifest::Rule]| rules.first().map(|rule| rule.span);
    let unused = Policy::unused(&ingress, first_of(&written.ingress))
        .or_else(|| Policy::unused(&egress, first_of(&written.egress)));
    let stated = written
        .selector
        .as_ref()
        .or(written.service_account_selector.as_ref())
        .or(written.namespace_selector.as_ref());
    let selector = stated.map_or(metadata.name.span, |text| text.span);
    let policy = Policy {
        key,
        order,
        applies_to,
        ingress,
        egress,
        stage,
        span: metadata.name.span,
        selector,
        unused,
    };

    let tier = match &written.tier {
        Some(tier) => Spanned::new(tier.value.clone(), tier.span),
        None => Spanned::new(DEFAULT_TIER.to_owned(), metadata.name.span),
    };
    TieredPolicy { tier, policy }
}

/// The kind of host endpoint traffic that the policy applies to (semantics §2.3).
fn stage(written: &manifest::Policy, diagnostics: &mut Diagnostics) -> HostStage {
    let stated =
        |field: &Option<Spanned<bool>>| field.filter(|field| field.value).map(|field| field.span);
    let (untracked, pre_dnat) = (stated(&written.do_not_track), stated(&written.pre_dnat));
    let mut refuse = |span: Span, message: &str| {
        diagnostics.push(Diagnostic::at(Code::ConflictingFields, span, message))
    };

    if let (Some(_), Some(span)) = (untracked, pre_dnat) {
        refuse(span, "`preDNAT` and `doNotTrack` exclude each other");
    }

    if let Some(rule) = pre_dnat.and(written.egress.first()) {
        refuse(rule.span, "a policy with `preDNAT` has no egress rules");
    }

    for egress in written
        .types
        .iter()
        .filter(|stated| pre_dnat.is_some() && stated.value == Direction::Egress)
    {
        refuse(egress.span, "a policy with `preDNAT` is for ingress only");
    }
    let forwards = stated(&written.apply_on_forward).is_some();

    match (untracked, pre_dnat) {
        (None, None) if forwards => HostStage::Forwarded,
        (None, None) => HostStage::Normal,
        (Some(span), _) | (None, Some(span)) => {
            if !forwards {
                let message = "`doNotTrack` and `preDNAT` need `applyOnForward: true`";
                diagnostics.push(
                    Diagnostic::at(Code::MissingField, span, message)
                        .help("they decide before it is known what is forwarded"),
                );
            }
            if untracked.is_some() {
                HostStage::Untracked
            } else {
                HostStage::PreDnat
            }
        }
    }
}

/// The key of a policy.
pub(super) fn key(written: &manifest::Policy) -> PolicyKey {
    let metadata = &written.metadata;
    let namespace = metadata
        .namespace
        .as_ref()
        .map(|namespace| namespace.value.clone());
    let kind = if namespace.is_some() {
        PolicyKind::NetworkPolicy
    } else {
        PolicyKind::GlobalNetworkPolicy
    };

    let name = metadata
        .short_name(written.tier.as_ref().map(|tier| tier.value.as_str()))
        .to_owned();
    PolicyKey {
        kind,
        namespace,
        name,
    }
}

/// The clause for the endpoints that a policy applies to.
fn applies_to(
    written: &manifest::Policy,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> crate::selector::Expr {
    let mut parse = |text: &Option<_>, field| {
        text.as_ref()
            .and_then(|text| scope::parse(text, field, selectors, diagnostics))
    };
    let selector = parse(&written.selector, SelectorField::Selector);
    let namespaces = parse(
        &written.namespace_selector,
        SelectorField::NamespaceSelector,
    );
    let service_accounts = parse(
        &written.service_account_selector,
        SelectorField::ServiceAccountSelector,
    );

    match &written.metadata.namespace {
        Some(namespace) => scope::namespaced_policy(selector, service_accounts, &namespace.value),
        None => scope::global_policy(selector, namespaces, service_accounts),
    }
}

/// The directions of a policy: `types`, or derived from its rules (semantics §2.3).
fn directions(written: &manifest::Policy) -> Vec<Direction> {
    let directions: Vec<Direction> = written.types.iter().map(|stated| stated.value).collect();
    match (
        directions.is_empty(),
        written.ingress.is_empty(),
        written.egress.is_empty(),
    ) {
        (false, _, _) => directions,
        (true, _, true) => vec![Direction::Ingress],
        (true, true, false) => vec![Direction::Egress],
        (true, false, false) => Direction::BOTH.to_vec(),
    }
}

/// Checks the rules of one direction. `namespace` is the policy's namespace, `None` for a global
/// policy or a profile.
pub(super) fn rules(
    written: &[manifest::Rule],
    direction: Direction,
    namespace: Option<&str>,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Vec<Rule> {
    for rule in written {
        services::check_side(rule, direction, diagnostics);
        check_http(rule, direction, diagnostics);
    }
    (1..)
        .zip(written)
        .map(|(number, written)| rule(number, written, namespace, selectors, diagnostics))
        .collect()
}

/// Checks one rule. `namespace` is the policy's namespace, `None` for a global policy.
fn rule(
    number: usize,
    written: &manifest::Rule,
    namespace: Option<&str>,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Rule {
    let protocol = protocol(written, diagnostics);
    check_ports(written, protocol, diagnostics);
    let families = families(written, diagnostics);
    check_extension_headers(written, families, diagnostics);

    let source = peer(&written.source, namespace, selectors, diagnostics);
    let destination = peer(&written.destination, namespace, selectors, diagnostics);
    Rule {
        number,
        span: written.span,
        action: written.action,
        families,
        protocol,
        icmp: icmp(written, protocol, diagnostics),
        source,
        destination,
        http: written.http.is_some(),
        places: SidePositions {
            source: place(&written.source).unwrap_or(written.span),
            destination: place(&written.destination).unwrap_or(written.span),
        },
    }
}

/// The span of the field that selects the peers of one side, if any.
fn place(entity: &RuleSide) -> Option<Span> {
    let accounts = entity.service_accounts.as_ref();
    let names = accounts.and_then(|accounts| accounts.names.first());
    let labels = accounts.and_then(|accounts| accounts.selector.as_ref());
    let texts = [
        entity.selector.as_ref(),
        names,
        labels,
        entity.namespace_selector.as_ref(),
        entity.not_selector.as_ref(),
    ];
    let service = entity.services.as_ref().map(|service| service.span);

    texts
        .into_iter()
        .flatten()
        .map(|text| text.span)
        .next()
        .or(service)
}

/// Checks one side of a rule.
fn peer(
    entity: &RuleSide,
    namespace: Option<&str>,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> RulePeer {
    let first = selectors.written().len();
    let PeerClause {
        selected,
        not_selected,
    } = scope::peer(entity, namespace, selectors, diagnostics);
    let own = first..selectors.written().len();
    let nets = plain(addresses::prefixes(&entity.nets, diagnostics));

    let not_nets = addresses::prefixes(&entity.not_nets, diagnostics);
    for net in not_nets.iter().filter(|net| net.value.is_everything()) {
        let message = "this exception leaves nothing, so that the rule could never match";
        diagnostics.push(Diagnostic::at(Code::ExceptsEverything, net.span, message));
    }

    let port_list = ports::list(&entity.ports, diagnostics);
    let selected = selected.map(|expr| selectors.intern(expr));
    let not_selected = not_selected.map(|expr| selectors.intern(expr));
    if let Some(clause) = selected.or(not_selected) {
        selectors.join(own, clause);
    }

    RulePeer {
        selected: selected.map_or(PeerSelection::Anyone, PeerSelection::By),
        not_selected,
        // A list whose entries are all wrong must not become `Any`, even though the compile is
        // refused.
        nets: if entity.nets.is_empty() {
            AddressCondition::Any
        } else {
            AddressCondition::In(nets)
        },
        not_nets: plain(not_nets),
        service: entity
            .services
            .as_ref()
            .and_then(|service| services::key(service, entity, namespace, diagnostics)),
        ports: if entity.ports.is_empty() {
            PortCondition::Any
        } else {
            PortCondition::In(port_list)
        },
        not_ports: ports::list(&entity.not_ports, diagnostics),
    }
}

/// Prefixes without spans, sorted and deduplicated.
pub(super) fn plain(prefixes: Vec<Spanned<Cidr>>) -> Vec<Cidr> {
    let mut plain: Vec<Cidr> = prefixes.into_iter().map(|prefix| prefix.value).collect();
    plain.sort_unstable();
    plain.dedup();
    plain
}

/// The condition on the protocol.
fn protocol(written: &manifest::Rule, diagnostics: &mut Diagnostics) -> ProtocolMatch {
    let number = |written: Spanned<WrittenProtocol>| written.value.protocol();

    match (
        written.protocol.map(number),
        written.not_protocol.map(number),
    ) {
        (None, None) => ProtocolMatch::Any,
        (None, Some(excluded)) => ProtocolMatch::IsNot(excluded),
        (Some(protocol), Some(excluded)) if protocol == excluded => {
            let place = written
                .not_protocol
                .map_or(written.span, |written| written.span);
            diagnostics.push(Diagnostic::at(
                Code::ConflictingFields,
                place,
                "`protocol` and `notProtocol` are the same, so that the rule could never match",
            ));
            ProtocolMatch::Is(protocol)
        }
        (Some(protocol), _) => ProtocolMatch::Is(protocol),
    }
}

/// Ports require a protocol that has ports. Without a protocol only named ports are allowed,
/// because a name implies one (semantics §2.2).
fn check_ports(written: &manifest::Rule, protocol: ProtocolMatch, diagnostics: &mut Diagnostics) {
    if written.protocol_is_wrong
        || matches!(protocol, ProtocolMatch::Is(protocol) if protocol.has_ports())
    {
        return;
    }

    let may_name = matches!(protocol, ProtocolMatch::Any | ProtocolMatch::IsNot(_));
    let lists = [
        &written.source.ports,
        &written.source.not_ports,
        &written.destination.ports,
        &written.destination.not_ports,
    ];
    for port in lists.into_iter().flatten() {
        if !may_name || ports::is_numeric(port) {
            let message = "ports need a protocol that has them";
            diagnostics.push(
                Diagnostic::at(Code::PortsNeedProtocol, port.span, message)
                    .help("write `protocol: TCP`, `UDP` or `SCTP`"),
            );
        }
    }
}

/// Refuses IPv6 rules that would let packets through because ip6tables skips an extension header
/// when it looks for the protocol. An allow rule with such a number matches less than written,
/// which is safe.
fn check_extension_headers(
    written: &manifest::Rule,
    families: RuleFamilies,
    diagnostics: &mut Diagnostics,
) {
    if families == RuleFamilies::Only(Family::V4) {
        return;
    }

    let is_extension =
        |stated: &Spanned<WrittenProtocol>| stated.value.protocol().is_ipv6_extension_header();
    // A Deny that matches too little, or an Allow that matches too much, widens the policy. A Pass
    // can do either.
    let protocol = written
        .protocol
        .filter(|_| matches!(written.action, Action::Deny | Action::Pass));

    let excluded = written
        .not_protocol
        .filter(|_| matches!(written.action, Action::Allow | Action::Pass));
    for stated in [protocol, excluded]
        .into_iter()
        .flatten()
        .filter(is_extension)
    {
        let number = stated.value.protocol().number();
        let message = format!(
            "protocol {number} is an extension header in IPv6, which ip6tables looks past, so \
             this rule would let packets through"
        );
        let help = match families {
            RuleFamilies::Only(Family::V6) => {
                "leave this rule out; IPv6 packets are decided by the protocol after their \
                 extension headers"
            }
            RuleFamilies::Only(Family::V4) | RuleFamilies::Both => {
                "write `ipVersion: 4` in this rule; IPv6 packets are decided by the protocol after \
                 their extension headers"
            }
        };
        diagnostics.push(Diagnostic::at(Code::ExtensionHeader, stated.span, message).help(help));
    }
}

/// HTTP conditions may only narrow ingress allow rules for TCP (semantics §2.2).
fn check_http(written: &manifest::Rule, direction: Direction, diagnostics: &mut Diagnostics) {
    let Some(span) = written.http else { return };
    let is_tcp = written
        .protocol
        .is_none_or(|protocol| protocol.value.protocol() == Protocol::TCP);
    if direction != Direction::Ingress || written.action != Action::Allow || !is_tcp {
        let message = "`http` may only stand in an ingress rule that allows TCP";
        diagnostics.push(Diagnostic::at(Code::ConflictingFields, span, message));
    }

    let message =
        "`http` is not enforced: iptables lets through whatever the rest of the rule allows";
    diagnostics.push(
        Diagnostic::at(Code::HttpNotEnforced, span, message)
            .help("a service mesh must check methods and paths"),
    );
}

/// The match on the ICMP type. iptables accepts it only together with an ICMP protocol.
fn icmp(
    written: &manifest::Rule,
    protocol: ProtocolMatch,
    diagnostics: &mut Diagnostics,
) -> IcmpMatch {
    let Some(stated) = written.icmp.or(written.not_icmp) else {
        return IcmpMatch::Any;
    };

    if !written.protocol_is_wrong
        && !matches!(
            protocol,
            ProtocolMatch::Is(Protocol::ICMP | Protocol::ICMPV6)
        )
    {
        let message = "an ICMP type needs an ICMP protocol";
        diagnostics.push(
            Diagnostic::at(Code::IcmpNeedsProtocol, stated.span, message)
                .help("add `protocol: ICMP` or `protocol: ICMPv6`"),
        );
    }

    match (written.icmp, written.not_icmp) {
        (Some(_), Some(excluded)) => {
            diagnostics.push(Diagnostic::at(
                Code::ConflictingFields,
                excluded.span,
                "`icmp` and `notICMP` exclude each other",
            ));
            IcmpMatch::Any
        }
        (Some(stated), None) => IcmpMatch::Is(stated.value),
        (None, Some(excluded)) => IcmpMatch::IsNot(excluded.value),
        (None, None) => IcmpMatch::Any,
    }
}

/// The address families of a rule: those of its addresses, its protocol and its `ipVersion`, which
/// must agree. A list of addresses (also of excluded ones) that contains none of a family removes
/// the rule from that family (semantics §9.18).
fn families(written: &manifest::Rule, diagnostics: &mut Diagnostics) -> RuleFamilies {
    let mut families = RuleFamilies::Both;
    let mut narrow = |family: Family, span: Span| match families {
        RuleFamilies::Only(other) if other != family => {
            let message = format!("this is {family}, and the rest of the rule is {other}");
            diagnostics.push(
                Diagnostic::at(Code::MixedFamilies, span, message)
                    .help("write one rule per family"),
            );
        }
        RuleFamilies::Only(_) | RuleFamilies::Both => families = RuleFamilies::Only(family),
    };

    if let Some(version) = written.ip_version {
        narrow(version.value, version.span);
    }

    let excluded = written
        .not_protocol
        .filter(|_| written.ip_version.is_some());
    for protocol in [written.protocol, excluded].into_iter().flatten() {
        if let Some(family) = protocol_family(written, protocol.value) {
            narrow(family, protocol.span);
        }
    }

    for entity in [&written.source, &written.destination] {
        for net in entity.nets.iter().chain(&entity.not_nets) {
            let family = if net.value.contains(':') {
                Family::V6
            } else {
                Family::V4
            };
            narrow(family, net.span);
        }
    }

    families
}

/// The address family that a protocol implies. The names `ICMP` and `ICMPv6` imply one. Their
/// numbers do only if the rule has an ICMP type or an IP version.
fn protocol_family(written: &manifest::Rule, protocol: WrittenProtocol) -> Option<Family> {
    let asks_type = written.icmp.is_some() || written.not_icmp.is_some();
    let tied =
        matches!(protocol, WrittenProtocol::Name(_)) || asks_type || written.ip_version.is_some();
    match protocol.protocol() {
        Protocol::ICMP if tied => Some(Family::V4),
        Protocol::ICMPV6 if tied => Some(Family::V6),
        _ => None,
    }
}
