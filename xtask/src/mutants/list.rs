//! The list of planted bugs: its format, which the head of the file explains.

/// Where the list lies, from the root.
pub(crate) const LIST: &str = "xtask/mutants.txt";

/// One planted bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Where it begins in the list, from 1.
    pub(crate) line: usize,
    /// What stands in the source, once.
    pub(crate) snippet: String,
    /// What is planted instead; nothing, if lines are only taken out.
    pub(crate) replacement: String,
    /// Arguments of `cargo test`.
    pub(crate) test: Vec<String>,
    /// Variables of the environment, with their values.
    pub(crate) env: Vec<(String, String)>,
    /// The test runs on Windows, which is Wine here.
    pub(crate) windows: bool,
}

impl Entry {
    /// How to run the test by hand.
    pub(crate) fn command(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={value} "));
        let cargo = if self.windows { "cargo xtask windows" } else { "cargo" };
        format!("{}{cargo} test {}", env.collect::<String>(), self.test.join(" "))
    }
}

/// Reads the list.
///
/// # Errors
/// The line, from 1, and what is wrong there.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "mutant" {
            if let Some(before) = entries.last() {
                whole(before)?;
            }
            let name = name_of(rest).map_err(|what| (number, what))?;
            if entries.iter().any(|entry| entry.name == name) {
                return Err((number, format!("a second {name}")));
            }
            entries.push(Entry {
                name: name.into(),
                line: number,
                snippet: String::new(),
                replacement: String::new(),
                test: Vec::new(),
                env: Vec::new(),
                windows: false,
            });
            continue;
        }
        let entry = entries.last_mut().ok_or((number, "no `mutant NAME` before this".into()))?;
        add_to(entry, word, rest).map_err(|what| (number, what))?;
    }
    match entries.last() {
        Some(last) => whole(last).map(|()| entries),
        None => Err((1, "no planted bugs at all".into())),
    }
}

fn name_of(rest: &str) -> Result<&str, String> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    if rest.is_empty() || !rest.chars().all(is_name) {
        return Err(format!("a name has letters, digits and _, not «{rest}»"));
    }
    Ok(rest)
}

/// Takes in one line behind the first.
fn add_to(entry: &mut Entry, word: &str, rest: &str) -> Result<(), String> {
    match word {
        "test" if entry.test.is_empty() => {
            entry.test = rest.split_whitespace().map(Into::into).collect();
        }
        "test" => return Err("a second test; one finds it".into()),
        "env" => {
            let (name, value) = rest.split_once('=').ok_or("env needs NAME=VALUE")?;
            entry.env.push((name.into(), value.into()));
        }
        "windows" if rest.is_empty() => entry.windows = true,
        "-" if entry.replacement.is_empty() => add_line(&mut entry.snippet, rest),
        "-" => return Err("what stands in the source comes before what is planted".into()),
        "+" => add_line(&mut entry.replacement, rest),
        _ => {
            return Err(format!(
                "a line begins with mutant, test, env, windows, - or +, not {word}"
            ));
        }
    }
    Ok(())
}

fn add_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

fn whole(entry: &Entry) -> Result<(), (usize, String)> {
    let wrong = |what: &str| Err((entry.line, format!("{} {what}", entry.name)));
    if entry.snippet.trim().is_empty() {
        return wrong("does not say what stands in the source");
    }
    if entry.test.is_empty() {
        return wrong("has no test that finds it");
    }
    if entry.snippet == entry.replacement {
        return wrong("changes nothing");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
# head

# Why this one.
mutant first
test -p longshore --test it door::name
env LONGSHORE_DRIVER=uring
- if a {
-     b();
+ {

mutant second
test -p longshore-port --lib c
windows
- gone();
";

    #[test]
    fn an_entry_has_a_name_a_test_what_stands_there_and_what_comes_instead() {
        let entries = parse(TWO).unwrap();
        let [first, second] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((first.name.as_str(), first.line), ("first", 4));
        assert_eq!((first.snippet.as_str(), first.replacement.as_str()), ("if a {\n    b();", "{"));
        assert_eq!(
            first.command(),
            "LONGSHORE_DRIVER=uring cargo test -p longshore --test it door::name"
        );
        assert_eq!((second.snippet.as_str(), second.replacement.as_str()), ("gone();", ""));
        assert_eq!(second.test, ["-p", "longshore-port", "--lib", "c"]);
        assert_eq!(second.command(), "cargo xtask windows test -p longshore-port --lib c");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(error("# nothing\n"), (1, "no planted bugs at all".into()));
        assert_eq!(error("\ntest x\n"), (2, "no `mutant NAME` before this".into()));
        assert_eq!(error("mutant a-b\n").0, 1);
        assert_eq!(error("mutant a\n- x\n"), (1, "a has no test that finds it".into()));
        assert_eq!(
            error("mutant a\ntest x\n\nmutant b\ntest x\n- b\n"),
            (1, "a does not say what stands in the source".into())
        );
        assert_eq!(error("mutant a\ntest x\n- b\n+ b\n"), (1, "a changes nothing".into()));
        assert_eq!(error("mutant a\ntest x\ntest y\n").0, 3);
        assert_eq!(error("mutant a\n+ x\n- y\n").0, 3);
        assert_eq!(error("mutant a\ntset x\n").0, 2);
        assert_eq!(error("mutant a\nenv X\n"), (2, "env needs NAME=VALUE".into()));
        assert_eq!(error(&format!("{TWO}\nmutant first\n")), (16, "a second first".into()));
    }
}
