//! The guards that a semaphore gives out.

use std::fmt;
use std::ptr;
use std::rc::Rc;

use super::Semaphore;
use crate::label;

/// One or more permits of a [`Semaphore`], given back when dropped.
///
/// Giving back hands the permits to those who wait and calls their wakers; a waker that panics does
/// so here.
#[must_use = "a permit that is dropped at once protects nothing"]
#[clippy::has_significant_drop]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

/// One or more permits of a [`Semaphore`] with a share of it, given back when dropped.
///
/// Giving back hands the permits to those who wait and calls their wakers; a waker that panics does
/// so here.
#[must_use = "a permit that is dropped at once protects nothing"]
#[clippy::has_significant_drop]
pub struct OwnedSemaphorePermit {
    semaphore: Rc<Semaphore>,
    permits: usize,
}

/// What both kinds can do; the kinds differ in how they hold on to the semaphore.
macro_rules! permit_methods {
    ($Permit:ident $(<$a:lifetime>)?, $Handle:ty) => {
        impl $(<$a>)? $Permit $(<$a>)? {
            pub(super) fn new(semaphore: $Handle, permits: usize) -> Self {
                label::took(semaphore.waiters.anchor());
                Self { semaphore, permits }
            }

            /// How many permits this is.
            pub fn permits(&self) -> usize {
                self.permits
            }

            /// The semaphore that they belong to.
            pub fn semaphore(&self) -> &Semaphore {
                &self.semaphore
            }

            /// Never gives them back: the semaphore has fewer permits from now on, until
            /// [some are added](Semaphore::add_permits).
            pub fn forget(mut self) {
                self.semaphore().forget(self.permits);
                self.permits = 0;
            }

            /// Splits some off as a permit of their own; `None` if there are not that many.
            pub fn split(&mut self, permits: usize) -> Option<Self> {
                self.permits = self.permits.checked_sub(permits)?;
                Some(Self::new(self.semaphore.clone(), permits))
            }

            /// Joins two permits into one.
            ///
            /// # Errors
            ///
            /// Gives `other` back if it belongs to another semaphore.
            pub fn merge(&mut self, mut other: Self) -> Result<(), Self> {
                if !ptr::eq(self.semaphore(), other.semaphore()) {
                    return Err(other);
                }
                // Both are part of the semaphore's total, which fits.
                self.permits += std::mem::take(&mut other.permits);
                Ok(())
            }
        }

        impl $(<$a>)? Drop for $Permit $(<$a>)? {
            #[inline]
            fn drop(&mut self) {
                if self.permits > 0 {
                    self.semaphore().give_back(self.permits);
                }
            }
        }

        impl $(<$a>)? fmt::Debug for $Permit $(<$a>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Permit))
                    .field("permits", &self.permits)
                    .field("semaphore", self.semaphore())
                    .finish()
            }
        }
    };
}

permit_methods!(SemaphorePermit<'a>, &'a Semaphore);
permit_methods!(OwnedSemaphorePermit, Rc<Semaphore>);
