//! Starts the program, waits for what it says, stops it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

/// The program under test.
pub(crate) fn longshore(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.args(args).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Runs it to its end: exit code, stdout, stderr.
pub(crate) fn run(args: &[&str]) -> (Option<i32>, String, String) {
    told(&longshore(args).output().unwrap())
}

/// The same with something on its standard input.
pub(crate) fn run_with_input(args: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut command = longshore(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input); // the program may have ended before it read all
    drop(stdin);
    told(&child.wait_with_output().unwrap())
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Drivers to test: the one that `LONGSHORE_DRIVER` names, or all that this system permits.
pub(crate) fn drivers() -> Vec<String> {
    if let Ok(only) = std::env::var("LONGSHORE_DRIVER") {
        return vec![only];
    }
    if cfg!(windows) {
        return vec!["iocp".to_owned()];
    }
    let (_, json, _) = run(&["doctor", "--json"]);
    let mut drivers = vec!["readiness".to_owned()];
    if json.contains(r#""text":"io_uring"#) {
        drivers.push("uring".into());
    } else {
        println!("SKIPPED: io_uring is not to be had here");
    }
    drivers
}

/// A peer of the program, whose waits have an end.
pub(crate) fn connect(addr: impl ToSocketAddrs) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    stream
}

/// Whether a tool is there; says so in capitals if not.
pub(crate) fn has(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    let there = found.is_ok_and(|output| output.status.success());
    if !there {
        println!("SKIPPED: {tool} is not installed");
    }
    there
}

/// `longshore serve` on a port of the system's choice.
pub(crate) struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    pub(crate) banner: String,
    pub(crate) port: u16,
}

impl Serving {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_as(longshore(&[&["serve", "--listen", "127.0.0.1:0"], args].concat()))
    }

    /// Runs `command` and waits for its banner.
    pub(crate) fn start_as(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("\nstop") {
            if stdout.read_line(&mut banner).unwrap() == 0 {
                let mut why = String::new();
                stderr.read_to_string(&mut why).unwrap();
                panic!("it did not start: {banner}{why}");
            }
        }
        let (_, rest) = banner.split_once("127.0.0.1:").unwrap();
        let port = rest.split_whitespace().next().unwrap().parse().unwrap();
        Self { child, stdout, stderr, banner, port }
    }

    pub(crate) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Windows has no signals: what needs one is not tested there.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Reads the log up to a line with `part` in it.
    pub(crate) fn wait_for_log(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "the log ended without {part}");
        }
        line
    }

    /// Waits for its end: exit code, what it still said on stdout and stderr.
    pub(crate) fn wait(mut self) -> (Option<i32>, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stdout, stderr)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill(); // if a test failed before it stopped
        let _ = self.child.wait();
    }
}
