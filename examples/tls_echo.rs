//! An echo server over TLS, and a client that trusts its certificate and nobody else's.
//!
//! The certificate is made at the start and forgotten at the end. A client that does not know it is refused.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::net::tls::{ClientTls, Identity, ServerTls};
use rondel::net::{ConnectOptions, ServerOptions};
use rondel::prelude::*;
use std::error::Error;
use std::io;

/// Sends back what arrives. Nothing here knows of TLS.
async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let data = reader.read_some(16 * 1024).await?;
        if data.is_empty() {
            return Ok(());
        }
        writer.write_all(&data).await?;
    }
}

fn self_signed() -> Result<(String, String), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (chain, key) = self_signed()?;
    let (other_chain, _) = self_signed()?;
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes())?;
    let server_tls = ServerTls::builder().identity(identity).build()?;
    let client_tls = ClientTls::builder().root_pem(chain.as_bytes())?.build()?;
    let stranger_tls = ClientTls::builder()
        .root_pem(other_chain.as_bytes())?
        .build()?;

    run(async {
        let server = ServerOptions::new()
            .tls(server_tls)
            .serve(echo, "127.0.0.1:0")
            .await?;
        let target = ("localhost", server.local_addrs()[0].port());

        let (mut reader, writer) = ConnectOptions::new()
            .tls(client_tls)
            .open_connection(target)
            .await?;
        let encrypted = writer.tls().is_some();
        println!("encrypted: {encrypted}");
        for words in ["nobody else\n", "reads this\n"] {
            writer.write_all(words.as_bytes()).await?;
            let heard = reader.read_line().await?;
            print!("heard: {}", String::from_utf8_lossy(&heard));
        }
        writer.close();
        writer.wait_closed().await?;

        let refused = ConnectOptions::new()
            .tls(stranger_tls)
            .open_connection(target)
            .await
            .is_err();
        println!("a client with other roots goes no further: {refused}");

        let report = server.shutdown(Duration::from_secs(1)).await;
        println!("all connections ended by themselves: {}", report.is_clean());
        Ok(())
    })?
}
