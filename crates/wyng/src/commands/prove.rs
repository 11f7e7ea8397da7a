//! `verify --run`: a program of the user's looks at sessions, each as an image file in a mount of its own, or over the network
//! block device protocol.

use super::mount::{disk, tell};
use super::nbd::{listen, uri};
use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::VerifyArgs;
use crate::options::check::{AS_FILE, AS_NBD};
use crate::output::Output;
use crate::render::{json, printable, size};
use serde::Serialize;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use wyng_engine::{EngineError, OpenArchive, SessionImage, VolumeFailure};
use wyng_export::nbd::Export;
use wyng_export::{Image, Tree};
use wyng_sys::child::{self, ChildError, Outcome, Spec};
use wyng_sys::fs::Links;
use wyng_sys::{Context, SysError};

/// Bytes of the chunk cache.
const CACHE: u64 = 256 << 20;

/// Bytes of the program's output that are shown at once.
const PIECE: usize = 8 << 10;

/// The socket at which a session is served.
const SOCKET: &str = "nbd";

/// What a program found.
#[derive(Debug, Serialize)]
struct Proof {
    volume: String,
    session: String,
    size: u64,
    /// Its exit code; `None` if a signal ended it.
    status: Option<i32>,
    good: bool,
    seconds: f64,
}

impl Run<'_> {
    /// Runs the program of `--run` on one session of each volume.
    pub(super) fn prove(&mut self, archive: &OpenArchive, args: &VerifyArgs) -> Result<Done, Failure> {
        let words = args.run.as_slice();
        let chosen = args.wanted.in_archive(&archive.volume_names());
        let (known, mut failed) = self.known(archive, chosen, args.wanted.all);
        let gallery = self.gallery(archive, CACHE);
        let mut proofs = Vec::new();
        for name in known {
            let choice = (&args.session, args.strict);
            let proven = match gallery.chosen(archive, &name, choice, &self.display) {
                Ok(session) => self.prove_one(archive, &name, session, words),
                Err(error) => Ok(Err(Failed::from(&VolumeFailure {
                    volume: name.clone(),
                    error,
                }))),
            };
            self.context.cancel.check().map_err(EngineError::from)?;
            if let Some(lost) = archive.lost() {
                return Err(lost.into());
            }
            let failure = match proven? {
                Ok(proof) => {
                    wyng_engine::note_proven(archive, &name, &proof.session, proof.good, &self.display)?;
                    let failure = (!proof.good).then(|| {
                        let how = proof.status.map_or_else(
                            || "was ended by a signal".to_owned(),
                            |code| format!("ended with exit code {code}"),
                        );
                        Failed::damaged(&name, format!("{} {how}", program(words)))
                    });
                    proofs.push(proof);
                    failure
                }
                Err(failure) => Some(failure),
            };
            let failure = Vec::from_iter(failure);
            self.display.announce(&failure);
            failed.extend(failure);
        }
        archive.report_copies(&self.display);
        self.counted(&gallery);
        Ok(Done {
            report: json::fields(&json!({"proofs": proofs})),
            failed,
        })
    }

    /// Shows a session to the program and runs that. Fails for what concerns all volumes alike.
    fn prove_one(
        &self,
        archive: &OpenArchive,
        name: &str,
        session: SessionImage,
        words: &[OsString],
    ) -> Result<Result<Proof, Failed>, Failure> {
        let begun = self.context.clock.monotonic();
        let place = Place::new(self.context, &self.general.state_home)?;
        let (date, bytes) = (session.session.clone(), session.size);
        self.output.say(&format!(
            "\n{} {date}, as {} sees it:\n",
            printable(name),
            printable(&program(words))
        ));
        let ran = if words.iter().any(|word| contains(word, AS_NBD)) {
            let shown = uri(&place.path.join(SOCKET));
            let spec = self.spec(words, (AS_NBD, shown.as_ref()), (name, &date));
            let disk = match (disk(&session, None, Path::new("")), archive.lost()) {
                (Ok(disk), _) => disk,
                (Err(_), Some(lost)) => return Err(lost.into()),
                (Err(error), None) => return Ok(Err(Failed::damaged(name, error.to_string()))),
            };
            let export = Export {
                name: name.to_owned(),
                description: format!("{date} of {name}"),
                disk,
            };
            self.run_served(archive, &export, &place, &spec)?
        } else {
            let file = format!("{date}.img");
            let spec = self.spec(words, (AS_FILE, place.path.join(&file).as_os_str()), (name, &date));
            let image = Image {
                size: bytes,
                mtime: session.mtime,
                writable: false,
                open: Box::new(move || disk(&session, None, Path::new(""))),
            };
            let mut tree = Tree::default();
            tree.image("", &file, image);
            self.run_mounted(archive, tree, &place.path, &spec)?
        };
        let ran = match ran {
            Ok(outcome) => outcome,
            Err(ChildError::Cancelled(cancelled)) => return Err(EngineError::from(cancelled).into()),
            Err(error) => return Ok(Err(Failed::damaged(name, error.to_string()))),
        };
        self.output.note(&String::from_utf8_lossy(&ran.stderr_tail));
        let seconds = self.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
        let good = ran.status.success();
        if good {
            self.output.say(&format!("  proven in {}\n", size::seconds(seconds)));
        }
        Ok(Ok(Proof {
            volume: name.to_owned(),
            session: date,
            size: bytes,
            status: ran.status.code(),
            good,
            seconds,
        }))
    }

    /// The program with its words, in which the image stands in the place of `sign`.
    fn spec(&self, words: &[OsString], (sign, image): (&str, &OsStr), (volume, session): (&str, &str)) -> Spec {
        let mut words = words.iter().map(|word| with_image(word, sign, image));
        let mut spec = Spec::new(words.next().unwrap_or_default(), words);
        spec.env = self.environment.variables.clone();
        spec.env.extend([
            ("WYNG_IMAGE".into(), image.into()),
            ("WYNG_VOLUME".into(), volume.into()),
            ("WYNG_SESSION".into(), session.into()),
        ]);
        spec
    }

    /// Runs the program, and `serve` until it has ended: that is given what tells so.
    fn run_beside<T>(
        &self,
        spec: &Spec,
        serve: impl FnOnce(&AtomicBool) -> T,
    ) -> Result<(Result<Outcome, ChildError>, T), Failure> {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let run = || {
                let ran = child::run_reading(spec, &self.context.cancel, |read| show(read, &self.output));
                ended.store(true, Ordering::Release);
                ran.map(|((), outcome)| outcome)
            };
            let running = std::thread::Builder::new().spawn_scoped(scope, run);
            let running = running.map_err(|error| EngineError::from(SysError::new("start", "a thread", error)))?;
            let served = serve(&ended);
            let ran = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((ran, served))
        })
    }

    /// Serves an image over the network block device protocol while the program runs.
    fn run_served(
        &self,
        archive: &OpenArchive,
        export: &Export,
        place: &Place<'_>,
        spec: &Spec,
    ) -> Result<Result<Outcome, ChildError>, Failure> {
        let folder = self.context.fs.open_dir(&place.path, Links::Beneath);
        let folder = folder.map_err(EngineError::from)?;
        let listener = listen(&*folder, SOCKET).map_err(EngineError::from)?;
        let ran = self.run_beside(spec, |ended| self.serve(archive, &listener, export, false, ended));
        // The place can't go before it.
        let _ = folder.remove_file(Path::new(SOCKET));
        let (ran, served) = ran?;
        served.map_err(EngineError::from)?;
        Ok(ran)
    }

    fn run_mounted(
        &self,
        archive: &OpenArchive,
        tree: Tree,
        folder: &Path,
        spec: &Spec,
    ) -> Result<Result<Outcome, ChildError>, Failure> {
        let output = self.output.clone();
        let mounted = wyng_export::mount(
            &*self.context.fs,
            tree,
            (folder, &self.general.destination),
            false,
            Box::new(move |error| tell(&output, error)),
        )?;
        let (ran, served) = self.run_beside(spec, |ended| {
            let stops = || ended.load(Ordering::Acquire) || archive.lost().is_some();
            mounted.wait(stops, self.environment.for_storage_tools(), |error, command| {
                self.output.warning(&format!(
                    "{error}; it goes on until what uses it ends and it is unmounted with: {command}"
                ));
            })
        })?;
        served?;
        Ok(ran)
    }
}

/// The name of the program.
fn program(words: &[OsString]) -> String {
    words
        .first()
        .map(|word| word.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Shows what the program writes, in whole lines where they are not too long.
fn show(read: &mut dyn Read, output: &Output) {
    let (mut kept, mut buffer) = (Vec::new(), [0; PIECE]);
    while let Ok(count) = read.read(&mut buffer) {
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let end = kept.iter().rposition(|byte| *byte == b'\n');
        let shown = match end {
            Some(end) if count > 0 => end.saturating_add(1),
            _ if count == 0 || kept.len() > PIECE => kept.len(),
            _ => 0,
        };
        let rest = kept.split_off(shown);
        output.say(&String::from_utf8_lossy(&kept));
        kept = rest;
        if count == 0 {
            break;
        }
    }
}

/// Whether a word has this sign in it.
fn contains(word: &OsStr, sign: &str) -> bool {
    word.as_bytes()
        .windows(sign.len())
        .any(|found| found == sign.as_bytes())
}

/// A word with the image in the place of each sign.
fn with_image(word: &OsStr, sign: &str, image: &OsStr) -> OsString {
    let (mut rest, mut made) = (word.as_bytes(), Vec::new());
    while let Some(at) = rest.windows(sign.len()).position(|found| found == sign.as_bytes()) {
        let (before, after) = rest.split_at(at);
        made.extend_from_slice(before);
        made.extend_from_slice(image.as_bytes());
        rest = after.get(sign.len()..).unwrap_or_default();
    }
    made.extend_from_slice(rest);
    OsString::from_vec(made)
}

/// A folder that only this user can look into, for a mount or a socket; removed when this is dropped.
struct Place<'a> {
    context: &'a Context,
    parent: &'a Path,
    path: PathBuf,
}

impl<'a> Place<'a> {
    fn new(context: &'a Context, parent: &'a Path) -> Result<Self, EngineError> {
        let path = parent.join(format!("wyng-image-{}", wyng_sys::process::id()));
        context.fs.make_dirs(&path, 0o700)?;
        Ok(Self { context, parent, path })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let folder = self.context.fs.open_dir(self.parent, Links::Beneath);
        if let (Ok(folder), Some(name)) = (folder, self.path.file_name()) {
            // One that is still in use stays, empty.
            let _ = folder.remove_dir(Path::new(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_stands_wherever_its_sign_is() {
        for (word, sign, expected) in [
            ("{}", AS_FILE, "/i"),
            ("file={},ro", AS_FILE, "file=/i,ro"),
            ("{}{}", AS_FILE, "/i/i"),
            ("{x}", AS_FILE, "{x}"),
            ("", AS_FILE, ""),
            ("file={nbd},ro{nbd}", AS_NBD, "file=/i,ro/i"),
            ("{nb", AS_NBD, "{nb"),
        ] {
            assert_eq!(with_image(word.as_ref(), sign, "/i".as_ref()), expected, "{word}");
            assert_eq!(contains(word.as_ref(), sign), word != expected, "{word}");
        }
    }
}
