#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod error;
mod function;

use proc_macro::TokenStream;

use crate::clock::Clock;
use crate::function::Function;

/// Runs an `async fn main` on a new event loop, by `rondel::run`.
///
/// ```ignore
/// use rondel::prelude::*;
///
/// #[rondel::main]
/// async fn main() -> std::io::Result<()> {
///     let (mut reader, writer) = open_connection("localhost:7").await?;
///     writer.write_all(b"hello\n").await?;
///     println!("{:?}", reader.read_line().await?);
///     Ok(())
/// }
/// ```
///
/// It gives what the function returns. If the loop cannot be run, that is said on standard error, and the exit code is 1; after
/// Ctrl-C, when everything is cleaned up, it is 130. A panic goes on.
///
/// `#[rondel::main(clock = "virtual")]` runs it on a clock that jumps from deadline to deadline, without sockets. (With any program,
/// the variable `RONDEL_CLOCK=virtual` does so from outside.)
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    wrap("main", options, item, "")
}

/// Makes a test of an `async fn`, which runs on a new event loop.
///
/// ```ignore
/// use rondel::prelude::*;
///
/// #[rondel::test]
/// async fn a_task_is_awaited() {
///     assert_eq!(spawn(async { 42 }).await.unwrap(), 42);
/// }
///
/// #[rondel::test(clock = "virtual")]
/// async fn a_day_passes_at_once() {
///     sleep(Duration::from_secs(24 * 60 * 60)).await;
/// }
/// ```
///
/// It may return whatever a test may: a `Result`, for instance. Other attributes, `#[ignore]` and `#[should_panic]` among them, go
/// below it or above. On the virtual clock nothing waits in real time, and there are no sockets.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    wrap("test", options, item, "#[::core::prelude::v1::test]")
}

fn wrap(kind: &str, options: TokenStream, item: TokenStream, attribute: &str) -> TokenStream {
    let parsed = Clock::parse(options).and_then(|clock| Ok((clock, Function::parse(kind, item)?)));
    match parsed {
        Ok((clock, function)) => function.on_a_loop(kind, clock, attribute),
        Err(error) => error.into_tokens(),
    }
}
