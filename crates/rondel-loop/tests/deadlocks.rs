//! Tasks that wait for each other, and children of their groups: found, and named.
#![cfg(not(rondel_loom))]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;

use rondel_executor::{task_group, task_scope};
use rondel_loop::{Deadlock, EventLoop, LocalLoop, TaskGraph, spawn, yield_now};
use rondel_sync::{
    Condition, Event, Lock, Mutex, Notify, OnceCell, Queue, RwLock, Semaphore, broadcast, mpsc,
    watch,
};

/// Runs a program until nothing in it goes on, and looks at it then.
fn stuck(program: impl AsyncFnOnce(), look: impl FnOnce(&TaskGraph, Vec<Deadlock>)) {
    let mut lp = EventLoop::new().unwrap();
    lp.set_accounts(true);
    lp.run_until_complete(async {
        program().await;
        for _ in 0..20 {
            yield_now().await;
        }
        let graph = LocalLoop::current().unwrap().task_graph();
        look(&graph, graph.deadlocks());
    })
    .unwrap();
}

/// The names on each circle: of children, where they have names.
fn names(found: &[Deadlock]) -> Vec<Vec<String>> {
    let names = |deadlock: &Deadlock| {
        let parties = deadlock.parties().iter();
        parties
            .map(|party| match party.child().and_then(|child| child.name()) {
                Some(child) => child.to_owned(),
                None => party.to_string(),
            })
            .collect()
    };
    found.iter().map(names).collect()
}

fn start(name: &str, task: impl Future<Output = ()> + 'static) {
    spawn(task).set_name(name);
}

fn only<'d>(found: &'d [Deadlock], graph: &TaskGraph) -> &'d Deadlock {
    assert_eq!(found.len(), 1, "{graph}");
    &found[0]
}

#[test]
fn children_of_one_group_on_two_locks() {
    let transfer = async |one: &Lock, other: &Lock| {
        let _one = one.acquire().await;
        yield_now().await;
        let _other = other.acquire().await;
        Ok::<_, Infallible>(())
    };
    stuck(
        async || {
            start("pair", async move {
                let (one, other) = (Lock::new(), Lock::new());
                let transfer = &transfer;
                let _ = task_group(async |g| {
                    g.spawn_named("there", transfer(&one, &other));
                    g.spawn_named("back", transfer(&other, &one));
                    Ok(())
                })
                .await;
            });
        },
        |graph, found| {
            let deadlock = only(&found, graph);
            assert!(deadlock.is_certain());
            assert_eq!(names(&found), [["there", "back"]]);
            assert_eq!(
                deadlock.to_string(),
                "deadlock: \"there\" in pair -> \"back\" in pair -> \"there\" in pair"
            );
            let children = graph.tasks().last().unwrap().children();
            let first = children[0].waits_for();
            assert!(first.ends_with(" held by \"back\" in pair"), "{first}");
        },
    );
}

#[test]
fn a_child_wants_what_its_task_holds_around_the_group() {
    stuck(
        async || {
            start("holder", async {
                let lock = Lock::new();
                let _held = lock.acquire().await;
                task_scope(async |g| {
                    g.spawn_named("other", pending::<()>());
                    g.spawn_named("child", async { drop(lock.acquire().await) });
                })
                .await;
            });
        },
        |graph, found| {
            assert!(only(&found, graph).is_certain());
            assert_eq!(names(&found), [["holder", "child"]]);
        },
    );
}

#[test]
fn a_child_of_a_group_in_a_child() {
    stuck(
        async || {
            start("task", async {
                let lock = Lock::new();
                task_scope(async |g| {
                    g.spawn_named("outer", async {
                        let _held = lock.acquire().await;
                        task_scope(async |g| {
                            g.spawn_named("inner", async { drop(lock.acquire().await) });
                        })
                        .await;
                    });
                })
                .await;
            });
        },
        |graph, found| {
            assert!(only(&found, graph).is_certain());
            assert_eq!(names(&found), [["inner", "outer"]]);
            let text = graph.to_string();
            let outer = text
                .lines()
                .position(|line| line.starts_with("   - \"outer\""));
            let inner = text
                .lines()
                .position(|line| line.starts_with("      - \"inner\""));
            assert!(
                outer.is_some() && outer.map(|line| line + 1) == inner,
                "{text}"
            );
        },
    );
}

/// The body of a group is a part of its task, and while it goes on, the task can let go.
#[test]
fn a_body_that_still_holds_the_lock_is_none() {
    stuck(
        async || {
            let gate = Rc::new(Event::new());
            start("holder", async move {
                let lock = Lock::new();
                task_scope(async |g| {
                    let _held = lock.acquire().await;
                    g.spawn_named("child", async { drop(lock.acquire().await) });
                    gate.wait().await;
                })
                .await;
            });
        },
        |graph, found| {
            assert!(found.is_empty(), "{graph}");
            let holder = graph.tasks().last().unwrap();
            assert!(holder.waits_for().starts_with("an event"), "{graph}");
        },
    );
}

#[test]
fn one_lock_twice() {
    stuck(
        async || {
            start("twice", async {
                let lock = Lock::new();
                let _one = lock.acquire().await;
                let _two = lock.acquire().await;
            });
        },
        |graph, found| {
            // Of two futures that are joined, one may still let go.
            assert!(!only(&found, graph).is_certain());
            assert_eq!(names(&found), [["twice"]]);
            let twice = graph.tasks().last().unwrap();
            assert!(twice.awaited_by().is_empty(), "not by itself");
            assert_eq!(twice.counterpart(), None);
        },
    );
}

#[test]
fn two_full_queues() {
    stuck(
        async || {
            let queues = [mpsc::channel::<u8>(1), mpsc::channel(1)];
            let [(to_left, from_left), (to_right, from_right)] = queues;
            for (name, sender, mut receiver) in [
                ("left", to_right, from_left),
                ("right", to_left, from_right),
            ] {
                start(name, async move {
                    sender.send(0).await.unwrap();
                    receiver.recv().await.unwrap();
                    loop {
                        sender.send(1).await.unwrap();
                    }
                });
            }
        },
        |graph, found| {
            let deadlock = only(&found, graph);
            assert!(!deadlock.is_certain(), "others may hold the ends");
            assert!(deadlock.standing().is_some());
            assert_eq!(names(&found), [["left", "right"]]);
            let text = deadlock.to_string();
            assert!(text.starts_with("perhaps a deadlock, for 0."), "{text}");
            let [left, right] = [1, 2].map(|place| &graph.tasks()[place]);
            assert_eq!(left.counterpart(), Some(right.info().id()));
            assert!(left.awaits().is_empty());
            assert!(
                left.waits_for().contains(", last made by right"),
                "{}",
                left.waits_for()
            );
        },
    );
}

#[test]
fn a_queue_that_nobody_reports_as_done() {
    stuck(
        async || {
            let jobs = Rc::new(Queue::new(0));
            let todo = jobs.clone();
            start("boss", async move {
                for job in 0..3 {
                    jobs.put(job).await.unwrap();
                }
                jobs.join().await;
            });
            start("worker", async move {
                while let Ok(job) = todo.get().await {
                    if job == 1 {
                        todo.task_done().unwrap();
                    }
                }
            });
        },
        |graph, found| {
            assert_eq!(names(&found), [["boss", "worker"]]);
            assert!(!only(&found, graph).is_certain());
            let boss = graph.tasks()[1].waits_for();
            let end = " with 2 items left, last taken from by worker";
            assert!(boss.ends_with(end), "{boss}");
        },
    );
}

#[test]
fn who_is_to_notify_wants_what_the_waiter_holds() {
    stuck(
        async || {
            let shop = Rc::new((Lock::new(), Mutex::new(1), Condition::new()));
            let own = shop.clone();
            start("customer", async move {
                let (door, stock, changed) = &*own;
                loop {
                    let _inside = door.acquire().await;
                    let stock = stock.lock().await;
                    let mut stock = changed.wait_for(stock, |stock| *stock > 0).await;
                    *stock -= 1;
                }
            });
            start("supplier", async move {
                let (door, stock, changed) = &*shop;
                changed.notify_all();
                let _inside = door.acquire().await;
                *stock.lock().await += 1;
                changed.notify_all();
            });
        },
        |graph, found| {
            assert_eq!(names(&found), [["customer", "supplier"]]);
            assert!(!only(&found, graph).is_certain());
            let customer = graph.tasks()[1].waits_for();
            assert!(customer.ends_with(", last given by supplier"), "{customer}");
        },
    );
}

#[test]
fn values_that_need_each_other() {
    type Cells = [OnceCell<u8>; 2];
    async fn make(cells: Rc<Cells>, own: usize) {
        let need_other = async || {
            yield_now().await;
            *cells[1 - own].get_or_init(async || pending().await).await
        };
        cells[own].get_or_init(need_other).await;
    }
    stuck(
        async || {
            let cells = Rc::new(Cells::default());
            start("one", make(cells.clone(), 0));
            start("other", make(cells, 1));
        },
        |graph, found| {
            assert_eq!(names(&found), [["one", "other"]]);
            assert!(only(&found, graph).is_certain());
            let one = graph.tasks()[1].waits_for();
            assert!(one.ends_with(" made by other"), "{one}");
        },
    );
}

#[test]
fn a_writer_behind_several_readers() {
    stuck(
        async || {
            let page = Rc::new(RwLock::new(()));
            let gate = Rc::new(Event::new());
            for name in ["first", "last"] {
                let (page, gate) = (page.clone(), gate.clone());
                start(name, async move {
                    let _reads = page.read().await;
                    if name == "first" {
                        gate.wait().await;
                    }
                });
            }
            start("writer", async move { drop(page.write().await) });
        },
        |graph, found| {
            assert!(found.is_empty(), "{graph}");
            let writer = graph.tasks().last().unwrap();
            let words = writer.waits_for();
            assert!(
                words.contains(", last taken by task 3, which has ended"),
                "{words}"
            );
            assert!(writer.awaits().is_empty(), "not certainly for anybody");
        },
    );
}

/// A guard with a share of its lock can be handed on: who took it need not have it.
#[test]
fn whoever_hands_a_lock_on_is_not_blamed() {
    stuck(
        async || {
            let lock = Rc::new(Lock::new());
            // Whoever had it before is not blamed, either.
            drop(lock.acquire().await);
            let on = lock.clone();
            start("giver", async move {
                let guard = on.clone().acquire_owned().await;
                spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                })
                .set_name("keeper");
                let wanting = spawn(async move { drop(on.acquire().await) });
                wanting.named("wanting").await.unwrap();
            });
        },
        |graph, found| {
            assert!(!only(&found, graph).is_certain());
            assert_eq!(names(&found), [["giver", "wanting"]]);
        },
    );
}

#[test]
fn tasks_of_one_name_are_told_apart() {
    stuck(
        async || {
            let locks = [Rc::new(Lock::new()), Rc::new(Lock::new())];
            for (one, other) in [(0, 1), (1, 0)] {
                let (one, other) = (locks[one].clone(), locks[other].clone());
                start("worker", async move {
                    let _one = one.acquire().await;
                    yield_now().await;
                    let _other = other.acquire().await;
                });
            }
        },
        |graph, found| {
            let text = only(&found, graph).to_string();
            assert_eq!(text, "deadlock: worker [2] -> worker [3] -> worker [2]");
            let first = graph.tasks()[1].waits_for();
            assert!(first.ends_with("held by worker [3]"), "{first}");
        },
    );
}

#[test]
fn readers_that_want_to_write() {
    stuck(
        async || {
            let pages = Rc::new([RwLock::new(()), RwLock::new(())]);
            for (name, own) in [("one", 0), ("other", 1)] {
                let pages = pages.clone();
                start(name, async move {
                    let _reads = pages[own].read().await;
                    yield_now().await;
                    let _writes = pages[1 - own].write().await;
                });
            }
        },
        |graph, found| {
            assert_eq!(names(&found), [["one", "other"]]);
            assert!(!only(&found, graph).is_certain(), "others may read, too");
        },
    );
}

#[test]
fn permits_of_two_semaphores() {
    stuck(
        async || {
            let both = Rc::new([Semaphore::new(2), Semaphore::new(1)]);
            for (name, wants) in [("one", [(0, 2), (1, 1)]), ("other", [(1, 1), (0, 1)])] {
                let both = both.clone();
                start(name, async move {
                    let mut held = Vec::new();
                    for (which, many) in wants {
                        held.push(both[which].acquire_many(many).await);
                        yield_now().await;
                    }
                });
            }
        },
        |graph, found| {
            assert_eq!(names(&found), [["one", "other"]]);
            assert!(!only(&found, graph).is_certain(), "others may have some");
        },
    );
}

/// What one has had to do with is forgotten with it, though another comes to lie in its place.
#[test]
fn nobody_is_blamed_for_what_is_gone() {
    stuck(
        async || {
            let addresses = RefCell::new(Vec::new());
            for _ in 0..100 {
                let queue = Box::new(Queue::new(1));
                queue.put_nowait(1).unwrap();
                queue.get_nowait().unwrap();
                addresses.borrow_mut().push((&raw const *queue).addr());
            }
            let queue = Box::new(Queue::<u8>::new(1));
            let again = addresses.borrow().contains(&(&raw const *queue).addr());
            start("waits", async move {
                assert!(again, "the allocator gives no place twice");
                queue.get().await.unwrap();
            });
        },
        |graph, found| {
            assert!(found.is_empty());
            let waits = graph.tasks()[1].waits_for();
            assert!(
                waits.starts_with("an item (#") && !waits.contains("last"),
                "{waits}"
            );
        },
    );
}

#[test]
fn whoever_gave_last_is_named() {
    stuck(
        async || {
            let event = Rc::new(Event::new());
            let notify = Rc::new(Notify::new());
            let (say, heard) = broadcast::channel::<u8>(4);
            let (set, seen) = watch::channel(0);
            let giver = spawn({
                let (event, notify) = (event.clone(), notify.clone());
                async move {
                    event.set();
                    event.clear();
                    notify.notify_waiters();
                    say.send(1).unwrap();
                    set.send(1).unwrap();
                    pending::<()>().await;
                }
            });
            giver.set_name("giver");
            let (mut heard, mut seen) = (heard, seen);
            start("of an event", async move { event.wait().await });
            start("of a notify", async move { notify.notified().await });
            start("of a broadcast", async move {
                while heard.recv().await.is_ok() {}
            });
            start("of a watched value", async move {
                while seen.changed().await.is_ok() {}
            });
        },
        |graph, found| {
            assert!(found.is_empty());
            let waiting = graph.tasks()[2..].iter();
            let words: Vec<_> = waiting
                .map(|task| {
                    let (thing, by) = task.waits_for().split_once(" (#").unwrap();
                    (thing, by.split_once("), ").unwrap().1)
                })
                .collect();
            assert_eq!(
                words,
                [
                    ("an event", "last set by giver"),
                    ("a notification", "last given by giver"),
                    ("an item", "last put in by giver"),
                    ("a value", "last set by giver")
                ]
            );
        },
    );
}

#[test]
fn a_task_on_two_circles() {
    stuck(
        async || {
            let locks: Rc<[Lock; 3]> = Rc::default();
            let gate = Rc::new(Event::new());
            // The hub holds two, and each of the others one that it wants.
            for (name, holds, wants) in [("left", 1, 0), ("right", 2, 0)] {
                let (locks, gate) = (locks.clone(), gate.clone());
                start(name, async move {
                    let _held = locks[holds].acquire().await;
                    gate.wait().await;
                    let _other = locks[wants].acquire().await;
                });
            }
            start("hub", async move {
                let _held = locks[0].acquire().await;
                gate.set();
                task_scope(async |g| {
                    g.spawn_named("to the left", async { drop(locks[1].acquire().await) });
                    g.spawn_named("to the right", async { drop(locks[2].acquire().await) });
                })
                .await;
            });
        },
        |_, found| {
            let mut names = names(&found);
            names.sort();
            assert_eq!(
                names,
                [
                    ["left", "hub", "to the left"],
                    ["right", "hub", "to the right"]
                ]
            );
            assert!(found.iter().all(Deadlock::is_certain));
        },
    );
}
