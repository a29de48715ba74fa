//! Many connections in a closed loop: each sends a message, compares what comes back with it byte by
//! byte, and only then sends the next.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, connect, recv, send, socket_with};

use rustls::ClientConfig;

use super::session::Session;
use crate::histogram::Histogram;
use crate::process::Error;
use crate::tls::client_config;
use crate::workloads::net::{HELLO, Net, REQUEST};

/// No answer from any connection for so long is an error, not a slow server.
const SILENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};
const EVENTS: usize = 1024;
const RECEIVE_BUFFER: usize = 256 * 1024;
/// Messages are slices of one random table that begin here and there, so that a stale or foreign
/// answer differs from the right one.
const OFFSETS: usize = 4093;

pub(super) struct Client {
    net: Net,
    server: SocketAddrV4,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// The size of an answer.
    answer: usize,
    /// Requests started so far, over all connections.
    started: u64,
    table: Vec<u8>,
    buffer: Vec<u8>,
    events: Vec<Event>,
    tls: Option<Arc<ClientConfig>>,
    /// Connections that have been used once.
    idle: Vec<OwnedFd>,
}

struct Connection {
    /// None between two requests that each have a connection of their own.
    socket: Option<OwnedFd>,
    /// What is inside, if it is inside TLS.
    tls: Option<Box<Session>>,
    request: Request,
}

/// A message under way. Nothing is to be sent or received when both counts have reached its size.
struct Request {
    offset: usize,
    sent: usize,
    received: usize,
    since: Instant,
}

impl Client {
    /// Connects those that stay connected; nothing is sent yet.
    pub(super) fn connect(net: Net, server: SocketAddrV4) -> Result<Self, Error> {
        let epoll =
            epoll::create(CreateFlags::CLOEXEC).map_err(Error::during("create an epoll"))?;
        let mut client = Self {
            net,
            server,
            epoll,
            connections: Vec::with_capacity(net.connections()),
            answer: net.bytes(),
            started: 0,
            table: random_bytes(net.bytes() + OFFSETS),
            buffer: vec![0; RECEIVE_BUFFER],
            events: Vec::with_capacity(EVENTS),
            tls: net.is_tls().then(client_config).transpose()?,
            idle: Vec::new(),
        };
        if net.is_http() {
            client.table = REQUEST.to_vec();
            client.answer = hear_hello(&client.plain_socket()?)?;
        }
        for index in 0..net.connections() {
            let (socket, tls) = if net.is_churn() {
                (None, None)
            } else {
                (Some(client.open(index)?), client.session()?)
            };
            let idle = Request {
                offset: 0,
                sent: net.bytes(),
                received: client.answer,
                since: Instant::now(),
            };
            client.connections.push(Connection {
                socket,
                tls,
                request: idle,
            });
        }
        Ok(client)
    }

    /// Opens so many connections more, and has each answered once: they stay, and do nothing. Those of HTTP come at a thousand a
    /// second: what a server lets go of after a while, the next can have.
    pub(super) fn open_idle(&mut self, count: usize) -> Result<(), Error> {
        for opened in 1..=count {
            let socket = self.plain_socket()?;
            if self.net.is_http() {
                hear_hello(&socket)?;
                if opened % 50 == 0 {
                    thread::sleep(Duration::from_millis(50));
                }
            } else {
                echo_a_byte(&socket)?;
            }
            self.idle.push(socket);
        }
        Ok(())
    }

    fn plain_socket(&self) -> Result<OwnedFd, Error> {
        let open = || {
            let stream = SocketType::STREAM;
            let socket = socket_with(AddressFamily::INET, stream, SocketFlags::CLOEXEC, None)?;
            connect(&socket, &self.server)?;
            Ok::<_, Errno>(socket)
        };
        open().map_err(Error::during(format_args!("connect to {}", self.server)))
    }

    /// A session for a new connection, if it is to be inside TLS.
    fn session(&self) -> Result<Option<Box<Session>>, Error> {
        let session = self.tls.as_ref().map(Session::begin).transpose()?;
        Ok(session.map(Box::new))
    }

    /// Starts the first request of each connection, none beyond the `last`-th.
    pub(super) fn begin(&mut self, last: u64, latencies: &mut Histogram) -> Result<(), Error> {
        (0..self.connections.len())
            .try_for_each(|index| self.advance(index, EventFlags::empty(), last, latencies))
    }

    /// Waits for answers, checks them, starts the next requests, none beyond the `last`-th.
    pub(super) fn turn(&mut self, last: u64, latencies: &mut Histogram) -> Result<(), Error> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&SILENCE)) {
            Ok(0) => {
                let why = format!("no answer from {} in {} s", self.server, SILENCE.tv_sec);
                return Err(Error::new(why));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::during("wait for answers")(error)),
        }
        for event in &events {
            self.advance(event.data.u64() as usize, event.flags, last, latencies)?;
        }
        self.events = events;
        Ok(())
    }

    /// Sends and receives on one connection what can be sent and received.
    fn advance(
        &mut self,
        index: usize,
        flags: EventFlags,
        last: u64,
        latencies: &mut Histogram,
    ) -> Result<(), Error> {
        let (bytes, answer) = (self.net.bytes(), self.answer);
        if let Some(tls) = &self.connections[index].tls
            && tls.is_at_rest()
            && self.connections[index].request.received == answer
            && self.started == last
        {
            return Ok(());
        }
        // One receive an event takes all that is there: an answer is shorter than the buffer.
        let mut readable = !flags.difference(EventFlags::OUT).is_empty();
        loop {
            if self.connections[index].request.received == answer {
                if self.started == last {
                    return Ok(());
                }
                self.start(index)?;
            }
            let connection = &mut self.connections[index];
            connection.send(&self.table, bytes)?;
            if !readable {
                return Ok(());
            }
            readable = false;
            if self.net.is_http() {
                connection.receive_http(answer, &mut self.buffer)?;
            } else {
                connection.receive(&self.table, bytes, &mut self.buffer)?;
            }
            if connection.request.received == answer {
                latencies.record(connection.request.since.elapsed());
                if self.net.is_churn() {
                    connection.close();
                }
            }
        }
    }

    /// Makes the next request ready to be sent, over a new connection if it must be one.
    fn start(&mut self, index: usize) -> Result<(), Error> {
        let since = Instant::now();
        self.started += 1;
        if self.connections[index].socket.is_none() {
            self.connections[index].socket = Some(self.open(index)?);
            self.connections[index].tls = self.session()?;
        }
        let offset = match self.net.is_http() {
            true => 0,
            false => (self.started as usize).wrapping_mul(31) % OFFSETS,
        };
        self.connections[index].request = Request {
            offset,
            sent: 0,
            received: 0,
            since,
        };
        Ok(())
    }

    /// A connected socket, registered under `index`.
    fn open(&self, index: usize) -> Result<OwnedFd, Error> {
        let open = || {
            let kind = match self.net {
                Net::Datagrams { .. } => SocketType::DGRAM,
                _ => SocketType::STREAM,
            };
            let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
            if self.net.is_churn() {
                // A port lingers after its connection (TIME-WAIT, RFC 9293), and an address has only
                // 28k of them: the next connection comes from the next address of 127.0.0.0/8.
                let [_, a, b, c] = (self.started as u32 % 0xff_fffe + 1).to_be_bytes();
                bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, a, b, c), 0))?;
            }
            // On loopback the handshake is over when connect(2) returns.
            connect(&socket, &self.server)?;
            if kind == SocketType::STREAM {
                set_tcp_nodelay(&socket, true)?;
            }
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(index as u64),
                interest,
            )?;
            Ok::<_, Errno>(socket)
        };
        open().map_err(Error::during(format_args!("connect to {}", self.server)))
    }
}

fn echo_a_byte(socket: &OwnedFd) -> Result<(), Error> {
    let mut answer = [0];
    send(socket, b"?", SendFlags::NOSIGNAL)
        .and_then(|_| recv(socket, &mut answer, RecvFlags::empty()))
        .map_err(Error::during("use a connection once"))?;
    match answer {
        [b'?'] => Ok(()),
        _ => Err(Error::new(
            "a connection that is to be idle was not answered",
        )),
    }
}

/// Asks once, and tells how long the answers are that this server of HTTP gives: they differ in nothing but the date.
fn hear_hello(socket: &OwnedFd) -> Result<usize, Error> {
    let mut answer = [0; 4096];
    let mut size = 0;
    send(socket, REQUEST, SendFlags::NOSIGNAL).map_err(Error::during("ask by HTTP"))?;
    while !answer[..size].ends_with(HELLO.as_bytes()) {
        let received = recv(socket, &mut answer[size..], RecvFlags::empty());
        match received.map_err(Error::during("hear an answer by HTTP"))? {
            (0, _) => return Err(Error::new("the server gives another answer than hello")),
            (more, _) => size += more,
        }
    }
    Ok(size)
}

impl Connection {
    /// With the farewell that TLS wants.
    fn close(&mut self) {
        if let (Some(mut tls), Some(socket)) = (self.tls.take(), self.socket.take()) {
            tls.end(&socket);
        }
        self.socket = None;
    }

    fn send(&mut self, table: &[u8], bytes: usize) -> Result<(), Error> {
        let (Some(socket), request) = (&self.socket, &mut self.request) else {
            return Ok(());
        };
        let message = &table[request.offset..request.offset + bytes];
        if let Some(tls) = &mut self.tls {
            request.sent += tls.send(&message[request.sent..], socket)?;
            return Ok(());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        while request.sent < bytes {
            match send(socket, &message[request.sent..], flags) {
                Ok(sent) => request.sent += sent,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(Error::during("send a request")(error)),
            }
        }
        Ok(())
    }

    /// What has arrived, if anything has, must be what an answer begins with, and ends with.
    fn receive_http(&mut self, answer: usize, buffer: &mut [u8]) -> Result<(), Error> {
        let (Some(socket), request) = (&self.socket, &mut self.request) else {
            return Ok(());
        };
        let received = match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(Error::new("the server closed a connection")),
            Ok((received, _)) => received,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(Error::during("receive an answer")(error)),
        };
        let piece = &buffer[..received];
        let begins = request.received > 0 || piece.starts_with(b"HTTP/1.1 200 OK\r\n");
        request.received += received;
        let ends = request.received < answer || piece.ends_with(HELLO.as_bytes());
        if !begins || !ends || request.received > answer {
            return Err(Error::new("another answer than hello"));
        }
        Ok(())
    }

    /// What has arrived, if anything has, must be the continuation of the message.
    fn receive(&mut self, table: &[u8], bytes: usize, buffer: &mut [u8]) -> Result<(), Error> {
        let (Some(socket), request) = (&self.socket, &mut self.request) else {
            return Ok(());
        };
        if let Some(tls) = &mut self.tls {
            let expected = &table[request.offset + request.received..request.offset + bytes];
            request.received += tls.receive(expected, buffer, socket)?;
            return Ok(());
        }
        let received = match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(Error::new("the server closed a connection")),
            Ok((received, _)) => received,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(Error::during("receive an answer")(error)),
        };
        let expected = &table[request.offset + request.received..request.offset + bytes];
        if !expected.starts_with(&buffer[..received]) {
            let answered = request.received + received;
            let why = format!("wrong answer: up to byte {answered} it is not the {bytes} sent");
            return Err(Error::new(why));
        }
        request.received += received;
        Ok(())
    }
}

/// The same bytes in every run: xorshift64.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::{self, JoinHandle};

    use super::*;

    /// A server in a thread that answers each receive with what `answer` makes of it, on `connections`
    /// connections one after the other.
    fn server(
        connections: usize,
        mut answer: impl FnMut(&mut Vec<u8>) + Send + 'static,
    ) -> (SocketAddrV4, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            unreachable!()
        };
        let serving = thread::spawn(move || {
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = vec![0; 1 << 20];
                while let Ok(received @ 1..) = stream.read(&mut buffer) {
                    let mut bytes = buffer[..received].to_vec();
                    answer(&mut bytes);
                    if stream.write_all(&bytes).is_err() || bytes.is_empty() {
                        break;
                    }
                }
            }
        });
        (address, serving)
    }

    fn drive(net: Net, address: SocketAddrV4, requests: u64) -> Result<u64, Error> {
        let mut latencies = Histogram::new();
        let mut client = Client::connect(net, address)?;
        client.begin(requests, &mut latencies)?;
        while latencies.total() < requests {
            client.turn(requests, &mut latencies)?;
        }
        Ok(latencies.total())
    }

    const ECHO: Net = Net::Echo {
        bytes: 100 * 1024,
        connections: 1,
    };

    #[test]
    fn an_echo_of_large_messages_is_accepted() {
        let (address, serving) = server(1, |_| ());
        assert_eq!(drive(ECHO, address, 20).unwrap(), 20);
        serving.join().unwrap();
    }

    #[test]
    fn churn_opens_a_connection_for_each_request() {
        let (address, serving) = server(7, |_| ());
        let churn = Net::Churn {
            bytes: 16,
            connections: 1,
        };
        assert_eq!(drive(churn, address, 7).unwrap(), 7);
        serving.join().unwrap();
    }

    #[test]
    fn one_wrong_byte_is_found() {
        let mut before = 1_000_000;
        let (address, serving) = server(1, move |bytes| {
            if before < bytes.len() {
                bytes[before] ^= 1;
            }
            before = before.saturating_sub(bytes.len());
        });
        let error = drive(ECHO, address, 20).unwrap_err();
        assert!(error.to_string().starts_with("wrong answer"), "{error}");
        serving.join().unwrap();
    }

    #[test]
    fn the_answer_to_another_request_is_found() {
        let mut first = None;
        let (address, serving) = server(1, move |bytes| {
            bytes.clone_from(first.get_or_insert_with(|| bytes.clone()));
        });
        let error = drive(
            Net::Echo {
                bytes: 16,
                connections: 1,
            },
            address,
            2,
        )
        .unwrap_err();
        assert!(error.to_string().starts_with("wrong answer"), "{error}");
        serving.join().unwrap();
    }

    #[test]
    fn more_than_was_sent_and_an_early_end_are_errors() {
        let small = Net::Echo {
            bytes: 16,
            connections: 1,
        };
        let (address, _) = server(1, |bytes| bytes.push(0));
        let error = drive(small, address, 1).unwrap_err();
        assert!(error.to_string().starts_with("wrong answer"), "{error}");
        let (address, _) = server(1, |bytes| bytes.clear());
        let error = drive(small, address, 1).unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
    }
}
