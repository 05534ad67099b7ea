//! The system calls of a completion port, each with what it asks of its caller.
//!
//! An op in flight is known to the system by the address of its `OVERLAPPED`. Whoever starts one
//! keeps that, and all memory that the op may touch, until its packet came out of
//! [`CompletionPort::take`], or the call said that there will be none: [`Begun`].
#![expect(unsafe_code, reason = "system calls that remember addresses")]

use socket2::{SockAddr, SockAddrStorage, Socket};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_OPEN, NtCreateFile};
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, HANDLE, INVALID_HANDLE_VALUE, NTSTATUS, RtlNtStatusToDosError,
    STATUS_PENDING, UNICODE_STRING, WAIT_TIMEOUT,
};
use windows_sys::Win32::Networking::WinSock::{
    LPFN_ACCEPTEX, LPFN_CONNECTEX, LPFN_GETACCEPTEXSOCKADDRS, SIO_BASE_HANDLE,
    SIO_GET_EXTENSION_FUNCTION_POINTER, SO_UPDATE_ACCEPT_CONTEXT, SO_UPDATE_CONNECT_CONTEXT,
    SOCKADDR, SOCKET, SOCKET_ERROR, SOL_SOCKET, TransmitFile, WSA_IO_PENDING, WSABUF,
    WSAGetLastError, WSAID_ACCEPTEX, WSAID_CONNECTEX, WSAID_GETACCEPTEXSOCKADDRS, WSAIoctl,
    WSARecv, WSASend, setsockopt,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE, SetFileCompletionNotificationModes,
};
use windows_sys::Win32::System::IO::{
    CancelIoEx, CreateIoCompletionPort, GetQueuedCompletionStatusEx, IO_STATUS_BLOCK, OVERLAPPED,
    OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::WindowsProgramming::{
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE,
};
use windows_sys::core::GUID;

/// How an op began.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is over, with so many bytes, and no packet will come.
    Done(u32),
    /// Its packet will come.
    Pending,
}

/// A completion port of the system. Its handle is closed with the last clone of who shares it.
#[derive(Debug)]
pub(super) struct CompletionPort(OwnedHandle);

impl CompletionPort {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: asks for a new port; no handle is given.
        let handle = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 1) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the port was just made and nobody else has its handle.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// Has packets of `handle` come here, for good. Says whether an op that is over at once puts
    /// none.
    fn associate(&self, handle: HANDLE) -> io::Result<bool> {
        // SAFETY: both handles are open; nothing is remembered but them.
        let same = unsafe { CreateIoCompletionPort(handle, self.0.as_raw_handle(), 0, 0) };
        if same.is_null() {
            return Err(io::Error::last_os_error());
        }
        let modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
        let modes = u8::try_from(modes).expect("two bits");
        // SAFETY: the handle is open.
        Ok(unsafe { SetFileCompletionNotificationModes(handle, modes) } != 0)
    }

    /// The same for a socket.
    pub(super) fn associate_socket(&self, socket: &Socket) -> io::Result<bool> {
        self.associate(raw(socket) as HANDLE)
    }

    /// Puts a packet of no op.
    pub(super) fn post(&self) -> io::Result<()> {
        // SAFETY: the port is open; a packet without an `OVERLAPPED` points to nothing.
        let posted =
            unsafe { PostQueuedCompletionStatus(self.0.as_raw_handle(), 0, 0, ptr::null()) };
        if posted == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes packets, as many as there are and `into` has room for; says how many. Waits for the first
    /// one, at most `timeout`, without end if there is none.
    pub(super) fn take(&self, into: &mut [Packet], timeout: Option<Duration>) -> io::Result<usize> {
        let room = u32::try_from(into.len()).expect("at most 1,024");
        let millis = timeout.map_or(u32::MAX, in_millis);
        let (mut count, entries) = (0, into.as_mut_ptr().cast::<OVERLAPPED_ENTRY>());
        let port = self.0.as_raw_handle();
        // SAFETY: `Packet` is an `OVERLAPPED_ENTRY`, and there are `room` of them.
        let taken =
            unsafe { GetQueuedCompletionStatusEx(port, entries, room, &raw mut count, millis, 0) };
        if taken != 0 {
            return Ok(count as usize);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(signed(WAIT_TIMEOUT)) => Ok(0),
            error => Err(error),
        }
    }
}

/// Whole milliseconds, rounded up, below "without end".
fn in_millis(timeout: Duration) -> u32 {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    u32::try_from(millis).unwrap_or(u32::MAX).min(u32::MAX - 1)
}

/// What came out of a completion port.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Packet(OVERLAPPED_ENTRY);

impl Packet {
    pub(super) const EMPTY: Self = Self(OVERLAPPED_ENTRY {
        lpCompletionKey: 0,
        lpOverlapped: ptr::null_mut(),
        Internal: 0,
        dwNumberOfBytesTransferred: 0,
    });

    /// Whose op it is of; null if somebody posted it.
    pub(super) fn overlapped(&self) -> *mut OVERLAPPED {
        self.0.lpOverlapped
    }

    pub(super) fn bytes(&self) -> u32 {
        self.0.dwNumberOfBytesTransferred
    }
}

/// How an op ended whose packet came: nothing, or the error. A warning is no success.
///
/// # Safety
/// `overlapped` is that of an op whose packet came, and still there.
pub(super) unsafe fn status(overlapped: *const OVERLAPPED) -> Result<(), i32> {
    // SAFETY: given by the caller.
    let internal = unsafe { (*overlapped).Internal };
    let [a, b, c, d, ..] = internal.to_le_bytes(); // the low half of a number of two
    let status = NTSTATUS::from_le_bytes([a, b, c, d]);
    if status == 0 { Ok(()) } else { Err(code_of(status)) }
}

/// The error of the system that a status stands for.
pub(super) fn code_of(status: NTSTATUS) -> i32 {
    // SAFETY: takes a number and gives one.
    signed(unsafe { RtlNtStatusToDosError(status) })
}

/// An error number as the standard library has it.
const fn signed(code: u32) -> i32 {
    i32::from_le_bytes(code.to_le_bytes())
}

/// How a call of Winsock began an op: it says so by `failed`, and then why by its last error.
fn begun(failed: bool, bytes: u32) -> io::Result<Begun> {
    if !failed {
        return Ok(Begun::Done(bytes));
    }
    // SAFETY: reads a number of this thread.
    match unsafe { WSAGetLastError() } {
        WSA_IO_PENDING => Ok(Begun::Pending),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

fn raw(socket: &Socket) -> SOCKET {
    SOCKET::try_from(socket.as_raw_socket()).expect("as wide as an address")
}

/// Waits for something to receive and takes nothing.
///
/// # Safety
/// `overlapped` stays until the packet came; it is of no other op.
pub(super) unsafe fn wait_readable(
    socket: &Socket,
    overlapped: *mut OVERLAPPED,
) -> io::Result<Begun> {
    let nothing = WSABUF { len: 0, buf: ptr::null_mut() };
    let (mut bytes, mut flags) = (0, 0);
    // SAFETY: the system copies the array of buffers, and the one buffer is of no bytes; the rest is
    // given by the caller.
    let result = unsafe {
        WSARecv(
            raw(socket),
            &raw const nothing,
            1,
            &raw mut bytes,
            &raw mut flags,
            overlapped,
            None,
        )
    };
    begun(result == SOCKET_ERROR, bytes)
}

/// Sends all of `parts`.
///
/// # Safety
/// `overlapped` and the bytes of `parts` stay until the packet came.
pub(super) unsafe fn send(
    socket: &Socket,
    parts: &[WSABUF],
    overlapped: *mut OVERLAPPED,
) -> io::Result<Begun> {
    let (mut bytes, count) = (0, u32::try_from(parts.len()).expect("at most SEGMENTS_MAX"));
    // SAFETY: the system copies the array of buffers; the rest is given by the caller.
    let result =
        unsafe { WSASend(raw(socket), parts.as_ptr(), count, &raw mut bytes, 0, overlapped, None) };
    begun(result == SOCKET_ERROR, bytes)
}

/// A buffer of a send.
pub(super) fn part(bytes: &[u8]) -> WSABUF {
    let len = u32::try_from(bytes.len()).expect("at most SEND_BYTES_MAX");
    WSABUF { len, buf: bytes.as_ptr().cast_mut() }
}

/// Sends a part of a file, which begins where `overlapped` says.
///
/// # Safety
/// `overlapped` and the file stay until the packet came.
pub(super) unsafe fn send_file(
    socket: &Socket,
    file: &File,
    bytes: u32,
    overlapped: *mut OVERLAPPED,
) -> io::Result<Begun> {
    let file = file.as_raw_handle();
    // SAFETY: given by the caller; there is nothing to send before or behind it.
    let sent = unsafe { TransmitFile(raw(socket), file, bytes, 0, overlapped, ptr::null(), 0) };
    begun(sent == 0, bytes)
}

/// Where an op of a file begins.
pub(super) fn at_offset(offset: u64) -> OVERLAPPED {
    let mut overlapped = OVERLAPPED::default();
    let half = |half: u64| u32::try_from(half & u64::from(u32::MAX)).expect("32 bits");
    overlapped.Anonymous.Anonymous.Offset = half(offset);
    overlapped.Anonymous.Anonymous.OffsetHigh = half(offset >> 32);
    overlapped
}

/// Bytes that an accept needs for each of two addresses. Source: `AcceptEx`, "16 bytes more than the
/// maximum address length"; 28 is that of IPv6.
const ADDR_BYTES: u32 = 28 + 16;

/// Memory for what an accept says of the two sides.
pub(super) type AcceptAddrs = [u8; 2 * ADDR_BYTES as usize];

/// Functions that are not of Winsock itself.
#[derive(Clone, Copy, Debug)]
struct Extensions {
    accept: LPFN_ACCEPTEX,
    connect: LPFN_CONNECTEX,
    addrs: LPFN_GETACCEPTEXSOCKADDRS,
}

/// What was found the first time: they are the same for all sockets of the system's own provider.
static EXTENSIONS: OnceLock<Extensions> = OnceLock::new();

fn extensions(socket: &Socket) -> io::Result<Extensions> {
    if let Some(found) = EXTENSIONS.get() {
        return Ok(*found);
    }
    let accept = extension(socket, &WSAID_ACCEPTEX)?;
    let connect = extension(socket, &WSAID_CONNECTEX)?;
    let addrs = extension(socket, &WSAID_GETACCEPTEXSOCKADDRS)?;
    // SAFETY: what is asked for by this name has this type, and null is `None`.
    let accept = unsafe { std::mem::transmute::<*const c_void, LPFN_ACCEPTEX>(accept) };
    // SAFETY: the same.
    let connect = unsafe { std::mem::transmute::<*const c_void, LPFN_CONNECTEX>(connect) };
    // SAFETY: the same.
    let addrs = unsafe { std::mem::transmute::<*const c_void, LPFN_GETACCEPTEXSOCKADDRS>(addrs) };
    Ok(*EXTENSIONS.get_or_init(|| Extensions { accept, connect, addrs }))
}

fn extension(socket: &Socket, name: &GUID) -> io::Result<*const c_void> {
    let mut found: *const c_void = ptr::null();
    ask(socket, SIO_GET_EXTENSION_FUNCTION_POINTER, Some(name), &mut found)?;
    Ok(found)
}

/// Asks the provider of a socket for something of type `T`.
fn ask<I, T>(socket: &Socket, what: u32, of: Option<&I>, into: &mut T) -> io::Result<()> {
    let size = |bytes: usize| u32::try_from(bytes).expect("a handful of bytes");
    let input = of.map_or(ptr::null(), ptr::from_ref).cast();
    let input_size = of.map_or(0, |_| size(size_of::<I>()));
    let mut bytes = 0;
    // SAFETY: both sizes are those of what is pointed to, and the call does not outlive this.
    let result = unsafe {
        WSAIoctl(
            raw(socket),
            what,
            input,
            input_size,
            ptr::from_mut(into).cast(),
            size(size_of::<T>()),
            &raw mut bytes,
            ptr::null_mut(),
            None,
        )
    };
    if result == 0 {
        return Ok(());
    }
    // SAFETY: reads a number of this thread.
    Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }))
}

/// Takes a connection into `socket`, which is open and neither bound nor connected.
///
/// # Safety
/// `overlapped`, `addrs` and `socket` stay until the packet came.
pub(super) unsafe fn accept(
    listener: &Socket,
    socket: &Socket,
    addrs: *mut AcceptAddrs,
    overlapped: *mut OVERLAPPED,
) -> io::Result<Begun> {
    let accept_ex = extensions(listener)?.accept.ok_or(io::ErrorKind::Unsupported)?;
    let (listener, socket, mut bytes) = (raw(listener), raw(socket), 0);
    // SAFETY: given by the caller; the two lengths are those of `addrs`.
    let accepted = unsafe {
        accept_ex(
            listener,
            socket,
            addrs.cast(),
            0,
            ADDR_BYTES,
            ADDR_BYTES,
            &raw mut bytes,
            overlapped,
        )
    };
    begun(accepted == 0, bytes)
}

/// The peer of a connection that was taken, as it was then: it may be gone already.
pub(super) fn accepted_peer(listener: &Socket, addrs: &AcceptAddrs) -> Option<SocketAddr> {
    let addrs_of = extensions(listener).ok()?.addrs?;
    let (mut local, mut local_len) = (ptr::null_mut(), 0);
    let (mut peer, mut peer_len) = (ptr::null_mut(), 0);
    // SAFETY: the memory is what an accept with these lengths wrote to, or zeros; the pointers that
    // come back lead into it.
    unsafe {
        addrs_of(
            addrs.as_ptr().cast(),
            0,
            ADDR_BYTES,
            ADDR_BYTES,
            &raw mut local,
            &raw mut local_len,
            &raw mut peer,
            &raw mut peer_len,
        );
    }
    let len = usize::try_from(peer_len).ok().filter(|len| *len <= ADDR_BYTES as usize)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a storage has room for any address, and so many bytes are there.
    unsafe { ptr::copy_nonoverlapping(peer.cast::<u8>(), ptr::from_mut(&mut storage).cast(), len) };
    // SAFETY: the storage holds an address of that length.
    unsafe { SockAddr::new(storage, peer_len) }.as_socket()
}

/// Connects a socket that is bound.
///
/// # Safety
/// `overlapped` stays until the packet came.
pub(super) unsafe fn connect(
    socket: &Socket,
    addr: &SockAddr,
    overlapped: *mut OVERLAPPED,
) -> io::Result<Begun> {
    let connect_ex = extensions(socket)?.connect.ok_or(io::ErrorKind::Unsupported)?;
    let (name, len, mut bytes) = (addr.as_ptr().cast::<SOCKADDR>(), addr.len(), 0);
    // SAFETY: the address is copied; the rest is given by the caller.
    let connected =
        unsafe { connect_ex(raw(socket), name, len, ptr::null(), 0, &raw mut bytes, overlapped) };
    begun(connected == 0, bytes)
}

/// Makes an accepted socket one like any other: without that it knows neither its peer nor how to
/// shut down. Source: `AcceptEx`, `SO_UPDATE_ACCEPT_CONTEXT`.
pub(super) fn finish_accept(listener: &Socket, socket: &Socket) -> io::Result<()> {
    let listener = raw(listener);
    let value = ptr::from_ref(&listener).cast();
    let size = i32::try_from(size_of::<SOCKET>()).expect("eight bytes");
    // SAFETY: the value is a socket, as this option asks for.
    let result =
        unsafe { setsockopt(raw(socket), SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, value, size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The same for one that has connected. Source: `ConnectEx`, `SO_UPDATE_CONNECT_CONTEXT`.
pub(super) fn finish_connect(socket: &Socket) -> io::Result<()> {
    // SAFETY: this option has no value.
    let result =
        unsafe { setsockopt(raw(socket), SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, ptr::null(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks that an op of a socket end soon; its packet says how it did. One that is over is not found.
pub(super) fn cancel(socket: &Socket, overlapped: *const OVERLAPPED) {
    cancel_on(raw(socket) as HANDLE, overlapped);
}

fn cancel_on(handle: HANDLE, overlapped: *const OVERLAPPED) {
    // SAFETY: the address is only compared with those of ops in flight.
    let _ = unsafe { CancelIoEx(handle, overlapped) };
}

/// Asks about sockets without touching their streams: the device below Winsock.
#[derive(Debug)]
pub(super) struct Afd {
    device: OwnedHandle,
    /// A question that is answered at once puts no packet.
    skips: bool,
}

/// What is asked of one socket, and answered in the same place.
/// Source: `AFD_POLL_INFO`, as wepoll and libuv declare it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct AfdPoll {
    timeout: i64,
    count: u32,
    exclusive: u32,
    socket: usize,
    events: u32,
    status: NTSTATUS,
}

const _: () = assert!(size_of::<AfdPoll>() == 32, "as the device reads it");

const IOCTL_AFD_POLL: u32 = 0x0001_2024;
/// The peer has ended its stream.
pub(super) const AFD_POLL_DISCONNECT: u32 = 0x0008;
/// The peer has reset the connection, or it broke.
pub(super) const AFD_POLL_ABORT: u32 = 0x0010;

impl AfdPoll {
    /// Asks for the first of `events` of a socket.
    pub(super) fn new(socket: &Socket, events: u32) -> io::Result<Self> {
        let mut base: SOCKET = 0;
        ask(socket, SIO_BASE_HANDLE, None::<&()>, &mut base)?;
        Ok(Self { timeout: i64::MAX, count: 1, exclusive: 0, socket: base, events, status: 0 })
    }

    /// What happened, once the answer came.
    pub(super) fn events(&self) -> u32 {
        if self.count == 0 { 0 } else { self.events }
    }
}

impl Afd {
    /// Opens the device; its packets come to `port`.
    pub(super) fn open(port: &CompletionPort) -> io::Result<Self> {
        let name: Vec<u16> = r"\Device\Afd\Longshore".encode_utf16().collect();
        let bytes = u16::try_from(2 * name.len()).expect("a short name");
        let name = UNICODE_STRING {
            Length: bytes,
            MaximumLength: bytes,
            Buffer: name.as_ptr().cast_mut(),
        };
        let attributes = OBJECT_ATTRIBUTES {
            Length: u32::try_from(size_of::<OBJECT_ATTRIBUTES>()).expect("a small structure"),
            RootDirectory: ptr::null_mut(),
            ObjectName: &raw const name,
            Attributes: 0,
            SecurityDescriptor: ptr::null(),
            SecurityQualityOfService: ptr::null(),
        };
        let (mut handle, mut block) = (ptr::null_mut(), IO_STATUS_BLOCK::default());
        // SAFETY: all that is pointed to outlives the call, which remembers nothing of it.
        let status = unsafe {
            NtCreateFile(
                &raw mut handle,
                SYNCHRONIZE,
                &raw const attributes,
                &raw mut block,
                ptr::null(),
                0,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                FILE_OPEN,
                0,
                ptr::null(),
                0,
            )
        };
        if status != 0 {
            return Err(io::Error::from_raw_os_error(code_of(status)));
        }
        // SAFETY: just opened, and nobody else's.
        let device = unsafe { OwnedHandle::from_raw_handle(handle) };
        let skips = port.associate(handle)?;
        Ok(Self { device, skips })
    }

    /// Waits for what `poll` asks for.
    ///
    /// # Safety
    /// `overlapped` and `poll` stay until the packet came.
    pub(super) unsafe fn poll(
        &self,
        poll: *mut AfdPoll,
        overlapped: *mut OVERLAPPED,
    ) -> io::Result<Begun> {
        let size = u32::try_from(size_of::<AfdPoll>()).expect("32 bytes");
        let block = overlapped.cast::<IO_STATUS_BLOCK>(); // its first two fields
        // SAFETY: given by the caller.
        let status = unsafe {
            NtDeviceIoControlFile(
                self.device.as_raw_handle(),
                ptr::null_mut(),
                None,
                overlapped.cast(),
                block,
                IOCTL_AFD_POLL,
                poll.cast(),
                size,
                poll.cast(),
                size,
            )
        };
        match status {
            0 if self.skips => Ok(Begun::Done(size)),
            0 | STATUS_PENDING => Ok(Begun::Pending),
            status => Err(io::Error::from_raw_os_error(code_of(status))),
        }
    }

    /// Asks that a poll end soon.
    pub(super) fn cancel(&self, overlapped: *const OVERLAPPED) {
        cancel_on(self.device.as_raw_handle(), overlapped);
    }
}

const _: () = assert!(signed(ERROR_IO_PENDING) == WSA_IO_PENDING, "one and the same");
