//! The signals that ask the program to stop: they set a [`Cancel`] token and nothing else.
//!
//! A further signal of the same kind does no more than the first, so that nobody can break a commit by impatience;
//! SIGKILL remains. Signals that were ignored when the program began (`nohup`) stay ignored. SIGPIPE is ignored by
//! Rust's start-up code already: a write to a closed pipe is an error (`EPIPE`) like any other.

#![allow(unsafe_code)]

use crate::Cancel;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// The signals that ask to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone.
    HangUp,
}

impl StopSignal {
    const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::HangUp];

    const fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::HangUp => libc::SIGHUP,
        }
    }

    /// Its usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP",
        }
    }
}

static TOKEN: OnceLock<Cancel> = OnceLock::new();
static FIRST: AtomicI32 = AtomicI32::new(0);

extern "C" fn on_signal(number: i32) {
    // Atomics only: nothing here takes memory or a lock.
    let _ = FIRST.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
    if let Some(token) = TOKEN.get() {
        token.set();
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP set the token that this gives: the same one at each call.
///
/// Waiting calls are interrupted by them (no `SA_RESTART`).
///
/// # Errors
/// The kernel's, which does not refuse these signals.
pub fn install() -> io::Result<Cancel> {
    let token = TOKEN.get_or_init(Cancel::new).clone();
    for signal in StopSignal::ALL {
        if disposition(signal)? != libc::SIG_IGN {
            let handler: extern "C" fn(i32) = on_signal;
            set_disposition(signal, handler as libc::sighandler_t)?;
        }
    }
    Ok(token)
}

/// Gives the three signals back what they do by default: ending the process. Ignored ones stay ignored.
///
/// # Errors
/// As [`install`].
pub fn restore_default() -> io::Result<()> {
    for signal in StopSignal::ALL {
        if disposition(signal)? != libc::SIG_IGN {
            set_disposition(signal, libc::SIG_DFL)?;
        }
    }
    Ok(())
}

/// The first of the signals that came since [`install`].
#[must_use]
pub fn received() -> Option<StopSignal> {
    let number = FIRST.load(Ordering::SeqCst);
    StopSignal::ALL.into_iter().find(|signal| signal.number() == number)
}

fn disposition(signal: StopSignal) -> io::Result<libc::sighandler_t> {
    // SAFETY: zeros are a valid sigaction.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for the time of the call, and nothing is changed.
    match unsafe { libc::sigaction(signal.number(), std::ptr::null(), &raw mut current) } {
        0 => Ok(current.sa_sigaction),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_disposition(signal: StopSignal, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: zeros are a valid sigaction: no flags, nothing masked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // SAFETY: the handler is the default or `on_signal`, which may run at any moment in any thread.
    match unsafe { libc::sigaction(signal.number(), &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
