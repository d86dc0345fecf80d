//! The cluster as it is: nodes, namespaces, service accounts, and endpoints, which are pods,
//! workload endpoints, and the pods that workloads will make.
//!
//! In: decoded objects, one after another, through [`InventoryBuilder::take`], and the endpoints of
//! the manifest. Out: [`Inventory`], sorted, with the labels that selectors see. Names, labels,
//! addresses and ports are checked here, once. Absent: policy, selectors, and pods that no packet
//! will ever be sent to (finished) or that have their node's address (host-networked).
//!
//! Cost: linear in the objects, plus sorting. Every distinct string is in memory once; a pod with
//! two addresses and eight labels takes some 850 bytes, names and label values of its own included.

mod addresses;
mod builder;
mod canonical;
mod check;
mod edit;
mod finish;
mod inheritance;
mod labels;
mod leaving;
mod manifests;
mod model;
mod objects;
mod pods;
mod profiles;
mod services;
mod strings;
mod workload_endpoints;
mod workloads;

pub use builder::InventoryBuilder;
pub use edit::{LabelEdit, LabelTarget};
pub use labels::EndpointLabels;
pub use model::{
    ClusterNode, Endpoint, EndpointId, EndpointKind, Inventory, LabelSource, NamedPort, NodeId,
    PodOwner,
};
pub use profiles::{ProfileList, ProfileName, profile_name};
pub use services::{ServiceBackends, ServiceKey};
pub use strings::{StringTable, Symbol};

#[cfg(test)]
pub(crate) mod tests;
