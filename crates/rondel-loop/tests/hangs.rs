//! Programs that hang, each in a way of its own, and the report that names the culprit. Locks in a circle are in `task_graph.rs`,
//! loops that are blocked in `inspect.rs` and `debug.rs`.
#![cfg(not(rondel_loom))]

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{TcpListener, TcpStream};
use std::panic::Location;
use std::rc::Rc;

use rondel_executor::Task;
use rondel_loop::{
    EventLoop, LocalLoop, SourceKind, TaskGraph, TaskNode, capture_call_graph, spawn, yield_now,
};
use rondel_sync::{Condition, Event, Mutex, Queue, mpsc};

/// Runs a program until nothing in it goes on; gives what can be seen of it then, and `look` at it.
fn hung<T>(program: impl AsyncFnOnce() -> T, look: impl FnOnce(&TaskGraph, T)) {
    let mut lp = EventLoop::new().unwrap();
    lp.set_accounts(true);
    lp.run_until_complete(async {
        let known = program().await;
        let (mut before, mut still) = (Vec::new(), 0);
        while still < 10 {
            yield_now().await;
            let now = polls();
            still = if now == before { still + 1 } else { 0 };
            before = now;
        }
        look(&LocalLoop::current().unwrap().task_graph(), known);
    })
    .unwrap();
}

/// How often each task but this one has been polled.
fn polls() -> Vec<u64> {
    let graph = LocalLoop::current().unwrap().task_graph();
    let others = graph.tasks().iter().filter(|node| !node.is_running());
    others
        .map(|node| node.info().account().unwrap().polls())
        .collect()
}

fn named<'g>(graph: &'g TaskGraph, name: &str) -> &'g TaskNode {
    let mut all = graph.tasks().iter();
    all.find(|node| node.info().name() == name)
        .unwrap_or_else(|| panic!("no task {name} in\n{graph}"))
}

/// The line of the report about this task.
fn line(graph: &TaskGraph, name: &str) -> String {
    let printed = graph.to_string();
    let begin = format!("* \"{name}\" spawned at ");
    let mut lines = printed.lines().map(str::trim_start);
    lines
        .find(|line| line.starts_with(&begin))
        .unwrap_or_else(|| panic!("no {name} in\n{printed}"))
        .to_owned()
}

/// Spawns, and says where.
#[track_caller]
fn start(name: &str, task: impl Future<Output = ()> + 'static) -> String {
    spawn(task).set_name(name);
    Location::caller().to_string()
}

#[test]
fn a_forgotten_task_done() {
    hung(
        async || {
            let jobs = Rc::new(Queue::new(0));
            for job in 0..3 {
                jobs.put_nowait(job).unwrap();
            }
            let todo = jobs.clone();
            start("worker", async move {
                while let Ok(job) = todo.get().await {
                    // Not so for the second.
                    if job != 1 {
                        todo.task_done().unwrap();
                    }
                }
            });
            start("boss", async move { jobs.join().await })
        },
        |graph, site| {
            let boss = line(graph, "boss");
            assert!(
                boss.contains(&format!("{site}, waits for a queue to be done (#")),
                "{boss}"
            );
            // The worker is through: nobody is left who could call `task_done`.
            assert!(
                boss.contains(" with 1 item left, last taken from by worker"),
                "{boss}"
            );
            let worker = named(graph, "worker").waits_for();
            assert!(worker.starts_with("an item (#"), "{worker}");
        },
    );
}

#[test]
fn a_full_queue_whose_consumer_is_gone() {
    hung(
        async || {
            let queue = Rc::new(Queue::new(2));
            let from = queue.clone();
            start("consumer", async move {
                from.get().await.unwrap();
                // It has what it wanted.
            });
            start("producer", async move {
                for number in 0..10 {
                    queue.put(number).await.unwrap();
                }
            })
        },
        |graph, site| {
            let producer = line(graph, "producer");
            assert!(
                producer.contains(&format!("{site}, waits for room in a queue (#")),
                "{producer}"
            );
            let consumer = "last made by task 2, which has ended";
            assert!(producer.contains(consumer), "{producer}");
            let others = graph.tasks().iter().map(|node| node.info().name());
            assert_eq!(others.filter(|name| name == "consumer").count(), 0);
        },
    );
}

#[test]
fn a_full_channel_whose_consumer_waits_for_its_producer() {
    hung(
        async || {
            let (sender, mut receiver) = mpsc::channel::<u8>(1);
            let all_sent = Rc::new(Event::new());
            let sent = all_sent.clone();
            let producer = start("producer", async move {
                for number in 0..10 {
                    sender.send(number).await.unwrap();
                }
                sent.set();
            });
            let consumer = start("consumer", async move {
                all_sent.wait().await;
                while receiver.recv().await.is_some() {}
            });
            (producer, consumer)
        },
        |graph, (producer, consumer)| {
            let first = line(graph, "producer");
            assert!(
                first.contains(&format!("{producer}, waits for room in a queue (#")),
                "{first}"
            );
            let second = line(graph, "consumer");
            assert!(
                second.contains(&format!("{consumer}, waits for an event (#")),
                "{second}"
            );
        },
    );
}

/// A connection whose other side takes it and says nothing, with who listens there.
fn silent_peer() -> (TcpStream, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    (stream, listener)
}

#[test]
fn a_peer_that_never_answers() {
    hung(
        async || {
            let (stream, listener) = silent_peer();
            let peer = stream.peer_addr().unwrap();
            let local = LocalLoop::current().unwrap();
            let registration = local.register(stream.into(), SourceKind::Tcp).unwrap();
            let site = start("client", async move {
                let mut byte = [0];
                let read = poll_fn(|cx| {
                    registration.poll_read_with(cx, |fd| {
                        rustix::io::read(fd, &mut byte).map_err(Into::into)
                    })
                });
                read.await.unwrap();
            });
            (site, peer, listener)
        },
        |graph, (site, peer, _listener)| {
            let client = line(graph, "client");
            assert!(
                client.contains(&format!("{site}, waits for descriptor ")),
                "{client}"
            );
            assert!(
                client.contains(&format!(", connected to {peer}, to become readable")),
                "{client}"
            );
        },
    );
}

#[test]
fn a_peer_that_takes_nothing() {
    hung(
        async || {
            let (stream, listener) = silent_peer();
            let peer = stream.peer_addr().unwrap();
            let local = LocalLoop::current().unwrap();
            let registration = local.register(stream.into(), SourceKind::Tcp).unwrap();
            start("uploader", async move {
                let much = vec![0; 1 << 20];
                loop {
                    let write = poll_fn(|cx| {
                        registration.poll_write_with(cx, |fd| {
                            rustix::io::write(fd, &much).map_err(Into::into)
                        })
                    });
                    write.await.unwrap();
                }
            });
            (peer, listener)
        },
        |graph, (peer, _listener)| {
            let uploader = line(graph, "uploader");
            assert!(
                uploader.contains(&format!(", connected to {peer}, to become writable")),
                "{uploader}"
            );
        },
    );
}

#[test]
fn a_join_of_a_task_that_awaits_the_joiner() {
    hung(
        async || {
            let handed_over = Rc::new(RefCell::new(None::<Task<()>>));
            let from = handed_over.clone();
            let parent = spawn(async move {
                yield_now().await;
                let child = from.take().unwrap();
                child.await.unwrap();
            })
            .named("parent");
            let first = parent.id();
            let child = spawn(async move { parent.await.unwrap() }).named("child");
            let ids = [first, child.id()];
            handed_over.replace(Some(child));
            ids
        },
        |graph, [parent, child]| {
            let found = graph.deadlocks();
            let parties = found[0].parties().iter().map(|party| party.task());
            assert_eq!(parties.collect::<Vec<_>>(), [parent, child]);
            assert!(found[0].is_certain() && found.len() == 1);
            let printed = graph.to_string();
            assert!(
                printed.ends_with("\ndeadlock: parent -> child -> parent\n"),
                "{printed}"
            );
            let calls = capture_call_graph(Some(parent))
                .unwrap()
                .unwrap()
                .to_string();
            let lines: Vec<_> = calls.lines().map(str::trim).collect();
            assert!(lines[0].starts_with("* \"parent\" spawned at "), "{calls}");
            assert_eq!(lines[1], "+ Waits for: child");
            assert!(lines[2].starts_with("+ Polled 2 times in "), "{calls}");
            assert!(lines[4].starts_with("* \"child\" spawned at "), "{calls}");
            assert_eq!(lines[5], "+ Waits for: parent");
            assert!(lines[6].starts_with("+ Polled 1 time in "), "{calls}");
            assert_eq!(*lines.last().unwrap(), "* parent (see above)");
        },
    );
}

#[test]
fn an_event_that_nobody_sets() {
    hung(
        async || {
            let event = Rc::new(Event::new());
            let one = event.clone();
            let site = start("early", async move { one.wait().await });
            start("late", async move { event.wait().await });
            site
        },
        |graph, site| {
            let early = line(graph, "early");
            assert!(
                early.contains(&format!("{site}, waits for an event (#")),
                "{early}"
            );
            let waits_for = |name| named(graph, name).waits_for();
            assert_eq!(waits_for("early"), waits_for("late"), "the same event");
        },
    );
}

#[test]
fn a_condition_that_is_changed_and_not_notified() {
    hung(
        async || {
            let stock = Rc::new((Mutex::new(0), Condition::new()));
            let shared = stock.clone();
            let site = start("customer", async move {
                let (amount, changed) = &*shared;
                let amount = amount.lock().await;
                drop(changed.wait_for(amount, |amount| *amount > 0).await);
            });
            start("supplier", async move {
                yield_now().await;
                // And says nothing of it.
                *stock.0.lock().await += 1;
            });
            site
        },
        |graph, site| {
            let customer = line(graph, "customer");
            assert!(
                customer.contains(&format!("{site}, waits for a notification (#")),
                "{customer}"
            );
            assert!(!customer.contains("last given"), "nobody ever has");
        },
    );
}
