//! What waits for what: edges, words, circles.
#![cfg(not(rondel_loom))]

use std::future::pending;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use rondel_executor::{TaskSet, Waits, gather, task_group, task_scope};
use rondel_loop::{
    DeadlockParty, EventLoop, LocalLoop, SourceKind, TaskGraph, TaskId, TaskNode,
    capture_call_graph, run, sleep, spawn, to_thread, yield_now,
};
use rondel_sync::{Event, Lock, Mutex, Queue, Semaphore, shared};

fn graph() -> TaskGraph {
    LocalLoop::current().unwrap().task_graph()
}

/// Lets every task that is ready run.
async fn settle() {
    for _ in 0..5 {
        yield_now().await;
    }
}

fn named<'g>(graph: &'g TaskGraph, name: &str) -> &'g TaskNode {
    graph
        .tasks()
        .iter()
        .find(|node| node.info().name() == name)
        .unwrap_or_else(|| panic!("no task {name} in\n{graph}"))
}

fn watched<F: Future>(main: F) -> F::Output {
    let mut lp = EventLoop::new().unwrap();
    lp.set_accounts(true);
    lp.run_until_complete(main).unwrap()
}

#[test]
fn every_wait_has_its_words() {
    watched(async {
        let (lock, event) = (Rc::new(Lock::new()), Rc::new(Event::new()));
        let (queue, semaphore) = (Rc::new(Queue::<u8>::new(1)), Rc::new(Semaphore::new(0)));
        let held = lock.try_acquire().unwrap();
        let gate = std::sync::Arc::new(std::sync::Barrier::new(2));
        let there = gate.clone();
        let promised = rondel_loop::promise::<(), std::io::Error>();
        spawn(sleep(Duration::from_secs(60))).set_name("sleeper");
        let on = lock.clone();
        spawn(async move { drop(on.acquire().await) }).set_name("locker");
        let on = event.clone();
        spawn(async move { on.wait().await }).set_name("listener");
        let on = queue.clone();
        spawn(async move { on.get().await }).set_name("consumer");
        let full = Rc::new(Queue::new(1));
        full.put_nowait(1).unwrap();
        let on = full.clone();
        spawn(async move { on.put(2).await }).set_name("producer");
        let on = full.clone();
        spawn(async move { on.join().await }).set_name("overseer");
        let on = semaphore.clone();
        spawn(async move { drop(on.acquire().await) }).set_name("visitor");
        spawn(promised.1).set_name("believer");
        spawn(to_thread(move || there.wait())).set_name("boss");
        settle().await;
        let graph = graph();
        let words = |name| named(&graph, name).waits_for().to_owned();
        assert_eq!(words("sleeper"), "time");
        let locker = words("locker");
        assert!(
            locker.starts_with("a lock (#") && locker.contains("held by Task-1"),
            "{locker}"
        );
        assert!(words("listener").starts_with("an event (#"));
        assert!(words("consumer").starts_with("an item (#"));
        assert!(words("producer").starts_with("room in a queue (#"));
        assert!(words("overseer").starts_with("a queue to be done (#"));
        assert!(words("visitor").starts_with("permits of a semaphore (#"));
        assert_eq!(words("believer"), "a promise");
        assert_eq!(words("boss"), "a job in a thread pool");
        assert!(named(&graph, "Task-1").is_running());
        gate.wait();
        drop(held);
    });
}

#[test]
fn waits_for_many_and_for_other_threads_have_their_words() {
    watched(async {
        let (send, receive) = shared::channel::<u8>(1);
        let event = std::sync::Arc::new(shared::Event::new());
        send.send(0).await.unwrap();
        let quiet = shared::channel::<u8>(1);
        spawn(async move { quiet.1.recv().await }).set_name("of a thread's channel");
        spawn(async move { send.send(1).await }).set_name("to a thread's channel");
        let on = event.clone();
        spawn(async move { on.wait().await }).set_name("of a thread's event");
        spawn(async {
            let mut set = TaskSet::new();
            set.spawn(pending::<()>());
            set.join_next().await
        })
        .set_name("of a set");
        spawn(task_scope(async |g| {
            let child = g.spawn(pending::<()>());
            child.await
        }))
        .set_name("of a child");
        spawn(Waits::ANSWER.while_pending(pending::<()>())).set_name("of somebody else's");
        let inside = Waits::ANSWER.while_pending(sleep(Duration::from_secs(60)));
        spawn(inside).set_name("of one that says it");
        settle().await;
        let graph = graph();
        let words = |name| named(&graph, name).waits_for().to_owned();
        assert!(words("of a thread's channel").starts_with("an item (#"));
        assert!(words("to a thread's channel").starts_with("room in a queue (#"));
        assert!(words("of a thread's event").starts_with("an event (#"));
        assert_eq!(words("of a set"), "tasks");
        assert_eq!(words("of a child"), "a child of a group");
        assert_eq!(words("of somebody else's"), "an answer");
        assert_eq!(words("of one that says it"), "time");
        drop((receive, event));
    });
}

#[test]
fn sockets_are_named() {
    watched(async {
        let (one, mut other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        let local = LocalLoop::current().unwrap();
        let registration = local.register(one.into(), SourceKind::Other).unwrap();
        let reader = spawn(async move {
            let mut byte = [0];
            std::future::poll_fn(|cx| {
                registration
                    .poll_read_with(cx, |fd| rustix::io::read(fd, &mut byte).map_err(Into::into))
            })
            .await
            .unwrap()
        })
        .named("reader");
        settle().await;
        let words = named(&graph(), "reader").waits_for().to_owned();
        assert!(words.starts_with("descriptor "), "{words}");
        assert!(
            words.ends_with("a connected Unix socket, to become readable"),
            "{words}"
        );
        other.write_all(b"x").unwrap();
        assert_eq!(reader.await.unwrap(), 1);
    });
}

#[test]
fn who_awaits_one_task_is_known_without_accounts() {
    run(async {
        let job = spawn(pending::<()>()).named("job");
        let id = job.id();
        let boss = spawn(job).named("boss");
        settle().await;
        let graph = graph();
        assert_eq!(named(&graph, "boss").awaits(), [id]);
        assert_eq!(named(&graph, "job").awaited_by(), [boss.id()]);
        assert_eq!(named(&graph, "boss").waits_for(), "job");
        let call_graph = LocalLoop::current().unwrap().call_graph(id).unwrap();
        let text = call_graph.to_string();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert!(lines[0].starts_with("* \"job\" spawned at "), "{text}");
        assert_eq!(lines[2], "+ Awaited by:");
        assert!(lines[3].starts_with("* \"boss\" spawned at "), "{text}");
        boss.cancel();
    })
    .unwrap();
}

#[test]
fn who_awaits_several_is_known_with_accounts() {
    watched(async {
        let jobs: Vec<_> = (0..3).map(|_| spawn(pending::<()>())).collect();
        let ids: Vec<_> = jobs.iter().map(rondel_executor::Task::id).collect();
        let boss = spawn(async move { drop(gather(jobs).await) }).named("boss");
        settle().await;
        let graph = graph();
        let mut awaited = named(&graph, "boss").awaits().to_vec();
        awaited.sort_unstable();
        assert_eq!(awaited, ids);
        boss.cancel();
    });
}

#[test]
fn children_of_groups_show_in_their_task() {
    watched(async {
        let event = Event::new();
        let event = &event;
        let task = spawn(async {
            task_group(async |g| {
                g.spawn_named("first", async {
                    sleep(Duration::from_secs(60)).await;
                    Ok::<(), std::io::Error>(())
                });
                g.spawn_named("second", pending::<Result<(), _>>());
                Ok(())
            })
            .await
        })
        .named("group");
        settle().await;
        let _ = event;
        let graph = graph();
        let node = named(&graph, "group");
        assert_eq!(node.waits_for(), "the children of a group");
        let children: Vec<_> = node
            .children()
            .iter()
            .map(|child| (child.info().name().unwrap(), child.waits_for()))
            .collect();
        assert_eq!(children, [("first", "time"), ("second", "nothing known")]);
        assert!(graph.to_string().contains("- \"first\" spawned at"));
        task.cancel();
        settle().await;
    });
}

/// Two tasks that take two locks in opposite order.
async fn embrace() -> [TaskId; 2] {
    let locks = [Rc::new(Mutex::new(())), Rc::new(Mutex::new(()))];
    [(0, 1), (1, 0)].map(|(one, other)| {
        let (one, other) = (locks[one].clone(), locks[other].clone());
        let task = spawn(async move {
            let _one = one.lock().await;
            yield_now().await;
            let _other = other.lock().await;
        });
        task.id()
    })
}

#[test]
fn a_deadlock_is_found_and_printed() {
    watched(async {
        let ids = embrace().await;
        settle().await;
        let graph = graph();
        let found = graph.deadlocks();
        assert_eq!(found.len(), 1);
        assert!(found[0].is_certain());
        let parties: Vec<_> = found[0].parties().iter().map(DeadlockParty::task).collect();
        assert_eq!(parties, ids);
        let [one, other] = ids;
        let text = graph.to_string();
        let line = format!("deadlock: Task-{one} -> Task-{other} -> Task-{one}");
        assert!(text.contains(&line), "{text}");
        assert!(text.contains(&format!("held by Task-{other}")), "{text}");
    });
}

#[test]
fn no_cycle_where_everybody_gets_on() {
    watched(async {
        let mutex = Rc::new(Mutex::new(()));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let mutex = mutex.clone();
                spawn(async move {
                    let _held = mutex.lock().await;
                    sleep(Duration::from_secs(60)).await;
                })
            })
            .collect();
        settle().await;
        let graph = graph();
        assert!(graph.deadlocks().is_empty(), "{graph}");
        // The lock goes on: so does who is waited for.
        let awaits = |task: usize| {
            let node = graph.get(tasks[task].id()).unwrap();
            node.awaits().to_vec()
        };
        assert_eq!(awaits(1), [tasks[0].id()]);
        assert_eq!(awaits(2), [tasks[0].id()]);
        tasks[0].cancel();
        settle().await;
        let graph = self::graph();
        let node = graph.get(tasks[2].id()).unwrap();
        assert_eq!(node.awaits(), [tasks[1].id()]);
    });
}

#[test]
fn outside_a_loop_there_is_nothing_to_capture() {
    let error = capture_call_graph(None).unwrap_err();
    assert!(error.to_string().starts_with("capture_call_graph:"));
    run(async {
        let gone = spawn(async {});
        let id = gone.id();
        gone.await.unwrap();
        assert!(capture_call_graph(Some(id)).unwrap().is_none());
        let own = capture_call_graph(None).unwrap().unwrap();
        assert!(own.task().is_running());
    })
    .unwrap();
}

#[test]
fn long_chains_are_no_danger() {
    run(async {
        let mut task = spawn(pending::<()>());
        for _ in 0..20_000 {
            task = spawn(async move { task.await.unwrap() });
        }
        settle().await;
        let graph = graph();
        assert_eq!(graph.tasks().len(), 20_002);
        assert!(graph.deadlocks().is_empty());
        assert!(graph.to_string().contains("and so on"));
        let last = graph.roots().next().unwrap().info().id();
        assert_eq!(last.get(), 1, "the main task, which awaits nobody now");
        let first = graph.tasks()[1].info().id();
        let calls = LocalLoop::current().unwrap().call_graph(first).unwrap();
        assert!(calls.to_string().contains("and so on"));
        drop(graph);
        task.cancel();
    })
    .unwrap();
}

#[test]
fn one_lock_that_very_many_want() {
    watched(async {
        let lock = Rc::new(Lock::new());
        let held = lock.try_acquire().unwrap();
        let wanting: Vec<_> = (0..20_000)
            .map(|_| {
                let lock = lock.clone();
                spawn(async move { drop(lock.acquire().await) })
            })
            .collect();
        settle().await;
        let graph = graph();
        let main = named(&graph, "Task-1");
        let ids: Vec<_> = wanting.iter().map(rondel_executor::Task::id).collect();
        assert_eq!(main.awaited_by(), ids);
        drop(held);
    });
}
