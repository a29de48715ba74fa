//! `#[rondel::test]` and `#[rondel::main]`: what they make of a function, and what they say to one that does not fit.

use std::process::Command;
use std::time::Instant;

use rondel::LocalLoop;
use rondel::prelude::*;

#[rondel::test]
async fn it_runs_on_a_loop() {
    assert!(LocalLoop::current().is_ok());
    assert_eq!(spawn(async { 42 }).await.unwrap(), 42);
}

#[rondel::test]
async fn it_may_return_a_result() -> std::io::Result<()> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    let stream = TcpStream::connect(listener.local_addr()).await?;
    stream.write_all(b"x").await?;
    Ok(())
}

#[rondel::test(clock = "virtual")]
async fn a_week_passes_at_once() {
    let begun = Instant::now();
    let local = LocalLoop::current().unwrap();
    let before = local.time();
    sleep(Duration::from_secs(7 * 24 * 60 * 60)).await;
    assert_eq!(local.time() - before, Duration::from_secs(7 * 24 * 60 * 60));
    assert!(begun.elapsed() < Duration::from_secs(60 * 60));
}

#[rondel::test]
#[should_panic(expected = "on purpose")]
async fn a_panic_is_its_own() {
    panic!("on purpose");
}

#[should_panic(expected = "on purpose, too")]
#[rondel::test]
async fn attributes_may_stand_above() {
    async { panic!("on purpose, too") }.await
}

/// Tasks that are left are cancelled, and clean up.
#[test]
fn it_ends_as_run_does() {
    use std::cell::Cell;
    thread_local!(static CLEANED: Cell<bool> = const { Cell::new(false) });

    #[rondel::main]
    async fn program() -> u8 {
        drop(spawn(bracket(
            (),
            async |()| std::future::pending::<()>().await,
            async |()| CLEANED.set(true),
        )));
        yield_now().await;
        7
    }
    assert_eq!(program(), 7);
    assert!(CLEANED.get());
}

#[test]
fn the_example_is_a_program() {
    let said = rondel_tests::run_to_end(&mut rondel_tests::example("hello"));
    assert_eq!(said, "hello, world\n");
    let failed: &mut Command = &mut rondel_tests::example("hello");
    let output = failed.arg("nobody").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("there is no greeting for nobody"), "{said}");
}

#[test]
fn what_does_not_fit_is_told_why() {
    trybuild::TestCases::new().compile_fail("attributes/*.rs");
}
