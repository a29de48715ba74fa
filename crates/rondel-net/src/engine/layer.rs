//! Layers: what stands between a connection's descriptor and its users, and turns what is on the wire into clear text.
//!
//! ```text
//!   descriptor ──recv──> arrived ──take_in──> [ layer ] ──hand_out──> the user's buffer
//!   descriptor <──send── queue <──write, take_out── [ layer ] <────── the user's bytes
//! ```
//!
//! A layer does no I/O, and knows nothing of the connection; the connection knows nothing of what the layer does. With one in
//! place, everything above works as before: flow control counts what is on its way to the wire.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rondel_loop::{Registration, timeout};
use rustix::net::RecvFlags;

use crate::engine::attend::Received;
use crate::engine::send::Urgency;
use crate::engine::{Connection, Fault, Finish, Phase, spare};
use crate::error::{Attempt, WriteError};

/// How much is received from the wire at a time.
const WIRE: usize = 64 * 1024;

/// How often more is received, in a row, without any clear text coming of it, before others have their turn.
const ROUNDS: u32 = 16;

/// How much is given to a layer at a time, when it is too long to be accepted whole.
const PIECE: usize = 256 * 1024;

/// Bytes in, bytes out.
pub(crate) trait Layer: 'static {
    /// Takes in what has arrived, as far as it has room; gives how much. A failure is final, and told again.
    fn take_in(&mut self, arrived: &[u8]) -> io::Result<usize>;

    /// Nothing more will arrive: a failure, unless the peer has said so.
    fn take_in_end(&mut self) -> io::Result<()>;

    /// Moves clear text into `buffer`.
    fn hand_out(&mut self, buffer: &mut [u8]) -> Clear;

    /// Turns clear text into what goes onto the wire, appended to `wire`.
    fn write(&mut self, clear: &[u8], wire: &mut Vec<u8>);

    /// Appends to `wire` what the layer itself has to say.
    fn take_out(&mut self, wire: &mut Vec<u8>);

    /// Says that nothing follows, once.
    fn close(&mut self, wire: &mut Vec<u8>);

    /// Whether clear text can be exchanged.
    fn is_ready(&self) -> bool;

    /// Whether the peer has said that nothing follows.
    fn is_peer_closed(&self) -> bool;

    /// How long to wait for the peer to say so, after this end has.
    fn farewell_limit(&self) -> Duration;

    /// What it failed with.
    fn failure(&self) -> Option<io::Error>;

    /// For whoever knows what it is.
    fn as_any(&self) -> &dyn Any;
}

/// What a layer hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clear {
    /// So many bytes.
    Some(usize),
    /// Nothing, until more arrives.
    Nothing,
    /// Nothing any more.
    End,
}

/// A connection's place for a layer.
#[derive(Default)]
pub(super) struct LayerSlot {
    layered: Cell<Option<Box<Layered>>>,
    /// Also while the layer is at work, when it is not in its place.
    there: Cell<bool>,
    /// Whether something is left that no event of the descriptor will announce.
    more: Cell<bool>,
}

struct Layered {
    layer: Box<dyn Layer>,
    /// From the wire, and not taken in yet.
    arrived: Vec<u8>,
    /// How much of it, in front, is.
    taken: usize,
}

impl Layered {
    /// Moves clear text into `buffer`, until it is full or there is no more of what has arrived.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<Clear> {
        let mut filled = 0;
        loop {
            let clear = self.layer.hand_out(&mut buffer[filled..]);
            match clear {
                Clear::Some(count) => filled += count,
                Clear::End if filled == 0 => return Ok(Clear::End),
                Clear::End => break,
                Clear::Nothing => {}
            }
            let full = filled > 0 && filled == buffer.len();
            if full || self.arrived.is_empty() {
                break;
            }
            match self.layer.take_in(&self.arrived[self.taken..]) {
                Ok(0) => break,
                Ok(count) => self.consume(count),
                // Told again when what came before it has been given.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        match (filled, self.layer.failure()) {
            (0, Some(failure)) => Err(failure),
            (0, None) => Ok(Clear::Nothing),
            (filled, _) => Ok(Clear::Some(filled)),
        }
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.arrived.len() {
            self.taken = 0;
            spare::give(std::mem::take(&mut self.arrived));
        }
    }
}

impl Connection {
    /// Puts a layer in place, above the one there may be; `arrived` was received before, and belongs to it.
    pub(crate) fn add_layer(&self, layer: Box<dyn Layer>, arrived: Vec<u8>) {
        let layer = match self.layer.layered.take() {
            None => layer,
            Some(below) => {
                return self.put_layer(Layered {
                    layer: Box::new(Stacked::new(below.layer, layer, arrived)),
                    arrived: below.arrived,
                    taken: below.taken,
                });
            }
        };
        self.put_layer(Layered {
            layer,
            arrived,
            taken: 0,
        });
    }

    fn put_layer(&self, layered: Layered) {
        self.layer.more.set(true);
        self.layer.there.set(true);
        self.direct.set(false);
        self.layer.layered.set(Some(Box::new(layered)));
    }

    #[inline]
    pub(super) fn is_layered(&self) -> bool {
        self.layer.there.get()
    }

    /// Whether there may be clear text though the descriptor has nothing.
    #[inline]
    pub(super) fn has_layered_input(&self) -> bool {
        self.layer.there.get() && self.layer.more.get()
    }

    /// Works on the layer, which is not in its place meanwhile: what it calls, to verify a certificate for example, is not ours
    /// and may come back here. `None` if it does, or if there is no layer.
    fn with_layer<R>(&self, work: impl FnOnce(&mut Layered) -> R) -> Option<R> {
        let mut layered = self.layer.layered.take()?;
        let result = work(&mut layered);
        self.layer.layered.set(Some(layered));
        Some(result)
    }

    /// Shows the topmost layer to `look`, if there is one.
    pub(crate) fn look_at_layer<R>(&self, look: impl FnOnce(&dyn Any) -> R) -> Option<R> {
        self.with_layer(|layered| look(layered.layer.as_any()))
    }

    pub(super) fn layer_failure(&self) -> Option<io::Error> {
        self.with_layer(|layered| layered.layer.failure()).flatten()
    }

    /// Queues what the layer has to say.
    fn let_layer_speak(self: &Rc<Self>, say: impl FnOnce(&mut dyn Layer, &mut Vec<u8>)) {
        let mut wire = spare::take();
        self.with_layer(|layered| say(&mut *layered.layer, &mut wire));
        let said = !wire.is_empty();
        self.queue_wire(wire);
        if said {
            self.flush_soon();
        }
    }

    /// Queues what is to go onto the wire: a large piece as it is, a small one behind others.
    fn queue_wire(&self, wire: Vec<u8>) {
        const SMALL: usize = 4 * 1024;
        let mut outbound = self.outbound.borrow_mut();
        if wire.len() > SMALL {
            outbound.push_chunk(wire);
        } else {
            outbound.push(&wire);
            drop(outbound);
            spare::give(wire);
        }
    }

    /// Accepts all of `parts`, or nothing and says why; with a layer.
    pub(super) fn write_layered(
        self: &Rc<Self>,
        registration: &Registration,
        parts: &[IoSlice<'_>],
        urgency: Urgency,
    ) -> Result<(), WriteError> {
        for piece in parts.iter().flat_map(|part| part.chunks(WIRE - 4 * 1024)) {
            let mut wire = spare::take();
            let written = self.with_layer(|layered| layered.layer.write(piece, &mut wire));
            self.queue_wire(wire);
            written.ok_or_else(busy)?;
        }
        if !registration.ready().is_writable() {
            self.watch(registration);
        } else if urgency == Urgency::Now || self.queued() >= WIRE {
            self.transmit(registration, &[])?;
        } else {
            self.flush_soon();
        }
        self.flow_changed();
        Ok(())
    }

    /// The same for what is too long to be accepted whole, a piece of it when all that was written before is sent.
    pub(super) fn write_piece_layered(
        self: &Rc<Self>,
        bytes: &mut &[u8],
    ) -> Result<(), WriteError> {
        let registration = self.to_send()?;
        let (piece, rest) = bytes.split_at(bytes.len().min(PIECE));
        self.write_layered(&registration, &[IoSlice::new(piece)], Urgency::Now)?;
        *bytes = rest;
        Ok(())
    }

    /// Says that nothing follows, behind what is queued.
    pub(super) fn say_farewell(self: &Rc<Self>) {
        if self.is_layered() && self.finish.get() == Finish::Open {
            let mut wire = spare::take();
            self.with_layer(|layered| layered.layer.close(&mut wire));
            self.queue_wire(wire);
        }
    }

    /// Everything is sent, this end's farewell included: what is left is to wait for the peer's. `false` if there is nothing to
    /// wait for.
    pub(super) fn linger(&self) -> bool {
        if self.phase.get() != Phase::Closing {
            return true;
        }
        let waits = self
            .with_layer(|layered| {
                let layer = &layered.layer;
                (layer.is_ready() && !layer.is_peer_closed() && layer.failure().is_none())
                    .then(|| layer.farewell_limit())
            })
            .flatten();
        let (Some(limit), Some(this)) = (waits, self.this.upgrade()) else {
            return false;
        };
        if self.local.is_closed() || self.fault.get().is_some() || self.received_end.get() {
            return false;
        }
        if let Some(registration) = self.registration() {
            // Fails only if there is nobody to be told.
            let _ = rustix::net::shutdown(&registration, rustix::net::Shutdown::Write);
        }
        self.phase.set(Phase::Lingering);
        let lingering = Lingering(this);
        let task = self.local.create_task(async move {
            // However it ends, the descriptor is closed when the guard goes.
            let _ = timeout(limit, lingering.0.read_to_farewell()).await;
            drop(lingering);
        });
        task.named("TLS farewell").detach();
        true
    }

    async fn read_to_farewell(&self) -> io::Result<()> {
        let mut buffer = vec![0; 4 * 1024];
        while std::future::poll_fn(|cx| self.poll_read(cx, &mut buffer)).await? > 0 {}
        Ok(())
    }

    /// Waits until clear text can be exchanged.
    pub(crate) async fn shake_hands(self: &Rc<Self>) -> io::Result<()> {
        self.let_layer_speak(|layer, wire| layer.take_out(wire));
        std::future::poll_fn(|cx| {
            if let Some(fault) = self.fault.get() {
                return Poll::Ready(Err(self.lost(fault)));
            }
            let Some(registration) = self.registration() else {
                return Poll::Ready(Err(super::closed_here()));
            };
            self.poll_layered(cx, &registration, &mut [], true)
        })
        .await?;
        // The last words of the handshake are on their way before anything else can happen to the connection.
        self.send_queued();
        if self.is_ready() {
            return Ok(());
        }
        match self.layer_failure() {
            Some(failure) => Err(failure),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn is_ready(&self) -> bool {
        self.with_layer(|layered| layered.layer.is_ready()) == Some(true)
    }

    /// Receives clear text into `buffer`, as a task; or, if `handshake`, until the layer is ready.
    pub(super) fn poll_layered(
        &self,
        cx: &mut Context<'_>,
        registration: &Registration,
        buffer: &mut [u8],
        handshake: bool,
    ) -> Poll<io::Result<usize>> {
        let mut pending = false;
        let received = self.receive_layered(registration, buffer, handshake, |wire| {
            let polled = registration.poll_read_with(cx, |fd| receive_wire(registration, fd, wire));
            pending = polled.is_pending();
            match polled {
                Poll::Ready(result) => result,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        match received {
            Ok(Received::Some(count, _)) => Poll::Ready(Ok(count)),
            Ok(Received::Nothing) => {
                if !pending {
                    // It was long enough for now.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Ok(Received::End | Received::Failed) => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Receives clear text into `buffer`, for an attendant.
    pub(super) fn try_receive_layered(
        &self,
        registration: &Registration,
        buffer: &mut [u8],
    ) -> Received {
        let mut would_block = false;
        let received = self.receive_layered(registration, buffer, false, |wire| {
            let result = registration.try_read(|fd| receive_wire(registration, fd, wire));
            would_block =
                matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            result
        });
        match received {
            Ok(Received::Nothing) => {
                if !would_block {
                    self.set_again();
                }
                Received::Nothing
            }
            Ok(received) => received,
            // Told as the reason why the connection was lost.
            Err(_) => Received::Failed,
        }
    }

    fn receive_layered(
        &self,
        registration: &Registration,
        buffer: &mut [u8],
        handshake: bool,
        mut receive: impl FnMut(&mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<Received> {
        for _ in 0..ROUNDS {
            let filled = self.with_layer(|layered| layered.fill(buffer));
            if let Some(this) = self.this.upgrade() {
                this.let_layer_speak(|layer, wire| layer.take_out(wire));
            }
            match filled.ok_or_else(|| io::Error::from(busy()))? {
                Err(error) => return Err(self.fail_layer(error)),
                Ok(Clear::Some(count)) => {
                    let more = count == buffer.len();
                    self.layer.more.set(more);
                    let more = more || registration.ready().is_readable();
                    return Ok(Received::Some(count, more));
                }
                Ok(Clear::End) => {
                    self.received_end.set(true);
                    return Ok(Received::End);
                }
                Ok(Clear::Nothing) => self.layer.more.set(false),
            }
            if handshake && self.is_ready() {
                // Clear text may have come with the last words of the handshake.
                self.layer.more.set(true);
                return Ok(Received::Some(0, true));
            }
            let mut wire = spare::take();
            wire.reserve(WIRE);
            match receive(&mut wire) {
                Ok(0) => {
                    let ended = self.with_layer(|layered| layered.layer.take_in_end());
                    if let Some(Err(error)) = ended {
                        return Err(self.fail_layer(error));
                    }
                    self.received_end.set(true);
                    return Ok(Received::End);
                }
                Ok(count) => {
                    self.on_received(registration, count, WIRE);
                    self.with_layer(|layered| {
                        debug_assert!(
                            layered.arrived.is_empty(),
                            "nothing is received before all is taken in"
                        );
                        layered.arrived = wire;
                    });
                    self.layer.more.set(true);
                }
                Err(error) => {
                    spare::give(wire);
                    match error.kind() {
                        io::ErrorKind::Interrupted => {}
                        io::ErrorKind::WouldBlock => {
                            self.renew_allowance();
                            return Ok(Received::Nothing);
                        }
                        _ => return Err(self.fail(Attempt::Receive, error)),
                    }
                }
            }
        }
        Ok(Received::Nothing)
    }

    /// Notes that the layer has failed; what it says to the peer about it is sent.
    fn fail_layer(&self, error: io::Error) -> io::Error {
        if let Some(this) = self.this.upgrade() {
            this.send_all_possible();
        }
        if self.fault.get().is_none() {
            self.fault.set(Some(Fault {
                attempt: Attempt::Layer,
                kind: error.kind(),
                code: None,
            }));
        }
        self.discard_queue();
        self.changed();
        error
    }
}

fn receive_wire(
    registration: &Registration,
    fd: std::os::fd::BorrowedFd<'_>,
    wire: &mut Vec<u8>,
) -> io::Result<usize> {
    let (count, _) =
        rustix::net::recv(fd, rustix::buffer::spare_capacity(wire), RecvFlags::empty())?;
    registration.local_loop().count_received(count);
    Ok(count)
}

#[cold]
fn busy() -> WriteError {
    WriteError::Io(io::Error::new(
        io::ErrorKind::WouldBlock,
        "the connection is being used by what it calls itself, to verify its peer",
    ))
}

/// A connection that waits for the peer's farewell; it is closed when this goes.
struct Lingering(Rc<Connection>);

impl Drop for Lingering {
    fn drop(&mut self) {
        if !self.0.is_closed() {
            self.0.close_descriptor(Phase::Closed);
        }
    }
}

/// Two layers, one inside the other.
struct Stacked {
    below: Box<dyn Layer>,
    above: Box<dyn Layer>,
    /// Clear text of the one below that the one above has not taken in.
    between: Vec<u8>,
    below_ended: bool,
}

impl Stacked {
    fn new(below: Box<dyn Layer>, above: Box<dyn Layer>, between: Vec<u8>) -> Self {
        Self {
            below,
            above,
            between,
            below_ended: false,
        }
    }

    /// Carries clear text up, as far as the layer above takes it.
    fn carry_up(&mut self) -> io::Result<()> {
        loop {
            if self.between.is_empty() {
                self.between.resize(WIRE, 0);
                match self.below.hand_out(&mut self.between) {
                    Clear::Some(count) => self.between.truncate(count),
                    Clear::Nothing => {
                        self.between.clear();
                        return Ok(());
                    }
                    Clear::End => {
                        self.between.clear();
                        if !std::mem::replace(&mut self.below_ended, true) {
                            self.above.take_in_end()?;
                        }
                        return Ok(());
                    }
                }
            }
            let taken = self.above.take_in(&self.between)?;
            if taken == 0 {
                return Ok(());
            }
            self.between.drain(..taken);
        }
    }

    fn wrap(&mut self, inner: &[u8], wire: &mut Vec<u8>) {
        if !inner.is_empty() {
            self.below.write(inner, wire);
        }
    }
}

impl Layer for Stacked {
    fn take_in(&mut self, arrived: &[u8]) -> io::Result<usize> {
        let taken = self.below.take_in(arrived)?;
        self.carry_up()?;
        Ok(taken)
    }

    fn take_in_end(&mut self) -> io::Result<()> {
        if self.above.is_peer_closed() {
            return Ok(());
        }
        self.below.take_in_end()?;
        self.above.take_in_end()
    }

    fn hand_out(&mut self, buffer: &mut [u8]) -> Clear {
        match self.above.hand_out(buffer) {
            // A failure comes to light with the next that is taken in.
            Clear::Nothing if self.carry_up().is_ok() => self.above.hand_out(buffer),
            clear => clear,
        }
    }

    fn write(&mut self, clear: &[u8], wire: &mut Vec<u8>) {
        let mut inner = spare::take();
        self.above.write(clear, &mut inner);
        self.wrap(&inner, wire);
        spare::give(inner);
    }

    fn take_out(&mut self, wire: &mut Vec<u8>) {
        let mut inner = spare::take();
        self.above.take_out(&mut inner);
        self.wrap(&inner, wire);
        spare::give(inner);
        self.below.take_out(wire);
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        let mut inner = spare::take();
        self.above.close(&mut inner);
        self.wrap(&inner, wire);
        spare::give(inner);
        self.below.close(wire);
    }

    fn is_ready(&self) -> bool {
        self.above.is_ready()
    }

    fn is_peer_closed(&self) -> bool {
        self.above.is_peer_closed()
    }

    fn farewell_limit(&self) -> Duration {
        self.above.farewell_limit()
    }

    fn failure(&self) -> Option<io::Error> {
        self.above.failure().or_else(|| self.below.failure())
    }

    fn as_any(&self) -> &dyn Any {
        self.above.as_any()
    }
}
