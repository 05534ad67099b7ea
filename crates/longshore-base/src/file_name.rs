//! Names of files below a folder: what a peer may call a file, on every system alike.

use std::fmt;
use std::sync::Arc;

/// Most bytes of a whole name.
const NAME_BYTES_MAX: usize = 1_024;

/// Most bytes of one part. Source: `NAME_MAX` of `limits.h` on Linux, in bytes; Windows and macOS
/// count UTF-16 units, of which a part never has more than bytes.
const PART_BYTES_MAX: usize = 255;

/// Most parts of a name.
const PARTS_MAX: usize = 32;

/// What the names of temporary files begin with. No name of a peer does.
const TEMPORARY: &str = ".longshore-";

/// Hex digits behind [`TEMPORARY`].
const TEMPORARY_DIGITS: usize = 16;

/// Names of devices. Windows finds them in every folder, with any extension, in any case.
/// Source: "Naming Files, Paths, and Namespaces" of the Win32 reference.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// The same with one digit behind them, a superscript one too.
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];

/// The name of a file or folder: **one relative path below a root**, with `/` between its parts.
///
/// The rules are the same on every system, so a name that is good on one is good on all. A name never
/// leaves its root, never means a device, a stream of a file or a short name of Windows, and never
/// hides what it is from who reads it. It has 1 to 1,024 bytes in 1 to 32 parts of at most 255 bytes.
/// That two names differ does not say that a system keeps them apart: many ignore case.
///
/// Cloning shares it. Its order is that of its bytes.
///
/// ```
/// use longshore_base::FileName;
///
/// let name = FileName::parse("2026/june/report.pdf")?;
/// assert_eq!(name.last(), "report.pdf");
/// assert_eq!(name.parent(), Some(FileName::parse("2026/june")?));
/// assert!(FileName::parse("../secret").is_err());
/// # Ok::<(), longshore_base::BadName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

/// Why something is no [`FileName`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadName {
    /// Nothing at all.
    Empty,
    /// Over 1,024 bytes: so many.
    TooLong(usize),
    /// Over 32 parts: so many.
    TooDeep(usize),
    /// A part over 255 bytes: so many.
    PartTooLong(usize),
    /// It begins with `/`.
    Absolute,
    /// `//`, or a `/` at the end.
    EmptyPart,
    /// The part `.`, which is its own folder.
    Same,
    /// The part `..`, which leaves its folder.
    Leaves,
    /// A control character, or one that hides, or turns the direction of writing.
    Invisible(char),
    /// A character that has a meaning of its own in paths: one of `\ < > : " | ? *`.
    Reserved(char),
    /// This part ends with `.` or a space, which Windows leaves away.
    BadEnd(Box<str>),
    /// This part is a device of Windows.
    Device(Box<str>),
    /// This part may be another file's short name on Windows.
    ShortName(Box<str>),
    /// This part is kept for temporary files.
    Temporary(Box<str>),
}

impl FileName {
    /// A name as a peer or a user says it.
    ///
    /// # Errors
    /// What is wrong with it; the first thing that is.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        check_size(name)?;
        name.split('/').try_for_each(check_part)?;
        Ok(Self(name.into()))
    }

    /// What a listing of `folder` (`None`: the root) has under `last`: also a temporary file.
    ///
    /// # Errors
    /// What is wrong with it, so that it is no file of ours.
    pub fn listed(folder: Option<&Self>, last: &str) -> Result<Self, BadName> {
        if !is_temporary(last) {
            if last.contains('/') {
                return Err(BadName::Reserved('/'));
            }
            check_size(last)?;
            check_part(last)?;
        }
        let Some(folder) = folder else { return Ok(Self(last.into())) };
        let name = format!("{folder}/{last}");
        if !is_temporary(last) {
            check_size(&name)?;
        }
        Ok(Self(name.into()))
    }

    /// A temporary name in the same folder, one for each `number`. A peer can never say it, so it can
    /// neither ask for such a file nor be in its way. It may be 26 bytes longer than other names.
    #[must_use]
    pub fn temporary(&self, number: u64) -> Self {
        let folder = &self.0[..self.0.len() - self.last().len()];
        Self(format!("{folder}{TEMPORARY}{number:0TEMPORARY_DIGITS$x}").into())
    }

    /// Whether it was made by [`FileName::temporary`].
    pub fn is_temporary(&self) -> bool {
        is_temporary(self.last())
    }

    /// `other`, which is below the folder `self`.
    ///
    /// # Errors
    /// Together they are too long or too deep.
    pub fn join(&self, other: &Self) -> Result<Self, BadName> {
        let name = format!("{self}/{other}");
        check_size(&name)?;
        Ok(Self(name.into()))
    }

    /// The folder that it lies in; `None` is the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(folder, _)| Self(folder.into()))
    }

    /// Its parts, the outermost first.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Its last part.
    pub fn last(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, last)| last)
    }

    /// The same without the folder that it lies in.
    #[must_use]
    pub fn base(&self) -> Self {
        Self(self.last().into())
    }

    /// All of it, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the whole has to keep to.
fn check_size(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(BadName::TooLong(name.len()));
    }
    if name.starts_with('/') {
        return Err(BadName::Absolute);
    }
    let parts = name.split('/').count();
    if parts > PARTS_MAX { Err(BadName::TooDeep(parts)) } else { Ok(()) }
}

/// What each part has to keep to.
fn check_part(part: &str) -> Result<(), BadName> {
    match part {
        "" => return Err(BadName::EmptyPart),
        "." => return Err(BadName::Same),
        ".." => return Err(BadName::Leaves),
        _ if part.len() > PART_BYTES_MAX => return Err(BadName::PartTooLong(part.len())),
        _ => {}
    }
    if let Some(char) = part.chars().find(|char| is_invisible(*char)) {
        return Err(BadName::Invisible(char));
    }
    if let Some(char) = part.chars().find(|char| r#"\<>:"|?*"#.contains(*char)) {
        return Err(BadName::Reserved(char));
    }
    if part.ends_with(['.', ' ']) {
        return Err(BadName::BadEnd(part.into()));
    }
    if is_device(part) {
        return Err(BadName::Device(part.into()));
    }
    if is_short_name(part) {
        return Err(BadName::ShortName(part.into()));
    }
    if looks_temporary(part) {
        return Err(BadName::Temporary(part.into()));
    }
    Ok(())
}

/// Control characters, ends of lines, marks that turn the direction of writing, and what has no width.
/// Source: Unicode, UAX #9 "Bidirectional Algorithm" and the properties `Cc`, `Zl`, `Zp`.
const fn is_invisible(char: char) -> bool {
    char.is_ascii_control()
        || matches!(char, '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}')
        || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether Windows takes this part for a device. It looks at what stands before the first dot,
/// without spaces at its end.
fn is_device(part: &str) -> bool {
    let stem = part.split_once('.').map_or(part, |(stem, _)| stem).trim_end_matches(' ');
    let is_digit = |rest: &str| {
        let mut chars = rest.chars();
        let digit = matches!(chars.next(), Some('0'..='9' | '¹' | '²' | '³'));
        digit && chars.next().is_none()
    };
    DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device))
        || NUMBERED_DEVICES.iter().any(|device| {
            let head = stem.get(..device.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(device))
                && is_digit(&stem[device.len()..])
        })
}

/// Whether this part may be one that Windows made up for a file with a longer name: `PROGRA~1.TXT`.
/// Source: "Naming Files, Paths, and Namespaces", "Short vs. Long Names".
fn is_short_name(part: &str) -> bool {
    let (stem, extension) = part.split_once('.').unwrap_or((part, ""));
    let digits = stem.rsplit_once('~').map_or("", |(_, digits)| digits);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = stem.chars().count() <= 8 && extension.chars().count() <= 3;
    is_number && is_short && !extension.contains('.')
}

/// Whether a system that ignores case may take this part for a temporary name. Some also ignore
/// characters without a look of their own. Source: Unicode, `Default_Ignorable_Code_Point`.
fn looks_temporary(part: &str) -> bool {
    let seen = part.chars().filter(|char| {
        !matches!(char, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
            && !matches!(char, '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}')
            && !matches!(char, '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
            && !matches!(char, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
    });
    let folded = seen.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.take(TEMPORARY.len()).eq(TEMPORARY.chars())
}

/// Whether this part was made by [`FileName::temporary`].
fn is_temporary(part: &str) -> bool {
    part.strip_prefix(TEMPORARY).is_some_and(|digits| {
        digits.len() == TEMPORARY_DIGITS
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty name"),
            Self::TooLong(bytes) => write!(f, "{bytes} bytes, at most {NAME_BYTES_MAX}"),
            Self::TooDeep(parts) => write!(f, "{parts} folders deep, at most {PARTS_MAX}"),
            Self::PartTooLong(bytes) => {
                write!(f, "a part of {bytes} bytes, at most {PART_BYTES_MAX}")
            }
            Self::Absolute => f.write_str("\"/\" at its start: it must be below its folder"),
            Self::EmptyPart => f.write_str("\"/\" with nothing behind it"),
            Self::Same => f.write_str("\".\" is its own folder"),
            Self::Leaves => f.write_str("\"..\" leaves its folder"),
            Self::Invisible(char) => {
                write!(f, "U+{:04X} cannot be seen where it is read", u32::from(*char))
            }
            Self::Reserved(char) => write!(f, "{char:?} has another meaning in paths"),
            Self::BadEnd(part) => {
                write!(f, "{part:?} ends with what Windows leaves away: a dot or a space")
            }
            Self::Device(part) => write!(f, "{part:?} is a device on Windows"),
            Self::ShortName(part) => {
                write!(f, "{part:?} may be the short name of another file on Windows")
            }
            Self::Temporary(part) => write!(f, "{part:?} is kept for temporary files"),
        }
    }
}

impl std::error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    fn bad(name: &str) -> BadName {
        FileName::parse(name).expect_err(name)
    }

    #[test]
    fn what_is_usual_is_a_name() {
        for good in [
            "a",
            "a.txt",
            ".hidden",
            "..a",
            "a..b",
            "...a",
            "ein Name/mit Ümläuten/und 漢字.txt",
            "❤\u{fe0f}.png",
            " leading",
            "a.b.c.d",
            "console",
            "com",
            "com10",
            "COMPUTER.txt",
            "auxiliary",
            "nul-1",
            "lpt",
            "backup~",
            "file.~1~",
            "progra~1.conf",
            "a~1.tar.gz",
            "notes~2024",
            "~a",
            ".longshor",
            "longshore-1",
            "x.longshore-1",
            ".longshore",
            "-rf",
            "a'b`c$d;e&f#g%h",
        ] {
            let name = FileName::parse(good).expect(good);
            assert_eq!((name.as_str(), name.to_string()), (good, good.to_owned()));
        }
    }

    #[test]
    fn what_leaves_its_folder_or_is_no_path_is_no_name() {
        assert_eq!(bad(""), BadName::Empty);
        for absolute in ["/", "//", "/etc/passwd", "//server/share", "/a"] {
            assert_eq!(bad(absolute), BadName::Absolute, "{absolute}");
        }
        for empty in ["a/", "a//b", "a///b", "a/b/"] {
            assert_eq!(bad(empty), BadName::EmptyPart, "{empty}");
        }
        for leaves in ["..", "../a", "a/..", "a/../b", "a/b/../../.."] {
            assert_eq!(bad(leaves), BadName::Leaves, "{leaves}");
        }
        for same in [".", "./a", "a/.", "a/./b"] {
            assert_eq!(bad(same), BadName::Same, "{same}");
        }
        for (reserved, char) in [
            (r"a\b", '\\'),
            (r"..\a", '\\'),
            (r"\\server\share", '\\'),
            (r"\\?\C:\a", '\\'),
            ("C:", ':'),
            ("C:a", ':'),
            ("C:/a", ':'),
            ("a.txt:stream", ':'),
            ("a::$DATA", ':'),
            ("a/b:c", ':'),
            ("a<b", '<'),
            ("a>b", '>'),
            ("a\"b", '"'),
            ("a|b", '|'),
            ("a?b", '?'),
            ("a*b", '*'),
        ] {
            assert_eq!(bad(reserved), BadName::Reserved(char), "{reserved}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_no_name() {
        let ranges = [
            '\0'..='\u{1f}',
            '\u{7f}'..='\u{9f}',
            '\u{61c}'..='\u{61c}',
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2060}'..='\u{2069}',
            '\u{feff}'..='\u{feff}',
        ];
        for char in ranges.into_iter().flatten() {
            for name in [format!("{char}a"), format!("a{char}"), format!("x/a{char}b/c")] {
                assert_eq!(bad(&name), BadName::Invisible(char), "{name:?}");
            }
        }
    }

    #[test]
    fn what_windows_takes_for_something_else_is_no_name() {
        for device in [
            "CON",
            "con",
            "Prn",
            "AUX",
            "NUL",
            "nul.txt",
            "con.tar.gz",
            "CON .txt",
            "CONIN$",
            "conout$.x",
            "COM0",
            "com1",
            "COM9.log",
            "LPT0",
            "lpt9",
            "COM¹",
            "lpt².txt",
            "COM³",
            "aux  .c",
        ] {
            for name in [device.to_owned(), format!("a/{device}"), format!("{device}/a")] {
                assert_eq!(bad(&name), BadName::Device(device.into()), "{name}");
            }
        }
        for end in ["a.", "a ", "a. ", "a .", "...", " ", "con ", "con.", "a.txt."] {
            for name in [end.to_owned(), format!("a/{end}"), format!("{end}/a")] {
                assert_eq!(bad(&name), BadName::BadEnd(end.into()), "{name}");
            }
        }
        for short in ["PROGRA~1", "progra~1", "A~1.TXT", "LONGFI~2.C", "AB12CD~1", "~1", "A~123456"]
        {
            for name in [short.to_owned(), format!("a/{short}"), format!("{short}/a")] {
                assert_eq!(bad(&name), BadName::ShortName(short.into()), "{name}");
            }
        }
    }

    #[test]
    fn a_name_has_bounds() {
        let (long, longer) = ("x".repeat(PART_BYTES_MAX), "x".repeat(PART_BYTES_MAX + 1));
        assert!(FileName::parse(&long).is_ok() && FileName::parse(&format!("a/{long}")).is_ok());
        assert_eq!(bad(&longer), BadName::PartTooLong(256));
        assert_eq!(bad(&"é".repeat(128)), BadName::PartTooLong(256), "bytes count");
        let deep = |parts| vec!["x"; parts].join("/");
        assert!(FileName::parse(&deep(PARTS_MAX)).is_ok());
        assert_eq!(bad(&deep(PARTS_MAX + 1)), BadName::TooDeep(33));
        let most = [&long[..], &long, &long, &long].join("/");
        assert_eq!(most.len(), NAME_BYTES_MAX - 1);
        let most = FileName::parse(&most).unwrap();
        assert_eq!(bad(&format!("{most}/xx")), BadName::TooLong(1_026));
        let x = FileName::parse("x").unwrap();
        assert_eq!(most.join(&x), Err(BadName::TooLong(1_025)));
        let deep = FileName::parse(&deep(PARTS_MAX)).unwrap();
        assert_eq!(deep.join(&x), Err(BadName::TooDeep(33)));
    }

    #[test]
    fn no_peer_says_a_temporary_name() {
        let name = FileName::parse("in/a.txt").unwrap();
        let temporary = name.temporary(0xbeef);
        assert_eq!(temporary.as_str(), "in/.longshore-000000000000beef");
        assert!(temporary.is_temporary() && !name.is_temporary());
        assert_eq!(name.temporary(u64::MAX).last(), ".longshore-ffffffffffffffff");
        let top = FileName::parse("a").unwrap().temporary(1);
        assert_eq!(top.as_str(), ".longshore-0000000000000001");
        for part in [
            top.as_str(),
            ".longshore-",
            ".longshore-x",
            ".LONGSHORE-1",
            ".LongShore-1",
            ".longſhore-1",
            ".long\u{ad}shore-1",
            ".longshore\u{fe0f}-1",
        ] {
            for name in [part.to_owned(), format!("a/{part}"), format!("{part}/a")] {
                assert_eq!(bad(&name), BadName::Temporary(part.into()), "{name}");
            }
        }
    }

    #[test]
    fn a_listing_has_temporary_names_and_usual_ones() {
        let folder = FileName::parse("in").unwrap();
        let temporary = folder.temporary(7);
        assert_eq!(FileName::listed(None, temporary.as_str()), Ok(temporary.clone()));
        let listed = FileName::listed(Some(&folder), temporary.last()).unwrap();
        assert_eq!(listed.as_str(), "in/.longshore-0000000000000007");
        assert!(listed.is_temporary());
        assert_eq!(FileName::listed(Some(&folder), "a").unwrap().as_str(), "in/a");
        for other in
            ["", ".", "..", "a/b", "/a", "con", ".longshore-1", ".LONGSHORE-0000000000000007"]
        {
            assert!(FileName::listed(Some(&folder), other).is_err(), "{other}");
            assert!(FileName::listed(None, other).is_err(), "{other}");
        }
        let long = FileName::parse(&vec!["x".repeat(255); 4].join("/")).unwrap();
        assert_eq!(FileName::listed(Some(&long), "a"), Err(BadName::TooLong(1_025)));
        assert!(FileName::listed(Some(&long), temporary.last()).is_ok());
    }

    #[test]
    fn its_parts_are_what_it_is_made_of() {
        let name = FileName::parse("a/b/c").unwrap();
        assert_eq!(name.parts().collect::<Vec<_>>(), ["a", "b", "c"]);
        let (parent, last) = (name.parent().unwrap(), FileName::parse(name.last()).unwrap());
        assert_eq!(parent.join(&last).unwrap(), name);
        assert_eq!(parent.parent().unwrap().parent(), None);
        assert_eq!(format!("{name:?}"), "\"a/b/c\"");
    }

    #[test]
    fn it_is_said_what_is_wrong() {
        for (name, why) in [
            ("", "an empty name"),
            ("a/../b", "\"..\" leaves its folder"),
            ("a\u{202e}b", "U+202E cannot be seen where it is read"),
            ("a\nb", "U+000A cannot be seen where it is read"),
            ("c:x", "':' has another meaning in paths"),
            ("nul.txt", "\"nul.txt\" is a device on Windows"),
            ("a//b", "\"/\" with nothing behind it"),
        ] {
            assert_eq!(bad(name).to_string(), why);
        }
    }

    /// Whatever comes: a name keeps to what it promises, and nothing panics.
    #[test]
    fn any_text_is_a_name_or_not() {
        let pieces = [
            "..",
            ".",
            "/",
            "\\",
            ":",
            "a",
            "b",
            "~",
            "1",
            "con",
            " ",
            "\0",
            "é",
            "\u{200b}",
            "漢",
            ".longshore-",
            "x.y",
            "C",
            "COM",
            "¹",
            "\u{feff}",
            "*",
        ];
        let mut good = 0;
        for seed in 0..20_000 {
            let mut chance = SplitMix64::new(seed);
            let text: String =
                (0..chance.below(8)).map(|_| pieces[chance.below(pieces.len())]).collect();
            let Ok(name) = FileName::parse(&text) else { continue };
            good += 1;
            assert!(!text.starts_with('/') && !text.contains(['\\', '\0', ':']), "{text:?}");
            assert!(name.parts().all(|part| !["", ".", ".."].contains(&part)), "{text:?}");
            let (parent, last) = (name.parent(), name.last());
            assert_eq!(FileName::listed(parent.as_ref(), last).as_ref(), Ok(&name));
            assert!(!name.is_temporary() && name.temporary(seed).is_temporary());
        }
        assert!(good > 1_000, "{good}");
    }
}
