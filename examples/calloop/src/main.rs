//! rondel's loop as a guest of calloop's, the loop of Wayland programs: both on one thread, each with its own timers and sockets.
//!
//! The host watches the guest's descriptor, sleeps no longer than until the guest's next deadline, and gives it turns.
#![allow(clippy::print_stdout, reason = "a program for people")]

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{Interest, Mode, PostAction};
use rondel::poll::Wait;
use rondel::prelude::*;
use std::error::Error;
use std::time::Instant;

/// What the host's callbacks share.
struct Shared {
    guest: EventLoop,
    ticks: u32,
}

impl Shared {
    /// Turns, until the guest has nothing more to do at once.
    fn visit(&mut self) -> Result<(), RunError> {
        while self.guest.run_once(Wait::Poll)? {}
        Ok(())
    }
}

/// A server and its client, in tasks of rondel's.
async fn converse() -> Result<String, std::io::Error> {
    let server = start_server(
        async |mut reader: StreamReader, writer: StreamWriter| {
            let line = reader.read_line().await?;
            sleep(Duration::from_millis(20)).await;
            writer.write_all(&line).await?;
            Ok::<(), std::io::Error>(())
        },
        "127.0.0.1:0",
    )
    .await?;
    let (mut reader, writer) = open_connection(server.local_addrs()[0]).await?;
    writer.write_all(b"round and round\n").await?;
    let line = reader.read_line().await?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut host = calloop::EventLoop::<Shared>::try_new()?;
    let guest = EventLoop::new()?;
    let Some(door) = guest.as_fd() else {
        return Err("this selector has no descriptor, and cannot be a guest".into());
    };
    let door = Generic::new(door.try_clone_to_owned()?, Interest::READ, Mode::Level);
    host.handle().insert_source(door, |_, _, shared| {
        shared.visit().map_err(std::io::Error::other)?;
        Ok(PostAction::Continue)
    })?;
    let tick = Duration::from_millis(5);
    host.handle()
        .insert_source(Timer::from_duration(tick), move |_, (), shared| {
            shared.ticks += 1;
            TimeoutAction::ToDuration(tick)
        })?;

    let talking = guest.local().create_task(converse());
    let mut shared = Shared { guest, ticks: 0 };
    // Until both have done something.
    while !talking.is_finished() || shared.ticks < 3 {
        shared.visit()?;
        // Its timers are not on the descriptor.
        let next = shared.guest.next_deadline();
        let patience = next.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        host.dispatch(patience, &mut shared)?;
    }
    if let Ok(heard) = talking.into_result() {
        println!("the guest heard: {}", heard??);
    }
    println!("the host ticked, too");
    Ok(())
}
