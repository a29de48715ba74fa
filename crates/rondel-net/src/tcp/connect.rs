//! Connecting a [`TcpStream`].

use crate::connect::{ConnectError, ConnectOptions, ToTarget};
use crate::tcp::stream::TcpStream;

impl TcpStream {
    /// Connects to an address, or to a name and a port. [`ConnectOptions`] has more to say: time limits, Happy Eyeballs, own
    /// addresses; [`open_connection`](crate::open_connection) gives a reader and a writer.
    ///
    /// # Errors
    /// [`ConnectError`], which names the target, the phase, and every address that was tried.
    ///
    /// # Cancel safety
    /// Dropped, it closes whatever it has opened.
    ///
    /// ```
    /// use rondel_net::{TcpListener, TcpStream};
    ///
    /// # rondel_loop::run(async {
    /// let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    /// let stream = TcpStream::connect(("localhost", listener.local_addr().port())).await?;
    /// assert_eq!(stream.peer_addr(), Some(listener.local_addr()));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect(target: impl ToTarget) -> Result<Self, ConnectError> {
        ConnectOptions::new().connect(target).await
    }
}
