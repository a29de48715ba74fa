//! Twenty URLs by `open_connection`: twenty tasks, one thread, all pages at a time.
//!
//! It fetches from a small site of its own on loopback, each page of which takes a moment. Sockets live in real time: this
//! program has no virtual clock.
#![allow(clippy::print_stdout, reason = "a program for people")]

#[path = "small_site/mod.rs"]
mod small_site;

use rondel::prelude::*;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

async fn get_url(host: SocketAddr, path: String) -> Result<String, Box<dyn Error>> {
    let (mut reader, writer) = open_connection(host).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    writer.write_all(request.as_bytes()).await?;
    let mut all_lines = Vec::new();
    loop {
        let raw_line = reader.read_line().await?;
        if raw_line.is_empty() {
            break; // the end of what the server sent
        }
        all_lines.push(String::from_utf8_lossy(&raw_line).into_owned());
    }
    Ok(all_lines.concat())
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        let site = small_site::start(Duration::from_millis(20)).await?;
        let start = Instant::now();
        let tasks: Vec<_> = (0..20)
            .map(|n| spawn(get_url(site, format!("/s?wd={n}/"))))
            .collect();
        for task in tasks {
            let html = task.await??;
            println!("{}", html.lines().last().unwrap_or_default());
        }
        println!("last time: {:.2} s", start.elapsed().as_secs_f64());
        Ok(())
    })?
}
