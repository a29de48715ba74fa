//! Task-local values through everything that a loop schedules.

mod trace;

use std::cell::Cell;
use std::future::pending;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use rondel_loop::signal::Signal;
use rondel_loop::{
    EventLoop, LocalLoop, RunError, RunOptions, Runner, TaskLocal, call_soon, run_in_executor,
    sleep, spawn, to_thread, yield_now,
};
use trace::Trace;

static NUMBER: TaskLocal<u32> = TaskLocal::new();
static NAME: TaskLocal<String> = TaskLocal::across_threads();

fn here() -> LocalLoop {
    LocalLoop::current().unwrap()
}

fn virtual_loop() -> EventLoop {
    EventLoop::builder()
        .selector(rondel_poll::Virtual::new())
        .build()
        .unwrap()
}

fn runner() -> Runner {
    Runner::with(virtual_loop(), RunOptions::new().ctrl_c(false))
}

#[test]
fn timers_see_what_was_current_when_they_were_set() {
    let trace = Trace::new();
    let mut lp = virtual_loop();
    lp.run_until_complete(async {
        for number in 1..4 {
            NUMBER.set(number).unwrap();
            let noted = trace.clone();
            here().call_later(Duration::from_secs(number.into()), move || {
                noted.note(NUMBER.get());
            });
        }
        let noted = trace.clone();
        here().call_at(here().time(), move || noted.note(NUMBER.get()));
        NUMBER.set(9).unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(NUMBER.get(), Some(9));
    })
    .unwrap();
    assert_eq!(trace.take(), [Some(3), Some(1), Some(2), Some(3)]);
}

#[test]
fn readers_and_signal_handlers_see_what_was_current_when_they_were_added() {
    let trace = Trace::new();
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        let (mut near, far) = UnixStream::pair().unwrap();
        NUMBER.set(1).unwrap();
        let noted = trace.clone();
        let (done, ended) = rondel_loop::promise::<_, std::convert::Infallible>();
        let done = Cell::new(Some(done));
        let far = Rc::new(far);
        let watched = Rc::clone(&far);
        here()
            .add_reader(&*far, move || {
                noted.note(NUMBER.get());
                here().remove_reader(&*watched);
                done.take().unwrap().set_result(()).unwrap();
            })
            .unwrap();
        let noted = trace.clone();
        let (signalled, handled) = rondel_loop::promise::<_, std::convert::Infallible>();
        let signalled = Cell::new(Some(signalled));
        here()
            .add_signal_handler(Signal::USER1, move || {
                noted.note(NUMBER.get());
                signalled.take().unwrap().set_result(()).unwrap();
            })
            .unwrap();
        NUMBER.set(2).unwrap();
        near.write_all(b"x").unwrap();
        ended.await.unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1)
            .unwrap();
        handled.await.unwrap();
        here().remove_signal_handler(Signal::USER1);
    })
    .unwrap();
    assert_eq!(trace.take(), [Some(1), Some(1)]);
}

/// asyncio's test_to_thread_contextvars.
#[test]
fn a_job_in_the_pool_sees_the_callers_values_that_may_cross_threads() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        assert_eq!(to_thread(|| NAME.get()).await.unwrap(), None);
        NAME.set("parrot".to_owned()).unwrap();
        NUMBER.set(1).unwrap();
        let seen = to_thread(|| (NAME.get(), NUMBER.get())).await.unwrap();
        assert_eq!(seen, (Some("parrot".to_owned()), None));
        let job = run_in_executor(None, || {
            NAME.set("changed there".to_owned()).unwrap();
            NAME.get()
        });
        assert_eq!(
            job.unwrap().await.unwrap(),
            Some("changed there".to_owned())
        );
        assert_eq!(NAME.get(), Some("parrot".to_owned()));
        let left = to_thread(|| NAME.with(|name| name.is_some()));
        NAME.unset().unwrap();
        assert!(!left.await.unwrap(), "what is current at its first poll");
        assert_eq!(
            to_thread(|| NAME.get()).await.unwrap(),
            None,
            "nothing is left there"
        );
    })
    .unwrap();
}

#[test]
fn what_another_thread_schedules_sees_none() {
    let mut lp = EventLoop::new().unwrap();
    NUMBER
        .sync_scope(1, || {
            lp.run_until_complete(async {
                assert_eq!(NUMBER.get(), Some(1), "the main future inherits");
                let handle = here().handle();
                let task =
                    std::thread::spawn(move || handle.spawn(async { NUMBER.get() }).unwrap())
                        .join()
                        .unwrap();
                while !task.is_finished() {
                    yield_now().await;
                }
                assert_eq!(task.await.unwrap(), None);
            })
        })
        .unwrap();
}

#[test]
fn what_a_job_sends_back_to_the_loop_sees_what_the_job_saw() {
    let mut lp = EventLoop::new().unwrap();
    lp.run_until_complete(async {
        NAME.set("there and back".to_owned()).unwrap();
        let handle = here().handle();
        let task = to_thread(move || {
            handle
                .spawn_with(|| async {
                    yield_now().await;
                    NAME.get()
                })
                .unwrap()
        });
        let task = task.await.unwrap();
        NAME.set("changed".to_owned()).unwrap();
        while !task.is_finished() {
            yield_now().await;
        }
        assert_eq!(task.await.unwrap(), Some("there and back".to_owned()));
    })
    .unwrap();
}

#[test]
fn scheduled_between_runs_they_inherit_from_around_the_call() {
    let trace = Trace::new();
    let mut lp = EventLoop::new().unwrap();
    let noted = trace.clone();
    NUMBER.sync_scope(4, || lp.call_soon(move || noted.note(NUMBER.get())));
    let noted = trace.clone();
    lp.call_soon(move || noted.note(NUMBER.get()));
    NUMBER
        .sync_scope(5, || lp.run_until_complete(yield_now()))
        .unwrap();
    assert_eq!(trace.take(), [Some(4), None]);
}

/// asyncio's test_task_exc_handler_correct_context, and the same for handles.
#[test]
fn the_exception_handler_sees_the_values_of_what_failed() {
    let trace = Trace::new();
    let mut lp = virtual_loop();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, _| noted.note(NUMBER.get()))));
    lp.run_until_complete(async {
        spawn(async {
            NUMBER.set(1).unwrap();
            panic!("a task");
        })
        .detach();
        NUMBER.set(2).unwrap();
        call_soon(|| panic!("a callback"));
        NUMBER.set(3).unwrap();
        here().call_later(Duration::from_secs(1), || panic!("a timer"));
        NUMBER.set(4).unwrap();
        let (promise, deferred) = rondel_loop::promise::<_, std::convert::Infallible>();
        deferred.on_done(|_| panic!("a done-callback"));
        NUMBER.set(5).unwrap();
        sleep(Duration::from_secs(2)).await;
        promise.set_result(()).unwrap();
        yield_now().await;
    })
    .unwrap();
    assert_eq!(trace.take(), [Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn a_reader_that_panics_is_reported_with_its_values_and_where_it_was_added() {
    let trace = Trace::new();
    let mut lp = EventLoop::new().unwrap();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |lp, context| {
        let site = context.callback.unwrap();
        noted.note((NUMBER.get(), site.file().ends_with("task_locals.rs")));
        lp.stop();
    })));
    let (mut near, far) = UnixStream::pair().unwrap();
    near.write_all(b"x").unwrap();
    NUMBER.sync_scope(6, || lp.add_reader(&far, || panic!("a reader")).unwrap());
    lp.run_forever().unwrap();
    assert_eq!(trace.take(), [(Some(6), true)]);
    lp.remove_reader(&far);
}

/// asyncio's `Runner`: all of its mains run in one context.
#[test]
fn a_runner_hands_what_one_main_has_set_to_the_next() {
    let mut runner = runner();
    runner
        .run(async {
            assert_eq!(NUMBER.get(), None);
            NUMBER.set(1).unwrap();
            yield_now().await;
            NUMBER.set(2).unwrap();
        })
        .unwrap();
    assert_eq!(NUMBER.get(), None, "it is the runner's");
    let seen = runner.run(async {
        let child = spawn(async { NUMBER.set(99).unwrap() });
        (child.await.unwrap(), NUMBER.unset().unwrap())
    });
    assert_eq!(seen.unwrap(), (Some(2), Some(2)));
    // Also if nothing is left, and whatever is around.
    let seen = NUMBER.sync_scope(7, || runner.run(async { NUMBER.get() }));
    assert_eq!(seen.unwrap(), None);
}

#[test]
fn the_first_main_of_a_runner_inherits_from_around_it() {
    let mut runner = runner();
    let first = NUMBER.sync_scope(1, || runner.run(async { NUMBER.get() }));
    assert_eq!(first.unwrap(), Some(1));
    assert_eq!(runner.run(async { NUMBER.get() }).unwrap(), Some(1));
}

#[test]
fn a_runner_keeps_them_however_main_ends() {
    let mut runner = runner();
    let panicked = runner.run(async {
        NUMBER.set(1).unwrap();
        panic!("main panics");
    });
    assert!(matches!(panicked, Err::<(), _>(RunError::Panicked(_))));
    let stopped = runner.run(async {
        assert_eq!(NUMBER.set(2).unwrap(), Some(1));
        here().stop();
        pending::<()>().await;
    });
    assert!(matches!(stopped, Err(RunError::Stopped)));
    assert_eq!(runner.run(async { NUMBER.get() }).unwrap(), Some(2));
}

#[test]
fn a_value_whose_destructor_runs_when_the_runner_goes_may_look_around() {
    #[derive(Clone)]
    struct Last(Trace<bool>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.note(LocalLoop::current().is_ok());
            NUMBER.sync_scope(1, || assert_eq!(NUMBER.get(), Some(1)));
        }
    }
    static LAST: TaskLocal<Last> = TaskLocal::new();
    let trace = Trace::new();
    let mut runner = runner();
    let value = Last(trace.clone());
    runner
        .run(async move { assert!(LAST.set(value).unwrap().is_none()) })
        .unwrap();
    assert_eq!(trace.take(), []);
    drop(runner);
    assert_eq!(trace.take(), [false]);
}

#[test]
fn a_loop_of_its_own_keeps_nothing_from_run_to_run() {
    let mut lp = virtual_loop();
    lp.run_until_complete(async { NUMBER.set(1).unwrap() })
        .unwrap();
    assert_eq!(lp.run_until_complete(async { NUMBER.get() }).unwrap(), None);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        NUMBER.sync_scope(2, || lp.run_until_complete(async { NUMBER.get() }))
    }));
    assert_eq!(unwound.unwrap().unwrap(), Some(2));
    assert_eq!(NUMBER.get(), None);
}
