//! What the system tells about itself, through files. Where it has no such files, it tells nothing.

use std::net::TcpListener;
use std::path::Path;
use std::{fmt, fs};

/// What `doctor` judges by. What the system does not tell is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts {
    /// Which system this is.
    pub(crate) version: Option<String>,
    /// Cores that the process may use.
    pub(crate) cores: u64,
    /// What a container allows of them.
    pub(crate) cpus: Option<Cpus>,
    /// Open files, at most.
    pub(crate) files: Option<u64>,
    /// Connections that may wait to be accepted, at most.
    pub(crate) somaxconn: Option<u64>,
    /// Where the kernel takes the time from.
    pub(crate) clock: Option<String>,
    /// Locked memory, at most.
    pub(crate) locked_bytes: Option<u64>,
    pub(crate) ipv6: bool,
    pub(crate) shared_memory: Option<bool>,
}

impl Facts {
    /// Asks the system.
    pub(crate) fn read() -> Self {
        let limits = told("/proc/self/limits");
        let limit = |name| soft_limit(limits.as_deref()?, name);
        Self {
            version: longshore::system_version(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            cpus: cpus(),
            files: limit("Max open files"),
            somaxconn: word("/proc/sys/net/core/somaxconn").and_then(|word| word.parse().ok()),
            clock: word("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            locked_bytes: limit("Max locked memory"),
            ipv6: TcpListener::bind("[::1]:0").is_ok(),
            shared_memory: IS_LINUX.then(|| Path::new("/dev/shm").is_dir()),
        }
    }
}

/// Whether there are such files. Under Wine those of the system below are seen, which say nothing of
/// this one; and to open each file of a process there has Wine's server lose a lock that it needs.
const IS_LINUX: bool = matches!(std::env::consts::OS.as_bytes(), b"linux");

/// It stops nobody for reading a terminal.
const IS_WINDOWS: bool = matches!(std::env::consts::OS.as_bytes(), b"windows");

/// What a file of the system says.
fn told(path: impl AsRef<Path>) -> Option<String> {
    if IS_LINUX { fs::read_to_string(path).ok() } else { None }
}

/// The same without white space around it.
fn word(path: impl AsRef<Path>) -> Option<String> {
    Some(told(path)?.trim().to_owned())
}

/// Who may read the terminal of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Terminal {
    /// This process.
    Ours,
    /// Another one: this one is in the background, and the system would stop it for trying.
    Others,
    /// The process has no terminal, or not any more, or the system does not tell.
    None,
}

/// Who may read the terminal now.
pub(crate) fn terminal() -> Terminal {
    if IS_WINDOWS {
        return Terminal::Ours; // it has no such rule
    }
    told("/proc/self/stat").map_or(Terminal::None, |stat| terminal_of(&stat))
}

/// The same by the group of a process and the one that its terminal listens to. Source:
/// `proc_pid_stat(5)`: `pgrp` and `tpgid`, which is -1 without a terminal.
fn terminal_of(stat: &str) -> Terminal {
    // The name of the program stands between parentheses and may contain some.
    let Some((_, behind_name)) = stat.rsplit_once(')') else { return Terminal::None };
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    match fields[..] {
        [_state, _parent, _group, _session, _terminal, "-1", ..] => Terminal::None,
        [_state, _parent, group, _session, _terminal, foreground, ..] if group == foreground => {
            Terminal::Ours
        }
        [_, _, _, _, _, _, ..] => Terminal::Others,
        _ => Terminal::None,
    }
}

/// Whether standard input is known to have nothing at all.
pub(crate) fn input_is_null() -> bool {
    IS_LINUX && fs::read_link("/proc/self/fd/0").is_ok_and(|to| to == Path::new("/dev/null"))
}

/// The limit that holds, of the table in `/proc/self/limits`. Source: `proc_pid_limits(5)`.
fn soft_limit(table: &str, name: &str) -> Option<u64> {
    let rest = table.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// A share of processor time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Cpus {
    pub(crate) thousandths: u64,
}

impl Cpus {
    fn new(quota: u64, period: u64) -> Option<Self> {
        Some(Self { thousandths: quota.checked_mul(1000)?.checked_div(period)? })
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.thousandths / 1000, self.thousandths % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// What the control groups of this process allow it, the narrowest of them.
/// Source: `cgroups(7)`; kernel documentation, `cgroup-v2.rst` (`cpu.max`) and `sched-bwc.rst`.
fn cpus() -> Option<Cpus> {
    let groups = told("/proc/self/cgroup")?;
    let limits = cpu_groups(&groups).into_iter().flat_map(|(root, group)| {
        // Inside a container a group may be named as it is outside, and be seen at the root.
        let folders = Path::new(group.trim_start_matches('/')).ancestors();
        folders.map(|folder| cpu_limit(&Path::new(root).join(folder))).collect::<Vec<_>>()
    });
    limits.flatten().min()
}

/// The folders of the version 2 and the version 1 hierarchy, and the group in each.
fn cpu_groups(groups: &str) -> Vec<(&'static str, &str)> {
    let entries = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        if controllers.is_empty() {
            return Some(("/sys/fs/cgroup", group));
        }
        let is_cpu = controllers.split(',').any(|controller| controller == "cpu");
        is_cpu.then_some(("/sys/fs/cgroup/cpu", group))
    });
    entries.collect()
}

/// The limit of one group, in either version's files.
fn cpu_limit(folder: &Path) -> Option<Cpus> {
    if let Some(max) = word(folder.join("cpu.max")) {
        let (quota, period) = max.split_once(' ')?;
        return Cpus::new(quota.parse().ok()?, period.parse().ok()?);
    }
    let quota = word(folder.join("cpu.cfs_quota_us"))?; // -1 where there is none
    let period = word(folder.join("cpu.cfs_period_us"))?;
    Cpus::new(quota.parse().ok()?, period.parse().ok()?)
}

/// What to do where `io_uring` is refused for `why`, if we know.
pub(crate) fn remedy_of(why: &str) -> Option<&'static str> {
    if why.contains("io_uring_disabled = 1") || why.contains("io_uring_disabled = 2") {
        Some("sysctl kernel.io_uring_disabled=0")
    } else if why.contains("sandbox") {
        Some("a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register")
    } else {
        None
    }
}

/// A process that has a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

/// Who listens on TCP port `port`, if we may know it.
///
/// The kernel's tables give the socket's number, and the process is the one that has it open.
/// Source: `proc_pid_fd(5)`, `proc_pid_net(5)`.
pub(crate) fn owner_of(port: u16) -> Option<Owner> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| listening_inode(&told(table)?, port))?;
    let link = format!("socket:[{inode}]");
    let is_pid = |name: &str| name.parse::<u32>().ok();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| is_pid(entry.file_name().to_str()?));
    let pid = pids.find(|pid| has_open(&Path::new("/proc").join(pid.to_string()), &link))?;
    let name = word(format!("/proc/{pid}/comm"))?;
    Some(Owner { name, pid })
}

/// The number of the socket that listens on `port`, in a table of the kernel.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, state, ..] = fields[..] else { return None };
        let (_, local_port) = local.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local_port, 16) == Ok(port) && state == LISTEN;
        if is_it { fields.get(9)?.parse().ok() } else { None }
    })
}

/// Whether the process in `folder` has something open whose link says `link`.
fn has_open(folder: &Path, link: &str) -> bool {
    let Ok(files) = fs::read_dir(folder.join("fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_the_table() {
        let table = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 20000                files
Max locked memory         unlimited            unlimited            bytes";
        assert_eq!(soft_limit(table, "Max open files"), Some(1024));
        assert_eq!(soft_limit(table, "Max locked memory"), Some(u64::MAX));
        assert_eq!(soft_limit(table, "Max nothing"), None);
    }

    #[test]
    fn a_terminal_is_ours_if_it_listens_to_our_group() {
        let of = |group: i32, foreground: i32| {
            terminal_of(&format!("7 (a) S (b)) S 1 {group} 3 34816 {foreground} 4194304 0"))
        };
        assert_eq!(of(9, 9), Terminal::Ours);
        assert_eq!(of(9, 8), Terminal::Others);
        assert_eq!(of(9, -1), Terminal::None);
        assert_eq!([terminal_of(""), terminal_of("7 (a) S 1 9")], [Terminal::None; 2]);
    }

    #[test]
    fn both_versions_of_control_groups_are_looked_at() {
        let groups = "9:name=systemd:/\n4:memory:/a\n1:cpu,cpuacct:/b\n0::/c/d\n";
        let wanted = [("/sys/fs/cgroup/cpu", "/b"), ("/sys/fs/cgroup", "/c/d")];
        assert_eq!(cpu_groups(groups), wanted);
    }

    #[test]
    fn a_share_of_processors_is_short_to_read() {
        let of = |quota, period| Cpus::new(quota, period).map(|cpus| cpus.to_string());
        assert_eq!(of(150_000, 100_000).as_deref(), Some("1.5"));
        assert_eq!(of(2_000_000, 100_000).as_deref(), Some("20"));
        assert_eq!(of(5_000, 100_000).as_deref(), Some("0.05"));
        assert_eq!(of(1, 0), None);
    }

    #[test]
    fn the_listening_socket_is_found_in_the_table_and_no_other() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1CF3 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   1: 0100007F:1CF3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1 0
   2: 0100007F:1CF4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 33 1 0";
        assert_eq!(listening_inode(table, 7411), Some(22));
        assert_eq!(listening_inode(table, 7413), None);
        assert_eq!(listening_inode("", 7411), None);
    }

    #[test]
    fn the_owner_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if IS_LINUX {
            assert_eq!(owner_of(port).map(|owner| owner.pid), Some(std::process::id()));
        }
        drop(listener);
        assert_eq!(owner_of(port), None);
    }
}
