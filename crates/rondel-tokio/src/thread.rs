//! [`TokioThread`]: tokio on a thread of its own.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime::{Builder, Handle, Runtime};

/// A tokio runtime on a thread of its own, for what demands tokio in a program whose main thread is rondel's.
///
/// A future that is [wrapped](TokioThread::enter) finds tokio when it is polled, here on the loop's thread; tokio's sockets and
/// timers live on the other, so that every answer of theirs takes a way between threads: five to ten times as long a round trip as
/// with [`host`](crate::host), where both share a thread. Simpler to add to a program that is there, though.
///
/// Dropped, the runtime ends in the background; what it had spawned is dropped.
///
/// ```
/// let tokio = rondel_tokio::TokioThread::start()?;
/// let bytes = rondel_loop::run(async {
///     let listener = rondel_net::TcpListener::bind(([127, 0, 0, 1], 0))?;
///     let theirs = tokio.enter(tokio::net::TcpStream::connect(listener.local_addr())).await?;
///     let (ours, _) = listener.accept().await?;
///     ours.write_all(b"hello").await?;
///     let mut bytes = [0; 16];
///     tokio.enter(theirs.readable()).await?;
///     let count = theirs.try_read(&mut bytes)?;
///     Ok::<_, std::io::Error>(bytes[..count].to_vec())
/// })
/// .unwrap()?;
/// assert_eq!(bytes, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TokioThread {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl TokioThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("rondel-tokio")
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// The runtime's handle, to spawn on it for instance.
    ///
    /// # Panics
    /// Never: the runtime is there as long as this is.
    pub fn handle(&self) -> &Handle {
        self.runtime
            .as_ref()
            .expect("there until the drop")
            .handle()
    }

    /// A future that finds this tokio when it is polled and when it is dropped. What looks for tokio when it is made, as
    /// `tokio::time::sleep` does, has to be made inside: `enter(async { tokio::time::sleep(delay).await })`.
    pub fn enter<F: Future>(&self, future: F) -> InTokio<F> {
        InTokio {
            future: Some(future),
            handle: self.handle().clone(),
        }
    }
}

impl Drop for TokioThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for TokioThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioThread").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`TokioThread::enter`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct InTokio<F> {
        // `None` only while it is being dropped.
        #[pin]
        future: Option<F>,
        handle: Handle,
    }

    impl<F> PinnedDrop for InTokio<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _tokio = this.handle.enter();
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for InTokio<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _tokio = this.handle.enter();
        match this.future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> fmt::Debug for InTokio<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTokio").finish_non_exhaustive()
    }
}
