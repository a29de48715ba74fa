#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod clock;
mod endpoint;
mod error;
mod runtime;
mod socket;
mod timer;

pub use endpoint::{client, endpoint, server};
pub use error::EndpointError;
pub use runtime::RondelRuntime;

/// The crate whose types show up here; its own `rustls` is `quinn::rustls`.
pub use quinn;
