//! The embedded site: three hosts on loopback with a thousand pages each, some slow, some broken; a fourth that is modern and
//! sound; and a fifth that is dead.

mod answer;
mod modern;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rondel::net::tls::ClientTls;
use rondel::net::{Server, StreamReader, StreamWriter};
use rondel::{sleep, start_server};
use socket2::{Domain, Socket, Type};
use url::Url;

use answer::{Answer, Framing};
use modern::Modern;

const HOSTS: u64 = 3;

/// Well above what the crawler takes for a head.
const TOO_LARGE: usize = 256 * 1024;
static ENDLESS_PIECE: [u8; 64 * 1024] = [b'~'; 64 * 1024];

/// The site, served until it is closed.
pub struct Site {
    servers: Vec<Server>,
    modern: Modern,
    /// Its port is taken, so nobody else can listen there; nor does it, so connections are refused.
    dead: Socket,
    shared: Rc<Shared>,
}

/// What its hosts share.
#[derive(Default)]
struct Shared {
    /// Of the hosts that live.
    addresses: RefCell<Vec<SocketAddr>>,
    /// The most pages that any host has had in hand at a time.
    busiest: Rc<Cell<usize>>,
}

/// One host.
struct Host {
    number: u64,
    /// Pages being prepared.
    in_hand: Cell<usize>,
    shared: Rc<Shared>,
}

impl Site {
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let shared = Rc::new(Shared::default());
        let mut servers = Vec::new();
        for number in 0..HOSTS {
            let host = Rc::new(Host {
                number,
                in_hand: Cell::new(0),
                shared: Rc::clone(&shared),
            });
            let serve = async move |reader, writer| {
                // A client that leaves early is no news.
                let _ = Rc::clone(&host).serve(reader, writer).await;
            };
            let server = start_server(serve, (Ipv4Addr::LOCALHOST, 0)).await?;
            shared.addresses.borrow_mut().extend(server.local_addrs());
            servers.push(server);
        }
        let dead = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        dead.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        Ok(Self {
            servers,
            modern: Modern::start(Rc::clone(&shared.busiest)).await?,
            dead,
            shared,
        })
    }

    /// Where its hosts begin, the dead one among them.
    pub fn urls(&self) -> io::Result<Vec<Url>> {
        let dead = self.dead.local_addr()?.as_socket();
        let addresses = self.shared.addresses.borrow();
        let plain = addresses.iter().copied().chain(dead);
        let plain = plain.map(|address| format!("http://{address}/"));
        let modern = self.modern.address();
        let modern = modern.map(|address| format!("https://localhost:{}/", address.port()));
        plain
            .chain(modern)
            .map(|url| Url::parse(&url).map_err(io::Error::other))
            .collect()
    }

    /// Trust in the modern host.
    pub fn trusted(&self) -> Result<ClientTls, Box<dyn Error>> {
        let certificate = self.modern.certificate.as_bytes();
        Ok(ClientTls::builder().root_pem(certificate)?.build()?)
    }

    /// The most pages that any host has had in hand at a time.
    pub fn busiest(&self) -> usize {
        self.shared.busiest.get()
    }

    pub async fn close(self) {
        self.modern.close().await;
        for server in &self.servers {
            server.shutdown(Duration::ZERO).await;
        }
    }
}

impl Host {
    /// Answers one request after the other.
    async fn serve(
        self: Rc<Self>,
        mut reader: StreamReader,
        writer: StreamWriter,
    ) -> io::Result<()> {
        loop {
            let request = reader.read_until(b"\r\n\r\n").await?;
            let request = String::from_utf8_lossy(&request);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = Answer::to(self.number, path);
            if !self.answer(answer, &mut reader, &writer).await? {
                break;
            }
        }
        writer.close();
        writer.wait_closed().await
    }

    /// Gives an answer, and whether the connection is good for another.
    async fn answer(
        &self,
        answer: Answer,
        reader: &mut StreamReader,
        writer: &StreamWriter,
    ) -> io::Result<bool> {
        let answer = match answer {
            Answer::Page {
                pause,
                html,
                framing,
            } => {
                let in_hand = self.take_in_hand();
                sleep(pause).await;
                drop(in_hand);
                writer.write_all(&page(&html, framing)).await?;
                return Ok(matches!(framing, Framing::Length | Framing::Chunked));
            }
            Answer::Redirect(to) => redirect(&to),
            Answer::RedirectToNextHost(path) => redirect(&format!("http://{}{path}", self.next())),
            Answer::Status(status) => {
                format!("HTTP/1.1 {status} Sorry\r\nContent-Length: 6\r\n\r\nSorry\n")
            }
            broken => {
                Self::misbehave(broken, reader, writer).await?;
                return Ok(false);
            }
        };
        writer.write_all(answer.as_bytes()).await?;
        Ok(true)
    }

    async fn misbehave(
        how: Answer,
        reader: &mut StreamReader,
        writer: &StreamWriter,
    ) -> io::Result<()> {
        const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<p>This is";
        match how {
            Answer::NotHttp => writer.write_all(b"+OK ready\r\n\r\n").await?,
            Answer::OversizeHead => {
                let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(TOO_LARGE));
                writer.write_all(head.as_bytes()).await?;
            }
            Answer::EndlessBody => {
                writer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                loop {
                    writer.write_all(&ENDLESS_PIECE).await?;
                }
            }
            Answer::CutShort => writer.write_all(HALF).await?,
            Answer::Stall => {
                writer.write_all(HALF).await?;
                until_client_leaves(reader).await?;
            }
            Answer::Silence => until_client_leaves(reader).await?,
            _ => {}
        }
        Ok(())
    }

    fn next(&self) -> SocketAddr {
        let addresses = self.shared.addresses.borrow();
        addresses[(self.number as usize + 1) % addresses.len()]
    }

    fn take_in_hand(&self) -> InHand<'_> {
        self.in_hand.update(|pages| pages + 1);
        let busiest = &self.shared.busiest;
        busiest.set(busiest.get().max(self.in_hand.get()));
        InHand(self)
    }
}

/// A page being prepared.
struct InHand<'a>(&'a Host);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.in_hand.update(|pages| pages - 1);
    }
}

fn page(html: &str, framing: Framing) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n".to_vec();
    match framing {
        Framing::Length | Framing::LengthThenClose => {
            answer.extend(format!("Content-Length: {}\r\n\r\n{html}", html.len()).into_bytes());
        }
        Framing::UntilClose => {
            answer.extend(format!("Connection: close\r\n\r\n{html}").into_bytes());
        }
        Framing::Chunked => {
            answer.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in html.as_bytes().chunks(1000) {
                answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                answer.extend(chunk);
                answer.extend(b"\r\n");
            }
            answer.extend(b"0\r\n\r\n");
        }
    }
    answer
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

async fn until_client_leaves(reader: &mut StreamReader) -> io::Result<()> {
    while reader.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}
