//! What is dropped before its work is done is noticed in debug mode: once, with who did it.
#![cfg(not(rondel_loom))]

mod pair;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use pair::{narrow_pair, narrow_split_pair};
use rondel_executor::{Waits, task_group};
use rondel_loop::{EventLoop, LocalLoop, Notice, sleep, spawn, yield_now};
use rondel_net::{Command, Stdio, StreamWriter};

type Noticed = Rc<RefCell<Vec<Notice>>>;

/// Runs a program in debug mode, and gives what was noticed of it, slow machines apart.
fn noticed(program: impl AsyncFnOnce()) -> Vec<Notice> {
    let mut lp = EventLoop::new().unwrap();
    let notices = Noticed::default();
    let note = Rc::clone(&notices);
    lp.set_notice_handler(Some(Rc::new(move |_, notice| {
        if matches!(notice, Notice::Dropped { .. } | Notice::Unclosed { .. }) {
            note.borrow_mut().push(notice.clone());
        }
    })));
    lp.set_debug(true);
    lp.run_until_complete(program()).unwrap();
    lp.close();
    notices.take()
}

const MUCH: usize = 1 << 20;

/// Writes more than the system takes.
fn write_much(writer: &StreamWriter) {
    writer.write(&[0; MUCH]).unwrap();
}

#[test]
fn a_writer_with_bytes_unsent() {
    let notices = noticed(async || {
        let (_reader, writer, mut peer) = narrow_split_pair();
        let upload = spawn(async move {
            write_much(&writer);
            sleep(Duration::from_millis(1)).await;
            drop(writer);
        });
        upload.named("upload").await.unwrap();
        assert!(peer.read_to_end(&mut Vec::new()).is_err(), "a reset");
    });
    let [Notice::Dropped { what, task, groups }] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert!(what.starts_with("a connection to 127.0.0.1:"), "{what}");
    assert!(
        what.ends_with(" bytes unsent, and aborted: close it, or drain it first"),
        "{what}"
    );
    let task = task.as_ref().unwrap();
    assert_eq!(task.name(), "upload");
    assert_eq!(task.waited(), Waits::TIME);
    assert!(groups.is_empty());
    let words = notices[0].to_string();
    assert!(
        words.contains("\n  task: \"upload\" spawned at "),
        "{words}"
    );
    assert!(words.ends_with(", last waited for time"), "{words}");
}

#[test]
fn in_the_child_of_a_group_that_fails() {
    let notices = noticed(async || {
        let (stream, _peer) = narrow_pair();
        let outcome = task_group(async |g| {
            g.spawn_named("outer", async {
                task_group(async |g| {
                    g.spawn_named("inner", async {
                        let (_reader, writer) = stream.into_split();
                        write_much(&writer);
                        pending::<Result<(), &str>>().await
                    });
                    Ok(())
                })
                .await
                .map_err(|_| "inside")
            });
            for _ in 0..5 {
                yield_now().await;
            }
            Err::<(), _>("enough")
        });
        assert!(outcome.await.is_err());
    });
    let [Notice::Dropped { task, groups, .. }] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert_eq!(task.as_ref().unwrap().id().get(), 1);
    let names: Vec<_> = groups.iter().map(|child| child.name().unwrap()).collect();
    assert_eq!(names, ["inner", "outer"]);
}

#[test]
fn what_is_closed_or_sent_is_no_news() {
    let notices = noticed(async || {
        let (stream, mut peer) = narrow_pair();
        stream.write_all(b"all of it").await.unwrap();
        drop(stream);
        peer.read_to_end(&mut Vec::new()).unwrap();
        // Sent in the background, without anybody who holds it.
        let (_reader, writer, mut peer) = narrow_split_pair();
        write_much(&writer);
        writer.close();
        drop(writer);
        let read = rondel_loop::to_thread(move || peer.read_to_end(&mut Vec::new()));
        assert_eq!(read.await.unwrap().unwrap(), MUCH);
        // Aborted on purpose.
        let (_reader, writer, _peer) = narrow_split_pair();
        write_much(&writer);
        writer.abort();
    });
    assert!(notices.is_empty(), "{notices:?}");
}

#[test]
fn a_connection_that_the_peer_has_reset() {
    let notices = noticed(async || {
        let (mut reader, writer, peer) = narrow_split_pair();
        write_much(&writer);
        socket2::SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);
        while reader
            .read_some(100)
            .await
            .is_ok_and(|some| !some.is_empty())
        {}
        assert!(writer.drain().await.is_err());
    });
    assert!(notices.is_empty(), "its user knows: {notices:?}");
}

#[test]
fn what_is_open_when_the_loop_closes_is_told_once() {
    let notices = noticed(async || {
        let (stream, peer) = narrow_pair();
        spawn(async move {
            let _peer = peer;
            let (_reader, writer) = stream.into_split();
            write_much(&writer);
            pending::<()>().await;
        })
        .set_name("forgotten");
        yield_now().await;
    });
    let words: Vec<_> = notices.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), 2, "{words:?}");
    assert!(words[0].starts_with("the loop was closed with \"forgotten\" spawned at "));
    assert!(
        words[1].starts_with("the loop was closed with a registered descriptor open (descriptor ")
            && words[1].contains(", connected to 127.0.0.1:"),
        "{words:?}"
    );
}

#[test]
fn a_child_that_runs_on() {
    let notices = noticed(async || {
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped());
        let mut child = cat.spawn().unwrap();
        let stdin = child.stdin.take();
        let start = spawn(async move {
            yield_now().await;
            drop(child);
        });
        start.named("starter").await.unwrap();
        drop(stdin);
        // Those that have ended, or are killed.
        let child = Command::new("true").spawn().unwrap();
        child.wait().await.unwrap();
        drop(child);
        let child = cat.kill_on_drop(true).spawn().unwrap();
        drop(child);
    });
    let notices: Vec<_> = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Dropped { .. }))
        .collect();
    let [Notice::Dropped { what, task, .. }] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert!(
        what.starts_with("child process ") && what.contains(" was dropped while it runs"),
        "{what}"
    );
    assert_eq!(task.as_ref().unwrap().name(), "starter");
}

#[test]
fn without_debug_mode_nothing_is_told() {
    let mut lp = EventLoop::new().unwrap();
    lp.set_notice_handler(Some(Rc::new(|_, notice| panic!("{notice}"))));
    lp.run_until_complete(async {
        let (_reader, writer, _peer) = narrow_split_pair();
        write_much(&writer);
        drop(writer);
        LocalLoop::current()
            .unwrap()
            .notice_dropped(|| unreachable!("nobody asks what it is"));
        Ok::<_, Infallible>(())
    })
    .unwrap()
    .unwrap();
}
