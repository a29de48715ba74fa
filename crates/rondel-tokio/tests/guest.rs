//! rondel's loop inside of tokio's thread: each of the ways in which it is woken, and how it ends.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rondel_loop::{LocalLoop, RunError, sleep, spawn, to_thread, yield_now};
use rondel_net::{TcpListener, TcpStream, start_server};
use rondel_sync::{Event, Queue};
use rondel_tokio::{HostError, TokioIo, TokioThread};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn hosted<T>(main: impl Future<Output = T> + 'static) -> T {
    rondel_tokio::run(main).unwrap()
}

#[test]
fn timers_of_both_are_kept() {
    let begun = Instant::now();
    hosted(async {
        let ours = spawn(sleep(Duration::from_millis(30)));
        tokio::time::sleep(Duration::from_millis(20)).await;
        ours.await.unwrap();
        // One that is armed while nothing else happens.
        sleep(Duration::from_millis(5)).await;
    });
    assert!(begun.elapsed() >= Duration::from_millis(35));
}

/// tokio's reactor wakes a task of rondel's between turns: on the same thread, by the guest hook.
#[test]
fn each_awaits_what_the_other_brings() {
    hosted(async {
        // A rondel server, a tokio client in tokio's task, joined by a rondel task.
        let server = start_server(
            async |mut reader: rondel_net::StreamReader, writer: rondel_net::StreamWriter| {
                loop {
                    let line = reader.read_line().await?;
                    if line.is_empty() {
                        return Ok::<(), std::io::Error>(());
                    }
                    writer.write_all(&line.to_ascii_uppercase()).await?;
                }
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let address = server.local_addrs()[0];
        let clients = (0..20).map(|number| {
            tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                for round in 0..50 {
                    let line = format!("client {number} round {round}\n");
                    stream.write_all(line.as_bytes()).await.unwrap();
                    let mut answer = vec![0; line.len()];
                    stream.read_exact(&mut answer).await.unwrap();
                    assert_eq!(answer, line.to_uppercase().as_bytes());
                }
            })
        });
        for ended in join_all(clients.collect::<Vec<_>>()).await {
            ended.unwrap();
        }
        // And in rondel's own tasks, with tokio's socket.
        let ours = (0..20).map(|_| {
            spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                for _ in 0..50 {
                    stream.write_all(b"ping\n").await.unwrap();
                    let mut answer = [0; 5];
                    stream.read_exact(&mut answer).await.unwrap();
                    assert_eq!(&answer, b"PING\n");
                }
            })
        });
        for ended in join_all(ours.collect::<Vec<_>>()).await {
            ended.unwrap();
        }
    });
}

#[test]
fn other_threads_are_heard() {
    hosted(async {
        let handle = LocalLoop::current().unwrap().handle();
        let event = Rc::new(Event::new());
        let set = Rc::new(Cell::new(false));
        assert_eq!(to_thread(|| 6 * 7).await.unwrap(), 42);
        let seen = Rc::clone(&set);
        let waiting = spawn(async move {
            event.wait().await;
            seen.set(true);
        });
        let remote = std::thread::spawn(move || {
            let answer = handle.spawn(async { 7 }).unwrap();
            answer.result(Some(Duration::from_secs(20))).unwrap()
        });
        // Joined by the pool, so that the loop's thread is free to answer.
        assert_eq!(to_thread(move || remote.join().unwrap()).await.unwrap(), 7);
        assert!(!set.get());
        waiting.cancel();
    });
}

/// A task of rondel's that never rests leaves tokio its turns, and the other way round.
#[test]
fn neither_starves_the_other() {
    hosted(async {
        let restless = spawn(async {
            loop {
                yield_now().await;
            }
        });
        let theirs = tokio::spawn(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        });
        theirs.await.unwrap();
        restless.cancel();
        assert!(restless.await.is_err());

        let restless = tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let ours = spawn(async {
            for _ in 0..1000 {
                yield_now().await;
            }
            sleep(Duration::from_millis(2)).await;
        });
        ours.await.unwrap();
        restless.abort();
    });
}

/// tokio counts the operations of a task, and makes it wait after 128 of them; rondel's tasks are not one of its tasks.
#[test]
fn tokios_budget_is_not_one_for_all() {
    hosted(async {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..10_000 {
            sender.send(number).unwrap();
        }
        for expected in 0..10_000 {
            let received = std::future::poll_fn(|cx| receiver.poll_recv(cx));
            let received = futures_util::FutureExt::now_or_never(received);
            assert_eq!(received, Some(Some(expected)));
        }
    });
}

#[test]
fn local_tasks_of_tokios_are_there() {
    let count = hosted(async {
        let count = Rc::new(Cell::new(0));
        let theirs = tokio::task::spawn_local({
            let count = Rc::clone(&count);
            async move { count.set(count.get() + 1) }
        });
        theirs.await.unwrap();
        count.get()
    });
    assert_eq!(count, 1);
}

#[test]
fn a_runtime_that_is_there_can_be_host() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (ours, theirs) = runtime.block_on(async {
        let theirs = tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            2
        });
        let queue = Rc::new(Queue::new(1));
        let (ours, theirs) = tokio::join!(
            rondel_tokio::host({
                let queue = Rc::clone(&queue);
                async move { queue.get().await.unwrap() }
            }),
            async {
                // A wake from a task of tokio's on the same thread, while the loop sleeps.
                tokio::time::sleep(Duration::from_millis(1)).await;
                queue.put_nowait(1).unwrap();
                theirs.await
            }
        );
        (ours.unwrap(), theirs.unwrap())
    });
    assert_eq!((ours, theirs), (1, 2));
}

#[test]
fn tasks_that_are_left_are_cancelled_and_clean_up() {
    let cleaned = Rc::new(Cell::new(false));
    let seen = Rc::clone(&cleaned);
    hosted(async move {
        drop(spawn(clean_up_at_the_end(seen)));
        yield_now().await;
    });
    assert!(cleaned.get());
}

async fn clean_up_at_the_end(cleaned: Rc<Cell<bool>>) {
    let body = async |_: &mut Rc<Cell<bool>>| std::future::pending::<()>().await;
    rondel_executor::bracket(cleaned, body, async |cleaned| {
        // tokio is still there.
        tokio::time::sleep(Duration::from_millis(1)).await;
        cleaned.set(true);
    })
    .await;
}

#[test]
fn how_main_ends_is_told() {
    let panicked = rondel_tokio::run(async { panic!("on purpose") });
    let Err(HostError::Loop(RunError::Panicked(payload))) = panicked else {
        panic!("{panicked:?}");
    };
    assert_eq!(payload.message(), Some("on purpose"));
    let inside = rondel_loop::run(async { rondel_tokio::run(async {}) }).unwrap();
    assert!(matches!(
        inside,
        Err(HostError::Loop(RunError::OtherLoopRunning))
    ));
}

#[test]
fn dropping_the_host_closes_the_loop() {
    struct Dropped(Rc<Cell<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let dropped = Rc::new(Cell::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let inside = Dropped(Rc::clone(&dropped));
    let late = runtime.block_on(async {
        let hosting = rondel_tokio::host(async move {
            let _inside = inside;
            std::future::pending::<()>().await
        });
        tokio::time::timeout(Duration::from_millis(1), hosting).await
    });
    assert!(late.is_err());
    assert!(dropped.get());
}

#[test]
fn streams_are_tokios_without_any_tokio() {
    rondel_loop::run(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
        let here = TcpStream::connect(listener.local_addr()).await?;
        let (there, _) = listener.accept().await?;
        let echoing = spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(there));
            let count = tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await?;
            std::io::Result::Ok(count)
        });
        let message: Vec<u8> = (0..3_000_000).map(|at| (at % 251) as u8).collect();
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(here));
        let mut answer = Vec::new();
        let (said, heard) = futures_util::join!(
            async {
                writer.write_all(&message).await?;
                writer.shutdown().await
            },
            reader.read_to_end(&mut answer)
        );
        said?;
        heard?;
        assert!(answer == message);
        assert_eq!(echoing.await.unwrap()?, 3_000_000);
        std::io::Result::Ok(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn tokio_on_a_thread_of_its_own_is_found() {
    let tokio = TokioThread::start().unwrap();
    rondel_loop::run(async {
        let slept = tokio.enter(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::spawn(async { 5 }).await.unwrap()
        });
        assert_eq!(slept.await, 5);
        // Dropped half-way, it finds tokio, too: its timer is taken out of the wheel there.
        let never = spawn(tokio.enter(async {
            tokio::time::sleep(Duration::from_secs(1000)).await;
        }));
        yield_now().await;
        never.cancel();
        assert!(never.await.is_err());
    })
    .unwrap();
}
