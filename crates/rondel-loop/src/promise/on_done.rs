//! Done-callbacks of promises: through the ready queue of the loop in which they were registered.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use rondel_executor::{Callback, Spawner, TaskLocals};

use crate::current;
use crate::inherit;
use crate::promise::error::Settled;
use crate::promise::state::{Done, State};

/// Removes a done-callback of a promise; see [`Deferred::on_done`](crate::Deferred::on_done).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackToken(u64);

struct DoneCall<F> {
    site: &'static Location<'static>,
    home: Spawner,
    locals: TaskLocals,
    closure: Cell<Option<F>>,
    how: Cell<Option<Settled>>,
}

impl<F: FnOnce(Settled) + 'static> Done for DoneCall<F> {
    fn schedule(self: Rc<Self>, how: Settled) {
        self.how.set(Some(how));
        let home = self.home.clone();
        home.push(self);
    }
}

impl<F: FnOnce(Settled)> Callback for DoneCall<F> {
    fn call(self: Rc<Self>) {
        if let (Some(closure), Some(how)) = (self.closure.take(), self.how.get()) {
            inherit::call(&self.locals, self.site, || closure(how));
        }
    }

    fn discard(&self) {
        drop(self.closure.take());
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }
}

/// Registers a callback, or schedules it if the promise is settled already.
#[track_caller]
pub(super) fn add<T, E, F>(state: &State<T, E>, closure: F) -> CallbackToken
where
    F: FnOnce(Settled) + 'static,
{
    let callback = DoneCall {
        site: Location::caller(),
        home: current::expect("on_done").spawner(),
        locals: TaskLocals::current(),
        closure: Cell::new(Some(closure)),
        how: Cell::new(None),
    };
    CallbackToken(state.add_callback(Rc::new(callback)))
}

pub(super) fn remove<T, E>(state: &State<T, E>, token: CallbackToken) -> bool {
    state.remove_callback(token.0)
}
