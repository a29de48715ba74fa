use rondel_executor::task_scope;

async fn example() {
    task_scope(async |s| {
        let inner = s.clone();
        s.spawn(async move {
            let local = String::from("gone when the child returns");
            let lent = &local;
            inner.spawn(async move { lent.len() });
        });
    })
    .await;
}

fn main() {
    let _ = example();
}
