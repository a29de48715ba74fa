//! What a suspended task waits for, as tokio-console's resources and the operations on them.
//!
//! The console's counterpart looks at what is entered: an operation begins inside the span of its resource, and a poll of it is
//! an event inside the task's span, the resource's and the operation's, in this order.
//!
//! A resource lives as long as somebody waits for it. Those that wait for the same thing (the same lock, say) share one, by the
//! number in their labels; without a number each has its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::span::kept::{Inside, Kept, contained};
use crate::wait::Waits;

/// A kind of thing, and which of them.
type Label = (Waits, u32);

/// A wait that has not ended.
pub(super) struct Waiting {
    label: Label,
    operation: Kept,
    resource: Arc<Kept>,
}

thread_local! {
    /// What the tasks of this thread wait for, by number.
    static RESOURCES: RefCell<HashMap<Label, Weak<Kept>>> = RefCell::default();
}

/// A task has been suspended with this label, or has ended with none. Gives what it waits for now; `before`, if that is over, ends
/// here.
pub(super) fn suspended(before: Option<Waiting>, label: Label) -> Option<Waiting> {
    if let Some(waiting) = before {
        if waiting.label == label {
            waiting.tell(false);
            return Some(waiting);
        }
        waiting.tell(true);
        waiting.end();
    }
    if label.0 == Waits::NOTHING {
        return None;
    }
    let waiting = Waiting::begin(label)?;
    waiting.tell(false);
    Some(waiting)
}

impl Waiting {
    /// `None` if nobody wants to know.
    fn begin(label: Label) -> Option<Self> {
        let resource = resource(label)?;
        let operation = {
            let _inside = Inside::of(&resource);
            Kept::of(|| {
                tracing::trace_span!(
                    target: "rondel::wait",
                    "runtime.resource.async_op",
                    source = label.0.as_str(),
                )
            })
        };
        (!operation.is_disabled()).then_some(Self {
            label,
            operation,
            resource,
        })
    }

    /// The operation was polled, and is over or not.
    fn tell(&self, is_ready: bool) {
        let _resource = Inside::of(&self.resource);
        let _operation = Inside::of(&self.operation);
        contained(|| {
            tracing::trace!(target: "runtime::resource::poll_op", op_name = "wait", is_ready);
        });
    }

    fn end(self) {
        let Self {
            label,
            operation,
            resource,
        } = self;
        drop(operation);
        drop(resource);
        RESOURCES.with_borrow_mut(|resources| {
            if resources
                .get(&label)
                .is_some_and(|resource| resource.strong_count() == 0)
            {
                resources.remove(&label);
            }
        });
    }
}

/// The one that others wait for already, or a new one.
fn resource(label: Label) -> Option<Arc<Kept>> {
    let (waits, number) = label;
    if number != 0
        && let Some(known) = RESOURCES.with_borrow(|resources| resources.get(&label)?.upgrade())
    {
        return Some(known);
    }
    let (concrete_type, kind) = words(waits);
    let span = Kept::of(|| {
        tracing::trace_span!(
            target: "rondel::wait",
            parent: None,
            "runtime.resource",
            concrete_type,
            kind,
        )
    });
    if span.is_disabled() {
        return None;
    }
    let span = Arc::new(span);
    if number != 0 {
        RESOURCES.with_borrow_mut(|resources| resources.insert(label, Arc::downgrade(&span)));
        let _inside = Inside::of(&span);
        contained(|| {
            tracing::trace!(
                target: "runtime::resource::state_update",
                number,
                number.op = "override",
            );
        });
    }
    Some(span)
}

/// What kind of resource it is: the type, and the family. `timer` is a word of the console's.
const fn words(waits: Waits) -> (&'static str, &'static str) {
    match waits {
        Waits::TIME => ("Sleep", "timer"),
        Waits::TASK => ("Task", "Task"),
        Waits::CHILDREN | Waits::CHILD => ("TaskGroup", "Task"),
        Waits::CLEANUP => ("Cleanup", "Task"),
        Waits::JOB => ("Job", "Thread"),
        Waits::READABLE | Waits::WRITABLE => ("Descriptor", "IO"),
        Waits::NAME => ("Resolver", "IO"),
        Waits::ANSWER => ("Answer", "IO"),
        Waits::PROCESS => ("Child", "Process"),
        Waits::SIGNAL => ("Signal", "Process"),
        Waits::LOCK => ("Lock", "Sync"),
        Waits::PERMITS => ("Semaphore", "Sync"),
        Waits::EVENT => ("Event", "Sync"),
        Waits::NOTIFICATION => ("Notify", "Sync"),
        Waits::BARRIER => ("Barrier", "Sync"),
        Waits::ITEM | Waits::ROOM | Waits::JOINED => ("Queue", "Sync"),
        Waits::VALUE => ("Value", "Sync"),
        Waits::CLOSING => ("Channel", "Sync"),
        Waits::CANCELLATION => ("CancelToken", "Sync"),
        Waits::PROMISE => ("Promise", "Sync"),
        _ => ("Other", "Other"),
    }
}
