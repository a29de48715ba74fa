//! Many futures run by one: gathered, as a set of tasks, as children of a group.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::join_all;

use super::Lengths;
use super::rate::rate;
use super::runtime::{Composes, Tasks, unordered};
use super::tasks::WakerSlot;
use crate::figure::Figure;

const MANY: usize = 1000;
/// Shares no factor with their number, so that all have their turn, and far from one another.
const STRIDE: usize = 617;
/// What 0, 1, 2, ... add up to.
const SUM: usize = MANY * (MANY - 1) / 2;

/// A thousand futures, each of which yields once, run beside one another, with all their outputs in the end.
pub(crate) fn gather<R: Composes>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        rate(&lengths, MANY, async || {
            let futures = (0..MANY).map(yield_once::<R>).collect();
            assert_eq!(R::gather(futures).await, SUM);
        })
        .await
    })
}

/// The same by futures' `join_all` for every contender.
pub(crate) fn gather_by_futures<R: Tasks>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        rate(&lengths, MANY, async || {
            let outputs = join_all((0..MANY).map(yield_once::<R>)).await;
            assert_eq!(outputs.into_iter().sum::<usize>(), SUM);
        })
        .await
    })
}

async fn yield_once<R: Tasks>(n: usize) -> usize {
    R::yield_now().await;
    n
}

/// A thousand no-op tasks spawned into a set, which gives their outputs as they end.
pub(crate) fn task_set<R: Composes>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        let mut set = R::set();
        rate(&lengths, MANY, async || {
            for n in 0..MANY {
                R::spawn_into(&mut set, async move { n });
            }
            let mut sum = 0;
            while let Some(n) = R::join_next(&mut set).await {
                sum += n;
            }
            assert_eq!(sum, SUM);
        })
        .await
    })
}

/// A thousand children that wait; one after the other is woken, and their owner polled for it.
pub(crate) fn group<R: Composes>(lengths: &Lengths) -> Vec<Figure> {
    wake_one_by_one::<R, _>(lengths, |children| R::group(children))
}

/// The same by futures' `FuturesUnordered` for every contender.
pub(crate) fn group_by_futures<R: Tasks>(lengths: &Lengths) -> Vec<Figure> {
    wake_one_by_one::<R, _>(lengths, unordered)
}

fn wake_one_by_one<R, G>(
    lengths: &Lengths,
    group_of: impl FnOnce(Vec<Child>) -> G + 'static,
) -> Vec<Figure>
where
    R: Tasks,
    G: Future<Output = ()> + 'static,
{
    let lengths = *lengths;
    // In a task: to wake a runtime's main future costs some of them a system call.
    let work = async move {
        let class = Rc::new(Class {
            slots: (0..MANY).map(|_| WakerSlot::default()).collect(),
            polls: Cell::new(0),
            over: Cell::new(false),
        });
        let children = (0..MANY).map(|place| Child {
            class: class.clone(),
            place,
        });
        let mut group = pin!(group_of(children.collect()));
        // Begins them all. A group may do so in several turns.
        while class.polls.get() < MANY {
            poll_fn(|cx| {
                assert!(group.as_mut().poll(cx).is_pending(), "nobody has ended");
                Poll::Ready(())
            })
            .await;
        }
        let mut place = 0;
        let figures = rate(&lengths, MANY, async || {
            let before = class.polls.get();
            poll_fn(|cx| {
                for _ in 0..MANY {
                    place = (place + STRIDE) % MANY;
                    class.slots[place].wake();
                    assert!(group.as_mut().poll(cx).is_pending(), "nobody has ended");
                }
                Poll::Ready(())
            })
            .await;
            assert_eq!(class.polls.get() - before, MANY, "one poll a wake");
            R::yield_now().await;
        })
        .await;
        class.over.set(true);
        for slot in &class.slots {
            slot.wake();
        }
        group.await;
        figures
    };
    R::run(async move { R::joined(R::spawn(work).await) })
}

/// What the children have in common.
struct Class {
    slots: Vec<WakerSlot>,
    polls: Cell<usize>,
    over: Cell<bool>,
}

/// Waits until all is over, and counts its polls.
struct Child {
    class: Rc<Class>,
    place: usize,
}

impl Future for Child {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let class = &self.class;
        class.polls.set(class.polls.get() + 1);
        if class.over.get() {
            return Poll::Ready(());
        }
        class.slots[self.place].register(cx);
        Poll::Pending
    }
}
