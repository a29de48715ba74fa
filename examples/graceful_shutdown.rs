//! A server under load that shuts down: who was accepted gets the whole answer, who comes later is turned away.
//!
//! One client says nothing for ever; it is cut off when the time that was granted is over.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::net::SocketAddr;

const ANSWER: [u8; 10_000] = [b'.'; 10_000];

/// Answers a line, after some work.
async fn answer(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    if !reader.read_line().await?.is_empty() {
        sleep(Duration::from_millis(2)).await;
        writer.write_all(&ANSWER).await?;
    }
    Ok(())
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    whole: Cell<usize>,
    cut: Cell<usize>,
    turned_away: Cell<usize>,
}

/// Asks until it is turned away: not let in, or reset before the first byte of an answer.
async fn client(addr: SocketAddr, seen: &Seen) {
    loop {
        let mut heard = 0;
        let asked = ask(addr, &mut heard).await;
        let counter = match asked {
            Ok(()) if heard == ANSWER.len() => &seen.whole,
            _ if heard == 0 => &seen.turned_away,
            _ => &seen.cut,
        };
        counter.set(counter.get() + 1);
        if asked.is_err() || heard == 0 {
            return;
        }
    }
}

async fn ask(addr: SocketAddr, heard: &mut usize) -> io::Result<()> {
    let (mut reader, writer) = open_connection(addr).await?;
    writer.write_all(b"a question\n").await?;
    loop {
        match reader.read_some(4096).await?.len() {
            0 => return Ok(()),
            count => *heard += count,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        let server = start_server(answer, "127.0.0.1:0").await?;
        let addr = server.local_addrs()[0];
        let (mut silent, _writer) = open_connection(addr).await?;
        let seen = Seen::default();
        let report = task_scope(async |scope| {
            for _ in 0..20 {
                scope.spawn(client(addr, &seen));
            }
            // In a moment when somebody is being answered, too: it may be that all are just connecting.
            while seen.whole.get() < 100 || server.connections() < 2 {
                sleep(Duration::from_millis(1)).await;
            }
            println!("under load: {}", server.connections() > 1);
            server.shutdown(Duration::from_millis(500)).await
        })
        .await;
        println!("answers: at least 100: {}", seen.whole.get() >= 100);
        println!("answers that were cut: {}", seen.cut.get());
        println!("clients turned away: {}", seen.turned_away.get());
        println!("handlers cancelled: {}", report.cancelled);
        let end = silent.read_some(1).await;
        println!(
            "the silent one is cut off: {}",
            !matches!(end, Ok(bytes) if !bytes.is_empty())
        );
        Ok(())
    })?
}
