use rondel_executor::task_scope;

async fn example() {
    let word = String::from("lent");
    let group = task_scope(async |s| {
        s.spawn(async { word.len() });
    });
    drop(word);
    group.await;
}

fn main() {
    let _ = example();
}
