//! Requests to the kernel's netfilter over netlink. The kernel answers each with an error number.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use crate::runner::NetfilterRequest;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const FLAGS: u16 = 0x1 | 0x4;

/// `NLMSG_ERROR`, which also reports success.
const ANSWER: u16 = 2;

/// Bytes of the netlink header: length, type, flags, sequence number, sender.
const HEADER: usize = 16;

/// Maximum bytes to read of an answer: header, error number, and the repeated request.
const MOST_OF_ANSWER: usize = 4096;

/// Sends requests one after another, and returns the kernel's answer to each.
pub(super) fn ask(requests: &[NetfilterRequest]) -> io::Result<Vec<io::Result<()>>> {
    // netfilter answers before `send` returns, so no wait is needed.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        Some(netlink::NETFILTER),
    )?;

    (1..)
        .zip(requests)
        .map(|(number, request)| ask_one(&socket, number, request))
        .collect()
}

fn ask_one(
    socket: &OwnedFd,
    number: u32,
    request: &NetfilterRequest,
) -> io::Result<io::Result<()>> {
    send(
        socket.as_fd(),
        &message(number, request)?,
        SendFlags::empty(),
    )?;

    let mut answer = [0; MOST_OF_ANSWER];
    let (length, _) = recv(socket.as_fd(), &mut answer, RecvFlags::empty())?;
    let error = answer
        .get(..length)
        .and_then(|answer| error_of(answer, number));

    let error = error.ok_or_else(|| io::Error::other("the answer is not of this request"))?;
    Ok(if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error.saturating_neg()))
    })
}

/// Returns a request with its header.
fn message(number: u32, request: &NetfilterRequest) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADER + request.body.len()).map_err(io::Error::other)?;
    let sender = 0_u32;
    let mut message = Vec::with_capacity(HEADER + request.body.len());
    message.extend(length.to_ne_bytes());
    message.extend(request.kind.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend(number.to_ne_bytes());
    message.extend(sender.to_ne_bytes());
    message.extend(&request.body);
    Ok(message)
}

/// Returns the error number of an answer to the request with this sequence number: 0 or a negative
/// errno. Returns `None` if the message is something else.
pub(super) fn error_of(answer: &[u8], number: u32) -> Option<i32> {
    let is_answer = *answer.get(4..)?.first_chunk()? == ANSWER.to_ne_bytes()
        && *answer.get(8..)?.first_chunk()? == number.to_ne_bytes();
    is_answer.then_some(i32::from_ne_bytes(*answer.get(HEADER..)?.first_chunk()?))
}
