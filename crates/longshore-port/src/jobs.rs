//! Threads for blocking work: jobs and name look-ups. Nobody else in this crate starts a thread.

use crate::{Notify, Work, WorkDone};
use longshore_base::{Token, event};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

type Task = Box<dyn FnOnce() + Send>;

/// An idle thread ends after this long: threads of a peak go home.
const IDLE_THREAD: Duration = Duration::from_secs(10);

struct Queue {
    tasks: VecDeque<Task>,
    threads: usize,
    idle: usize,
}

/// Threads that are started when there is work for them, and end when there is none.
///
/// Cloning shares the threads. Nothing waits for them: work whose port is gone is dropped.
#[derive(Clone)]
pub struct JobPool {
    shared: Arc<(Mutex<Queue>, Condvar)>,
    threads_max: usize,
}

impl JobPool {
    /// A pool of at most `threads_max` threads, at least 1. Starts none yet.
    ///
    /// # Panics
    /// With `threads_max` 0.
    pub fn new(threads_max: usize) -> Self {
        assert!(threads_max > 0, "a job pool needs a thread");
        let queue = Queue { tasks: VecDeque::new(), threads: 0, idle: 0 };
        Self { shared: Arc::new((Mutex::new(queue), Condvar::new())), threads_max }
    }

    /// Queues `task`, starting a thread for it if all are busy and there may be more.
    fn run(&self, task: Task) {
        let (queue, wake) = &*self.shared;
        let mut q = queue.lock().unwrap_or_else(PoisonError::into_inner);
        q.tasks.push_back(task);
        if q.idle >= q.tasks.len() || q.threads == self.threads_max {
            wake.notify_one();
            return;
        }
        q.threads += 1;
        drop(q);
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new()
            .name("longshore-job".into())
            .spawn(move || run_tasks(&shared));
        if let Err(error) = started {
            event!(error, %error, "cannot start a job thread");
            let mut q = queue.lock().unwrap_or_else(PoisonError::into_inner);
            q.threads -= 1;
            if q.threads == 0 {
                let stranded = std::mem::take(&mut q.tasks);
                drop(q);
                for task in stranded {
                    task(); // slow, but nothing is lost
                }
            }
        }
    }
}

fn run_tasks((queue, wake): &(Mutex<Queue>, Condvar)) {
    let mut q = queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(task) = q.tasks.pop_front() {
            drop(q);
            task();
            q = queue.lock().unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        q.idle += 1;
        let (back, waited) =
            wake.wait_timeout(q, IDLE_THREAD).unwrap_or_else(PoisonError::into_inner);
        q = back;
        q.idle -= 1;
        if waited.timed_out() && q.tasks.is_empty() {
            q.threads -= 1;
            return;
        }
    }
}

impl fmt::Debug for JobPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobPool").field("threads_max", &self.threads_max).finish_non_exhaustive()
    }
}

/// Where a driver hands work out and gets it back, between its thread and the job threads.
#[derive(Debug)]
pub(crate) struct WorkDesk {
    pool: JobPool,
    done: Arc<Mutex<Vec<(Token, WorkDone)>>>,
}

impl WorkDesk {
    pub(crate) fn new(pool: JobPool) -> Self {
        Self { pool, done: Arc::default() }
    }

    /// Starts `work`; `notifier` wakes the port when it is done.
    pub(crate) fn start<N: Notify>(&self, token: Token, work: Work, notifier: N) {
        let done = Arc::clone(&self.done);
        self.pool.run(Box::new(move || {
            let result = work.run();
            done.lock().unwrap_or_else(PoisonError::into_inner).push((token, result));
            notifier.notify();
        }));
    }

    /// What is done, at most `most`, in the order it was done.
    pub(crate) fn take(&self, most: usize) -> Vec<(Token, WorkDone)> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let count = done.len().min(most);
        done.drain(..count).collect()
    }
}
