#!/usr/bin/env python3
"""Local snapshots: as many as backup.retention_snapshots says, read-only, rightly named, the newest among them."""
import contextlib
import json
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import btrfs, faults, manifest, runner, session  # noqa: E402
from harness.assertions import HarnessError  # noqa: E402


def options():
    result = session.parser(__doc__)
    result.add_argument("--self-test", action="store_true", help="break one thing at a time and expect to find it")
    return result


def subvolume_problems(this, name, names):
    """`names` are the snapshots of this subvolume."""
    settings, found = this.settings, []
    root = settings.root_of(name)
    backups = len([key for key in this.store.list(root, ".json") if "/manifest-" in key])
    expected = min(settings.backup.retention_snapshots, backups)
    if len(names) != expected:
        found.append(f"{name}: {len(names)} snapshots ({', '.join(names)}), expected {expected}: "
                     f"backup.retention_snapshots is {settings.backup.retention_snapshots}, backups were {backups}")
    _, newest = manifest.newest(this.store, root)
    parent = manifest.snapshot_name(newest)
    if parent not in names:
        found.append(f"{name}: the snapshot of the newest backup, {parent}, is not there: the next would be a full")
    for one in names:
        try:
            if not btrfs.is_read_only(settings.paths.snapshots / one):
                found.append(f"{one} is writable")
        except subprocess.CalledProcessError:
            found.append(f"{one} is no subvolume")
    return found


def check(this):
    settings, of_subvolume = this.settings, {name: [] for name in this.settings.btrfs.subvolumes}
    problems = []
    for path in sorted(settings.paths.snapshots.iterdir()):
        match = manifest.SNAPSHOT.fullmatch(path.name)
        if match and match["subvolume"] in of_subvolume:
            of_subvolume[match["subvolume"]].append(path.name)
        else:
            problems.append(f"{path} is no snapshot of a subvolume of btrfs.subvolumes")
    for name, names in of_subvolume.items():
        try:
            problems += subvolume_problems(this, name, names)
        except HarnessError as problem:
            problems.append(str(problem))
    return faults.verdict(this.log, problems, f"{sum(map(len, of_subvolume.values()))} snapshots of "
                          f"{len(of_subvolume)} subvolumes")


@contextlib.contextmanager
def snapshot_added(this, source, name, writable=False):
    path = this.settings.paths.snapshots / name
    btrfs.snapshot(this.settings.paths.snapshots / source, path, writable)
    try:
        yield
    finally:
        btrfs.delete_subvolume(path)


@contextlib.contextmanager
def directory_added(path):
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()


@contextlib.contextmanager
def stricter(this):
    yield lambda: check(this.over(backup={"retention_snapshots": 1}))


def planted(this):
    settings = this.settings
    name = settings.btrfs.subvolumes[0]
    root = settings.root_of(name)
    key, newest = manifest.newest(this.store, root)
    snapshot = manifest.snapshot_name(newest)
    extra = f"{name}__20000101T000000Z__full"
    yield "a snapshot too many", snapshot_added(this, snapshot, extra), extra, "expected"
    yield "a snapshot that is writable", snapshot_added(this, snapshot, extra, writable=True), extra, "writable"
    yield "a directory with a snapshot's name", directory_added(settings.paths.snapshots / extra), "is no subvolume"
    yield "a snapshot of something else", snapshot_added(this, snapshot, f"{name}-copy"), f"{name}-copy"
    gone = dict(newest, snapshot=dict(newest["snapshot"], name=f"{name}__20990101T000000Z__inc"))
    yield ("a newest snapshot that is not there",
           faults.object_replaced(this.store, key, json.dumps(gone).encode()), "20990101T000000Z", "is not there")
    if settings.backup.retention_snapshots > 1:
        yield "more than a lower limit allows", stricter(this), "expected 1"


def body(this, arguments):
    if arguments.self_test:
        runner.must_be_root("a snapshot")
        return faults.self_test(this.log, lambda: check(this), list(planted(this)))
    return check(this)


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
