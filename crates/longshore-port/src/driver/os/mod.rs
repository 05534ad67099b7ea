//! What is asked of the system beside its ports, and what its error numbers mean. One file for each
//! kind of system, with the same functions; imports nothing of the drivers.

/// What the user of a console wants of its programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsoleEvent {
    /// Ctrl-C or Ctrl-Break.
    Interrupt,
    /// The console is closed, the user logs off, or the machine goes down. When the handler returns
    /// the process ends, and five seconds later in any case.
    Close,
}

/// What is told of an error number.
#[derive(Debug)]
pub(crate) struct Explained {
    code: i32,
    /// As the reference of the system has it.
    pub(crate) name: &'static str,
    /// What its user may do, where what kind of error it is does not say so; else nothing.
    pub(crate) remedy: &'static str,
}

#[cfg(unix)]
mod folders_unix;
mod heap;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use folders_unix::{SystemFolder, facts_of, open_source};
pub(crate) use heap::{keep_heap_small, trim_heap};
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    coarse_clock, is_cached, link, prefetch, send_file, set_user_timeout, system_version,
};
#[cfg(target_os = "linux")]
pub(crate) use memory::memory_bytes;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{coarse_clock, is_cached, prefetch, send_file, set_user_timeout};
#[cfg(not(any(target_os = "linux", windows)))]
pub(crate) use other::{link, memory_bytes, system_version};
#[cfg(unix)]
pub(crate) use unix::{
    SEND_FLAGS, allow_rebind, explain, is_in_progress, is_passing, kind_of_code, on_console_event,
    read_at, set_keepalive, write_at,
};
#[cfg(windows)]
pub(crate) use windows::{
    SEND_FLAGS, SystemFolder, allow_rebind, explain, facts_of, is_passing, kind_of_code, link,
    memory_bytes, on_console_event, open_source, read_at, set_keepalive, system_version, write_at,
};
