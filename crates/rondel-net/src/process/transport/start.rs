//! Starting a child that calls.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rondel_loop::LocalLoop;
use rondel_sync::Event;

use super::driver::Driver;
use super::{Shared, SubprocessTransport};
use crate::process::child::Child;
use crate::process::command::{Command, Defaults};
use crate::process::error::SpawnError;
use crate::process::protocol::SubprocessProtocol;
use crate::process::stdio::Stdio;

/// Starts `command` and has a protocol called with what the child does: its standard streams are pipes, unless set. asyncio:
/// `subprocess_exec`.
///
/// The protocol's [`connection_made`](SubprocessProtocol::connection_made) is called before this returns.
///
/// # Errors
/// [`SpawnError`].
///
/// # Cancel safety
/// It does not wait.
pub async fn subprocess_exec<P: SubprocessProtocol>(
    factory: impl FnOnce() -> P,
    command: &mut Command,
) -> Result<(SubprocessTransport, SubprocessRef<P>), SpawnError> {
    let defaults = Defaults {
        stdin: Stdio::piped(),
        output: Stdio::piped(),
    };
    let child = command.spawn_with(&defaults)?;
    begin(child, factory(), command)
}

/// Starts a [shell](Command::shell) with a command line; all else as with [`subprocess_exec`]. asyncio: `subprocess_shell`.
///
/// # Errors
/// [`SpawnError`].
///
/// # Cancel safety
/// It does not wait.
pub async fn subprocess_shell<P: SubprocessProtocol>(
    factory: impl FnOnce() -> P,
    line: impl AsRef<std::ffi::OsStr>,
) -> Result<(SubprocessTransport, SubprocessRef<P>), SpawnError> {
    subprocess_exec(factory, &mut Command::shell(line)).await
}

fn begin<P: SubprocessProtocol>(
    mut child: Child,
    protocol: P,
    command: &Command,
) -> Result<(SubprocessTransport, SubprocessRef<P>), SpawnError> {
    let local = LocalLoop::current()
        .map_err(|error| SpawnError::new(command.program(), io::Error::other(error)))?;
    child.set_kill_on_drop(true);
    let wait = child.wait();
    let (streams, hold) = child.into_parts();
    let stdin = streams.stdin.map(Rc::new);
    let transport = SubprocessTransport {
        shared: Rc::new(Shared {
            exit: Arc::clone(hold.watch().exit()),
            hold: RefCell::new(Some(hold)),
            stdin: RefCell::new(stdin),
            closing: Cell::new(false),
            reading_paused: Default::default(),
            driver: Cell::new(None),
            lost: Event::new(),
        }),
    };
    let cell = Rc::new(RefCell::new(protocol));
    let reference = SubprocessRef {
        cell: Rc::clone(&cell),
        transport: transport.clone(),
    };
    let mut driver = Driver::new(
        cell,
        transport.clone(),
        [streams.stdout, streams.stderr],
        wait,
    );
    driver.make();
    local.create_task(driver).detach();
    Ok((transport, reference))
}

/// A child's protocol, to be looked at from outside.
pub struct SubprocessRef<P> {
    cell: Rc<RefCell<P>>,
    transport: SubprocessTransport,
}

impl<P> SubprocessRef<P> {
    /// Calls `look` with the protocol and its transport.
    ///
    /// # Errors
    /// `ResourceBusy` if the protocol is running: this was called from inside it.
    pub fn with<R>(&self, look: impl FnOnce(&mut P, &SubprocessTransport) -> R) -> io::Result<R> {
        let Ok(mut protocol) = self.cell.try_borrow_mut() else {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "the protocol is running",
            ));
        };
        /// Has the driver come back, which may have found the protocol taken.
        struct Wake<'r>(&'r Shared);
        impl Drop for Wake<'_> {
            fn drop(&mut self) {
                self.0.wake();
            }
        }
        let _wake = Wake(&self.transport.shared);
        Ok(look(&mut protocol, &self.transport))
    }

    /// The transport that the protocol was given.
    pub const fn transport(&self) -> &SubprocessTransport {
        &self.transport
    }
}

impl<P> Clone for SubprocessRef<P> {
    fn clone(&self) -> Self {
        Self {
            cell: Rc::clone(&self.cell),
            transport: self.transport.clone(),
        }
    }
}

impl<P> fmt::Debug for SubprocessRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubprocessRef")
            .field("protocol", &std::any::type_name::<P>())
            .field("transport", &self.transport)
            .finish()
    }
}
