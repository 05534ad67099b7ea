//! What a callback can do with files, between peers of the project's own protocol.

use crate::files::{FileError, FileErrorKind, FileId, FileName, FileSource, FileStore, bounds};
use crate::{Ctx, Handler, Result};
use std::ops::RangeBounds;

impl<H: Handler> Ctx<'_, H> {
    /// Offers a file to the peer, under that name: it accepts or refuses, has the part that it has from
    /// before looked at, gets the rest in chunks between the messages, and says when all of it is in its
    /// place and its digest was right. Any number may be under way; [`on_file`](Handler::on_file) tells how
    /// each gets on and how it ended, once. Of a codec with files:
    /// [`Longshore::with_files`](crate::Longshore::with_files).
    ///
    /// A peer that has not said that it takes files gets no offer; after `limits.file_start` that ends as
    /// [`Unsupported`](FileErrorKind::Unsupported).
    ///
    /// ```
    /// # use longshore::{Ctx, FileName, FileSource, Handler, Longshore, Message, Result};
    /// # struct Session { film: FileSource }
    /// # impl Handler for Session {
    /// # type Codec = Longshore;
    /// fn on_message(&mut self, cx: &mut Ctx<'_, Self>, _: Message<'_>) -> Result {
    ///     cx.offer_file(&self.film, &FileName::parse("films/film.mp4")?)?;
    ///     Ok(())
    /// }
    /// # }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`FileError`]: `Unsupported` if the codec is without files, or the peer has said that it takes
    /// none; `Busy` with `limits.files_waiting` under way. `SendError::Closed`.
    pub fn offer_file(&mut self, file: &FileSource, name: &FileName) -> Result<FileId> {
        self.offer_part(file, name, ..)
    }

    /// The same of a part of a file, which is a file of its own to the peer.
    ///
    /// # Errors
    /// As [`offer_file`](Self::offer_file), and `BadRange`.
    pub fn offer_part(
        &mut self,
        file: &FileSource,
        name: &FileName,
        range: impl RangeBounds<u64>,
    ) -> Result<FileId> {
        let range = file.range(range)?;
        let part = (range.start, range.end - range.start);
        let (now, transfers) = self.core.transfers(self.conn)?;
        Ok(transfers.offer(now, file.clone(), part, name)?)
    }

    /// Asks the peer for a file, to be received into `store` under the name `place`. What is there from
    /// before is gone on with.
    ///
    /// # Errors
    /// [`FileError`]: `Unsupported`, as [`offer_file`](Self::offer_file); `Busy` with 64 questions that are
    /// not answered. `SendError::Closed`.
    pub fn get_file(
        &mut self,
        name: &FileName,
        store: &FileStore,
        place: &FileName,
    ) -> Result<FileId> {
        self.get_part(name, .., store, place)
    }

    /// The same of a part of a file.
    ///
    /// # Errors
    /// As [`get_file`](Self::get_file), and `BadRange` for a range that no file can have.
    pub fn get_part(
        &mut self,
        name: &FileName,
        range: impl RangeBounds<u64>,
        store: &FileStore,
        place: &FileName,
    ) -> Result<FileId> {
        let part = part_of(&range)?;
        let (now, transfers) = self.core.transfers(self.conn)?;
        Ok(transfers.get(now, name, part, store, place.clone())?)
    }

    /// Asks the peer what is in a folder; without a name, in its root. The answer comes in
    /// [`FileEvent::Listed`](crate::FileEvent::Listed), in several parts if there
    /// is much: up to a million files and folders, for which the peer is asked 10,000 at a time. One that
    /// has more ends the connection.
    ///
    /// # Errors
    /// As [`get_file`](Self::get_file).
    pub fn list_files(&mut self, folder: Option<&FileName>) -> Result<FileId> {
        let (now, transfers) = self.core.transfers(self.conn)?;
        Ok(transfers.list(now, folder)?)
    }

    /// Ends a transfer, whichever way it goes, or a question; the peer hears why. Says whether there was
    /// such a one. [`on_file`](Handler::on_file) tells its end, as of any other.
    pub fn cancel_file(&mut self, id: FileId, why: &str) -> bool {
        let transfers = self.core.transfers(self.conn);
        transfers.is_ok_and(|(now, transfers)| transfers.cancel(now, id, why))
    }

    /// Holds a transfer for a while, whichever way it goes, or lets it go on: it has no deadline meanwhile.
    /// Says whether there is such a one.
    pub fn hold_file(&mut self, id: FileId, on: bool) -> bool {
        let transfers = self.core.transfers(self.conn);
        transfers.is_ok_and(|(now, transfers)| transfers.hold(now, id, on))
    }

    /// Sends all of a file that was offered, whatever the receiver has of it. Says whether there is such a
    /// one.
    pub fn restart_file(&mut self, id: FileId) -> bool {
        let transfers = self.core.transfers(self.conn);
        transfers.is_ok_and(|(_, transfers)| transfers.restart(id))
    }

    /// Sends at most so many bytes in a second of a file that was offered, from now on; zero is as many as
    /// there may be. Says whether there is such a one.
    pub fn set_file_rate(&mut self, id: FileId, bytes: u64) -> bool {
        let transfers = self.core.transfers(self.conn);
        transfers.is_ok_and(|(now, transfers)| transfers.set_rate(now, id, bytes))
    }
}

/// A part of a file of which nobody here knows how long it is: where it begins, and how long it is.
fn part_of(range: &impl RangeBounds<u64>) -> Result<(u64, u64), FileError> {
    let (start, end) = bounds(range);
    let Some(end) = end else { return Ok((start, u64::MAX)) };
    let bytes = end.checked_sub(start);
    bytes.map(|bytes| (start, bytes)).ok_or_else(|| {
        FileError::new(FileErrorKind::BadRange, format_args!("bytes {start} to {end}"))
    })
}
