//! Which ports of this machine are open? A hundred attempts at a time, each for a second at most.
//!
//! Three listeners of our own are among those looked at, so that something is found.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel::sync::Semaphore;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::error::Error;
use std::net::Ipv4Addr;

const AT_A_TIME: usize = 100;

/// Attempts under way, and the most there have been.
#[derive(Default)]
struct UnderWay {
    now: Cell<usize>,
    most: Cell<usize>,
}

async fn is_open(port: u16, under_way: &UnderWay) -> bool {
    under_way.now.set(under_way.now.get() + 1);
    under_way
        .most
        .set(under_way.most.get().max(under_way.now.get()));
    let attempt = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let open = matches!(timeout(Duration::from_secs(1), attempt).await, Ok(Ok(_)));
    under_way.now.set(under_way.now.get() - 1);
    open
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        let mut ours = Vec::new();
        for _ in 0..3 {
            ours.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        }
        let ours_ports: Vec<u16> = ours.iter().map(|one| one.local_addr().port()).collect();
        // The neighbourhood of each.
        let ports: BTreeSet<u16> = ours_ports
            .iter()
            .flat_map(|&port| port.saturating_sub(200)..=port.saturating_add(200))
            .collect();

        let places = Semaphore::new(AT_A_TIME);
        let under_way = UnderWay::default();
        let looks = ports.iter().map(async |&port| {
            let _place = places.acquire().await;
            is_open(port, &under_way).await.then_some(port)
        });
        let found: Vec<u16> = gather(looks).await.into_iter().flatten().collect();

        println!("scanned at least 401 ports: {}", ports.len() >= 401);
        println!(
            "never more than {AT_A_TIME} at a time: {}",
            under_way.most.get() <= AT_A_TIME
        );
        println!(
            "found all of ours: {}",
            ours_ports.iter().all(|port| found.contains(port))
        );
        Ok(())
    })?
}
