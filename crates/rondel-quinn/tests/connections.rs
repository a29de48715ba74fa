//! Client and server on one loop.

mod peers;

use futures_util::future::join_all;
use rondel_loop::{run, spawn};
use rondel_quinn::quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, ReadError, ServerConfig, VarInt,
};

use peers::{ask, configs, echo, megabyte};

/// A server that echoes streams, on any number of connections, until it is closed.
fn start(config: ServerConfig) -> Endpoint {
    let server = rondel_quinn::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let accepting = server.clone();
    spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            spawn(async move {
                let Ok(connection) = incoming.await else {
                    return;
                };
                while let Ok(stream) = connection.accept_bi().await {
                    spawn(echo(stream));
                }
            });
        }
    });
    server
}

fn client(config: ClientConfig) -> Endpoint {
    let mut client = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap();
    client.set_default_client_config(config);
    client
}

async fn connect(client: &Endpoint, server: &Endpoint) -> Connection {
    let addr = server.local_addr().unwrap();
    client.connect(addr, "localhost").unwrap().await.unwrap()
}

/// Both ends of a connection.
async fn pair() -> (Connection, Connection) {
    let (server_config, client_config) = configs();
    let server = rondel_quinn::server(server_config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let accepting = server.clone();
    let accepted = spawn(async move { accepting.accept().await.unwrap().await.unwrap() });
    let here = connect(&client(client_config), &server).await;
    (here, accepted.await.unwrap())
}

#[test]
fn a_megabyte_goes_there_and_back() {
    run(async {
        let (server_config, client_config) = configs();
        let server = start(server_config);
        let connection = connect(&client(client_config), &server).await;
        let sent = megabyte();
        assert!(ask(&connection, &sent).await == sent);
    })
    .unwrap();
}

/// More than may be open at a time, so that some wait for others.
#[test]
fn streams_do_not_mix() {
    run(async {
        let (server_config, client_config) = configs();
        let server = start(server_config);
        let connection = connect(&client(client_config), &server).await;
        let words: Vec<_> = (0..400).map(|i| format!("stream {i}")).collect();
        let heard = join_all(words.iter().map(|words| ask(&connection, words.as_bytes()))).await;
        for (heard, words) in heard.iter().zip(&words) {
            assert_eq!(heard, words.as_bytes());
        }
    })
    .unwrap();
}

#[test]
fn a_server_has_many_clients() {
    run(async {
        let (server_config, client_config) = configs();
        let server = start(server_config);
        let talks = (0..20).map(async |i: u8| {
            let client = client(client_config.clone());
            let connection = connect(&client, &server).await;
            assert_eq!(ask(&connection, &[i; 3000]).await, [i; 3000]);
            connection.close(VarInt::from_u32(0), b"");
            client.wait_idle().await;
        });
        join_all(talks).await;
        server.wait_idle().await;
        assert_eq!(server.open_connections(), 0);
    })
    .unwrap();
}

#[test]
fn an_endpoint_for_ipv6_has_clients_of_ipv4() {
    run(async {
        let (server_config, client_config) = configs();
        let server = start(server_config);
        let Ok(mut client) = rondel_quinn::client("[::]:0".parse().unwrap()) else {
            // The system has no IPv6.
            return;
        };
        client.set_default_client_config(client_config);
        let connection = connect(&client, &server).await;
        assert_eq!(ask(&connection, b"mapped").await, b"mapped");
    })
    .unwrap();
}

#[test]
fn datagrams_go_both_ways() {
    run(async {
        let (here, there) = pair().await;
        let echo = spawn(async move {
            for _ in 0..50 {
                let datagram = there.read_datagram().await.unwrap();
                there.send_datagram(datagram).unwrap();
            }
            there.closed().await
        });
        for i in 0..50u8 {
            here.send_datagram(vec![i; 1000].into()).unwrap();
            assert_eq!(here.read_datagram().await.unwrap(), vec![i; 1000]);
        }
        here.close(VarInt::from_u32(0), b"");
        assert!(matches!(
            echo.await.unwrap(),
            ConnectionError::ApplicationClosed(_)
        ));
    })
    .unwrap();
}

#[test]
fn the_reason_of_closing_arrives() {
    run(async {
        let (here, there) = pair().await;
        let (mut sender, _answer) = here.open_bi().await.unwrap();
        sender.write_all(b"unfinished").await.unwrap();
        let (_, mut receiver) = there.accept_bi().await.unwrap();
        here.close(VarInt::from_u32(7), b"enough");
        let error = there.closed().await;
        let ConnectionError::ApplicationClosed(close) = &error else {
            panic!("{error}");
        };
        assert_eq!(close.error_code, VarInt::from_u32(7));
        assert_eq!(close.reason.as_ref(), b"enough");
        // Whoever reads learns it, too.
        let read = receiver.read_to_end(100).await.unwrap_err().to_string();
        let lost = ReadError::ConnectionLost(error).to_string();
        assert!(read.contains("connection lost"), "{read}; {lost}");
        assert_eq!(here.closed().await, ConnectionError::LocallyClosed);
    })
    .unwrap();
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused() {
    run(async {
        let server = start(configs().0);
        let stranger = client(configs().1);
        let addr = server.local_addr().unwrap();
        let refused = stranger.connect(addr, "localhost").unwrap().await;
        assert!(
            matches!(refused, Err(ConnectionError::TransportError(_))),
            "{refused:?}"
        );
    })
    .unwrap();
}

/// A new socket under a connection that goes on.
#[test]
fn a_client_moves_to_another_port() {
    run(async {
        let (server_config, client_config) = configs();
        let server = start(server_config);
        let client = client(client_config);
        let connection = connect(&client, &server).await;
        assert_eq!(ask(&connection, b"before").await, b"before");
        let before = client.local_addr().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.rebind(socket).unwrap();
        assert_ne!(client.local_addr().unwrap(), before);
        let sent = megabyte();
        assert!(ask(&connection, &sent).await == sent);
    })
    .unwrap();
}

#[test]
fn an_error_says_what_was_attempted() {
    let error = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("no event loop is running"),
        "{error}"
    );
    run(async {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let error = rondel_quinn::server(configs().0, addr).unwrap_err();
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
    })
    .unwrap();
}
