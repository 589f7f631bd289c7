//! Runs a handler and what it spawned: the part that both WASI versions share.
//!
//! A [`Task`] is one call of the handler with all futures spawned in it, each
//! in a [`Job`]. Waking a job puts it into its task's queue; the WASI version
//! decides how to wait when the queue is empty.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use crate::instance::instance_local;
use crate::wasi::Parked;

/// One call of the handler.
pub(crate) struct Task {
    ready: Cell<Vec<Arc<Job>>>,
    jobs: Cell<Vec<Arc<Job>>>,
    /// How to get the host to run this task again.
    pub(crate) parked: Parked,
}

/// A future of a task.
struct Job {
    future: Cell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    task: Arc<Task>,
    /// Where it lies in its task's `jobs`.
    slot: Cell<usize>,
    queued: Cell<bool>,
}

// SAFETY: a guest has one thread. On other targets the crate is built for its
// documentation and tests only, and a task there never leaves its thread.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}
// SAFETY: as above.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

instance_local! {
    static CURRENT: Cell<Option<Arc<Task>>> = Cell::new(None);
}

/// The task that runs now.
pub(crate) fn current() -> Option<Arc<Task>> {
    let task = CURRENT.take();
    CURRENT.set(task.clone());
    task
}

/// Runs a future beside the handler, also after the response's head was sent.
///
/// The call of the handler lasts until all that it spawned is done; the host
/// may end it earlier when the client leaves or a limit is reached.
///
/// # Panics
///
/// Outside a handler.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let task = current().expect("`wharf_sdk::spawn` works within a handler only");
    task.spawn(Box::pin(future));
}

impl Task {
    pub(crate) fn new(parked: Parked) -> Arc<Self> {
        Arc::new(Task {
            ready: Cell::default(),
            jobs: Cell::default(),
            parked,
        })
    }

    pub(crate) fn spawn(self: &Arc<Self>, future: Pin<Box<dyn Future<Output = ()>>>) {
        let mut jobs = self.jobs.take();
        let job = Arc::new(Job {
            future: Cell::new(Some(future)),
            task: self.clone(),
            slot: Cell::new(jobs.len()),
            queued: Cell::new(true),
        });
        jobs.push(job.clone());
        self.jobs.set(jobs);
        self.make_ready(job);
    }

    /// Runs something as a part of this task.
    pub(crate) fn enter(self: &Arc<Self>, work: impl FnOnce()) {
        let outer = CURRENT.replace(Some(self.clone()));
        work();
        CURRENT.set(outer);
    }

    /// Polls until no job is ready; says whether all are done.
    pub(crate) fn run(self: &Arc<Self>) -> bool {
        self.enter(|| {
            loop {
                let ready = self.ready.take();
                if ready.is_empty() {
                    break;
                }
                for job in ready {
                    job.poll();
                }
            }
        });
        let jobs = self.jobs.take();
        let done = jobs.is_empty();
        self.jobs.set(jobs);
        done
    }

    fn make_ready(&self, job: Arc<Job>) {
        let mut ready = self.ready.take();
        ready.push(job);
        self.ready.set(ready);
    }

    /// Drops what is left, when the host or a dead end stops the task.
    pub(crate) fn abandon(self: &Arc<Self>) {
        self.enter(|| {
            loop {
                // What is dropped may spawn.
                let jobs = self.jobs.take();
                if jobs.is_empty() {
                    break;
                }
                for job in jobs {
                    job.future.take();
                }
            }
            self.ready.take();
        });
    }

    fn remove(&self, slot: usize) {
        let mut jobs = self.jobs.take();
        let last = jobs.pop();
        if let (Some(place), Some(last)) = (jobs.get_mut(slot), last) {
            last.slot.set(slot);
            *place = last;
        }
        self.jobs.set(jobs);
    }
}

impl Job {
    fn poll(self: &Arc<Self>) {
        self.queued.set(false);
        let Some(mut future) = self.future.take() else {
            return;
        };
        let waker = Waker::from(self.clone());
        if future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            self.future.set(Some(future));
        } else {
            // Wakers that are left have nothing to wake.
            self.queued.set(true);
            self.task.remove(self.slot.get());
        }
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        if self.queued.replace(true) {
            return;
        }
        let task = self.task.clone();
        task.make_ready(self);
        let now = CURRENT.take();
        let runs_now = now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &task));
        CURRENT.set(now);
        if !runs_now {
            task.parked.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Poll;

    use super::{Task, current, spawn};
    use crate::Body;
    use crate::wasi::Parked;

    fn task() -> std::sync::Arc<Task> {
        Task::new(Parked::default())
    }

    #[test]
    fn a_task_ends_when_all_that_it_spawned_is_done() {
        let task = task();
        let done = Rc::new(Cell::new(0));
        let count = done.clone();
        task.spawn(Box::pin(async move {
            let (mut sender, mut body) = Body::channel();
            let counted = count.clone();
            spawn(async move {
                while let Ok(Some(_)) = body.chunk().await {
                    counted.set(counted.get() + 1);
                }
            });
            for _ in 0..5 {
                assert!(sender.send("chunk").await.is_ok());
            }
        }));
        assert!(task.run());
        assert_eq!(done.get(), 5);
        assert!(current().is_none());
    }

    #[test]
    fn a_job_may_wake_itself_and_a_stuck_task_is_abandoned() {
        let task = task();
        let dropped = Rc::new(());
        let held = dropped.clone();
        task.spawn(Box::pin(async move {
            let mut rounds = 0;
            poll_fn(|context| {
                rounds += 1;
                context.waker().wake_by_ref();
                if rounds < 3 {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            let _held = held;
            std::future::pending::<()>().await;
        }));
        assert!(!task.run());
        assert_eq!(Rc::strong_count(&dropped), 2);
        task.abandon();
        assert_eq!(Rc::strong_count(&dropped), 1);
        assert!(task.run());
    }
}
