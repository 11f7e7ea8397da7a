//! The first words with a far side: what can be spoken with there.
//!
//! We always begin with the frame that an SFTP server expects first, which our own helper understands as well. Where a
//! shell answers, a script looks for an installed `wyng`, then for one that was sent earlier; else it waits for ours.

use super::frame::{HEAD, begun, head};
use super::helper::{HELLO, HELLO_NUMBER, WELCOME};
use super::link::time_for;
use super::loss::printable;
use super::{Fault, Reply, sftp};
use crate::{Result, StoreError};
use std::time::Duration;
use wyng_sys::child::Talking;
use wyng_sys::stream::{Incoming, Outgoing, Received};
use wyng_sys::{Context, SysError};

/// The longest first answer, bytes.
const MOST: usize = 64 << 10;
/// What a login may print before the script runs, bytes.
const NOISE: usize = 64 << 10;
const TICK: Duration = Duration::from_millis(250);
/// How long the way there may take, with time for a person to type a passphrase.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long a program that has ended the connection may take to end itself.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// What the script says before our helper begins to speak.
const MARK_HELPER: &str = "wyng:serve";
/// What the script says when there is no helper, with system and processor.
const MARK_NONE: &str = "wyng:none ";
/// What the script says when ours can't be stored or run there.
const MARK_REFUSED: &str = "wyng:refused";

/// What answered.
#[derive(Debug)]
pub(super) enum Greeted {
    /// Our helper.
    Helper(Reply),
    /// An SFTP server.
    Sftp(Reply),
    /// A shell without our helper, waiting for one: system and processor.
    Shell(String, String),
    /// Ours was sent and can't be used there.
    Refused,
}

/// A far side before anything is spoken.
pub(super) struct Far {
    pub context: Context,
    pub url: String,
    /// Bytes that go there per second at most.
    pub rate: Option<u64>,
    pub name: &'static str,
    pub program: Talking,
    pub incoming: Incoming,
    pub outgoing: Outgoing,
}

/// The script that runs on the far side. It has no single quotes and no exclamation marks, so that every login shell passes
/// it on. `id` names the helper that was sent earlier.
pub(super) fn script(id: &str) -> String {
    format!(
        "t() {{ \"$1\" serve --protocol=1 --check </dev/null >/dev/null 2>&1; }}; \
         r() {{ echo {MARK_HELPER}; exec \"$1\" serve --protocol=1; }}; \
         if t wyng; then r wyng; fi; \
         d=\"${{XDG_CACHE_HOME:-$HOME/.cache}}/wyng\"; f=\"$d/serve-{id}\"; \
         if [ -x \"$f\" ] && t \"$f\"; then r \"$f\"; fi; \
         echo \"{MARK_NONE}$(uname -s) $(uname -m)\"; \
         dd bs=1 count=9 >/dev/null 2>&1; \
         read n s || exit 0; \
         umask 077; p=\"$d/.sent-$$\"; trap \"rm -f \\\"$p\\\"\" EXIT; \
         if mkdir -p \"$d\" && chmod 700 \"$d\" && head -c \"$n\" >\"$p\" && \
         [ \"$(sha256sum <\"$p\" | cut -c 1-64)\" = \"$s\" ] && chmod 700 \"$p\" && t \"$p\"; then \
         rm -f \"$d\"/serve-*; mv -f \"$p\" \"$f\" && r \"$f\"; fi; echo {MARK_REFUSED}"
    )
}

impl Far {
    /// Says the first word and waits for an answer.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`].
    pub fn greet(&mut self) -> Result<Greeted> {
        self.say(&[&head(HELLO, HELLO_NUMBER, &[])])?;
        self.hear()
    }

    /// Sends our program to a shell that waits for it, with its checksum in hexadecimal.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`].
    pub fn send_program(&mut self, bytes: &[u8], checksum: &str) -> Result<Greeted> {
        let line = format!("{} {checksum}\n", bytes.len());
        match self.say(&[line.as_bytes(), bytes]) {
            // One that can't keep it reads no further; its line says so.
            Ok(()) | Err(StoreError::Unreachable { .. }) => {}
            Err(error) => return Err(error),
        }
        // The script says whether it runs before we speak to it: what it reads ahead of the file would be lost.
        match self.line()? {
            Some(line) if line == MARK_HELPER => self.greet(),
            _ => Ok(Greeted::Refused),
        }
    }

    fn say(&mut self, parts: &[&[u8]]) -> Result<()> {
        let (context, rate, mut moved) = (self.context.clone(), self.rate, self.now());
        let sent = self.outgoing.send_all(parts, TICK, |count| {
            context.clock.sleep(time_for(count, rate), &context.cancel);
            let now = context.clock.monotonic();
            if count > 0 {
                moved = now;
            }
            if now.saturating_sub(moved) > PATIENCE || context.cancel.is_set() {
                return Err(Still::Standing);
            }
            Ok(())
        });
        match sent {
            Ok(()) => Ok(()),
            Err(Still::Standing) => {
                self.context.cancel.check()?;
                Err(self.given_up(Fault::Stalled(PATIENCE)))
            }
            // What it said before its end says more.
            Err(Still::Broken) => Err(self.unreachable()),
        }
    }

    fn hear(&mut self) -> Result<Greeted> {
        let begun = self.now();
        let mut heard = Vec::new();
        let mut passed = 0_usize;
        loop {
            if let Some((kind, length)) = first_frame(&heard) {
                while heard.len() < length {
                    self.hear_more(&mut heard, length, begun)?;
                }
                let body = heard.get(HEAD..length).unwrap_or_default().to_vec();
                let reply = Reply { kind, body };
                return Ok(match kind {
                    WELCOME => Greeted::Helper(reply),
                    _ => Greeted::Sftp(reply),
                });
            }
            if let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(heard.get(..end).unwrap_or_default());
                let line = line.trim_end_matches('\r');
                if let Some(kind) = line.strip_prefix(MARK_NONE) {
                    let (system, processor) = kind.split_once(' ').unwrap_or((kind, ""));
                    return Ok(Greeted::Shell(system.to_owned(), processor.to_owned()));
                }
                if line == MARK_REFUSED {
                    return Ok(Greeted::Refused);
                }
                // The mark of the helper, or what a login prints.
                heard.drain(..=end);
                passed = passed.saturating_add(end);
                continue;
            }
            let wanted = heard.len().saturating_add(HEAD);
            self.hear_more(&mut heard, wanted.min(NOISE.saturating_sub(passed)), begun)?;
        }
    }

    fn line(&mut self) -> Result<Option<String>> {
        let begun = self.now();
        let mut heard = Vec::new();
        while !heard.ends_with(b"\n") {
            let wanted = heard.len().saturating_add(1);
            self.hear_more(&mut heard, wanted.min(NOISE), begun)?;
        }
        Ok(String::from_utf8(heard).ok().map(|line| line.trim_end().to_owned()))
    }

    /// Takes more bytes, until there are `wanted` at most; they were waited for since `begun`.
    fn hear_more(&mut self, heard: &mut Vec<u8>, wanted: usize, begun: Duration) -> Result<()> {
        let filled = heard.len();
        if filled >= wanted {
            return Err(self.given_up(Fault::Violation(
                "it says too much before anything that is meant for us",
            )));
        }
        heard.resize(wanted, 0);
        loop {
            match self.incoming.receive(heard.get_mut(filled..).unwrap_or_default(), TICK) {
                Ok(Received::Bytes(count)) => {
                    heard.truncate(filled.saturating_add(count));
                    return self.check_time(begun);
                }
                Ok(Received::Nothing) => self.check_time(begun)?,
                Ok(Received::End) | Err(_) => return Err(self.unreachable()),
            }
        }
    }

    fn now(&self) -> Duration {
        self.context.clock.monotonic()
    }

    fn check_time(&self, since: Duration) -> Result<()> {
        self.context.cancel.check()?;
        if self.now().saturating_sub(since) > PATIENCE {
            return Err(self.given_up(Fault::Stalled(PATIENCE)));
        }
        Ok(())
    }

    fn given_up(&self, fault: Fault) -> StoreError {
        self.program.end(Duration::ZERO);
        StoreError::Lost {
            url: self.url.clone(),
            fault,
            words: printable(&self.program.last_words()),
        }
    }

    /// It ended before it said anything that we understand.
    pub fn unreachable(&self) -> StoreError {
        let words = printable(&self.program.last_words());
        self.program.end(LAST_MOMENT);
        if self.context.cancel.is_set() {
            return wyng_sys::Cancelled.into();
        }
        StoreError::Unreachable {
            url: self.url.clone(),
            program: self.name,
            code: self.program.exit_code(),
            words,
        }
    }
}

/// Why not all was said.
enum Still {
    Standing,
    Broken,
}

impl From<SysError> for Still {
    fn from(_: SysError) -> Self {
        Self::Broken
    }
}

/// Kind and whole length of an answer to our first frame.
fn first_frame(heard: &[u8]) -> Option<(u8, usize)> {
    let (kind, id, length) = begun(heard)?;
    let known = matches!(kind, WELCOME | sftp::VERSION) && id == HELLO_NUMBER;
    (known && (HEAD..=MOST).contains(&length)).then_some((kind, length))
}

/// What the system says when a program can't be started.
pub(super) fn not_started(name: &'static str, url: &str, error: &wyng_sys::child::ChildError) -> StoreError {
    match error {
        wyng_sys::child::ChildError::Spawn { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            StoreError::NoProgram {
                url: url.to_owned(),
                program: name,
            }
        }
        error => SysError::new("start", name, std::io::Error::other(error.to_string())).into(),
    }
}
