//! What all stores of a node share, and how much of it one app may have.
//!
//! An app may hold so many times what is still free: a dynamic threshold (Choudhury and Hahne,
//! "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998). One app that takes
//! all it can get stops at 7/8, two at 7/15 each, and whatever others hold, there is something
//! free for an app that has little. No share is reserved for an app that does not use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often what is free an app may hold.
const SHARE: u64 = 7;
/// The same where little is asked for: a request that needs no more than that should begin beside
/// those of its own app that take all they can get.
const SHARE_OF_LITTLE: u64 = 63;

/// A ceiling on something, bytes of memory or instances, for many stores together: an app's, or
/// the whole node's.
#[derive(Debug)]
pub struct Budget {
    name: String,
    limit: AtomicU64,
    used: AtomicU64,
    /// The node's, for an app's.
    node: Option<Arc<Budget>>,
}

/// Why a budget has no room.
#[derive(Debug)]
pub(crate) enum Full<'a> {
    /// All of this one is in use.
    Spent(&'a Budget),
    /// The app has its fair share of this one, the node's.
    Share(&'a Budget),
}

/// How much of its app a request for more makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Little,
    Much,
}

impl Budget {
    /// A node's budget of `limit`.
    pub fn of_node(limit: u64) -> Arc<Budget> {
        Arc::new(Budget {
            name: "node".to_owned(),
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            node: None,
        })
    }

    /// The budget of the app `name`, a share of the node's, with a limit of its own if there is
    /// one.
    pub fn of_app(name: &str, limit: Option<u64>, node: &Arc<Budget>) -> Arc<Budget> {
        Arc::new(Budget {
            name: name.to_owned(),
            limit: AtomicU64::new(limit.unwrap_or(u64::MAX)),
            used: AtomicU64::new(0),
            node: Some(Arc::clone(node)),
        })
    }

    /// Whose it is: `node`, or the app's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_app_s(&self) -> bool {
        self.node.is_some()
    }

    /// What may be used; for an app without a limit of its own, what the node has.
    pub fn limit(&self) -> u64 {
        let own = self.limit.load(Ordering::Relaxed);
        match &self.node {
            Some(node) => own.min(node.limit()),
            None => own,
        }
    }

    /// Sets another limit of its own. What is used beyond it stays until it is given back.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.limit
            .store(limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What is in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `amount`, until what comes back is dropped. `None` if this app cannot have so much.
    pub fn hold(self: &Arc<Self>, amount: u64) -> Option<Held> {
        self.take(amount, Need::Much).ok()?;
        Some(Held {
            budget: Arc::clone(self),
            amount,
        })
    }

    /// Takes `amount`, or names the budget that has no room.
    pub(crate) fn take(&self, amount: u64, need: Need) -> Result<(), Full<'_>> {
        let own = self.add(amount, |_| true).ok_or(Full::Spent(self))?;
        let Some(node) = &self.node else {
            return Ok(());
        };
        let share = match need {
            Need::Little => SHARE_OF_LITTLE,
            Need::Much => SHARE,
        };
        let is_fair = |free: u64| own <= free.saturating_mul(share);
        if node.add(amount, is_fair).is_some() {
            return Ok(());
        }
        self.used.fetch_sub(amount, Ordering::AcqRel);
        // Others may have taken or given back since; it is for the report only.
        let has_room = node.used().saturating_add(amount) <= node.limit();
        Err(match has_room {
            true => Full::Share(node),
            false => Full::Spent(node),
        })
    }

    /// Adds `amount` if what is free then is enough for `is_enough`; gives the sum.
    fn add(&self, amount: u64, is_enough: impl Fn(u64) -> bool) -> Option<u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        let sum = |used: u64| {
            let total = used.checked_add(amount)?;
            let free = limit.checked_sub(total)?;
            is_enough(free).then_some(total)
        };
        let before = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, sum);
        before.ok().map(|before| before + amount)
    }

    pub(crate) fn give_back(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::AcqRel);
        if let Some(node) = &self.node {
            node.give_back(amount);
        }
    }
}

/// Part of a budget, until it is dropped.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    amount: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Full<'_> {
        fn name(&self) -> String {
            match self {
                Full::Spent(budget) => budget.name().to_owned(),
                Full::Share(budget) => format!("share of {}", budget.name()),
            }
        }
    }

    /// Takes one after the other until there is no more.
    fn take_all(budget: &Budget, need: Need) -> u64 {
        (0..).find(|_| budget.take(1, need).is_err()).unwrap()
    }

    #[test]
    fn one_app_leaves_an_eighth_and_two_a_fifteenth() {
        let node = Budget::of_node(1200);
        let one = Budget::of_app("one", None, &node);
        assert_eq!(take_all(&one, Need::Much), 1050);
        assert_eq!(one.take(1, Need::Much).unwrap_err().name(), "share of node");
        let rest = Budget::of_app("rest", None, &node);
        assert_eq!(rest.take(151, Need::Much).unwrap_err().name(), "node");

        let node = Budget::of_node(1500);
        let apps = ["one", "two"].map(|name| Budget::of_app(name, None, &node));
        let in_turns = || apps.iter().filter(|app| app.take(1, Need::Much).is_ok());
        while in_turns().count() > 0 {}
        for app in &apps {
            assert!((690..=710).contains(&app.used()), "{}", app.used());
        }
        assert!(node.used() <= 1400, "{}", node.used());
    }

    #[test]
    fn whatever_one_takes_another_finds_room() {
        let node = Budget::of_node(6400);
        let greedy = Budget::of_app("greedy", None, &node);
        take_all(&greedy, Need::Much);
        take_all(&greedy, Need::Little);
        let free = 6400 - node.used();
        assert!(free >= 100, "{free}");
        let modest = Budget::of_app("modest", None, &node);
        assert!(take_all(&modest, Need::Much) >= free * 3 / 4);
    }

    #[test]
    fn a_limit_of_its_own_binds_and_what_is_given_back_is_free() {
        let node = Budget::of_node(1000);
        let app = Budget::of_app("a", Some(10), &node);
        assert_eq!(take_all(&app, Need::Much), 10);
        assert_eq!(app.take(1, Need::Much).unwrap_err().name(), "a");
        assert_eq!((app.used(), node.used()), (10, 10));
        app.give_back(4);
        assert_eq!((app.used(), node.used()), (6, 6));
        app.set_limit(None);
        assert_eq!(app.limit(), 1000);
        let held = app.hold(3).unwrap();
        assert_eq!(node.used(), 9);
        drop(held);
        assert_eq!(node.used(), 6);
        assert!(app.take(u64::MAX, Need::Little).is_err());
        assert_eq!(
            (app.used(), node.used()),
            (6, 6),
            "nothing is kept of what failed"
        );
    }
}
