//! `longshore doctor`: what this system permits, and what should be mended.

use crate::exit::Exit;
use crate::out::{self, Output, grouped};
use crate::system::{self, Facts};
use longshore::{Abilities, DriverChoice, Server};
use serde_json::json;
use std::time::Duration;

/// Files that are not connections: ports, listeners, logs.
const FILES_RESERVED: u64 = 64;

/// Connections that a server takes when nothing else is said.
const CONNECTIONS_WANTED: u64 = 10_000;

/// Connections that a listener lets wait when nothing else is said.
const BACKLOG_WANTED: u64 = 1024;

/// Locked memory below which kernels are known to refuse rings.
const LOCKED_WANTED: u64 = 64 * 1024;

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Level {
    Ok,
    /// Good to know.
    Note,
    /// It works, but worse than it could.
    Warn,
    /// It does not work until this is mended.
    Bad,
}

impl Level {
    /// Its word, and its style in a terminal: green, plain, yellow, red.
    fn in_words(self) -> (&'static str, &'static str) {
        match self {
            Self::Ok => ("ok", "32"),
            Self::Note => ("note", "0"),
            Self::Warn => ("warn", "33"),
            Self::Bad => ("bad", "31"),
        }
    }
}

/// One thing looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    level: Level,
    check: &'static str,
    /// What was found; empty where all is well and there is nothing to say.
    text: String,
    /// What to do, behind a word for it.
    remedy: String,
}

impl Finding {
    fn new(level: Level, check: &'static str, text: impl Into<String>) -> Self {
        Self { level, check, text: text.into(), remedy: String::new() }
    }

    fn well(check: &'static str) -> Self {
        Self::new(Level::Ok, check, "")
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

pub(crate) fn run(out: Output) -> Exit {
    let findings = judge(&try_driver(), &Facts::read());
    if out.is_json() {
        for finding in &findings {
            out::object(json!({
                "check": finding.check,
                "level": finding.level.in_words().0,
                "text": finding.text,
                "remedy": finding.remedy,
            }));
        }
    } else {
        for (level, line) in lines(&findings) {
            let (word, style) = level.in_words();
            let padding = 4 - word.len();
            out::line(format_args!("{}{:padding$}  {line}", out.styled(style, word), ""));
        }
    }
    let mend = findings.iter().any(|finding| finding.level == Level::Bad);
    if mend { Exit::No } else { Exit::Done }
}

/// Opens a port as a server would: no probe knows better.
fn try_driver() -> Result<Abilities, String> {
    let builder = Server::builder().driver(DriverChoice::Auto);
    let server = builder.start().map_err(|error| error.to_string())?;
    let abilities = server.abilities().clone();
    server.shutdown(Duration::ZERO);
    server.wait().map_err(|error| error.to_string())?;
    Ok(abilities)
}

fn judge(driver: &Result<Abilities, String>, facts: &Facts) -> Vec<Finding> {
    let findings = [
        Some(judge_driver(driver, facts.version.as_deref())),
        facts.cpus.map(|cpus| {
            let workers = out::counted(facts.cores, "worker");
            let text = format!("cgroup limits this process to {cpus} CPUs: {workers}");
            Finding::new(Level::Note, "container", text)
        }),
        facts.files.map(judge_files),
        facts.somaxconn.map(judge_backlog),
        facts.clock.as_deref().map(judge_clock),
        facts.locked_bytes.map(judge_locked),
        Some(if facts.ipv6 {
            Finding::well("IPv6")
        } else {
            Finding::new(Level::Note, "IPv6", "off: --listen :PORT is IPv4 alone")
        }),
        facts.shared_memory.map(|there| {
            if there {
                Finding::well("/dev/shm")
            } else {
                Finding::new(Level::Note, "/dev/shm", "not there")
            }
        }),
    ];
    findings.into_iter().flatten().collect()
}

fn judge_driver(driver: &Result<Abilities, String>, version: Option<&str>) -> Finding {
    let abilities = match driver {
        Ok(abilities) => abilities,
        Err(why) => return Finding::new(Level::Bad, "driver", why),
    };
    if !abilities.passed_over.is_empty() {
        let text = format!("readiness ({}). {}", abilities.driver, abilities.passed_over);
        let remedy = system::remedy_of(&abilities.passed_over).map_or_else(String::new, Into::into);
        return Finding::new(Level::Warn, "driver", text).remedy(remedy);
    }
    let version = version.map_or_else(String::new, |version| format!(", {version}"));
    let features = match abilities.features.join(", ") {
        none if none.is_empty() => none,
        some => format!(": {some}"),
    };
    Finding::new(Level::Ok, "driver", format!("{}{version}{features}", abilities.driver))
}

fn judge_files(limit: u64) -> Finding {
    let reserved = (limit / 4).max(FILES_RESERVED);
    let room = limit.saturating_sub(reserved).max(1);
    let text =
        format!("limit {} open files: at most {} connections", grouped(limit), grouped(room));
    let level = match room {
        0..FILES_RESERVED => Level::Bad,
        FILES_RESERVED..CONNECTIONS_WANTED => Level::Warn,
        CONNECTIONS_WANTED.. => return Finding::new(Level::Ok, "files", text),
    };
    Finding::new(level, "files", text).remedy("raise: ulimit -n 65536, or LimitNOFILE= in the unit")
}

fn judge_backlog(limit: u64) -> Finding {
    if limit >= BACKLOG_WANTED {
        return Finding::well("backlog");
    }
    let text = format!("net.core.somaxconn {limit} caps the wanted {}", grouped(BACKLOG_WANTED));
    let remedy = format!("raise: sysctl net.core.somaxconn={BACKLOG_WANTED}");
    Finding::new(Level::Warn, "backlog", text).remedy(remedy)
}

/// Clocks that are read without a system call, or by a cheap one, are well; these are not.
fn judge_clock(source: &str) -> Finding {
    if !["hpet", "acpi_pm", "jiffies", "refined-jiffies"].contains(&source) {
        return Finding::well("clock");
    }
    let text = format!("clock source {source} costs a microsecond or more a look");
    let remedy = "see: /sys/devices/system/clocksource/clocksource0/available_clocksource";
    Finding::new(Level::Warn, "clock", text).remedy(remedy)
}

fn judge_locked(limit: u64) -> Finding {
    if limit >= LOCKED_WANTED {
        return Finding::well("memory lock");
    }
    let text = format!("limit {} bytes of locked memory: rings may be refused", grouped(limit));
    let remedy = "raise: ulimit -l 8192, or LimitMEMLOCK= in the unit";
    Finding::new(Level::Note, "memory lock", text).remedy(remedy)
}

/// A line for each finding; those that are well and have nothing to say share the last one.
fn lines(findings: &[Finding]) -> Vec<(Level, String)> {
    let (silent, telling): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| finding.text.is_empty());
    let mut lines: Vec<_> = telling
        .iter()
        .map(|Finding { level, check, text, remedy }| {
            let gap = if remedy.is_empty() { "" } else { "     " };
            (*level, format!("{check:<10}  {text}{gap}{remedy}"))
        })
        .collect();
    if !silent.is_empty() {
        let names: Vec<_> = silent.iter().map(|finding| finding.check).collect();
        lines.push((Level::Ok, names.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Cpus;

    fn abilities(driver: &'static str, passed_over: &str) -> Abilities {
        let features = vec!["multishot receive", "buffer ring"];
        Abilities { driver, moves_sockets: true, passed_over: passed_over.into(), features }
    }

    fn healthy() -> Facts {
        Facts {
            version: Some("kernel 6.18".into()),
            cores: 2,
            cpus: None,
            files: Some(65_536),
            somaxconn: Some(4096),
            clock: Some("tsc".into()),
            locked_bytes: Some(u64::MAX),
            ipv6: true,
            shared_memory: Some(true),
        }
    }

    fn text(driver: &Result<Abilities, String>, facts: &Facts) -> String {
        let lines = lines(&judge(driver, facts));
        let text = lines.iter().map(|(level, line)| format!("{:<4}  {line}\n", level.in_words().0));
        text.collect()
    }

    #[test]
    fn a_healthy_system_needs_three_lines() {
        let wanted = "\
ok    driver      io_uring, kernel 6.18: multishot receive, buffer ring
ok    files       limit 65,536 open files: at most 49,152 connections
ok    backlog, clock, memory lock, IPv6, /dev/shm
";
        assert_eq!(text(&Ok(abilities("io_uring", "")), &healthy()), wanted);
    }

    #[test]
    fn a_container_with_low_limits_is_told_what_to_raise() {
        let facts = Facts {
            cpus: Some(Cpus { thousandths: 1500 }),
            files: Some(1024),
            somaxconn: Some(128),
            clock: Some("hpet".into()),
            locked_bytes: Some(4096),
            ipv6: false,
            shared_memory: Some(false),
            ..healthy()
        };
        let why = "io_uring_setup: not permitted, and kernel.io_uring_disabled is 0, so a sandbox \
                   refuses it: Docker's default seccomp profile does";
        let wanted = "\
warn  driver      readiness (epoll). io_uring_setup: not permitted, and kernel.io_uring_disabled is 0, so a sandbox refuses it: Docker's default seccomp profile does     a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register
note  container   cgroup limits this process to 1.5 CPUs: 2 workers
warn  files       limit 1,024 open files: at most 768 connections     raise: ulimit -n 65536, or LimitNOFILE= in the unit
warn  backlog     net.core.somaxconn 128 caps the wanted 1,024     raise: sysctl net.core.somaxconn=1024
warn  clock       clock source hpet costs a microsecond or more a look     see: /sys/devices/system/clocksource/clocksource0/available_clocksource
note  memory lock  limit 4,096 bytes of locked memory: rings may be refused     raise: ulimit -l 8192, or LimitMEMLOCK= in the unit
note  IPv6        off: --listen :PORT is IPv4 alone
note  /dev/shm    not there
";
        assert_eq!(text(&Ok(abilities("epoll", why)), &facts), wanted);
    }

    #[test]
    fn what_keeps_a_server_from_starting_is_bad() {
        let facts = Facts { files: Some(80), ..healthy() };
        let findings = judge(&Err("cannot open a port".into()), &facts);
        let bad = findings.iter().filter(|finding| finding.level == Level::Bad);
        assert_eq!(bad.map(|finding| finding.check).collect::<Vec<_>>(), ["driver", "files"]);
    }

    #[test]
    fn what_a_system_does_not_tell_is_not_judged() {
        let facts = Facts { ipv6: true, ..Facts::default() };
        let wanted = "ok    driver      kqueue: multishot receive, buffer ring\nok    IPv6\n";
        assert_eq!(text(&Ok(abilities("kqueue", "")), &facts), wanted);
    }
}
