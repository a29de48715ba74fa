//! reqwest, which demands tokio, next to rondel's tasks: on one thread, against a server of rondel's on the same thread.
//!
//! rondel's loop is a guest of tokio's here: both have their turns, neither has a thread of its own.
#![allow(clippy::print_stdout, reason = "a program for people")]

use rondel::prelude::*;
use rondel_hyper::bytes::Bytes;
use rondel_hyper::http::{Request, Response};
use rondel_hyper::http_body_util::{BodyExt, Full};
use rondel_hyper::hyper::service::service_fn;
use rondel_hyper::server::RequestBody;
use rondel_hyper::{BoxError, HttpServer};
use std::cell::Cell;
use std::rc::Rc;

async fn greet(request: Request<RequestBody>) -> Result<Response<Full<Bytes>>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let said = format!("{} {}, {} bytes", head.method, head.uri.path(), body.len());
    Ok(Response::new(Full::from(said)))
}

fn main() -> Result<(), BoxError> {
    rondel_tokio::run(async {
        let server = HttpServer::new()
            .serve(service_fn(greet), "127.0.0.1:0")
            .await?;
        let url = format!("http://{}", server.local_addrs()[0]);

        // A clock of rondel's, beside; no Arc, no Mutex, though tokio is here.
        let ticks = Rc::new(Cell::new(0));
        let clock = spawn({
            let ticks = Rc::clone(&ticks);
            async move {
                let mut every = interval(Duration::from_millis(1));
                loop {
                    every.tick().await;
                    ticks.set(ticks.get() + 1);
                }
            }
        });

        let client = reqwest::Client::builder().no_proxy().build()?;
        let pages = task_group(async |group| {
            let asked: Vec<_> = (1..=3)
                .map(|number| {
                    let (client, url) = (&client, &url);
                    group.spawn(async move { client.get(format!("{url}/{number}")).send().await })
                })
                .collect();
            let mut pages = Vec::new();
            for page in asked {
                if let Ok(page) = page.await {
                    pages.push(page);
                }
            }
            Ok::<_, reqwest::Error>(pages)
        })
        .await?;
        for page in pages {
            println!("{}", page.text().await?);
        }
        let sent = client.post(&url).body(vec![0; 100_000]).send().await?;
        println!("{}", sent.text().await?);
        sleep(Duration::from_millis(5)).await;
        println!("the clock went on: {}", ticks.get() > 3);
        clock.cancel();
        server.shutdown(Duration::from_secs(1)).await;
        Ok::<(), BoxError>(())
    })?
}
