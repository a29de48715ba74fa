//! What can be said about a child without holding it.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::wait::Waits;

/// What a group keeps for each of its members, the body among them.
#[derive(Debug)]
pub(crate) struct About {
    /// `None` for the body.
    site: Option<&'static Location<'static>>,
    name: Option<Rc<str>>,
    waits: Cell<Waits>,
    waits_on: Cell<u32>,
}

impl About {
    pub(super) const fn body() -> Self {
        Self {
            site: None,
            name: None,
            waits: Cell::new(Waits::NOTHING),
            waits_on: Cell::new(0),
        }
    }

    pub(super) const fn new(site: &'static Location<'static>, name: Option<Rc<str>>) -> Self {
        Self {
            site: Some(site),
            name,
            waits: Cell::new(Waits::NOTHING),
            waits_on: Cell::new(0),
        }
    }

    #[inline]
    pub(super) const fn is_body(&self) -> bool {
        self.site.is_none()
    }

    /// Its address, for it stays where it is as long as the child lives. A body is a part of whatever has the group: 0.
    pub(super) fn number(&self) -> u64 {
        if self.is_body() {
            return 0;
        }
        (&raw const *self).addr() as u64
    }

    /// Where it was spawned.
    pub(super) const fn site(&self) -> Option<&'static Location<'static>> {
        self.site
    }

    pub(super) const fn name(&self) -> Option<&Rc<str>> {
        self.name.as_ref()
    }

    /// It has been suspended, and this is what it waits for.
    #[inline]
    pub(super) fn note(&self, (waits, on): (Waits, u32)) {
        self.waits.set(waits);
        self.waits_on.set(on);
    }
}

/// A child of a group as it was when it was looked at; see [`TaskGroup::children`](crate::TaskGroup::children).
#[derive(Clone, Debug)]
pub struct ChildInfo {
    site: &'static Location<'static>,
    name: Option<Rc<str>>,
    waits: Waits,
    waits_on: u32,
    number: u64,
    around: u64,
}

impl ChildInfo {
    /// `None` for the body.
    pub(crate) fn of(about: &About) -> Option<Self> {
        Some(Self {
            number: about.number(),
            around: 0,
            site: about.site?,
            name: about.name.clone(),
            waits: about.waits.get(),
            waits_on: about.waits_on.get(),
        })
    }

    /// The same, of a group that is polled by this one.
    pub(super) fn inside(self, around: u64) -> Self {
        Self { around, ..self }
    }

    /// Whether both are one, as far as can be told.
    pub(super) fn is_named_as(&self, other: &Self) -> bool {
        std::ptr::eq(self.site, other.site) && self.name == other.name
    }

    /// What tells it from all other children that live at the same time; see
    /// [`Spawner::current_child`](crate::Spawner::current_child).
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The number of the child that has the group; 0 if the task itself has it, and where that is not known: it is for children that
    /// [`TaskInfo::children`](crate::TaskInfo::children) lists.
    pub const fn around(&self) -> u64 {
        self.around
    }

    /// The name it was given, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was spawned.
    pub const fn spawned_at(&self) -> &'static Location<'static> {
        self.site
    }

    /// What it waited for when it was last suspended. Known only inside an executor of this crate.
    pub const fn waits(&self) -> Waits {
        self.waits
    }

    /// What exactly; see [`TaskInfo::waits_on`](crate::TaskInfo::waits_on).
    pub const fn waits_on(&self) -> u32 {
        self.waits_on
    }
}

/// `"name" spawned at src/main.rs:10:5`.
impl fmt::Display for ChildInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?}")?,
            None => f.write_str("a child")?,
        }
        write!(f, " spawned at {}", self.site)
    }
}
