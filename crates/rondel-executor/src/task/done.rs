//! Done-callbacks: what is called when a task has ended.

use std::cell::Cell;
use std::rc::Rc;

use crate::callback::Callback;
use crate::site::Site;
use crate::task::info::TaskInfo;

/// What is called with a task that is done.
pub(crate) type OnDone = Box<dyn FnOnce(&TaskInfo)>;

/// A done-callback of a task, at its turn.
pub(crate) struct DoneCall {
    info: TaskInfo,
    callback: Cell<Option<OnDone>>,
}

impl DoneCall {
    pub(crate) fn new(info: TaskInfo, callback: OnDone) -> Self {
        Self {
            info,
            callback: Cell::new(Some(callback)),
        }
    }
}

impl Callback for DoneCall {
    fn call(self: Rc<Self>) {
        if let Some(callback) = self.callback.take() {
            callback(&self.info);
        }
    }

    fn site(&self) -> Site {
        self.info.site
    }
}
