//! Very many rules for one pod, of several shapes: how a proof's time grows with the rules.
//!
//! All figures of a shape are of one run, and of the processor, so that the load of the
//! machine matters little: twice as many rules should take little more than twice as long.

use std::io::{self, Write};

use palisade::diagnostic::Diagnostics;
use palisade::netfilter::NodeKernel;
use palisade::options::CompileOptions;
use palisade::policy::StagedPolicies;
use palisade::render::{self, TemplateSet};
use palisade::ruleset::CheckedScripts;
use palisade::semantics::evaluate::Evaluator;
use palisade::source::SourceFiles;
use palisade::{lower, resolve, verify};

use crate::processor;

/// Rules of the policies of a shape.
const RULES: [usize; 3] = [1_000, 2_000, 4_000];

/// Rules of one policy of Calico's, which may have 1,024.
const LONGEST_POLICY: usize = 1_000;

/// A shape of policies.
struct Shape {
    about: &'static str,
    direction: &'static str,
    /// Whether there are as many other pods as rules, each with a label and a named port of its
    /// own.
    has_pods: bool,
    /// A rule, by its number and the number of all.
    rule: fn(usize, usize) -> String,
}

const SHAPES: [Shape; 10] = [
    Shape {
        about: "an address and a port of its own each",
        direction: "ingress",
        has_pods: false,
        rule: |rule, _| rule_of("Allow", &net(rule), &port(rule)),
    },
    Shape {
        about: "every other one with a port only",
        direction: "ingress",
        has_pods: false,
        rule: |rule, _| rule_of("Allow", &every_other(rule, net(rule)), &port(rule)),
    },
    Shape {
        about: "the same, in egress",
        direction: "egress",
        has_pods: false,
        rule: |rule, _| {
            let nets = if rule.is_multiple_of(2) {
                format!("nets: [{}], ", prefix(rule))
            } else {
                String::new()
            };
            rule_of("Allow", "", &format!("{nets}{}", port(rule)))
        },
    },
    Shape {
        about: "the same, by turns Allow and Deny",
        direction: "ingress",
        has_pods: false,
        rule: |rule, _| rule_of(turn(rule / 2), &every_other(rule, net(rule)), &port(rule)),
    },
    Shape {
        about: "each address twice, far apart, by turns with ports only",
        direction: "ingress",
        has_pods: false,
        rule: |rule, all| {
            rule_of(
                turn(rule / 2),
                &every_other(rule, net(rule % (all / 2))),
                &port(rule),
            )
        },
    },
    Shape {
        about: "a selector and a port of its own each",
        direction: "ingress",
        has_pods: true,
        rule: |rule, _| {
            rule_of(
                "Allow",
                &every_other(rule, format!("selector: app == 'a{rule}'")),
                &port(rule),
            )
        },
    },
    Shape {
        about: "a named port of its own each",
        direction: "egress",
        has_pods: true,
        rule: |rule, _| rule_of("Allow", "", &format!("ports: [p{rule}]")),
    },
    Shape {
        about: "an ICMP type and code of its own each, every other one with an address",
        direction: "ingress",
        has_pods: false,
        rule: |rule, _| {
            let icmp = format!(
                "protocol: ICMP, icmp: {{type: {}, code: {}}}",
                rule / 255 % 254,
                rule % 255
            );
            format!(
                "  - {{action: {}, {icmp}, source: {{{}}}}}\n",
                turn(rule / 2),
                every_other(rule, net(rule))
            )
        },
    },
    Shape {
        about: "ports excluded with an address, by turns with ports only",
        direction: "ingress",
        has_pods: false,
        rule: |rule, _| match rule % 2 {
            0 => rule_of("Deny", &net(rule), &format!("notPorts: [{}]", rule + 1)),
            _ => rule_of(turn(rule / 2), "", &port(rule)),
        },
    },
    Shape {
        about: "an address excluded and a port of its own each",
        direction: "ingress",
        has_pods: false,
        rule: |rule, _| {
            rule_of(
                "Allow",
                &format!("notNets: [{}]", prefix(rule)),
                &port(rule),
            )
        },
    },
];

fn rule_of(action: &str, source: &str, destination: &str) -> String {
    format!(
        "  - {{action: {action}, protocol: TCP, source: {{{source}}}, destination: \
         {{{destination}}}}}\n"
    )
}

fn prefix(rule: usize) -> String {
    format!("172.{}.{}.0/24", rule / 256, rule % 256)
}

fn net(rule: usize) -> String {
    format!("nets: [{}]", prefix(rule))
}

fn port(rule: usize) -> String {
    format!("ports: [{}]", rule + 1)
}

fn every_other(rule: usize, text: String) -> String {
    if rule.is_multiple_of(2) {
        text
    } else {
        String::new()
    }
}

fn turn(turn: usize) -> &'static str {
    if turn.is_multiple_of(2) {
        "Allow"
    } else {
        "Deny"
    }
}

/// Prints a row of a table for each shape.
pub(crate) fn measure(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "## many rules for one pod: seconds of processor for the proof\n"
    )?;
    writeln!(
        out,
        "| rules | 1,000 | 2,000 | 4,000 | twice as many | again |\n|---|---:|---:|---:|---:|---:|"
    )?;

    for shape in &SHAPES {
        let [few, more, most] = RULES.map(|rules| proof(shape, rules));
        let (few, more, most) = (few?, more?, most?);
        let ratio = |more: f64, few: f64| more / few.max(1e-9);
        writeln!(
            out,
            "| {} | {few:.3} | {more:.3} | {most:.3} | {:.1} | {:.1} |",
            shape.about,
            ratio(more, few),
            ratio(most, more)
        )?;
        out.flush()?;
    }

    Ok(())
}

/// Seconds that the proof of a node with a policy takes.
fn proof(shape: &Shape, rules: usize) -> io::Result<f64> {
    let mut files = SourceFiles::default();
    let length = |length| io::Error::other(format!("the policy has {length} bytes"));
    files
        .add("policy.yaml", cluster(shape, rules))
        .map_err(length)?;
    let mut diagnostics = Diagnostics::default();
    let input = palisade::read(&files, StagedPolicies::Proposed, &mut diagnostics);
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    let node = resolved
        .inventory
        .nodes_with_ids()
        .next()
        .map(|(node, _)| node);
    let node = node.ok_or_else(|| io::Error::other("no node"))?;
    let options = CompileOptions::default();
    let templates =
        TemplateSet::new(&[]).map_err(|diagnostic| io::Error::other(diagnostic.message))?;
    let program = lower::to_chains(&resolved, node, &options, &mut diagnostics);
    let scripts = render::to_text(&program, &templates)
        .map_err(|diagnostic| io::Error::other(diagnostic.message))?;

    let before = processor();
    let checked =
        CheckedScripts::read(scripts.files(), &options.extensions).map_err(io::Error::other)?;
    let kernel = NodeKernel::load(&checked);
    let evaluator = Evaluator::new(&resolved);
    let verification = verify::of_kernel(&evaluator, node, &options, &kernel);
    let spent = processor().saturating_sub(before).as_secs_f64();
    assert!(
        verification.is_proven(),
        "{}: {rules} rules are not proven",
        shape.about
    );
    Ok(spent)
}

/// A node with a pod, the pod's policies, and other pods elsewhere.
fn cluster(shape: &Shape, rules: usize) -> String {
    let mut text = "apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.0.0.1}]}
"
    .to_owned();

    for pod in (0..rules).filter(|_| shape.has_pods) {
        let address = format!("10.{}.{}.{}", 1 + pod / 65_536, pod / 256 % 256, pod % 256);
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: x{pod}, namespace: shop, labels: \
             {{app: a{pod}}}}}\nspec: {{nodeName: n2, containers: [{{name: c, ports: [{{name: \
             p{pod}, containerPort: {}, protocol: TCP}}]}}]}}\nstatus: {{podIPs: [{{ip: \
             {address}}}]}}\n",
            pod + 1
        ));
    }

    let numbers: Vec<usize> = (0..rules).collect();
    for (order, numbers) in numbers.chunks(LONGEST_POLICY).enumerate() {
        let Shape {
            direction, rule, ..
        } = shape;
        text.push_str(&format!(
            "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: \
             p{order}, namespace: shop}}\nspec:\n  order: {order}\n  selector: app == 'db'\n  \
             {direction}:\n"
        ));
        numbers
            .iter()
            .for_each(|number| text.push_str(&rule(*number, rules)));
    }

    text
}
