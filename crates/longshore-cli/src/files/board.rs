//! What is seen of files that come and go.

use super::bar::{Bar, Progress, rate, size};
use super::session::{News, Session};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::out::{self, Output, counted, grouped, hex};
use longshore::{FileDone, FileErrorKind, FileFailed, FileId, FileProgress};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Files up to which each has a line of its own.
const LINES_MAX: u64 = 20;

/// How long to wait for news until the bar is drawn again.
const LOOK: Duration = Duration::from_millis(200);

/// What is done with the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Put,
    Get,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
        }
    }
}

/// Files that are under way, and what became of others.
pub(crate) struct Board {
    verb: Verb,
    out: Output,
    bar: Bar,
    began: Instant,
    /// All that is to be done, as far as it is known.
    files: u64,
    total: u64,
    /// Of files that are over.
    done: u64,
    bytes: u64,
    resumed: u64,
    under_way: BTreeMap<FileId, Progress>,
    failures: Vec<(String, Exit)>,
}

impl Board {
    /// For so many files of so many bytes in all; 0 if that is not known.
    pub(crate) fn new(verb: Verb, files: u64, total: u64, out: Output) -> Self {
        Self {
            verb,
            out,
            bar: Bar::new(out),
            began: Instant::now(),
            files,
            total,
            done: 0,
            bytes: 0,
            resumed: 0,
            under_way: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// Files that are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// A file is under way, of so many bytes; 0 if that is not known.
    pub(crate) fn begin(&mut self, id: FileId, name: String, total: u64) {
        let began = Instant::now();
        self.under_way.insert(id, Progress { name, bytes: 0, total, resumed: 0, began });
    }

    /// A file cannot even begin.
    pub(crate) fn refused(&mut self, name: &str, why: &str) {
        self.fail(format!("{} {name}: {why}", self.verb.word()), Exit::No);
    }

    /// Takes the next news in, and shows how far all is. What is no news of a file comes back.
    pub(crate) fn look(&mut self, session: &Session) -> Result<Option<News>, Failure> {
        let news = session.next(LOOK);
        let news = match news {
            Ok(news) => news,
            Err(failure) => {
                self.bar.clear();
                return Err(self.cut(failure));
            }
        };
        match news {
            Some(News::Progress(progress)) => self.progress(&progress),
            Some(News::Done(done)) => self.done(&done),
            Some(News::Failed(failed)) if self.under_way.contains_key(&failed.id) => {
                return Ok(Some(News::Failed(failed)));
            }
            other => return Ok(other),
        }
        self.draw();
        Ok(None)
    }

    fn progress(&mut self, told: &FileProgress) {
        if let Some(progress) = self.under_way.get_mut(&told.id) {
            if progress.resumed != told.resumed {
                progress.began = Instant::now(); // until now it was looked what there is
            }
            (progress.bytes, progress.total) = (told.bytes, told.total);
            progress.resumed = told.resumed;
        }
    }

    fn draw(&mut self) {
        let one = self.under_way.values().next();
        if self.files == 1 {
            if let Some(progress) = one {
                self.bar.draw(progress);
            }
            return;
        }
        let moving = self.under_way.values();
        let (bytes, resumed) = moving
            .fold((self.bytes, self.resumed), |sum, it| (sum.0 + it.bytes, sum.1 + it.resumed));
        let name = format!("{} of {} files", grouped(self.done), grouped(self.files));
        let (total, began) = (self.total.max(bytes), self.began);
        self.bar.draw(&Progress { name, bytes, total, resumed, began });
    }

    fn done(&mut self, done: &FileDone) {
        let Some(progress) = self.under_way.remove(&done.id) else { return };
        self.done += 1;
        self.bytes += done.bytes;
        self.resumed += done.resumed;
        let (digest, word) = (hex(&done.digest), self.verb.word());
        if self.out.is_json() {
            out::object(json!({
                "event": word,
                "name": progress.name,
                "bytes_total": done.bytes,
                "resumed_bytes": done.resumed,
                "blake3": digest,
                "after_ms": millis(progress.began.elapsed()),
            }));
        } else if !self.out.is_quiet() && (self.files <= LINES_MAX || self.out.is_verbose()) {
            self.bar.clear();
            let resumed = match done.resumed {
                0 => String::new(),
                bytes if bytes == done.bytes => "   all of it was there".into(),
                bytes => format!("   {} were there", size(bytes)),
            };
            let bytes = counted(done.bytes, "byte");
            out::line(format_args!(
                "{word} {}   {bytes}   blake3 {digest}{resumed}",
                progress.name
            ));
        }
    }

    /// A file did not come about.
    pub(crate) fn failed(&mut self, failed: &FileFailed) {
        let Some(progress) = self.under_way.remove(&failed.id) else { return };
        let word = self.verb.word();
        let of = match (failed.bytes, progress.total) {
            (0, _) | (_, 0) => String::new(),
            (bytes, total) if !is_kept(failed.error.kind) => {
                format!(" ({} of {})", size(bytes), size(total))
            }
            (bytes, total) => format!(" ({} of {}, kept for a while)", size(bytes), size(total)),
        };
        let error = &failed.error;
        let who = match (self.verb, error.of_peer) {
            (_, true) => "the server: ",
            (_, false) => "",
        };
        let text = match &error.text[..] {
            "" => String::new(),
            text => format!(": {text}"),
        };
        let hint = hint(error.kind, self.verb);
        let exit = match error.kind {
            FileErrorKind::TimedOut => Exit::TimedOut,
            FileErrorKind::ConnectionLost => Exit::Broken,
            _ => Exit::No,
        };
        self.fail(format!("{word} {}: {who}{}{text}{of}{hint}", progress.name, error.kind), exit);
    }

    fn fail(&mut self, text: String, exit: Exit) {
        self.bar.clear();
        if self.files > 1 {
            if self.out.is_json() {
                out::object(json!({ "event": "error", "error": text }));
            } else {
                log::say(&text);
            }
        }
        self.failures.push((text, exit));
    }

    /// The connection broke: what that means for what is under way.
    fn cut(&self, failure: Failure) -> Failure {
        let Some(progress) = self.under_way.values().next() else { return failure };
        let word = self.verb.word();
        let so_far = match progress.bytes {
            0 => String::new(),
            bytes => format!(" after {} of {}", size(bytes), size(progress.total)),
        };
        let text = format!(
            "{word} {}: {}{so_far}; run the same command to go on where it was",
            progress.name, failure.text
        );
        Failure { text, ..failure }
    }

    /// All is over.
    pub(crate) fn finish(mut self) -> Result<Exit, Failure> {
        self.bar.clear();
        if self.files > 1 {
            let (after, word) = (self.began.elapsed(), self.verb.word());
            if self.out.is_json() {
                out::object(json!({
                    "event": "done",
                    "files_total": self.done,
                    "failed_total": self.failures.len(),
                    "bytes_total": self.bytes,
                    "after_ms": millis(after),
                }));
            } else if !self.out.is_quiet() {
                let seconds = after.as_secs_f64();
                let went = match self.bytes - self.resumed {
                    0 if self.bytes > 0 => "all was there".into(),
                    bytes => format!("{}/s", size(rate(bytes, after))),
                };
                out::line(format_args!(
                    "{word} {}   {}   {seconds:.1} s   {went}",
                    counted(self.done, "file"),
                    size(self.bytes),
                ));
            }
        }
        let count = self.failures.len();
        let Some((text, exit)) = self.failures.into_iter().next() else { return Ok(Exit::Done) };
        let word = self.verb.word();
        let text = match self.files {
            0 | 1 => text,
            all => format!("{word}: {} of {} failed", grouped(count as u64), counted(all, "file")),
        };
        Err(Failure::new(exit, text))
    }
}

/// Whether what came of a file is gone on with the next time.
fn is_kept(kind: FileErrorKind) -> bool {
    !matches!(kind, FileErrorKind::SourceChanged | FileErrorKind::DigestMismatch)
}

/// What a person may do about it.
fn hint(kind: FileErrorKind, verb: Verb) -> &'static str {
    match (kind, verb) {
        (FileErrorKind::NoSpace, _) => "; free space there and run the same command to resume",
        (FileErrorKind::Exists, Verb::Put) => "; choose another name, or serve with --overwrite",
        (FileErrorKind::Exists, Verb::Get) => "; --force replaces it",
        (FileErrorKind::Unsupported, _) => "; the server needs --files DIR",
        (FileErrorKind::TooLarge, Verb::Put) => "; serve with a larger --file-max",
        (FileErrorKind::StoreFull, Verb::Put) => {
            "; serve with larger --files-max, --peer-max or --files-count"
        }
        (FileErrorKind::TimedOut, _) => "; run the same command to resume",
        (FileErrorKind::SourceChanged, _) => "; run the same command to begin anew",
        _ => "",
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
