//! What is asked of Windows.
#![expect(unsafe_code, reason = "the console calls a routine")]

mod codes;
mod folders;

pub(crate) use codes::{explain, is_passing, kind_of_code};
pub(crate) use folders::{SystemFolder, facts_of, open_source, write_at};

use super::ConsoleEvent;
use crate::Link;
use socket2::{Socket, TcpKeepalive};
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::windows::fs::FileExt;
use std::os::windows::io::AsRawSocket;
use std::sync::OnceLock;
use std::time::Duration;
use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Networking::WinSock::{
    SIO_TCP_INFO, TCP_INFO_v0, WSAENOPROTOOPT, WSAIoctl,
};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::Win32::System::SystemInformation::{
    GlobalMemoryStatusEx, MEMORYSTATUSEX, OSVERSIONINFOW,
};

/// Flags of every send: there are no signals.
pub(crate) const SEND_FLAGS: i32 = 0;

/// A server that was killed can come back as it is. The option of that name lets two servers share
/// an address here, so it stays off (R83).
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn allow_rebind(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// What the system knows of the way to the peer; nothing before Windows 10 version 1703.
/// Source: `SIO_TCP_INFO`, `TCP_INFO_v0`.
pub(crate) fn link(socket: &Socket) -> Link {
    let (version, mut info, mut bytes) = (0_u32, TCP_INFO_v0::default(), 0);
    let size = |bytes: usize| u32::try_from(bytes).expect("a small structure");
    let raw = usize::try_from(socket.as_raw_socket()).expect("as wide as an address");
    // SAFETY: both sizes are those of what is pointed to, and the call does not outlive this.
    let result = unsafe {
        WSAIoctl(
            raw,
            SIO_TCP_INFO,
            (&raw const version).cast(),
            size(size_of::<u32>()),
            (&raw mut info).cast(),
            size(size_of::<TCP_INFO_v0>()),
            &raw mut bytes,
            std::ptr::null_mut(),
            None,
        )
    };
    if result != 0 { Link::default() } else { link_of(&info) }
}

fn link_of(info: &TCP_INFO_v0) -> Link {
    Link {
        // Those that wait in the system are not told.
        unacknowledged_bytes: Some(info.BytesInFlight.into()),
        acknowledged_bytes: Some(info.BytesOut.saturating_sub(info.BytesInFlight.into())),
        round_trip: (info.RttUs > 0).then(|| Duration::from_micros(info.RttUs.into())),
        retransmits: Some(info.FastRetrans.saturating_add(info.TimeoutEpisodes)),
    }
}

/// The version of Windows: `Windows 10.0.19045`. Windows 11 is 10.0 as well, from build 22000 on.
/// Source: `RtlGetVersion`, which tells the truth also to programs without a manifest.
pub(crate) fn system_version() -> Option<String> {
    let size = u32::try_from(size_of::<OSVERSIONINFOW>()).ok()?;
    let mut version = OSVERSIONINFOW { dwOSVersionInfoSize: size, ..OSVERSIONINFOW::default() };
    // SAFETY: the structure says its own size.
    let told = unsafe { RtlGetVersion(&raw mut version) };
    let OSVERSIONINFOW { dwMajorVersion, dwMinorVersion, dwBuildNumber, .. } = version;
    (told == 0).then(|| format!("Windows {dwMajorVersion}.{dwMinorVersion}.{dwBuildNumber}"))
}

/// Bytes of memory that this machine has. Source: `GlobalMemoryStatusEx`.
pub(crate) fn memory_bytes() -> Option<u64> {
    let length = u32::try_from(size_of::<MEMORYSTATUSEX>()).ok()?;
    let mut status = MEMORYSTATUSEX { dwLength: length, ..MEMORYSTATUSEX::default() };
    // SAFETY: the structure says its own size.
    let told = unsafe { GlobalMemoryStatusEx(&raw mut status) };
    (told != 0).then_some(status.ullTotalPhys)
}

/// Who is told what the user of the console wants.
static ON_CONSOLE: OnceLock<fn(ConsoleEvent) -> bool> = OnceLock::new();

/// Has `handler` told, on a thread of its own, from now on. It says whether that is taken care of.
pub(crate) fn on_console_event(handler: fn(ConsoleEvent) -> bool) -> io::Result<()> {
    ON_CONSOLE.get_or_init(|| handler);
    // SAFETY: the routine is a function of this program, which stays as long as the process.
    let set = unsafe { SetConsoleCtrlHandler(Some(console_routine), 1) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

unsafe extern "system" fn console_routine(event: u32) -> i32 {
    let event = match event {
        CTRL_C_EVENT | CTRL_BREAK_EVENT => ConsoleEvent::Interrupt,
        _ => ConsoleEvent::Close,
    };
    // A panic must not go on into the system; then it is as if nobody had asked.
    let handled = ON_CONSOLE.get().map(|handler| std::panic::catch_unwind(|| handler(event)));
    i32::from(matches!(handled, Some(Ok(true))))
}

/// Has TCP probe silent peers. How often before it gives up cannot be told to each Windows, which
/// then probes ten times. Source: "`SO_KEEPALIVE`", `TCP_KEEPCNT`, of Windows 10 version 1703.
pub(crate) fn set_keepalive(socket: &Socket, keepalive: &TcpKeepalive) -> io::Result<()> {
    match socket.set_tcp_keepalive(keepalive) {
        Err(error) if error.raw_os_error() == Some(WSAENOPROTOOPT) => Ok(()),
        set => set,
    }
}

/// Reads at a place of a file. It moves the file's position, which nobody here uses.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(into, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wine has no `SIO_TCP_INFO`.
    #[test]
    fn what_is_told_of_a_link_is_read_as_it_is_meant() {
        let info = TCP_INFO_v0 {
            BytesOut: 1_000,
            BytesInFlight: 300,
            RttUs: 250,
            FastRetrans: 2,
            TimeoutEpisodes: 1,
            ..TCP_INFO_v0::default()
        };
        let link = link_of(&info);
        assert_eq!((link.acknowledged_bytes, link.unacknowledged_bytes), (Some(700), Some(300)));
        assert_eq!(link.round_trip, Some(Duration::from_micros(250)));
        assert_eq!(link.retransmits, Some(3));
    }

    #[test]
    fn this_machine_says_something() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
        let version = system_version().unwrap();
        assert!(version.starts_with("Windows 1"), "{version}");
    }
}
