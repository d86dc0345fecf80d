//! Checks ports as written (semantics §2.2, §6.1).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::manifest::WrittenPort;
use crate::name::NameForm;
use crate::net::{PortRange, merge_ranges};
use crate::policy::PortList;

/// The meaning of one port entry.
enum ParsedPort {
    Numbers(PortRange),
    Name(String),
}

/// Checks the ports of a list.
pub(super) fn list(ports: &[WrittenPort], diagnostics: &mut Diagnostics) -> PortList {
    let mut numbers = Vec::new();
    let mut names = Vec::new();
    for port in ports {
        match parse(port, diagnostics) {
            Some(ParsedPort::Numbers(range)) => numbers.push(range),
            Some(ParsedPort::Name(name)) => names.push(name),
            None => {}
        }
    }

    names.sort_unstable();
    names.dedup();
    PortList {
        numbers: merge_ranges(numbers),
        names,
    }
}

/// Whether a port is a number or a range of numbers. A port name may start with a digit.
pub(super) fn is_numeric(port: &WrittenPort) -> bool {
    let (first, last) = port
        .text
        .split_once(':')
        .unwrap_or((&port.text, &port.text));
    [first, last]
        .into_iter()
        .all(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `80`, `80:90`, or an RFC 6335 service name.
fn parse(port: &WrittenPort, diagnostics: &mut Diagnostics) -> Option<ParsedPort> {
    let (first, last) = port
        .text
        .split_once(':')
        .unwrap_or((&port.text, &port.text));

    let parsed = match is_numeric(port) {
        true => first
            .parse()
            .ok()
            .zip(last.parse().ok())
            .and_then(|(first, last)| PortRange::new(first, last))
            .map(ParsedPort::Numbers),
        false => NameForm::PortName
            .fits(&port.text)
            .then(|| ParsedPort::Name(port.text.clone())),
    };
    if parsed.is_none() {
        diagnostics.push(bad_port(port));
    }

    parsed
}

fn bad_port(port: &WrittenPort) -> Diagnostic {
    let range = |separator| {
        port.text
            .split_once(separator)
            .and_then(|(first, last)| first.parse::<u16>().ok().zip(last.parse::<u16>().ok()))
    };
    let meant = Some(port.text.to_ascii_lowercase()).filter(|lower| NameForm::PortName.fits(lower));
    let help = match (range(':').or_else(|| range('-')), meant) {
        (Some((first, last)), _) if first.min(last) > 0 => format!(
            "a range is written `{}:{}`",
            first.min(last),
            first.max(last)
        ),
        _ if port.text.parse::<i64>().is_ok() => "ports go from 1 to 65535".to_owned(),
        (None, Some(meant)) => format!("did you mean `{meant}`?"),
        _ => format!(
            "write a number from 1 to 65535, a range `80:90`, or a port name: {}",
            NameForm::PortName.description()
        ),
    };

    Diagnostic::at(
        Code::InvalidPort,
        port.span,
        format!("`{}` is no port", port.text.escape_debug()),
    )
    .help(help)
}
