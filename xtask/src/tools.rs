//! Programs that some tests drive, installed where that is possible.

use crate::limited::{SET_UP_MAX, limited};
use crate::steps::Outcome;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program, and the package of Debian and Ubuntu that has it.
const TOOLS: [(&str, &str); 8] = [
    ("socat", "socat"),
    ("nc", "netcat-openbsd"),
    ("python3", "python3"),
    ("b3sum", "b3sum"),
    ("strace", "strace"),
    ("ss", "iproute2"),
    ("redis-cli", "redis-tools"),
    ("redis-benchmark", "redis-tools"),
];

/// Makes sure that the programs are there.
pub(crate) fn install() -> Outcome {
    install_all(&TOOLS).map_or_else(Outcome::Skipped, |()| Outcome::Passed)
}

/// Makes sure that `tools` are there, each with its package.
///
/// # Errors
/// Says which are not, what is left out by that, and what to do.
pub(crate) fn install_all(tools: &[(&'static str, &'static str)]) -> Result<(), String> {
    let lacking = missing(tools);
    if lacking.is_empty() {
        return Ok(());
    }
    let packages = packages(&lacking);
    if !is_root() || find("apt-get").is_none() {
        return Err(format!(
            "no {}: what needs it is left out; install as root: apt-get install {}",
            names(&lacking),
            packages.join(" ")
        ));
    }
    if !apt_get(&["install"], &packages) {
        // The usual cause is a machine that never fetched the lists.
        apt_get(&["update"], &[]);
        apt_get(&["install"], &packages);
    }
    match missing(tools) {
        still if still.is_empty() => Ok(()),
        still => Err(format!(
            "no {}: apt-get could not install it, what needs it is left out",
            names(&still)
        )),
    }
}

fn missing(tools: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    tools.iter().copied().filter(|(program, _)| find(program).is_none()).collect()
}

fn names(tools: &[(&str, &str)]) -> String {
    tools.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ")
}

fn packages<'a>(tools: &[(&str, &'a str)]) -> Vec<&'a str> {
    let mut packages: Vec<_> = tools.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn apt_get(verb: &[&str], packages: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.args(["--yes", "-qq", "--no-install-recommends"]).args(verb).args(packages);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    limited(SET_UP_MAX, &command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where `program` is, as the shell would find it.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this process may install packages: the effective user of `/proc/self/status` is root.
/// Source: `proc_pid_status(5)`, `Uid`: real, effective, saved, file system.
fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|text| is_root_in(&text))
}

fn is_root_in(status: &str) -> bool {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_decides_who_may_install() {
        assert!(is_root_in("Name:\tx\nUid:\t1000\t0\t0\t0\n"));
        assert!(!is_root_in("Name:\tx\nUid:\t0\t1000\t0\t0\n"));
        assert!(!is_root_in("Name:\tx\n"));
    }

    #[test]
    fn a_program_that_is_nowhere_is_missing() {
        assert_eq!(find("no-such-program-of-longshore"), None);
    }
}
