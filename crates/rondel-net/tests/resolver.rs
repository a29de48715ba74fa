//! Names to addresses: what leaves the thread, what is shared, what is left behind.

use std::collections::HashSet;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use rondel_executor::Waits;
use rondel_loop::{EventLoop, run, spawn, timeout, yield_now};
use rondel_net::{LookUp, ResolveErrorKind, Resolver, resolve};
use rondel_poll::Virtual;

/// A resolver whose look-ups tell when they begin and end when they are let.
struct Gated {
    resolver: Resolver,
    begun: Receiver<String>,
    gate: Arc<Gate>,
    calls: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }
}

impl Gated {
    fn new() -> Self {
        let (begin, begun): (Sender<String>, _) = channel();
        let gate = Arc::new(Gate::default());
        let calls = Arc::new(AtomicUsize::new(0));
        let resolver = Resolver::from_blocking({
            let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
            move |host| {
                calls.fetch_add(1, Ordering::SeqCst);
                // Gone if the test has ended.
                let _ = begin.send(host.to_owned());
                gate.pass();
                match host {
                    "nowhere" => Err(io::Error::new(io::ErrorKind::NotFound, "no such place")),
                    "empty" => Ok(Vec::new()),
                    "broken" => panic!("a broken resolver"),
                    _ => Ok(vec![v4(1), v4(2)]),
                }
            }
        });
        Self {
            resolver,
            begun,
            gate,
            calls,
        }
    }

    /// Waits until a look-up has begun, and says which.
    fn begun(&self) -> String {
        self.begun.recv().unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        // Lets the threads of a failed test go.
        self.gate.open();
    }
}

fn v4(last: u8) -> SocketAddr {
    ([192, 0, 2, last], 0).into()
}

/// Polls once; it must not be ready.
fn begin(look_up: &mut LookUp) {
    let polled = Pin::new(look_up).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

#[test]
fn literals_do_not_leave_the_thread() {
    let gated = Gated::new();
    let cases = [
        ("127.0.0.1", "127.0.0.1:7"),
        ("::1", "[::1]:7"),
        ("[::1]", "[::1]:7"),
        ("::ffff:192.0.2.1", "[::ffff:192.0.2.1]:7"),
        ("fe80::1%42", "[fe80::1%42]:7"),
        ("[fe80::1%42]", "[fe80::1%42]:7"),
    ];
    for (host, expected) in cases {
        let mut look_up = pin!(gated.resolver.resolve(host, 7));
        let polled = look_up
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(found)) = polled else {
            panic!("{host}: {polled:?}");
        };
        assert_eq!(found, [expected.parse().unwrap()], "{host}");
    }
    assert_eq!((gated.calls(), gated.resolver.threads()), (0, 0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_scope_may_be_the_name_of_an_interface() {
    let interfaces = std::fs::read_dir("/sys/class/net");
    let Some(interface) = interfaces.ok().and_then(|mut all| all.next()) else {
        println!("skipped: this machine shows no network interface");
        return;
    };
    let path = interface.unwrap().path();
    let name = path.file_name().unwrap().to_str().unwrap();
    let index = std::fs::read_to_string(path.join("ifindex")).unwrap();
    let index = index.trim().parse().unwrap();

    let gated = Gated::new();
    let found = run(gated.resolver.resolve(&format!("fe80::1%{name}"), 7)).unwrap();
    let expected = SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, index);
    assert_eq!(found.unwrap(), [expected.into()]);

    let unknown = run(gated.resolver.resolve("fe80::1%not-an-interface", 7)).unwrap();
    assert_eq!(unknown.unwrap_err().kind(), ResolveErrorKind::LookUp);
    assert_eq!((gated.calls(), gated.resolver.threads()), (0, 0));
}

#[test]
fn what_cannot_be_a_name_is_not_looked_up() {
    let gated = Gated::new();
    for host in ["[127.0.0.1]", "[::1", "[]", "[::1]x", "[localhost]", "a\0b"] {
        let error = run(gated.resolver.resolve(host, 7)).unwrap().unwrap_err();
        assert_eq!(error.kind(), ResolveErrorKind::InvalidName, "{host:?}");
        assert_eq!(error.host(), host);
        assert_eq!(
            io::Error::from(error).kind(),
            io::ErrorKind::InvalidInput,
            "{host:?}"
        );
    }
    assert_eq!((gated.calls(), gated.resolver.threads()), (0, 0));
}

#[test]
fn order_is_kept_and_duplicates_are_not() {
    let resolver = Resolver::from_blocking(|_| {
        let mut again = v4(3);
        again.set_port(99);
        Ok(vec![v4(3), "[::1]:0".parse().unwrap(), v4(1), again, v4(1)])
    });
    let found = run(resolver.resolve("anything", 443)).unwrap().unwrap();
    let expected = ["192.0.2.3:443", "[::1]:443", "192.0.2.1:443"];
    assert_eq!(found, expected.map(|address| address.parse().unwrap()));
}

#[test]
fn the_system_knows_localhost() {
    let found = run(resolve("localhost", 80)).unwrap().unwrap();
    assert!(!found.is_empty());
    let distinct: HashSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len());
    for address in found {
        assert!(address.ip().is_loopback() && address.port() == 80);
    }
}

#[test]
fn the_systems_reasons_are_told() {
    // Longer than any name may be, so that no server is asked.
    let host = format!("{}.invalid", "x".repeat(300));
    let error = run(resolve(&host, 80)).unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.host()),
        (ResolveErrorKind::LookUp, &*host)
    );
    let text = error.to_string();
    let reason = text.strip_prefix(&format!("resolve {host}: ")).unwrap();
    assert!(!reason.is_empty() && !reason.contains("failed to lookup"));
    assert!(error.source().unwrap().to_string().contains(reason));
}

#[test]
fn one_look_up_serves_all_who_ask_for_a_name() {
    let gated = Gated::new();
    run(async {
        let tasks: Vec<_> = (8000..8010)
            .map(|port| spawn(gated.resolver.resolve("host", port)))
            .collect();
        yield_now().await;
        assert_eq!(gated.begun(), "host");
        assert_eq!(gated.resolver.under_way(), 1);
        gated.gate.open();
        for (port, task) in (8000..).zip(tasks) {
            let expected = [1, 2].map(|last| {
                let mut address = v4(last);
                address.set_port(port);
                address
            });
            assert_eq!(task.await.unwrap().unwrap(), expected);
        }
        assert_eq!((gated.calls(), gated.resolver.under_way()), (1, 0));
    })
    .unwrap();
}

#[test]
fn another_loop_joins_a_look_up_under_way() {
    let gated = Gated::new();
    let mut here = gated.resolver.resolve("host", 1);
    begin(&mut here);
    assert_eq!(gated.begun(), "host");
    let (joined, has_joined) = channel();
    let elsewhere = {
        let resolver = gated.resolver.clone();
        thread::spawn(move || {
            run(async {
                let task = spawn(resolver.resolve("host", 2));
                yield_now().await;
                joined.send(()).unwrap();
                task.await.unwrap().unwrap()
            })
            .unwrap()
        })
    };
    has_joined.recv().unwrap();
    gated.gate.open();
    assert_eq!(elsewhere.join().unwrap()[1].to_string(), "192.0.2.2:2");
    assert_eq!(run(here).unwrap().unwrap()[1].to_string(), "192.0.2.2:1");
    assert_eq!(gated.calls(), 1);
}

#[test]
fn results_are_not_kept() {
    let gated = Gated::new();
    gated.gate.open();
    for calls in 1..=3 {
        run(gated.resolver.resolve("host", 1)).unwrap().unwrap();
        assert_eq!(gated.calls(), calls);
    }
}

#[test]
fn four_threads_at_most_and_the_rest_in_order() {
    let gated = Gated::new();
    assert_eq!(gated.resolver.threads(), 0);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut look_ups = names.map(|name| gated.resolver.resolve(name, 1));
    assert_eq!(
        (gated.resolver.threads(), gated.resolver.under_way()),
        (0, 0)
    );
    look_ups.iter_mut().for_each(begin);
    let first: HashSet<_> = (0..4).map(|_| gated.begun()).collect();
    assert_eq!(first, ["a", "b", "c", "d"].map(str::to_owned).into());
    assert!(gated.begun.try_recv().is_err());
    assert_eq!(
        (gated.resolver.threads(), gated.resolver.under_way()),
        (4, 6)
    );
    gated.gate.open();
    for look_up in look_ups {
        run(look_up).unwrap().unwrap();
    }
    assert_eq!(gated.calls(), 6);
}

#[test]
fn its_threads_have_a_name() {
    let resolver = Resolver::from_blocking(|_| {
        let name = thread::current().name().unwrap_or_default().to_owned();
        Err(io::Error::other(name))
    });
    let error = run(resolver.resolve("host", 1)).unwrap().unwrap_err();
    assert!(error.to_string().contains("rondel-resolver"), "{error}");
}

#[test]
fn who_leaves_does_not_take_the_look_up_along() {
    let gated = Gated::new();
    let (mut first, mut second) = (
        gated.resolver.resolve("host", 1),
        gated.resolver.resolve("host", 2),
    );
    begin(&mut first);
    begin(&mut second);
    drop(first);
    assert_eq!(gated.begun(), "host");
    gated.gate.open();
    assert_eq!(run(second).unwrap().unwrap().len(), 2);
    assert_eq!(gated.calls(), 1);
}

#[test]
fn a_look_up_that_nobody_wants_any_more_does_not_begin() {
    let gated = Gated::new();
    let mut busy = ["a", "b", "c", "d"].map(|name| gated.resolver.resolve(name, 1));
    busy.iter_mut().for_each(begin);
    (0..4).for_each(|_| drop(gated.begun()));

    let mut unwanted = gated.resolver.resolve("unwanted", 1);
    let mut also = gated.resolver.resolve("unwanted", 2);
    let mut wanted = gated.resolver.resolve("wanted", 1);
    begin(&mut unwanted);
    begin(&mut also);
    begin(&mut wanted);
    drop(unwanted);
    assert_eq!(gated.resolver.under_way(), 6);
    drop(also);
    assert_eq!(gated.resolver.under_way(), 5);

    gated.gate.open();
    run(wanted).unwrap().unwrap();
    assert_eq!(gated.begun(), "wanted");
    for look_up in busy {
        run(look_up).unwrap().unwrap();
    }
    assert_eq!(gated.calls(), 5);
}

#[test]
fn asking_again_joins_an_abandoned_look_up() {
    let gated = Gated::new();
    let mut impatient = gated.resolver.resolve("host", 1);
    begin(&mut impatient);
    assert_eq!(gated.begun(), "host");
    drop(impatient);
    assert_eq!(gated.resolver.under_way(), 1);
    for _ in 0..10 {
        begin(&mut gated.resolver.resolve("host", 1));
    }
    let mut patient = gated.resolver.resolve("host", 1);
    begin(&mut patient);
    gated.gate.open();
    assert_eq!(run(patient).unwrap().unwrap().len(), 2);
    assert_eq!((gated.calls(), gated.resolver.threads()), (1, 1));
}

#[test]
fn failures_reach_everyone_who_waits() {
    let gated = Gated::new();
    let cases = [
        ("nowhere", ResolveErrorKind::LookUp, "no such place"),
        (
            "empty",
            ResolveErrorKind::NoAddress,
            "the name has no address",
        ),
        (
            "broken",
            ResolveErrorKind::Panicked,
            "the resolver panicked",
        ),
    ];
    run(async {
        let tasks =
            cases.map(|(name, ..)| [1, 2, 3].map(|port| spawn(gated.resolver.resolve(name, port))));
        yield_now().await;
        gated.gate.open();
        for ((name, kind, reason), tasks) in cases.into_iter().zip(tasks) {
            for task in tasks {
                let error = task.await.unwrap().unwrap_err();
                assert_eq!((error.host(), error.kind()), (name, kind));
                assert_eq!(error.to_string(), format!("resolve {name}: {reason}"));
                let error = io::Error::from(error);
                assert_eq!(error.kind() == io::ErrorKind::NotFound, name != "broken");
            }
        }
        assert_eq!(gated.calls(), 3);
        assert_eq!(gated.resolver.under_way(), 0);
        gated.resolver.resolve("host", 1).await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_waiting_task_says_that_it_waits_for_a_name() {
    let gated = Gated::new();
    run(async {
        let task = spawn(gated.resolver.resolve("host", 1));
        yield_now().await;
        let waits = || {
            let lp = rondel_loop::LocalLoop::current().unwrap();
            lp.tasks().iter().map(|t| t.waits()).collect::<Vec<_>>()
        };
        assert!(waits().contains(&Waits::NAME));
        gated.gate.open();
        task.await.unwrap().unwrap();
        assert!(!waits().contains(&Waits::NAME));
    })
    .unwrap();
}

/// Were the look-up not counted as outstanding, the loop would have nothing else to wait for than the deadline in an hour, and
/// jump there, long before the thread has gone back and forth so often.
#[test]
fn a_virtual_clock_stands_still_meanwhile() {
    let mut lp = EventLoop::builder()
        .selector(Virtual::new())
        .build()
        .unwrap();
    let handle = lp.handle();
    let resolver = Resolver::from_blocking(move |_| {
        for _ in 0..50 {
            let there = handle.spawn(async { yield_now().await }).unwrap();
            there.result(None).unwrap();
        }
        Ok(vec![v4(1)])
    });
    let before = lp.time();
    let found = lp
        .run_until_complete(timeout(
            Duration::from_secs(3600),
            resolver.resolve("host", 1),
        ))
        .unwrap();
    assert_eq!(found.unwrap().unwrap().len(), 1);
    assert_eq!(lp.time(), before);
    // Afterwards it moves again.
    lp.run_until_complete(rondel_loop::sleep(Duration::from_secs(60)))
        .unwrap();
    assert!(lp.time() >= before + Duration::from_secs(60));
}

#[test]
fn closing_a_loop_does_not_wait_for_look_ups() {
    let gated = Gated::new();
    let mut lp = EventLoop::new().unwrap();
    let task = lp.create_task(gated.resolver.resolve("host", 1));
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(gated.begun(), "host");
    // Nobody has opened the gate.
    drop(lp);
    drop(task);
    assert_eq!(gated.resolver.under_way(), 1);
    let mut other = gated.resolver.resolve("host", 1);
    begin(&mut other);
    gated.gate.open();
    run(other).unwrap().unwrap();
}

#[test]
fn it_needs_no_loop() {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let gated = Gated::new();
    let mut look_up = gated.resolver.resolve("host", 5);
    begin(&mut look_up);
    gated.gate.open();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let found = loop {
        // Another waker than at first.
        match Pin::new(&mut look_up).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(found) => break found.unwrap(),
            Poll::Pending => thread::park(),
        }
    };
    assert_eq!(found[0].ip(), IpAddr::from([192, 0, 2, 1]));
}

#[test]
#[should_panic(expected = "`LookUp` polled after it was ready")]
fn polling_again_is_a_mistake() {
    let mut look_up = resolve("::1", 1);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut look_up).poll(&mut cx).is_ready());
    let _ = Pin::new(&mut look_up).poll(&mut cx);
}
