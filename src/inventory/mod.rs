//! The cluster as it is: nodes, namespaces, service accounts, and endpoints, which are pods,
//! workload endpoints, and the pods that workloads will make.
//!
//! In: decoded objects, one after another, through [`Builder::take`], and the endpoints of the
//! manifest. Out: [`Inventory`], sorted, with the labels that selectors see. Names, labels,
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

pub use builder::Builder;
pub use edit::{Edit, Target};
pub use labels::EndpointLabels;
pub use model::{
    Endpoint, EndpointId, EndpointKind, Inventory, NamedPort, Node, NodeId, Owner, Parent,
};
pub use profiles::{ProfileName, Profiles, profile_name};
pub use services::{Service, ServiceKey};
pub use strings::{Strings, Symbol};

#[cfg(test)]
pub(crate) mod tests;
