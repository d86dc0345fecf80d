//! Metrics over HTTP, for whoever has no collector of text files.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Answers `GET /metrics` with the text that it was given last. One client at a time, and none for long.
#[derive(Debug)]
pub struct Listener {
    text: Arc<Mutex<String>>,
    address: SocketAddr,
}

/// How long a client may take to ask, and to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that a request may have.
const LONGEST_REQUEST: usize = 8192;
/// The content type of Prometheus's text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        let text = Arc::new(Mutex::new(String::new()));
        let (shown, address) = (Arc::clone(&text), socket.local_addr()?);
        std::thread::Builder::new().name("metrics".to_owned()).spawn(move || serve(&socket, &shown))?;
        Ok(Self { text, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is answered from now on.
    pub fn show(&self, text: &str) {
        if let Ok(mut shown) = self.text.lock() {
            text.clone_into(&mut shown);
        }
    }
}

fn serve(socket: &TcpListener, shown: &Mutex<String>) {
    for client in socket.incoming() {
        let Ok(mut client) = client else {
            // out of descriptors, perhaps: not at once again
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        // a client that goes away is no matter of ours
        let _ = answer(&mut client, shown);
    }
}

fn answer(client: &mut TcpStream, shown: &Mutex<String>) -> io::Result<()> {
    client.set_write_timeout(Some(PATIENCE))?;
    let (status, kind, body) = match request(client)? {
        Some((method, path)) if method == "GET" && path == "/metrics" => {
            ("200 OK", METRICS, shown.lock().map(|text| text.clone()).unwrap_or_default())
        }
        Some((method, _)) if method != "GET" => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
        Some(_) => ("404 Not Found", "text/plain", "the metrics are at /metrics\n".to_owned()),
        None => ("400 Bad Request", "text/plain", "not HTTP\n".to_owned()),
    };
    write!(client, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Method and path of a request; none where it is not one.
fn request(client: &mut TcpStream) -> io::Result<Option<(String, String)>> {
    let mut read = Vec::new();
    let mut part = [0; 1024];
    let begun = Instant::now();
    while let Some(left) = PATIENCE.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())
        && read.len() < LONGEST_REQUEST
    {
        client.set_read_timeout(Some(left))?;
        let count = client.read(&mut part)?;
        read.extend_from_slice(part.get(..count).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&read) {
            Ok(httparse::Status::Complete(_)) => {
                let named = request.method.zip(request.path);
                return Ok(named.map(|(method, path)| (method.to_owned(), path.to_owned())));
            }
            Ok(httparse::Status::Partial) if count > 0 => {}
            Ok(httparse::Status::Partial) | Err(_) => return Ok(None),
        }
    }
    Ok(None)
}
