#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Three files lift this for one call each: the system call that rustix cannot be
// asked for (`epoll_pwait2.rs`), `Poller::add` (`portable.rs`) and `pthread_atfork`
// (`process_mark.rs`).
#![deny(unsafe_code)]

#[cfg(not(unix))]
compile_error!("rondel-poll waits for Unix descriptors; this target has none");

mod clocked;
#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
mod epoll_pwait2;
mod error;
#[cfg(target_os = "linux")]
mod eventfd;
mod events;
mod key;
mod manual_clock;
mod notifier;
mod platform;
mod portable;
mod process_mark;
mod readiness;
mod ready_state;
mod selector;
mod slab;
mod sleep_state;
mod virtual_time;

pub use clocked::Clocked;
#[cfg(target_os = "linux")]
#[cfg_attr(docsrs, doc(cfg(target_os = "linux")))]
pub use epoll::Epoll;
pub use error::SelectorError;
pub use events::{Event, Events};
pub use key::Key;
pub use manual_clock::ManualClock;
pub use notifier::{Bell, Notifier};
pub use platform::default_selector;
pub use portable::Portable;
pub use process_mark::ProcessMark;
pub use readiness::{Interest, Mode, Readiness};
pub use ready_state::{ReadyState, SourceKind};
pub use selector::{Selector, Wait};
pub use sleep_state::SleepState;
pub use virtual_time::Virtual;
