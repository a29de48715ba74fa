//! Where a panic came from that is on its way out of groups.

use std::any::{Any, TypeId};

use super::info::ChildInfo;

/// A panic on its way out of a group, and where it came from.
pub(crate) struct Origin {
    pub(super) thrown: Thrown,
    pub(super) chain: Vec<ChildInfo>,
}

/// What tells one panic from another. Its address is used again once it is gone, if somebody on the way has caught it.
#[derive(PartialEq, Eq)]
pub(super) struct Thrown {
    address: usize,
    kind: TypeId,
    message: Option<String>,
}

impl Origin {
    /// The chain of a panic, if it is the one noted.
    pub(crate) fn of(self, payload: &(dyn Any + Send)) -> Vec<ChildInfo> {
        if self.thrown == Thrown::of(payload) {
            self.chain
        } else {
            Vec::new()
        }
    }
}

impl Thrown {
    pub(super) fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            address: (&raw const *payload).cast::<()>().addr(),
            kind: payload.type_id(),
            message: text.map(ToOwned::to_owned),
        }
    }
}
