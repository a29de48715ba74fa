//! [`SubprocessProtocol`]: what a child is to do to whoever does not wait for it.

use std::io;

use crate::process::transport::SubprocessTransport;

/// What is called with what a child prints, and with its end. asyncio: `SubprocessProtocol`.
///
/// [`connection_made`](SubprocessProtocol::connection_made) comes first,
/// [`connection_lost`](SubprocessProtocol::connection_lost) last, each once. In between, data of a pipe comes in order and
/// before its end; the ends of the pipes and of the process come in any order. No method of the transport calls a protocol.
/// One that panics is reported to the loop's exception handler, the child is killed, and nothing but `connection_lost` follows.
///
/// All methods do nothing unless implemented.
///
/// ```
/// use rondel_net::{Command, SubprocessProtocol, SubprocessTransport, subprocess_exec};
///
/// #[derive(Default)]
/// struct Collect(Vec<u8>);
///
/// impl SubprocessProtocol for Collect {
///     fn connection_made(&mut self, transport: &SubprocessTransport) {
///         let _ = transport.write(b"what goes around");
///         transport.write_eof();
///     }
///
///     fn pipe_data_received(&mut self, _: &SubprocessTransport, _fd: i32, data: &[u8]) {
///         self.0.extend_from_slice(data);
///     }
/// }
///
/// # rondel_loop::run(async {
/// let (transport, protocol) = subprocess_exec(Collect::default, &mut Command::new("cat")).await?;
/// transport.wait_closed().await;
/// assert!(transport.returncode().unwrap().success());
/// protocol.with(|collected, _| assert_eq!(collected.0, b"what goes around"))?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[allow(unused_variables, reason = "the defaults do nothing")]
pub trait SubprocessProtocol: 'static {
    /// The child runs.
    fn connection_made(&mut self, transport: &SubprocessTransport) {}

    /// The child has printed something: to 1, its standard output, or 2, its standard error.
    fn pipe_data_received(&mut self, transport: &SubprocessTransport, fd: i32, data: &[u8]) {}

    /// One of the pipes is at its end: 1 or 2 if nobody can print to it any more, 0, the standard input, if it was closed,
    /// or nobody reads it, which is in the error then.
    fn pipe_connection_lost(
        &mut self,
        transport: &SubprocessTransport,
        fd: i32,
        error: Option<io::Error>,
    ) {
    }

    /// More is queued for the standard input than the high water mark.
    fn pause_writing(&mut self, transport: &SubprocessTransport) {}

    /// The queue is down at the low one.
    fn resume_writing(&mut self, transport: &SubprocessTransport) {}

    /// The child has ended; [`returncode`](SubprocessTransport::returncode) says how. There may still be data to come.
    fn process_exited(&mut self, transport: &SubprocessTransport) {}

    /// The child has ended, and all pipes are at their ends. The error is a [`ProtocolPanicked`](crate::ProtocolPanicked), a
    /// [`ReapedElsewhere`](crate::ReapedElsewhere), or `Interrupted` if the loop was closed, or all its tasks cancelled,
    /// before: the child is killed then.
    fn connection_lost(&mut self, transport: &SubprocessTransport, error: Option<io::Error>) {}
}
