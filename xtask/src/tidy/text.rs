//! Rust source as far as tidy has to understand it: what is code, and where the tests begin.

/// The same text with blanks for what is in comments, strings and character literals. Line
/// breaks stay, so that lines can be named.
pub(super) fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let len = skipped_len(rest, code.chars().next_back());
        if len == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..len].chars().map(|char| if char == '\n' { '\n' } else { ' ' }));
            rest = &rest[len..];
        }
    }
    code
}

/// Bytes of the comment or literal at the start of `rest`; 0 if it starts with code.
fn skipped_len(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if let Some(body) = rest.strip_prefix('"') {
        return 1 + quoted_len(body, '"');
    }
    if let Some(body) = rest.strip_prefix('\'') {
        return char_literal_len(body);
    }
    let in_word = before.is_some_and(is_word);
    if !in_word && (rest.starts_with('r') || rest.starts_with("br") || rest.starts_with("cr")) {
        return raw_string_len(rest);
    }
    0
}

/// Block comments nest.
fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Bytes up to and with the closing `quote`.
fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in rest.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, but not a lifetime: `'a'` and `'\n'`, not `'a`. `body` is behind the first
/// quote.
fn char_literal_len(body: &str) -> usize {
    let mut chars = body.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + quoted_len(body, '\''),
        (Some(char), Some('\'')) => 2 + char.len_utf8(),
        _ => 0,
    }
}

/// `r"…"`, `r#"…"#` and so on, with `b` or `c` before it.
fn raw_string_len(rest: &str) -> usize {
    let start = rest.find('r').map_or(0, |at| at + 1);
    let hashes = rest[start..].len() - rest[start..].trim_start_matches('#').len();
    let Some(body) = rest[start + hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    let body_at = start + hashes + 1;
    body.find(&end).map_or(rest.len(), |at| body_at + at + end.len())
}

/// Whether `char` may be part of a name.
pub(super) fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The part of `code` before its tests: the first module of a file behind `#[cfg(test)]`.
pub(super) fn without_tests(code: &str) -> &str {
    let mut at = 0;
    while let Some(found) = code[at..].find("#[cfg(test)]").map(|found| at + found) {
        at = found + "#[cfg(test)]".len();
        if is_top_level(code, found) && opens_module(&code[at..]) {
            return &code[..found];
        }
    }
    code
}

fn is_top_level(code: &str, at: usize) -> bool {
    at == 0 || code[..at].ends_with('\n')
}

/// Whether a module with a body follows, other attributes and visibility skipped.
fn opens_module(code: &str) -> bool {
    let is_attribute = |line: &&str| line.is_empty() || line.starts_with("#[");
    let Some(line) = code.lines().map(str::trim).find(|line| !is_attribute(line)) else {
        return false;
    };
    let at = if line.starts_with("pub") { line.find(" mod ").map(|at| at + 1) } else { Some(0) };
    at.is_some_and(|at| line[at..].starts_with("mod ")) && line.ends_with('{')
}

/// Where the name or path `word` stands in `code`, whole and not as a part of a longer name.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let starts_earlier = code[..*at].chars().next_back().is_some_and(is_word);
        let ends_in_word = word.chars().next_back().is_some_and(is_word);
        let ends_later = code[at + word.len()..].chars().next().is_some_and(is_word);
        !(starts_earlier || ends_in_word && ends_later)
    })
}

/// The line, from 1, of the byte `at`.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let words = ["x // unsafe", "/* unsafe /* unsafe */ unsafe */", "\"un\\\"safe unsafe\""];
        let raw =
            ["r\"unsafe\"", "r#\"a \" unsafe\"#", "br##\"unsafe \"# unsafe\"##", "b\"unsafe\""];
        for sample in words.into_iter().chain(raw) {
            let code = code_of(&format!("{sample}\nkept"));
            assert!(!code.contains("unsafe") && code.ends_with("\nkept"), "{sample:?}: {code:?}");
        }
    }

    #[test]
    fn code_beside_literals_stays() {
        for sample in ["fn f<'a>(x: &'a str)", "let r#type = 1; unsafe {}", "r == 1", "'x: loop"] {
            assert_eq!(code_of(sample), sample);
        }
        assert_eq!(code_of("a('\"') + b('\\'') + c"), "a(   ) + b(    ) + c");
        assert_eq!(code_of("\"é\" end"), "    end");
    }

    #[test]
    fn only_a_module_of_tests_ends_the_code() {
        let source = "fn a() {}\n#[cfg(test)]\nfn b() {}\n#[cfg(test)]\npub(crate) mod tests {\n}";
        assert_eq!(without_tests(source), "fn a() {}\n#[cfg(test)]\nfn b() {}\n");
        let elsewhere = "fn a() {}\n#[cfg(test)]\nmod tests;\nfn b() {}";
        assert_eq!(without_tests(elsewhere), elsewhere);
        assert_eq!(
            without_tests("#[cfg(test)]\n#[expect(x)]\nmod tests {}\nmod t {"),
            "#[cfg(test)]\n#[expect(x)]\nmod tests {}\nmod t {"
        );
        assert_eq!(without_tests("a\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n}"), "a\n");
    }

    #[test]
    fn words_are_whole() {
        let at = |code, word| words(code, word).collect::<Vec<_>>();
        assert_eq!(at("unsafe_code unsafe", "unsafe"), [12]);
        assert_eq!(at("MyInstant::now Instant::now()", "Instant::now"), [15]);
        assert_eq!(at("todo!(x) mytodo!(x)", "todo!"), [0]);
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }
}
