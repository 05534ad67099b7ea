//! The transfers of connections, where callbacks and other threads reach them.

use super::Core;
use super::ending::How;
use crate::files::{Answer, FileError, FileErrorKind, Files, Transfers};
use crate::server::shared::Shared;
use crate::worker::connection::Connection;
use crate::{DisconnectReason, Result, SendError};
use longshore_base::{Time, Token};
use longshore_proto::connection::Message;
use longshore_proto::transfer::hello;
use std::sync::Arc;

/// Bytes of files that all connections of a worker read ahead together, beside the least of each.
const READ_AHEAD_BYTES: usize = 2 << 20;

/// Bytes of a file that are read at a time: two such pieces are in memory, and one is queued.
const PIECE_BYTES: std::ops::RangeInclusive<usize> = 8 << 10..=256 << 10;

impl Core {
    /// A connection begins whose codec takes files: its peer is told.
    pub(crate) fn begin_files(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        conn.facts.takes_files = true;
        let message = Message { may_drop: false, ..Message::new(hello()) };
        conn.send.handle_message(message, &mut self.pool);
        conn.publish_queued();
        self.mark(token);
    }

    /// The transfers of a connection, in a callback that wants something of them.
    pub(crate) fn transfers(&mut self, token: Token) -> Result<(Time, &mut Transfers)> {
        self.catch_up();
        let now = self.now;
        self.file_news(token);
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
        let Some(conn) = conn else { return Err(SendError::Closed.into()) };
        if !conn.facts.takes_files {
            let text = "the codec is without them (Longshore::with_files)";
            return Err(FileError::new(FileErrorKind::Unsupported, text).into());
        }
        Ok((now, transfers_of(conn, &self.board)))
    }

    /// Bytes came that belong to files.
    pub(crate) fn file_bytes(&mut self, token: Token, bytes: &[u8]) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.is_open()) else { return };
        match transfers_of(conn, &self.board).handle_bytes(now, bytes) {
            Ok(()) => self.file_news(token),
            Err(error) => self.end(token, DisconnectReason::from_frame(error), How::Flush),
        }
    }

    /// Somebody has decided what becomes of something that a peer wants.
    pub(crate) fn file_answer(&mut self, shared: &Arc<Shared>, answer: Answer) {
        let now = self.now;
        let Some(token) = self.token_of(shared) else { return };
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
        if let Some(transfers) = conn.and_then(|conn| conn.files.as_mut()?.transfers.as_mut()) {
            transfers.answer(now, answer);
            self.file_news(token);
        }
    }

    /// Something has changed with the files of a connection: it is looked at in this turn.
    pub(crate) fn file_news(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        if !std::mem::replace(&mut conn.facts.filed, true) {
            self.filed.push_back(token);
        }
    }

    /// How much of a file is read at a time, with so many that are being sent.
    pub(crate) fn piece_bytes(&self) -> usize {
        let each = READ_AHEAD_BYTES / (2 * self.files_going.max(1));
        each.clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end())
    }
}

fn transfers_of<'a>(
    conn: &'a mut Connection,
    board: &Arc<crate::server::switchboard::Switchboard>,
) -> &'a mut Transfers {
    let Connection { files, shared, limits, .. } = conn;
    let files: &mut Files = files.get_or_insert_default();
    files.transfers.get_or_insert_with(|| Box::new(Transfers::new(shared, board, limits)))
}
