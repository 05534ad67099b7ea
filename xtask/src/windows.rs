//! `cargo xtask windows`: builds for Windows, and runs what was built under Wine.

use crate::limited::limited;
use crate::steps::{Outcome, target_dir};
use crate::tools;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) const HELP: &str = "\
Builds for Windows, and runs what was built under Wine.

usage: cargo xtask windows VERB [ARGUMENT...]

  VERB       of cargo: build, clippy, run, test; or crowd: 200 connections with the program
             under Wine, and a client under Wine with a server here
  ARGUMENT   of that verb

It sets itself up at the first use: the target x86_64-pc-windows-gnu by rustup, a linker and Wine
by apt-get (as root), and a Wine prefix in target/windows. That takes half a minute and 800 MB.
What Wine shows is that calls do what they should; it says nothing of speed, and is not Windows.

examples:
  cargo xtask windows test -p longshore-port --features contract
  cargo xtask windows run -p longshore-cli -- doctor
";

pub(crate) const TARGET: &str = "x86_64-pc-windows-gnu";
const GCC: &str = "x86_64-w64-mingw32-gcc";

/// Programs that it takes, and the packages of Debian and Ubuntu that have them.
const TOOLS: [(&str, &str); 2] =
    [(GCC, "gcc-mingw-w64-x86-64-win32"), ("/usr/lib/wine/wine64", "wine64")];

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

/// What `cargo xtask windows` was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    args: Vec<String>,
}

impl Options {
    /// Reads the arguments behind `windows`.
    ///
    /// # Errors
    /// Names the verb that is wrong, or missing.
    pub(crate) fn parse(args: &[&str]) -> Result<Self, String> {
        match args {
            ["build" | "clippy" | "run" | "test", ..] | ["crowd"] => {
                Ok(Self { args: args.iter().map(ToString::to_string).collect() })
            }
            [] => Err("windows needs a verb: build, clippy, run, test or crowd".into()),
            [other, ..] => {
                Err(format!("windows takes build, clippy, run, test or crowd, not {other}"))
            }
        }
    }

    /// Whether it is no verb of cargo.
    pub(crate) fn is_crowd(&self) -> bool {
        self.args == ["crowd"]
    }
}

/// Runs it. Whether it succeeded.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    match set_up(root) {
        Outcome::Passed => {}
        Outcome::Failed(why) | Outcome::Skipped(why) => {
            eprintln!("cargo xtask windows: {why}");
            return false;
        }
    }
    match cargo(root, &options.args).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo xtask windows: cannot run cargo: {error}");
            false
        }
    }
}

/// Where the prefix and the runner are.
fn home(root: &Path) -> PathBuf {
    target_dir(root).join("windows")
}

/// What runs a program under Wine.
pub(crate) fn wine(root: &Path) -> PathBuf {
    home(root).join("wine")
}

/// A call of cargo for Windows, once that is set up.
pub(crate) fn cargo(root: &Path, args: &[impl AsRef<OsStr>]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root).envs(env(root)).env_remove("LONGSHORE_DRIVER");
    command
}

/// What makes a call of cargo one for Windows.
pub(crate) fn env(root: &Path) -> [(&'static str, OsString); 3] {
    [
        ("CARGO_BUILD_TARGET", TARGET.into()),
        ("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", GCC.into()),
        ("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", wine(root).into()),
    ]
}

/// Makes sure that all is there which it takes.
pub(crate) fn set_up(root: &Path) -> Outcome {
    if let Err(why) = add_target(TARGET) {
        return Outcome::Skipped(why);
    }
    if let Err(why) = tools::install_all(&TOOLS) {
        return Outcome::Skipped(why);
    }
    let home = home(root);
    let done = home.join("done");
    // What it was made from: another text makes it again.
    let made_from = format!("{RUNNER}{RANDOM_DLL}");
    if fs::read_to_string(&done).is_ok_and(|text| text == made_from) {
        return Outcome::Passed;
    }
    match make_prefix(&home).and_then(|()| fs::write(&done, &made_from)) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("cannot make {}: {error}", home.display())),
    }
}

/// Has rustup fetch the standard library for `target`.
///
/// # Errors
/// Says that it does not, and what is left out by that.
pub(crate) fn add_target(target: &str) -> Result<(), String> {
    let added = Command::new("rustup").args(["target", "add", target]).output();
    match added {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().last().unwrap_or_default().trim().to_owned();
            Err(format!("NOT TESTED AT ALL: rustup has no {target}: {last}"))
        }
        Err(error) => Err(format!("NOT TESTED AT ALL: no rustup that adds {target}: {error}")),
    }
}

/// Ends the server of Wine, with all that runs under it, and waits for its end.
pub(crate) fn stop(root: &Path) {
    stop_server(&home(root));
}

fn stop_server(home: &Path) {
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

fn step(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?} failed: {}", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_passed_on_and_a_wrong_one_is_named() {
        let args = ["test", "-p", "longshore-port"];
        assert_eq!(Options::parse(&args).unwrap().args, args);
        assert!(Options::parse(&[]).unwrap_err().contains("needs a verb"));
        assert!(Options::parse(&["fly"]).unwrap_err().contains("not fly"));
    }
}
