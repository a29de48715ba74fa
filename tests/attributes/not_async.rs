#[rondel::main]
fn main() {}
