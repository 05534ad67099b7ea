//! `longshore get`: files and folders from a server.

use crate::args::GetArgs;
use crate::exit::{Exit, Failure};
use crate::files::{Board, FILES_MAX, News, Session, Target, Verb};
use crate::out::{self, Output};
use longshore::{FileErrorKind, FileName, FileStore, Listed};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Questions that are not answered: the server takes 64.
const ASKED_MAX: usize = 48;

/// How long to wait for a list.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &GetArgs, out: Output) -> Result<Exit, Failure> {
    let mut wanted = Vec::new();
    for from in &args.from {
        let target = Target::parse(from).map_err(|text| usage(format!("get {text}")))?;
        let Some(name) = target.name else {
            return Err(usage(format!(
                "get {from}: which file? write ADDR/PATH; ls ADDR lists them"
            )));
        };
        wanted.push((target.addr, name));
    }
    if args.out.as_deref() == Some(Path::new("-")) {
        return to_stdout(&wanted);
    }
    let place = args.out.clone().unwrap_or_else(|| PathBuf::from("."));
    fs::create_dir_all(&place).map_err(|error| usage(format!("{}: {error}", place.display())))?;
    let store = store(&place, args.force)?;
    let mut worst = Ok(Exit::Done);
    for (addr, name) in wanted {
        let got = get(&Session::open(&addr)?.stops_on_signals()?, &name, &store, true, out);
        if got.is_err() {
            worst = got;
        }
    }
    worst
}

fn usage(text: String) -> Failure {
    Failure::new(Exit::Usage, text)
}

/// Where files are received, without bounds: it is one's own disk.
pub(crate) fn store(place: &Path, force: bool) -> Result<FileStore, Failure> {
    let store = FileStore::open(place)
        .map_err(|error| usage(format!("{}: {error}", place.display())))?
        .receive()
        .file_bytes_max(u64::MAX)
        .peer_bytes_max(u64::MAX)
        .store_bytes_max(u64::MAX)
        .store_entries_max(u64::MAX)
        .keep_partials(Duration::MAX);
    Ok(if force { store.overwrite() } else { store })
}

/// What the names of files and folders may take.
const NAMES_BYTES_MAX: usize = 64 << 20;

/// Gets a file, or all that is in a folder, if it may be one.
pub(crate) fn get(
    session: &Session,
    name: &FileName,
    store: &FileStore,
    folders: bool,
    out: Output,
) -> Result<Exit, Failure> {
    let place = FileName::parse(name.last()).map_err(|bad| usage(bad.to_string()))?;
    let mut board = Board::new(Verb::Get, 1, 0, out);
    ask(session, &mut board, store, (name.clone(), place.clone()), 0)?;
    while board.under_way() > 0 {
        let Some(News::Failed(failed)) = board.look(session)? else { continue };
        if folders && failed.error.of_peer && failed.error.kind == FileErrorKind::NotAFile {
            return get_folder(session, name, &place, store, out);
        }
        board.failed(&failed);
    }
    board.finish()
}

fn get_folder(
    session: &Session,
    name: &FileName,
    place: &FileName,
    store: &FileStore,
    out: Output,
) -> Result<Exit, Failure> {
    let (mut files, mut refused) = (Vec::new(), Vec::new());
    let (mut count, mut bytes) = (0, 0);
    let mut folders = VecDeque::from([(name.clone(), place.clone())]);
    while let Some((folder, place)) = folders.pop_front() {
        for entry in list(session, Some(&folder))? {
            let is_path = entry.name.contains('/');
            let last = FileName::parse(&entry.name).and_then(|last| {
                let bad = is_path.then_some(longshore::BadName::Reserved('/'));
                bad.map_or_else(|| Ok((folder.join(&last)?, place.join(&last)?)), Err)
            });
            // A hostile server could go on for ever.
            (count, bytes) = (count + 1, bytes + folder.as_str().len() + entry.name.len());
            if count > FILES_MAX || bytes > NAMES_BYTES_MAX {
                let text = format!(
                    "get {name}: more than {FILES_MAX} files and folders, or {} MiB of names",
                    NAMES_BYTES_MAX >> 20
                );
                return Err(Failure::new(Exit::No, text));
            }
            match last {
                Ok(both) if entry.folder => folders.push_back(both),
                Ok(both) => files.push((both, entry.bytes)),
                Err(bad) => refused.push((entry.name, bad)),
            }
        }
    }
    let total = files.iter().map(|(_, bytes)| bytes).sum();
    let mut board = Board::new(Verb::Get, (files.len() + refused.len()) as u64, total, out);
    for (last, bad) in refused {
        board.refused(&format!("{name}/{}", last.escape_debug()), &bad.to_string());
    }
    let mut files = files.into_iter();
    let mut rest = true;
    while rest || board.under_way() > 0 {
        while rest && board.under_way() < ASKED_MAX {
            match files.next() {
                Some((names, bytes)) => ask(session, &mut board, store, names, bytes)?,
                None => rest = false,
            }
        }
        if board.under_way() == 0 {
            continue;
        }
        if let Some(News::Failed(failed)) = board.look(session)? {
            board.failed(&failed);
        }
    }
    board.finish()
}

fn ask(
    session: &Session,
    board: &mut Board,
    store: &FileStore,
    (name, place): (FileName, FileName),
    bytes: u64,
) -> Result<(), Failure> {
    let (store, shown) = (store.clone(), name.to_string());
    let id = session.ask(move |cx| cx.get_file(&name, &store, &place))?;
    board.begin(id, shown, bytes);
    Ok(())
}

/// What is in a folder of the server.
pub(crate) fn list(session: &Session, folder: Option<&FileName>) -> Result<Vec<Listed>, Failure> {
    let asks = folder.cloned();
    let id = session.ask(move |cx| cx.list_files(asks.as_ref()))?;
    let mut all = Vec::new();
    loop {
        match session.next(LOOK)? {
            Some(News::Listed(list)) if list.id == id => {
                all.extend(list.entries);
                if list.last {
                    return Ok(all);
                }
            }
            Some(News::Failed(failed)) if failed.id == id => {
                let exit = match failed.error.kind {
                    FileErrorKind::TimedOut => Exit::TimedOut,
                    _ => Exit::No,
                };
                let hint = match failed.error.kind {
                    FileErrorKind::Unsupported => "; the server needs --files DIR",
                    _ => "",
                };
                let name = folder.map_or("/", |name| name.as_str());
                return Err(Failure::new(exit, format!("ls {name}: {}{hint}", failed.error)));
            }
            _ => {}
        }
    }
}

/// The bytes of files, one behind the other, each when it is whole and its digest was right.
fn to_stdout(wanted: &[(String, FileName)]) -> Result<Exit, Failure> {
    let folder = std::env::temp_dir().join(format!("longshore-get-{}", std::process::id()));
    let failed =
        |error: io::Error| Failure::new(Exit::No, format!("{}: {error}", folder.display()));
    fs::create_dir(&folder).map_err(failed)?; // of our own: nobody else has it open
    let store = store(&folder, true)?;
    let quiet = Output::silent();
    let mut ended = Ok(Exit::Done);
    for (addr, name) in wanted {
        ended = Session::open(addr).and_then(|session| get(&session, name, &store, false, quiet));
        if ended.is_err() {
            break;
        }
        let mut file = fs::File::open(folder.join(name.last())).map_err(failed)?;
        out::copy(&mut file);
    }
    let _ = fs::remove_dir_all(&folder); // it is the system's folder for such things
    ended
}
