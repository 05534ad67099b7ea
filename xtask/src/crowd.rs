//! The program under Wine, and the other end of its connections here: what one process of one system
//! cannot show.

use crate::steps::{Outcome, target_dir};
use crate::windows;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const CONNECTIONS: usize = 200;
const MESSAGES: usize = 500;
/// Lines that the client under Wine sends and gets back.
const LINES: usize = 2_000;

const PATIENCE: Duration = Duration::from_secs(120);

/// A program that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same by hand. Whether it succeeded.
pub(crate) fn run(root: &Path) -> bool {
    let outcome = match windows::set_up(root) {
        Outcome::Passed => step(root),
        other => other,
    };
    match outcome {
        Outcome::Passed => {
            println!(
                "{CONNECTIONS} connections, {MESSAGES} messages each, and {LINES} lines: well"
            );
            true
        }
        Outcome::Failed(why) | Outcome::Skipped(why) => {
            eprintln!("cargo xtask windows crowd: {why}");
            false
        }
    }
}

/// Many connections with a server under Wine, then a client under Wine with a server here.
pub(crate) fn step(root: &Path) -> Outcome {
    let told = build(root).and_then(|()| serves(root)).and_then(|()| connects(root));
    told.map_or_else(|error| Outcome::Failed(error.to_string()), |()| Outcome::Passed)
}

fn build(root: &Path) -> io::Result<()> {
    let output = windows::cargo(root, &["build", "-p", "longshore-cli"]).output()?;
    let wrong = || io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned());
    output.status.success().then_some(()).ok_or_else(wrong)
}

fn program(root: &Path, args: &[&str]) -> Command {
    let exe = target_dir(root).join(windows::TARGET).join("debug/longshore.exe");
    let mut command = Command::new(windows::wine(root));
    command.arg(exe).args(args).stderr(Stdio::null());
    command
}

fn serves(root: &Path) -> io::Result<()> {
    let args = ["serve", "--listen", "127.0.0.1:0", "--protocol", "length", "--json"];
    let mut server =
        Running(program(root, &args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let mut first = String::new();
    let stdout = server.0.stdout.take().expect("it was asked for");
    BufReader::new(stdout).read_line(&mut first)?;
    let addr = addr_in(&first).ok_or_else(|| io::Error::other(format!("no address: {first}")))?;
    let clients: Vec<_> =
        (0..CONNECTIONS).map(|number| thread::spawn(move || talks(addr, number))).collect();
    clients.into_iter().try_for_each(|client| client.join().expect("a client does not panic"))
}

/// The address in the first line that `serve --json` prints.
fn addr_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"listening\":[\"")?;
    rest.split_once('"')?.0.parse().ok()
}

/// Sends frames and gets each back, some at a time; then both sides end.
fn talks(addr: SocketAddr, number: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    for from in (0..MESSAGES).step_by(10) {
        let frames: Vec<u8> =
            (from..from + 10).flat_map(|message| frame(number, message)).collect();
        stream.write_all(&frames)?;
        let mut back = vec![0; frames.len()];
        stream.read_exact(&mut back)?;
        if back != frames {
            return Err(io::Error::other(format!(
                "connection {number}: other bytes from {from} on"
            )));
        }
    }
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("connection {number}: more than was sent"))),
    }
}

/// A frame of its own length and bytes.
fn frame(number: usize, message: usize) -> Vec<u8> {
    let payload = format!("{number}-{message} ").repeat(1 + (number * 7 + message) % 40);
    let len = u32::try_from(payload.len()).expect("a short text");
    [&len.to_be_bytes()[..], payload.as_bytes()].concat()
}

fn connects(root: &Path) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?.to_string();
    let echo = thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut back = stream.try_clone()?;
        io::copy(&mut stream, &mut back)?;
        Ok(())
    });
    let args = ["connect", &addr, "--protocol", "lines"];
    let mut client =
        Running(program(root, &args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut stdin = client.0.stdin.take().expect("it was asked for");
    let lines: Vec<_> = (0..LINES).map(|line| format!("line {line}")).collect();
    let said = lines.join("\n") + "\n";
    let writer = thread::spawn({
        let said = said.clone();
        move || stdin.write_all(said.as_bytes())
    });
    let mut heard = String::new();
    client.0.stdout.take().expect("it was asked for").read_to_string(&mut heard)?;
    writer.join().expect("it only writes")?;
    echo.join().expect("it only echoes")?;
    let status = client.0.wait()?;
    if heard.replace("\r\n", "\n") != said || !status.success() {
        let (lines, code) = (heard.lines().count(), status);
        return Err(io::Error::other(format!("{lines} of {LINES} lines came back, {code}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_what_serve_prints() {
        let line = r#"{"driver":"iocp","listening":["127.0.0.1:7411"],"workers":2}"#;
        assert_eq!(addr_in(line), Some("127.0.0.1:7411".parse().unwrap()));
        assert_eq!(addr_in("{}"), None);
    }

    #[test]
    fn another_byte_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let liar = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = vec![0; 64 * 1024];
            let count = stream.read(&mut bytes).unwrap();
            bytes[count - 1] ^= 1;
            stream.write_all(&bytes[..count]).unwrap();
        });
        assert!(talks(addr, 3).is_err());
        liar.join().unwrap();
    }
}
