//! The program `wyng`.

use std::ffi::OsString;
use std::process::ExitCode;
use wyng_cli::{Environment, civil, run};
use wyng_state::keys::{HOLDER_ARGUMENT, holder_main};
use wyng_sys::{Cancel, RealFs, process, signals, system_context};

fn main() -> ExitCode {
    process::disable_core_dumps();
    // The kernel does not refuse these signals; without a handler they end the process, which is as safe.
    let cancel = signals::install().unwrap_or_else(|_| Cancel::new());
    let context = system_context(cancel.clone(), civil());
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((_, held)) = arguments.split_first().filter(|(first, _)| *first == HOLDER_ARGUMENT) {
        return ExitCode::from(u8::from(holder_main(&context, held).is_err()));
    }
    let environment = Environment::from_system(&RealFs::new(cancel));
    ExitCode::from(run(arguments, &environment, &context))
}
