//! In the guest: a thin pool with volumes, what is done to them, and an archive of them that knows what it must hold.

use crate::place::{Place, tool};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;
use wyng_testkit::bin::Outcome;
use wyng_testkit::guest;
use wyng_testkit::model::{first_difference, sha256_hex};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::rng::Rng;

pub const GROUP: &str = "vg0";
/// `--local` of the pool.
pub const LOCAL: &str = "--local=vg0/pool";
/// The device of the pool that takes messages.
pub const POOL_DEVICE: &str = "vg0-pool-tpool";
pub const MIB: u64 = 1 << 20;
/// Of the pool and of the archives.
pub const CHUNK: usize = 64 << 10;

/// Makes the group `vg0` on the disk 0 and in it a pool of so many MiB of data, which fails where it is full.
pub fn make_pool(data: u64) {
    let disk = guest::disk(0);
    tool(&["pvcreate", "-q", &disk]);
    tool(&["vgcreate", "-q", GROUP, &disk]);
    make_pool_named("pool", data, 8);
}

/// Makes one more pool in the group, of so many MiB of data and of metadata.
pub fn make_pool_named(name: &str, data: u64, metadata: u64) {
    let (data, metadata) = (format!("{data}M"), format!("{metadata}M"));
    let kind = ["--type", "thin-pool", "--chunksize", "64k"];
    let sizes = ["-L", &data, "--poolmetadatasize", &metadata, "-n", name, GROUP];
    tool(&[&["lvcreate", "-q"][..], &kind, &sizes].concat());
    tool(&["lvchange", "-q", "--errorwhenfull", "y", &full_name(name)]);
}

/// Makes a thin volume of so many bytes.
pub fn make_volume(name: &str, bytes: u64) {
    let size = format!("{bytes}b");
    tool(&["lvcreate", "-q", "-V", &size, "-T", "vg0/pool", "-n", name]);
}

/// Takes a snapshot as another program would.
pub fn make_snapshot(volume: &str, name: &str) {
    let volume = full_name(volume);
    tool(&["lvcreate", "-q", "-kn", "-ay", "-s", "-n", name, &volume]);
}

pub fn remove_volume(name: &str) {
    tool(&["lvremove", "-q", "-f", &full_name(name)]);
}

/// Makes a volume larger or smaller.
pub fn resize_volume(name: &str, bytes: u64) {
    let size = format!("{bytes}b");
    tool(&["lvresize", "-q", "-f", "-L", &size, &full_name(name)]);
}

/// Discards a part of a volume.
pub fn discard(name: &str, offset: u64, length: u64) {
    let (offset, length) = (offset.to_string(), length.to_string());
    let device = device(name);
    tool(&["blkdiscard", "-o", &offset, "-l", &length, device.to_str().unwrap()]);
}

/// `vg0/NAME`.
pub fn full_name(name: &str) -> String {
    format!("{GROUP}/{name}")
}

pub fn device(name: &str) -> PathBuf {
    Path::new("/dev").join(GROUP).join(name)
}

/// The names of all volumes of the group.
pub fn volumes() -> Vec<String> {
    let names = tool(&["lvs", "--noheadings", "-o", "lv_name", GROUP]);
    names.split_whitespace().map(str::to_owned).collect()
}

/// What `lvs` tells of a volume in a column.
pub fn told(column: &str, name: &str) -> String {
    let value = tool(&["lvs", "--noheadings", "-o", column, &full_name(name)]);
    value.trim().to_owned()
}

/// Root of the metadata that somebody holds in the pool, or `-`.
pub fn held_root() -> String {
    let status = tool(&["dmsetup", "status", POOL_DEVICE]);
    status.split_whitespace().nth(6).unwrap().to_owned()
}

/// Sends the pool a message.
pub fn message(text: &str) {
    tool(&["dmsetup", "message", POOL_DEVICE, "0", text]);
}

pub fn read(name: &str) -> Vec<u8> {
    let path = device(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes; all of it has reached the pool when this returns.
pub fn write(name: &str, at: u64, bytes: &[u8]) {
    let path = device(name);
    let opened = OpenOptions::new().write(true).open(&path);
    let file = opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

/// Fills a part of a new volume.
pub fn fill(name: &str, rng: &mut Rng) {
    let size = size(name);
    for _ in 0..3 {
        let at = rng.below(size / 2);
        write(name, at, &Pattern::Mixed.bytes(rng.next_u64(), (size / 8) as usize));
    }
}

pub fn size(name: &str) -> u64 {
    let size = tool(&["blockdev", "--getsize64", device(name).to_str().unwrap()]);
    size.trim().parse().unwrap()
}

/// Sends volumes and compares what the archive has now with them, byte for byte. Gives the JSON document.
pub fn send(place: &Place, names: &[&str], options: &[&str]) -> Value {
    let document = place.json(&[&["send", LOCAL], names, options].concat());
    for name in names {
        assert_archived(place, name);
    }
    assert_eq!(held_root(), "-", "the reservation is given back");
    document
}

/// The newest session of a volume is what the volume holds.
pub fn assert_archived(place: &Place, name: &str) {
    let found = place.ok(&["receive", name, "--save-to=-"]).stdout;
    assert_eq!(first_difference(&read(name), &found, 0), None, "{name}");
}

/// An archive of thin volumes.
pub struct Archived {
    pub place: Place,
    /// SHA-256 of what each session of each volume must hold.
    sums: BTreeMap<(String, String), String>,
}

impl Archived {
    /// Makes the archive; see [`Place::new`].
    pub fn new(archive: &str, state: &str) -> Self {
        let place = Place::new(archive, state);
        place.init();
        Self {
            place,
            sums: BTreeMap::new(),
        }
    }

    /// As [`send`]; what the sessions hold is remembered.
    pub fn send(&mut self, names: &[&str], options: &[&str]) -> Value {
        let document = send(&self.place, names, options);
        for name in names {
            self.remember(name);
        }
        document
    }

    /// The newest session of a volume must be what the volume holds, now and later.
    pub fn note(&mut self, name: &str) {
        assert_archived(&self.place, name);
        self.remember(name);
    }

    fn remember(&mut self, name: &str) {
        let (sum, session) = (sha256_hex(&read(name)), self.place.sessions(name).pop().unwrap());
        let known = self.sums.insert((name.to_owned(), session), sum.clone());
        assert!(known.is_none_or(|known| known == sum), "{name}: a session changed");
    }

    /// What the newest session of a volume holds.
    pub fn newest(&self, name: &str) -> Vec<u8> {
        self.place.ok(&["receive", name, "--save-to=-"]).stdout
    }

    /// A session of a volume, and the SHA-256 of what it must hold.
    pub fn any_session(&self, name: &str, rng: &mut Rng) -> (String, String) {
        let all: Vec<_> = self.sums.iter().filter(|((volume, _), _)| volume == name).collect();
        let ((_, session), sum) = *rng.pick(&all);
        (session.clone(), sum.clone())
    }

    /// Every session that was ever complete is there and holds what it must.
    pub fn assert_nothing_lost(&self) {
        for ((name, session), sum) in &self.sums {
            let session = format!("--session={session}");
            let found = self.place.ok(&["receive", name, "--save-to=-", &session]).stdout;
            assert_eq!(sha256_hex(&found), *sum, "{name}, {session}");
        }
        println!("{} sessions are what they must be", self.sums.len());
    }

    /// Lets the host look at the archive.
    pub fn hand_out(&self) {
        let (archive, out) = (self.place.archive(), guest::out());
        tool(&["cp", "-a", archive.to_str().unwrap(), out.to_str().unwrap()]);
    }
}

/// How volumes were sent.
#[derive(Debug, Default)]
pub struct Sent {
    pub incremental: u64,
    pub full: u64,
    pub unchanged: u64,
    /// Of the incremental ones.
    pub chunks_read: u64,
}

impl Sent {
    pub fn add(&mut self, document: &Value) {
        for volume in document["volumes"].as_array().unwrap() {
            match volume["kind"].as_str().unwrap() {
                "incremental" => {
                    self.incremental += 1;
                    self.chunks_read += volume["chunks_read"].as_u64().unwrap();
                }
                "unchanged" => self.unchanged += 1,
                _ => self.full += 1,
            }
        }
    }
}

/// Runs a program with other tools of the system: a shell does this in a folder of links to them all, which then takes the
/// place of `/usr/sbin`; what was there is in `/tmp/real`.
pub fn with_tools(change: &str) -> Vec<String> {
    let script = "mkdir -p /tmp/real /tmp/few && mount --bind /usr/sbin /tmp/real && mount -t tmpfs few /tmp/few \
                  && ln -s /tmp/real/* /tmp/few && cd /tmp/few && eval \"$0\" && cd / \
                  && mount --bind /tmp/few /usr/sbin && exec \"$@\"";
    let words = ["unshare", "--mount", "sh", "-c", script, change];
    words.map(str::to_owned).to_vec()
}

/// What `doctor` finds of each of these kinds in the pool: level and command of each. It ends with `code`.
pub fn found<const N: usize>(place: &Place, checks: [&str; N], code: i32) -> [Vec<(String, String)>; N] {
    let outcome = place.run(&["doctor", LOCAL, "--json"]).expect(code);
    let document: Value = serde_json::from_str(&outcome.out()).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |finding: &Value| (text(&finding["level"]), text(&finding["command"]));
    checks.map(|check| {
        let of_kind = findings.iter().filter(|finding| finding["check"] == check);
        of_kind.map(of).collect()
    })
}

/// Fails the test unless the run ended with this code and said all this.
pub fn assert_says(outcome: &Outcome, code: i32, words: &[&str]) {
    let text = outcome.out() + &outcome.err();
    let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
    let code_found = outcome.code;
    assert!(
        code_found == Some(code) && missing.is_empty(),
        "{code_found:?}, not {code}; or without {missing:?}:\n{text}"
    );
}

/// One of the checks of a boot.
pub type Step<S> = (&'static str, fn(&mut S));

/// Makes all checks, also after one that failed, and fails then.
pub fn run_steps<S>(site: &mut S, steps: &[Step<S>]) {
    let mut failed = Vec::new();
    for (name, step) in steps {
        let begun = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| step(site))).is_err() {
            failed.push(*name);
        }
        println!("{name}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
