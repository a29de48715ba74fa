use rondel_executor::{Child, task_scope};

async fn example() -> Child<&'static str> {
    let mut kept = None;
    let word = String::from("gone when this returns");
    task_scope(async |s| {
        let word = &word;
        kept = Some(s.spawn(async move { word.as_str() }));
    })
    .await;
    kept.unwrap()
}

fn main() {
    let _ = example();
}
