//! Signals are the process's: in a program of its own, which is this one started once more.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what a test cannot do ends it")]

use longshore::*;
use rustix::process::{Signal, getpid, kill_process};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

struct Echo;

impl Handler for Echo {
    type Codec = Raw;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, bytes: &[u8]) -> Result {
        cx.send(bytes)
    }
}

/// Runs a server until a signal drains it.
fn run_until(signal: Signal) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let server = Server::builder().listen(Listener::from_std(socket, Raw::new()), |_| Ok(Echo));
    let (done, ended) = channel();
    std::thread::spawn(move || done.send(server.run()));
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.write_all(b"x").unwrap();
    peer.read_exact(&mut [0]).unwrap();
    kill_process(getpid(), signal).unwrap();
    drop(peer);
    ended.recv_timeout(Duration::from_secs(20)).expect("it drains").unwrap();
}

const CHILD: &str = "LONGSHORE_SIGNALS_CHILD";

#[test]
fn each_run_of_a_process_drains_at_its_first_signal_and_then_signals_are_the_systems_again() {
    if std::env::var_os(CHILD).is_some() {
        run_until(Signal::INT);
        run_until(Signal::TERM);
        run_until(Signal::INT);
        kill_process(getpid(), Signal::TERM).unwrap();
        std::thread::park_timeout(Duration::from_secs(20));
        panic!("a program without servers is ended by a signal");
    }
    let own = std::env::current_exe().unwrap();
    let status = Command::new(own).env(CHILD, "1").status().unwrap();
    assert_eq!((status.code(), status.signal()), (None, Some(Signal::TERM.as_raw())));
}
