//! A mail is handed over in a dialogue like SMTP's, which begins in clear and goes on in TLS after STARTTLS.
//!
//! The server takes no mail before: what is said in clear, anybody in between may have said.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::net::tls::{ClientTls, Identity, ServerTls};
use rondel::prelude::*;
use std::error::Error;
use std::io;

/// One line, without its end; `None` at the end of the stream.
async fn line(reader: &mut StreamReader) -> io::Result<Option<String>> {
    let line = reader.read_line().await?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

async fn serve(
    tls: &ServerTls,
    mut reader: StreamReader,
    mut writer: StreamWriter,
) -> io::Result<()> {
    writer.write_all(b"220 mail.example\r\n").await?;
    while let Some(command) = line(&mut reader).await? {
        let encrypted = writer.tls().is_some();
        match command.as_str() {
            "STARTTLS" if !encrypted => {
                // Commands smuggled in behind this one in clear would be read as the handshake, and fail it.
                writer.write_all(b"220 go ahead\r\n").await?;
                (reader, writer) = tls.start(reader, writer).await?;
            }
            "DATA" if !encrypted => writer.write_all(b"530 STARTTLS first\r\n").await?,
            "DATA" => {
                writer.write_all(b"354 end with a dot\r\n").await?;
                let mut count = 0;
                while line(&mut reader).await?.is_some_and(|line| line != ".") {
                    count += 1;
                }
                let answer = format!("250 {count} lines taken\r\n");
                writer.write_all(answer.as_bytes()).await?;
            }
            "QUIT" => {
                writer.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => writer.write_all(b"500 not understood\r\n").await?,
        }
    }
    Ok(())
}

/// Says a line, if there is one, and prints the answer.
async fn say(reader: &mut StreamReader, writer: &StreamWriter, words: &str) -> io::Result<()> {
    let how = if writer.tls().is_some() {
        "tls"
    } else {
        "clear"
    };
    if !words.is_empty() {
        println!("{how} > {}", words.lines().next().unwrap_or_default());
        writer.write_all(format!("{words}\r\n").as_bytes()).await?;
    }
    let answer = line(reader).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    println!("{how} < {answer}");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["mail.example".to_owned()])?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes())?;
    let server_tls = ServerTls::builder().identity(identity).build()?;
    let client_tls = ClientTls::builder().root_pem(chain.as_bytes())?.build()?;

    run(async {
        let handler = async move |reader, writer| serve(&server_tls, reader, writer).await;
        let server = start_server(handler, "127.0.0.1:0").await?;
        let (mut reader, writer) = open_connection(server.local_addrs()[0]).await?;
        say(&mut reader, &writer, "").await?;
        say(&mut reader, &writer, "DATA").await?;
        say(&mut reader, &writer, "STARTTLS").await?;
        let (mut reader, writer) = client_tls.start(reader, writer, "mail.example").await?;
        say(&mut reader, &writer, "DATA").await?;
        say(
            &mut reader,
            &writer,
            "Dear Rosalie,\r\nuntil tomorrow.\r\n.",
        )
        .await?;
        say(&mut reader, &writer, "QUIT").await?;
        writer.close();
        writer.wait_closed().await?;
        let report = server.shutdown(Duration::from_secs(1)).await;
        println!("all connections ended by themselves: {}", report.is_clean());
        Ok(())
    })?
}
