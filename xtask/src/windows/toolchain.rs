//! The standard library for Windows: from rustup, or built from the source of a Debian package.

use crate::limited::{SET_UP_MAX, limited};
use crate::steps::Outcome;
use crate::tools;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const TARGET: &str = "x86_64-pc-windows-gnu";
pub(super) const GCC: &str = "x86_64-w64-mingw32-gcc";

/// What links programs, and the package of Debian and Ubuntu that has it.
pub(super) const LINKER: (&str, &str) = (GCC, "gcc-mingw-w64-x86-64-win32");

/// A compiler and the source of the library that it was built with, which have to be of one version.
const RUST: [(&str, &str); 4] = [
    (RUSTC, "rustc-web"),
    (CARGO, "cargo-web"),
    ("/usr/bin/cargo-clippy", "rust-web-clippy"),
    ("/usr/lib/rustlib/src/rust/library/sysroot/Cargo.toml", "rust-web-src"),
];

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// A compiler that looks for libraries in the folder it is in.
const WRAPPER: &str = r#"#!/bin/sh
case " $* " in
    *" --sysroot"*) exec "/usr/bin/${0##*/}" "$@" ;;
    *) exec "/usr/bin/${0##*/}" --sysroot "${0%/bin/*}" "$@" ;;
esac
"#;

/// Has rustup fetch the standard library for `target`.
///
/// # Errors
/// Says that it does not, and what is left out by that.
pub(crate) fn add_target(target: &str) -> Result<(), String> {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]);
    match limited(SET_UP_MAX, &rustup).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().last().unwrap_or_default().trim().to_owned();
            Err(format!("NOT TESTED AT ALL: rustup has no {target}: {last}"))
        }
        Err(error) => Err(format!("NOT TESTED AT ALL: no rustup that adds {target}: {error}")),
    }
}

/// Makes sure that there is a standard library for Windows: that of rustup, else one of our own in
/// `home`.
///
/// # Errors
/// That neither is to be had.
pub(super) fn set_up(home: &Path) -> Result<(), Outcome> {
    let sysroot = home.join("sysroot");
    let Err(why) = add_target(TARGET) else {
        let _ = fs::remove_dir_all(&sysroot); // one that is no longer needed, if there is one
        return Ok(());
    };
    let skipped = |lacking| Outcome::Skipped(format!("{why}; {lacking}"));
    tools::install_all(&RUST).and_then(|()| tools::install_all(&[LINKER])).map_err(skipped)?;
    let failed = |error| Outcome::Failed(format!("cannot build the standard library: {error}"));
    let version = Command::new(RUSTC).arg("--version").output().map_err(failed)?.stdout;
    let done = sysroot.join("done");
    if fs::read(&done).is_ok_and(|built| built == version) {
        return Ok(());
    }
    eprintln!(
        "rustup has no {TARGET}: building its standard library with {}, which takes 2 minutes",
        String::from_utf8_lossy(&version).trim()
    );
    build(home, &sysroot).and_then(|()| fs::write(done, version)).map_err(failed)
}

/// Whether the library in `home` is taken, and Debian's compiler with it.
pub(super) fn is_debian(home: &Path) -> bool {
    home.join("sysroot/done").exists()
}

/// What makes cargo take it.
pub(super) fn env(home: &Path) -> Vec<(&'static str, OsString)> {
    if !is_debian(home) {
        return Vec::new();
    }
    let sysroot = home.join("sysroot");
    // Else cargo would find the tools of rustup beside this one.
    let mut path = OsString::from("/usr/bin:");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    vec![
        ("PATH", path),
        ("RUSTC", sysroot.join("bin/rustc").into()),
        ("RUSTDOC", sysroot.join("bin/rustdoc").into()),
        ("SYSROOT", sysroot.into()),
    ]
}

/// The cargo that goes with it.
pub(super) fn cargo(home: &Path) -> OsString {
    if is_debian(home) {
        return CARGO.into();
    }
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Builds the library once for all, as its own workspace does it, and a folder that a compiler takes
/// for its own.
fn build(home: &Path, sysroot: &Path) -> io::Result<()> {
    let source = Path::new("/usr/lib/rustlib/src/rust/library");
    let (folder, lib) = (home.join("std"), sysroot.join(format!("lib/rustlib/{TARGET}/lib")));
    for old in [sysroot, &folder] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    for new in [&lib, &folder, &sysroot.join("bin")] {
        fs::create_dir_all(new)?;
    }
    for part in ["rsbegin", "rsend"] {
        // Every program begins and ends with these.
        let mut rustc = Command::new(RUSTC);
        rustc.args(["--edition", "2024", "--target", TARGET, "-O", "-Cpanic=abort", "-Awarnings"]);
        rustc.args(["--emit", "obj", "-o"]).arg(lib.join(format!("{part}.o")));
        rustc.arg(source.join(format!("rtstartup/{part}.rs"))).env("RUSTC_BOOTSTRAP", "1");
        step(&rustc)?;
    }
    // Scripts and macros that run while something is built run here.
    let here = "x86_64-unknown-linux-gnu";
    let theirs = format!("/usr/lib/rustlib/{here}");
    step(Command::new("ln").args(["-s", &theirs]).arg(sysroot.join("lib/rustlib")))?;
    for tool in ["rustc", "rustdoc"] {
        let file = sysroot.join("bin").join(tool);
        fs::write(&file, WRAPPER)?;
        step(Command::new("chmod").arg("755").arg(file))?;
    }
    let mut cargo = Command::new(CARGO);
    // Nothing of the call that this runs in may have a say.
    let of_ours = |name: &OsString| {
        name.to_str().is_some_and(|it| it.starts_with("CARGO_") || it.starts_with("RUST"))
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| of_ours(name) && name != "CARGO_HOME") {
        cargo.env_remove(name);
    }
    cargo.args(["build", "--quiet", "--release", "--locked", "--features", "backtrace"]);
    cargo.args(["--target", TARGET, "--manifest-path"]).arg(source.join("sysroot/Cargo.toml"));
    cargo.current_dir(&folder).env("CARGO_TARGET_DIR", &folder);
    cargo.env("RUSTC", sysroot.join("bin/rustc"));
    cargo.env("RUSTC_BOOTSTRAP", "1"); // the library itself is made of what is not stable
    cargo.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", GCC);
    // As those of rustup are built: what it keeps to itself stays so, and LTO works.
    cargo.env("RUSTFLAGS", "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes");
    step(&cargo)?;
    for entry in fs::read_dir(folder.join(TARGET).join("release/deps"))? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let is_library = path.extension().is_some_and(|it| it == "rlib");
        if is_library && !name.to_string_lossy().starts_with("libsysroot-") {
            fs::rename(path, lib.join(name))?;
        }
    }
    fs::remove_dir_all(folder)
}

/// Runs a program that has to succeed.
pub(super) fn step(command: &Command) -> io::Result<()> {
    let output = limited(SET_UP_MAX, command).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?} failed: {}", text.trim())))
}
