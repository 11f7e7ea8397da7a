//! A real OpenSSH server on loopback, with keys and a port of its own, that ends with its value.

use crate::pools::{TempDir, need_tool, run};
use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where Debian and others keep the server, which is in no user's path.
const SERVERS: [&str; 2] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"];
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

/// What an account on the server may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// SFTP and nothing else.
    SftpOnly,
    /// A shell that finds no `wyng`.
    Shell,
    /// A shell that finds this program under the name `wyng`.
    ShellWith(PathBuf),
    /// One command, whatever is asked for.
    Forced(String),
}

/// A server that runs.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Sshd {
    /// Starts a server for the user who runs the test; `None` (aloud) where there is no OpenSSH.
    #[must_use]
    pub fn start(account: &Account) -> Option<Self> {
        let server = SERVERS.iter().map(Path::new).find(|path| path.exists());
        if !crate::pools::requirement(server.is_some(), "sshd") || !need_tool("ssh") || !need_tool("ssh-keygen") {
            return None;
        }
        let folder = TempDir::new();
        for name in ["host_key", "user_key"] {
            let path = folder.join(name);
            let words = ["-q", "-t", "ed25519", "-N", "", "-f"];
            run(
                "ssh-keygen",
                words.map(OsStr::new).into_iter().chain([path.as_os_str()]),
            );
        }
        std::fs::copy(folder.join("user_key.pub"), folder.join("authorized")).unwrap();
        // What the server needs to give up its privileges; the package's start script makes it.
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut last = String::new();
        for _ in 0..5 {
            let port = free_port();
            std::fs::write(folder.join("config"), config(&folder, port, account)).unwrap();
            let mut child = serve(server.unwrap(), &folder);
            if answers(port, &mut child) {
                return Some(Self { child, port, folder });
            }
            // Somebody else took the port meanwhile.
            end(&mut child);
            last = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        }
        panic!("sshd does not start: {last}");
    }

    /// The URL of a folder on it.
    #[must_use]
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://127.0.0.1:{}{}", self.port, path.display())
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Words for `ssh` that make it use the keys of this server and nothing of the user's.
    #[must_use]
    pub fn ssh_words(&self) -> Vec<String> {
        let key = self.folder.join("user_key");
        let mut words = vec![
            "-F".to_owned(),
            "none".to_owned(),
            "-i".to_owned(),
            key.display().to_string(),
        ];
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ] {
            words.extend(["-o".to_owned(), option.to_owned()]);
        }
        words
    }

    /// What the server wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Where programs of the account keep what they can make again: `$XDG_CACHE_HOME` there.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    /// Processes that serve connections at present.
    #[must_use]
    pub fn sessions(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn serve(server: &Path, folder: &TempDir) -> Child {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    Command::new(server)
        .arg("-D")
        .arg("-e")
        .arg("-f")
        .arg(folder.join("config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn answers(port: u16, child: &mut Child) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < START {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

fn config(folder: &TempDir, port: u16, account: &Account) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut path = "/usr/bin:/bin".to_owned();
    let mut lines = vec![
        format!("Port {port}"),
        "ListenAddress 127.0.0.1".to_owned(),
        format!("HostKey {}", at("host_key")),
        format!("AuthorizedKeysFile {}", at("authorized")),
        format!("PidFile {}", at("pid")),
        "StrictModes no".to_owned(),
        "UsePAM no".to_owned(),
        "PermitRootLogin yes".to_owned(),
        "PasswordAuthentication no".to_owned(),
        "KbdInteractiveAuthentication no".to_owned(),
        "MaxStartups 100".to_owned(),
        "Subsystem sftp internal-sftp".to_owned(),
    ];
    match account {
        Account::SftpOnly => lines.push("ForceCommand internal-sftp".to_owned()),
        Account::Shell => {}
        Account::ShellWith(program) => {
            let bin = folder.join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            let _ = std::os::unix::fs::symlink(program, bin.join("wyng"));
            path = format!("{}:{path}", bin.display());
        }
        Account::Forced(command) => lines.push(format!("ForceCommand {command}")),
    }
    lines.push(format!("SetEnv XDG_CACHE_HOME={} PATH={path}", at("cache")));
    lines.join("\n") + "\n"
}
