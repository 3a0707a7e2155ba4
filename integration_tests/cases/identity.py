"""Cases of identity: what a snapshot's name, UUID and path promise is compared with what lies there now."""
import fcntl
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import time

from doctor import examined
from restoring import chain_of
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


def source_changed(w):
    """The next backup is a full of what is there now, and says why; doctor said so before."""
    found = examined(w)["backups", "data"]
    assert found["outcome"] == "warning" and "another subvolume" in found["found"], found
    says(w.backup(), "kind=full", "reason=source_changed", "another subvolume")
    assert w.manifest()["kind"] == "full"
    says(w.backup(), "kind=incremental", "reason=requested")


@case
def another_subvolume_in_the_sources_place_is_said_and_makes_a_full(w):
    w.tool.tables["snapshots"]["retain"] = 9
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    w.data.rename(w.mount / "away")
    w.filesystem.subvolume("data")
    (w.data / "other").write_text("somebody else's\n")
    # Nothing due: it is said all the same.
    says(w.backup(only_when_due=True), "event=source_changed", "not_due")
    source_changed(w)
    # Put back what was there before, also by the name of a snapshot of it: another one than the last.
    w.data.rename(w.mount / "other")
    btrfs.snapshot(w.mount / "away", w.data, writable=True)
    source_changed(w)


@case
def a_volume_that_is_not_mounted_is_not_backed_up_as_what_lies_below(w):
    point = w.filesystem.subvolume("point")
    volume = w.filesystem.subvolume("volume")
    dataset.seed(volume, large_mib=1, small_files=5)
    w.tool.tables["subvolumes"]["paths"] = [{"name": "data", "path": str(point)}]
    btrfs.run("mount", "-o", "subvol=volume", w.filesystem.device, str(point))
    w.backup()
    btrfs.run("umount", str(point))
    source_changed(w)
    btrfs.run("mount", "-o", "subvol=volume", w.filesystem.device, str(point))
    source_changed(w)
    w.restore("--target", str(w.restored / "again"))
    w.same(volume, w.restored / "again")


@case
def a_source_made_from_the_last_snapshot_goes_on(w):
    """A rollback by hand: what was backed up is what it began as."""
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    btrfs.delete_subvolume(w.data)
    btrfs.snapshot(w.snapshots / w.snapshot_names()[0], w.data, writable=True)
    (w.data / "more").write_text("since then\n")
    says(w.backup(), "kind=incremental", "source_made_from_the_last_snapshot")
    w.restore("--target", str(w.restored / "again"))
    w.same(w.data, w.restored / "again")


@case
def a_source_that_became_a_link_is_not_followed(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    key = w.pointer()["manifest_key"]
    w.data.rename(w.mount / "away")
    other = w.filesystem.subvolume("other")
    (other / "secret").write_text("not to be sent\n")
    w.data.symlink_to(other)
    before = w.filesystem.subvolumes()
    for path in (str(w.data), f"{w.data}/", f"{w.data}/."):
        w.tool.tables["subvolumes"]["paths"] = [{"name": "data", "path": path}]
        outcome = w.backup(expect=2)
        says(outcome, "is a symbolic link", str(other), "subvolumes.paths")
        assert w.pointer()["manifest_key"] == key and w.filesystem.subvolumes() == before
        assert examined(w, expect=1)["subvolume", "data"]["outcome"] == "failed"
    # As the remedy says, under the name that its backups have.
    w.tool.tables["subvolumes"]["paths"] = [{"name": "data", "path": str(w.mount / "away")}]
    says(w.backup(), "kind=incremental")


@case
def doctor_tells_who_may_exchange_a_source(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    theirs = w.mount / "theirs"
    theirs.mkdir()
    inner = w.filesystem.subvolume("theirs/inner")
    w.tool.tables["subvolumes"]["paths"] = [{"name": "data", "path": str(inner)}]
    assert examined(w)["subvolume", "data"]["outcome"] == "ok"
    for owner, mode, who in ((1234, 0o755, "user 1234"), (0, 0o777, "everybody")):
        os.chown(theirs, owner, 0)
        theirs.chmod(mode)
        found = examined(w)["subvolume", "data"]
        assert found["outcome"] == "warning" and who in found["found"] and str(theirs) in found["found"], found


def holding_syncs(w):
    """Compiles harness/hold_sync.c; returns an environment, and the files that tell and that release."""
    source = pathlib.Path(__file__).resolve().parent.parent / "harness" / "hold_sync.c"
    library = w.directory / "hold_sync.so"
    assert os.system(f"cc -shared -fPIC -o {library} {source} -ldl") == 0, "harness/hold_sync.c does not compile"
    stem = w.directory / "sync"
    environment = {"LD_PRELOAD": str(library), "HOLD_SYNC": str(stem)}
    return environment, w.directory / "sync.held", w.directory / "sync.release"


def held_at_each_sync(w, *arguments, after):
    """Runs the program with each of its syncfs and fsync calls held in turn, and a SIGTERM meanwhile, which has to be seen.
    `after`: called with each outcome, to put things back."""
    environment, held, release = holding_syncs(w)
    count = w.directory / "sync.count"
    after(w.expect(0, w.tool.run(*arguments, environment={**environment, "HOLD_SYNC_AT": "1000"})))
    syncs = count.stat().st_size
    for number in range(1, syncs + 1):
        for path in (held, release, count):
            path.unlink(missing_ok=True)
        running = w.tool.start(*arguments, environment={**environment, "HOLD_SYNC_AT": str(number)})
        try:
            wait_for(held.exists, running, w)
            running[0].send_signal(signal.SIGTERM)
            wait_for(lambda: b"event=stopping" in os.pread(running[2].fileno(), 1 << 20, 0), running, w)
        finally:
            release.touch()
        outcome = w.tool.finish(running)
        print(f"sync {number} of {syncs}: exit status {outcome.status}", flush=True)
        assert outcome.status in (0, 143), outcome
        after(outcome)
    return syncs


@case
def a_restore_that_waits_for_its_disk_sees_signals(w):
    chain_of(w, 2, large_mib=1, small_files=10)
    subvolumes = w.filesystem.subvolumes()
    target = w.restored / "data"
    name = w.snapshot_names()[-1]
    os.system(f"btrfs subvolume delete {w.snapshots / name} > /dev/null")

    def put_back(outcome):
        if outcome.status != 0:
            w.restore("--target", str(target), "--keep-received")
        w.same(w.data, target)
        w.nothing_left_behind(subvolumes + ["restored/data"])
        os.system(f"btrfs subvolume delete {target} {w.snapshots / name} > /dev/null")

    # Both links' proof and record, the kept snapshot and its record, the target, what goes in the end.
    assert held_at_each_sync(w, "restore", "--subvolume", "data", "--target", str(target), "--keep-received",
                             after=put_back) >= 8
def wait_for(condition, running, w):
    deadline = time.monotonic() + 60
    while not condition():
        assert running[0].poll() is None and time.monotonic() < deadline, w.tool.finish(running)
        time.sleep(0.02)


@case
def a_snapshot_that_waits_for_its_disk_stops_neither_others_nor_signals(w):
    paths = [w.data, w.filesystem.subvolume("second")]
    for path in paths:
        dataset.seed(path, large_mib=1, small_files=5)
    w.tool.tables["subvolumes"]["paths"] = [str(path) for path in paths]
    w.tool.tables["global"]["parallel_subvolumes"] = 2
    environment, held, release = holding_syncs(w)
    running = w.tool.start("backup", "--once", environment=environment)
    try:
        wait_for(held.exists, running, w)
        # The other's backup is published and recorded.
        wait_for(lambda: any(f"/subvol/{path.name}/current.json" in key and
                             not (w.directory / f"state/state.{path.name}.journal").exists()
                             for path in paths for key in w.bucket.list()), running, w)
        running[0].send_signal(signal.SIGTERM)
        wait_for(lambda: b"event=stopping" in os.pread(running[2].fileno(), 1 << 20, 0), running, w)
    finally:
        release.touch()
    outcome = w.tool.finish(running)
    assert outcome.status == 143, outcome
    published = [key for key in w.bucket.list() if key.endswith("current.json")]
    assert len(published) == 1, published
    # What was being made when the signal came is gone again: nothing of it had been uploaded.
    assert len(w.snapshot_names()) == 1 and w.journals() == [], (w.snapshot_names(), w.journals())
    says(w.backup(), "run_finished backups=2")


@case
def a_backup_that_waits_for_its_disk_sees_signals(w):
    dataset.seed(w.data, large_mib=1, small_files=5)

    def put_back(outcome):
        if outcome.status != 0:
            w.backup()
        assert w.journals() == [] and w.bucket.open_uploads() == [], w.journals()

    # The journal and its directory, the snapshot, the state and its directory, the journal's removal.
    assert held_at_each_sync(w, "backup", "--once", after=put_back) >= 6


@case
def a_verification_that_waits_for_its_disk_sees_signals(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup("--once")
    cache = pathlib.Path(w.tool.environment["HOME"]) / ".cache"
    # The catalogue by which the chain is proven; the record and its directory, after the one backup and at the end.
    assert held_at_each_sync(w, "verify", "--deep", after=lambda outcome: shutil.rmtree(cache)) >= 5


@case
def a_prune_that_waits_for_its_disk_sees_signals(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.tool.tables["retention"] = {"keep_generations": 1}

    def put_back(outcome):
        w.backup("--once", "--full")
        w.expect(0, w.tool.run("verify"))

    w.backup("--once", "--full")
    put_back(None)
    # The record and its directory, the state and its directory.
    assert held_at_each_sync(w, "prune", "--yes", after=put_back) >= 4


@case
def a_journal_that_is_moved_aside_on_a_slow_disk_stops_no_signals(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup("--once")
    journal = w.directory / "state/state.data.journal"

    def damage(outcome):
        journal.write_text("this is no journal\n")

    damage(None)
    assert held_at_each_sync(w, "backup", after=damage) >= 1
