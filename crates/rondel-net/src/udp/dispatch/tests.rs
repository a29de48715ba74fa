//! Flow control, over a socket that blocks: a Unix one under another name, which waits for its receiver.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use rondel_loop::{run, yield_now};

use super::*;
use crate::error::WriteError;
use crate::udp::socket::UdpSocket;

#[derive(Default)]
struct Noting(Vec<&'static str>);

impl DatagramProtocol for Noting {
    fn pause_writing(&mut self, transport: &DatagramTransport) {
        assert!(transport.buffered() > transport.write_buffer_limits().1);
        self.0.push("pause");
    }

    fn resume_writing(&mut self, transport: &DatagramTransport) {
        assert!(transport.buffered() <= transport.write_buffer_limits().0);
        self.0.push("resume");
    }

    fn connection_lost(&mut self, _: &DatagramTransport, error: Option<io::Error>) {
        assert!(error.is_none());
        self.0.push("lost");
    }
}

/// An endpoint, whose socket takes nothing until its receiver has received.
async fn blocked() -> (
    DatagramTransport,
    DatagramProtocolRef<Noting>,
    UnixDatagram,
    u32,
) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let socket = std::net::UdpSocket::from(OwnedFd::from(ours));
    let socket = UdpSocket::from_std(socket).unwrap();
    let mut sent = 0u32;
    while socket.try_send(&sent.to_be_bytes()).is_ok() {
        sent += 1;
    }
    let remote = Some(([127, 0, 0, 1], 1).into());
    let core = Core::new(socket.into_registration(), remote, true);
    let protocol = attach(&core, Noting::default());
    yield_now().await;
    (protocol.transport().clone(), protocol, theirs, sent)
}

fn noted(protocol: &DatagramProtocolRef<Noting>) -> Vec<&'static str> {
    protocol
        .with(|noting, _| std::mem::take(&mut noting.0))
        .unwrap()
}

/// Receives so many, which have to be numbered from `from` on.
async fn receive(theirs: &UnixDatagram, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let mut buffer = [0; 2000];
        loop {
            match theirs.recv(&mut buffer) {
                Ok(count) => {
                    assert_eq!(buffer[..4], number.to_be_bytes(), "of {count} bytes");
                    break;
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            yield_now().await;
        }
    }
}

fn message(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

#[test]
fn what_does_not_go_out_is_kept_in_order_and_pauses_the_protocol_once() {
    run(async {
        let (transport, protocol, theirs, sent) = blocked().await;
        transport.set_write_buffer_limits(1000, 300).unwrap();
        let mut number = sent;
        let mut paused_at = None;
        while number < sent + 100 {
            let pause = transport.send(&message(number, 92)).unwrap();
            number += 1;
            if pause {
                paused_at.get_or_insert(number - sent);
            }
            yield_now().await;
        }
        assert_eq!(paused_at, Some(11), "11 of 92 and 8 bytes are above 1000");
        assert_eq!(transport.buffered(), 100 * 100);
        assert_eq!(noted(&protocol), ["pause"]);
        receive(&theirs, 0..number).await;
        for _ in 0..3 {
            yield_now().await;
        }
        assert_eq!(noted(&protocol), ["resume"]);
        assert_eq!(transport.buffered(), 0);
        assert!(!transport.send(&message(number, 4)).unwrap());
        receive(&theirs, number..number + 1).await;
        assert_eq!(noted(&protocol), [""; 0]);
        transport.abort();
        transport.wait_closed().await;
    })
    .unwrap();
}

#[test]
fn closing_sends_what_is_queued_first_and_accepts_nothing_more() {
    run(async {
        let (transport, protocol, theirs, sent) = blocked().await;
        for number in sent..sent + 50 {
            transport.send(&message(number, 1000)).unwrap();
        }
        transport.close();
        assert!(matches!(transport.send(b"late"), Err(WriteError::Closed)));
        for _ in 0..5 {
            yield_now().await;
        }
        assert_eq!(noted(&protocol), [""; 0]);
        receive(&theirs, 0..sent + 50).await;
        transport.wait_closed().await;
        assert_eq!(noted(&protocol), ["lost"]);
        assert_eq!(
            theirs.recv(&mut [0; 4]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert!(theirs.send(b"x").is_err(), "the descriptor is closed");
    })
    .unwrap();
}

#[test]
fn aborting_drops_what_is_queued() {
    run(async {
        let (transport, protocol, theirs, sent) = blocked().await;
        transport.send(&message(sent, 100_000)).unwrap();
        transport.close();
        transport.abort();
        assert_eq!(transport.buffered(), 0);
        transport.wait_closed().await;
        assert_eq!(noted(&protocol), ["lost"]);
        receive(&theirs, 0..sent).await;
        assert!(theirs.recv(&mut [0; 4]).is_err());
    })
    .unwrap();
}
