//! The commands, and where to find what there is to say about each.

pub use super::commands::COMMANDS;

/// A command of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// Make an archive.
    ArchInit,
    /// Back up.
    Send,
    /// Restore.
    Receive,
    /// Show volumes and sessions.
    List,
    /// Check data of a session.
    Verify,
    /// Add empty volumes.
    Add,
    /// Print manual pages and completions.
    Generate,
    /// Show the version.
    Version,
    /// Show help.
    Help,
    /// Compare with the local volume.
    Diff,
    /// Note changes without sending.
    Monitor,
    /// Remove old sessions.
    Prune,
    /// Remove a volume.
    Delete,
    /// Rename a volume.
    Rename,
    /// Change tags.
    Tag,
    /// Check the archive.
    ArchCheck,
    /// Share equal chunks.
    ArchDeduplicate,
    /// Tell how old the backups are.
    Status,
    /// Show an archive in a browser.
    Report,
    /// Look at all that backups rest on.
    Doctor,
    /// Show sessions as files.
    Mount,
    /// Serve a session as a block device.
    Nbd,
    /// Be the far side of another machine's backups.
    Serve,
}

/// What the help says about a command.
#[derive(Debug)]
pub struct About {
    /// The command.
    pub command: Command,
    /// Its name on the command line.
    pub name: &'static str,
    /// What follows it.
    pub arguments: &'static str,
    /// One line, without a full stop.
    pub summary: &'static str,
    /// A paragraph or two.
    pub text: &'static str,
    /// Command line and what it does.
    pub examples: &'static [(&'static str, &'static str)],
}

impl Command {
    /// The command called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        COMMANDS
            .iter()
            .find(|about| about.name == name)
            .map(|about| about.command)
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.about().name
    }

    /// Whether it works on an archive of this host's, so that the options for all commands mean something.
    #[must_use]
    pub fn opens_an_archive(self) -> bool {
        !matches!(self, Self::Version | Self::Help | Self::Serve | Self::Generate)
    }

    /// What there is to say about it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test shows that the table holds every command")]
    pub fn about(self) -> &'static About {
        COMMANDS
            .iter()
            .find(|about| about.command == self)
            .expect("every command is in the table")
    }
}

/// The names of all commands, in the order of the help.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|about| about.name)
}
