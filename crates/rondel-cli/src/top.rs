//! `top`: what a program does, live.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyModifiers, poll, read};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{cursor, execute, queue};

use crate::client::{AskError, Target, understand};
use crate::snapshot::{Loop, Process, Task, Times, span};
use crate::sockets::Sockets;
use crate::table::{summary, write_columns};

/// How tall and wide a frame is where there is no terminal.
const PAGE: (usize, usize) = (160, 40);

/// Shows a frame each `interval`: until `q` on a terminal, or so many of them.
pub(crate) fn top(target: &Target, interval: Duration, frames: Option<u64>) -> Result<(), Error> {
    let screen = if io::stdout().is_terminal() {
        Some(Screen::open()?)
    } else {
        None
    };
    let mut before = Before::default();
    let mut left = frames.unwrap_or_else(|| if screen.is_some() { u64::MAX } else { 1 });
    loop {
        let process = target.snapshot()?;
        let (width, height) = screen.as_ref().map_or(PAGE, |_| page());
        let frame = frame(&process, &mut before, height);
        match &screen {
            Some(_) => draw(&frame, width, height)?,
            None => io::stdout().write_all(frame.as_bytes())?,
        }
        left -= 1;
        if left == 0 || !pause(screen.is_some(), interval)? {
            return Ok(());
        }
    }
}

/// Prints what the program says each `interval`, so many times, or until somebody ends it.
pub(crate) fn lines(target: &Target, interval: Duration, frames: Option<u64>) -> Result<(), Error> {
    let mut left = frames.unwrap_or(u64::MAX);
    loop {
        let answer = target.ask()?;
        // Refusals are failures here, too.
        understand(&answer)?;
        let mut out = io::stdout().lock();
        out.write_all(answer.trim_end().as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()?;
        left -= 1;
        if left == 0 {
            return Ok(());
        }
        std::thread::sleep(interval);
    }
}

/// Why it ended.
#[derive(Debug)]
pub(crate) enum Error {
    Ask(AskError),
    Terminal(io::Error),
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        Self::Ask(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

/// The terminal while it is ours; given back however we end.
struct Screen;

impl Screen {
    fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let screen = Self;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing better can be done about a terminal that is gone.
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn page() -> (usize, usize) {
    size().map_or(PAGE, |(width, height)| (width.into(), height.into()))
}

fn draw(frame: &str, width: usize, height: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    queue!(out, cursor::MoveTo(0, 0))?;
    for line in frame.lines().take(height.saturating_sub(1)) {
        let line: String = line.chars().take(width).collect();
        write!(out, "{line}")?;
        queue!(out, Clear(ClearType::UntilNewLine))?;
        write!(out, "\r\n")?;
    }
    queue!(out, Clear(ClearType::FromCursorDown))?;
    out.flush()
}

/// Waits for the next frame; `false` if somebody wants to leave.
fn pause(keys: bool, interval: Duration) -> io::Result<bool> {
    if !keys {
        std::thread::sleep(interval);
        return Ok(true);
    }
    let end = Instant::now() + interval;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if !poll(left)? {
            return Ok(true);
        }
        if let Event::Key(key) = read()? {
            let interrupt =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(false);
            }
        }
    }
}

/// What the frame before has shown, to tell what has happened since.
#[derive(Default)]
struct Before {
    at: Option<Instant>,
    loops: HashMap<usize, LoopBefore>,
}

#[derive(Default)]
struct LoopBefore {
    lag: Times,
    entries: Times,
    busy: f64,
    turns: u64,
    spent: HashMap<u64, (f64, u64)>,
}

fn frame(process: &Process, before: &mut Before, height: usize) -> String {
    let now = Instant::now();
    let since = before.at.replace(now);
    let passed = since.map(|since| now.duration_since(since).as_secs_f64());
    let mut text = format!("process {}  (q leaves)\n", process.pid);
    if let Some(sockets) = Sockets::of(process.pid) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{sockets}");
    }
    let rows = height / process.loops.len().max(1);
    for (place, one) in process.loops.iter().enumerate() {
        let known = before.loops.entry(place).or_default();
        of_loop(&mut text, one, known, passed, rows.saturating_sub(6).max(3));
    }
    text
}

fn of_loop(
    text: &mut String,
    one: &Loop,
    before: &mut LoopBefore,
    passed: Option<f64>,
    rows: usize,
) {
    // Writing to a string does not fail, here and below.
    let _ = writeln!(text, "{}", one.headline());
    let Some(snapshot) = &one.snapshot else {
        return;
    };
    let metrics = &snapshot.metrics;
    // Since the frame before; in the first one, since the loop began.
    let lag = metrics.lag.since(&before.lag);
    let entries = metrics.entry_time.since(&before.entries);
    let _ = writeln!(text, "{}", summary(snapshot, &lag));
    let rate = |now: f64, before: f64| passed.map(|passed| (now - before).max(0.0) / passed);
    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let turns = rate(metrics.turns as f64, before.turns as f64);
    let busy = rate(metrics.busy, before.busy);
    if let (Some(busy), Some(turns)) = (busy, turns) {
        let _ = writeln!(
            text,
            "busy {:.1} %, {turns:.0} turns/s; entries {} (99 %: {}, at most {})",
            busy * 100.0,
            span(entries.p50),
            span(entries.p99),
            span(entries.max),
        );
    }
    before.lag = metrics.lag.clone();
    before.entries = metrics.entry_time.clone();
    before.busy = metrics.busy;
    before.turns = metrics.turns;
    let mut tasks: Vec<_> = snapshot
        .tasks
        .iter()
        .map(|task| (share(task, before, passed), task))
        .collect();
    tasks.sort_by(|(one, a), (other, b)| other.0.total_cmp(&one.0).then(a.id.cmp(&b.id)));
    let head = ["ID", "NAME", "BUSY", "POLLS/S", "TIME", "AGE", "WAITS FOR"].map(str::to_owned);
    let shown: Vec<_> = tasks
        .iter()
        .take(rows)
        .map(|((busy, polls), task)| {
            [
                task.id.to_string(),
                task.name.clone(),
                format!("{:.1} %", busy * 100.0),
                format!("{polls:.0}"),
                task.spent.map_or_else(|| "-".into(), span),
                task.age.map_or_else(|| "-".into(), span),
                task.state(),
            ]
        })
        .collect();
    write_columns(text, &head, &shown);
    before.spent = snapshot
        .tasks
        .iter()
        .map(|task| {
            let spent = task.spent.unwrap_or(0.0);
            (task.id, (spent, task.polls.unwrap_or(0)))
        })
        .collect();
}

/// The share of the time since the frame before that a task was polled for, and how often a second. In the first frame: of the
/// task's life.
fn share(task: &Task, before: &LoopBefore, passed: Option<f64>) -> (f64, f64) {
    let (spent, polls) = (task.spent.unwrap_or(0.0), task.polls.unwrap_or(0));
    let (known, time) = match (before.spent.get(&task.id), passed) {
        (Some(known), Some(passed)) => (*known, passed),
        _ => ((0.0, 0), task.age.unwrap_or(0.0)),
    };
    if time <= 0.0 {
        return (0.0, 0.0);
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let polled = polls.saturating_sub(known.1) as f64;
    ((spent - known.0).max(0.0) / time, polled / time)
}
