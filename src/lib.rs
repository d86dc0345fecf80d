//! Palisade compiles network policy (Calico and Kubernetes) to `ipset` and `iptables` scripts for
//! each node of a cluster.
//!
//! Data flows in one direction, from room to room, in the order below. A room uses only rooms above
//! it. A test checks this.

// ground: not a stage; every room may use these
pub mod source;
pub mod output;
pub mod diagnostic;
pub mod net;
pub mod name;
pub mod limits;
// compile
pub mod document;
pub mod manifest;
pub mod selector;
pub mod inventory;
pub mod policy;
pub mod resolve;
pub mod lint;
pub mod options;
pub mod lower;
pub mod render;
pub mod bundle;
// scripts: shared by the bundle reader and the tools
pub mod ruleset;
// ask
pub mod packet;
pub mod semantics;
pub mod packet_space;
pub mod netfilter;
pub mod verify;
pub mod explain;
pub mod connectivity;
pub mod diff;
pub mod assertions;
pub mod report;
// node
pub mod runner;
pub mod observe;
pub mod plan;
pub mod apply;
pub mod conntrack;
pub mod metrics;
pub mod status;
pub mod doctor;
pub mod agent;
// edge
pub mod cli;

use bundle::NodePart;
use diagnostic::{Code, Diagnostic, Diagnostics};
use inventory::{Inventory, NodeId};
use options::CompileOptions;
use policy::{PolicySet, StagedPolicies};
use render::TemplateSet;
use resolve::ResolvedPolicy;
use ruleset::{CheckedScripts, ScriptError};
use source::SourceFiles;

/// The checked input of a compile.
#[derive(Debug)]
pub struct Input {
    /// All policies, in order of evaluation.
    pub policies: PolicySet,
    /// The cluster.
    pub inventory: Inventory,
    /// Digest of policies and inventory. Equal policies and inventory have equal digests, whatever
    /// the layout of the input files.
    pub digest: String,
}

/// Reads manifests and builds the policies and the inventory.
///
/// The result is valid only if `diagnostics` has no errors afterwards. With errors it holds what
/// could be read.
pub fn read(files: &SourceFiles, staging: StagedPolicies, diagnostics: &mut Diagnostics) -> Input {
    let mut manifest = manifest::ManifestReader::default();
    let mut inventory = inventory::InventoryBuilder::default();
    document::for_each(files, diagnostics, &mut |object, diagnostics| {
        manifest.ingest(&object, diagnostics);
        inventory.ingest(&object, diagnostics);
    });

    let manifest = manifest.finish();
    manifest
        .host_endpoints
        .iter()
        .for_each(|host| inventory.name_node(&host.node.value));

    let inventory = inventory.finish(&manifest, diagnostics);
    let policies = policy::check(manifest, staging, diagnostics);
    let digest = bundle::input_digest(&policies, &inventory);
    Input {
        policies,
        inventory,
        digest,
    }
}

/// Compiles the scripts of every node of a cluster, ordered by node name.
///
/// `files` are manifests: Calico and Kubernetes policies, and the objects of the cluster (nodes,
/// pods, namespaces, service accounts and so on). Staged policies are not enforced. The built-in
/// templates are used.
///
/// ```
/// use palisade::options::CompileOptions;
/// use palisade::source::SourceFiles;
///
/// let mut files = SourceFiles::default();
/// for (name, text) in [
///     ("policies.yaml", include_str!("../examples/service-accounts/policies.yaml")),
///     ("cluster.yaml", include_str!("../examples/service-accounts/cluster.yaml")),
/// ] {
///     files.add(name, text.to_owned()).expect("a file of less than 4 GiB");
/// }
///
/// let nodes = palisade::compile_cluster(&files, &CompileOptions::default()).expect("valid policy");
/// let node = nodes.iter().find(|part| part.node == "node-1").expect("the node of the database");
/// assert!(node.scripts.filter_v4.contains("NetworkPolicy prod-engineering/demo-calico ingress rule 1"));
/// assert!(node.scripts.sets.contains("create pal-s4-sa-api-servic-"));
/// ```
///
/// Cost: reading the input once, plus [`lower::to_chains`] for each node.
///
/// # Errors
/// Returns the diagnostics, warnings included, if the input has an error or if the scripts of a
/// node exceed a kernel limit.
pub fn compile_cluster(
    files: &SourceFiles,
    options: &CompileOptions,
) -> Result<Vec<NodePart>, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let input = read(files, StagedPolicies::Proposed, &mut diagnostics);
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let templates = match TemplateSet::new(&[]) {
        Ok(templates) => templates,
        Err(diagnostic) => {
            diagnostics.push(diagnostic);
            return Err(diagnostics);
        }
    };

    let mut parts = Vec::new();
    for (node, _) in resolved.inventory.nodes_with_ids() {
        if diagnostics.has_errors() {
            break;
        }
        match compile(&resolved, node, options, &templates, &mut diagnostics) {
            Ok(part) => parts.extend(part),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }

    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Ok(parts)
}

/// Compiles resolved policy to the scripts of one node. Returns `None` if the scripts exceed a
/// kernel limit; `diagnostics` then holds the reason.
///
/// # Errors
/// Returns an error if a user's template does not render, or adds text that a script may not
/// contain.
pub fn compile(
    resolved: &ResolvedPolicy<'_>,
    node: NodeId,
    options: &CompileOptions,
    templates: &TemplateSet,
    diagnostics: &mut Diagnostics,
) -> Result<Option<NodePart>, Diagnostic> {
    let program = lower::to_chains(resolved, node, options, diagnostics);
    if diagnostics.has_errors() {
        return Ok(None);
    }

    let scripts = render::to_text(&program, templates)?;
    let name = &resolved.inventory.node(node).name;
    let checked = CheckedScripts::read(scripts.files(), &options.extensions);
    let checked = checked.map_err(|refused| refused_script(name, &refused))?;
    Ok(Some(NodePart::new(
        name,
        &program,
        scripts,
        checked.extensions(),
    )))
}

/// The diagnostic for a script that the strict reader refuses. Only a user's template can cause
/// this: the reader accepts all rules that Palisade generates.
fn refused_script(node: &str, refused: &ScriptError) -> Diagnostic {
    let message =
        format!("what was rendered for node `{node}` is no script of a bundle: {refused}");
    let help = "templates add rules to chains that begin with `pal-`, in palisade's own words or \
                with what --allow-extension names; see templates/README.md";
    Diagnostic::new(Code::InvalidTemplate, message).help(help)
}
