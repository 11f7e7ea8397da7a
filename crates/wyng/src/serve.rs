//! `wyng serve`: the far side of another machine's backups.
//!
//! Standard output belongs to the protocol alone. No ini file is read and no lock is taken: what the other side does is its
//! command, not ours.

use crate::environment::Environment;
use crate::errors::INTERRUPTED;
use crate::options::check::bytes;
use crate::options::table::Id;
use crate::options::value::Values;
use crate::options::{Command, OptionError};
use crate::output::Output;
use std::ffi::OsString;
use std::path::PathBuf;
use wyng_engine::serving::{self, Rules, ServeError, VERSION};
use wyng_sys::{Context, stream};

/// What `serve` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeArgs {
    /// Nothing: the version of the protocol is the right one.
    Check,
    /// Answer requests.
    Answer(Rules),
}

/// Understands the command line of `serve`.
///
/// # Errors
/// [`OptionError`].
pub fn arguments(names: &[OsString], values: &Values, environment: &Environment) -> Result<ServeArgs, OptionError> {
    if !names.is_empty() {
        return Err(OptionError::VolumeCount {
            command: Command::Serve,
            needed: "no names",
            count: names.len(),
        });
    }
    let wanted = values.number(Id::Protocol).unwrap_or(VERSION);
    if wanted != VERSION {
        return Err(OptionError::Protocol { wanted, ours: VERSION });
    }
    let rules = Rules {
        login: environment.working_dir.clone(),
        restrict: values.os(Id::Restrict).map(PathBuf::from),
        append_only: values.flag(Id::AppendOnly),
        read_only: values.flag(Id::ReadOnly),
        kept_quota: values
            .text(Id::KeptQuota)
            .and_then(|text| bytes(&text))
            .unwrap_or(Rules::KEPT_QUOTA),
    };
    if rules.append_only && rules.read_only {
        return Err(OptionError::Conflict {
            first: "--append-only",
            second: "--read-only",
        });
    }
    if values.flag(Id::Check) {
        return Ok(ServeArgs::Check);
    }
    if environment.stdin_is_terminal {
        return Err(OptionError::ServeAtTerminal);
    }
    Ok(ServeArgs::Answer(rules))
}

/// Serves until the other side ends. Gives the exit code.
pub fn serve(args: &ServeArgs, context: &Context, output: &Output) -> u8 {
    let ServeArgs::Answer(rules) = args else { return 0 };
    let served = stream::standard()
        .map_err(ServeError::from)
        .and_then(|streams| serving::serve(context, streams, rules));
    let Err(error) = served else { return 0 };
    // The other side shows it as our last words.
    output.error(&format!("wyng serve: {error}"), None);
    match error {
        ServeError::Idle(_) => 4,
        ServeError::Cancelled(_) => INTERRUPTED,
        ServeError::Violation(_) | ServeError::System(_) => 1,
    }
}
