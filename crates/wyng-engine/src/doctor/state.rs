//! What this host remembers: rights, size, and what crashes left.

use super::Ward;
use crate::api::{Files, Level, Part, Symptom};
use crate::error::Result;
use wyng_state::StateHome;
use wyng_state::survey::{Names, Survey};

pub(super) fn look(ward: &mut Ward<'_>) -> Result<()> {
    let place = &ward.request.place;
    let path = place.state_home.display().to_string();
    let part = Part::State;
    match StateHome::open(&ward.context.fs, &place.state_home, false) {
        Ok(None) => ward.note(part, Level::Ok, path, Symptom::NoState),
        Err(error) => ward.note(part, Level::Problem, path, Symptom::StateClosed(error.into())),
        Ok(Some(home)) => {
            match (home.registered(), home.survey(ward.now())) {
                (Ok(registered), Ok(survey)) => {
                    ward.registered = registered;
                    for (level, what) in findings(&survey, &home, place.uid, ward.registered.len()) {
                        ward.note(part, level, path.clone(), what);
                    }
                }
                (Err(error), _) | (_, Err(error)) => {
                    ward.note(part, Level::Problem, path, Symptom::StateClosed(error.into()));
                }
            }
            ward.home = Some(home);
        }
    }
    ward.context.cancel.check()?;
    Ok(())
}

fn findings(survey: &Survey, home: &StateHome, uid: u32, archives: usize) -> Vec<(Level, Symptom)> {
    let files = |names: &Names| Files {
        folder: home.path().to_path_buf(),
        listed: names.listed.clone(),
        count: names.count,
    };
    let mut found = vec![(
        Level::Ok,
        Symptom::StateSize {
            files: survey.files,
            bytes: survey.bytes,
            archives,
        },
    )];
    let owner = survey.folder.uid;
    if owner != uid {
        found.push((Level::Problem, Symptom::StateOwner { owner, uid }));
    }
    let mode = survey.folder.mode;
    let level = judge_mode(mode);
    if level != Level::Ok {
        found.push((level, Symptom::StateMode { mode }));
    }
    if survey.unreadable.count > 0 {
        found.push((Level::Problem, Symptom::StateUnreadable(files(&survey.unreadable))));
    }
    if survey.foreign.count > 0 {
        found.push((Level::Note, Symptom::StateForeign(files(&survey.foreign))));
    }
    if survey.left.count > 0 {
        found.push((Level::Note, Symptom::StateLeft(files(&survey.left))));
    }
    found
}

/// Who can change the folder can make a send trust a wrong snapshot; who can only read it learns names and times.
fn judge_mode(mode: u32) -> Level {
    if mode & 0o022 != 0 {
        Level::Problem
    } else if mode & 0o077 != 0 {
        Level::Note
    } else {
        Level::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_that_others_can_change_is_a_problem() {
        for (mode, level) in [
            (0o700, Level::Ok),
            (0o750, Level::Note),
            (0o755, Level::Note),
            (0o711, Level::Note),
            (0o770, Level::Problem),
            (0o702, Level::Problem),
            (0o1777, Level::Problem),
        ] {
            assert_eq!(judge_mode(mode), level, "{mode:o}");
        }
    }
}
