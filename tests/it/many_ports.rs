//! Policies whose rules have ranges of both ports, which cut all packets into the product of both:
//! no command takes memory or time for that product.

use crate::bad_input::{Place, limited};

const RULES: usize = 800;

/// What a command may take of memory. A set that has a bit for each class takes 320 kB, and there
/// are some thousand sets.
const KILOBYTES: usize = 300_000;

fn cluster() -> String {
    let mut text =
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDR: 10.0.0.0/24}\n"
            .to_owned();
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{nodeName: n1}}\nstatus: {{podIP: 10.0.0.{}}}\n",
            number + 5
        ));
    }
    text
}

fn policy(rules: usize) -> String {
    let mut text = "apiVersion: projectcalico.org/v3\n\
                    kind: GlobalNetworkPolicy\n\
                    metadata: {name: ranges}\n\
                    spec:\n  selector: all()\n  types: [Ingress]\n  ingress:\n"
        .to_owned();
    for rule in 0..rules {
        let action = if rule.is_multiple_of(2) {
            "Allow"
        } else {
            "Deny"
        };
        let range =
            |first: usize, length: usize| format!("ports: ['{first}:{}']", first + length - 1);
        let (source, destination) = (range(rule + 1, 9_000), range(3 * rule + 1, 20_000));
        text.push_str(&format!(
            "  - {{action: {action}, protocol: TCP, source: {{{source}}}, \
             destination: {{{destination}}}}}\n"
        ));
    }
    text
}

#[test]
fn ranges_of_both_ports_take_memory_by_their_number() {
    let place = Place::new();
    place.write("cluster.yaml", cluster());
    place.write("policy.yaml", policy(RULES));
    place.write("fewer.yaml", policy(RULES - 2));

    let run = |words: &str, status: i32| {
        let outcome = limited(place.path(), words, KILOBYTES);
        assert_eq!(outcome.status, status, "{words}: {}", outcome.stderr);
        outcome.stdout
    };

    run("render cluster.yaml policy.yaml --out new", 0);
    let proven = run("verify cluster.yaml policy.yaml --bundle new", 0);
    assert!(
        proven.contains("n1: proven: ") && proven.contains(", 2563218 of traffic, "),
        "{proven}"
    );

    run("verify cluster.yaml fewer.yaml --bundle new", 1);
    run("connectivity cluster.yaml policy.yaml --from shop/a", 0);
    let changed = run("diff fewer.yaml policy.yaml --with cluster.yaml", 1);
    assert!(changed.contains("ranges"), "{changed}");
}
