//! Names of pools, volumes and their devices.

use crate::{Label, Result, VolumeError};
use std::path::{Component, Path, PathBuf};

/// Longest name of a logical volume (`lvm(8)`).
const MAX_NAME: usize = 127;

/// Marks every snapshot of any archive (archive-format.md §11.4).
pub(super) const OURS: &str = "wyng";
/// Begins the tag of the archive that owns a snapshot.
pub(super) const ARCHIVE: &str = "arch-";
/// Begins the tag of a session, which is its name.
pub(super) const SESSION: &str = "S_";
/// Tells that a base holds changes that came after its session; also begins the tag that tells when.
pub(super) const DELTA: &str = "delta";
/// Begins the tag of a base's mark, which the original does not know.
pub(super) const MARK: &str = "mark-";

/// The lasting snapshot.
pub(super) const BASE: &str = ".tick";
/// The fresh one.
pub(super) const FRESH: &str = ".tock";
/// One for a reader, which no writer touches.
pub(super) const READER: &str = ".tack";

/// A thin pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolName {
    pub group: String,
    pub name: String,
    pub uuid: String,
}

impl PoolName {
    /// `VG/POOL`.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// The name of the device that takes the pool's messages.
    pub(super) fn device(&self) -> String {
        device_name(&self.group, &format!("{}-tpool", escaped(&self.name)), true)
    }

    /// The device that holds the pool's metadata.
    pub(super) fn metadata(&self) -> String {
        format!(
            "/dev/mapper/{}",
            device_name(&self.group, &format!("{}_tmeta", self.name), false)
        )
    }

    /// Under which its reservation is noted.
    pub(super) fn note(&self) -> String {
        format!("thin-pool-{}", self.uuid)
    }
}

/// The device-mapper name of a volume: hyphens are doubled.
fn device_name(group: &str, name: &str, is_escaped: bool) -> String {
    let name = if is_escaped { name.to_owned() } else { escaped(name) };
    format!("{}-{name}", escaped(group))
}

fn escaped(name: &str) -> String {
    name.replace('-', "--")
}

/// The device-mapper name of the volume `group/name`.
pub(super) fn mapper_name(group: &str, name: &str) -> String {
    device_name(group, name, false)
}

/// The device of the volume `group/name`.
pub(super) fn device_path(group: &str, name: &str) -> PathBuf {
    Path::new("/dev").join(group).join(name)
}

/// The tag of the archive that owns a snapshot.
pub(super) fn archive_tag(label: &Label) -> String {
    format!("{ARCHIVE}{}", label.archive)
}

/// The tag of a base's mark.
pub(super) fn mark_tag(mark: &str) -> String {
    format!("{MARK}{mark}")
}

/// Checks that `name` can be a logical volume that is no snapshot of an archive.
pub(super) fn check(name: &str) -> Result<()> {
    let bad = |reason| VolumeError::BadName {
        name: name.to_owned(),
        reason,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '_' | '.' | '-');
    if name.is_empty() || name == "." || name == ".." || name.starts_with('-') || !name.chars().all(allowed) {
        return Err(bad("can't be the name of a logical volume"));
    }
    if name.len() > MAX_NAME.saturating_sub(BASE.len()) {
        return Err(bad("is too long for a logical volume"));
    }
    if [BASE, FRESH, READER].iter().any(|ending| name.ends_with(ending)) {
        return Err(bad("is that of a snapshot"));
    }
    Ok(())
}

/// What a path outside all folders may stand for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// A volume group.
    Group(String),
    /// A volume of a group.
    Volume(String, String),
    /// The volume with this device-mapper name.
    Mapped(String),
}

/// What of LVM `path` may stand for: `VG`, `VG/LV`, the same below `/dev`, or a name in `/dev/mapper`.
pub(super) fn meaning(path: &Path) -> Option<Meant> {
    let below = path.strip_prefix("/dev").ok();
    let mut parts = Vec::new();
    for part in below.unwrap_or(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    match parts.as_slice() {
        ["mapper", name] if below.is_some() => Some(Meant::Mapped((*name).to_owned())),
        [group] => Some(Meant::Group((*group).to_owned())),
        [group, name] => Some(Meant::Volume((*group).to_owned(), (*name).to_owned())),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_a_pool_are_named_as_lvm_names_them() {
        let pool = PoolName {
            group: "vg-0".to_owned(),
            name: "po-ol".to_owned(),
            uuid: "u".to_owned(),
        };
        assert_eq!(pool.full_name(), "vg-0/po-ol");
        assert_eq!(pool.device(), "vg--0-po--ol-tpool");
        assert_eq!(pool.metadata(), "/dev/mapper/vg--0-po--ol_tmeta");
        assert_eq!(mapper_name("vg-0", "a-b.tick"), "vg--0-a--b.tick");
    }

    #[test]
    fn paths_are_taken_for_volumes_only_where_they_can_be() {
        let volume = |group: &str, name: &str| Some(Meant::Volume(group.to_owned(), name.to_owned()));
        for (path, meant) in [
            ("vg/pool", volume("vg", "pool")),
            ("/dev/vg/pool", volume("vg", "pool")),
            ("vg", Some(Meant::Group("vg".to_owned()))),
            ("/dev/mapper/vg-pool", Some(Meant::Mapped("vg-pool".to_owned()))),
            ("/srv/pool", None),
            ("./vg/pool", None),
            ("vg/pool/vol", None),
            ("../vg", None),
        ] {
            assert_eq!(meaning(Path::new(path)), meant, "{path}");
        }
    }

    #[test]
    fn names_that_no_volume_can_have_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "-a",
            "a b",
            "a/b",
            "ä",
            "vol.tick",
            "vol.tock",
            &"x".repeat(124),
        ] {
            assert!(matches!(check(name), Err(VolumeError::BadName { .. })), "{name}");
        }
        check("vm-1_root+x.img").unwrap();
    }
}
