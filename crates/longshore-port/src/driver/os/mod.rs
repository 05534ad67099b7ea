//! What is asked of the system beside its ports.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub(super) use linux::{link, send_file};
#[cfg(target_os = "linux")]
pub(super) use memory::memory_bytes;
#[cfg(not(target_os = "linux"))]
pub(super) use other::{link, memory_bytes, send_file};
