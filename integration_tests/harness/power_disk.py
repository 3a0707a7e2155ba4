"""A disk with a cache that a power cut empties: what was written and not flushed yet is lost, or arrives in part, in any
order, torn. `power_disk.py IMAGE MOUNTPOINT` serves a file for a loop device; PowerDisk starts that, and tells it when the
power goes. A loop device turns each flush of the block layer, FUA included, into an fsync of the file."""
import contextlib
import errno
import json
import os
import pathlib
import random
import select
import subprocess
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness.failing_disk import FailingDisk, Server, failing_disk, run  # noqa: E402

BLOCK = 4096  # of the loop device, so that every write is of whole blocks
SECTOR = 512  # what a disk writes whole
# A filesystem's superblock is written in place: disks are taken not to tear that one block.
SUPERBLOCKS = {"btrfs": (64 << 10, 64 << 20), "ext4": (0,)}


class Loss:
    """What of the writes since the last flush arrives: nothing, the first ones, or any. Those that do may be torn."""

    def __init__(self, seed, untorn):
        self.dice, self.untorn = random.Random(seed), untorn
        self.manner = self.dice.choice(["nothing", "the first", "any", "any"])
        self.share = self.dice.choice([0.2, 0.5, 0.8])

    def arrived(self, pending):
        """[(offset, bytes)] of the writes [(offset, bytes)], in their order."""
        if self.manner == "nothing":
            return []
        if self.manner == "the first":
            count = self.dice.randrange(len(pending) + 1)
            return [piece for at in range(count)
                    for piece in (self.torn(*pending[at]) if at == count - 1 else [pending[at]])]
        return [piece for write in pending if self.dice.random() < self.share
                for piece in (self.torn(*write) if self.dice.random() < 0.25 else [write])]

    def torn(self, offset, data):
        """Some of its sectors, or of its blocks, or its beginning."""
        if len(data) == BLOCK and offset in self.untorn:
            return [(offset, data)]
        unit = self.dice.choice([SECTOR, BLOCK])
        if self.dice.random() < 0.5:
            return [(offset, data[:self.dice.randrange(len(data) // unit + 1) * unit])]
        return [(offset + at, data[at:at + unit]) for at in range(0, len(data), unit) if self.dice.random() < 0.5]


class PowerServer(Server):
    """Passes everything to the image until it is armed. From then on it keeps what was not flushed in memory, and when the
    flush comes at which the power goes, it says so, answers nothing until it hears that everybody was killed, and
    then fails everything."""

    def __init__(self, image, mount_point):
        super().__init__(image, mount_point)
        self.armed = self.dead = self.held = False
        self.pending, self.blocks = [], {}
        self.flushes, self.cut_at, self.loss = 0, None, None
        self.told = {}

    def read(self, offset, size):
        if self.dead:
            raise OSError(errno.EIO, "no power")
        data = os.pread(self.file, size, offset)
        if not self.blocks:
            return data
        patched = bytearray(data)
        for at in range(offset - offset % BLOCK, offset + len(data), BLOCK):
            block = self.blocks.get(at)
            if block is not None:
                begin, end = max(at, offset), min(at + BLOCK, offset + len(data))
                patched[begin - offset:end - offset] = block[begin - at:end - at]
        return bytes(patched)

    def write(self, offset, data):
        if self.dead:
            raise OSError(errno.EIO, "no power")
        if not self.armed:
            os.pwrite(self.file, data, offset)
            return
        if offset % BLOCK or len(data) % BLOCK:
            raise OSError(errno.EINVAL, "a write that is not of whole blocks")
        self.pending.append((offset, data))
        for at in range(0, len(data), BLOCK):
            self.blocks[offset + at] = data[at:at + BLOCK]

    def flush(self):
        if self.dead:
            raise OSError(errno.EIO, "no power")
        if not self.armed:
            return
        self.flushes += 1
        if self.flushes == self.cut_at:
            print(json.dumps({"event": "cut"}), flush=True)
            self.held = True
            while self.held:
                line = sys.stdin.readline()
                if not line:
                    break
                self.obey(line)
            self.cut()
            raise OSError(errno.EIO, "no power")
        self.settle()

    def settle(self):
        for offset, data in self.pending:
            os.pwrite(self.file, data, offset)
        self.pending, self.blocks = [], {}

    def cut(self):
        arrived = self.loss.arrived(self.pending)
        self.told = {"manner": self.loss.manner, "unflushed": len(self.pending), "arrived": len(arrived),
                     "unflushed_bytes": sum(len(data) for _, data in self.pending),
                     "arrived_bytes": sum(len(data) for _, data in arrived)}
        self.pending = arrived
        self.settle()
        self.armed, self.dead = False, True

    def obey(self, line):
        """arm: {"cut_at": N or null, "seed", "untorn"}; cut_in: at the Nth flush from now; released: everybody
        was killed; cut: now; settled: all arrives;
        repaired: the power is back. {} asks how many flushes there were, and what was lost."""
        words = json.loads(line)
        if "arm" in words:
            what = words["arm"]
            self.armed, self.flushes, self.cut_at = True, 0, what["cut_at"]
            self.loss, self.told = Loss(what["seed"], what["untorn"]), {}
        if "cut_in" in words:
            self.cut_at = self.flushes + words["cut_in"]
        if "released" in words:
            self.held = False
        if "cut" in words and not self.dead:
            self.cut()
        if "settled" in words and not self.dead:
            self.settle()
            self.armed = False
        if "repaired" in words:
            self.dead = False
        print(json.dumps({"flushes": self.flushes, "cut": self.dead, **self.told}), flush=True)


class PowerDisk(FailingDisk):
    """`kind` of filesystem on it, mounted at `mount`."""
    kind, mount = "", None

    def tell(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        while "event" in (answer := json.loads(self.process.stdout.readline())):
            pass
        return answer

    def make(self, kind, mount, options):
        self.kind, self.mount, self.options = kind, pathlib.Path(mount), options
        device = self.device()
        try:
            # Everything is on the disk at once: what is written later belongs to the runs.
            extra = ["-E", "lazy_itable_init=0,lazy_journal_init=0"] if kind == "ext4" else []
            run("mkfs." + kind, "-q", *extra, device)
        finally:
            run("losetup", "--detach", device)
        self.mounted()

    def device(self):
        return run("losetup", "--find", "--show", "--sector-size", str(BLOCK), str(self.path)).strip()

    def mounted(self):
        self.mount.mkdir(parents=True, exist_ok=True)
        device = self.device()
        try:
            run("mount", "-t", self.kind, "-o", self.options, device, str(self.mount))
        finally:
            run("losetup", "--detach", device)  # once it is mounted: when it is unmounted

    def unmounted(self):
        if os.path.ismount(self.mount):
            run("umount", "-R", str(self.mount))

    def released(self):
        """Unmounted, even where somebody is still in there."""
        for lazily in [[]] * 50 + [["-l"]]:
            if not os.path.ismount(self.mount) or subprocess.run(
                    ["umount", "-R", *lazily, str(self.mount)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)

    def arm(self, cut_at, seed):
        """From here on what is not flushed may get lost; all that was written before is on the disk."""
        run("sync", "--file-system", str(self.mount))
        self.tell(arm={"cut_at": cut_at, "seed": seed, "untorn": SUPERBLOCKS[self.kind]})

    def has_gone(self, seconds):
        """Whether the flush came at which the power goes; waits for it that long."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return False
        return json.loads(self.process.stdout.readline()).get("event") == "cut"

    def killed(self):
        """Whoever could have gone on is dead: the disk may answer, with errors."""
        return self.tell(released=True)

    def cut(self):
        """The power goes now, if it has not."""
        return self.tell(cut=True)

    def cut_while_syncing(self, flushes):
        """At one of the first flushes of a sync, as the kernel does one in the background; the last one at the latest."""
        self.tell(cut_in=flushes)
        syncing = subprocess.Popen(["sync", "--file-system", str(self.mount)], stderr=subprocess.DEVNULL)
        while syncing.poll() is None:
            if self.has_gone(0.02):
                self.killed()
        return self.cut()

    def settle(self):
        """It does not go; returns what tell() does."""
        return self.tell(settled=True)

    def reboot(self):
        self.unmounted()
        self.tell(repaired=True)
        self.mounted()


@contextlib.contextmanager
def power_disk(directory, kind, mount, size, options="noatime"):
    """Yields a PowerDisk with a filesystem, mounted."""
    with failing_disk(directory, size, __file__, PowerDisk) as disk:
        try:
            disk.make(kind, mount, options)
            yield disk
        finally:
            disk.tell(released=True, settled=True, repaired=True)
            disk.released()


if __name__ == "__main__":
    PowerServer(sys.argv[1], sys.argv[2]).run()
