//! A loop with nothing to do asks the selector once, and sleeps.

mod counting;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use counting::Counting;
use rondel_loop::signal::Signal;
use rondel_loop::{EventLoop, SourceKind, sleep, yield_now};
use rondel_poll::{Virtual, Wait, default_selector};

#[test]
fn an_idle_stretch_is_one_wait() {
    let (selector, waits) = Counting::over(default_selector().unwrap());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    // All kinds of things that wait, and that nothing happens to.
    let (one, _one) = UnixStream::pair().unwrap();
    let (two, _two) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    let source = lp.register(one.into(), SourceKind::UnixStream).unwrap();
    lp.add_reader(&two, || {}).unwrap();
    lp.add_signal_handler(Signal::USER2, || {}).unwrap();
    for seconds in 1..100 {
        lp.create_task(sleep(Duration::from_secs(3600 * seconds)))
            .detach();
    }
    lp.create_task(std::future::pending::<()>()).detach();
    lp.run_until_complete(async {
        yield_now().await;
        sleep(Duration::from_micros(1)).await;
        waits.take();
        sleep(Duration::from_millis(200)).await;
    })
    .unwrap();
    let waited = waits.take();
    assert_eq!(waited.len(), 1, "{waited:?}");
    drop(source);
}

#[test]
fn waiting_for_another_thread_is_one_wait() {
    let (selector, waits) = Counting::over(default_selector().unwrap());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    let handle = lp.handle();
    for _ in 0..10 {
        let local = lp.local();
        let handle = handle.clone();
        let (asleep, go) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            go.recv().unwrap();
            let stop = handle.clone();
            handle.call_soon_threadsafe(move || stop.stop()).unwrap();
        });
        let counted = waits.clone();
        lp.call_soon(move || {
            local.call_soon(move || {
                counted.take();
                asleep.send(()).unwrap();
            });
        });
        lp.run_forever().unwrap();
        other.join().unwrap();
        let waited = waits.take();
        // One that blocks, if the loop was asleep first; one that does not, if the callback was; one for the stop.
        assert!(waited.len() <= 3, "{waited:?}");
    }
}

#[test]
fn a_virtual_loop_jumps_in_one_wait() {
    let (selector, waits) = Counting::over(Virtual::new());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    let start = lp.time();
    lp.run_until_complete(async {
        sleep(Duration::from_secs(1)).await;
        waits.take();
        sleep(Duration::from_secs(3600)).await;
    })
    .unwrap();
    assert_eq!(
        waits.take(),
        [Wait::Until(start + Duration::from_secs(3601))]
    );
}

#[test]
fn a_busy_queue_with_nothing_registered_asks_the_selector_for_nothing() {
    let (selector, waits) = Counting::over(default_selector().unwrap());
    let mut lp = EventLoop::builder().selector(selector).build().unwrap();
    lp.call_later(Duration::from_secs(3600), || {});
    lp.run_until_complete(async {
        for _ in 0..10_000 {
            yield_now().await;
        }
    })
    .unwrap();
    assert_eq!(waits.take(), []);
}
