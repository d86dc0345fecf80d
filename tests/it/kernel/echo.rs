//! The answering side: one thread that echoes on every address and port that a question names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::topology::Topology;
use super::{Probe, tools};

/// Opens all the ports, then serves them until the process ends. ICMP is the kernel's own affair.
///
/// Returns a socket whose datagrams come back from the thread that serves, past all rules.
pub(super) fn start(
    topology: &Topology,
    targets: &BTreeSet<(IpAddr, Probe)>,
) -> Result<UdpSocket, String> {
    let mut servers = Servers::new().map_err(|error| format!("epoll: {error}"))?;
    for (address, probe) in targets {
        tools::enter(topology.owner_of(*address))?;
        let opened = open(*address, *probe)
            .and_then(|server| server.map_or(Ok(()), |server| servers.add(server)));
        opened.map_err(|error| format!("cannot listen on {address} {probe}: {error}"))?;
    }

    let pulse = pulse(topology, &mut servers).map_err(|error| format!("pulse: {error}"))?;
    thread::spawn(move || {
        servers
            .serve()
            .expect("the echo server can wait for packets")
    });

    Ok(pulse)
}

/// Opens two ports of the namespace that has no rules, which lead to each other.
fn pulse(topology: &Topology, servers: &mut Servers) -> io::Result<UdpSocket> {
    tools::enter(topology.without_rules()).map_err(io::Error::other)?;
    let local = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let (asks, answers) = (local()?, local()?);
    asks.connect(answers.local_addr()?)?;
    servers.add(Server::Datagrams(answers))?;
    Ok(asks)
}

fn open(address: IpAddr, probe: Probe) -> io::Result<Option<Server>> {
    match probe {
        Probe::Tcp(port) => Ok(Some(Server::Listener(listener((address, port).into())?))),
        Probe::Udp(port) => Ok(Some(Server::Datagrams(
            bound((address, port).into(), Type::DGRAM, Protocol::UDP)?.into(),
        ))),
        Probe::Icmp => Ok(None),
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, Type::STREAM, Protocol::TCP)?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// A socket that shares its port: a question may come from the port that its host also listens on.
fn bound(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        kind.nonblocking(),
        Some(protocol),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

enum Server {
    Listener(TcpListener),
    Stream(TcpStream),
    Datagrams(UdpSocket),
}

struct Servers {
    epoll: OwnedFd,
    all: BTreeMap<u64, Server>,
    next: u64,
}

impl Servers {
    fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            all: BTreeMap::new(),
            next: 0,
        })
    }

    fn add(&mut self, server: Server) -> io::Result<()> {
        epoll::add(
            &self.epoll,
            server.as_fd(),
            EventData::new_u64(self.next),
            EventFlags::IN,
        )?;
        self.all.insert(self.next, server);
        self.next += 1;
        Ok(())
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in &events {
                self.attend(event.data.u64())?;
            }
        }
    }

    fn attend(&mut self, number: u64) -> io::Result<()> {
        let goes_on = match self.all.get_mut(&number) {
            Some(Server::Listener(listener)) => {
                let accepted = listener.accept();
                return accepted.map_or(Ok(()), |(stream, _)| self.welcome(stream));
            }
            Some(Server::Stream(stream)) => echo(stream),
            Some(Server::Datagrams(socket)) => echo_datagram(socket),
            None => false,
        };

        if !goes_on {
            self.all.remove(&number);
        }

        Ok(())
    }

    fn welcome(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.add(Server::Stream(stream))
    }
}

/// Sends back what came; whether the connection goes on.
fn echo(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 64];
    let got = stream.read(&mut bytes).unwrap_or(0);
    got > 0
        && stream
            .write_all(bytes.get(..got).unwrap_or_default())
            .is_ok()
}

/// Sends back a datagram, and always goes on: errors are news of earlier answers that were refused.
fn echo_datagram(socket: &UdpSocket) -> bool {
    let mut bytes = [0; 64];
    if let Ok((got, from)) = socket.recv_from(&mut bytes) {
        let _sent = socket.send_to(bytes.get(..got).unwrap_or_default(), from);
    }
    true
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}
