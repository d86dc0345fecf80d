//! The nodes that a command is about.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use crate::inventory::{Inventory, NodeId};

/// The nodes to render: those asked for, else all.
pub(super) fn nodes(
    names: &[String],
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) -> Vec<NodeId> {
    if names.is_empty() {
        let all: Vec<NodeId> = inventory.nodes_with_ids().map(|(id, _)| id).collect();
        if all.is_empty() && !diagnostics.has_errors() {
            let message = "there is no node to render for";
            diagnostics.push(
                Diagnostic::new(Code::NoNodes, message)
                    .help("add the cluster's nodes and pods: `kubectl get nodes,pods -A -o json`"),
            );
        }
        return all;
    }

    let mut nodes: Vec<NodeId> = names
        .iter()
        .filter_map(|name| node(name, inventory, diagnostics))
        .collect();
    nodes.sort_unstable();
    nodes.dedup();

    nodes
}

fn node(name: &str, inventory: &Inventory, diagnostics: &mut Diagnostics) -> Option<NodeId> {
    let id = inventory.find_node(name);
    if id.is_none() {
        let meant = nearest(name, inventory.nodes.iter().map(|node| &*node.name))
            .map(|meant| format!("did you mean `{meant}`?"));
        diagnostics.push(
            Diagnostic::new(
                Code::UnknownNode,
                format!("there is no node `{name}` in the inventory"),
            )
            .maybe_help(meant),
        );
    }

    id
}
