//! Twenty URLs, each page printed as soon as it is there: `as_completed`.
//!
//! It fetches from a small site of its own on loopback. The requests start one after the other, a few milliseconds apart, the
//! last URL first: so pages come in about the opposite order of the URLs, and each says which one it is. Sockets live in real
//! time: this program has no virtual clock.
#![allow(clippy::print_stdout, reason = "a program for people")]

#[path = "small_site/mod.rs"]
mod small_site;

use rondel::prelude::*;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

const PAGES: u32 = 20;

async fn get_url(host: SocketAddr, path: &str) -> Result<String, Box<dyn Error>> {
    let (mut reader, writer) = open_connection(host).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    writer.write_all(request.as_bytes()).await?;
    let mut html = String::new();
    loop {
        let line = reader.read_line().await?;
        if line.is_empty() {
            return Ok(html); // the end of what the server sent
        }
        html = String::from_utf8_lossy(&line).into_owned();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        let site = small_site::start(Duration::from_millis(5)).await?;
        let start = Instant::now();
        let paths: Vec<_> = (0..PAGES).map(|n| format!("/s?wd={n}/")).collect();
        let fetches = (0..).zip(&paths).map(async |(n, path)| {
            sleep(Duration::from_millis(5) * (PAGES - n)).await;
            get_url(site, path).await
        });
        let mut pages = as_completed(fetches);
        while let Some((place, page)) = pages.next().await {
            println!("{place}: {}", page?.trim_end());
        }
        println!("last time: {:.2} s", start.elapsed().as_secs_f64());
        Ok(())
    })?
}
