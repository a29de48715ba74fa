//! Several futures or tasks awaited together: all of them, the first of them, one after the other as they end.

pub(crate) mod as_completed;
mod chain;
mod fair;
pub(crate) mod gather;
mod many;
pub(crate) mod race;
pub(crate) mod select;
pub(crate) mod shield;
pub(crate) mod try_gather;
pub(crate) mod wait;

/// Marks what is implemented for tuples; see [`Gather`](crate::Gather). Nothing is ever one.
#[derive(Clone, Copy, Debug)]
pub enum OfTuple {}

/// Marks what is implemented for whatever can be iterated; see [`Gather`](crate::Gather). Nothing is ever one.
#[derive(Clone, Copy, Debug)]
pub enum OfIterator {}

/// Calls a macro with the names of each number of futures, from one to twelve.
macro_rules! for_each_arity {
    ($each:ident) => {
        $each!(A TA a);
        $each!(A TA a, B TB b);
        $each!(A TA a, B TB b, C TC c);
        $each!(A TA a, B TB b, C TC c, D TD d);
        $each!(A TA a, B TB b, C TC c, D TD d, F TF f);
        $each!(A TA a, B TB b, C TC c, D TD d, F TF f, G TG g);
        $each!(A TA a, B TB b, C TC c, D TD d, F TF f, G TG g, H TH h);
        $each!(A TA a, B TB b, C TC c, D TD d, F TF f, G TG g, H TH h, I TI i);
        $each!(A TA a, B TB b, C TC c, D TD d, F TF f, G TG g, H TH h, I TI i, J TJ j);
        $each!(A TA a, B TB b, C TC c, D TD d, F TF f, G TG g, H TH h, I TI i, J TJ j, K TK k);
        $each!(A TA a, B TB b, C TC c, D TD d, F TF f, G TG g, H TH h, I TI i, J TJ j, K TK k, L TL l);
        $each!(A TA a, B TB b, C TC c, D TD d, F TF f, G TG g, H TH h, I TI i, J TJ j, K TK k, L TL l, M TM m);
    };
}

/// `linked!(new: a, b)` is the chain of `new(a)` and `new(b)`.
macro_rules! linked {
    ($new:path:) => { crate::combine::chain::End };
    ($new:path: $first:ident $(, $rest:ident)*) => {
        crate::combine::chain::Link::new($new($first), linked!($new: $($rest),*))
    };
}

/// `nested!(a, b)` is the pattern `(a, (b, ()))`, in which a chain gives its outputs.
macro_rules! nested {
    () => { () };
    ($first:ident $(, $rest:ident)*) => { ($first, nested!($($rest),*)) };
}

use {for_each_arity, linked, nested};
