//! `OnceCell`: one initialisation, turns, failure, panics, cancellation.

mod harness;
mod hooked_waker;

use std::cell::Cell;
use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use harness::{Task, Wakes, poll_once};
use hooked_waker::{On, hooked_waker};
use rondel_sync::once_cell::SetError;
use rondel_sync::{Event, OnceCell};

#[test]
fn a_full_cell_gives_its_value_without_yielding_or_initialising() {
    let (wakes, cell) = (Wakes::new(), OnceCell::new());
    let first = Task::new(1, &wakes, cell.get_or_init(|| ready(1))).ready();
    let second = Task::new(2, &wakes, cell.get_or_init(async || unreachable!())).ready();
    assert_eq!((first, second, cell.get()), (&1, &1, Some(&1)));
    assert!(std::ptr::eq(first, second));
}

#[test]
fn others_wait_for_the_one_who_initialises() {
    let (wakes, cell, go) = (Wakes::new(), OnceCell::new(), Event::new());
    let mut first = Task::waiting(
        1,
        &wakes,
        cell.get_or_init(async || {
            go.wait().await;
            "first"
        }),
    );
    let mut others: Vec<_> = (2..5)
        .map(|id| Task::waiting(id, &wakes, cell.get_or_init(async || "other")))
        .collect();
    assert_eq!((cell.initializing(), cell.waiting()), (true, 3));
    assert_eq!(cell.set("set"), Err(SetError::Initializing("set")));
    go.set();
    assert_eq!(wakes.take(), [1]);
    assert_eq!(first.ready(), &"first");
    assert_eq!(wakes.take(), [2, 3, 4]);
    assert_eq!((cell.initializing(), cell.waiting()), (false, 0));
    for other in &mut others {
        assert_eq!(other.ready(), &"first");
    }
    assert_eq!(cell.set("set"), Err(SetError::Initialized("set")));
}

#[test]
fn a_failure_is_the_failers_own_and_the_turn_goes_to_the_next() {
    let (wakes, cell, go) = (Wakes::new(), OnceCell::<u32>::new(), Event::new());
    let mut fails = Task::waiting(
        1,
        &wakes,
        cell.get_or_try_init(async || {
            go.wait().await;
            Err("failed")
        }),
    );
    let mut second = Task::waiting(2, &wakes, cell.get_or_try_init(|| ready(Ok::<_, &str>(2))));
    let mut third = Task::waiting(3, &wakes, cell.get_or_init(|| ready(3)));
    go.set();
    assert_eq!(fails.ready(), Err("failed"));
    assert_eq!(wakes.take(), [1, 2]);
    // It is the second one's turn, though he has not run: nobody gets in between.
    assert_eq!(cell.set(4), Err(SetError::Initializing(4)));
    let mut greedy = Task::waiting(4, &wakes, cell.get_or_init(|| ready(4)));
    assert!(third.is_pending());
    assert_eq!(second.ready(), Ok(&2));
    assert_eq!((third.ready(), greedy.ready()), (&2, &2));
}

#[test]
fn one_who_is_dropped_while_initialising_gives_the_turn_to_the_next() {
    let (wakes, cell) = (Wakes::new(), OnceCell::new());
    let first = Task::waiting(1, &wakes, cell.get_or_init(pending));
    let second = Task::waiting(2, &wakes, cell.get_or_init(pending));
    let mut third = Task::waiting(3, &wakes, cell.get_or_init(|| ready(3)));
    drop(first);
    assert_eq!(wakes.take(), [2]);
    // Before he has taken his turn.
    drop(second);
    assert_eq!(wakes.take(), [3]);
    assert_eq!(third.ready(), &3);
}

#[test]
fn a_turn_that_nobody_wants_leaves_the_cell_free() {
    let (wakes, cell) = (Wakes::new(), OnceCell::new());
    drop(Task::waiting(1, &wakes, cell.get_or_init(pending)));
    assert!(!cell.initializing());
    assert_eq!(cell.set(1), Ok(()));
}

#[test]
fn a_panic_while_initialising_gives_the_turn_to_the_next() {
    let (wakes, cell, go) = (Wakes::new(), OnceCell::new(), Event::new());
    let panics = async || {
        go.wait().await;
        resume_unwind(Box::new("a panic on purpose"))
    };
    let mut first = Task::waiting(1, &wakes, cell.get_or_init(panics));
    let mut second = Task::waiting(2, &wakes, cell.get_or_init(|| ready(2)));
    go.set();
    assert!(catch_unwind(AssertUnwindSafe(|| first.poll())).is_err());
    assert_eq!(wakes.take(), [1, 2]);
    assert_eq!(second.ready(), &2);
}

#[test]
fn what_an_initialiser_had_begun_is_dropped_before_the_next_has_the_turn() {
    struct Watch<'a>(&'a OnceCell<u32>, &'a Wakes, &'a Cell<u32>);
    impl Drop for Watch<'_> {
        fn drop(&mut self) {
            assert!(self.0.initializing());
            assert!(self.1.take().is_empty());
            self.2.set(self.2.get() + 1);
        }
    }
    let (wakes, cell, go) = (Wakes::new(), OnceCell::new(), Event::new());
    let drops = Cell::new(0);
    let watched = async |panics: bool| {
        let _watch = Watch(&cell, &wakes, &drops);
        if panics {
            resume_unwind(Box::new("a panic on purpose"));
        }
        go.wait().await;
        Err::<u32, _>("failed")
    };
    let mut tasks: Vec<_> = [false, true, false]
        .into_iter()
        .zip(0..)
        .map(|(panics, id)| {
            let watched = &watched;
            Task::waiting(
                id,
                &wakes,
                cell.get_or_try_init(async move || watched(panics).await),
            )
        })
        .collect();
    drop(tasks.remove(0));
    assert_eq!(wakes.take(), [1]);
    assert!(catch_unwind(AssertUnwindSafe(|| tasks[0].poll())).is_err());
    assert_eq!(wakes.take(), [2]);
    go.set();
    assert_eq!(tasks[1].ready(), Err("failed"));
    assert_eq!(drops.get(), 3);
    assert!(!cell.initializing());
}

#[test]
fn the_value_can_be_changed_taken_and_made_anew() {
    let mut cell = OnceCell::from(String::from("a"));
    cell.get_mut().unwrap().push('b');
    assert_eq!(cell.take().as_deref(), Some("ab"));
    assert_eq!((cell.take(), cell.get_mut()), (None, None));
    let made = async || String::from("c");
    assert_eq!(
        poll_once(pin!(cell.get_or_init(made))),
        Poll::Ready(&"c".into())
    );
    assert_eq!(cell.into_inner().as_deref(), Some("c"));
}

#[test]
fn taking_frees_a_cell_whose_initialiser_was_leaked() {
    let (wakes, mut cell) = (Wakes::new(), OnceCell::<u32>::new());
    Task::waiting(1, &wakes, cell.get_or_init(pending)).leak();
    Task::waiting(2, &wakes, cell.get_or_init(pending)).leak();
    assert!(cell.initializing());
    assert_eq!(cell.take(), None);
    assert_eq!((cell.initializing(), cell.waiting()), (false, 0));
    assert_eq!(cell.set(1), Ok(()));
    assert!(wakes.take().is_empty());
}

#[test]
fn errors_and_cells_say_what_they_are() {
    let cell = OnceCell::from(1);
    assert_eq!(
        format!("{cell:?}"),
        "OnceCell { value: Some(1), initializing: false, waiting: 0 }"
    );
    let full = cell.set(2).unwrap_err();
    assert_eq!(format!("{full:?}"), "Initialized");
    assert_eq!(
        full.to_string(),
        "cannot set the value of a cell that has one already"
    );
    assert_eq!(full.into_inner(), 2);
    assert_eq!(
        SetError::Initializing(()).to_string(),
        "cannot set the value of a cell that is being initialised"
    );
}

#[test]
fn a_value_whose_destructor_comes_back_to_the_cell() {
    struct Returns(Weak<OnceCell<Self>>, Rc<Cell<u32>>);
    impl Drop for Returns {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            if let Some(cell) = self.0.upgrade() {
                let made = async || Err::<Self, ()>(());
                assert!(poll_once(pin!(cell.get_or_try_init(made))).is_ready());
            }
        }
    }
    let (cell, drops) = (Rc::new(OnceCell::new()), Rc::default());
    let value = || Returns(Rc::downgrade(&cell), Rc::clone(&drops));
    assert!(cell.set(value()).is_ok());
    assert!(cell.set(value()).is_err());
    assert_eq!(drops.get(), 1);
    assert!(!cell.initializing());
    drop(cell);
    assert_eq!(drops.get(), 2);
}

#[test]
fn a_waker_that_panics_does_not_cost_the_value() {
    let (wakes, cell, go) = (Wakes::new(), OnceCell::new(), Event::new());
    let make = async || {
        go.wait().await;
        1
    };
    let mut first = Task::waiting(1, &wakes, cell.get_or_init(make));
    let waker = hooked_waker(|on| {
        if on == On::Wake {
            resume_unwind(Box::new("a panic on purpose"));
        }
    });
    let mut second = pin!(cell.get_or_init(|| ready(2)));
    let polled = second.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let mut third = Task::waiting(3, &wakes, cell.get_or_init(|| ready(3)));
    go.set();
    assert!(catch_unwind(AssertUnwindSafe(|| first.poll())).is_err());
    assert_eq!(wakes.take(), [1, 3]);
    assert_eq!((third.ready(), cell.get()), (&1, Some(&1)));
    assert_eq!(poll_once(second), Poll::Ready(&1));
}

type Making = Pin<Box<dyn Future<Output = u32>>>;

#[test]
fn a_turn_that_comes_while_the_waker_is_cloned_is_not_missed() {
    let cell = Rc::new(OnceCell::new());
    let mut making: Making = {
        let cell = Rc::clone(&cell);
        Box::pin(async move { *cell.get_or_init(pending).await })
    };
    assert!(poll_once(Pin::new(&mut making)).is_pending());
    let making = Cell::new(Some(making));
    let waker = hooked_waker(move |on| {
        if on == On::Clone {
            drop(making.take());
        }
    });
    let next = pin!(cell.get_or_init(|| ready(2)));
    let polled = next.poll(&mut Context::from_waker(&waker));
    assert_eq!(polled, Poll::Ready(&2));
}

#[test]
fn a_waker_whose_drop_panics_does_not_cost_the_turn() {
    for succeed in [true, false] {
        let cell = Rc::new(OnceCell::new());
        let mut making: Making = {
            let cell = Rc::clone(&cell);
            Box::pin(async move { *cell.get_or_init(pending).await })
        };
        assert!(poll_once(Pin::new(&mut making)).is_pending());
        let (making, armed) = (Cell::new(Some(making)), Rc::new(Cell::new(false)));
        let waker = hooked_waker({
            let armed = Rc::clone(&armed);
            move |on| match on {
                // The turn comes too early to use the waker up.
                On::Clone => {
                    drop(making.take());
                    armed.set(true);
                }
                On::Drop if armed.take() => resume_unwind(Box::new("a panic on purpose")),
                On::Wake | On::Drop => {}
            }
        });
        let mut next = Box::pin(cell.get_or_try_init(async || succeed.then_some(2).ok_or(())));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            next.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        assert!(polled.is_err());
        drop(next);
        assert_eq!(cell.get(), succeed.then_some(&2));
        assert!(!cell.initializing());
    }
}
