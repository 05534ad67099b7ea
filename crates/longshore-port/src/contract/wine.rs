//! Tests that Wine cannot pass: what it does otherwise than Windows.

/// A test that Wine 8 does not pass.
#[derive(Clone, Copy, Debug)]
pub struct NotUnderWine {
    /// The function of the test.
    pub test: &'static str,
    /// Whether it fails each time. If it passes then, it is on the list for nothing, which is an error.
    pub always: bool,
    /// What Wine does otherwise.
    pub why: &'static str,
}

/// Runs the test of this thread, which by its name may be one of `known`. Only under Wine that makes a
/// difference: Windows has to pass them all.
///
/// # Panics
/// As `run` does, unless it is known to; and when it passes though it is known to fail each time.
#[expect(clippy::print_stdout, reason = "whoever runs this has to see what was not shown")]
pub fn run_unless_known(known: &[NotUnderWine], run: impl FnOnce()) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let is_wine = std::env::var_os("WINEPREFIX").is_some(); // each program under it has that
    let known = known.iter().find(|it| is_wine && name.split("::").any(|part| part == it.test));
    let Some(NotUnderWine { test, always, why }) = known else {
        return run();
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(()) => assert!(!always, "{test} passes under Wine: take it off the list"),
        Err(_) => println!("NOT SHOWN UNDER WINE, {test}: {why}"),
    }
}
