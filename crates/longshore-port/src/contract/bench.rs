//! Where the suite runs.

use crate::{FileHandle, World};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file of a test, and what makes it another length.
pub type TestFile = (FileHandle, Box<dyn Fn(u64)>);

/// A world to run the suite in.
pub trait Bench {
    /// Which one.
    type World: World;

    /// The world of this run; each call gives the same one.
    fn world(&self) -> Self::World;

    /// Called when no port has anything to say: a simulation moves its clock. Says whether
    /// something is still under way that will happen without any port's doing.
    fn idle(&self) -> bool {
        false
    }

    /// Whether `wait` blocks until its time. A simulated one says what is due and returns.
    fn blocks(&self) -> bool {
        true
    }

    /// A file with these bytes.
    fn file(&self, bytes: &[u8]) -> TestFile {
        static FILES: AtomicU64 = AtomicU64::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("longshore-contract-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = std::fs::OpenOptions::new();
        let made = options.read(true).write(true).create_new(true).open(&path);
        let mut file = made.expect("a file in the folder for temporary ones");
        file.write_all(bytes).expect("room on the disk");
        let other = file.try_clone().expect("a second descriptor");
        std::fs::remove_file(&path).expect("it was just made"); // lives as long as it is open
        let set_len = move |len| other.set_len(len).expect("an open file");
        (file.into(), Box::new(set_len))
    }

    /// Whether sends end short, and refusals come, by chance.
    fn is_simulated(&self) -> bool {
        false
    }

    /// Runs `task` beside the thread of the ports. Where there is one thread: at once.
    fn meanwhile(&self, task: Box<dyn FnOnce() + Send>) {
        std::thread::spawn(task);
    }
}
