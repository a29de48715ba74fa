//! asyncio's streams: a reader with a buffer and a writer with flow control, over the engine.

#[cfg(feature = "futures-io")]
mod futures_io;
mod inbound_buffer;
pub(crate) mod lines;
pub(crate) mod pair;
pub(crate) mod reader;
mod separator;
pub(crate) mod writer;
