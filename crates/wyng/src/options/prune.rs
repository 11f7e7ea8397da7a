//! What the options of `prune` ask for, and those of `send` that prune.

use super::arguments::PruneArgs;
use super::error::OptionError;
use super::meaning::Reader;
use super::table::Id;
use super::value::Values;
use crate::select::prune;
use std::collections::BTreeMap;
use wyng_engine::{AgeDays, Autoprune, PruneRequest, Retention};

impl Reader<'_> {
    pub(super) fn prune(&self, names: Vec<String>) -> Result<PruneArgs, OptionError> {
        let wanted = self.wanted(names);
        if wanted.is_empty() {
            return Err(OptionError::NoVolumes(self.command));
        }
        let all_before = self.values.flag(Id::AllBefore);
        let session = self.values.text(Id::Session);
        let selection = session.map(|value| prune::selection(&value, all_before)).transpose()?;
        if all_before && selection.is_none() {
            return Err(OptionError::Needs {
                option: "--all-before",
                needed: "--session",
            });
        }
        let request = PruneRequest {
            selection,
            ..self.prune_rules()
        };
        let mut ruled = std::iter::once(&request.retention).chain(request.volume_retention.values());
        if request.selection.is_none() && request.autoprune == Autoprune::Off && ruled.all(Retention::is_empty) {
            return Err(OptionError::NothingToPrune);
        }
        Ok(PruneArgs {
            wanted,
            request,
            dry_run: self.values.flag(Id::DryRun),
        })
    }

    /// What goes by its age, and what stays whoever asks.
    pub(super) fn prune_rules(&self) -> PruneRequest {
        let keep = self.values.texts(Id::Keep);
        let volumes = self.volumes.iter();
        PruneRequest {
            keep: keep.iter().filter_map(|value| prune::keep(value)).collect(),
            autoprune: autoprune(self.values),
            apdays: apdays(self.values),
            retention: retention(self.values),
            volume_retention: volumes
                .map(|(name, values)| (name.clone(), retention(values)))
                .collect(),
            ..PruneRequest::default()
        }
    }
}

fn autoprune(values: &Values) -> Autoprune {
    match values
        .text(Id::Autoprune)
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "on" => Autoprune::On,
        "min" => Autoprune::Min,
        "full" => Autoprune::Full,
        _ => Autoprune::Off,
    }
}

fn apdays(values: &Values) -> AgeDays {
    let text = values.text(Id::Apdays).unwrap_or_default();
    let numbers: Vec<u32> = text.split(':').filter_map(|part| part.parse().ok()).collect();
    match numbers.as_slice() {
        [expire, thin, window, keep] => AgeDays {
            expire: *expire,
            thin: *thin,
            window: *window,
            keep: *keep,
        },
        _ => AgeDays::default(),
    }
}

/// The rules that keep sessions.
fn retention(values: &Values) -> Retention {
    Retention {
        last: values.number(Id::KeepLast),
        hourly: values.number(Id::KeepHourly),
        daily: values.number(Id::KeepDaily),
        weekly: values.number(Id::KeepWeekly),
        monthly: values.number(Id::KeepMonthly),
        yearly: values.number(Id::KeepYearly),
        within: values.text(Id::KeepWithin).and_then(|text| prune::span(&text)),
    }
}

/// The options of single volumes, by their names.
pub type VolumeValues = BTreeMap<String, Values>;
