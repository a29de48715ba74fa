//! Twenty URLs by blocking sockets: what blocks goes to a thread pool, here one of three threads.
//!
//! It fetches from a small site of its own on loopback, each page of which takes a moment, so that one can see three being
//! fetched at a time. Sockets live in real time: this program has no virtual clock.
#![allow(clippy::print_stdout, reason = "a program for people")]

#[path = "small_site/mod.rs"]
mod small_site;

use rondel::ThreadPool;
use rondel::prelude::*;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// Blocks the thread it runs on, three times.
fn get_url(host: SocketAddr, path: &str) -> io::Result<String> {
    let mut client = TcpStream::connect(host)?;
    write!(
        client,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    client.read_to_string(&mut response)?;
    let (_head, html) = response
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(html.to_owned())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(async {
        let site = small_site::start(Duration::from_millis(20)).await?;
        let start = Instant::now();
        let pool = ThreadPool::builder().threads(3).name("fetch").build();
        let local = LocalLoop::current()?;
        let mut pages = Vec::new();
        for n in 0..20 {
            pages.push(
                local
                    .run_in_executor(Some(&pool), move || get_url(site, &format!("/s?wd={n}/")))?,
            );
        }
        for page in pages {
            println!("{}", page.await??);
        }
        println!("{} threads were enough", pool.threads());
        println!("last time: {:.2} s", start.elapsed().as_secs_f64());
        Ok(())
    })?
}
