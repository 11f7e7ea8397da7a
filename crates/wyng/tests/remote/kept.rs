//! A key that may only add in wrong hands, and the administrator who puts right what was done with it.

use crate::far::Far;
use crate::support::{Lab, PASSPHRASE, import};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;
use wyng_format::{HashType, InProcess, NonceInput, Root, Suite, VolumeId};
use wyng_store::remote::Link;
use wyng_store::remote::helper::{HELLO, HELLO_NUMBER, HelperStore, LIMITS};
use wyng_store::{OpenMode, RemotePath, Rename, Store, StoreError, StorePath};
use wyng_sys::child::{Spec, talk};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::bin::Outcome;
use wyng_testkit::clock::TestClock;
use wyng_testkit::reader::assert_strict;
use wyng_testkit::test_context_at;

/// An archive on a server, a host whose key may only add, and its administrator, who has a memory of his own.
struct Case {
    far: Far,
    encrypted: bool,
    /// What the two sessions of `a` hold.
    first: Vec<u8>,
    second: Vec<u8>,
    sessions: Vec<String>,
}

impl Case {
    /// Two sessions of `a`, one of `b`.
    fn new(encrypted: bool, quota: &'static str) -> Option<Self> {
        let far = Far::serving(move |lab| format!("--append-only {quota} --restrict={}", lab.home().display()))?;
        let lab = &far.lab;
        lab.init(if encrypted { &[] } else { &["--encrypt=off"] });
        let first = lab.source("a", 1, 700_000);
        lab.source("b", 2, 100_000);
        Self::send(lab, &["a", "b"]);
        let mut second = first.clone();
        second[300_000..400_000].fill(7);
        lab.write("a", &second);
        Self::send(lab, &["a"]);
        let sessions = lab.sessions("a");
        assert_eq!(sessions.len(), 2);
        Some(Self {
            far,
            encrypted,
            first,
            second,
            sessions,
        })
    }

    /// Sessions have a second each.
    fn send(lab: &Lab, names: &[&str]) {
        sleep(Duration::from_millis(1050));
        let arguments: Vec<String> = names.iter().map(|name| import(name)).collect();
        let arguments = arguments.iter().map(String::as_str);
        let words: Vec<&str> = std::iter::once("send").chain(arguments).collect();
        lab.run_with(&words, format!("{PASSPHRASE}\n").as_bytes()).expect(0);
    }

    fn administrator(&self, arguments: &[&str]) -> Outcome {
        let here = format!("--dest=file:{}", self.far.archive().display());
        let words = [&[here.as_str(), "--meta-dir=other"][..], arguments].concat();
        self.far.lab.run_with(&words, format!("{PASSPHRASE}\n").as_bytes())
    }

    fn kept(&self) -> Vec<PathBuf> {
        let Ok(folder) = fs::read_dir(self.far.archive().join(".wyng-kept")) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn kept_of(&self, name: &str) -> Vec<PathBuf> {
        let is_of = |file: &PathBuf| file.to_string_lossy().ends_with(&format!("-{name}"));
        self.kept().into_iter().filter(is_of).collect()
    }

    fn vid(&self) -> String {
        let listing = self.far.lab.listing();
        listing["volumes"]["a"]["vid"]
            .as_str()
            .map(str::to_owned)
            .unwrap_or_else(|| {
                let volumes = listing["volumes"].as_array().unwrap();
                let volume = volumes.iter().find(|volume| volume["name"] == "a").unwrap();
                volume["vid"].as_str().unwrap().to_owned()
            })
    }

    /// Both sessions are there for the host and for others.
    fn assert_whole(&self) {
        let lab = &self.far.lab;
        assert_eq!(lab.sessions("a"), self.sessions);
        assert_eq!(lab.restored("a", &self.sessions[0]), self.first);
        assert_eq!(lab.restored("a", &self.sessions[1]), self.second);
        lab.ok(&["verify", "b"]);
        self.administrator(&["arch-check"]).expect(0);
    }
}

const NONCE: NonceInput = NonceInput {
    random: [0; 24],
    unix_seconds: 0,
    counter: 0,
};

/// Whoever has the key: speaks to the server as he likes.
struct Thief(HelperStore);

impl Thief {
    fn new(archive: &Path, options: &[&str]) -> Result<Self, StoreError> {
        let context = test_context_at(Arc::new(RealFs::new(Cancel::new())), Arc::new(TestClock::default()), 1);
        let words = [&["serve", "--append-only"][..], options].concat();
        let (program, incoming, outgoing) = talk(&Spec::new(env!("CARGO_BIN_EXE_wyng"), words)).unwrap();
        let url = "ssh://host/archive";
        let link = Link::start(&context, url, LIMITS, Some(program), (incoming, outgoing)).unwrap();
        let welcome = link.send_as(Some(HELLO_NUMBER), HELLO, &[])?.wait()?;
        let path = RemotePath::Absolute(archive.to_str().unwrap().to_owned());
        let mode = OpenMode::Write { uid: 0 };
        Ok(Self(HelperStore::open(link, &welcome, url, &path, mode)?))
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let (file, tmp) = (path(name), path(&format!("{name}.tmp")));
        self.0.remove(&tmp)?;
        self.0.create(&tmp, content)?;
        self.0.rename(&tmp, &file, Rename::Replace)
    }

    /// What a writer's first step would remove goes as well.
    fn overwrite(&self, name: &str, content: &[u8]) {
        self.replace(name, content).unwrap();
        self.0.remove(&path(&format!("{name}.bak"))).unwrap();
        self.0.create(&path(&format!("{name}.bak")), content).unwrap();
    }
}

fn path(name: &str) -> StorePath {
    StorePath::new(name).unwrap()
}

/// Every command that removes or changes what is stored.
fn assert_nothing_is_removed(case: &Case) {
    let before = case.kept().len();
    let session = format!("--session={}", case.sessions[0]);
    for arguments in [
        &["prune", "a", &session, "--force"][..],
        &["prune", "--all", "--keep-last=1", "--force"],
        &["delete", "a", "--force"],
        &["tag", "a", "--hold"],
        &["arch-deduplicate"],
        &["arch-check", "--clean", "--force"],
        &["arch-check", "--repair", "--force"],
    ] {
        let ended = case.administrator(arguments).expect(5);
        assert!(ended.err().contains("--accept-root"), "{arguments:?}: {}", ended.err());
    }
    let page = case
        .administrator(&["report", "--html=-", "--keep-last=1"])
        .expect(0)
        .out();
    assert!(page.contains("not from this host: the destination only takes new sessions"));
    assert_eq!(case.kept().len(), before);
}

/// Garbage in every place that can be written to: nothing can be opened, and one command brings all back.
fn garbage(encrypted: bool) {
    let Some(case) = Case::new(encrypted, "") else { return };
    assert_nothing_is_removed(&case);
    let vid = case.vid();
    let thief = Thief::new(&case.far.archive(), &[]).unwrap();
    for name in ["archive.ini", &format!("{vid}/volinfo")] {
        thief.overwrite(name, b"garbage");
    }
    thief.replace(&format!("{vid}/sessions"), b"garbage").unwrap();
    if encrypted {
        thief.replace("archive.salt", &[1; 120]).unwrap();
        thief
            .0
            .rename(&path("salt.bak.tmp"), &path("salt.bak"), Rename::Replace)
            .unwrap_err();
    }
    drop(thief);
    // The administrator has no copy either.
    fs::remove_dir_all(case.far.lab.path("other")).unwrap();
    assert_ne!(case.administrator(&["list"]).code, Some(0));
    let planned = case
        .administrator(&["arch-check", "--return-to=newest", "--dry-run"])
        .expect(0);
    assert!(
        planned.out().contains("the present one can't be used"),
        "{}",
        planned.out()
    );
    assert_ne!(case.administrator(&["list"]).code, Some(0), "a dry run changes nothing");
    let unattended = case.administrator(&["arch-check", "--return-to=newest", "--unattended"]);
    assert_eq!(unattended.code, Some(1), "{}", unattended.err());
    case.administrator(&["arch-check", "--return-to=newest", "--force"])
        .expect(0);
    case.assert_whole();
    // The host goes on, and accepting the state leaves nothing of all this.
    Case::send(&case.far.lab, &["b"]);
    let accepted = case
        .administrator(&["arch-check", "--accept-root", "--force"])
        .expect(0);
    assert!(accepted.out().contains("nobody knows what"), "{}", accepted.out());
    assert_eq!(case.kept(), Vec::<PathBuf>::new());
    case.administrator(&["prune", "a", &format!("--session={}", case.sessions[0]), "--force"])
        .expect(0);
    assert_strict(&case.far.archive(), encrypted.then_some(PASSPHRASE), false);
}

#[test]
fn after_garbage_one_command_brings_all_back() {
    garbage(false);
}

#[test]
fn after_garbage_one_command_brings_all_back_encrypted() {
    garbage(true);
}

/// Who has the passphrase as well can say that there are fewer sessions. Here an old state is played again, which
/// authenticates.
#[test]
fn dropped_sessions_are_told_and_come_back() {
    let Some(case) = Case::new(false, "") else { return };
    let (lab, vid) = (&case.far.lab, case.vid());
    // The state after the first send: a root that was replaced by the second, and the list that went with it.
    let root = fs::read(case.kept_of("archive.ini").last().unwrap()).unwrap();
    let list = fs::read(case.kept_of(&format!("{vid}.volinfo")).last().unwrap()).unwrap();
    let thief = Thief::new(&case.far.archive(), &[]).unwrap();
    thief.overwrite(&format!("{vid}/volinfo"), &list);
    thief.overwrite("archive.ini", &root);
    drop(thief);
    // The host knows better, and who does not sees one session.
    assert!(
        lab.run(&["list"]).expect(1).err().contains("older"),
        "{}",
        lab.run(&["list"]).err()
    );
    let seen = case.administrator(&["list", "a"]).expect(0).out();
    assert!(
        seen.contains(&case.sessions[0]) && !seen.contains(&case.sessions[1]),
        "{seen}"
    );
    // What others change is kept as well, so that it can't take away what a kept root needs.
    // Nor can another hash, by which the lists of earlier states are not found any more, hide what is lost.
    let other = with_other_hash(&root);
    let thief = Thief::new(&case.far.archive(), &[]).unwrap();
    thief.overwrite("archive.ini", &other);
    let plan = case
        .administrator(&["arch-check", "--accept-root", "--dry-run", "--meta-dir=another"])
        .expect(0)
        .out();
    assert!(
        case.sessions.iter().all(|session| plan.contains(session.as_str())),
        "{plan}"
    );
    thief.overwrite("archive.ini", &root);
    drop(thief);
    case.administrator(&["rename", "a", "c"]).expect(0);
    case.administrator(&["rename", "c", "d"]).expect(0);
    assert_nothing_is_removed_of(&case, "d");
    let plan = case
        .administrator(&["arch-check", "--accept-root", "--dry-run"])
        .expect(0)
        .out();
    let told = format!("a  {}", case.sessions[1]);
    assert!(plan.contains(&told), "{plan}");
    assert!(!plan.contains(&case.sessions[0]), "{plan}");
    let line = plan.lines().find(|line| line.starts_with("  20")).unwrap();
    let id = line.split_once('(').unwrap().1.trim_end_matches(')');
    let back = format!("--return-to={}", id);
    assert!(
        lab.run(&["arch-check", &back, "--force"])
            .expect(5)
            .err()
            .contains("only add")
    );
    let returned = case.administrator(&["arch-check", &back, "--force"]).expect(0).out();
    assert!(
        returned.contains(&format!("again with {}", case.sessions[1])),
        "{returned}"
    );
    // No host takes it for a rollback.
    case.assert_whole();
    Case::send(lab, &["a"]);
    let plan = case
        .administrator(&["arch-check", "--accept-root", "--dry-run"])
        .expect(0)
        .out();
    assert!(plan.contains("shows everything"), "{plan}");
    assert!(
        lab.run(&["arch-check", "--accept-root", "--force"])
            .expect(5)
            .err()
            .contains("only add")
    );
    case.administrator(&["arch-check", "--accept-root", "--force"])
        .expect(0);
    assert_strict(&case.far.archive(), None, false);
}

/// An unencrypted root that says that other hashes are used.
fn with_other_hash(root: &[u8]) -> Vec<u8> {
    let (head, packed) = root.split_at(b"[WYNG03]\nci = 00\n".len());
    let text = String::from_utf8(piped("-dc", packed)).unwrap();
    let other = text.replace("blake2b", "sha256");
    assert_ne!(other, text);
    [head, &piped("-c", other.as_bytes())].concat()
}

/// What `gzip` makes of some bytes, fewer than a pipe holds.
fn piped(option: &str, bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip");
    let gzip = gzip.arg(option).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = gzip.spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn assert_nothing_is_removed_of(case: &Case, name: &str) {
    let ended = case.administrator(&["delete", name, "--force"]).expect(5);
    assert!(ended.err().contains("--accept-root"), "{}", ended.err());
}

#[test]
fn a_root_that_speaks_of_a_deletion_deletes_nothing_before_it_is_accepted() {
    let Some(case) = Case::new(false, "") else { return };
    let vid = case.vid();
    let suite = Suite::plain(HashType::Blake2b);
    let mut root = Root::decode(&fs::read(case.far.archive().join("archive.ini")).unwrap(), &suite).unwrap();
    let vid_of_a = VolumeId::new(&vid).unwrap();
    root.set_in_process(Some(&InProcess::Delete { vid: vid_of_a }));
    let begun = root.encode(&suite, &NONCE, 0).unwrap();
    let thief = Thief::new(&case.far.archive(), &[]).unwrap();
    thief.overwrite("archive.ini", &begun);
    drop(thief);
    let ended = case.administrator(&["send", &import("b")]).expect(5);
    assert!(ended.err().contains("--accept-root"), "{}", ended.err());
    // The host's own key could not finish it either.
    case.far.lab.run(&["send", &import("b")]).expect(5);
    let plan = case
        .administrator(&["arch-check", "--accept-root", "--dry-run"])
        .expect(0)
        .out();
    let all = format!("{}, {}", case.sessions[0], case.sessions[1]);
    assert!(plan.contains(&all), "{plan}");
    case.administrator(&["arch-check", "--return-to=newest", "--force"])
        .expect(0);
    case.assert_whole();
}

#[test]
fn sessions_that_nothing_lists_survive_the_recovery_of_a_key_that_may_only_add() {
    let Some(case) = Case::new(false, "") else { return };
    let (lab, vid) = (&case.far.lab, case.vid());
    let root = fs::read(case.kept_of("archive.ini").last().unwrap()).unwrap();
    let list = fs::read(case.kept_of(&format!("{vid}.volinfo")).last().unwrap()).unwrap();
    let now = fs::read(case.far.archive().join("archive.ini")).unwrap();
    let now_list = fs::read(case.far.archive().join(&vid).join("volinfo")).unwrap();
    let thief = Thief::new(&case.far.archive(), &[]).unwrap();
    thief.overwrite(&format!("{vid}/volinfo"), &list);
    thief.overwrite("archive.ini", &root);
    // As if the second send had been cut off: to the next writer its session is one that never counted.
    thief.0.create(&path("archive.ini.tmp"), &now).unwrap();
    thief.0.create(&path(&format!("{vid}/volinfo.tmp")), &now_list).unwrap();
    drop(thief);
    let folder = case.far.archive().join(&vid).join(format!("S_{}", case.sessions[1]));
    lab.source("b", 3, 100_000);
    sleep(Duration::from_millis(1050));
    let ended = lab.run(&["send", "--force-allow-rollback", &import("b")]).expect(0);
    assert!(
        ended.err().contains("does not belong to") || ended.err().contains(&case.sessions[1]),
        "{}",
        ended.err()
    );
    assert!(folder.join("manifest.z").exists());
    case.administrator(&["add", "e"]).expect(0);
    assert!(folder.join("manifest.z").exists(), "nor does the administrator's");
    let good = case
        .kept_of("archive.ini")
        .into_iter()
        .find(|file| fs::read(file).unwrap() == now);
    let good = good.unwrap().file_name().unwrap().to_string_lossy()[..19].to_owned();
    let at = format!("--return-to={good}");
    let plan = case.administrator(&["arch-check", &at, "--force"]).expect(0).out();
    assert!(plan.contains(&format!("again with {}", case.sessions[1])), "{plan}");
    assert!(plan.contains("is no longer listed"), "{plan}");
    assert_eq!(lab.restored("a", &case.sessions[1]), case.second);
}

#[test]
fn a_flood_ends_at_the_quota_and_nothing_of_it_is_forgotten() {
    let Some(case) = Case::new(false, "--kept-quota=64K") else {
        return;
    };
    let lab = &case.far.lab;
    let thief = Thief::new(&case.far.archive(), &["--kept-quota=64K"]).unwrap();
    let good = fs::read(case.far.archive().join("archive.ini")).unwrap();
    let before = case.kept().len();
    let mut refused = None;
    for _ in 0..20 {
        if let Err(error) = thief.replace("archive.ini", &good) {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(&refused, Some(StoreError::Forbidden { reason, .. }) if reason.contains("arch-check --accept-root")),
        "{refused:?}"
    );
    assert_eq!(case.kept().len(), 16, "{before} before");
    // Nothing more can be replaced, and who comes to write is told at once.
    let again = Thief::new(&case.far.archive(), &["--kept-quota=64K"]).map(drop);
    assert!(matches!(again, Err(StoreError::Forbidden { .. })), "{again:?}");
    let ended = lab.run(&["send", &import("b")]).expect(5);
    assert!(
        ended.err().contains("until the administrator has looked at it"),
        "{}",
        ended.err()
    );
    lab.ok(&["verify", "a"]);
    case.assert_whole();
    case.administrator(&["arch-check", "--accept-root", "--force"])
        .expect(0);
    lab.source("b", 3, 100_000);
    Case::send(lab, &["b"]);
    assert_eq!(lab.session_count("b"), 2);
}

#[test]
fn a_time_chooses_the_state_and_what_is_not_there_is_named() {
    let Some(case) = Case::new(false, "") else { return };
    let none = case
        .administrator(&["arch-check", "--return-to=20990101-000000", "--force"])
        .expect(9);
    let newest = case.kept_of("archive.ini").pop().unwrap();
    let newest = newest.file_name().unwrap().to_string_lossy()[..19].to_owned();
    assert!(none.err().contains(&newest), "{}", none.err());
    // Between the two sends.
    let at = format!("--return-to={}", case.sessions[1]);
    let plan = case
        .administrator(&["arch-check", &at, "--dry-run", "--json"])
        .expect(0)
        .out();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["returned"][0]["unlisted"][0], *case.sessions[1], "{plan}");
    case.administrator(&["arch-check", &at, "--force"]).expect(0);
    assert_eq!(case.far.lab.sessions("a"), case.sessions[..1]);
    // And forward again.
    case.administrator(&["arch-check", "--return-to=newest", "--force"])
        .expect(0);
    case.assert_whole();
    case.administrator(&["arch-check", "--accept-root", "--force"])
        .expect(0);
    let none = case
        .administrator(&["arch-check", "--return-to=newest", "--force"])
        .expect(9);
    assert!(none.err().contains("the present state was accepted"), "{}", none.err());
    let nothing = case
        .administrator(&["arch-check", "--accept-root", "--force"])
        .expect(0)
        .out();
    assert!(nothing.contains("Nothing is kept"), "{nothing}");
    assert!(!case.encrypted);
}
