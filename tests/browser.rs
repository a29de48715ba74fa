//! A real browser as a guest of the chat over WebSockets.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rondel::prelude::*;
use rondel_tests::{example, has_peer, run_to_end};
use rondel_websocket::{Message, WebSocket, WebSocketError};

#[test]
fn the_chat_example_shows_itself() {
    let said = run_to_end(&mut example("websocket_chat"));
    let expected = "\
Ada hears `Ada comes in`
Ada hears `Blaise comes in`
Blaise hears `Blaise comes in`
Ada hears `Ada: is anybody here?`
Blaise hears `Ada: is anybody here?`
Blaise hears `Blaise: not for long`
Ada hears `Blaise: not for long`
Ada hears `Blaise leaves`
Ada: WebSocket: Space limit exceeded: Message too long: 4097 > 4096
all have left
";
    assert_eq!(said, expected);
}

/// Ended when it goes, by force.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(socket: &mut WebSocket, expected: &str) -> Result<(), WebSocketError> {
    while let Some(message) = socket.receive().await? {
        if message == Message::text(expected) {
            return Ok(());
        }
    }
    panic!("the chat ended before `{expected}` was said");
}

#[test]
fn a_browser_talks() {
    if !has_peer("chromium") {
        return;
    }
    let mut chat = Running(
        example("websocket_chat")
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(chat.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let page = line.split(' ').next().unwrap();
    let socket = page.replace("http://", "ws://") + "chat?name=Test";
    let profile = std::env::temp_dir().join(format!("rondel-chromium-{}", std::process::id()));
    run(async {
        let mut guest = WebSocket::connect(&socket).await?;
        until(&mut guest, "Test comes in").await?;
        let browser = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args(["--no-proxy-server", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("{page}?name=Browser&say=hello&answer=certainly"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let browser = Running(browser);
        let talk = async {
            until(&mut guest, "Browser comes in").await?;
            until(&mut guest, "Browser: hello").await?;
            // And it hears, too.
            guest.send("is this a browser?").await?;
            until(&mut guest, "Browser: certainly").await
        };
        timeout(Duration::from_secs(120), talk)
            .await
            .expect("a browser starts within two minutes")?;
        drop(browser);
        // Ended by force it says no farewell, and is out all the same.
        until(&mut guest, "Browser leaves").await?;
        guest.close().await
    })
    .unwrap()
    .unwrap();
    let _ = fs::remove_dir_all(profile);
}
