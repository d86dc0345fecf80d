//! What rules ask of a packet beside its addresses, protocol and ports.

/// A side of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
}

/// The state of a packet's connection, as connection tracking sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The packet begins it.
    New,
    /// Both sides have sent.
    Established,
    /// It belongs to another one.
    Related,
    /// It can belong to none.
    Invalid,
    /// It is kept from connection tracking.
    Untracked,
}

impl Side {
    /// Both sides, the sender first.
    pub const BOTH: [Side; 2] = [Side::Source, Side::Destination];
}

impl State {
    /// The state of a word of `--ctstate`.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "NEW" => Some(State::New),
            "ESTABLISHED" => Some(State::Established),
            "RELATED" => Some(State::Related),
            "INVALID" => Some(State::Invalid),
            "UNTRACKED" => Some(State::Untracked),
            _ => None,
        }
    }
}
