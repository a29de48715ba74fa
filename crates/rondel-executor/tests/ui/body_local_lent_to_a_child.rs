use rondel_executor::task_group;

async fn example() {
    let _ = task_group(async |g| {
        let local = String::from("gone when the body returns");
        g.spawn(async { Ok::<_, ()>(local.len()) });
        Ok(())
    })
    .await;
}

fn main() {
    let _ = example();
}
