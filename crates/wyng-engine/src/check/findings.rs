//! What was found of one volume, each damage once.

use crate::api::{BadRange, BadRanges, DamageKind, Finding, MoreRanges};
use std::collections::BTreeSet;
use wyng_archive::{Damage, DamageReason, UsedCopy};
use wyng_format::SessionName;

/// A damage without what it costs.
pub(super) fn of(kind: DamageKind, volume: &str, session: Option<&SessionName>, damage: &Damage) -> Finding {
    Finding {
        kind,
        volume: volume.to_owned(),
        session: session.map(|session| session.date().to_owned()),
        until: None,
        file: damage.object.clone(),
        error: damage.reason.to_string(),
        offset: None,
        length: None,
        copy: None,
    }
}

/// Damaged ranges of what one session stores.
struct BadData {
    session: SessionName,
    ranges: Vec<BadRange>,
    /// The newest session that needs each.
    until: Vec<Option<SessionName>>,
}

/// What was found of one volume.
pub(super) struct Findings<'a> {
    volume: &'a str,
    /// Of metadata, with the session at which each ends to matter.
    metadata: Vec<Finding>,
    unreadable: BTreeSet<SessionName>,
    data: Vec<BadData>,
    more: Option<MoreRanges>,
}

impl<'a> Findings<'a> {
    pub fn new(volume: &'a str) -> Self {
        Self {
            volume,
            metadata: Vec::new(),
            unreadable: BTreeSet::new(),
            data: Vec::new(),
            more: None,
        }
    }

    /// A session that can't be read. Sessions come oldest first; what builds on a damaged one is no damage of its own.
    pub fn metadata(&mut self, session: &SessionName, damage: &Damage) {
        self.unreadable.insert(*session);
        let cause = cause(damage);
        let until = Some(session.date().to_owned());
        if let Some(known) = self.metadata.iter_mut().find(|known| known.file == cause.object) {
            known.until = until;
            return;
        }
        let is_file = [".z", ".tmp", "/info"].iter().any(|end| cause.object.ends_with(end));
        let kind = if is_file { DamageKind::Session } else { DamageKind::List };
        if kind == DamageKind::List
            && let Some(last) = self
                .metadata
                .last_mut()
                .filter(|last| last.kind == kind && last.error == cause.reason.to_string())
        {
            last.until = until;
            return;
        }
        let of_session = SessionName::parse(cause.object.split('/').nth(1).unwrap_or_default()).unwrap_or(*session);
        self.metadata.push(of(kind, self.volume, Some(&of_session), cause));
    }

    /// Whether the session's metadata were found good.
    pub fn is_readable(&self, session: &SessionName) -> bool {
        !self.unreadable.contains(session)
    }

    /// Files that copies stood in for.
    pub fn copies(&mut self, copies: Vec<UsedCopy>) {
        for UsedCopy { file, copy, error } in copies {
            let session = SessionName::parse(file.split('/').nth(1).unwrap_or_default()).ok();
            self.metadata.push(Finding {
                kind: DamageKind::Copied,
                volume: self.volume.to_owned(),
                session: session.map(|session| session.date().to_owned()),
                until: None,
                file,
                error,
                offset: None,
                length: None,
                copy: Some(copy),
            });
        }
    }

    /// What of a session's own data can't be read.
    pub fn data(&mut self, session: &SessionName, bad: BadRanges) {
        let listed: usize = self.data.iter().map(|data| data.ranges.len()).sum();
        let mut ranges = bad.listed;
        let rest = ranges.split_off(ranges.len().min(BadRanges::LISTED.saturating_sub(listed)));
        let unlisted = BadRanges {
            listed: rest,
            more: bad.more,
        };
        if unlisted.ranges() > 0 {
            let more = self.more.get_or_insert_default();
            more.ranges = more.ranges.saturating_add(unlisted.ranges());
            more.bytes = more.bytes.saturating_add(unlisted.bytes());
        }
        if !ranges.is_empty() {
            self.data.push(BadData {
                session: *session,
                until: vec![None; ranges.len()],
                ranges,
            });
        }
    }

    /// Some data is damaged.
    pub fn has_bad_data(&self) -> bool {
        !self.data.is_empty()
    }

    /// Whether the chunk that `supplier` stores for `addr` is damaged; if so, `session` needs it. Sessions come oldest
    /// first.
    pub fn needs(&mut self, session: &SessionName, supplier: &SessionName, addr: u64) -> bool {
        let Some(data) = self.data.iter_mut().find(|data| data.session == *supplier) else {
            return false;
        };
        let after = data.ranges.partition_point(|range| range.offset <= addr);
        let Some(index) = after.checked_sub(1) else {
            return false;
        };
        let within = data
            .ranges
            .get(index)
            .is_some_and(|range| addr < range.offset.saturating_add(range.length));
        if within && let Some(until) = data.until.get_mut(index) {
            *until = Some(*session);
        }
        within
    }

    /// Everything: metadata first, then data, newest sessions first.
    pub fn finish(self) -> (Vec<Finding>, Option<MoreRanges>) {
        let mut all = self.metadata;
        for BadData { session, ranges, until } in self.data {
            for (range, until) in ranges.into_iter().zip(until) {
                let (file, error) = range.error.split_once(": ").unwrap_or(("", &range.error));
                all.push(Finding {
                    kind: DamageKind::Data,
                    volume: self.volume.to_owned(),
                    session: Some(session.date().to_owned()),
                    until: until
                        .filter(|until| *until != session)
                        .map(|until| until.date().to_owned()),
                    file: file.to_owned(),
                    error: error.to_owned(),
                    offset: Some(range.offset),
                    length: Some(range.length),
                    copy: None,
                });
            }
        }
        (all, self.more)
    }
}

/// The damage behind one that only builds on it.
fn cause(damage: &Damage) -> &Damage {
    match &damage.reason {
        DamageReason::DependsOn(cause) => self::cause(cause),
        _ => damage,
    }
}
