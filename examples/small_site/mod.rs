//! A site on loopback that answers every request with a short page, after a moment.

use rondel::prelude::*;
use std::io;
use std::net::SocketAddr;

/// Starts it, and gives its address. It serves until the loop ends.
pub(crate) async fn start(moment: Duration) -> io::Result<SocketAddr> {
    let server = start_server(
        async move |mut reader: StreamReader, writer: StreamWriter| -> io::Result<()> {
            let request = reader.read_until(b"\r\n\r\n").await?;
            let request = String::from_utf8_lossy(&request);
            let path = request.split(' ').nth(1).unwrap_or("/");
            sleep(moment).await;
            let html = format!("<html>you asked for {path}</html>\n");
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                html.len()
            );
            writer.write(head.as_bytes())?;
            writer.write_all(html.as_bytes()).await?;
            writer.close();
            writer.wait_closed().await
        },
        "127.0.0.1:0",
    )
    .await?;
    let address = server.local_addrs()[0];
    // Runs on with the loop.
    spawn(async move { server.serve_forever().await }).detach();
    Ok(address)
}
