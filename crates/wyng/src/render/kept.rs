//! What accepting or undoing means that a key has done which may only add.

use super::{plural, printable};
use std::fmt::Write;
use wyng_engine::{AcceptPlan, ReturnPlan, VolumeLost, VolumeReturned};

/// What would be lost by accepting the present state.
#[must_use]
pub fn accept_plan(plan: &AcceptPlan) -> String {
    if plan.kept_files == 0 {
        return "Nothing is kept: no key that may only add has replaced anything since the state was accepted.\n"
            .to_owned();
    }
    let files = plural(plan.kept_files, "file", "files");
    let mut text = format!("{files} kept of earlier states of the archive.\n");
    if plan.kept_states.is_empty() {
        text.push_str("The present state shows everything that they show.\n");
        return text;
    }
    text.push_str("\nThe present state does not show, and nothing will protect any more:\n");
    for state in &plan.kept_states {
        let _ = writeln!(text, "  {} ({})", state.replaced, state.id);
        for volume in &state.lost {
            let _ = writeln!(text, "    {}", lost(volume));
        }
        if let Some(error) = &state.error {
            let _ = writeln!(text, "    nobody knows what: {}", printable(error));
        }
    }
    let _ = writeln!(
        text,
        "Each is below the newest state that has it, with the time when that was replaced; --return-to goes back to one."
    );
    text
}

fn lost(volume: &VolumeLost) -> String {
    let name = named(&volume.volume, &volume.vid);
    if volume.volume.is_empty() {
        return format!("{name}  nobody knows what: its list can't be read");
    }
    let sessions = volume.sessions.join(", ");
    match (volume.listed, volume.sessions.is_empty()) {
        (true, _) => format!("{name}  {sessions}"),
        (false, true) => format!("{name}  the volume"),
        (false, false) => format!("{name}  the volume, with {sessions}"),
    }
}

/// What the archive would be like after going back.
#[must_use]
pub fn return_plan(plan: &ReturnPlan) -> String {
    let mut text = format!(
        "\nBack to the state that was replaced {} ({}):\n",
        plan.replaced, plan.id
    );
    if let Some(error) = &plan.present_error {
        let _ = writeln!(text, "  the present one can't be used: {}", printable(error));
    }
    for volume in &plan.returned {
        text.push_str(&returned(volume));
    }
    if plan.returned.is_empty() {
        text.push_str("  all volumes and sessions are as they are now\n");
    }
    text
}

fn returned(volume: &VolumeReturned) -> String {
    let mut text = String::new();
    let name = named(&volume.volume, &volume.vid);
    if !volume.back.is_empty() {
        let _ = writeln!(text, "  {name}  again with {}", volume.back.join(", "));
    }
    if volume.listed && !volume.unlisted.is_empty() {
        let _ = writeln!(text, "  {name}  without {}", volume.unlisted.join(", "));
    }
    if !volume.listed {
        let sessions = plural(volume.unlisted.len(), "session", "sessions");
        let _ = writeln!(text, "  {name}  is no longer listed, with {sessions}");
    }
    for damage in &volume.damage {
        let _ = writeln!(text, "  {name}  is not whole: {}", printable(damage));
    }
    if volume.listed && volume.back.is_empty() && volume.unlisted.is_empty() && volume.damage.is_empty() {
        let _ = writeln!(text, "  {name}  is listed again");
    }
    text
}

fn named(volume: &str, vid: &str) -> String {
    if volume.is_empty() {
        vid.to_owned()
    } else {
        printable(volume)
    }
}
