//! What can be in force where the policy that is wanted is bad, or refused by the kernel.

use crate::apply::{self, ApplyError, ApplyTarget, TargetBundle};

/// What is found when another policy than the one that is wanted is looked for.
pub(super) enum FallbackBundle {
    /// The last good bundle. As far as anybody knows, nothing else was written since.
    Good(TargetBundle),
    /// There was no good bundle yet.
    Missing,
    /// The last good bundle is another node's.
    OfNode(String),
    /// Something else was written since, and not kept: the last good bundle is older, and may allow
    /// more.
    Older,
    /// Nobody can say.
    Unreadable(ApplyError),
}

impl FallbackBundle {
    /// Looks for it; for this node only, where somebody says which it is.
    pub(super) fn find(node: &mut ApplyTarget<'_>, name: Option<&str>) -> Self {
        Self::try_find(node, name).unwrap_or_else(Self::Unreadable)
    }

    fn try_find(node: &mut ApplyTarget<'_>, name: Option<&str>) -> Result<Self, ApplyError> {
        let good = apply::last_good(node.runner)?;
        let is_last = match (apply::last_written(node.runner), &good) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(written), Some(good)) => {
                (&written.node, &written.scripts) == (&good.node, &good.scripts)
            }
        };
        // what waits to be confirmed was not to be kept; it is taken back before anything else is
        // done
        if !is_last && apply::waits(node)?.is_none() {
            return Ok(Self::Older);
        }

        Ok(match good {
            None => Self::Missing,
            Some(good) if name.is_some_and(|name| name != good.node) => Self::OfNode(good.node),
            Some(good) => Self::Good(good),
        })
    }

    /// The last good bundle, if it is to be taken.
    pub(super) fn good(self) -> Option<TargetBundle> {
        match self {
            Self::Good(good) => Some(good),
            Self::Missing | Self::OfNode(_) | Self::Older | Self::Unreadable(_) => None,
        }
    }

    /// What that means for what is in force.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Good(_) => "the last good bundle stays in force".to_owned(),
            Self::Missing => "there is no good bundle yet: the kernel stays as it is".to_owned(),
            Self::OfNode(other) => {
                format!("the last good bundle is for node `{other}`, and not taken")
            }
            Self::Older => {
                "what was applied last stays; it was not kept, so drift is not repaired".to_owned()
            }
            Self::Unreadable(_) => "the last good bundle cannot be read; what is in force stays, \
                                    and drift is not repaired"
                .to_owned(),
        }
    }
}
