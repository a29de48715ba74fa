//! Failures that nobody awaits: who is told, of what, and that the loop goes on.

mod child;
mod prying_waker;
mod trace;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use child::{child, is_child};
use prying_waker::prying_waker;
use rondel_executor::{Callback, Waits, leave, task_scope};
use rondel_loop::signal::Signal;
use rondel_loop::{
    EventLoop, ExceptionContext, Flush, SourceKind, sleep, spawn, timeout, yield_now,
};
use trace::Trace;

/// What a report said, in parts.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    message: String,
    panic: Option<String>,
    task: Option<String>,
    /// The file of the callback's or the task's origin.
    at_home: bool,
}

fn reporting_loop() -> (EventLoop, Trace<Report>) {
    let lp = EventLoop::new().unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        let site = context
            .callback
            .or_else(|| context.task.as_ref().map(|task| task.spawned_at()));
        noted.note(Report {
            message: context.message.clone(),
            panic: context
                .panic
                .as_ref()
                .map(|panic| panic.message().unwrap_or("?").to_owned()),
            task: context.task.as_ref().map(|task| task.name()),
            at_home: site.is_some_and(|site| site.file().ends_with("exceptions.rs")),
        });
    })));
    (lp, trace)
}

fn callback_panicked(with: &str) -> Report {
    Report {
        message: "a callback panicked".to_owned(),
        panic: Some(with.to_owned()),
        task: None,
        at_home: true,
    }
}

/// CPython: `test_callback_with_exception`.
#[test]
fn a_callback_that_panics_is_reported_with_its_origin_and_the_batch_goes_on() {
    let (mut lp, reports) = reporting_loop();
    let trace = Trace::new();
    for number in 0..5 {
        let trace = trace.clone();
        lp.call_soon(move || {
            assert!(number % 2 == 0, "number {number}");
            trace.note(number);
        });
    }
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(trace.take(), [0, 2, 4]);
    assert_eq!(
        reports.take(),
        [callback_panicked("number 1"), callback_panicked("number 3")]
    );
}

#[test]
fn callbacks_of_every_kind_are_reported_alike() {
    let (mut lp, reports) = reporting_loop();

    lp.call_later(Duration::ZERO, || panic!("timer"));
    lp.run_until_complete(sleep(Duration::from_micros(1)))
        .unwrap();
    assert_eq!(reports.take(), [callback_panicked("timer")]);

    let (here, mut there) = UnixStream::pair().unwrap();
    let calls = Rc::new(Cell::new(0));
    let (count, local) = (Rc::clone(&calls), lp.local());
    lp.add_reader(&here, move || {
        count.set(count.get() + 1);
        if count.get() == 2 {
            local.stop();
        }
        panic!("reader");
    })
    .unwrap();
    there.write_all(b"x").unwrap();
    // It stays where it is, and is called again.
    lp.run_forever().unwrap();
    assert_eq!(
        reports.take(),
        [callback_panicked("reader"), callback_panicked("reader")]
    );
    lp.remove_reader(&here);

    lp.add_signal_handler(Signal::WINDOW_CHANGE, || panic!("signal"))
        .unwrap();
    // SAFETY: no preconditions.
    unsafe { libc::raise(Signal::WINDOW_CHANGE.as_raw()) };
    for _ in 0..2 {
        lp.stop();
        lp.run_forever().unwrap();
    }
    assert_eq!(reports.take(), [callback_panicked("signal")]);
    lp.remove_signal_handler(Signal::WINDOW_CHANGE);

    let task = lp.create_task(async {});
    task.on_done(|_| panic!("done-callback"));
    lp.run_until_complete(sleep(Duration::ZERO)).unwrap();
    let said = reports.take();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].panic.as_deref(), Some("done-callback"));

    let handle = lp.handle();
    std::thread::spawn(move || {
        handle
            .call_soon_threadsafe(|| panic!("from a thread"))
            .unwrap()
    })
    .join()
    .unwrap();
    lp.stop();
    lp.run_forever().unwrap();
    assert_eq!(reports.take(), [callback_panicked("from a thread")]);
}

#[test]
fn a_detached_task_that_panics_is_reported_once_with_name_site_and_wait() {
    let (mut lp, reports) = reporting_loop();
    let waited = Rc::new(RefCell::new(None));
    let (noted, before) = (Rc::clone(&waited), lp.exception_handler().unwrap());
    lp.set_exception_handler(Some(Rc::new(move |lp, context| {
        let task = context.task.as_ref().unwrap();
        *noted.borrow_mut() = Some((task.spawned_at().line(), context.to_string()));
        before(lp, context);
    })));
    let line = line!() + 1;
    lp.create_task(async {
        sleep(Duration::from_micros(1)).await;
        panic!("alone");
    })
    .named("wanderer")
    .detach();
    lp.run_until_idle(Duration::from_secs(3600)).unwrap();
    let said = reports.take();
    assert_eq!(
        said,
        [Report {
            message: "a task panicked, and nobody awaits it".to_owned(),
            panic: Some("alone".to_owned()),
            task: Some("wanderer".to_owned()),
            at_home: true,
        }]
    );
    let (spawned_at, words) = waited.take().unwrap();
    assert_eq!(spawned_at, line);
    for part in ["alone", "\"wanderer\"", "exceptions.rs", "last waited for"] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn a_task_that_panics_has_waited_for_something_last() {
    let mut lp = EventLoop::new().unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        let task = context.task.as_ref().unwrap();
        assert_eq!(task.waits(), Waits::NOTHING, "not any more");
        noted.note(task.waited());
        assert!(context.to_string().ends_with(", last waited for time"));
    })));
    lp.run_until_complete(async {
        spawn(async {
            sleep(Duration::from_millis(1)).await;
            yield_now().await;
            panic!("late");
        })
        .detach();
        sleep(Duration::from_millis(5)).await;
    })
    .unwrap();
    assert_eq!(trace.take(), [Waits::TIME]);
}

#[test]
fn a_report_says_what_the_task_last_waited_for() {
    let lp = EventLoop::new().unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    let mut lp = lp;
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        noted.note(context.task.as_ref().unwrap().waits());
    })));
    // What panics is the destructor, on being cancelled while it waits.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let task = lp.create_task(async {
        let _bomb = Bomb;
        sleep(Duration::from_secs(3600)).await;
    });
    lp.run_until_complete(yield_now()).unwrap();
    task.cancel();
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(trace.take(), [Waits::TIME]);
}

#[test]
fn what_somebody_awaits_is_not_reported() {
    let (mut lp, reports) = reporting_loop();
    lp.run_until_complete(async {
        let task = spawn(async {
            if true {
                panic!("awaited");
            }
        });
        assert!(task.await.unwrap_err().is_panic());
        let task = spawn(async {
            if true {
                panic!("asked for");
            }
        });
        yield_now().await;
        assert!(task.into_result().unwrap().unwrap_err().is_panic());
    })
    .unwrap();
    assert_eq!(reports.take(), []);
}

#[test]
fn a_handle_dropped_after_the_panic_reports_it_then() {
    let (mut lp, reports) = reporting_loop();
    let task = lp.create_task(async { panic!("late") }).named("late");
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(reports.take(), []);
    drop(task);
    let said = reports.take();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].panic.as_deref(), Some("late"));
    assert_eq!(said[0].task.as_deref(), Some("late"));
}

#[derive(Debug)]
struct Outer(std::io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the letter was not sent")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_of_a_task_that_is_left_to_itself_is_reported_if_asked() {
    let lp = EventLoop::new().unwrap();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        noted.note(context.to_string())
    })));
    let mut lp = lp;
    lp.create_task(async { Err::<(), _>(Outer(std::io::Error::other("no stamp"))) })
        .named("post")
        .detach_reported();
    lp.create_task(async { Ok::<_, Outer>(()) })
        .detach_reported();
    lp.run_until_idle(Duration::from_secs(3600)).unwrap();
    let said = trace.take();
    assert_eq!(said.len(), 1, "{said:?}");
    for part in [
        "a detached task failed",
        "the letter was not sent: no stamp",
        "\"post\"",
    ] {
        assert!(said[0].contains(part), "{}", said[0]);
    }
}

#[test]
fn destructors_that_panic_are_reported_and_nothing_else_is_lost() {
    struct Bomb(&'static str);
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("{}", self.0);
        }
    }
    let (mut lp, reports) = reporting_loop();
    // A future's, at its end; an output's, unwanted; a future's, cancelled.
    lp.create_task(async { Bomb("output") })
        .named("one")
        .detach();
    lp.create_task(async {
        let _bomb = Bomb("future");
    })
    .named("two")
    .detach();
    let cancelled = lp
        .create_task(async {
            let _bomb = Bomb("cancelled");
            pending::<()>().await;
        })
        .named("three");
    lp.run_until_complete(yield_now()).unwrap();
    cancelled.cancel();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.call_soon(move || noted.note("still running"));
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(trace.take(), ["still running"]);
    let mut said: Vec<_> = reports
        .take()
        .into_iter()
        .map(|report| (report.task.unwrap(), report.panic.unwrap()))
        .collect();
    said.sort();
    let expected = [("one", "output"), ("three", "cancelled"), ("two", "future")];
    assert_eq!(
        said,
        expected.map(|(task, panic)| (task.to_owned(), panic.to_owned()))
    );
    drop(cancelled);
}

#[test]
fn destructors_that_panic_at_close_do_not_keep_it_from_closing() {
    struct Bomb(&'static str);
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("{}", self.0);
        }
    }
    let (mut lp, reports) = reporting_loop();
    let (here, _there) = UnixStream::pair().unwrap();
    let held = Rc::new(());
    for name in ["timer one", "timer two"] {
        let bomb = Bomb(name);
        lp.call_later(Duration::from_secs(1), move || _ = &bomb);
    }
    let bomb = Bomb("callback");
    lp.call_soon(move || _ = &bomb);
    let bomb = Bomb("reader");
    lp.add_reader(&here, move || _ = &bomb).unwrap();
    let (bomb, inside) = (Bomb("task"), Rc::clone(&held));
    lp.create_task(async move {
        let _both = (inside, bomb);
        pending::<()>().await;
    })
    .detach();
    lp.close();
    assert!(lp.is_closed());
    assert_eq!(Rc::strong_count(&held), 1);
    let mut said: Vec<_> = reports
        .take()
        .into_iter()
        .map(|report| report.panic.unwrap())
        .collect();
    said.sort();
    assert_eq!(
        said,
        ["callback", "reader", "task", "timer one", "timer two"]
    );
}

#[test]
fn wakers_that_panic_are_reported_and_the_others_are_woken() {
    let (mut lp, reports) = reporting_loop();
    let trace = Trace::new();
    lp.run_until_complete(async {
        // Timers: a prying waker between two of ours.
        let at = rondel_loop::LocalLoop::current().unwrap().time() + Duration::from_micros(100);
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let trace = trace.clone();
                spawn(async move {
                    let mut sleep = pin!(rondel_loop::sleep_until(at));
                    if number == 1 {
                        let waker = prying_waker(|what| assert_ne!(what, "wake", "timer"));
                        let mut cx = Context::from_waker(&waker);
                        assert!(sleep.as_mut().poll(&mut cx).is_pending());
                        // Stays armed with the prying waker.
                        timeout(Duration::from_millis(1), pending::<()>())
                            .await
                            .unwrap_err();
                    } else {
                        sleep.await;
                    }
                    trace.note(number);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let mut woken = trace.take();
        woken.sort_unstable();
        assert_eq!(woken, [0, 1, 2]);

        // Descriptors: the same, two sources ready at once.
        let local = rondel_loop::LocalLoop::current().unwrap();
        let pairs: Vec<_> = (0..2).map(|_| UnixStream::pair().unwrap()).collect();
        let sources: Vec<_> = pairs
            .iter()
            .map(|(here, _)| {
                here.set_nonblocking(true).unwrap();
                let fd = here.try_clone().unwrap().into();
                local.register(fd, SourceKind::UnixStream).unwrap()
            })
            .collect();
        let attempt = |number: usize| {
            let mut here = &pairs[number].0;
            std::io::Read::read(&mut here, &mut [0; 8])
        };
        let waker = prying_waker(|what| assert_ne!(what, "wake", "descriptor"));
        let cx = Context::from_waker(&waker);
        assert!(sources[0].poll_read_with(&cx, |_| attempt(0)).is_pending());
        let other = poll_fn(|cx| sources[1].poll_read_with(cx, |_| attempt(1)));
        let mut other = pin!(other);
        let pending = poll_fn(|cx| Poll::Ready(other.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
        for (_, there) in &pairs {
            let mut there = there;
            there.write_all(b"x").unwrap();
        }
        assert_eq!(other.await.unwrap(), 1);
        assert!(sources[0].ready().is_readable());
    })
    .unwrap();
    let said: Vec<_> = reports
        .take()
        .into_iter()
        .map(|report| report.panic.unwrap())
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("timer") && said[1].contains("descriptor"),
        "{said:?}"
    );
}

#[test]
fn a_flush_that_panics_is_reported_and_the_others_are_flushed() {
    struct Flushed(Trace<u32>, u32);
    impl Flush for Flushed {
        fn flush(self: Rc<Self>) {
            assert_ne!(self.1, 1, "flush");
            self.0.note(self.1);
        }
    }
    let (mut lp, reports) = reporting_loop();
    let trace = Trace::new();
    let local = lp.local();
    let write = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            local.flush_later(Rc::new(Flushed(trace.clone(), number)));
        }
    };
    // From the main future, whose polls nothing else stands around.
    let value = lp.run_until_complete(async {
        write(0..3);
        yield_now().await;
        let mut flushed = trace.take();
        flushed.sort_unstable();
        assert_eq!(flushed, [0, 2]);
        write(0..3);
        7
    });
    assert_eq!(value.unwrap(), 7);
    assert_eq!(reports.take().len(), 2);
    trace.take();
    // Between runs: at the beginning of the next one.
    write(5..7);
    assert_eq!(trace.take(), []);
    lp.run_until_complete(async {
        let mut flushed = trace.take();
        flushed.sort_unstable();
        assert_eq!(flushed, [5, 6]);
    })
    .unwrap();
}

/// CPython: `test_set_exc_handler_broken`.
#[test]
fn a_handler_that_panics_is_reported_to_standard_error_and_the_loop_goes_on() {
    const TEST: &str = "a_handler_that_panics_is_reported_to_standard_error_and_the_loop_goes_on";
    if is_child(TEST) {
        let mut lp = EventLoop::new().unwrap();
        let calls = Rc::new(Cell::new(0));
        let count = Rc::clone(&calls);
        lp.set_exception_handler(Some(Rc::new(move |_, _| {
            count.set(count.get() + 1);
            panic!("the handler's own");
        })));
        for _ in 0..2 {
            lp.call_soon(|| panic!("the callback's"));
        }
        lp.create_task(async { panic!("the task's") }).detach();
        assert_eq!(lp.run_until_complete(async { 5 }).unwrap(), 5);
        std::process::exit(40 + calls.get());
    }
    let output = child(TEST).output().unwrap();
    assert_eq!(output.status.code(), Some(43));
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        words
            .matches("the exception handler panicked: the handler's own")
            .count(),
        3
    );
    assert_eq!(
        words
            .matches("while it was told: a callback panicked: the callback's")
            .count(),
        2
    );
    assert!(words.contains("the task's"), "{words}");
}

#[test]
fn without_a_handler_reports_go_to_standard_error() {
    const TEST: &str = "without_a_handler_reports_go_to_standard_error";
    if is_child(TEST) {
        // Only the loop's own words.
        std::panic::set_hook(Box::new(|_| {}));
        let mut lp = EventLoop::new().unwrap();
        lp.call_soon(|| panic!("the callback's"));
        lp.create_task(async {
            yield_now().await;
            panic!("the task's");
        })
        .named("lonely")
        .detach();
        lp.run_until_idle(Duration::from_secs(3600)).unwrap();
        lp.call_exception_handler(&ExceptionContext::new("by hand").with_error("an error"));
        return;
    }
    let output = child(TEST).output().unwrap();
    assert!(output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = words.lines().collect();
    assert_eq!(lines.len(), 5, "{words}");
    assert_eq!(lines[0], "a callback panicked: the callback's");
    assert!(lines[1].starts_with("  callback scheduled at ") && lines[1].contains("exceptions.rs"));
    assert_eq!(
        lines[2],
        "a task panicked, and nobody awaits it: the task's"
    );
    assert!(
        lines[3].starts_with("  task: \"lonely\" spawned at "),
        "{}",
        lines[3]
    );
    assert_eq!(lines[4], "by hand: an error");
}

#[test]
fn the_handler_can_be_asked_for_replaced_and_taken_away() {
    let mut lp = EventLoop::new().unwrap();
    assert!(lp.exception_handler().is_none());
    let trace = Trace::new();
    let noted = trace.clone();
    lp.set_exception_handler(Some(Rc::new(move |lp, _| {
        noted.note("first");
        // Replaces itself while it runs.
        let noted = noted.clone();
        lp.set_exception_handler(Some(Rc::new(move |_, _| noted.note("second"))));
    })));
    assert!(lp.exception_handler().is_some());
    for _ in 0..3 {
        lp.call_soon(|| panic!("again"));
    }
    lp.run_until_complete(yield_now()).unwrap();
    assert_eq!(trace.take(), ["first", "second", "second"]);
    lp.set_exception_handler(None);
    assert!(lp.exception_handler().is_none());
}

#[test]
fn a_cleanup_that_panics_is_reported_and_the_next_one_runs() {
    let (mut lp, reports) = reporting_loop();
    let trace = Trace::new();
    let noted = trace.clone();
    lp.run_until_complete(async move {
        leave(Box::pin(async { panic!("cleanup") }));
        leave(Box::pin(async move { noted.note("the next one") }));
    })
    .unwrap();
    assert_eq!(trace.take(), ["the next one"]);
    let said = reports.take();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].message, "a cleanup panicked");
}

#[test]
fn a_panicking_callback_of_a_source_is_reported_with_its_site() {
    struct Bomb;
    impl Callback for Bomb {
        fn call(self: Rc<Self>) {
            panic!("source");
        }

        #[track_caller]
        fn site(&self) -> &'static Location<'static> {
            Location::caller()
        }
    }
    let (mut lp, reports) = reporting_loop();
    let (here, mut there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let source = lp
        .register(here.try_clone().unwrap().into(), SourceKind::UnixStream)
        .unwrap();
    source.set_callback(Some(Rc::new(Bomb)));
    let _ = source.try_read(|_| std::io::Read::read(&mut &here, &mut [0; 8]));
    lp.stop();
    lp.run_forever().unwrap();
    reports.take();
    there.write_all(b"x").unwrap();
    lp.stop();
    lp.run_forever().unwrap();
    let said = reports.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].panic.as_deref(), Some("source"));
}

#[test]
fn a_report_names_the_children_of_groups_that_it_comes_from() {
    let mut lp = EventLoop::new().unwrap();
    let told = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&told);
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        noted.borrow_mut().push(context.to_string());
    })));
    lp.run_until_complete(async {
        let server = spawn(task_scope(async |clients| {
            clients.spawn_named("client", async {
                task_scope(async |requests| {
                    requests.spawn_named("request", async {
                        let (promise, deferred) = rondel_loop::promise::<(), fmt::Error>();
                        promise.set_error(fmt::Error).unwrap();
                        drop(deferred);
                        panic!("no such page");
                    });
                })
                .await;
            });
        }));
        server.set_name("server");
        drop(server);
        // Each group within a group takes a turn more to begin.
        for _ in 0..8 {
            yield_now().await;
        }
    })
    .unwrap();
    let told = told.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("a promise failed, and nobody retrieved its error"));
    assert!(told[1].starts_with("a task panicked, and nobody awaits it: no such page"));
    for report in &told {
        let lines: Vec<_> = report.lines().collect();
        assert!(
            lines[1].starts_with("  in a group's child: \"request\" spawned at "),
            "{report}"
        );
        assert!(
            lines[2].starts_with("  in a group's child: \"client\" spawned at "),
            "{report}"
        );
        assert!(
            lines[3].starts_with("  task: \"server\" spawned at "),
            "{report}"
        );
    }
}
