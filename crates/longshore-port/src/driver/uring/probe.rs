//! What this kernel permits and can do: found out by trying, never by its version.
#![expect(unsafe_code, reason = "entries name descriptors and memory")]

use super::buffers::Buffers;
use super::features::Features;
use super::ring::{OPS, Patience, Ring, Setup};
use crate::PortConfig;
use io_uring::{cqueue, opcode, squeue, types};
use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Found once: a kernel does not change while it runs.
static FEATURES: OnceLock<Features> = OnceLock::new();

/// The features, or why there is no ring, in words for a person.
pub(super) fn features() -> Result<Features, String> {
    #[cfg(test)]
    if let Some(features) = older::features() {
        return Ok(features);
    }
    if let Some(features) = FEATURES.get() {
        return Ok(*features);
    }
    let found = try_out()?;
    Ok(*FEATURES.get_or_init(|| found))
}

/// Whether a ring with these features costs no more than epoll; if not, why, in words for a person.
///
/// Before its receives counted their bytes, each was an entry of its own into a block of its own:
/// `docs/performance.md` has what that costs.
pub(super) fn worth_it(features: Features) -> Result<(), String> {
    if features.recv_credit {
        return Ok(());
    }
    Err("this kernel's io_uring lacks receives that count their bytes (Linux 6.17); epoll costs \
         less there; --driver uring takes it all the same"
        .into())
}

/// Entries of the ring of a trial.
const ENTRIES: u32 = 8;

fn try_out() -> Result<Features, String> {
    let (setup, ring) =
        open_any().map_err(|error| why_no_ring(error.raw_os_error().unwrap_or(0)))?;
    let mut probe = io_uring::Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| format!("io_uring cannot say what it can do: {error}"))?;
    for (word, code) in OPS {
        if !probe.is_supported(code) {
            return Err(format!("io_uring of this kernel has no {word}: Linux 6.0 is needed"));
        }
    }
    drop(ring);
    let mut refused = 0;
    for (recv_credit, incremental) in [(true, true), (true, false), (false, false)] {
        let features = Features { setup, recv_credit, incremental, nonblocking: false };
        match exchange(features) {
            Ok(()) => {
                let best = Features { nonblocking: true, ..features };
                return Ok(if exchange(best).is_ok() { best } else { features });
            }
            Err(error) => refused = error.raw_os_error().unwrap_or(0),
        }
    }
    Err(match refused {
        libc::EINVAL | 0 => {
            "io_uring refuses receives into a ring of buffers: Linux 6.0 is needed".into()
        }
        code => why_no_ring(code),
    })
}

/// A ring with the best flags that this kernel takes.
fn open_any() -> io::Result<(Setup, Ring)> {
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for setup in Setup::ALL {
        match Ring::open(ENTRIES, setup) {
            Ok(ring) => return Ok((setup, ring)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// How long a trial may take that takes microseconds.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// Sends four bytes as the driver does and receives them as it does.
fn exchange(features: Features) -> io::Result<()> {
    let config = PortConfig { recv_blocks: 1, recv_block_bytes: 4096, ..PortConfig::default() };
    let pair = UnixStream::pair()?;
    pair.0.set_nonblocking(features.nonblocking)?;
    pair.1.set_nonblocking(features.nonblocking)?;
    let mut buffers; // gone after the ring, whatever fails
    let mut ring = Ring::open(ENTRIES, features.setup)?;
    buffers = Buffers::new(&ring, &config, features.incremental)?;
    ring.start()?;
    buffers.refill();
    let outcome = exchange_on(&mut ring, &pair, features);
    if outcome.is_err() {
        buffers.leak(); // whatever this kernel did, it may not be over
    }
    drop(ring); // before what it points to
    outcome
}

fn exchange_on(
    ring: &mut Ring,
    (ours, theirs): &(UnixStream, UnixStream),
    features: Features,
) -> io::Result<()> {
    const TEXT: &[u8] = b"ping";
    const PATIENCE: Patience = Patience::For(PATIENCE_MAX);
    let odd = |what: &str| io::Error::other(what.to_owned());
    let recv = features.recv_entry(types::Fd(ours.as_raw_fd()), 4).user_data(1);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    let send = opcode::Send::new(types::Fd(theirs.as_raw_fd()), TEXT.as_ptr(), 4)
        .flags(flags)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(2);
    for entry in [recv, send] {
        // SAFETY: the text is constant; buffers and sockets are the caller's, who keeps them
        // longer than the ring, or leaks them.
        unsafe { ring.push(entry) };
    }
    ring.enter(PATIENCE)?;
    let done = ring.next().ok_or_else(|| odd("no completion"))?;
    if done.result() < 0 {
        return Err(io::Error::from_raw_os_error(-done.result()));
    }
    let block = cqueue::buffer_select(done.flags());
    if done.user_data() != 1 || done.result() != 4 || block.is_none() {
        return Err(odd("an odd completion"));
    }
    if cqueue::more(done.flags()) {
        return Err(odd("a credit that does not hold"));
    }
    ring.free_completions();
    if features.nonblocking { wait_for_room(ring, ours, theirs) } else { Ok(()) }
}

/// Sends more than finds room, on sockets that do not block: whether the op waits all the same.
fn wait_for_room(ring: &mut Ring, mut ours: &UnixStream, theirs: &UnixStream) -> io::Result<()> {
    /// Twice what the system gives a socket for its sends, and more.
    const BYTES: usize = 1 << 20;
    let bytes = ManuallyDrop::new(vec![0; BYTES]);
    let fd = types::Fd(theirs.as_raw_fd());
    let len = u32::try_from(BYTES).expect("1 MiB");
    let send = opcode::Send::new(fd, bytes.as_ptr(), len)
        .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
        .build()
        .user_data(3);
    // SAFETY: the bytes are given back only when the op has returned, else leaked; the sockets are
    // the caller's, who keeps them longer than the ring.
    unsafe { ring.push(send) };
    let mut read = 0;
    let mut room = [0; 16 * 1024];
    let until = Instant::now() + PATIENCE_MAX;
    let result = loop {
        ring.enter(Patience::None)?;
        if let Some(done) = ring.next() {
            break done.result();
        }
        match ours.read(&mut room) {
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
    };
    drop(ManuallyDrop::into_inner(bytes));
    let whole = usize::try_from(result).is_ok_and(|count| count == BYTES);
    if whole && read > 0 { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// The administrator's switch. Source: kernel documentation, sysctl `kernel.io_uring_disabled`.
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// What an error number of a ring means, and what to do about it.
pub(super) fn why_no_ring(code: i32) -> String {
    match code {
        libc::EPERM | libc::EACCES => match std::fs::read_to_string(SWITCH) {
            Ok(text) => not_permitted(text.trim()),
            Err(_) => not_permitted("unknown"),
        },
        libc::ENOSYS => {
            "io_uring_setup: not there; the kernel is too old or built without it (Linux 6.0 is \
             needed), or a sandbox hides it"
                .into()
        }
        libc::EINVAL => {
            "io_uring_setup: this kernel's io_uring is too old: Linux 6.0 is needed".into()
        }
        libc::ENOMEM => {
            "io_uring_setup: no memory; the limit of locked memory may be too low (raise it with \
             ulimit -l or LimitMEMLOCK=)"
                .into()
        }
        libc::EMFILE | libc::ENFILE => {
            "io_uring_setup: out of file descriptors (raise the limit with ulimit -n)".into()
        }
        code => format!("io_uring_setup: {}", io::Error::from_raw_os_error(code)),
    }
}

fn not_permitted(switch: &str) -> String {
    match switch {
        "0" => "io_uring_setup: not permitted, and kernel.io_uring_disabled is 0, so a sandbox \
                refuses it: Docker's default seccomp profile does"
            .into(),
        "1" => "io_uring_setup: not permitted (kernel.io_uring_disabled = 1, set by the \
                administrator: only for the group in kernel.io_uring_group)"
            .into(),
        "2" => "io_uring_setup: not permitted (kernel.io_uring_disabled = 2, set by the \
                administrator)"
            .into(),
        _ => "io_uring_setup: not permitted; a sandbox may refuse it, Docker's default seccomp \
              profile does"
            .into(),
    }
}

/// A kernel of other features, for what a thread of tests opens.
#[cfg(test)]
mod older {
    use super::Features;
    use std::cell::Cell;

    thread_local! {
        static FEATURES: Cell<Option<Features>> = const { Cell::new(None) };
    }

    pub(super) fn features() -> Option<Features> {
        FEATURES.get()
    }

    pub(super) fn pretend(features: Option<Features>) {
        FEATURES.set(features);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::features_here;
    use super::*;
    use crate::driver::{DriverChoice, SystemWorld};
    use crate::{Port, World};

    #[test]
    fn a_ring_that_costs_more_than_epoll_is_passed_over_unless_it_is_required() {
        let Some(here) = features_here() else { return };
        older::pretend(Some(Features { recv_credit: false, incremental: false, ..here }));
        let left_open = SystemWorld::new(DriverChoice::Auto).unwrap();
        let required = SystemWorld::new(DriverChoice::Uring).unwrap();
        let port = required.open(&PortConfig::default()).unwrap();
        older::pretend(None);
        let abilities = left_open.abilities();
        assert_eq!(abilities.driver, "epoll");
        let why = abilities.passed_over;
        assert!(why.contains("Linux 6.17") && why.contains("--driver uring"), "{why}");
        let abilities = port.abilities();
        assert_eq!((abilities.driver, abilities.passed_over.as_str()), ("io_uring", ""));
        assert!(!abilities.features.contains(&"multishot receive"), "{abilities:?}");
        let now = Features { recv_credit: true, ..here };
        assert_eq!(worth_it(now), Ok(()), "and taken where it counts");
    }

    #[test]
    fn a_refusal_names_its_cause_and_the_remedy() {
        assert!(not_permitted("2").contains("kernel.io_uring_disabled = 2"));
        assert!(not_permitted("1").contains("kernel.io_uring_group"));
        assert!(not_permitted("0").contains("Docker's default seccomp profile"));
        let why = why_no_ring;
        assert!(why(libc::ENOSYS).contains("too old"));
        assert!(why(libc::ENOMEM).contains("locked memory"));
        assert!(why(libc::EPERM).contains("not permitted"));
        assert!(why(libc::EINVAL).contains("Linux 6.0"));
    }
}
