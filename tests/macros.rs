//! `select!`, `join!` and `try_join!`.

use std::cell::Cell;
use std::future::{pending, ready};
use std::pin::pin;
use std::rc::Rc;

use rondel::prelude::*;

#[rondel::test(clock = "virtual")]
async fn the_first_to_end_is_selected() {
    let second = Duration::from_secs(1);
    let chosen = select! {
        () = sleep(3 * second) => "three".to_owned(),
        () = sleep(second) => "one".to_owned(),
        words = async { sleep(2 * second).await; vec!["two"] } => words.concat(),
    };
    assert_eq!(chosen, "one");
}

#[rondel::test]
async fn a_branch_binds_by_its_own_type() {
    let number = select! {
        (left, right) = ready((1, "x")) => left + right.len(),
        () = pending() => 0,
    };
    assert_eq!(number, 2);
    let six = select! {
        _ = pending::<u8>() => 1,
        _ = pending::<u16>() => 2,
        _ = pending::<u32>() => 3,
        _ = pending::<u64>() => 4,
        _ = pending::<i8>() => 5,
        value = ready(6) => value,
    };
    assert_eq!(six, 6);
    let twelve = select! {
        () = pending() => 1, () = pending() => 2, () = pending() => 3, () = pending() => 4,
        () = pending() => 5, () = pending() => 6, () = pending() => 7, () = pending() => 8,
        () = pending() => 9, () = pending() => 10, () = pending() => 11, value = ready(12) => value,
    };
    assert_eq!(twelve, 12);
}

#[rondel::test]
async fn nobody_is_preferred_by_its_place() {
    let mut counts = [0; 3];
    for _ in 0..3000 {
        select! {
            () = ready(()) => counts[0] += 1,
            () = ready(()) => counts[1] += 1,
            () = ready(()) => counts[2] += 1,
        }
    }
    assert!(counts.iter().all(|count| *count > 800), "{counts:?}");
}

/// Whoever is given by `&mut` goes on afterwards; the branches may leave the loop, and use `?`.
#[rondel::test(clock = "virtual")]
async fn what_is_lent_goes_on() -> Result<(), String> {
    let mut work = pin!(async {
        sleep(Duration::from_millis(35)).await;
        Ok::<_, String>("done")
    });
    let mut looks = 0;
    let said = loop {
        select! {
            () = sleep(Duration::from_millis(10)) => looks += 1,
            said = &mut work => break said?,
        }
    };
    assert_eq!((said, looks), ("done", 3));
    Ok(())
}

/// A condition that does not hold keeps its future from being made; it is looked at before any future is.
#[rondel::test]
async fn branches_have_conditions() {
    let mut waiting = vec![1, 2, 3];
    let mut taken = Vec::new();
    let mut ends = 0;
    loop {
        let room = taken.len() < 2;
        select! {
            number = async { waiting.pop() }, if room && !taken.contains(&1) => taken.extend(number),
            () = async { panic!("it was not to be made") }, if false => unreachable!("nor to win"),
            else => break ends += 1,
        }
    }
    assert_eq!((taken, waiting, ends), (vec![3, 2], vec![1], 1));
}

#[rondel::test]
async fn commas_may_be_left_out_after_blocks() {
    let limited = |on: bool| async move {
        select! {
            (mut sum, ref more) = async { (1, 2) }, if on => {
                sum += more;
                sum
            }
            _ = ready(()), if !on => { 10 }
            else => unreachable!("one of them holds")
        }
    };
    assert_eq!((limited(true).await, limited(false).await), (3, 10));
    // One with a condition, and one without, need no `else`.
    let chosen = select! {
        () = pending(), if chosen_before() => 1,
        () = ready(()) => 2,
    };
    assert_eq!(chosen, 2);
}

fn chosen_before() -> bool {
    true
}

/// `break`, `continue` and `?` in conditions and in what happens otherwise.
#[rondel::test]
async fn otherwise_may_leave() -> Result<(), String> {
    let parse = |text: &str| text.parse::<bool>().map_err(|error| error.to_string());
    for round in 0..3 {
        select! {
            () = ready(()), if parse(if round == 1 { "true" } else { "false" })? => {},
            else => continue,
        }
        assert_eq!(round, 1);
    }
    Ok(())
}

/// What loses is cancelled, and its cleanup waited for.
#[rondel::test]
async fn the_loser_cleans_up_first() {
    let cleaned = Rc::new(Cell::new(false));
    let loser = bracket(
        Rc::clone(&cleaned),
        async |_| pending::<()>().await,
        async |cleaned| {
            yield_now().await;
            cleaned.set(true);
        },
    );
    select! {
        () = loser => unreachable!("it never ends"),
        () = async { yield_now().await } => {}
    }
    assert!(cleaned.get());
}

#[rondel::test]
async fn all_are_joined() {
    let words = ["a", "b"].map(str::to_owned);
    let (first, second, third) = join!(async { words[0].len() }, async { &words[1] }, async {
        yield_now().await
    },);
    assert_eq!((first, second.as_str(), third), (1, "b", ()));
    assert_eq!(join!(ready(1)), (1,));
}

#[rondel::test]
async fn the_first_error_ends_it() {
    let late = Rc::new(Cell::new(false));
    let setting = Rc::clone(&late);
    let failed = try_join!(
        async { Ok::<u8, &str>(1) },
        async { Err::<(), _>("no second") },
        async move {
            pending::<()>().await;
            setting.set(true);
            Ok(())
        },
    );
    assert_eq!(failed, Err("no second"));
    assert!(!late.get());
    assert_eq!(
        try_join!(ready(Ok::<_, ()>(1)), ready(Ok("two"))),
        Ok((1, "two"))
    );
}
