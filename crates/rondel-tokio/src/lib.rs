#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod error;
mod guest;
mod host;
mod io;
#[cfg(feature = "thread")]
mod thread;

pub use error::HostError;
pub use host::{host, run};
pub use io::TokioIo;
#[cfg(feature = "thread")]
#[cfg_attr(docsrs, doc(cfg(feature = "thread")))]
pub use thread::{InTokio, TokioThread};
