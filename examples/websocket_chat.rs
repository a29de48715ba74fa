//! A chat in the browser: a page over HTTP, and what is said over WebSockets, on one port.
//!
//! Without arguments two guests come by themselves, and talk. With an address it serves until Ctrl-C:
//! `websocket_chat 127.0.0.1:8080`, and then open that in two windows.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::{Request, Response, StatusCode, header};
use rondel_hyper::http_body_util::Full;
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::RequestBody;
use rondel_hyper::{BoxError, HttpServer};
use rondel_websocket::{Message, WebSocket, WebSocketConfig, WebSocketError, upgrade};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

const PAGE: &str = include_str!("websocket_chat.html");

/// What may be said at once.
const LONGEST: usize = 4096;

/// How many lines a guest may be behind before it is shown out: nobody's slowness is the others' memory.
const BEHIND: usize = 100;

#[derive(Default)]
struct Room {
    /// Where each guest's lines go, by the number of its coming.
    guests: RefCell<BTreeMap<u64, rondel::mpsc::Sender<String>>>,
    come: std::cell::Cell<u64>,
}

impl Room {
    fn say(&self, line: &str) {
        // Whoever cannot take one more line, or has gone, is out.
        self.guests
            .borrow_mut()
            .retain(|_, guest| guest.try_send(line.to_owned()).is_ok());
    }

    /// A guest's whole visit.
    async fn visit(&self, name: &str, socket: WebSocket) -> Result<(), WebSocketError> {
        let number = self.come.get();
        self.come.set(number + 1);
        let (lines, mut heard) = rondel::mpsc::channel(BEHIND);
        self.guests.borrow_mut().insert(number, lines);
        self.say(&format!("{name} comes in"));
        let (mut reader, writer) = socket.into_split();
        let listening = async {
            while let Some(message) = reader.receive().await? {
                if let Message::Text(text) = message {
                    self.say(&format!("{name}: {text}"));
                }
            }
            Ok(())
        };
        let telling = async {
            while let Some(line) = heard.recv().await {
                writer.send(line).await?;
            }
            // Too far behind.
            writer.close(None).await
        };
        // When one of the two ends, so does the visit.
        let ended = race((listening, telling)).await;
        self.guests.borrow_mut().remove(&number);
        self.say(&format!("{name} leaves"));
        ended
    }
}

/// The name in `/chat?name=…`.
fn name_in(query: &str) -> Option<String> {
    let name = query
        .split('&')
        .find_map(|part| part.strip_prefix("name="))?;
    let mut bytes = Vec::new();
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    let name = String::from_utf8(bytes).ok()?;
    let is_fine = !name.trim().is_empty() && name.chars().count() <= 40;
    is_fine.then(|| name.trim().to_owned())
}

async fn answer(
    room: Rc<Room>,
    mut request: Request<RequestBody>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let plain = |status: StatusCode, text: &'static str| {
        Ok(Response::builder().status(status).body(Full::from(text))?)
    };
    match request.uri().path() {
        "/" => Ok(Response::builder()
            .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
            .body(Full::from(PAGE))?),
        "/chat" => {
            let Some(name) = name_in(request.uri().query().unwrap_or_default()) else {
                return plain(StatusCode::BAD_REQUEST, "a name is missing\n");
            };
            let Ok((response, upgrading)) = upgrade(&mut request) else {
                return plain(StatusCode::BAD_REQUEST, "this is for WebSockets\n");
            };
            let short = WebSocketConfig::default().max_message_size(Some(LONGEST));
            spawn(async move {
                let visit = async {
                    room.visit(&name, upgrading.config(short).finish().await?)
                        .await
                };
                if let Err(error) = visit.await {
                    println!("{name}: {error}");
                }
            });
            Ok(response.map(|()| Full::default()))
        }
        _ => plain(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

/// Two guests, and what each hears.
async fn talk(url: &str) -> Result<(), WebSocketError> {
    let mut ada = WebSocket::connect(&format!("{url}?name=Ada")).await?;
    hear("Ada", &mut ada).await?;
    let mut blaise = WebSocket::connect(&format!("{url}?name=Blaise")).await?;
    hear("Ada", &mut ada).await?;
    hear("Blaise", &mut blaise).await?;
    ada.send("is anybody here?").await?;
    hear("Ada", &mut ada).await?;
    hear("Blaise", &mut blaise).await?;
    blaise.send("not for long").await?;
    hear("Blaise", &mut blaise).await?;
    hear("Ada", &mut ada).await?;
    blaise.close().await?;
    hear("Ada", &mut ada).await?;
    // Longer than is allowed: Ada is shown out.
    ada.send("x".repeat(LONGEST + 1)).await?;
    while let Ok(Some(_)) = ada.receive().await {}
    Ok(())
}

async fn hear(who: &str, socket: &mut WebSocket) -> Result<(), WebSocketError> {
    if let Some(Message::Text(line)) = socket.receive().await? {
        println!("{who} hears `{line}`");
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1);
    let ended = run(async {
        let room = Rc::new(Room::default());
        let service = service_fn({
            let room = Rc::clone(&room);
            move |request| answer(Rc::clone(&room), request)
        });
        let target = address.as_deref().unwrap_or("127.0.0.1:0");
        let server = HttpServer::new().serve(service, target).await?;
        let place = server.local_addrs()[0];
        bracket(
            server,
            async |server| {
                if address.is_some() {
                    println!("http://{place}/ until Ctrl-C");
                    return Ok::<(), BoxError>(server.serve_forever().await?);
                }
                talk(&format!("ws://{place}/chat")).await?;
                while !room.guests.borrow().is_empty() {
                    yield_now().await;
                }
                println!("all have left");
                Ok(())
            },
            async |server| {
                server.shutdown(Duration::from_secs(1)).await;
            },
        )
        .await
    });
    match ended {
        Err(RunError::Interrupted) => Ok(()),
        ended => ended?,
    }
}
