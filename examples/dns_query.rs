//! A DNS query over UDP, to a name server in the same program that drops every other query: the client asks again.
//!
//! What is sent and received is DNS as RFC 1035 has it, as far as one question and one answer go.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::net::{
    DatagramOptions, DatagramProtocol, DatagramTransport, UdpOptions, create_datagram_endpoint,
};
use rondel::prelude::*;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// What the server knows.
const ZONE: [(&str, Ipv4Addr); 2] = [
    ("ring.example", Ipv4Addr::new(192, 0, 2, 7)),
    ("rosalie.example", Ipv4Addr::new(192, 0, 2, 26)),
];

const HEADER: usize = 12;
const NO_SUCH_NAME: u8 = 3;

/// A question for the addresses of `name`, which is given in labels, each with its length in front.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired; one question, nothing else.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("labels are short"));
        message.extend(label.as_bytes());
    }
    // The end of the name; type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// The name that is asked for, and how long the message is up to the end of the question.
fn question(message: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + len)?));
        at += len;
    }
    (message.len() >= at + 4).then(|| (labels.join("."), at + 4))
}

/// The answer to a question, by the zone; none to what is no question.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let (name, end) = question(message)?;
    let mut reply = message[..end].to_vec();
    // A reply, and from somebody who knows.
    reply[2] |= 0x84;
    match ZONE.iter().find(|(known, _)| *known == name) {
        Some((_, address)) => {
            reply[7] = 1;
            // The name is the one at byte 12; type A, class IN, good for a minute, four bytes.
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(address.octets());
        }
        None => reply[3] |= NO_SUCH_NAME,
    }
    Some(reply)
}

/// The address in a reply to our question; `None` if the name is unknown.
fn address(reply: &[u8], question_end: usize) -> io::Result<Option<Ipv4Addr>> {
    if reply[3] & 15 == NO_SUCH_NAME {
        return Ok(None);
    }
    match reply.get(question_end + 12..question_end + 16) {
        Some(&[a, b, c, d]) => Ok(Some(Ipv4Addr::new(a, b, c, d))),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no address in a reply",
        )),
    }
}

/// The server: a protocol, called with each query.
#[derive(Default)]
struct NameServer {
    queries: usize,
}

impl DatagramProtocol for NameServer {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
        self.queries += 1;
        if self.queries % 2 == 1 {
            // Lost on the way, as happens with UDP.
            return;
        }
        if let Some(reply) = answer(data) {
            // A reply that cannot be sent is asked for again.
            let _ = transport.send_to(&reply, from);
        }
    }
}

/// The client: a task that asks, waits a while, and asks again.
async fn look_up(server: SocketAddr, id: u16, name: &str) -> io::Result<Option<Ipv4Addr>> {
    let socket = UdpOptions::new().connect(server)?;
    let query = query(id, name);
    let mut reply = [0; 512];
    for attempt in 1..=3 {
        socket.send(&query).await?;
        let Ok(received) = timeout(Duration::from_millis(100), socket.recv(&mut reply)).await
        else {
            println!("{name}: no answer to query {attempt}");
            continue;
        };
        let reply = &reply[..received?];
        if reply.len() >= query.len() && reply[..2] == query[..2] {
            return address(reply, query.len());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(async {
        let options = DatagramOptions::new().local_addr("127.0.0.1:0");
        let (transport, server) = create_datagram_endpoint(NameServer::default, options).await?;
        let addr = transport.local_addr()?;
        for (id, name) in (1..).zip(["ring.example", "rosalie.example", "nowhere.example"]) {
            match look_up(addr, id, name).await? {
                Some(address) => println!("{name}: {address}"),
                None => println!("{name}: no such name"),
            }
        }
        println!("{} queries", server.with(|server, _| server.queries)?);
        transport.close();
        transport.wait_closed().await;
        Ok(())
    })?
}
