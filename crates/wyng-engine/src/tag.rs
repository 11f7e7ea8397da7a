//! Tags of sessions that exist already: adding, removing, and holding against pruning.

use crate::api::{Event, Reporter, SessionChoice, SessionTagged, TagChange, TagReport, TagRequest, VolumeFailure};
use crate::error::{EngineError, Result};
use crate::open::{OpenArchive, is_confirmed, session_name};
use wyng_archive::{ArchiveError, Session, Trust};
use wyng_format::{SessionName, Tag, VolumeId};

/// Changes the tags of the chosen sessions, each volume's in one step.
///
/// # Errors
/// What ends the whole command; the failures of single volumes are in the report.
pub fn tag(open: &mut OpenArchive, request: &TagRequest, reporter: &dyn Reporter) -> Result<TagReport> {
    open.looking(reporter, |open| open.check_may_remove("tag"))?;
    let mut report = TagReport {
        dry_run: request.dry_run,
        sessions: Vec::new(),
        failed: Vec::new(),
    };
    for (volume, named) in &request.volumes {
        open.context.cancel.check()?;
        match tag_volume(open, volume, request, reporter) {
            Ok(mut sessions) => report.sessions.append(&mut sessions),
            Err(EngineError::Archive(ArchiveError::NoSession { .. } | ArchiveError::NoSessions { .. })) if !named => {}
            Err(error) if open.ends_with(&error) => return Err(error),
            Err(error) => {
                let volume = volume.clone();
                let failure = VolumeFailure { volume, error };
                reporter.event(Event::VolumeFailed(&failure));
                report.failed.push(failure);
            }
        }
        open.report_notices(reporter);
    }
    Ok(report)
}

fn tag_volume(
    open: &mut OpenArchive,
    name: &str,
    request: &TagRequest,
    reporter: &dyn Reporter,
) -> Result<Vec<SessionTagged>> {
    let (vid, chosen) = open.looking(reporter, |open| chosen(open, name, &request.session))?;
    let mut changes: Vec<(SessionName, Vec<Tag>)> = Vec::new();
    let mut tagged = Vec::new();
    for session in chosen {
        let tags = changed(&session.info.tags, &request.change)?;
        let changed = tags != session.info.tags;
        tagged.push(SessionTagged {
            volume: name.to_owned(),
            session: session.name.date().to_owned(),
            changed,
            tags: tags
                .iter()
                .map(|tag| (tag.id().to_owned(), tag.description().to_owned()))
                .collect(),
            held: tags.iter().any(|tag| tag.id() == Tag::HOLD),
        });
        if changed {
            changes.push((session.name, tags));
        }
    }
    if !request.dry_run && !changes.is_empty() {
        let durability = open.change(reporter, |open, _| {
            let (archive, guard) = open.writing();
            Ok(archive.set_tags(&vid, &changes, &guard)?)
        })?;
        is_confirmed(durability, reporter);
    }
    Ok(tagged)
}

/// The sessions of a volume that the user means: one, or all that have a tag.
fn chosen(open: &OpenArchive, name: &str, choice: &SessionChoice) -> Result<(VolumeId, Vec<Session>)> {
    let volume = open.archive.volume(name)?;
    let history = open.archive.history(volume, Trust::Destination);
    let no_session = |session: &str| ArchiveError::NoSession {
        volume: name.to_owned(),
        session: session.to_owned(),
        earlier: false,
    };
    let sessions: Vec<Session> = match choice {
        SessionChoice::Newest => {
            let volume = name.to_owned();
            let newest = history.newest()?.ok_or(ArchiveError::NoSessions { volume })?;
            vec![newest.clone()]
        }
        SessionChoice::Named(text) => {
            let session = history.session(&session_name(text)?)?;
            vec![session.ok_or_else(|| no_session(text))?.clone()]
        }
        SessionChoice::Tagged(tag) => {
            let all = history.sessions().into_iter();
            let found: Vec<_> = all.filter(|session| session.info.has_tag(tag)).cloned().collect();
            if found.is_empty() {
                return Err(no_session(&format!("^{tag}")).into());
            }
            found
        }
    };
    Ok((volume.vid.clone(), sessions))
}

/// The tags of a session after a change, in the order in which they came.
fn changed(tags: &[Tag], change: &TagChange) -> Result<Vec<Tag>> {
    let mut tags: Vec<Tag> = tags
        .iter()
        .filter(|tag| change.remove.iter().all(|id| id != tag.id()))
        .cloned()
        .collect();
    for (id, description) in &change.add {
        let new = Tag::from_user(&format!("{id},{description}"))?;
        match tags.iter_mut().find(|tag| tag.id() == new.id()) {
            Some(same) => *same = new,
            None => tags.push(new),
        }
    }
    let limit = wyng_format::limits::MAX_TAGS;
    if tags.len() > limit {
        return Err(ArchiveError::TooMany { what: "tags", limit }.into());
    }
    Ok(tags)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn tags_are_replaced_in_their_place_and_never_more_than_five() {
        let tag = |text: &str| Tag::from_user(text).unwrap();
        let old = [tag("a,first"), tag("b"), tag("hold,why")];
        let pair = |id: &str, text: &str| (id.to_owned(), text.to_owned());
        let change = TagChange {
            add: vec![pair("a", "second, with a comma"), pair("c", "")],
            remove: vec!["hold".to_owned(), "nosuch".to_owned()],
        };
        let now = changed(&old, &change).unwrap();
        assert_eq!(now, [tag("a,second, with a comma"), tag("b"), tag("c")]);
        let many = TagChange {
            add: ["v", "w", "x"].iter().map(|id| pair(id, "")).collect(),
            remove: Vec::new(),
        };
        assert!(changed(&old, &many).is_err());
    }
}
