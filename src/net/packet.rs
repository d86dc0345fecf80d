//! Packet properties that rules match, besides addresses, protocol and ports.

/// A side of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
}

/// The conntrack state of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The packet begins a connection.
    New,
    /// The packet belongs to a connection in which both sides have sent packets.
    Established,
    /// The packet begins a connection that is related to an existing one.
    Related,
    /// The packet cannot be assigned to a connection.
    Invalid,
    /// The packet is exempt from connection tracking.
    Untracked,
}

impl Side {
    /// Both sides, the sender first.
    pub const BOTH: [Side; 2] = [Side::Source, Side::Destination];
}

impl State {
    /// The state with a `--ctstate` keyword.
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
