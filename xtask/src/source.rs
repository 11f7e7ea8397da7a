//! A reader of Rust source that knows comments and literals, so that checks look at code only.

/// `text` with every comment, string and character literal blanked; line breaks stay.
pub fn code_only(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    let mut in_word = false; // The character before belongs to a name, so `r"` is no raw string.
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !in_word) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if let Some(length) = character(rest) {
            length
        } else {
            in_word = first.is_alphanumeric() || first == '_';
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        in_word = false;
        out.push(' ');
        out.extend(rest[..length].chars().filter(|c| *c == '\n'));
        rest = &rest[length..];
    }
    out
}

/// The lines (from 1) of `code` in which `word` stands as a whole word.
pub fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.lines()
        .enumerate()
        .filter(|(_, line)| {
            line.match_indices(word).any(|(at, _)| {
                !line[..at].chars().next_back().is_some_and(is_name)
                    && !line[at + word.len()..].chars().next().is_some_and(is_name)
            })
        })
        .map(|(number, _)| number + 1)
        .collect()
}

/// Length of the block comment at the start; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a raw string (`r"`, `br#"`, `cr"`) at the start, if one is there.
fn raw_string(text: &str) -> Option<usize> {
    let after = text
        .strip_prefix("br")
        .or_else(|| text.strip_prefix("cr"))
        .or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opened = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| opened + at + end.len()))
}

/// Length of a literal with escapes from its opening to its closing mark.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Length of a character literal at the start; a lifetime (`'a`) is none.
fn character(text: &str) -> Option<usize> {
    let mut inside = text.strip_prefix('\'')?.chars();
    match inside.next()? {
        '\\' => Some(quoted(text, '\'')),
        c => (inside.next()? == '\'').then_some(2 + c.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        for hidden in [
            "// unsafe",
            "/// unsafe",
            "/* a /* unsafe */ unsafe */",
            "let a = \"unsafe \\\" unsafe\";",
            "let a = r#\"unsafe \" unsafe\"#;",
            "let a = br\"unsafe\";",
            "/*\n unsafe\n*/",
            "fn f() {} // it's unsafe",
        ] {
            assert_eq!(
                lines_with_word(&code_only(hidden), "unsafe"),
                Vec::<usize>::new(),
                "{hidden}"
            );
        }
    }

    #[test]
    fn code_behind_literals_is_seen() {
        for shown in [
            "let a = '\"'; unsafe { f(\"x\") }",
            "let a = '\\''; unsafe {}",
            "fn f<'a>(x: &'a str) { unsafe {} }",
            "/* one */ unsafe /* two */ {}",
            "let bar = b\"x\"; unsafe {}",
            "let a = r\"\\\"; unsafe {}",
            "let a = '\u{e4}'; unsafe {}",
        ] {
            assert_eq!(lines_with_word(&code_only(shown), "unsafe"), [1], "{shown}");
        }
    }

    #[test]
    fn words_are_whole_and_lines_are_kept() {
        assert_eq!(
            lines_with_word(&code_only("#![deny(unsafe_code)]\nnot_unsafe();\n"), "unsafe"),
            Vec::<usize>::new()
        );
        assert_eq!(
            lines_with_word(&code_only("/*\n\n*/ \"\n\" x\nunsafe fn f() {}"), "unsafe"),
            [5]
        );
    }
}
