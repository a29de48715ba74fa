#[rondel::main]
async fn main(words: Vec<String>) {
    drop(words);
}
