//! The cluster: nodes, namespaces, service accounts, and endpoints. Endpoints are pods, workload
//! endpoints, and the pods that workloads will create.
//!
//! In: decoded objects, one after another, through [`InventoryBuilder::ingest`], and the endpoints
//! of the manifest. Out: [`Inventory`], sorted, with the labels that selectors see. Names, labels,
//! addresses and ports are checked here, once. Absent: policy, selectors, and pods that no packet
//! can be addressed to: finished pods, and host-networked pods, which have their node's address.
//!
//! Cost: linear in the objects, plus sorting. Every distinct string is in memory once. A pod with
//! two addresses and eight labels takes about 850 bytes, including its own names and label values.

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
