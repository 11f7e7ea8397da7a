#!/usr/bin/env python3
"""Takes the measurements of benches/run and prints figure, limit and result.

Every measurement starts with dropped caches. A limit is made from a baseline (`cargo xtask baseline`) of the same run;
medians are compared. Keys of the encrypted archive are remembered beforehand, so their derivation is not in the figures.
"""
import argparse
import array
import ctypes
import fcntl
import json
import os
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KINDS = ("plain", "encrypted")
MILLION = 1_000_000
# What one prune calls, as strace counts it.
PRUNE_SYNCS = {"syncfs": 3, "fsync": 13}
LIBC = ctypes.CDLL(None, use_errno=True)
EXTENTS = (10_000, 100_000, 300_000)
# Numbers of linux/fs.h.
FICLONE = 0x40049409
FS_IOC_FIEMAP = 0xC020660B


class Bench:
    """The folders and programs, and the measurements taken so far."""

    def __init__(self, options):
        self.repeat = options.repeat
        self.work = Path(options.work)
        self.pool = self.work / "btr"
        self.bin = Path(options.bin)
        self.measured = {}  # name -> list of values, in the order taken
        self.rows = []  # the table
        self.image = self.pool / "vms" / "vm1.img"
        (self.work / "state").mkdir(exist_ok=True)
        (self.work / "passphrase").write_text("a passphrase for benchmarks\n")

    # ---- running ------------------------------------------------------------------------------------------

    def drop_caches(self):
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")

    def run(self, *command):
        """Runs a command; returns its standard output, wall seconds and peak memory in MiB."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            text = out.read().decode()
            if child.returncode != 0:
                err.seek(0)
                words = " ".join(str(word) for word in command)
                sys.exit(f"exit {child.returncode}: {words}\n{text}{err.read().decode()}")
        return text, seconds, usage.ru_maxrss / 1024

    def wyng(self, kind, *words):
        """Runs wyng on the archive of this kind."""
        return self.run(
            self.bin / "wyng",
            f"--dest=file:{self.work}/archives/{kind}",
            f"--meta-dir={self.work}/state",
            f"--passcmd=cat {self.work}/passphrase",
            "--authmin=60",
            *words,
        )

    def timed(self, name, kind, *words):
        """One cold measurement; returns the command's JSON report."""
        self.drop_caches()
        text, seconds, peak = self.wyng(kind, "--json", *words)
        self.note(name, seconds)
        self.note(f"{name}: peak MiB", peak)
        print(f"  {name:44} {seconds:8.3f} s {peak:8.1f} MiB", flush=True)
        return json.loads(text)

    def baseline(self, name, *words):
        """One run of the baseline tool, which drops the caches itself."""
        text, _, _ = self.run(self.bin / "xtask", "baseline", *words)
        report = json.loads(text)
        self.note(name, report["least_seconds"])
        for key, value in report.items():
            self.note(f"{name}: {key}", value)
        print(f"  {name:44} {report['least_seconds']:8.3f} s   baseline", flush=True)
        return report

    def note(self, name, value):
        self.measured.setdefault(name, []).append(value)

    def median(self, name):
        return statistics.median(self.measured[name])

    def new_archive(self, kind):
        """An empty archive, its keys remembered, without snapshots of an earlier one."""
        shutil.rmtree(self.work / "archives" / kind, ignore_errors=True)
        for snapshot in self.pool.glob("*/sn*.wyng?"):
            snapshot.unlink()
        (self.work / "archives").mkdir(exist_ok=True)
        self.wyng(kind, "arch-init", f"--encrypt={'off' if kind == 'plain' else 'xchacha20-dgr'}")
        self.wyng(kind, "list")

    # ---- figures ------------------------------------------------------------------------------------------

    def row(self, figure, measured, limit, unit, how="fixed", ratio=None):
        """A figure; without a limit it is only shown."""
        self.rows.append({"figure": figure, "measured": measured, "limit": limit, "unit": unit,
                          "limit_is": how if limit is not None else "none", "ratio": ratio,
                          "reached": limit is None or measured <= limit})

    def against(self, figure, name, base, factor, extra=0.0):
        """A row: the median of `name` against factor x the median of `base` + extra seconds."""
        least, measured = self.median(base), self.median(name)
        how = f"{factor} x {least:.3f} s" + (f" + {extra} s" if extra else "")
        self.row(figure, measured, factor * least + extra, "s", how, (measured - extra) / least if measured > extra else None)

    def first_send(self):
        print("First send")
        for _ in range(self.repeat):
            self.baseline("least first send", "send", self.image, self.work / "files")
            for kind in KINDS:
                self.new_archive(kind)
                self.timed(f"first send, {kind}", kind, "send", "vm1.img", f"--local={self.image.parent}")
        self.against("first send, unencrypted", "first send, plain", "least first send", 1.5)
        self.against("first send, encrypted", "first send, encrypted", "least first send", 1.6)

    def change(self):
        print("Incremental")
        old = self.pool / "old.img"
        most = 0.0
        # The last archive made dropped the other's snapshot: this send makes both bases again.
        for kind in KINDS:
            self.wyng(kind, "send", "vm1.img", f"--local={self.image.parent}")
        for number in range(1, self.repeat + 1):
            old.unlink(missing_ok=True)
            self.run("cp", "--reflink=always", self.image, old)
            self.run(HERE / "change-image", self.work, number)
            truth = self.baseline("least incremental", "change", old, self.image)["changed_chunks"]
            for kind in KINDS:
                send = ("send", "vm1.img", f"--local={self.image.parent}")
                report = volume(self.timed(f"incremental, {kind}", kind, *send))
                most = max(most, report["chunks_read"] / truth)
                self.note("chunks read / chunks changed", report["chunks_read"] / truth)
                # Names of sessions have seconds: a send within the second of the one before waits for the next.
                time.sleep(1)
                self.timed(f"nothing changed, {kind}", kind, *send)
        old.unlink()
        for kind in KINDS:
            self.against(f"incremental, {kind}", f"incremental, {kind}", "least incremental", 1.5, 0.1)
            self.row(f"nothing changed, {kind}", self.median(f"nothing changed, {kind}"), 0.1, "s")
        self.row("chunks read / chunks truly changed", most, 1.1, "x")

    def restore(self):
        print("Restore and verify")
        out = self.pool / "out"
        out.mkdir(exist_ok=True)
        for number in range(self.repeat):
            self.baseline("sparse copy", "copy", self.image, out / "copy.img")
            (out / "copy.img").unlink()
            for kind in KINDS:
                self.timed(f"restore, {kind}", kind, "receive", "vm1.img", f"--save-to={out}/restored.img")
                if number == 0:
                    self.run("cmp", self.image, out / "restored.img")
                (out / "restored.img").unlink()
                self.timed(f"verify, {kind}", kind, "verify", "vm1.img")
        for kind in KINDS:
            self.against(f"restore, {kind}", f"restore, {kind}", "sparse copy", 1.5)
            self.against(f"verify, {kind}", f"verify, {kind}", f"restore, {kind}", 0.7)

    def check(self):
        """The whole archive of the image, against reading, hashing and decompressing its chunk files on two threads."""
        print("Check")
        for kind in KINDS:
            self.new_archive(kind)
            self.wyng(kind, "send", "vm1.img", f"--local={self.image.parent}")
        for _ in range(self.repeat):
            self.baseline("least check", "check", self.work / "archives" / "plain")
            for kind in KINDS:
                report = self.timed(f"arch-check, {kind}", kind, "arch-check")
                if report["volumes"][0]["damage"] or not report["volumes"][0]["sessions"][0]["data_checked"]:
                    sys.exit(f"not checked: {report}")
        for kind in KINDS:
            # 0.8 x the speed of the baseline.
            self.against(f"arch-check, {kind}", f"arch-check, {kind}", "least check", 1.25)
            peak = max(self.measured[f"arch-check, {kind}: peak MiB"])
            self.row(f"arch-check, {kind}, peak memory", peak, None, "MiB")

    def snapshot(self):
        """The newest session out of the local snapshot: no more than the syncs that it needs and a moment."""
        print("Restore from the local snapshot")
        second = self.work / "xfs"
        second.mkdir(exist_ok=True)
        self.run("truncate", "-s", "6G", self.work / "xfs.img")
        self.run("mkfs.xfs", "-q", "-f", self.work / "xfs.img")
        self.run("mount", "-o", "loop,noatime", self.work / "xfs.img", second)
        self.run("cp", "--sparse=always", self.image, second / "vm1.img")
        for name, image in (("Btrfs", self.image), ("XFS", second / "vm1.img")):
            figure, local = f"--use-snapshot, {name}", f"--local={image.parent}"
            self.new_archive("plain")
            self.wyng("plain", "send", "vm1.img", local)
            for number in range(self.repeat):
                with open(image, "r+b") as written:
                    for block in range(1000):
                        written.seek((block * 3989 + number) * 4096 % (4 << 30))
                        written.write(os.urandom(4096))
                report = volume(self.timed(figure, "plain", "receive", "vm1.img", local, "--use-snapshot"))
                if (report["how"], report["bytes_fetched"], report["paired"]) != ("snapshot", 0, True):
                    sys.exit(f"not restored from the snapshot: {report}")
                (base,) = image.parent.glob("sn*.wyng1")
                self.run("cmp", base, image)
                self.syncs(f"syncs, {name}", image)
            self.against(figure, figure, f"syncs, {name}", 1.0, 0.3)
        self.run("umount", second)
        (self.work / "xfs.img").unlink()

    def syncs(self, name, image):
        """What a clone of the image costs to be made durable under a name, without making it."""
        self.drop_caches()
        part = image.with_suffix(".part")
        with open(image, "rb") as source, open(part, "wb") as clone:
            fcntl.ioctl(clone, FICLONE, source.fileno())
            folder = os.open(image.parent, os.O_DIRECTORY)
            start = time.monotonic()
            os.fsync(clone.fileno())
            part.rename(image.with_suffix(".clone"))
            os.fsync(folder)
            self.note(name, time.monotonic() - start)
            os.close(folder)
        image.with_suffix(".clone").unlink()

    def sparse(self):
        print("1 TiB with 100,000 extents of 4 KiB")
        self.run("btrfs", "subvolume", "create", self.pool / "big")
        big = self.pool / "big" / "big.img"
        self.run(HERE / "make-sparse", big)
        send = ("send", "big.img", f"--local={big.parent}")
        for _ in range(self.repeat):
            self.new_archive("plain")
            self.timed("1 TiB sparse, first send", "plain", *send)
        for number in range(1, self.repeat + 1):
            self.run(HERE / "make-sparse", big, number)
            self.timed("1 TiB sparse, incremental", "plain", *send)
        names = ("1 TiB sparse, first send", "1 TiB sparse, incremental")
        self.row(names[0], self.median(names[0]), 60.0, "s")
        self.row(names[1], self.median(names[1]), 1.5, "s")
        peak = max(value for name in names for value in self.measured[f"{name}: peak MiB"])
        self.row("1 TiB sparse, peak memory", peak, 150.0, "MiB")
        big.unlink()

    def prune(self):
        """One session between others: what it lists moves or goes, and nothing else is touched."""
        print("Prune")
        for kind in KINDS:
            self.new_archive(kind)
            send = ("send", "vm1.img", f"--local={self.image.parent}")
            self.wyng(kind, *send)
            for number in range(1, self.repeat + 2):
                self.run(HERE / "change-image", self.work, number)
                time.sleep(1)
                self.wyng(kind, *send)
            for _ in range(self.repeat):
                self.prune_second(f"prune of the bench image, {kind}", kind, "vm1.img")
                self.prune_syncs("syncs of a prune", self.work / "archives" / kind)
            name = f"prune of the bench image, {kind}"
            self.against(name, name, "syncs of a prune", 1.0, 0.1)
        self.prune_large()

    def prune_second(self, name, kind, volume_name):
        """Prunes the second session of a volume."""
        second = self.sessions(kind, volume_name)[1]
        report = self.timed(name, kind, "prune", volume_name, f"--session={second}")
        if volume(report)["removed"] != [second]:
            sys.exit(f"not pruned: {report}")

    def sessions(self, kind, volume_name):
        """The dates of a volume's sessions, oldest first."""
        text, _, _ = self.wyng(kind, "list", "--json")
        sessions = json.loads(text[text.index("\n{"):])["volumes"][volume_name]["sessions"]
        return sorted(name.removeprefix("S_") for name in sessions)

    def prune_syncs(self, name, folder):
        """What the syncs of a prune cost by themselves, each after a change like the prune's."""
        self.drop_caches()
        place = folder / "syncs"
        place.mkdir()
        start = time.monotonic()
        for what, count in PRUNE_SYNCS.items():
            for number in range(count):
                (place / f"{what}-{number}").write_bytes(b"x")
                self.sync(what, place)
        self.note(name, time.monotonic() - start)
        shutil.rmtree(place)

    def sync(self, what, folder):
        handle = os.open(folder, os.O_DIRECTORY)
        if what == "syncfs":
            if LIBC.syncfs(handle) != 0:
                sys.exit("syncfs failed")
        else:
            os.fsync(handle)
        os.close(handle)

    def prune_large(self):
        """A volume of a million chunks, one of whose sessions changes 10,000 of them."""
        chunk, image = 65536, self.work / "million.img"
        shutil.rmtree(self.work / "archives" / "million", ignore_errors=True)
        self.wyng("million", "arch-init", "--encrypt=off", "--chunk-factor=1")
        send = ("send", f"--import-other-from=million:|:{image}")
        # One block of each chunk holds data, the rest is a hole.
        with open(image, "wb") as file:
            for number in range(MILLION):
                file.seek(number * chunk)
                file.write(number.to_bytes(8, "little") + os.urandom(24))
            file.truncate(MILLION * chunk)
        self.wyng("million", *send)
        map_file = self.work / "million.json"
        for number in range(self.repeat + 1):
            changed = range(number, MILLION, MILLION // 10_000)
            with open(image, "r+b") as file:
                for place in changed:
                    file.seek(place * chunk)
                    file.write(os.urandom(32))
            ranges = [[place * chunk, chunk] for place in changed]
            map_file.write_text(json.dumps({"version": 1, "size": MILLION * chunk, "changed": ranges,
                                            "base_session": self.sessions("million", "million")[-1]}))
            time.sleep(1)
            self.wyng("million", *send, f"--import-map=million:|:{map_file}")
        map_file.unlink()
        image.unlink()
        name = "prune, 1,000,000 chunks"
        for _ in range(self.repeat):
            self.prune_second(name, "million", "million")
        self.row(name, self.median(name), 2.0, "s")
        self.row(f"{name}: peak memory", max(self.measured[f"{name}: peak MiB"]), 150.0, "MiB")

    def extents(self):
        """100 scattered changed blocks in images of very many extents, with warm caches, and what a writing guest notices."""
        xfs = self.work / "xfs"
        self.run("truncate", "-s", "16G", self.work / "xfs.img")
        self.run("mkfs.xfs", "-q", "-f", self.work / "xfs.img")
        xfs.mkdir(exist_ok=True)
        self.run("mount", "-o", "loop,noatime", self.work / "xfs.img", xfs)
        try:
            for kind, folder in (("Btrfs", self.pool), ("XFS", xfs)):
                for count in EXTENTS:
                    self.many_extents(kind, folder / f"extents-{count}", count)
        finally:
            self.run("umount", xfs)
            (self.work / "xfs.img").unlink()
            xfs.rmdir()

    def many_extents(self, kind, folder, count):
        name = f"{kind}, {count:,} extents"
        print(name)
        if kind == "Btrfs":
            self.run("btrfs", "subvolume", "create", folder)
        else:
            folder.mkdir()
        image = folder / "big.img"
        make = (HERE / "make-sparse", "--extents", count, "--dense", image)
        self.run(*make)
        send = ("--json", "send", "big.img", f"--local={folder}")
        self.new_archive("plain")
        self.wyng("plain", *send)
        repeat = self.repeat if kind == "Btrfs" else 1
        for number in range(1, repeat + 1):
            self.run(*make, number)
            _, seconds, peak = self.wyng("plain", *send)
            self.note(f"{name}: incremental", seconds)
            self.note(f"{name}: peak MiB", peak)
            print(f"  {'incremental':44} {seconds:8.3f} s {peak:8.1f} MiB", flush=True)
        for number in range(1, repeat + 1):
            self.run(*make, 100 + number)
            idle = self.stalls(image, lambda: time.sleep(0.5))
            during = self.stalls(image, lambda: self.wyng("plain", *send))
            self.note(f"{name}: stall", during)
            self.note(f"{name}: stall else", idle)
            print(f"  {'longest write meanwhile (else)':44} {during:8.1f} ms ({idle:.1f} ms)", flush=True)
        old, new = folder / "old.img", folder / "new.img"
        clone(image, old)
        self.run(*make, 200)
        start = time.monotonic()
        stall = self.stalls(image, lambda: clone(image, new))
        different = [one != two for one, two in ((fiemap(old), fiemap(new)), (fiemap(old), fiemap(new)))]
        seconds = time.monotonic() - start
        assert all(different)
        print(f"  {'by copy and FIEMAP (its stall)':44} {seconds:8.3f} s ({stall:.1f} ms)", flush=True)
        old.unlink()
        new.unlink()
        promised = kind == "Btrfs" and count == max(EXTENTS)
        self.row(f"{name}: 100 changed", self.median(f"{name}: incremental"), 1.0 if promised else None, "s")
        self.row(f"{name}: longest stall", max(self.measured[f"{name}: stall"]), 50.0 if promised else None, "ms")
        self.row(f"{name}: longest stall else", max(self.measured[f"{name}: stall else"]), None, "ms")
        self.row(f"{name}: copy, FIEMAP", seconds, None, "s")
        self.row(f"{name}: stall of that", stall, None, "ms")
        self.row(f"{name}: peak memory", max(self.measured[f"{name}: peak MiB"]), None, "MiB")
        image.unlink()

    def stalls(self, image, work):
        """The longest write into the image while something is done, milliseconds."""
        writer = subprocess.Popen([HERE / "write-stalls", image], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        writer.stdout.readline()
        work()
        text, _ = writer.communicate("")
        return float(text)

    def table(self):
        print(f"\n{'figure':38} {'measured':>11} {'limit':>11}  {'which is':23} {'ratio':>5}  result")
        for row in self.rows:
            measured, limit = ("-" if row[key] is None else f"{row[key]:.3f} {row['unit']}" for key in ("measured", "limit"))
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            result = "reached" if row["reached"] else "NOT REACHED"
            print(f"{row['figure']:38} {measured:>11} {limit:>11}  {row['limit_is']:23} {ratio:>5}  {result}")


def clone(source, target):
    """Copies a file by sharing its data."""
    with open(source, "rb") as old, open(target, "wb") as new:
        fcntl.ioctl(new, FICLONE, old.fileno())


def fiemap(path):
    """The mapped ranges of a file, after what is dirty is written."""
    batch, start, found = 4096, 0, []
    with open(path, "rb") as file:
        while True:
            buffer = array.array("B", struct.pack("=QQLLLL", start, (1 << 64) - 1 - start, 1, 0, batch, 0))
            buffer.frombytes(bytes(56 * batch))
            fcntl.ioctl(file, FS_IOC_FIEMAP, buffer)
            count = struct.unpack_from("=L", buffer, 20)[0]
            if count == 0:
                return found
            found.append(buffer[32:32 + 56 * count].tobytes())
            logical, _, length = struct.unpack_from("=QQQ", buffer, 32 + 56 * (count - 1))
            (flags,) = struct.unpack_from("=L", buffer, 32 + 56 * (count - 1) + 40)
            if flags & 1:
                return found
            start = logical + length


def volume(report):
    """The only volume of a send's report."""
    (only,) = report["volumes"]
    return only


def machine():
    """What the figures were measured on."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "processor": model,
        "threads": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "load_at_start": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder with the built programs")
    parser.add_argument("--work", required=True, help="folder that benches/make-image prepared")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", help="file for all measurements")
    parser.add_argument("--only", default="send,change,restore,check,snapshot,prune,sparse,extents")
    options = parser.parse_args()
    bench = Bench(options)
    about = machine()
    print("Machine: {processor}, {threads} threads, {memory_mib} MiB, Linux {kernel}, load {load_at_start:.1f}, "
          "commit {commit}".format(**about))
    if about["load_at_start"] > 0.5:
        print("Something else is running: these figures will say little.")
    parts = {"send": bench.first_send, "change": bench.change, "restore": bench.restore, "check": bench.check,
             "snapshot": bench.snapshot, "prune": bench.prune, "sparse": bench.sparse, "extents": bench.extents}
    for word in options.only.split(","):
        parts[word]()
    bench.table()
    if options.json:
        document = {"machine": about, "repeat": options.repeat, "figures": bench.rows, "measurements": bench.measured}
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(0 if all(row["reached"] for row in bench.rows) else 1)


main()
