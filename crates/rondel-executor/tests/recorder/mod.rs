//! A subscriber of `tracing` that writes down what it is told, a line each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

#[derive(Clone)]
pub(crate) struct Recorder {
    most: Level,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    lines: Vec<String>,
    spans: HashMap<u64, Span>,
    made: u64,
}

struct Span {
    name: String,
    metadata: &'static Metadata<'static>,
    handles: usize,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Recorder {
    pub(crate) fn new(most: Level) -> Self {
        let shared = Arc::default();
        Self { most, shared }
    }

    /// What was written since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().unwrap().lines)
    }

    /// How many spans have not been closed.
    pub(crate) fn open(&self) -> usize {
        self.shared.lock().unwrap().spans.len()
    }
}

/// ` name=value` for each field; the message first and alone.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!(" {value:?}")),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Shared {
    fn name(&self, id: &Id) -> String {
        let span = &self.spans[&id.into_u64()];
        format!("{} {}", id.into_u64(), span.name)
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut shared = self.shared.lock().unwrap();
        shared.made += 1;
        let id = Id::from_u64(shared.made);
        let metadata = attributes.metadata();
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        let span = Span {
            name: metadata.name().to_owned(),
            metadata,
            handles: 1,
        };
        shared.spans.insert(id.into_u64(), span);
        let line = format!("new {}{}", shared.name(&id), fields.0);
        shared.lines.push(line);
        id
    }

    fn record(&self, id: &Id, record: &Record<'_>) {
        let mut shared = self.shared.lock().unwrap();
        let mut fields = Fields(String::new());
        record.record(&mut fields);
        let line = format!("record {}{}", shared.name(id), fields.0);
        shared.lines.push(line);
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        let mut shared = self.shared.lock().unwrap();
        let line = format!("{} follows {}", shared.name(id), shared.name(follows));
        shared.lines.push(line);
    }

    fn event(&self, event: &Event<'_>) {
        let mut shared = self.shared.lock().unwrap();
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let mut line = String::from("event");
        ENTERED.with_borrow(|entered| {
            for id in entered {
                write!(line, " [{}]", shared.name(&Id::from_u64(*id))).unwrap();
            }
        });
        line += &fields.0;
        shared.lines.push(line);
    }

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
        let mut shared = self.shared.lock().unwrap();
        let line = format!("enter {}", shared.name(id));
        shared.lines.push(line);
    }

    fn exit(&self, id: &Id) {
        let left = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(left, Some(id.into_u64()), "left in the wrong order");
        let mut shared = self.shared.lock().unwrap();
        let line = format!("exit {}", shared.name(id));
        shared.lines.push(line);
    }

    fn clone_span(&self, id: &Id) -> Id {
        let mut shared = self.shared.lock().unwrap();
        shared.spans.get_mut(&id.into_u64()).unwrap().handles += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut shared = self.shared.lock().unwrap();
        let span = shared.spans.get_mut(&id.into_u64()).unwrap();
        span.handles -= 1;
        if span.handles > 0 {
            return false;
        }
        let line = format!("close {}", shared.name(&id));
        shared.lines.push(line);
        shared.spans.remove(&id.into_u64());
        true
    }

    fn current_span(&self) -> Current {
        let innermost = ENTERED.with_borrow(|entered| entered.last().copied());
        match innermost {
            Some(id) => {
                let metadata = self.shared.lock().unwrap().spans[&id].metadata;
                Current::new(Id::from_u64(id), metadata)
            }
            None => Current::none(),
        }
    }
}
