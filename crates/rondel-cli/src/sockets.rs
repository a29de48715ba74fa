//! The sockets of another process, as the kernel tells of them (proc(5)). Elsewhere than on Linux nothing is known.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// How many there are of each kind, and what lies in the kernel for them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    listening: usize,
    connected: usize,
    /// On their way to a connection, or out of one.
    passing: usize,
    udp: usize,
    unix: usize,
    /// Bytes that the peers of TCP connections have not acknowledged.
    unsent: u64,
    /// Bytes that the process has not read from them.
    unread: u64,
}

impl Sockets {
    /// `None` if nothing can be found out.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let process = Path::new("/proc").join(pid.to_string());
        let own = inodes(&process.join("fd"))?;
        let mut sockets = Self::default();
        for table in ["tcp", "tcp6"] {
            each(&process, table, 9, &own, |fields| sockets.tcp(fields));
        }
        for table in ["udp", "udp6"] {
            each(&process, table, 9, &own, |_| sockets.udp += 1);
        }
        each(&process, "unix", 6, &own, |_| sockets.unix += 1);
        Some(sockets)
    }

    fn tcp(&mut self, fields: &[&str]) {
        match fields.get(3) {
            Some(&"0A") => {
                self.listening += 1;
                return;
            }
            Some(&"01") => self.connected += 1,
            _ => self.passing += 1,
        }
        let queues = fields.get(4).and_then(|queues| queues.split_once(':'));
        let bytes = |hex| u64::from_str_radix(hex, 16).unwrap_or(0);
        if let Some((unsent, unread)) = queues {
            self.unsent += bytes(unsent);
            self.unread += bytes(unread);
        }
    }
}

/// The sockets among a process's descriptors, by the numbers that the kernel's tables have for them.
fn inodes(descriptors: &Path) -> Option<HashSet<String>> {
    let entries = fs::read_dir(descriptors).ok()?;
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let sockets = targets.filter_map(|target| {
        let inode = target.to_str()?.strip_prefix("socket:[")?;
        inode.strip_suffix(']').map(str::to_owned)
    });
    Some(sockets.collect())
}

/// Calls `found` with the fields of each line of a table whose socket is one of `own`.
fn each(
    process: &Path,
    table: &str,
    inode: usize,
    own: &HashSet<String>,
    mut found: impl FnMut(&[&str]),
) {
    // A kernel without IPv6 has no such table.
    let lines = fs::read_to_string(process.join("net").join(table)).unwrap_or_default();
    for line in lines.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        if fields.get(inode).is_some_and(|inode| own.contains(*inode)) {
            found(&fields);
        }
    }
}

impl fmt::Display for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sockets: {} listening, {} connected, {} coming or going; {} B unsent, {} B unread; {} UDP, {} Unix",
            self.listening,
            self.connected,
            self.passing,
            self.unsent,
            self.unread,
            self.udp,
            self.unix,
        )
    }
}
