"""Cases of a spool disk that fails in the middle: real errors of a real block device.

The spool lies on ext4 on a loop device that loses its end while the program runs: what the kernel is then asked to read
or write fails with EIO. In the last case the device is whole and lies: its bytes are exchanged. The store is stopped at a
request meanwhile, so that parts are in the spool and not yet sent.
"""
import contextlib
import os
import pathlib
import subprocess
import time

from recovery import behind_proxy, random_file, recovered
from world import MIB, btrfs, case, says

# Twelve parts and the larger half of one: what else the program writes is less than that last part.
SPOOLED = 63 * MIB


class SpoolDisk:
    def __init__(self, image, device, mount):
        self.image, self.device, self.mount = image, device, mount

    def loses_its_end(self):
        """All but the first MiB, where the filesystem describes itself."""
        os.truncate(self.image, MIB)
        btrfs.run("losetup", "--set-capacity", self.device)

    def in_flight(self):
        """Reads and writes that the device has not answered yet."""
        counts = pathlib.Path("/sys/block") / pathlib.Path(self.device).name / "inflight"
        return [int(count) for count in counts.read_text(encoding="ascii").split()]


@contextlib.contextmanager
def spool_disk(w):
    image, mount = w.directory / "spool.img", w.directory / "spool"
    mount.mkdir()
    btrfs.run("truncate", "-s", "400M", str(image))
    btrfs.run("mkfs.ext4", "-q", "-O", "^has_journal", str(image))
    device = btrfs.run("losetup", "--find", "--show", str(image)).strip()
    try:
        btrfs.run("mount", device, str(mount))
        try:
            # The device goes with its mount, even when nobody is left to ask for it.
            btrfs.run("losetup", "--detach", device)
            w.tool.tables["global"].update(spool_dir=str(mount), spool_size_bytes="200MiB")
            # One part in flight: while it is held, nothing is read from the spool.
            w.tool.tables["s3"].update(spool_enabled=True, concurrency=1, chunk_size_bytes="200GiB")
            yield SpoolDisk(image, device, mount)
        finally:
            if subprocess.run(["umount", str(mount)], check=False).returncode != 0:
                subprocess.run(["umount", "-l", str(mount)], check=False)
    finally:
        # Only when mounting failed is there still something to detach.
        if not os.path.ismount(mount) and device in btrfs.run("losetup", "--associated", str(image)):
            subprocess.run(["losetup", "--detach", device], check=False)


def backup_stopped_at_part(w, between, number, meanwhile, environment=None):
    """A backup whose part `number` is held; what `meanwhile` does, given the process, happens before it goes on."""
    held = between.hold(method="PUT", query="partNumber=", number=number)
    running = w.tool.start("backup", "--once", environment=environment)
    deadline = time.monotonic() + 60
    while not held.reached.wait(0.02):
        assert not ended(running[0]) and time.monotonic() < deadline, w.tool.finish(running, limit=1)
    meanwhile(running[0])
    between.release()
    return w.tool.finish(running, limit=120)


def ended(process):
    """Whether it has, without taking its status away from whoever waits for it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def wait_until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def counting_sender(w):
    """A `btrfs` whose `send` leaves the length of its stream in a file; both."""
    sent = w.directory / "sent"
    return sent, w.fake_btrfs(f'"$REAL" "$@" | tee >(wc -c > {sent})')


def wait_for_spooled(process, sent, disk):
    """Until the whole stream is in the spool: the program has written that much, and the disk is done with it."""
    def spooled():
        length = sent.read_text(encoding="ascii").strip() if sent.exists() else ""
        counts = dict(line.split(": ") for line in pathlib.Path(f"/proc/{process.pid}/io").read_text().splitlines())
        return length and int(counts["write_bytes"]) >= int(length) and not any(disk.in_flight())
    wait_until(spooled, "the spool does not take the stream")


def spool_files(process, mount):
    entries = pathlib.Path(f"/proc/{process.pid}/fd").iterdir()
    return [entry for entry in entries if str(entry.readlink()).startswith(f"{mount}/")]


def kept_and_finished(w, outcome):
    """It failed and said what to do; the next run, without that disk, goes on where it stopped."""
    assert outcome.status == 1, outcome
    says(outcome, "subvolume_failed", str(w.directory / "spool"), "point global.spool_dir to another disk",
         "kept_for_the_next_run")
    assert len(w.journals()) == 1 and len(w.bucket.open_uploads()) == 1 and len(w.snapshot_names()) == 1
    assert w.bucket.list() == {}, w.bucket.list()
    w.tool.tables["s3"]["spool_enabled"] = False
    says(w.backup(only_when_due=True), "action=resume")
    recovered(w, ["full"])


@case
def a_spool_disk_that_cannot_be_written_fails_clearly(w):
    random_file(w.data / "random", 100 * MIB)
    # The sender waits in the middle, so that something is left to be written.
    go_on = w.directory / "go-on"
    slow = w.fake_btrfs(f'"$REAL" "$@" | {{ head -c {40 * MIB}; while [[ ! -e {go_on} ]]; do sleep 0.05; done; cat; }}')
    with behind_proxy(w) as between:
        with spool_disk(w) as disk:
            def fail_writes(process):
                disk.loses_its_end()
                go_on.touch()
                wait_until(lambda: ended(process), "it goes on although its disk does not")
            outcome = backup_stopped_at_part(w, between, 3, fail_writes, slow)
        says(outcome, "write: Input/output error")
        kept_and_finished(w, outcome)


@case
def a_spool_disk_that_cannot_be_read_fails_clearly(w):
    random_file(w.data / "random", SPOOLED)
    sent, counted = counting_sender(w)
    with behind_proxy(w) as between:
        with spool_disk(w) as disk:
            def fail_reads(process):
                wait_for_spooled(process, sent, disk)
                disk.loses_its_end()
            outcome = backup_stopped_at_part(w, between, 3, fail_reads, counted)
        says(outcome, "read: Input/output error")
        kept_and_finished(w, outcome)


@case
def a_spool_disk_that_lies_publishes_nothing(w):
    """Ceph 16 takes a wrong CRC32 with 200, and payloads are not signed: nobody but the spool would notice."""
    random_file(w.data / "random", SPOOLED)
    sent, counted = counting_sender(w)
    w.tool.tables["s3"]["payload_signing"] = "unsigned"
    with behind_proxy(w) as between:
        with spool_disk(w) as disk:
            def exchange_bytes(process):
                wait_for_spooled(process, sent, disk)
                for entry in spool_files(process, disk.mount):
                    with open(entry, "r+b") as file:
                        for at in range(0, os.stat(entry).st_size, 64 * 1024):
                            file.seek(at)
                            file.write(b"other bytes")
                        os.fsync(file.fileno())
            outcome = backup_stopped_at_part(w, between, 3, exchange_bytes, counted)
        says(outcome, "returns other bytes than were written")
        kept_and_finished(w, outcome)
