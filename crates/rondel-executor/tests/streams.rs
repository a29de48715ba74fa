//! What is a stream with the feature `stream`.

mod harness;

use futures_util::StreamExt;
use harness::yield_times;
use rondel_executor::{Executor, as_completed};

#[test]
fn as_completed_is_a_stream() {
    let executor = Executor::new();
    let task = executor.spawn(
        as_completed([2, 0, 1].map(|turns| async move {
            yield_times(turns).await;
            turns
        }))
        .map(|(_, turns)| turns)
        .collect::<Vec<_>>(),
    );
    executor.run_until_idle();
    assert_eq!(task.into_result().expect("it hangs").unwrap(), [0, 1, 2]);
}
