//! Children by protocol: what is told, in which order, and that the last call comes whatever happens.

#![cfg(feature = "process")]

use std::cell::RefCell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::time::Duration;

use rondel_loop::{EventLoop, LocalLoop, run, timeout, yield_now};
use rondel_net::{
    Command, ProtocolPanicked, Stdio, SubprocessProtocol, SubprocessTransport, subprocess_exec,
    subprocess_shell,
};

const LONG: Duration = Duration::from_secs(60);

fn in_loop<F: Future>(main: F) -> F::Output {
    run(async { timeout(LONG, main).await.expect("something hangs") }).unwrap()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Made,
    Data(i32, Vec<u8>),
    End(i32, Option<io::ErrorKind>),
    Pause,
    Resume,
    Exited(bool),
    Lost(Option<io::ErrorKind>),
}

#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<Told>>>);

impl Log {
    /// What was told, adjoining data joined.
    fn told(&self) -> Vec<Told> {
        let mut joined: Vec<Told> = Vec::new();
        for one in &*self.0.borrow() {
            match (joined.last_mut(), one) {
                (Some(Told::Data(to, before)), Told::Data(fd, more)) if to == fd => {
                    before.extend_from_slice(more);
                }
                _ => joined.push(one.clone()),
            }
        }
        joined
    }

    fn data(&self, of: i32) -> Vec<u8> {
        let mut all = Vec::new();
        for one in &*self.0.borrow() {
            if let Told::Data(fd, bytes) = one
                && *fd == of
            {
                all.extend_from_slice(bytes);
            }
        }
        all
    }

    fn has(&self, one: &Told) -> bool {
        self.0.borrow().contains(one)
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            yield_now().await;
        }
    }
}

/// Notes what it is told, and does at each call what the test says.
struct Noting<F> {
    log: Log,
    act: F,
}

impl<F: FnMut(&SubprocessTransport, &Told) + 'static> Noting<F> {
    fn note(&mut self, transport: &SubprocessTransport, told: Told) {
        self.log.0.borrow_mut().push(told.clone());
        (self.act)(transport, &told);
    }
}

impl<F: FnMut(&SubprocessTransport, &Told) + 'static> SubprocessProtocol for Noting<F> {
    fn connection_made(&mut self, transport: &SubprocessTransport) {
        self.note(transport, Told::Made);
    }

    fn pipe_data_received(&mut self, transport: &SubprocessTransport, fd: i32, data: &[u8]) {
        self.note(transport, Told::Data(fd, data.to_vec()));
    }

    fn pipe_connection_lost(
        &mut self,
        transport: &SubprocessTransport,
        fd: i32,
        error: Option<io::Error>,
    ) {
        self.note(transport, Told::End(fd, error.map(|error| error.kind())));
    }

    fn pause_writing(&mut self, transport: &SubprocessTransport) {
        self.note(transport, Told::Pause);
    }

    fn resume_writing(&mut self, transport: &SubprocessTransport) {
        self.note(transport, Told::Resume);
    }

    fn process_exited(&mut self, transport: &SubprocessTransport) {
        let known = transport.returncode().is_some();
        self.note(transport, Told::Exited(known));
    }

    fn connection_lost(&mut self, transport: &SubprocessTransport, error: Option<io::Error>) {
        self.note(transport, Told::Lost(error.map(|error| error.kind())));
    }
}

fn nothing(_: &SubprocessTransport, _: &Told) {}

fn noting<F>(log: &Log, act: F) -> impl FnOnce() -> Noting<F> {
    let log = log.clone();
    move || Noting { log, act }
}

/// Made first, lost last, each once; every pipe's data before its end; every end once.
fn check(log: &Log, pipes: &[i32]) {
    let told = log.told();
    assert_eq!(told.first(), Some(&Told::Made));
    assert!(matches!(told.last(), Some(Told::Lost(_))), "{told:?}");
    let count = |is: &dyn Fn(&Told) -> bool| told.iter().filter(|one| is(one)).count();
    assert_eq!(count(&|one| *one == Told::Made), 1);
    assert_eq!(count(&|one| matches!(one, Told::Lost(_))), 1);
    assert_eq!(
        count(&|one| matches!(one, Told::Exited(true))),
        1,
        "{told:?}"
    );
    for fd in pipes {
        assert_eq!(count(&|one| matches!(one, Told::End(of, _) if of == fd)), 1);
        let end = told
            .iter()
            .position(|one| matches!(one, Told::End(of, _) if of == fd));
        let data = told
            .iter()
            .rposition(|one| matches!(one, Told::Data(of, _) if of == fd));
        assert!(data < end, "{told:?}");
    }
}

#[test]
fn all_is_told_in_order() {
    in_loop(async {
        let log = Log::default();
        let line = "echo out; echo err >&2; read line; echo got $line; exit 3";
        let made = noting(&log, nothing);
        let (transport, _) = subprocess_shell(made, line).await.unwrap();
        assert_eq!(log.told(), [Told::Made]);
        assert_eq!(transport.returncode(), None);
        log.until(|log| log.data(1) == b"out\n" && log.data(2) == b"err\n")
            .await;
        transport.write(b"a word\n").unwrap();
        transport.wait_closed().await;
        check(&log, &[0, 1, 2]);
        assert_eq!(log.data(1), b"out\ngot a word\n");
        assert_eq!(transport.returncode().unwrap().code(), Some(3));
        assert_eq!(transport.wait().await.unwrap().code(), Some(3));
        assert!(log.has(&Told::Lost(None)));
        transport.kill().unwrap();
        transport.close();
        yield_now().await;
        check(&log, &[0, 1, 2]);
    });
}

#[test]
fn the_end_of_input_is_told_when_it_was_written() {
    in_loop(async {
        let log = Log::default();
        let made = noting(&log, |transport: &SubprocessTransport, told: &Told| {
            if *told == Told::Made {
                transport.write(b"through the cat").unwrap();
                transport.write_eof();
            }
        });
        let (transport, _) = subprocess_exec(made, &mut Command::new("cat"))
            .await
            .unwrap();
        transport.wait_closed().await;
        check(&log, &[0, 1, 2]);
        assert_eq!(log.data(1), b"through the cat");
        assert!(log.has(&Told::End(0, None)));
        assert!(transport.write(b"x").is_err());
    });
}

#[test]
fn streams_that_are_no_pipes_have_no_end_to_tell() {
    in_loop(async {
        let log = Log::default();
        let mut command = Command::shell("echo one; echo two >&2");
        command.stdin(Stdio::null()).stderr(Stdio::merged());
        let (transport, _) = subprocess_exec(noting(&log, nothing), &mut command)
            .await
            .unwrap();
        transport.write(b"x").unwrap_err();
        transport.wait_closed().await;
        check(&log, &[1]);
        assert_eq!(log.data(1), b"one\ntwo\n");
        assert!(!log.has(&Told::End(0, None)) && !log.has(&Told::End(2, None)));
    });
}

#[test]
fn closing_kills_and_tells() {
    in_loop(async {
        let log = Log::default();
        let made = noting(&log, nothing);
        // One that the ends of its pipes do not end: the pipes are closed before it is killed.
        let (transport, _) = subprocess_shell(made, "echo up; exec sleep 1000")
            .await
            .unwrap();
        log.until(|log| !log.data(1).is_empty()).await;
        transport.write(&[0; 1_000_000]).unwrap();
        transport.close();
        assert!(transport.is_closing());
        transport.wait_closed().await;
        check(&log, &[0, 1, 2]);
        assert_eq!(transport.returncode().unwrap().signal(), Some(9));
        assert_eq!(transport.buffered(), 0);
    });
}

#[test]
fn closing_from_inside_any_call_is_fine() {
    in_loop(async {
        for at in 0..7 {
            let log = Log::default();
            let mut calls = 0;
            let made = noting(&log, move |transport: &SubprocessTransport, _: &Told| {
                if calls == at {
                    transport.close();
                }
                calls += 1;
            });
            let line = "echo out; echo err >&2; exit 0";
            let (transport, _) = subprocess_shell(made, line).await.unwrap();
            transport.wait_closed().await;
            check(&log, &[0, 1, 2]);
        }
    });
}

#[test]
fn writing_pauses_and_resumes() {
    in_loop(async {
        let log = Log::default();
        let made = noting(&log, nothing);
        let line = "read go; exec cat > /dev/null";
        let (transport, _) = subprocess_shell(made, line).await.unwrap();
        assert!(!transport.write(b"small").unwrap());
        assert!(transport.write(&[b'x'; 500_000]).unwrap());
        log.until(|log| log.has(&Told::Pause)).await;
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(!log.has(&Told::Resume));
        transport.write(b"\n").unwrap();
        log.until(|log| log.has(&Told::Resume)).await;
        transport.write_eof();
        transport.wait_closed().await;
        check(&log, &[0, 1, 2]);
    });
}

#[test]
fn reading_pauses_and_resumes() {
    in_loop(async {
        let log = Log::default();
        let made = noting(&log, |transport: &SubprocessTransport, told: &Told| {
            if matches!(told, Told::Data(1, _)) {
                transport.pause_reading(1).unwrap();
            }
        });
        let line = "head -c 1000000 /dev/zero; echo done >&2";
        let (transport, _) = subprocess_shell(made, line).await.unwrap();
        log.until(|log| !log.data(1).is_empty()).await;
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(log.data(1).len() < 1_000_000 && log.data(2).is_empty());
        assert!(transport.pause_reading(0).is_err() && transport.resume_reading(3).is_err());
        while log.data(2).is_empty() || log.data(1).len() < 1_000_000 {
            transport.resume_reading(1).unwrap();
            yield_now().await;
        }
        transport.resume_reading(1).unwrap();
        transport.wait_closed().await;
        check(&log, &[0, 1, 2]);
    });
}

#[test]
fn a_panic_is_reported_and_the_child_killed() {
    in_loop(async {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let note = Rc::clone(&reports);
        let local = LocalLoop::current().unwrap();
        local.set_exception_handler(Some(Rc::new(move |_, context| {
            note.borrow_mut().push(context.to_string());
        })));
        for panic_at in [Told::Made, Told::Data(1, b"up\n".to_vec())] {
            let log = Log::default();
            let made = noting(&log, move |_: &SubprocessTransport, told: &Told| {
                assert!(*told != panic_at, "on the stairs");
            });
            let (transport, _) = subprocess_shell(made, "echo up; exec sleep 1000")
                .await
                .unwrap();
            transport.wait_closed().await;
            assert_eq!(transport.wait().await.unwrap().signal(), Some(9));
            assert_eq!(
                log.told().last(),
                Some(&Told::Lost(Some(io::ErrorKind::Other)))
            );
            assert!(reports.take().concat().contains("on the stairs"));
        }
    });
    assert!(!ProtocolPanicked.to_string().is_empty());
}

#[test]
fn a_protocol_that_somebody_has_is_called_later() {
    in_loop(async {
        let log = Log::default();
        let made = noting(&log, nothing);
        let (transport, protocol) = subprocess_shell(made, "exit 0").await.unwrap();
        protocol
            .with(|_, _| {
                assert_eq!(
                    protocol.with(|_, _| ()).unwrap_err().kind(),
                    io::ErrorKind::ResourceBusy
                );
            })
            .unwrap();
        transport.wait_closed().await;
        check(&log, &[0, 1, 2]);
        protocol
            .with(|noting, _| assert!(noting.log.has(&Told::Lost(None))))
            .unwrap();
    });
}

#[test]
fn a_loop_that_is_closed_kills_and_tells() {
    let log = Log::default();
    let mut event_loop = EventLoop::new().unwrap();
    let transport = event_loop
        .run_until_complete(async {
            let made = noting(&log, nothing);
            let (transport, _) = subprocess_exec(made, Command::new("sleep").arg("1000"))
                .await
                .unwrap();
            yield_now().await;
            transport
        })
        .unwrap();
    drop(event_loop);
    assert_eq!(
        log.told().last(),
        Some(&Told::Lost(Some(io::ErrorKind::Interrupted)))
    );
    assert_eq!(in_loop(transport.wait()).unwrap().signal(), Some(9));
}

#[test]
fn a_protocol_that_keeps_its_transport_is_no_leak() {
    struct Keeping {
        transport: Option<SubprocessTransport>,
        _mark: Rc<()>,
    }
    impl SubprocessProtocol for Keeping {
        fn connection_made(&mut self, transport: &SubprocessTransport) {
            self.transport = Some(transport.clone());
        }
    }
    in_loop(async {
        let mark = Rc::new(());
        let kept = Rc::clone(&mark);
        let (transport, protocol) = subprocess_shell(
            || Keeping {
                transport: None,
                _mark: kept,
            },
            "exit 0",
        )
        .await
        .unwrap();
        drop(protocol);
        transport.wait_closed().await;
        drop(transport);
        yield_now().await;
        assert_eq!(Rc::strong_count(&mark), 1);
    });
}
