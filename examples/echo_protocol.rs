//! An echo server by callbacks: a `Protocol` for each connection, which costs no task and no buffer.
//!
//! Three clients, protocols as well, say a few words and compare what comes back; then server and program end.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::net::{Protocol, Transport, create_connection, create_server};
use rondel::run;
use std::error::Error;
use std::io;
use std::time::Duration;

/// Sends back what arrives, no faster than it is taken.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        // `Ok(true)`: more is queued than the high water mark. What fails is told by `connection_lost`.
        if let Ok(true) = transport.write(data) {
            transport.pause_reading();
        }
    }

    fn resume_writing(&mut self, transport: &Transport) {
        transport.resume_reading();
    }
}

/// Says its words, and ends the connection when it has heard them all.
struct Client {
    words: String,
    heard: Vec<u8>,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport.write(self.words.as_bytes());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.heard.extend_from_slice(data);
        if self.heard.len() >= self.words.len() {
            transport.close();
        }
    }

    fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
        let heard = String::from_utf8_lossy(&self.heard);
        match error {
            None => println!("heard: {heard}"),
            Some(error) => println!("heard: {heard}, then {error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        let server = create_server(|| Echo, "127.0.0.1:0").await?;
        let address = server.local_addrs()[0];
        for number in 1..=3 {
            let client = || Client {
                words: format!("round {number}"),
                heard: Vec::new(),
            };
            let (transport, _client) = create_connection(client, address).await?;
            transport.wait_closed().await?;
        }
        let report = server.shutdown(Duration::from_secs(1)).await;
        println!("all connections ended by themselves: {}", report.is_clean());
        Ok(())
    })?
}
