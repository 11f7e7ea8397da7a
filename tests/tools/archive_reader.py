#!/usr/bin/env python3
"""Small independent reader for archive format V3 (see docs/spec/archive-format.md).

usage: archive_reader.py ARCHIVE_DIR [--passphrase-file F] dump
       archive_reader.py ARCHIVE_DIR [--passphrase-file F] check [--strict-writer]
       archive_reader.py ARCHIVE_DIR [--passphrase-file F] extract VOL [SESSION] OUT

exit codes: 0 good, 1 damaged or not an archive, 2 usage, 3 authentication failed.
Needs: pycryptodomex (encrypted archives), zstd or zstandard (zstd archives).
It only ever reads; leftovers (*.tmp, S-tmp, merge/) are listed, never used.

check --strict-writer: beside the checks a reader needs, everything that a WRITER must not
produce although a lenient reader accepts it. Before the JSON report, one line per finding:
    error: FILE: RULE: text      exit code 1 (also when the archive cannot be opened at all)
    warn: FILE: RULE: text       exit code unchanged; things the original itself does or leaves
What the ordinary check finds is repeated as rule `damaged`. Rules (w = only ever a warning):
  archive.ini  ini-missing   a key of [var] is missing
               ini-form      sections var, volumes, in_process; (w) spacing not the original's
               ini-value     numbers, compr_level out of range, uuid not a lower-case v4
               ini-percent   % in a key or value
               updated-at    not <seconds>.<1..7 digits>, or in the future
               hashtype      not the one of the cipher code
               in-process    pending operation
               vid           not Vol_ + 6 lower-case hex digits
             w legacy        cipher code 30, hashtype sha256
             w counters      dataci_count/mci_count below those of archive.salt
  archive.salt salt-padding  padding, or counters of slots 2 and 3, not zero
               salt-bak      salt.bak missing or not archive.salt XOR 0xff (counters 0, 1 free)
  volinfo      name          name rules; (w) empty path element, element above 255 bytes
               name-snapshot name ends in .wyng1, .wyng2, .tick or .tock
               desc          above 100 bytes
               volinfo-form  lines other than name, desc, sessions; duplicates
               volinfo-order session lines not in sequence order
  sessions     sessions      missing, or not the names in sequence order; (w) JSON spacing
  info         session-name  not a date and time
               info-missing  one of the seven keys is missing
               info-form     order of lines, unknown or duplicate keys, not plain decimal
               value-64      value above 64 characters
               localtime     not all digits ((w) in sha256 archives: upgraded ones have a date)
               permissions   the original refuses it
               tag           the original refuses it, or more than 5; (w) backslash
             w mfcs-shrink   mfcs copied across a pure shrink (fault of the original)
  manifest.z   address       address at or beyond volsize
  chunks       chunk-length  last chunk of a session's view: not volsize - L, nor C bytes
               chunk-short   chunk inside a session's view below C bytes
             w chunk-padded  last chunk filled up to C with zeros
             w zero-stored   full chunk of zeros stored as data
               chunk-missing non-zero line without file
               zero-file     file for a zero line
  any object   stream        trailing bytes, second frame, zstd without content size or with a
                             dictionary; (w) zstd checksum or not single segment
               size          outside the original's limits on stored sizes
                             ((w) tiny manifest.z that bz2 cannot make smaller)
               nonce         nonce used for two different objects of one key
  tree         stray         name not in section 1 of the specification, unreferenced, left over
               symlink       symbolic link
             w bak           archive.ini.bak or volinfo.bak missing or different
"""
import base64, bz2, gzip, hashlib, hmac, io, json, os, re, sys, time, zlib

CONF_MAX = 184296          # body bytes of archive.ini
VOLINFO_MAX = 1179674
INFO_MAX = 3388
CIPHERS = {                # header code: (data cipher, metadata cipher)
    "00": None,
    "30": ("xchacha20", "xchacha20-poly1305"),
    "32": ("xchacha20-ct", "xchacha20-poly1305-ct"),
    "34": ("xchacha20-msr", "xchacha20-poly1305-msr"),
    "35": ("xchacha20-dgr", "xchacha20-poly1305-msr"),
}
SALT_SLOT, SALT_LEN, SALT_FILE = 80, 64, 424
RE_VID = re.compile(r"Vol_[0-9a-fA-F]+\Z", re.ASCII)
RE_SES = re.compile(r"S_[0-9]{8}-[0-9]{6}\Z", re.ASCII)
RE_MLINE = re.compile(rb"(0|[A-Za-z0-9_-]{43}=) x([0-9a-f]{16})\Z")


class Damaged(Exception):
    pass


class AuthFailed(Exception):
    pass


def b64(raw):
    return base64.urlsafe_b64encode(raw).decode("ascii")


def blake2b_256(raw):
    return hashlib.blake2b(raw, digest_size=32).digest()


# ---- compression -----------------------------------------------------------------------------

def zstd_content_size(buf):
    """Content size in the frame header, or None if the header carries none."""
    if buf[:4] != b"\x28\xb5\x2f\xfd" or len(buf) < 6:
        raise Damaged("not a zstd frame")
    fhd = buf[4]
    fcs_flag, single, did = fhd >> 6, (fhd >> 5) & 1, fhd & 3
    pos = 5 + (0 if single else 1) + (0, 1, 2, 4)[did]
    width = (1 if single else 0, 2, 4, 8)[fcs_flag]
    if not width:
        return None
    val = int.from_bytes(buf[pos:pos + width], "little")
    return val + 256 if width == 2 else val


def expand(kind, buf, limit):
    """Decompress, refusing any output above `limit` bytes."""
    try:
        if kind == "zlib":
            d = zlib.decompressobj()
            out = d.decompress(buf, limit + 1)
            if not d.eof:
                raise Damaged("zlib stream too long or truncated")
        elif kind == "bz2":
            d = bz2.BZ2Decompressor()
            out = d.decompress(buf, limit + 1)
            if not d.eof:
                raise Damaged("bz2 stream too long or truncated")
        elif kind == "zstd":
            size = zstd_content_size(buf)
            if size is None or size > limit:
                raise Damaged(f"zstd content size {size} above limit {limit}")
            try:
                import zstandard
                out = zstandard.ZstdDecompressor().decompress(buf, max_output_size=limit)
            except ImportError:
                import zstd, warnings
                warnings.simplefilter("ignore")
                out = zstd.decompress(buf)
        else:
            raise Damaged(f"unknown compression {kind!r}")
    except Damaged:
        raise
    except Exception as e:
        raise Damaged(f"decompression failed: {e}")
    if len(out) > limit:
        raise Damaged(f"decompressed size above limit {limit}")
    return out


def gunzip(buf, limit):
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(buf)) as g:
            out = g.read(limit + 1)
    except Exception as e:
        raise Damaged(f"archive.ini body: {e}")
    if len(out) > limit:
        raise Damaged("archive.ini body too long")
    return out


# ---- crypto ----------------------------------------------------------------------------------

def scrypt_key(passphrase, salt):
    return hashlib.scrypt(passphrase, salt=salt, n=1 << 19, r=8, p=1,
                          maxmem=640 << 20, dklen=32)


def hkdf_sha512(ikm, salt, info, length):
    prk = hmac.digest(salt, ikm, "sha512")
    okm, t, i = b"", b"", 1
    while len(okm) < length:
        t = hmac.digest(prk, t + info + bytes([i]), "sha512")
        okm += t
        i += 1
    return okm[:length]


class Keys:
    def __init__(self, mode, saltfile, passphrase):
        from Cryptodome.Cipher import ChaCha20, ChaCha20_Poly1305
        self.chacha, self.aead = ChaCha20, ChaCha20_Poly1305
        if len(saltfile) != SALT_FILE:
            raise Damaged(f"archive.salt has {len(saltfile)} bytes, expected {SALT_FILE}")
        self.saltfile, self.counters, self.salts = saltfile, [], []
        for slot in range(4):
            at = slot * SALT_SLOT
            self.counters.append(int.from_bytes(saltfile[at:at + 10], "big"))
            self.salts.append(saltfile[at + 10:at + 10 + SALT_LEN])
        used = 32 if mode == "30" else 64
        self.meta = scrypt_key(passphrase, self.salts[1][:used])
        self.data = scrypt_key(passphrase, self.salts[0][:used])
        self.mhash = None
        if mode != "30":
            self.mhash = hkdf_sha512(self.data, self.salts[3],
                                     b"Wyng-Manifest-Hash0", 128)[64:]
        self.saltcheck = saltfile[4 * SALT_SLOT:]

    def open_meta(self, buf):
        if len(buf) <= 40:
            raise Damaged("metadata object too short")
        try:
            return self.aead.new(key=self.meta, nonce=buf[:24]) \
                            .decrypt_and_verify(buf[40:], buf[24:40])
        except ValueError:
            raise AuthFailed("authentication tag mismatch")

    def open_chunk(self, buf):
        return self.chacha.new(key=self.data, nonce=buf[:24]).decrypt(buf[24:])

    def check_salts(self):
        want = hashlib.blake2b(b"".join(self.salts), digest_size=64).digest()
        try:
            have = self.open_meta(self.saltcheck)
        except AuthFailed:
            raise Damaged("archive.salt: hash of salts does not authenticate")
        if not hmac.compare_digest(want, have):
            raise Damaged("archive.salt: hash of salts differs")


# ---- archive ---------------------------------------------------------------------------------

def read_limited(path, limit):
    try:
        with open(path, "rb") as f:
            buf = f.read(limit + 1)
    except OSError as e:
        raise Damaged(f"{e.strerror}")
    if len(buf) > limit:
        raise Damaged("file above size limit")
    return buf


def parse_ini(text):
    out, cur = {}, None
    for ln in text.split("\n"):
        s = ln.strip()
        if not s or s[0] in "#;":
            continue
        m = re.match(r"\[(.+)\]\Z", s)
        if m:
            if m[1] in out:
                raise Damaged(f"archive.ini: duplicate section {m[1]}")
            cur = out.setdefault(m[1], {})
            continue
        if ln[:1] in (" ", "\t"):
            raise Damaged("archive.ini: continuation line")
        m = re.match(r"([^=:]+?)\s*[=:]\s*(.*)\Z", s)
        if cur is None or not m:
            raise Damaged(f"archive.ini: bad line {s!r}")
        if m[1] in cur:
            raise Damaged(f"archive.ini: duplicate key {m[1]}")
        cur[m[1]] = m[2]
    return out


class Archive:
    def __init__(self, path, passphrase):
        self.path = path
        raw = read_limited(self._p("archive.ini"), 17 + CONF_MAX)
        if raw[:9] != b"[WYNG03]\n" or raw[9:14] != b"ci = " or raw[16:17] != b"\n":
            raise Damaged("not a version 3 archive")
        self.mode = raw[14:16].decode("latin1")
        if self.mode not in CIPHERS:
            raise Damaged(f"unknown cipher code {self.mode!r}")
        body, self.keys = raw[17:], None
        if self.mode != "00":
            if not passphrase:
                raise AuthFailed("passphrase needed")
            self.keys = Keys(self.mode, read_limited(self._p("archive.salt"), 512), passphrase)
            body = self.keys.open_meta(body)
            self.keys.check_salts()
        self.ini_gz, self.ini_text = body, gunzip(body, 1 << 20).decode("utf-8")
        self.ini = ini = parse_ini(self.ini_text)
        self.var = v = ini.get("var", {})
        self.in_process = list(ini.get("in_process", {}).values())
        try:
            if int(v["format_ver"]) != 3:
                raise Damaged(f"format_ver {v['format_ver']}")
            self.chunksize = int(v["chunksize"])
            if v.get("ci_mode", self.mode) != self.mode:
                raise Damaged("ci_mode differs from header")
            if not re.match(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z", v["uuid"]):
                raise Damaged("bad uuid")
            if float(v["updated_at"]) < 1514782800:
                raise Damaged("bad updated_at")
            self.compression, self.hashtype = v["compression"], v["hashtype"]
        except (KeyError, ValueError) as e:
            raise Damaged(f"archive.ini: {e!r}")
        if self.chunksize not in [32768 << n for n in range(1, 7)]:
            raise Damaged(f"chunksize {self.chunksize}")
        if self.hashtype not in ("hmac-sha256", "blake2b", "sha256"):
            raise Damaged(f"hashtype {self.hashtype}")
        sha256 = lambda b: hashlib.sha256(b).digest()
        self.metahash = sha256 if self.hashtype == "sha256" else blake2b_256
        if self.keys and self.keys.mhash:
            self.datahash = lambda b: hmac.digest(self.keys.mhash, b, "sha256")
        elif self.hashtype == "hmac-sha256":
            raise Damaged("hmac-sha256 needs a keyed cipher mode")
        else:
            self.datahash = self.metahash
        if len(ini.get("volumes", {})) > 1024:
            raise Damaged("too many volumes")
        self.volumes, self.broken = {}, {}
        for vid, h in ini.get("volumes", {}).items():
            try:
                vol = Volume(self, vid, h)
                if vol.name in self.volumes:
                    raise Damaged("duplicate volume name")
                self.volumes[vol.name] = vol
            except (Damaged, AuthFailed) as e:
                self.broken[vid] = str(e)

    def _p(self, *parts):
        return os.path.join(self.path, *parts)

    def verified(self, rel, want, limit):
        """Compressed bytes of a metadata object: decrypted, hash checked."""
        extra = 40 if self.keys else 0
        try:
            buf = read_limited(self._p(rel), limit + extra)
            if self.keys:
                buf = self.keys.open_meta(buf)
            if not buf:
                raise Damaged("empty file")
            have = b64(self.metahash(buf))
            if not hmac.compare_digest(have, want):
                raise Damaged(f"hash {have}, expected {want}")
            return buf
        except (Damaged, AuthFailed) as e:
            raise Damaged(f"{rel}: {e}")

    def metadata(self, rel, want, limit, outlimit):
        buf = self.verified(rel, want, limit)
        try:
            return expand(self.compression, buf, outlimit)
        except Damaged as e:
            raise Damaged(f"{rel}: {e}")

    def leftovers(self):
        found = []
        for base, dirs, files in os.walk(self.path):
            rel = os.path.relpath(base, self.path)
            depth = 0 if rel == "." else rel.count("/") + 1
            for d in list(dirs):
                if d in ("merge", "merge-init") or d.endswith("-tmp"):
                    found.append(os.path.normpath(os.path.join(rel, d)) + "/")
                    dirs.remove(d)
                elif depth == 0 and RE_VID.match(d) and d not in \
                        {v.vid for v in self.volumes.values()} | set(self.broken):
                    found.append(d + "/")
                    dirs.remove(d)
            if depth >= 2:
                dirs[:] = []
            found += [os.path.normpath(os.path.join(rel, f)) for f in files
                      if f.endswith(".tmp") or f == "merge.lst.gz"]
        return sorted(found)


def check_volname(name):
    if not 0 < len(name) <= 4000 or not name.isprintable():
        raise Damaged("bad volume name")
    s = name.strip()
    if not s or s[0] == "/" or any(p in (".", "..") for p in s.split("/")):
        raise Damaged("bad volume name")


class Volume:
    def __init__(self, arch, vid, hashval):
        if not RE_VID.match(vid):
            raise Damaged(f"bad volume id {vid!r}")
        self.arch, self.vid, self.name, self.desc = arch, vid, "", ""
        self.hash = hashval
        self.sessions, self.broken = [], {}
        text = arch.metadata(f"{vid}/volinfo", hashval, VOLINFO_MAX, 4 * VOLINFO_MAX)
        seslist = {}
        for ln in text.decode("utf-8").split("\n"):
            if not ln:
                continue
            key, sep, val = ln.partition("=")
            key, val = key.strip(), val.strip()
            if not sep:
                raise Damaged(f"{vid}/volinfo: bad line")
            if key.startswith("S_"):
                if not RE_SES.match(key):
                    raise Damaged(f"{vid}/volinfo: bad session name {key!r}")
                seslist[key] = val
            elif key == "name":
                self.name = val
            elif key == "desc":
                self.desc = val
        check_volname(self.name)
        if len(self.desc) > 100 or not self.desc.isprintable():
            raise Damaged(f"{vid}/volinfo: bad desc")
        if len(seslist) > 16384:
            raise Damaged(f"{vid}: too many sessions")
        for s, h in seslist.items():
            try:
                self.sessions.append(Session(self, s, h))
            except Damaged as e:
                self.broken[s] = str(e)
        self.sessions.sort(key=lambda x: x.sequence)

    def chain_errors(self):
        errs, prev = [], None
        for s in self.sessions:
            want = prev.name if prev else "None"
            if s.previous != want:
                errs.append(f"{s.name}: previous is {s.previous}, expected {want}")
            if prev and s.sequence == prev.sequence:
                errs.append(f"{s.name}: duplicate sequence {s.sequence}")
            prev = s
        return errs

    def full_manifest(self, ses):
        """Merge of all manifests up to ses: list of (addr, hash, session), newest entry wins."""
        merged = {}
        for s in self.sessions[:self.sessions.index(ses) + 1]:
            for addr, h in s.manifest():
                merged[addr] = (h, s.name)
        last = ses.last_chunk()
        if ses.volsize == 0:
            return []
        rows = [(a, *merged[a]) for a in sorted(merged) if a <= last]
        for i, row in enumerate(rows):
            if row[0] != i * self.arch.chunksize:
                raise Damaged(f"{self.vid}/{ses.name}: no chunk for address "
                              f"{i * self.arch.chunksize:#x}")
        if len(rows) != last // self.arch.chunksize + 1:
            raise Damaged(f"{self.vid}/{ses.name}: full manifest stops short")
        return rows

    def check_mfcs(self, ses, rows):
        """Raises Damaged on a mismatch; True if a known fault of the original is excused."""
        if ses.mfcs is None:
            return False
        crc = 0
        for addr, h, _ in rows:
            crc = zlib.crc32(f"{h} x{addr:016x}\n".encode(), crc)
        i = self.sessions.index(ses)
        if crc != ses.mfcs and i and ses.manifesthash == "0" \
                and ses.volsize <= self.sessions[i - 1].volsize:
            # Known writer fault: mfcs copied across a pure shrink, and from there on. The session it comes from may have
            # been pruned since, or have been put right by a prune.
            return True
        if crc != ses.mfcs:
            raise Damaged(f"{self.vid}/{ses.name}: mfcs {ses.mfcs}, computed {crc}")
        return False


def chunk_rel(session_rel, addr):
    x = f"{addr:016x}"
    return f"{session_rel}/{x[:9]}/x{x}"


class Session:
    def __init__(self, vol, name, hashval):
        self.vol, self.name, self.hash, self.tags, self._mf = vol, name, hashval, {}, None
        self.localtime = self.manifesthash = None
        self.volsize = self.sequence = self.mfcs = None
        self.previous, self.permissions = "None", ""
        self.rel = f"{vol.vid}/{name}"
        text = vol.arch.metadata(f"{self.rel}/info", hashval, INFO_MAX, 16 * INFO_MAX)
        try:
            for ln in text.decode("utf-8").split("\n"):
                if not ln:
                    continue
                key, val = (x.strip() for x in ln.split("=", 1))
                if key == "tag":
                    tid, _, desc = val.partition(" ")
                    if len(self.tags) < 5:
                        self.tags.setdefault(tid.lower()[:25], desc.strip())
                elif key in ("volsize", "sequence", "mfcs"):
                    setattr(self, key, int(val))
                elif key in ("localtime", "previous", "permissions", "manifesthash"):
                    setattr(self, key, val)
            if not 0 <= self.volsize <= 0xffffffffffffffff or self.sequence < 0:
                raise ValueError("volsize/sequence out of range")
            if not (self.localtime.isdigit() or RE_SES.match("S_" + self.localtime)):
                raise ValueError("bad localtime")
            if self.manifesthash is None:
                raise ValueError("no manifesthash")
        except (ValueError, TypeError, AttributeError) as e:
            raise Damaged(f"{self.rel}/info: {e}")

    def last_chunk(self):
        cs = self.vol.arch.chunksize
        return max(0, self.volsize - 1) // cs * cs

    def manifest(self):
        if self._mf is not None:
            return self._mf
        rows = []
        if self.manifesthash != "0":
            cs = self.vol.arch.chunksize
            limit = (self.volsize // cs + 1) * 72 + 2000     # slack: tiny bz2 files exceed the formula
            text = self.vol.arch.metadata(f"{self.rel}/manifest.z", self.manifesthash,
                                          limit, limit)
            prev = -1
            if text[-1:] != b"\n":
                raise Damaged(f"{self.rel}/manifest.z: no final newline")
            for ln in text[:-1].split(b"\n"):
                m = RE_MLINE.match(ln)
                if not m:
                    raise Damaged(f"{self.rel}/manifest.z: bad line {ln!r}")
                addr = int(m[2], 16)
                if addr <= prev or addr % cs or addr > self.volsize:
                    raise Damaged(f"{self.rel}/manifest.z: bad address {addr:#x}")
                prev = addr
                rows.append((addr, m[1].decode()))
        self._mf = rows
        return rows

    def verified_chunk(self, addr, want):
        """Compressed bytes of chunk `addr` stored in this session: decrypted, hash checked."""
        arch, rel = self.vol.arch, chunk_rel(self.rel, addr)
        cs = arch.chunksize
        try:
            buf = read_limited(arch._p(rel), cs + cs // 64)
            if not buf:
                raise Damaged("empty file")
            if arch.keys:
                if len(buf) <= 24:
                    raise Damaged("truncated")
                buf = arch.keys.open_chunk(buf)
            have = b64(arch.datahash(buf))
            if not hmac.compare_digest(have, want):
                raise Damaged(f"hash {have}, expected {want}")
            return buf
        except Damaged as e:
            raise Damaged(f"{rel}: {e}")

    def expand_chunk(self, addr, buf):
        """Decompressed chunk (any data size <= chunk)."""
        try:
            return expand(self.vol.arch.compression, buf, self.vol.arch.chunksize)
        except Damaged as e:
            raise Damaged(f"{chunk_rel(self.rel, addr)}: {e}")

    def chunk(self, addr, want):
        return self.expand_chunk(addr, self.verified_chunk(addr, want))


# ---- strict writer rules (see the usage text) ------------------------------------------------

VAR_KEYS = ("updated_at", "uuid", "format_ver", "chunksize", "compression", "compr_level",
            "hashtype", "ci_mode")
COUNTER_KEYS = ("dataci_count", "mci_count")
INFO_KEYS = ("localtime", "previous", "permissions", "manifesthash", "volsize", "sequence", "mfcs")
LEVELS = {"zstd": (-(1 << 17), 22), "zlib": (0, 9), "bz2": (1, 9)}
RE_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,39})\Z", re.ASCII)


def shown(text):
    """Text for one line of output, whatever it holds."""
    return text if text.isprintable() else ascii(text)


def zstd_faults(buf):
    """(errors, warnings) about the form of what should be one zstd frame."""
    try:
        size = zstd_content_size(buf)
    except Damaged as e:
        return [str(e)], []
    fhd = buf[4]
    single, checksum, did = (fhd >> 5) & 1, (fhd >> 2) & 1, fhd & 3
    pos = 5 + (0 if single else 1) + (0, 1, 2, 4)[did] + (single, 2, 4, 8)[fhd >> 6]
    last = 0
    while not last:
        if pos + 3 > len(buf):
            return ["zstd frame is cut"], []
        head = int.from_bytes(buf[pos:pos + 3], "little")
        last = head & 1
        pos += 3 + (1 if (head >> 1) & 3 == 1 else head >> 3)      # type 1: one repeated byte
    pos += 4 * checksum
    errs = []
    if size is None:
        errs.append("zstd frame without content size")
    if did:
        errs.append("zstd frame with dictionary")
    if buf[pos:pos + 4] == b"\x28\xb5\x2f\xfd":
        errs.append("more than one zstd frame")
    elif pos != len(buf):
        errs.append(f"{len(buf) - pos} bytes after the zstd frame")
    return errs, ["zstd frame with checksum"] * checksum + \
        ["zstd frame not single segment"] * (not single)


def stream_faults(kind, buf, limit):
    """As zstd_faults. Streams that do not end within `limit` are left to expand()."""
    if kind == "zstd":
        return zstd_faults(buf)
    d = bz2.BZ2Decompressor() if kind == "bz2" else zlib.decompressobj(31 if kind == "gzip" else 15)
    try:
        d.decompress(buf, limit + 1)
    except (OSError, ValueError, zlib.error):
        return [], []
    tail = len(d.unused_data) if d.eof else 0
    return [f"{tail} bytes after the {kind} stream"] if tail else [], []


def permissions_ok(value):
    if value in ("", "r", "w"):
        return True
    parts = value.split(":")
    return len(value) <= 261 and len(parts) == 3 and parts[0].isascii() and parts[0].isdigit() \
        and int(parts[0]) <= 0o7777 and (parts[1] + parts[2]).isalnum()


def tag_fault(value):
    tid, _, desc = value.partition(" ")
    if not 1 <= len(tid) <= 25:
        return "id must have 1 to 25 characters"
    if not tid.isprintable() or tid != tid.lower() or tid == "all" or set(tid) & set(",=^") \
            or any(c.isspace() for c in value.replace(" ", "")):
        return "id not lower-case, printable, without , = ^ and other than all"
    if not desc.isprintable() or len(desc) > 100 or desc != desc.strip():
        return "description not printable, above 100 characters or with outer spaces"
    return None


class Strict:
    """Collects findings. check() hands over chunks and views; finish() does the rest."""

    def __init__(self, arch):
        self.arch, self.lines, self.failed = arch, [], False
        self.seen, self.lengths, self.nonces = set(), {}, {}
        self.overhead = 40 if arch.keys else 0

    def _add(self, level, rel, rule, text):
        if (rel, rule, text) not in self.seen:
            self.seen.add((rel, rule, text))
            self.lines.append(f"{level}: {shown(rel)}: {rule}: {shown(text)}")

    def error(self, rel, rule, text):
        self.failed = True
        self._add("error", rel, rule, text)

    def warn(self, rel, rule, text):
        self._add("warn", rel, rule, text)

    def finish(self):
        self.root()
        if self.arch.keys:
            self.salt()
        for name in sorted(self.arch.volumes):
            vol = self.arch.volumes[name]
            self.volume(vol)
            for ses in vol.sessions:
                self.session(ses)
        self.tree()

    # -- objects

    def stream(self, rel, kind, buf, limit):
        errs, warns = stream_faults(kind, buf, limit)
        for text in errs:
            self.error(rel, "stream", text)
        for text in warns:
            self.warn(rel, "stream", text)

    def text(self, rel, want, limit, outlimit):
        """Lines of a metadata object that has been read without error before."""
        buf = self.arch.verified(rel, want, limit)
        self.stream(rel, self.arch.compression, buf, outlimit)
        return expand(self.arch.compression, buf, outlimit).decode("utf-8").split("\n")

    def root(self):
        rel, a, var = "archive.ini", self.arch, self.arch.var
        self.stream(rel, "gzip", a.ini_gz, 1 << 20)
        if list(a.ini) != ["var", "volumes", "in_process"]:
            self.error(rel, "ini-form", f"sections {list(a.ini)}")
        want = "".join(f"[{sec}]\n" + "".join(f"{k} = {v}\n" for k, v in kv.items()) + "\n"
                       for sec, kv in a.ini.items())
        if a.ini_text != want:
            self.warn(rel, "ini-form", "spacing, empty lines or comments not the original's")
        for sec, kv in a.ini.items():
            for k, v in kv.items():
                if "%" in k + v:
                    self.error(rel, "ini-percent", f"[{sec}] {k}")
        for k in VAR_KEYS + (COUNTER_KEYS if a.keys else ()):
            if k not in var:
                self.error(rel, "ini-missing", k)
        for k in ("format_ver", "chunksize", *COUNTER_KEYS):
            if k in var and not RE_DECIMAL.match(var[k]):
                self.error(rel, "ini-value", f"{k} is not a plain decimal number")
        level = var.get("compr_level", "0")
        low, high = LEVELS.get(a.compression, (0, 0))
        if not re.match(r"-?[0-9]+\Z", level, re.ASCII) or not low <= int(level) <= high:
            self.error(rel, "ini-value", f"compr_level {level} of {a.compression}")
        if not re.match(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z",
                        var["uuid"]):
            self.error(rel, "ini-value", "uuid is not a lower-case version 4 one")
        if not re.match(r"[0-9]{10}\.[0-9]{1,7}\Z", var["updated_at"], re.ASCII):
            self.error(rel, "updated-at", f"{var['updated_at']} is not <seconds>.<1 to 7 digits>")
        elif float(var["updated_at"]) > time.time():
            self.error(rel, "updated-at", "in the future")
        keyed = a.mode in ("32", "34", "35")
        if a.hashtype != ("hmac-sha256" if keyed else "blake2b"):
            old = a.mode == "00" and a.hashtype == "sha256"
            (self.warn if old else self.error)(rel, "legacy" if old else "hashtype",
                                               f"{a.hashtype} with cipher code {a.mode}")
        if a.mode == "30":
            self.warn(rel, "legacy", "cipher code 30")
        if a.in_process:
            self.error(rel, "in-process", " ".join(a.in_process))
        for vid in a.ini.get("volumes", {}):
            if not re.match(r"Vol_[0-9a-f]{6}\Z", vid):
                self.error(rel, "vid", vid)

    def salt(self):
        rel, salt, var = "archive.salt", self.arch.keys.saltfile, self.arch.var
        for i, key in enumerate(COUNTER_KEYS):
            if RE_DECIMAL.match(var.get(key, "")) and int(var[key]) < self.arch.keys.counters[i]:
                self.warn(rel, "counters", f"slot {i} above {key} of archive.ini")
        for slot in range(4):
            cell = salt[slot * SALT_SLOT:(slot + 1) * SALT_SLOT]
            if any(cell[10 + SALT_LEN:]) or (slot > 1 and any(cell[:10])):
                self.error(rel, "salt-padding", f"slot {slot}")
        try:
            bak = bytes(b ^ 0xff for b in read_limited(self.arch._p("salt.bak"), SALT_FILE))
        except Damaged as e:
            return self.error("salt.bak", "salt-bak", str(e))
        free = [range(at, at + 10) for at in (0, SALT_SLOT)]
        if len(bak) != SALT_FILE or any(x != y and not any(i in r for r in free)
                                        for i, (x, y) in enumerate(zip(bak, salt))):
            self.error("salt.bak", "salt-bak", "not archive.salt XOR 0xff")

    def volume(self, vol):
        rel = f"{vol.vid}/volinfo"
        lines = self.text(rel, vol.hash, VOLINFO_MAX, 4 * VOLINFO_MAX)
        keys = [ln.partition(" = ")[0] for ln in lines[:-1]]
        if lines[-1] or keys[:2] != ["name", "desc"] or len(set(keys)) != len(keys) \
                or not all(RE_SES.match(k) for k in keys[2:]):
            self.error(rel, "volinfo-form", "not just name, desc and session lines")
        name = next((ln[7:] for ln in lines if ln.startswith("name = ")), vol.name)
        if name != name.strip():
            self.error(rel, "name", "outer white space")
        parts = name.split("/")
        if "" in parts[1:]:
            self.warn(rel, "name", "empty path element")
        if any(len(p.encode()) > 255 for p in parts):
            self.warn(rel, "name", "path element above 255 bytes")
        if name.endswith((".wyng1", ".wyng2", ".tick", ".tock")):
            self.error(rel, "name-snapshot", name)
        if len(vol.desc.encode()) > 100:
            self.error(rel, "desc", "above 100 bytes")
        if vol.broken:
            return
        names = [s.name for s in vol.sessions]
        order = [k for k in keys if RE_SES.match(k)]
        if sorted(order) == sorted(names) and order != names:
            self.error(rel, "volinfo-order", "session lines not in sequence order")
        rel = f"{vol.vid}/sessions"
        if not names and not os.path.lexists(self.arch._p(rel)):
            return
        try:
            raw = read_limited(self.arch._p(rel), 1 << 20)
            if json.loads(raw) != names:
                self.error(rel, "sessions", "not the session names in sequence order")
            elif raw != json.dumps(names).encode():
                self.warn(rel, "sessions", "JSON spacing differs from the original's")
        except (Damaged, ValueError, RecursionError) as e:
            self.error(rel, "sessions", str(e))

    def session(self, ses):
        rel = f"{ses.rel}/info"
        try:
            time.strptime(ses.name, "S_%Y%m%d-%H%M%S")
        except ValueError:
            self.error(ses.rel, "session-name", "not a date and time")
        lines = self.text(rel, ses.hash, INFO_MAX, 16 * INFO_MAX)
        pairs = [ln.partition(" = ")[::2] for ln in lines[:-1]]
        keys, vals = [k for k, _ in pairs], dict(reversed(pairs))
        for k in INFO_KEYS:
            if k not in vals:
                self.error(rel, "info-missing", k)
        tags = [v for k, v in pairs if k == "tag"]
        if lines[-1] or keys != [k for k in INFO_KEYS if k in vals] + ["tag"] * len(tags):
            self.error(rel, "info-form", f"lines {keys}")
        for k in INFO_KEYS:
            v = vals.get(k, "")
            if len(v) > 64:
                self.error(rel, "value-64", k)
            if v != v.strip() or (k in ("volsize", "sequence", "mfcs") and v
                                  and not RE_DECIMAL.match(v)):
                self.error(rel, "info-form", f"value of {k}")
        if not RE_DECIMAL.match(ses.localtime):
            old = self.arch.hashtype == "sha256" and RE_SES.match("S_" + ses.localtime)
            (self.warn if old else self.error)(rel, "localtime", ses.localtime)
        if not permissions_ok(vals.get("permissions", "")):
            self.error(rel, "permissions", vals["permissions"])
        if len(tags) > 5:
            self.error(rel, "tag", f"{len(tags)} tags")
        for v in tags:
            if v.endswith(" ") and v.count(" ") == 1:              # id without description
                v = v[:-1]
            if fault := tag_fault(v):
                self.error(rel, "tag", f"{v}: {fault}")
            elif "\\" in v.split(" ")[0]:
                self.warn(rel, "tag", f"{v}: backslash")
        ids = [v.split(" ")[0].lower() for v in tags]
        if len(set(ids)) != len(ids):
            self.error(rel, "tag", "id given twice")
        if ses.manifesthash != "0":
            self.manifest(ses)

    def manifest(self, ses):
        rel, cs = f"{ses.rel}/manifest.z", self.arch.chunksize
        limit = (ses.volsize // cs + 1) * 72
        try:
            rows = ses.manifest()
            buf = self.arch.verified(rel, ses.manifesthash, limit + 2000)
        except Damaged:
            return                                  # reported by the ordinary check
        self.stream(rel, self.arch.compression, buf, limit + 2000)
        if len(buf) > limit:
            quirk = self.arch.compression == "bz2" and \
                len(bz2.compress(expand("bz2", buf, limit + 2000))) > limit
            (self.warn if quirk else self.error)(
                rel, "size", f"{len(buf)} bytes, the original's limit is {limit}")
        for addr, _ in rows:
            if addr >= ses.volsize:
                self.error(rel, "address", f"{addr:#x} is not below volsize {ses.volsize:#x}")

    # -- chunks

    def chunk(self, ses, addr, data):
        rel, cs = chunk_rel(ses.rel, addr), self.arch.chunksize
        self.lengths[rel] = len(data)
        size = ses.volsize - addr
        if len(data) == cs and not data.strip(b"\0"):
            self.warn(rel, "zero-stored", "full chunk of zeros stored as data")
        elif len(data) == cs and 0 < size < cs and not data[size:].strip(b"\0"):
            self.warn(rel, "chunk-padded", "zeros beyond the end of the volume")

    def view(self, ses, rows):
        """Chunk lengths as a restore of `ses` meets them (rows: its full manifest)."""
        cs, last = self.arch.chunksize, ses.last_chunk()
        for addr, h, where in rows:
            rel = chunk_rel(f"{ses.vol.vid}/{where}", addr)
            size = self.lengths.get(rel, cs)
            if h == "0" or size == cs:
                continue
            if addr != last:
                self.error(rel, "chunk-short", f"{size} bytes, not the last chunk of {ses.name}")
            elif size != ses.volsize - last:
                self.error(rel, "chunk-length", f"{size} bytes, the last chunk of {ses.name} "
                                                f"has {ses.volsize - last}")
            else:
                continue
            self.lengths[rel] = cs                  # reported once is enough

    # -- tree

    def tree(self):
        files = {"archive.ini", "archive.ini.bak", "archive.dat", ".hardlink"}
        if self.arch.keys:
            files |= {"archive.salt", "salt.bak"}
        vols = {v.vid: v for v in self.arch.volumes.values()}
        for name, rel, is_dir, size in self.entries(""):
            if is_dir and name in vols:
                self.volume_tree(vols[name])
            elif is_dir and name == ".wyng-kept":
                self.kept_tree()
            elif name not in (self.arch.broken if is_dir else files):
                self.error(rel, "stray", "not part of an archive")
            elif name == "archive.ini":
                self.size(rel, size, 17 + 1, 17 + CONF_MAX)
                self.nonce("meta", rel, 17)
            elif name == "archive.salt":
                self.nonce("meta", rel, 4 * SALT_SLOT)
        self.bak("archive.ini")

    def kept_tree(self):
        """What a server kept of files that a key which may only add has replaced: TIME-NAME, slashes as dots."""
        kept = re.compile(r"\d{19}-(archive\.ini|archive\.salt|Vol_\w+\.(volinfo|sessions))")
        for name, rel, is_dir, size in self.entries(".wyng-kept"):
            if is_dir or not kept.fullmatch(name):
                self.error(rel, "stray", "not what a server keeps")

    def volume_tree(self, vol):
        sessions = {s.name: s for s in vol.sessions}
        for name, rel, is_dir, size in self.entries(vol.vid):
            if is_dir and name in sessions:
                self.session_tree(sessions[name])
            elif name not in (vol.broken if is_dir else ("volinfo", "volinfo.bak", "sessions")):
                self.error(rel, "stray", "not part of the volume")
            elif name == "volinfo":
                self.size(rel, size, self.overhead + 1, self.overhead + VOLINFO_MAX)
                self.nonce("meta", rel)
        self.bak(f"{vol.vid}/volinfo")

    def session_tree(self, ses):
        try:
            refs = dict(ses.manifest())
        except Damaged:
            refs = None                             # unknown: any chunk name is allowed
        wanted = {chunk_rel(ses.rel, a) for a, h in (refs or {}).items() if h != "0"}
        for name, rel, is_dir, size in self.entries(ses.rel):
            if is_dir and re.match(r"[0-9a-f]{9}\Z", name):
                wanted -= self.chunk_tree(ses, rel, refs)
            elif is_dir or name not in ("info", "manifest.z")[:1 + (ses.manifesthash != "0")]:
                self.error(rel, "stray", "not part of the session")
            else:
                if name == "info":
                    self.size(rel, size, self.overhead + 1, self.overhead + INFO_MAX)
                self.nonce("meta", rel)
        for rel in sorted(wanted):
            self.error(rel, "chunk-missing", "in the manifest, but no such file")

    def chunk_tree(self, ses, base, refs):
        """Names of the chunk files in one chunk directory."""
        found, cs = set(), self.arch.chunksize
        for name, rel, is_dir, size in self.entries(base):
            m = re.match(r"x([0-9a-f]{16})\Z", name)
            if is_dir or not m or rel != chunk_rel(ses.rel, addr := int(m[1], 16)):
                self.error(rel, "stray", "not a chunk file of this directory")
                continue
            found.add(rel)
            if refs is not None and addr not in refs:
                self.error(rel, "stray", "chunk is not in the manifest of its session")
            elif refs is not None and refs[addr] == "0":
                self.error(rel, "zero-file", "file of a zero chunk")
            self.size(rel, size, 25 if self.arch.keys else 1, cs + cs // 64)
            self.nonce("data", rel)
        return found

    def entries(self, base):
        """(name, path, is directory, size) of what lies in a directory; others are reported."""
        try:
            found = sorted(os.scandir(self.arch._p(base)), key=lambda e: e.name)
        except OSError as e:
            return self.error(base, "stray", e.strerror) or []
        out = []
        for e in found:
            rel = f"{base}/{e.name}" if base else e.name
            if e.is_symlink():
                self.error(rel, "symlink", "symbolic link")
            elif not e.is_dir() and not e.is_file():
                self.error(rel, "stray", "neither file nor directory")
            else:
                out.append((e.name, rel, e.is_dir(), e.stat().st_size))
        return out

    def size(self, rel, size, low, high):
        if not low <= size <= high:
            self.error(rel, "size", f"{size} bytes, the original accepts {low} to {high}")

    def nonce(self, key, rel, at=0):
        """Record the nonce at offset `at`; equal ones are good only in copies of one object."""
        if not self.arch.keys:
            return
        with open(self.arch._p(rel), "rb") as f:
            f.seek(at)
            nonce = f.read(24)
            seen = self.nonces.setdefault((key, nonce), (rel, at))
            if seen == (rel, at):
                return
            with open(self.arch._p(seen[0]), "rb") as g:
                g.seek(seen[1] + 24)
                if g.read() != f.read():
                    self.error(rel, "nonce", f"as in {seen[0]}, other content")

    def bak(self, rel):
        try:
            if read_limited(self.arch._p(rel), 1 << 21) \
                    != read_limited(self.arch._p(rel + ".bak"), 1 << 21):
                self.warn(rel + ".bak", "bak", "differs from the file")
        except Damaged as e:
            self.warn(rel + ".bak", "bak", str(e))


# ---- commands --------------------------------------------------------------------------------

def dump(arch):
    out = {"mode": arch.mode,
           "ciphers": CIPHERS[arch.mode], "var": arch.var, "in_process": arch.in_process,
           "leftovers": arch.leftovers(), "broken_volumes": arch.broken, "volumes": {}}
    if arch.keys:
        out["salt_counters"] = arch.keys.counters[:2]
    for name in sorted(arch.volumes):
        v = arch.volumes[name]
        out["volumes"][name] = {
            "vid": v.vid, "desc": v.desc, "broken_sessions": v.broken,
            "sessions": [{"name": s.name, "sequence": s.sequence, "previous": s.previous,
                          "localtime": s.localtime, "volsize": s.volsize,
                          "permissions": s.permissions, "mfcs": s.mfcs,
                          "manifesthash": s.manifesthash, "tags": s.tags,
                          } for s in v.sessions]}
    print(json.dumps(out, indent=1, ensure_ascii=False))
    return 1 if arch.broken or any(v.broken for v in arch.volumes.values()) else 0


def check(arch, strict=None):
    errs = [f"{vid}: {e}" for vid, e in arch.broken.items()]
    chunks = data = 0
    for name in sorted(arch.volumes):
        v = arch.volumes[name]
        errs += [f"{v.vid}/{s}: {e}" for s, e in v.broken.items()]
        if v.broken:
            continue
        errs += [f"{v.vid}: {e}" for e in v.chain_errors()]
        for s in v.sessions:
            try:
                view, rows = v.full_manifest(s), s.manifest()
                if v.check_mfcs(s, view) and strict:
                    strict.warn(f"{s.rel}/info", "mfcs-shrink",
                                "mfcs of the session before, but the volume shrank")
            except Damaged as e:
                errs.append(str(e))
                continue
            for addr, h in rows:
                if h == "0":
                    continue
                try:
                    buf = s.verified_chunk(addr, h)
                    if strict:
                        strict.stream(chunk_rel(s.rel, addr), arch.compression, buf, arch.chunksize)
                    buf = s.expand_chunk(addr, buf)
                    if strict:
                        strict.chunk(s, addr, buf)
                    n = len(buf)
                    want = min(arch.chunksize, s.volsize - addr)
                    if n != want and addr != s.last_chunk():
                        raise Damaged(f"{s.rel}: chunk {addr:#x} holds {n} bytes")
                    chunks += 1
                    data += n
                except Damaged as e:
                    errs.append(str(e))
            if strict:
                strict.view(s, view)
    if strict:
        strict.finish()
        for e in errs:
            rel, _, text = e.partition(": ")
            if text.startswith(rel + "/"):
                rel, _, text = text.partition(": ")
            print(f"error: {shown(rel)}: damaged: {shown(text)}")
        for line in strict.lines:
            print(line)
    print(json.dumps({"ok": not errs, "chunks": chunks, "bytes": data,
                      "in_process": arch.in_process, "leftovers": arch.leftovers(),
                      "errors": errs}, indent=1, ensure_ascii=False))
    return 1 if errs or strict and strict.failed else 0


def extract(arch, volname, sesname, outpath):
    vol = arch.volumes.get(volname) or \
        next((v for v in arch.volumes.values() if v.vid == volname), None)
    if vol is None:
        raise Damaged(f"no readable volume {volname!r} {arch.broken or ''}")
    if vol.broken:
        raise Damaged(str(vol.broken))
    if not vol.sessions:
        raise Damaged("volume has no sessions")
    if errs := vol.chain_errors():
        raise Damaged("; ".join(errs))
    ses = vol.sessions[-1]
    if sesname:
        want = sesname if sesname.startswith("S_") else "S_" + sesname
        ses = next((s for s in vol.sessions if s.name == want), None)
        if ses is None:
            raise Damaged(f"no session {sesname}")
    rows = vol.full_manifest(ses)
    vol.check_mfcs(ses, rows)
    by_name = {s.name: s for s in vol.sessions}
    sha, last = hashlib.sha256(), ses.last_chunk()
    with open(outpath, "wb") as out:
        for addr, h, where in rows:
            size = ses.volsize - addr if addr == last else arch.chunksize
            buf = bytes(size) if h == "0" else by_name[where].chunk(addr, h)
            if len(buf) != size:
                raise Damaged(f"{where} chunk {addr:#x}: {len(buf)} bytes, expected {size}")
            sha.update(buf)
            if h == "0":
                out.seek(size, 1)
            else:
                out.write(buf)
        out.truncate(ses.volsize)
    print(json.dumps({"volume": vol.name, "session": ses.name, "size": ses.volsize,
                      "sha256": sha.hexdigest()}, ensure_ascii=False))
    return 0


def main(argv):
    args, passphrase = list(argv), None
    strict = "--strict-writer" in args
    if strict:
        args.remove("--strict-writer")
    if "--passphrase-file" in args:
        i = args.index("--passphrase-file")
        with open(args[i + 1], "rb") as f:
            passphrase = f.read().rstrip(b"\n")
        del args[i:i + 2]
    if len(args) < 2 or args[1] not in ("dump", "check", "extract") \
            or len(args) not in ((4, 5) if args[1] == "extract" else (2,)) \
            or (strict and args[1] != "check"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        arch = Archive(args[0], passphrase)
        if args[1] == "dump":
            return dump(arch)
        if args[1] == "check":
            return check(arch, Strict(arch) if strict else None)
        return extract(arch, args[2], args[3] if len(args) == 5 else None, args[-1])
    except AuthFailed as e:
        print(f"authentication failed: {e}", file=sys.stderr)
        return 3
    except Damaged as e:
        print(f"damaged: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
