//! Help, version, completions.

use crate::rig::run;

#[test]
fn help_is_short_and_has_three_examples() {
    for args in [&["--help"][..], &["serve", "--help"], &["connect", "--help"]] {
        let (code, help, _) = run(args);
        assert_eq!(code, Some(0));
        assert!(help.lines().count() < 40, "{help}");
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let count = examples.lines().take_while(|line| line.starts_with("  ")).count();
        assert_eq!(count, 3, "{examples}");
    }
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
