//! The cases by name.

use std::io;

use super::generator::{Peers, Policies, Scopes, Shape};
use super::groups;

/// A cluster, and what to render of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) nodes: Nodes,
    pub(super) shape: Shape,
}

/// Which nodes are rendered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nodes {
    All,
    First,
}

const SEED: u64 = 20_260_504;

const PEERS: Peers = Peers {
    account_names: 30,
    account_labels: 25,
    pod_labels: 20,
    namespace_labels: 5,
    prefixes: 15,
};

const PRODUCTION: Shape = Shape {
    seed: SEED,
    nodes: 1_819,
    namespaces: 600,
    accounts: 6,
    apps: 12,
    pods: groups::PODS,
    policies: Policies::Passing {
        policies: 294,
        rules: 68,
        scopes: Scopes::All,
        below: 1_200,
    },
};

/// All cases.
pub(super) static CASES: [Case; 7] = [
    Case {
        name: "smoke",
        about: "5 nodes, 100 pods, 30 policies; all nodes",
        nodes: Nodes::All,
        shape: Shape {
            seed: SEED,
            nodes: 5,
            namespaces: 4,
            accounts: 3,
            apps: 5,
            pods: 100,
            policies: Policies::Mixed {
                policies: 30,
                rules: 4,
                peers: PEERS,
            },
        },
    },
    Case {
        name: "medium",
        about: "100 nodes, 10,000 pods, 1,000 policies of 4 rules; all nodes",
        nodes: Nodes::All,
        shape: Shape {
            seed: SEED,
            nodes: 100,
            namespaces: 200,
            accounts: 5,
            apps: 10,
            pods: 10_000,
            policies: Policies::Mixed {
                policies: 1_000,
                rules: 4,
                peers: PEERS,
            },
        },
    },
    Case {
        name: "large",
        about: "5,000 nodes, 150,000 pods, 10,000 policies of 6 rules; one node of 30 pods",
        nodes: Nodes::First,
        shape: Shape {
            seed: SEED,
            nodes: 5_000,
            namespaces: 1_000,
            accounts: 6,
            apps: 15,
            pods: 150_000,
            policies: Policies::Mixed {
                policies: 10_000,
                rules: 6,
                peers: PEERS,
            },
        },
    },
    Case {
        name: "production",
        about: "54,566 pods, 294 policies of 68 rules that pass, for all pods, and 1,200 others; \
                one node of 30 pods",
        nodes: Nodes::First,
        shape: PRODUCTION,
    },
    Case {
        name: "production-scoped",
        about: "as `production`, but two thirds of the 294 policies apply to an environment or a \
                tier only",
        nodes: Nodes::First,
        shape: Shape {
            policies: Policies::Passing {
                policies: 294,
                rules: 68,
                scopes: Scopes::Many,
                below: 1_200,
            },
            ..PRODUCTION
        },
    },
    Case {
        name: "antrea",
        about: "25,000 namespaces, 75,000 Kubernetes policies, 100,000 pods; one node of 100 pods",
        nodes: Nodes::First,
        shape: Shape {
            seed: SEED,
            nodes: 1_000,
            namespaces: 25_000,
            accounts: 1,
            apps: 4,
            pods: 100_000,
            policies: Policies::ThreePerNamespace,
        },
    },
    Case {
        name: "same",
        about: "1 namespace, 10,000 Kubernetes policies that all select the same 10,000 pods; one \
                node of 100 pods",
        nodes: Nodes::First,
        shape: Shape {
            seed: SEED,
            nodes: 100,
            namespaces: 1,
            accounts: 1,
            apps: 1,
            pods: 10_000,
            policies: Policies::Same { policies: 10_000 },
        },
    },
];

/// The case of a name.
pub(super) fn find(name: &str) -> io::Result<&'static Case> {
    let known = CASES
        .iter()
        .map(|case| case.name)
        .collect::<Vec<_>>()
        .join(", ");
    CASES
        .iter()
        .find(|case| case.name == name)
        .ok_or_else(|| io::Error::other(format!("there is no case `{name}`; cases are {known}")))
}
