//! The programs that lead to a far side, and what they are told to run there.

use super::Reach;
use crate::url::SshHost;
use std::ffi::OsString;
use wyng_sys::child::Spec;

/// Options of `ssh`, unless the user gives others: no terminal, no forwarding, and an end to connections that are dead.
/// One connection carries everything, so none is shared.
const SSH_OPTIONS: [&str; 11] = [
    "-x",
    "-T",
    "-a",
    "-e",
    "none",
    "-o",
    "ConnectTimeout=60",
    "-o",
    "ServerAliveInterval=30",
    "-o",
    "ServerAliveCountMax=3",
];
/// Options of `qvm-run`, unless the user gives others: its streams are ours, and are left as they are.
const QUBES_OPTIONS: [&str; 3] = ["-p", "--no-color-output", "--no-color-stderr"];

/// How a far side is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    Ssh(&'a SshHost),
    Qubes(&'a str),
    QubesSsh(&'a str, &'a SshHost),
}

/// What is to run on the far side.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Far<'a> {
    /// A script of the POSIX shell, without single quotes.
    Script(&'a str),
    /// The SFTP server.
    Sftp,
}

impl Way<'_> {
    /// The program that is started here, for messages.
    pub fn program(self) -> &'static str {
        match self {
            Self::Ssh(_) => "ssh",
            Self::Qubes(_) | Self::QubesSsh(..) => "qvm-run",
        }
    }

    /// Whether an SFTP server can be asked for.
    pub fn has_sftp(self) -> bool {
        !matches!(self, Self::Qubes(_))
    }

    /// What has to be started here.
    pub fn spec(self, reach: &Reach, far: Far<'_>) -> Spec {
        let arguments: Vec<String> = match self {
            Self::Ssh(host) => ssh(reach, host, far),
            Self::Qubes(vm) => qvm_run(reach, vm, remote(far)),
            Self::QubesSsh(vm, host) => {
                let mut words = vec!["exec".to_owned(), "ssh".to_owned()];
                words.extend(ssh(reach, host, far).iter().map(|word| quoted(word)));
                qvm_run(reach, vm, words.join(" "))
            }
        };
        Spec {
            env: reach.env.clone(),
            ..Spec::new(self.program(), arguments.into_iter().map(OsString::from))
        }
    }
}

impl Reach {
    /// The same for who only looks: one attempt, nobody is asked for a passphrase, and this program is not sent there.
    #[must_use]
    pub fn to_look(&self) -> Self {
        let options = self.ssh_options.clone();
        let options = options.unwrap_or_else(|| SSH_OPTIONS.map(str::to_owned).to_vec());
        // Of an option that is given twice the first counts.
        let silent = ["-o".to_owned(), "BatchMode=yes".to_owned()];
        Self {
            program: None,
            ssh_options: Some(silent.into_iter().chain(options).collect()),
            ..self.once()
        }
    }
}

fn ssh(reach: &Reach, host: &SshHost, far: Far<'_>) -> Vec<String> {
    let mut words = match &reach.ssh_options {
        Some(options) => options.clone(),
        None => SSH_OPTIONS.map(str::to_owned).to_vec(),
    };
    if let Some(port) = host.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &host.user {
        words.extend(["-l".to_owned(), user.clone()]);
    }
    if matches!(far, Far::Sftp) {
        words.push("-s".to_owned());
    }
    let name = host.host.trim_matches(['[', ']']);
    words.extend(["--".to_owned(), name.to_owned(), remote(far)]);
    words
}

fn qvm_run(reach: &Reach, vm: &str, command: String) -> Vec<String> {
    let mut words = match &reach.qubes_options {
        Some(options) => options.clone(),
        None => QUBES_OPTIONS.map(str::to_owned).to_vec(),
    };
    // A VM's name begins with a letter.
    words.extend([vm.to_owned(), command]);
    words
}

/// The command for the login shell there, whichever shell that is.
fn remote(far: Far<'_>) -> String {
    match far {
        Far::Script(script) => format!("exec sh -c {}", quoted(script)),
        Far::Sftp => "sftp".to_owned(),
    }
}

/// One word of the POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(way: Way<'_>, reach: &Reach, far: Far<'_>) -> Vec<String> {
        let spec = way.spec(reach, far);
        spec.args
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn ssh_gets_the_host_the_user_and_the_port_as_words_of_their_own() {
        let host = SshHost {
            user: Some("anna".to_owned()),
            host: "[::1]".to_owned(),
            port: Some(2222),
        };
        let reach = Reach {
            ssh_options: Some(vec!["-i".to_owned(), "/a key".to_owned()]),
            ..Reach::default()
        };
        let found = words(Way::Ssh(&host), &reach, Far::Sftp);
        let expected = ["-i", "/a key", "-p", "2222", "-l", "anna", "-s", "--", "::1", "sftp"];
        assert_eq!(found, expected);
        let found = words(Way::Ssh(&host), &Reach::default(), Far::Script("a; b"));
        assert_eq!(found.first().unwrap(), "-x");
        assert_eq!(found.last().unwrap(), "exec sh -c 'a; b'");
    }

    #[test]
    fn who_only_looks_is_asked_nothing() {
        let host = SshHost {
            user: None,
            host: "host".to_owned(),
            port: None,
        };
        for (options, next) in [(None, "-x"), (Some(vec!["-i".to_owned(), "key".to_owned()]), "-i")] {
            let reach = Reach {
                ssh_options: options,
                program: Some("wyng".into()),
                ..Reach::default()
            };
            let look = reach.to_look();
            let found = words(Way::Ssh(&host), &look, Far::Sftp);
            assert_eq!(found.get(..3).unwrap(), ["-o", "BatchMode=yes", next]);
            assert_eq!((look.program, look.retries), (None, 0));
        }
    }

    #[test]
    fn a_vm_gets_one_command_that_its_shell_reads() {
        let host = SshHost {
            user: None,
            host: "host".to_owned(),
            port: None,
        };
        let reach = Reach {
            ssh_options: Some(Vec::new()),
            qubes_options: Some(vec!["-p".to_owned()]),
            ..Reach::default()
        };
        let found = words(Way::Qubes("vault"), &reach, Far::Script("a; b"));
        assert_eq!(found, ["-p", "vault", "exec sh -c 'a; b'"]);
        let found = words(Way::QubesSsh("net", &host), &reach, Far::Script("a; b"));
        let command = r"exec ssh -- host 'exec sh -c '\''a; b'\'''";
        assert_eq!(found, ["-p", "net", command]);
    }
}
