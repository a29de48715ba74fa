//! Nothing of a group is borrowed while foreign code runs: wakers, destructors and outputs come back into it.
#![cfg(not(rondel_loom))]

mod harness;
mod hooked_waker;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use harness::{Gate, on_drop, poll_once, yield_now};
use hooked_waker::{On, hooked_waker};
use rondel_executor::{
    Child, Executor, ReturnWhen, TaskGroup, TaskSet, as_completed, gather, race, task_group, wait,
};

type Group = TaskGroup<'static, ()>;
type Slot = Rc<RefCell<Option<Group>>>;

/// Does all that can be done with a group.
fn pry(group: &Group) {
    let child = group.spawn(ready(Ok(())));
    child.cancel();
    let _ = (
        group.len(),
        group.is_empty(),
        group.is_closed(),
        group.children(),
    );
    let _ = format!("{group:?}");
}

fn pry_into(slot: &Slot) {
    let group = slot.borrow().clone();
    if let Some(group) = group {
        pry(&group);
    }
}

#[test]
fn the_owners_waker_comes_back_when_it_is_cloned_woken_and_dropped() {
    let slot = Slot::default();
    let seen: Rc<RefCell<Vec<On>>> = Rc::default();
    let (prying, noting) = (Rc::clone(&slot), Rc::clone(&seen));
    let waker = hooked_waker(move |on| {
        noting.borrow_mut().push(on);
        pry_into(&prying);
    });
    let gate = Gate::new();
    let (waiting, again, inside) = (gate.wait(), gate.wait(), Rc::clone(&slot));
    let mut group = pin!(task_group(async move |g| {
        *inside.borrow_mut() = Some(g.clone());
        g.spawn(async move {
            waiting.await;
            Ok(())
        });
        again.await;
        Ok::<_, ()>("output")
    }));
    let mut cx = Context::from_waker(&waker);
    assert!(group.as_mut().poll(&mut cx).is_pending());
    assert!(group.as_mut().poll(&mut cx).is_pending());
    // Another waker takes the first one's place, which is dropped.
    assert!(
        group
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    for _ in 0..3 {
        assert!(group.as_mut().poll(&mut cx).is_pending());
    }
    gate.open();
    let mut turns = 0;
    let output = loop {
        turns += 1;
        assert!(turns < 100);
        // Every clone spawns another child; those end at once.
        if let Poll::Ready(ended) = group.as_mut().poll(&mut cx) {
            break ended;
        }
    };
    assert_eq!(output, Ok("output"));
    for on in [On::Clone, On::Wake, On::Drop] {
        assert!(seen.borrow().contains(&on), "{on:?}");
    }
    slot.take();
}

#[test]
fn destructors_of_children_and_of_their_values_come_back() {
    let slot = Slot::default();
    let executor = Executor::new();
    let runs = Rc::new(Cell::new(0));
    let prying = |slot: &Slot, runs: &Rc<Cell<usize>>| {
        let (slot, runs) = (Rc::clone(slot), Rc::clone(runs));
        on_drop(move || {
            runs.set(runs.get() + 1);
            pry_into(&slot);
        })
    };
    let (value, held, left, inside) = (
        prying(&slot, &runs),
        prying(&slot, &runs),
        prying(&slot, &runs),
        Rc::clone(&slot),
    );
    let task = executor.spawn(task_group(async move |g| {
        *inside.borrow_mut() = Some(g.clone());
        g.spawn(async move { Ok(value) });
        g.spawn(async move {
            let _held = held;
            yield_now().await;
            Ok(())
        });
        g.spawn(async move {
            let _left = left;
            pending::<Result<(), ()>>().await
        });
        yield_now().await;
        yield_now().await;
        g.cancel();
        pending().await
    }));
    executor.run_until_idle();
    assert_eq!(runs.get(), 3);
    let ended: Result<(), _> = task.into_result().unwrap().unwrap();
    assert!(ended.is_err());
    slot.take();
}

#[test]
fn a_child_may_cancel_itself_its_siblings_and_the_group_from_its_own_poll() {
    let executor = Executor::new();
    let task = executor.spawn(task_group(async |g| {
        let own: Rc<RefCell<Option<Child<()>>>> = Rc::default();
        let (inside, sibling) = (Rc::clone(&own), g.spawn(pending::<Result<(), ()>>()));
        let mut polls = 0;
        *own.borrow_mut() = Some(g.spawn(poll_fn(move |_| {
            polls += 1;
            assert_eq!(polls, 1, "cancelled at its suspension");
            assert!(inside.borrow().as_ref().unwrap().cancel());
            assert!(sibling.cancel());
            Poll::Pending
        })));
        yield_now().await;
        yield_now().await;
        yield_now().await;
        assert!(g.is_empty());
        assert!(own.borrow().as_ref().unwrap().is_finished());
        Ok(())
    }));
    executor.run_until_idle();
    assert_eq!(task.into_result().unwrap().unwrap(), Ok(()));
}

#[test]
fn an_awaiters_waker_that_comes_back_finds_the_child_ended() {
    let slot = Slot::default();
    let child: Rc<RefCell<Option<Child<()>>>> = Rc::default();
    let prying = Rc::clone(&slot);
    let waker = hooked_waker(move |_| pry_into(&prying));
    let gate = Gate::new();
    let (waiting, inside, handle) = (gate.wait(), Rc::clone(&slot), Rc::clone(&child));
    let mut group = pin!(task_group(async move |g| {
        *handle.borrow_mut() = Some(g.spawn(async move {
            waiting.await;
            Ok(())
        }));
        *inside.borrow_mut() = Some(g);
        pending::<()>().await;
        Ok::<_, ()>(())
    }));
    for _ in 0..2 {
        assert!(poll_once(group.as_mut()).is_pending());
    }
    let mut awaited = child.take().unwrap();
    let polled = Pin::new(&mut awaited).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    gate.open();
    assert!(poll_once(group.as_mut()).is_pending());
    assert_eq!(poll_once(Pin::new(&mut awaited)), Poll::Ready(Ok(())));
    slot.take();
}

/// A future that wakes its own waker, and the one before, whenever it is polled or dropped.
struct Restless(Option<Waker>, usize);

impl Future for Restless {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        cx.waker().wake_by_ref();
        self.0 = Some(cx.waker().clone());
        self.1 += 1;
        if self.1 == 4 {
            Poll::Ready(self.1)
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

#[test]
fn combinators_bear_futures_that_wake_themselves_as_they_are_dropped() {
    let executor = Executor::new();
    let restless = || Restless(None, 0);
    let task = executor.spawn(async move {
        let all = gather([restless(), restless(), restless()]).await;
        let few = gather((restless(), restless())).await;
        let raced = race([restless(), restless()]).await.unwrap().1;
        let mut completed = as_completed([restless(), restless()]);
        let mut ended = 0;
        while completed.next().await.is_some() {
            ended += 1;
        }
        (all, few, raced, ended)
    });
    executor.run_until_idle();
    assert_eq!(
        task.into_result().unwrap().unwrap(),
        (vec![4; 3], (4, 4), 4, 2)
    );
}

#[test]
fn a_joiners_waker_that_comes_back_into_the_executor_is_borne() {
    let executor = Rc::new(Executor::new());
    let inside = Rc::clone(&executor);
    let waker = hooked_waker(move |_| {
        inside.spawn(ready(())).detach();
        let _ = inside.tasks();
    });
    let mut cx = Context::from_waker(&waker);
    let mut set = TaskSet::on(executor.spawner());
    set.spawn(yield_now());
    assert!(set.poll_join_next(&mut cx).is_pending());
    executor.run_until_idle();
    assert!(set.poll_join_next(&mut cx).is_ready());

    let gate = Gate::new();
    let mut waiting = wait([executor.spawn(gate.wait())], ReturnWhen::All);
    executor.run_until_idle();
    assert!(Pin::new(&mut waiting).poll(&mut cx).is_pending());
    gate.open();
    executor.run_until_idle();
    assert!(Pin::new(&mut waiting).poll(&mut cx).is_ready());
}
