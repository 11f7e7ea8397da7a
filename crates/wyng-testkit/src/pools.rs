//! Real file systems on loop devices, temporary folders, and what to do where the machine lacks something.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes away with this value.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a folder under the system's temporary folder (`TMPDIR`).
    #[must_use]
    pub fn new() -> Self {
        Self::under(&std::env::temp_dir())
    }

    /// Makes a folder under `parent`.
    #[must_use]
    pub fn under(parent: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("wyng-test-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left behind by a killed test of the same process number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path below it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a test needs of the machine. `false` after saying so aloud; with `WYNG_TEST_REQUIRE` set the test fails instead, so
/// that a machine meant to run everything does.
#[must_use]
pub fn requirement(met: bool, what: &str) -> bool {
    if !met {
        assert!(
            std::env::var_os("WYNG_TEST_REQUIRE").is_none(),
            "WYNG_TEST_REQUIRE is set, but there is no {what}"
        );
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        eprintln!("SKIPPED: {test}: needs {what}");
    }
    met
}

/// The test runs as root.
#[must_use]
pub fn need_root() -> bool {
    requirement(rustix::process::geteuid().is_root(), "root")
}

/// The program `name` can be run.
#[must_use]
pub fn need_tool(name: &str) -> bool {
    requirement(find_tool(name).is_some(), name)
}

/// Root, loop devices and `mkfs` for this kind of pool.
#[must_use]
pub fn need_pool(kind: PoolKind) -> bool {
    need_root() && need_tool(kind.mkfs()) && requirement(Path::new("/dev/loop-control").exists(), "loop devices")
}

fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|found| found.is_file())
}

/// The kinds of pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Btrfs.
    Btrfs,
    /// XFS with reflink.
    Xfs,
    /// ext4.
    Ext4,
}

impl PoolKind {
    fn mkfs(self) -> &'static str {
        match self {
            Self::Btrfs => "mkfs.btrfs",
            Self::Xfs => "mkfs.xfs",
            Self::Ext4 => "mkfs.ext4",
        }
    }

    fn type_name(self) -> &'static str {
        self.mkfs().trim_start_matches("mkfs.")
    }

    /// Below this `mkfs` refuses.
    fn smallest(self) -> u64 {
        match self {
            Self::Btrfs => 128 << 20,
            Self::Xfs => 300 << 20,
            Self::Ext4 => 8 << 20,
        }
    }
}

/// A mounted file system of its own on a sparse file. Unmounted, detached and deleted when it goes away, also by a panic.
#[derive(Debug)]
pub struct LoopPool {
    kind: PoolKind,
    device: String,
    mounted: bool,
    mount_point: PathBuf,
    image: PathBuf,
    // Dropped last: the image and the mount point are in it.
    _folder: TempDir,
}

impl LoopPool {
    /// A Btrfs of about `size` bytes; `None` (aloud) where the machine can't.
    #[must_use]
    pub fn btrfs(size: u64) -> Option<Self> {
        Self::new(PoolKind::Btrfs, size, &[])
    }

    /// An XFS of about `size` bytes; `None` (aloud) where the machine can't.
    #[must_use]
    pub fn xfs(size: u64) -> Option<Self> {
        Self::new(PoolKind::Xfs, size, &[])
    }

    /// An ext4 of about `size` bytes; `None` (aloud) where the machine can't.
    #[must_use]
    pub fn ext4(size: u64) -> Option<Self> {
        Self::new(PoolKind::Ext4, size, &[])
    }

    /// Makes and mounts a pool; too small a `size` is raised to what `mkfs` accepts.
    #[must_use]
    pub fn new(kind: PoolKind, size: u64, mount_options: &[&str]) -> Option<Self> {
        Self::formatted(kind, size, &[], mount_options)
    }

    /// As [`Self::new`], with options for `mkfs`.
    #[must_use]
    pub fn formatted(kind: PoolKind, size: u64, mkfs_options: &[&str], mount_options: &[&str]) -> Option<Self> {
        if !need_pool(kind) {
            return None;
        }
        let folder = TempDir::new();
        let (image, mount_point) = (folder.join("image"), folder.join("mnt"));
        fs::create_dir(&mount_point).unwrap();
        fs::File::create(&image)
            .and_then(|file| file.set_len(size.max(kind.smallest())))
            .unwrap();
        let force: &[&str] = if kind == PoolKind::Ext4 {
            &["-q", "-F"]
        } else {
            &["-q", "-f"]
        };
        let options = force.iter().chain(mkfs_options).map(OsStr::new);
        run(kind.mkfs(), options.chain([image.as_os_str()]));
        let device = run(
            "losetup",
            [OsStr::new("--find"), OsStr::new("--show"), image.as_os_str()],
        );
        let device = device.trim().to_owned();
        let mut pool = Self {
            kind,
            device,
            mounted: false,
            mount_point,
            image,
            _folder: folder,
        };
        pool.mount(mount_options);
        Some(pool)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// A path below its root.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.mount_point.join(name)
    }

    /// Its block device.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The file that holds it.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Unmounts and mounts it again with these options: everything written is on disk, nothing is cached.
    pub fn remount(&mut self, options: &[&str]) {
        self.unmount();
        self.mount(options);
    }

    /// Makes a Btrfs subvolume and returns its path.
    pub fn subvolume(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        run(
            "btrfs",
            [
                OsStr::new("-q"),
                OsStr::new("subvolume"),
                OsStr::new("create"),
                path.as_os_str(),
            ],
        );
        path
    }

    /// Writes this pool back and drops the kernel's caches, so that the next reads are cold.
    pub fn drop_caches(&self) {
        let folder = fs::File::open(&self.mount_point).expect("the mount point");
        rustix::fs::syncfs(&folder).expect("writing back");
        drop_clean_pages();
    }

    fn mount(&mut self, options: &[&str]) {
        let options = std::iter::once("noatime")
            .chain(options.iter().copied())
            .collect::<Vec<_>>()
            .join(",");
        let (kind, point) = (self.kind.type_name(), self.mount_point.as_os_str());
        let arguments = ["-t", kind, "-o", &options, &self.device].map(OsStr::new);
        run("mount", arguments.into_iter().chain([point]));
        self.mounted = true;
    }

    fn unmount(&mut self) {
        run("umount", [self.mount_point.as_os_str()]);
        self.mounted = false;
    }
}

impl Drop for LoopPool {
    fn drop(&mut self) {
        if self.mounted && !quietly("umount", &[self.mount_point.as_os_str()]) {
            // Something of the failing test is still open: detach now, the kernel lets go when it is closed.
            quietly("umount", &[OsStr::new("-l"), self.mount_point.as_os_str()]);
        }
        quietly("losetup", &[OsStr::new("-d"), OsStr::new(&self.device)]);
    }
}

/// An existing file system in a file (or in a part of one), mounted by loop; unmounted and detached when it goes away.
#[derive(Debug)]
pub struct MountedImage {
    device: String,
    mount_point: PathBuf,
}

impl MountedImage {
    /// Mounts the bytes `part` of `image`, read-write, on a folder that it makes. `image` must be a file of a name never mounted
    /// before: the kernel remembers devices of Btrfs.
    ///
    /// # Errors
    /// What `mount` says where the file system can't be mounted.
    pub fn new(
        kind: PoolKind,
        image: &Path,
        part: &std::ops::Range<u64>,
        mount_point: PathBuf,
    ) -> Result<Self, String> {
        fs::create_dir_all(&mount_point).unwrap();
        let (offset, size) = (part.start.to_string(), (part.end - part.start).to_string());
        let arguments = ["--find", "--show", "--offset", &offset, "--sizelimit", &size];
        let arguments = arguments.map(OsStr::new).into_iter().chain([image.as_os_str()]);
        let mounted = Self {
            device: run("losetup", arguments).trim().to_owned(),
            mount_point,
        };
        let arguments = ["-t", kind.type_name(), "-o", "noatime", &mounted.device].map(OsStr::new);
        let arguments: Vec<_> = arguments.into_iter().chain([mounted.path().as_os_str()]).collect();
        let path = find_tool("mount").unwrap_or_else(|| panic!("there is no mount"));
        let output = Command::new(path).args(arguments).output().unwrap();
        if output.status.success() {
            return Ok(mounted);
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// A path below its root.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.mount_point.join(name)
    }
}

impl Drop for MountedImage {
    fn drop(&mut self) {
        let point = self.mount_point.as_os_str();
        if !quietly("umount", &[point]) {
            quietly("umount", &[OsStr::new("-l"), point]);
        }
        let device = OsStr::new(&self.device);
        // Else the next state of the same file system might be taken for an older one of its devices.
        let forget = ["device", "scan", "--forget"].map(OsStr::new);
        quietly("btrfs", &[&forget[..], &[device]].concat());
        quietly("losetup", &[OsStr::new("-d"), device]);
    }
}

/// Writes everything back and drops the kernel's caches (root only); [`LoopPool::drop_caches`] waits for less.
pub fn drop_caches() {
    rustix::fs::sync();
    drop_clean_pages();
}

fn drop_clean_pages() {
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap_or_else(|error| panic!("dropping caches: {error}"));
}

/// Runs a tool that must succeed and returns its standard output.
pub fn run<'a>(tool: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> String {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let path = find_tool(tool).unwrap_or_else(|| panic!("there is no {tool}"));
    let output = Command::new(path)
        .args(&arguments)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {} {stderr}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn quietly(tool: &str, arguments: &[&OsStr]) -> bool {
    let Some(path) = find_tool(tool) else { return false };
    Command::new(path)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}
