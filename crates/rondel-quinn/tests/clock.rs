//! quinn's timeouts on a clock that moves only when told.

mod peers;

use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::future::join;
use rondel_loop::{EventLoop, run, spawn, yield_now};
use rondel_poll::{Clocked, ManualClock, default_selector};
use rondel_quinn::quinn::{Connection, ConnectionError, IdleTimeout, TransportConfig};

use peers::{ask, configs, echo};

const LIMIT: Duration = Duration::from_secs(30);

/// When a limit of so many seconds may end a connection: the last packet may be one second old already, and sending begins the limit
/// anew, once after each packet that came (RFC 9000, 10.1).
const IN_TIME: RangeInclusive<u64> = 29..=36;

/// Runs `main` on real sockets, on a clock that moves only when told.
fn on_manual_clock<T>(main: impl AsyncFnOnce(ManualClock) -> T) -> T {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut event_loop = EventLoop::builder().selector(selector).build().unwrap();
    event_loop.run_until_complete(main(clock)).unwrap()
}

/// Lets both ends have their turns: the loop looks at its sockets once in 64 of them, since its clock stands still.
async fn settle() {
    for _ in 0..20 * 64 {
        yield_now().await;
    }
}

/// Lets time pass in steps, with turns for everybody after each.
async fn pass(clock: &ManualClock, step: Duration, steps: u32) {
    for _ in 0..steps {
        clock.advance(step);
        settle().await;
    }
}

/// How many seconds it takes until something has happened; twice the limit is too many.
async fn seconds_until(clock: &ManualClock, happened: impl Fn() -> bool) -> u64 {
    for seconds in 0..2 * LIMIT.as_secs() {
        if happened() {
            return seconds;
        }
        pass(clock, Duration::from_secs(1), 1).await;
    }
    2 * LIMIT.as_secs()
}

fn transport(keep_alive: Option<Duration>) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::try_from(LIMIT).unwrap()))
        .keep_alive_interval(keep_alive);
    Arc::new(transport)
}

/// Both ends of a connection on which everything is said and acknowledged.
async fn quiet_pair(clock: &ManualClock, keep_alive: Option<Duration>) -> (Connection, Connection) {
    let (mut server_config, mut client_config) = configs();
    server_config.transport_config(transport(None));
    client_config.transport_config(transport(keep_alive));
    let server = rondel_quinn::server(server_config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = server.local_addr().unwrap();
    let accepted = spawn(async move { server.accept().await.unwrap().await.unwrap() });
    let client = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = client.connect_with(client_config, addr, "localhost");
    let here = connecting.unwrap().await.unwrap();
    let there = accepted.await.unwrap();
    pass(clock, Duration::from_millis(50), 20).await;
    (here, there)
}

#[test]
fn a_connection_at_rest_ends_in_time() {
    on_manual_clock(async |clock| {
        let (here, there) = quiet_pair(&clock, None).await;
        let ended = || here.close_reason().is_some() && there.close_reason().is_some();
        let seconds = seconds_until(&clock, ended).await;
        assert!(IN_TIME.contains(&seconds), "{seconds} s");
        assert_eq!(here.closed().await, ConnectionError::TimedOut);
        assert_eq!(there.closed().await, ConnectionError::TimedOut);
    });
}

#[test]
fn signs_of_life_keep_it() {
    on_manual_clock(async |clock| {
        let (here, there) = quiet_pair(&clock, Some(LIMIT / 3)).await;
        pass(&clock, Duration::from_secs(1), 300).await;
        assert_eq!(here.close_reason(), None);
        let serving = async { echo(there.accept_bi().await.unwrap()).await };
        let (heard, ()) = join(ask(&here, b"still there"), serving).await;
        assert_eq!(heard, b"still there");
    });
}

/// On another thread, whose loop ends in the middle: nobody says farewell.
#[test]
fn a_peer_that_vanishes_is_given_up_in_time() {
    let (mut server_config, mut client_config) = configs();
    server_config.transport_config(transport(None));
    client_config.transport_config(transport(None));
    let (tell, told) = mpsc::channel::<SocketAddr>();
    let peer = std::thread::spawn(move || {
        run(async move {
            let server = rondel_quinn::server(server_config, "127.0.0.1:0".parse().unwrap());
            let server = server.unwrap();
            tell.send(server.local_addr().unwrap()).unwrap();
            let connection = server.accept().await.unwrap().await.unwrap();
            echo(connection.accept_bi().await.unwrap()).await;
            // Until the other has heard it.
            connection.accept_uni().await.unwrap();
        })
        .unwrap();
    });
    let addr = told.recv().unwrap();
    on_manual_clock(async |clock| {
        let client = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = client.connect_with(client_config, addr, "localhost");
        let here = connecting.unwrap().await.unwrap();
        assert_eq!(ask(&here, b"there?").await, b"there?");
        let mut last = here.open_uni().await.unwrap();
        last.write_all(b"now vanish").await.unwrap();
        while !peer.is_finished() {
            yield_now().await;
        }
        peer.join().unwrap();
        // Its port is free: nothing of it is left.
        let _taken = UdpSocket::bind(addr).unwrap();
        let mut request = here.open_uni().await.unwrap();
        request.write_all(b"anybody?").await.unwrap();
        settle().await;
        let seconds = seconds_until(&clock, || here.close_reason().is_some()).await;
        assert!(IN_TIME.contains(&seconds), "{seconds} s");
        assert_eq!(here.close_reason(), Some(ConnectionError::TimedOut));
    });
}

/// An address at which nobody answers.
#[test]
fn connecting_is_given_up_in_time() {
    on_manual_clock(async |clock| {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = silent.local_addr().unwrap();
        let client = rondel_quinn::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut config = configs().1;
        config.transport_config(transport(None));
        let connecting = client.connect_with(config, addr, "localhost").unwrap();
        let refused = spawn(connecting);
        settle().await;
        let seconds = seconds_until(&clock, || refused.is_finished()).await;
        assert!(IN_TIME.contains(&seconds), "{seconds} s");
        let error = refused.await.unwrap().unwrap_err();
        assert_eq!(error, ConnectionError::TimedOut);
        // It was asked more than once meanwhile.
        silent.set_nonblocking(true).unwrap();
        let asked = std::iter::from_fn(|| silent.recv(&mut [0; 2000]).ok()).count();
        assert!(asked > 2, "{asked}");
    });
}
