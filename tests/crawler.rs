//! The crawler of `examples/` counts what it meets: on its own site, on servers that misbehave, on somebody else's server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rondel_tests::site::{Site, crawl, html, plain};
use rondel_tests::{example, has_peer, run_to_end};
use serde_json::{Value, json};

fn errors(report: &Value) -> u64 {
    let by_kind = report["errors"].as_object().expect("errors are listed");
    by_kind.values().filter_map(Value::as_u64).sum()
}

/// What does not depend on how fast things went.
fn what_was_met(report: &Value) -> Value {
    json!({
        "pages": report["pages"],
        "bytes": report["bytes"],
        "protocols": report["protocols"],
        "redirects": report["redirects"],
        "disallowed": report["disallowed"],
        "errors": report["errors"],
    })
}

#[test]
fn its_own_site_is_the_same_however_it_is_crawled() {
    let expected = json!({
        "pages": 3634,
        "bytes": 22582252,
        "protocols": { "HTTP/1.1": 3284, "HTTP/2": 350 },
        "redirects": 528,
        "disallowed": 30,
        "errors": {
            "connect": 1,
            "cut_short": 37,
            "malformed": 45,
            "no_answer": 38,
            "oversize_body": 38,
            "oversize_head": 37,
            "redirect_loop": 24,
            "redirected_away": 46,
            "status_404": 123,
            "status_500": 58,
            "timeout": 12,
            "too_many_redirects": 31,
        },
    });
    // So long that no page is late but those that never come.
    let patient = ["--timeout", "3", "--retries", "1"];
    let wide = crawl(&patient);
    assert_eq!(what_was_met(&wide), expected);
    assert_eq!(wide["interrupted"], false);
    assert!(wide["retries"].as_u64().unwrap() > 12, "{wide}");

    let narrow = crawl(&[&patient[..], &["--concurrency", "7", "--per-host", "5"]].concat());
    assert_eq!(what_was_met(&narrow), expected);
}

#[test]
fn no_host_gets_more_requests_at_a_time_than_allowed() {
    let busiest = |per_host| {
        let report = crawl(&["--max-pages", "300", "--per-host", per_host]);
        report["busiest_host"].as_u64().expect("it is a number")
    };
    assert_eq!(busiest("1"), 1);
    assert!(busiest("2") <= 2);
    // So the site does see it.
    assert!(busiest("16") > 2);
}

#[test]
fn it_stops_at_the_most_pages() {
    let report = crawl(&["--max-pages", "100"]);
    let met = ["pages", "disallowed"].map(|kind| report[kind].as_u64().unwrap());
    assert_eq!(met[0] + met[1] + errors(&report), 100);

    // Also where there is always one more.
    let endless = Site::new(|path| html(&format!("<a href='{path}x'>next</a>")));
    let report = crawl(&["--ignore-robots", "--max-pages", "50", &endless.url]);
    assert_eq!(report["pages"], 50);
    assert_eq!(endless.requests().len(), 50);
}

#[test]
fn sockets_need_no_virtual_clock() {
    let printed = run_to_end(
        example("crawler")
            .args(["--max-pages", "20"])
            .env("RONDEL_CLOCK", "virtual"),
    );
    assert!(printed.contains(" pages, "), "{printed}");
}

#[test]
fn people_get_lines() {
    let output = example("crawler")
        .args(["--max-pages", "200"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let summary = String::from_utf8(output.stdout).unwrap();
    for part in ["pages/s", "p50", "p99", "errors", "first: http://127.0.0.1"] {
        assert!(summary.contains(part), "{part} is missing: {summary}");
    }
    let progress = String::from_utf8(output.stderr).unwrap();
    assert!(progress.contains("pages/s"), "{progress}");
    assert!(
        !progress.contains('\x1b'),
        "no terminal, no bar: {progress}"
    );
}

#[test]
fn ctrl_c_ends_it_with_what_there_is() {
    // Some pages of the site never end: within this time it would not finish.
    let mut crawler = example("crawler")
        .args(["--json", "--timeout", "600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let progress = BufReader::new(crawler.stderr.take().unwrap());
    let mut lines = progress.lines().map(Result::unwrap);
    assert!(lines.any(|line| !line.starts_with("0 of ")));

    let sent = Command::new("kill")
        .args(["-INT", &crawler.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let output = crawler.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(report["pages"].as_u64().unwrap() > 0);
}

#[test]
fn what_is_no_web_address_is_refused() {
    for arguments in [
        &["ftp://example.com/"][..],
        &["not a URL"],
        &["--timeout", "-1"],
        &["--concurrency", "0"],
    ] {
        let output = example("crawler").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn hosts_that_cannot_be_had_are_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    let report = crawl(&[
        "--timeout",
        "0.2",
        "--retries",
        "0",
        // Nobody listens on the first port.
        "http://127.0.0.1:1/",
        "https://127.0.0.1/",
        &silent_url,
    ]);
    assert_eq!(report["pages"], 0);
    assert_eq!(report["errors"], json!({ "connect": 2, "timeout": 1 }));
}

/// What a server sends before it closes the connection, and what it is counted as; `""`: a page.
const ANSWERS: &[(&str, &str)] = &[
    ("HTTP/1.1 200 OK\r\n\r\nuntil the end", ""),
    ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
    ("HTTP/1.1 204 No Content\r\n\r\n", ""),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", ""),
    (
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
        "",
    ),
    // Not as it should be, but understood by everybody.
    ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", ""),
    // Nobody asked for it; hyper takes it as it is, until the end.
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", ""),
    ("", "no_answer"),
    ("SSH-2.0-OpenSSH_9.6\r\n", "malformed"),
    ("HTTP/1.1 hello\r\n\r\n", "malformed"),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "malformed",
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "malformed"),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "malformed",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
        "malformed",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n",
        "malformed",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "cut_short",
    ),
    ("HTTP/1.1 200 OK\r\nContent-Le", "no_answer"),
    ("HTTP/1.1 100 Continue\r\n\r\n", "no_answer"),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        "cut_short",
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551000\r\n\r\nok",
        "oversize_body",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nok",
        "cut_short",
    ),
    ("HTTP/1.1 404 Not Found\r\n\r\n", "status_404"),
    ("HTTP/1.1 302 Found\r\n\r\n", "status_302"),
    (
        "HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        "malformed",
    ),
    (
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: /#here\r\n\r\n",
        "redirect_loop",
    ),
    (
        "HTTP/1.1 301 Moved\r\nLocation: https://127.0.0.1/\r\n\r\n",
        "redirected_away",
    ),
    (
        "HTTP/1.1 301 Moved\r\nLocation: http://elsewhere.invalid/\r\n\r\n",
        "redirected_away",
    ),
];

#[test]
fn every_way_to_answer_is_counted_as_what_it_is() {
    for (answer, kind) in ANSWERS {
        let site = Site::new(move |_| answer.as_bytes().to_vec());
        let report = crawl(&["--ignore-robots", "--retries", "0", &site.url]);
        let errors = match *kind {
            "" => json!({}),
            kind => json!({ kind: 1 }),
        };
        assert_eq!(report["errors"], errors, "{answer}");
        assert_eq!(report["pages"], u64::from(kind.is_empty()), "{answer}");
    }
}

#[test]
fn a_head_with_too_many_headers_is_oversize() {
    let site = Site::new(|_| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1000)).into());
    assert_eq!(crawl(&[&site.url])["errors"], json!({ "oversize_head": 1 }));
}

#[test]
fn links_are_followed_as_a_browser_would() {
    let site = Site::new(|path| {
        match path {
        "/" => html(
            "<base href='/docs/'>
             <a href='a.html'>one</a> <A HREF=a.html#part>the same</A> <a href='./a.html?x=1&amp;y=2'>another</a>
             <area href='../b.html'> <iframe src=c.html></iframe> <a name=nothing>no link</a>
             <!-- <a href='/comment'> --> <script>'<a href=\"/script\">'</script>
             <a href='mailto:x@y'>no page</a> <a href='http://elsewhere.invalid/'>not here</a> <a href='http://['>no URL</a>",
        ),
        "/docs/c.html" => plain("<a href='/not-html'>"),
        _ => html(""),
    }
    });
    let report = crawl(&["--ignore-robots", &site.url]);
    assert_eq!(report["errors"], json!({}));
    assert_eq!(report["pages"], 5);
    let mut paths = site.requests();
    paths.sort();
    assert_eq!(
        paths,
        [
            "/",
            "/b.html",
            "/docs/a.html",
            "/docs/a.html?x=1&y=2",
            "/docs/c.html"
        ]
    );
}

#[test]
fn a_large_page_is_searched_to_its_end() {
    let site = Site::new(|path| match path {
        "/" => html(&format!("{}<a href='/last'>", "<p>x".repeat(100_000))),
        _ => html(""),
    });
    assert_eq!(crawl(&[&site.url])["pages"], 2);
}

#[test]
fn a_connection_is_used_again_while_the_server_keeps_it() {
    let page = |path: &str| match path {
        "/" => html("<a href=1></a><a href=2></a><a href=3></a><a href=4></a>"),
        _ => html(""),
    };
    let kept = Site::keeping_connections_for(100, page);
    assert_eq!(
        crawl(&["--ignore-robots", "--per-host", "1", &kept.url])["pages"],
        5
    );
    assert_eq!(kept.connections(), 1);

    // A server may close it between two requests without a word.
    let closed = Site::keeping_connections_for(2, page);
    let report = crawl(&["--ignore-robots", "--per-host", "1", &closed.url]);
    assert_eq!((&report["pages"], errors(&report)), (&json!(5), 0));
    assert_eq!(closed.connections(), 3);
}

#[test]
fn pythons_server_is_crawled() {
    if !has_peer("python3") {
        return;
    }
    let folder = Folder::new("crawler-python");
    folder.write(
        "a.html",
        b"<a href=sub>moved</a> <a href=missing.html>no more</a>",
    );
    folder.write("data.bin", &[b'<'; 100_000]);
    folder.write("sub/b.html", b"<a href=../a.html>back</a>");
    let server = PythonServer::serving(&folder);
    let report = crawl(&[&server.url]);
    // Two listings, of which one is found by two names, and three files.
    assert_eq!(report["pages"], 6);
    assert_eq!(report["redirects"], 1);
    assert_eq!(report["errors"], json!({ "status_404": 1 }));
}

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is a temporary file.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `python3 -m http.server`.
struct PythonServer {
    process: Child,
    url: String,
}

impl PythonServer {
    fn serving(folder: &Folder) -> Self {
        let mut process = Command::new("python3")
            .args([
                "-u",
                "-m",
                "http.server",
                "0",
                "--bind",
                "127.0.0.1",
                "--directory",
            ])
            .arg(&folder.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Serving HTTP on 127.0.0.1 port 8000 (http://127.0.0.1:8000/) ...
        let mut line = String::new();
        let mut printed = BufReader::new(process.stdout.take().unwrap());
        printed.read_line(&mut line).unwrap();
        let (_, rest) = line.split_once('(').expect("it says where it serves");
        let (url, _) = rest.split_once(')').expect("it says where it serves");
        Self {
            process,
            url: url.to_owned(),
        }
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
