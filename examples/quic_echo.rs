//! An echo server over QUIC, and a client with three streams and a datagram on one connection.
//!
//! The certificate is made at the start and forgotten at the end. Streams do not wait for one another, and a datagram is sent without
//! any.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel_quinn::quinn::rustls::RootCertStore;
use rondel_quinn::quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use rondel_quinn::quinn::{
    ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig,
};
use std::error::Error;
use std::sync::Arc;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Sends back what arrives on a stream, until the peer has finished it.
async fn echo_stream(mut answer: SendStream, mut request: RecvStream) -> Outcome<()> {
    while let Some(chunk) = request.read_chunk(16 * 1024, true).await? {
        answer.write_chunk(chunk.bytes).await?;
    }
    Ok(answer.finish()?)
}

/// Everything of one connection, until it ends: a task for each stream, one for the datagrams.
async fn echo_connection(connection: Connection) {
    let datagrams = connection.clone();
    spawn(async move {
        while let Ok(datagram) = datagrams.read_datagram().await {
            if datagrams.send_datagram(datagram).is_err() {
                break;
            }
        }
    });
    while let Ok((answer, request)) = connection.accept_bi().await {
        spawn(async move {
            if let Err(error) = echo_stream(answer, request).await {
                println!("server: a stream broke off: {error}");
            }
        });
    }
    println!("server: {}", connection.closed().await);
}

async fn serve(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        spawn(async move {
            match incoming.await {
                Ok(connection) => echo_connection(connection).await,
                Err(error) => println!("server: no connection: {error}"),
            }
        });
    }
}

async fn ask(connection: &Connection, words: &str) -> Outcome<String> {
    let (mut request, mut answer) = connection.open_bi().await?;
    request.write_all(words.as_bytes()).await?;
    request.finish()?;
    Ok(String::from_utf8(answer.read_to_end(1024).await?)?)
}

fn main() -> Outcome<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server_config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client_config = ClientConfig::with_root_certificates(Arc::new(roots))?;

    run(async {
        let server = rondel_quinn::server(server_config, "127.0.0.1:0".parse()?)?;
        let addr = server.local_addr()?;
        let serving = spawn(serve(server.clone()));

        let client = rondel_quinn::client("127.0.0.1:0".parse()?)?;
        let connection = client
            .connect_with(client_config, addr, "localhost")?
            .await?;
        let (one, two, three) = try_join!(
            ask(&connection, "one"),
            ask(&connection, "two"),
            ask(&connection, "three"),
        )?;
        println!("client: heard {one}, {two}, {three}");

        connection.send_datagram(b"a datagram".as_slice().into())?;
        let datagram = connection.read_datagram().await?;
        println!("client: heard {}", String::from_utf8_lossy(&datagram));

        connection.close(0u32.into(), b"that is all");
        client.wait_idle().await;
        server.wait_idle().await;
        server.close(0u32.into(), b"");
        serving.await?;
        Ok(())
    })?
}
