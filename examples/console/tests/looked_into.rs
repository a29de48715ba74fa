//! The program, as tokio-console sees it: by the gRPC service of `console-subscriber`, which the client of `console-api` asks.
#![cfg(console_without_tokio_unstable)]

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use console_api::field::{Name, Value};
use console_api::instrument::instrument_client::InstrumentClient;
use console_api::instrument::{InstrumentRequest, Update};
use console_api::resources::Resource;
use console_api::tasks::{Stats, Task};
use console_api::{Field, Location, async_ops};
use tonic::transport::{Channel, Endpoint};

const PROGRAM: &str = include_str!("../src/program.rs");

/// All that the updates have said so far.
#[derive(Debug, Default)]
struct Seen {
    tasks: HashMap<u64, Task>,
    stats: HashMap<u64, Stats>,
    resources: HashMap<u64, Resource>,
    operations: HashMap<u64, async_ops::AsyncOp>,
    operation_stats: HashMap<u64, async_ops::Stats>,
    resource_attributes: HashMap<u64, Vec<(String, Value)>>,
    dropped_events: u64,
}

impl Seen {
    fn add(&mut self, update: Update) {
        if let Some(tasks) = update.task_update {
            let new = tasks.new_tasks.into_iter();
            self.tasks
                .extend(new.filter_map(|task| Some((task.id?.id, task))));
            self.stats.extend(tasks.stats_update);
            self.dropped_events += tasks.dropped_events;
        }
        if let Some(resources) = update.resource_update {
            let new = resources.new_resources.into_iter();
            self.resources
                .extend(new.filter_map(|resource| Some((resource.id?.id, resource))));
            for (id, stats) in resources.stats_update {
                let attributes = stats.attributes.into_iter();
                let attributes =
                    attributes.filter_map(|attribute| name_and_value(&attribute.field?));
                self.resource_attributes.insert(id, attributes.collect());
            }
            self.dropped_events += resources.dropped_events;
        }
        if let Some(operations) = update.async_op_update {
            let new = operations.new_async_ops.into_iter();
            self.operations
                .extend(new.filter_map(|operation| Some((operation.id?.id, operation))));
            self.operation_stats.extend(operations.stats_update);
            self.dropped_events += operations.dropped_events;
        }
    }

    /// The task of that name with its figures, once there are some.
    fn task(&self, name: &str) -> Option<(u64, &Task, &Stats)> {
        let named = |task: &&Task| field(task, "task.name") == Some(Value::StrVal(name.to_owned()));
        let task = self.tasks.values().find(named)?;
        let id = task.id?.id;
        Some((id, task, self.stats.get(&id)?))
    }

    /// What a task waits for: the operations that have not ended, and their resources.
    fn waits(&self, task: u64) -> Vec<(u64, &str, &str)> {
        let mut waits: Vec<_> = self
            .operations
            .iter()
            .filter_map(|(id, operation)| {
                let stats = self.operation_stats.get(id)?;
                if stats.dropped_at.is_some() || stats.task_id?.id != task {
                    return None;
                }
                let resource = operation.resource_id?.id;
                let concrete_type = &self.resources.get(&resource)?.concrete_type;
                Some((resource, concrete_type.as_str(), operation.source.as_str()))
            })
            .collect();
        waits.sort_unstable();
        waits
    }
}

fn name_and_value(field: &Field) -> Option<(String, Value)> {
    match field.name.clone()? {
        Name::StrName(name) => Some((name, field.value.clone()?)),
        Name::NameIdx(_) => None,
    }
}

fn field(task: &Task, name: &str) -> Option<Value> {
    let mut fields = task.fields.iter().filter_map(name_and_value);
    fields
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

fn polls(stats: &Stats) -> u64 {
    stats.poll_stats.map_or(0, |polls| polls.polls)
}

fn is_over(stats: &Stats) -> bool {
    stats.dropped_at.is_some()
}

/// Where the program spawns what it calls `variable`.
fn spawned(variable: &str) -> Location {
    let begin = format!("let {variable} = spawn(");
    let (line, text) = PROGRAM
        .lines()
        .enumerate()
        .find(|(_, text)| text.contains(&begin))
        .unwrap();
    let column = text.find("spawn(").unwrap();
    Location {
        file: Some("examples/console/src/program.rs".to_owned()),
        module_path: None,
        line: Some(u32::try_from(line + 1).unwrap()),
        column: Some(u32::try_from(column + 1).unwrap()),
    }
}

/// The program under way; killed if the test fails.
struct Program(Child);

impl Program {
    fn start(socket: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_console_guest"))
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn connect(socket: &Path) -> Result<InstrumentClient<Channel>, Box<dyn Error>> {
    let endpoint = Endpoint::try_from(format!("unix:{}", socket.display()))?;
    loop {
        // It has begun to listen at some time.
        if let Ok(channel) = endpoint.connect().await {
            let client = InstrumentClient::new(channel);
            return Ok(client.max_decoding_message_size(usize::MAX));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Watches until what has been seen is enough; gives that.
async fn watch(
    updates: &mut tonic::Streaming<Update>,
    seen: &mut Seen,
    enough: impl Fn(&Seen) -> Option<bool>,
) -> Result<(), Box<dyn Error>> {
    let watching = async {
        while enough(seen) != Some(true) {
            match updates.message().await {
                Ok(Some(update)) => seen.add(update),
                Ok(None) => return Err("the updates have ended".into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    };
    match tokio::time::timeout(Duration::from_secs(60), watching).await {
        Ok(watched) => watched,
        Err(_) => Err(format!("not seen: {seen:#?}").into()),
    }
}

#[test]
fn the_console_is_shown_tasks_and_what_they_wait_for() -> Result<(), Box<dyn Error>> {
    let socket = std::env::temp_dir().join(format!("rondel-console-{}", std::process::id()));
    let mut program = Program::start(&socket);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let looked = runtime.block_on(look(&mut program, &socket));
    let _ = std::fs::remove_file(&socket);
    looked
}

async fn look(program: &mut Program, socket: &Path) -> Result<(), Box<dyn Error>> {
    let connecting = tokio::time::timeout(Duration::from_secs(60), connect(socket));
    let mut client = connecting.await??;
    let updates = client.watch_updates(InstrumentRequest {}).await?;
    let mut updates = updates.into_inner();
    let mut seen = Seen::default();

    // Until everybody waits.
    watch(&mut updates, &mut seen, |seen| {
        let (_, _, polite) = seen.task("polite")?;
        seen.task("owner")?;
        let (guest, ..) = seen.task("guest")?;
        let (clock, _, ticks) = seen.task("clock")?;
        let (line, ..) = seen.task("until a line is typed")?;
        let (main, ..) = seen.task("Task-1")?;
        let waiting = [guest, clock, line, main].into_iter();
        let waiting = waiting.filter(|task| !seen.waits(*task).is_empty());
        Some(is_over(polite) && waiting.count() == 4 && polls(ticks) >= 4)
    })
    .await?;

    // Names, numbers, kinds and places.
    for (name, variable, number) in [
        ("polite", "polite", 2),
        ("owner", "owner", 3),
        ("guest", "guest", 4),
        ("clock", "clock", 5),
        ("until a line is typed", "line", 6),
    ] {
        let (_, task, _) = seen.task(name).unwrap();
        assert_eq!(
            field(task, "task.id"),
            Some(Value::U64Val(number)),
            "{name}"
        );
        let kind = Some(Value::StrVal("local".to_owned()));
        assert_eq!(field(task, "kind"), kind, "{name}");
        assert_eq!(task.location, Some(spawned(variable)), "{name}");
    }
    let (_, main, _) = seen.task("Task-1").unwrap();
    let block_on = Some(Value::StrVal("block_on".to_owned()));
    assert_eq!(field(main, "kind"), block_on);

    // One poll and one more for each time it woke itself, which nobody else did.
    let (_, _, polite) = seen.task("polite").unwrap();
    assert_eq!(polls(polite), 4);
    assert_eq!((polite.wakes, polite.self_wakes), (3, 3));
    assert_eq!(polite.waker_clones, polite.waker_drops);

    // Polled once, and never woken. The one has no waker anywhere, and is lost indeed; the lock keeps that of the other.
    let (owner, _, owner_stats) = seen.task("owner").unwrap();
    assert_eq!((polls(owner_stats), owner_stats.wakes), (1, 0));
    assert_eq!(owner_stats.waker_clones, owner_stats.waker_drops);
    assert!(!is_over(owner_stats));
    assert_eq!(seen.waits(owner), []);
    let (guest, _, guest_stats) = seen.task("guest").unwrap();
    assert_eq!((polls(guest_stats), guest_stats.wakes), (1, 0));
    assert_eq!(guest_stats.waker_clones, guest_stats.waker_drops + 1);
    let [(lock, "Lock", "a lock")] = seen.waits(guest)[..] else {
        panic!("{:?}", seen.waits(guest));
    };
    let [(number, Value::U64Val(_))] = &seen.resource_attributes[&lock][..] else {
        panic!("{:?}", seen.resource_attributes[&lock]);
    };
    assert_eq!(number, "number");

    // Woken by the loop, each time it had to.
    let (_, _, clock) = seen.task("clock").unwrap();
    assert!(clock.wakes >= polls(clock) - 1, "{clock:?}");
    assert_eq!(clock.self_wakes, 0);

    // A job in a pool, and a task.
    let (line, _, before) = seen.task("until a line is typed").unwrap();
    assert_eq!((polls(before), before.wakes), (1, 0));
    assert!(matches!(seen.waits(line)[..], [(_, "Job", _)]));
    let (main, ..) = seen.task("Task-1").unwrap();
    assert!(matches!(seen.waits(main)[..], [(_, "Task", "a task")]));
    assert_eq!(seen.dropped_events, 0);

    // A wake from the pool's thread.
    let mut input = program.0.stdin.take().unwrap();
    input.write_all(b"\n")?;
    watch(&mut updates, &mut seen, |seen| {
        let (_, _, line) = seen.task("until a line is typed")?;
        Some(is_over(line))
    })
    .await?;
    let (_, _, line) = seen.task("until a line is typed").unwrap();
    assert_eq!((polls(line), line.wakes, line.self_wakes), (2, 1, 0));
    assert_eq!(line.waker_clones, line.waker_drops);
    drop(input);
    assert!(program.0.wait()?.success());
    Ok(())
}
