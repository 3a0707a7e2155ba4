"""What must be true after any run that ended somewhere and the run after it: sentences about what is not."""
import fcntl
import hashlib
import json
import os
import pathlib
import re

from world import compare


def attempt(broken, what, check):
    """A check that cannot even be made is one that failed."""
    try:
        check()
    except Exception as problem:  # whatever it is, it is told
        broken.append(f"{what}: {type(problem).__name__}: {problem}")


def chain(w, broken, orphans=frozenset()):
    """The pointer, its chain to a full, every object of it as recorded, and nothing else in the bucket but `orphans`."""
    known, key, kinds = {w.root + "current.json"}, w.pointer()["manifest_key"], []
    sizes = w.bucket.list()
    while key:
        manifest = w.bucket.get_json(key)
        known.add(key)
        kinds.append(manifest["kind"])
        if "encryption" in manifest:
            known.add(manifest["encryption"]["keys_key"])
        if w.signed:
            known.add(key + ".sig")
        for one in (*manifest["chunks"], *([manifest["index"]] if "index" in manifest else [])):
            known.add(one["key"])
            if sizes.get(one["key"]) != one["size"]:
                broken.append(f"{one['key']} of {key} has {sizes.get(one['key'])} bytes, not {one['size']}")
            elif hashlib.sha256(w.bucket.get(one["key"])).hexdigest() != one["sha256"]:
                broken.append(f"{one['key']} of {key} is not what the manifest says")
        key = manifest["parent_manifest"]
    if kinds[-1] != "full" or "full" in kinds[:-1]:
        broken.append(f"the chain is {kinds}")
    for kind, those in (("missing", known - set(sizes)), ("in the bucket and named by nothing", set(sizes) - known - orphans)):
        if those:
            broken.append(f"{kind}: {sorted(those)}")


def no_process_left(w, broken):
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(w.mount) in command and b"btrfs" in command and b"sweep.py" not in command:
                broken.append(f"still runs: {command!r}")


def beside_the_state(w):
    """Names of the files that a run keeps: state, lock, records, spool."""
    return {str(path.relative_to(w.directory)) for name in ("state", "lock", "spool")
            for path in (w.directory / name).rglob("*") if not path.is_dir()}


def lock_is_free(w, broken):
    lock = w.directory / "lock" / "lock"
    with open(lock, "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            broken.append(f"{lock} is still held")


def state_is_readable(w, broken):
    state = json.loads((w.directory / "state" / "state.json").read_text())["subvolumes"]["data"]
    named = w.pointer()["manifest_key"]
    if state["last_manifest"] != named:
        broken.append(f"the state names {state['last_manifest']}, the pointer {named}")


def snapshots_are_named(w, broken):
    times = {re.search(r"\d{8}T\d{6}Z", key)[0] for key in w.bucket.list() if "/manifest-" in key}
    stray = [name for name in w.snapshot_names() if name.split("__")[1] not in times]
    if stray:
        broken.append(f"snapshots that nothing names: {stray}")
    retain = w.tool.tables["snapshots"]["retain"]
    if len(w.snapshot_names()) > retain:
        broken.append(f"{retain} snapshots are to be kept, there are {w.snapshot_names()}")


def nothing_else_on_the_disk(w, broken, restored=()):
    expected = sorted(["data", *("snapshots/" + name for name in w.snapshot_names()), *restored])
    if w.filesystem.subvolumes() != expected:
        broken.append(f"subvolumes are {w.filesystem.subvolumes()}, not {expected}")
    private = [path.name for path in w.restored.iterdir() if path.name.startswith(".btrfs_to_s3")]
    if private:
        broken.append(f"left beside the target: {private}")
    mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    if [place for place in mounts if place.startswith(str(w.directory))] != w.mounts:
        broken.append(f"mounted: {[place for place in mounts if place.startswith(str(w.directory))]}")


def trees_are_equal(w, broken, first, second):
    found = compare.differences(first, second)
    if found:
        broken.append(f"{second} differs in {len(found)} places from {first}, the first: {found[0]}")


def of_every_run(w, files, restored=(), orphans=frozenset()):
    """Sentences; `files` are those that an undisturbed run keeps beside its state."""
    broken = []
    attempt(broken, "chain", lambda: chain(w, broken, orphans))
    attempt(broken, "uploads", lambda: broken.extend(f"open upload of {key}" for key in w.bucket.open_uploads()))
    attempt(broken, "snapshots", lambda: snapshots_are_named(w, broken))
    attempt(broken, "disk", lambda: nothing_else_on_the_disk(w, broken, restored))
    attempt(broken, "state", lambda: state_is_readable(w, broken))
    attempt(broken, "lock", lambda: lock_is_free(w, broken))
    attempt(broken, "processes", lambda: no_process_left(w, broken))
    more = beside_the_state(w) - files
    if more:
        broken.append(f"files that an undisturbed run does not leave: {sorted(more)}")
    return broken
