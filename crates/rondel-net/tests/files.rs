//! Files: positions, bounds, errors that name them, and futures that are dropped.

mod folder;

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::mpsc;

use folder::Folder;
use futures_util::poll;
use rondel_executor::ThreadPool;
use rondel_loop::{LocalLoop, run, run_in_executor, yield_now};
use rondel_net::files::{self, File};

#[test]
fn what_is_written_is_read() {
    run(async {
        let folder = Folder::new();
        let path = folder.path("bread");
        files::write(&path, "flour").await.unwrap();
        assert_eq!(files::read(&path).await.unwrap(), b"flour");
        files::write(&path, "rye").await.unwrap();
        assert_eq!(files::read(&path).await.unwrap(), b"rye", "the whole of it");
    })
    .unwrap();
}

#[test]
fn reads_and_writes_move_the_position_and_those_at_a_place_do_not() {
    run(async {
        let folder = Folder::new();
        let path = folder.path("file");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .await
            .unwrap();
        file.write_all("0123456789").await.unwrap();
        assert_eq!(file.position(), 10);
        assert_eq!(file.read(5).await.unwrap(), b"", "the end");
        file.seek(3);
        assert_eq!(file.read(2).await.unwrap(), b"34");
        file.write_at(0, "ab").await.unwrap();
        assert_eq!(file.read_at(0, 3).await.unwrap(), b"ab2");
        assert_eq!(file.read_at(100, 3).await.unwrap(), b"");
        assert_eq!(file.position(), 5);
        assert_eq!(file.read_to_end(100).await.unwrap(), b"56789");
        assert_eq!(file.position(), 10);
        file.set_len(4).await.unwrap();
        file.sync_all().await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), 4);
        file.seek(6);
        file.write_all("gap").await.unwrap();
        assert_eq!(files::read(&path).await.unwrap(), b"ab23\0\0gap");
        let options = File::options().write(true).create_new(true);
        let taken = options.open(&path).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    })
    .unwrap();
}

#[test]
fn appending_goes_to_the_end_wherever_the_position_is() {
    run(async {
        let folder = Folder::new();
        let path = folder.path("log");
        files::write(&path, "one ").await.unwrap();
        let options = File::options().read(true).append(true);
        let mut file = options.open(&path).await.unwrap();
        file.write_all("two ").await.unwrap();
        file.seek(1);
        file.write_all("three").await.unwrap();
        assert_eq!(file.position(), 1);
        assert_eq!(file.read_to_end(100).await.unwrap(), b"ne two three");
        let error = file.write_at(0, "!").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    })
    .unwrap();
}

#[test]
fn reading_to_the_end_has_a_bound() {
    run(async {
        let folder = Folder::new();
        let path = folder.path("large");
        files::write(&path, vec![7; 200_000]).await.unwrap();
        let mut file = File::open(&path).await.unwrap();
        let error = file.read_to_end(199_999).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("large: "), "{error}");
        assert_eq!(file.position(), 0);
        assert_eq!(file.read_to_end(200_000).await.unwrap().len(), 200_000);
        file.seek(0);
        let all = file.read_to_end(usize::MAX).await.unwrap();
        assert_eq!(all.len(), 200_000);
    })
    .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_do_not_know_their_size_are_read_to_their_end_or_to_the_bound() {
    run(async {
        let mut unsized_file = File::open("/proc/self/status").await.unwrap();
        let status = unsized_file.read_to_end(1 << 20).await.unwrap();
        assert!(status.starts_with(b"Name:"));
        let mut endless = File::open("/dev/zero").await.unwrap();
        let error = endless.read_to_end(1 << 20).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    })
    .unwrap();
}

#[test]
fn errors_say_what_was_attempted_on_what() {
    run(async {
        let folder = Folder::new();
        let path = folder.path("none");
        let name = path.display().to_string();
        let error = File::open(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error.to_string().starts_with(&format!("opening {name}: ")),
            "{error}"
        );
        let source = error.get_ref().unwrap().source().unwrap();
        assert!(
            source
                .downcast_ref::<std::io::Error>()
                .unwrap()
                .raw_os_error()
                .is_some()
        );
        let error = files::read(&path).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("reading {name}: ")));
        let error = files::write(folder.path(""), "!").await.unwrap_err();
        assert!(error.to_string().starts_with("writing "), "{error}");
        let mut written = File::create(&path).await.unwrap();
        let error = written.read(1).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("reading {name}: ")));
        let mut opened = File::open(&path).await.unwrap();
        let error = opened.write_all("!").await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("writing {name}: ")));
        let error = opened.set_len(1).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("resizing {name}: ")));
    })
    .unwrap();
}

/// A pool of one thread that is held until the sender is dropped.
fn held_pool() -> mpsc::Sender<()> {
    let local = LocalLoop::current().unwrap();
    local.set_default_executor(ThreadPool::builder().threads(1).build());
    let (release, held) = mpsc::channel::<()>();
    drop(run_in_executor(None, move || held.recv()).unwrap());
    release
}

async fn poll_once(future: impl Future) {
    let mut future = pin!(future);
    assert!(poll!(&mut future).is_pending());
}

#[test]
fn a_read_that_is_dropped_has_taken_nothing() {
    run(async {
        let folder = Folder::new();
        let path = folder.path("file");
        std::fs::write(&path, "abcdef").unwrap();
        let mut file = File::open(&path).await.unwrap();
        let release = held_pool();
        poll_once(file.read(3)).await;
        drop(release);
        assert_eq!(file.position(), 0);
        assert_eq!(file.read(3).await.unwrap(), b"abc");
    })
    .unwrap();
}

#[test]
fn a_write_that_is_dropped_comes_before_the_next_one() {
    run(async {
        let folder = Folder::new();
        let path = folder.path("file");
        let mut file = File::create(&path).await.unwrap();
        let release = held_pool();
        poll_once(file.write_all("dropped")).await;
        // With several threads, the second could overtake the first.
        LocalLoop::current()
            .unwrap()
            .set_default_executor(ThreadPool::builder().threads(2).build());
        {
            let mut second = pin!(file.write_all("second"));
            for _ in 0..10 {
                assert!(poll!(&mut second).is_pending(), "waits for the first");
                yield_now().await;
            }
            assert_eq!(std::fs::read(&path).unwrap(), b"");
            drop(release);
            second.await.unwrap();
        }
        assert_eq!(file.position(), 6);
        assert_eq!(files::read(&path).await.unwrap(), b"secondd");
    })
    .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn it_is_closed_in_the_pool() {
    use std::os::fd::{AsFd, AsRawFd};

    let folder = Folder::new();
    let path = folder.path("file");
    let is_open =
        |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|to| to == path);
    run(async {
        let file = File::create(&path).await.unwrap();
        let fd = file.as_fd().as_raw_fd();
        let release = held_pool();
        drop(file);
        assert!(is_open(fd), "its turn has not come");
        drop(release);
        run_in_executor(None, || ()).unwrap().await.unwrap();
        assert!(!is_open(fd));
        // Outside of a loop there is no pool to leave it to.
        File::create(&path).await.unwrap()
    })
    .map(|file| {
        let fd = file.as_fd().as_raw_fd();
        assert!(is_open(fd));
        drop(file);
        assert!(!is_open(fd));
    })
    .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_whose_opening_is_dropped_is_closed() {
    let folder = Folder::new();
    let path = folder.path("file");
    run(async {
        let release = held_pool();
        poll_once(File::create(&path)).await;
        drop(release);
        run_in_executor(None, || ()).unwrap().await.unwrap();
        assert!(path.exists(), "it was opened all the same");
        let open = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .any(|to| to == path);
        assert!(!open);
    })
    .unwrap();
}
