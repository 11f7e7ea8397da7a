//! JSON: the document of `list`, byte for byte as the original prints it, and the versioned ones of all other commands.

use super::archive::{RELEASE_DATE, WVERSION};
use crate::errors::Failed;
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use serde_json::{Map, Value, json};
use std::io;
use wyng_engine::{ArchiveSummary, JSON_VERSION, VolumeListing};

/// `list --json`: an empty line, then one object on one line, without a line end (behaviour.md §2).
#[must_use]
pub fn list(summary: &ArchiveSummary, volumes: &[VolumeListing]) -> String {
    let format_version = summary.properties.iter().find(|(key, _)| key == "format_ver");
    let format_version: u64 = format_version.and_then(|(_, value)| value.parse().ok()).unwrap_or(3);
    let volumes: Map<String, Value> = volumes
        .iter()
        .map(|volume| (volume.name.clone(), self::volume(volume)))
        .collect();
    let document = json!({
        "wversion": WVERSION,
        "fver": format_version,
        "wdate": RELEASE_DATE,
        "uuid": summary.uuid,
        "updated_at": summary.updated_at,
        "encrypted": summary.encrypted,
        "is_auth": summary.encrypted,
        "url": summary.url,
        "volumes": volumes,
    });
    format!("\n{}", python(&document))
}

fn volume(volume: &VolumeListing) -> Value {
    let newest = volume.sessions.last();
    let sessions: Map<String, Value> = volume
        .sessions
        .iter()
        .map(|session| {
            let tags: Map<String, Value> = session
                .tags
                .iter()
                .map(|(id, text)| (id.clone(), Value::String(text.clone())))
                .collect();
            let listed = json!({
                "volsize": session.size,
                "sequence": session.sequence,
                "ts": session.source_time,
                "chg": session.changed,
                "tags": tags,
            });
            (session.name.clone(), listed)
        })
        .collect();
    json!({
        "vid": volume.vid,
        "desc": volume.description,
        "last": newest.map_or("None", |session| session.name.as_str()),
        "ts": newest.map(|session| session.source_time),
        "sessions": sessions,
    })
}

/// What every other `--json` prints: one line.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// Version of this form.
    pub version: u32,
    /// The command.
    pub command: &'a str,
    /// As in the listing.
    pub wversion: &'a str,
    /// The command's own part.
    #[serde(flatten)]
    pub report: Map<String, Value>,
    /// Volumes that were not completed.
    pub failed: &'a [Failed],
    /// What ended the whole command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// The exit code.
    pub exit_code: u8,
}

impl<'a> Document<'a> {
    /// The document of a command that did `report`, and of one that could not.
    #[must_use]
    pub fn new(
        command: &'a str,
        report: Map<String, Value>,
        failed: &'a [Failed],
        error: Option<&'a str>,
        exit_code: u8,
    ) -> Self {
        Self {
            version: JSON_VERSION,
            command,
            wversion: WVERSION,
            report,
            failed,
            error,
            exit_code,
        }
    }
}

impl std::fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

/// A report as the fields of a document.
#[must_use]
pub fn fields(report: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(report) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// `value` as `json.dumps` of Python writes it.
#[must_use]
pub fn python(value: &Value) -> String {
    let mut text = Vec::new();
    // Writing values to memory can't fail: there are no maps with keys that are not strings.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut text, Python));
    String::from_utf8(text).unwrap_or_default()
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for char in fragment.chars() {
            if (' '..='~').contains(&char) {
                write!(writer, "{char}")?;
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::summary;
    use super::super::listing::tests::{session, volume};
    use super::*;

    #[test]
    fn the_listing_is_what_the_original_prints() {
        let volumes = [
            volume(
                "v1.img",
                "Vol_5332fe",
                vec![
                    session("20261122-041736", 0, true, &[]),
                    session("20261122-041805", 1, false, &[("foo", "Some_desc"), ("bar", "")]),
                ],
            ),
            volume("ü😀", "Vol_000001", vec![]),
        ];
        let expected = format!(
            "\n{{\"wversion\": \"{WVERSION}\", \"fver\": 3, \"wdate\": \"{RELEASE_DATE}\", \
             \"uuid\": \"fdb83f85-4a7a-43df-bd2f-97577f8591fe\", \"updated_at\": \"1795321056.2617571\", \
             \"encrypted\": false, \"is_auth\": false, \"url\": \"file:/srv/arch1\", \"volumes\": {{\"v1.img\": \
             {{\"vid\": \"Vol_5332fe\", \"desc\": \"\", \"last\": \"S_20261122-041805\", \"ts\": 1795321054618034785, \
             \"sessions\": {{\"S_20261122-041736\": {{\"volsize\": 5242880, \"sequence\": 0, \"ts\": 1795321054618034785, \
             \"chg\": true, \"tags\": {{}}}}, \"S_20261122-041805\": {{\"volsize\": 5242880, \"sequence\": 1, \
             \"ts\": 1795321054618034785, \"chg\": false, \"tags\": {{\"foo\": \"Some_desc\", \"bar\": \"\"}}}}}}}}, \
             \"\\u00fc\\ud83d\\ude00\": {{\"vid\": \"Vol_000001\", \"desc\": \"\", \"last\": \"None\", \"ts\": null, \
             \"sessions\": {{}}}}}}}}"
        );
        assert_eq!(list(&summary(), &volumes), expected);
        assert!(list(&summary(), &[]).ends_with("\"volumes\": {}}"));
    }

    #[test]
    fn strings_are_escaped_as_python_does() {
        let text = "\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}\u{80}ÿ\u{2028}\u{ffff}\u{10000}~";
        let expected =
            r#"{"a": ["\"\\/\b\f\n\r\t\u0001\u001f\u007f\u0080\u00ff\u2028\uffff\ud800\udc00~", -1, null, true]}"#;
        assert_eq!(python(&json!({"a": [text, -1, null, true]})), expected);
    }
}
