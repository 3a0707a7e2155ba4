"""Cases of identity: what a snapshot's name, UUID and path promise is compared with what lies there now."""
import fcntl
import os
import struct
import subprocess

from doctor import examined
from world import btrfs, case, dataset, says

SUBVOL_SETFLAGS = 1 << 30 | 8 << 16 | 0x94 << 8 | 26
SET_RECEIVED_SUBVOL = 3 << 30 | 200 << 16 | 0x94 << 8 | 37
READ_ONLY = 2


def set_read_only(path, read_only):
    """By the bare ioctl, which keeps the received UUID."""
    directory = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(directory, SUBVOL_SETFLAGS, struct.pack("<Q", READ_ONLY if read_only else 0))
    finally:
        os.close(directory)


def set_received(path, uuid, transid):
    directory = os.open(path, os.O_RDONLY)
    try:
        raw = bytes.fromhex(uuid.replace("-", "")) + struct.pack("<2Q", transid, 0)
        fcntl.ioctl(directory, SET_RECEIVED_SUBVOL, bytearray(raw.ljust(200, b"\0")))
    finally:
        os.close(directory)


def changed(path, change):
    """What somebody does who thinks that a read-only snapshot may be corrected a little."""
    set_read_only(path, False)
    change(path)
    set_read_only(path, True)


def kept_copy(w):
    """A backup, of which the snapshot and the source were lost and restored with --keep-received: the kept copy."""
    dataset.seed(w.data, large_mib=1, small_files=20)
    (w.data / "victim").write_text("as it was\n")
    w.backup()
    name, = w.snapshot_names()
    btrfs.delete_subvolume(w.snapshots / name)
    btrfs.delete_subvolume(w.data)
    w.restore("--target", str(w.data), "--keep-received")
    return w.snapshots / name


def full_that_restores(w, *words):
    """The next backup is a full, says why, and is what the source is."""
    found = examined(w)["backups", "data"]
    assert found["outcome"] == "warning" and "the next will be a full one" in found["found"], found
    says(w.backup(), "kind=full", "reason=parent_changed", *words)
    assert w.manifest()["kind"] == "full"
    w.restore("--target", str(w.restored / "again"))
    w.same(w.data, w.restored / "again")


@case
def a_kept_copy_is_the_next_parent(w):
    kept = kept_copy(w)
    (w.data / "more").write_text("since the restore\n")
    # A balance moves generations, not content.
    btrfs.run("btrfs", "balance", "start", "--full-balance", str(w.mount))
    btrfs.snapshot(kept, w.mount / "of_kept")
    says(w.backup(), "kind=incremental", "reason=requested")
    assert w.manifest()["parent_manifest"], w.manifest()
    w.restore("--target", str(w.restored / "again"))
    w.same(w.data, w.restored / "again")


@case
def a_kept_copy_that_was_changed_is_no_parent(w):
    """Flipped by the bare ioctl, edited, flipped back: its received UUID is the recorded one all the same."""
    kept = kept_copy(w)

    def edit(path):
        (path / "victim").unlink()
        (path / "planted").write_text("never backed up\n")

    changed(kept, edit)
    full_that_restores(w, str(kept), "was changed")


@case
def a_kept_copy_with_another_xattr_is_no_parent(w):
    kept = kept_copy(w)
    changed(kept, lambda path: os.setxattr(path / "victim", "user.note", b"1"))
    full_that_restores(w, "was changed")


@case
def a_kept_copy_flipped_there_and_back_is_still_the_parent(w):
    kept = kept_copy(w)
    changed(kept, lambda path: None)
    says(w.backup(), "kind=incremental")
    w.restore("--target", str(w.restored / "again"))
    w.same(w.data, w.restored / "again")


@case
def another_copy_under_a_kept_ones_name_is_no_parent(w):
    """A snapshot of the changed copy has its received UUID, and was never changed itself."""
    kept = kept_copy(w)
    changed(kept, lambda path: (path / "victim").write_text("changed\n"))
    btrfs.snapshot(kept, w.mount / "aside")
    btrfs.delete_subvolume(kept)
    btrfs.snapshot(w.mount / "aside", kept)
    full_that_restores(w, "another copy")


@case
def a_received_uuid_set_by_hand_makes_no_parent(w):
    """On a snapshot of something else, where nothing is recorded of the copy."""
    kept = kept_copy(w)
    manifest = w.manifest()
    btrfs.delete_subvolume(kept)
    (w.directory / "state" / "state.json.kept").unlink()
    (w.data / "victim").write_text("the source goes on\n")
    btrfs.snapshot(w.data, kept, writable=True)
    set_received(kept, manifest["snapshot"]["uuid"], manifest["snapshot"]["ctransid"])
    set_read_only(kept, True)
    full_that_restores(w, "received UUID")


@case
def a_changed_copy_is_no_yardstick_of_a_restore(w):
    """A restore compares with the backup's snapshot where that is here: not with one that was changed."""
    kept = kept_copy(w)
    changed(kept, lambda path: (path / "victim").write_text("changed\n"))
    outcome = w.restore("--target", str(w.restored / "again"))
    says(outcome, "was changed")
    w.same(w.data, w.restored / "again")
    refused = w.restore("--target", str(w.restored / "third"), "--keep-received", expect=2)
    says(refused, str(kept), "was changed", "move it away")


@case
def deduplication_inside_a_snapshot_is_told_by_its_name(w):
    dataset.seed(w.data, large_mib=1, small_files=20)
    (w.data / "once").write_bytes(b"same" * 65536)
    (w.data / "twice").write_bytes(b"same" * 65536)
    w.backup()
    btrfs.run("sync")
    snapshot = w.snapshots / w.snapshot_names()[0]
    first, second = (os.open(snapshot / name, os.O_RDONLY) for name in ("once", "twice"))
    request = bytearray(struct.pack("<QQHHI", 0, 1 << 18, 1, 0, 0) + struct.pack("<qQQiI", second, 0, 0, 0, 0))
    fcntl.ioctl(first, 3 << 30 | 24 << 16 | 0x94 << 8 | 54, request)
    assert struct.unpack_from("<Q", request, 40)[0] == 1 << 18, request
    os.close(first)
    os.close(second)
    subprocess.run(["sync"], check=True)
    full_that_restores(w, "bees", "duperemove", "docs/operations.md")
