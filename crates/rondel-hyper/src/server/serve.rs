//! Serving: by listeners, or a single connection.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;
use rondel_net::{StreamReader, StreamWriter, TcpListener, ToTarget};
use rondel_sync::Event;

use super::body::RequestBody;
use super::connection;
use super::options::HttpServer;
use super::running::RunningServer;
use crate::error::BoxError;

impl HttpServer {
    /// Listens on `target` and serves it, until the [`RunningServer`] is shut down or dropped.
    ///
    /// # Errors
    /// As [`rondel_net::start_server`]; nothing listens then.
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub async fn serve<S, B>(self, service: S, target: impl ToTarget) -> io::Result<RunningServer>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let closing = Rc::new(Event::new());
        let net = self.to_net();
        let handler = self.handler(service, &closing);
        let server = net.serve(handler, target).await?;
        Ok(RunningServer::new(server, closing))
    }

    /// Serves listeners of your own; see [`serve`](HttpServer::serve).
    ///
    /// # Panics
    /// If no loop is running on this thread.
    pub fn serve_on<S, B>(
        self,
        service: S,
        listeners: impl IntoIterator<Item = TcpListener>,
    ) -> RunningServer
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let closing = Rc::new(Event::new());
        let net = self.to_net();
        let handler = self.handler(service, &closing);
        RunningServer::new(net.serve_on(handler, listeners), closing)
    }

    /// Serves one connection, to its end: for servers of another kind, on Unix sockets for instance. Its options for listening
    /// and TLS do nothing here.
    ///
    /// # Cancel safety
    /// Dropped, it closes the connection, whatever is under way.
    ///
    /// ```
    /// use rondel_hyper::bytes::Bytes;
    /// use rondel_hyper::http::Response;
    /// use rondel_hyper::http_body_util::Full;
    /// use rondel_hyper::hyper::service::service_fn;
    /// use rondel_hyper::HttpServer;
    /// use rondel_net::{open_unix_connection, start_unix_server};
    /// use std::rc::Rc;
    ///
    /// # let folder = std::env::temp_dir().join(format!("rondel-doc-http-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// let path = folder.join("http.sock");
    /// # rondel_loop::run(async {
    /// let hello = Rc::new(service_fn(async |_| {
    ///     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("hello"))))
    /// }));
    /// let _server = start_unix_server(
    ///     move |reader, writer| {
    ///         let hello = Rc::clone(&hello);
    ///         async move { HttpServer::new().serve_connection(hello, reader, writer).await }
    ///     },
    ///     &path,
    /// )?;
    ///
    /// let (mut reader, writer) = open_unix_connection(&path).await?;
    /// writer.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await?;
    /// assert!(reader.read_to_end(1000).await?.ends_with(b"hello"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn serve_connection<S, B>(
        &self,
        service: Rc<S>,
        reader: StreamReader,
        writer: StreamWriter,
    ) where
        S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        connection::serve(self, service, &Event::new(), reader, writer).await;
    }

    fn handler<S, B>(
        self,
        service: S,
        closing: &Rc<Event>,
    ) -> impl AsyncFn(StreamReader, StreamWriter) + use<S, B>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let service = Rc::new(service);
        let (options, closing) = (Rc::new(self), Rc::clone(closing));
        async move |reader, writer| {
            connection::serve(&options, Rc::clone(&service), &closing, reader, writer).await;
        }
    }
}
