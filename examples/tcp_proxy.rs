//! A TCP proxy that is never fuller than one piece: a receiver that does not read holds up the sender, through two connections.
//!
//! The receiver sleeps until the sender is stuck, then reads everything; counters show where the bytes were.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::net::ServerOptions;
use rondel::prelude::*;
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::rc::Rc;

/// More than the system's buffers hold, on all the way.
const TOTAL: usize = 128 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// What has passed the proxy, and the most that was in it.
#[derive(Default)]
struct Passed {
    arrived: Cell<usize>,
    left: Cell<usize>,
    most: Cell<usize>,
}

/// Hands on what arrives, no faster than it is taken, and the end behind it.
async fn pipe(mut from: StreamReader, to: StreamWriter, passed: &Passed) -> io::Result<()> {
    loop {
        let piece = from.read_some(PIECE).await?;
        if piece.is_empty() {
            to.write_eof()?;
            return Ok(());
        }
        passed.arrived.set(passed.arrived.get() + piece.len());
        let inside = passed.arrived.get() - passed.left.get();
        passed.most.set(passed.most.get().max(inside));
        // Gives way until the system has taken all of it: only then is more read.
        to.write_all(&piece).await?;
        passed.left.set(passed.left.get() + piece.len());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        // The receiver: it waits for a word before it reads.
        let woken = Rc::new(rondel::sync::Event::new());
        let received = Rc::new(Cell::new(0));
        let (awake, count) = (Rc::clone(&woken), Rc::clone(&received));
        let receiver = start_server(
            async move |mut reader: StreamReader, _writer| {
                awake.wait().await;
                loop {
                    match reader.receive(<[u8]>::len).await? {
                        0 => return io::Result::Ok(()),
                        more => count.set(count.get() + more),
                    }
                }
            },
            "127.0.0.1:0",
        )
        .await?;

        let target = receiver.local_addrs()[0];
        let passed = Rc::new(Passed::default());
        let counted = Rc::clone(&passed);
        let proxy = ServerOptions::new()
            .limit(PIECE)
            .serve(
                async move |from_client, to_client| {
                    let (from_target, to_target) = open_connection(target).await?;
                    let unseen = Passed::default();
                    let there = pipe(from_client, to_target, &counted);
                    let back = pipe(from_target, to_client, &unseen);
                    let (there, back) = gather((there, back)).await;
                    there.and(back)
                },
                "127.0.0.1:0",
            )
            .await?;

        // The sender writes as fast as it may.
        let (mut answers, writer) = open_connection(proxy.local_addrs()[0]).await?;
        let sent = Rc::new(Cell::new(0));
        let progress = Rc::clone(&sent);
        let sender = spawn(async move {
            let piece = vec![7; PIECE];
            while progress.get() < TOTAL {
                writer.write_all(&piece).await?;
                progress.set(progress.get() + PIECE);
            }
            writer.write_eof()?;
            io::Result::Ok(writer)
        });

        // Stuck when nothing has moved for a while.
        let (mut before, mut still) = (usize::MAX, 0);
        while still < 10 {
            sleep(Duration::from_millis(10)).await;
            still = if sent.get() == before { still + 1 } else { 0 };
            before = sent.get();
        }
        println!(
            "the receiver sleeps, the sender is held up: {}",
            sent.get() < TOTAL
        );
        println!("received so far: {}", received.get());
        woken.set();
        let _writer = sender.await??;
        // The receiver ends, and the end comes back through the proxy.
        answers.read_to_end(0).await?;
        println!(
            "received in the end: {} MiB",
            received.get() / (1024 * 1024)
        );
        println!("in the proxy at most: {} KiB", passed.most.get() / 1024);
        let reports = gather((
            proxy.shutdown(Duration::from_secs(5)),
            receiver.shutdown(Duration::from_secs(5)),
        ))
        .await;
        println!(
            "ended by themselves: {}",
            reports.0.is_clean() && reports.1.is_clean()
        );
        Ok(())
    })?
}
