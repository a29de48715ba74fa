//! The task that calls a child's protocol: the one place from which its methods are called.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use rondel_executor::PanicPayload;
use rondel_loop::{ExceptionContext, LocalLoop};

use crate::engine::Goal;
use crate::pipe::PipeReader;
use crate::process::exit::Wait;
use crate::process::protocol::SubprocessProtocol;
use crate::process::transport::SubprocessTransport;
use crate::transport::protocol::ProtocolPanicked;

type Ending = Pin<Box<dyn Future<Output = io::Result<()>>>>;

pub(super) struct Driver<P: SubprocessProtocol> {
    /// Borrowed only while the protocol runs, and never waited for.
    cell: Rc<RefCell<P>>,
    transport: SubprocessTransport,
    progress: Progress,
    local: Option<LocalLoop>,
    told_lost: bool,
}

/// What is still to come.
struct Progress {
    /// Standard output and standard error.
    outputs: [Option<PipeReader>; 2],
    /// The end of standard input.
    stdin: Option<Ending>,
    exit: Option<Wait>,
    /// How the wait failed.
    error: Option<io::Error>,
    told_paused: bool,
}

impl<P: SubprocessProtocol> Driver<P> {
    pub(super) fn new(
        cell: Rc<RefCell<P>>,
        transport: SubprocessTransport,
        outputs: [Option<PipeReader>; 2],
        wait: Wait,
    ) -> Self {
        let stdin = transport
            .stdin()
            .map(|stdin| -> Ending { Box::pin(async move { stdin.wait_closed().await }) });
        Self {
            cell,
            transport,
            progress: Progress {
                outputs,
                stdin,
                exit: Some(wait),
                error: None,
                told_paused: false,
            },
            local: LocalLoop::current().ok(),
            told_lost: false,
        }
    }

    /// Tells the protocol that the child runs.
    pub(super) fn make(&mut self) {
        let called = catch_unwind(AssertUnwindSafe(|| {
            // Nobody else has it yet.
            if let Ok(mut protocol) = self.cell.try_borrow_mut() {
                protocol.connection_made(&self.transport);
            }
        }));
        if let Err(payload) = called {
            self.on_panic(payload);
        }
    }

    fn on_panic(&mut self, payload: Box<dyn Any + Send>) {
        self.report(payload);
        self.lose(Some(io::Error::other(ProtocolPanicked)));
    }

    fn report(&self, payload: Box<dyn Any + Send>) {
        let id = self.transport.id();
        let mut context = ExceptionContext::new(format!("the protocol of the child {id} panicked"));
        context.panic = Some(PanicPayload::new(payload));
        if let Some(local) = &self.local {
            local.call_exception_handler(&context);
        }
    }

    /// The last call. A child that still runs is killed.
    fn lose(&mut self, error: Option<io::Error>) {
        if std::mem::replace(&mut self.told_lost, true) {
            return;
        }
        let shared = &self.transport.shared;
        shared.closing.set(true);
        self.progress.let_go();
        let stdin = shared.stdin.borrow_mut().take();
        drop(stdin);
        let hold = shared.hold.borrow_mut().take();
        drop(hold);
        let called = catch_unwind(AssertUnwindSafe(|| {
            if let Ok(mut protocol) = self.cell.try_borrow_mut() {
                protocol.connection_lost(&self.transport, error);
            }
        }));
        if let Err(payload) = called {
            self.report(payload);
        }
        self.transport.shared.lost.set();
    }
}

impl Progress {
    fn let_go(&mut self) {
        self.outputs = [None, None];
        self.stdin = None;
        self.exit = None;
    }

    fn is_done(&self) -> bool {
        self.outputs.iter().all(Option::is_none) && self.stdin.is_none() && self.exit.is_none()
    }

    /// Tells what is new.
    fn pass<P: SubprocessProtocol>(
        &mut self,
        cx: &mut Context<'_>,
        protocol: &mut P,
        transport: &SubprocessTransport,
    ) {
        if transport.is_closing() {
            self.close(protocol, transport);
        }
        self.tell_flow(cx, protocol, transport);
        for index in 0..self.outputs.len() {
            self.receive(index, cx, protocol, transport);
        }
        if let Some(stdin) = &mut self.stdin
            && let Poll::Ready(outcome) = stdin.as_mut().poll(cx)
        {
            self.stdin = None;
            protocol.pipe_connection_lost(transport, 0, outcome.err());
        }
        if let Some(exit) = &mut self.exit
            && let Poll::Ready(outcome) = Pin::new(exit).poll(cx)
        {
            self.exit = None;
            self.error = outcome.err();
            protocol.process_exited(transport);
            if let Some(stdin) = transport.stdin() {
                // Nobody will read it; its end is told at the next pass.
                stdin.abort();
            }
        }
    }

    /// Was asked to close, by whatever was called before.
    fn close<P: SubprocessProtocol>(&mut self, protocol: &mut P, transport: &SubprocessTransport) {
        if let Some(stdin) = transport.stdin() {
            stdin.abort();
        }
        // What has changed its user cannot be killed; then its own end is waited for.
        let _ = transport.with_hold(|hold| hold.kill_all());
        for (index, fd) in [(0, 1), (1, 2)] {
            let open = self.outputs[index].take();
            if open.is_some() {
                drop(open);
                protocol.pipe_connection_lost(transport, fd, None);
            }
        }
    }

    fn receive<P: SubprocessProtocol>(
        &mut self,
        index: usize,
        cx: &mut Context<'_>,
        protocol: &mut P,
        transport: &SubprocessTransport,
    ) {
        let fd = if index == 0 { 1 } else { 2 };
        while let Some(reader) = &mut self.outputs[index] {
            if transport.shared.reading_paused[index].get() || transport.is_closing() {
                return;
            }
            let received = reader.connection().poll_receive(cx, usize::MAX, |data| {
                if !data.is_empty() {
                    protocol.pipe_data_received(transport, fd, data);
                }
                data.is_empty()
            });
            let error = match received {
                Poll::Pending => return,
                Poll::Ready(Ok(false)) => continue,
                Poll::Ready(Ok(true)) => None,
                Poll::Ready(Err(error)) => Some(error),
            };
            let ended = self.outputs[index].take();
            drop(ended);
            protocol.pipe_connection_lost(transport, fd, error);
        }
    }

    /// One pause and one resume at most; what changes then is told at the next pass.
    fn tell_flow<P: SubprocessProtocol>(
        &mut self,
        cx: &Context<'_>,
        protocol: &mut P,
        transport: &SubprocessTransport,
    ) {
        let Some(stdin) = transport.stdin() else {
            return;
        };
        if stdin.connection().is_paused() && !self.told_paused {
            self.told_paused = true;
            protocol.pause_writing(transport);
        }
        if self.told_paused
            && matches!(
                stdin.connection().poll_sent(cx, Goal::Drained),
                Poll::Ready(Ok(()))
            )
        {
            self.told_paused = false;
            protocol.resume_writing(transport);
        }
    }
}

// Nothing in it is pinned in place.
impl<P: SubprocessProtocol> Unpin for Driver<P> {}

impl<P: SubprocessProtocol> Future for Driver<P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.told_lost {
            return Poll::Ready(());
        }
        // Cloning and dropping wakers is foreign code.
        let waker = cx.waker().clone();
        let before = this.transport.shared.driver.replace(Some(waker));
        drop(before);
        let was_closing = this.transport.is_closing();
        let flow = this.progress.told_paused;
        let called = {
            let Ok(mut protocol) = this.cell.try_borrow_mut() else {
                // Whoever has it wakes when done.
                return Poll::Pending;
            };
            let (progress, transport) = (&mut this.progress, &this.transport);
            catch_unwind(AssertUnwindSafe(|| {
                progress.pass(cx, &mut *protocol, transport);
            }))
        };
        if let Err(payload) = called {
            this.on_panic(payload);
            return Poll::Ready(());
        }
        if this.progress.is_done() {
            let error = this.progress.error.take();
            this.lose(error);
            return Poll::Ready(());
        }
        if this.transport.is_closing() != was_closing || this.progress.told_paused != flow {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<P: SubprocessProtocol> Drop for Driver<P> {
    fn drop(&mut self) {
        self.lose(Some(io::Error::new(
            io::ErrorKind::Interrupted,
            "the loop has ended the task that served the child",
        )));
    }
}
