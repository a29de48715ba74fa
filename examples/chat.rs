//! A chat: what one says all others hear. Server and three guests in one program.
//!
//! The room is plain data: everything runs on one thread, so no lock guards it. Who does not listen is shown the door when too
//! much waits for him.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// How much may wait for a guest.
const PATIENCE: usize = 64 * 1024;

#[derive(Default)]
struct Room {
    guests: RefCell<BTreeMap<String, Rc<StreamWriter>>>,
}

impl Room {
    /// Says `line` to everybody but `from`.
    fn tell(&self, from: &str, line: &str) {
        for (name, guest) in &*self.guests.borrow() {
            // Writing does not wait, and accepts all or nothing.
            if name != from && guest.write(format!("{line}\n").as_bytes()).is_err() {
                guest.abort();
            }
        }
    }

    /// Lets a guest in, until the reader ends or fails.
    async fn host(&self, mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
        let name = line(&mut reader).await?;
        writer.set_hard_limit(PATIENCE);
        let writer = Rc::new(writer);
        if self.guests.borrow().contains_key(&name) {
            return Ok(writer.write_all(b"that name is taken\n").await?);
        }
        self.guests.borrow_mut().insert(name.clone(), writer);
        self.tell(&name, &format!("* {name} comes in"));
        let talk = self.listen(&name, &mut reader).await;
        self.guests.borrow_mut().remove(&name);
        self.tell(&name, &format!("* {name} leaves"));
        talk
    }

    async fn listen(&self, name: &str, reader: &mut StreamReader) -> io::Result<()> {
        loop {
            let said = line(reader).await?;
            if said.is_empty() {
                return Ok(());
            }
            self.tell(name, &format!("{name}: {said}"));
        }
    }
}

/// A line without its end; empty when there is none.
async fn line(reader: &mut StreamReader) -> io::Result<String> {
    let line = reader.read_line().await?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

struct Guest {
    name: &'static str,
    reader: StreamReader,
    writer: StreamWriter,
}

impl Guest {
    async fn enter(room: SocketAddr, name: &'static str) -> io::Result<Self> {
        let (reader, writer) = open_connection(room).await?;
        let guest = Self {
            name,
            reader,
            writer,
        };
        guest.say(name).await?;
        Ok(guest)
    }

    async fn say(&self, words: &str) -> io::Result<()> {
        Ok(self
            .writer
            .write_all(format!("{words}\n").as_bytes())
            .await?)
    }

    async fn hear(&mut self) -> io::Result<()> {
        let heard = line(&mut self.reader).await?;
        println!("{} hears \u{ab}{heard}\u{bb}", self.name);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run(async {
        let room = Rc::new(Room::default());
        let server = start_server(
            async move |reader, writer| room.host(reader, writer).await,
            "127.0.0.1:0",
        )
        .await?;
        let addr = server.local_addrs()[0];
        let mut anna = Guest::enter(addr, "Anna").await?;
        let mut bert = Guest::enter(addr, "Bert").await?;
        anna.hear().await?;
        let mut cleo = Guest::enter(addr, "Cleo").await?;
        anna.hear().await?;
        bert.hear().await?;
        anna.say("who brings the cake?").await?;
        bert.hear().await?;
        cleo.hear().await?;
        cleo.say("I do").await?;
        anna.hear().await?;
        bert.hear().await?;
        drop(cleo);
        anna.hear().await?;
        bert.hear().await?;
        drop((anna, bert));
        let report = server.shutdown(Duration::from_secs(5)).await;
        println!("all left by themselves: {}", report.is_clean());
        Ok(())
    })?
}
