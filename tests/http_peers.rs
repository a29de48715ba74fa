//! HTTP with other people's implementations at the other end: curl, and Python's `http.server`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rondel::net::tls::{Identity, ServerTls};
use rondel::prelude::*;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::{Request, Response, StatusCode, header};
use rondel_hyper::http_body_util::{BodyExt, Full};
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::{RequestBody, RunningServer};
use rondel_hyper::{BoxError, Client, HttpServer};
use rondel_tests::{example, has_peer, run_to_end};

/// A folder of its own for a test, removed when it goes.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("rondel-http-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn service(request: Request<RequestBody>) -> Result<Response<Full<Bytes>>, BoxError> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/moved" {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::FOUND;
        response
            .headers_mut()
            .insert(header::LOCATION, "/here".parse()?);
        return Ok(response);
    }
    let body = body.collect().await?.to_bytes();
    let said = format!(
        "{} {} {:?} {}",
        head.method,
        head.uri.path(),
        head.version,
        body.len()
    );
    Ok(Response::new(Full::from(said)))
}

/// Runs curl in the loop's pool, and gives what it printed.
async fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ])
        .args(arguments);
    let output = to_thread(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn start(server: HttpServer) -> (RunningServer, u16) {
    let server = server
        .serve(service_fn(service), "127.0.0.1:0")
        .await
        .unwrap();
    let port = server.local_addrs()[0].port();
    (server, port)
}

#[test]
fn curl_speaks_http1() {
    if !has_peer("curl") {
        return;
    }
    run(async {
        let (server, port) = start(HttpServer::new()).await;
        let url = format!("http://127.0.0.1:{port}");
        assert_eq!(
            curl(&[&format!("{url}/path")]).await,
            "GET /path HTTP/1.1 0"
        );
        // Three requests, and connections made for each.
        let many = ["--write-out", " %{num_connects}\n", &format!("{url}/[1-3]")];
        assert_eq!(
            curl(&many).await,
            "GET /1 HTTP/1.1 0 1\nGET /2 HTTP/1.1 0 0\nGET /3 HTTP/1.1 0 0\n"
        );
        assert_eq!(curl(&["--data", "12345", &url]).await, "POST / HTTP/1.1 5");
        let chunked = [
            "--header",
            "Transfer-Encoding: chunked",
            "--data",
            "123",
            &url,
        ];
        assert_eq!(curl(&chunked).await, "POST / HTTP/1.1 3");
        let old = ["--http1.0", url.as_str()];
        assert_eq!(curl(&old).await, "GET / HTTP/1.0 0");
        assert!(curl(&["--head", &url]).await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(
            curl(&["--location", &format!("{url}/moved")]).await,
            "GET /here HTTP/1.1 0"
        );
        // `Expect: 100-continue` is answered before the body comes.
        let expects = [
            "--header",
            "Expect: 100-continue",
            "--expect100-timeout",
            "15",
            "--data",
            "123456",
            url.as_str(),
        ];
        assert_eq!(curl(&expects).await, "POST / HTTP/1.1 6");
        let report = server.shutdown(Duration::from_secs(5)).await;
        assert_eq!((report.cancelled, report.aborted), (0, 0));
    })
    .unwrap();
}

#[test]
fn curl_speaks_http2() {
    if !has_peer("curl") {
        return;
    }
    let folder = Folder::new();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = folder.0.join("cert.pem");
    fs::write(&file, cert.pem()).unwrap();
    let key = signing_key.serialize_pem();
    let identity = Identity::from_pem(cert.pem().as_bytes(), key.as_bytes()).unwrap();
    let tls = ServerTls::builder().identity(identity).build().unwrap();
    run(async {
        let (_plain, port) = start(HttpServer::new()).await;
        let known = [
            "--http2-prior-knowledge",
            &format!("http://127.0.0.1:{port}/known"),
        ];
        assert_eq!(curl(&known).await, "GET /known HTTP/2.0 0");

        let (server, port) = start(HttpServer::new().tls(tls.clone())).await;
        let url = format!("https://localhost:{port}/agreed");
        let trust = ["--cacert", file.to_str().unwrap()];
        assert_eq!(
            curl(&[trust[0], trust[1], "--http2", &url]).await,
            "GET /agreed HTTP/2.0 0"
        );
        let old = [trust[0], trust[1], "--http1.1", &url];
        assert_eq!(curl(&old).await, "GET /agreed HTTP/1.1 0");
        // A body larger than the first window.
        let big = folder.0.join("big");
        fs::write(&big, vec![7; 1_500_000]).unwrap();
        let upload = format!("@{}", big.display());
        let sending = [
            trust[0],
            trust[1],
            "--http2",
            "--data-binary",
            &upload,
            &url,
        ];
        assert_eq!(curl(&sending).await, "POST /agreed HTTP/2.0 1500000");
        let report = server.shutdown(Duration::from_secs(5)).await;
        assert_eq!((report.cancelled, report.aborted), (0, 0));

        // Where HTTP/2 is not allowed it is not offered.
        let (_old, port) = start(HttpServer::new().http2(false).tls(tls)).await;
        let url = format!("https://localhost:{port}/old");
        let asking = [trust[0], trust[1], "--http2", &url];
        assert_eq!(curl(&asking).await, "GET /old HTTP/1.1 0");
    })
    .unwrap();
}

/// Python's `http.server`, with bodies encoded in every way that a client may be sent.
struct Python {
    child: Child,
    url: String,
}

const SERVER: &str = r#"
import gzip, zlib, http.server, sys

TEXT = b"".join(b"line %d of a text that can be made smaller\n" % n for n in range(20000))

def raw(data):
    maker = zlib.compressobj(wbits=-15)
    return maker.compress(data) + maker.flush()

BODIES = {
    "/plain": (None, TEXT),
    "/gzip": ("gzip", gzip.compress(TEXT)),
    "/members": ("gzip", gzip.compress(TEXT[:5000]) + gzip.compress(TEXT[5000:])),
    "/deflate": ("deflate", zlib.compress(TEXT)),
    "/raw": ("deflate", raw(TEXT)),
    "/nothing": ("gzip", gzip.compress(b"")),
    "/cut": ("gzip", gzip.compress(TEXT)[:-20]),
    "/wrong": ("gzip", b"this is no gzip at all, whatever the head says"),
    "/bomb": ("gzip", gzip.compress(bytes(50_000_000))),
}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        encoding, body = BODIES[self.path]
        assert "gzip" in self.headers["accept-encoding"]
        self.send_response(200)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

impl Python {
    fn start() -> Option<Self> {
        if !has_peer("python3") {
            return None;
        }
        let mut child = Command::new("python3")
            .args(["-c", SERVER])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = format!("http://127.0.0.1:{}", line.trim());
        Some(Self { child, url })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn python_sends_bodies_in_every_encoding() {
    let Some(python) = Python::start() else {
        return;
    };
    run(async {
        let client = Client::new();
        let get = async |path: &str| {
            let response = client.get(&format!("{}{path}", python.url)).await?;
            let encoded = response.headers().contains_key(header::CONTENT_ENCODING);
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>((body, encoded))
        };
        let (text, _) = get("/plain").await.unwrap();
        assert!(text.len() > 800_000);
        for path in ["/gzip", "/members", "/deflate", "/raw"] {
            let (body, encoded) = get(path).await.unwrap();
            assert!(
                body == text,
                "{path}: {} of {} bytes",
                body.len(),
                text.len()
            );
            assert!(!encoded, "{path}: the head says what the body is now");
        }
        assert_eq!(get("/nothing").await.unwrap().0, "");
        for path in ["/cut", "/wrong"] {
            let error = get(path).await.unwrap_err().to_string();
            assert!(
                error.starts_with("decoding the body of the answer: "),
                "{path}: {error}"
            );
        }
        // Fifty thousand bytes that mean fifty million: the reader gets them in pieces, and may stop.
        let response = client.get(&format!("{}/bomb", python.url)).await.unwrap();
        let mut body = response.into_body();
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(piece.len() <= 32 * 1024, "{}", piece.len());
        drop(body);
        // All others went over one connection.
        assert_eq!(client.idle_connections(), 1);

        // Who asks for an encoding gets it as it is.
        let request = Request::get(format!("{}/gzip", python.url))
            .header(header::ACCEPT_ENCODING, "gzip")
            .body("")
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..2], b"\x1f\x8b");
    })
    .unwrap();
}

#[test]
fn the_server_example_shows_itself() {
    let said = run_to_end(&mut example("http_server"));
    let expected = "\
GET /: 200 OK, text/html; charset=utf-8, 15 bytes
GET /big.bin: 200 OK, application/octet-stream, 3000000 bytes
GET /nothing: 404 Not Found, text/plain; charset=utf-8, 12 bytes
GET /../secret: 404 Not Found, text/plain; charset=utf-8, 12 bytes
";
    assert!(said.starts_with(expected), "{said}");
    assert!(
        said.contains("POST [1, 2, 39]: 200 OK, {\"sum\":42}\n"),
        "{said}"
    );
    assert!(
        said.ends_with("connections kept: 1\ncut off: 0\n"),
        "{said}"
    );
}

#[test]
fn the_axum_example_shows_itself() {
    assert_eq!(
        run_to_end(&mut example("axum_router")),
        "hello, world\n\
         {\"article\":\"teapot\",\"total\":3}\n\
         {\"article\":\"teapot\",\"total\":7}\n\
         404 Not Found\n"
    );
}

// A guest needs a descriptor, which poll(2) has not.
#[cfg(not(polling_test_poll_backend))]
#[test]
fn the_reqwest_example_shows_itself() {
    assert_eq!(
        run_to_end(&mut example("reqwest_beside")),
        "GET /1, 0 bytes\nGET /2, 0 bytes\nGET /3, 0 bytes\nPOST /, 100000 bytes\nthe clock went on: true\n"
    );
}

#[test]
fn the_proxy_example_shows_itself() {
    assert_eq!(
        run_to_end(&mut example("reverse_proxy")),
        "first: 5000000 bytes from 127.0.0.1\n\
         the second server stops\n\
         answered: 300, failed: 0\n\
         every server had a share: true\n\
         still under way: 0\n"
    );
}

/// A server of the example's, and where it is.
fn serving(folder: &Folder) -> (Child, BufReader<ChildStdout>, String) {
    let mut child = example("http_server")
        .arg("127.0.0.1:0")
        .arg(&folder.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let line = line.strip_prefix("serving ").unwrap();
    let url = line.split_once(',').unwrap().0.to_owned();
    (child, output, url)
}

/// What it says between Ctrl-C and its end.
fn interrupted(mut child: Child, mut output: BufReader<ChildStdout>) -> String {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    rest
}

/// As somebody would use it: started with an address, asked by curl, ended by Ctrl-C.
#[test]
fn the_server_example_serves_until_it_is_interrupted() {
    if !has_peer("curl") {
        return;
    }
    let folder = Folder::new();
    fs::write(folder.0.join("page.html"), "<p>a page</p>").unwrap();
    let (child, output, url) = serving(&folder);
    run(async {
        let page = format!("{url}/page.html");
        assert_eq!(curl(&[&page]).await, "<p>a page</p>");
        assert_eq!(
            curl(&["--http2-prior-knowledge", &page]).await,
            "<p>a page</p>"
        );
        let outside = format!("{url}/../../etc/passwd");
        assert_eq!(curl(&["--path-as-is", &outside]).await, "no such page");
    })
    .unwrap();
    assert_eq!(interrupted(child, output), "cut off: 0\n");
}

/// wrk asks as fast as it can over a hundred connections, and drops them all at its end.
#[test]
fn the_server_example_survives_wrk() {
    if !has_peer("wrk") || !has_peer("curl") {
        return;
    }
    let folder = Folder::new();
    fs::write(folder.0.join("page.html"), "<p>a page</p>".repeat(1000)).unwrap();
    let (child, output, url) = serving(&folder);
    let page = format!("{url}/page.html");
    let load = ["--threads", "1", "--connections", "100", "--duration", "1s"];
    let said = run_to_end(Command::new("wrk").args(load).arg(&page));
    // It counts what failed and what was no success, if anything did or was.
    assert!(!said.contains("Socket errors"), "{said}");
    assert!(!said.contains("Non-2xx"), "{said}");
    let answered = said.lines().find(|line| line.contains(" requests in "));
    let answered = answered.and_then(|line| line.split_whitespace().next());
    let answered: u64 = answered.and_then(|count| count.parse().ok()).unwrap();
    assert!(answered >= 100, "{said}");
    let status = run_to_end(Command::new("curl").args(["-sS", &format!("{url}/status")]));
    assert!(status.contains("\"requests\""), "{status}");
    assert_eq!(interrupted(child, output), "cut off: 0\n");
}
