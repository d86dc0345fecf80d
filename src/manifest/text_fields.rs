//! Fields that hold a text.

use crate::source::SpannedString;

/// The text of a field; an empty one is none, as in Calico.
pub(super) fn absent_if_empty(text: Option<SpannedString>) -> Option<SpannedString> {
    text.filter(|text| !text.value.is_empty())
}
