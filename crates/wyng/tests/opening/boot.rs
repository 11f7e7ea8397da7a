//! A machine (qemu, its processor emulated) starts from a session. Its disk has a boot loader and a file system; what the boot
//! loader does there is to ask for a login on the serial console, to write a word into a file, and to switch off.

use crate::runs;
use crate::support::serving::{Serving, can_mount, mounted};
use crate::support::{Lab, Says, Tree, tree};
use std::fs;
use std::path::Path;
use wyng_testkit::pools::need_tool;

const SECTOR: usize = 512;
/// Where the partition begins, bytes.
const PARTITION: usize = 1 << 20;
const SIZE: usize = 16 << 20;

/// What the boot loader runs: the content of this file is its environment.
const SCRIPT: &str = "serial\n\
    terminal_output serial\n\
    echo login:\n\
    set mark=written-by-the-guest\n\
    save_env --file (hd0,msdos1)/grubenv mark\n\
    halt\n";
const WRITTEN: &[u8] = b"mark=written-by-the-guest\n";

fn has_machine() -> bool {
    ["qemu-system-x86_64", "grub-mkimage", "mke2fs", "debugfs", "nbdcopy"]
        .iter()
        .all(|tool| need_tool(tool))
}

/// A lab whose archive has a session of a disk that can be booted, and the disk.
fn lab() -> (Lab, Vec<u8>) {
    let lab = Lab::with_archive();
    let home = lab.home();
    fs::create_dir(lab.path("root")).unwrap();
    let mut environment = b"# GRUB Environment Block\n".to_vec();
    environment.resize(2 * SECTOR, b'#');
    lab.write("root/grubenv", &environment);
    let blocks = format!("{}k", (SIZE - PARTITION) / 1024);
    let offset = format!("offset={PARTITION}");
    lab.write("vm.img", &vec![0; SIZE]);
    runs(
        "mke2fs",
        &["-q", "-F", "-t", "ext2", "-E", &offset, "-d", "root", "vm.img", &blocks],
        home,
    );
    lab.write("script", SCRIPT.as_bytes());
    let image = ["-O", "i386-pc", "-o", "core.img", "-c", "script", "-p", "/"];
    let modules = [
        "biosdisk",
        "part_msdos",
        "ext2",
        "loadenv",
        "halt",
        "serial",
        "terminal",
        "echo",
    ];
    runs("grub-mkimage", &[&image[..], &modules].concat(), home);
    let mut disk = lab.read("vm.img");
    let (first, core) = (
        fs::read("/usr/lib/grub/i386-pc/boot.img").unwrap(),
        lab.read("core.img"),
    );
    assert!(SECTOR + core.len() <= PARTITION);
    disk[..SECTOR].copy_from_slice(&first);
    disk[SECTOR..][..core.len()].copy_from_slice(&core);
    // The table: one partition of Linux, which one starts from.
    let entry = &mut disk[446..510];
    entry.fill(0);
    (entry[0], entry[4]) = (0x80, 0x83);
    let sectors = |bytes: usize| u32::try_from(bytes / SECTOR).unwrap().to_le_bytes();
    entry[8..12].copy_from_slice(&sectors(PARTITION));
    entry[12..16].copy_from_slice(&sectors(SIZE - PARTITION));
    lab.write("vm.img", &disk);
    lab.import(&["vm.img"]);
    (lab, disk)
}

/// Starts the machine from this disk and waits until it has switched itself off.
fn start(disk: &str, folder: &Path) {
    let drive = format!("file={disk},format=raw");
    let words = [
        "-accel",
        "tcg",
        "-m",
        "64",
        "-display",
        "none",
        "-nic",
        "none",
        "-no-reboot",
    ];
    runs(
        "qemu-system-x86_64",
        &[&words[..], &["-drive", &drive]].concat(),
        folder,
    );
}

/// The file of a disk that the guest writes to.
fn mark(lab: &Lab, disk: &str) -> Vec<u8> {
    let at = format!("{disk}?offset={PARTITION}");
    runs("debugfs", &["-R", "dump /grubenv mark", &at], lab.home());
    lab.read("mark")
}

/// The archive is what it was, and gives the disk that it was given.
fn assert_untouched(lab: &Lab, archive: &Tree, disk: &[u8]) {
    assert_eq!(tree(&lab.archive()), *archive, "the archive was touched");
    lab.assert_newest("vm.img", disk);
}

#[test]
fn a_machine_starts_from_an_overlay_and_what_it_writes_is_there_and_not_in_the_archive() {
    if !has_machine() {
        return;
    }
    let (lab, disk) = lab();
    let archive = tree(&lab.archive());
    let once = ["nbd", "--socket=sock", "--overlay=kept", "--once", "vm.img"];
    let url = format!("nbd+unix:///?socket={}", lab.path("sock").display());
    let server = Serving::start(&lab, &once, None);
    start(&url, lab.home());
    assert_eq!(server.ended().code, Some(0));
    let server = Serving::start(&lab, &once, None);
    runs("nbdcopy", &[&url, "copy"], lab.home());
    assert_eq!(server.ended().code, Some(0));
    assert!(mark(&lab, "copy").windows(WRITTEN.len()).any(|found| found == WRITTEN));
    assert!(
        !mark(&lab, "vm.img")
            .windows(WRITTEN.len())
            .any(|found| found == WRITTEN)
    );
    assert_untouched(&lab, &archive, &disk);
}

#[test]
fn a_machine_starts_from_a_file_of_a_mount() {
    if !can_mount() || !has_machine() {
        return;
    }
    let (lab, disk) = lab();
    let archive = tree(&lab.archive());
    let mount = mounted(&lab, &["--overlay=kept"]);
    start("mnt/vm.img/latest", lab.home());
    assert!(
        mark(&lab, "mnt/vm.img/latest")
            .windows(WRITTEN.len())
            .any(|found| found == WRITTEN)
    );
    assert_eq!(mount.stop().code, Some(0));
    assert_untouched(&lab, &archive, &disk);
}

/// The program of docs/guides/single-files.md that tries a machine. Within a virtual machine KVM may be slower than emulation.
fn guides_program() -> String {
    let guide = include_str!("../../../../docs/guides/single-files.md");
    let program = guide.split_once("cat > ~/boot-test <<'END'\n").unwrap().1;
    let program = program.split_once("\nEND\n").unwrap().0;
    assert!(program.contains("-accel kvm -accel tcg "), "{program}");
    program.replace("-accel kvm ", "")
}

#[test]
fn a_boot_is_a_proof_and_a_disk_that_does_not_start_is_none() {
    if !has_machine() {
        return;
    }
    let (lab, disk) = lab();
    lab.write("boot-test", guides_program().as_bytes());
    lab.source("data.img", 1, 1 << 20);
    lab.import(&["data.img"]);
    let archive = tree(&lab.archive());
    lab.ok(&["verify", "vm.img", "--run=timeout 60 bash boot-test {nbd}"])
        .prints(&["  proven in "]);
    lab.run(&["verify", "data.img", "--run=timeout 4 bash boot-test {nbd}"])
        .expect(2)
        .says(&["error: data.img: timeout ended with exit code 124\n"]);
    assert_untouched(&lab, &archive, &disk);
}
