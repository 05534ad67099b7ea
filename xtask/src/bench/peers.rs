//! Bare programs to compare with: the system calls, and nothing else. Each is this program, started again.

use super::failed::failed;
use super::servers::{Server, free_port};
use blake3::Hasher;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

const PIECE_BYTES: usize = 256 << 10;

/// Starts one on the first core: what it does, and where its files lie.
pub(super) fn start(what: &[&str], folder: &Path) -> Result<Server, String> {
    let own = std::env::current_exe().map_err(failed("this program"))?;
    let (port, folder) = (free_port()?, folder.display().to_string());
    let number = port.to_string();
    let args = [&["bench", "peer"], what, &[&folder, &number]].concat();
    Server::start(&own, &args, port)
}

/// One of them.
pub(super) fn run(args: &[String]) -> Result<(), String> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [what, folder, port] = args[..] else { return Err("peer WHAT PATH PORT".into()) };
    if what == "send" {
        return send(port, Path::new(folder)).map_err(failed("sending"));
    }
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).map_err(failed("listening"))?;
    for stream in listener.incoming() {
        let stream = stream.map_err(failed("accepting"))?;
        let _ = stream.set_nodelay(true); // slower without, and no more than that
        // Who only looked whether it listens is gone.
        let _ = match what {
            "sendfile" => sends(&stream, Path::new(folder)),
            "receive" => receives(stream, Path::new(folder)),
            other => return Err(format!("no peer {other}")),
        };
    }
    Ok(())
}

/// Answers requests for files, over HTTP, by sendfile.
fn sends(stream: &TcpStream, folder: &Path) -> io::Result<()> {
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    let mut name = String::new();
    while input.read_line(&mut line)? > 0 {
        if let Some(rest) = line.strip_prefix("GET /") {
            rest.split(' ').next().unwrap_or_default().clone_into(&mut name);
        }
        if line == "\r\n" {
            let mut file = File::open(folder.join(&name))?;
            let bytes = file.metadata()?.len();
            let mut output = stream.try_clone()?;
            write!(output, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
            io::copy(&mut file, &mut output)?; // sendfile(2), where there is one
        }
        line.clear();
    }
    Ok(())
}

/// Writes what comes, adds it to a digest, and answers with that when all is on the disk.
fn receives(mut stream: TcpStream, folder: &Path) -> io::Result<()> {
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let path = folder.join("bare");
    let mut file = File::create(&path)?;
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE_BYTES]);
    let mut left = u64::from_be_bytes(length);
    while left > 0 {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_all(&piece[..count])?;
        hasher.update(&piece[..count]);
        left -= count as u64;
    }
    file.sync_data()?;
    stream.write_all(hasher.finalize().as_bytes())?;
    fs::remove_file(path)
}

/// The other side of it: done when the digest was answered and right.
fn send(port: &str, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut left = file.metadata()?.len();
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    stream.write_all(&left.to_be_bytes())?;
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE_BYTES]);
    while left > 0 {
        let count = file.read(&mut piece)?;
        hasher.update(&piece[..count]);
        stream.write_all(&piece[..count])?;
        left -= count as u64;
    }
    let mut digest = [0; 32];
    stream.read_exact(&mut digest)?;
    if digest == *hasher.finalize().as_bytes() {
        Ok(())
    } else {
        Err(io::Error::other("another digest"))
    }
}
