//! Checks profiles: rules of the endpoints that list them, evaluated after all tiers (semantics
//! §4.3).

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::{ProfileName, profile_name};
use crate::manifest;
use crate::name::reserved;
use crate::net::Direction;
use crate::policy::{PolicyKey, PolicyKind, Profile, SelectorTable, calico};

/// Profiles by name.
pub(super) fn profiles(
    written: &[manifest::Profile],
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<String, Profile> {
    written
        .iter()
        .map(|written| {
            (
                written.metadata.name.value.clone(),
                profile(written, selectors, diagnostics),
            )
        })
        .collect()
}

fn profile(
    written: &manifest::Profile,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Profile {
    let name = &written.metadata.name;
    if let Some(owner) = owner(&name.value) {
        let message = format!("the profile `{}` is {owner}", name.value);
        let help = "give the profile another name, or leave it out";
        diagnostics.push(Diagnostic::at(Code::ReservedProfile, name.span, message).help(help));
    }

    refuse_namespace(written, diagnostics);
    let ingress = calico::rules(
        &written.ingress,
        Direction::Ingress,
        None,
        selectors,
        diagnostics,
    );
    let egress = calico::rules(
        &written.egress,
        Direction::Egress,
        None,
        selectors,
        diagnostics,
    );
    let key = PolicyKey {
        kind: PolicyKind::Profile,
        namespace: None,
        name: name.value.clone(),
    };

    Profile {
        key,
        ingress,
        egress,
    }
}

/// Refuses the namespace label. An endpoint with that label looks like a pod of the namespace.
fn refuse_namespace(written: &manifest::Profile, diagnostics: &mut Diagnostics) {
    for (key, _) in written
        .labels
        .iter()
        .filter(|(key, _)| key.value == reserved::NAMESPACE)
    {
        let message = format!("the label `{}` is not for a profile to give", key.value);
        diagnostics.push(
            Diagnostic::at(Code::InvalidLabel, key.span, message)
                .help("an endpoint has the label of its own namespace"),
        );
    }
}

/// The system that owns a profile, or `None` if it is a user's profile.
fn owner(name: &str) -> Option<&'static str> {
    match profile_name(name) {
        ProfileName::Namespace(_) => Some("made from a Namespace object"),
        ProfileName::ServiceAccount(..) => Some("made from a ServiceAccount object"),
        ProfileName::AllowAll => Some("built in, and allows everything"),
        ProfileName::Named(_) => None,
    }
}
