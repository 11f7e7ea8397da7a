//! A home whose archive lies on the far side of `ssh`, `qvm-run`, or both.

use crate::support::Lab;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use wyng_testkit::pools::{TempDir, need_root, need_tool};
use wyng_testkit::sshd::{Account, Sshd};

/// How the far side is reached, and what it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SftpOnly,
    /// Nothing is there and nothing may be sent: SFTP.
    NoUpload,
    /// Our program is sent.
    Upload,
    Installed,
    /// `wyng serve` whatever is asked for.
    Forced,
    /// Another VM, to which our program is sent.
    Qubes,
    /// Another VM that calls a host over SSH.
    QubesSsh,
}

pub const ALL: [Kind; 7] = [
    Kind::SftpOnly,
    Kind::NoUpload,
    Kind::Upload,
    Kind::Installed,
    Kind::Forced,
    Kind::Qubes,
    Kind::QubesSsh,
];

/// A home, and a far side for it.
pub struct Far {
    pub lab: Lab,
    pub kind: Kind,
    sshd: Option<Sshd>,
    _tools: Option<TempDir>,
}

/// As the real one it hands the command to a shell of the VM as its first line of input, what we write after it, and what
/// the VM writes to us. `/mnt/vm` is only there in the VM.
const QVM_RUN: &str = r#"#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
vm=$1 command=$2
{ printf '%s; exit\n' "$command"; exec cat; } | exec unshare --mount NETWORK sh -c '
  mount -t tmpfs tmpfs /mnt && mkdir /mnt/vm && mount --bind FOLDER /mnt/vm || exit 125
  export HOME=/mnt/vm PATH=/usr/bin:/bin XDG_CACHE_HOME=
  cd /mnt/vm && exec bash'
"#;

impl Far {
    /// `None` (aloud) where something is missing.
    pub fn new(kind: Kind) -> Option<Self> {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_wyng"));
        let account = match kind {
            Kind::SftpOnly => Account::SftpOnly,
            Kind::NoUpload | Kind::Upload => Account::Shell,
            Kind::Installed | Kind::QubesSsh => Account::ShellWith(program),
            Kind::Forced => Account::Forced(format!("{} serve", program.display())),
            Kind::Qubes => return Self::qubes(None),
        };
        let sshd = Sshd::start(&account)?;
        if kind == Kind::QubesSsh {
            return Self::qubes(Some(sshd));
        }
        let mut lab = Lab::new();
        let url = sshd.url(&lab.archive());
        lab.lead_to(options(&url, &sshd.ssh_words(), kind));
        Some(Self {
            lab,
            kind,
            sshd: Some(sshd),
            _tools: None,
        })
    }

    /// A home whose key may do what a forced `wyng serve` with these options lets it.
    pub fn serving(options: impl Fn(&Lab) -> String) -> Option<Self> {
        let mut lab = Lab::new();
        let command = format!("{} serve {}", env!("CARGO_BIN_EXE_wyng"), options(&lab));
        let sshd = Sshd::start(&Account::Forced(command))?;
        let url = sshd.url(&lab.archive());
        lab.lead_to(self::options(&url, &sshd.ssh_words(), Kind::Forced));
        Some(Self {
            lab,
            kind: Kind::Forced,
            sshd: Some(sshd),
            _tools: None,
        })
    }

    /// From now on the server is called at this port.
    pub fn lead_through(&mut self, port: u16) {
        let url = format!("--dest=ssh://127.0.0.1:{port}{}", self.lab.archive().display());
        self.lab.lead_to(vec![url]);
    }

    /// The VM runs in a mount namespace of its own and, unless it calls a host, without a network.
    fn qubes(sshd: Option<Sshd>) -> Option<Self> {
        if !need_root() || !need_tool("unshare") {
            return None;
        }
        let tools = TempDir::new();
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", tools.path().display());
        let mut lab = Lab::with_environment(&[("PATH", &path)]);
        fs::create_dir(lab.path("vm")).unwrap();
        let network = if sshd.is_some() { "" } else { "--net" };
        let text = QVM_RUN
            .replace("NETWORK", network)
            .replace("FOLDER", &lab.path("vm").display().to_string());
        write_program(&tools.join("qvm-run"), &text);
        let (kind, words, url) = match &sshd {
            Some(sshd) => {
                let url = format!("qubes-ssh://net:127.0.0.1:{}{}", sshd.port(), lab.archive().display());
                (Kind::QubesSsh, sshd.ssh_words(), url)
            }
            None => (Kind::Qubes, Vec::new(), "qubes://vault/mnt/vm/archive".to_owned()),
        };
        lab.lead_to(options(&url, &words, kind));
        Some(Self {
            lab,
            kind,
            sshd,
            _tools: Some(tools),
        })
    }

    /// Where the archive really is.
    pub fn archive(&self) -> PathBuf {
        match self.kind {
            Kind::Qubes => self.lab.path("vm/archive"),
            _ => self.lab.archive(),
        }
    }

    /// Where the far side keeps our program.
    pub fn cache(&self) -> PathBuf {
        match (&self.sshd, self.kind) {
            (Some(sshd), Kind::SftpOnly | Kind::NoUpload | Kind::Upload | Kind::Installed | Kind::Forced) => {
                sshd.cache().join("wyng")
            }
            _ => self.lab.path("vm/.cache/wyng"),
        }
    }

    /// The server's end.
    pub fn sshd(&self) -> &Sshd {
        self.sshd.as_ref().unwrap()
    }
}

fn options(url: &str, ssh_words: &[String], kind: Kind) -> Vec<String> {
    let mut options = vec![format!("--dest={url}")];
    options.extend((kind == Kind::NoUpload).then(|| "--no-upload".to_owned()));
    options.extend(ssh_words.iter().map(|word| format!("--opt-ssh={word}")));
    options
}

/// Makes a file that can be run.
pub fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
