//! The registers and the stack of another thread, by a signal whose handler copies them and does nothing else.
//!
//! ```text
//!   watchdog: free ──> asked, tgkill ─────────────────────> waits ──> ready: takes them ──> free
//!   handler, on the thread:      asked ──> copying: registers, stack ──> ready
//! ```
//!
//! Whatever takes a lock or memory waits until the copy is in the watchdog's hands. The handler itself stores to atomics and
//! makes system calls; and even the stack is read by the kernel, for other threads may be writing there (to what they have borrowed),
//! and it may end anywhere.

#![allow(
    unsafe_code,
    reason = "a signal handler, and the thread's registers as the system hands them over"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::ThreadNumber;

/// So much of the stack is taken, from where it grows: what is beyond is cut off.
const ROOM: usize = 512 * 1024;
/// Read piece by piece, none across a border: where one is missing, those before it are still good.
const PAGE: usize = 4096;
/// Pieces a call, so that the handler itself needs little of the stack.
const PIECES: usize = 16;
/// How long a thread may take to answer: one that sleeps in the kernel for a disk, or is stopped, does not.
const PATIENCE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(1);

const FREE: usize = 0;
const ASKED: usize = 1;
const COPYING: usize = 2;
const READY: usize = 3;

static STATE: AtomicUsize = AtomicUsize::new(FREE);
/// Who is asked.
static THREAD: AtomicI32 = AtomicI32::new(0);
static REGISTERS: [AtomicU64; REGISTER_COUNT] = [const { AtomicU64::new(0) }; REGISTER_COUNT];
/// Where the stack is copied to: `ROOM` bytes, never freed; null before the first time.
static PLACE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// How much of it was copied.
static COPIED: AtomicUsize = AtomicUsize::new(0);

/// A thread as it was at one moment.
pub(super) struct Captured {
    pub(super) registers: [u64; REGISTER_COUNT],
    /// The memory from the stack pointer on.
    pub(super) stack: Vec<u8>,
}

/// The instruction pointer, then the general ones as DWARF numbers them.
#[cfg(target_arch = "x86_64")]
pub(super) const REGISTER_COUNT: usize = 17;
/// The instruction pointer, the link register, the stack pointer, the frame pointer.
#[cfg(target_arch = "aarch64")]
pub(super) const REGISTER_COUNT: usize = 4;

/// Asks `thread`, and waits for its answer.
pub(super) fn of(thread: ThreadNumber) -> io::Result<Captured> {
    /// One question at a time; the signal that it is asked by.
    static SIGNAL: Mutex<Option<c_int>> = Mutex::new(None);
    let mut signal = SIGNAL.lock().unwrap_or_else(PoisonError::into_inner);
    let number = match *signal {
        Some(number) => number,
        None => {
            let room = Box::leak(vec![0_u8; ROOM].into_boxed_slice());
            PLACE.store(room.as_mut_ptr(), Ordering::SeqCst);
            *signal.insert(install()?)
        }
    };
    if STATE.load(Ordering::SeqCst) == COPYING {
        return Err(io::Error::other("a thread asked before is still stopped"));
    }
    // An answer that came too late to be wanted is forgotten.
    THREAD.store(thread.0, Ordering::SeqCst);
    COPIED.store(0, Ordering::SeqCst);
    STATE.store(ASKED, Ordering::SeqCst);
    if let Err(error) = send(number, thread) {
        STATE.store(FREE, Ordering::SeqCst);
        return Err(error);
    }
    let deadline = Instant::now() + PATIENCE;
    while STATE.load(Ordering::SeqCst) != READY {
        let late = Instant::now() >= deadline;
        let given_up = late
            && STATE
                .compare_exchange(ASKED, FREE, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
        if given_up || Instant::now() >= deadline + PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "it does not answer (it sleeps in the kernel, is stopped, or blocks the signal)",
            ));
        }
        thread::sleep(STEP);
    }
    let place = PLACE.load(Ordering::SeqCst);
    let copied = COPIED.load(Ordering::SeqCst).min(ROOM);
    // SAFETY: `place` is `ROOM` bytes that are never freed. Only a handler that finds `ASKED` has them written to, and nobody
    // asks before this lock is free again.
    let stack = unsafe { std::slice::from_raw_parts(place, copied) }.to_vec();
    let registers = std::array::from_fn(|n| REGISTERS[n].load(Ordering::SeqCst));
    STATE.store(FREE, Ordering::SeqCst);
    Ok(Captured { registers, stack })
}

fn send(number: c_int, thread: ThreadNumber) -> io::Result<()> {
    let process = std::process::id();
    // SAFETY: numbers only. If the thread has ended, the system says so, or, if its number is in use again in this process,
    // a thread of ours runs the handler for nothing.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread.0, number) };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes the highest real-time signal that nobody uses, for ever: at its default, one that is still on its way would end the process.
fn install() -> io::Result<c_int> {
    // SAFETY: all-zero bytes are a valid sigaction: no flags, default action, empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_signal;
    action.sa_sigaction = handler as usize;
    // Most calls that the signal interrupts go on by themselves.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    for number in (libc::SIGRTMIN()..libc::SIGRTMAX()).rev() {
        if action_of(number, None)?.sa_sigaction != libc::SIG_DFL {
            continue;
        }
        let before = action_of(number, Some(&action))?;
        if before.sa_sigaction == libc::SIG_DFL {
            return Ok(number);
        }
        // Somebody else came first.
        action_of(number, Some(&before))?;
    }
    Err(io::Error::other("every real-time signal is in use"))
}

/// What a signal does, or did before it was given another action.
fn action_of(number: c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: null or an action that is the system's own or has an async-signal-safe handler; and room for one.
    let result = unsafe { libc::sigaction(number, new, before.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled by the successful call.
    Ok(unsafe { before.assume_init() })
}

/// Runs as a signal handler: atomics and system calls.
extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: no preconditions, no memory.
    let own = unsafe { libc::syscall(libc::SYS_gettid) };
    if own != i64::from(THREAD.load(Ordering::SeqCst))
        || STATE
            .compare_exchange(ASKED, COPYING, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
    {
        return;
    }
    // SAFETY: no preconditions.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: this thread's errno, an int that nobody else touches.
    let saved = unsafe { *errno };
    // SAFETY: with SA_SIGINFO the system hands a handler a `ucontext_t`, which lives until it returns.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let registers = registers(&context.uc_mcontext);
    for (place, register) in REGISTERS.iter().zip(registers) {
        place.store(register, Ordering::SeqCst);
    }
    let copied = copy(stack_pointer(&registers) as usize);
    COPIED.store(copied, Ordering::SeqCst);
    // SAFETY: as above. The interrupted code must not see another error than its own.
    unsafe { *errno = saved };
    STATE.store(READY, Ordering::SeqCst);
}

#[cfg(target_arch = "x86_64")]
fn registers(machine: &libc::mcontext_t) -> [u64; REGISTER_COUNT] {
    const ORDER: [c_int; REGISTER_COUNT] = [
        libc::REG_RIP,
        libc::REG_RAX,
        libc::REG_RDX,
        libc::REG_RCX,
        libc::REG_RBX,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_RBP,
        libc::REG_RSP,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    ORDER.map(|register| machine.gregs[register as usize].cast_unsigned())
}

#[cfg(target_arch = "aarch64")]
fn registers(machine: &libc::mcontext_t) -> [u64; REGISTER_COUNT] {
    [machine.pc, machine.regs[30], machine.sp, machine.regs[29]]
}

pub(super) const fn stack_pointer(registers: &[u64; REGISTER_COUNT]) -> u64 {
    registers[if cfg!(target_arch = "x86_64") { 8 } else { 2 }]
}

/// Has the kernel copy the memory from `from` on, up to the first page that is not there; gives how much that was.
/// Async-signal-safe.
fn copy(from: usize) -> usize {
    let place = PLACE.load(Ordering::SeqCst);
    // SAFETY: no preconditions.
    let process = unsafe { libc::getpid() };
    let mut done = 0;
    while done < ROOM {
        let mut pieces = [const {
            libc::iovec {
                iov_base: ptr::null_mut(),
                iov_len: 0,
            }
        }; PIECES];
        let mut wanted = 0;
        for piece in &mut pieces {
            let Some(begin) = from.checked_add(done + wanted) else {
                break;
            };
            let length = (PAGE - begin % PAGE).min(ROOM - done - wanted);
            piece.iov_base = ptr::without_provenance_mut(begin);
            piece.iov_len = length;
            wanted += length;
        }
        let into = libc::iovec {
            iov_base: place.wrapping_add(done).cast(),
            iov_len: wanted,
        };
        // SAFETY: writes to at most `wanted` bytes from `place + done` on, which are inside `ROOM`. What is read need not be
        // there: then the call reads less, or fails.
        let read = unsafe {
            libc::process_vm_readv(
                process,
                &raw const into,
                1,
                pieces.as_ptr(),
                PIECES as libc::c_ulong,
                0,
            )
        };
        let Ok(read) = usize::try_from(read) else {
            break;
        };
        done += read;
        if read < wanted || wanted == 0 {
            break;
        }
    }
    done
}
