//! A file with its digest, to a receiver that writes it, hashes it, and makes sure of it.

use super::failed::failed;
use super::peers;
use super::servers::{Server, free_port, longshore, on_core};
use super::table::{Line, Turn, print};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const GIB: usize = 1 << 30;

pub(super) fn run(root: &Path, dir: &Path, rounds: usize) -> Result<(), String> {
    let (folder, there) = (dir.join("framed"), dir.join("framed-there"));
    for folder in [&folder, &there] {
        fs::create_dir_all(folder).map_err(failed("a folder for files"))?;
    }
    let (large, place) = (folder.join("large"), there.display().to_string());
    fs::write(&large, vec![7; GIB]).map_err(failed("a file to be sent"))?;
    let bare = peers::start(&["receive"], &there)?;
    let (port, program) = (free_port()?, longshore(root));
    let addr = format!("127.0.0.1:{port}");
    let flags = ["serve", "--listen", &addr, "--files", &place, "--files-max", "1024GiB"];
    let ours = Server::start(&program, &[&flags[..], &["--workers", "1"]].concat(), port)?;
    let own = std::env::current_exe().map_err(failed("this program"))?;
    let mut lines = ["bare sender and receiver", "longshore put"]
        .map(|name| Line { name: name.into(), turns: Vec::new() });
    for round in 0..=rounds {
        let bare_addr = bare.addr.port().to_string();
        let path = large.display().to_string();
        let turns = [
            turn(&bare, &own, &["bench", "peer", "send", &path, &bare_addr])?,
            turn(&ours, &program, &["put", "-q", &path, &addr])?,
        ];
        // Whoever sends it again is told that it is there already.
        fs::remove_file(there.join("large")).map_err(failed("what was received"))?;
        for (line, turn) in lines.iter_mut().zip(turns) {
            if round > 0 {
                line.turns.push(turn);
            }
        }
    }
    print("One file of 1 GiB with its digest, sent, written, hashed and synced", 1.0, &lines);
    drop((bare, ours));
    for folder in [folder, there] {
        fs::remove_dir_all(folder).map_err(failed("cleaning up"))?;
    }
    Ok(())
}

/// Has `program` send on the second core.
pub(super) fn turn(server: &Server, program: &Path, args: &[&str]) -> Result<Turn, String> {
    let (cpu, begun) = (server.cpu_seconds(), Instant::now());
    let mut command = on_core(1, program);
    let status = command.args(args).stdin(Stdio::null()).status();
    if !status.map_err(failed("a sender"))?.success() {
        return Err(format!("{} {} failed", program.display(), args.join(" ")));
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Turn { seconds, cpu_seconds: server.cpu_seconds() - cpu })
}
