//! One event loop per core: each has its own listener on the same port, and the system spreads connections over them.
//!
//! A plain thread plays 200 clients; when all have been answered, one worker tells the others to end. On one's own program Ctrl-C
//! would do that.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::net::{ServerOptions, Worker, Workers};
use std::cell::Cell;
use std::error::Error;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 200;

/// Connects again and again; gives how often the answer was right.
fn clients(addr: SocketAddr) -> io::Result<usize> {
    let mut answered = 0;
    for _ in 0..CLIENTS {
        let mut answer = String::new();
        TcpStream::connect(addr)?.read_to_string(&mut answer)?;
        answered += usize::from(answer.starts_with("worker "));
    }
    Ok(answered)
}

fn main() -> Result<(), Box<dyn Error>> {
    let workers = Workers::new().count(2).listen(([127, 0, 0, 1], 0))?;
    let addr = workers.local_addrs()?[0];
    let clients = thread::spawn(move || clients(addr));
    let together = AtomicUsize::new(0);
    let served = workers.run(async |worker: Worker| {
        let mine = Rc::new(Cell::new(0));
        // What a handler keeps is of this worker's loop alone: no lock, no atomic.
        let (count, index) = (Rc::clone(&mine), worker.index());
        let server = ServerOptions::new().serve_on(
            async move |_reader, writer| {
                count.set(count.get() + 1);
                writer
                    .write_all(format!("worker {index}\n").as_bytes())
                    .await
            },
            [worker.take_listener(0)?],
        );
        let mut told = 0;
        while !worker.shutdown().is_cancelled() {
            let new = mine.get() - told;
            told += new;
            if together.fetch_add(new, Ordering::Relaxed) + new == CLIENTS {
                worker.shutdown().cancel();
            }
            rondel::sleep(Duration::from_millis(1)).await;
        }
        server.shutdown(Duration::from_secs(5)).await;
        io::Result::Ok(mine.get())
    })?;
    for (index, count) in served.iter().enumerate() {
        println!("worker {index} served {count}");
    }
    println!("together: {}", served.iter().sum::<usize>());
    let answered = clients.join().expect("the clients do not panic")?;
    println!("clients answered: {answered}");
    Ok(())
}
