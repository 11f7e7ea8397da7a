//! The machine: kernel, this user, and the programs that are started.

use super::{Ward, missing, pool_options};
use crate::api::{Device, KeysIn, Level, Part, Symptom};
use crate::error::Result;
use crate::storage::is_group_and_pool;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_store::Location;
use wyng_sys::child::{self, Spec};
use wyng_sys::fs::{FileKind, Fs, OpenHow};
use wyng_sys::keyring::Keyring;
use wyng_sys::{process, real};
use wyng_volume::{LvmTool, is_machine_admin, lvm_tools};

/// The device behind which file systems of programs are.
const FUSE: &str = "/dev/fuse";
/// What mounts them for users other than root.
const MOUNTER: &str = "fusermount3";
/// How long a program may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn look(ward: &mut Ward<'_>) -> Result<()> {
    let resolves_names = real::resolves_in_kernel();
    let kernel = Symptom::Kernel {
        release: process::kernel_release(),
        resolves_names,
    };
    ward.note(
        Part::System,
        if resolves_names { Level::Ok } else { Level::Note },
        "Linux",
        kernel,
    );
    let (uid, admin) = (process::effective_uid(), is_machine_admin(&*ward.context.fs));
    let level = if uid == 0 && !admin { Level::Note } else { Level::Ok };
    ward.note(Part::System, level, "user", Symptom::User { uid, admin });
    settings(ward);
    keys(ward);
    fuse(ward, uid);
    thin_tools(ward);
    ward.context.cancel.check()?;
    ways(ward);
    for hook in &ward.request.hooks {
        if find(&*ward.context.fs, &ward.request.place.reach.env, hook).is_none() {
            let name = hook.to_string_lossy().into_owned();
            ward.note(Part::System, Level::Problem, name, Symptom::HookMissing);
        }
    }
    ward.context.cancel.check()?;
    Ok(())
}

/// The ini file, or that there is none where nothing else says what to look at.
fn settings(ward: &mut Ward<'_>) {
    let request = ward.request;
    let Some(path) = &request.settings else { return };
    let found = matches!(ward.context.fs.stat(path), Ok(Some(_)));
    let nothing = !request.has_destination && request.sets.is_empty() && request.imports.is_empty();
    let level = match (found, nothing) {
        (true, _) => Level::Ok,
        (false, true) => Level::Note,
        (false, false) => return,
    };
    let path = path.clone();
    ward.note(Part::System, level, "settings", Symptom::Settings { path, found });
}

fn keys(ward: &mut Ward<'_>) {
    if ward.request.remember_minutes <= 0 {
        return;
    }
    let (level, place) = match (Keyring::user(), &ward.request.place.run_dir) {
        (Ok(_), _) => (Level::Ok, KeysIn::Keyring),
        (Err(_), Some(_)) => (Level::Note, KeysIn::Process),
        (Err(_), None) => (Level::Note, KeysIn::Nowhere),
    };
    ward.note(Part::System, level, "keys", Symptom::Keys(place));
}

fn fuse(ward: &mut Ward<'_>, uid: u32) {
    let fs = &*ward.context.fs;
    let is_device = matches!(fs.stat(Path::new(FUSE)), Ok(Some(stat)) if stat.kind == FileKind::Other);
    let device = match fs.open(Path::new(FUSE), OpenHow::WRITE) {
        _ if !is_device => Device::Missing,
        Err(error) if error.is_permission() => Device::Denied,
        Err(_) => Device::Missing,
        Ok(_) if uid != 0 && find(fs, &ward.request.place.reach.env, MOUNTER.as_ref()).is_none() => Device::NoHelper,
        Ok(_) => Device::Usable,
    };
    let level = match device {
        Device::Usable => Level::Ok,
        // No option of the ini file asks for a mount.
        _ => missing(false),
    };
    ward.note(Part::System, level, "FUSE", Symptom::Fuse(device));
}

fn thin_tools(ward: &mut Ward<'_>) {
    let tools = lvm_tools(ward.context, &pool_options(ward));
    let fs = &*ward.context.fs;
    let needed = ward.request.sets.iter().any(|set| may_be_thin(fs, &set.local));
    let level = judge_tools(&tools, needed);
    ward.note(Part::System, level, "thin volumes", Symptom::LvmTools(tools));
}

fn judge_tools(tools: &[LvmTool], needed: bool) -> Level {
    match tools.iter().all(|tool| tool.found) {
        true => Level::Ok,
        false => missing(needed),
    }
}

/// Whether a storage is named as a thin pool is, and is no folder.
fn may_be_thin(fs: &dyn Fs, local: &Path) -> bool {
    if local.starts_with("/dev") {
        return true;
    }
    let is_folder = || matches!(fs.stat(local), Ok(Some(stat)) if stat.kind == FileKind::Dir);
    is_group_and_pool(local) && !is_folder()
}

/// The programs that lead to other machines.
fn ways(ward: &mut Ward<'_>) {
    let (ssh, qubes) = match ward.location() {
        Some(Location::Ssh(..)) => (true, false),
        Some(Location::Qubes(..) | Location::QubesSsh(..)) => (false, true),
        Some(Location::Folder(_)) | None => (false, false),
    };
    program(ward, "ssh", Some("-V"), ssh);
    // Nobody outside of Qubes OS has it, or needs to know.
    if qubes {
        program(ward, "qvm-run", None, true);
    }
}

fn program(ward: &mut Ward<'_>, name: &str, version: Option<&str>, needed: bool) {
    let env = &ward.request.place.reach.env;
    let path = find(&*ward.context.fs, env, name.as_ref());
    let ask = |(path, argument): (&PathBuf, &str)| {
        let spec = Spec {
            env: env.clone(),
            time_limit: Some(PATIENCE),
            ..Spec::new(path, [argument])
        };
        let told = child::run(&spec, &ward.context.cancel).ok()?;
        let said = child::last_line(&[&told.stdout[..], &told.stderr_tail].concat());
        said.split([',', ' '])
            .next()
            .map(str::to_owned)
            .filter(|word| !word.is_empty())
    };
    let symptom = Symptom::Program {
        found: path.is_some(),
        version: path.as_ref().zip(version).and_then(ask),
        needed,
    };
    let level = if path.is_some() { Level::Ok } else { missing(needed) };
    ward.note(Part::System, level, name, symptom);
}

/// The file that is run for `program`: one with a slash is a path, others are looked for in `PATH`.
fn find(fs: &dyn Fs, env: &[(std::ffi::OsString, std::ffi::OsString)], program: &OsStr) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        let stat = fs.stat(path).ok().flatten();
        stat.is_some_and(|stat| stat.kind == FileKind::File && stat.mode & 0o111 != 0)
    };
    let name = Path::new(program);
    if name.components().count() > 1 || name.has_root() {
        return Some(name.to_path_buf()).filter(is_program);
    }
    let folders = env.iter().find(|(name, _)| name == "PATH").map(|(_, folders)| folders);
    let folders = folders.map_or("/bin:/usr/bin".as_ref(), |folders| folders.as_os_str());
    std::env::split_paths(folders)
        .map(|folder| folder.join(name))
        .find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_nothing_needs_is_no_problem() {
        let tool = |found| LvmTool {
            name: "lvs",
            found,
            version: None,
        };
        for (found, needed, level) in [
            (true, true, Level::Ok),
            (true, false, Level::Ok),
            (false, false, Level::Note),
            (false, true, Level::Problem),
        ] {
            assert_eq!(judge_tools(&[tool(true), tool(found)], needed), level);
        }
    }
}
