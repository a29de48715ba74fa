//! A protocol that writes down what it is told, and does what the test says.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rondel_net::{Protocol, Transport};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Made,
    Data(Vec<u8>),
    End,
    Pause,
    Resume,
    Lost(Option<io::ErrorKind>),
}

impl Event {
    /// The method it stands for.
    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Made => Method::Made,
            Self::Data(_) => Method::Data,
            Self::End => Method::End,
            Self::Pause => Method::Pause,
            Self::Resume => Method::Resume,
            Self::Lost(_) => Method::Lost,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Made,
    Data,
    End,
    Pause,
    Resume,
    Lost,
}

pub(crate) const METHODS: [Method; 6] = [
    Method::Made,
    Method::Data,
    Method::End,
    Method::Pause,
    Method::Resume,
    Method::Lost,
];

/// What was told, in order; adjoining data joined.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<Event>>>);

impl Log {
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut joined: Vec<Event> = Vec::new();
        for event in &*self.0.borrow() {
            match (joined.last_mut(), event) {
                (Some(Event::Data(before)), Event::Data(more)) => before.extend_from_slice(more),
                _ => joined.push(event.clone()),
            }
        }
        joined
    }

    /// How often `data_received` was called.
    pub(crate) fn pieces(&self) -> usize {
        self.count(|event| matches!(event, Event::Data(_)))
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for event in &*self.0.borrow() {
            if let Event::Data(bytes) = event {
                all.extend_from_slice(bytes);
            }
        }
        all
    }

    pub(crate) fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.0.borrow().iter().filter(|event| which(event)).count()
    }

    pub(crate) fn has(&self, event: &Event) -> bool {
        self.0.borrow().contains(event)
    }

    pub(crate) fn has_method(&self, method: Method) -> bool {
        self.0.borrow().iter().any(|event| event.method() == method)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.has_method(Method::Lost)
    }

    /// The order that a protocol is promised, of a connection that has ended.
    #[track_caller]
    pub(crate) fn assert_contract(&self) {
        let events = self.events();
        assert_eq!(events.first(), Some(&Event::Made), "{events:?}");
        assert!(matches!(events.last(), Some(Event::Lost(_))), "{events:?}");
        let count = |method| events.iter().filter(|e| e.method() == method).count();
        for once in [Method::Made, Method::Lost] {
            assert_eq!(count(once), 1, "{events:?}");
        }
        assert!(count(Method::End) <= 1, "{events:?}");
        let end = events.iter().position(|e| *e == Event::End);
        let last_data = events.iter().rposition(|e| matches!(e, Event::Data(_)));
        if let (Some(end), Some(data)) = (end, last_data) {
            assert!(data < end, "{events:?}");
        }
        let mut paused = false;
        for event in &events {
            match event {
                Event::Pause => assert!(!std::mem::replace(&mut paused, true), "{events:?}"),
                Event::Resume => assert!(std::mem::replace(&mut paused, false), "{events:?}"),
                _ => {}
            }
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events().fmt(f)
    }
}

type Act = Box<dyn FnMut(&Transport, &Event)>;

pub(crate) struct Recorder {
    log: Log,
    act: Act,
    half_open: bool,
}

impl Recorder {
    pub(crate) fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            act: Box::new(|_, _| {}),
            half_open: false,
        }
    }

    /// Calls `act` in each method, when that has been written down.
    pub(crate) fn acting(log: &Log, act: impl FnMut(&Transport, &Event) + 'static) -> Self {
        Self {
            act: Box::new(act),
            ..Self::new(log)
        }
    }

    /// Keeps the connection open when its peer has ended it.
    pub(crate) fn half_open(mut self) -> Self {
        self.half_open = true;
        self
    }

    fn on(&mut self, transport: &Transport, event: Event) {
        self.log.0.borrow_mut().push(event.clone());
        (self.act)(transport, &event);
    }
}

impl Protocol for Recorder {
    fn connection_made(&mut self, transport: &Transport) {
        self.on(transport, Event::Made);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        assert!(!data.is_empty());
        self.on(transport, Event::Data(data.to_vec()));
    }

    fn eof_received(&mut self, transport: &Transport) -> bool {
        self.on(transport, Event::End);
        self.half_open
    }

    fn pause_writing(&mut self, transport: &Transport) {
        self.on(transport, Event::Pause);
    }

    fn resume_writing(&mut self, transport: &Transport) {
        self.on(transport, Event::Resume);
    }

    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        self.on(transport, Event::Lost(error.map(|error| error.kind())));
    }
}

/// Gives the loop its turn until `done`; fails if that takes far too long.
#[track_caller]
pub(crate) fn until(done: impl Fn() -> bool) -> impl Future<Output = ()> {
    let site = std::panic::Location::caller();
    async move {
        let begin = Instant::now();
        while !done() {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "waited in vain at {site}"
            );
            rondel_loop::sleep(Duration::from_micros(50)).await;
        }
    }
}

/// Gives everything that is ready its turn, a few times.
pub(crate) async fn turns() {
    for _ in 0..300 {
        rondel_loop::yield_now().await;
    }
}
