//! The room in the log's queue, and how much of it one app may have.
//!
//! As with memory (`wharf_engine::Budget`), an app may hold seven times what is free. However much
//! one has to say, there is room for the lines of another, and no room is kept for who is silent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How often what is free an app may hold.
const SHARE: usize = 7;

/// Lines, and about what they take in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// Lines by app; the node's own are under the empty name.
pub(super) type ByApp = BTreeMap<Arc<str>, u64>;

/// Counts what waits to be written.
#[derive(Debug)]
pub(super) struct Room {
    max: Amount,
    used: Amount,
    apps: HashMap<Arc<str>, Amount>,
    /// Lines that found no room since that was last told.
    untold: ByApp,
    /// The same, ever.
    refused: ByApp,
    node: Arc<str>,
}

impl Amount {
    /// `None` past `max`.
    fn plus_one(self, bytes: usize, max: Amount) -> Option<Amount> {
        let sum = Amount {
            events: self.events + 1,
            bytes: self.bytes.checked_add(bytes)?,
        };
        (sum.events <= max.events && sum.bytes <= max.bytes).then_some(sum)
    }
}

impl Room {
    pub(super) fn new(max: Amount) -> Room {
        Room {
            max,
            used: Amount::default(),
            apps: HashMap::new(),
            untold: ByApp::new(),
            refused: ByApp::new(),
            node: "".into(),
        }
    }

    /// Takes room for a line of `bytes` of `app`, or of the node itself. If this app cannot have
    /// so much, that is counted, and the line is to be dropped.
    pub(super) fn take(&mut self, app: Option<&Arc<str>>, bytes: usize) -> bool {
        let app = app.unwrap_or(&self.node);
        let held = self.apps.entry(Arc::clone(app)).or_default();
        let sums = self
            .used
            .plus_one(bytes, self.max)
            .zip(held.plus_one(bytes, self.max));
        let is_fair = |(used, own): &(Amount, Amount)| {
            let share = |max: usize, used: usize| (max - used).saturating_mul(SHARE);
            own.events <= share(self.max.events, used.events)
                && own.bytes <= share(self.max.bytes, used.bytes)
        };
        let Some((used, own)) = sums.filter(is_fair) else {
            for count in [&mut self.untold, &mut self.refused] {
                *count.entry(Arc::clone(app)).or_default() += 1;
            }
            return false;
        };
        self.used = used;
        *held = own;
        true
    }

    /// All that was held is taken out. Gives what found no room meanwhile, to be told.
    pub(super) fn empty(&mut self) -> ByApp {
        self.used = Amount::default();
        self.apps.clear();
        std::mem::take(&mut self.untold)
    }

    /// Whether lines found no room, and nobody was told.
    pub(super) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Lines that ever found no room.
    pub(super) fn refused(&self) -> &ByApp {
        &self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(events: usize, bytes: usize) -> Room {
        Room::new(Amount { events, bytes })
    }

    /// Takes one after the other until there is no more.
    fn take_all(room: &mut Room, app: &Arc<str>, bytes: usize) -> usize {
        (0..)
            .find(|_| !room.take(Some(app), bytes))
            .expect("it ends")
    }

    #[test]
    fn one_app_leaves_an_eighth_of_lines_and_of_bytes() {
        let (flood, modest): (Arc<str>, Arc<str>) = ("flood".into(), "modest".into());
        let mut room_by_lines = room(800, usize::MAX);
        assert_eq!(take_all(&mut room_by_lines, &flood, 1), 700);
        assert!(take_all(&mut room_by_lines, &modest, 1) >= 80);
        let mut room_by_bytes = room(usize::MAX, 8000);
        assert_eq!(take_all(&mut room_by_bytes, &flood, 10), 700);
        assert!(take_all(&mut room_by_bytes, &modest, 10) >= 80);
    }

    #[test]
    fn the_node_s_own_lines_have_a_share_like_an_app_s() {
        let mut room = room(80, usize::MAX);
        let flood = "flood".into();
        take_all(&mut room, &flood, 1);
        assert!(room.take(None, 1));
        while room.take(None, 1) {}
        assert!(room.take(Some(&"other".into()), 1));
    }

    #[test]
    fn what_finds_no_room_is_told_once_and_counted_for_ever() {
        let mut room = room(8, 100);
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        for _ in 0..10 {
            room.take(Some(&one), 1);
        }
        assert!(!room.take(Some(&two), 101), "more than there is at all");
        assert!(!room.take(Some(&two), usize::MAX));
        assert!(room.has_untold());
        let lost = |one: u64, two: u64| ByApp::from([("one".into(), one), ("two".into(), two)]);
        assert_eq!(room.empty(), lost(3, 2));
        assert!(!room.has_untold());
        assert_eq!(room.empty(), ByApp::new());
        assert_eq!(room.refused(), &lost(3, 2));
        assert_eq!(take_all(&mut room, &one, 1), 7, "all is free again");
        assert_eq!(room.refused()[&one], 4);
    }
}
