//! The executor: spawning, yielding, waking, callbacks.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Lengths;
use super::rate::rate;
use super::runtime::Tasks;
use crate::figure::Figure;

const BATCH: usize = 1000;
const ROUND_TRIPS: usize = 10_000;

/// A thousand no-op tasks spawned, then joined in order.
pub(crate) fn spawn<R: Tasks>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        let mut tasks = Vec::with_capacity(BATCH);
        rate(&lengths, BATCH, async || {
            tasks.extend((0..BATCH).map(|_| R::spawn(async {})));
            for task in tasks.drain(..) {
                R::joined(task.await);
            }
        })
        .await
    })
}

/// A thousand tasks that yield, each a thousand times.
pub(crate) fn yields<R: Tasks>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    let each = lengths.yields;
    R::run(async move {
        let mut tasks = Vec::with_capacity(BATCH);
        rate(&lengths, BATCH * each, async || {
            tasks.extend((0..BATCH).map(|_| {
                R::spawn(async move {
                    for _ in 0..each {
                        R::yield_now().await;
                    }
                })
            }));
            for task in tasks.drain(..) {
                R::joined(task.await);
            }
        })
        .await
    })
}

/// Two tasks that wake each other in turn, with nothing between them but their wakers.
pub(crate) fn ping_pong<R: Tasks>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        rate(&lengths, ROUND_TRIPS, async || {
            let ball = Rc::new(Ball::default());
            let pong = R::spawn(play(ball.clone(), Side::Pong));
            let ping = R::spawn(play(ball, Side::Ping));
            R::joined(ping.await);
            R::joined(pong.await);
        })
        .await
    })
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Side {
    #[default]
    Ping,
    Pong,
}

#[derive(Default)]
struct Ball {
    at: Cell<Side>,
    ping: WakerSlot,
    pong: WakerSlot,
}

async fn play(ball: Rc<Ball>, side: Side) {
    let (mine, theirs, other) = match side {
        Side::Ping => (&ball.ping, &ball.pong, Side::Pong),
        Side::Pong => (&ball.pong, &ball.ping, Side::Ping),
    };
    for _ in 0..ROUND_TRIPS {
        poll_fn(|cx| {
            if ball.at.get() == side {
                return Poll::Ready(());
            }
            mine.register(cx);
            Poll::Pending
        })
        .await;
        ball.at.set(other);
        theirs.wake();
    }
}

/// Who waits; the waker is cloned only when it is another one than last time.
#[derive(Default)]
pub(super) struct WakerSlot(Cell<Option<Waker>>);

impl WakerSlot {
    pub(super) fn register(&self, cx: &Context<'_>) {
        let kept = self.0.take().filter(|kept| kept.will_wake(cx.waker()));
        self.0.set(Some(kept.unwrap_or_else(|| cx.waker().clone())));
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake_by_ref();
            self.0.set(Some(waker));
        }
    }
}

/// A thousand callbacks; the last one wakes the task that waits for all of them.
pub(crate) fn call_soon<R: Tasks>(lengths: &Lengths) -> Vec<Figure> {
    let lengths = *lengths;
    R::run(async move {
        let open = Rc::new(Open::default());
        rate(&lengths, BATCH, async || {
            open.left.set(BATCH);
            for _ in 0..BATCH {
                let open = open.clone();
                R::call_soon(move || open.done());
            }
            poll_fn(|cx| {
                if open.left.get() == 0 {
                    return Poll::Ready(());
                }
                open.waiter.register(cx);
                Poll::Pending
            })
            .await;
        })
        .await
    })
}

#[derive(Default)]
struct Open {
    left: Cell<usize>,
    waiter: WakerSlot,
}

impl Open {
    fn done(&self) {
        let left = self.left.get() - 1;
        self.left.set(left);
        if left == 0 {
            self.waiter.wake();
        }
    }
}
