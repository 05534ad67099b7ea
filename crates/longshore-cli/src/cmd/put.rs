//! `longshore put`: files and folders to a server.

use crate::args::PutArgs;
use crate::exit::{Exit, Failure};
use crate::files::{Board, Found, News, Session, Target, Verb};
use crate::out::Output;
use longshore::{FileName, FileSource};
use std::path::{Path, PathBuf};

/// Files that are under way: so many are opened at a time.
const UNDER_WAY_MAX: usize = 256;

/// Files that are begun at once.
const AT_ONCE: usize = 32;

pub(crate) fn run(args: &PutArgs, out: Output) -> Result<Exit, Failure> {
    let (paths, to) = args.split()?;
    let target =
        Target::parse(to).map_err(|text| Failure::new(Exit::Usage, format!("put {text}")))?;
    let mut found = Found::default();
    for path in paths {
        found.add(Path::new(path), target.name.as_ref())?;
    }
    put(&Session::open(&target.addr)?.stops_on_signals()?, found, args.restart, out)
}

/// Sends all of these.
pub(crate) fn put(
    session: &Session,
    Found { files, refused }: Found,
    restart: bool,
    out: Output,
) -> Result<Exit, Failure> {
    let bytes = |path: &PathBuf| std::fs::metadata(path).map_or(0, |facts| facts.len());
    let total = files.iter().map(|(path, _)| bytes(path)).sum();
    let mut board = Board::new(Verb::Put, (files.len() + refused.len()) as u64, total, out);
    for (path, why) in refused {
        board.refused(&path, &why);
    }
    let mut files = files.into_iter().peekable();
    while files.peek().is_some() || board.under_way() > 0 {
        while files.peek().is_some() && board.under_way() < UNDER_WAY_MAX {
            let mut opened = Vec::new();
            for (path, name) in files.by_ref().take(AT_ONCE) {
                match FileSource::open(&path) {
                    Ok(source) => opened.push((source, name)),
                    Err(error) => board.refused(&path.display().to_string(), &error.to_string()),
                }
            }
            begin(session, &mut board, opened, restart)?;
        }
        if let Some(News::Failed(failed)) = board.look(session)? {
            board.failed(&failed);
        }
    }
    board.finish()
}

fn begin(
    session: &Session,
    board: &mut Board,
    opened: Vec<(FileSource, FileName)>,
    restart: bool,
) -> Result<(), Failure> {
    let shown: Vec<_> =
        opened.iter().map(|(source, name)| (name.to_string(), source.bytes())).collect();
    let begun = session.ask(move |cx| {
        let begun = opened.iter().map(|(source, name)| {
            let id = cx.offer_file(source, name)?;
            if restart {
                cx.restart_file(id);
            }
            Ok(id)
        });
        Ok(begun.collect::<Vec<longshore::Result<_>>>())
    })?;
    for ((name, bytes), begun) in shown.into_iter().zip(begun) {
        match begun {
            Ok(id) => board.begin(id, name, bytes),
            Err(error) => board.refused(&name, &error.to_string()),
        }
    }
    Ok(())
}
