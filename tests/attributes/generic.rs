#[rondel::test]
async fn test<T>() {}

fn main() {}
