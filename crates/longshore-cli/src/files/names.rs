//! Where files are: at a server, below a folder; and when they were changed.

use crate::exit::{Exit, Failure};
use longshore::FileName;
use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders below a folder that is sent, or fetched: no more are taken at a time.
pub(crate) const FILES_MAX: usize = 1_000_000;

/// `ADDR` or `ADDR/NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) addr: String,
    pub(crate) name: Option<FileName>,
}

impl Target {
    /// From the command line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (addr, name) = text.split_once('/').unwrap_or((text, ""));
        let addr = crate::args::addr(addr)?;
        let name = name.strip_suffix('/').unwrap_or(name);
        if name.is_empty() {
            return Ok(Self { addr, name: None });
        }
        let name = FileName::parse(name)
            .map_err(|bad| format!("{name}: not a name the server can have: {bad}"))?;
        Ok(Self { addr, name: Some(name) })
    }
}

/// Files that are to be sent, each with the name that it is to have; and what cannot be, with why.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<(PathBuf, FileName)>,
    pub(crate) refused: Vec<(String, String)>,
}

impl Found {
    /// Adds what is below `path`, each with its name or the way to it below that, below a folder of the
    /// server.
    pub(crate) fn add(&mut self, path: &Path, below: Option<&FileName>) -> Result<(), Failure> {
        let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
        // `.` and `..` have names, too.
        let full = path.canonicalize().map_err(|error| wrong(error.to_string()))?;
        let last = full.file_name().ok_or_else(|| wrong("it has no name".into()))?;
        let name = name_of(last.to_str(), below).map_err(wrong)?;
        self.collect(path, &name)
    }

    /// What is wrong below a folder is left out, and told of.
    fn collect(&mut self, path: &Path, name: &FileName) -> Result<(), Failure> {
        if self.files.len() >= FILES_MAX {
            let text = format!("{}: more than {FILES_MAX} files", path.display());
            return Err(Failure::new(Exit::Usage, text));
        }
        let mut refuse = |path: &Path, why: String| {
            self.refused.push((path.display().to_string(), why));
        };
        match fs::metadata(path) {
            Ok(facts) if facts.is_dir() => {}
            Ok(_) => {
                self.files.push((path.into(), name.clone()));
                return Ok(());
            }
            Err(error) => {
                refuse(path, error.to_string());
                return Ok(());
            }
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = entries.unwrap_or_else(|error| {
            refuse(path, error.to_string());
            Vec::new()
        });
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            // What a link leads to may be anywhere, and around for ever.
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                continue;
            }
            let inner = entry.path();
            match name_of(entry.file_name().to_str(), Some(name)) {
                Ok(name) => self.collect(&inner, &name)?,
                Err(why) => self.refused.push((inner.display().to_string(), why)),
            }
        }
        Ok(())
    }
}

fn name_of(last: Option<&str>, below: Option<&FileName>) -> Result<FileName, String> {
    let name = last.ok_or("its name is not UTF-8")?;
    let name = FileName::parse(name).and_then(|name| match below {
        None => Ok(name),
        Some(below) => below.join(&name),
    });
    name.map_err(|bad| format!("not a name the server can have: {bad}"))
}

/// Nanoseconds since 1970 as `2026-11-30 13:05` in UTC.
pub(crate) fn date(nanos: u64) -> String {
    let minutes = nanos / 60_000_000_000;
    let (days, minute) = (minutes / (24 * 60), minutes % (24 * 60));
    // Years that begin in March end with the day that may be left out. Source: ISO 8601, the Gregorian
    // calendar: 146,097 days in 400 years.
    let shifted = days + 719_468; // since the 1st of March of the year 0
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_and_a_name() {
        let of =
            |text| Target::parse(text).map(|it| (it.addr, it.name.map(|name| name.to_string())));
        let with = |addr: &str, name: Option<&str>| Ok((addr.into(), name.map(Into::into)));
        assert_eq!(of(":7411"), with(":7411", None));
        assert_eq!(of(":7411/"), with(":7411", None));
        assert_eq!(of("host:1/a/b"), with("host:1", Some("a/b")));
        assert_eq!(of("[::1]:1/a/"), with("[::1]:1", Some("a")));
        let told = of(":7411/../etc/passwd").unwrap_err();
        assert!(
            told.starts_with("../etc/passwd: not a name the server can have: \"..\""),
            "{told}"
        );
        assert!(of("host/a").is_err() && of("a").is_err());
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let of = |seconds: u64| date(seconds * 1_000_000_000);
        assert_eq!(of(0), "1970-01-01 00:00");
        assert_eq!(of(951_782_399), "2000-02-28 23:59");
        assert_eq!(of(951_782_400), "2000-02-29 00:00");
        assert_eq!(of(1_709_251_200), "2024-03-01 00:00");
        assert_eq!(of(1_796_043_900), "2026-11-30 13:05");
        assert_eq!(of(4_102_444_799), "2099-12-31 23:59");
    }
}
