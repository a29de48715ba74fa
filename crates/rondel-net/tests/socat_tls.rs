//! socat at the other end of TLS, which it has by OpenSSL: either version, in both directions, with certificates on both sides.
#![cfg(target_os = "linux")]

mod authority;
mod socat_process;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use authority::Authority;
use rondel_loop::run;
use rondel_net::tls::{ClientTls, ServerTls};
use rondel_net::{ConnectOptions, Protocol, ServerOptions, StreamReader, StreamWriter, Transport};
use socat_process::{Serving, has_socat, talk};

const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const CAT: &str = "EXEC:cat";
const PATIENCE: Duration = Duration::from_secs(60);
const VERSIONS: [&str; 2] = ["TLS1.2", "TLS1.3"];

/// An authority with what it has issued in a folder, where socat finds it.
struct Papers {
    authority: Authority,
    folder: PathBuf,
}

impl Papers {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("rondel-socat-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new();
        let issued = authority.issue("localhost");
        std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
        std::fs::write(folder.join("chain.pem"), issued.chain).unwrap();
        std::fs::write(folder.join("key.pem"), issued.key).unwrap();
        Self { authority, folder }
    }

    /// What socat is told of the authority.
    fn trusting(&self) -> String {
        format!("cafile={}/ca.pem", self.folder.display())
    }

    /// What socat is told of its own certificate.
    fn identity(&self) -> String {
        let folder = self.folder.display();
        format!("cert={folder}/chain.pem,key={folder}/key.pem")
    }

    fn known_client(&self) -> ClientTls {
        ClientTls::builder()
            .root_pem(self.authority.pem.as_bytes())
            .unwrap()
            .identity(self.authority.identity("me"))
            .build()
            .unwrap()
    }

    fn strict_server(&self) -> ServerTls {
        ServerTls::builder()
            .identity(self.authority.identity("localhost"))
            .client_root_pem(self.authority.pem.as_bytes())
            .unwrap()
            .build()
            .unwrap()
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn only(version: &str) -> String {
    format!("min-version={version},max-version={version}")
}

fn bytes() -> Vec<u8> {
    (0..300_000_u32)
        .map(|n| (n.wrapping_mul(n) % 251) as u8)
        .collect()
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    loop {
        let bytes = reader.read_some(64 * 1024).await?;
        if bytes.is_empty() {
            writer.close();
            return writer.wait_closed().await;
        }
        writer.write_all(&bytes).await?;
    }
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if transport.write(data).is_ok_and(|over| over) {
            transport.pause_reading();
        }
    }

    fn resume_writing(&mut self, transport: &Transport) {
        transport.resume_reading();
    }
}

#[test]
fn socat_is_served_by_either_version() {
    if !has_socat() {
        return;
    }
    run(async {
        let papers = Papers::new("served");
        let options = ServerOptions::new().tls(papers.authority.server());
        let streams = options.serve(echo, ANY).await.unwrap();
        let options = ServerOptions::new().tls(papers.authority.server());
        let protocols = options.serve_protocol(|| Echo, ANY).await.unwrap();
        for server in [streams, protocols] {
            for version in VERSIONS {
                let port = server.local_addrs()[0].port();
                let there = format!(
                    "OPENSSL:127.0.0.1:{port},cn=localhost,{},{}",
                    papers.trusting(),
                    only(version)
                );
                let (_, answer, said) = talk(there, bytes(), bytes().len(), "60").await;
                assert!(
                    answer == bytes(),
                    "{version}: {} bytes: {said}",
                    answer.len()
                );
            }
            assert!(server.shutdown(PATIENCE).await.is_clean());
        }
    })
    .unwrap();
}

#[test]
fn socat_is_asked_for_a_certificate() {
    if !has_socat() {
        return;
    }
    run(async {
        let papers = Papers::new("asked");
        let options = ServerOptions::new().tls(papers.strict_server());
        let server = options.serve(echo, ANY).await.unwrap();
        for version in VERSIONS {
            let port = server.local_addrs()[0].port();
            let there = format!(
                "OPENSSL:127.0.0.1:{port},cn=localhost,{},{}",
                papers.trusting(),
                only(version)
            );
            let known = format!("{there},{}", papers.identity());
            let (_, answer, said) = talk(known, bytes(), bytes().len(), "60").await;
            assert!(answer == bytes(), "{version}: {said}");
            // By TLS 1.3 it believes to be in, until it reads.
            let (_, answer, _) = talk(there, b"nobody".to_vec(), 6, "0.1").await;
            assert!(answer.is_empty(), "{version}");
        }
        assert!(server.shutdown(PATIENCE).await.is_clean());
    })
    .unwrap();
}

async fn exchange(tls: ClientTls, port: u16) -> io::Result<Vec<u8>> {
    let (mut reader, writer) = ConnectOptions::new()
        .timeout(PATIENCE)
        .tls(tls)
        .open_connection(("localhost", port))
        .await?;
    let sent = bytes();
    let answer = async {
        let mut answer = vec![0; sent.len()];
        reader.read_exact(&mut answer).await.map(|_| answer)
    };
    let (written, answer) = futures_util::join!(writer.write_all(&sent), answer);
    written?;
    let answer = answer?;
    writer.close();
    writer.wait_closed().await?;
    Ok(answer)
}

#[test]
fn socat_serves_us_by_either_version_and_asks_for_a_certificate() {
    if !has_socat() {
        return;
    }
    run(async {
        let papers = Papers::new("serving");
        for version in VERSIONS {
            let here = format!(
                "OPENSSL-LISTEN:0,bind=127.0.0.1,fork,{},{},{}",
                papers.identity(),
                papers.trusting(),
                only(version)
            );
            let open = Serving::start(format!("{here},verify=0"), CAT);
            let answer = exchange(papers.authority.client(), open.port()).await;
            assert!(answer.unwrap() == bytes(), "{version}");
            let strict = Serving::start(format!("{here},verify=1"), CAT);
            let answer = exchange(papers.known_client(), strict.port()).await;
            assert!(answer.unwrap() == bytes(), "{version}");
            let refused = exchange(papers.authority.client(), strict.port()).await;
            let error = refused.unwrap_err();
            assert!(!error.to_string().is_empty(), "{version}: {error}");
            // And we do not trust what somebody else has issued.
            let other = Papers::new("other");
            let refused = exchange(other.authority.client(), open.port()).await;
            let error = refused.unwrap_err();
            assert!(error.to_string().contains("not trusted here"), "{error}");
        }
    })
    .unwrap();
}
