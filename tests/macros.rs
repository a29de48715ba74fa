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
