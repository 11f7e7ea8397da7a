//! `list`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::ListArgs;
use crate::render::listing::{self, SessionForm};
use crate::render::{json, plural};
use wyng_engine::{OpenArchive, Purpose, SessionChoice, SessionListing, VolumeListing};

impl Run<'_> {
    pub(super) fn list(&mut self, args: &ListArgs) -> Result<Done, Failure> {
        self.with_archive(Purpose::Read, |run, archive| Ok(run.show(archive, args)))
    }

    fn show(&self, archive: &OpenArchive, args: &ListArgs) -> Done {
        // What can't be read has no name to be listed under.
        let (volumes, unreadable): (Vec<_>, Vec<_>) = archive
            .listing()
            .into_iter()
            .partition(|volume| !volume.name.is_empty());
        archive.report_copies(&self.display);
        if self.manner.json {
            self.output.data(&json::list(&archive.summary(), &volumes));
            return self.listed(volumes.iter().chain(&unreadable), Vec::new());
        }
        if self.manner.verbose > 0 {
            self.output.data(&listing::properties(&archive.summary()));
        }
        let (chosen, unknown) = chosen(args, &volumes);
        let shown: Vec<&VolumeListing> = if args.wanted.is_empty() {
            of_session(args, &chosen)
        } else {
            chosen
        };
        if args.tags {
            self.output.data(&listing::tags(&shown));
        } else if args.wanted.is_empty() || volumes.is_empty() && args.wanted.names.is_empty() {
            self.output
                .data(&listing::volumes(&shown, volumes.is_empty(), self.manner.verbose > 0));
        } else {
            for volume in &shown {
                let sessions = sessions(args, volume);
                self.output
                    .data(&listing::sessions(&volume.name, &sessions, self.form()));
            }
        }
        let overview = if args.wanted.names.is_empty() {
            unreadable.as_slice()
        } else {
            &[]
        };
        self.listed(shown.into_iter().chain(overview), unknown)
    }

    fn form(&self) -> SessionForm {
        if self.manner.verbose > 0 {
            SessionForm::Verbose
        } else if self.terminal.attended() {
            SessionForm::Columns(self.environment.width())
        } else {
            SessionForm::Lines
        }
    }

    /// The end of every form: damage in what was shown is a failure.
    fn listed<'v>(&self, shown: impl Iterator<Item = &'v VolumeListing>, unknown: Vec<Failed>) -> Done {
        let mut failed = unknown;
        for volume in shown.filter(|volume| !volume.damage.is_empty()) {
            let name = if volume.name.is_empty() {
                &volume.vid
            } else {
                &volume.name
            };
            for damage in &volume.damage {
                self.output.error(&format!("{name}: {damage}"), None);
            }
            let error = plural(
                volume.damage.len(),
                "part of its metadata is",
                "parts of its metadata are",
            );
            failed.push(Failed::damaged(
                name,
                format!("{error} damaged, so something may be missing above"),
            ));
        }
        Done {
            failed,
            ..Done::default()
        }
    }
}

/// The volumes asked for, all if none were, and those that there are not.
fn chosen<'a>(args: &ListArgs, volumes: &'a [VolumeListing]) -> (Vec<&'a VolumeListing>, Vec<Failed>) {
    if args.wanted.is_empty() {
        return (volumes.iter().collect(), Vec::new());
    }
    let names: Vec<String> = volumes.iter().map(|volume| volume.name.clone()).collect();
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for name in args.wanted.in_archive(&names).into_keys() {
        match volumes.iter().find(|volume| volume.name == name) {
            Some(volume) => found.push(volume),
            None => unknown.push(Failed::unknown(&name)),
        }
    }
    (found, unknown)
}

/// Those of `volumes` that have the session asked for; `newest` is the newest of all.
fn of_session<'a>(args: &ListArgs, volumes: &[&'a VolumeListing]) -> Vec<&'a VolumeListing> {
    let newest = volumes
        .iter()
        .flat_map(|volume| &volume.sessions)
        .map(|session| &session.name)
        .max();
    let has = |volume: &&VolumeListing| match &args.session {
        None => true,
        Some(SessionChoice::Newest) => volume.sessions.iter().any(|session| Some(&session.name) == newest),
        Some(choice) => volume.sessions.iter().any(|session| fits(choice, session)),
    };
    volumes.iter().copied().filter(has).collect()
}

/// The sessions of one volume to show.
fn sessions<'a>(args: &ListArgs, volume: &'a VolumeListing) -> Vec<&'a SessionListing> {
    match &args.session {
        None => volume.sessions.iter().collect(),
        Some(SessionChoice::Newest) => volume.sessions.last().into_iter().collect(),
        Some(choice) => volume.sessions.iter().filter(|session| fits(choice, session)).collect(),
    }
}

fn fits(choice: &SessionChoice, session: &SessionListing) -> bool {
    match choice {
        SessionChoice::Newest => true,
        SessionChoice::Named(date) => session.name.strip_prefix("S_") == Some(date),
        SessionChoice::Tagged(tag) => session.tags.iter().any(|(id, _)| id == tag),
    }
}
