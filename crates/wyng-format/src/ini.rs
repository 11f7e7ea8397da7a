//! Owns the ini dialect of archive.ini and wyng.ini: sections, keys and values in their order (archive-format.md §2.3).

use std::collections::HashSet;
use std::fmt::Write;

use crate::error::{FormatError, IniProblem, Result};
use crate::text::{is_space, strip};

/// What `%` means in values that are read; `%%` is one `%` in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Percent {
    /// A single `%` is an error, as in archive.ini.
    Strict,
    /// A single `%` stands for itself, as in wyng.ini.
    Literal,
}

/// An ini text: sections in order, each with its keys and values in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ini {
    sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Section {
    name: String,
    entries: Vec<(String, String)>,
}

impl Ini {
    /// An ini text with these sections, empty.
    #[must_use]
    pub fn with_sections(names: &[&str]) -> Self {
        let section = |name: &&str| Section {
            name: (*name).to_owned(),
            entries: Vec::new(),
        };
        Self {
            sections: names.iter().map(section).collect(),
        }
    }

    /// Reads a text; comments are dropped.
    pub fn parse(text: &str, percent: Percent) -> Result<Self> {
        let mut parser = Parser::default();
        for (line, raw) in (1..).zip(text.split('\n')) {
            parser.line(raw).map_err(|problem| FormatError::Ini { line, problem })?;
        }
        let mut sections = parser.sections;
        for (line, value) in sections.iter_mut().flat_map(|section| &mut section.entries) {
            value.truncate(value.trim_end_matches(is_space).len());
            *value = unescape(value, percent).ok_or(FormatError::Ini {
                line: line.1,
                problem: IniProblem::Percent,
            })?;
        }
        let sections = sections.into_iter().map(|section| Section {
            name: section.name,
            entries: section
                .entries
                .into_iter()
                .map(|((key, _), value)| (key, value))
                .collect(),
        });
        Ok(Self {
            sections: sections.collect(),
        })
    }

    /// The text: `key = value` lines, one empty line after each section. Refuses a key or value with `%`.
    pub fn to_text(&self) -> Result<String> {
        let mut text = String::new();
        for section in &self.sections {
            let _infallible = writeln!(text, "[{}]", section.name);
            for (key, value) in &section.entries {
                if key.contains('%') || value.contains('%') {
                    return Err(FormatError::IniValue {
                        key: crate::error::shown(key),
                    });
                }
                let _infallible = writeln!(text, "{key} = {}", value.replace('\n', "\n\t"));
            }
            text.push('\n');
        }
        Ok(text)
    }

    /// The value of a key; `None` if the key or the section is missing.
    #[must_use]
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.entries(section)
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    }

    /// Keys and values of a section in their order; none if it is missing.
    pub fn entries<'a>(&'a self, section: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let found = self.sections.iter().find(|candidate| candidate.name == section);
        found
            .into_iter()
            .flat_map(|section| &section.entries)
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Names of the sections in their order.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|section| section.name.as_str())
    }

    /// Sets a value; a new key goes to the end of its section, a new section to the end.
    pub fn set(&mut self, section: &str, key: &str, value: &str) {
        let entries = self.section_mut(section);
        match entries.iter_mut().find(|(found, _)| found == key) {
            Some((_, old)) => value.clone_into(old),
            None => entries.push((key.to_owned(), value.to_owned())),
        }
    }

    /// Replaces all keys and values of a section.
    pub fn replace_section(&mut self, section: &str, entries: Vec<(String, String)>) {
        *self.section_mut(section) = entries;
    }

    fn section_mut(&mut self, name: &str) -> &mut Vec<(String, String)> {
        let at = self
            .sections
            .iter()
            .position(|section| section.name == name)
            .unwrap_or_else(|| {
                self.sections.push(Section {
                    name: name.to_owned(),
                    entries: Vec::new(),
                });
                self.sections.len() - 1
            });
        // `at` is the position of a section that was found or has just been added.
        #[expect(clippy::indexing_slicing, reason = "the position has just been found")]
        &mut self.sections[at].entries
    }
}

#[derive(Default)]
struct Parser {
    sections: Vec<RawSection>,
    names: HashSet<String>,
    /// Keys of the present section.
    keys: HashSet<String>,
    /// Whether a key of the present section can be continued.
    open: bool,
    indent: usize,
    line: usize,
}

struct RawSection {
    name: String,
    /// Key, its line, value.
    entries: Vec<((String, usize), String)>,
}

impl Parser {
    fn line(&mut self, raw: &str) -> Result<(), IniProblem> {
        self.line += 1;
        let text = strip(raw);
        if text.starts_with(['#', ';']) {
            return Ok(());
        }
        let last = self
            .sections
            .last_mut()
            .and_then(|section| section.entries.last_mut())
            .filter(|_| self.open);
        if text.is_empty() {
            // An empty line belongs to a value that goes on after it.
            if let Some((_, value)) = last {
                value.push('\n');
            }
            return Ok(());
        }
        let indent = raw.chars().take_while(|c| is_space(*c)).count();
        if let Some((_, value)) = last.filter(|_| indent > self.indent) {
            value.push('\n');
            value.push_str(text);
            return Ok(());
        }
        self.indent = indent;
        if let Some(name) = section_name(text) {
            self.section(name)
        } else {
            self.entry(text)
        }
    }

    fn section(&mut self, name: &str) -> Result<(), IniProblem> {
        if !self.names.insert(name.to_owned()) {
            return Err(IniProblem::DuplicateSection);
        }
        self.sections.push(RawSection {
            name: name.to_owned(),
            entries: Vec::new(),
        });
        self.keys.clear();
        self.open = false;
        Ok(())
    }

    fn entry(&mut self, text: &str) -> Result<(), IniProblem> {
        let section = self.sections.last_mut().ok_or(IniProblem::NoSection)?;
        let (key, value) = text.split_once(['=', ':']).ok_or(IniProblem::Syntax)?;
        let (key, value) = (strip(key), strip(value));
        if key.is_empty() {
            return Err(IniProblem::Syntax);
        }
        if !self.keys.insert(key.to_owned()) {
            return Err(IniProblem::DuplicateKey);
        }
        section.entries.push(((key.to_owned(), self.line), value.to_owned()));
        self.open = true;
        Ok(())
    }
}

/// The name in `[name]`, up to the last bracket, as the original's parser takes it.
fn section_name(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let (name, _) = inner.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

fn unescape(value: &str, percent: Percent) -> Option<String> {
    if !value.contains('%') {
        return Some(value.to_owned());
    }
    let plain = value.replace("%%", "");
    (percent == Percent::Literal || !plain.contains('%')).then(|| value.replace("%%", "%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, percent: Percent) -> (usize, IniProblem) {
        match Ini::parse(text, percent) {
            Err(FormatError::Ini { line, problem }) => (line, problem),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn written_text_is_read_back_in_order() {
        let text = "[var]\nb = 1\na = x y\n\n[volumes]\n\n[in_process]\n0 = merge\n\n";
        let ini = Ini::parse(text, Percent::Strict).unwrap();
        assert_eq!(ini.to_text().unwrap(), text);
        assert_eq!(ini.entries("var").collect::<Vec<_>>(), [("b", "1"), ("a", "x y")]);
    }

    #[test]
    fn the_dialect_is_that_of_the_original() {
        let text = "# c\n[s]\n a : 1 = 2\n;c\nList = one\n\ttwo\n\n  three # no comment\n  # comment\nEmpty =\n[t] rest\na=b\n";
        let ini = Ini::parse(text, Percent::Strict).unwrap();
        assert_eq!(ini.get("s", "a"), Some("1 = 2"));
        assert_eq!(ini.get("s", "List"), Some("one\ntwo\n\nthree # no comment"));
        assert_eq!(ini.get("s", "Empty"), Some(""));
        assert_eq!(ini.get("s", "list"), None);
        assert_eq!(ini.get("t", "a"), Some("b"));
        assert_eq!(Ini::parse(&ini.to_text().unwrap(), Percent::Strict).unwrap(), ini);
    }

    #[test]
    fn doubled_keys_and_sections_are_errors() {
        assert_eq!(
            problem("[s]\na=1\nb=2\na=3\n", Percent::Strict),
            (4, IniProblem::DuplicateKey)
        );
        assert_eq!(
            problem("[s]\n[s]\n", Percent::Strict),
            (2, IniProblem::DuplicateSection)
        );
        assert_eq!(problem("a=1\n", Percent::Strict), (1, IniProblem::NoSection));
        assert_eq!(problem("[s]\nnonsense\n", Percent::Strict), (2, IniProblem::Syntax));
        assert_eq!(problem("[s]\n= 3\n", Percent::Strict), (2, IniProblem::Syntax));
    }

    #[test]
    fn percent_signs_are_escaped_or_literal() {
        let text = "[s]\n\na = 50%%\n";
        for percent in [Percent::Strict, Percent::Literal] {
            assert_eq!(Ini::parse(text, percent).unwrap().get("s", "a"), Some("50%"));
        }
        assert_eq!(problem("[s]\n\na = %(b)s\n", Percent::Strict), (3, IniProblem::Percent));
        assert_eq!(
            Ini::parse("[s]\na = %h%%%\n", Percent::Literal).unwrap().get("s", "a"),
            Some("%h%%")
        );
        let mut ini = Ini::with_sections(&["s"]);
        ini.set("s", "a", "50%");
        assert!(matches!(ini.to_text(), Err(FormatError::IniValue { .. })));
    }

    #[test]
    fn setting_keeps_the_place_of_a_key() {
        let mut ini = Ini::parse("[s]\na=1\nb=2\n", Percent::Strict).unwrap();
        ini.set("s", "a", "3");
        ini.set("s", "c", "4");
        ini.set("t", "d", "5");
        assert_eq!(ini.to_text().unwrap(), "[s]\na = 3\nb = 2\nc = 4\n\n[t]\nd = 5\n\n");
    }
}
