//! From registers and a copy of the stack to functions: on the watchdog's thread, with all the time in the world.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use framehop::{
    CacheNative, ExplicitModuleSectionInfo, Module, UnwindRegsNative, Unwinder, UnwinderNative,
};

use super::capture::{Captured, stack_pointer};
use super::modules::{Mapped, Memory, all};
use super::{Stack, StackFrame};

/// At most so many functions are told of.
const AT_MOST: usize = 200;

/// Where the loop's own part of the stack begins, seen from inside. By files as well as by names, for what is inlined may have no
/// path in its name.
const OURS: Places = Places {
    within: "rondel-executor",
    files: &[
        "/src/task/harness.rs",
        "/src/task/main.rs",
        "/src/callback/once.rs",
        "/src/executor.rs",
        "/src/executor/batch.rs",
    ],
    names: &[
        "rondel_executor::task::harness::",
        "rondel_executor::task::main::",
        "rondel_executor::callback::once::",
        "rondel_executor::executor::",
    ],
};
/// What stands between that and the task or callback: how panics are caught.
const BETWEEN: Places = Places {
    within: "/library/",
    files: &[
        "/std/src/panicking.rs",
        "/std/src/panic.rs",
        "/core/src/ops/function.rs",
        "/core/src/panic/unwind_safe.rs",
    ],
    names: &[
        "std::panicking::",
        "std::panic::",
        "core::ops::function::",
        "core::panic::unwind_safe::",
        "__rust_try",
    ],
};

struct Places {
    /// In the paths of all their files.
    within: &'static str,
    files: &'static [&'static str],
    names: &'static [&'static str],
}

pub(super) fn walk(captured: &Captured) -> Stack {
    let memory = Memory::open();
    let modules = memory.and_then(|memory| Ok((all(&memory)?, memory)));
    let (modules, memory) = match modules {
        Ok(found) => found,
        Err(error) => return Stack::none(format!("finding the program's code: {error}")),
    };
    let (addresses, missing) = addresses(captured, &modules, &memory);
    let mut symbols = Symbols::default();
    let mut frames: Vec<_> = addresses
        .into_iter()
        .flat_map(|address| symbols.frames(address, &modules))
        .take(AT_MOST + 1)
        .collect();
    if let Some(outside) = frames.iter().position(|frame| OURS.contain(frame)) {
        frames.truncate(outside);
        while frames.last().is_some_and(|last| BETWEEN.contain(last)) {
            frames.pop();
        }
        return Stack {
            frames,
            missing: None,
        };
    }
    let missing = if frames.len() > AT_MOST {
        frames.truncate(AT_MOST);
        Some(format!("more than {AT_MOST} functions"))
    } else {
        missing
    };
    Stack { frames, missing }
}

/// Where each function was, the innermost first: in the middle of a call, but for the first. And why there are no more, if that is
/// not because there are no more.
fn addresses(
    captured: &Captured,
    modules: &[Mapped],
    memory: &Memory,
) -> (Vec<u64>, Option<String>) {
    let mut unwinder = UnwinderNative::<Vec<u8>, _>::new();
    let mut cache = CacheNative::<_>::new();
    for module in modules {
        if let Some(module) = unwindable(module, memory) {
            unwinder.add_module(module);
        }
    }
    let (pointer, registers) = registers(captured);
    let bottom = stack_pointer(&captured.registers);
    let mut read = |address: u64| {
        let offset = usize::try_from(address.wrapping_sub(bottom)).map_err(drop)?;
        let end = offset.checked_add(8).ok_or(())?;
        let word = captured.stack.get(offset..end).ok_or(())?;
        Ok(u64::from_ne_bytes(word.try_into().map_err(drop)?))
    };
    let mut frames = unwinder.iter_frames(pointer, registers, &mut cache, &mut read);
    let mut addresses = Vec::new();
    while addresses.len() <= AT_MOST {
        match frames.next() {
            Ok(Some(frame)) => addresses.push(frame.address_for_lookup()),
            Ok(None) => return (addresses, None),
            Err(_) if captured.stack.is_empty() => {
                return (addresses, Some("the system does not let us read it".into()));
            }
            Err(error) => return (addresses, Some(error.to_string())),
        }
    }
    (addresses, None)
}

#[cfg(target_arch = "x86_64")]
fn registers(captured: &Captured) -> (u64, UnwindRegsNative) {
    use framehop::x86_64::Reg;
    const ORDER: [Reg; 16] = [
        Reg::RAX,
        Reg::RDX,
        Reg::RCX,
        Reg::RBX,
        Reg::RSI,
        Reg::RDI,
        Reg::RBP,
        Reg::RSP,
        Reg::R8,
        Reg::R9,
        Reg::R10,
        Reg::R11,
        Reg::R12,
        Reg::R13,
        Reg::R14,
        Reg::R15,
    ];
    let [pointer, general @ ..] = captured.registers;
    let mut registers = UnwindRegsNative::new(pointer, 0, 0);
    for (register, value) in ORDER.into_iter().zip(general) {
        registers.set(register, value);
    }
    (pointer, registers)
}

#[cfg(target_arch = "aarch64")]
const fn registers(captured: &Captured) -> (u64, UnwindRegsNative) {
    let [pointer, link, stack, frame] = captured.registers;
    (pointer, UnwindRegsNative::new(link, stack, frame))
}

fn unwindable(module: &Mapped, memory: &Memory) -> Option<Module<Vec<u8>>> {
    let tables = module.tables(memory)?;
    let (index, index_bytes) = tables.index;
    let (table, table_bytes) = tables.table;
    let linked = |range: std::ops::Range<u64>| {
        range.start.wrapping_sub(module.bias)..range.end.wrapping_sub(module.bias)
    };
    Some(Module::new(
        module.path.display().to_string(),
        module.range.clone(),
        module.bias,
        ExplicitModuleSectionInfo {
            base_svma: 0,
            eh_frame_svma: Some(linked(table)),
            eh_frame: Some(table_bytes),
            eh_frame_hdr_svma: Some(linked(index)),
            eh_frame_hdr: Some(index_bytes),
            ..ExplicitModuleSectionInfo::default()
        },
    ))
}

/// Symbols and lines of the files that have been asked for.
#[derive(Default)]
struct Symbols(HashMap<PathBuf, Option<Loader>>);

impl Symbols {
    /// The function at an address, and those that it was inlined into.
    fn frames(&mut self, address: u64, modules: &[Mapped]) -> Vec<StackFrame> {
        let module = modules
            .iter()
            .find(|module| module.range.contains(&address));
        let known = module.and_then(|module| {
            let file = module.file()?;
            self.look_up(&file, address.wrapping_sub(module.bias))
        });
        let mut frames = known.unwrap_or_default();
        if frames.is_empty() {
            frames.push(StackFrame {
                address: 0,
                function: None,
                file: module.map(|module| module.path.display().to_string()),
                line: None,
            });
        }
        for frame in &mut frames {
            frame.address = address as usize;
        }
        frames
    }

    fn look_up(&mut self, file: &Path, address: u64) -> Option<Vec<StackFrame>> {
        let loader = self
            .0
            .entry(file.to_owned())
            .or_insert_with(|| Loader::new(file).ok())
            .as_ref()?;
        let mut frames = Vec::new();
        if let Ok(mut found) = loader.find_frames(address) {
            while let Ok(Some(frame)) = found.next() {
                let function = frame
                    .function
                    .and_then(|function| Some(function.demangle().ok()?.into_owned()));
                let location = frame.location;
                frames.push(StackFrame {
                    address: 0,
                    function,
                    file: location
                        .as_ref()
                        .and_then(|location| Some(location.file?.to_owned())),
                    line: location.and_then(|location| location.line),
                });
            }
        }
        let outermost = loader.find_symbol(address);
        if let Some(symbol) = outermost {
            let name = addr2line::demangle_auto(symbol.into(), None).into_owned();
            match frames.last_mut() {
                // What the symbol table says of the function that is there in memory is as good, and known more often.
                Some(last) => {
                    last.function.get_or_insert(name);
                }
                None => frames.push(StackFrame {
                    address: 0,
                    function: Some(name),
                    file: None,
                    line: None,
                }),
            }
        }
        Some(frames)
    }
}

impl Places {
    fn contain(&self, frame: &StackFrame) -> bool {
        let by_file = frame.file.as_deref().is_some_and(|file| {
            file.contains(self.within) && self.files.iter().any(|end| file.ends_with(end))
        });
        by_file
            || frame.function.as_deref().is_some_and(|function| {
                // A method's name begins with its type.
                let function = function.trim_start_matches('<');
                self.names.iter().any(|name| function.starts_with(name))
            })
    }
}
