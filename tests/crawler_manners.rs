//! The crawler of `examples/` keeps to what sites ask of it: `robots.txt`, sitemaps, pauses, certificates.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use std::{collections::HashSet, fs, io::BufRead, io::BufReader, path::PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rondel_tests::site::{Site, crawl, html, plain};
use rondel_tests::{example, has_peer};
use serde_json::json;

fn sorted(mut paths: Vec<String>) -> Vec<String> {
    paths.sort();
    paths
}

#[test]
fn what_robots_txt_forbids_is_not_asked_for() {
    let site = Site::new(|path| match path {
        "/robots.txt" => plain(
            "User-agent: somebody-else\nDisallow: /\n\n\
             User-agent: rondel-crawler\nDisallow: /private\nDisallow: /*.pdf$\nAllow: /private/open\n",
        ),
        "/" => html(
            "<a href=/private/a> <a href=/private/open/b> <a href=/c.pdf> <a href=/c.pdf?x> <a href=/moved>",
        ),
        "/moved" => b"HTTP/1.1 302 Found\r\nLocation: /private/d\r\n\r\n".to_vec(),
        _ => html(""),
    });
    let report = crawl(&[&site.url]);
    assert_eq!(report["pages"], 3);
    assert_eq!(report["disallowed"], 3);
    assert_eq!(report["errors"], json!({}));
    assert_eq!(
        sorted(site.requests()),
        ["/", "/c.pdf?x", "/moved", "/private/open/b", "/robots.txt"]
    );

    let report = crawl(&["--ignore-robots", &site.url]);
    assert_eq!(
        (&report["pages"], &report["disallowed"]),
        (&json!(6), &json!(0))
    );
}

#[test]
fn a_host_that_cannot_say_what_it_allows_is_left_alone() {
    let failing = Site::new(|path| match path {
        "/robots.txt" => b"HTTP/1.1 500 Sorry\r\n\r\n".to_vec(),
        _ => html(""),
    });
    let report = crawl(&[&failing.url]);
    assert_eq!(report["errors"], json!({ "status_500": 1 }));
    assert!(failing.requests().iter().all(|path| path == "/robots.txt"));

    // One that says that there is none allows everything.
    let without = Site::new(|path| match path {
        "/robots.txt" => b"HTTP/1.1 403 No\r\n\r\n".to_vec(),
        _ => html(""),
    });
    assert_eq!(crawl(&[&without.url])["pages"], 1);
}

#[test]
fn robots_txt_may_be_elsewhere() {
    let site = Site::new(|path| match path {
        "/robots.txt" => b"HTTP/1.1 301 Moved\r\nLocation: /rules/of/this/site\r\n\r\n".to_vec(),
        "/rules/of/this/site" => plain("User-agent: *\nDisallow: /a"),
        _ => html("<a href=/a><a href=/b>"),
    });
    let report = crawl(&[&site.url]);
    assert_eq!(
        (&report["pages"], &report["disallowed"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn a_host_is_asked_no_faster_than_it_wants() {
    let site = Site::new(|path| match path {
        "/robots.txt" => plain("User-agent: *\nCrawl-delay: 0.2"),
        "/" => html("<a href=/a><a href=/b><a href=/c>"),
        _ => html(""),
    });
    assert_eq!(crawl(&[&site.url])["pages"], 4);
    let asked = site.requests_at();
    let pages: Vec<_> = asked
        .iter()
        .filter(|(path, _)| path != "/robots.txt")
        .collect();
    for pair in pages.windows(2) {
        let pause = pair[1].1 - pair[0].1;
        // A request may have been on its way a moment longer than the next.
        assert!(pause > Duration::from_millis(150), "{pair:?}");
    }
}

#[test]
fn pages_that_only_sitemaps_name_are_found() {
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let base = std::sync::Arc::new(Mutex::new(String::new()));
    let known = std::sync::Arc::clone(&base);
    let site = Site::new(move |path| {
        let base = known.lock().unwrap().clone();
        match path {
            "/robots.txt" => plain(&format!(
                "User-agent: *\nDisallow: /secret\n\nSitemap: {base}index.xml\nSitemap: {base}list.txt\n\
                 Sitemap: {base}missing.xml\nSitemap: http://elsewhere.invalid/sitemap.xml"
            )),
            "/index.xml" => plain(&format!(
                "<?xml version='1.0'?><sitemapindex xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>\
                 <sitemap><loc>{base}pages.xml.gz</loc></sitemap><sitemap><loc>{base}index.xml</loc></sitemap>\
                 </sitemapindex>"
            )),
            "/pages.xml.gz" => {
                let packed = gzip(&format!(
                    "<s:urlset xmlns:s='http://www.sitemaps.org/schemas/sitemap/0.9'>\
                     <s:url><s:loc>\n {base}a?x=1&amp;y=2 \n</s:loc><s:lastmod>2026-01-01</s:lastmod></s:url>\
                     <s:url><s:loc><![CDATA[{base}b]]></s:loc></s:url>\
                     <s:url><s:loc>{base}secret</s:loc></s:url>\
                     <s:url><s:loc>http://elsewhere.invalid/</s:loc></s:url>\
                     <s:url><s:loc>no URL</s:loc></s:url>\
                     <s:url><s:loc>{base}c</s:loc></s:url> <broken"
                ));
                let length = packed.len();
                let mut answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Length: {length}\r\n\r\n"
                )
                .into_bytes();
                answer.extend(packed);
                answer
            }
            "/list.txt" => plain(&format!("{base}d\n{base}a?x=1&y=2\n")),
            "/missing.xml" => b"HTTP/1.1 404 No\r\n\r\n".to_vec(),
            _ => html(""),
        }
    });
    base.lock().unwrap().push_str(&site.url);
    let report = crawl(&[&site.url]);
    assert_eq!(report["errors"], json!({}));
    assert_eq!(
        (&report["pages"], &report["disallowed"]),
        (&json!(5), &json!(1))
    );
    let asked: HashSet<String> = site.requests().into_iter().collect();
    for page in ["/", "/a?x=1&y=2", "/b", "/c", "/d"] {
        assert!(asked.contains(page), "{page} of {asked:?}");
    }
}

#[test]
fn what_fails_for_a_while_is_asked_for_again() {
    let site = || {
        let failures = Mutex::new(2);
        Site::new(move |path| {
            let mut left = failures.lock().unwrap();
            if path == "/robots.txt" || *left == 0 {
                return html("");
            }
            *left -= 1;
            match *left {
                1 => Vec::new(), // hangs up
                _ => b"HTTP/1.1 502 Bad Gateway\r\n\r\n".to_vec(),
            }
        })
    };
    let patient = site();
    let report = crawl(&["--retries", "2", &patient.url]);
    assert_eq!(
        (&report["pages"], &report["retries"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(report["errors"], json!({}));
    let asked = patient.requests_at();
    let pages: Vec<_> = asked.iter().filter(|(path, _)| path == "/").collect();
    assert!(
        pages[1].1 - pages[0].1 >= Duration::from_millis(450),
        "{pages:?}"
    );
    assert!(
        pages[2].1 - pages[1].1 >= Duration::from_millis(950),
        "{pages:?}"
    );

    let report = crawl(&["--retries", "1", &site().url]);
    assert_eq!(
        (&report["pages"], &report["retries"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(report["errors"], json!({ "status_502": 1 }));

    // What is missing today will be missing in a second.
    let missing = Site::new(|_| b"HTTP/1.1 404 No\r\n\r\n".to_vec());
    assert_eq!(crawl(&[&missing.url])["retries"], 0);
}

#[test]
fn a_host_that_asks_for_a_pause_gets_it() {
    let busy = Mutex::new(true);
    let site = Site::new(move |path| match path {
        "/" => html("<a href=/a><a href=/b>"),
        "/a" if std::mem::take(&mut *busy.lock().unwrap()) => {
            b"HTTP/1.1 429 Slowly\r\nRetry-After: 1\r\n\r\n".to_vec()
        }
        _ => html(""),
    });
    // One at a time: `/b` is asked for after the pause, too.
    let report = crawl(&["--per-host", "1", &site.url]);
    assert_eq!(
        (&report["pages"], &report["retries"]),
        (&json!(3), &json!(1))
    );
    let asked = site.requests_at();
    let place = asked.iter().position(|(path, _)| path == "/a").unwrap();
    let pause = asked[place + 1].1 - asked[place].1;
    assert!(pause >= Duration::from_millis(900), "{asked:?}");
}

/// `http.server` of Python, over TLS with a certificate of its own.
struct SecurePython {
    process: Child,
    url: String,
    folder: PathBuf,
}

const SECURE_PYTHON: &str = "
import functools, http.server, ssl, sys
folder = sys.argv[1]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + '/cert.pem', folder + '/key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
";

impl SecurePython {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::write(folder.join("index.html"), "<a href=page.html>").unwrap();
        fs::write(folder.join("page.html"), "<p>Hello").unwrap();
        let mut process = Command::new("python3")
            .args(["-c", SECURE_PYTHON])
            .arg(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut printed = BufReader::new(process.stdout.take().unwrap());
        printed.read_line(&mut port).unwrap();
        Self {
            process,
            url: format!("https://localhost:{}/", port.trim()),
            folder,
        }
    }
}

impl Drop for SecurePython {
    fn drop(&mut self) {
        // It may have ended by itself; and what is left behind is a temporary folder.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn pythons_server_is_crawled_over_tls() {
    if !has_peer("python3") {
        return;
    }
    let server = SecurePython::start("crawler-secure");
    let certificate = server.folder.join("cert.pem");
    let trusting = ["--ca", certificate.to_str().unwrap(), &server.url];
    let report = crawl(&trusting);
    assert_eq!(report["errors"], json!({}));
    assert_eq!(report["pages"], 2);

    // Nobody else vouches for it.
    let report = crawl(&[&server.url]);
    assert_eq!(report["errors"], json!({ "tls": 1 }));

    // And who vouches has to be readable.
    let output = example("crawler")
        .args(["--ca", "/no/such/file", &server.url])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/no/such/file"), "{said}");
}
