//! On the file system of this machine.

use super::*;
use std::fs;
use std::path::PathBuf;

/// A folder that is removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("longshore-store-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> FileStore {
        FileStore::open(&self.0).unwrap().receive()
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn a_file_comes_in_two_goes() {
    let scratch = Scratch::new("resume");
    let bytes = content(1, 700_000);
    receive_some(&scratch.store(), "d/f", &bytes, 300_000);
    let store = scratch.store();
    assert_eq!(receive(&store, "d/f", &bytes), Ok(300_000));
    assert_eq!(fs::read(scratch.0.join("d/f")).unwrap(), bytes);
    assert_eq!(fs::read_dir(scratch.0.join("d")).unwrap().count(), 1);
    assert_eq!(kind(receive(&store, "d/f", &bytes)), FileErrorKind::Exists);
    let other = content(2, 700_000);
    receive(&store.clone().overwrite(), "d/f", &other).unwrap();
    assert_eq!(fs::read(scratch.0.join("d/f")).unwrap(), other);
    assert_eq!((taken(&store), store.list(None, "").unwrap().0.len()), (700_000, 1));
    assert_eq!(store.source(&name("d/f")).unwrap().bytes(), 700_000);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(scratch.0.join("d/f")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn many_files_are_put_in_their_places_together() {
    let scratch = Scratch::new("many");
    let store = scratch.store();
    let slots = (0..20).map(|number| {
        let bytes = content(number, 1_000);
        let mut slot = store.slot(None, &name(&format!("f{number}")), &wanted(&bytes)).unwrap();
        slot.write(0, &bytes, false).unwrap();
        let digest = if number == 7 { [0; 32] } else { digest(&bytes) };
        (slot, digest)
    });
    let stored = FileStore::store_all(slots.collect());
    for (number, stored) in stored.iter().enumerate() {
        match stored {
            Ok(at) => assert_eq!(at, &name(&format!("f{number}"))),
            Err(error) => assert_eq!((number, error.kind), (7, FileErrorKind::DigestMismatch)),
        }
    }
    assert_eq!(scratch.names().len(), 19);
}

#[test]
fn what_is_given_up_or_old_is_gone() {
    let scratch = Scratch::new("old");
    let store = scratch.store();
    let mut slot = store.slot(None, &name("f"), &of_len(10)).unwrap();
    slot.write(0, b"abc", false).unwrap();
    slot.give_up(false);
    assert!(scratch.names().is_empty());
    receive_some(&store, "f", b"0123456789", 3);
    assert_eq!((store.clean(), scratch.names().len()), (Ok(0), 1));
    let partial =
        fs::File::options().write(true).open(scratch.0.join(&scratch.names()[0])).unwrap();
    partial.set_modified(std::time::UNIX_EPOCH).unwrap();
    drop(partial);
    assert_eq!((store.clean(), scratch.names().len(), taken(&store)), (Ok(1), 0, 0));
}

#[test]
fn a_folder_that_is_not_there_is_no_store() {
    let scratch = Scratch::new("none");
    let error = FileStore::open(scratch.0.join("nothing")).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::NotFound);
    assert!(!error.to_string().contains("nothing"), "{error}");
}

/// Its owner tidies up while files come.
#[cfg(unix)]
#[test]
fn a_folder_that_is_removed_meanwhile_is_made_again() {
    let scratch = Scratch::new("tidied");
    let (store, mut near) = (scratch.store(), Near::default());
    drop(store.begin(None, &name("d/f"), &wanted(b"first"), &mut near).unwrap());
    drop(store.begin(None, &name("d/f"), &wanted(b"first"), &mut near).unwrap());
    fs::remove_dir(scratch.0.join("d")).unwrap();
    let begun = store.begin(None, &name("d/g"), &wanted(b"second"), &mut near).unwrap();
    let Ready::Slot(mut slot) = begun else { panic!("it is there") };
    slot.write(0, b"second", false).unwrap();
    store_one(*slot, b"second").unwrap();
    assert_eq!(fs::read(scratch.0.join("d/g")).unwrap(), b"second");
}
