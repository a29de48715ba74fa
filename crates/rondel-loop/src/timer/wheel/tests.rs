use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;
const YEAR: u64 = 365 * 24 * 3600 * SECOND;

/// What a wheel should do, told by an ordered map; every step is done to both and compared.
struct Model {
    wheel: Wheel<u64>,
    now: u64,
    order: u64,
    ids: u64,
    /// (deadline, order of insertion) to id.
    alive: BTreeMap<(u64, u64), u64>,
    /// Where an id is in `alive`, and its key.
    timers: BTreeMap<u64, (TimerKey, (u64, u64))>,
    dead: Vec<TimerKey>,
}

impl Model {
    fn new() -> Self {
        Self {
            wheel: Wheel::new(),
            now: 0,
            order: 0,
            ids: 0,
            alive: BTreeMap::new(),
            timers: BTreeMap::new(),
            dead: Vec::new(),
        }
    }

    fn insert(&mut self, deadline: u64) {
        let (id, at) = (self.ids, (deadline, self.order));
        self.ids += 1;
        self.order += 1;
        let key = self.wheel.insert(deadline, id);
        self.alive.insert(at, id);
        self.timers.insert(id, (key, at));
    }

    fn pick(&self, choice: usize) -> Option<u64> {
        let count = self.timers.len();
        (count > 0).then(|| *self.timers.keys().nth(choice % count).unwrap())
    }

    fn remove(&mut self, choice: usize) {
        let Some(id) = self.pick(choice) else { return };
        let (key, at) = self.timers.remove(&id).unwrap();
        self.alive.remove(&at);
        assert_eq!(self.wheel.remove(key), Some(id));
        self.dead.push(key);
    }

    fn reschedule(&mut self, choice: usize, deadline: u64) {
        let Some(id) = self.pick(choice) else { return };
        let (key, at) = self.timers[&id];
        let moved = (deadline, self.order);
        self.order += 1;
        self.alive.remove(&at);
        self.alive.insert(moved, id);
        self.timers.insert(id, (key, moved));
        assert!(self.wheel.reschedule(key, deadline));
    }

    fn expire(&mut self, now: u64) {
        self.now = self.now.max(now);
        let mut fired = Vec::new();
        self.wheel.expire(now, &mut fired);

        let mut expected = Vec::new();
        while let Some(first) = self.alive.first_entry().filter(|e| e.key().0 <= self.now) {
            let id = first.remove();
            self.dead.push(self.timers.remove(&id).unwrap().0);
            expected.push(id);
        }
        assert_eq!(fired, expected);
    }

    fn check(&mut self) {
        check_structure(&self.wheel);
        assert_eq!(self.wheel.len(), self.alive.len());
        assert_eq!(self.wheel.is_empty(), self.alive.is_empty());
        let earliest = self.alive.keys().next().map(|at| at.0);
        assert_eq!(self.wheel.next_deadline(), earliest);
        check_wake(&self.wheel, self.now);

        for (&id, &(key, at)) in &self.timers {
            assert_eq!(self.wheel.deadline(key), Some(at.0));
            assert_eq!(self.wheel.get_mut(key).copied(), Some(id));
        }
        for key in self.dead.drain(..) {
            assert_eq!(self.wheel.deadline(key), None);
            assert_eq!(self.wheel.get_mut(key), None);
            assert_eq!(self.wheel.remove(key), None);
            assert!(!self.wheel.reschedule(key, 1));
        }
    }
}

/// `next_wake` neither comes later than it may nor makes the loop spin.
fn check_wake<A>(wheel: &Wheel<A>, now: u64) {
    let (earliest, wake) = (wheel.next_deadline(), wheel.next_wake());
    assert_eq!(earliest.is_some(), wake.is_some());
    let (Some(earliest), Some(wake)) = (earliest, wake) else {
        return;
    };
    if earliest <= now {
        assert!(wake <= now);
    } else {
        assert!(wake > now);
        assert!(wake <= earliest.saturating_add(COALESCE));
        if wheel.len() <= CROWD {
            assert_eq!(wake, earliest);
        }
    }
}

/// The lists, the bit maps, the count and the places are what the module says they are.
fn check_structure<A>(wheel: &Wheel<A>) {
    let mut linked = 0;
    for list in 0..wheel.lists.len() {
        let (level, slot) = (list / SLOTS, list % SLOTS);
        let occupied = wheel.slots[level] & (1 << slot) != 0;
        assert_eq!(occupied, wheel.lists[list].head != NIL);
        let (mut prev, mut index) = (NIL, wheel.lists[list].head);
        while index != NIL {
            let entry = &wheel.entries[index as usize];
            assert!(entry.action.is_some());
            assert_eq!((entry.prev, usize::from(entry.list)), (prev, list));
            let at = entry.deadline.max(wheel.base);
            assert_eq!(level, level_of(at ^ wheel.base));
            assert_eq!(slot, slot_of(at, level));
            linked += 1;
            (prev, index) = (index, entry.next);
        }
        assert_eq!(wheel.lists[list].tail, prev);
    }
    assert_eq!(linked, wheel.len());
    for level in 0..LEVELS {
        assert_eq!(wheel.levels & (1 << level) != 0, wheel.slots[level] != 0);
    }
    let mut unused = 0;
    let mut index = wheel.free;
    while let Some(entry) = wheel.entries.get(index as usize) {
        assert!(entry.action.is_none());
        unused += 1;
        index = entry.next;
    }
    assert_eq!(linked + unused, wheel.entries.len());
}

#[derive(Clone, Copy, Debug)]
enum When {
    After(u64),
    Before(u64),
    At(u64),
    /// The deadline of a timer that is alive.
    Tie(usize),
}

impl When {
    fn of(self, model: &Model) -> u64 {
        match self {
            Self::After(distance) => model.now.saturating_add(distance),
            Self::Before(distance) => model.now.saturating_sub(distance),
            Self::At(time) => time,
            Self::Tie(choice) => model
                .pick(choice)
                .map_or(model.now, |id| model.timers[&id].1.0),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(When),
    /// Many at once, so that slots get crowded.
    Crowd(When, u8, u64),
    Remove(usize),
    Reschedule(usize, When),
    Expire(When),
    ExpireAtWake,
    ExpireAtDeadline,
}

/// All magnitudes alike, from a nanosecond to centuries.
fn distance() -> impl Strategy<Value = u64> {
    (0..64_u32, any::<u64>()).prop_map(|(bits, value)| value >> bits)
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        8 => distance().prop_map(When::After),
        2 => (0..100 * COALESCE).prop_map(When::After),
        1 => distance().prop_map(When::Before),
        1 => prop_oneof![Just(0), Just(u64::MAX), Just(1 << 63), Just((1 << 63) - 1), any::<u64>()]
            .prop_map(When::At),
        3 => any::<usize>().prop_map(When::Tie),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Time mostly takes small steps: one long one leaves nothing to go wrong.
    let advance = prop_oneof![
        4 => (0..40_u32, any::<u64>())
            .prop_map(|(bits, value)| When::After((value >> bits) >> 24)),
        1 => distance().prop_map(|d| When::After(d >> 8)),
        1 => distance().prop_map(When::Before),
        2 => any::<usize>().prop_map(When::Tie),
    ];
    prop_oneof![
        8 => when().prop_map(Step::Insert),
        1 => (when(), 1..30_u8, distance()).prop_map(|(w, n, gap)| Step::Crowd(w, n, gap >> 32)),
        3 => any::<usize>().prop_map(Step::Remove),
        3 => (any::<usize>(), when()).prop_map(|(i, w)| Step::Reschedule(i, w)),
        3 => advance.prop_map(Step::Expire),
        2 => Just(Step::ExpireAtWake),
        2 => Just(Step::ExpireAtDeadline),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1024)))]

    #[test]
    fn does_what_an_ordered_map_does(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Insert(when) => model.insert(when.of(&model)),
                Step::Crowd(when, count, gap) => {
                    let first = when.of(&model);
                    for i in 0..u64::from(count) {
                        model.insert(first.saturating_add(gap.saturating_mul(i)));
                    }
                }
                Step::Remove(choice) => model.remove(choice),
                Step::Reschedule(choice, when) => model.reschedule(choice, when.of(&model)),
                Step::Expire(when) => model.expire(when.of(&model)),
                Step::ExpireAtWake => {
                    if let Some(wake) = model.wheel.next_wake() {
                        model.expire(wake);
                    }
                }
                Step::ExpireAtDeadline => {
                    if let Some(deadline) = model.wheel.next_deadline() {
                        model.expire(deadline);
                    }
                }
            }
            model.check();
        }
        // Whatever is left comes out in the end, and the wake-ups lead there.
        let mut wakes = 0;
        let count = model.wheel.len();
        while let Some(wake) = model.wheel.next_wake() {
            model.expire(wake);
            wakes += 1;
        }
        model.check();
        prop_assert!(wakes <= count * LEVELS);
    }
}

/// A small deterministic generator (xorshift), for tests too large for proptest.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn fired<A>(wheel: &mut Wheel<A>, now: u64) -> Vec<A> {
    let mut due = Vec::new();
    wheel.expire(now, &mut due);
    due
}

#[test]
fn an_unused_wheel_allocates_nothing() {
    let mut wheel = Wheel::<u8>::new();
    assert_eq!(wheel.next_wake(), None);
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(fired(&mut wheel, u64::MAX), []);
    assert_eq!(
        wheel.entries.capacity() + wheel.lists.capacity() + wheel.batch.capacity(),
        0
    );
}

#[test]
fn an_entry_is_small() {
    assert_eq!(size_of::<Entry<Box<dyn FnOnce()>>>(), 40);
    assert_eq!(size_of::<Option<TimerKey>>(), 8);
}

#[test]
fn equal_deadlines_fire_in_order_through_every_level() {
    for level in 0..LEVELS {
        let deadline = 1 << shift(level);
        let mut wheel = Wheel::new();
        // Half of them filed far from the deadline, half when it is one nanosecond away.
        for i in 0..20 {
            wheel.insert(deadline, i);
        }
        // Approach it by one slot of each level below, so that they are re-filed each time.
        for below in (0..level).rev() {
            assert_eq!(fired(&mut wheel, deadline - (1 << shift(below))), []);
            check_structure(&wheel);
        }
        for i in 20..40 {
            wheel.insert(deadline, i);
        }
        assert_eq!(fired(&mut wheel, deadline - 1), []);
        assert_eq!(fired(&mut wheel, deadline), (0..40).collect::<Vec<_>>());
    }
}

#[test]
fn rescheduling_goes_behind_equals_and_keeps_the_key() {
    let mut wheel = Wheel::new();
    let a = wheel.insert(100, 'a');
    wheel.insert(100, 'b');
    wheel.insert(100, 'c');
    assert!(wheel.reschedule(a, 100));
    assert_eq!(wheel.deadline(a), Some(100));
    assert_eq!(fired(&mut wheel, 100), ['b', 'c', 'a']);
    assert!(!wheel.reschedule(a, 200));
}

#[test]
fn removing_leaves_the_others_of_the_slot() {
    for victims in 0..32_u32 {
        let mut wheel = Wheel::new();
        let keys = (0..5)
            .map(|i| wheel.insert(7 * SECOND, i))
            .collect::<Vec<_>>();
        let (gone, left) = (0..5_usize).partition::<Vec<_>, _>(|i| victims & (1 << i) != 0);
        for &i in &gone {
            assert_eq!(wheel.remove(keys[i]), Some(i));
            assert_eq!(wheel.remove(keys[i]), None);
            check_structure(&wheel);
        }
        assert_eq!(wheel.next_deadline().is_some(), !left.is_empty());
        assert_eq!(fired(&mut wheel, 8 * SECOND), left);
    }
}

#[test]
fn a_key_does_not_name_the_timer_that_took_its_entry() {
    let mut wheel = Wheel::new();
    let first = wheel.insert(1, "first");
    assert_eq!(fired(&mut wheel, 1), ["first"]);
    let second = wheel.insert(2, "second");
    assert_eq!(first.index, second.index);
    assert_eq!(wheel.get_mut(first), None);
    assert_eq!(wheel.remove(first), None);
    assert!(!wheel.reschedule(first, 3));
    assert_eq!(wheel.remove(second), Some("second"));
}

#[test]
fn generations_come_round_without_panic() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(1, ());
    wheel.entries[0].generation = NonZeroU32::MAX;
    assert_eq!(wheel.remove(key), None);
    assert_eq!(fired(&mut wheel, 1), [()]);
    assert_eq!(
        wheel.insert(1, ()),
        TimerKey {
            index: 0,
            generation: NonZeroU32::MIN
        }
    );
}

#[test]
fn the_ends_of_time() {
    let mut wheel = Wheel::new();
    wheel.insert(u64::MAX, "never");
    wheel.insert(u64::MAX - 1, "almost never");
    wheel.insert(0, "at once");
    assert_eq!(wheel.next_wake(), Some(0));
    assert_eq!(fired(&mut wheel, 0), ["at once"]);
    assert_eq!(wheel.next_wake(), Some(u64::MAX - 1));
    assert_eq!(fired(&mut wheel, u64::MAX - 1), ["almost never"]);
    assert_eq!(wheel.next_wake(), Some(u64::MAX));
    assert_eq!(fired(&mut wheel, u64::MAX), ["never"]);
    // At the end of time everything is due.
    wheel.insert(u64::MAX, "now");
    wheel.insert(0, "long past");
    assert!(wheel.next_wake().is_some());
    assert_eq!(fired(&mut wheel, u64::MAX), ["long past", "now"]);
    assert!(wheel.is_empty());
}

#[test]
fn time_that_goes_back_is_ignored() {
    let mut wheel = Wheel::new();
    assert_eq!(fired(&mut wheel, SECOND), Vec::<u8>::new());
    wheel.insert(SECOND + 10, 2);
    wheel.insert(SECOND - 10, 1);
    // The wheel has seen a whole second: what was due then is due, whatever this clock says.
    assert_eq!(fired(&mut wheel, 0), [1]);
    assert_eq!(fired(&mut wheel, SECOND + 9), []);
    assert_eq!(fired(&mut wheel, SECOND + 10), [2]);
}

#[test]
fn a_lone_far_timer_costs_one_wake() {
    for deadline in [1, COALESCE, SECOND + 1, YEAR + 1, u64::MAX] {
        let mut wheel = Wheel::new();
        wheel.insert(deadline, ());
        assert_eq!(wheel.next_wake(), Some(deadline));
        assert_eq!(fired(&mut wheel, deadline), [()]);
    }
}

#[test]
fn a_crowd_shares_its_wake_ups() {
    const COUNT: u64 = 100_000;
    const SPAN: u64 = 10 * MILLISECOND;
    let mut wheel = Wheel::new();
    let mut random = Random(7);
    for _ in 0..COUNT {
        wheel.insert(SECOND + random.below(SPAN), ());
    }
    let (mut wakes, mut count) = (0, 0);
    while let Some(wake) = wheel.next_wake() {
        check_wake(&wheel, wheel.base);
        count += fired(&mut wheel, wake).len() as u64;
        wakes += 1;
    }
    assert_eq!(count, COUNT);
    // One each time the coalescing span has passed, and one for each distant slot taken apart:
    // few of 4.2 ms each, and one on each level above.
    let distant = SPAN / (1 << shift(NEAR_LEVEL + 1)) + 2 + LEVELS as u64;
    assert!(wakes <= SPAN / COALESCE + 1 + distant, "{wakes} wake-ups");
}

#[test]
fn a_crowd_that_time_has_reached_is_still_a_crowd() {
    const GAP: u64 = 500;
    let mut wheel = Wheel::new();
    for i in 0..100 {
        wheel.insert(SECOND + i * GAP, i);
    }
    // Time stands in the middle of it; levels finer than the near one hold what is left.
    assert_eq!(fired(&mut wheel, SECOND + 10 * GAP).len(), 11);
    let (earliest, wake) = (SECOND + 11 * GAP, wheel.next_wake().unwrap());
    assert!(wake <= earliest + COALESCE && wake > earliest + COALESCE - (1 << shift(2)));
    // Once few are left, they are exact.
    assert_eq!(fired(&mut wheel, SECOND + 95 * GAP).len(), 85);
    assert_eq!(wheel.next_wake(), Some(SECOND + 96 * GAP));
    // One that is due already is not kept waiting by a crowd.
    for i in 0..100 {
        wheel.insert(SECOND + 60_000 + i, 1000 + i);
    }
    wheel.insert(1, 0);
    assert_eq!(wheel.next_wake(), Some(1));
}

#[test]
fn a_clock_that_jumps_sees_every_deadline() {
    // All in a few coarse slots, each at a nanosecond of its own. If timers that are not due were
    // looked at again each time, this would be some 10^10 looks.
    const COUNT: u64 = 200_000;
    let mut wheel = Wheel::new();
    for i in 0..COUNT {
        let scattered = (i * 77_773) % COUNT;
        wheel.insert(SECOND + scattered, scattered);
    }
    for i in 0..COUNT {
        assert_eq!(wheel.next_deadline(), Some(SECOND + i));
        assert_eq!(fired(&mut wheel, SECOND + i), [i]);
    }
    assert!(wheel.is_empty());
}

#[test]
fn a_million_alive() {
    const COUNT: u64 = 1_000_000;
    let mut wheel = Wheel::new();
    let mut random = Random(42);
    let mut deadlines = Vec::new();
    let mut keys = Vec::new();
    for id in 0..COUNT {
        let deadline = random.below(3600 * SECOND);
        deadlines.push(deadline);
        keys.push(wheel.insert(deadline, id));
    }
    assert_eq!(wheel.len() as u64, COUNT);
    for id in (0..COUNT).step_by(3) {
        assert_eq!(wheel.remove(keys[id as usize]), Some(id));
    }
    let mut count = 0;
    let mut last = (0, 0);
    let mut now = 0;
    while !wheel.is_empty() {
        let before = now;
        now += random.below(20 * SECOND);
        for id in fired(&mut wheel, now) {
            let at = (deadlines[id as usize], id);
            assert!(at > last && at.0 > before && at.0 <= now && id % 3 != 0);
            last = at;
            count += 1;
        }
    }
    assert_eq!(count, COUNT - COUNT.div_ceil(3));
    // Entries are used again: a second million takes no more room.
    let room = wheel.entries.capacity();
    for id in 0..COUNT {
        wheel.insert(now + id, id);
    }
    assert_eq!(wheel.entries.capacity(), room);
    assert_eq!(fired(&mut wheel, u64::MAX).len() as u64, COUNT);
    assert!(wheel.batch.capacity() <= BATCH_KEPT);
}
