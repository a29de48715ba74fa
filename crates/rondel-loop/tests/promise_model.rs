//! A promise and its handles under random operations, beside a model of what they should do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::collection::vec;
use proptest::prelude::*;
use rondel_loop::{
    CallbackToken, Deferred, DeferredError, EventLoop, Promise, Settled, SharedDeferred, promise,
    yield_now,
};

#[derive(Clone, Debug)]
enum Op {
    SetResult(u8),
    SetError(u8),
    DropPromise,
    Cancel(usize),
    Poll(usize, usize),
    TryResult(usize),
    Clone(usize),
    Drop(usize),
    AddCallback(usize),
    RemoveCallback(usize, usize),
    /// Lets the loop call what is queued.
    Turn,
}

fn op() -> impl Strategy<Value = Op> {
    let handle = 0..6_usize;
    prop_oneof![
        1 => any::<u8>().prop_map(Op::SetResult),
        1 => any::<u8>().prop_map(Op::SetError),
        1 => Just(Op::DropPromise),
        1 => handle.clone().prop_map(Op::Cancel),
        6 => (handle.clone(), 0..3_usize).prop_map(|(handle, waker)| Op::Poll(handle, waker)),
        2 => handle.clone().prop_map(Op::TryResult),
        3 => handle.clone().prop_map(Op::Clone),
        3 => handle.clone().prop_map(Op::Drop),
        4 => handle.clone().prop_map(Op::AddCallback),
        2 => (handle, 0..8_usize).prop_map(|(handle, callback)| Op::RemoveCallback(handle, callback)),
        2 => Just(Op::Turn),
    ]
}

type Outcome = Result<u8, DeferredError<String>>;

/// A handle of either kind.
enum Handle {
    Sole(Deferred<u8, String>),
    Shared(SharedDeferred<u8, String>),
}

impl Handle {
    fn poll(&mut self, waker: &Waker) -> Poll<Outcome> {
        let mut cx = Context::from_waker(waker);
        match self {
            Self::Sole(deferred) => Pin::new(deferred).poll(&mut cx),
            Self::Shared(deferred) => Pin::new(deferred).poll(&mut cx),
        }
    }

    fn try_result(&mut self) -> Option<Outcome> {
        match self {
            Self::Sole(deferred) => deferred.try_result(),
            Self::Shared(deferred) => deferred.try_result(),
        }
    }

    fn cancel(&self) -> bool {
        match self {
            Self::Sole(deferred) => deferred.cancel(),
            Self::Shared(deferred) => deferred.cancel(),
        }
    }

    fn settled(&self) -> Option<Settled> {
        match self {
            Self::Sole(deferred) => deferred.settled(),
            Self::Shared(deferred) => deferred.settled(),
        }
    }

    fn on_done(&self, callback: impl FnOnce(Settled) + 'static) -> CallbackToken {
        match self {
            Self::Sole(deferred) => deferred.on_done(callback),
            Self::Shared(deferred) => deferred.on_done(callback),
        }
    }

    fn remove_on_done(&self, token: CallbackToken) -> bool {
        match self {
            Self::Sole(deferred) => deferred.remove_on_done(token),
            Self::Shared(deferred) => deferred.remove_on_done(token),
        }
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What should be.
#[derive(Default)]
struct Model {
    settled: Option<Settled>,
    outcome: Option<Result<u8, String>>,
    noticed: bool,
    reports: Vec<String>,
    /// By handle: the waker that is to be woken.
    waiting: BTreeMap<usize, usize>,
    wakes: [usize; 3],
    /// Callbacks that wait, by number.
    callbacks: Vec<usize>,
    /// What the next turn calls.
    queued: Vec<(usize, Settled)>,
    called: Vec<(usize, Settled)>,
    handles: usize,
}

impl Model {
    fn settle(&mut self, how: Settled) {
        self.settled = Some(how);
        for waker in std::mem::take(&mut self.waiting).into_values() {
            self.wakes[waker] += 1;
        }
        let callbacks = std::mem::take(&mut self.callbacks);
        self.queued
            .extend(callbacks.into_iter().map(|callback| (callback, how)));
    }

    fn set(&mut self, outcome: Result<u8, String>) -> Result<(), Result<u8, String>> {
        if self.settled.is_some() {
            return Err(outcome);
        }
        let how = if outcome.is_ok() {
            Settled::Finished
        } else {
            Settled::Failed
        };
        match (self.handles, outcome) {
            (0, Err(error)) => self.reports.push(error),
            (0, Ok(_)) => {}
            (_, outcome) => self.outcome = Some(outcome),
        }
        self.settle(how);
        Ok(())
    }

    fn read(&mut self, shared: bool) -> Option<Outcome> {
        let how = self.settled?;
        self.noticed = true;
        let outcome = if shared {
            self.outcome.clone()
        } else {
            self.outcome.take()
        };
        Some(match (outcome, how) {
            (Some(outcome), _) => outcome.map_err(DeferredError::Failed),
            (None, Settled::Cancelled) => Err(DeferredError::Cancelled),
            (None, Settled::Dropped) => Err(DeferredError::Dropped),
            (None, _) => Err(DeferredError::Taken),
        })
    }

    fn cancel(&mut self) -> bool {
        self.noticed = true;
        let pending = self.settled.is_none();
        if pending {
            self.settle(Settled::Cancelled);
        }
        pending
    }

    fn drop_handle(&mut self, key: usize) {
        self.waiting.remove(&key);
        self.handles -= 1;
        if self.handles > 0 {
            return;
        }
        match self.settled {
            Some(_) => {
                if let Some(Err(error)) = self.outcome.take()
                    && !self.noticed
                {
                    self.reports.push(error);
                }
            }
            None if self.callbacks.is_empty() => self.settle(Settled::Cancelled),
            None => {}
        }
    }
}

struct Real {
    promise: Option<Promise<u8, String>>,
    handles: BTreeMap<usize, Handle>,
    tokens: Vec<(usize, CallbackToken)>,
    called: Rc<RefCell<Vec<(usize, Settled)>>>,
    reports: Rc<RefCell<Vec<String>>>,
    wakers: [(Arc<Woken>, Waker); 3],
    next_handle: usize,
    next_callback: Rc<Cell<usize>>,
}

impl Real {
    fn new(shared: bool, reports: &Rc<RefCell<Vec<String>>>) -> Self {
        let (promise, deferred) = promise();
        let handle = if shared {
            Handle::Shared(deferred.shared())
        } else {
            Handle::Sole(deferred)
        };
        Self {
            promise: Some(promise),
            handles: BTreeMap::from([(0, handle)]),
            tokens: Vec::new(),
            called: Rc::default(),
            reports: Rc::clone(reports),
            wakers: std::array::from_fn(|_| {
                let woken = Arc::new(Woken::default());
                (Arc::clone(&woken), Waker::from(woken))
            }),
            next_handle: 1,
            next_callback: Rc::default(),
        }
    }

    /// One of the handles there are, by a number that may be too large.
    fn pick(&self, number: usize) -> Option<usize> {
        let count = self.handles.len();
        (count > 0).then(|| *self.handles.keys().nth(number % count).unwrap())
    }
}

async fn step(op: Op, real: &mut Real, model: &mut Model) {
    match op {
        Op::SetResult(value) => {
            if let Some(promise) = real.promise.take() {
                assert_eq!(
                    promise.set_result(value),
                    model.set(Ok(value)).map_err(Result::unwrap)
                );
            }
        }
        Op::SetError(error) => {
            if let Some(promise) = real.promise.take() {
                let error = error.to_string();
                assert_eq!(
                    promise.set_error(error.clone()),
                    model.set(Err(error)).map_err(Result::unwrap_err)
                );
            }
        }
        Op::DropPromise => {
            if let Some(promise) = real.promise.take() {
                drop(promise);
                if model.settled.is_none() {
                    model.settle(Settled::Dropped);
                }
            }
        }
        Op::Cancel(handle) => {
            if let Some(key) = real.pick(handle) {
                assert_eq!(real.handles[&key].cancel(), model.cancel());
            }
        }
        Op::Poll(handle, waker) => {
            if let Some(key) = real.pick(handle) {
                let shared = matches!(real.handles[&key], Handle::Shared(_));
                let polled = real
                    .handles
                    .get_mut(&key)
                    .unwrap()
                    .poll(&real.wakers[waker].1);
                match model.read(shared) {
                    Some(outcome) => assert_eq!(polled, Poll::Ready(outcome)),
                    None => {
                        assert_eq!(polled, Poll::Pending);
                        model.waiting.insert(key, waker);
                    }
                }
            }
        }
        Op::TryResult(handle) => {
            if let Some(key) = real.pick(handle) {
                let shared = matches!(real.handles[&key], Handle::Shared(_));
                let result = real.handles.get_mut(&key).unwrap().try_result();
                assert_eq!(result, model.read(shared));
            }
        }
        Op::Clone(handle) => {
            if let Some(key) = real.pick(handle)
                && let Handle::Shared(deferred) = &real.handles[&key]
            {
                let clone = deferred.clone();
                real.handles.insert(real.next_handle, Handle::Shared(clone));
                real.next_handle += 1;
                model.handles += 1;
            }
        }
        Op::Drop(handle) => {
            if let Some(key) = real.pick(handle) {
                drop(real.handles.remove(&key));
                model.drop_handle(key);
            }
        }
        Op::AddCallback(handle) => {
            if let Some(key) = real.pick(handle) {
                let number = real.next_callback.replace(real.next_callback.get() + 1);
                let called = Rc::clone(&real.called);
                let token =
                    real.handles[&key].on_done(move |how| called.borrow_mut().push((number, how)));
                real.tokens.push((number, token));
                match model.settled {
                    Some(how) => model.queued.push((number, how)),
                    None => model.callbacks.push(number),
                }
            }
        }
        Op::RemoveCallback(handle, callback) => {
            if let Some(key) = real.pick(handle)
                && let Some((number, token)) = real.tokens.get(callback).copied()
            {
                let there = model.callbacks.iter().position(|kept| *kept == number);
                assert_eq!(real.handles[&key].remove_on_done(token), there.is_some());
                if let Some(there) = there {
                    model.callbacks.remove(there);
                }
            }
        }
        Op::Turn => {
            yield_now().await;
            let queued = std::mem::take(&mut model.queued);
            model.called.extend(queued);
        }
    }
}

fn compare(real: &Real, model: &Model) {
    for handle in real.handles.values() {
        assert_eq!(handle.settled(), model.settled);
    }
    if let Some(promise) = &real.promise {
        assert_eq!(
            promise.is_cancelled(),
            model.settled == Some(Settled::Cancelled)
        );
    }
    let wakes: Vec<_> = real
        .wakers
        .iter()
        .map(|(woken, _)| woken.0.load(Ordering::Relaxed))
        .collect();
    assert_eq!(wakes, model.wakes);
    assert_eq!(*real.called.borrow(), model.called);
    assert_eq!(*real.reports.borrow(), model.reports);
    // Nothing is kept for longer than somebody waits.
    for (number, (woken, _)) in real.wakers.iter().enumerate() {
        let kept = model.waiting.values().filter(|waker| **waker == number);
        assert_eq!(Arc::strong_count(woken), 2 + kept.count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn it_does_what_the_model_does(shared: bool, ops in vec(op(), 0..40)) {
        let mut lp = EventLoop::new().unwrap();
        let reports = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&reports);
        lp.set_exception_handler(Some(Rc::new(move |_, context| {
            noted.borrow_mut().push(context.error.as_ref().unwrap().to_string());
        })));
        lp.run_until_complete(async {
            let mut real = Real::new(shared, &reports);
            let mut model = Model { handles: 1, ..Model::default() };
            for op in ops {
                step(op, &mut real, &mut model).await;
                compare(&real, &model);
            }
            // The end of everything, in whatever order: nothing is lost, nothing is said twice.
            step(Op::DropPromise, &mut real, &mut model).await;
            while !real.handles.is_empty() {
                step(Op::Drop(0), &mut real, &mut model).await;
            }
            step(Op::Turn, &mut real, &mut model).await;
            compare(&real, &model);
            assert!(model.queued.is_empty() && model.callbacks.is_empty());
        })
        .unwrap();
    }
}
