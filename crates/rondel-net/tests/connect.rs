//! Connecting: forms of targets, Happy Eyeballs, time limits, errors, and that nothing is left open.

use std::error::Error;
use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rondel_loop::{EventLoop, Task, run, sleep, spawn, yield_now};
use rondel_net::{
    AddressFamily, AttemptStep, ConnectError, ConnectErrorKind, ConnectOptions, ConnectPhase,
    ResolveError, Target, TargetErrorKind, TcpStream, ToTarget, open_connection,
};
use rondel_poll::{Clocked, Events, Interest, ManualClock, Mode, Selector, Wait, default_selector};
use socket2::{Domain, Socket, Type};

/// Tests here count descriptors and rely on ports that nobody else takes: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/dev/fd").unwrap().count()
}

/// After the system's resolver was used: its thread lets go of the loop that it woke a moment after that loop may have ended.
fn until_closed_but(before: usize) {
    while open_descriptors() > before {
        std::thread::yield_now();
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    listener_at(Ipv4Addr::LOCALHOST)
}

fn listener_at(ip: impl Into<IpAddr>) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip.into(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn nobody_came(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    let accepted = listener.accept();
    listener.set_nonblocking(false).unwrap();
    matches!(accepted, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// An address on which nobody listens.
fn refusing() -> SocketAddr {
    listener().1
}

/// An address that does not answer: its listener has all the connections that it wants, and the system drops further attempts.
struct Dead {
    address: SocketAddr,
    _sockets: [Socket; 2],
}

fn dead() -> Dead {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let first = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    first.connect(&address).unwrap();
    // The first one fills the queue once the listener has it: until then others might still slip in.
    let selector = default_selector().unwrap();
    let listening = Rc::new(listener.try_clone().unwrap().into());
    selector
        .register(listening, Interest::READABLE, Mode::Edge)
        .unwrap();
    selector
        .wait(&mut Events::new(), Wait::Forever, false)
        .unwrap();
    Dead {
        address: address.as_socket().unwrap(),
        _sockets: [listener, first],
    }
}

/// Runs `test` on a loop with real sockets and a clock that moves only when told.
fn clocked<F: Future<Output = ()>>(test: impl FnOnce(ManualClock) -> F) {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    lp.run_until_complete(test(clock)).unwrap();
}

/// Has the loop look around several times.
async fn settle() {
    for _ in 0..500 {
        yield_now().await;
    }
}

async fn still_waits<T: 'static>(task: &Task<T>) {
    settle().await;
    assert!(!task.is_finished());
}

/// Connects as a task of its own.
fn connect(
    options: ConnectOptions,
    target: impl ToTarget + 'static,
) -> Task<Result<TcpStream, ConnectError>> {
    spawn(async move { options.connect(target).await })
}

fn table(
    addresses: impl Into<Vec<SocketAddr>>,
) -> impl AsyncFn(&str, u16) -> Result<Vec<SocketAddr>, ResolveError> {
    let addresses = addresses.into();
    async move |_: &str, _: u16| Ok(addresses.clone())
}

fn fail(options: &ConnectOptions, target: impl ToTarget) -> ConnectError {
    run(options.connect(target)).unwrap().unwrap_err()
}

fn tried(error: &ConnectError) -> Vec<SocketAddr> {
    error.attempts().iter().map(|a| a.address()).collect()
}

#[test]
fn every_form_of_target() {
    let _alone = alone();
    let before = open_descriptors();
    let (server, address) = listener();
    let port = address.port();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    fn target(form: impl ToTarget) -> Target {
        form.to_target().unwrap()
    }
    let targets = [
        target(("127.0.0.1", port)),
        target(("127.0.0.1".to_owned(), port)),
        target(format!("127.0.0.1:{port}")),
        target(format!("127.0.0.1:{port}").as_str()),
        target((Ipv4Addr::LOCALHOST, port)),
        target((IpAddr::from(Ipv4Addr::LOCALHOST), port)),
        target(any),
        target([any]),
        target(vec![any, any]),
        target(&[any, refusing()][..]),
        Target::host("127.0.0.1", port),
    ];
    run(async {
        for target in targets {
            let stream = ConnectOptions::new().connect(&target).await.unwrap();
            let (_, peer) = server.accept().unwrap();
            assert_eq!(stream.local_addr().unwrap(), peer, "{target}");
            assert_eq!(stream.peer_addr(), Some(address), "{target}");
        }
        let (_reader, writer) = open_connection(("localhost", port)).await.unwrap();
        assert_eq!(writer.local_addr().unwrap(), server.accept().unwrap().1);
    })
    .unwrap();
    drop(server);
    until_closed_but(before);
}

#[test]
fn the_text_of_a_target() {
    let _alone = alone();
    let shown = |text: &str| text.to_target().map(|target| target.to_string());
    for text in [
        "example.com:80",
        "[::1]:443",
        "[fe80::1%eth0]:1",
        "127.0.0.1:0",
        "a:00080",
    ] {
        let canonical = text.replace("00080", "80");
        assert_eq!(shown(text).unwrap(), canonical);
    }
    let cases = [
        ("", TargetErrorKind::NoHost),
        (":80", TargetErrorKind::NoHost),
        ("example.com", TargetErrorKind::NoPort),
        ("[::1]", TargetErrorKind::NoPort),
        ("[::1]80", TargetErrorKind::NoPort),
        ("example.com:", TargetErrorKind::InvalidPort),
        ("example.com:http", TargetErrorKind::InvalidPort),
        ("example.com:65536", TargetErrorKind::InvalidPort),
        ("example.com:+80", TargetErrorKind::InvalidPort),
        ("[::1]:-1", TargetErrorKind::InvalidPort),
        ("::1:80", TargetErrorKind::InvalidBrackets),
        ("http://example.com:80", TargetErrorKind::InvalidBrackets),
        ("[::1:80", TargetErrorKind::InvalidBrackets),
        ("[127.0.0.1]:80", TargetErrorKind::InvalidBrackets),
    ];
    for (text, kind) in cases {
        let error = shown(text).unwrap_err();
        assert_eq!((error.input(), error.kind()), (text, kind));
    }
    let nothing = Vec::<SocketAddr>::new().to_target().unwrap_err();
    assert_eq!(nothing.kind(), TargetErrorKind::NoAddresses);
    assert_eq!(("::1", 80).to_target().unwrap().to_string(), "[::1]:80");

    let error = fail(&ConnectOptions::new(), "example.com");
    assert_eq!(
        error.to_string(),
        "connect to example.com: there is no port; write host:port"
    );
    assert!(matches!(error.kind(), ConnectErrorKind::InvalidTarget(_)));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn refused() {
    let _alone = alone();
    let address = refusing();
    let error = fail(&ConnectOptions::new(), address);
    assert_eq!(
        error.to_string(),
        format!("connect to {address}: Connection refused")
    );
    assert_eq!(error.target(), address.to_string());
    assert!(matches!(error.kind(), ConnectErrorKind::Failed));
    assert_eq!(error.phase(), ConnectPhase::Connect);
    assert!(!error.is_timeout());
    let [attempt] = error.attempts() else {
        panic!("{error:?}");
    };
    assert_eq!(attempt.address(), address);
    assert_eq!(attempt.step(), AttemptStep::Connect);
    assert!(attempt.error().raw_os_error().is_some());
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);

    let error = io::Error::from(error);
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let inner = error.get_ref().unwrap().downcast_ref::<ConnectError>();
    assert_eq!(inner.unwrap().attempts().len(), 1);
}

#[test]
fn every_address_is_told() {
    let _alone = alone();
    let (one, two) = (refusing(), refusing());
    let options = ConnectOptions::new().resolver(table([one, two]));
    let error = fail(&options, "twice.test:80");
    assert_eq!(
        error.to_string(),
        format!(
            "connect to twice.test:80 (2 addresses tried): {one}: Connection refused; {two}: Connection refused"
        )
    );
    assert_eq!(error.io_kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(tried(&error), [one, two]);

    let error = fail(&ConnectOptions::new(), [one, two]);
    assert_eq!(
        error.to_string(),
        format!(
            "connect to any of 2 addresses (2 addresses tried): {one}: Connection refused; {two}: Connection refused"
        )
    );

    let options = ConnectOptions::new().resolver(table([one]));
    let error = fail(&options, "once.test:80");
    assert_eq!(
        error.to_string(),
        format!("connect to once.test:80: {one}: Connection refused")
    );
}

#[test]
fn differing_failures_have_no_kind_in_common() {
    let _alone = alone();
    // Nobody can connect to a broadcast address.
    let forbidden = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
    let error = fail(&ConnectOptions::new(), [refusing(), forbidden]);
    let kinds: Vec<_> = error.attempts().iter().map(|a| a.error().kind()).collect();
    assert_ne!(kinds[0], kinds[1]);
    assert_eq!(error.io_kind(), io::ErrorKind::Other);
}

#[test]
fn a_name_that_cannot_be_resolved() {
    let _alone = alone();
    let before = open_descriptors();
    let options = ConnectOptions::new().resolver(async |host: &str, _: u16| {
        let why = io::Error::new(io::ErrorKind::NotFound, "no such place");
        Err(ResolveError::new(host, why))
    });
    let error = fail(&options, "nowhere.test:80");
    assert_eq!(
        error.to_string(),
        "connect to nowhere.test:80: resolve: no such place"
    );
    assert_eq!(error.phase(), ConnectPhase::Resolve);
    assert!(error.attempts().is_empty());
    assert!(error.source().unwrap().is::<ResolveError>());
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);

    let options = ConnectOptions::new().resolver(table([]));
    assert_eq!(
        fail(&options, "empty.test:80").to_string(),
        "connect to empty.test:80: resolve: the name has no address"
    );

    // The system's own, without asking a server: a name that is too long.
    let host = format!("{}.invalid", "x".repeat(300));
    let error = fail(&ConnectOptions::new(), (&*host, 80));
    assert!(matches!(error.kind(), ConnectErrorKind::Resolve(_)));
    assert!(
        error
            .to_string()
            .starts_with(&format!("connect to {host}:80: resolve: "))
    );
    until_closed_but(before);
}

#[test]
fn a_resolver_is_not_asked_about_literals() {
    let _alone = alone();
    let (_server, address) = listener();
    let options =
        ConnectOptions::new().resolver(async |host: &str, _: u16| panic!("asked about {host}"));
    run(options.connect(("127.0.0.1", address.port())))
        .unwrap()
        .unwrap();
    let error = fail(&options, ("[127.0.0.1]", address.port()));
    assert!(
        matches!(error.kind(), ConnectErrorKind::Resolve(_)),
        "{error}"
    );
}

#[test]
fn a_resolver_gets_host_and_port_and_may_take_its_time() {
    let _alone = alone();
    let (server, address) = listener();
    let options = ConnectOptions::new().resolver(async move |host: &str, port: u16| {
        yield_now().await;
        assert_eq!((host, port), ("db.internal", 5432));
        Ok(vec![address])
    });
    let stream = run(async {
        options
            .connect("db.internal:5432")
            .await
            .map(|s| s.local_addr())
    });
    assert_eq!(
        stream.unwrap().unwrap().unwrap(),
        server.accept().unwrap().1
    );
}

#[test]
fn families_take_turns() {
    let _alone = alone();
    // They fail at once, whether or not this machine knows IPv6.
    let v6 = [1, 2, 3].map(|_| SocketAddr::from((Ipv6Addr::LOCALHOST, refusing().port())));
    let v4 = [1, 2].map(|_| refusing());
    let addresses = [v6[0], v6[1], v6[2], v4[0], v4[1]];
    let options = ConnectOptions::new().resolver(table(addresses));
    let error = fail(&options, "many.test:80");
    assert_eq!(tried(&error), [v6[0], v4[0], v6[1], v4[1], v6[2]]);

    let one_by_one = options.clone().happy_eyeballs_delay(None);
    assert_eq!(tried(&fail(&one_by_one, "many.test:80")), addresses);

    let only = options.clone().family(AddressFamily::V4);
    assert_eq!(tried(&fail(&only, "many.test:80")), v4);
    let only = options.family(AddressFamily::V6);
    assert_eq!(tried(&fail(&only, "many.test:80")), v6);

    let options = ConnectOptions::new().family(AddressFamily::V6);
    let error = fail(&options, v4);
    assert_eq!(
        error.to_string(),
        "connect to any of 2 addresses: resolve: none of the 2 addresses found is of a family that may be used"
    );
    assert!(matches!(
        error.kind(),
        ConnectErrorKind::Unusable { found: 2 }
    ));
    assert_eq!(error.io_kind(), io::ErrorKind::AddrNotAvailable);
}

#[test]
fn the_next_address_follows_a_failure_at_once() {
    let _alone = alone();
    clocked(async |_clock| {
        let (_server, address) = listener();
        let stream = ConnectOptions::new()
            .connect([refusing(), refusing(), address])
            .await
            .unwrap();
        assert_eq!(stream.peer_addr(), Some(address));
    });
}

#[test]
fn the_next_address_follows_a_silent_one_after_250_ms() {
    let _alone = alone();
    clocked(async |clock| {
        let (dead, (server, address)) = (dead(), listener());
        let before = open_descriptors();
        let task = connect(ConnectOptions::new(), [dead.address, address]);
        still_waits(&task).await;
        clock.advance(Duration::from_millis(249));
        still_waits(&task).await;
        assert!(nobody_came(&server));
        assert_eq!(open_descriptors(), before + 1);
        clock.advance(Duration::from_millis(1));
        let stream = task.await.unwrap().unwrap();
        assert_eq!(stream.peer_addr(), Some(address));
        assert_eq!(server.accept().unwrap().1, stream.local_addr().unwrap());
        // The first one's socket is closed already.
        assert_eq!(open_descriptors(), before + 1);
        drop(stream);
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn every_silent_address_gets_its_head_start() {
    let _alone = alone();
    clocked(async |clock| {
        let (one, two, (_server, address)) = (dead(), dead(), listener());
        let before = open_descriptors();
        let options = ConnectOptions::new().happy_eyeballs_delay(Duration::from_millis(100));
        let task = connect(options, [one.address, two.address, address]);
        still_waits(&task).await;
        assert_eq!(open_descriptors(), before + 1);
        clock.advance(Duration::from_millis(100));
        still_waits(&task).await;
        assert_eq!(open_descriptors(), before + 2);
        clock.advance(Duration::from_millis(99));
        still_waits(&task).await;
        clock.advance(Duration::from_millis(1));
        let stream = task.await.unwrap().unwrap();
        assert_eq!(stream.peer_addr(), Some(address));
        assert_eq!(open_descriptors(), before + 1);
    });
}

#[test]
fn without_happy_eyeballs_a_silent_address_holds_up_the_rest() {
    let _alone = alone();
    clocked(async |clock| {
        let (dead, (server, address)) = (dead(), listener());
        let options = ConnectOptions::new()
            .happy_eyeballs_delay(None)
            .timeout(Duration::from_secs(3600));
        let task = connect(options, [dead.address, address]);
        still_waits(&task).await;
        clock.advance(Duration::from_secs(3599));
        still_waits(&task).await;
        clock.advance(Duration::from_secs(1));
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "connect to any of 2 addresses (1 of 2 addresses tried): timed out after 3600s: {}: no answer",
                dead.address
            )
        );
        assert!(nobody_came(&server));
    });
}

#[test]
fn the_time_limit_ends_a_look_up() {
    let _alone = alone();
    clocked(async |clock| {
        let options = ConnectOptions::new()
            .timeout(Duration::from_secs(5))
            .resolver(async |_: &str, _: u16| pending().await);
        let task = connect(options, "slow.test:80");
        still_waits(&task).await;
        clock.advance(Duration::from_secs(5));
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "connect to slow.test:80: resolve: timed out after 5s"
        );
        assert!(error.is_timeout());
        assert_eq!(error.phase(), ConnectPhase::Resolve);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn one_time_limit_for_look_up_and_connecting() {
    let _alone = alone();
    clocked(async |clock| {
        let dead = dead();
        // Refused on the spot: it is no address to connect to.
        let broadcast = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        let addresses = [broadcast, dead.address];
        let before = open_descriptors();
        let options = ConnectOptions::new()
            .timeout(Duration::from_secs(5))
            .resolver(async move |_: &str, _: u16| {
                sleep(Duration::from_secs(3)).await;
                Ok(addresses.to_vec())
            });
        let task = connect(options, "slow.test:80");
        still_waits(&task).await;
        clock.advance(Duration::from_secs(3));
        still_waits(&task).await;
        clock.advance(Duration::from_millis(1999));
        still_waits(&task).await;
        clock.advance(Duration::from_millis(1));
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(tried(&error), addresses);
        let text = error.to_string();
        let begins =
            "connect to slow.test:80 (2 addresses tried): timed out after 5s: 255.255.255.255:9: ";
        assert!(text.starts_with(begins), "{text}");
        assert!(
            text.ends_with(&format!("; {}: no answer", dead.address)),
            "{text}"
        );
        assert_eq!(error.phase(), ConnectPhase::Connect);
        assert_eq!(error.io_kind(), io::ErrorKind::TimedOut);
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn dropped_anywhere_it_leaves_nothing_open() {
    /// Tells that the future which holds it is gone.
    struct Alive(#[expect(dead_code, reason = "held for its count")] Rc<()>);

    let _alone = alone();
    clocked(async |clock| {
        let dead = [dead(), dead(), dead()];
        let addresses = dead.each_ref().map(|dead| dead.address);
        let alive = Rc::new(());
        let options = ConnectOptions::new()
            .timeout(Duration::from_secs(60))
            .resolver({
                let alive = Rc::clone(&alive);
                async move |_: &str, _: u16| {
                    let _here = Alive(Rc::clone(&alive));
                    yield_now().await;
                    yield_now().await;
                    Ok(addresses.to_vec())
                }
            });
        let shares = Rc::strong_count(&alive);
        let before = open_descriptors();
        let mut cx = Context::from_waker(Waker::noop());
        // Looking up for two polls, then one attempt, then two, then three.
        let mut most = 0;
        for polls in 0..8 {
            let mut future = Box::pin(options.connect("host.test:80"));
            for poll in 0..polls {
                assert!(future.as_mut().poll(&mut cx).is_pending());
                most = most.max(open_descriptors() - before);
                if poll >= 2 {
                    clock.advance(Duration::from_millis(250));
                }
                settle().await;
            }
            drop(future);
            assert_eq!(open_descriptors(), before, "after {polls} polls");
            assert_eq!(Rc::strong_count(&alive), shares);
        }
        assert_eq!(most, 3);
    });
}

#[test]
fn a_cancelled_task_leaves_nothing_open() {
    let _alone = alone();
    clocked(async |clock| {
        let (one, two) = (dead(), dead());
        let before = open_descriptors();
        let task = connect(ConnectOptions::new(), [one.address, two.address]);
        settle().await;
        clock.advance(Duration::from_millis(250));
        still_waits(&task).await;
        assert_eq!(open_descriptors(), before + 2);
        task.cancel();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_closed_loop_leaves_nothing_open() {
    let _alone = alone();
    let dead = dead();
    let before = open_descriptors();
    let mut lp = EventLoop::new().unwrap();
    let options = ConnectOptions::new();
    let address = dead.address;
    let task = lp.create_task(async move { options.connect(address).await });
    lp.run_until_complete(settle()).unwrap();
    assert!(open_descriptors() > before);
    drop(lp);
    drop(task);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn from_an_address_of_our_own() {
    let _alone = alone();
    let (server, address) = listener();
    let own = Ipv4Addr::new(127, 0, 0, 2);
    if TcpListener::bind((own, 0)).is_err() {
        println!("skipped: this system has one loopback address only");
        return;
    }
    let options = ConnectOptions::new().local_addr((own, 0).into());
    run(async {
        // Of the other family, and so left out.
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, refusing().port()));
        let stream = options.connect([v6, address]).await.unwrap();
        let (_, peer) = server.accept().unwrap();
        assert_eq!(peer.ip(), own);
        assert_eq!(stream.local_addr().unwrap(), peer);

        let error = options.connect(v6).await.unwrap_err();
        assert!(matches!(
            error.kind(),
            ConnectErrorKind::Unusable { found: 1 }
        ));

        // One for each family: both are tried.
        let both = options.clone().local_addr((Ipv6Addr::LOCALHOST, 0).into());
        let targets = [v6, refusing()];
        let error = both.connect(targets).await.unwrap_err();
        assert_eq!(tried(&error), targets);
    })
    .unwrap();
}

#[test]
fn an_address_of_our_own_that_is_not_to_be_had() {
    let _alone = alone();
    let (_server, address) = listener();
    let (_other, taken) = listener();
    let options = ConnectOptions::new().local_addr(taken);
    let error = fail(&options, address);
    assert_eq!(
        error.to_string(),
        format!("connect to {address}: bind to {taken}: Address already in use")
    );
    assert_eq!(error.attempts()[0].step(), AttemptStep::Bind(taken));
    assert_eq!(error.io_kind(), io::ErrorKind::AddrInUse);

    // Kept for documentation: no machine has it.
    let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
    let options = ConnectOptions::new().local_addr(foreign);
    let error = fail(&options, address);
    assert_eq!(error.attempts()[0].step(), AttemptStep::Bind(foreign));
    assert_eq!(error.io_kind(), io::ErrorKind::AddrNotAvailable);
}

#[test]
fn over_ipv6() {
    let _alone = alone();
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let (server, address) = listener_at(Ipv6Addr::LOCALHOST);
    run(async {
        let by_text = format!("[::1]:{}", address.port());
        let stream = ConnectOptions::new().connect(by_text).await.unwrap();
        assert_eq!(server.accept().unwrap().1, stream.local_addr().unwrap());
        assert_eq!(stream.peer_addr(), Some(address));
    })
    .unwrap();
}

#[test]
fn the_peer_is_the_one_that_answered() {
    let _alone = alone();
    let (_server, address) = listener();
    run(async {
        // Connecting to "any" address means this machine.
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        let stream = ConnectOptions::new().connect(any).await.unwrap();
        assert_eq!(stream.peer_addr(), Some(address));
    })
    .unwrap();
}

#[test]
fn nodelay_unless_told_otherwise() {
    let _alone = alone();
    let (_server, address) = listener();
    run(async {
        let options = ConnectOptions::new();
        assert!(options.connect(address).await.unwrap().nodelay().unwrap());
        let options = options.nodelay(false);
        assert!(!options.connect(address).await.unwrap().nodelay().unwrap());
    })
    .unwrap();
}

#[test]
fn outside_a_loop_it_says_what_to_do() {
    let _alone = alone();
    let connect = pin!(open_connection("127.0.0.1:1"));
    let polled = connect.poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error)) = polled else {
        panic!("it cannot work");
    };
    assert!(matches!(error.kind(), ConnectErrorKind::NoLoop(_)));
    let text = error.to_string();
    assert!(text.starts_with("connect to 127.0.0.1:1: "), "{text}");
    assert!(
        text.contains("no event loop is running") && text.contains("rondel::run"),
        "{text}"
    );
}

#[test]
fn descriptors_exhausted() {
    let _alone = alone();
    let (_server, address) = listener();
    run(async {
        let options = ConnectOptions::new();
        let before = open_descriptors();
        let limit = Limit::lower();
        let error = options.connect([address, address]).await.unwrap_err();
        drop(limit);
        assert_eq!(error.attempts().len(), 2);
        for attempt in error.attempts() {
            assert_eq!(attempt.step(), AttemptStep::Open);
            assert!(attempt.error().raw_os_error().is_some());
        }
        let text = error.to_string();
        assert!(
            text.contains(&format!("{address}: open a socket: ")),
            "{text}"
        );
        assert_eq!(open_descriptors(), before);
        options.connect(address).await.unwrap();
    })
    .unwrap();
}

/// The process's limit of descriptors, lowered to what is in use.
struct Limit(rustix::process::Rlimit);

impl Limit {
    fn lower() -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::Nofile);
        // All numbers up to the lowest free one are in use.
        let free: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let lowered = Rlimit {
            current: Some(free.as_raw_fd().unsigned_abs().into()),
            maximum: before.maximum,
        };
        drop(free);
        setrlimit(Resource::Nofile, lowered).unwrap();
        Self(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        use rustix::process::{Resource, setrlimit};
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

#[test]
fn options_can_be_used_again_and_shown() {
    let _alone = alone();
    let (server, address) = listener();
    let options = ConnectOptions::new().timeout(Duration::from_secs(60));
    run(async {
        for _ in 0..3 {
            let (_reader, writer) = options.open_connection(address).await.unwrap();
            assert_eq!(server.accept().unwrap().1, writer.local_addr().unwrap());
        }
    })
    .unwrap();
    assert!(format!("{options:?}").contains("timeout: Some(60s)"));
}
