//! An echo server by streams: a task for each connection, which reads like sequential code.
//!
//! Three clients say a few words and compare what comes back; then server and program end.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use std::error::Error;
use std::io;

/// Sends back what arrives, no faster than it is taken.
async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read_some(64 * 1024).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_all(&data).await?;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        let server = start_server(echo, "127.0.0.1:0").await?;
        let address = server.local_addrs()[0];
        for number in 1..=3 {
            let words = format!("round {number}");
            let (mut reader, writer) = open_connection(address).await?;
            writer.write_all(words.as_bytes()).await?;
            let mut heard = vec![0; words.len()];
            reader.read_exact(&mut heard).await?;
            writer.close();
            writer.wait_closed().await?;
            println!("heard: {}", String::from_utf8_lossy(&heard));
        }
        let report = server.shutdown(Duration::from_secs(1)).await;
        println!("all connections ended by themselves: {}", report.is_clean());
        Ok(())
    })?
}
