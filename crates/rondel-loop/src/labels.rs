//! The primitives of rondel-sync, which know no executor, say through here what the running task waits for.

use std::sync::Once;

use rondel_executor::{Spawner, Waits};
use rondel_sync::label::{self, Awaited, Labels, Party};

/// Connects them, once for the process. If somebody else is connected already, their labels go there.
pub(crate) fn connect() {
    static CONNECT: Once = Once::new();
    CONNECT.call_once(|| {
        let _ = label::connect(Labels {
            waits: |awaited, which| kind(awaited).label(which),
            running: || {
                Spawner::current_task_id().map(|task| Party {
                    task: task.get(),
                    child: Spawner::current_child(),
                })
            },
        });
    });
}

const fn kind(awaited: Awaited) -> Waits {
    match awaited {
        Awaited::Lock => Waits::LOCK,
        Awaited::Permits => Waits::PERMITS,
        Awaited::Event => Waits::EVENT,
        Awaited::Notification => Waits::NOTIFICATION,
        Awaited::Barrier => Waits::BARRIER,
        Awaited::Item => Waits::ITEM,
        Awaited::Room => Waits::ROOM,
        Awaited::Joined => Waits::JOINED,
        Awaited::Value => Waits::VALUE,
        Awaited::Closing => Waits::CLOSING,
        _ => Waits::OTHER,
    }
}
