//! `longshore ls`: what a server has.

use super::get::list;
use crate::args::LsArgs;
use crate::exit::{Exit, Failure};
use crate::files::{Session, Target, date};
use crate::out::{self, Output, grouped};
use longshore::{FileName, Listed};
use serde_json::json;

pub(crate) fn run(args: &LsArgs, out: Output) -> Result<Exit, Failure> {
    let target = Target::parse(&args.from);
    let target = target.map_err(|text| Failure::new(Exit::Usage, format!("ls {text}")))?;
    list_and_show(&target.addr, target.name.as_ref(), out)
}

/// Asks a server, and shows what it says.
pub(crate) fn list_and_show(
    addr: &str,
    folder: Option<&FileName>,
    out: Output,
) -> Result<Exit, Failure> {
    let session = Session::open(addr)?;
    show(&list(&session, folder)?, out);
    session.close();
    Ok(Exit::Done)
}

/// Size, time and name of each, folders with a `/`.
fn show(entries: &[Listed], out: Output) {
    let width = entries.iter().map(|entry| grouped(entry.bytes).len()).max().unwrap_or(0);
    for entry in entries {
        if out.is_json() {
            out::object(json!({
                "name": entry.name,
                "folder": entry.folder,
                "bytes": entry.bytes,
                "modified": entry.modified / 1_000_000_000,
            }));
            continue;
        }
        let bytes = if entry.folder { "-".into() } else { grouped(entry.bytes) };
        let end = if entry.folder { "/" } else { "" };
        let when = date(entry.modified);
        // Some letters turn a line around.
        let steers = |char: char| {
            char.is_control() || matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        };
        let name: String = entry.name.chars().filter(|char| !steers(*char)).collect();
        out::line(format_args!("{bytes:>width$}  {when}  {name}{end}"));
    }
}
