//! The pooled client, against servers that behave and servers that do not.

mod authority;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use rondel_executor::gather;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::client::{Body, ClientBuilder, ClientErrorKind, ResponseInfo};
use rondel_hyper::http::{Method, Request, Response, Version, header};
use rondel_hyper::http_body_util::{BodyExt, Full, StreamBody};
use rondel_hyper::hyper::body::Frame;
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::{RequestBody, RunningServer};
use rondel_hyper::{BoxError, Client, HttpServer};
use rondel_loop::{EventLoop, run, spawn, yield_now};
use rondel_net::{ConnectOptions, Server, StreamReader, StreamWriter, start_server};
use rondel_poll::{Clocked, ManualClock, default_selector};
use rondel_sync::Event;

type Answer = Result<Response<Full<Bytes>>, BoxError>;
type Failure = Box<dyn Error>;

fn text(text: impl Into<Bytes>) -> Answer {
    Ok(Response::new(Full::new(text.into())))
}

/// Says what it was asked.
async fn mirror(request: Request<RequestBody>) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut said = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        said += &format!("{name}: {}\n", value.to_str()?);
    }
    said += std::str::from_utf8(&body)?;
    text(said)
}

async fn start_mirror() -> (RunningServer, String) {
    let server = HttpServer::new().serve(service_fn(mirror), "127.0.0.1:0");
    let server = server.await.unwrap();
    let url = format!("http://{}", server.local_addrs()[0]);
    (server, url)
}

async fn read<B>(response: Response<B>) -> Result<String, B::Error>
where
    B: http_body::Body,
{
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// A server that answers each connection by `answers`, one after the other, to requests without a body; and how many connections it
/// has had.
async fn canned(
    answers: impl Fn(usize, &str) -> Option<String> + 'static,
) -> (Server, String, Rc<Cell<usize>>) {
    let connections = Rc::new(Cell::new(0));
    let answers = Rc::new(answers);
    let handler = {
        let connections = Rc::clone(&connections);
        move |mut reader: StreamReader, writer: StreamWriter| {
            let number = connections.replace(connections.get() + 1);
            let answers = Rc::clone(&answers);
            async move {
                while let Ok(head) = reader.read_until(b"\r\n\r\n").await {
                    let head = String::from_utf8(head).unwrap();
                    match answers(number, &head) {
                        Some(answer) => writer.write_all(answer.as_bytes()).await.unwrap(),
                        None => return,
                    }
                }
            }
        }
    };
    let server = start_server(handler, "127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", server.local_addrs()[0]);
    (server, url, connections)
}

fn plain(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn what_is_sent_is_what_was_asked_for() {
    run(async {
        let (_server, url) = start_mirror().await;
        let client = Client::new();
        let said = read(client.get(&format!("{url}/a/b?c=d#e")).await?).await?;
        let host = url.strip_prefix("http://").unwrap();
        let agent = concat!("user-agent: rondel-hyper/", env!("CARGO_PKG_VERSION"), "\n");
        assert!(said.starts_with("GET /a/b?c=d HTTP/1.1\n"), "{said}");
        for line in [agent, "accept: */*\n", &format!("host: {host}\n")] {
            assert!(said.contains(line), "{said}");
        }

        let said = read(client.post(&url, "a body").await?).await?;
        assert!(said.starts_with("POST / HTTP/1.1\n"), "{said}");
        assert!(said.ends_with("content-length: 6\na body"), "{said}");

        let request = Request::builder()
            .method(Method::PUT)
            .uri(&url)
            .header("host", "elsewhere.example")
            .header("user-agent", "somebody")
            .body("x")?;
        let said = read(client.request(request).await?).await?;
        assert!(said.contains("host: elsewhere.example\nuser-agent: somebody\n"));

        let response = client.head(&url).await?;
        let info: &ResponseInfo = response.extensions().get().unwrap();
        assert_eq!(
            (info.url.to_string(), info.redirects),
            (format!("{url}/"), 0)
        );
        assert_eq!(read(response).await?, "");
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn a_body_may_be_made_while_it_is_sent() {
    run(async {
        let (_server, url) = start_mirror().await;
        let pieces = ["one ", "two ", "three"]
            .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
        // Its pieces are no more `Send` than the rest.
        let body = Body::stream(StreamBody::new(futures_util::stream::iter(pieces)));
        let said = read(Client::new().post(&url, body).await?).await?;
        assert!(said.contains("transfer-encoding: chunked\n"), "{said}");
        assert!(said.ends_with("one two three"), "{said}");
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn a_connection_is_used_again_when_the_answer_has_been_read() {
    run(async {
        let (server, url) = start_mirror().await;
        let client = Client::new();
        for _ in 0..5 {
            read(client.get(&url).await?).await?;
        }
        assert_eq!((server.connections(), client.idle_connections()), (1, 1));
        // One whose answer is not read is not.
        let response = client.get(&url).await?;
        assert_eq!(client.idle_connections(), 0);
        let other = client.get(&url).await?;
        assert_eq!(server.connections(), 2);
        drop(response);
        read(other).await?;
        assert_eq!(client.idle_connections(), 1);
        while server.connections() > 1 {
            yield_now().await;
        }
        // With the client its connections go.
        drop(client);
        while server.connections() > 0 {
            yield_now().await;
        }
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn each_host_has_a_limit_and_a_queue() {
    run(async {
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let service = {
            let (now, most) = (Rc::clone(&now), Rc::clone(&most));
            service_fn(move |_| {
                now.set(now.get() + 1);
                most.set(now.get().max(most.get()));
                let now = Rc::clone(&now);
                async move {
                    for _ in 0..10 {
                        yield_now().await;
                    }
                    now.set(now.get() - 1);
                    text("here")
                }
            })
        };
        let server = HttpServer::new().serve(service, "127.0.0.1:0").await?;
        let url = format!("http://{}", server.local_addrs()[0]);
        let client = Client::builder().max_per_host(3).build();
        let all = (0..30).map(|_| {
            let (client, url) = (client.clone(), url.clone());
            async move { read(client.get(&url).await.unwrap()).await.unwrap() }
        });
        assert_eq!(gather(all.collect::<Vec<_>>()).await.len(), 30);
        assert_eq!(most.get(), 3);
        assert_eq!(server.connections(), 3);
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

/// The server closes kept connections whenever it likes; nobody should notice.
#[test]
fn a_connection_that_died_while_it_was_kept_is_replaced() {
    run(async {
        // Answers one request a connection and then closes without a word.
        let (_server, url, connections) = canned(|number, head| {
            assert!(head.starts_with("GET / ") || head.starts_with("POST / "));
            thread_local!(static SEEN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) });
            SEEN.with_borrow_mut(|seen| {
                seen.push(number);
                (seen.iter().filter(|seen| **seen == number).count() == 1).then(|| plain("once"))
            })
        })
        .await;
        let client = Client::new();
        for round in 1..=5 {
            // Sent on the kept one, read by the server, answered by an end: GET may be sent again.
            assert_eq!(read(client.get(&url).await?).await?, "once");
            assert_eq!(connections.get(), round);
        }
        // POST may have been acted upon, and the user is told.
        let error = client.post(&url, "").await.unwrap_err();
        assert!(matches!(error.kind(), ClientErrorKind::Http(_)), "{error}");
        assert_eq!(connections.get(), 5);
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn redirects_are_followed() {
    run(async {
        let (_elsewhere, elsewhere) = start_mirror().await;
        let there = elsewhere.clone();
        let service = service_fn(move |request: Request<RequestBody>| {
            let there = there.clone();
            async move {
                let (status, place) = match request.uri().path() {
                    "/old" => (301, "new?x=1#part".to_owned()),
                    "/dir/up" => (302, "../new".to_owned()),
                    "/see" => (303, "/new".to_owned()),
                    "/same" => (307, "/new".to_owned()),
                    "/away" => (308, there + "/away"),
                    "/loop" => (302, "/loop".to_owned()),
                    "/nowhere" => (302, "http://".to_owned()),
                    "/silent" => (302, String::new()),
                    "/mail" => (302, "mailto:somebody".to_owned()),
                    _ => return mirror(request).await,
                };
                let mut response = Response::new(Full::from("moved"));
                *response.status_mut() = status.try_into()?;
                if !place.is_empty() {
                    response
                        .headers_mut()
                        .insert(header::LOCATION, place.parse()?);
                }
                Ok(response)
            }
        });
        let server = HttpServer::new().serve(service, "127.0.0.1:0").await?;
        let url = format!("http://{}", server.local_addrs()[0]);
        let client = Client::new();
        let get = async |path: &str| {
            let response = client.get(&format!("{url}{path}")).await?;
            let info: ResponseInfo = response.extensions().get().cloned().unwrap();
            Ok::<_, Failure>((read(response).await?, info))
        };
        let (said, info) = get("/old").await?;
        assert!(said.starts_with("GET /new?x=1 HTTP/1.1\n"), "{said}");
        assert_eq!(
            (info.url.to_string(), info.redirects),
            (format!("{url}/new?x=1"), 1)
        );
        assert!(get("/dir/up").await?.0.starts_with("GET /new "));
        // A redirect that does not say where to is an answer.
        assert_eq!(get("/silent").await?.0, "moved");
        // All on one connection: the redirects' bodies were read.
        assert_eq!(server.connections(), 1);

        let post = async |path: &str, body: Body| {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("{url}{path}"))
                .header("authorization", "secret")
                .header("content-type", "text/plain")
                .body(body)?;
            Ok::<_, Failure>(client.request(request).await?)
        };
        let said = read(post("/see", "body".into()).await?).await?;
        assert!(said.starts_with("GET /new "), "{said}");
        assert!(
            !said.contains("content-") && !said.contains("body"),
            "{said}"
        );
        assert!(said.contains("authorization: secret\n"));
        let said = read(post("/same", "body".into()).await?).await?;
        assert!(
            said.starts_with("POST /new ") && said.ends_with("body"),
            "{said}"
        );
        // Somebody else is not told what was meant for the first.
        let said = read(post("/away", "body".into()).await?).await?;
        assert!(
            said.starts_with("POST /away ") && said.ends_with("body"),
            "{said}"
        );
        assert!(!said.contains("secret"), "{said}");
        assert!(said.contains(&elsewhere["http://".len()..]), "{said}");
        // What can be sent only once is not sent again.
        let pieces = [Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"once")))];
        let once = Body::stream(StreamBody::new(futures_util::stream::iter(pieces)));
        assert_eq!(post("/same", once).await?.status(), 307);

        for (path, text) in [
            ("/loop", "redirected more than 10 times"),
            ("/nowhere", "redirected to \"http://\", which is no URL"),
            ("/mail", "the URL has to begin with http:// or https://"),
        ] {
            let error = get(path).await.unwrap_err().to_string();
            assert!(error.ends_with(text), "{error}");
        }
        let stays = Client::builder().redirects(0).build();
        assert_eq!(stays.get(&format!("{url}/old")).await?.status(), 301);
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn errors_say_what_happened_to_what() {
    run(async {
        let client = Client::new();
        let error = |url: &'static str| {
            let client = client.clone();
            async move { client.get(url).await.unwrap_err() }
        };
        assert!(
            error("not a url")
                .await
                .to_string()
                .starts_with("GET not a url: this is no URL")
        );
        assert_eq!(
            error("ftp://host/").await.to_string(),
            "GET ftp://host/: the URL has to begin with http:// or https://"
        );
        assert!(matches!(
            error("/path").await.kind(),
            ClientErrorKind::Scheme
        ));
        let refused = error("http://127.0.0.1:1/").await;
        assert!(refused.is_connect() && !refused.is_timeout());
        assert!(
            refused.to_string().starts_with("GET http://127.0.0.1:1/: "),
            "{refused}"
        );

        let (_server, url, _) = canned(|_, _| Some("SMTP ready\r\n\r\n".to_owned())).await;
        let error = client.get(&url).await.unwrap_err();
        assert!(matches!(error.kind(), ClientErrorKind::Http(_)), "{error}");
        let (_server, url, _) = canned(|_, _| None).await;
        let error = client.get(&url).await.unwrap_err();
        assert!(matches!(error.kind(), ClientErrorKind::Http(_)), "{error}");
        // Cut short.
        let (server, url, _) =
            canned(|_, _| Some("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".into())).await;
        let response = client.get(&url).await?;
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap()?.into_data().unwrap(), "half");
        server.abort_clients();
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("reading the body of the answer: "),
            "{error}"
        );
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn heads_have_a_limit() {
    run(async {
        let (_server, url, _) = canned(|_, _| {
            let filler = "x".repeat(200_000);
            Some(format!(
                "HTTP/1.1 200 OK\r\nX: {filler}\r\nContent-Length: 0\r\n\r\n"
            ))
        })
        .await;
        let generous = Client::new();
        assert_eq!(generous.get(&url).await?.status(), 200);
        let strict = Client::builder().header_limit(64 * 1024).build();
        match strict.get(&url).await.unwrap_err().kind() {
            ClientErrorKind::Http(error) => assert!(error.is_parse_too_large(), "{error}"),
            other => panic!("{other}"),
        }
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn dropping_a_request_closes_its_connection() {
    run(async {
        let (begun, ended) = (Rc::new(Event::new()), Rc::new(Event::new()));
        let (asked, left) = (Rc::clone(&begun), Rc::clone(&ended));
        let handler = move |mut reader: StreamReader, writer: StreamWriter| {
            let (asked, left) = (Rc::clone(&asked), Rc::clone(&left));
            async move {
                let _writer = writer;
                reader.read_until(b"\r\n\r\n").await.unwrap();
                asked.set();
                // Never answers, and hears of the end.
                let _ = reader.read_some(1).await;
                left.set();
            }
        };
        let server = start_server(handler, "127.0.0.1:0").await?;
        let url = format!("http://{}", server.local_addrs()[0]);
        let client = Client::builder().max_per_host(1).build();
        let getting = spawn({
            let (client, url) = (client.clone(), url.clone());
            async move { client.get(&url).await.map(drop) }
        });
        begun.wait().await;
        // A second one waits for the only place, and goes with no harm.
        let waiting = spawn({
            let (client, url) = (client.clone(), url.clone());
            async move { client.get(&url).await.map(drop) }
        });
        yield_now().await;
        waiting.cancel();
        assert!(waiting.await.is_err());
        getting.cancel();
        assert!(getting.await.is_err());
        ended.wait().await;
        assert_eq!(client.idle_connections(), 0);
        // And the place is free again.
        begun.clear();
        let again = spawn(async move { client.get(&url).await.map(drop) });
        begun.wait().await;
        again.cancel();
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

/// Runs `main` on real sockets, on a clock that moves only when told.
fn on_manual_clock<T>(main: impl AsyncFnOnce(ManualClock) -> T) -> T {
    let clock = ManualClock::new();
    let selector = Clocked::new(default_selector().unwrap(), clock.clone());
    let mut event_loop = EventLoop::builder().selector(selector).build().unwrap();
    event_loop.run_until_complete(main(clock)).unwrap()
}

/// See the server's tests.
async fn settle() {
    for _ in 0..20 * 64 {
        yield_now().await;
    }
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[test]
fn every_wait_has_its_limit() {
    on_manual_clock(async |clock| {
        let (_server, url, _) = canned(|_, head| {
            head.starts_with("GET /head")
                .then(|| "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned())
        })
        .await;
        let silent = start_server(
            async |mut reader: StreamReader, _writer: StreamWriter| {
                while reader
                    .read_some(100)
                    .await
                    .is_ok_and(|some| !some.is_empty())
                {}
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let silent_url = format!("http://{}", silent.local_addrs()[0]);
        let client = Client::builder()
            .max_per_host(1)
            .place_timeout(second())
            .head_timeout(3 * second())
            .body_timeout(2 * second())
            .build();
        let get = |url: String| {
            let client = client.clone();
            spawn(async move { client.get(&url).await })
        };
        let first = get(silent_url.clone());
        settle().await;
        let second_one = get(silent_url.clone());
        settle().await;
        clock.advance(second());
        let error = second_one.await.unwrap().unwrap_err();
        assert!(error.is_timeout());
        assert!(
            error
                .to_string()
                .ends_with("no place at this host became free within 1s")
        );
        clock.advance(2 * second());
        let error = first.await.unwrap().unwrap_err();
        assert!(error.is_timeout());
        assert!(
            error.to_string().ends_with("no answer within 3s"),
            "{error}"
        );

        let response = get(format!("{url}/head")).await.unwrap().unwrap();
        let body = spawn(response.into_body().collect());
        settle().await;
        clock.advance(2 * second());
        let error = body.await.unwrap().unwrap_err();
        assert!(error.is_timeout(), "{error}");
    });
}

#[test]
fn what_is_kept_is_kept_for_a_while() {
    on_manual_clock(async |clock| {
        let (server, url, connections) = canned(|_, _| Some(plain("kept"))).await;
        let client = Client::builder()
            .idle_timeout(10 * second())
            .max_idle_per_host(2)
            .build();
        let three: Vec<_> = gather((0..3).map(|_| client.get(&url)).collect::<Vec<_>>()).await;
        assert_eq!((connections.get(), client.idle_connections()), (3, 0));
        for response in three {
            read(response.unwrap()).await.unwrap();
        }
        settle().await;
        assert_eq!((server.connections(), client.idle_connections()), (2, 2));
        clock.advance(9 * second());
        settle().await;
        // The one used last is used again, the other grows old.
        read(client.get(&url).await.unwrap()).await.unwrap();
        clock.advance(second());
        settle().await;
        assert_eq!((server.connections(), client.idle_connections()), (1, 1));
        clock.advance(9 * second());
        settle().await;
        assert_eq!((server.connections(), client.idle_connections()), (0, 0));
    });
}

fn secure(builder: ClientBuilder, tls: rondel_net::tls::ClientTls) -> Client {
    builder.tls(tls).build()
}

#[test]
fn http2_is_agreed_on_and_shared() {
    run(async {
        let (server_tls, client_tls) = authority::tls();
        let server = HttpServer::new()
            .tls(server_tls)
            .serve(service_fn(mirror), "127.0.0.1:0")
            .await?;
        let url = format!("https://localhost:{}/", server.local_addrs()[0].port());
        let client = secure(Client::builder(), client_tls.clone());
        let all = (0..50).map(|number| {
            let (client, url) = (client.clone(), format!("{url}{number}"));
            async move {
                let response = client.get(&url).await.unwrap();
                assert_eq!(response.version(), Version::HTTP_2);
                read(response).await.unwrap()
            }
        });
        for (number, said) in gather(all.collect::<Vec<_>>()).await.iter().enumerate() {
            assert!(said.contains(&format!("/{number} HTTP/2.0\n")), "{said}");
            assert!(!said.contains("\nhost:"), "{said}");
        }
        assert_eq!((server.connections(), client.idle_connections()), (1, 1));

        let old = secure(Client::builder().http1_only(), client_tls);
        let said = read(old.get(&url).await?).await?;
        assert!(said.starts_with("GET / HTTP/1.1\n"), "{said}");

        // The server goes, and the client notices: another one in its place is found.
        server.shutdown(second()).await;
        let error = client.get(&url).await.unwrap_err();
        assert!(error.is_connect(), "{error}");
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn http2_needs_no_tls_if_both_know() {
    run(async {
        let (server, url) = start_mirror().await;
        let client = Client::builder().http2_only().build();
        let big = vec![b'x'; 1_000_000];
        let said = read(client.post(&url, big.clone()).await?).await?;
        assert!(said.starts_with("POST "), "{}", &said[..100]);
        assert!(said.ends_with(std::str::from_utf8(&big)?));
        assert_eq!(server.connections(), 1);
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

/// RFC 9113, 8.3.1: no name and password in `:authority`; and a `Host` of one's own is what it says.
#[test]
fn http2_says_the_host_and_no_secret() {
    run(async {
        let (_server, url) = start_mirror().await;
        let client = Client::builder().http2_only().build();
        let host = url.strip_prefix("http://").unwrap();
        let said = read(client.get(&format!("http://me:secret@{host}/a?b")).await?).await?;
        assert!(
            said.starts_with(&format!("GET {url}/a?b HTTP/2.0\n")),
            "{said}"
        );

        let request = Request::get(&url)
            .header("host", "elsewhere.example")
            .body("")?;
        let said = read(client.request(request).await?).await?;
        assert!(
            said.starts_with("GET http://elsewhere.example/ HTTP/2.0\n"),
            "{said}"
        );
        assert!(!said.contains("\nhost:"), "{said}");
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

/// Requests that a dying connection leaves behind share the next one.
#[test]
fn a_shared_connection_that_died_is_replaced_once() {
    run(async {
        let (asked, go_on) = (Rc::new(Cell::new(0)), Rc::new(Event::new()));
        let service = {
            let (asked, go_on) = (Rc::clone(&asked), Rc::clone(&go_on));
            service_fn(move |request: Request<RequestBody>| {
                let is_first = request.uri().path() == "/first";
                asked.set(asked.get() + usize::from(!is_first));
                let go_on = Rc::clone(&go_on);
                async move {
                    if !is_first {
                        go_on.wait().await;
                    }
                    text("answered")
                }
            })
        };
        let server = HttpServer::new().serve(service, "127.0.0.1:0").await?;
        let url = format!("http://{}/", server.local_addrs()[0]);
        let client = Client::builder().http2_only().build();
        // What dies with a connection that was made for it is not asked again.
        read(client.get(&format!("{url}first")).await?).await?;
        let asking = (0..10).map(|_| {
            let (client, url) = (client.clone(), url.clone());
            spawn(async move { read(client.get(&url).await.unwrap()).await.unwrap() })
        });
        let asking: Vec<_> = asking.collect();
        while asked.get() < 10 {
            yield_now().await;
        }
        assert_eq!(server.connections(), 1);
        server.server().abort_clients();
        while asked.get() < 20 {
            yield_now().await;
        }
        assert_eq!(server.connections(), 1);
        go_on.set();
        for answer in asking {
            assert_eq!(answer.await.unwrap(), "answered");
        }
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

/// A shutdown lets streams that are under way end, and takes no new ones.
#[test]
fn http2_streams_are_answered_at_the_end() {
    run(async {
        let (begun, go_on) = (Rc::new(Event::new()), Rc::new(Event::new()));
        let service = {
            let (begun, go_on) = (Rc::clone(&begun), Rc::clone(&go_on));
            service_fn(move |_| {
                let (begun, go_on) = (Rc::clone(&begun), Rc::clone(&go_on));
                async move {
                    begun.set();
                    go_on.wait().await;
                    text("answered")
                }
            })
        };
        let server = Rc::new(HttpServer::new().serve(service, "127.0.0.1:0").await?);
        let url = format!("http://{}/", server.local_addrs()[0]);
        let client = Client::builder().http2_only().build();
        let asking = (0..10).map(|_| {
            let (client, url) = (client.clone(), url.clone());
            spawn(async move { read(client.get(&url).await.unwrap()).await.unwrap() })
        });
        let asking: Vec<_> = asking.collect();
        begun.wait().await;
        for _ in 0..20 * 64 {
            yield_now().await;
        }
        let ending = spawn({
            let server = Rc::clone(&server);
            async move { server.shutdown(Duration::from_secs(60)).await }
        });
        for _ in 0..20 * 64 {
            yield_now().await;
        }
        assert!(client.get(&url).await.unwrap_err().is_connect());
        assert!(!ending.is_finished());
        go_on.set();
        for answer in asking {
            assert_eq!(answer.await.unwrap(), "answered");
        }
        let report = ending.await.unwrap();
        assert_eq!((report.cancelled, report.aborted), (0, 0), "{report:?}");
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

#[test]
fn a_certificate_has_to_be_trusted() {
    run(async {
        let (server_tls, _) = authority::tls();
        let (_, other_tls) = authority::tls();
        let server = HttpServer::new()
            .tls(server_tls)
            .serve(service_fn(mirror), "127.0.0.1:0")
            .await?;
        let url = format!("https://localhost:{}/", server.local_addrs()[0].port());
        let error = secure(Client::builder(), other_tls)
            .get(&url)
            .await
            .unwrap_err();
        assert!(error.is_connect(), "{error}");
        let mut source: Option<&dyn Error> = error.source();
        let mut said = error.to_string();
        while let Some(cause) = source {
            said += &format!(": {cause}");
            source = cause.source();
        }
        assert!(said.contains("certificate"), "{said}");
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}

/// Whoever connects may say how: here to an address of their choice.
#[test]
fn connecting_has_options() {
    run(async {
        let (_server, url) = start_mirror().await;
        let options = ConnectOptions::new().local_addr("127.0.0.2:0".parse()?);
        let client = Client::builder().connect(options).build();
        read(client.get(&url).await?).await?;
        Ok::<(), Failure>(())
    })
    .unwrap()
    .unwrap();
}
