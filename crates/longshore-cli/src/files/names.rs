//! Where files are: at a server, below a folder; and when they were changed.

use crate::exit::{Exit, Failure};
use longshore::FileName;
use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders below a folder that is sent: no more are taken at a time.
const FILES_MAX: usize = 1_000_000;

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

/// What is below `path`, each file with the name that it is to have: that of the path, or below it.
pub(crate) fn file_names(
    path: &Path,
    below: Option<&FileName>,
) -> Result<Vec<(PathBuf, FileName)>, Failure> {
    let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    // `.` and `..` have names, too.
    let full = path.canonicalize().map_err(|error| wrong(error.to_string()))?;
    let last = full.file_name().ok_or_else(|| wrong("it has no name".into()))?;
    let name = part(last.to_str(), &wrong)?;
    let name = match below {
        None => name,
        Some(below) => below.join(&name).map_err(|bad| wrong(bad.to_string()))?,
    };
    let mut found = Vec::new();
    collect(path, &name, &mut found)?;
    Ok(found)
}

fn part(name: Option<&str>, wrong: &impl Fn(String) -> Failure) -> Result<FileName, Failure> {
    let name = name.ok_or_else(|| wrong("its name is not UTF-8".into()))?;
    FileName::parse(name).map_err(|bad| wrong(format!("not a name the server can have: {bad}")))
}

fn collect(
    path: &Path,
    name: &FileName,
    found: &mut Vec<(PathBuf, FileName)>,
) -> Result<(), Failure> {
    let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let failed = |error: std::io::Error| wrong(error.to_string());
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        if found.len() >= FILES_MAX {
            return Err(wrong(format!("more than {FILES_MAX} files")));
        }
        found.push((path.into(), name.clone()));
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(failed)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let inner = entry.path();
        // What a link leads to may be anywhere, and around for ever.
        if entry.file_type().map_err(failed)?.is_symlink() {
            continue;
        }
        let wrong =
            |what: String| Failure::new(Exit::Usage, format!("{}: {what}", inner.display()));
        let last = part(entry.file_name().to_str(), &wrong)?;
        let name = name.join(&last).map_err(|bad| wrong(bad.to_string()))?;
        collect(&inner, &name, found)?;
    }
    Ok(())
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
