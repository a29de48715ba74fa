//! Where `#[rondel::main]` and `#[rondel::test]` lead. Nothing here is for anybody else.

use std::future::Future;
use std::io::Write;
use std::panic::resume_unwind;
use std::process::exit;

use rondel_loop::{EventLoop, RunError, RunOptions, Runner};
use rondel_poll::Virtual;

/// What shells say of a program that was ended by Ctrl-C: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

#[track_caller]
pub fn main<F: Future>(main: F) -> F::Output {
    end_well(rondel_loop::run(main))
}

#[track_caller]
pub fn main_on_virtual_clock<F: Future>(main: F) -> F::Output {
    end_well(virtual_runner().and_then(|mut runner| {
        let outcome = runner.run(main);
        runner.close();
        outcome
    }))
}

#[track_caller]
pub fn test<F: Future>(test: F) -> F::Output {
    // Ctrl-C is the test harness's.
    let runner = EventLoop::new().map(|new| Runner::with(new, RunOptions::new().ctrl_c(false)));
    run_test(runner, test)
}

#[track_caller]
pub fn test_on_virtual_clock<F: Future>(test: F) -> F::Output {
    run_test(virtual_runner(), test)
}

fn virtual_runner() -> Result<Runner, RunError> {
    let event_loop = EventLoop::builder().selector(Virtual::new()).build()?;
    Ok(Runner::with(event_loop, RunOptions::new().ctrl_c(false)))
}

#[track_caller]
fn run_test<F: Future>(runner: Result<Runner, RunError>, test: F) -> F::Output {
    let outcome = runner.and_then(|mut runner| {
        let outcome = runner.run(test);
        runner.close();
        outcome
    });
    match outcome {
        Ok(output) => output,
        Err(RunError::Panicked(payload)) => resume_unwind(payload.into_inner()),
        Err(error) => panic!("the test could not be run to its end: {error}"),
    }
}

fn end_well<T>(outcome: Result<T, RunError>) -> T {
    match outcome {
        Ok(output) => output,
        Err(RunError::Panicked(payload)) => resume_unwind(payload.into_inner()),
        Err(RunError::Interrupted) => exit(INTERRUPTED),
        Err(error) => {
            // Nowhere to report a failing standard error to.
            let _ = writeln!(std::io::stderr(), "Error: {error}");
            exit(1)
        }
    }
}
