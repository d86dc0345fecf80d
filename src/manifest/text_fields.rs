//! Fields that hold a text.

use crate::source::Text;

/// The text of a field; an empty one is none, as in Calico.
pub(super) fn absent_if_empty(text: Option<Text>) -> Option<Text> {
    text.filter(|text| !text.value.is_empty())
}
