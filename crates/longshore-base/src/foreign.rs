//! Code that is not ours: it may panic wherever it runs, and when it is dropped.

use std::any::Any;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs somebody's code; what it panicked with is an error, in words.
///
/// # Errors
/// The panic's text.
#[inline]
pub fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(panic_text)
}

/// What a caught panic said. For who catches it without [`caught`], on a path that is hot.
#[cold]
pub fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let panic = Foreign::new(panic);
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no text)".into())
}

/// A value of somebody else's, dropped wherever that happens to be. A panic of its drop ends there.
pub struct Foreign<T>(Option<T>);

impl<T> Foreign<T> {
    /// Holds `value`.
    pub const fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value itself; from here on its drop is the caller's affair.
    #[expect(clippy::missing_panics_doc, reason = "it is there until it is taken out or dropped")]
    pub fn into_inner(mut self) -> T {
        self.0.take().expect("there until now")
    }
}

impl<T> Deref for Foreign<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl<T> DerefMut for Foreign<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl<T> Drop for Foreign<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            mem::forget(panic); // whose drop may panic as well
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Foreign<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Writes a log event of that level (`event!(warn, "text {value}")`), as `tracing` has it.
///
/// Whoever listens is code of the user's and runs in the middle of ours; if it panics, this event is
/// lost and nothing else.
#[macro_export]
macro_rules! event {
    ($level:ident, $($event:tt)+) => {
        // Whether it can be told or not: there is no second place to say so.
        drop($crate::caught(|| ::tracing::$level!($($event)+)))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Self);
        }
    }

    #[test]
    fn a_panic_is_an_error_in_words() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| panic!("text")), Err::<(), _>("text".into()));
        assert_eq!(caught(|| panic!("number {}", 7)), Err::<(), _>("number 7".into()));
    }

    #[test]
    fn a_drop_that_panics_ends_where_it_is() {
        drop(Foreign::new(Bomb));
        assert_eq!(caught(|| std::panic::panic_any(Bomb)), Err::<(), _>("(no text)".into()));
        mem::forget(Foreign::new(Bomb).into_inner());
    }
}
