//! What the program says to wrong, odd and missing options, without an archive; and that it touches nothing then.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test sets up files and programs, and ends at the first surprise"
)]

mod common;

use common::{World, run};
use std::os::unix::fs::PermissionsExt;

/// Arguments, exit code, part of standard error.
const REFUSED: &[(&[&str], i32, &str)] = &[
    // Syntax.
    (
        &[],
        2,
        "a command is missing\n\n  tip: wyng help lists all commands; a first backup is made by\n",
    ),
    (
        &["lsit"],
        2,
        "there is no command \"lsit\"\n\n  tip: did you mean list?\n",
    ),
    (&["LIST"], 2, "tip: did you mean list?"),
    (
        &["list", "--nosuch"],
        2,
        "there is no option --nosuch\n\n  tip: wyng --help lists all options\n",
    ),
    (&["list", "--SESSION=newest"], 2, "tip: did you mean --session?"),
    (&["list", "--sesion=x"], 2, "tip: did you mean --session?"),
    (&["send", "--dry_run"], 2, "tip: did you mean --dry-run?"),
    (&["receive", "--frce"], 2, "tip: did you mean --force?"),
    (&["list", "--sess=x"], 2, "ambiguous"),
    (&["list", "--all=1"], 2, "Usage: wyng"),
    (&["list", "--session"], 2, "Usage: wyng"),
    (&["help", "nosuch"], 2, "tip: wyng help lists all commands"),
    // The far side.
    (&["serve", "name"], 9, "serve takes no names, and 1 are given"),
    (
        &["serve", "--restrict=srv"],
        9,
        "--restrict=srv must be an absolute path without ..",
    ),
    (&["serve", "--restrict="], 9, "must be an absolute path without .."),
    (
        &["serve", "--restrict=/srv/../x"],
        9,
        "must be an absolute path without ..",
    ),
    (
        &["serve", "--append-only", "--read-only"],
        9,
        "--append-only and --read-only can't be used together",
    ),
    (&["serve", "--protocol=0"], 9, "must be a whole number from 1 to 65535"),
    (&["serve", "--protocol=2"], 9, "this program speaks version 1"),
    (
        &["serve", "--protocol=2", "--check"],
        9,
        "this program speaks version 1",
    ),
    (&["generate"], 2, "generate takes one of bash, zsh, fish"),
    (&["generate", "csh"], 2, "generate takes one of bash, zsh, fish"),
    (&["generate", "man", "nosuch"], 2, "there is no command \"nosuch\""),
    // Selection.
    (&["prune", "--autoprune=full"], 9, "prune needs the name of a volume"),
    (
        &["arch-check", "--from=file:x"],
        9,
        "--from means nothing without --repair",
    ),
    (
        &["arch-check", "--session=^a", "--all-before"],
        9,
        "--all-before means nothing without --session=YYYYMMDD-HHMMSS",
    ),
    (
        &["arch-check", "--change-uuid", "--upgrade-format"],
        9,
        "can't be used together",
    ),
    (
        &["arch-check", "--repair", "--session=newest"],
        9,
        "--session and --repair can't be used together",
    ),
    (
        &["arch-check", "--repair", "--volex=a"],
        9,
        "--volex and --repair can't be used together",
    ),
    (
        &["arch-check", "--clean", "--budget=1h"],
        9,
        "--budget and --clean can't be used together",
    ),
    (
        &["arch-check", "--clean", "--all-before"],
        9,
        "--all-before and --clean can't be used together",
    ),
    (
        &["arch-check", "--change-uuid", "--local=."],
        9,
        "--local and --change-uuid can't be used together",
    ),
    (
        &["arch-check", "--force"],
        9,
        "--force means nothing without --repair, --clean, --accept-root, --return-to or --change-uuid",
    ),
    (
        &["arch-check", "--change-uuid", "v"],
        9,
        "arch-check takes no names, and 1 are given",
    ),
    (
        &["arch-deduplicate", "v"],
        9,
        "arch-deduplicate takes no names, and 1 are given",
    ),
    // Values.
    (
        &["arch-init", "--chunk-factor=0"],
        9,
        "--chunk-factor=0 must be a whole number from 1 to 6",
    ),
    (&["arch-init", "--chunk-factor=x"], 9, "--chunk-factor"),
    (&["arch-init", "--encrypt=aes"], 9, "--encrypt=aes must be one of"),
    (&["arch-init", "--compression=lzma"], 9, "--compression=lzma"),
    (&["arch-init", "--compression=zstd:99"], 9, "from 1 to 22"),
    (&["arch-init", "--hashtype=sha256"], 9, "--hashtype=sha256"),
    (&["list", "--authmin=soon"], 9, "--authmin=soon"),
    (&["list", "--authmin=-2"], 9, "at least -1"),
    (&["list", "--lock-wait=-1"], 9, "--lock-wait=-1"),
    (&["list", "--meta-reduce=on"], 9, "--meta-reduce=on"),
    (&["list", "--session-strict=maybe"], 9, "--session-strict=maybe"),
    (&["doctor", "v"], 9, "doctor needs --local"),
    (
        &["status", "--max-age=26"],
        9,
        "--max-age=26 must be a number with a unit",
    ),
    (
        &["verify", "v", "--run= "],
        9,
        "--run=  must be a program with its arguments",
    ),
    (&["list", "--session=yesterday"], 9, "--session=yesterday"),
    (&["list", "--session=20261301-000000"], 9, "--session=20261301-000000"),
    (
        &["verify", "v", "--session=20261101-000000,newest"],
        9,
        "verify takes one session",
    ),
    (
        &["receive", "v", "--save-to=x", "--session=^a,^b"],
        9,
        "receive takes one session",
    ),
    (&["send", "v", "--local=.", "--apdays=1:2"], 9, "--apdays=1:2"),
    (&["send", "v", "--local=.", "--autoprune=maybe"], 9, "--autoprune=maybe"),
    (&["send", "v", "--local=.", "--tag=all"], 9, "--tag"),
    (
        &[
            "send",
            "v",
            "--local=.",
            "--tag=a",
            "--tag=b",
            "--tag=c",
            "--tag=d",
            "--tag=e",
            "--tag=f",
        ],
        9,
        "at most 5",
    ),
    (&["send", "v", "--local=.", "--volume-desc=a\tb"], 9, "--volume-desc"),
    (&["send", "--import-other-from=v:/x"], 9, "VOLUME:|:PATH"),
    (&["list", ""], 9, "can't be the name of a volume"),
    (&["diff", "v", "--local=.", "--session=a,b"], 9, "--session=a,b"),
    (&["diff", "v", "--session=^a,^b,^c"], 9, "--session=^a,^b,^c"),
    (&["delete", "--purge=all", "--local=."], 9, "must be one of other, full"),
    (&["send", "--import-map=v:/x"], 9, "VOLUME:|:FILE"),
    (
        &["send", "--import-map=v:|:map", "--import-other-from=w:|:x"],
        9,
        "no --import-other-from has this volume",
    ),
    (
        &["send", "--import-map=v:|:map", "--import-other-from=v:|:-"],
        9,
        "standard input can only be read as a whole",
    ),
    (
        &["send", "--import-map=v:|:missing", "--import-other-from=v:|:x"],
        9,
        "there is no such file",
    ),
    (
        &["send", "--import-map=v:|:wyng.ini", "--import-other-from=v:|:x"],
        9,
        "--import-map=v:|:wyng.ini: it must be a JSON object",
    ),
    (
        &["send", "--verify-map", "--import-other-from=v:|:x"],
        9,
        "--verify-map means nothing without --import-map",
    ),
    // Conflicts and selection.
    (&["send", "--local=."], 9, "send needs the name of a volume"),
    (&["send", "v"], 9, "send needs --local"),
    (&["receive", "v"], 9, "receive needs --local or --save-to"),
    (&["receive", "--local=."], 9, "receive needs the name of a volume"),
    (&["verify"], 9, "verify needs the name of a volume"),
    (&["add"], 9, "add needs the name of a volume"),
    (&["monitor", "--local=."], 9, "monitor needs the name of a volume"),
    (&["monitor", "v"], 9, "monitor needs --local"),
    (&["diff", "--local=."], 9, "diff needs the name of a volume"),
    (&["diff", "v"], 9, "diff needs --local"),
    (&["diff", "--session=^a,^b"], 9, "diff needs the name of a volume"),
    (
        &["diff", "v", "--remap", "--session=^a", "--local=."],
        9,
        "can't be used together",
    ),
    (
        &["delete"],
        9,
        "delete needs the name of a volume, --vid, --clean or --purge",
    ),
    (
        &["rename", "a"],
        9,
        "rename takes two names, the old and the new, and 1 are given",
    ),
    (&["tag", "--hold"], 9, "tag needs the name of a volume"),
    (&["tag", "v"], 9, "tag needs --tag, --untag, --hold or --release"),
    (&["tag", "v", "--hold", "--release"], 9, "can't be used together"),
    (&["tag", "v", "--tag=@"], 9, "--tag=@ can't be used with tag"),
    (&["tag", "v", "--untag=a b"], 9, "--tag: "),
    (&["tag", "v", "--hold", "--session=^a,^b"], 9, "tag takes one session"),
    (
        &["delete", "a", "b"],
        9,
        "delete takes the name of one volume, and 2 are given",
    ),
    (&["delete", "a", "--vid=Vol_0a1b2c"], 9, "can't be used together"),
    (
        &["delete", "--clean", "--dry-run", "--force", "--local=."],
        9,
        "--dry-run and --clean or --purge can't be used together",
    ),
    (
        &["arch-check", "--change-uuid", "--dry-run", "--force"],
        9,
        "--dry-run and --change-uuid can't be used together",
    ),
    (
        &["arch-check", "--export-keys=kit", "--dry-run"],
        9,
        "--dry-run and --export-keys can't be used together",
    ),
    (
        &["delete", "--vid=a/../b"],
        9,
        "--vid=a/../b must be Vol_ and hex digits",
    ),
    (&["delete", "--clean"], 9, "delete needs --local"),
    (&["delete", "--clean", "v", "--local=."], 9, "can't be used together"),
    (
        &["delete", "--clean", "--local=."],
        1,
        "nobody is there to be asked whether local snapshots may be removed",
    ),
    (
        &["receive", "a", "b", "--save-to=x"],
        9,
        "--save-to takes exactly one volume",
    ),
    (&["receive", "a", "--save-to=-", "--json"], 9, "can't be used together"),
    (
        &["receive", "a", "--save-to=."],
        9,
        "--save-to=. is a folder; one file or device is needed\nhint: ",
    ),
    (&["receive", "a", "--save-to=new/"], 9, "--save-to=new/ is a folder"),
    (&["list", "--save-to=x"], 9, "--save-to can't be used with list"),
    (&["list", "--vols-from=x"], 9, "--vols-from can't be used with list"),
    (&["send", "--vols-from=missing.json"], 9, "there is no such file"),
    (&["send", "--vols-from=wyng.ini"], 9, "--vols-from=wyng.ini"),
    // The destination.
    (&["list", "--dest="], 9, "no archive was named"),
    (&["list", "--dest=ftp://host/x"], 9, "ftp://host/x"),
    (&["list", "--dest=file://host/x"], 9, "file://host/x"),
    (&["list", "--dest=ssh://a b/x"], 9, "odd characters"),
    (&["list", "--dest=ssh:///x"], 9, "it names no host"),
    (&["list", "--limit-rate=fast"], 9, "--limit-rate"),
    (&["list", "--link-timeout=0"], 9, "--link-timeout"),
    (&["list"], 6, "does not exist"),
    (&["delete", "v"], 6, "does not exist"),
    (&["delete", "--vid=Vol_123456"], 6, "does not exist"),
    (&["send", "v", "--local=."], 6, "does not exist"),
    (&["list", "--dest=file:wyng.ini"], 6, "file:wyng.ini is not a folder"),
    (&["list", "--dest=file:wyng.ini/x"], 6, "file:wyng.ini/x does not exist"),
    (
        &["send", "v", "--local=.", "--dest=file:wyng.ini"],
        6,
        "is not a folder",
    ),
    (
        &["arch-init", "--encrypt=off", "--dest=file:wyng.ini"],
        5,
        "is not writable",
    ),
    (
        &["arch-init", "--encrypt=off", "--dest=file:wyng.ini/x"],
        5,
        "is not writable",
    ),
];

#[test]
fn wrong_command_lines_end_with_their_code_and_touch_nothing() {
    let world = World::new();
    for (arguments, code, message) in REFUSED {
        let ran = world.wyng(arguments);
        assert_eq!(ran.code, *code, "{arguments:?}: {ran:#?}");
        assert!(
            ran.stderr.contains(message),
            "{arguments:?}: {message:?} is missing in {ran:#?}"
        );
        let prints = |argument: &&str| argument.contains("://") || *argument == "--json";
        if matches!(code, 2 | 9) && !arguments.iter().any(prints) {
            assert_eq!(ran.stdout, "", "{arguments:?}: no banner before a refusal");
        }
        assert!(!world.exists("archive"), "{arguments:?}");
    }
    let left: Vec<_> = std::fs::read_dir(&world.dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|name| name == "wyng.ini" || name == "state"),
        "{left:?}"
    );
}

#[test]
fn options_that_do_not_apply_are_accepted() {
    let world = World::with_archive();
    let idle = [
        "--sparse",
        "--use-snapshot",
        "--autoprune=full",
        "--vid=x",
        "--purge=other",
        "--quick",
        "--vouch=fs_online_factors",
    ];
    let more = [
        "--force-retry",
        "--purge-tmp",
        "--tar-bypass",
        "--hashtype=blake2b",
        "--remap",
        "--opt-ssh=-v",
        "--no-sparse-write",
    ];
    world.wyng(&[&["list"][..], &idle, &more].concat()).ends(0);
    world
        .wyng(&[
            "receive",
            "a.img",
            "--save-to=x",
            "--no-sparse",
            "--autoprune=full",
            "--keep=^x",
        ])
        .ends(0);
}

#[test]
fn without_a_destination_a_hint_tells_how_to_begin() {
    let world = World::new();
    let ran = run(world.bare(&["--config=wyng.ini", "list"])).ends(9);
    assert_eq!(
        ran.stderr,
        "error: no archive was named\n\
         hint: name it with --dest=file:/path, or by a line \"dest = file:/path\" in the ini\n      \
         file; a new one is made by: wyng --dest=file:/path arch-init\n"
    );
}

#[test]
fn version_and_help_need_nothing() {
    let world = World::new();
    let banner = concat!("Wyng 0.8 rs", env!("CARGO_PKG_VERSION"), " release 20261123\n");
    for arguments in [
        &["version"][..],
        &["--version"],
        &["version", "--quiet", "-u"],
        &["version", "ignored"],
    ] {
        assert_eq!(run(world.bare(arguments)).ends(0).stdout, banner, "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["-h"], &["help"], &["help", "help"]] {
        let ran = run(world.bare(arguments))
            .ends(0)
            .prints("Usage: wyng [OPTIONS] COMMAND")
            .prints("--import-other-from");
        assert_eq!(ran.stderr, "");
    }
    for arguments in [&["help", "send"][..], &["send", "--help"], &["-h", "send", "--local=x"]] {
        run(world.bare(arguments))
            .ends(0)
            .prints("Usage: wyng [OPTIONS] send [VOLUME]...")
            .prints("Examples:");
    }
}

#[test]
fn help_texts_are_as_reviewed() {
    // After a wanted change: WYNG_UPDATE_SNAPSHOTS=1 cargo test -p wyng help_texts
    let update = std::env::var_os("WYNG_UPDATE_SNAPSHOTS").is_some();
    let world = World::new();
    for command in [
        "",
        "arch-init",
        "send",
        "receive",
        "list",
        "doctor",
        "verify",
        "monitor",
        "diff",
        "prune",
        "delete",
        "rename",
        "tag",
        "arch-deduplicate",
        "arch-check",
        "add",
        "serve",
        "mount",
        "nbd",
        "generate",
        "version",
    ] {
        let arguments: Vec<&str> = ["help", command].into_iter().filter(|word| !word.is_empty()).collect();
        let text = run(world.bare(&arguments)).ends(0).stdout;
        let name = format!(
            "{}/tests/snapshots/{}.txt",
            env!("CARGO_MANIFEST_DIR"),
            arguments.join("-")
        );
        if update {
            std::fs::write(&name, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&name).unwrap(), "{name}");
    }
}

#[test]
fn the_ini_file_is_below_the_command_line() {
    let world = World::with_archive();
    let list = |ini: &str, arguments: &[&str]| {
        world.write(
            "wyng.ini",
            format!("[other]\nnosuch = 1\n[var-global-default]\n{ini}").as_bytes(),
        );
        world.wyng(&[&["list"][..], arguments].concat())
    };
    assert!(list("json = yes\n", &[]).ends(0).stdout.contains("\n{"));
    assert!(!list("json = yes\n", &["--no-json"]).ends(0).stdout.contains("\n{"));
    assert!(
        list("verbose = 1\n", &[])
            .ends(0)
            .stdout
            .contains("Archive Properties:")
    );
    let quiet_again = list("verbose = 2\n", &["--no-verbose"]).ends(0);
    assert!(!quiet_again.stdout.contains("Archive Properties:"), "{quiet_again:#?}");
    // Lists are appended to.
    let ran = list("volex =\n  a.img\n", &["--all", "--volex=b c.img"]).ends(0);
    assert_eq!(ran.body(), "");
    // The destination of the ini file counts where the command line names none.
    world.write(
        "wyng.ini",
        b"[var-global-default]\ndest = file:archive\nmeta-dir = state\n",
    );
    run(world.bare(&["--config=wyng.ini", "list"]))
        .ends(0)
        .prints(" a.img\n");
    run(world.bare(&["--config=wyng.ini", "list", "--dest=file:elsewhere"])).ends(6);
}

#[test]
fn what_is_wrong_in_the_ini_file_is_said() {
    let world = World::with_archive();
    for (ini, arguments, code, message) in [
        ("nosuch = 1", &["list"][..], 9, "there is no option \"nosuch\""),
        ("local-from = x", &["list"], 9, "there is no option \"local-from\""),
        ("dedup = maybe", &["list"], 9, "wyng.ini: dedup=maybe must be 1 or 0"),
        (
            "authmin = x",
            &["list"],
            9,
            "wyng.ini: authmin=x must be a whole number",
        ),
        ("broken", &["list"], 9, "wyng.ini"),
        (
            "autoprune = sometimes",
            &["send", "v", "--local=."],
            9,
            "wyng.ini: autoprune=sometimes must be one of off, on, min, full",
        ),
        // These once ended every send.
        (
            "apdays = 5:0:1:1\nkeep = ^x\nkeep-daily = 3",
            &["send", "--import-other-from=a.img:|:a.img"],
            0,
            "",
        ),
        (
            "autoprune = full\nkeep = ^x",
            &["send", "--import-other-from=a.img:|:a.img", "--autoprune=off"],
            0,
            "",
        ),
        (
            "autoprune = on\napdays = 5:0:1:1",
            &[
                "send",
                "--import-other-from=a.img:|:a.img",
                "--autoprune=off",
                "--apdays=0:62:1:2",
            ],
            0,
            "",
        ),
        ("sparse = 1", &["receive", "a.img", "--save-to=y", "--no-sparse"], 0, ""),
        ("autoprune = OFF\nsparse = 0", &["list"], 0, ""),
        ("sparse = 1", &["receive", "a.img", "--save-to=x"], 0, ""),
        ("sparse = 1", &["list"], 0, ""),
        (
            "force = 1\nunattended = 1",
            &["list", "--quiet"],
            0,
            "Ignoring config item: force\nIgnoring config item: unattended\n",
        ),
        ("passcmd = date +%Y", &["list"], 0, ""),
    ] {
        world.write("wyng.ini", format!("[var-global-default]\n{ini}\n").as_bytes());
        let ran = world.wyng(arguments);
        assert_eq!(ran.code, code, "{ini}: {ran:#?}");
        assert!(ran.stderr.contains(message), "{ini}: {ran:#?}");
    }
    world
        .wyng(&["list", "--config=missing.ini"])
        .ends(1)
        .says("missing.ini does not exist");
}

#[test]
fn an_ini_file_that_others_can_change_is_warned_about() {
    let world = World::with_archive();
    let mode = |mode| std::fs::set_permissions(world.path("wyng.ini"), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    assert_eq!(world.wyng(&["list"]).ends(0).stderr, "");
    mode(0o664);
    world
        .wyng(&["list"])
        .ends(0)
        .says("warning: ")
        .says("wyng.ini can be changed by other users");
}

#[test]
fn refusals_come_as_documents_where_asked_for() {
    let world = World::new();
    let ran = world
        .wyng(&["send", "v", "--json"])
        .ends(9)
        .says("error: send needs --local");
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["exit_code"], 9);
    assert_eq!(document["error"], "send needs --local");
    let ran = world.wyng(&["verify", "v", "--json"]).ends(6);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&document["exit_code"], &document["command"]),
        (&6.into(), &"verify".into())
    );
}
