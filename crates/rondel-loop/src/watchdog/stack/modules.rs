//! The program and the libraries that it has loaded, as far as unwinding needs to know them.
//!
//! All of it is read through `/proc/self`, by the kernel: a library may go while we look.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Unwind tables and headers that are larger are not believed.
const MOST: u64 = 256 * 1024 * 1024;

const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const LOAD: u32 = 1;
const EH_FRAME: u32 = 0x6474_e550;

/// This process's memory.
pub(super) struct Memory(File);

impl Memory {
    pub(super) fn open() -> io::Result<Self> {
        File::open("/proc/self/mem").map(Self)
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let length = range.end.saturating_sub(range.start);
        if length > MOST {
            return Err(io::Error::other("too much to read"));
        }
        let mut bytes = vec![0; length as usize];
        self.0.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}

/// A file that is mapped into memory, with the headers of ELF.
pub(super) struct Mapped {
    pub(super) path: PathBuf,
    /// Where its parts lie, the first with its beginning.
    pub(super) range: Range<u64>,
    /// What is to be added to the addresses that it was linked for.
    pub(super) bias: u64,
    segments: Vec<Range<u64>>,
    /// The index of its unwind table.
    index: Option<Range<u64>>,
}

/// The unwind table of a module and its index, each with where it lies.
pub(super) struct Tables {
    pub(super) index: (Range<u64>, Vec<u8>),
    pub(super) table: (Range<u64>, Vec<u8>),
}

/// Everything that code of this process may lie in.
pub(super) fn all(memory: &Memory) -> io::Result<Vec<Mapped>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut found: Vec<(&str, u64, u64)> = Vec::new();
    for line in maps.lines() {
        let Some((range, offset, path)) = mapping(line) else {
            continue;
        };
        match found.last_mut() {
            // Another part of the same file.
            Some((last, _, end)) if *last == path && offset != 0 => *end = range.end,
            _ if offset == 0 => found.push((path, range.start, range.end)),
            _ => {}
        }
    }
    let modules = found.into_iter();
    Ok(modules
        .filter_map(|(path, start, end)| Mapped::read(memory, path, start..end))
        .collect())
}

/// A line of `/proc/self/maps`: addresses, offset in the file, the file. `None` if there is none.
fn mapping(line: &str) -> Option<(Range<u64>, u64, &str)> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let _permissions = fields.next()?;
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let _device = fields.next()?;
    let _inode = fields.next()?;
    let path = fields.next()?.trim_start();
    if !path.starts_with('/') && path != "[vdso]" {
        return None;
    }
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    Some((start..end, offset, path))
}

impl Mapped {
    fn read(memory: &Memory, path: &str, range: Range<u64>) -> Option<Self> {
        let header = memory
            .read(range.start..range.start + ELF_HEADER as u64)
            .ok()?;
        // 64 bits, in the order of this machine.
        if !header.starts_with(b"\x7fELF\x02") {
            return None;
        }
        let at = number_at(&header, 32, 8)?;
        let (size, count) = (number_at(&header, 54, 2)?, number_at(&header, 56, 2)?);
        if size < PROGRAM_HEADER as u64 || count > 1024 {
            return None;
        }
        let begin = range.start.checked_add(at)?;
        let headers = memory.read(begin..begin.checked_add(size * count)?).ok()?;
        let mut linked = Vec::new();
        let mut index = None;
        for header in headers.chunks_exact(size as usize) {
            let start = number_at(header, 16, 8)?;
            let part = start..start.checked_add(number_at(header, 40, 8)?)?;
            match number_at(header, 0, 4)? as u32 {
                LOAD => linked.push(part),
                EH_FRAME => index = Some(part),
                _ => {}
            }
        }
        let first = linked.iter().map(|part| part.start).min()?;
        let bias = range.start.wrapping_sub(first & !0xfff);
        let moved = |part: Range<u64>| part.start.wrapping_add(bias)..part.end.wrapping_add(bias);
        let segments: Vec<_> = linked.into_iter().map(moved).collect();
        let end = segments.iter().map(|part| part.end).max()?;
        Some(Self {
            path: PathBuf::from(path),
            range: range.start..end.max(range.end),
            bias,
            segments,
            index: index.map(moved),
        })
    }

    /// Its unwind table; `None` if it has none, or none that we understand.
    pub(super) fn tables(&self, memory: &Memory) -> Option<Tables> {
        /// The table's address is given as four bytes, relative to where they are.
        const RELATIVE: u8 = 0x1b;
        let range = self.index.clone()?;
        let index = memory.read(range.clone()).ok()?;
        if *index.first()? != 1 || *index.get(1)? != RELATIVE {
            return None;
        }
        let relative = i32::from_ne_bytes(index.get(4..8)?.try_into().ok()?);
        let begin = (range.start + 4).wrapping_add_signed(relative.into());
        let segment = self.segments.iter().find(|part| part.contains(&begin))?;
        // It ends by itself, somewhere before the segment does.
        let table = begin..segment.end;
        let bytes = memory.read(table.clone()).ok()?;
        Some(Tables {
            index: (range, index),
            table: (table, bytes),
        })
    }

    /// A file to read symbols from, if there is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let program = fs::read_link("/proc/self/exe").ok();
        if program.as_deref() == Some(&*self.path) {
            // It may have been replaced, or removed, since it was started.
            return Some("/proc/self/exe".into());
        }
        self.path.is_absolute().then(|| self.path.clone())
    }
}

fn number_at(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + length)?;
    let digits = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(if cfg!(target_endian = "little") {
        bytes.iter().rev().fold(0, digits)
    } else {
        bytes.iter().fold(0, digits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_found_where_its_code_is() {
        let memory = Memory::open().unwrap();
        let modules = all(&memory).unwrap();
        let here = this_program_is_found_where_its_code_is as fn() as usize as u64;
        let own: Vec<_> = modules
            .iter()
            .filter(|module| module.range.contains(&here))
            .collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].path, std::env::current_exe().unwrap());
        let tables = own[0].tables(&memory).expect("programs can unwind");
        assert!(tables.index.1.len() > 12 && tables.table.1.len() > 12);
    }

    #[test]
    fn lines_that_name_no_file_are_passed_over() {
        let line = "7f00-7fff r-xp 00001000 fd:00 17 /usr/lib/with a space.so";
        assert_eq!(
            mapping(line),
            Some((0x7f00..0x7fff, 0x1000, "/usr/lib/with a space.so"))
        );
        assert_eq!(mapping("7f00-7fff rw-p 00000000 00:00 0 [stack]"), None);
        assert_eq!(mapping("7f00-7fff rw-p 00000000 00:00 0 "), None);
        assert_eq!(mapping("nonsense"), None);
    }
}
