//! The client's side of TLS on one connection: rustls over a non-blocking socket.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::process::Error;

pub(super) struct Session(ClientConnection);

/// A socket as rustls wants it.
struct Wire<'s>(&'s OwnedFd);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, buffer, RecvFlags::DONTWAIT)?.0)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(
            self.0,
            bytes,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Session {
    pub(super) fn begin(config: &Arc<ClientConfig>) -> Result<Self, Error> {
        let name = ServerName::try_from("localhost")
            .map_err(|why| Error::new(format!("name the server: {why}")))?;
        let session = ClientConnection::new(Arc::clone(config), name)
            .map_err(|why| Error::new(format!("begin a TLS session: {why}")))?;
        Ok(Self(session))
    }

    /// Whether nothing of its own is to be sent.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.0.wants_write() && !self.0.is_handshaking()
    }

    /// Takes `message`, or what it has room for, and sends what can be sent. Before the end of the handshake it keeps it.
    pub(super) fn send(&mut self, message: &[u8], socket: &OwnedFd) -> Result<usize, Error> {
        let taken = self.0.writer().write(message);
        let taken = taken.map_err(Error::during("encrypt a request"))?;
        self.flush(socket)?;
        Ok(taken)
    }

    fn flush(&mut self, socket: &OwnedFd) -> Result<(), Error> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut Wire(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::during("send a request")(error)),
            }
        }
        Ok(())
    }

    /// Receives all that has arrived, which must be the continuation of the message; gives how much of it that was.
    pub(super) fn receive(
        &mut self,
        expected: &[u8],
        buffer: &mut [u8],
        socket: &OwnedFd,
    ) -> Result<usize, Error> {
        let mut received = 0;
        loop {
            match self.0.read_tls(&mut Wire(socket)) {
                Ok(0) => return Err(Error::new("the server closed a connection")),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::during("receive an answer")(error)),
            }
            self.0
                .process_new_packets()
                .map_err(|why| Error::new(format!("decrypt an answer: {why}")))?;
            while let Ok(count @ 1..) = self.0.reader().read(buffer) {
                if !expected[received..].starts_with(&buffer[..count]) {
                    return Err(Error::new("wrong answer inside TLS"));
                }
                received += count;
            }
        }
        // What the handshake has to say, and what has waited for its end.
        self.flush(socket)?;
        Ok(received)
    }

    /// Says farewell, as far as the socket takes it.
    pub(super) fn end(&mut self, socket: &OwnedFd) {
        self.0.send_close_notify();
        // The server may be gone already.
        let _ = self.flush(socket);
    }
}
