use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::analysis::netfilter::{Kernel, TableTexts, Texts};
use crate::connections::{Connection, Cut, addresses, cut_denied, denied};
use crate::runner::{Answer, Call, Failure, Folder, Keep, Lock, Runner};

/// `10.0.1.1` is an endpoint that may send to `10.0.2.1` only.
const SETS: &str = "create pal-local4 hash:net family inet hashsize 1024 maxelem 65536\nadd pal-local4 10.0.1.1\n\
    create pal-s4-a hash:net family inet hashsize 1024 maxelem 65536\nadd pal-s4-a 10.0.2.1\n";
const V4: &str = "*filter\n:pal-FORWARD - [0:0]\n-A pal-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
    -A pal-FORWARD -m set ! --match-set pal-local4 src -j RETURN\n-A pal-FORWARD -m set --match-set pal-s4-a dst -j ACCEPT\n-A pal-FORWARD -j DROP\n\
    -I FORWARD 1 -j pal-FORWARD\nCOMMIT\n";
const V6: &str = "*filter\nCOMMIT\n";

/// As `conntrack -L -o extended` prints them; the comment says what is to become of each.
const KNOWN: [(&str, bool); 9] = [
    // allowed
    (
        "ipv4 2 tcp 6 431999 ESTABLISHED src=10.0.1.1 dst=10.0.2.1 sport=5 dport=80 src=10.0.2.1 dst=10.0.1.1 sport=80 dport=5 [ASSURED] mark=0 use=1",
        false,
    ),
    // denied
    (
        "ipv4 2 tcp 6 431999 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 dport=80 src=10.0.2.2 dst=10.0.1.1 sport=80 dport=5 [ASSURED] mark=0 use=1",
        true,
    ),
    (
        "ipv4 2 udp 17 29 src=10.0.1.1 dst=10.0.2.2 sport=5 dport=53 [UNREPLIED] src=10.0.2.2 dst=10.0.1.1 sport=53 dport=5 mark=0 zone=7 use=1",
        true,
    ),
    ("ipv4 2 icmp 1 29 src=10.0.1.1 dst=10.0.2.2 type=8 code=0 id=77 src=10.0.2.2 dst=10.0.1.1 type=0 code=0 id=77 mark=0 use=1", true),
    // to a service, translated to what is allowed, and to what is not
    (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.96.0.1 sport=5 dport=443 src=10.0.2.1 dst=10.0.1.1 sport=8443 dport=5 [ASSURED] use=1",
        false,
    ),
    (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.1 sport=5 dport=443 src=10.0.2.2 dst=10.0.1.1 sport=8443 dport=5 [ASSURED] use=1",
        true,
    ),
    // from somebody else, whose business is not ours
    (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.3.1 dst=10.0.2.2 sport=5 dport=80 src=10.0.2.2 dst=10.0.3.1 sport=80 dport=5 [ASSURED] use=1",
        false,
    ),
    // of the node itself
    (
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.0.1 sport=5 dport=80 src=10.0.0.1 dst=10.0.1.1 sport=80 dport=5 [ASSURED] use=1",
        false,
    ),
    // of a protocol that has neither ports nor messages
    ("ipv4 2 unknown 47 599 src=10.0.1.1 dst=10.0.2.2 src=10.0.2.2 dst=10.0.1.1 mark=0 use=1", true),
];

fn kernel() -> Kernel {
    let table = |filter| TableTexts { raw: None, mangle: None, filter };
    Kernel::load(&Texts { sets: SETS, v4: table(V4), v6: table(V6) }).expect("it loads")
}

#[test]
fn only_what_is_denied_is_cut() {
    let own: BTreeSet<IpAddr> = BTreeSet::from(["10.0.0.1".parse().unwrap()]);
    for (line, is_cut) in KNOWN {
        let (known, unread) = Connection::read_all(line);
        assert_eq!((known.len(), unread), (1, 0), "{line}");
        assert_eq!(!denied(&kernel(), known, &own).is_empty(), is_cut, "{line}");
    }
}

#[test]
fn what_is_not_understood_stays() {
    for line in [
        "tcp 6 431999 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 dport=80",
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 src=10.0.2.2 dst=10.0.1.1 sport=80 dport=5",
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 src=10.0.2.2 dst=10.0.1.1",
        "ipv4 2 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 dport=80 src=10.0.2.2 dst=10.0.1.1 sport=80 dport=5 zone-orig=3 use=1",
        "ipv6 10 tcp 6 9 ESTABLISHED src=10.0.1.1 dst=10.0.2.2 sport=5 dport=80 src=10.0.2.2 dst=10.0.1.1 sport=80 dport=5",
        "garbage",
    ] {
        assert_eq!(Connection::read_all(line), (vec![], 1), "{line}");
    }
}

#[test]
fn lines_that_delete() {
    let lines: Vec<String> = KNOWN.iter().flat_map(|(line, _)| Connection::read_all(line).0).map(|known| known.deletion()).collect();
    for (at, protocol, to, rest) in [
        (1, 6, "10.0.2.2", "--sport 5 --dport 80 -w 0"),
        (2, 17, "10.0.2.2", "--sport 5 --dport 53 -w 7"),
        (3, 1, "10.0.2.2", "--icmp-type 8 --icmp-code 0 --icmp-id 77 -w 0"),
        (5, 6, "10.0.2.1", "--sport 5 --dport 443 -w 0"),
    ] {
        let ends = format!("-s 10.0.1.1 -d {to} -o extended -r 10.0.2.2 -q 10.0.1.1");
        assert_eq!(lines[at], format!("-D -f ipv4 -p {protocol} {ends} {rest} --orig-zone 0 --reply-zone 0\n"));
    }
}

#[test]
fn addresses_of_the_node() {
    let text = "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n2: eth0    inet6 fd00::1/64 scope global \n3: x    link/ether\n";
    assert_eq!(addresses(text), ["127.0.0.1", "fd00::1"].map(|text| text.parse().unwrap()).into());
}

/// A kernel's table of connections, and what is wrong with it.
struct Fake {
    known: Vec<&'static str>,
    asked: Vec<Call>,
    /// How many calls that delete give up behind the first line.
    stops: usize,
    status: i32,
}

impl Fake {
    fn new() -> Self {
        Self { known: KNOWN.iter().map(|row| row.0).collect(), asked: Vec::new(), stops: 0, status: 0 }
    }

    /// Deletes by lines; gives what is told of each, and the errors.
    fn delete(&mut self, lines: &str) -> (Vec<&'static str>, &'static str) {
        let stops = self.stops > 0;
        self.stops -= usize::from(stops);
        let lines: Vec<&str> = lines.lines().take(if stops { 1 } else { usize::MAX }).collect();
        let is_gone = |known: &&str| lines.iter().any(|line| Connection::read_all(known).0[0].deletion().trim_end() == *line);
        let (gone, left) = self.known.iter().copied().partition(is_gone);
        self.known = left;
        (gone, if stops { "conntrack v1.4.7 (conntrack-tools): Operation failed: such conntrack doesn't exist\n" } else { "" })
    }
}

impl Runner for Fake {
    fn run(&mut self, call: &Call) -> Result<Answer, Failure> {
        self.asked.push(call.clone());
        let shown = |lines: &[&str]| {
            (
                lines.iter().map(|line| format!("{line}\n")).collect::<String>(),
                format!("conntrack v1.4.7 (conntrack-tools): {} flow entries have been shown.\n", lines.len()),
            )
        };
        let (output, errors) = match call.arguments.last().map(String::as_str) {
            Some("ipv4") => shown(&self.known),
            Some("ipv6") => shown(&[]),
            Some("-") => {
                let (gone, errors) = self.delete(&call.input);
                (gone.join("\n"), errors.to_owned())
            }
            _ => ("2: eth0    inet 10.0.0.1/24 \n".to_owned(), String::new()),
        };
        let status = if errors.contains("failed") { 1 } else { self.status };
        Ok(Answer { status: Some(status), output, errors })
    }

    fn start(&mut self, call: &Call) -> Result<(), Failure> {
        self.run(call).map(drop)
    }

    fn lock(&mut self, _: Duration) -> Result<Option<Lock>, Failure> {
        Ok(None)
    }

    fn read(&mut self, _: Keep, _: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    fn write_folder(&mut self, _: Keep, _: &str, _: Option<&Folder>) -> Result<(), Failure> {
        Ok(())
    }

    fn place(&self, _: Keep, name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    fn write(&mut self, _: Keep, _: &str, _: Option<&[u8]>) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn all_denied_ones_go_in_one_call() {
    let mut fake = Fake::new();
    let Cut { known, denied, ended, unread } = cut_denied(&mut fake, &kernel()).unwrap();
    assert_eq!((known, denied.len(), ended, unread), (9, 5, 5, 0));
    assert_eq!(fake.asked.len(), 4);
    assert_eq!(fake.asked[3].input.lines().count(), 5);
}

#[test]
fn one_that_ends_by_itself_does_not_keep_the_others() {
    let mut fake = Fake { stops: 2, ..Fake::new() };
    let Cut { known, denied, ended, .. } = cut_denied(&mut fake, &kernel()).unwrap();
    assert_eq!((known, denied.len(), ended, fake.known.len()), (9, 5, 5, 4));
    let problem = cut_denied(&mut Fake { stops: 3, ..Fake::new() }, &kernel()).unwrap_err();
    assert!(problem.to_string().contains("such conntrack doesn't exist"), "{problem}");
}

#[test]
fn a_refusal_is_told() {
    let problem = cut_denied(&mut Fake { status: 1, ..Fake::new() }, &kernel()).unwrap_err();
    assert_eq!(problem.to_string(), "`ip -o address show` failed: exit status 1");
}
