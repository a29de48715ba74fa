//! A group of errors on several lines: one a member, nested groups indented.

use std::fmt::{self, Display, Write};

pub(super) fn write<E: Display>(
    f: &mut fmt::Formatter<'_>,
    count: usize,
    members: impl Iterator<Item = E>,
) -> fmt::Result {
    let plural = if count == 1 { "" } else { "s" };
    write!(f, "{count} error{plural} in a task group:")?;
    for member in members {
        f.write_str("\n  - ")?;
        // Whatever a member writes over several lines is part of it: a group inside, above all.
        write!(Indented(f), "{member}")?;
    }
    Ok(())
}

/// Indents every line but the first.
struct Indented<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Indented<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut lines = text.split('\n');
        if let Some(first) = lines.next() {
            self.0.write_str(first)?;
        }
        for line in lines {
            self.0.write_str("\n    ")?;
            self.0.write_str(line)?;
        }
        Ok(())
    }
}
