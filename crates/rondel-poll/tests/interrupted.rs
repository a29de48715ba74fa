//! Signals during a wait. A program of its own: signal handlers are the process's.
#![cfg(not(rondel_loom))]

mod backends;

use backends::real;
use rondel_poll::*;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

static SIGNALS: AtomicUsize = AtomicUsize::new(0);
/// What the handler notifies, if anything. Leaked, so always good to look at.
static NOTIFIER: AtomicPtr<Notifier> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn handle(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
    let notifier = NOTIFIER.load(Ordering::SeqCst);
    // SAFETY: null or leaked, hence valid for ever.
    if let Some(notifier) = unsafe { notifier.as_ref() } {
        notifier.notify();
    }
}

fn install(signal: libc::c_int) {
    // SAFETY: all zeros is a valid sigaction (no flags, empty mask): in
    // particular no SA_RESTART.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handle as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler makes only async-signal-safe calls.
    let result = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Signals the calling thread from another one until told to stop.
fn bombard(signal: libc::c_int, during: impl FnOnce()) {
    // SAFETY: no requirements.
    let target = unsafe { libc::pthread_self() };
    let stop = AtomicBool::new(false);
    /// Also if the test fails in the meantime.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                // SAFETY: the target outlives this scope.
                unsafe { libc::pthread_kill(target, signal) };
                thread::sleep(Duration::from_micros(200));
            }
        });
        let _stop = Stop(&stop);
        during();
    });
}

#[test]
fn signals_are_no_errors_and_move_no_deadline() {
    install(libc::SIGUSR1);
    for (name, selector) in real() {
        let mut events = Events::new();
        bombard(libc::SIGUSR1, || {
            let before = SIGNALS.load(Ordering::SeqCst);
            let deadline = selector.now() + Duration::from_millis(30);
            // On to the deadline, and until signals have come.
            while selector.now() < deadline || SIGNALS.load(Ordering::SeqCst) < before + 3 {
                selector
                    .wait(&mut events, Wait::Until(deadline), false)
                    .unwrap();
                assert!(events.is_empty(), "{name}");
            }
        });
    }

    // A handler that notifies ends a wait without a deadline. Second in the same
    // test, because both share the handler.
    for (_, selector) in real() {
        let notifier = Box::leak(Box::new(selector.notifier()));
        NOTIFIER.store(notifier, Ordering::SeqCst);
        let mut events = Events::new();
        bombard(libc::SIGUSR1, || {
            for _ in 0..20 {
                let before = SIGNALS.load(Ordering::SeqCst);
                while SIGNALS.load(Ordering::SeqCst) == before {
                    selector.wait(&mut events, Wait::Forever, false).unwrap();
                }
            }
        });
        NOTIFIER.store(std::ptr::null_mut(), Ordering::SeqCst);
    }
}
