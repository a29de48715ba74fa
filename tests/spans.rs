//! Spans of tasks and connections, as a program's own log shows them: by the formatter of `tracing-subscriber`.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use rondel::Event;
use rondel::net::tls::{ClientTls, Identity, ServerTls};
use rondel::net::{ConnectOptions, ServerOptions};
use rondel::prelude::*;
use tracing::{Level, info, subscriber};
use tracing_subscriber::fmt::MakeWriter;

/// The log, in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Runs a program with a subscriber of its own; gives its log, a line each.
fn logged<T>(most: Level, main: impl Future<Output = io::Result<T>>) -> Vec<String> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(most)
        .with_writer(log.clone())
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .finish();
    subscriber::with_default(subscriber, || run(main))
        .unwrap()
        .unwrap();
    let log = log.0.lock().unwrap();
    let lines = String::from_utf8_lossy(&log);
    lines.lines().map(|line| line.trim().to_owned()).collect()
}

/// The line that ends so.
fn line<'l>(lines: &'l [String], end: &str) -> &'l str {
    let mut found = lines.iter().filter(|line| line.ends_with(end));
    match (found.next(), found.next()) {
        (Some(line), None) => line,
        _ => panic!("{end:?} is not there once: {lines:#?}"),
    }
}

/// The words between `begin` and `end`.
fn between<'l>(line: &'l str, begin: &str, end: &str) -> &'l str {
    let (_, rest) = line.split_once(begin).unwrap_or_else(|| panic!("{line}"));
    rest.split_once(end).unwrap_or_else(|| panic!("{line}")).0
}

#[test]
fn what_a_servers_handler_says_tells_of_its_task_and_its_connection() {
    let lines = logged(Level::DEBUG, async {
        let server = start_server(
            async |mut reader: StreamReader, writer: StreamWriter| {
                let line = reader.read_line().await?;
                info!("served");
                writer.write_all(&line).await?;
                Ok::<(), io::Error>(())
            },
            "127.0.0.1:0",
        )
        .await?;
        let (mut reader, writer) = open_connection(server.local_addrs()[0]).await?;
        writer.write_all(b"hello\n").await?;
        assert_eq!(reader.read_line().await?, b"hello\n");
        writer.close();
        server.close();
        server.wait_closed().await;
        info!("the end");
        Ok(())
    });
    let served = line(&lines, ": served");
    let peer = between(served, "peer=", " ");
    let local = between(served, "local=", "}");
    let accepted = format!("connection{{side=\"accepted\" peer={peer} local={local}}}");
    let task = format!("task{{id=2 name=\"server {peer}\" kind=\"task\" spawned_at=");
    assert!(
        served.starts_with(&format!("INFO {accepted}:{task}")),
        "{served}"
    );
    // The other end, which the main task has opened, and is not inside of.
    let connected = format!("connection{{side=\"connected\" peer={local} local={peer}}}");
    line(&lines, &format!("DEBUG {connected}: open"));
    line(&lines, &format!("DEBUG {connected}: closed"));
    line(&lines, &format!("DEBUG {accepted}: open"));
    line(&lines, &format!("DEBUG {accepted}: closed"));
    let main = line(&lines, ": the end");
    assert!(
        main.starts_with("INFO task{id=1 name=\"Task-1\" kind=\"main\""),
        "{main}"
    );
    assert!(!main.contains("connection"), "{main}");
}

#[test]
fn a_protocol_is_called_inside_its_connection_and_a_failure_is_told() {
    struct Listens;

    impl Protocol for Listens {
        fn connection_made(&mut self, _: &Transport) {
            info!("made");
        }

        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            info!("received {}", data.len());
            transport.write(data).unwrap();
        }

        fn connection_lost(&mut self, _: &Transport, error: Option<io::Error>) {
            info!("lost {}", error.is_some());
        }
    }

    let lines = logged(Level::DEBUG, async {
        let server = create_server(|| Listens, "127.0.0.1:0").await?;
        let stream = TcpStream::connect(server.local_addrs()[0]).await?;
        stream.write_all(b"abc").await?;
        let mut answer = [0; 8];
        assert_eq!(stream.read(&mut answer).await?, 3);
        stream.abort();
        server.close();
        server.wait_closed().await;
        Ok(())
    });
    for said in ["made", "received 3", "lost true"] {
        let line = line(&lines, &format!(": {said}"));
        assert!(
            line.starts_with("INFO connection{side=\"accepted\" peer=127.0.0.1:"),
            "{line}"
        );
        assert!(!line.contains("task{"), "no task is there: {line}");
    }
    let aborted: Vec<_> = lines
        .iter()
        .filter(|line| line.contains(": aborted"))
        .collect();
    assert_eq!(aborted.len(), 1, "{lines:#?}");
    let closed = lines.iter().find(|line| line.contains(": closed error="));
    assert!(
        closed.is_some_and(|line| line.contains("reset by peer")),
        "{lines:#?}"
    );
}

#[test]
fn a_connection_says_which_tls_it_speaks() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let server_tls = ServerTls::builder().identity(identity).build().unwrap();
    let client_tls = ClientTls::builder().root_pem(chain.as_bytes()).unwrap();
    let client_tls = client_tls.build().unwrap();
    let stranger_tls = ClientTls::builder().build().unwrap();
    let lines = logged(Level::DEBUG, async {
        let server = ServerOptions::new()
            .tls(server_tls)
            .serve(
                async |_: StreamReader, writer: StreamWriter| {
                    info!("secretly");
                    writer.write_all(b"hello\n").await
                },
                "127.0.0.1:0",
            )
            .await?;
        let target = ("localhost", server.local_addrs()[0].port());
        let options = ConnectOptions::new().tls(client_tls);
        let (mut reader, _writer) = options.open_connection(target).await?;
        assert_eq!(reader.read_line().await?, b"hello\n");
        let options = ConnectOptions::new().tls(stranger_tls);
        options.open_connection(target).await.unwrap_err();
        Ok(())
    });
    let secretly = line(&lines, ": secretly");
    assert!(
        secretly.contains("connection{side=\"accepted\""),
        "{secretly}"
    );
    assert!(secretly.contains(" tls=\"TLSv1_3\"}:task{"), "{secretly}");
    for side in ["accepted", "connected"] {
        let begin = format!("connection{{side=\"{side}\"");
        let of_tls = |line: &&String| line.contains(&begin) && line.contains(": TLS cipher_suite=");
        let told: Vec<_> = lines.iter().filter(of_tls).collect();
        assert_eq!(told.len(), 1, "{lines:#?}");
        assert!(
            told[0].contains("server_name=\"localhost\"") == (side == "accepted"),
            "{told:?}"
        );
    }
    let refused = lines
        .iter()
        .find(|line| line.contains("side=\"connected\"") && line.contains(": no TLS error="));
    assert!(
        refused.is_some_and(|line| line.contains("not trusted")),
        "{lines:#?}"
    );
}

#[test]
fn a_callback_says_where_it_was_scheduled_a_timers_too() {
    let lines = logged(Level::TRACE, async {
        let local = LocalLoop::current().unwrap();
        local.call_soon(|| info!("soon"));
        let fired = Rc::new(Event::new());
        let fire = Rc::clone(&fired);
        local.call_later(Duration::from_millis(1), move || {
            info!("later");
            fire.set();
        });
        fired.wait().await;
        Ok(())
    });
    for said in ["soon", "later"] {
        let line = line(&lines, &format!(": {said}"));
        assert!(line.starts_with("INFO callback{scheduled_at="), "{line}");
        assert!(line.contains("spans.rs:"), "{line}");
    }
}
