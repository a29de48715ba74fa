//! `select!`, `join!`, `try_join!`: for those who write them as macros.

/// Awaits several futures beside one another, and runs the branch of the first one to end; the others are cancelled and waited for.
///
/// `pattern = future => expression`, up to twelve of them; a comma after the expression, unless it is a block. All expressions have one
/// type. The patterns have to match whatever the futures give; look at it in the expression. A future that is to go on afterwards is
/// given by `&mut`.
///
/// `pattern = future, if condition => expression` takes part only if the condition holds, which is looked at once, before anything
/// else; if it does not, the future is not even made. `else => expression`, the last, is what happens when no condition holds. It has
/// to be there unless some branch has no condition: to wait for nothing is to wait for ever.
///
/// It is [`race`](crate::race), and as fair: none is preferred by its place. asyncio: `wait(…, return_when=FIRST_COMPLETED)`. tokio:
/// `select!`, where a pattern that does not match takes its branch out.
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
/// ```
/// use rondel::prelude::*;
///
/// # rondel::run(async {
/// let mut left = 3;
/// let mut rounds = 0;
/// loop {
///     select! {
///         () = yield_now(), if left > 0 => left -= 1,
///         else => break,
///     }
///     rounds += 1;
/// }
/// assert_eq!(rounds, 3);
/// # }).unwrap();
/// ```
#[macro_export]
macro_rules! select {
    ($($branches:tt)+) => {
        $crate::__select! {
            @take unsure Of0 []
            [(A a Of1) (B b Of2) (C c Of3) (D d Of4) (E e Of5) (F f Of6)
             (G g Of7) (H h Of8) (I i Of9) (J j Of10) (K k Of11) (L l Of12)]
            $($branches)+
        }
    };
}

/// Takes branch after branch, each with a letter and a flag from stock, and makes a race of them. `sure`: one has no condition.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@take $sure:ident $of:ident $taken:tt $stock:tt else => $else:expr $(,)?) => {
        $crate::__select!(@race $of $taken $else)
    };
    (@take sure $of:ident $taken:tt $stock:tt) => {
        $crate::__select!(@race $of $taken)
    };
    (@take unsure $of:ident $taken:tt $stock:tt) => {
        ::core::compile_error!(
            "every branch of this `select!` has an `if`: say by `else => …` what happens when no condition holds"
        )
    };
    (@take $sure:ident $of:ident $taken:tt [] $($rest:tt)+) => {
        ::core::compile_error!("`select!` takes twelve branches at most; `race` takes any number from an iterator")
    };
    (@take $sure:ident $of:ident $taken:tt $stock:tt $p:pat = $f:expr, if $c:expr => $e:block, $($rest:tt)*) => {
        $crate::__select!(@put $sure $taken $stock ($p, $f, $c, $e) $($rest)*)
    };
    (@take $sure:ident $of:ident $taken:tt $stock:tt $p:pat = $f:expr, if $c:expr => $e:block $($rest:tt)*) => {
        $crate::__select!(@put $sure $taken $stock ($p, $f, $c, $e) $($rest)*)
    };
    (@take $sure:ident $of:ident $taken:tt $stock:tt $p:pat = $f:expr, if $c:expr => $e:expr, $($rest:tt)*) => {
        $crate::__select!(@put $sure $taken $stock ($p, $f, $c, $e) $($rest)*)
    };
    (@take $sure:ident $of:ident $taken:tt $stock:tt $p:pat = $f:expr, if $c:expr => $e:expr) => {
        $crate::__select!(@put $sure $taken $stock ($p, $f, $c, $e))
    };
    (@take $sure:ident $of:ident $taken:tt $stock:tt $p:pat = $f:expr => $e:block, $($rest:tt)*) => {
        $crate::__select!(@put sure $taken $stock ($p, $f, true, $e) $($rest)*)
    };
    (@take $sure:ident $of:ident $taken:tt $stock:tt $p:pat = $f:expr => $e:block $($rest:tt)*) => {
        $crate::__select!(@put sure $taken $stock ($p, $f, true, $e) $($rest)*)
    };
    (@take $sure:ident $of:ident $taken:tt $stock:tt $p:pat = $f:expr => $e:expr, $($rest:tt)*) => {
        $crate::__select!(@put sure $taken $stock ($p, $f, true, $e) $($rest)*)
    };
    (@take $sure:ident $of:ident $taken:tt $stock:tt $p:pat = $f:expr => $e:expr) => {
        $crate::__select!(@put sure $taken $stock ($p, $f, true, $e))
    };
    (@put $sure:ident [$($taken:tt)*] [($letter:ident $flag:ident $of:ident) $($stock:tt)*] $branch:tt $($rest:tt)*) => {
        $crate::__select!(@take $sure $of [$($taken)* ($letter $flag $branch)] [$($stock)*] $($rest)*)
    };
    (@race $of:ident [$(($letter:ident $flag:ident ($p:pat, $f:expr, $c:expr, $e:expr)))+] $($else:expr)?) => {{
        $(let $flag: bool = $c;)+
        let _some = $($flag)||+;
        $(if !_some { $else } else)? {
            match $crate::race(($(
                async {
                    if $flag {
                        $crate::__branches::$of::$letter($f.await)
                    } else {
                        $crate::__branches::pending().await
                    }
                },
            )+)).await {
                $($crate::__branches::$of::$letter($p) => $e,)+
            }
        }
    }};
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

/// A branch whose condition does not hold.
pub use std::future::pending;

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
    Of1: A;
    Of2: A B;
    Of3: A B C;
    Of4: A B C D;
    Of5: A B C D E;
    Of6: A B C D E F;
    Of7: A B C D E F G;
    Of8: A B C D E F G H;
    Of9: A B C D E F G H I;
    Of10: A B C D E F G H I J;
    Of11: A B C D E F G H I J K;
    Of12: A B C D E F G H I J K L;
}
