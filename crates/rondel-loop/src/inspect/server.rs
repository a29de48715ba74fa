//! The thread that answers: one for each socket, whatever the number of loops.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::json::Json;
use super::{Answer, Inspected};
use crate::overseer::published::Published;

/// How long a client may take to ask: one that does not ask at all keeps the others waiting.
const QUESTION: Duration = Duration::from_millis(200);
/// And to take its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a loop may take to make a snapshot before it counts as blocked.
const LOOP_PATIENCE: Duration = Duration::from_millis(300);
/// How long a request may be.
const REQUEST: usize = 256;

/// A socket and the loops that are inspected there.
pub(super) struct Server {
    path: PathBuf,
    loops: Mutex<Vec<Arc<Inspected>>>,
    ended: AtomicBool,
}

/// All of the process.
static SERVERS: Mutex<Vec<Arc<Server>>> = Mutex::new(Vec::new());

fn servers() -> MutexGuard<'static, Vec<Arc<Server>>> {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a loop inspected at this path, by the thread that is there or a new one.
pub(super) fn join(path: &Path, inspected: &Arc<Inspected>) -> io::Result<Arc<Server>> {
    let mut servers = servers();
    if let Some(server) = servers.iter().find(|server| server.path == path) {
        server.loops().push(Arc::clone(inspected));
        return Ok(Arc::clone(server));
    }
    let listener = bind(path)?;
    let server = Arc::new(Server {
        path: path.to_owned(),
        loops: Mutex::new(vec![Arc::clone(inspected)]),
        ended: AtomicBool::new(false),
    });
    let own = Arc::clone(&server);
    let begun = thread::Builder::new()
        .name("rondel-inspect".into())
        .spawn(move || own.serve(&listener));
    if let Err(error) = begun {
        // Nobody will answer there.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    servers.push(Arc::clone(&server));
    Ok(server)
}

/// Where the loop is inspected that publishes this, if it is.
pub(super) fn find(published: &Arc<Published>) -> Option<(Arc<Server>, Arc<Inspected>)> {
    servers().iter().find_map(|server| {
        let loops = server.loops();
        let found = loops
            .iter()
            .find(|inspected| Arc::ptr_eq(&inspected.published, published))?;
        Some((Arc::clone(server), Arc::clone(found)))
    })
}

/// A listener that only this user can connect to. A socket file that nobody listens at any more is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = fs::symlink_metadata(path)
        && found.file_type().is_socket()
        && UnixStream::connect(path).is_err()
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Between the two a stranger could connect, but is sent away below.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Server {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn loops(&self) -> MutexGuard<'_, Vec<Arc<Inspected>>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A loop is inspected no more. With the last one, the thread ends and the socket goes.
    pub(super) fn leave(&self, inspected: &Arc<Inspected>) {
        let mut servers = servers();
        let mut loops = self.loops();
        loops.retain(|other| !Arc::ptr_eq(other, inspected));
        if !loops.is_empty() {
            return;
        }
        drop(loops);
        self.ended.store(true, Ordering::Release);
        servers.retain(|server| server.path != self.path);
        // Wakes the thread from `accept`, before nobody can connect any more.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }

    fn serve(&self, listener: &UnixListener) {
        loop {
            let accepted = listener.accept();
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            match accepted {
                // A client that asks nonsense, or goes away, is its own affair.
                Ok((stream, _)) => drop(self.answer(stream)),
                // Out of descriptors, most likely: no reason to spin.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(QUESTION))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = read_request(&mut stream)?;
        let answer = if !is_same_user(&stream) {
            error("this process belongs to another user")
        } else if request == b"snapshot" {
            self.snapshot()
        } else {
            error("unknown request; there is: snapshot")
        };
        stream.write_all(answer.as_bytes())
    }

    fn snapshot(&self) -> String {
        let loops = self.loops().clone();
        // All at once, so that several that are blocked take no longer than one.
        let deadline = Instant::now() + LOOP_PATIENCE;
        let asked: Vec<_> = loops
            .iter()
            .map(|inspected| (inspected, inspected.ask()))
            .collect();
        let answers = asked.into_iter().map(|(inspected, number)| {
            let left = deadline.saturating_duration_since(Instant::now());
            (inspected, inspected.answer(number, left))
        });
        let mut json = Json::new();
        json.object(|json| {
            json.field("version", 1_u64);
            json.field("pid", std::process::id());
            json.name("loops")
                .array(answers, |json, (inspected, answer)| {
                    write_loop(json, inspected, &answer);
                });
        });
        let mut text = json.finish();
        text.push('\n');
        text
    }
}

fn write_loop(json: &mut Json, inspected: &Inspected, answer: &Answer) {
    json.object(|json| {
        json.text_field("thread", inspected.thread.as_deref().unwrap_or(""));
        json.field("fresh", answer.fresh);
        if let Some(seen) = &answer.running {
            json.name("running").object(|json| {
                if let (Some(id), Some(name)) = (seen.task, seen.task_name()) {
                    json.field("task", id);
                    json.text_field("name", &name);
                }
                json.text_field("site", &seen.site.to_string());
            });
        }
        if let Some(snapshot) = &answer.snapshot {
            json.field(
                "age",
                Instant::now().saturating_duration_since(snapshot.taken),
            );
            json.field("first_turn", snapshot.first_turn);
            json.name("snapshot").raw(&snapshot.json);
        }
    });
}

fn error(text: &str) -> String {
    let mut json = Json::new();
    json.object(|json| json.text_field("error", text));
    let mut text = json.finish();
    text.push('\n');
    text
}

/// The first line, without its end; or what came before the client stopped sending.
fn read_request(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + QUESTION;
    let mut request = Vec::new();
    let mut buffer = [0; REQUEST];
    while request.len() <= REQUEST && Instant::now() < deadline {
        let count = stream.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..count]);
        if let Some(end) = request.iter().position(|byte| *byte == b'\n') {
            request.truncate(end);
            break;
        }
        if count == 0 {
            break;
        }
    }
    if request.last() == Some(&b'\r') {
        request.pop();
    }
    Ok(request)
}

/// Whether the other side runs as the same user as this process, or as root.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_same_user(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}

/// Elsewhere the permissions of the socket and its directory say so.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_same_user(_: &UnixStream) -> bool {
    true
}
