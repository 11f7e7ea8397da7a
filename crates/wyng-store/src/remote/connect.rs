//! From a URL to a connection with somebody at its other end: our helper if there is one or one can be sent, an SFTP server
//! else (decisions.md §8).

use super::greeting::{self, Far, Greeted};
use super::way::{self, Way};
use super::{Limits, Link, Reach, Reply, helper, sftp};
use crate::error::NoHelper;
use crate::{Result, StoreError};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;
use wyng_sys::child::talk;
use wyng_sys::fs::{Links, ext};
use wyng_sys::{Context, SysError};

/// The largest program that is sent, bytes.
const MOST_PROGRAM: usize = 256 << 20;
/// The name under which our program is kept on the far side: what has this name there need not be sent again.
const PROGRAM_ID: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");

/// Who is at the other end.
pub(super) enum Peer {
    /// Our helper, with its answer to our first frame.
    Helper(Reply),
    /// An SFTP server, with its version and extensions.
    Sftp(Reply),
}

/// Makes a connection to the far side of `way`.
///
/// # Errors
/// [`StoreError::Unreachable`], [`StoreError::NoHelper`], [`StoreError::NoProgram`], [`StoreError::Lost`].
pub(super) fn connect(context: &Context, url: &str, way: Way<'_>, reach: &Reach) -> Result<(Link, Peer)> {
    let mut far = start(
        context,
        url,
        way,
        reach,
        way::Far::Script(&greeting::script(PROGRAM_ID)),
    )?;
    let greeted = match far.greet() {
        // An account without a shell may still have an SFTP server.
        Err(StoreError::Unreachable { code, words, .. }) if way.has_sftp() && code != Some(255) => {
            let refused = Greeted::Refused;
            return sftp_server(context, url, way, reach, &refused).map_err(|error| with_words(error, &words));
        }
        greeted => greeted?,
    };
    let greeted = match greeted {
        Greeted::Shell(system, processor) if is_ours(&system, &processor) => match &reach.program {
            Some(path) => {
                let bytes = read_program(context, path)?;
                let checksum = checksum(&bytes);
                far.send_program(&bytes, &checksum)?
            }
            None => Greeted::Shell(system, processor),
        },
        greeted => greeted,
    };
    match greeted {
        Greeted::Helper(welcome) => {
            let link = begin(far, reach, helper::LIMITS)?;
            Ok((link, Peer::Helper(welcome)))
        }
        Greeted::Sftp(version) => {
            let link = begin(far, reach, sftp::LIMITS)?;
            Ok((link, Peer::Sftp(version)))
        }
        greeted => {
            drop(far);
            sftp_server(context, url, way, reach, &greeted)
        }
    }
}

/// The last resort: the SFTP server of the host.
fn sftp_server(context: &Context, url: &str, way: Way<'_>, reach: &Reach, found: &Greeted) -> Result<(Link, Peer)> {
    if !way.has_sftp() {
        let reason = match found {
            Greeted::Shell(system, processor) if !is_ours(system, processor) => NoHelper::OtherMachine {
                system: system.clone(),
                processor: processor.clone(),
            },
            Greeted::Shell(..) => NoHelper::NotSent,
            _ => NoHelper::NotKept,
        };
        return Err(StoreError::NoHelper {
            url: url.to_owned(),
            reason,
        });
    }
    let mut far = start(context, url, way, reach, way::Far::Sftp)?;
    match far.greet()? {
        Greeted::Sftp(version) => {
            let link = begin(far, reach, sftp::LIMITS)?;
            Ok((link, Peer::Sftp(version)))
        }
        _ => Err(far.unreachable()),
    }
}

fn start(context: &Context, url: &str, way: Way<'_>, reach: &Reach, far: way::Far<'_>) -> Result<Far> {
    let spec = way.spec(reach, far);
    let (program, incoming, outgoing) =
        talk(&spec).map_err(|error| greeting::not_started(way.program(), url, &error))?;
    Ok(Far {
        context: context.clone(),
        url: url.to_owned(),
        rate: reach.rate,
        name: way.program(),
        program,
        incoming,
        outgoing,
    })
}

fn begin(far: Far, reach: &Reach, limits: Limits) -> Result<Link> {
    let limits = Limits {
        stall: reach.stall,
        rate: reach.rate,
        ..limits
    };
    let streams = (far.incoming, far.outgoing);
    Link::start(&far.context, &far.url, limits, Some(far.program), streams)
}

/// Whether this program runs there.
fn is_ours(system: &str, processor: &str) -> bool {
    // The names of `uname -m` where they differ from ours.
    let processor = match processor {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    system == "Linux" && processor == std::env::consts::ARCH
}

fn read_program(context: &Context, path: &Path) -> Result<Vec<u8>> {
    let missing = || SysError::new("read", path, std::io::ErrorKind::NotFound);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(missing().into());
    };
    let folder = context.fs.open_dir(folder, Links::Refuse)?;
    let program = ext::read_limited(&*folder, Path::new(name), MOST_PROGRAM)?;
    program.ok_or_else(|| missing().into())
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Adds what was said at the first attempt.
fn with_words(error: StoreError, first: &str) -> StoreError {
    match error {
        StoreError::Unreachable {
            url,
            program,
            code,
            words,
        } => {
            let said = [first, &words];
            let said: Vec<&str> = said.into_iter().filter(|words| !words.is_empty()).collect();
            StoreError::Unreachable {
                url,
                program,
                code,
                words: said.join("; "),
            }
        }
        error => error,
    }
}
