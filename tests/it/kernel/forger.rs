//! Datagrams with a source that the sender has not, and which of them arrive.
//!
//! Each has a socket of its own at its receiver, so that one that arrives is known by its port.
//! They are sent by `IP_TRANSPARENT` sockets: from the outside that is as if the address were on
//! the sender's loopback interface.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::tools;
use super::topology::Topology;

/// A datagram with a source of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forgery {
    /// Name of a pod, a node or an outside host that sends it.
    pub(crate) from: String,
    /// The source address that it bears.
    pub(crate) claims: IpAddr,
    /// The address that it goes to, which must belong to a host of the cluster.
    pub(crate) to: IpAddr,
}

/// Ports of receivers begin here.
const FIRST_PORT: u16 = 20_000;

/// How often each is sent, and how long after the one before.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(100);

/// A datagram's two ends.
struct Ends {
    sender: UdpSocket,
    receiver: UdpSocket,
    forgery: Forgery,
}

/// Sends all, some times; whether each arrived, with the source that it was given.
pub(super) fn send(topology: &Topology, forgeries: &[Forgery]) -> Result<Vec<bool>, String> {
    let ends = (FIRST_PORT..)
        .zip(forgeries)
        .map(|(port, forgery)| Ends::open(topology, port, forgery));
    let ends = ends.collect::<Result<Vec<Ends>, String>>()?;

    let mut arrived = vec![false; ends.len()];
    for _ in 0..ROUNDS {
        // a sender's own node or neighbours may refuse it: then it does not arrive
        ends.iter()
            .for_each(|ends| drop(ends.sender.send(b"palisade")));
        thread::sleep(ROUND);
        for (arrived, ends) in arrived.iter_mut().zip(&ends) {
            *arrived |= ends
                .has_arrived()
                .map_err(|error| format!("{:?}: {error}", ends.forgery))?;
        }
    }
    Ok(arrived)
}

impl Ends {
    fn open(topology: &Topology, port: u16, forgery: &Forgery) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{forgery:?}: {error}");
        let to = SocketAddr::new(forgery.to, port);
        tools::enter(topology.owner_of(forgery.to))?;
        let receiver = UdpSocket::bind(to).map_err(failed)?;
        receiver.set_nonblocking(true).map_err(failed)?;

        tools::enter(topology.namespace_of(&forgery.from))?;
        let sender = sender(SocketAddr::new(forgery.claims, port), to).map_err(failed)?;
        Ok(Self {
            sender,
            receiver,
            forgery: forgery.clone(),
        })
    }

    fn has_arrived(&self) -> io::Result<bool> {
        let mut bytes = [0; 64];
        match self.receiver.recv_from(&mut bytes) {
            Ok((_, from)) => Ok(from.ip() == self.forgery.claims),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn sender(from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(from),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;

    match from {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
    }

    socket.bind(&from.into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}
