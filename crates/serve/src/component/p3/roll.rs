//! The requests that a shared instance has taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wharf_engine::{CpuMeter, Fault, FaultKind};

use crate::component::link::Link;
use crate::component::output::AtWork;
use crate::component::ticket::{Others, Stage, Ticket};

/// How long a guest may go on for a client that left: if it works for nobody else, it is ended
/// then; else what goes on does not count among the requests at once any more.
pub(super) const LEAVING: Duration = Duration::from_millis(500);

/// What the inside of the guest's loop, which takes and answers requests, and its outside, which
/// looks after deadlines, know of the instance.
pub(super) struct Roll {
    link: Arc<Link>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// Requests taken since the instance was made.
    taken: usize,
    /// One was taken in this poll, or before the first.
    takes_one: bool,
    has_room: bool,
    /// Since when no task is left.
    resting_since: Option<Instant>,
}

struct Entry {
    ticket: Ticket,
    /// What its task prints is known to be the request's as long as this is held.
    at_work: Option<AtWork>,
}

/// Who needs the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Somebody waits or reads.
    Wanted,
    /// Nobody, and it has done all since then.
    Resting(Instant),
    /// Nobody, but it is at work. If it is retired, then for clients that left.
    Alone {
        /// It takes no more requests.
        is_retired: bool,
    },
}

impl State {
    fn others(&self) -> Others {
        Others {
            now: self.entries.len() > 1,
            ever: self.taken > 1,
        }
    }
}

impl Roll {
    pub(super) fn new(meter: CpuMeter) -> Roll {
        Roll {
            link: Arc::new(Link::new(meter)),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Takes a request; false if nobody waits for it any more.
    pub(super) fn take(&self, ticket: &Ticket) -> bool {
        if !ticket.take(&self.link) {
            return false;
        }
        self.link.meter().request_begins();
        let mut state = self.lock();
        state.taken += 1;
        state.takes_one = true;
        state.resting_since = None;
        state.entries.push(Entry {
            ticket: ticket.clone(),
            at_work: None,
        });
        true
    }

    /// A request could not even begin: earlier ones left no room for it.
    pub(super) fn give_up(&self, ticket: &Ticket, fault: &Fault) {
        self.link.retire();
        let others = self.lock().others();
        ticket.ended(Some(fault), others);
    }

    /// What the request's task prints is the request's until it is over.
    pub(super) fn prints(&self, ticket: &Ticket, at_work: AtWork) {
        let mut state = self.lock();
        let mut entries = state.entries.iter_mut().rev();
        if let Some(entry) = entries.find(|entry| entry.ticket.id() == ticket.id()) {
            entry.at_work = Some(at_work);
        }
    }

    /// Requests taken, and those of them that are not over.
    pub(super) fn counts(&self) -> (usize, usize) {
        let mut state = self.lock();
        self.forget_those_over(&mut state);
        (state.taken, state.entries.len())
    }

    fn forget_those_over(&self, state: &mut State) {
        state.entries.retain(|entry| {
            let stays = entry.ticket.stage() != Stage::Over;
            if !stays {
                self.link.meter().request_ends();
            }
            stays
        });
    }

    pub(super) fn poll_begins(&self) {
        self.lock().has_room = false;
    }

    /// Whether the guest's loop was reached in the poll, and found room for a request.
    pub(super) fn poll_ends(&self) -> bool {
        let mut state = self.lock();
        state.takes_one = false;
        state.has_room
    }

    pub(super) fn takes_one(&self) -> bool {
        self.lock().takes_one
    }

    pub(super) fn set_room(&self, has_room: bool) {
        self.lock().has_room = has_room;
        self.link.set_full(!has_room);
    }

    /// No task is left. True if nobody reads, either.
    pub(super) fn rests(&self) -> bool {
        let mut state = self.lock();
        for entry in &state.entries {
            if matches!(entry.ticket.stage(), Stage::Left(_)) {
                entry.ticket.over();
            }
        }
        self.forget_those_over(&mut state);
        let rests = state.entries.is_empty();
        if rests {
            state.resting_since.get_or_insert_with(Instant::now);
        }
        rests
    }

    /// Who needs the instance at `now`.
    pub(super) fn need(&self, now: Instant) -> Need {
        let mut state = self.lock();
        let mut is_wanted = false;
        for entry in &state.entries {
            match entry.ticket.stage() {
                Stage::Waiting | Stage::Reading => is_wanted = true,
                // What goes on is bounded by the CPU limit: nothing adds to a retired
                // instance's budget.
                Stage::Left(since) if since + LEAVING <= now => entry.ticket.over(),
                Stage::Left(_) | Stage::Over => {}
            }
        }
        self.forget_those_over(&mut state);
        match state.resting_since {
            _ if is_wanted => Need::Wanted,
            Some(since) => Need::Resting(since),
            None => Need::Alone {
                is_retired: self.link.is_retired(),
            },
        }
    }

    /// The instance failed. True if the fault is for its log: nobody who waits will tell of it.
    pub(super) fn doom(&self, fault: &Fault) -> bool {
        let state = self.lock();
        let others = state.others();
        let mut is_told = false;
        for Entry { ticket, .. } in &state.entries {
            ticket.doom(fault);
            is_told |= ticket.stage() == Stage::Waiting && !ticket.is_run_again(fault, others);
        }
        !is_told
    }

    /// The instance is gone.
    pub(super) fn end(&self, fault: Option<&Fault>) {
        let (entries, others) = {
            let mut state = self.lock();
            let others = state.others();
            (std::mem::take(&mut state.entries), others)
        };
        for Entry { ticket, .. } in entries {
            ticket.ended(fault, others);
            self.link.meter().request_ends();
        }
    }
}

impl Drop for Roll {
    fn drop(&mut self) {
        // Only a panic leaves some.
        let fault = Fault::new(FaultKind::Host, "the instance was lost");
        self.doom(&fault);
        self.end(Some(&fault));
    }
}
