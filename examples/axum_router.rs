//! An axum router, served by rondel: extractors, state, JSON, a shared counter.
//!
//! axum's own feature `tokio` is off. Handlers have to be `Send`, as axum asks; they may still use whatever is bound to the loop
//! by way of a `LoopHandle`.
#![allow(clippy::print_stdout, reason = "a program for people")]

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use rondel::prelude::*;
use rondel_hyper::http_body_util::BodyExt;
use rondel_hyper::server::tower;
use rondel_hyper::{BoxError, Client, HttpServer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Deserialize)]
struct Order {
    article: String,
    count: u64,
}

#[derive(Serialize)]
struct Receipt {
    article: String,
    total: u64,
}

type Stock = Arc<AtomicU64>;

async fn greet(Path(name): Path<String>) -> String {
    format!("hello, {name}")
}

async fn order(State(stock): State<Stock>, Json(order): Json<Order>) -> Json<Receipt> {
    let total = stock.fetch_add(order.count, Ordering::Relaxed) + order.count;
    Json(Receipt {
        article: order.article,
        total,
    })
}

fn main() -> Result<(), BoxError> {
    run(async {
        let router = Router::new()
            .route("/greet/{name}", get(greet))
            .route("/order", post(order))
            .with_state(Stock::default());
        let server = HttpServer::new()
            .serve(tower(router), "127.0.0.1:0")
            .await?;
        let url = format!("http://{}", server.local_addrs()[0]);

        let client = Client::new();
        let answer = client.get(&format!("{url}/greet/world")).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        println!("{}", String::from_utf8_lossy(&body));
        for count in [3, 4] {
            let order = serde_json::json!({ "article": "teapot", "count": count });
            let request = rondel_hyper::http::Request::post(format!("{url}/order"))
                .header("content-type", "application/json")
                .body(order.to_string())?;
            let answer = client.request(request).await?;
            let body = answer.into_body().collect().await?.to_bytes();
            println!("{}", String::from_utf8_lossy(&body));
        }
        let lost = client.get(&format!("{url}/lost")).await?;
        println!("{}", lost.status());
        server.shutdown(Duration::from_secs(5)).await;
        Ok::<(), BoxError>(())
    })?
}
