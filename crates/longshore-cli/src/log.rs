//! Lines that nobody has to read: whoever writes them never waits, and never fails.
//!
//! They go into a queue with a bound, and one thread writes them. A pipe that nobody reads stops
//! that thread only; what finds no room is dropped and counted, and the next line that goes out
//! says how many there were. A pipe without a reader, or a full disk, costs the lines themselves.
//!
//! All of stderr goes this way, and what a server says on stdout: it has to stop also when nobody
//! reads that it did.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that may wait to be written.
const LINES_MAX: usize = 1024;

/// How long the end of the program waits for the last lines.
const END_PATIENCE: Duration = Duration::from_millis(500);

/// The way to stderr.
static LOG: Log = Log::new();

/// The way to stdout, once [`start_answers`] was called.
static ANSWERS: Log = Log::new();

/// Lines on their way.
struct Log {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// How to say that lines were dropped.
    dropped_line: Mutex<fn(u64) -> String>,
}

struct Queue {
    lines: VecDeque<Vec<u8>>,
    dropped: u64,
    /// The thread is writing a line that it took out.
    writing: bool,
    /// There is such a thread.
    has_thread: bool,
    /// Who would wait for room is not wanted any more.
    patience_over: bool,
}

impl Log {
    const fn new() -> Self {
        let queue = Queue {
            lines: VecDeque::new(),
            dropped: 0,
            writing: false,
            has_thread: false,
            patience_over: false,
        };
        Self {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            dropped_line: Mutex::new(dropped_line),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.queue();
        if !queue.has_thread {
            write(line); // there is none to be had, and late is better than never
            return;
        }
        if queue.lines.len() == LINES_MAX {
            queue.dropped += 1;
            return;
        }
        queue.lines.push_back(line.to_vec());
        drop(queue);
        self.changed.notify_all();
    }

    /// A line of who waits for a reader, and leaves room for those who do not. Says whether it went
    /// in: not when such lines are no more wanted.
    fn push_patiently(&self, line: &[u8]) -> bool {
        let full = |queue: &mut Queue| queue.lines.len() >= LINES_MAX / 2 && !queue.patience_over;
        let waited = self.changed.wait_while(self.queue(), full);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        if queue.patience_over {
            return false;
        }
        queue.lines.push_back(line.to_vec());
        drop(queue);
        self.changed.notify_all();
        true
    }

    fn end_patience(&self) {
        self.queue().patience_over = true;
        self.changed.notify_all();
    }

    /// Waits for a line; first, where some were dropped, one that says so.
    fn take(&self) -> Vec<u8> {
        let mut queue = self.queue();
        queue.writing = false;
        self.changed.notify_all();
        let empty = |queue: &mut Queue| queue.lines.is_empty();
        queue = self.changed.wait_while(queue, empty).unwrap_or_else(PoisonError::into_inner);
        queue.writing = true;
        match mem::take(&mut queue.dropped) {
            0 => queue.lines.pop_front().unwrap_or_default(),
            count => {
                let say = self.dropped_line.lock().unwrap_or_else(PoisonError::into_inner);
                say(count).into()
            }
        }
    }

    /// Waits until all is written, at most for `patience`. Says whether it is.
    fn flush(&self, patience: Duration) -> bool {
        let busy = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        let waited = self.changed.wait_timeout_while(self.queue(), patience, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// A place in the queue, for who formats lines.
#[derive(Debug)]
pub(crate) struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread that writes. A panic is a line like others, and waits for nobody either.
pub(crate) fn start() {
    let writer = std::thread::Builder::new().name("longshore-log".into()).spawn(|| {
        loop {
            write(&LOG.take());
        }
    });
    if writer.is_ok() {
        LOG.queue().has_thread = true;
        std::panic::set_hook(Box::new(|panic| say(panic)));
    }
}

fn write(line: &[u8]) {
    let _ = io::stderr().write_all(line); // there is nobody to tell
}

/// A line for a person.
pub(crate) fn say(text: impl std::fmt::Display) {
    LOG.push(format!("{text}\n").as_bytes());
}

/// How many lines were dropped, in words.
fn dropped_line(count: u64) -> String {
    format!("{count} lines were dropped: nobody read them\n")
}

/// Lets answers go out by a thread of their own from now on, which `write` is called on, if there
/// is one to be had.
pub(crate) fn start_answers(write: fn(&[u8])) {
    let writer = std::thread::Builder::new().name("longshore-answers".into()).spawn(move || {
        loop {
            write(&ANSWERS.take());
        }
    });
    ANSWERS.queue().has_thread = writer.is_ok();
}

/// Has `say` make the line that tells how many answers were dropped.
pub(crate) fn tell_dropped_answers(say: fn(u64) -> String) {
    *ANSWERS.dropped_line.lock().unwrap_or_else(PoisonError::into_inner) = say;
}

/// An answer, if they have a thread. Says whether they have.
pub(crate) fn answer(line: &[u8]) -> bool {
    let has_thread = ANSWERS.queue().has_thread;
    if has_thread {
        ANSWERS.push(line);
    }
    has_thread
}

/// An answer of who waits for a reader, on a thread that nobody needs. Says whether it is on its way:
/// not when answers have no thread, nor after [`end_patience`].
pub(crate) fn patient_answer(line: &[u8]) -> bool {
    ANSWERS.queue().has_thread && ANSWERS.push_patiently(line)
}

/// From now on there is no [`patient_answer`] any more: what follows is the last that is said.
pub(crate) fn end_patience() {
    ANSWERS.end_patience();
}

/// Gives the last lines a moment to go out.
pub(crate) fn finish() {
    ANSWERS.flush(END_PATIENCE);
    LOG.flush(END_PATIENCE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_dropped_counted_and_told() {
        let log = Log::new();
        log.queue().has_thread = true;
        for number in 0..LINES_MAX + 3 {
            log.push(format!("{number}\n").as_bytes());
        }
        assert!(!log.flush(Duration::ZERO), "nobody has read");
        let told = String::from_utf8(log.take()).unwrap();
        assert_eq!(told, "3 lines were dropped: nobody read them\n");
        for number in 0..LINES_MAX {
            assert_eq!(log.take(), format!("{number}\n").as_bytes());
        }
        assert!(!log.flush(Duration::ZERO), "the last one is being written");
        log.queue().writing = false;
        assert!(log.flush(Duration::ZERO));
    }

    #[test]
    fn who_is_patient_drops_nothing_and_leaves_room_for_others() {
        static LOG: Log = Log::new();
        let patient = std::thread::spawn(|| {
            (0..4 * LINES_MAX).all(|number| LOG.push_patiently(format!("{number}\n").as_bytes()))
        });
        while LOG.queue().lines.len() < LINES_MAX / 2 {
            std::thread::yield_now();
        }
        for number in 0..4 * LINES_MAX {
            assert_eq!(LOG.take(), format!("{number}\n").as_bytes());
            assert!(LOG.queue().lines.len() <= LINES_MAX / 2);
        }
        assert!(patient.join().unwrap());
    }

    #[test]
    fn who_is_patient_is_sent_away_at_the_end() {
        static LOG: Log = Log::new();
        let patient = std::thread::spawn(|| while LOG.push_patiently(b"a line\n") {});
        while LOG.queue().lines.len() < LINES_MAX / 2 {
            std::thread::yield_now();
        }
        LOG.end_patience();
        patient.join().unwrap();
        assert_eq!(LOG.queue().lines.len(), LINES_MAX / 2);
    }

    /// Who waits for the last line hears of its end, with patience left.
    #[test]
    fn the_last_line_that_is_written_ends_a_flush() {
        static LOG: Log = Log::new();
        LOG.queue().has_thread = true; // the next one
        let (told, done) = std::sync::mpsc::channel();
        std::thread::spawn(|| {
            loop {
                LOG.take();
                std::thread::yield_now();
            }
        });
        std::thread::spawn(move || {
            for _ in 0..1_000 {
                LOG.push(b"a line\n");
                LOG.flush(Duration::from_secs(1_000));
            }
            told.send(())
        });
        assert!(done.recv_timeout(Duration::from_secs(30)).is_ok(), "it waits for nothing");
    }
}
