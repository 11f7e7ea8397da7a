//! What the user sees while a command runs: result lines, warnings, and on a terminal one line of progress.

mod line;
mod meter;

use crate::errors::Failed;
use crate::hooks::Hooked;
use crate::output::Output;
use crate::render::size::approximate;
use crate::render::{check, events, json, local, printable, prune, results};
use line::View;
use meter::Meter;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wyng_engine::{Event, Reporter, VolumeChecked, VolumeCompared, VolumeFailure, VolumeRead, VolumeSent};
use wyng_sys::Clock;

/// The progress line is redrawn this often at most.
const REDRAW: Duration = Duration::from_millis(100);

/// So long after a line of JSON comes the next at the earliest.
const NEXT_LINE: Duration = Duration::from_secs(1);

/// What a command does with volumes, for its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `send`.
    Sending,
    /// `receive`.
    Receiving,
    /// `verify`.
    Verifying,
    /// `monitor`.
    Monitoring,
    /// `diff`.
    Comparing,
    /// `arch-check`.
    Checking,
    /// `arch-deduplicate`.
    Deduplicating,
    /// Anything that shows no progress.
    Other,
}

/// Tells the columns that the terminal has now.
pub type Width = Box<dyn Fn() -> usize + Send + Sync>;

/// How progress is shown.
pub enum Shown {
    /// Not.
    Not,
    /// As one line of a terminal.
    Line(Width),
    /// As lines of JSON (docs/schemas/progress.schema.json), each with the name of the command.
    Json(&'static str),
}

/// Shows the events of a command.
pub struct Display {
    output: Arc<Output>,
    clock: Arc<dyn Clock>,
    work: Work,
    verbose: bool,
    shown: Shown,
    hooked: Arc<Hooked>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Volumes to be worked on; 0 if unknown.
    expected: usize,
    started: usize,
    dry_run: bool,
    name: String,
    meter: Option<Meter>,
    drawn: Option<Duration>,
    completed: BTreeSet<String>,
    /// What the JSON document tells of the command so far.
    report: Map<String, Value>,
    announced: BTreeSet<String>,
    /// Volumes whose line says already what is wrong with them.
    compared: BTreeSet<String>,
}

impl State {
    /// Adds a volume to a list of the report.
    fn note(&mut self, list: &str, volume: &impl serde::Serialize) {
        let volumes = self.report.entry(list).or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.push(json!(volume));
        }
    }
}

impl Display {
    /// A display for one command.
    #[must_use]
    pub fn new(
        output: Arc<Output>,
        clock: Arc<dyn Clock>,
        work: Work,
        verbose: bool,
        shown: Shown,
        hooked: Arc<Hooked>,
    ) -> Self {
        Self {
            output,
            clock,
            work,
            verbose,
            shown,
            hooked,
            state: Mutex::default(),
        }
    }

    /// So many volumes will be worked on.
    pub fn expect(&self, volumes: usize) {
        self.state().expected = volumes;
    }

    /// The volumes that were completed so far.
    #[must_use]
    pub fn completed(&self) -> BTreeSet<String> {
        self.state().completed.clone()
    }

    /// What a command that ended early did, in the words of its JSON document.
    #[must_use]
    pub fn report(&self) -> Map<String, Value> {
        self.state().report.clone()
    }

    /// Prints the failures that were not printed when they happened.
    pub fn announce(&self, failed: &[Failed]) {
        let mut state = self.state();
        self.clear(&mut state);
        for failure in failed {
            self.failed(&mut state, failure);
        }
    }

    /// Prints failures of volumes of which something else was said before.
    pub fn announce_anew(&self, failed: &[Failed]) {
        let mut state = self.state();
        state
            .announced
            .retain(|name| failed.iter().all(|failure| failure.volume != *name));
        drop(state);
        self.announce(failed);
    }

    /// Takes the progress line away.
    pub fn finish(&self) {
        self.clear(&mut self.state());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self, state: &mut State) {
        if state.drawn.take().is_some() && matches!(self.shown, Shown::Line(_)) {
            self.output.raw_stderr("\r\x1b[K");
        }
    }

    fn failed(&self, state: &mut State, failure: &Failed) {
        if state.announced.insert(failure.volume.clone()) {
            let of_volumes = !matches!(self.work, Work::Deduplicating | Work::Other);
            if of_volumes && !state.compared.contains(&failure.volume) {
                self.output.say(&format!("  FAILED  {}\n", printable(&failure.volume)));
            }
            self.output.error(&failure.line(), failure.hint.as_deref());
        }
    }

    fn start(&self, state: &mut State, volume: &str, session: Option<&str>) {
        state.started += 1;
        volume.clone_into(&mut state.name);
        state.meter = Some(Meter::new(self.clock.monotonic()));
        let verb = match self.work {
            Work::Receiving => "Receiving",
            Work::Verifying => "Verifying",
            Work::Comparing => "Comparing",
            Work::Sending | Work::Monitoring | Work::Checking | Work::Deduplicating | Work::Other => return,
        };
        let session = session
            .map(|session| session.strip_prefix("S_").unwrap_or(session))
            .unwrap_or_default();
        self.output
            .say(format!("\n{verb} volume '{volume}' {session}").trim_end());
        self.output.say("\n");
    }

    fn progress(&self, state: &mut State, done: u64, total: Option<u64>, moved: u64) {
        let pause = match &self.shown {
            Shown::Not => return,
            Shown::Line(_) => REDRAW,
            Shown::Json(_) => NEXT_LINE,
        };
        let now = self.clock.monotonic();
        let Some(meter) = &mut state.meter else { return };
        meter.update(now, done);
        if state.drawn.is_some_and(|drawn| now.saturating_sub(drawn) < pause) {
            return;
        }
        let verb = match self.work {
            Work::Sending => "sent",
            Work::Deduplicating => "freed",
            _ => "fetched",
        };
        let place = (state.expected > 1).then_some((state.started, state.expected.max(state.started)));
        let view = View {
            name: &state.name,
            place,
            done,
            total,
            moved: (moved, verb),
            meter: *meter,
        };
        let text = match &self.shown {
            Shown::Line(width) => format!("\r{}\x1b[K", line::line(&view, width().saturating_sub(1))),
            Shown::Json(command) => format!("{}\n", as_json(command, &view)),
            Shown::Not => return,
        };
        self.output.raw_stderr(&text);
        state.drawn = Some(now);
    }

    fn sent(&self, state: &mut State, volume: &VolumeSent) {
        state.note("volumes", volume);
        state.completed.insert(volume.volume.clone());
        self.output.say(&results::sent(volume, state.dry_run, self.verbose));
    }

    fn read(&self, state: &mut State, volume: &VolumeRead) {
        state.note("volumes", volume);
        self.output.say(&results::read(volume, self.verbose));
        if volume.bad.is_empty() {
            state.completed.insert(volume.volume.clone());
            return;
        }
        state.announced.insert(volume.volume.clone());
        for range in results::bad_ranges(volume) {
            self.output.error(&range, None);
        }
    }

    fn compared(&self, state: &mut State, volume: &VolumeCompared) {
        self.output.say(&local::compared(volume, self.verbose));
        state.compared.insert(volume.volume.clone());
        for range in results::bad_ranges_of(&volume.volume, &volume.bad) {
            self.output.error(&range, None);
        }
        if volume.equal || (volume.remapped.is_some() && volume.bad.is_empty()) {
            state.completed.insert(volume.volume.clone());
        }
    }

    fn checked(&self, state: &mut State, volume: &VolumeChecked) {
        state.note("volumes", volume);
        self.output.say(&check::metadata(volume));
        for (line, hint) in check::damage(&volume.damage) {
            self.output.error(&line, hint.as_deref());
        }
        if volume.count() == 0 {
            state.completed.insert(volume.volume.clone());
        } else {
            state.announced.insert(volume.volume.clone());
        }
    }

    /// Shows an event that is not progress.
    fn show(&self, state: &mut State, event: &Event<'_>) {
        match event {
            Event::Warning(warning) => self.output.warning(&events::warning(warning)),
            Event::Preparing { local } => {
                let local = printable(&local.to_string_lossy());
                self.output.say(&format!("Preparing snapshots in '{local}'...\n"));
            }
            Event::FullScan { volume, reason } => self.output.say(&events::full_scan(volume, reason)),
            Event::TakenOver { volume } => self.output.say(&events::taken_over(volume)),
            Event::Sending { session, dry_run } => {
                state.dry_run = *dry_run;
                state
                    .report
                    .extend(json::fields(&json!({"session": session, "dry_run": dry_run})));
                self.output.say(&results::sending(session, *dry_run));
            }
            Event::VolumeStart {
                volume,
                session,
                target,
                ..
            } => {
                self.start(state, volume, *session);
                if let Some((kind, path)) = target {
                    let path = printable(&path.to_string_lossy());
                    self.output.say(&format!("Saving to {kind} '{path}'\n"));
                }
            }
            Event::VolumePruned(volume) => {
                state.note("pruned", volume);
                self.output.say(&prune::made_room(volume, self.verbose));
            }
            Event::VolumeSent(volume) => self.sent(state, volume),
            Event::VolumeRead(volume) => self.read(state, volume),
            Event::Checking { volume } => self.output.say(&format!("\nVolume '{volume}'\n")),
            Event::SessionChecked(session) => self.output.say(&check::session(session, self.verbose)),
            Event::VolumeChecked(volume) => self.checked(state, volume),
            Event::Monitoring { at } => self.output.say(&local::monitoring(at)),
            Event::VolumeMonitored(volume) => {
                state.completed.insert(volume.volume.clone());
                self.output.say(&local::monitored(volume));
            }
            Event::Comparing {
                volume, session, other, ..
            } => {
                self.start(state, volume, Some(session));
                self.output.say(&local::compared_with(other));
            }
            Event::VolumeCompared(volume) => self.compared(state, volume),
            Event::MapMissed(missed) => {
                for range in local::ranges(&missed.volume, &missed.differences) {
                    self.output.error(&format!("{range} differ, but not by its map"), None);
                }
            }
            Event::VolumeFailed(failure) => self.failed(state, &Failed::from(*failure)),
            Event::Recovering { operation, vid } => {
                let vid = vid.map(|vid| format!(" {vid}")).unwrap_or_default();
                self.output
                    .say(&format!("** Prior operation in progress: {operation}{vid}\n"));
                self.output.say("Completing prior operation in progress.\n");
            }
            Event::WaitingForLock { holder } => self.output.note(&format!("Waiting for {holder}...\n")),
            _ => {}
        }
    }
}

impl Reporter for Display {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Freezing { volumes } => return self.hooked.freeze(volumes),
            Event::Frozen { volumes } => return self.hooked.thaw(volumes),
            _ => {}
        }
        let mut state = self.state();
        if let Event::Progress { done, total, moved } = event {
            return self.progress(&mut state, done, total, moved);
        }
        self.clear(&mut state);
        self.show(&mut state, &event);
    }
}

/// Progress for programs.
fn as_json(command: &str, view: &View<'_>) -> Value {
    let left = view.total.and_then(|total| view.meter.left(total));
    let (number, of) = view.place.unzip();
    json!({"progress": {
        "command": command,
        "volume": view.name,
        "number": number,
        "of": of,
        "bytes_done": view.done,
        "bytes_total": view.total,
        "bytes_moved": view.moved.0,
        "seconds_left": left.map(|left| left.as_secs()),
    }})
}

/// The failures of a report, with the volumes in which damage was found.
#[must_use]
pub fn failures(failed: &[VolumeFailure], read: &[VolumeRead]) -> Vec<Failed> {
    let mut all: Vec<Failed> = failed.iter().map(Failed::from).collect();
    for volume in read.iter().filter(|volume| !volume.bad.is_empty()) {
        if !all.iter().any(|failure| failure.volume == volume.volume) {
            let ranges = crate::render::results::plural_u64(volume.bad.ranges(), "range", "ranges");
            let first = results::bad_ranges(volume).into_iter().next().unwrap_or_default();
            all.push(Failed::damaged(
                &volume.volume,
                format!("{ranges} damaged, the first: {first}"),
            ));
        }
    }
    all
}
