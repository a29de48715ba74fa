//! `select!`, `join!`, `try_join!`: for those who write them as macros.

/// Awaits several futures beside one another, and runs the branch of the first one to end; the others are cancelled and waited for.
///
/// `pattern = future => expression`, two to six of them, with commas between. All expressions have one type. The patterns have to
/// match whatever the futures give; look at it in the expression. A future that is to go on afterwards is given by `&mut`.
///
/// It is [`race`](crate::race), and as fair: none is preferred by its place. asyncio: `wait(…, return_when=FIRST_COMPLETED)`. tokio:
/// `select!`, without its `else` and `if`.
///
/// # Cancel safety
/// As of [`race`](crate::race): what a loser had half ready is lost with it, unless it is given by `&mut`.
///
/// ```
/// use rondel::prelude::*;
///
/// # rondel::run(async {
/// let mut ticks = interval(Duration::from_millis(1));
/// let work = sleep(Duration::from_millis(20));
/// let mut work = std::pin::pin!(work);
/// let mut count = 0;
/// let counted = loop {
///     select! {
///         _ = ticks.tick() => count += 1,
///         () = &mut work => break count,
///     }
/// };
/// assert!(counted > 0);
/// # }).unwrap();
/// ```
#[macro_export]
macro_rules! select {
    ($p0:pat = $f0:expr => $e0:expr, $p1:pat = $f1:expr => $e1:expr $(,)?) => {
        match $crate::race((async { $crate::__branches::Of2::A($f0.await) }, async {
            $crate::__branches::Of2::B($f1.await)
        }))
        .await
        {
            $crate::__branches::Of2::A($p0) => $e0,
            $crate::__branches::Of2::B($p1) => $e1,
        }
    };
    ($p0:pat = $f0:expr => $e0:expr, $p1:pat = $f1:expr => $e1:expr, $p2:pat = $f2:expr => $e2:expr $(,)?) => {
        match $crate::race((
            async { $crate::__branches::Of3::A($f0.await) },
            async { $crate::__branches::Of3::B($f1.await) },
            async { $crate::__branches::Of3::C($f2.await) },
        ))
        .await
        {
            $crate::__branches::Of3::A($p0) => $e0,
            $crate::__branches::Of3::B($p1) => $e1,
            $crate::__branches::Of3::C($p2) => $e2,
        }
    };
    ($p0:pat = $f0:expr => $e0:expr, $p1:pat = $f1:expr => $e1:expr, $p2:pat = $f2:expr => $e2:expr, $p3:pat = $f3:expr => $e3:expr $(,)?) => {
        match $crate::race((
            async { $crate::__branches::Of4::A($f0.await) },
            async { $crate::__branches::Of4::B($f1.await) },
            async { $crate::__branches::Of4::C($f2.await) },
            async { $crate::__branches::Of4::D($f3.await) },
        ))
        .await
        {
            $crate::__branches::Of4::A($p0) => $e0,
            $crate::__branches::Of4::B($p1) => $e1,
            $crate::__branches::Of4::C($p2) => $e2,
            $crate::__branches::Of4::D($p3) => $e3,
        }
    };
    ($p0:pat = $f0:expr => $e0:expr, $p1:pat = $f1:expr => $e1:expr, $p2:pat = $f2:expr => $e2:expr, $p3:pat = $f3:expr => $e3:expr, $p4:pat = $f4:expr => $e4:expr $(,)?) => {
        match $crate::race((
            async { $crate::__branches::Of5::A($f0.await) },
            async { $crate::__branches::Of5::B($f1.await) },
            async { $crate::__branches::Of5::C($f2.await) },
            async { $crate::__branches::Of5::D($f3.await) },
            async { $crate::__branches::Of5::E($f4.await) },
        ))
        .await
        {
            $crate::__branches::Of5::A($p0) => $e0,
            $crate::__branches::Of5::B($p1) => $e1,
            $crate::__branches::Of5::C($p2) => $e2,
            $crate::__branches::Of5::D($p3) => $e3,
            $crate::__branches::Of5::E($p4) => $e4,
        }
    };
    ($p0:pat = $f0:expr => $e0:expr, $p1:pat = $f1:expr => $e1:expr, $p2:pat = $f2:expr => $e2:expr, $p3:pat = $f3:expr => $e3:expr, $p4:pat = $f4:expr => $e4:expr, $p5:pat = $f5:expr => $e5:expr $(,)?) => {
        match $crate::race((
            async { $crate::__branches::Of6::A($f0.await) },
            async { $crate::__branches::Of6::B($f1.await) },
            async { $crate::__branches::Of6::C($f2.await) },
            async { $crate::__branches::Of6::D($f3.await) },
            async { $crate::__branches::Of6::E($f4.await) },
            async { $crate::__branches::Of6::F($f5.await) },
        ))
        .await
        {
            $crate::__branches::Of6::A($p0) => $e0,
            $crate::__branches::Of6::B($p1) => $e1,
            $crate::__branches::Of6::C($p2) => $e2,
            $crate::__branches::Of6::D($p3) => $e3,
            $crate::__branches::Of6::E($p4) => $e4,
            $crate::__branches::Of6::F($p5) => $e5,
        }
    };
}

/// Awaits several futures beside one another, and gives all their outputs as a tuple. It is [`gather`](crate::gather) of a tuple, up to
/// twelve.
///
/// ```
/// # rondel::run(async {
/// let (one, two) = rondel::join!(async { 1 }, async { "two" });
/// assert_eq!((one, two), (1, "two"));
/// # }).unwrap();
/// ```
#[macro_export]
macro_rules! join {
    ($future:expr $(,)?) => {
        ($future.await,)
    };
    ($($future:expr),+ $(,)?) => {
        $crate::gather(($($future,)+)).await
    };
}

/// Awaits several futures beside one another, and gives all their values as a tuple, or the first error; the others are cancelled and
/// waited for then. It is [`try_gather`](crate::try_gather) of a tuple, up to twelve.
///
/// ```
/// # rondel::run(async {
/// let failed = rondel::try_join!(async { Ok(1) }, async { Err::<u8, _>("no second") });
/// assert_eq!(failed, Err("no second"));
/// # }).unwrap();
/// ```
#[macro_export]
macro_rules! try_join {
    ($($future:expr),+ $(,)?) => {
        $crate::try_gather(($($future,)+)).await
    };
}

/// Which branch it was.
macro_rules! branches {
    ($($name:ident: $($branch:ident)+;)+) => {$(
        #[derive(Debug)]
        pub enum $name<$($branch),+> {
            $($branch($branch)),+
        }
    )+};
}

branches! {
    Of2: A B;
    Of3: A B C;
    Of4: A B C D;
    Of5: A B C D E;
    Of6: A B C D E F;
}
