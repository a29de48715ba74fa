//! PostgreSQL by tokio-postgres, without tokio: the driver gets a connection of rondel's, and its work is a task of rondel's.
//!
//! `postgres "host=127.0.0.1 port=5432 user=me dbname=test"`, or `host=/var/run/postgresql` for its Unix socket. Without that it says
//! so and ends.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::net::open_unix_connection;
use rondel::prelude::*;
use rondel_tokio::TokioIo;
use std::error::Error;
use std::io;
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};

/// A connection to the first host that is named.
async fn connect(config: &Config) -> io::Result<TokioIo> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let halves = match config.get_hosts().first() {
        Some(Host::Unix(folder)) => {
            open_unix_connection(&folder.join(format!(".s.PGSQL.{port}"))).await?
        }
        Some(Host::Tcp(host)) => open_connection((host.as_str(), port)).await?,
        None => open_connection(("localhost", port)).await?,
    };
    let (reader, writer) = halves;
    Ok(TokioIo::new((reader, writer)))
}

async fn show(config: &Config) -> Result<(), Box<dyn Error>> {
    let stream = connect(config).await?;
    let (mut client, connection) = config.connect_raw(stream, NoTls).await?;
    let driving = spawn(connection);

    client
        .batch_execute("create temporary table words (id serial primary key, word text not null)")
        .await?;
    // Many questions at once, on one connection: the driver sends them in a row, without waiting for each answer.
    let insert = client
        .prepare("insert into words (word) values ($1)")
        .await?;
    let words = ["round", "and", "round", "it", "goes"];
    let inserting = words.map(|word| {
        let (client, insert) = (&client, &insert);
        async move { client.execute(insert, &[&word]).await }
    });
    for inserted in gather(inserting.into_iter().collect::<Vec<_>>()).await {
        inserted?;
    }
    let question =
        "select word, count(*) from words group by word order by count(*) desc, word limit 2";
    for row in client.query(question, &[]).await? {
        println!("{}: {}", row.get::<_, &str>(0), row.get::<_, i64>(1));
    }

    // A transaction that is given up leaves nothing behind.
    let transaction = client.transaction().await?;
    transaction.execute("delete from words", &[]).await?;
    transaction.rollback().await?;
    let count: i64 = client
        .query_one("select count(*) from words", &[])
        .await?
        .get(0);
    println!("words: {count}");

    // A question that takes too long is dropped; the connection goes on with the next.
    let slow = client.query_one("select pg_sleep(0.2)", &[]);
    let late = timeout(Duration::from_millis(20), slow).await.is_err();
    println!("in time: {}", !late);
    match client.query_one("select 1 / 0", &[]).await {
        Ok(_) => println!("divided by zero"),
        Err(error) => println!(
            "{}",
            error
                .as_db_error()
                .map_or("no answer", |error| error.message())
        ),
    }

    // The driver's task ends when nobody can ask any more.
    drop(client);
    driving.await??;
    println!("the connection is closed");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(said) = std::env::args().nth(1) else {
        println!(
            "no server was named: pass its address, as in \"host=127.0.0.1 user=me dbname=test\""
        );
        return Ok(());
    };
    let config: Config = said.parse()?;
    run(show(&config))?
}
