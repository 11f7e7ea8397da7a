//! What the options of the commands that change what an archive says of its volumes ask for: delete, rename, tag,
//! arch-deduplicate, arch-check.

use super::arguments::{Action, ArchCheckArgs, DeleteArgs, TagArgs};
use super::check::{duration, kept_choice};
use super::error::OptionError;
use super::meaning::Reader;
use super::table::Id;
use crate::select::tags;
use std::path::PathBuf;
use wyng_engine::{
    CheckSessions, DeleteRequest, KeptChoice, RenameRequest, RepairRequest, SessionChoice, TagChange, VolumeChoice,
};
use wyng_format::{Tag, VolumeId};

impl Reader<'_> {
    /// `delete`: of a volume, or of local snapshots.
    pub(super) fn delete(&self, names: Vec<String>) -> Result<Action, OptionError> {
        if self.values.flag(Id::Clean) || self.values.text(Id::Purge).is_some() {
            if !names.is_empty() || self.values.has(Id::Vid) {
                return Err(OptionError::Conflict {
                    first: "--clean or --purge",
                    second: "the name of a volume",
                });
            }
            if self.values.flag(Id::DryRun) {
                return Err(OptionError::Conflict {
                    first: "--dry-run",
                    second: "--clean or --purge",
                });
            }
            return Ok(Action::Clean(self.clean()?));
        }
        Ok(Action::Delete(DeleteArgs {
            request: DeleteRequest {
                volume: self.volume_to_delete(names)?,
                local: self.values.os(Id::Local).map(Into::into),
                force: self.values.flag(Id::Force),
            },
            dry_run: self.values.flag(Id::DryRun),
        }))
    }

    fn volume_to_delete(&self, mut names: Vec<String>) -> Result<VolumeChoice, OptionError> {
        match (self.values.text(Id::Vid), names.len(), names.pop()) {
            (Some(_), _, Some(_)) => Err(OptionError::Conflict {
                first: "--vid",
                second: "the name of a volume",
            }),
            (Some(id), ..) => match VolumeId::new(&id) {
                Ok(vid) => Ok(VolumeChoice::Id(vid)),
                Err(_) => Err(OptionError::VolumeId(id)),
            },
            (None, 1, Some(name)) => Ok(VolumeChoice::Name(name)),
            (None, 0, _) => Err(OptionError::NothingToDelete),
            (None, count, _) => Err(OptionError::VolumeCount {
                command: self.command,
                needed: "the name of one volume",
                count,
            }),
        }
    }

    pub(super) fn deduplicate(&self, names: &[String]) -> Result<Action, OptionError> {
        self.no_names(names)?;
        Ok(Action::Deduplicate {
            dry_run: self.values.flag(Id::DryRun),
        })
    }

    pub(super) fn arch_check(&self, names: Vec<String>) -> Result<ArchCheckArgs, OptionError> {
        const FORMS: [(Id, &str); 7] = [
            (Id::AcceptRoot, "--accept-root"),
            (Id::ReturnTo, "--return-to"),
            (Id::ExportKeys, "--export-keys"),
            (Id::ChangeUuid, "--change-uuid"),
            (Id::UpgradeFormat, "--upgrade-format"),
            (Id::Clean, "--clean"),
            (Id::Repair, "--repair"),
        ];
        let mut given = FORMS.into_iter().filter(|(id, _)| match id {
            Id::ExportKeys | Id::ReturnTo => self.values.has(*id),
            flag => self.values.flag(*flag),
        });
        let form = given.next();
        if let (Some((_, first)), Some((_, second))) = (form, given.next()) {
            return Err(OptionError::Conflict { first, second });
        }
        let from = self.values.text(Id::From);
        if from.is_some() && !matches!(form, Some((Id::Repair, _))) {
            return Err(OptionError::Needs {
                option: "--from",
                needed: "--repair",
            });
        }
        let Some((form, second)) = form else {
            return self.check(names);
        };
        self.no_names(&names)?;
        self.refuse_choice(form, second)?;
        let (force, dry_run) = (self.values.flag(Id::Force), self.values.flag(Id::DryRun));
        if dry_run && !matches!(form, Id::Clean | Id::Repair | Id::AcceptRoot | Id::ReturnTo) {
            let first = "--dry-run";
            return Err(OptionError::Conflict { first, second });
        }
        Ok(match form {
            Id::Clean => ArchCheckArgs::Clean {
                local: self
                    .values
                    .os(Id::Local)
                    .filter(|_| self.values.is_typed(Id::Local))
                    .map(Into::into),
                force,
                dry_run,
            },
            Id::Repair => ArchCheckArgs::Repair {
                request: RepairRequest {
                    from,
                    local: self.values.os(Id::Local).map(Into::into),
                },
                force,
                dry_run,
            },
            Id::AcceptRoot => ArchCheckArgs::Accept { force, dry_run },
            Id::ReturnTo => ArchCheckArgs::Return {
                choice: self
                    .values
                    .text(Id::ReturnTo)
                    .and_then(|text| kept_choice(&text))
                    .unwrap_or(KeptChoice::Newest),
                force,
                dry_run,
            },
            Id::UpgradeFormat => ArchCheckArgs::UpgradeFormat,
            Id::ExportKeys => ArchCheckArgs::ExportKeys {
                path: self.values.os(Id::ExportKeys).map(PathBuf::from).unwrap_or_default(),
            },
            _ => ArchCheckArgs::ChangeUuid { force },
        })
    }

    /// The other forms of `arch-check` are about the archive as a whole, and only some look at a local storage. What the ini
    /// file says is for the commands that it fits.
    fn refuse_choice(&self, form: Id, second: &'static str) -> Result<(), OptionError> {
        let options = [
            (Id::Session, "--session"),
            (Id::AllBefore, "--all-before"),
            (Id::Volex, "--volex"),
            (Id::Budget, "--budget"),
            (Id::Local, "--local"),
        ];
        let takes_local = matches!(form, Id::Clean | Id::Repair);
        let mut refused = options.into_iter().filter(|(id, _)| !(takes_local && *id == Id::Local));
        match refused.find(|(id, _)| self.values.is_typed(*id)) {
            Some((_, first)) => Err(OptionError::Conflict { first, second }),
            None => Ok(()),
        }
    }

    /// Looking for damage.
    fn check(&self, names: Vec<String>) -> Result<ArchCheckArgs, OptionError> {
        if self.values.flag(Id::Force) {
            return Err(OptionError::Needs {
                option: "--force",
                needed: "--repair, --clean, --accept-root, --return-to or --change-uuid",
            });
        }
        let mut wanted = self.wanted(names);
        let chosen = !wanted.is_empty();
        wanted.all |= !chosen;
        let sessions = match (self.session()?, self.values.flag(Id::AllBefore)) {
            (None, false) => CheckSessions::All,
            (Some(SessionChoice::Named(date)), true) => CheckSessions::UpTo(date),
            (_, true) => {
                return Err(OptionError::Needs {
                    option: "--all-before",
                    needed: "--session=YYYYMMDD-HHMMSS",
                });
            }
            (Some(SessionChoice::Named(date)), false) => CheckSessions::Named(date),
            (Some(SessionChoice::Tagged(tag)), false) => CheckSessions::Tagged(tag),
            (Some(SessionChoice::Newest), false) if chosen => CheckSessions::NewestOfEach,
            (Some(SessionChoice::Newest), false) => CheckSessions::Newest,
        };
        let budget = self.values.text(Id::Budget).and_then(|text| duration(&text));
        // Less than everything would end the round that it is a part of.
        if budget.is_some() && (chosen || sessions != CheckSessions::All || !wanted.except.is_empty()) {
            return Err(OptionError::Conflict {
                first: "--budget",
                second: "a choice of volumes or sessions",
            });
        }
        Ok(ArchCheckArgs::Check {
            wanted,
            sessions,
            budget,
            local: self.values.os(Id::Local).map(Into::into),
        })
    }

    /// The command is about the archive as a whole.
    fn no_names(&self, names: &[String]) -> Result<(), OptionError> {
        match names.len() {
            0 => Ok(()),
            count => Err(OptionError::VolumeCount {
                command: self.command,
                needed: "no names",
                count,
            }),
        }
    }

    pub(super) fn rename(&self, names: Vec<String>) -> Result<RenameRequest, OptionError> {
        let count = names.len();
        let [from, to] = <[String; 2]>::try_from(names).map_err(|_| OptionError::VolumeCount {
            command: self.command,
            needed: "two names, the old and the new",
            count,
        })?;
        // An empty one takes the old one away.
        let given = self.values.has(Id::VolumeDesc).then(String::new);
        Ok(RenameRequest {
            from,
            to,
            description: self.description()?.or(given),
            local: self.values.os(Id::Local).map(Into::into),
        })
    }

    pub(super) fn tag(&self, names: Vec<String>) -> Result<TagArgs, OptionError> {
        let wanted = self.wanted(names);
        if wanted.is_empty() {
            return Err(OptionError::NoVolumes(self.command));
        }
        let given = tags::tags(&self.values.texts(Id::Tag))?;
        if given.ask {
            return Err(OptionError::NotFor {
                option: "--tag=@",
                command: self.command,
            });
        }
        let (hold, release) = (self.values.flag(Id::Hold), self.values.flag(Id::Release));
        if hold && release {
            return Err(OptionError::Conflict {
                first: "--hold",
                second: "--release",
            });
        }
        let mut change = TagChange {
            add: given.given,
            remove: tags::ids(&self.values.texts(Id::Untag))?,
        };
        if hold && change.add.iter().all(|(id, _)| id != Tag::HOLD) {
            change.add.push((Tag::HOLD.to_owned(), String::new()));
        }
        if release {
            change.remove.push(Tag::HOLD.to_owned());
        }
        if change == TagChange::default() {
            return Err(OptionError::NothingToTag);
        }
        Ok(TagArgs {
            wanted,
            session: self.session()?.unwrap_or(SessionChoice::Newest),
            change,
            dry_run: self.values.flag(Id::DryRun),
        })
    }
}
