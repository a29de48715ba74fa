//! What stands for the main future where tasks are kept: its header, and the waker that queues a marker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use crate::core::{Core, Message};
use crate::task::header::Header;

/// What the executor knows of the main future while it is being run.
pub(crate) struct MainTask {
    pub(crate) header: Header,
    pub(crate) waker: Arc<MainWaker>,
}

/// Puts the marker into the queue, once until it is polled again.
pub(crate) struct MainWaker {
    core: Arc<Core>,
    /// Whether the marker stands in the queue, or is on its way there.
    pub(crate) queued: AtomicBool,
}

impl MainWaker {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            queued: AtomicBool::new(false),
        }
    }
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // AcqRel: what the waker's thread did before the wake happens before the poll that the marker leads to.
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.core.local.get() {
            Some(local) => local.push_main(),
            None => {
                self.core.send(Message::Main);
            }
        }
    }
}
