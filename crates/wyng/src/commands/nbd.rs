//! `nbd`.

use super::mount::{disk, tell};
use super::{Done, Run};
use crate::errors::Failure;
use crate::options::arguments::NbdArgs;
use crate::output::Output;
use crate::render::size::size;
use crate::render::{json, printable};
use rustix::io::Errno;
use serde_json::json;
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wyng_engine::{EngineError, OpenArchive, Purpose};
use wyng_export::nbd::{Export, NbdError, Observer, serve};
use wyng_export::{DiskError, DiskRef};
use wyng_sys::fs::{Dir, DirRef, FileKind, Links, Stat};
use wyng_sys::socket::{self, Listener};
use wyng_sys::{Cancel, SysError};

/// How often it is looked whether to go on.
const TICK: Duration = Duration::from_millis(100);

/// Tells of what goes wrong while clients are served.
struct Telling<'a>(&'a Output);

impl Observer for Telling<'_> {
    fn failed(&self, error: &DiskError) {
        tell(self.0, error);
    }

    fn dropped(&self, error: &NbdError) {
        self.0.warning(&format!("a connection ended: {error}"));
    }
}

impl Run<'_> {
    pub(super) fn nbd(&mut self, args: &NbdArgs) -> Result<Done, Failure> {
        self.requested = [args.volume.clone()].into();
        self.with_archive(Purpose::Read, |run, archive| run.nbd_in(archive, args))
    }

    fn nbd_in(&mut self, archive: &OpenArchive, args: &NbdArgs) -> Result<Done, Failure> {
        let gallery = self.gallery(archive, args.cache);
        let session = gallery.chosen(archive, &args.volume, (&args.session, args.strict), &self.display)?;
        let overlay = args
            .overlay
            .as_deref()
            .map(|path| self.overlay_folder(path))
            .transpose()?;
        let kept = Path::new(&args.volume).join(&session.session);
        let disk: DiskRef = disk(&session, overlay.as_ref(), &kept)
            .map_err(|error| archive.lost().map_or_else(|| Failure::from(error), Failure::from))?;
        archive.report_copies(&self.display);
        let export = Export {
            name: args.volume.clone(),
            description: format!("{} of {}", session.session, args.volume),
            disk,
        };
        let (folder, name) = self.socket_place(&args.socket)?;
        let listener = listen(&*folder, &name).map_err(EngineError::from)?;
        self.output.say(&format!(
            "{} {} ({}, {}) at {}\n",
            printable(&args.volume),
            session.session,
            size(session.size),
            if export.disk.is_writable() {
                "writable"
            } else {
                "read-only"
            },
            uri(&args.socket)
        ));
        let served = self.serve(archive, &listener, &export, args.once, &AtomicBool::new(false));
        // It may be gone already.
        let _ = folder.remove_file(Path::new(&name));
        served.map_err(EngineError::from)?;
        archive.report_copies(&self.display);
        export.disk.flush()?;
        if let Some(lost) = archive.lost() {
            return Err(lost.into());
        }
        self.counted(&gallery);
        let (chunks_fetched, chunks_cached) = gallery.counts();
        let report = json!({
            "volume": args.volume, "session": session.session, "size": session.size,
            "socket": args.socket.display().to_string(),
            "chunks_fetched": chunks_fetched, "chunks_cached": chunks_cached,
        });
        Ok(Done {
            report: json::fields(&report),
            failed: Vec::new(),
        })
    }

    /// Serves until the user or the last client ends it, the connection to the archive is over, or `ended` is set.
    pub(super) fn serve(
        &self,
        archive: &OpenArchive,
        listener: &Listener,
        export: &Export,
        once: bool,
        ended: &AtomicBool,
    ) -> Result<(), SysError> {
        let (ends, over) = (Cancel::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let watch = || {
                while !over.load(Ordering::Acquire) {
                    if self.context.cancel.is_set() || archive.lost().is_some() || ended.load(Ordering::Acquire) {
                        ends.set();
                    }
                    std::thread::sleep(TICK);
                }
            };
            std::thread::Builder::new()
                .spawn_scoped(scope, watch)
                .map_err(|error| SysError::new("start", "a thread", error))?;
            let served = serve(listener, export, once, &Telling(&self.output), &ends);
            over.store(true, Ordering::Release);
            served
        })
    }

    /// The folder of a socket and its name there.
    fn socket_place(&self, path: &Path) -> Result<(DirRef, String), Failure> {
        let name = path.file_name().and_then(OsStr::to_str);
        let name = name.ok_or_else(|| EngineError::from(SysError::from_errno("listen at", path, Errno::INVAL)))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let folder = self
            .context
            .fs
            .open_dir(folder, Links::Beneath)
            .map_err(EngineError::from)?;
        Ok((folder, name.to_owned()))
    }
}

/// The address of a disk that is served at a socket. A path may hold what has a meaning in an address.
pub(super) fn uri(socket: &Path) -> String {
    let mut uri = "nbd+unix:///?socket=".to_owned();
    for byte in socket.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

/// Listens at a new socket. One that is left over from a program that is gone is replaced.
pub(super) fn listen(folder: &dyn Dir, name: &str) -> Result<Listener, SysError> {
    match socket::listen(folder, name) {
        Err(error) if error.errno() == Some(Errno::ADDRINUSE) => {
            let path = Path::new(name);
            // A file refuses a connection as well.
            let is_socket = |stat: Stat| stat.kind == FileKind::Other;
            let refuses = |error: SysError| error.errno() == Some(Errno::CONNREFUSED);
            if !folder.stat(path)?.is_some_and(is_socket) {
                let there = std::io::ErrorKind::AlreadyExists;
                return Err(SysError::new("make the socket", path, there));
            }
            if socket::connect(folder, name).is_err_and(refuses) {
                folder.remove_file(path)?;
                socket::listen(folder, name)
            } else {
                Err(error)
            }
        }
        listening => listening,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_any_path() {
        for (path, address) in [
            ("/run/vm-1.sock", "nbd+unix:///?socket=/run/vm-1.sock"),
            ("/a b/ü?&#%", "nbd+unix:///?socket=/a%20b/%C3%BC%3F%26%23%25"),
        ] {
            assert_eq!(uri(Path::new(path)), address);
        }
    }
}
