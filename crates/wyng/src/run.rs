//! From arguments to exit code: what happens before, around and after a command.

use crate::commands::{Done, Run};
use crate::environment::Environment;
use crate::errors::{BAD_OPTION, Failure, INTERRUPTED, SOME_FAILED};
use crate::hooks::{Ended, Hooked};
use crate::metrics::{self, Ending};
use crate::options::arguments::{ArchCheckArgs, Manner, ProgressMode};
use crate::options::ini::Config;
use crate::options::meaning::{check, invocation};
use crate::options::parse::CommandLine;
use crate::options::table::{Id, option};
use crate::options::value::Values;
use crate::options::{Action, Command, General, Invocation, OptionError, Origin, VolumeValues, help, ini, parse};
use crate::output::{Lines, Output};
use crate::progress::{Display, Shown, Work};
use crate::render::archive::{RELEASE_DATE, banner};
use crate::render::json::{self, Document};
use crate::render::printable;
use crate::serve::{self, ServeArgs};
use crate::terminal::Terminal;
use crate::{error_file, files, generate};
use serde_json::{Map, json};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wyng_state::reduce::ReduceMode;
use wyng_state::{StateError, StateHome, wait_for};
use wyng_sys::{Context, SysError};

/// Largest ini file, bytes.
const INI_LIMIT: usize = 1 << 20;

/// How long another command's writing of the file of `--metrics` is waited for.
const METRICS_WAIT: Duration = Duration::from_secs(10);

/// What the arguments ask for.
enum Asked {
    /// A text that is only printed.
    Text(String),
    Version,
    Serve(ServeArgs),
    Command(Manner, Box<Invocation>),
}

/// Runs the program: `arguments` are those after its name. Gives the exit code.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment, context: &Context) -> u8 {
    let output = Output::new(Lines::Stdout, environment.colour);
    let line = match parse::parse(arguments) {
        Ok(line) => line,
        Err(error) => return refused(&output, error, None),
    };
    let json = line.values.flag(Id::Json);
    match understood(&line, environment, context, &output) {
        Ok(Asked::Text(text)) => output.data(&text),
        Ok(Asked::Version) if json => {
            let report = json::fields(&json!({"wdate": RELEASE_DATE}));
            output.data(&Document::new("version", report, &[], None, 0).to_string());
        }
        Ok(Asked::Version) => output.data(&banner()),
        Ok(Asked::Serve(args)) => return serve::serve(&args, context, &output),
        Ok(Asked::Command(manner, invocation)) => return execute(&invocation, manner, environment, context),
        Err((command, error)) => {
            let documented = command.filter(|command| json && *command != Command::List);
            return refused(&output, error, documented);
        }
    }
    written(&output, 0)
}

/// Everything before the first change and the first line of output.
fn understood(
    line: &CommandLine,
    environment: &Environment,
    context: &Context,
    output: &Output,
) -> Result<Asked, (Option<Command>, OptionError)> {
    let (command, names) = match command(line) {
        Ok(found) => found,
        // Help does not need a command.
        Err(_) if line.values.flag(Id::Help) => return Ok(Asked::Text(help::overview())),
        Err(error) => return Err((None, error)),
    };
    let wrong = |error| (Some(command), error);
    if line.values.flag(Id::Help) {
        return Ok(Asked::Text(help::of(command)));
    }
    if command == Command::Help {
        return help(names).map(Asked::Text).map_err(wrong);
    }
    if let Some(path) = line
        .values
        .os(Id::VolsFrom)
        .filter(|_| option(Id::VolsFrom).applies_to(command) && command != Command::Doctor)
    {
        let removed = error_file::remove(&*context.fs, Path::new(path));
        removed.map_err(|source| {
            wrong(OptionError::File {
                option: "vols-from",
                source,
            })
        })?;
    }
    check(&line.values, &Origin::CommandLine).map_err(wrong)?;
    if command == Command::Version {
        return Ok(Asked::Version);
    }
    if command == Command::Generate {
        return generate::text(names).map(Asked::Text).map_err(wrong);
    }
    if command == Command::Serve {
        return serve::arguments(names, &line.values, environment)
            .map(Asked::Serve)
            .map_err(wrong);
    }
    let config = config(&line.values, environment, context, output).map_err(wrong)?;
    let over = |own: Values| config.values.clone().overlaid_by(own).overlaid_by(line.values.clone());
    let values = over(Values::default());
    let volumes: VolumeValues = config
        .volumes
        .iter()
        .map(|(name, own)| (name.clone(), over(own.clone())))
        .collect();
    let invocation = invocation(command, names, &values, &volumes, environment, &*context.fs).map_err(wrong)?;
    Ok(Asked::Command(Manner::of(&values), Box::new(invocation)))
}

/// The command and the words after it.
fn command(line: &CommandLine) -> Result<(Command, &[OsString]), OptionError> {
    if line.values.flag(Id::ShowVersion) {
        return Ok((Command::Version, &[]));
    }
    let Some((first, names)) = line.words.split_first() else {
        return Err(parse::no_command());
    };
    let unknown = || parse::unknown_command(first);
    Ok((first.to_str().and_then(Command::from_name).ok_or_else(unknown)?, names))
}

fn help(names: &[OsString]) -> Result<String, OptionError> {
    match names {
        [] => Ok(help::overview()),
        [name] => match name.to_str().and_then(Command::from_name) {
            Some(command) => Ok(help::of(command)),
            None => Err(parse::unknown_command(name)),
        },
        _ => Err(parse::syntax_error("help takes one command")),
    }
}

/// The options in the ini file, checked.
fn config(line: &Values, environment: &Environment, context: &Context, output: &Output) -> Result<Config, OptionError> {
    let named = line.os(Id::Config).map(|path| environment.absolute(path));
    let Some(path) = named.clone().or_else(|| environment.default_config()) else {
        return Ok(Config::default());
    };
    let file = files::read(&*context.fs, &path, INI_LIMIT);
    let Some((text, stat)) = file.map_err(|source| OptionError::File {
        option: "config",
        source,
    })?
    else {
        return if named.is_some() {
            Err(OptionError::NoConfigFile(path))
        } else {
            Ok(Config::default())
        };
    };
    if stat.mode & 0o022 != 0 || (stat.uid != 0 && stat.uid != environment.uid) {
        output.warning(&format!(
            "{} can be changed by other users, who can so make this program run commands of theirs",
            path.display()
        ));
    }
    let config = ini::config(&path, &text)?;
    for key in &config.ignored {
        output.note(&format!("Ignoring config item: {key}\n"));
    }
    for values in std::iter::once(&config.values).chain(config.volumes.values()) {
        check(values, &Origin::Ini(path.clone()))?;
    }
    Ok(config)
}

/// Ends a command that was not understood.
fn refused(output: &Output, error: OptionError, documented: Option<Command>) -> u8 {
    let failure = if let OptionError::Syntax(text) = error {
        output.note(&format!("{text}\n"));
        return SOME_FAILED;
    } else {
        Failure::from(error)
    };
    output.error(&failure.message, failure.hint.as_deref());
    if let Some(command) = documented {
        let document = Document::new(command.name(), Map::new(), &[], Some(&failure.message), failure.code);
        output.data(&document.to_string());
    }
    failure.code
}

/// Where the lines of the normal course go, decisions.md §2.
fn lines(manner: Manner, action: &Action) -> Lines {
    match action {
        Action::List(_) => Lines::Stdout,
        _ if manner.quiet => Lines::Nowhere,
        Action::Receive(args) if args.to_stdout() => Lines::Stderr,
        Action::Report(args) if args.page.is_none() => Lines::Stderr,
        _ if manner.json => Lines::Stderr,
        _ => Lines::Stdout,
    }
}

fn execute(invocation: &Invocation, manner: Manner, environment: &Environment, context: &Context) -> u8 {
    let Invocation { general, action } = invocation;
    let output = Arc::new(Output::new(lines(manner, action), environment.colour));
    output.say(&banner());
    let passcmd = general.passcmd.clone();
    let cancel = context.cancel.clone();
    let work = match action {
        Action::Send(_) => Work::Sending,
        Action::Receive(_) => Work::Receiving,
        Action::Verify(_) => Work::Verifying,
        Action::Monitor(_) => Work::Monitoring,
        Action::Diff(_) => Work::Comparing,
        Action::ArchCheck(ArchCheckArgs::Check { .. } | ArchCheckArgs::Repair { .. }) => Work::Checking,
        Action::Deduplicate { .. } => Work::Deduplicating,
        Action::Init(_)
        | Action::List(_)
        | Action::Status(_)
        | Action::Report(_)
        | Action::Doctor(_)
        | Action::Clean(_)
        | Action::Delete(_)
        | Action::Rename(_)
        | Action::Tag(_)
        | Action::ArchCheck(_)
        | Action::Add(_)
        | Action::Prune(_)
        | Action::Mount(_)
        | Action::Nbd(_) => Work::Other,
    };
    let hooked = Arc::new(Hooked::new(
        general.hooks.clone(),
        action.command(),
        &general.destination,
        &environment.variables,
        Arc::clone(&output),
        context.cancel.clone(),
    ));
    let shown = match manner.progress {
        ProgressMode::Json => Shown::Json(action.command().name()),
        ProgressMode::Auto if environment.shows_progress && !manner.quiet => {
            let environment = environment.clone();
            Shown::Line(Box::new(move || environment.width_now()))
        }
        _ => Shown::Not,
    };
    let mut run = Run {
        context,
        environment,
        general,
        manner,
        terminal: Terminal::new(environment, manner.unattended, passcmd, Arc::clone(&output), cancel),
        display: Arc::new(Display::new(
            Arc::clone(&output),
            Arc::clone(&context.clock),
            work,
            manner.verbose > 0,
            shown,
            Arc::clone(&hooked),
        )),
        output: Arc::clone(&output),
        requested: BTreeSet::new(),
        measured: None,
        problems: 0,
    };
    let result = hooked.before().and_then(|()| run.action(action));
    run.display.finish();
    let code = conclude(&run, action, result, &hooked);
    if !matches!(action, Action::Doctor(_))
        && let Err(error) = thin_out(context, general)
    {
        output.warning(&format!("the cache could not be thinned out: {error}"));
    }
    written(&output, code)
}

/// Writes the file of `--metrics`. Gives the exit code and the error if that failed.
fn measured(run: &Run<'_>, action: &Action, code: u8) -> (u8, Option<String>) {
    let Some(path) = &run.general.metrics else {
        return (code, None);
    };
    let ending = Ending {
        archive: &run.general.destination,
        command: action.command().name(),
        at: run.context.clock.now().div_euclid(1_000_000_000),
        good: code == 0,
    };
    match write_metrics(run, path, &ending) {
        Ok(()) => (code, None),
        Err(error) => {
            let message = format!("--metrics: {error}");
            let hint = "name a file in a folder that this user may write to";
            run.output.error(&message, Some(hint));
            (code.max(1), Some(message))
        }
    }
}

/// What others put into the file meanwhile stays, where their lock can be waited for.
fn write_metrics(run: &Run<'_>, path: &Path, ending: &Ending<'_>) -> Result<(), SysError> {
    let state = StateHome::open(&run.context.fs, &run.general.state_home, false);
    let lock = |state: StateHome| wait_for(run.context, METRICS_WAIT, || state.metrics_lock()).ok();
    let _lock = state.ok().flatten().and_then(lock);
    let before = files::read(&*run.context.fs, path, metrics::LIMIT)?;
    let before = before.map(|(text, _)| String::from_utf8_lossy(&text).into_owned());
    let text = metrics::updated(&before.unwrap_or_default(), ending, run.measured.as_ref());
    files::publish(&*run.context.fs, path, text.as_bytes())
}

/// Takes out of the cache what `--meta-reduce` says.
fn thin_out(context: &Context, general: &General) -> Result<(), StateError> {
    let mode = match general.reduce.0.as_str() {
        "on" => ReduceMode::On,
        "extra" => ReduceMode::Extra,
        _ => return Ok(()),
    };
    let age = Duration::from_secs(u64::from(general.reduce.1) * 60);
    let Some(state) = StateHome::open(&context.fs, &general.state_home, false)? else {
        return Ok(());
    };
    state.reduce(mode, age, context.clock.now()).map(drop)
}

/// Says how a command ended, for people and for programs. Gives the exit code.
fn conclude(run: &Run<'_>, action: &Action, result: Result<Done, Failure>, hooked: &Hooked) -> u8 {
    let (done, failure) = match result {
        Ok(done) => (done, None),
        Err(failure) => {
            let done = Done {
                report: run.display.report(),
                failed: Vec::new(),
            };
            (done, Some(failure))
        }
    };
    run.display.announce(&done.failed);
    if let Some(Failure {
        message,
        hint,
        code,
        causes,
    }) = failure.as_ref().filter(|failure| !failure.message.is_empty())
    {
        // Of a command without volumes nothing is left to be done.
        let hint = hint
            .as_deref()
            .filter(|_| *code != INTERRUPTED || !run.requested.is_empty());
        run.output.error(message, hint);
        if run.manner.debug {
            run.output.note(&format!("{causes}\n"));
        }
    }
    let failed: BTreeSet<String> = done.failed.iter().map(|failed| failed.volume.clone()).collect();
    if !failed.is_empty() {
        let names: Vec<String> = failed.iter().map(|name| printable(name)).collect();
        run.output.note(&format!("Error on volumes: {}\n", names.join(", ")));
    }
    let code = match &failure {
        Some(failure) => failure.code,
        None if failed.is_empty() => u8::from(run.problems > 0),
        None => SOME_FAILED,
    };
    let missing = if failure.is_some() {
        &run.requested - &run.display.completed()
    } else {
        failed
    };
    let code = hooked.after(&Ended {
        code,
        failed: &missing,
        error: failure.as_ref().map(|failure| failure.message.as_str()),
    });
    let (code, unwritten) = measured(run, action, code);
    if let Some(path) = action.vols_from().filter(|_| !missing.is_empty() && code != BAD_OPTION)
        && let Err(error) = error_file::write(&*run.context.fs, path, code, &missing)
    {
        run.output.error(&error.to_string(), None);
    }
    if run.manner.json && action.command() != Command::List {
        let error = failure.map(|failure| failure.message);
        let error = error.or_else(|| hooked.trouble()).or(unwritten);
        let document = Document::new(
            action.command().name(),
            done.report,
            &done.failed,
            error.as_deref(),
            code,
        );
        run.output.data(&document.to_string());
    }
    code
}

/// `code`, unless standard output could not take all that was written to it.
fn written(output: &Output, code: u8) -> u8 {
    match output.failure() {
        None => code,
        Some(error) => {
            output.error(&format!("cannot write to standard output: {error}"), None);
            code.max(1)
        }
    }
}
