//! How many datagrams a second leave for one peer on loopback: one by one, by batches, and cut by the system (GSO).
//!
//! The peer's socket has a small buffer and nobody receives: what is measured is sending alone.
//!
//!     cargo run --release -p rondel-net --example udp_send_rate -- 512
#![allow(clippy::print_stdout, reason = "a program for people")]

#[cfg(feature = "udp")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::net::Ipv4Addr;

    use rondel_net::UdpSocket;

    let size = match std::env::args().nth(1) {
        Some(size) => size.parse()?,
        None => 512,
    };
    rondel_loop::run(async {
        let peer = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = peer.local_addr()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let bytes = vec![7; size * 64];
        let each: Vec<_> = bytes
            .chunks(size)
            .map(|datagram| (datagram, addr))
            .collect();

        let single = rate(async || {
            for (datagram, addr) in &each {
                socket.send_to(datagram, *addr).await?;
            }
            Ok(())
        })
        .await?;
        println!("send_to         {single:>12.0} /s");
        let batch = rate(async || {
            let mut sent = 0;
            while sent < each.len() {
                sent += socket.send_batch(&each[sent..]).await?;
            }
            Ok(())
        })
        .await?;
        println!("send_batch      {batch:>12.0} /s  {:.2} x", batch / single);
        let cut = rate(async || socket.send_segmented(&bytes, size, addr).await).await?;
        println!("send_segmented  {cut:>12.0} /s  {:.2} x", cut / single);
        Ok(())
    })?
}

/// How many datagrams a second, if `work` sends 64.
#[cfg(feature = "udp")]
async fn rate(mut work: impl AsyncFnMut() -> std::io::Result<()>) -> std::io::Result<f64> {
    use std::time::{Duration, Instant};

    for _ in 0..100 {
        work().await?;
    }
    let start = Instant::now();
    let mut sent = 0.0;
    while start.elapsed() < Duration::from_millis(500) {
        work().await?;
        sent += 64.0;
    }
    Ok(sent / start.elapsed().as_secs_f64())
}

#[cfg(not(feature = "udp"))]
fn main() {
    println!("build it with the feature udp");
}
