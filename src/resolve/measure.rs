//! Measures time and memory for a large cluster: `cargo test --release --lib measure -- --ignored
//! --nocapture`.

use std::{fmt::Write as _, time::Instant};

use super::index::LabelValueIndex;
use super::selectors;
use super::universe::SelectorUniverse;
use crate::diagnostic::Diagnostics;
use crate::document;
use crate::inventory::{Inventory, InventoryBuilder};
use crate::net::Family;
use crate::policy::{
    DefaultAction, HostStage, Policy, PolicyKey, PolicyKind, PolicySet, SelectorId, Tier,
};
use crate::selector;
use crate::source::{FileId, SourceFiles};

const PODS: usize = 150_000;
const NAMESPACES: usize = 5_000;

fn cluster() -> String {
    let mut text = r#"{"apiVersion":"v1","kind":"List","items":["#.to_owned();
    for number in 0..NAMESPACES {
        let metadata = format!(
            r#""name":"ns-{number}","labels":{{"env":"e{}","team":"t{}","owner":"o{number}"}}"#,
            number % 25,
            number % 50
        );
        write!(
            text,
            r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{{metadata}}}}},"#
        )
        .unwrap();
        for account in 0..2 {
            let metadata = format!(
                r#""namespace":"ns-{number}","name":"sa-{account}","labels":{{"role":"r{account}","x":"y"}}"#
            );
            write!(
                text,
                r#"{{"apiVersion":"v1","kind":"ServiceAccount","metadata":{{{metadata}}}}},"#
            )
            .unwrap();
        }
    }
    for number in 0..PODS {
        text.push_str(&pod(number));
        text.push(if number + 1 == PODS { ']' } else { ',' });
    }
    text.push('}');
    text
}

fn pod(number: usize) -> String {
    let (namespace, app) = (number % NAMESPACES, (number / NAMESPACES) % 10);
    let labels = format!(
        r#""app":"app-{app}","app.kubernetes.io/name":"app-{app}","app.kubernetes.io/instance":"app-{namespace}-{app}","version":"v{}","team":"t{}","tier":"x{}","pod-template-hash":"{:x}","pod-name":"app-{app}-{number}""#,
        number % 7,
        number % 50,
        number % 3,
        namespace * 31 + app
    );
    let spec = format!(
        r#""nodeName":"node-{}","serviceAccountName":"sa-{}","containers":[{{"ports":[{{"name":"http","containerPort":8080}},{{"name":"metrics","containerPort":9090}}]}}]"#,
        number % 1000,
        number % 2
    );
    let ip = format!(
        "10.{}.{}.{}",
        64 + number / 65_536,
        number / 256 % 256,
        number % 256
    );
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"app-{app}-{number}","namespace":"ns-{namespace}","labels":{{{labels}}}}},"spec":{{{spec}}},"status":{{"podIPs":[{{"ip":"{ip}"}},{{"ip":"fd00::{:x}:{:x}"}}]}}}}"#,
        1 + number / 65_536,
        number % 65_536
    )
}

fn texts() -> Vec<String> {
    let local = (0..10_000).map(|number| {
        format!(
            "projectcalico.org/namespace == \"ns-{}\" && app == \"app-{}\"",
            number % NAMESPACES,
            number / NAMESPACES
        )
    });

    let wide = (0..100).map(|number| match number % 5 {
        0 => format!("team == \"t{number}\""),
        1 => format!("pcns.env != \"e{number}\""),
        2 => format!("pcsa.role == \"r1\" && !(version in {{\"v{number}\", \"v1\"}})"),
        3 => format!("pod-name contains \"{number}\""),
        _ => format!("has(tier) || pcns.team == \"t{number}\""),
    });
    local.chain(wide).collect()
}

fn policies() -> PolicySet {
    let mut set = PolicySet::default();
    let span = FileId::default().span(0..0);
    let key = |name| PolicyKey {
        kind: PolicyKind::GlobalNetworkPolicy,
        namespace: None,
        name,
    };
    let ids: Vec<SelectorId> = texts()
        .iter()
        .map(|text| set.selectors.intern(selector::parse(text).unwrap()))
        .collect();
    let policy = |applies_to| Policy {
        key: key(String::new()),
        order: None,
        applies_to,
        ingress: None,
        egress: None,
        stage: HostStage::Normal,
        span,
        selector: span,
        unused: None,
    };
    let policies = ids.into_iter().map(policy).collect();

    set.tiers.push(Tier {
        name: "t".to_owned(),
        order: 1.0,
        default_action: DefaultAction::Deny,
        policies,
    });

    set
}

fn inventory(diagnostics: &mut Diagnostics) -> Inventory {
    let mut files = SourceFiles::default();
    files.add("cluster.json", cluster()).unwrap();
    let started = Instant::now();
    let mut builder = InventoryBuilder::default();
    document::for_each(&files, diagnostics, &mut |object, diagnostics| {
        builder.ingest(&object, diagnostics)
    });
    report("read and take", started);

    let started = Instant::now();
    let inventory = builder.finish(&crate::manifest::Manifest::default(), diagnostics);
    report("finish", started);
    inventory
}

#[test]
#[ignore = "takes seconds and prints"]
fn measure() {
    let mut diagnostics = Diagnostics::default();
    report("before", Instant::now());
    let inventory = inventory(&mut diagnostics);
    report("text dropped", Instant::now());

    let policies = policies();
    let started = Instant::now();
    let universe = SelectorUniverse::new(&policies, &inventory);
    let index = LabelValueIndex::new(&universe);
    report("index alone", started);

    let started = Instant::now();
    let selected: usize = policies
        .selectors
        .iter()
        .map(|(_, _, expr)| index.evaluate(expr).len())
        .sum();
    report(&format!("evaluation alone, {selected} members"), started);
    drop(index);

    let started = Instant::now();
    let resolved = selectors(&policies, &inventory, &mut diagnostics);
    report("resolve", started);
    let started = Instant::now();
    let members: usize = policies
        .selectors
        .iter()
        .map(|(id, _, _)| resolved.addresses(id, Family::V4).len())
        .sum();

    report(
        &format!(
            "{members} addresses of {} selectors",
            policies.selectors.len()
        ),
        started,
    );

    let applied: usize = inventory
        .endpoints_with_ids()
        .map(|(id, _)| resolved.applied_to(id).len())
        .sum();
    report(
        &format!(
            "{applied} applied selectors of {} endpoints",
            inventory.endpoints.len()
        ),
        Instant::now(),
    );

    assert!(!diagnostics.has_errors());
}

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is run to see figures"
)]
fn report(what: &str, started: Instant) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory: Vec<&str> = status
        .lines()
        .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
        .collect();
    println!(
        "{what}: {:?}, {}",
        started.elapsed(),
        memory.join(" ").replace('\t', " ")
    );
}
