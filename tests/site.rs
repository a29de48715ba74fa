//! The crawler of `examples/`, and a web server that does what a test of it wants, by threads and blocking sockets.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::{example, run_to_end};

/// Crawls, and gives the summary.
///
/// # Panics
/// If the crawler fails, or prints no JSON.
pub fn crawl(arguments: &[&str]) -> Value {
    let printed = run_to_end(example("crawler").arg("--json").args(arguments));
    serde_json::from_str(&printed).expect("what it prints is JSON")
}

/// A page of HTML.
pub fn html(body: &str) -> Vec<u8> {
    answer("text/html", body)
}

/// A text.
pub fn plain(body: &str) -> Vec<u8> {
    answer("text/plain", body)
}

/// An answer with a body.
pub fn answer(kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into()
}

/// A server that answers as it is told, by threads and blocking sockets. It serves until the test's process ends.
#[derive(Debug)]
pub struct Site {
    /// Where it begins.
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    requests: Vec<(String, Instant)>,
}

impl Site {
    /// Answers one request per connection.
    pub fn new(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::keeping_connections_for(1, answer)
    }

    /// Answers so many requests per connection.
    pub fn keeping_connections_for(
        requests: usize,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let answer = Arc::new(answer);
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map(Result::unwrap) {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&noted));
                seen.lock().unwrap().connections += 1;
                // A client that leaves is no news.
                thread::spawn(move || serve(&stream, requests, &*answer, &seen));
            }
        });
        Self { url, seen }
    }

    /// How many there were.
    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// The paths that were asked for, in order.
    pub fn requests(&self) -> Vec<String> {
        self.requests_at()
            .into_iter()
            .map(|(path, _)| path)
            .collect()
    }

    /// The same, and when each was asked for.
    pub fn requests_at(&self) -> Vec<(String, Instant)> {
        self.seen.lock().unwrap().requests.clone()
    }
}

fn serve(
    stream: &TcpStream,
    requests: usize,
    answer: &dyn Fn(&str) -> Vec<u8>,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    for _ in 0..requests {
        let Some(request) = lines.next().transpose()? else {
            break;
        };
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let path = request.split(' ').nth(1).unwrap_or_default();
        let asked = (path.to_owned(), Instant::now());
        seen.lock().unwrap().requests.push(asked);
        (&*stream).write_all(&answer(path))?;
    }
    Ok(())
}
