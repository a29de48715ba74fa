use rondel::prelude::*;

#[rondel::main]
async fn main() {
    let mut left = 3;
    select! {
        () = yield_now(), if left > 0 => left -= 1,
    }
}
