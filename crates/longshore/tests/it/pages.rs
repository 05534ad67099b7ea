//! The programs in the guide that have tests: here those run. All others are tests of the documentation.

mod framing;
mod testing;

/// Whether the page has the program as it is here.
fn has(page: &str, program: &str) -> bool {
    page.contains(&format!("```rust\n{program}```\n"))
}

#[test]
fn the_pages_have_the_programs_as_they_are_here() {
    let framing = include_str!("../../../../docs/guide/framing.md");
    assert!(has(framing, include_str!("pages/framing.rs")), "framing.md is another");
    let testing = include_str!("../../../../docs/guide/testing.md");
    assert!(has(testing, include_str!("pages/testing.rs")), "testing.md is another");
}
