//! The asking side: all questions at once, in rounds, until nothing more can be hoped for.
//!
//! A question counts as answered the moment its echo comes. Each round sends every open datagram
//! and echo request again, and opens anew what failed (a refusal may be a neighbour not found yet);
//! a TCP SYN is sent again by the kernel, after 1 s, 3 s and 7 s. A question expected to be
//! answered is given 50 rounds, 10 s. One expected to be denied is given up after 7 rounds (1.4 s:
//! the first SYN retransmission is out and back) of which the last 4 brought no answer at all.
//!
//! A round lasts 200 ms, and until the answerer has echoed a datagram of the asker's own that no
//! rule sees: on a busy machine rounds are longer, and as many packets get their chance. So a true
//! answer that was expected is lost only if 50 of its packets are held up while 50 others of the
//! same machine come and go, and an unexpected one only if all of its 7 are.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::topology::Topology;
use super::{Probe, Question, echo, tools};

const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 50;
const ROUNDS_IF_DENIED: usize = 7;
const QUIET_ROUNDS: usize = 4;

/// Questions open at once: each takes two descriptors.
const WAVE: usize = 4000;

/// Asks all questions of a built cluster.
pub(super) fn ask(
    topology: &Topology,
    questions: &[(Question, bool)],
) -> Result<Vec<bool>, String> {
    let attempts: Vec<_> = questions
        .iter()
        .map(|(question, expected)| Attempt::new(topology, question, *expected))
        .collect();
    let targets: BTreeSet<_> = questions
        .iter()
        .map(|(question, _)| (question.to, question.probe))
        .collect();
    let pulse = echo::start(topology, &targets)?;
    let mut answers = Vec::new();

    let mut attempts = attempts.into_iter().peekable();
    while attempts.peek().is_some() {
        let wave = attempts.by_ref().take(WAVE).collect();
        answers.extend(Wave::new(wave, &pulse)?.run()?);
    }

    Ok(answers)
}

/// Questions that are asked together.
struct Wave<'a> {
    epoll: OwnedFd,
    attempts: Vec<Attempt<'a>>,
    /// Leads to the answerer, past all rules.
    pulse: &'a UdpSocket,
}

/// What [`Wave::pulse`] is among the attempts.
const PULSE: u64 = u64::MAX;

impl<'a> Wave<'a> {
    fn new(attempts: Vec<Attempt<'a>>, pulse: &'a UdpSocket) -> Result<Self, String> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).and_then(|epoll| {
            epoll::add(
                &epoll,
                pulse,
                EventData::new_u64(PULSE),
                EventFlags::IN | EventFlags::ET,
            )?;
            Ok(epoll)
        });
        let epoll = epoll.map_err(|error| format!("epoll: {error}"))?;

        Ok(Self {
            epoll,
            attempts,
            pulse,
        })
    }

    fn run(mut self) -> Result<Vec<bool>, String> {
        let mut quiet = 0;
        for round in 1..=ROUNDS {
            self.send()?;
            quiet = if self.listen(round)? { 0 } else { quiet + 1 };
            if self.settled(round, quiet) {
                break;
            }
        }

        Ok(self
            .attempts
            .iter()
            .map(|attempt| attempt.answered)
            .collect())
    }

    fn send(&mut self) -> Result<(), String> {
        for (number, attempt) in self
            .attempts
            .iter_mut()
            .enumerate()
            .filter(|(_, attempt)| !attempt.answered)
        {
            attempt
                .again(&self.epoll, number as u64)
                .map_err(|error| format!("cannot ask {:?}: {error}", attempt.question))?;
        }
        Ok(())
    }

    /// Takes answers for one round, or until there is no more to wait for; whether any came.
    fn listen(&mut self, round: usize) -> Result<bool, String> {
        let failed = |error: io::Error| format!("pulse: {error}");
        let round = round.to_be_bytes();
        self.pulse.send(&round).map_err(failed)?;

        let mut end = Instant::now() + ROUND;
        let mut open = self.open().count();
        let (before, mut is_alive) = (open, false);
        let mut events = Vec::with_capacity(256);
        while open > 0 {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("a round is short");
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&left))
                .map_err(|error| format!("epoll: {error}"))?;
            is_alive |= self.has_pulse(round).map_err(failed)?;
            match (events.is_empty(), is_alive) {
                (true, true) => break,
                // the answerer, or the kernel, is busy elsewhere
                (true, false) => {
                    self.pulse.send(&round).map_err(failed)?;
                    end = Instant::now() + ROUND;
                }
                (false, _) => {}
            }
            open -= events
                .iter()
                .filter(|event| self.advance(event.data.u64()))
                .count();
        }
        Ok(open < before)
    }

    /// Returns whether the datagram of this round has come back.
    fn has_pulse(&self, round: [u8; 8]) -> io::Result<bool> {
        let mut bytes = [0; 8];
        loop {
            match self.pulse.recv(&mut bytes) {
                Ok(_) if bytes == round => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn advance(&mut self, number: u64) -> bool {
        let attempt = usize::try_from(number)
            .ok()
            .and_then(|number| self.attempts.get_mut(number));
        attempt.is_some_and(Attempt::advance)
    }

    fn settled(&self, round: usize, quiet: usize) -> bool {
        let given_up = round >= ROUNDS_IF_DENIED && quiet >= QUIET_ROUNDS;
        self.open().all(|attempt| given_up && !attempt.expected)
    }

    fn open(&self) -> impl Iterator<Item = &Attempt<'a>> {
        self.attempts.iter().filter(|attempt| !attempt.answered)
    }
}

/// One question under way.
struct Attempt<'a> {
    question: &'a Question,
    expected: bool,
    namespace: &'a str,
    source: SocketAddr,
    socket: Option<Socket>,
    sent: bool,
    answered: bool,
}

impl<'a> Attempt<'a> {
    fn new(topology: &'a Topology, question: &'a Question, expected: bool) -> Self {
        assert!(
            question.probe != Probe::Icmp || question.source_port.is_none(),
            "ICMP has no source port: {question:?}"
        );

        let source = SocketAddr::new(
            topology.source(&question.from, question.to),
            question.source_port.unwrap_or(0),
        );
        let namespace = topology.namespace_of(&question.from);

        Self {
            question,
            expected,
            namespace,
            source,
            socket: None,
            sent: false,
            answered: false,
        }
    }

    /// Sends again what can be sent again, and opens what is not open.
    fn again(&mut self, epoll: &OwnedFd, number: u64) -> Result<(), String> {
        if self.socket.is_none() {
            tools::enter(self.namespace)?;
            self.open(epoll, number)
                .map_err(|error| error.to_string())?;
        } else if !matches!(self.question.probe, Probe::Tcp(_)) {
            self.sent = false;
            self.advance();
        }
        Ok(())
    }

    fn open(&mut self, epoll: &OwnedFd, number: u64) -> io::Result<()> {
        let socket = self.bound()?;
        epoll::add(
            epoll,
            &socket,
            EventData::new_u64(number),
            EventFlags::IN | EventFlags::OUT | EventFlags::ET,
        )?;
        self.sent = false;

        // Refused at once (no neighbour yet, an OUTPUT rule, the same ports in use): the next round
        // tries again.
        let connected = socket.connect(&self.target().into());

        let under_way = connected.is_ok()
            || connected.is_err_and(|error| error.raw_os_error() == Some(IN_PROGRESS));
        self.socket = under_way.then_some(socket);
        Ok(())
    }

    fn bound(&self) -> io::Result<Socket> {
        let (kind, protocol) = match (self.question.probe, self.question.to) {
            (Probe::Tcp(_), _) => (Type::STREAM, Protocol::TCP),
            (Probe::Udp(_), _) => (Type::DGRAM, Protocol::UDP),
            (Probe::Icmp, IpAddr::V4(_)) => (Type::DGRAM, Protocol::ICMPV4),
            (Probe::Icmp, IpAddr::V6(_)) => (Type::DGRAM, Protocol::ICMPV6),
        };
        let socket = Socket::new(
            Domain::for_address(self.source),
            kind.nonblocking(),
            Some(protocol),
        )?;

        if kind == Type::STREAM {
            // Reset on close: no port stays taken by a connection that waits out its end.
            socket.set_linger(Some(Duration::ZERO))?;
        }

        if self.question.source_port.is_some() {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
        }

        socket.bind(&self.source.into())?;
        Ok(socket)
    }

    fn target(&self) -> SocketAddr {
        let (Probe::Tcp(port) | Probe::Udp(port)) = self.question.probe else {
            return SocketAddr::new(self.question.to, 0);
        };
        SocketAddr::new(self.question.to, port)
    }

    /// Sends if it can and reads if there is something; whether this brought the answer.
    fn advance(&mut self) -> bool {
        match self.exchange() {
            Ok(answered) => self.answered = answered,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => {}
        }
        self.socket = None;
        self.answered
    }

    fn exchange(&mut self) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else {
            return Err(ErrorKind::WouldBlock.into());
        };

        if !self.sent {
            socket.write_all(&request(self.question))?;
            self.sent = true;
        }

        let mut bytes = [0; 64];
        let got = socket.read(&mut bytes)?;
        Ok(bytes
            .get(..got)
            .is_some_and(|answer| answer.ends_with(TOKEN)))
    }
}

/// EINPROGRESS: the connection is being made.
const IN_PROGRESS: i32 = 115;

const TOKEN: &[u8] = b"palisade";

/// The bytes to send; the kernel fills in the identifier and the checksum of an echo request.
fn request(question: &Question) -> Vec<u8> {
    let header: &[u8] = match (question.probe, question.to) {
        (Probe::Icmp, IpAddr::V4(_)) => &[8, 0, 0, 0, 0, 0, 0, 0],
        (Probe::Icmp, IpAddr::V6(_)) => &[128, 0, 0, 0, 0, 0, 0, 0],
        (Probe::Tcp(_) | Probe::Udp(_), _) => &[],
    };
    [header, TOKEN].concat()
}
