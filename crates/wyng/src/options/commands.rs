//! The table of commands: their names, what they are for, and examples.

use super::command::{About, Command};

/// All commands, in the order of the help.
pub static COMMANDS: &[About] = &[
    About {
        command: Command::ArchInit,
        name: "arch-init",
        arguments: "",
        summary: "make a new archive",
        text: "Makes the folder named by --dest, with those above it, and an empty archive in it. The archive is \
               encrypted unless --encrypt=off is given; the passphrase is asked for once and can't be changed later.",
        examples: &[
            ("wyng --dest=file:/mnt/disk/backup arch-init", "an encrypted archive"),
            (
                "wyng --dest=file:/mnt/disk/plain --encrypt=off arch-init",
                "one that anybody can read",
            ),
        ],
    },
    About {
        command: Command::Send,
        name: "send",
        arguments: "[VOLUME]...",
        summary: "back up volumes",
        text: "Stores a new session of each volume: its state at one instant. The first is complete, later ones hold \
               what changed. Volumes are files below --local; names that the archive does not know yet are added to it.",
        examples: &[
            ("wyng send --local=/var/lib/images vm1.img", "back up one image"),
            (
                "wyng send --local=/var/lib/images --all",
                "and all that the archive has already",
            ),
            (
                "wyng send --import-other-from='etc:|:/root/etc.tar'",
                "a file that lies elsewhere",
            ),
            (
                "wyng send --dry-run --all --local=/var/lib/images",
                "only say what would be sent",
            ),
        ],
    },
    About {
        command: Command::Receive,
        name: "receive",
        arguments: "[VOLUME]...",
        summary: "restore volumes",
        text: "Writes the newest session of each volume, or the one named by --session, to --local or --save-to. \
               Files that exist already are replaced only when the new data is complete and verified. Damage fails \
               the volume; with --skip-corrupt-chunks zeros stand for what can't be read, each range is listed, and the exit \
               code is 2. After the newest \
               session is restored to a --local on Btrfs or XFS, the next send is incremental.",
        examples: &[
            (
                "wyng receive --save-to=/tmp/vm1.img vm1.img",
                "the newest session into a file",
            ),
            ("wyng receive --local=/var/lib/images --all", "everything, in its place"),
            (
                "wyng receive --local=/var/lib/images --use-snapshot --sparse vm1.img",
                "back to the last backup, with the least to fetch",
            ),
            (
                "wyng receive --session=20261120-090000 --save-to=- vm1.img >copy",
                "an older one to a pipe",
            ),
        ],
    },
    About {
        command: Command::List,
        name: "list",
        arguments: "[VOLUME]...",
        summary: "show volumes, sessions and tags",
        text: "Without names: the volumes of the archive. With names, or --all: their sessions.",
        examples: &[
            (
                "wyng list --verbose",
                "volumes with size, newest session and their number",
            ),
            ("wyng list vm1.img", "the sessions of a volume"),
            ("wyng list --json -u", "everything, for programs"),
        ],
    },
    About {
        command: Command::Status,
        name: "status",
        arguments: "[VOLUME]...",
        summary: "show how old the backups are, and what is left to do",
        text: "Without names: of all volumes. The newest session of each and its age, what monitor noted to have changed \
               since, when it was last found good, and the number of sessions; then the room that is left at the \
               destination, sends that were interrupted, and with --local snapshots there that are of no use. Only reads, \
               and never waits for another wyng. With --max-age the exit code is 2 if a volume's newest session is older \
               and no send from here has found it unchanged within that time, or if it has none.",
        examples: &[
            ("wyng status", "how things are"),
            (
                "wyng status --max-age=26h --quiet",
                "from a timer: silent, unless a backup is missing",
            ),
            (
                "wyng status --metrics=/var/lib/prometheus/node-exporter/wyng.prom",
                "figures for the node exporter of Prometheus",
            ),
        ],
    },
    About {
        command: Command::Report,
        name: "report",
        arguments: "[VOLUME]...",
        summary: "write a page about the archive for a browser",
        text: "Writes one file that any browser shows, needs no other and runs no program: the state of the archive and of each \
               volume, its sessions on a time line with tags, what each added, what it takes at the destination, when it was last \
               verified, and what wyng prune --all would remove next by the rules of the ini file or of this command. Without \
               names: of all volumes. Only reads, and never waits for another wyng. The file is replaced in one step, and anybody \
               may read it (mode 0644). Damage is shown in the page; the exit code is 2 then.",
        examples: &[
            (
                "wyng report --html=/var/www/html/backup.html",
                "from a timer, for a web server",
            ),
            (
                "wyng report --html=/tmp/backup.html --keep-daily=14 --keep-weekly=8",
                "what would these rules remove?",
            ),
            (
                "wyng report --html=- vm1.img >vm1.html",
                "one volume, to standard output",
            ),
        ],
    },
    About {
        command: Command::Doctor,
        name: "doctor",
        arguments: "[VOLUME]...",
        summary: "look for what keeps backups from working",
        text: "Looks at this machine (kernel, programs, rights), at --local and whether a send will read only what changed \
               there, at the room of thin pools and of the destination, snapshots that belong to no volume, what this host \
               remembers, locks that were left, and the archive. Each finding is ok, a note or a problem; below the latter \
               two stands what to do. Without --local and --dest only this machine is looked at. Changes nothing, takes no \
               lock, and asks for no passphrase: of an encrypted archive whose keys are not remembered it says what it \
               could not look at. The exit code is 1 if there is a problem. With --quiet only problems are printed, on \
               standard error.",
        examples: &[
            ("wyng doctor", "this machine, and what the ini file names"),
            (
                "wyng doctor --local=vg0/pool --dest=ssh://backup@host/srv/vms vm1-root",
                "a thin pool, a volume in it, and a destination",
            ),
            ("wyng doctor --quiet", "from a timer: silent, unless there is a problem"),
        ],
    },
    About {
        command: Command::Verify,
        name: "verify",
        arguments: "[VOLUME]...",
        summary: "read sessions back and check every byte",
        text: "Fetches all data of the newest session of each volume, or of the one named by --session, and checks it \
               as receive would, without writing anything. Goes on after damage and lists every bad range. list --verbose \
               shows when a session was last verified. With --run a program of yours is to find out: the session is shown to it \
               as a read-only image file in a mount of its own (FUSE), its words get the path for {}, and its environment has \
               WYNG_IMAGE, WYNG_VOLUME and WYNG_SESSION. With {nbd} in its words it gets a network block device instead, at an \
               address such as qemu takes, and needs no FUSE. No shell is used. An exit code other than 0 fails the volume. Only what \
               the program looks at is fetched and checked.",
        examples: &[
            ("wyng verify --all", "the newest session of everything"),
            ("wyng verify --session=^monthly vm1.img", "the newest one with a tag"),
            (
                "wyng verify vm1.img --run='fsck.ext4 -f -n {}'",
                "is the file system in it whole?",
            ),
            (
                "wyng verify vm1.img --run='qemu-img check -f qcow2 {nbd}'",
                "a qcow2 image, without FUSE",
            ),
        ],
    },
    About {
        command: Command::Monitor,
        name: "monitor",
        arguments: "[VOLUME]...",
        summary: "note what changed, without sending it",
        text: "Notes which parts of each volume changed since the last send or monitor and renews the local snapshot, so \
               that this does not hold old data any more. The next send reads what was noted and what changed since. The \
               archive is only read. Says nothing on standard error when all is well, so it suits cron.",
        examples: &[
            (
                "wyng monitor --local=/var/lib/images --all",
                "every volume that has a snapshot",
            ),
            (
                "wyng monitor --vols-from=/etc/wyng/volumes.json --quiet",
                "those of several storages, from a timer",
            ),
        ],
    },
    About {
        command: Command::Diff,
        name: "diff",
        arguments: "[VOLUME]...",
        summary: "compare sessions with local volumes, or with each other",
        text: "Compares the newest session of each volume, or the one named by --session, with the local volume as it is \
               now. A local snapshot made for this, where the storage can, keeps it still. All that differs is counted; \
               --verbose and --json list it. With --session=A,B two sessions are compared, from their lists of chunks \
               alone. The exit code is 2 if anything differs.",
        examples: &[
            ("wyng diff --local=/var/lib/images vm1.img", "with the newest session"),
            (
                "wyng diff --quick --local=/var/lib/images --all",
                "fetch only what seems to differ",
            ),
            (
                "wyng diff --session=^monthly,newest --verbose vm1.img",
                "what changed between two sessions",
            ),
            (
                "wyng diff --remap --local=/var/lib/images vm1.img",
                "make the next send incremental again",
            ),
        ],
    },
    About {
        command: Command::Prune,
        name: "prune",
        arguments: "[VOLUME]...",
        summary: "remove old sessions",
        text: "Removes sessions from the archive; those that stay hold what they held. Which ones go is said by --session \
               (one, all with a tag, a range A,B, or with --all-before everything older), by --autoprune, or by rules \
               such as --keep-daily, which remove what none of them keeps. The newest session of a volume, held ones, \
               and what --keep or a rule keeps always stay. No data is read or copied. --dry-run lists every session, the \
               rule that decides about it, and the bytes that come back.",
        examples: &[
            (
                "wyng prune --keep-daily=14 --keep-weekly=8 --keep-yearly=5 --dry-run --all",
                "what these rules would remove",
            ),
            (
                "wyng prune --session=20260101-000000,20260331-235959 vm1.img",
                "the sessions of three months",
            ),
            (
                "wyng prune --session=^release --all-before vm1.img",
                "everything older than the oldest session with a tag",
            ),
        ],
    },
    About {
        command: Command::Delete,
        name: "delete",
        arguments: "[VOLUME]",
        summary: "remove a volume from the archive, or local snapshots",
        text: "With a name, or --vid: removes the volume with all its sessions from the archive for good, and its local \
               snapshots if --local is given; the local volume itself is not touched. Asks first, if somebody is there. \
               With --clean or --purge: removes snapshots that backups left below --local, with --clean those of this \
               archive, and what this host has cached of it; with --purge=other those of all other archives; with --all \
               those of every archive. The archive is not touched, but the next send of a volume whose snapshot is gone \
               reads everything. Asks first; where nobody can be asked it needs --force.",
        examples: &[
            ("wyng delete old.img", "a volume that is not needed any more"),
            ("wyng delete --vid=Vol_8a61f1", "one whose name can't be read"),
            (
                "wyng delete --clean --local=/var/lib/images",
                "this archive's snapshots",
            ),
            (
                "wyng delete --purge=other --local=/var/lib/images",
                "those of archives that are not used any more",
            ),
        ],
    },
    About {
        command: Command::Rename,
        name: "rename",
        arguments: "OLD NEW",
        summary: "rename a volume in the archive, or describe it",
        text: "Only the archive's name changes; the local volume is yours to rename. If --local is given and has a volume of \
               the new name, the local snapshot follows, so that the next send is incremental. The description stays, \
               unless --volume-desc gives a new one; with the same name twice that is all that changes.",
        examples: &[
            ("wyng rename vm1.img mail.img", "a new name"),
            (
                "wyng rename vm1.img vm1.img --volume-desc='mail server'",
                "a new description",
            ),
        ],
    },
    About {
        command: Command::Tag,
        name: "tag",
        arguments: "[VOLUME]...",
        summary: "tag sessions, or hold them against pruning",
        text: "Changes the tags of one session of each volume: of the newest, or of the one named by --session; with \
               --session=^TAG of all that have it. A session has five tags at most. One that is held, which is to have \
               the tag hold, is never pruned. The data of the session is not touched.",
        examples: &[
            (
                "wyng tag --session=20261120-090000 --tag='good,before the upgrade' vm1.img",
                "tag an older session",
            ),
            ("wyng tag --hold --all", "keep the newest session of everything"),
            ("wyng tag --release --session=^good vm1.img", "let go what is tagged so"),
            ("wyng tag --untag=good --session=^good --all", "remove a tag"),
        ],
    },
    About {
        command: Command::ArchDeduplicate,
        name: "arch-deduplicate",
        arguments: "",
        summary: "store equal data of an archive once",
        text: "Looks through all sessions, newest first, and makes chunks with the same data one file with several names \
               (hard links), as send --dedup does for what it stores. Each is read and checked before others are replaced \
               by it. No session changes, and it can be stopped and begun again at any moment. Takes 40 bytes of memory \
               per different chunk. The destination must have hard links.",
        examples: &[
            ("wyng arch-deduplicate", "free what is stored twice"),
            ("wyng arch-deduplicate --dry-run", "only say how much that is"),
        ],
    },
    About {
        command: Command::ArchCheck,
        name: "arch-check",
        arguments: "[VOLUME]...",
        summary: "look for damage in an archive, or give it a new identity",
        text: "Checks the metadata of all volumes, and reads back the data of all sessions: each stored file once. With names, \
               --session or --volex only the data of those is read; --all-before adds everything older. Says of each damage \
               what it costs and what to do, and names files that nothing speaks of. Goes on after damage; the exit code is 2 \
               if there is any. With --budget, which takes no choice of volumes or sessions, it stops after a time, and the \
               next one goes on there; list --verbose shows when a session was last verified. With --repair: checks \
               everything, whatever is chosen, says what can be put right, and does it after a question: metadata from copies \
               in the archive, on this host or in --from=URL, damaged data from equal data in any of these or in the local \
               snapshot below --local, and as the last resort a volume goes back to its last readable session. With --clean: \
               removes files that nothing speaks of, and with --local the snapshots there of volumes that the archive does not \
               have, which a check with --local names. Where nobody can be asked both need --force; --dry-run only says what \
               they would do. With --export-keys: writes a recovery kit, with which and the passphrase the archive can be \
               opened after archive.ini and archive.salt are lost. Where a key may only add \
               (wyng serve --append-only), the server keeps what it replaced, and nothing is removed until the administrator has \
               looked: --accept-root says which volumes and sessions earlier states show and the present one does not, and \
               accepts it; --return-to makes the archive what it was at that time. With --change-uuid: replaces the uuid of the archive, as is \
               needed for a copy that is to live on beside its original. Local snapshots belong to the old one, so the next send reads everything, and delete \
               --purge=other removes them. Asks first; where nobody can be asked it needs --force. With --upgrade-format: an \
               archive of format V3 needs none; one of format V2 is refused, because only the original program upgrades it.",
        examples: &[
            ("wyng arch-check", "everything"),
            (
                "wyng arch-check --all --session=newest",
                "the data that the newest sessions added",
            ),
            (
                "wyng arch-check --session=20261120-235959 --all-before vm1.img",
                "what a volume stored up to a date",
            ),
            (
                "wyng arch-check --repair --from=file:/mnt/copy",
                "put right what is damaged, also from a copy of the archive",
            ),
            (
                "wyng --dest=file:/mnt/copy arch-check --change-uuid",
                "make a copy an archive of its own",
            ),
        ],
    },
    About {
        command: Command::Add,
        name: "add",
        arguments: "VOLUME...",
        summary: "add empty volumes to the archive",
        text: "Volumes that are sent are added by themselves, so this is seldom needed.",
        examples: &[(
            "wyng add vm2.img --volume-desc='mail server'",
            "add a volume with a description",
        )],
    },
    About {
        command: Command::Mount,
        name: "mount",
        arguments: "[VOLUME]... FOLDER",
        summary: "show sessions as image files in a folder",
        text: "Mounts a file system (FUSE) at an empty folder: a folder for each volume, in it an image file for each \
               session, DATE.img, and a link latest to the newest. Data is fetched from the archive as it is read, and \
               checked before it is given out. It shows what the archive has now, and ends with Ctrl-C, SIGTERM or \
               umount. With --overlay the images can be written to: what is written is kept in that folder and seen \
               again the next time; the archive never changes.",
        examples: &[
            ("wyng mount /mnt/backup", "all volumes"),
            ("wyng mount vm1.img /mnt/backup", "one"),
            (
                "wyng mount --overlay=/var/tmp/try vm1.img /mnt/backup",
                "images that a VM can be started from",
            ),
        ],
    },
    About {
        command: Command::Nbd,
        name: "nbd",
        arguments: "VOLUME[@SESSION]",
        summary: "serve a session as a network block device",
        text: "Serves one session to qemu, libvirt, nbd-client or nbdcopy, at a socket of this machine, read-only or with \
               --overlay writable as in mount. Without @SESSION it is the newest. Its size is counted in whole sectors of 512 bytes. It ends with Ctrl-C or SIGTERM, with \
               --once also when its last client has gone.",
        examples: &[
            ("wyng nbd vm1.img --socket=/run/vm1.sock", "the newest session"),
            (
                "wyng nbd vm1.img@20261122-041736 --socket=/run/vm1.sock",
                "an older one",
            ),
            (
                "qemu-img info 'nbd+unix:///?socket=/run/vm1.sock'",
                "what a client sees",
            ),
        ],
    },
    About {
        command: Command::Serve,
        name: "serve",
        arguments: "",
        summary: "be the far side of another machine's backups",
        text: "Reads requests from standard input and answers on standard output, as a wyng on another machine starts it \
               through ssh or qvm-run. Needs no --dest and reads no ini file. As a forced command in authorized_keys it \
               limits what a key may do: --restrict confines it to a folder, --append-only lets it add sessions but not \
               remove any, --read-only lets it restore only.",
        examples: &[
            (
                "command=\"wyng serve --restrict=/srv/backup\",restrict ssh-ed25519 AAAA… laptop",
                "a line of authorized_keys",
            ),
            ("wyng serve --protocol=1 --check", "is this one new enough?"),
        ],
    },
    About {
        command: Command::Generate,
        name: "generate",
        arguments: "WHAT [COMMAND]",
        summary: "print completions for a shell, or a manual page",
        text: "Prints the completions for bash, zsh or fish, or with man the manual page of wyng or of one of its commands. \
               The Debian and RPM packages have them all; this is for who installed the program alone. Needs no archive.",
        examples: &[
            (
                "wyng generate bash >/etc/bash_completion.d/wyng",
                "completions for bash",
            ),
            ("wyng generate man send | man -l -", "read a manual page"),
        ],
    },
    About {
        command: Command::Version,
        name: "version",
        arguments: "",
        summary: "show the version",
        text: "Prints the version and needs no archive.",
        examples: &[],
    },
    About {
        command: Command::Help,
        name: "help",
        arguments: "[COMMAND]",
        summary: "show this help, or that of a command",
        text: "",
        examples: &[],
    },
];
