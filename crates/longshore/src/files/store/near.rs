//! The folder in which files lie that come one after the other.

use super::place::{Place, is_missing};
use longshore_base::FileName;
use longshore_port::Folder;
use std::io;
use std::sync::Arc;

/// The last folder that was opened, for those who look into the same one next: only while a few things are
/// done in a row, as somebody may move it elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Near(Option<(Arc<Place>, FileName, Folder)>);

impl Near {
    /// The folder in which `name` lies; nothing if there is none.
    pub(super) fn folder_of(
        &mut self,
        place: &Arc<Place>,
        name: &FileName,
    ) -> io::Result<Option<Folder>> {
        let Some(parent) = name.parent() else { return Ok(Some(place.folder.clone())) };
        if let Some((of, at, folder)) = &self.0 {
            if Arc::ptr_eq(of, place) && *at == parent {
                return Ok(Some(folder.clone()));
            }
        }
        match place.folder.beneath(&parent) {
            Ok(folder) => {
                self.0 = Some((place.clone(), parent, folder.clone()));
                Ok(Some(folder))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was opened is gone.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}
