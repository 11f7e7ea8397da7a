//! What volumes there are, as `lvs` tells it.

use super::tools::{self, Tools};
use crate::{Result, VolumeError};
use serde::Deserialize;

/// What is asked for, in any order; all values come as text.
const FIELDS: &str = "vg_name,vg_extent_size,lv_name,lv_uuid,lv_attr,lv_size,lv_time,lv_active,pool_lv,pool_lv_uuid,\
                      thin_id,transaction_id,lv_tags";

/// Times as seconds since 1970, and the rest as the user's configuration may not have it.
const CONFIG: &str = "report{time_format=\"%s\" list_item_separator=\",\" compact_output=0 compact_output_cols=\"\" \
                      binary_values_as_numeric=0}";

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    /// Its volume group.
    pub group: String,
    /// Size of the group's extents, bytes.
    pub extent: u64,
    pub name: String,
    pub uuid: String,
    pub kind: VolumeKind,
    /// Bytes.
    pub size: u64,
    /// Creation time, nanoseconds since 1970 (whole seconds).
    pub created: i64,
    /// It may be written to.
    pub writable: bool,
    pub active: bool,
    pub tags: Vec<String>,
}

/// What a logical volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VolumeKind {
    /// A pool of thin volumes.
    ThinPool,
    /// A thin volume.
    Thin(Thin),
    /// Anything else.
    Other,
}

/// A thin volume's place in its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thin {
    /// The pool's name in the same group.
    pub pool: String,
    pub pool_uuid: String,
    /// Its number in the pool.
    pub id: u32,
    /// The pool's transaction in which it was created.
    pub transaction: u64,
}

impl Volume {
    /// `VG/LV`.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// The place in a pool; `None` for other kinds.
    pub(super) fn thin(&self) -> Option<&Thin> {
        match &self.kind {
            VolumeKind::Thin(thin) => Some(thin),
            _ => None,
        }
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|other| other == tag)
    }

    /// The tags that begin like this.
    pub(super) fn tags_of<'v>(&'v self, beginning: &'v str) -> impl Iterator<Item = &'v str> {
        self.tags
            .iter()
            .map(String::as_str)
            .filter(move |tag| tag.starts_with(beginning))
    }
}

/// All visible volumes of one or all groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey(Vec<Volume>);

impl Survey {
    /// Asks LVM. A group that does not exist has no volumes.
    ///
    /// # Errors
    /// [`VolumeError::ToolMissing`], [`VolumeError::BadOutput`], and what keeps `lvs` from running.
    pub(super) fn take(tools: &Tools, group: Option<&str>) -> Result<Self> {
        let mut arguments = vec![
            "--reportformat",
            "json",
            "--units",
            "b",
            "--nosuffix",
            "--config",
            CONFIG,
            "-o",
            FIELDS,
        ];
        arguments.extend(group);
        // It exits with an error also for another group that lacks a disk.
        let outcome = tools.ask("lvs", &arguments)?;
        Self::parse(&outcome.stdout).or_else(|error| {
            tools::succeeded("lvs", &arguments, &outcome)?;
            Err(error)
        })
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let bad = |detail: String| VolumeError::BadOutput { tool: "lvs", detail };
        let report: Report = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
        let rows = report.report.into_iter().flat_map(|section| section.lv);
        let volumes = rows.map(|row| Volume::try_from(row).map_err(bad));
        volumes.collect::<Result<_>>().map(Self)
    }

    /// The volume `name` of `group`.
    pub(super) fn find(&self, group: &str, name: &str) -> Option<&Volume> {
        self.0
            .iter()
            .find(|volume| volume.group == group && volume.name == name)
    }

    /// Whether a pool can be asked: LVM runs one also for a single volume of it, and calls it inactive then.
    pub(super) fn is_running(&self, pool: &Volume) -> bool {
        let in_it = |volume: &&Volume| volume.thin().is_some_and(|thin| thin.pool_uuid == pool.uuid);
        pool.active || self.0.iter().filter(in_it).any(|volume| volume.active)
    }

    pub(super) fn has_group(&self, group: &str) -> bool {
        self.0.iter().any(|volume| volume.group == group)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Volume> {
        self.0.iter()
    }
}

#[derive(Deserialize)]
struct Report {
    report: Vec<Section>,
}

#[derive(Deserialize)]
struct Section {
    lv: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    vg_name: String,
    vg_extent_size: String,
    lv_name: String,
    lv_uuid: String,
    lv_attr: String,
    lv_size: String,
    lv_time: String,
    lv_active: String,
    pool_lv: String,
    pool_lv_uuid: String,
    thin_id: String,
    transaction_id: String,
    lv_tags: String,
}

impl TryFrom<Row> for Volume {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        let name = row.lv_name;
        let number = |what: &str, text: &str| {
            text.trim()
                .parse::<u64>()
                .map_err(|error| format!("{what} {text:?} of {name}: {error}"))
        };
        let mut attributes = row.lv_attr.chars();
        let (kind, access) = (attributes.next(), attributes.next());
        let kind = match kind {
            Some('t') => VolumeKind::ThinPool,
            Some('V') if !row.pool_lv.is_empty() => {
                let id = number("thin id", &row.thin_id)?;
                VolumeKind::Thin(Thin {
                    pool: row.pool_lv,
                    pool_uuid: row.pool_lv_uuid,
                    id: u32::try_from(id).map_err(|error| format!("thin id {id} of {name}: {error}"))?,
                    transaction: number("transaction", &row.transaction_id)?,
                })
            }
            _ => VolumeKind::Other,
        };
        let seconds = number("creation time", &row.lv_time)?;
        let created = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1_000_000_000));
        let tags = row.lv_tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        Ok(Self {
            group: row.vg_name,
            extent: number("extent size", &row.vg_extent_size)?,
            uuid: row.lv_uuid,
            kind,
            size: number("size", &row.lv_size)?,
            created: created.ok_or_else(|| format!("creation time {seconds} of {name}"))?,
            writable: access != Some('r'),
            active: row.lv_active.starts_with("active"),
            tags: tags.map(str::to_owned).collect(),
            name,
        })
    }
}

/// What lvm 2.03.16 answered once.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn recorded() -> Survey {
    Survey::parse(tests::RECORDED.as_bytes()).unwrap()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What lvm 2.03.16 answered.
    pub(in crate::lvm) const RECORDED: &str = include_str!("recorded/lvs.json");

    #[test]
    fn volumes_are_read_from_the_report() {
        let survey = recorded();
        let pool = survey.find("vg-0", "pool").unwrap();
        assert_eq!(
            (&pool.kind, pool.size, pool.active),
            (&VolumeKind::ThinPool, 419_430_400, true)
        );
        let tick = survey.find("vg-0", "vol.tick").unwrap();
        assert_eq!(
            tick.thin().unwrap(),
            &Thin {
                pool: "pool".to_owned(),
                pool_uuid: "i6Mkkt-y8di-KiDL-3GnQ-G9ne-16EM-ykxXdp".to_owned(),
                id: 2,
                transaction: 1
            }
        );
        assert_eq!(
            (tick.created, tick.size, tick.writable),
            (1_795_771_883_000_000_000, 104_857_600, false)
        );
        assert!(tick.has_tag("wyng") && tick.has_tag("arch-1234") && !tick.has_tag("arch"));
        assert_eq!(survey.find("vg-0", "plain").unwrap().kind, VolumeKind::Other);
        assert!(survey.find("vg-0", "vol").unwrap().writable);
        let asleep = RECORDED.replace("\"lv_active\":\"active\"", "\"lv_active\":\"\"");
        let one_active = asleep.replacen(
            "\"lv_active\":\"\", \"origin\":\"vol\"",
            "\"lv_active\":\"active\", \"origin\":\"vol\"",
            1,
        );
        for (text, runs) in [(RECORDED, true), (&asleep, false), (&one_active, true)] {
            let survey = Survey::parse(text.as_bytes()).unwrap();
            assert_eq!(survey.is_running(survey.find("vg-0", "pool").unwrap()), runs, "{text}");
        }
        assert!(survey.has_group("vg-0") && !survey.has_group("vg"));
    }

    #[test]
    fn reports_that_make_no_sense_are_refused() {
        for (from, to) in [
            ("\"thin_id\":\"2\"", "\"thin_id\":\"\""),
            ("\"thin_id\":\"2\"", "\"thin_id\":\"99999999999\""),
            ("\"104857600\"", "\"100.00m\""),
            ("\"1795771883\"", "\"2026-11-27\""),
            ("\"lv\"", "\"pv\""),
        ] {
            let error = Survey::parse(RECORDED.replace(from, to).as_bytes()).unwrap_err();
            assert!(matches!(error, VolumeError::BadOutput { .. }), "{to}: {error}");
        }
        assert_eq!(Survey::parse(br#"{"report":[{"lv":[]}]}"#).unwrap(), Survey::default());
    }
}
