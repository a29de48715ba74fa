#[rondel::test]
struct Test;

fn main() {}
