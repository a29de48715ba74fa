use rondel_executor::task_scope;

async fn example() {
    let mut list = vec![1];
    task_scope(async |s| {
        s.spawn(async { list.push(2) });
        s.spawn(async { list.push(3) });
    })
    .await;
}

fn main() {
    let _ = example();
}
