//! TLS with other people's implementations at the other end: OpenSSL, Python's `ssl` under asyncio, curl.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rondel::net::tls::{ClientTls, Identity, ServerTls, TlsError};
use rondel::net::{ConnectOptions, Server, ServerOptions, StreamReader, StreamWriter};
use rondel::prelude::*;
use rondel_tests::has_peer;

/// A folder with an authority's certificate, and one for localhost with its key. Removed when it goes.
struct Papers(PathBuf);

impl Papers {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("rondel-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("authority {number}"));
        let key = KeyPair::generate().unwrap();
        fs::write(
            folder.join("ca.pem"),
            params.self_signed(&key).unwrap().pem(),
        )
        .unwrap();
        let issuer = Issuer::new(params, key);
        let mut params =
            CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(&self.read("cert.pem"), &self.read("key.pem")).unwrap()
    }

    fn client(&self) -> ClientTls {
        ClientTls::builder()
            .root_pem(&self.read("ca.pem"))
            .unwrap()
            .build()
            .unwrap()
    }

    /// One that has a certificate itself.
    fn known_client(&self) -> ClientTls {
        ClientTls::builder()
            .root_pem(&self.read("ca.pem"))
            .unwrap()
            .identity(self.identity())
            .build()
            .unwrap()
    }

    fn server(&self) -> ServerTls {
        ServerTls::builder()
            .identity(self.identity())
            .build()
            .unwrap()
    }

    /// One that lets nobody in without a certificate.
    fn strict_server(&self) -> ServerTls {
        ServerTls::builder()
            .identity(self.identity())
            .client_root_pem(&self.read("ca.pem"))
            .unwrap()
            .build()
            .unwrap()
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Sends every line back, until the peer ends.
async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let line = reader.read_line().await?;
        if line.is_empty() {
            writer.close();
            return writer.wait_closed().await;
        }
        writer.write_all(&line).await?;
    }
}

async fn serve(tls: ServerTls) -> Server {
    ServerOptions::new()
        .tls(tls)
        .serve(echo, "127.0.0.1:0")
        .await
        .unwrap()
}

fn port(server: &Server) -> String {
    server.local_addrs()[0].port().to_string()
}

/// Runs `command` in a thread with `input`, and gives whether it succeeded, and what it said.
async fn talk(mut command: Command, input: &'static [u8]) -> (bool, String) {
    to_thread(move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let _ = stdin.write_all(input);
        let mut said = String::new();
        // Everything is to come back; then the farewell begins at this end.
        let expected = String::from_utf8_lossy(input);
        while !said.contains(&*expected) {
            if !matches!(stdout.read_line(&mut said), Ok(1..)) {
                break;
            }
        }
        drop(stdin);
        let _ = stdout.read_to_string(&mut said);
        let mut complaints = String::new();
        let _ = child.stderr.take().unwrap().read_to_string(&mut complaints);
        let succeeded = child.wait().unwrap().success();
        (succeeded, said + &complaints)
    })
    .await
    .unwrap()
}

fn s_client(papers: &Papers, port: &str) -> Command {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error"])
        .args(["-connect", &format!("127.0.0.1:{port}")])
        .args(["-servername", "localhost", "-verify_hostname", "localhost"])
        .arg("-CAfile")
        .arg(papers.path("ca.pem"));
    command
}

#[test]
fn openssl_is_served_by_either_version() {
    if !has_peer("openssl") {
        return;
    }
    run(async {
        let papers = Papers::new();
        let server = serve(papers.server()).await;
        for version in ["-tls1_2", "-tls1_3"] {
            let mut command = s_client(&papers, &port(&server));
            command.arg(version);
            let (_, said) = talk(command, b"hello\nand goodbye\n").await;
            assert!(said.contains("hello\nand goodbye\n"), "{version}: {said}");
        }
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

#[test]
fn openssl_is_asked_for_a_certificate() {
    if !has_peer("openssl") {
        return;
    }
    run(async {
        let papers = Papers::new();
        let server = serve(papers.strict_server()).await;
        for version in ["-tls1_2", "-tls1_3"] {
            let mut command = s_client(&papers, &port(&server));
            command
                .arg(version)
                .arg("-cert")
                .arg(papers.path("cert.pem"))
                .arg("-key")
                .arg(papers.path("key.pem"));
            let (_, said) = talk(command, b"it is me\n").await;
            assert!(said.contains("it is me\n"), "{version}: {said}");
            let mut command = s_client(&papers, &port(&server));
            command.arg(version);
            let (_, said) = talk(command, b"it is nobody\n").await;
            assert!(!said.contains("it is nobody\n"), "{version}: {said}");
        }
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

#[test]
fn openssl_resumes_its_session_of_either_version() {
    if !has_peer("openssl") {
        return;
    }
    run(async {
        let papers = Papers::new();
        let server = serve(papers.server()).await;
        for version in ["-tls1_2", "-tls1_3"] {
            let session = papers.path(&format!("session{version}.pem"));
            for (option, expected) in [("-sess_out", "New, TLS"), ("-sess_in", "Reused, TLS")] {
                let mut command = Command::new("openssl");
                command
                    .args(["s_client", version])
                    .args(["-connect", &format!("127.0.0.1:{}", port(&server))])
                    .args(["-servername", "localhost"])
                    .arg("-CAfile")
                    .arg(papers.path("ca.pem"))
                    .arg(option)
                    .arg(&session);
                let (_, said) = talk(command, b"the ticket comes with the answer\n").await;
                assert!(said.contains(expected), "{version}: {said}");
            }
        }
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

/// A program that listens, and is killed when this goes.
struct Listening {
    child: Child,
    port: u16,
}

impl Listening {
    /// Starts it; the first line it prints that has a port at its end says where.
    fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed and waited for from here on, whatever happens.
        let mut listening = Self { child, port: 0 };
        let mut stdout = BufReader::new(listening.child.stdout.take().unwrap());
        let mut line = String::new();
        loop {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "it ended");
            let port = line
                .trim()
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok());
            if let Some(port) = port {
                // It goes on printing, and must not be held up.
                std::thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
                listening.port = port;
                return listening;
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn s_server(papers: &Papers, more: &[&str]) -> Listening {
    let mut command = Command::new("openssl");
    command
        .args(["s_server", "-accept", "127.0.0.1:0", "-rev"])
        .arg("-cert")
        .arg(papers.path("cert.pem"))
        .arg("-key")
        .arg(papers.path("key.pem"))
        .arg("-CAfile")
        .arg(papers.path("ca.pem"))
        .args(more);
    Listening::start(&mut command)
}

async fn reversed(tls: ClientTls, port: u16) -> Result<Vec<u8>, io::Error> {
    let (mut reader, writer) = ConnectOptions::new()
        .timeout(Duration::from_secs(60))
        .tls(tls)
        .open_connection(("localhost", port))
        .await?;
    writer.write_all(b"stressed\n").await?;
    let answer = reader.read_line().await?;
    writer.close();
    writer.wait_closed().await?;
    Ok(answer)
}

#[test]
fn openssl_serves_us_by_either_version() {
    if !has_peer("openssl") {
        return;
    }
    run(async {
        let papers = Papers::new();
        for version in ["-tls1_2", "-tls1_3"] {
            let peer = s_server(&papers, &[version]);
            let answer = reversed(papers.client(), peer.port).await.unwrap();
            assert_eq!(answer, b"desserts\n", "{version}");
        }
    })
    .unwrap();
}

/// Connects twice with one configuration, and gives whether the sessions were resumed ones.
async fn resumed(tls: ClientTls, port: u16) -> [bool; 2] {
    let options = ConnectOptions::new()
        .timeout(Duration::from_secs(60))
        .tls(tls);
    let mut resumed = [true; 2];
    for resumed in &mut resumed {
        let (mut reader, writer) = options.open_connection(("localhost", port)).await.unwrap();
        writer.write_all(b"stressed\n").await.unwrap();
        // The ticket has come by then.
        assert_eq!(reader.read_line().await.unwrap(), b"desserts\n");
        *resumed = writer.tls().unwrap().resumed;
        writer.close();
        writer.wait_closed().await.unwrap();
    }
    resumed
}

#[test]
fn we_resume_our_session_of_either_version_with_openssl() {
    if !has_peer("openssl") {
        return;
    }
    run(async {
        let papers = Papers::new();
        for version in ["-tls1_2", "-tls1_3"] {
            let peer = s_server(&papers, &[version]);
            let resumed = resumed(papers.client(), peer.port).await;
            assert_eq!(resumed, [false, true], "{version}");
        }
    })
    .unwrap();
}

#[test]
fn openssl_asks_us_for_a_certificate() {
    if !has_peer("openssl") {
        return;
    }
    run(async {
        let papers = Papers::new();
        let peer = s_server(&papers, &["-Verify", "1", "-verify_return_error"]);
        let known = papers.known_client();
        assert_eq!(reversed(known, peer.port).await.unwrap(), b"desserts\n");
        let refused = reversed(papers.client(), peer.port).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("it wants a client certificate"),
            "{refused}"
        );
    })
    .unwrap();
}

#[test]
fn openssl_is_refused_when_its_certificate_is_from_elsewhere() {
    if !has_peer("openssl") {
        return;
    }
    run(async {
        let (ours, theirs) = (Papers::new(), Papers::new());
        let peer = s_server(&theirs, &[]);
        let error = reversed(ours.client(), peer.port).await.unwrap_err();
        assert!(error.to_string().contains("not trusted here"), "{error}");
        assert!(
            TlsError::of(&error).is_none(),
            "it is wrapped in what connecting says"
        );
    })
    .unwrap();
}

fn python(papers: &Papers, script: &str, more: &[&str]) -> Command {
    let path = papers.path(&format!("peer-{}.py", script.len()));
    fs::write(&path, script).unwrap();
    let mut command = Command::new("python3");
    command.arg(path).arg(folder(papers)).args(more);
    command
}

fn folder(papers: &Papers) -> &Path {
    &papers.0
}

const PYTHON_CLIENT: &str = r#"
import asyncio, ssl, sys

async def main(folder, port):
    context = ssl.create_default_context(cafile=folder + "/ca.pem")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port), ssl=context, server_hostname="localhost")
    sent = b"".join(b"line %d\n" % number for number in range(20000))
    async def send():
        writer.write(sent)
        await writer.drain()
    sending = asyncio.ensure_future(send())
    received = await reader.readexactly(len(sent))
    await sending
    assert received == sent
    writer.close()
    await writer.wait_closed()
    print("all", len(received))

asyncio.run(main(*sys.argv[1:]))
"#;

#[test]
fn asyncio_is_served() {
    if !has_peer("python3") {
        return;
    }
    run(async {
        let papers = Papers::new();
        let server = serve(papers.server()).await;
        let command = python(&papers, PYTHON_CLIENT, &[&port(&server)]);
        let (succeeded, said) = talk(command, b"").await;
        assert!(succeeded && said.contains("all 208890"), "{said}");
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

/// Connects to a server that wants a certificate, twice: the second time it resumes the session. Then without a certificate.
const PYTHON_CERTIFIED: &str = r#"
import socket, ssl, sys

folder, port, version = sys.argv[1:]
version = getattr(ssl.TLSVersion, version)

def context(certified):
    context = ssl.create_default_context(cafile=folder + "/ca.pem")
    context.minimum_version = context.maximum_version = version
    if certified:
        context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
    return context

def ask(context, session=None):
    plain = socket.create_connection(("127.0.0.1", int(port)))
    plain.settimeout(60)
    secure = context.wrap_socket(plain, server_hostname="localhost", session=session)
    secure.sendall(b"who am I\n")
    answer = secure.recv(100)
    session, reused = secure.session, secure.session_reused
    secure.unwrap().close()
    assert answer == b"who am I\n", answer
    return session, reused

known = context(True)
session, reused = ask(known)
assert not reused
session, reused = ask(known, session)
assert reused
try:
    ask(context(False))
except ssl.SSLError as error:
    print("refused:", error.reason)
"#;

#[test]
fn python_shows_a_certificate_and_resumes_by_either_version() {
    if !has_peer("python3") {
        return;
    }
    run(async {
        let papers = Papers::new();
        let server = serve(papers.strict_server()).await;
        for version in ["TLSv1_2", "TLSv1_3"] {
            let command = python(&papers, PYTHON_CERTIFIED, &[&port(&server), version]);
            let (succeeded, said) = talk(command, b"").await;
            assert!(succeeded && said.contains("refused:"), "{version}: {said}");
        }
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

const PYTHON_SERVER: &str = r#"
import asyncio, ssl, sys

async def reverse(reader, writer):
    line = await reader.readline()
    writer.write(line.strip()[::-1] + b"\n")
    await writer.drain()
    assert await reader.read() == b""
    writer.close()

async def main(folder, version, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    if certificates == "required":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder + "/ca.pem")
    server = await asyncio.start_server(reverse, "127.0.0.1", 0, ssl=context)
    print("listening on port :%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main(*sys.argv[1:]))
"#;

#[test]
fn asyncio_serves_us_by_either_version_and_resumes_our_session() {
    if !has_peer("python3") {
        return;
    }
    run(async {
        let papers = Papers::new();
        for version in ["TLSv1_2", "TLSv1_3"] {
            let mut command = python(&papers, PYTHON_SERVER, &[version, "optional"]);
            let peer = Listening::start(&mut command);
            let resumed = resumed(papers.client(), peer.port).await;
            assert_eq!(resumed, [false, true], "{version}");
        }
    })
    .unwrap();
}

#[test]
fn asyncio_asks_us_for_a_certificate() {
    if !has_peer("python3") {
        return;
    }
    run(async {
        let papers = Papers::new();
        for version in ["TLSv1_2", "TLSv1_3"] {
            let mut command = python(&papers, PYTHON_SERVER, &[version, "required"]);
            let peer = Listening::start(&mut command);
            let known = papers.known_client();
            assert_eq!(reversed(known, peer.port).await.unwrap(), b"desserts\n");
            let refused = reversed(papers.client(), peer.port).await;
            assert!(refused.is_err(), "{version}");
        }
    })
    .unwrap();
}

const PYTHON_STARTTLS: &str = r#"
import socket, ssl, sys

folder, port = sys.argv[1:]
plain = socket.create_connection(("127.0.0.1", int(port)))
plain.sendall(b"STARTTLS\n")
assert plain.recv(100) == b"go ahead\n"
context = ssl.create_default_context(cafile=folder + "/ca.pem")
secure = context.wrap_socket(plain, server_hostname="localhost")
secure.sendall(b"hidden\n")
assert secure.recv(100) == b"hidden\n"
plain = secure.unwrap()
print("farewells exchanged")
"#;

#[test]
fn a_python_client_upgrades_in_the_middle_and_gets_a_farewell() {
    if !has_peer("python3") {
        return;
    }
    run(async {
        let papers = Papers::new();
        let tls = papers.server();
        let server = start_server(
            async move |mut reader: StreamReader, writer: StreamWriter| {
                assert_eq!(reader.read_line().await.unwrap(), b"STARTTLS\n");
                writer.write_all(b"go ahead\n").await.unwrap();
                let (reader, writer) = tls.start(reader, writer).await.unwrap();
                echo(reader, writer).await
            },
            "127.0.0.1:0",
        )
        .await
        .unwrap();
        let command = python(&papers, PYTHON_STARTTLS, &[&port(&server)]);
        let (succeeded, said) = talk(command, b"").await;
        assert!(succeeded && said.contains("farewells exchanged"), "{said}");
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

#[test]
fn curl_fetches_a_page_by_either_version_and_shows_a_certificate() {
    if !has_peer("curl") {
        return;
    }
    run(async {
        let papers = Papers::new();
        let server = ServerOptions::new()
            .tls(papers.strict_server())
            .serve(
                async |mut reader: StreamReader, writer: StreamWriter| {
                    reader.read_until(b"\r\n\r\n").await?;
                    let page = "<html>by TLS</html>\n";
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
                    writer.write_all((head + page).as_bytes()).await?;
                    writer.close();
                    writer.wait_closed().await
                },
                "127.0.0.1:0",
            )
            .await
            .unwrap();
        for version in ["1.2", "1.3"] {
            let mut command = Command::new("curl");
            command
                .args(["--silent", "--show-error", "--noproxy", "*"])
                .args([&format!("--tlsv{version}"), "--tls-max", version])
                .arg("--cacert")
                .arg(papers.path("ca.pem"))
                .arg("--cert")
                .arg(papers.path("cert.pem"))
                .arg("--key")
                .arg(papers.path("key.pem"))
                .arg(format!("https://localhost:{}/", port(&server)));
            let (succeeded, said) = talk(command, b"").await;
            assert!(
                succeeded && said == "<html>by TLS</html>\n",
                "{version}: {said}"
            );
        }
        assert!(server.shutdown(Duration::from_secs(60)).await.is_clean());
    })
    .unwrap();
}

/// Run in a process of its own, with `SSLKEYLOGFILE` set, by the test below.
#[test]
fn a_server_with_a_key_log() {
    let Some(folder) = std::env::var_os("RONDEL_TEST_KEY_LOG") else {
        return;
    };
    run(async {
        let papers = Papers::new();
        let tls = ServerTls::builder().identity(papers.identity());
        let server = serve(tls.key_log(true).build().unwrap()).await;
        for version in ["-tls1_3", "-tls1_2"] {
            let mut command = s_client(&papers, &port(&server));
            let theirs = Path::new(&folder).join(format!("theirs{version}"));
            command.args([version, "-keylogfile"]).arg(theirs);
            let (well, heard) = talk(command, b"logged\n").await;
            assert!(well && heard.contains("logged"), "{heard}");
        }
        // One without a log leaves nothing, whatever the environment says.
        let silent = serve(papers.server()).await;
        let (well, _) = talk(s_client(&papers, &port(&silent)), b"unlogged\n").await;
        assert!(well);
    })
    .unwrap();
}

#[test]
fn the_key_log_is_the_one_that_openssl_writes_of_the_same_sessions() {
    if !has_peer("openssl") {
        return;
    }
    let papers = Papers::new();
    let ours = papers.path("ours");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_with_a_key_log"])
        .env("RONDEL_TEST_KEY_LOG", &papers.0)
        .env("SSLKEYLOGFILE", &ours)
        .status()
        .unwrap();
    assert!(status.success());
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).unwrap().to_lowercase();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let mut theirs = lines(&papers.path("theirs-tls1_3"));
    theirs.extend(lines(&papers.path("theirs-tls1_2")));
    // OpenSSL also logs a secret for exporters, which nobody here asks for.
    theirs.retain(|line| !line.starts_with("exporter_secret"));
    let mut ours = lines(&ours);
    ours.retain(|line| !line.starts_with("exporter_secret"));
    assert!(
        ours.iter().any(|line| line.starts_with("client_random ")),
        "TLS 1.2"
    );
    assert!(
        ours.iter()
            .any(|line| line.starts_with("server_traffic_secret_0 ")),
        "TLS 1.3"
    );
    assert_eq!(ours, theirs);
}
