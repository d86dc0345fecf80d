//! Services in rules: which fields may accompany them, and which service is meant (semantics §2.2,
//! §3.5, §9.11).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::ServiceKey;
use crate::manifest::{self, RuleSide, ServiceRef};
use crate::name::NameForm;
use crate::net::Direction;

/// The service of one side of a rule. Without a namespace it is in the policy's own namespace,
/// which a global policy does not have.
pub(super) fn key(
    service: &ServiceRef,
    entity: &RuleSide,
    namespace: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Option<ServiceKey> {
    check_company(service, entity, diagnostics);
    NameForm::DnsSubdomain.check_text(&service.name, "service name", diagnostics);
    let stated = service
        .namespace
        .as_ref()
        .filter(|namespace| NameForm::DnsLabel.check_text(namespace, "namespace", diagnostics));
    let Some(namespace) = stated
        .map(|namespace| namespace.value.as_str())
        .or(namespace)
    else {
        let message = "a global policy must name the namespace of a service";
        diagnostics.push(
            Diagnostic::at(Code::MissingField, service.span, message)
                .help("add `namespace` beside `name`"),
        );
        return None;
    };

    Some(ServiceKey {
        namespace: namespace.to_owned(),
        name: service.name.value.clone(),
    })
}

/// A service selects the peers, so no other field on its side may do so.
fn check_company(service: &ServiceRef, entity: &RuleSide, diagnostics: &mut Diagnostics) {
    let others = [
        ("selector", entity.selector.is_some()),
        ("notSelector", entity.not_selector.is_some()),
        ("namespaceSelector", entity.namespace_selector.is_some()),
        ("serviceAccounts", entity.service_accounts.is_some()),
        ("nets", !entity.nets.is_empty()),
        ("notNets", !entity.not_nets.is_empty()),
    ];

    for (name, _) in others.iter().filter(|(_, is_there)| *is_there) {
        diagnostics.push(Diagnostic::at(
            Code::ConflictingFields,
            service.span,
            format!("`services` excludes `{name}`"),
        ));
    }
}

/// A service may only be the remote side: the sender of ingress, or the receiver of egress. For a
/// receiver it also determines the ports.
pub(super) fn check_side(
    rule: &manifest::Rule,
    direction: Direction,
    diagnostics: &mut Diagnostics,
) {
    let (own, word) = match direction {
        Direction::Ingress => (
            &rule.destination,
            "`destination.services` may only stand in egress rules",
        ),
        Direction::Egress => (
            &rule.source,
            "`source.services` may only stand in ingress rules",
        ),
    };

    if let Some(service) = &own.services {
        diagnostics.push(Diagnostic::at(Code::ConflictingFields, service.span, word));
    }

    let receiver = &rule.destination;
    if let Some(service) = receiver
        .services
        .as_ref()
        .filter(|_| !receiver.ports.is_empty() || !receiver.not_ports.is_empty())
    {
        let message = "`services` excludes `ports` and `notPorts`: the service has its ports";
        diagnostics.push(Diagnostic::at(
            Code::ConflictingFields,
            service.span,
            message,
        ));
    }
}
