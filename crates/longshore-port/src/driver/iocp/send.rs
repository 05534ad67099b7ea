//! Sending: at once what fits, or by an op that waits for room.
#![expect(unsafe_code, reason = "the system keeps what is sent until it is out")]

use super::IocpPort;
use super::slots::{Held, Sending};
use super::socket::{Ending, is_nothing};
use super::sys;
use crate::driver::files::send_file;
use crate::file::{NOT_CACHED, SHORTENED};
use crate::{Call, ErrorKind, PortError, RawFile, SendData, SendMode, What};
use longshore_base::{SEGMENTS_MAX, Token};
use socket2::Socket;
use std::fs::File;
use std::io::{self, IoSlice};

/// Bytes of a simulated file that are read for one op: the system has no way to it.
const PIECE_BYTES: usize = 64 * 1024;

impl IocpPort {
    pub(super) fn start_send(&mut self, id: Token, data: SendData, mode: SendMode, prompt: bool) {
        match mode {
            SendMode::Try => self.try_send(id, data, prompt),
            SendMode::Whole => self.send_whole(id, Sending::new(data)),
        }
    }

    /// Gives the system what it takes now.
    fn try_send(&mut self, id: Token, data: SendData, prompt: bool) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let (bytes, error) = match send_now(&entry.socket, &data) {
            Ok(count) => (count, None),
            Err(error) => (0, Some(error)),
        };
        let whole = bytes == data.byte_count();
        entry.ops.sent(error, self.turns.waits());
        // One that went out whole and that nobody waits for does not keep the port awake.
        let what = What::Sent { bytes, data, error };
        self.turns.answer_some_time(entry.token, what, prompt || !whole);
    }

    /// Has the system send all of it.
    fn send_whole(&mut self, id: Token, mut sending: Sending) {
        if let Err(error) = prepare(&mut sending) {
            return self.sent(id, sending, Some(error));
        }
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let name = self.slots.begin(id, Held::Send(sending));
        let overlapped = self.slots.overlapped(name);
        let slot = self.slots.get_mut(name).expect("just begun");
        let Held::Send(sending) = &slot.held else { unreachable!("just begun") };
        let begun = if let Some((file, left)) = of_system(sending) {
            // SAFETY: the slot, and with it the file, stays until the op has ended.
            unsafe { sys::send_file(&entry.socket, file, left, overlapped) }
        } else {
            let mut parts = [sys::part(&[]); SEGMENTS_MAX];
            let count = parts_of(sending, &mut parts);
            // SAFETY: the slot, and with it the data, stays until the op has ended.
            unsafe { sys::send(&entry.socket, &parts[..count], overlapped) }
        };
        entry.send = Some(name);
        self.begun(id, name, begun);
    }

    /// The system is through with a send.
    pub(super) fn send_done(&mut self, id: Token, mut sending: Sending, result: Result<u32, i32>) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.send = None;
        let cut = entry.closing;
        match result {
            Ok(count) => {
                sending.bytes += count as usize;
                let left = sending.data.byte_count() - sending.bytes;
                let ended = count == 0 || sending.piece.is_none() && sending.data.file().is_some();
                match left {
                    0 => self.sent(id, sending, None),
                    _ if ended => self.sent(id, sending, Some(SHORTENED)),
                    _ if cut => {
                        let cancelled = PortError::new(Call::Send, ErrorKind::Cancelled);
                        self.sent(id, sending, Some(cancelled));
                    }
                    _ => self.send_whole(id, sending),
                }
            }
            Err(code) => {
                let error = self.error_of(id, Call::Send, code);
                let error = match error.kind {
                    ErrorKind::Shortened => SHORTENED,
                    // What says nothing of a connection is the file's.
                    ErrorKind::Other if sending.data.file().is_some() => {
                        PortError { call: Call::File, ..error }
                    }
                    _ => error,
                };
                self.sent(id, sending, Some(error));
            }
        }
    }

    fn sent(&mut self, id: Token, sending: Sending, error: Option<PortError>) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let token = entry.token;
        entry.ops.sent(error, self.turns.waits());
        if entry.ending == Some(Ending::Detach) {
            self.endings.push_back(id); // this is what it waited for
        }
        let Sending { data, bytes, .. } = sending;
        self.turns.answer(token, What::Sent { bytes, data, error });
    }

    /// Asks that the send in flight end soon.
    pub(super) fn cancel_send(&mut self, id: Token) {
        let Some(entry) = self.sockets.get(id) else { return };
        if let Some(name) = entry.send {
            sys::cancel(&entry.socket, self.slots.overlapped(name));
        }
    }
}

/// The file that the system sends by itself, and how much of it is left.
fn of_system(sending: &Sending) -> Option<(&File, u32)> {
    let range = sending.data.file()?;
    let RawFile::System(file) = range.file.raw() else { return None };
    let left = range.len - sending.bytes as u64;
    Some((file, u32::try_from(left).expect("at most FILE_BYTES_MAX")))
}

/// Reads the next piece of a file that the system cannot send.
fn prepare(sending: &mut Sending) -> Result<(), PortError> {
    let Some(range) = sending.data.file() else { return Ok(()) };
    if matches!(range.file.raw(), RawFile::System(_)) {
        return Ok(());
    }
    let left = usize::try_from(range.len).unwrap_or(usize::MAX) - sending.bytes;
    if !range.file.is_cached(sending.offset(), left as u64) {
        return Err(NOT_CACHED);
    }
    let mut piece = vec![0; left.min(PIECE_BYTES)];
    let read = range.file.read_at(&mut piece, sending.offset());
    match read.map_err(|error| PortError::from_io(Call::File, &error))? {
        0 => Err(SHORTENED),
        count => {
            piece.truncate(count);
            sending.piece = Some(piece.into());
            Ok(())
        }
    }
}

/// The buffers of a send; says how many.
fn parts_of(
    sending: &Sending,
    parts: &mut [windows_sys::Win32::Networking::WinSock::WSABUF; SEGMENTS_MAX],
) -> usize {
    if let Some(piece) = &sending.piece {
        parts[0] = sys::part(piece);
        return 1;
    }
    let segments = sending.data.segments();
    for (part, segment) in parts.iter_mut().zip(segments) {
        *part = sys::part(segment.bytes());
    }
    segments.len()
}

/// One call that does not wait: how much the system took, perhaps nothing.
fn send_now(socket: &Socket, data: &SendData) -> Result<usize, PortError> {
    if let Some(range) = data.file() {
        let mut done = 0;
        let result = send_file(socket, range, &mut done);
        return if done > 0 { Ok(done) } else { result.map(|()| 0) };
    }
    let sent = match data {
        SendData::One(segment) => socket.send(segment.bytes()),
        SendData::Many(segments) => {
            let mut slices = [IoSlice::new(&[]); SEGMENTS_MAX];
            for (slice, segment) in slices.iter_mut().zip(segments) {
                *slice = IoSlice::new(segment.bytes());
            }
            socket.send_vectored(&slices[..segments.len()])
        }
    };
    match sent {
        Err(error) if is_nothing(&error) => Ok(0),
        sent => sent.map_err(|error: io::Error| PortError::from_io(Call::Send, &error)),
    }
}
