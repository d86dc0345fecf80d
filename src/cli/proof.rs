//! The proof that one node's scripts do what policies say.

use crate::inventory::NodeId;
use crate::options::CompileOptions;
use crate::report::verify::NodeReport;
use crate::ruleset::CheckedScripts;
use crate::semantics::evaluate::Evaluator;
use crate::verify;

/// A node whose scripts are verified.
pub(super) struct RenderedNode<'run, 'resolved, 'input> {
    pub(super) evaluator: &'run Evaluator<'resolved, 'input>,
    pub(super) node: NodeId,
    pub(super) options: &'run CompileOptions,
    pub(super) name: &'run str,
}

impl<'input> RenderedNode<'_, '_, 'input> {
    /// Verifies scripts, which are given by their names in a bundle. `problems` are what is wrong
    /// with their files.
    pub(super) fn verified<'text>(
        &self,
        files: impl Iterator<Item = (&'text str, &'text str)>,
        mut problems: Vec<String>,
    ) -> NodeReport<'input> {
        let files: Vec<(&str, &str)> = files.collect();
        let name = self.name.to_owned();
        if files.is_empty() {
            if problems.is_empty() {
                problems.push("the bundle has no scripts for it".to_owned());
            }
            return NodeReport {
                node: name,
                verification: None,
                problems,
                extensions: Vec::new(),
            };
        }

        let checked = CheckedScripts::read(files, &self.options.extensions);
        let scripts = checked.as_ref().map_err(Clone::clone);
        let verification = verify::verify(self.evaluator, self.node, self.options, scripts);
        let extensions = checked.iter().flat_map(CheckedScripts::extensions);
        let extensions = extensions
            .map(|(name, rules)| (name.to_owned(), rules))
            .collect();
        NodeReport {
            node: name,
            verification: Some(verification),
            problems,
            extensions,
        }
    }
}
