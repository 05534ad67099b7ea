//! Many small files, beside tar and one sync of the disk.

use super::failed::failed;
use super::framed::turn;
use super::servers::{Server, free_port, longshore, on_core};
use super::table::{Line, Turn, print};
use std::fs;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const FILES: usize = 10_000;
const BYTES: usize = 4096;

pub(super) fn run(root: &Path, dir: &Path, rounds: usize) -> Result<(), String> {
    let (folder, there) = (dir.join("small"), dir.join("small-there"));
    let _ = fs::remove_dir_all(&there); // of a run that was cut off
    for number in 0..FILES {
        let place = folder.join(format!("{:02}", number / 100));
        fs::create_dir_all(&place).map_err(failed("a folder for files"))?;
        let text = format!("file {number}\n");
        let bytes: Vec<u8> = text.bytes().cycle().take(BYTES).collect();
        fs::write(place.join(format!("f{number:04}")), bytes).map_err(failed("small files"))?;
    }
    let names = ["tar to tar, and a sync", "longshore put"];
    let mut lines = names.map(|name| Line { name: name.into(), turns: Vec::new() });
    for round in 0..=rounds {
        for line in 0..names.len() {
            fs::create_dir_all(&there).map_err(failed("a folder for files"))?;
            sync(&there)?;
            let turn = if line == 0 { tar(&folder, &there)? } else { put(root, &folder, &there)? };
            let count = walk(&there);
            if count != FILES {
                return Err(format!("{}: {count} of {FILES} files arrived", names[line]));
            }
            fs::remove_dir_all(&there).map_err(failed("what was received"))?;
            if round > 0 {
                lines[line].turns.push(turn);
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few MiB")]
    let gib = (FILES * BYTES) as f64 / f64::from(1 << 30);
    print("10,000 files of 4 KiB in 100 folders", gib, &lines);
    fs::remove_dir_all(folder).map_err(failed("cleaning up"))
}

/// Files below a folder.
fn walk(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let count = |path: &Path| if path.is_dir() { walk(path) } else { usize::from(path.is_file()) };
    entries.map(|entry| count(&entry.path())).sum()
}

/// Waits until all of the disk that a folder lies on is written.
fn sync(folder: &Path) -> Result<(), String> {
    let done = Command::new("sync").arg("-f").arg(folder).status();
    done.map_err(failed("sync")).map(|_| ())
}

fn put(root: &Path, folder: &Path, there: &Path) -> Result<Turn, String> {
    let (port, program) = (free_port()?, longshore(root));
    let (addr, place) = (format!("127.0.0.1:{port}"), there.display().to_string());
    let flags = ["serve", "--listen", &addr, "--files", &place, "--workers", "1"];
    let server = Server::start(&program, &flags, port)?;
    turn(&server, &program, &["put", "-q", &folder.display().to_string(), &addr])
}

/// One tar packs, on the second core, and one unpacks, on the first. Between them is a pipe, which costs no
/// more than a socket.
fn tar(folder: &Path, there: &Path) -> Result<Turn, String> {
    let begun = Instant::now();
    let tar = |core| on_core(core, Path::new("/usr/bin/tar"));
    let mut packs = tar(1);
    packs.arg("-C").arg(folder).args(["-cf", "-", "."]).stdout(Stdio::piped());
    let mut packs = packs.spawn().map_err(failed("tar"))?;
    let pipe = packs.stdout.take().ok_or("tar has no output")?;
    let status = tar(0).arg("-C").arg(there).args(["-xf", "-"]).stdin(pipe).status();
    status.map_err(failed("tar"))?;
    packs.wait().map_err(failed("tar"))?;
    sync(there)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Turn { seconds, cpu_seconds: f64::NAN })
}
