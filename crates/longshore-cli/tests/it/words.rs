//! Help, version, completions.

use crate::rig::run;

#[test]
fn help_is_short_and_has_three_examples() {
    let files = ["put", "get"].map(|verb| [verb, "--help"]);
    for (args, lines_max) in [
        (&files[0][..], 40),
        (&files[1], 40),
        (&["--help"][..], 40),
        (&["serve", "--help"], 80),
        (&["connect", "--help"], 40),
    ] {
        let (code, help, _) = run(args);
        assert_eq!(code, Some(0));
        assert!(help.lines().count() < lines_max, "{help}");
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let count = examples.lines().take_while(|line| line.starts_with("  ")).count();
        assert_eq!(count, 3, "{examples}");
    }
}

/// The table is held to the code by a test of the library.
#[test]
fn every_limit_of_the_guide_has_a_flag_or_says_why_not() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/limits.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, help, _) = run(&["serve", "--help"]);
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mut count = 0;
    for row in rows {
        let flag = row.split('|').nth(2).unwrap().trim();
        let has = help.lines().any(|line| {
            line.split_whitespace().next() == Some(flag.trim_matches('`'))
                && line.len() > flag.len()
        });
        assert!(has || flag.starts_with("none: "), "{row}");
        count += 1;
    }
    assert!(count >= 20, "only {count}");
}

#[test]
fn the_version_is_that_of_the_crate() {
    let wanted = concat!("longshore ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(&["--version"]), (Some(0), wanted.into(), String::new()));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(script.contains("first-byte"), "{shell}");
    }
}

#[test]
fn no_command_is_a_usage_error() {
    assert_eq!(run(&[]).0, Some(2));
    assert_eq!(run(&["dance"]).0, Some(2));
}
