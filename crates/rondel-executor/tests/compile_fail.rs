//! What must not compile, and what the compiler says to it.
//!
//! What it says changes with the compiler: after an update run with `TRYBUILD=overwrite` and look at the difference.
#![cfg(not(rondel_loom))]

use rondel_executor::{AsCompleted, Child, Shield, TaskGroup, TaskScope, TaskSet, Wait};

#[test]
fn borrows_that_escape_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}

/// Implemented once for what is not `Send` and twice for what is: then a call of it is ambiguous, and does not compile.
trait StaysHome<Twice> {
    fn stays_home() {}
}
impl<T: ?Sized> StaysHome<()> for T {}
impl<T: ?Sized + Send> StaysHome<u8> for T {}

#[test]
fn groups_handles_and_combinators_are_not_send() {
    <TaskGroup<'static, ()> as StaysHome<_>>::stays_home();
    <TaskScope<'static> as StaysHome<_>>::stays_home();
    <Child<()> as StaysHome<_>>::stays_home();
    <TaskSet<()> as StaysHome<_>>::stays_home();
    <Wait<()> as StaysHome<_>>::stays_home();
    <Shield<()> as StaysHome<_>>::stays_home();
    <AsCompleted<std::future::Ready<()>> as StaysHome<_>>::stays_home();
}
