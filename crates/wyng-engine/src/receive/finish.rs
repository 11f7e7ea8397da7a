//! The end of a restore: attributes, the name, and the pairing of the volume with a new base (decisions.md §5, §9).

use crate::api::{Event, ReceiveRequest, Reporter, Warning};
use crate::error::Result;
use crate::open::{OpenArchive, source_nanos};
use crate::pairing;
use std::path::Path;
use wyng_archive::View;
use wyng_format::{Permissions, VolumeId};
use wyng_volume::{Label, Owners, Pair, Restore, Restored, TargetWriter};

/// What the end of a restore needs to know.
pub(super) struct Ending<'a> {
    pub open: &'a OpenArchive,
    pub request: &'a ReceiveRequest,
    pub owners: &'a Owners,
    pub reporter: &'a dyn Reporter,
    /// Name in the archive.
    pub volume: &'a str,
    pub vid: &'a VolumeId,
    pub view: &'a View,
    /// The target.
    pub path: &'a Path,
}

impl Ending<'_> {
    /// Restores time, owner and mode, and gives the target its name. With `pair`, what was restored is the newest session
    /// and becomes the base of the next send; the result tells whether it did.
    pub(super) fn finish(&self, writer: Box<dyn TargetWriter>, pair: bool) -> Result<bool> {
        let open = self.open;
        open.context.cancel.check()?;
        let mut restore = self.attributes();
        if let Some(state) = open.archive.state().filter(|_| pair) {
            // crash here: the record names the base that is still in place.
            state.drop_snapshot_record(self.vid)?;
            // crash here: no record, so the next send reads everything.
            restore.pair = Some(Pair {
                label: Label {
                    archive: open.archive.root().uuid().to_owned(),
                    volume: self.vid.to_string(),
                },
                stamp: pairing::new_stamp(open, &self.view.session.name, false),
            });
        }
        let restored = writer.finish(&restore)?;
        self.report(&restored);
        Ok(self.remember(&restored))
    }

    fn attributes(&self) -> Restore {
        let info = &self.view.session.info;
        let mut restore = Restore {
            mtime: Some(source_nanos(&self.open.context, info.local_time)),
            ..Restore::default()
        };
        match &info.permissions {
            Permissions::None => {}
            Permissions::ReadOnly => restore.mode = Some(0o400),
            Permissions::ReadWrite => restore.mode = Some(0o600),
            Permissions::Posix { mode, user, group } => self.owner_and_mode(*mode, user, group, &mut restore),
        }
        restore
    }

    fn owner_and_mode(&self, mode: u32, user: &str, group: &str, restore: &mut Restore) {
        let path = self.path;
        let unknown = |name: &str| {
            self.reporter
                .event(Event::Warning(Warning::UnknownOwner { path, name }));
        };
        // The last number means "nobody" to the kernel, which then leaves the owner as it is.
        let number = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX);
        restore.uid = number(user).or_else(|| self.owners.user_id(user));
        restore.gid = number(group).or_else(|| self.owners.group_id(group));
        if restore.uid.is_none() {
            unknown(user);
        }
        if restore.gid.is_none() {
            unknown(group);
        }
        // Without authentication the destination could plant a set-uid program.
        let trusted = self.open.archive.cipher().is_encrypted() || self.request.force;
        let allowed = if trusted { 0o7777 } else { 0o1777 };
        if mode & !allowed != 0 {
            self.reporter.event(Event::Warning(Warning::SetIdDropped { path }));
        }
        restore.mode = Some(mode & allowed);
    }

    fn report(&self, restored: &Restored) {
        let path = self.path;
        if restored.set_id_dropped {
            self.reporter.event(Event::Warning(Warning::SetIdDropped { path }));
        }
        for attribute in &restored.attributes_lost {
            let text = format!(
                "{}: the extended attribute {attribute} of the old file could not be carried over.",
                path.display()
            );
            self.reporter.event(Event::Warning(Warning::Note(&text)));
        }
        if let Some(error) = &restored.not_paired {
            self.not_paired(error);
        }
        if let Some(error) = &restored.old_left {
            let text = format!(
                "{} is restored; what it was before stays until it is restored again: {error}.",
                path.display()
            );
            self.reporter.event(Event::Warning(Warning::Note(&text)));
        }
    }

    /// The volume is restored, whatever becomes of the record.
    fn remember(&self, restored: &Restored) -> bool {
        let Some(evidence) = &restored.base else { return false };
        let session = (&self.view.session.name, self.view.session.info.sequence);
        match pairing::remember(self.open, self.vid, session, self.view.size(), evidence) {
            Ok(()) => true,
            Err(error) => {
                self.not_paired(&error.to_string());
                false
            }
        }
    }

    fn not_paired(&self, error: &str) {
        let volume = self.volume;
        self.reporter
            .event(Event::Warning(Warning::NotPaired { volume, error }));
    }
}
