//! Serves metrics over HTTP, for hosts without a textfile collector.
//!
//! One thread serves all connections. Their number is limited and each has a deadline, so that
//! silent clients do not block others.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Answers `GET /metrics` with the latest text.
#[derive(Debug)]
pub struct MetricsServer {
    text: Arc<Mutex<Arc<str>>>,
    address: SocketAddr,
}

/// Limits of a server's connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// Maximum number of open connections. A further one replaces the oldest.
    pub(super) connections: usize,
    /// Maximum duration of a connection after its acceptance.
    pub(super) time: Duration,
}

/// Prometheus waits ten seconds for an answer by default.
pub(super) const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 32,
    time: Duration::from_secs(10),
};

/// Pause after a failed `accept`, for example for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum bytes of a request.
const LONGEST_REQUEST: usize = 8192;
/// Bytes to read at once.
const CHUNK: usize = 1024;
/// Reads and writes of one connection before others get their turn.
const STEPS: usize = 16;
/// The content type of Prometheus's text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl MetricsServer {
    /// Listens on an address, and starts the server thread.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        Self::with(address, LIMITS)
    }

    pub(super) fn with(address: SocketAddr, limits: ConnectionLimits) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let text = Arc::new(Mutex::new(Arc::from("")));

        let shown = Arc::clone(&text);
        let server = ServerThread {
            socket,
            limits,
            shown,
            connections: Vec::new(),
            pause_until: None,
        };
        std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || server.run())?;
        Ok(Self { text, address })
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the text for the following requests.
    pub fn show(&self, text: &str) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Arc::from(text);
    }
}

/// The state of the server thread.
struct ServerThread {
    socket: TcpListener,
    limits: ConnectionLimits,
    shown: Arc<Mutex<Arc<str>>>,
    /// Open connections, oldest first.
    connections: Vec<ClientConnection>,
    /// Set while no connection is accepted.
    pause_until: Option<Instant>,
}

/// A client connection.
struct ClientConnection {
    stream: TcpStream,
    deadline: Instant,
    state: ConnectionPhase,
}

/// The phase of a connection.
enum ConnectionPhase {
    /// Reading the request. Holds the bytes so far.
    Reads(Vec<u8>),
    /// Writing the answer. Holds the number of bytes written.
    Writes(HttpResponse, usize),
    /// The answer is written. Further input is read and ignored: if a socket is closed with unread
    /// input, the kernel resets the connection, and the client may lose the answer.
    Ends,
}

/// An HTTP answer. Its body is shared between answers.
struct HttpResponse {
    head: String,
    body: Arc<str>,
}

impl ServerThread {
    fn run(mut self) {
        loop {
            self.wait();
            self.connections
                .retain_mut(|connection| connection.goes_on(&self.shown));
            self.accept();
        }
    }

    /// Waits until a connection is ready or past its deadline, or a client connects.
    fn wait(&self) {
        let deadlines = self
            .connections
            .iter()
            .map(|connection| connection.deadline);
        let next = deadlines.chain(self.pause_until).min();
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        // Rounded up: waking before the deadline would spin.
        let timeout =
            left.and_then(|left| Timespec::try_from(left + Duration::from_millis(1)).ok());

        let mut waiting: Vec<PollFd<'_>> = self
            .connections
            .iter()
            .map(ClientConnection::event)
            .collect();
        if self.pause_until.is_none() {
            waiting.push(PollFd::new(&self.socket, PollFlags::IN));
        }
        // A failed poll was interrupted by a signal, and the loop tries again.
        let _ = poll(&mut waiting, timeout.as_ref());
    }

    /// Accepts waiting clients, up to the limit.
    fn accept(&mut self) {
        if self.pause_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        self.pause_until = None;

        for _ in 0..self.limits.connections {
            match self.socket.accept() {
                Ok((stream, _)) => self.add(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.pause_until = Some(Instant::now() + PAUSE);
                    return;
                }
            }
        }
    }

    fn add(&mut self, stream: TcpStream) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }

        if self.connections.len() >= self.limits.connections {
            self.connections.remove(0);
        }

        let deadline = Instant::now() + self.limits.time;
        let mut connection = ClientConnection {
            stream,
            deadline,
            state: ConnectionPhase::Reads(Vec::new()),
        };
        // Most requests have arrived already and need no extra round of the loop.
        if connection.goes_on(&self.shown) {
            self.connections.push(connection);
        }
    }
}

impl ClientConnection {
    fn event(&self) -> PollFd<'_> {
        let flags = match &self.state {
            ConnectionPhase::Reads(_) | ConnectionPhase::Ends => PollFlags::IN,
            ConnectionPhase::Writes(..) => PollFlags::OUT,
        };
        PollFd::new(&self.stream, flags)
    }

    /// Makes progress as far as possible without blocking. Returns whether the connection is still
    /// needed.
    fn goes_on(&mut self, shown: &Mutex<Arc<str>>) -> bool {
        if self.deadline <= Instant::now() {
            return false;
        }

        for _ in 0..STEPS {
            match self.step(shown) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }

        true
    }

    /// Reads or writes once. Returns whether there is more to do.
    fn step(&mut self, shown: &Mutex<Arc<str>>) -> io::Result<bool> {
        match &mut self.state {
            ConnectionPhase::Reads(read) => {
                let mut chunk = [0; CHUNK];
                let count = self.stream.read(&mut chunk)?;
                read.extend_from_slice(chunk.get(..count).unwrap_or_default());
                let is_all = count == 0 || read.len() >= LONGEST_REQUEST;
                if let Some(answer) = answer(read, is_all, shown) {
                    self.state = ConnectionPhase::Writes(answer, 0);
                }
                Ok(true)
            }
            ConnectionPhase::Writes(answer, written) => {
                *written += self.stream.write(answer.from(*written))?;
                if answer.from(*written).is_empty() {
                    self.stream.shutdown(Shutdown::Write)?;
                    self.state = ConnectionPhase::Ends;
                }
                Ok(true)
            }
            ConnectionPhase::Ends => Ok(self.stream.read(&mut [0; CHUNK])? > 0),
        }
    }
}

impl HttpResponse {
    fn new(status: &str, kind: &str, body: Arc<str>) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: \
             close\r\n\r\n",
            body.len()
        );
        Self { head, body }
    }

    /// Returns bytes after the first `written` ones. Empty if all are written.
    fn from(&self, written: usize) -> &[u8] {
        let body = written.saturating_sub(self.head.len());
        let head = self
            .head
            .as_bytes()
            .get(written..)
            .filter(|head| !head.is_empty());
        head.or_else(|| self.body.as_bytes().get(body..))
            .unwrap_or_default()
    }
}

/// Returns the answer to a request, or `None` if the request is incomplete.
fn answer(read: &[u8], is_all: bool, shown: &Mutex<Arc<str>>) -> Option<HttpResponse> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let plain = |status, body: &str| Some(HttpResponse::new(status, "text/plain", Arc::from(body)));

    match request.parse(read) {
        Ok(httparse::Status::Partial) if !is_all => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return plain("400 Bad Request", "not HTTP\n"),
    }

    match (request.method, request.path) {
        (Some("GET"), Some("/metrics")) => {
            let text = Arc::clone(&shown.lock().unwrap_or_else(PoisonError::into_inner));
            Some(HttpResponse::new("200 OK", METRICS, text))
        }
        (Some("GET"), _) => plain("404 Not Found", "the metrics are at /metrics\n"),
        _ => plain("405 Method Not Allowed", "only GET\n"),
    }
}
