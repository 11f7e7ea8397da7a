//! `mount`, and what it shares with `nbd`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::MountArgs;
use crate::output::Output;
use crate::render::{json, plural, printable};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use wyng_engine::errors::Damage;
use wyng_engine::{EngineError, Gallery, OpenArchive, Purpose, SessionImage, VolumeImages};
use wyng_export::{DiskError, DiskRef, Image, Overlay, Tree};
use wyng_sys::fs::{DirRef, Links};

/// The name of the link to a volume's newest session.
const LATEST: &str = "latest";

impl Run<'_> {
    pub(super) fn mount(&mut self, args: &MountArgs) -> Result<Done, Failure> {
        self.requested = args.wanted.names.iter().cloned().collect();
        self.with_archive(Purpose::Read, |run, archive| run.mount_in(archive, args))
    }

    fn mount_in(&mut self, archive: &OpenArchive, args: &MountArgs) -> Result<Done, Failure> {
        let chosen = args.wanted.in_archive(&archive.volume_names());
        let (volumes, mut failed) = self.known(archive, chosen, args.wanted.all);
        if volumes.is_empty() {
            if failed.is_empty() {
                self.output.warning("there is nothing to mount");
            }
            return Ok(Done {
                report: json::fields(&json!({"volumes": volumes})),
                failed,
            });
        }
        let overlay = args
            .overlay
            .as_deref()
            .map(|path| self.overlay_folder(path))
            .transpose()?;
        let gallery = self.gallery(archive, args.cache);
        let (mut tree, mut sessions) = (Tree::default(), 0usize);
        for name in &volumes {
            let images = gallery.volume(archive, name)?;
            sessions = sessions.saturating_add(images.sessions.len());
            let mut lacks: Vec<String> = images.damage.clone();
            if !show(&mut tree, images, overlay.as_ref()) {
                lacks.push("it can't be shown in full: its name, or that of another volume, is in the way".to_owned());
            }
            let lacks: Vec<Failed> = lacks.into_iter().map(|lack| Failed::damaged(name, lack)).collect();
            self.display.announce(&lacks);
            failed.extend(lacks);
        }
        archive.report_copies(&self.display);
        let output = self.output.clone();
        let mounted = wyng_export::mount(
            &*self.context.fs,
            tree,
            (&args.folder, &self.general.destination),
            args.for_all,
            Box::new(move |error| tell(&output, error)),
        )?;
        let shown = args.folder.display().to_string();
        self.output.say(&format!(
            "{} of {} at '{}', until Ctrl-C or umount\n",
            plural(sessions, "session", "sessions"),
            plural(volumes.len(), "volume", "volumes"),
            printable(&shown)
        ));
        let stops = || self.context.cancel.is_set() || archive.lost().is_some();
        mounted.wait(stops, self.environment.for_storage_tools(), |error, command| {
            self.output.warning(&format!(
                "{error}; it goes on until what uses it ends and it is unmounted with: {command}"
            ));
        })?;
        archive.report_copies(&self.display);
        if let Some(lost) = archive.lost() {
            return Err(lost.into());
        }
        self.counted(&gallery);
        let (chunks_fetched, chunks_cached) = gallery.counts();
        let report = json!({
            "mountpoint": shown, "volumes": volumes, "sessions": sessions,
            "chunks_fetched": chunks_fetched, "chunks_cached": chunks_cached,
        });
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
    }

    /// The folder in which what is written is kept.
    pub(super) fn overlay_folder(&self, path: &Path) -> Result<DirRef, Failure> {
        let fs = &self.context.fs;
        let folder = fs
            .make_dirs(path, 0o700)
            .and_then(|()| fs.open_dir(path, Links::Beneath));
        Ok(folder.map_err(EngineError::from)?)
    }

    /// What images are opened from; damage is told as a warning.
    pub(super) fn gallery(&self, archive: &OpenArchive, cache: u64) -> Gallery {
        let output = self.output.clone();
        let on_damage = move |found: wyng_engine::ImageDamage<'_>| {
            let hint = if found.damage.lacks_something() {
                "; if sessions were pruned since this command began, begin it anew"
            } else {
                ""
            };
            output.warning(&format!(
                "{} {}: byte {} can't be read: {}{hint}",
                found.volume, found.session, found.offset, found.damage
            ));
        };
        Gallery::new(archive, cache, Box::new(on_damage))
    }

    pub(super) fn counted(&self, gallery: &Gallery) {
        if self.manner.verbose > 0 {
            let (fetched, cached) = gallery.counts();
            self.output
                .say(&format!("{fetched} chunks fetched, {cached} found in the cache\n"));
        }
    }
}

/// Tells of what failed, but for damage, which is told where it is found.
pub(super) fn tell(output: &Output, error: &DiskError) {
    match error {
        DiskError::Source(source) if source.is::<Damage>() => {}
        DiskError::ReadOnly => {}
        error => output.warning(&error.to_string()),
    }
}

/// Opens a session, for writing if there is a folder for that.
pub(super) fn disk(session: &SessionImage, overlay: Option<&DirRef>, name: &Path) -> Result<DiskRef, DiskError> {
    let source = |error: EngineError| match error {
        EngineError::Archive(wyng_engine::errors::ArchiveError::Damaged(damage)) => DiskError::Source(Box::new(damage)),
        error => DiskError::Source(Box::new(error)),
    };
    let image = session.open().map_err(source)?;
    match overlay {
        None => Ok(image),
        Some(folder) => {
            let overlay = Overlay::open(&**folder, name, image, &session.identity);
            Ok(Arc::new(overlay.map_err(|error| DiskError::Source(Box::new(error)))?))
        }
    }
}

/// Puts a volume into the tree; `false` if a part of it could not be.
fn show(tree: &mut Tree, images: VolumeImages, overlay: Option<&DirRef>) -> bool {
    let folder = images.volume;
    let newest = images.sessions.last().filter(|_| images.has_newest);
    let newest = newest.map(|session| format!("{}.img", session.session));
    let mut whole = true;
    for session in images.sessions {
        let name = format!("{}.img", session.session);
        let kept = Path::new(&folder).join(&session.session);
        let overlay = overlay.cloned();
        let image = Image {
            size: session.size,
            mtime: session.mtime,
            writable: overlay.is_some(),
            open: Box::new(move || disk(&session, overlay.as_ref(), &kept)),
        };
        whole &= tree.image(&folder, &name, image);
    }
    if let Some(newest) = newest {
        whole &= tree.link(&folder, LATEST, &newest);
    }
    whole
}
