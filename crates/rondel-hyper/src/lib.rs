#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
mod error;
mod executor;
mod here;
mod io;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;
mod timer;

pub use error::BoxError;
pub use executor::{LoopExecutor, RemoteExecutor};
pub use io::HyperIo;
pub use timer::LoopTimer;

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use client::Client;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use server::HttpServer;

/// The crates whose types show up here.
pub use {bytes, http, http_body, http_body_util, hyper};
