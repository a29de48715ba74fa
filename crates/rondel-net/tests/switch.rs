//! Protocols that are replaced, and connections that go from streams to protocols and back, without losing a byte.

mod pair;
mod recorder;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use pair::*;
use recorder::*;
use rondel_loop::{run, spawn, yield_now};
use rondel_net::{
    BufferedProtocol, Protocol, StreamReader, StreamWriter, Transport, create_connection,
    create_server,
};

fn in_loop<F: Future>(main: F) -> F::Output {
    run(main).unwrap()
}

#[test]
fn the_next_protocol_gets_what_comes_next_and_neither_is_told_of_the_switch() {
    in_loop(async {
        let (first, second) = (Log::default(), Log::default());
        let (ours, mut peer) = pair();
        let (transport, old) = ours.into_transport(Recorder::new(&first));
        peer.write_all(b"one").unwrap();
        until(|| first.data() == b"one").await;
        let new = transport.replace_protocol(Recorder::new(&second));
        assert!(new.with(|_, transport| transport.is_reading()).unwrap());
        peer.write_all(b"two").unwrap();
        drop(peer);
        transport.wait_closed().await.unwrap();
        assert_eq!(first.events(), [Event::Made, Event::Data(b"one".to_vec())]);
        assert_eq!(
            second.events(),
            [Event::Data(b"two".to_vec()), Event::End, Event::Lost(None)]
        );
        assert!(old.with(|_, _| ()).is_ok(), "it can still be looked at");
    });
}

#[test]
fn every_method_may_replace_its_protocol() {
    in_loop(async {
        for method in METHODS {
            let (first, second) = (Log::default(), Log::default());
            let (ours, peer) = narrow_pair();
            let next = second.clone();
            let recorder = Recorder::acting(&first, move |transport, event| {
                if event.method() == method {
                    transport.replace_protocol(Recorder::new(&next).half_open());
                }
            });
            let (transport, _) = ours.into_transport(recorder.half_open());
            transport.set_write_buffer_limits(1000, 10).unwrap();
            let peer = feed(peer, b"request".to_vec()).await;
            until(|| first.has_method(Method::Data) || second.has_method(Method::Data)).await;
            transport.write(&pattern(0, 1 << 20)).unwrap();
            until(|| first.has(&Event::Pause) || second.has(&Event::Pause)).await;
            let reading = spawn(async move {
                peer.shutdown(Shutdown::Write).unwrap();
                drain_peer(peer).await
            });
            until(|| transport.buffered() == 0).await;
            until(|| first.has(&Event::End) || second.has(&Event::End)).await;
            turns().await;
            transport.close();
            assert_eq!(reading.await.unwrap().unwrap(), pattern(0, 1 << 20));
            until(|| first.is_lost() || second.is_lost()).await;

            // Each call was made to one of them; nothing follows the switch at the first, and nothing is lost.
            let all = [first.events(), second.events()].concat();
            let count = |m| all.iter().filter(|e| e.method() == m).count();
            for once in [Method::Made, Method::Data, Method::End, Method::Lost] {
                assert_eq!(count(once), 1, "{method:?}: {all:?}");
            }
            assert_eq!(first.events().last().unwrap().method(), method);
            assert_eq!(second.is_lost(), method != Method::Lost);
        }
    });
}

#[test]
fn the_next_protocol_learns_that_it_should_not_write() {
    in_loop(async {
        let (first, second) = (Log::default(), Log::default());
        let (ours, _peer) = narrow_pair();
        let (transport, _) = ours.into_transport(Recorder::new(&first));
        transport.set_write_buffer_limits(1000, 10).unwrap();
        transport.write(&pattern(0, 1 << 20)).unwrap();
        until(|| first.has(&Event::Pause)).await;
        transport.replace_protocol(Recorder::new(&second));
        until(|| second.has(&Event::Pause)).await;
        transport.abort();
        until(|| second.is_lost()).await;
        assert_eq!(second.events(), [Event::Pause, Event::Lost(None)]);
        assert!(!first.is_lost());
    });
}

#[test]
fn after_the_loss_a_replacement_is_never_called() {
    in_loop(async {
        let (first, second) = (Log::default(), Log::default());
        let (ours, peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::new(&first));
        drop(peer);
        transport.wait_closed().await.unwrap();
        let new = transport.replace_protocol(Recorder::new(&second));
        turns().await;
        assert!(new.with(|_, _| ()).is_ok());
        assert_eq!(second.events(), []);
        let error = transport.into_streams(b"").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    });
}

#[test]
fn one_that_is_replaced_and_panics_takes_the_connection_with_it() {
    in_loop(async {
        let told = Rc::new(RefCell::new(0));
        let count = Rc::clone(&told);
        rondel_loop::LocalLoop::current()
            .unwrap()
            .set_exception_handler(Some(Rc::new(move |_, _| *count.borrow_mut() += 1)));
        let (first, second) = (Log::default(), Log::default());
        let next = second.clone();
        let (ours, mut peer) = pair();
        let recorder = Recorder::acting(&first, move |transport, event| {
            if let Event::Data(_) = event {
                transport.replace_protocol(Recorder::new(&next));
                panic!("with half of the data handed over");
            }
        });
        let (transport, _) = ours.into_transport(recorder);
        peer.write_all(b"data").unwrap();
        until(|| second.is_lost()).await;
        assert!(transport.is_closing());
        assert_eq!(second.events().len(), 1);
        assert!(!first.is_lost());
        assert_eq!(*told.borrow(), 1);
    });
}

#[test]
fn what_a_reader_holds_is_the_first_that_a_protocol_gets() {
    in_loop(async {
        let (mut reader, writer, mut peer) = split_pair();
        let bytes = pattern(0, 100_000);
        peer.write_all(b"line\n").unwrap();
        peer.write_all(&bytes).unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"line\n");
        let log = Log::default();
        let (transport, _) = writer
            .into_transport(reader, Recorder::new(&log))
            .map_err(|_| ())
            .unwrap();
        assert_eq!(log.events(), [], "at the next turn");
        until(|| log.data().len() == bytes.len()).await;
        assert_eq!(log.data(), bytes);
        peer.write_all(b" and on").unwrap();
        drop(peer);
        transport.wait_closed().await.unwrap();
        assert!(log.data().ends_with(b" and on"));
        log.assert_contract();
    });
}

#[test]
fn an_end_that_the_reader_has_seen_is_told_to_the_protocol() {
    in_loop(async {
        let (mut reader, writer, mut peer) = split_pair();
        peer.write_all(b"all").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        reader.read_until(b"?").await.unwrap_err();
        assert!(reader.at_eof(), "taken out with the error");
        let log = Log::default();
        let (transport, _) = writer
            .into_transport(reader, Recorder::new(&log))
            .map_err(|_| ())
            .unwrap();
        transport.wait_closed().await.unwrap();
        assert_eq!(log.events(), [Event::Made, Event::End, Event::Lost(None)]);
    });
}

#[test]
fn what_is_held_is_handed_over_in_front_of_the_end() {
    in_loop(async {
        let (mut reader, writer, mut peer) = split_pair();
        peer.write_all(b"a line\nheld").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"a line\n");
        assert_eq!(reader.buffer(), b"held");
        let log = Log::default();
        let (transport, _) = writer
            .into_transport(reader, Recorder::new(&log))
            .map_err(|_| ())
            .unwrap();
        transport.wait_closed().await.unwrap();
        assert_eq!(
            log.events(),
            [
                Event::Made,
                Event::Data(b"held".to_vec()),
                Event::End,
                Event::Lost(None)
            ]
        );
    });
}

#[test]
fn what_a_writer_has_queued_is_sent_by_the_transport() {
    in_loop(async {
        let (reader, writer, peer) = narrow_split_pair();
        let written = fill(&writer);
        let log = Log::default();
        let (transport, _) = writer
            .into_transport(reader, Recorder::new(&log))
            .map_err(|_| ())
            .unwrap();
        assert!(transport.buffered() > 0);
        transport.write(&pattern(written, 10)).unwrap();
        transport.close();
        let received = drain_peer(peer).await.unwrap();
        assert_eq!(received, pattern(0, written + 10));
        until(|| log.is_lost()).await;
        log.assert_contract();
    });
}

#[test]
fn halves_of_two_connections_come_back() {
    in_loop(async {
        let (reader, _writer, _peer) = split_pair();
        let (_reader, writer, _other) = split_pair();
        let log = Log::default();
        let error = writer
            .into_transport(reader, Recorder::new(&log))
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains("two connections"));
        assert!(error.reader.peer_addr() != error.writer.peer_addr());
        error.writer.write_all(b"alive").await.unwrap();
        turns().await;
        assert_eq!(log.events(), []);
    });
}

type Streams = Rc<RefCell<Option<(StreamReader, StreamWriter)>>>;

#[test]
fn a_protocol_hands_the_connection_and_the_rest_of_its_data_to_streams() {
    in_loop(async {
        let log = Log::default();
        let streams = Streams::default();
        let place = Rc::clone(&streams);
        let (ours, mut peer) = pair();
        let recorder = Recorder::acting(&log, move |transport, event| {
            if let Event::Data(data) = event {
                let end = data.iter().position(|&byte| byte == b'\n').unwrap() + 1;
                transport.write(b"to streams\n").unwrap();
                let pair = transport.clone().into_streams(&data[end..]).unwrap();
                place.replace(Some(pair));
            }
        });
        let (transport, protocol) = ours.into_transport(recorder);
        peer.write_all(b"first\nsecond\nthi").unwrap();
        until(|| streams.borrow().is_some()).await;
        let (mut reader, writer) = streams.take().unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"second\n");
        peer.write_all(b"rd\n").unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"third\n");
        writer.write_all(b"from streams\n").await.unwrap();
        transport.write(b"and from the transport\n").unwrap();
        writer.close();
        writer.wait_closed().await.unwrap();
        let mut received = String::new();
        peer.read_to_string(&mut received).unwrap();
        assert_eq!(
            received,
            "to streams\nfrom streams\nand from the transport\n"
        );
        // It was told nothing of all this.
        assert_eq!(log.events().len(), 2);
        assert!(protocol.with(|_, _| ()).is_ok());
    });
}

#[test]
fn streams_that_came_from_a_transport_close_when_they_are_dropped() {
    in_loop(async {
        let log = Log::default();
        let (ours, peer) = pair();
        let (transport, _) = ours.into_transport(Recorder::new(&log));
        turns().await;
        drop(transport.clone().into_streams(b"").unwrap());
        assert_eq!(drain_peer(peer).await.unwrap(), b"");
        turns().await;
        assert_eq!(log.events(), [Event::Made]);
        assert!(transport.is_closing());
    });
}

#[test]
fn what_is_queued_is_sent_though_the_protocol_is_gone() {
    in_loop(async {
        let (ours, peer) = narrow_pair();
        let (transport, _) = ours.into_transport(Recorder::new(&Log::default()));
        turns().await;
        transport.write(&pattern(0, 1 << 20)).unwrap();
        let (_reader, writer) = transport.into_streams(b"").unwrap();
        let reading = spawn(drain_peer(peer));
        writer.flush().await.unwrap();
        writer.close();
        assert_eq!(reading.await.unwrap().unwrap(), pattern(0, 1 << 20));
    });
}

#[test]
fn to_and_fro_no_byte_is_lost_or_told_twice() {
    /// Takes a few bytes, then gives the connection back.
    struct Taste {
        taken: Rc<RefCell<Vec<u8>>>,
        streams: Streams,
    }
    impl Protocol for Taste {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            let count = data.len().min(37);
            self.taken.borrow_mut().extend_from_slice(&data[..count]);
            let pair = transport.clone().into_streams(&data[count..]).unwrap();
            self.streams.replace(Some(pair));
        }
        fn eof_received(&mut self, transport: &Transport) -> bool {
            let pair = transport.clone().into_streams(b"").unwrap();
            self.streams.replace(Some(pair));
            true
        }
    }

    in_loop(async {
        let bytes = pattern(0, 50_000);
        let (mut reader, mut writer, peer) = split_pair();
        let feeding = spawn(feed(peer, bytes.clone()));
        let taken = Rc::new(RefCell::new(Vec::new()));
        while taken.borrow().len() < bytes.len() {
            let streams = Streams::default();
            let taste = Taste {
                taken: Rc::clone(&taken),
                streams: Rc::clone(&streams),
            };
            writer
                .into_transport(reader, taste)
                .map_err(|_| ())
                .unwrap();
            until(|| streams.borrow().is_some()).await;
            (reader, writer) = streams.take().unwrap();
            if taken.borrow().len() < bytes.len() {
                let some = reader.read_some(11).await.unwrap();
                taken.borrow_mut().extend(some);
            }
            yield_now().await;
        }
        assert_eq!(*taken.borrow(), bytes);
        feeding.await.unwrap();
    });
}

#[test]
fn a_connection_may_be_handed_to_streams_as_soon_as_it_is_made() {
    in_loop(async {
        let streams = Streams::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Rc::clone(&streams);
        let recorder = Recorder::acting(&Log::default(), move |transport, _| {
            place.replace(Some(transport.clone().into_streams(b"").unwrap()));
        });
        let addr = listener.local_addr().unwrap();
        create_connection(|| recorder, addr).await.unwrap();
        let (mut reader, writer) = streams.take().unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"still open\n").unwrap();
        assert_eq!(reader.read_line().await.unwrap(), b"still open\n");
        writer.write_all(b"both ways").await.unwrap();
        peer.read_exact(&mut [0; 9]).unwrap();

        let place = Rc::clone(&streams);
        let factory = move || {
            let place = Rc::clone(&place);
            Recorder::acting(&Log::default(), move |transport, _| {
                place.replace(Some(transport.clone().into_streams(b"").unwrap()));
            })
        };
        let server = create_server(factory, "127.0.0.1:0").await.unwrap();
        let mut peer = Peer::connect(server.local_addrs()[0]).unwrap();
        until(|| streams.borrow().is_some()).await;
        turns().await;
        assert_eq!(server.connections(), 1);
        let (_reader, writer) = streams.take().unwrap();
        writer.write_all(b"accepted").await.unwrap();
        peer.read_exact(&mut [0; 8]).unwrap();
    });
}

#[test]
fn one_that_panics_when_it_is_replaced_strands_no_bytes() {
    struct Sharp(Log);
    impl Protocol for Sharp {
        fn data_received(&mut self, transport: &Transport, _: &[u8]) {
            // Half of what is there is left to be received.
            transport.replace_protocol(Recorder::new(&self.0));
        }
    }
    impl BufferedProtocol for SharpBuffered {
        fn get_buffer(&mut self, _: usize) -> &mut [u8] {
            &mut self.buffer
        }
        fn buffer_updated(&mut self, transport: &Transport, _: usize) {
            transport.replace_protocol(Sharp(self.log.clone()));
        }
    }
    struct SharpBuffered {
        buffer: [u8; 2],
        log: Log,
    }
    impl Drop for SharpBuffered {
        fn drop(&mut self) {
            panic!("replaced");
        }
    }

    in_loop(async {
        let told = Rc::new(RefCell::new(0));
        let count = Rc::clone(&told);
        rondel_loop::LocalLoop::current()
            .unwrap()
            .set_exception_handler(Some(Rc::new(move |_, _| *count.borrow_mut() += 1)));
        let log = Log::default();
        let (ours, mut peer) = pair();
        let (transport, protocol) = ours.into_transport(SharpBuffered {
            buffer: [0; 2],
            log: log.clone(),
        });
        drop(protocol);
        transport.pause_reading();
        peer.write_all(b"two and the rest").unwrap();
        // What the system says of it has been heard by then, and is not said again.
        turns().await;
        transport.resume_reading();
        until(|| *told.borrow() == 1).await;
        // The next one, a plain protocol, gets the rest in one piece, and hands over to the last.
        turns().await;
        peer.write_all(b"last").unwrap();
        until(|| log.data() == b"last").await;
    });
}
