//! A Wine of one's own: a prefix, what it lacks, and what runs a program in it.

use super::toolchain::{GCC, LINKER, step};
use crate::limited::limited;
use crate::steps::Outcome;
use crate::tools;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The program, and the package of Debian and Ubuntu that has it.
const WINE: (&str, &str) = ("/usr/lib/wine/wine64", "wine64");

/// Runs a program under Wine. Its server stops some time after the last program, which takes a while,
/// and a program that starts just then fails: so it is started apart, and stays for an hour; and with
/// no file of ours open, for whose end somebody may wait.
const RUNNER: &str = r#"#!/usr/bin/env bash
unset DISPLAY WAYLAND_DISPLAY
WINEPREFIX=$(cd "${0%/*}" && pwd)/prefix
export WINEPREFIX WINEDEBUG="${WINEDEBUG:--all}"
export WINEDLLOVERRIDES="winemenubuilder.exe,mscoree,mshtml=d"
if ! /usr/lib/wine/wineserver64 -k0 2>/dev/null; then
    (
        for open in /proc/self/fd/*; do
            open=${open##*/}
            [ "$open" -lt 3 ] || exec {open}>&-
        done
        /usr/lib/wine/wineserver64 -p3600
        exec /usr/lib/wine/wine64 cmd /c exit
    ) </dev/null >/dev/null 2>&1
fi
exec /usr/lib/wine/wine64 "$@"
"#;

/// Longest that the server of Wine may take to end.
const SERVER_ENDS_MAX: Duration = Duration::from_secs(60);

/// What the standard library takes random bytes from, and Wine 8 does not have.
const RANDOM_DLL: &str = "\
__declspec(dllimport) unsigned char SystemFunction036(void *, unsigned long);
__declspec(dllexport) int ProcessPrng(unsigned char *bytes, unsigned long long count) {
    while (count > 0) {
        unsigned long part = count > 0x10000000 ? 0x10000000 : (unsigned long)count;
        if (!SystemFunction036(bytes, part)) return 0;
        bytes += part;
        count -= part;
    }
    return 1;
}
";

/// Makes sure that there is a prefix in `home`, and what runs programs in it.
///
/// # Errors
/// That there is no Wine, or that it does not do its work.
pub(super) fn set_up(home: &Path) -> Result<(), Outcome> {
    tools::install_all(&[WINE, LINKER]).map_err(Outcome::Skipped)?;
    let done = home.join("done");
    // What it was made from: another text makes it again.
    let made_from = format!("{RUNNER}{RANDOM_DLL}");
    if fs::read_to_string(&done).is_ok_and(|text| text == made_from) {
        return Ok(());
    }
    let made = make_prefix(home).and_then(|()| fs::write(&done, &made_from));
    made.map_err(|error| Outcome::Failed(format!("cannot make {}: {error}", home.display())))
}

/// Ends the server of Wine, with all that runs under it, and waits for its end.
pub(super) fn stop_server(home: &Path) {
    for verb in ["-k", "-w"] {
        let mut server = Command::new("/usr/lib/wine/wineserver64");
        server.arg(verb).env("WINEPREFIX", home.join("prefix"));
        // There may be none.
        let _ = limited(SERVER_ENDS_MAX, &server).stdin(Stdio::null()).output();
    }
}

fn make_prefix(home: &Path) -> io::Result<()> {
    if home.exists() {
        stop_server(home); // it would be in the way of the new one
        fs::remove_dir_all(home)?;
    }
    fs::create_dir_all(home)?;
    let wine = home.join("wine");
    fs::write(&wine, RUNNER)?;
    step(Command::new("chmod").arg("755").arg(&wine))?;
    step(Command::new(&wine).args(["wineboot", "--init"]))?;
    // Else it is Windows 7.
    let version = ["reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f"];
    step(Command::new(&wine).args(version))?;
    let source = home.join("random.c");
    fs::write(&source, RANDOM_DLL)?;
    let dll = home.join("prefix/drive_c/windows/system32/bcryptprimitives.dll");
    let flags = ["-O2", "-s", "-shared", "-nostartfiles", "-Wl,--entry=0", "-o"];
    step(Command::new(GCC).args(flags).arg(dll).arg(source).arg("-ladvapi32"))
}
