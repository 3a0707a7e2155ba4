"""A disk that fails when told to: one file, served through FUSE (spoken raw, so that nothing has to be installed), for a
loop device to stand on. `failing_disk.py IMAGE MOUNTPOINT` serves; FailingDisk starts that and tells it what to do."""
import contextlib
import ctypes
import errno
import json
import os
import pathlib
import select
import stat
import struct
import subprocess
import sys
import time
import uuid

INIT, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 26, 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, FORGET, INTERRUPT, DESTROY, BATCH_FORGET = 18, 20, 25, 2, 36, 38, 42
IN_HEADER = struct.Struct("<IIQQIIIHH")
OUT_HEADER = struct.Struct("<IiQ")
REQUEST_MAX = 1 << 20
DIRECT_IO = 1  # FOPEN_DIRECT_IO: no page cache hides what the disk does
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22


class Rule:
    """What happens to operations of one kind. `what`: "data", "metadata" (tree blocks and superblocks of Btrfs) or "all";
    `after`: bytes of such that pass first; `count`: how many are spoilt, None: all from then on; `error`: a name of errno,
    or None: a bit is turned over in each block that is read. `drop`: a write is acknowledged, and forgotten."""

    def __init__(self, op, what="all", after=0, count=None, error=None, drop=False):
        self.op, self.what, self.after, self.count = op, what, after, count
        self.error = getattr(errno, error) if error else None
        self.drop = drop
        self.seen = self.hits = 0

    def bites(self, op, data, fsid):
        if op != self.op:
            return False
        # Tree blocks and superblocks carry the filesystem's id at byte 32.
        metadata = fsid is not None and data[32:48] == fsid
        if op != "flush" and self.what != "all" and metadata != (self.what == "metadata"):
            return False
        before, self.seen = self.seen, self.seen + len(data)
        if before < self.after or self.count == 0:
            return False
        if self.count is not None:
            self.count -= 1
        self.hits += 1
        return True


class Server:
    def __init__(self, image, mount_point):
        self.file = os.open(image, os.O_RDWR)
        self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        libc = ctypes.CDLL(None, use_errno=True)
        # The file system's root is the file itself.
        options = f"fd={self.fuse},rootmode={stat.S_IFREG:o},user_id=0,group_id=0,max_read={REQUEST_MAX}".encode()
        if libc.mount(b"failing_disk", os.fsencode(mount_point), b"fuse", 6, options) != 0:
            raise OSError(ctypes.get_errno(), "mount")
        self.rules, self.fsid = [], None

    def attributes(self):
        size = os.fstat(self.file).st_size
        return struct.pack("<QQQQQQIIIIIIIIII", 1, size, size // 512, 0, 0, 0, 0, 0, 0,
                           stat.S_IFREG | 0o600, 1, 0, 0, 0, 4096, 0)

    def rule_for(self, op, data):
        return next((rule for rule in self.rules if rule.bites(op, data, self.fsid)), None)

    def read(self, offset, size):
        data = os.pread(self.file, size, offset)
        rule = self.rule_for("read", data)
        if rule is None:
            return data
        if rule.error:
            raise OSError(rule.error, "read")
        spoilt = bytearray(data)
        for at in range(0, len(spoilt), 4096):
            spoilt[min(at + 1000, len(spoilt) - 1)] ^= 0x10
        return bytes(spoilt)

    def write(self, offset, data):
        rule = self.rule_for("write", data)
        if rule is None:
            os.pwrite(self.file, data, offset)
        elif rule.error:
            raise OSError(rule.error, "write")

    def flush(self):
        rule = self.rule_for("flush", b"")
        if rule is not None and rule.error:
            raise OSError(rule.error, "flush")

    def answer(self, opcode, body):
        if opcode == INIT:
            major, minor, readahead, _ = struct.unpack_from("<IIII", body)
            return struct.pack("<IIIIHHIIHHII24x", major, min(minor, 31), readahead, BIG_WRITES | MAX_PAGES,
                               64, 48, REQUEST_MAX, 1, REQUEST_MAX // 4096, 0, 0, 0)
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 0, 0, 0) + self.attributes()
        if opcode == OPEN:
            return struct.pack("<QII", 1, DIRECT_IO, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.read(offset, size)
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            self.write(offset, body[40:40 + size])
            return struct.pack("<II", size, 0)
        if opcode == FSYNC:
            self.flush()
            return b""
        if opcode == STATFS:
            return struct.pack("<QQQQQIII24x", 0, 0, 0, 0, 0, 4096, 255, 4096)
        if opcode in (RELEASE, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "unknown")

    def serve_one(self):
        try:
            request = os.read(self.fuse, REQUEST_MAX + 8192)
        except OSError as failure:
            if failure.errno == errno.ENODEV:  # unmounted
                return False
            if failure.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                return True
            raise
        _, opcode, unique, *_ = IN_HEADER.unpack_from(request)
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
            return True
        try:
            status, body = 0, self.answer(opcode, request[IN_HEADER.size:])
        except OSError as failure:
            status, body = -failure.errno, b""
        with contextlib.suppress(OSError):
            os.writev(self.fuse, [OUT_HEADER.pack(OUT_HEADER.size + len(body), status, unique), body])
        return True

    def obey(self, line):
        """{"rules": [...]} sets them; {} asks how often each has bitten."""
        told = json.loads(line)
        if "fsid" in told:
            self.fsid = bytes.fromhex(told["fsid"].replace("-", ""))
        if "rules" in told:
            self.rules = [Rule(**rule) for rule in told["rules"]]
        print(json.dumps([rule.hits for rule in self.rules]), flush=True)

    def run(self):
        print("[]", flush=True)
        ears = {self.fuse, sys.stdin.fileno()}
        while True:
            ready, _, _ = select.select(ears, [], [])
            if sys.stdin.fileno() in ready:
                line = sys.stdin.readline()
                if not line:
                    ears.discard(sys.stdin.fileno())  # goes on until it is unmounted
                else:
                    self.obey(line)
            if self.fuse in ready and not self.serve_one():
                return


class FailingDisk:
    def __init__(self, process, path):
        self.process, self.path = process, path

    def tell(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def rules(self, *rules):
        self.tell(rules=list(rules))

    def hits(self):
        """How often each rule has bitten."""
        return self.tell()


@contextlib.contextmanager
def failing_disk(directory, size, program=__file__, kind=FailingDisk):
    """Yields a FailingDisk of that size; its `path` is a file that a loop device can stand on. `program` serves it, and
    `kind` speaks with that."""
    directory = pathlib.Path(directory)
    image, path = directory / "failing.img", directory / "failing.disk"
    path.touch()
    with open(image, "wb") as file:
        file.truncate(size)
    process = subprocess.Popen([sys.executable, "-B", program, str(image), str(path)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "[]\n", "the failing disk does not start"
        yield kind(process, path)
    finally:
        process.stdin.close()
        # A loop device lets go of it a moment after its filesystem was unmounted.
        for _ in range(100):
            if subprocess.run(["umount", str(path)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.05)
        else:
            subprocess.run(["umount", "-l", str(path)], check=False)
            process.kill()
        process.wait()
        process.stdout.close()
        image.unlink(missing_ok=True)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@contextlib.contextmanager
def failing_filesystem(directory, size=1 << 30, options="noatime", mkfs=()):
    """Yields a FailingDisk and the mount point of a Btrfs filesystem on it."""
    from harness import btrfs  # who serves the disk runs this file alone
    directory = pathlib.Path(directory)
    directory.mkdir()
    mount = directory / "mnt"
    mount.mkdir()
    with failing_disk(directory, size) as disk:
        fsid = str(uuid.uuid4())
        btrfs.make(disk.path, "-U", fsid, *mkfs)
        disk.tell(fsid=fsid)
        device = run("losetup", "--find", "--show", str(disk.path)).strip()
        try:
            run("mount", "-o", options, device, str(mount))
        finally:
            run("losetup", "--detach", device)  # once it is mounted: when it is unmounted
        try:
            yield disk, mount
        finally:
            disk.rules()
            subprocess.run(["umount", "-R", str(mount)], check=False)


if __name__ == "__main__":
    Server(sys.argv[1], sys.argv[2]).run()
