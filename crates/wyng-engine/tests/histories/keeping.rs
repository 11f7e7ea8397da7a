//! Keeping the archive between backups: prune, hold, tag, deduplicate, delete and rename, each of which may be killed.

use crate::History;
use crate::site::Ran;
use crate::volume::CHUNK;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use wyng_engine::{
    DeleteRequest, EngineError, PruneRequest, PruneSelection, RenameRequest, Retention, SessionChoice, SessionPoint,
    TagChange, TagRequest, VolumeChoice,
};
use wyng_format::{SessionName, Tag};
use wyng_testkit::model::Change;
use wyng_testkit::patterns::Pattern;

/// Volume → sessions.
type Sessions = BTreeMap<String, BTreeSet<String>>;

impl History<'_> {
    /// One of these commands, on what there is.
    pub(crate) fn keep(&mut self) {
        let names: Vec<String> = self.complete.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = self.rng.pick(&names).clone();
        let kill = self.rng.chance(1, 3).then(|| self.rng.between(1, self.typical_calls));
        match self.rng.below(12) {
            0..=4 => self.prune(&names, kill),
            5..=6 => self.tag(&name, kill),
            7..=8 => self.deduplicate(kill),
            9 => self.delete(&name, kill),
            _ => self.rename_in_archive(&name, kill),
        }
    }

    /// The sessions that there must be.
    fn sessions(&self) -> Sessions {
        let names = |sessions: &BTreeMap<String, _>| sessions.keys().cloned().collect();
        let all = self.complete.iter();
        all.map(|(volume, sessions)| (volume.clone(), names(sessions)))
            .collect()
    }

    fn listed(&mut self) -> Sessions {
        let listing = self.site.listing().into_iter();
        let listed = listing.map(|(volume, sessions)| (volume, sessions.into_iter().collect()));
        listed
            .filter(|(_, sessions): &(_, BTreeSet<String>)| !sessions.is_empty())
            .collect()
    }

    fn forget(&mut self, volume: &str, session: &str) {
        self.held.remove(&(volume.to_owned(), session.to_owned()));
        let sessions = self.complete.get_mut(volume).unwrap();
        sessions.remove(session);
        if sessions.is_empty() {
            self.complete.remove(volume);
        }
    }

    /// After a command: `after` is the state if all of it was done. What was killed may have been done in part, session by
    /// session; a reader sees no other bytes meanwhile, and the next command that writes puts it in order.
    fn settle<T>(&mut self, ran: Ran<T>, after: &Sessions) -> Option<T> {
        self.story.push(format!("    {}", ran.told.text()));
        let mut result = None;
        if ran.killed {
            self.counts.kills += 1;
            self.check_between(after);
            // A writer with nothing to do.
            let opened = self.site.writing(None, |_, _| Ok(()));
            opened.result.unwrap_or_else(|error| panic!("after a kill: {error}"));
        } else {
            result = Some(ran.result.unwrap_or_else(|error| panic!("{error}")));
        }
        let listed = self.check_between(after);
        assert!(ran.killed || listed == *after, "{listed:?}, expected {after:?}");
        for (volume, sessions) in self.sessions() {
            for session in sessions {
                if !listed.get(&volume).is_some_and(|listed| listed.contains(&session)) {
                    self.forget(&volume, &session);
                }
            }
        }
        result
    }

    /// Only sessions that were to go are gone, and the others are as they were.
    fn check_between(&mut self, after: &Sessions) -> Sessions {
        let listed = self.listed();
        let before = self.sessions();
        for (volume, sessions) in after {
            let found = listed.get(volume);
            let lost: Vec<_> = sessions
                .iter()
                .filter(|session| !found.is_some_and(|found| found.contains(*session)))
                .collect();
            assert!(lost.is_empty(), "{volume} lost {lost:?}");
        }
        let mut all = Vec::new();
        for (volume, sessions) in &listed {
            for session in sessions {
                assert!(before[volume].contains(session), "{volume} has {session} again");
                all.push((volume.clone(), session.clone(), self.complete[volume][session].clone()));
            }
        }
        self.compare(&all);
        listed
    }

    fn prune(&mut self, names: &[String], kill: Option<u64>) {
        let volumes: Vec<String> = names.iter().filter(|_| self.rng.chance(2, 3)).cloned().collect();
        let before = self.sessions();
        let all: Vec<&String> = before.values().flatten().collect();
        let mut ends = [0, 1].map(|_| (*self.rng.pick(&all)).clone());
        ends.sort();
        let point = |session: &String| SessionPoint::Named(SessionName::parse(session).unwrap());
        let last = self.rng.between(1, 3);
        let (selection, retention) = match self.rng.below(4) {
            0 => (Some(PruneSelection::One(point(&ends[0]))), None),
            1 => (Some(PruneSelection::Range(point(&ends[0]), point(&ends[1]))), None),
            2 => (Some(PruneSelection::AllBefore(point(&ends[1]))), None),
            _ => (None, u32::try_from(last).ok()),
        };
        let mut after = before.clone();
        for volume in &volumes {
            let sessions = &before[volume];
            let newest = sessions.last().unwrap();
            let rank = |session: &String| sessions.range(session.clone()..).count() as u64;
            let goes = |session: &String| match &selection {
                Some(PruneSelection::One(_)) => *session == ends[0],
                Some(PruneSelection::Range(..)) => (&ends[0]..=&ends[1]).contains(&session),
                Some(PruneSelection::AllBefore(_)) => *session < ends[1],
                None => rank(session) > last,
            };
            let held = |session: &String| self.held.contains(&(volume.clone(), session.clone()));
            let stays = |session: &String| session == newest || held(session) || !goes(session);
            after.get_mut(volume).unwrap().retain(stays);
        }
        let request = PruneRequest {
            volumes,
            selection,
            retention: Retention {
                last: retention,
                ..Retention::default()
            },
            measure: self.rng.chance(1, 2),
            ..PruneRequest::default()
        };
        self.story.push(format!("prune {request:?}, kill {kill:?}"));
        let ran = self.site.writing(kill, |open, told| {
            let plan = wyng_engine::plan_prune(open, &request)?;
            wyng_engine::prune(open, plan, told)
        });
        let had: usize = before.values().map(BTreeSet::len).sum();
        if let Some(report) = self.settle(ran, &after) {
            assert!(report.failed.is_empty(), "{:?}", report.failed);
            self.counts.prunes += 1;
        }
        let has: usize = self.complete.values().map(BTreeMap::len).sum();
        self.counts.pruned_sessions += (had - has) as u64;
    }

    /// Holds a session, releases it, or gives it a tag.
    fn tag(&mut self, volume: &str, kill: Option<u64>) {
        let sessions: Vec<String> = self.complete[volume].keys().cloned().collect();
        let session = self.rng.pick(&sessions).clone();
        let key = (volume.to_owned(), session.clone());
        let mut change = TagChange::default();
        let hold = match self.rng.below(3) {
            0 => {
                change.remove.push(Tag::HOLD.to_owned());
                false
            }
            1 => {
                change.add.push((Tag::HOLD.to_owned(), String::new()));
                true
            }
            _ => {
                change.add.push(("t".to_owned(), format!("{}", self.story.len())));
                self.held.contains(&key)
            }
        };
        let request = TagRequest {
            volumes: vec![(volume.to_owned(), true)],
            session: SessionChoice::Named(session.clone()),
            change,
            dry_run: false,
        };
        self.story.push(format!("tag {request:?}, kill {kill:?}"));
        let ran = self
            .site
            .writing(kill, |open, told| wyng_engine::tag(open, &request, told));
        let after = self.sessions();
        if let Some(report) = self.settle(ran, &after) {
            assert!(report.failed.is_empty(), "{:?}", report.failed);
            self.counts.tags += 1;
        }
        let found = self.site.held();
        let is_held = found.contains(&key);
        assert!(
            is_held == hold || kill.is_some() && is_held == self.held.contains(&key),
            "{key:?}: {found:?}"
        );
        self.held.remove(&key);
        self.held.extend(is_held.then_some(key));
        assert_eq!(found, self.held);
    }

    fn deduplicate(&mut self, kill: Option<u64>) {
        if self.rng.chance(2, 3) {
            // Two chunks of the same bytes.
            let (index, seed) = (self.rng.index(self.volumes.len()), self.rng.next_u64());
            for chunk in [0, 3] {
                let change = Change::Write {
                    offset: chunk * CHUNK,
                    length: CHUNK,
                    pattern: Pattern::Noise,
                    seed,
                };
                self.volumes[index].change(&self.site, &change);
            }
            self.send_all();
        }
        self.story.push(format!("arch-deduplicate, kill {kill:?}"));
        let ran = self
            .site
            .writing(kill, |open, told| wyng_engine::deduplicate(open, false, told));
        let after = self.sessions();
        if let Some(report) = self.settle(ran, &after) {
            assert!(report.damaged.is_empty(), "{:?}", report.damaged);
            self.counts.deduplications += 1;
            self.counts.linked += report.linked;
        }
    }

    fn delete(&mut self, volume: &str, kill: Option<u64>) {
        let request = DeleteRequest {
            volume: VolumeChoice::Name(volume.to_owned()),
            local: Some(self.site.volumes.clone()),
            force: false,
        };
        self.story.push(format!("delete {volume}, kill {kill:?}"));
        let ran = self.site.writing(kill, |open, told| {
            let plan = wyng_engine::plan_delete(open, &request)?;
            wyng_engine::delete(open, &plan, told)
        });
        let mut after = self.sessions();
        after.remove(volume);
        self.counts.deletions += u64::from(self.settle(ran, &after).is_some());
        let gone = !self.complete.contains_key(volume);
        let of_volume = self.volumes.iter_mut().find(|known| known.archived_as == volume);
        if let Some(known) = of_volume {
            // A kill may have left it without its snapshot.
            known.paired &= !gone && kill.is_none();
            if gone {
                known.archived_as = known.name.clone();
            }
        }
    }

    /// The archive calls a volume otherwise; the local file keeps its name.
    fn rename_in_archive(&mut self, volume: &str, kill: Option<u64>) {
        let Some(index) = self
            .volumes
            .iter()
            .position(|known| known.archived_as == volume && !known.import)
        else {
            return;
        };
        let folder = Path::new(&self.volumes[index].name).parent().unwrap().to_path_buf();
        let to = folder.join(format!("in the archive {}.img", self.story.len()));
        let request = RenameRequest {
            from: volume.to_owned(),
            to: to.to_str().unwrap().to_owned(),
            description: None,
            local: None,
        };
        self.story.push(format!("rename {request:?}, kill {kill:?}"));
        let ran = self
            .site
            .writing(kill, |open, told| wyng_engine::rename(open, &request, told));
        let killed = ran.killed;
        if killed {
            // Whoever writes next decides.
            let opened: Result<(), EngineError> = self.site.writing(None, |_, _| Ok(())).result;
            opened.unwrap();
        } else if let Err(error) = &ran.result {
            panic!("{error}");
        }
        if self.listed().contains_key(&request.to) {
            self.volumes[index].archived_as = request.to.clone();
            self.rekey(volume, &request.to);
            self.counts.renames += 1;
        } else {
            assert!(killed, "it has its old name");
        }
        let after = self.sessions();
        self.check_between(&after);
    }
}
