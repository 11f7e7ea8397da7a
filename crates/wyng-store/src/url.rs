//! The grammar of destination URLs (behaviour.md §11).

use crate::folder::{FolderStore, OpenMode};
use crate::remote::{self, Reach, Way};
use crate::{Result, Store, StoreError, StorePath};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use wyng_sys::Context;

/// A destination as its URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    url: String,
    location: Location,
}

/// Where a destination is and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine: an absolute path without `.` and `..`.
    Folder(PathBuf),
    /// A folder of a host that runs an SSH server.
    Ssh(SshHost, RemotePath),
    /// A folder of another virtual machine under Qubes OS.
    Qubes(String, RemotePath),
    /// A folder of a host that a virtual machine under Qubes OS reaches over SSH.
    QubesSsh(String, SshHost, RemotePath),
}

/// Whom to call over SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshHost {
    /// The user there, if the URL names one.
    pub user: Option<String>,
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port, if the URL names one.
    pub port: Option<u16>,
}

/// A folder on the far side: an absolute path without `.` and `..`, or the login folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemotePath {
    /// Where a login ends up.
    Login,
    /// This path.
    Absolute(String),
}

type Parsed<T> = std::result::Result<T, &'static str>;

impl Destination {
    /// Understands `url`; a relative `file:` path starts at `working_dir`, which is absolute.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`] with the reason.
    pub fn parse(url: &str, working_dir: &Path) -> Result<Self> {
        match location(url, working_dir) {
            Ok(location) => Ok(Self {
                url: url.to_owned(),
                location,
            }),
            Err(reason) => Err(StoreError::BadUrl {
                url: url.to_owned(),
                reason,
            }),
        }
    }

    /// The URL as the user typed it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Opens it as `mode` says; `reach` is for those on other machines. A connection that fails for a reason that may pass is
    /// tried again, for reading also later, whenever it is cut.
    ///
    /// # Errors
    /// As [`FolderStore::open`]; for those on other machines also [`StoreError::Unreachable`], [`StoreError::NoProgram`],
    /// [`StoreError::NoHelper`], [`StoreError::Lost`] and [`StoreError::GivenUp`].
    pub fn open(&self, context: &Context, mode: OpenMode, reach: &Reach) -> Result<Arc<dyn Store>> {
        self.open_for(context, mode, reach, &[])
    }

    /// As [`Destination::open`], for a caller that will read the files `first`: a far destination may look at them together with
    /// its folder, and whether that can be written to may come out as late as at the first change.
    ///
    /// # Errors
    /// As [`Destination::open`].
    pub fn open_for(
        &self,
        context: &Context,
        mode: OpenMode,
        reach: &Reach,
        first: &[StorePath],
    ) -> Result<Arc<dyn Store>> {
        let (way, path) = match &self.location {
            Location::Folder(path) => return Ok(Arc::new(FolderStore::open(&context.fs, &self.url, path, mode)?)),
            Location::Ssh(host, path) => (Way::Ssh(host), path),
            Location::Qubes(vm, path) => (Way::Qubes(vm), path),
            Location::QubesSsh(vm, host, path) => (Way::QubesSsh(vm, host), path),
        };
        remote::open(context, self, (way, path), mode, reach, first)
    }
}

fn location(url: &str, working_dir: &Path) -> Parsed<Location> {
    if url.chars().any(char::is_control) {
        return Err("it has control characters");
    }
    if url.starts_with('/') {
        return Err("a folder has file: before its path");
    }
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err("it has to begin with file:, ssh:, qubes: or qubes-ssh:");
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => Ok(Location::Folder(folder(rest, working_dir)?)),
        "ssh" => {
            let (host, path) = authority_and_path(rest)?;
            Ok(Location::Ssh(ssh_host(host)?, path))
        }
        "qubes" => {
            let (vm, path) = authority_and_path(rest)?;
            Ok(Location::Qubes(vm_name(vm)?, path))
        }
        "qubes-ssh" => {
            let (authority, path) = authority_and_path(rest)?;
            let (vm, host) = authority
                .split_once(':')
                .ok_or("it needs a VM and a host: qubes-ssh://vm:user@host/path")?;
            Ok(Location::QubesSsh(vm_name(vm)?, ssh_host(host)?, path))
        }
        _ => Err("its kind is unknown; known are file:, ssh:, qubes: and qubes-ssh:"),
    }
}

/// The folder of a `file:` URL: `/path`, `///path` or `rel`; `//host/path` is refused.
fn folder(rest: &str, working_dir: &Path) -> Parsed<PathBuf> {
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err("a file: destination has no host; write file:/path"),
        None => rest,
    };
    if path.is_empty() {
        return Err("it names no folder; write file:/path");
    }
    Ok(normal(&working_dir.join(path)))
}

/// An absolute path without `.`, `..` and doubled slashes, worked out on the text alone as the original does.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

fn authority_and_path(rest: &str) -> Parsed<(&str, RemotePath)> {
    let rest = rest
        .strip_prefix("//")
        .ok_or("two slashes and a host have to follow the colon")?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if authority.is_empty() {
        return Err("it names no host");
    }
    if path.is_empty() {
        return Ok((authority, RemotePath::Login));
    }
    // The text came from a `str`, so nothing is lost on the way back.
    let path = normal(Path::new(path)).to_string_lossy().into_owned();
    Ok((authority, RemotePath::Absolute(path)))
}

/// `[user@]host[:port]`. Neither part may begin with a dash, which `ssh` would take for an option.
fn ssh_host(authority: &str) -> Parsed<SshHost> {
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    if user.is_some_and(|user| !is_word(user, "._+@-")) {
        return Err("its user name is empty, begins with a dash, or has odd characters");
    }
    let (host, port) = host_and_port(address)?;
    Ok(SshHost {
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port,
    })
}

fn host_and_port(address: &str) -> Parsed<(&str, Option<u16>)> {
    let (host, port) = if address.starts_with('[') {
        let end = address.find(']').ok_or("its IPv6 address has no closing bracket")?;
        let (host, rest) = address.split_at(end.saturating_add(1));
        let inner = host.trim_matches(['[', ']']);
        if !inner.contains(':')
            || !inner
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b":.%-_".contains(&b))
        {
            return Err("its IPv6 address has odd characters");
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err("only a port may follow its IPv6 address"),
        }
    } else {
        let (host, port) = match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        };
        if host.is_empty() {
            return Err("it names no host");
        }
        if !is_word(host, "._-") {
            return Err("its host name begins with a dash or has odd characters");
        }
        (host, port)
    };
    let port = port.map(port_number).transpose()?;
    Ok((host, port))
}

fn port_number(text: &str) -> Parsed<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| digits && *port != 0)
        .ok_or("its port is not a number from 1 to 65535")
}

fn vm_name(vm: &str) -> Parsed<String> {
    if vm.is_empty() {
        return Err("it names no VM");
    }
    if vm.starts_with(|c: char| c.is_ascii_alphabetic()) && is_word(vm, "._-") {
        Ok(vm.to_owned())
    } else {
        Err("its VM name has to begin with a letter and have letters, digits, dots, dashes and underscores only")
    }
}

/// Whether `text` is not empty, does not begin with a dash, and has only letters, digits and `others`.
fn is_word(text: &str, others: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Destination> {
        Destination::parse(url, Path::new("/home/anna"))
    }

    fn location_of(url: &str) -> Location {
        parse(url).unwrap().location
    }

    fn reason(url: &str) -> &'static str {
        match parse(url) {
            Err(StoreError::BadUrl { url: shown, reason }) => {
                assert_eq!(shown, url);
                reason
            }
            other => panic!("{url:?} gave {other:?}"),
        }
    }

    fn ssh(user: Option<&str>, host: &str, port: Option<u16>) -> SshHost {
        SshHost {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn folders_are_absolute_relative_or_with_an_empty_host() {
        for (url, path) in [
            ("file:/srv/backup", "/srv/backup"),
            ("file:///srv/backup/", "/srv/backup"),
            ("FILE:/srv", "/srv"),
            ("file:backup", "/home/anna/backup"),
            ("file:./a//b/../c", "/home/anna/a/c"),
            ("file:../berta", "/home/berta"),
            ("file:/../..", "/"),
            ("file:.", "/home/anna"),
            ("file:/with blank/it's #1?", "/with blank/it's #1?"),
            ("file:/a%20b:c", "/a%20b:c"),
            ("file:////srv", "/srv"),
            ("file:/śrv", "/śrv"),
        ] {
            assert_eq!(location_of(url), Location::Folder(path.into()), "{url}");
            assert_eq!(parse(url).unwrap().url(), url);
        }
    }

    #[test]
    fn remote_places_are_understood() {
        let srv = || RemotePath::Absolute("/srv".to_owned());
        for (url, location) in [
            ("ssh://host", Location::Ssh(ssh(None, "host", None), RemotePath::Login)),
            (
                "ssh://host/",
                Location::Ssh(ssh(None, "host", None), RemotePath::Absolute("/".to_owned())),
            ),
            (
                "ssh://anna@host.example:2222/srv",
                Location::Ssh(ssh(Some("anna"), "host.example", Some(2222)), srv()),
            ),
            (
                "ssh://anna@corp@[fe80::1%eth0]:22//srv/",
                Location::Ssh(ssh(Some("anna@corp"), "[fe80::1%eth0]", Some(22)), srv()),
            ),
            ("qubes://vault", Location::Qubes("vault".to_owned(), RemotePath::Login)),
            ("qubes://vault-2/x/../srv", Location::Qubes("vault-2".to_owned(), srv())),
            (
                "qubes-ssh://net:anna@host:1/srv",
                Location::QubesSsh("net".to_owned(), ssh(Some("anna"), "host", Some(1)), srv()),
            ),
            (
                "qubes-ssh://net:host",
                Location::QubesSsh("net".to_owned(), ssh(None, "host", None), RemotePath::Login),
            ),
        ] {
            assert_eq!(location_of(url), location, "{url}");
        }
    }

    #[test]
    fn what_is_not_a_destination_is_refused_with_the_reason() {
        for (url, part) in [
            ("", "begin with"),
            ("/srv/backup", "file: before its path"),
            ("srv/backup", "begin with"),
            ("http://host/x", "kind is unknown"),
            ("file:/a\nb", "control characters"),
            ("file:/a\u{85}b", "control characters"),
            ("file:", "names no folder"),
            ("file:///", ""),
            ("file://", "has no host"),
            ("file://host/srv", "has no host"),
            ("ssh:host", "two slashes"),
            ("ssh:///srv", "no host"),
            ("ssh://@host", "user name"),
            ("ssh://-oProxyCommand=x/", "dash"),
            ("ssh://-x@host/", "user name"),
            ("ssh://a b/", "odd characters"),
            ("ssh://host:0/", "port"),
            ("ssh://host:+22/", "port"),
            ("ssh://host:65536/", "port"),
            ("ssh://host:/", "port"),
            ("ssh://anna@:22/", "no host"),
            ("ssh://[::1/", "closing bracket"),
            ("ssh://[::1]22/", "only a port"),
            ("ssh://[$(x):]/", "odd characters"),
            ("qubes://", "no host"),
            ("qubes://9vm/", "VM name"),
            ("qubes://a'b/", "VM name"),
            ("qubes-ssh://vm/", "needs a VM and a host"),
            ("qubes-ssh://:host/", "names no VM"),
            ("qubes-ssh://vm:/", "no host"),
        ] {
            if part.is_empty() {
                assert!(parse(url).is_ok(), "{url:?}");
            } else {
                assert!(reason(url).contains(part), "{url:?}: {}", reason(url));
            }
        }
    }

    #[test]
    fn any_text_is_a_destination_or_refused_with_a_reason() {
        let corpus: [&[u8]; 8] = [
            b"file:/srv/backup",
            b"file:../x/./y",
            b"file://localhost/srv",
            b"ssh://anna@[fe80::1%25eth0]:22/srv/a b",
            b"ssh://host",
            b"qubes://vm-1/srv",
            b"qubes-ssh://vm:anna@host:2222/srv",
            b"",
        ];
        wyng_testkit::hostile::attack(1, 20_000, &corpus, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let Ok(found) = Destination::parse(&text, Path::new("/home/anna")) else {
                return;
            };
            assert_eq!(found.url(), text);
            let absolute = match found.location() {
                Location::Folder(path) => {
                    path.is_absolute() && path.components().all(|part| part != Component::ParentDir)
                }
                Location::Ssh(_, path) | Location::Qubes(_, path) | Location::QubesSsh(_, _, path) => match path {
                    RemotePath::Login => true,
                    RemotePath::Absolute(path) => path.starts_with('/') && path.split('/').all(|part| part != ".."),
                },
            };
            assert!(absolute, "{found:?}");
        });
    }
}
