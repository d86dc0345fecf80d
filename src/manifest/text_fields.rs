//! Text fields.

use crate::source::SpannedString;

/// Treats empty text as absent, as in Calico.
pub(super) fn absent_if_empty(text: Option<SpannedString>) -> Option<SpannedString> {
    text.filter(|text| !text.value.is_empty())
}
