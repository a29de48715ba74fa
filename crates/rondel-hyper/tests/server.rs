//! The server, spoken to byte by byte.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::{Request, Response, StatusCode};
use rondel_hyper::http_body_util::{BodyExt, Full};
use rondel_hyper::hyper::service::{Service, service_fn};
use rondel_hyper::server::{ConnectInfo, RequestBody, RunningServer};
use rondel_hyper::{BoxError, HttpServer, HyperIo};
use rondel_loop::{EventLoop, LocalLoop, run, sleep, spawn, timeout, yield_now};
use rondel_net::{StreamReader, StreamWriter, open_connection, start_server};
use rondel_poll::{Clocked, ManualClock, default_selector};
use rondel_sync::Event;

type Answer = Result<Response<Full<Bytes>>, BoxError>;

fn text(text: impl Into<Bytes>) -> Answer {
    Ok(Response::new(Full::new(text.into())))
}

/// Sends back what it is sent.
async fn echo(request: Request<RequestBody>) -> Answer {
    text(request.into_body().collect().await?.to_bytes())
}

async fn start<S>(server: HttpServer, service: S) -> RunningServer
where
    S: Service<Request<RequestBody>, Response = Response<Full<Bytes>>, Error = BoxError> + 'static,
{
    server.serve(service, "127.0.0.1:0").await.unwrap()
}

async fn connect(server: &RunningServer) -> (StreamReader, StreamWriter) {
    open_connection(server.local_addrs()[0]).await.unwrap()
}

/// Says `bytes` and hears all there is until the server closes.
async fn converse(server: &RunningServer, bytes: &[u8]) -> String {
    let (mut reader, writer) = connect(server).await;
    writer.write_all(bytes).await.unwrap();
    let heard = reader.read_to_end(1 << 20).await.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

/// The head of an answer.
async fn read_head(reader: &mut StreamReader) -> String {
    String::from_utf8(reader.read_until(b"\r\n\r\n").await.unwrap()).unwrap()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

#[test]
fn requests_follow_one_another_on_a_connection() {
    run(async {
        let server = start(HttpServer::new(), service_fn(echo)).await;
        let (mut reader, writer) = connect(&server).await;
        for word in ["one", "two", "three"] {
            let request = format!(
                "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n{word}",
                word.len()
            );
            writer.write_all(request.as_bytes()).await.unwrap();
            assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 200"));
            let mut answer = vec![0; word.len()];
            reader.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, word.as_bytes());
        }
        assert_eq!(server.connections(), 1);
    })
    .unwrap();
}

/// A head may come in any pieces, the very first byte among them, which tells the version.
#[test]
fn a_request_arrives_byte_by_byte() {
    run(async {
        let server = start(HttpServer::new(), service_fn(echo)).await;
        let (mut reader, writer) = connect(&server).await;
        // `P` could still become HTTP/2's preface.
        let request = b"PUT / HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        for byte in request {
            writer.write_all(&[*byte]).await.unwrap();
            yield_now().await;
        }
        let heard = reader.read_to_end(1000).await.unwrap();
        assert!(heard.ends_with(b"\r\n\r\nok"), "{heard:?}");
    })
    .unwrap();
}

#[test]
fn half_of_a_preface_is_no_request() {
    run(async {
        let server = start(HttpServer::new(), service_fn(echo)).await;
        let (mut reader, writer) = connect(&server).await;
        writer.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
        writer.write_eof().unwrap();
        // Whatever it says, it ends, and the server lives on.
        let _ = reader.read_to_end(1000).await;
        assert!(converse(&server, LAST).await.starts_with("HTTP/1.1 200"));
    })
    .unwrap();
}

#[test]
fn nonsense_is_answered_and_survived() {
    run(async {
        let server = start(HttpServer::new(), service_fn(echo)).await;
        for nonsense in [
            &b"\0\x01\x02\x03\r\n\r\n"[..],
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            let heard = converse(&server, nonsense).await;
            assert!(heard.starts_with("HTTP/1.1 400"), "{nonsense:?}: {heard}");
        }
        assert!(converse(&server, LAST).await.starts_with("HTTP/1.1 200"));
    })
    .unwrap();
}

#[test]
fn a_head_may_not_be_endless() {
    run(async {
        let server = start(HttpServer::new().header_limit(8192), service_fn(echo)).await;
        let (mut reader, writer) = connect(&server).await;
        writer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let line = [b"X-Filler: ".as_slice(), &[b'x'; 100], b"\r\n"].concat();
        for _ in 0..200 {
            if writer.write_all(&line).await.is_err() {
                break;
            }
        }
        // It says 431 unless our own bytes on the way make it a reset.
        match reader.read_to_end(1000).await {
            Ok(heard) => assert!(heard.starts_with(b"HTTP/1.1 431"), "{heard:?}"),
            Err(error) => assert_eq!(
                io::Error::from(error).kind(),
                io::ErrorKind::ConnectionReset
            ),
        }
    })
    .unwrap();
}

#[test]
fn a_body_that_is_announced_too_long_does_not_reach_the_service() {
    run(async {
        let calls = Rc::new(Cell::new(0));
        let service = {
            let calls = Rc::clone(&calls);
            service_fn(move |request| {
                calls.set(calls.get() + 1);
                echo(request)
            })
        };
        let server = start(HttpServer::new().body_limit(10), service).await;
        let heard = converse(
            &server,
            b"POST / HTTP/1.1\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello world",
        )
        .await;
        assert!(heard.starts_with("HTTP/1.1 413"), "{heard}");
        assert_eq!(calls.get(), 0);
        let heard = converse(
            &server,
            b"POST / HTTP/1.1\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhelloworld",
        )
        .await;
        assert!(heard.ends_with("helloworld"), "{heard}");
    })
    .unwrap();
}

#[test]
fn a_body_that_turns_out_too_long_fails_while_it_is_read() {
    run(async {
        let service = service_fn(async |request: Request<RequestBody>| {
            let error = request.into_body().collect().await.unwrap_err();
            assert!(error.is_too_large());
            text(error.to_string())
        });
        let server = start(HttpServer::new().body_limit(10), service).await;
        let heard = converse(
            &server,
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
              b\r\nhello world\r\n0\r\n\r\n",
        )
        .await;
        let text = "the body of the request is longer than the limit of 10 bytes";
        assert!(heard.ends_with(text), "{heard}");
    })
    .unwrap();
}

#[test]
fn a_failing_service_is_a_500_and_is_reported() {
    run(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&reports);
        LocalLoop::current()
            .unwrap()
            .set_exception_handler(Some(Rc::new(move |_: &LocalLoop, context: &_| {
                let context: &rondel_loop::ExceptionContext = context;
                seen.borrow_mut().push(context.message.clone());
            })));
        let service =
            service_fn(
                async |request: Request<RequestBody>| match request.uri().path() {
                    "/fails" => Err(BoxError::from("out of order")),
                    "/panics" => panic!("quite out of order"),
                    _ => text("fine"),
                },
            );
        let server = start(HttpServer::new(), service).await;
        let (mut reader, writer) = connect(&server).await;
        writer
            .write_all(b"GET /fails HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 500"));
        assert!(
            reports.borrow()[0].starts_with("the service failed on GET /fails from 127.0.0.1:")
        );
        // The connection goes on.
        writer.write_all(GET).await.unwrap();
        assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 200"));

        let heard = converse(&server, b"GET /panics HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(heard, "");
        assert_eq!(reports.borrow().len(), 2, "{reports:?}");
        assert!(converse(&server, LAST).await.ends_with("fine"));
    })
    .unwrap();
}

#[test]
fn a_request_says_where_it_comes_from() {
    run(async {
        let service = service_fn(async |request: Request<RequestBody>| {
            let info = request.extensions().get::<ConnectInfo>().unwrap();
            text(format!(
                "{} {}",
                info.peer().unwrap(),
                info.local().unwrap()
            ))
        });
        let server = start(HttpServer::new(), service).await;
        let (mut reader, writer) = connect(&server).await;
        let expected = format!(
            "{} {}",
            writer.local_addr().unwrap(),
            writer.peer_addr().unwrap()
        );
        writer.write_all(LAST).await.unwrap();
        let heard = reader.read_to_end(1000).await.unwrap();
        assert!(heard.ends_with(expected.as_bytes()), "{heard:?}");
    })
    .unwrap();
}

/// The handler of a request is dropped when its client leaves: with HTTP/1.1, when that is noticed.
#[test]
fn a_client_that_leaves_cancels_its_request() {
    struct Dropped(Rc<Event>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set();
        }
    }
    run(async {
        let (begun, dropped) = (Rc::new(Event::new()), Rc::new(Event::new()));
        let service = {
            let (begun, dropped) = (Rc::clone(&begun), Rc::clone(&dropped));
            service_fn(move |_| {
                begun.set();
                let dropped = Dropped(Rc::clone(&dropped));
                async move {
                    let _dropped = dropped;
                    std::future::pending::<Answer>().await
                }
            })
        };
        let server = start(HttpServer::new(), service).await;
        let (reader, writer) = connect(&server).await;
        writer.write_all(GET).await.unwrap();
        begun.wait().await;
        writer.abort();
        drop((reader, writer));
        dropped.wait().await;
    })
    .unwrap();
}

#[test]
fn an_upgraded_connection_is_the_users() {
    run(async {
        let service = service_fn(async |mut request: Request<RequestBody>| {
            let upgrade = hyper::upgrade::on(&mut request);
            spawn(async move {
                let parts = upgrade.await.unwrap().downcast::<HyperIo>().unwrap();
                let (mut reader, writer, early) = parts.io.into_inner().unwrap();
                assert_eq!(early, b"");
                // What the client said too soon.
                writer.write_all(&parts.read_buf).await.unwrap();
                loop {
                    let some = reader.read_some(1000).await.unwrap();
                    if some.is_empty() {
                        break;
                    }
                    writer.write_all(&some.to_ascii_uppercase()).await.unwrap();
                }
            });
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert("connection", "upgrade".parse()?);
            headers.insert("upgrade", "shouting".parse()?);
            Ok(response)
        });
        let server = start(HttpServer::new(), service).await;
        let (mut reader, writer) = connect(&server).await;
        writer
            .write_all(b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: shouting\r\n\r\nearly ")
            .await
            .unwrap();
        assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 101"));
        writer.write_all(b"hello").await.unwrap();
        let mut answer = [0; 11];
        reader.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"early HELLO");
        writer.write_eof().unwrap();
        assert_eq!(reader.read_to_end(100).await.unwrap(), b"");
    })
    .unwrap();
}

#[test]
fn shutting_down_answers_what_is_under_way() {
    run(async {
        let (begun, go_on) = (Rc::new(Event::new()), Rc::new(Event::new()));
        let service = {
            let (begun, go_on) = (Rc::clone(&begun), Rc::clone(&go_on));
            service_fn(move |request: Request<RequestBody>| {
                let (begun, go_on) = (Rc::clone(&begun), Rc::clone(&go_on));
                async move {
                    if request.uri().path() == "/slow" {
                        begun.set();
                        go_on.wait().await;
                    }
                    text("done")
                }
            })
        };
        let server = Rc::new(start(HttpServer::new(), service).await);
        let address = server.local_addrs()[0];
        // One that has asked nothing, one that has asked once, one whose answer is still being worked on.
        let (mut silent, _silent) = connect(&server).await;
        let (mut idle, idle_writer) = connect(&server).await;
        idle_writer.write_all(GET).await.unwrap();
        read_head(&mut idle).await;
        let (mut busy, busy_writer) = connect(&server).await;
        busy_writer
            .write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        begun.wait().await;

        let ending = spawn({
            let server = Rc::clone(&server);
            async move { server.shutdown(Duration::from_secs(60)).await }
        });
        assert_eq!(silent.read_to_end(100).await.unwrap(), b"");
        assert_eq!(idle.read_to_end(100).await.unwrap(), b"done");
        assert!(open_connection(address).await.is_err(), "nobody is let in");
        assert!(!ending.is_finished());
        go_on.set();
        let answer = busy.read_to_end(1000).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"done"));
        let report = ending.await.unwrap();
        assert_eq!((report.cancelled, report.aborted), (0, 0), "{report:?}");
    })
    .unwrap();
}

#[test]
fn grace_has_an_end() {
    run(async {
        let begun = Rc::new(Event::new());
        let service = {
            let begun = Rc::clone(&begun);
            service_fn(move |_| {
                begun.set();
                std::future::pending::<Answer>()
            })
        };
        let server = start(HttpServer::new(), service).await;
        let (mut reader, writer) = connect(&server).await;
        writer.write_all(GET).await.unwrap();
        begun.wait().await;
        let report = server.shutdown(Duration::from_millis(1)).await;
        assert_eq!(report.cancelled, 1, "{report:?}");
        assert!(
            reader
                .read_to_end(100)
                .await
                .is_ok_and(|rest| rest.is_empty())
        );
    })
    .unwrap();
}

/// Runs `main` on real sockets, on a clock that moves only when told.
fn on_manual_clock<T>(main: impl AsyncFnOnce(ManualClock) -> T) -> T {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut event_loop = EventLoop::builder().selector(selector).build().unwrap();
    event_loop.run_until_complete(main(clock)).unwrap()
}

/// Lets the other end of a loopback connection have its turns: the loop looks at its sockets once in 64 of them, since its clock
/// stands still.
async fn settle() {
    for _ in 0..20 * 64 {
        yield_now().await;
    }
}

#[test]
fn whoever_says_nothing_is_closed_in_time() {
    on_manual_clock(async |clock| {
        let limit = Duration::from_secs(30);
        let server = start(HttpServer::new().header_timeout(limit), service_fn(echo)).await;
        // Nothing at all; half a preface; half a head; nothing after an answer.
        let (mut silent, _w1) = connect(&server).await;
        let (mut undecided, w2) = connect(&server).await;
        w2.write_all(b"PR").await.unwrap();
        let (mut half, w3) = connect(&server).await;
        w3.write_all(b"GET / HT").await.unwrap();
        let (mut idle, w4) = connect(&server).await;
        w4.write_all(GET).await.unwrap();
        read_head(&mut idle).await;
        settle().await;
        clock.advance(limit - Duration::from_millis(1));
        settle().await;
        assert_eq!(server.connections(), 4);
        clock.advance(Duration::from_millis(2));
        assert_eq!(silent.read_to_end(100).await.unwrap(), b"");
        assert_eq!(undecided.read_to_end(100).await.unwrap(), b"");
        let rest = half.read_to_end(1000).await.unwrap();
        assert!(
            rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"),
            "{rest:?}"
        );
        assert_eq!(idle.read_to_end(100).await.unwrap(), b"");
    });
}

/// The limit is for each head, though one timer serves them all.
#[test]
fn patience_begins_anew_with_every_request() {
    on_manual_clock(async |clock| {
        let limit = Duration::from_secs(30);
        let server = start(HttpServer::new().header_timeout(limit), service_fn(echo)).await;
        let (mut reader, writer) = connect(&server).await;
        for pause in [20, 20, 29, 1, 29] {
            writer.write_all(GET).await.unwrap();
            assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 200"));
            settle().await;
            clock.advance(Duration::from_secs(pause));
            settle().await;
            assert_eq!(server.connections(), 1);
        }
        // A second is left of the last one's.
        clock.advance(Duration::from_millis(1001));
        assert_eq!(reader.read_to_end(100).await.unwrap(), b"");
    });
}

/// A connection that nothing is asked of goes without hyper, and its memory, until something is.
#[test]
fn a_connection_at_rest_is_let_go_and_served_again() {
    on_manual_clock(async |clock| {
        let service = Rc::new(service_fn(echo));
        let held = Rc::clone(&service);
        let handler = move |reader, writer| {
            let service = Rc::clone(&held);
            async move {
                HttpServer::new()
                    .serve_connection(service, reader, writer)
                    .await
            }
        };
        let server = start_server(handler, "127.0.0.1:0").await.unwrap();
        let (mut reader, writer) = open_connection(server.local_addrs()[0]).await.unwrap();
        // Besides this test's and the handler's, the connection has one, and hyper while it has the connection.
        let has_hyper = || Rc::strong_count(&service) == 4;
        let rest = async || {
            settle().await;
            clock.advance(Duration::from_millis(1500));
            settle().await;
        };

        for _ in 0..3 {
            writer.write_all(GET).await.unwrap();
            assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 200"));
            assert!(has_hyper());
            rest().await;
            assert!(!has_hyper());
        }
        // The beginning of a request wakes it, and keeps it awake, wherever it is cut.
        for cut in [1, 10, GET.len() - 1] {
            writer.write_all(&GET[..cut]).await.unwrap();
            rest().await;
            assert!(has_hyper());
            writer.write_all(&GET[cut..]).await.unwrap();
            assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 200"));
        }
        // Also when it came along with the one before.
        writer.write_all(&[GET, &GET[..20]].concat()).await.unwrap();
        read_head(&mut reader).await;
        rest().await;
        assert!(has_hyper());
        writer.write_all(&GET[20..]).await.unwrap();
        read_head(&mut reader).await;
        rest().await;
        assert!(!has_hyper());
        // What ends like a head and is a body does not deceive it.
        let post = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 8\r\n\r\n1234\r\n\r\n";
        writer.write_all(post).await.unwrap();
        assert!(read_head(&mut reader).await.contains("content-length: 8"));
        reader.read_exact(&mut [0; 8]).await.unwrap();
        rest().await;
        assert!(has_hyper());
        writer.write_all(LAST).await.unwrap();
        assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 200"));
        assert_eq!(reader.read_to_end(100).await.unwrap(), b"");
    });
}

/// At rest or not, silence has its limit, and closing time is closing time.
#[test]
fn a_connection_at_rest_ends_like_any_other() {
    on_manual_clock(async |clock| {
        let limit = Duration::from_secs(30);
        let server = start(HttpServer::new().header_timeout(limit), service_fn(echo)).await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            let (mut reader, writer) = connect(&server).await;
            writer.write_all(GET).await.unwrap();
            read_head(&mut reader).await;
            clients.push((reader, writer));
        }
        settle().await;
        clock.advance(Duration::from_secs(2));
        settle().await;
        // One leaves, one asks for half of something, one is silent.
        drop(clients.pop());
        settle().await;
        assert_eq!(server.connections(), 2);
        clients[0].1.write_all(b"GET /").await.unwrap();
        settle().await;
        clock.advance(Duration::from_millis(28_001));
        for (reader, _) in &mut clients {
            let heard = reader.read_to_end(1000).await.unwrap();
            assert!(heard.is_empty(), "{heard:?}");
        }

        let (mut reader, writer) = connect(&server).await;
        writer.write_all(GET).await.unwrap();
        read_head(&mut reader).await;
        settle().await;
        clock.advance(Duration::from_secs(2));
        settle().await;
        let report = server.shutdown(Duration::from_secs(60)).await;
        assert_eq!((report.cancelled, report.aborted), (0, 0), "{report:?}");
        assert_eq!(reader.read_to_end(100).await.unwrap(), b"");
    });
}

/// Slow in hearing an answer is not the same as asking for nothing.
#[test]
fn an_answer_that_is_heard_slowly_is_not_cut() {
    on_manual_clock(async |clock| {
        let limit = Duration::from_secs(30);
        let service = service_fn(async |_: Request<RequestBody>| text(vec![7; 20_000_000]));
        let server = start(HttpServer::new().header_timeout(limit), service).await;
        let (mut reader, writer) = connect(&server).await;
        writer.write_all(GET).await.unwrap();
        read_head(&mut reader).await;
        for _ in 0..5 {
            settle().await;
            clock.advance(limit);
        }
        settle().await;
        assert_eq!(server.connections(), 1);
        let mut heard = vec![0; 20_000_000];
        reader.read_exact(&mut heard).await.unwrap();
        assert!(heard.iter().all(|byte| *byte == 7));
        // Heard to the end, it is silent like any other.
        settle().await;
        clock.advance(2 * limit);
        assert_eq!(reader.read_to_end(100).await.unwrap(), b"");
    });
}

#[test]
fn a_body_that_stops_coming_fails_in_time() {
    on_manual_clock(async |clock| {
        let service = service_fn(async |request: Request<RequestBody>| {
            let error = request.into_body().collect().await.unwrap_err();
            assert!(error.is_too_slow(), "{error}");
            text(error.to_string())
        });
        let limit = Duration::from_secs(5);
        let server = start(HttpServer::new().body_timeout(limit), service).await;
        let (mut reader, writer) = connect(&server).await;
        writer
            .write_all(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhe")
            .await
            .unwrap();
        settle().await;
        // Something comes in time: patience begins anew.
        clock.advance(Duration::from_secs(4));
        settle().await;
        writer.write_all(b"l").await.unwrap();
        settle().await;
        clock.advance(Duration::from_secs(4));
        settle().await;
        assert_eq!(server.connections(), 1);
        clock.advance(Duration::from_secs(2));
        let heard = reader.read_to_end(1000).await.unwrap();
        let heard = String::from_utf8_lossy(&heard);
        assert!(
            heard.ends_with("nothing of the request's body came for 5s, which is the limit"),
            "{heard}"
        );
    });
}

#[test]
fn limits_beyond_the_clock_are_none() {
    run(async {
        let server = HttpServer::new()
            .header_timeout(Duration::MAX)
            .body_timeout(Duration::MAX)
            .ping_interval(Duration::MAX);
        let server = start(server, service_fn(echo)).await;
        let (mut reader, writer) = connect(&server).await;
        for _ in 0..2 {
            writer.write_all(GET).await.unwrap();
            assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 200"));
        }
    })
    .unwrap();
}

#[test]
fn versions_can_be_refused() {
    run(async {
        let server = start(HttpServer::new().http1(false), service_fn(echo)).await;
        assert_eq!(converse(&server, LAST).await, "");
        let server = start(HttpServer::new().http2(false), service_fn(echo)).await;
        assert_eq!(
            converse(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await,
            ""
        );
        assert!(converse(&server, LAST).await.starts_with("HTTP/1.1 200"));
    })
    .unwrap();
}

#[test]
fn the_head_of_a_request_is_no_reason_to_wait_for_its_body() {
    run(async {
        let service = service_fn(async |request: Request<RequestBody>| {
            let first = request.into_body().frame().await.unwrap()?;
            text(first.into_data().unwrap())
        });
        let server = start(HttpServer::new(), service).await;
        let (mut reader, writer) = connect(&server).await;
        writer
            .write_all(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nbeginning")
            .await
            .unwrap();
        assert!(read_head(&mut reader).await.starts_with("HTTP/1.1 200"));
        let mut answer = [0; 9];
        reader.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"beginning");
        // Neither end waits for the 91 bytes that never come.
        let closed = timeout(Duration::from_secs(30), async {
            drop(writer);
            while server.connections() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        closed.await.unwrap();
    })
    .unwrap();
}
