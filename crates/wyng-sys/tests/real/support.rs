//! What several of these tests need: folders and files opened as the program does, other processes, other users.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use wyng_sys::fs::{Creation, DirRef, FileRef, Fs, Links, OpenHow};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::pools::TempDir;

/// One block of every file system used here, bytes.
pub const BLOCK: u64 = 4096;

pub fn fs() -> RealFs {
    RealFs::new(Cancel::new())
}

/// A fresh folder, opened.
pub fn scratch(links: Links) -> (TempDir, DirRef) {
    let folder = TempDir::new();
    let dir = fs().open_dir(folder.path(), links).unwrap();
    (folder, dir)
}

pub fn open_dir(path: &Path) -> DirRef {
    fs().open_dir(path, Links::Refuse).unwrap()
}

/// A new file, or the old one of that name.
pub fn file(dir: &DirRef, name: &str) -> FileRef {
    dir.open(
        Path::new(name),
        OpenHow {
            creation: Creation::IfMissing(0o600),
            ..OpenHow::WRITE
        },
    )
    .unwrap()
}

/// Bytes that no compression makes smaller, other ones for each seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| step()).collect()
}

/// A user without any rights.
pub const OTHER_USER: u32 = 65534;

/// Runs `work` in a thread that has another user's rights and none of root's.
pub fn as_other_user<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            rustix::thread::set_thread_groups(&[]).unwrap();
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(OTHER_USER),
                rustix::fs::Gid::from_raw(OTHER_USER),
            );
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            work()
        });
        other.join().unwrap()
    })
}

/// This very program again, running one of its ignored tests, which plays a part in another test.
pub struct Helper {
    pub child: Child,
    pub input: ChildStdin,
    pub output: ChildStdout,
}

impl Helper {
    pub fn start(test: &str, argument: impl AsRef<OsStr>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env("WYNG_TEST_HELPER", argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut helper = Self { child, input, output };
        helper.wait_for("helper: ready");
        helper
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads the helper's output up to a line that ends with `text`, and gives all of it.
    pub fn wait_for(&mut self, text: &str) -> String {
        use std::io::Read;
        let mut seen = String::new();
        let mut byte = [0];
        while !seen.trim_end().ends_with(text) {
            assert_eq!(self.output.read(&mut byte).unwrap(), 1, "the helper ended: {seen}");
            seen.push(byte[0].into());
        }
        seen
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The argument of a helper; `None` when its test is run by a person with `--ignored`.
pub fn helper_argument() -> Option<std::ffi::OsString> {
    std::env::var_os("WYNG_TEST_HELPER")
}
