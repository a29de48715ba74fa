//! quinn on tokio, in another thread, as the counterpart.

mod peers;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use rondel_loop::run;
use rondel_quinn::quinn::{ClientConfig, ConnectionError, Endpoint, ServerConfig, VarInt};

use peers::{ask, configs, echo, megabyte};

fn on_tokio<T>(main: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(main)
}

/// Accepts one connection, echoes a stream and two datagrams of it, and gives the reason of its end.
async fn serve(server: Endpoint) -> ConnectionError {
    let connection = server.accept().await.unwrap().await.unwrap();
    echo(connection.accept_bi().await.unwrap()).await;
    for _ in 0..2 {
        let datagram = connection.read_datagram().await.unwrap();
        connection.send_datagram(datagram).unwrap();
    }
    let reason = connection.closed().await;
    server.wait_idle().await;
    reason
}

async fn talk(client: Endpoint, config: ClientConfig, addr: SocketAddr) {
    let connecting = client.connect_with(config, addr, "localhost");
    let connection = connecting.unwrap().await.unwrap();
    let sent = megabyte();
    assert!(ask(&connection, &sent).await == sent);
    for words in ["one", "two"] {
        connection.send_datagram(words.into()).unwrap();
        assert_eq!(connection.read_datagram().await.unwrap(), words);
    }
    connection.close(VarInt::from_u32(42), b"done");
    client.wait_idle().await;
}

fn assert_done(reason: ConnectionError) {
    let ConnectionError::ApplicationClosed(close) = reason else {
        panic!("{reason}");
    };
    assert_eq!(close.error_code, VarInt::from_u32(42));
    assert_eq!(close.reason.as_ref(), b"done");
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_client_here_talks_to_a_server_on_tokio() {
    let (server_config, client_config): (ServerConfig, _) = configs();
    let (tell, told) = mpsc::channel();
    let serving = thread::spawn(move || {
        on_tokio(async {
            let server = Endpoint::server(server_config, any_port()).unwrap();
            tell.send(server.local_addr().unwrap()).unwrap();
            serve(server).await
        })
    });
    let addr = told.recv().unwrap();
    run(async {
        let client = rondel_quinn::client(any_port()).unwrap();
        talk(client, client_config, addr).await;
    })
    .unwrap();
    assert_done(serving.join().unwrap());
}

#[test]
fn a_client_on_tokio_talks_to_a_server_here() {
    let (server_config, client_config) = configs();
    run(async {
        let server = rondel_quinn::server(server_config, any_port()).unwrap();
        let addr = server.local_addr().unwrap();
        let talking = thread::spawn(move || {
            on_tokio(async {
                let client = Endpoint::client(any_port()).unwrap();
                talk(client, client_config, addr).await;
            });
        });
        assert_done(serve(server).await);
        talking.join().unwrap();
    })
    .unwrap();
}
