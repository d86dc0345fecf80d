//! Interning of strings: every distinct string is stored once.

use std::sync::Arc;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

/// Id of a string in a [`StringTable`]. Equal symbols are equal strings. Symbols are numbered in
/// input order, so sort by text, not by symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol(u32);

/// The strings of one inventory.
#[derive(Debug, Default)]
pub struct StringTable {
    known: IndexSet<Arc<str>, FxBuildHasher>,
}

impl StringTable {
    /// The text of a symbol. The symbol must come from this table.
    pub fn get(&self, symbol: Symbol) -> &str {
        self.known
            .get_index(symbol.0 as usize)
            .map_or("", |text| text)
    }

    /// The symbol of a text, or `None` if no object uses the text.
    pub fn find(&self, text: &str) -> Option<Symbol> {
        self.known.get_index_of(text).map(symbol)
    }

    /// Returns the symbol of a text. Adds it if it is new.
    pub(super) fn intern(&mut self, text: &str) -> Symbol {
        let index = self.known.get_index_of(text);
        symbol(index.unwrap_or_else(|| self.known.insert_full(Arc::from(text)).0))
    }

    /// Returns a shared copy of a text.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        let symbol = self.intern(text);
        self.known
            .get_index(symbol.0 as usize)
            .map_or_else(|| Arc::from(text), Arc::clone)
    }
}

fn symbol(index: usize) -> Symbol {
    Symbol(u32::try_from(index).unwrap_or(u32::MAX))
}
