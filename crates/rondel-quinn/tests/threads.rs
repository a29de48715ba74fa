//! Handles of quinn's on other threads than the loop's.

mod peers;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rondel_executor::WrongThread;
use rondel_loop::{EventLoop, LocalLoop, run, sleep, spawn, timeout};
use rondel_quinn::RondelRuntime;
use rondel_quinn::quinn::{ConnectionError, Runtime, VarInt};

use peers::{ask, configs, echo};

#[test]
fn an_endpoint_dropped_elsewhere_closes_its_socket_at_home() {
    run(async {
        let handle = LocalLoop::current().unwrap().handle();
        let endpoint = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = endpoint.local_addr().unwrap();
        assert!(UdpSocket::bind(addr).is_err());
        thread::spawn(move || drop(endpoint)).join().unwrap();
        let freed = async {
            while UdpSocket::bind(addr).is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), freed).await.unwrap();
        assert_eq!(handle.leaked(), 0);
    })
    .unwrap();
}

#[test]
fn an_endpoint_that_outlives_its_loop_keeps_no_socket() {
    let endpoint = run(async { rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap() });
    let endpoint = endpoint.unwrap();
    let addr = endpoint.local_addr().unwrap();
    let (_, client_config) = configs();
    thread::spawn(move || {
        // Nobody runs it any more, and it says so.
        assert!(
            endpoint
                .connect_with(client_config, addr, "localhost")
                .is_err()
        );
        drop(endpoint);
        UdpSocket::bind(addr).unwrap();
    })
    .join()
    .unwrap();
}

/// A connection that lives on is dropped with the last handle, and says farewell then.
#[test]
fn a_connection_dropped_elsewhere_is_closed() {
    run(async {
        let (server_config, client_config) = configs();
        let server = rondel_quinn::server(server_config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = server.local_addr().unwrap();
        let accepted = spawn(async move { server.accept().await.unwrap().await.unwrap() });
        let client = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = client.connect_with(client_config, addr, "localhost");
        let here = connecting.unwrap().await.unwrap();
        let there = accepted.await.unwrap();
        thread::spawn(move || drop(here)).join().unwrap();
        let end = timeout(Duration::from_secs(20), there.closed()).await;
        assert!(matches!(end, Ok(ConnectionError::ApplicationClosed(_))));
        client.wait_idle().await;
    })
    .unwrap();
}

/// The endpoint's loop does the work; the tasks that use it are in another thread's.
#[test]
fn an_endpoint_is_used_from_another_loop() {
    run(async {
        let (server_config, client_config) = configs();
        let server = rondel_quinn::server(server_config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = server.local_addr().unwrap();
        let client = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let user = thread::spawn(move || {
            run(async move {
                let connecting = client.connect_with(client_config, addr, "localhost");
                let connection = connecting.unwrap().await.unwrap();
                let heard = ask(&connection, &[7; 100_000]).await;
                connection.close(VarInt::from_u32(3), b"");
                client.wait_idle().await;
                heard
            })
            .unwrap()
        });
        let connection = server.accept().await.unwrap().await.unwrap();
        echo(connection.accept_bi().await.unwrap()).await;
        let end = connection.closed().await;
        assert!(
            matches!(&end, ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == 3),
            "{end}"
        );
        // Its endpoint needs this loop to the end.
        while !user.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(user.join().unwrap(), [7; 100_000]);
    })
    .unwrap();
}

/// Whoever comes is asked for a token on another thread, which sends by itself, and accepted there.
#[test]
fn a_stranger_is_validated_and_accepted_elsewhere() {
    run(async {
        let (server_config, client_config) = configs();
        let server = rondel_quinn::server(server_config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = server.local_addr().unwrap();
        let serving = spawn(async move {
            let stranger = server.accept().await.unwrap();
            assert!(!stranger.remote_address_validated());
            thread::spawn(move || stranger.retry().unwrap())
                .join()
                .unwrap();
            let known = server.accept().await.unwrap();
            assert!(known.remote_address_validated());
            let connecting = thread::spawn(move || known.accept().unwrap()).join();
            let connection = connecting.unwrap().await.unwrap();
            echo(connection.accept_bi().await.unwrap()).await;
            connection.closed().await;
        });
        let client = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = client.connect_with(client_config, addr, "localhost");
        let here = connecting.unwrap().await.unwrap();
        assert_eq!(ask(&here, b"hello").await, b"hello");
        here.close(VarInt::from_u32(0), b"");
        serving.await.unwrap();
    })
    .unwrap();
}

#[test]
fn what_belongs_home_is_refused_elsewhere() {
    let mut event_loop = EventLoop::new().unwrap();
    let runtime = Arc::new(RondelRuntime::new(&event_loop.local()));
    let before = runtime.now();
    let elsewhere = Arc::clone(&runtime);
    thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = elsewhere.wrap_udp_socket(socket).unwrap_err();
        let cause = error.get_ref().unwrap();
        assert!(cause.downcast_ref::<WrongThread>().is_some(), "{cause}");
        assert!(elsewhere.now() >= before);
    })
    .join()
    .unwrap();

    // Tasks come from anywhere, and do nothing once the loop has closed.
    let ran = Arc::new(AtomicBool::new(false));
    let inside = Arc::clone(&ran);
    let elsewhere = Arc::clone(&runtime);
    thread::spawn(move || {
        elsewhere.spawn(Box::pin(
            async move { inside.store(true, Ordering::Release) },
        ))
    })
    .join()
    .unwrap();
    let seen = Arc::clone(&ran);
    event_loop
        .run_until_complete(async move {
            while !seen.load(Ordering::Acquire) {
                rondel_loop::yield_now().await;
            }
        })
        .unwrap();
    drop(event_loop);
    let inside = Arc::clone(&ran);
    runtime.spawn(Box::pin(
        async move { inside.store(false, Ordering::Release) },
    ));
    assert!(ran.load(Ordering::Acquire));
    // Nobody holds the future any more.
    assert_eq!(Arc::strong_count(&ran), 1);
}
