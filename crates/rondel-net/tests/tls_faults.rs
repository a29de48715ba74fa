//! TLS with somebody in the middle who cuts, resets, spoils and dawdles; and cancelled wherever it waits.

mod authority;
mod cancel;
mod pair;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use authority::Authority;
use cancel::cancel_at;
use pair::{Peer, pair, pattern, reset};
use proptest::prelude::*;
use rondel_loop::{LocalLoop, run, sleep, spawn, timeout, yield_now};
use rondel_net::tls::{ClientTls, ServerTls};
use rondel_net::{ConnectOptions, ServerOptions, StreamReader, StreamWriter, TcpStream};
use socket2::SockRef;

const HOUR: Duration = Duration::from_secs(3600);
const LENGTH: usize = 3000;
/// More than a farewell takes on the wire, and less than what goes before it.
const FAREWELL: usize = 40;

/// The tests of this file run one at a time: descriptors belong to the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn counts() -> (usize, usize) {
    (
        std::fs::read_dir("/proc/self/fd").unwrap().count(),
        LocalLoop::current().unwrap().tasks().len(),
    )
}

async fn nothing_more_than(before: (usize, usize)) {
    timeout(HOUR, async {
        while counts() != before {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Both connections are reset.
    Reset,
    /// The receiver is told of an end.
    End,
    /// What follows arrives changed, and then an end.
    Spoil,
}

#[derive(Clone, Copy)]
struct Plan {
    step: usize,
    fault: Option<(usize, Fault)>,
}

const FAITHFUL: Plan = Plan {
    step: 4096,
    fault: None,
};

/// Carries bytes one way as planned.
fn carry(mut from: Peer, mut to: Peer, plan: Plan, broken: &AtomicBool, carried: &AtomicUsize) {
    let mut buffer = vec![0; plan.step];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let done = carried.load(Ordering::Relaxed);
        if let Some((at, fault)) = plan.fault
            && done + count > at
        {
            let _ = to.write_all(&buffer[..at - done]);
            match fault {
                Fault::Reset => {
                    broken.store(true, Ordering::Relaxed);
                    // Wakes the other way, and tells the ends nothing.
                    let _ = from.shutdown(Shutdown::Read);
                    let _ = to.shutdown(Shutdown::Read);
                    reset(from);
                    reset(to);
                }
                Fault::Spoil => {
                    let rest = &mut buffer[at - done..count];
                    rest.iter_mut().for_each(|byte| *byte ^= 0x5a);
                    let _ = to.write_all(rest);
                    let _ = to.shutdown(Shutdown::Write);
                }
                Fault::End => {
                    let _ = to.shutdown(Shutdown::Write);
                }
            }
            return;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        carried.store(done + count, Ordering::Relaxed);
    }
    if !broken.load(Ordering::Relaxed) {
        let _ = to.shutdown(Shutdown::Write);
    }
}

struct Middle {
    client: TcpStream,
    server: TcpStream,
    carried: [Arc<AtomicUsize>; 2],
    threads: Vec<JoinHandle<()>>,
}

/// Two ends of ours with somebody in the middle; the first plan is for what the client sends.
fn middle(plans: [Plan; 2]) -> Middle {
    let ((client, near), (server, far)) = (pair(), pair());
    let broken = Arc::new(AtomicBool::new(false));
    let carried: [Arc<AtomicUsize>; 2] = Default::default();
    let ends = [
        (near.try_clone().unwrap(), far.try_clone().unwrap()),
        (far, near),
    ];
    let threads = ends.into_iter().zip(plans).zip(&carried);
    let threads = threads
        .map(|(((from, to), plan), carried)| {
            let (broken, carried) = (Arc::clone(&broken), Arc::clone(carried));
            std::thread::spawn(move || carry(from, to, plan, &broken, &carried))
        })
        .collect();
    Middle {
        client,
        server,
        carried,
        threads,
    }
}

/// Says everything, says farewell and listens to the end: whether it heard everything. Never half of it as if it were whole.
async fn exchange(streams: std::io::Result<(StreamReader, StreamWriter)>) -> bool {
    let Ok((mut reader, writer)) = streams else {
        return false;
    };
    let _ = writer.write_all(&pattern(0, LENGTH)).await;
    let _ = writer.write_eof();
    let heard = reader.read_to_end(1 << 20).await;
    let Ok(heard) = heard else {
        writer.abort();
        return false;
    };
    if heard.is_empty() {
        // The peer has given up in the handshake, said nothing, and said farewell.
        writer.abort();
        return false;
    }
    assert!(heard == pattern(0, LENGTH), "{} bytes", heard.len());
    // A reset could overtake what the one in the middle has not taken yet.
    writer.close();
    let _ = writer.wait_closed().await;
    true
}

/// Who of client and server heard everything, and how much was carried each way.
async fn dialogue(
    client_tls: &ClientTls,
    server_tls: &ServerTls,
    plans: [Plan; 2],
) -> ([bool; 2], [usize; 2]) {
    let Middle {
        client,
        server,
        carried,
        threads,
    } = middle(plans);
    let server_tls = server_tls.clone();
    let server = spawn(async move {
        let (reader, writer) = server.into_split();
        exchange(server_tls.start(reader, writer).await).await
    });
    let (reader, writer) = client.into_split();
    let client = exchange(client_tls.start(reader, writer, "localhost").await).await;
    let heard = [client, server.await.unwrap()];
    rondel_loop::to_thread(move || {
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap())
    })
    .await
    .unwrap();
    (heard, carried.map(|count| count.load(Ordering::Relaxed)))
}

#[test]
fn byte_by_byte_everything_arrives() {
    let _alone = alone();
    run(async {
        let authority = Authority::new();
        let plan = Plan {
            step: 1,
            fault: None,
        };
        let (heard, _) = dialogue(&authority.client(), &authority.server(), [plan; 2]).await;
        assert_eq!(heard, [true; 2]);
    })
    .unwrap();
}

fn broken_off(fault: Fault) {
    let _alone = alone();
    run(async {
        let authority = Authority::new();
        let server = authority.server();
        // A client of its own each time: none resumes, so all dialogues are equally long.
        let client = || authority.client();
        let (heard, carried) = dialogue(&client(), &server, [FAITHFUL; 2]).await;
        assert_eq!(heard, [true; 2]);
        let before = counts();
        for way in 0..2 {
            for at in (0..carried[way] - FAREWELL).step_by(53) {
                let mut plans = [FAITHFUL; 2];
                plans[way].fault = Some((at, fault));
                let (heard, _) = dialogue(&client(), &server, plans).await;
                assert!(!heard[1 - way], "{fault:?} at {at}, way {way}");
            }
        }
        nothing_more_than(before).await;
        let (heard, _) = dialogue(&client(), &server, [FAITHFUL; 2]).await;
        assert_eq!(heard, [true; 2], "others are not disturbed");
    })
    .unwrap();
}

#[test]
fn reset_at_any_point_an_end_never_takes_half_for_the_whole() {
    broken_off(Fault::Reset);
}

#[test]
fn ended_at_any_point_an_end_never_takes_half_for_the_whole() {
    broken_off(Fault::End);
}

#[test]
fn spoilt_at_any_point_an_end_never_takes_half_for_the_whole() {
    broken_off(Fault::Spoil);
}

#[test]
fn cancelled_wherever_a_client_waits_nothing_is_left_and_others_go_on() {
    let _alone = alone();
    run(async {
        let authority = Authority::new();
        let server = ServerOptions::new()
            .tls(authority.server())
            .serve(
                async |mut reader: StreamReader, writer: StreamWriter| {
                    loop {
                        let data = reader.read_some(4096).await?;
                        if data.is_empty() {
                            return std::io::Result::Ok(());
                        }
                        writer.write_all(&data).await?;
                    }
                },
                "127.0.0.1:0",
            )
            .await
            .unwrap();
        let options = ConnectOptions::new().tls(authority.client());
        let target = ("localhost", server.local_addrs()[0].port());
        let (mut other_in, other_out) = options.open_connection(target).await.unwrap();
        let before = counts();
        for left in 0.. {
            let whole = cancel_at(left, async {
                let (mut reader, writer) = options.open_connection(target).await.unwrap();
                writer.set_hard_limit(1 << 24);
                let all = pattern(0, 100_000);
                writer.write_all(&all).await.unwrap();
                let mut heard = vec![0; all.len()];
                reader.read_exact(&mut heard).await.unwrap();
                assert!(heard == all);
                writer.close();
                writer.wait_closed().await.unwrap();
            })
            .await;
            other_out.write_all(b"still here\n").await.unwrap();
            assert_eq!(other_in.read_line().await.unwrap(), b"still here\n");
            if whole.is_some() {
                assert!(left > 3, "it waits for several things");
                break;
            }
        }
        nothing_more_than(before).await;
        drop((other_in, other_out));
        assert!(server.shutdown(HOUR).await.is_clean());
    })
    .unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    WriteAll(usize),
    Flush,
    Yield(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..40_000usize).prop_map(Step::Write),
        (0..80_000usize).prop_map(Step::WriteAll),
        Just(Step::Flush),
        (1..9usize).prop_map(Step::Yield),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn however_it_is_written_and_read_the_peer_sees_every_byte_once(
        steps in prop::collection::vec(step(), 1..12),
        reads in prop::collection::vec((500..30_000usize, 0..6usize), 1..6),
        closes in any::<bool>(),
    ) {
        let _alone = alone();
        run(async {
            let authority = Authority::new();
            let (ours, peer) = pair();
            // So small that sends are cut short.
            ours.with_fd(|fd| SockRef::from(&fd).set_send_buffer_size(8192)).unwrap();
            let (client_in, client_out) = ours.into_split();
            let (server_in, server_out) = TcpStream::from_std(peer).unwrap().into_split();
            let server_tls = authority.server();
            let heard = spawn(async move {
                let (mut reader, writer) = server_tls.start(server_in, server_out).await.unwrap();
                let mut heard = Vec::new();
                for (most, pause) in reads.into_iter().cycle() {
                    let data = reader.read_some(most).await.unwrap();
                    if data.is_empty() {
                        break;
                    }
                    heard.extend_from_slice(&data);
                    for _ in 0..pause {
                        yield_now().await;
                    }
                }
                drop(writer);
                heard
            });
            let client = authority.client();
            let (_reader, writer) = client.start(client_in, client_out, "localhost").await.unwrap();
            writer.set_hard_limit(1 << 24);
            let mut written = 0;
            for step in steps {
                match step {
                    Step::Write(count) => {
                        writer.write(&pattern(written, count)).unwrap();
                        written += count;
                    }
                    Step::WriteAll(count) => {
                        writer.write_all(&pattern(written, count)).await.unwrap();
                        written += count;
                    }
                    Step::Flush => writer.flush().await.unwrap(),
                    Step::Yield(count) => {
                        for _ in 0..count {
                            yield_now().await;
                        }
                    }
                }
            }
            if closes {
                writer.close();
            } else {
                writer.write_eof().unwrap();
            }
            assert!(heard.await.unwrap() == pattern(0, written));
        })
        .unwrap();
    }
}
