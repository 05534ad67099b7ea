//! What the system tells about itself, through files. Where it has no such files, it tells nothing.

use std::fs;
use std::path::Path;

/// The kernel's version as people say it: `6.18`.
pub(crate) fn kernel() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut parts = release.trim().split(['.', '-']);
    Some(format!("{}.{}", parts.next()?, parts.next()?))
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
    let inode =
        tables.iter().find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, port))?;
    let link = format!("socket:[{inode}]");
    let is_pid = |name: &str| name.parse::<u32>().ok();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| is_pid(entry.file_name().to_str()?));
    let pid = pids.find(|pid| has_open(&Path::new("/proc").join(pid.to_string()), &link))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
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
        if Path::new("/proc/net/tcp").exists() {
            assert_eq!(owner_of(port).map(|owner| owner.pid), Some(std::process::id()));
        }
        drop(listener);
        assert_eq!(owner_of(port), None);
    }
}
