//! Tags of new sessions (behaviour.md §3.7, archive-format.md on `tag` lines).

use crate::options::OptionError;
use wyng_format::FormatError;

/// The most tags that a session can hold.
pub const MOST: usize = 5;

/// A tag: id and description.
pub type Tag = (String, String);

/// The tags that `--tag` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Those given.
    pub given: Vec<Tag>,
    /// The user is to be asked for more.
    pub ask: bool,
}

/// Understands the values of `--tag`.
///
/// # Errors
/// [`OptionError::Tag`] for a malformed one, [`OptionError::TagCount`] for more than [`MOST`].
pub fn tags(values: &[String]) -> Result<Tags, OptionError> {
    if values == [""] {
        return Ok(Tags {
            given: Vec::new(),
            ask: true,
        });
    }
    let mut tags = Tags::default();
    for value in values {
        if value == "@" {
            tags.ask = true;
            continue;
        }
        let (id, description) = tag(value).map_err(OptionError::Tag)?;
        match tags.given.iter_mut().find(|(other, _)| *other == id) {
            Some(same) => same.1 = description,
            None => tags.given.push((id, description)),
        }
    }
    if tags.given.len() > MOST {
        Err(OptionError::TagCount(tags.given.len()))
    } else {
        Ok(tags)
    }
}

/// Understands `ID[,description]`.
///
/// # Errors
/// What is wrong with it.
fn tag(value: &str) -> Result<Tag, FormatError> {
    let tag = wyng_format::Tag::from_user(value)?;
    Ok((tag.id().to_owned(), tag.description().to_owned()))
}

/// Understands ids of tags, as they are stored.
///
/// # Errors
/// [`OptionError::Tag`] for a malformed one.
pub fn ids(values: &[String]) -> Result<Vec<String>, OptionError> {
    let id = |value: &String| tag(value).map(|(id, _)| id).map_err(OptionError::Tag);
    values.iter().map(id).collect()
}

/// Adds the tag in `line` to `tags`; `false` if it is malformed, there already, or one too many.
pub fn add(tags: &mut Vec<Tag>, line: &str) -> bool {
    match tag(line) {
        Ok(tag) if tags.len() < MOST && tags.iter().all(|(id, _)| *id != tag.0) => {
            tags.push(tag);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Tags, OptionError> {
        tags(&values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>())
    }

    fn pair(id: &str, description: &str) -> Tag {
        (id.to_owned(), description.to_owned())
    }

    #[test]
    fn ids_are_trimmed_lowered_and_cut() {
        let tags = of(&[
            " FOO , Some desc, more ",
            "bar",
            "abcdefghijklmnopqrstuvwxyz",
            "foo,again",
        ])
        .unwrap();
        let expected = [
            pair("foo", "again"),
            pair("bar", ""),
            pair("abcdefghijklmnopqrstuvwxy", ""),
        ];
        assert_eq!((tags.given.as_slice(), tags.ask), (&expected[..], false));
        assert_eq!(
            of(&["FOO, Some desc, more "]).unwrap().given,
            [pair("foo", "Some desc, more")]
        );
    }

    #[test]
    fn an_at_sign_or_a_single_empty_value_asks() {
        assert!(of(&[""]).unwrap().ask);
        assert_eq!(
            of(&["@", "x"]).unwrap(),
            Tags {
                given: vec![pair("x", "")],
                ask: true
            }
        );
        assert_eq!(of(&["", "x"]).unwrap_err().exit_code(), 9);
    }

    #[test]
    fn malformed_and_surplus_tags_are_refused() {
        for value in [
            "all",
            "ALL",
            "a b",
            "a=b",
            "^a",
            "a\\b",
            "a\tb",
            ",desc",
            "a,x\ny",
            &format!("a,{}", "x".repeat(101)),
        ] {
            assert_eq!(of(&[value]).unwrap_err().exit_code(), 9, "{value:?}");
        }
        assert!(of(&["a", "b", "c", "d", "e"]).is_ok());
        assert_eq!(
            of(&["a", "b", "c", "d", "e", "f"]).unwrap_err().to_string(),
            "6 tags were given; a session holds at most 5"
        );
    }

    #[test]
    fn typed_tags_are_added_only_once() {
        let mut tags = vec![pair("a", "")];
        assert!(add(&mut tags, "b,two"));
        assert!(!add(&mut tags, "A") && !add(&mut tags, "x y"));
        assert_eq!(tags, [pair("a", ""), pair("b", "two")]);
    }
}
