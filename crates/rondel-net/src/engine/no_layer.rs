//! What stands in the place of layers when no feature needs them.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use rondel_loop::Registration;

use crate::engine::Connection;
use crate::engine::attend::Received;
use crate::engine::send::Urgency;
use crate::error::WriteError;

/// The place for a layer, which is never taken.
#[derive(Default)]
pub(super) struct LayerSlot(());

impl LayerSlot {
    const fn is_taken(&self) -> bool {
        false
    }
}

impl Connection {
    pub(super) const fn is_layered(&self) -> bool {
        self.layer.is_taken()
    }

    pub(super) const fn has_layered_input(&self) -> bool {
        false
    }

    pub(super) const fn layer_failure(&self) -> Option<io::Error> {
        None
    }

    pub(super) const fn say_farewell(&self) {}

    pub(super) const fn linger(&self) -> bool {
        false
    }

    pub(super) fn write_layered(
        self: &Rc<Self>,
        _: &Registration,
        _: &[IoSlice<'_>],
        _: Urgency,
    ) -> Result<(), WriteError> {
        unreachable!("there are no layers")
    }

    pub(super) fn write_piece_layered(self: &Rc<Self>, _: &mut &[u8]) -> Result<(), WriteError> {
        unreachable!("there are no layers")
    }

    pub(super) fn poll_layered(
        &self,
        _: &mut Context<'_>,
        _: &Registration,
        _: &mut [u8],
        _: bool,
    ) -> Poll<io::Result<usize>> {
        unreachable!("there are no layers")
    }

    pub(super) fn try_receive_layered(&self, _: &Registration, _: &mut [u8]) -> Received {
        unreachable!("there are no layers")
    }
}
