//! The page of `report`: one file without programs that any browser shows, in light and in dark, on a screen of any width.
//!
//! Its size is bounded: of each volume, at most so many columns of the time line and so many lines of the list of sessions are
//! drawn that all volumes together have about [`COLUMNS`] and [`ROWS`] of them.

mod head;
mod history;
mod style;
#[cfg(test)]
mod tests;
mod timeline;
mod volumes;
mod words;

use super::printable;
use maud::{DOCTYPE, Markup, html};
use wyng_engine::{ArchiveReport, ArchiveSummary, PruneRequest};
use wyng_sys::CivilTime;

/// Columns of all time lines together, about.
const COLUMNS: usize = 18_000;

/// Lines of all lists of sessions together, about.
const ROWS: usize = 10_000;

/// What is known, and how times are shown.
pub struct Page<'a> {
    /// The archive.
    pub summary: &'a ArchiveSummary,
    /// What is in it.
    pub report: &'a ArchiveReport,
    /// The rules of retention that were asked about.
    pub rules: &'a PruneRequest,
    /// Volumes that can't be read at all: id, and what is wrong.
    pub unreadable: &'a [(String, String)],
    /// Nanoseconds since 1970 in the user's time zone.
    pub civil: &'a dyn Fn(i64) -> CivilTime,
}

impl Page<'_> {
    /// A time, seconds since 1970, in the user's time zone.
    fn time(&self, at: i64) -> CivilTime {
        (self.civil)(at.saturating_mul(1_000_000_000))
    }

    /// A time with how long ago it is.
    fn ago(&self, at: i64) -> Markup {
        html! { time datetime=(words::stamp(self.time(at))) title=(words::civil(self.time(at))) { (words::since(self.report.at, at)) } }
    }

    /// Of `all`, what each volume may have.
    fn share(&self, all: usize, least: usize, most: usize) -> usize {
        let count = self.report.volumes.len().max(1);
        all.checked_div(count).unwrap_or(most).clamp(least, most)
    }

    /// A rule says for some volume what is to be removed.
    fn is_ruled(&self) -> bool {
        self.report.volumes.iter().any(|volume| volume.ruled)
    }

    /// How many sessions the next prune would remove.
    fn removed(&self) -> usize {
        let sessions = self.report.volumes.iter().flat_map(|volume| &volume.history);
        sessions.filter(|session| session.remove).count()
    }
}

/// The whole document.
#[must_use]
pub fn page(page: &Page<'_>) -> String {
    let made = words::civil(page.time(page.report.at));
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(style::policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex, nofollow";
                title { "Backups in " (printable(&page.summary.url)) ", " (made) }
                (style::style())
            }
            body {
                (style::shapes())
                (head::header(page))
                main {
                    (head::state(page))
                    (head::cards(page))
                    (volumes::table(page))
                    (history::all(page))
                }
                (head::footer(page))
            }
        }
    };
    let mut text = document.into_string();
    text.push('\n');
    text
}
