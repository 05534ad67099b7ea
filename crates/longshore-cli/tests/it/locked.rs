//! Limits of the system: locked memory with room for one small ring, but not for one of each worker;
//! few open files.

use crate::rig::{Serving, connect, drivers, has, longshore};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// `serve` on four workers under that limit, also as root, who else knows no such limit.
fn under_limit(driver: &str) -> Command {
    let program = longshore(&[]).get_program().to_owned();
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", "ulimit -l 256 && exec \"$0\" \"$@\""]).arg(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "4", "--protocol", "raw"]);
    command.args(["--driver", driver]).stdin(Stdio::null());
    command
}

/// The effective user of this process. Source: `proc_pid_status(5)`, `Uid`.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    uids.split_whitespace().nth(1) == Some("0")
}

#[test]
fn rings_that_do_not_all_open_are_given_up_for_readiness_on_all_workers() {
    if !drivers().contains(&"uring".to_owned()) || !has("setpriv") {
        println!("SKIPPED, NOT TESTED AT ALL: no ring that could fail to open");
        return;
    }
    let server = Serving::start_as(under_limit("auto"));
    assert!(server.banner.contains("driver epoll"), "{}", server.banner);
    assert!(server.banner.contains("not io_uring: not every worker could have a ring"));
    assert!(server.banner.contains("ulimit -l"), "{}", server.banner);
    let mut peers: Vec<_> = (0..4).map(|_| connect(server.addr())).collect();
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
        peer.read_exact(&mut [0]).unwrap();
    }
    server.signal("TERM");
    drop(peers);
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn a_required_ring_that_does_not_open_names_the_limit() {
    if !drivers().contains(&"uring".to_owned()) || !has("setpriv") {
        println!("SKIPPED, NOT TESTED AT ALL: no ring that could fail to open");
        return;
    }
    let output = under_limit("uring").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.starts_with("cannot open the completion port of worker "), "{text}");
    assert!(text.contains("ulimit -l") && text.contains("LimitMEMLOCK="), "{text}");
}

#[test]
fn few_open_files_are_said_to_limit_connections() {
    for driver in drivers() {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 70 && exec \"$0\" \"$@\""]);
        command.arg(longshore(&[]).get_program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--driver", &driver]);
        command.stdin(Stdio::null());
        let mut server = Serving::start_as(command);
        let line = server.wait_for_log("limits.connections = 6: only 70 files may be open");
        assert!(line.contains("raise that (LimitNOFILE, ulimit -n)"), "{line}");
        server.signal("TERM");
        assert_eq!(server.wait().0, Some(0));
    }
}
