//! Tasks: what they carry, how they are driven, the handle, and the list of those that live.

pub(crate) mod account;
mod awaited_by;
pub(crate) mod done;
pub(crate) mod extras;
pub(crate) mod factory;
pub(crate) mod handle;
pub(crate) mod harness;
pub(crate) mod header;
pub(crate) mod id;
pub(crate) mod info;
pub(crate) mod join_error;
mod look;
pub(crate) mod main;
pub(crate) mod main_task;
pub(crate) mod registry;
pub(crate) mod spawn;
mod wary;
