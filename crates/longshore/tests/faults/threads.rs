//! How many threads there are, and what they cost when nothing happens (S1, S103, S151).

use super::support::*;
use longshore::*;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Processor time of the threads of all servers in clock ticks, and how many there are.
/// Source: `proc_pid_stat(5)`: `comm` in parentheses, then `utime` and `stime` as fields 14 and 15.
#[cfg(target_os = "linux")]
fn threads() -> (usize, u64) {
    let (mut count, mut ticks) = (0, 0);
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end while it is looked at.
        let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (name, fields) = stat.split_once(") ").unwrap();
        if name.contains("(longshore-") && !name.contains("signals") {
            let fields: Vec<&str> = fields.split(' ').collect();
            count += 1;
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    (count, ticks)
}

// Threads are listed in /proc.
#[cfg(target_os = "linux")]
#[test]
fn s001_a_few_threads_serve_a_thousand_and_all_of_them_are_joined() {
    on_each_driver(|driver| {
        assert_eq!(threads().0, 0, "of the test before");
        let running = Running::echo(driver, |builder| builder.workers(2));
        assert_eq!(threads().0, 3, "two workers and the door");
        let count = 1_000;
        let mut streams: Vec<_> =
            (0..count).map(|number| connect_from(1 + number / 250, running.addr)).collect();
        for stream in &mut streams {
            ping(stream, b"served");
        }
        assert_eq!(threads().0, 3);
        running.stop(Duration::ZERO);
        assert_eq!(threads().0, 0, "a thread was not joined");
        reached("S1", driver, format_args!("{count} connections on 3 threads"));
    });
}

#[test]
fn s151_silence_costs_no_processor_time() {
    on_each_driver(|driver| {
        let limits = Limits::new().first_byte(Duration::ZERO);
        let running = Running::handled(
            driver,
            listener().limits(limits),
            |builder| builder.workers(2),
            |_| Silent,
        );
        let mut streams: Vec<_> =
            (0..500).map(|number| connect_from(1 + number / 250, running.addr)).collect();
        for stream in &mut streams {
            send(stream, b"heard");
        }
        let heard = || running.server.snapshot().messages_in;
        while heard() < 500 {
            std::thread::yield_now();
        }
        let turns = running.server.snapshot().turns;
        #[cfg(target_os = "linux")]
        let (_, ticks) = threads();
        let (_open, never) = channel::<()>();
        never.recv_timeout(Duration::from_secs(1)).unwrap_err(); // a second goes by
        // A worker that looks once more before it sleeps is at rest by then; a hundred ticks would
        // be one that never sleeps.
        #[cfg(target_os = "linux")]
        {
            let ticks = threads().1 - ticks;
            assert!(ticks <= 10, "{ticks} ticks of processor time in a second of silence");
            reached("S151", driver, format_args!("{ticks} ticks in a second"));
        }
        let turns = running.server.snapshot().turns - turns;
        assert!(turns <= 30, "{turns} turns in a second of silence");
        running.stop(Duration::ZERO);
        reached("S151", driver, format_args!("{turns} turns in a second"));
    });
}

/// Answers nothing.
struct Silent;

impl Handler for Silent {
    type Codec = LengthDelimited;

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        Ok(())
    }
}
