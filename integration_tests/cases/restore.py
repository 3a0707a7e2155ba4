"""Cases of restores: what a chain in the bucket becomes on a disk, whatever was done to either, and how it is told."""
import datetime
import json
import os
import pathlib
import re
import signal
import stat
import struct
import subprocess
import threading
import time

from world import MIB, btrfs, case, compare, dataset, says, terminal, tool

from harness import archive


def time_of(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def chain_of(w, links, large_mib=4, small_files=40, **s3):
    """Backs `data` up `links` times; returns the manifest keys. Snapshots stay."""
    w.tool.tables["snapshots"]["retain"] = links + 1
    w.tool.tables["s3"].update(s3)
    dataset.seed(w.data, large_mib=large_mib, small_files=small_files)
    keys = []
    for number in range(links):
        if number:
            (w.data / f"link{number}").write_bytes(os.urandom(100_000))
            if (w.data / f"link{number - 1}").exists():
                (w.data / f"link{number - 1}").unlink()
        w.backup("--once")
        keys.append(w.pointer()["manifest_key"])
    return keys


def as_the_earlier_tool_wrote(w, key):
    """The manifest at `key` without what that tool did not record."""
    manifest = w.bucket.get_json(key)
    for chunk in manifest["chunks"]:
        for field in ("part_size", "part_crc32", "part_sha256_states"):
            chunk.pop(field, None)
        chunk["etag"] = None
    for field in ("stream", "tool", "host"):
        manifest.pop(field, None)
    manifest["snapshot"].update(uuid=None, parent_uuid=None)
    for field in ("ctransid", "received_uuid"):
        manifest["snapshot"].pop(field, None)
    w.bucket.put(key, json.dumps(manifest).encode())


def flip(w, key, at):
    """Damages an object; returns what it was."""
    body = w.bucket.get(key)
    w.bucket.put(key, body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])
    return body


def fake_receive(w, text):
    """An environment whose `btrfs receive` is this shell text; $REAL is the real program. It can write into $PLACE
    alone, which is received() of the target, and to a pipe that has a name."""
    fake = w.fake_btrfs("exit 9")
    script = pathlib.Path(fake["PATH"].split(":")[0]) / "btrfs"
    before, others, after = script.read_text().partition("if [[ $1 != send")
    assert others
    script.write_text(f"{before}if [[ $1 == receive ]]; then\nPLACE=${{@: -1}}\n{text}\nfi\n{others}{after}")
    return fake


def received(target):
    """Where a restore to that target receives."""
    return target.parent / f".btrfs_to_s3.{target.name}" / "received"


class Gathered:
    """A pipe with a name; size() tells how many bytes were written to it, once its writers have ended."""

    def __init__(self, w):
        self.path = w.directory / f"pipe-{time.monotonic_ns()}"
        os.mkfifo(self.path)
        self._ours = os.open(self.path, os.O_RDWR)  # so that it has no end before ours
        self._bytes = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        with open(self.path, "rb", buffering=0) as pipe:
            while piece := pipe.read(1 << 20):
                self._bytes += len(piece)

    def size(self):
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1
            self._thread.join()
        return self._bytes


@case
def a_refusal_by_receive_is_remembered_and_the_next_backup_is_a_full(w):
    """An incremental that names a file that is not there, as some kernels send them: the bytes are the right ones."""
    dataset.seed(w.data, large_mib=4, small_files=50)
    (w.data / "before").mkdir()
    w.backup()
    full = w.pointer()["manifest_key"]
    os.rename(w.data / "before", w.data / "behind")
    w.backup()
    incremental = w.pointer()["manifest_key"]
    # The second receiver takes the whole stream and says what btrfs-progs say of such a command.
    refusing = fake_receive(w, 'echo >> $PLACE/calls; if [[ $(wc -l < $PLACE/calls) == 1 ]]; then exec "$REAL" "$@"; fi\n'
                               'cat > /dev/null; echo "ERROR: rename before -> behind failed: No such file or directory" >&2; '
                               "exit 1")
    outcome = w.restore("--target", str(w.restored / "data"), expect=1, environment=refusing)
    says(outcome, f"refused {incremental}", "(rename before -> behind) at byte", "backup --full", f"--manifest-key {full}")
    assert re.search(r"command \d+ \(rename", outcome.stderr), outcome
    status = w.tool.run("status", "--json")
    assert status.status != 0 and json.loads(status.stdout)["subvolumes"][0]["status"] == "critical", status
    # What only reads refutes nothing.
    w.tool.run("verify", "--deep")
    assert json.loads(w.tool.run("status", "--json").stdout)["subvolumes"][0]["status"] == "critical"
    says(w.backup(only_when_due=True), "reason=receive_refused", "kind=full")
    assert json.loads(w.tool.run("status", "--json").stdout)["subvolumes"][0]["status"] != "critical"
    w.restore("--target", str(w.restored / "data"), "--discard")
    w.same(w.data, w.restored / "data")


def deep_path(top, length):
    """Makes a file whose path below `top` has that many bytes, each step relative to the one before; its content."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    left = length
    while left > 255:
        # Never a rest of one byte, for which there would be no name behind the slash.
        name = "d" * min(200, left - 2)
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd, left = below, left - len(name) - 1
    content = os.urandom(5000)
    file = os.open("f" * left, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd)
    os.write(file, content)
    os.close(file)
    os.close(fd)
    return content


def deep_content(top):
    """What the only file below `top` holds, however long its path is."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    while True:
        (name,) = [entry for entry in os.listdir(fd) if entry != "plain"]
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            break
    with open(fd, "rb") as file:
        return file.read()


@case
def a_path_that_has_hardly_room_is_told_by_backup_and_restored_at_the_shortest_place(w):
    (w.data / "plain").write_text("beside it", encoding="ascii")
    content = deep_path(w.data, 3900)
    kept = w.backup()
    assert "cannot_be_received" not in kept.stderr, kept
    w.restore("--target", str(w.restored / "kept"))
    assert deep_content(w.restored / "kept") == content
    assert (w.restored / "kept/plain").read_text(encoding="ascii") == "beside it"


@case
def a_path_that_cannot_be_received_is_named_by_backup_and_by_restore(w):
    (w.data / "plain").write_text("beside it", encoding="ascii")
    content = deep_path(w.data, 4090)
    told = w.backup()
    says(told, "cannot_be_received")
    report = json.loads(w.backup("--full", "--json").stdout)
    (long,) = report["subvolumes"][0]["cannot_be_received"]
    assert len(long) >= 4000 and set(long) <= set("df/"), long
    target = w.restored / "data"
    restored = w.tool.run("restore", "--subvolume", "data", "--target", str(target))
    if restored.status == 0:
        assert deep_content(target) == content
        return
    says(w.expect(1, restored), "dddddddd")
    assert not target.exists(), restored


@case
def a_flipped_byte_is_caught_before_receive(w):
    dataset.seed(w.data, large_mib=30, small_files=50)
    w.backup()
    chunk = w.manifest()["chunks"][1]
    body = w.bucket.get(chunk["key"])
    at = 5 * MIB + 12345  # in the second part
    w.bucket.put(chunk["key"], body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])
    subvolumes = w.filesystem.subvolumes()
    seen = Gathered(w)
    outcome = w.restore("--target", str(w.restored / "data"), expect=4,
                        environment=fake_receive(w, f'tee {seen.path} | "$REAL" "$@"; exit $?'))
    says(outcome, chunk["key"], "part 2")
    # 12 MiB of the first chunk and 5 of this one, at most, had been released.
    assert 5 * MIB <= seen.size() <= 17 * MIB, seen.size()
    w.nothing_left_behind(subvolumes)
    assert not (w.restored / "data").exists()
    w.bucket.put(chunk["key"], body)
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")
    # A missing chunk and a truncated one are found before anything is received.
    w.bucket.put(chunk["key"], body[:-1])
    says(w.restore("--target", str(w.restored / "again"), expect=4), chunk["key"], "recorded")
    w.bucket.delete(chunk["key"])
    says(w.restore("--target", str(w.restored / "again"), expect=4), chunk["key"], "missing")


@case
def keep_received_leaves_a_snapshot(w):
    """With the identity of the original, so that it can be the next incremental's parent."""
    dataset.seed(w.data, large_mib=1, small_files=20)
    w.backup()
    uuid = w.manifest()["snapshot"]["uuid"]
    os.system(f"btrfs subvolume delete {w.snapshots / w.snapshot_names()[0]} > /dev/null")
    w.restore("--target", str(w.restored / "data"), "--keep-received")
    kept = w.snapshots / w.snapshot_names()[0]
    shown = os.popen(f"btrfs subvolume show {kept}").read()
    assert uuid in [line.split()[-1] for line in shown.splitlines() if "Received UUID" in line], shown
    assert "readonly" in shown
    w.same(w.data, w.restored / "data")


@case
def a_restore_into_a_subvol_mount_works(w):
    """With an older received copy of the parent outside that mount."""
    dataset.seed(w.data, large_mib=1, small_files=20)
    w.backup()
    dataset.mutate(w.data)
    w.backup()
    full = [name for name in w.snapshot_names() if name.endswith("__full")][0]
    outside = w.mount / "outside"
    outside.mkdir()
    os.system(f"btrfs send -q {w.snapshots / full} | btrfs receive -q {outside}")
    w.filesystem.subvolume("inner")
    inner = w.directory / "inner"
    inner.mkdir()
    assert os.system(f"mount -o subvol=inner {w.filesystem.device} {inner}") == 0
    try:
        w.restore("--target", str(inner / "data"))
        w.same(w.data, inner / "data")
    finally:
        os.system(f"umount {inner}")


@case
def restore_names_the_damaged_chunk_that_receive_stumbles_over(w):
    """Chunks without part states: `btrfs receive` meets the damage before the digest is known."""
    keys = chain_of(w, 2, large_mib=30)
    for key in keys:
        as_the_earlier_tool_wrote(w, key)
    chunk = w.bucket.get_json(keys[0])["chunks"][1]
    subvolumes = w.filesystem.subvolumes()
    target = w.restored / "data"
    # In the first part of 5 MiB of 12; then in the last, where nothing of it is released.
    for at in (200_000, chunk["size"] - 1000):
        body = flip(w, chunk["key"], at)
        outcome = w.restore("--target", str(target), expect=4)
        says(outcome, chunk["key"], "chunk_verified_while_streaming", "SHA-256 is not the recorded one")
        w.nothing_left_behind(subvolumes)
        w.bucket.put(chunk["key"], body)
    # A receiver that fails over sound bytes is blamed itself, quoted.
    outcome = w.restore("--target", str(target), expect=1,
                        environment=fake_receive(w, "head -c 3000000 > /dev/null; echo disk on fire >&2; exit 1"))
    says(outcome, "disk on fire", keys[0])
    w.nothing_left_behind(subvolumes)
    # A damaged second link leaves the first one for the next attempt.
    second = w.bucket.get_json(keys[1])["chunks"][0]
    body = flip(w, second["key"], second["size"] // 2)
    says(w.restore("--target", str(target), expect=4), second["key"])
    w.bucket.put(second["key"], body)
    says(w.restore("--target", str(target)), "links_kept_from_before", "links=1")
    w.same(w.data, target)
    w.nothing_left_behind(subvolumes + ["restored/data"])


@case
def restore_keep_received_meets_a_snapshot_of_that_name(w):
    dataset.seed(w.data, large_mib=1, small_files=20)
    w.backup()
    name = w.snapshot_names()[0]
    path = w.snapshots / name
    # The original itself is as good as a kept one.
    outcome = w.restore("--target", str(w.restored / "first"), "--keep-received")
    says(outcome, "received_snapshot_kept", str(path))
    # Another subvolume of that name is not, and an ordinary directory neither.
    os.system(f"btrfs subvolume delete {path} > /dev/null; btrfs subvolume snapshot -r {w.data} {path} > /dev/null")
    before = w.filesystem.subvolumes()
    outcome = w.restore("--target", str(w.restored / "second"), "--keep-received", expect=2)
    says(outcome, str(path), "is not the recorded one")
    assert "/proc/" not in outcome.stderr, outcome
    w.nothing_left_behind(before)
    os.system(f"btrfs subvolume delete {path} > /dev/null")
    path.mkdir()
    says(w.restore("--target", str(w.restored / "second"), "--keep-received", expect=2), str(path), "no subvolume")
    path.rmdir()
    w.restore("--target", str(w.restored / "second"), "--keep-received")
    w.same(w.data, w.restored / "second")
    # What a restore kept is recognised by the next one.
    w.restore("--target", str(w.restored / "third"), "--keep-received")
    assert w.snapshot_names() == [name], w.snapshot_names()


def killer(w):
    """Compiles harness/kill_at.c; returns a function from a step to an environment."""
    source = pathlib.Path(__file__).resolve().parent.parent / "harness" / "kill_at.c"
    library = w.directory / "kill_at.so"
    compiled = os.system(f"cc -shared -fPIC -o {library} {source} -ldl")
    assert compiled == 0, "harness/kill_at.c does not compile"
    log = w.directory / "kill_at.log"

    def at(step):
        log.unlink(missing_ok=True)
        return {"LD_PRELOAD": str(library), "KILL_AT": str(step), "KILL_LOG": str(log)}

    def failing(step, names=None):
        return {**{key: value for key, value in at(step).items() if key != "KILL_AT"}, "FAIL_AT": str(step),
                **({"FAIL_NAMES": names} if names else {})}

    at.failing = failing
    at.last = lambda: log.read_text().splitlines()[-1]
    at.steps = lambda: [line.split(" ", 1)[1] for line in log.read_text().splitlines()]
    return at


def killed_at_each_step(w, keys, *arguments, rerun=None):
    """kill -9 before the n-th change on disk, for every n; a rerun, which may have other arguments, completes, and leaves
    nothing over. Returns how often it finished a restore whose target was there, and of these kept nothing."""
    rerun = arguments if rerun is None else rerun
    at = killer(w)
    target = w.restored / "data"
    subvolumes = w.filesystem.subvolumes()
    snapshots = w.snapshot_names()
    resumed = finished = not_kept = 0
    for step in range(1, 200):
        outcome = w.tool.run("restore", "--subvolume", "data", "--target", str(target), *arguments,
                             environment=at(step))
        done = outcome.status == 0
        lost = False
        if not done:
            assert outcome.status == -signal.SIGKILL, outcome
            print(f"killed before step {at.last()}", flush=True)
            again = w.restore("--target", str(target), *rerun)
            resumed += "links_kept_from_before" in again.stderr
            finished += "interrupted_restore_finished" in again.stderr
            lost = "received_snapshot_not_kept" in again.stderr
            assert lost == ("no snapshot could be kept" in again.stdout), again
            not_kept += lost
        w.same(w.data, target)
        kept = [name for name in w.snapshot_names() if name not in snapshots]
        # As a kill behind the very last step leaves it: nothing tells of the restore but the target itself.
        once_more = w.restore("--target", str(target), *rerun)
        says(once_more, "restored_before")
        assert w.snapshot_names() == sorted(snapshots + kept), (w.snapshot_names(), kept)
        wanted = arguments if done else rerun
        assert len(kept) == ("--keep-received" in wanted and not lost), (kept, wanted, lost)
        w.nothing_left_behind(subvolumes + ["restored/data"] + ["snapshots/" + name for name in kept])
        os.system(f"btrfs subvolume delete {target} > /dev/null")
        for name in kept:
            os.system(f"btrfs subvolume delete {w.snapshots / name} > /dev/null")
        if done:
            break
    assert step > 20 and resumed >= 5 and finished >= 3, (step, resumed, finished)
    return finished, not_kept


@case
def restore_killed_at_each_step_completes_on_the_rerun(w):
    keys = chain_of(w, 2, large_mib=1, small_files=10)
    killed_at_each_step(w, keys)


@case
def restore_killed_at_each_step_keeps_what_was_received_once(w):
    keys = chain_of(w, 2, large_mib=1, small_files=10)
    # As on a rebuilt host: the snapshot that is to be kept is not there.
    os.system(f"btrfs subvolume delete {w.snapshots / w.snapshot_names()[-1]} > /dev/null")
    assert killed_at_each_step(w, keys, "--keep-received")[1] == 0


@case
def restore_killed_at_each_step_keeps_what_the_rerun_is_asked_to_keep(w):
    keys = chain_of(w, 2, large_mib=1, small_files=10)
    os.system(f"btrfs subvolume delete {w.snapshots / w.snapshot_names()[-1]} > /dev/null")
    finished, not_kept = killed_at_each_step(w, keys, rerun=("--keep-received",))
    # Of a target that was there: while what it was made of was there too, and not any more.
    assert 0 < not_kept < finished, (finished, not_kept)


@case
def a_complete_restore_is_none_that_failed_when_tidying_up_fails(w):
    """From the target's snapshot on: once it is there for good, whatever fails is a warning."""
    chain_of(w, 2, large_mib=1, small_files=10)
    at = killer(w)
    target = w.restored / "data"
    subvolumes = w.filesystem.subvolumes()
    w.restore("--target", str(target), environment=at(10_000))
    steps = at.steps()
    made = max(number for number, step in enumerate(steps, 1) if step == "snapshot")
    seen = finished = 0
    for names in (None, "delete subvolume", "unlink", "rmdir"):
        for step in range(made + 1, len(steps) + 1) if names is None else [made + 1]:
            os.system(f"btrfs subvolume delete {target} > /dev/null")
            outcome = w.tool.run("restore", "--subvolume", "data", "--target", str(target),
                                 environment=at.failing(step, names))
            failed = names or steps[step - 1]
            print(f"step {step}, {failed}: exit status {outcome.status}", flush=True)
            assert "/proc/driver" not in outcome.stderr, outcome
            if outcome.status == 0:
                w.same(w.data, target)
            else:
                assert not target.exists() or failed == "syncfs", outcome
            seen += "restore_remains_left" in outcome.stderr
            # The same command finishes it, or knows that nothing is left to be done.
            again = w.restore("--target", str(target))
            finished += "interrupted_restore_finished" in again.stderr
            w.same(w.data, target)
            w.nothing_left_behind(subvolumes + ["restored/data"])
    assert seen >= 3 and finished >= 2, (seen, finished)


@case
def restore_beside_prune_says_that_its_chain_vanishes(w):
    chain_of(w, 2, large_mib=30)
    old = w.pointer()["manifest_key"]
    w.backup("--full")
    target = w.restored / "data"
    subvolumes = w.filesystem.subvolumes()
    doomed = w.bucket.get_json(old)["chunks"]
    # When the second link is to be received, its chunks have been listed, and go.
    held = received(target) / "held"
    fake = fake_receive(w, """echo >> $PLACE/receivers
if [[ $(wc -l < $PLACE/receivers) == 1 ]]; then "$REAL" "$@"; touch $PLACE/held
while [[ -e $PLACE/held ]]; do sleep 0.05; done; exit 0; fi""")
    running = w.tool.start("restore", "--subvolume", "data", "--target", str(target), "--manifest-key", old,
                           environment=fake)
    deadline = time.monotonic() + 60
    while not held.exists():
        assert time.monotonic() < deadline and running[0].poll() is None, w.tool.finish(running)
        time.sleep(0.02)
    for chunk in doomed:
        w.bucket.delete(chunk["key"])
    held.unlink()
    outcome = w.expect(1, w.tool.finish(running))
    says(outcome, doomed[0]["key"], "has been deleted since", "`prune`", "--discard")
    # Another backup, on top of what was received of this one, is refused; with --discard it is not.
    says(w.restore("--target", str(target), expect=1), "another restore", "--discard")
    w.restore("--target", str(target), "--discard")
    w.same(w.data, target)
    w.nothing_left_behind(subvolumes + ["restored/data"])


@case
def an_interrupted_restore_says_what_it_repeats(w):
    chain_of(w, 1, large_mib=40)
    target = w.restored / "data"
    told = json.loads(w.restore("--target", str(target), "--dry-run", "--json").stdout)["repeated_at_most"]
    assert told["bytes"] == w.manifest()["total_bytes"], told
    says_so = w.restore("--target", str(target), "--dry-run").stdout
    assert "downloaded from its beginning" in says_so, says_so
    # Ctrl-C while the link is received.
    outcome = w.expect(130, stopped_in_receive(w, target, 6_000_000, signal.SIGINT))
    says(outcome, "link_broken_off", "from its beginning", w.pointer()["manifest_key"])
    says(w.restore("--target", str(target)), "link_received")
    w.same(w.data, target)


@case
def an_interrupted_restore_downloads_only_the_rest(w):
    """With a spool, what had been downloaded of the link under way is in it; killed or stopped, in a full and its
    incremental."""
    chain_of(w, 2, large_mib=40)
    spool = w.directory / "spool"
    spool.mkdir()
    w.tool.tables["s3"]["spool_enabled"] = True
    w.tool.tables["global"].update(spool_dir=str(spool), spool_size_bytes="1GiB")
    subvolumes = w.filesystem.subvolumes()
    target = w.restored / "data"
    total = json.loads(w.restore("--target", str(target), "--dry-run", "--json").stdout)
    assert total["kept_bytes"] == 0 and total["repeated_at_most"]["keep_limit_bytes"] == 1 << 30, total
    full = total["chain"][0]["bytes"]
    assert total["repeated_at_most"]["bytes"] < full, total
    assert list(spool.iterdir()) == []
    for killed in (True, False):
        if killed:
            killed_in_receive(w, target, 1, "head -c 26000000 > /dev/null; kill -9 $PPID; exit 1")
        else:
            stopped = w.expect(143, stopped_in_receive(w, target, 26_000_000, signal.SIGTERM))
            says(stopped, "link_broken_off", "from the spool and downloads the rest")
        plan = json.loads(w.restore("--target", str(target), "--dry-run", "--json").stdout)
        assert 20_000_000 < plan["kept_bytes"] <= full, plan
        assert "in the spool, and are not downloaded again" in w.restore("--target", str(target), "--dry-run").stdout
        done = json.loads(w.restore("--target", str(target), "--json").stdout)
        assert done["kept_bytes"] == plan["kept_bytes"] and done["bytes"] == total["bytes"], (done, plan)
        w.same(w.data, target)
        w.nothing_left_behind(subvolumes + ["restored/data"])
        assert list(spool.iterdir()) == [], list(spool.rglob("*"))
        os.system(f"btrfs subvolume delete {target} > /dev/null")
    # --discard drops it, and a disk that is full, or not there, keeps nothing and stops nothing.
    killed_in_receive(w, target, 1, "head -c 16000000 > /dev/null; kill -9 $PPID; exit 1")
    assert json.loads(w.restore("--target", str(target), "--dry-run", "--json").stdout)["kept_bytes"] > 0
    again = json.loads(w.restore("--target", str(target), "--discard", "--json").stdout)
    assert again["kept_bytes"] == 0 and list(spool.iterdir()) == [], again
    os.system(f"btrfs subvolume delete {target} > /dev/null; mount -t tmpfs -o size=12m none {spool}")
    try:
        outcome = w.restore("--target", str(target))
        says(outcome, "parts_not_kept", "No space left on device")
        assert outcome.stderr.count("parts_not_kept") == 1, outcome
        w.same(w.data, target)
        assert list(spool.iterdir()) == []
    finally:
        os.system(f"umount {spool}")
    os.system(f"btrfs subvolume delete {target} > /dev/null")
    spool.rmdir()
    w.tool.tables["global"]["spool_dir"] = str(spool / "of/a/disk")
    says(w.restore("--target", str(target)), "parts_not_kept")
    w.same(w.data, target)
    assert not spool.exists()
    os.system(f"btrfs subvolume delete {target} > /dev/null")
    w.tool.tables["global"]["spool_dir"] = str(spool)  # whose last directory alone is missing
    assert "parts_not_kept" not in w.restore("--target", str(target)).stderr


def stopped_in_receive(w, target, count, number):
    """Signals the restore when its receiver has taken `count` bytes of the first link and waits; what it ended with."""
    held = received(target) / "held"
    fake = fake_receive(w, f"head -c {count} > /dev/null; touch $PLACE/held; exec sleep 600")
    running = w.tool.start("restore", "--subvolume", "data", "--target", str(target), environment=fake)
    deadline = time.monotonic() + 60
    while not held.exists():
        assert time.monotonic() < deadline and running[0].poll() is None, w.tool.finish(running)
        time.sleep(0.02)
    running[0].send_signal(number)
    return w.tool.finish(running)


def killed_in_receive(w, target, link, manner):
    """Ends the restore with SIGKILL while link `link` (from 1) is being received."""
    text = f"""echo >> $PLACE/receivers
if [[ $(wc -l < $PLACE/receivers) == {link} ]]; then {manner}; fi
exec "$REAL" "$@" """
    outcome = w.tool.run("restore", "--subvolume", "data", "--target", str(target), environment=fake_receive(w, text))
    assert outcome.status == -signal.SIGKILL, outcome


@case
def restore_killed_during_link_2_of_3_completes(w):
    chain_of(w, 3, large_mib=12)
    subvolumes = w.filesystem.subvolumes()
    for link, manners in ((2, ('head -c 300 | "$REAL" "$@"; kill -9 $PPID; sleep 1',   # half received
                               'kill -9 $PPID; exec "$REAL" "$@"',  # the receiver goes on a little
                               '"$REAL" "$@"; kill -9 $PPID; sleep 1')),  # received, not recorded
                          (1, ('head -c 3000000 | "$REAL" "$@"; kill -9 $PPID; sleep 1',))):
        for manner in manners:
            target = w.restored / "data"
            killed_in_receive(w, target, link, manner)
            left = [path.name for path in w.restored.iterdir()]
            assert left == [".btrfs_to_s3.data"], left
            again = w.restore("--target", str(target))
            assert ("links_kept_from_before links=1" in again.stderr) == (link == 2), again
            w.same(w.data, target)
            w.nothing_left_behind(subvolumes + ["restored/data"])
            os.system(f"btrfs subvolume delete {target} > /dev/null")


@case
def restore_discard_starts_anew(w):
    keys = chain_of(w, 3)
    subvolumes = w.filesystem.subvolumes()
    target = w.restored / "data"
    killed_in_receive(w, target, 2, 'kill -9 $PPID; exit 1')
    # Another backup than the one that was begun: refused without --discard.
    says(w.restore("--target", str(target), "--manifest-key", w.bucket.get_json(keys[0])["chunks"][0]["key"],
                   expect=1), "chunk")
    again = w.restore("--target", str(target), "--discard")
    assert "links_kept_from_before" not in again.stderr, again
    w.same(w.data, target)
    w.nothing_left_behind(subvolumes + ["restored/data"])
    # Records that cannot be read do not stand in its way; a finished target does.
    os.system(f"btrfs subvolume delete {target} > /dev/null")
    killed_in_receive(w, target, 3, 'kill -9 $PPID; exit 1')
    links = w.restored / ".btrfs_to_s3.data" / "links"
    links.write_text("garbage")
    says(w.restore("--target", str(target), expect=2), "--discard", str(links))
    w.restore("--target", str(target), "--discard")
    says(w.restore("--target", str(target), "--discard", expect=2), "exists already")
    w.same(w.data, target)
    # Neither is a target taken for ours that merely stands beside an interrupted restore.
    os.system(f"btrfs subvolume delete {target} > /dev/null")
    killed_in_receive(w, target, 3, 'kill -9 $PPID; exit 1')
    w.filesystem.subvolume("restored/data")
    says(w.restore("--target", str(target), expect=2), "exists already")
    assert links.exists() and list(target.iterdir()) == []
    target.rmdir()
    says(w.restore("--target", str(target)), "links_kept_from_before", "links=2")
    w.same(w.data, target)


class Bare:
    """The program on a host with nothing: no configuration, no state, no lock, a home that is empty."""

    def __init__(self, w):
        self.w = w
        self.home = w.directory / "empty"
        self.home.mkdir(exist_ok=True)
        self.url = f"s3://{w.bucket.name}/hosts/test/"

    def __call__(self, *arguments, expect=0, environment=None):
        variables = {**self.w.tool.environment, "HOME": str(self.home), **(environment or {})}
        done = subprocess.run([self.w.tool.binary, "restore", "--from", self.url, *arguments], env=variables,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False)
        outcome = tool.Outcome(done.returncode, done.stdout, done.stderr, 0, 0)
        assert list(self.home.iterdir()) == [], "something was written into the home directory"
        return self.w.expect(expect, outcome)


@case
def restore_from_a_bucket_alone(w):
    keys = chain_of(w, 2)
    bare = Bare(w)
    endpoint = ("--endpoint-url", w.bucket.endpoint)
    target = str(w.restored / "a")
    bare("--subvolume", "data", "--target", target, *endpoint, "--region", "us-east-1")
    w.same(w.data, w.restored / "a")
    # The environment names the endpoint, and a profile the keys; those of the environment do not beat it.
    bare("--subvolume", "data", "--target", str(w.restored / "b"),
         environment={"AWS_ENDPOINT_URL_S3": w.bucket.endpoint, "AWS_REGION": "us-east-1"})
    w.same(w.data, w.restored / "b")
    credentials = w.directory / "credentials"
    credentials.write_text(f"[rescue]\naws_access_key_id = {w.bucket.access_key}\n"
                           f"aws_secret_access_key = {w.bucket.secret_key}\n")
    bare("--subvolume", "data", "--target", str(w.restored / "c"), *endpoint, "--profile", "rescue",
         environment={"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_ACCESS_KEY_ID": "WRONG"})
    w.same(w.data, w.restored / "c")
    outcome = bare("--subvolume", "data", "--target", str(w.restored / "d"), *endpoint, "--dry-run", "--json",
                   "--manifest-key", keys[0])
    assert json.loads(outcome.stdout)["manifest_key"] == keys[0], outcome
    # Misuse names the remedy, before anything is asked of the bucket.
    says(bare("--subvolume", "data", "--target", target, expect=2), "--region", "AWS_REGION")
    says(bare("--subvolume", "data", *endpoint, expect=2), "--target")
    says(bare("--target", target, *endpoint, expect=2), "--subvolume", "--all")
    says(bare("--subvolume", "data", "--target", target, *endpoint, "--config", "/x", expect=2), "--from")
    says(bare("--subvolume", "nobody", "--target", str(w.restored / "e"), *endpoint, expect=1), "--from")
    bare.url = "http://nowhere"
    says(bare("--subvolume", "data", "--target", target, *endpoint, expect=2), "s3://bucket/prefix")


@case
def restore_at_a_point_in_time(w):
    keys = chain_of(w, 3)
    made = [w.bucket.get_json(key)["created_at"] for key in keys]
    stamps = [time_of(text) for text in made]

    def chosen(at, zone="UTC", expect=0):
        outcome = w.restore("--dry-run", "--json", "--target", str(w.restored / "x"), "--at", at, expect=expect,
                            environment={"TZ": zone})
        return json.loads(outcome.stdout)["manifest_key"] if expect == 0 else outcome

    assert chosen(made[1]) == keys[1]
    assert chosen((stamps[2] - datetime.timedelta(seconds=1)).strftime("%Y%m%dT%H%M%SZ")) == keys[1]
    assert chosen(stamps[2].strftime("%Y%m%dT%H%M%SZ")) == keys[2]
    assert chosen("2199-12-31T00:00:00Z") == keys[2]
    says(chosen("2999-01-01T00:00:00Z", expect=2), "2999-01-01")  # beyond what clocks count
    # The same moment in another zone: as an offset, and as local time.
    there = stamps[1] + datetime.timedelta(hours=5, minutes=30)
    assert chosen(there.strftime("%Y-%m-%dT%H:%M:%S+05:30")) == keys[1]
    assert chosen(there.strftime("%Y-%m-%d %H:%M:%S"), zone="Asia/Kolkata") == keys[1]
    says(chosen("2001-01-01 00:00", expect=1), "2001-01-01T00:00:59Z", made[0])
    says(chosen("yesterday", expect=2), "yesterday", "2026-01-02")
    says(chosen("2026-03-29 02:30", zone="Europe/Berlin", expect=2), "2026-03-29 02:30")  # the hour that is skipped
    w.restore("--target", str(w.restored / "middle"), "--at", made[1])
    w.same(w.snapshots / w.snapshot_names()[1], w.restored / "middle")


@case
def restore_all_subvolumes(w):
    other = w.filesystem.subvolume("other")
    dataset.seed(w.data, large_mib=1, small_files=10)
    dataset.seed(other, large_mib=1, small_files=10, number=5)
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(other)]
    w.backup()
    base = w.restored
    bare = Bare(w)
    bare("--all", "--target-base", str(base), "--endpoint-url", w.bucket.endpoint)
    w.same(w.data, base / "data")
    w.same(other, base / "other")
    for name in ("data", "other"):
        os.system(f"btrfs subvolume delete {base / name} > /dev/null")
    # One that fails does not stop the others: a missing chunk, and a configured one without a backup.
    manifest = w.bucket.get_json(w.pointer()["manifest_key"])
    w.bucket.delete(manifest["chunks"][0]["key"])
    w.filesystem.subvolume("zero")
    w.tool.tables["subvolumes"]["paths"].append(str(w.mount / "zero"))
    outcome = w.expect(6, w.tool.run("restore", "--all", "--target-base", str(base), "--json"))
    says(outcome, "subvolume_failed subvolume=data", manifest["chunks"][0]["key"], "subvolume_failed subvolume=zero")
    results = {result["subvolume"]: result for result in map(json.loads, outcome.stdout.splitlines())}
    assert {name: result["status"] for name, result in results.items()} == {
        "data": "failed", "other": "restored", "zero": "failed"}, results
    assert manifest["chunks"][0]["key"] in results["data"]["error"], results
    w.same(other, base / "other")
    # What is there is recorded, for the run that restores the rest.
    assert sorted(path.name for path in base.iterdir()) == [".btrfs_to_s3.other", "other"]
    # Nothing but failures is a failure, with the first one's status.
    os.system(f"btrfs subvolume delete {base / 'other'} > /dev/null")
    w.tool.tables["subvolumes"]["paths"] = [str(w.data)]
    for key in w.bucket.list("hosts/test/subvol/other/"):
        w.bucket.delete(key)
    w.expect(4, w.tool.run("restore", "--all", "--target-base", str(base)))


def two_subvolumes(w, **sizes):
    """Backs up `data` and `other`; returns the path of the other."""
    other = w.filesystem.subvolume("other")
    dataset.seed(w.data, **{"large_mib": 1, "small_files": 10, **sizes})
    dataset.seed(other, **{"large_mib": 1, "small_files": 10, **sizes}, number=5)
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(other)]
    w.backup()
    return other


@case
def restoring_all_is_finished_by_running_it_again(w):
    other = two_subvolumes(w)
    subvolumes = w.filesystem.subvolumes()
    everything = ("restore", "--all", "--target-base", str(w.restored))
    pointer = w.bucket.get_json("hosts/test/subvol/other/current.json")
    chunk = w.bucket.get_json(pointer["manifest_key"])["chunks"][0]["key"]
    hidden = w.bucket.get(chunk)
    w.bucket.delete(chunk)
    says(w.expect(6, w.tool.run(*everything)), "subvolume_failed subvolume=other", chunk)
    w.same(w.data, w.restored / "data")
    assert sorted(path.name for path in w.restored.iterdir()) == [".btrfs_to_s3.data", "data"]
    assert w.filesystem.subvolumes() == sorted(subvolumes + ["restored/.btrfs_to_s3.data",
                                                             "restored/.btrfs_to_s3.data/received", "restored/data"])
    # Again, with nothing repaired: what is there is left alone, and is not an error.
    identity = (w.restored / "data").stat().st_ino, btrfs_uuid(w.restored / "data")
    again = w.expect(6, w.tool.run(*everything, "--json"))
    results = {result["subvolume"]: result for result in map(json.loads, again.stdout.splitlines())}
    assert {name: result["status"] for name, result in results.items()} == {
        "data": "restored_before", "other": "failed"}, results
    plan = w.expect(6, w.tool.run(*everything, "--dry-run"))
    assert "had been restored to" in plan.stdout, plan
    # --discard is about what is unfinished.
    says(w.expect(6, w.tool.run(*everything, "--discard")), "restored_before")
    # Another backup than the one that is there stays an error.
    created = max(w.bucket.get_json(key)["created_at"] for key in (w.pointer()["manifest_key"], pointer["manifest_key"]))
    w.bucket.put(chunk, hidden)
    (w.data / "more").write_text("more")
    while time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) <= created:
        time.sleep(0.02)  # backups of two subvolumes may have one time, and this one is to be newer than both
    w.backup("--subvolume", "data")
    newer = w.expect(6, w.tool.run(*everything, "--dry-run"))
    says(newer, "exists already", "it holds the backup of manifest", "restored before")
    # Repaired, and the same backups as before: done, and no record is left.
    outcome = w.expect(0, w.tool.run(*everything, "--at", created))
    says(outcome, "restored_before")
    assert "data: the backup of" in outcome.stdout and "had been restored to" in outcome.stdout, outcome
    assert identity == ((w.restored / "data").stat().st_ino, btrfs_uuid(w.restored / "data"))
    w.same(w.snapshots / [name for name in w.snapshot_names() if name.startswith("data__")][0], w.restored / "data")
    w.same(other, w.restored / "other")
    assert sorted(path.name for path in w.restored.iterdir()) == ["data", "other"]
    # The same once more, as after a kill behind the last step: reading them changes nothing about it.
    says(w.expect(0, w.tool.run(*everything, "--at", created)), "restored_before")
    # What has been written to is somebody's data.
    for name in ("data", "other"):
        (w.restored / name / "mine").write_text("mine")
    refused = w.expect(2, w.tool.run(*everything, "--at", created))
    says(refused, "exists already", "written to since")
    assert "restored_before" not in refused.stderr, refused
    assert [(w.restored / name / "mine").read_text() for name in ("data", "other")] == ["mine", "mine"]


@case
def restoring_all_killed_at_its_last_steps_is_finished_by_running_it_again(w):
    two_subvolumes(w)
    subvolumes = w.filesystem.subvolumes()
    targets = [w.restored / name for name in ("data", "other")]
    everything = ("restore", "--all", "--target-base", str(w.restored))
    at = killer(w)
    w.expect(0, w.tool.run(*everything, environment=at(10_000)))
    steps = at.steps()
    made = max(number for number, step in enumerate(steps, 1) if step == "snapshot")
    assert len(steps) > made + 8, steps[made:]
    for step in range(made + 1, len(steps) + 2):
        for target in targets:
            os.system(f"btrfs subvolume delete {target} > /dev/null")
        outcome = w.tool.run(*everything, environment=at(step))
        assert outcome.status == (-signal.SIGKILL if step <= len(steps) else 0), outcome
        print(f"killed before step {at.last()}", flush=True)
        identities = [btrfs_uuid(target) for target in targets]
        again = w.expect(0, w.tool.run(*everything))
        says(again, "restored_before")
        assert [btrfs_uuid(target) for target in targets] == identities
        w.same(w.data, targets[0])
        w.same(w.mount / "other", targets[1])
        w.nothing_left_behind(subvolumes + ["restored/data", "restored/other"])


@case
def a_finished_restore_is_known_and_nothing_else_is_taken_for_one(w):
    keys = chain_of(w, 2, large_mib=1, small_files=10)
    target = w.restored / "data"
    subvolumes = w.filesystem.subvolumes() + ["restored/data"]
    w.restore("--target", str(target))
    identity = btrfs_uuid(target)
    again = w.restore("--target", str(target), "--json")
    assert json.loads(again.stdout)["status"] == "finished", again
    # An empty directory beside it, as one leaves that cannot be removed.
    (w.restored / ".btrfs_to_s3.data").mkdir(mode=0o700)
    says(w.restore("--target", str(target)), "restored_before")
    w.nothing_left_behind(subvolumes)
    # Another backup, --discard, and what somebody wrote to it: refused, and it stays as it is.
    says(w.restore("--target", str(target), "--manifest-key", keys[0], expect=2), "exists already")
    says(w.restore("--target", str(target), "--discard", expect=2), "exists already")
    (target / "mine").write_text("mine")
    says(w.restore("--target", str(target), expect=2), "exists already", "written to since")
    assert (target / "mine").read_text() == "mine" and btrfs_uuid(target) == identity
    # A copy of it, an empty subvolume, a directory, a file.
    for make in (f"btrfs subvolume snapshot {target} {w.restored}/copy", f"btrfs subvolume create {w.restored}/copy",
                 f"mkdir {w.restored}/copy", f"touch {w.restored}/copy"):
        assert os.system(make + " > /dev/null") == 0
        says(w.restore("--target", str(w.restored / "copy"), expect=2), "exists already")
        os.system(f"btrfs subvolume delete {w.restored}/copy > /dev/null 2>&1 || rm -r {w.restored}/copy")
    w.nothing_left_behind(subvolumes)


def btrfs_uuid(path):
    shown = subprocess.run(["btrfs", "subvolume", "show", str(path)], capture_output=True, text=True, check=True).stdout
    return re.search(r"^\s+UUID:\s+(\S+)", shown, re.MULTILINE)[1]


@case
def restoring_all_does_not_take_another_subvolume_for_its_own(w):
    other = two_subvolumes(w)
    everything = ("restore", "--all", "--target-base", str(w.restored))
    chunk = w.bucket.get_json(w.bucket.get_json("hosts/test/subvol/other/current.json")["manifest_key"])["chunks"][0]
    hidden = w.bucket.get(chunk["key"])
    w.bucket.delete(chunk["key"])
    w.expect(6, w.tool.run(*everything))
    # A copy of the target is not the target.
    os.system(f"btrfs subvolume snapshot {w.restored}/data {w.restored}/copy > /dev/null; "
              f"btrfs subvolume delete {w.restored}/data > /dev/null; mv {w.restored}/copy {w.restored}/data")
    w.bucket.put(chunk["key"], hidden)
    outcome = w.expect(6, w.tool.run(*everything))
    says(outcome, "subvolume_failed subvolume=data", "exists already")
    w.same(other, w.restored / "other")
    # Out of the way, the rest goes on as if it had never been there.
    os.system(f"btrfs subvolume delete {w.restored}/data > /dev/null")
    says(w.expect(0, w.tool.run(*everything)), "restored_before")
    w.same(w.data, w.restored / "data")
    assert sorted(path.name for path in w.restored.iterdir()) == ["data", "other"]


@case
def restoring_all_looks_whether_all_of_it_fits(w):
    two_subvolumes(w, large_mib=60)
    with archive.archive_before(w.bucket.endpoint, "/chunk-", polls=1) as (glacier, endpoint):
        w.tool.tables["s3"]["endpoint_url"] = endpoint
        with btrfs.filesystem(w.directory / "small", "220M") as small:
            everything = ("restore", "--all", "--target-base", str(small.mount))
            told = w.expect(0, w.tool.run(*everything, "--dry-run", "--json")).stdout
            each = [json.loads(line) for line in told.splitlines()]
            assert [plan["subvolume"] for plan in each[:2]] == ["data", "other"] and len(each) == 3, each
            assert all(plan["space"]["enough"] for plan in each[:2]), each
            both = each[2]["all"]
            assert both["subvolume_count"] == 2 and both["bytes"] == sum(plan["bytes"] for plan in each[:2]), each
            assert both["space"]["needed_bytes"] == sum(plan["space"]["needed_bytes"] for plan in each[:2]), each
            assert not both["space"]["enough"], each
            text = w.expect(0, w.tool.run(*everything, "--dry-run")).stdout
            assert "all: 2 subvolumes to restore" in text and f"free at {small.mount}: NOT ENOUGH" in text, text
            refused = w.expect(1, w.tool.run(*everything, "--thaw-timeout", "60"))
            says(refused, "not enough space", "of 2 subvolumes", "are missing", "--no-space-check")
            assert not glacier.posted and not glacier.gets, vars(glacier)
            assert list(small.mount.iterdir()) == []
            # Singly they are no problem; and when one is there, what is left fits.
            w.expect(0, w.tool.run("restore", "--subvolume", "data", "--target", str(small.mount / "data"),
                                   "--thaw-timeout", "60"))
            os.system(f"btrfs subvolume delete {small.mount / 'data'} > /dev/null; btrfs filesystem sync {small.mount}")
            posted = len(glacier.posted)
            told = w.tool.run(*everything, "--thaw-timeout", "60", "--no-space-check")
            says(told, "space_may_not_suffice")
            assert len(glacier.posted) > posted, vars(glacier)


@case
def restore_plan_comes_first(w):
    keys = chain_of(w, 2, large_mib=40)
    before = w.filesystem.subvolumes()
    target = w.restored / "data"
    text = w.restore("--dry-run", "--target", str(target)).stdout
    for word in ("2 links", "incremental", keys[0], keys[1], "class     STANDARD", "nothing: every object can be read",
                 "free at the target", "protocol", "btrfs-progs", "against " + str(w.snapshots)):
        assert word in text, (word, text)
    plan = json.loads(w.restore("--dry-run", "--json", "--target", str(target)).stdout)
    manifests = [w.bucket.get_json(key) for key in keys]
    assert [link["manifest_key"] for link in plan["chain"]] == keys and plan["target"] == str(target)
    assert plan["bytes"] == sum(manifest["total_bytes"] for manifest in manifests)
    assert plan["objects"] == sum(len(manifest["chunks"]) for manifest in manifests) > 4
    assert plan["storage_classes"] == {"STANDARD": {"objects": plan["objects"], "bytes": plan["bytes"]}}
    assert plan["thaw"]["objects"] == 0 and plan["space"]["enough"] and plan["space"]["available_bytes"] > 1 << 30
    # Hours and money: nothing is made up for a store that is not the table's.
    assert plan["time"] == {"thaw_seconds_most": 0, "download_seconds": plan["bytes"] // 10_000_000,
                            "download_bytes_per_second": 10_000_000, "rate": "assumed"}, plan["time"]
    assert not plan["money"]["known"] and "total" not in plan["money"], plan["money"]
    assert "money     not known: the price table is of Amazon S3 in us-east-1" in text, text
    prices = w.directory / "prices.toml"
    prices.write_text(f'''name = "Own"
as_of = "2026-01"
region = "us-east-1"
endpoint_url = "{w.bucket.endpoint}"
currency = "EUR"
copy_per_gb_month = 0
transfer_per_gb = 1024
[class.STANDARD]
get_per_1000 = 0
''')
    w.tool.tables["restore"] = {"price_table": str(prices), "download_bytes_per_sec": "2MB"}
    plan = json.loads(w.restore("--dry-run", "--json", "--target", str(target)).stdout)
    assert plan["money"]["known"] and abs(plan["money"]["total"] - plan["bytes"] / MIB) < 0.01, plan["money"]
    assert plan["time"]["rate"] == "stated" and plan["time"]["download_seconds"] == plan["bytes"] // 2_000_000
    prices.write_text("nonsense")
    says(w.restore("--dry-run", "--target", str(target), expect=2), str(prices), "line 1")
    del w.tool.tables["restore"]
    assert w.filesystem.subvolumes() == before and list(w.restored.iterdir()) == []
    # Too little space: the arithmetic, before anything is downloaded or made.
    with btrfs.filesystem(w.directory / "small", "120M") as small:
        os.system(f"head -c 40000000 /dev/urandom > {small.mount / 'filler'}; sync -f {small.mount}")
        outcome = w.restore("--target", str(small.mount / "data"), expect=1)
        says(outcome, "not enough space", "for metadata", "are missing", "--no-space-check")
        assert [path.name for path in small.mount.iterdir()] == ["filler"]
        plan = json.loads(w.restore("--dry-run", "--json", "--target", str(small.mount / "data")).stdout)
        assert not plan["space"]["enough"]
        # Begun nevertheless, it fails where it must, and leaves nothing but what was received whole.
        outcome = w.restore("--target", str(small.mount / "data"), "--no-space-check", expect=1)
        says(outcome, "space_may_not_suffice", "btrfs receive", "No space left")
        assert [path.name for path in small.mount.iterdir()] == ["filler"]
    # A host whose tools are too old for protocol 2 is told so.
    assert manifests[0]["stream"]["protocol"] == 2, manifests[0]["stream"]
    old = w.fake_btrfs("exit 9")
    script = pathlib.Path(old["PATH"].split(":")[0]) / "btrfs"
    script.write_text(script.read_text().replace(
        "if [[ $1 != send", "if [[ $1 == --version ]]; then echo btrfs-progs v5.16; exit 0; fi\nif [[ $1 != send"))
    says(w.restore("--target", str(target), expect=1, environment=old), "protocol 2", "5.16", "6.2")
    w.nothing_left_behind(before)


@case
def restore_verifies_the_content_against_the_source(w):
    w.tool.tables["btrfs"] = {"send_protocol": 1}
    keys = chain_of(w, 2, large_mib=4, small_files=60)
    newest = w.snapshots / w.snapshot_names()[1]
    target = w.restored / "data"
    before = w.filesystem.subvolumes()

    def restored(*arguments, **options):
        outcome = w.restore("--target", str(target), *arguments, **options)
        if outcome.status == 0:
            w.same(w.data, target)
            os.system(f"btrfs subvolume delete {target} > /dev/null")
            w.nothing_left_behind(before)
        return outcome

    says(restored(), "content_verified", f"source={newest}", "mode=full")
    w.tool.tables["restore"] = {"verify_mode": "sample", "sample_max_files": 10}
    says(restored(), "content_verified", "mode=sample", "files_compared=10")
    says(restored("--verify", "none"), "not_verified", "--verify none")
    # Content that differs although every digest was right: named, and the target is not made.
    spoil = pathlib.Path(__file__).resolve().parent.parent / "harness" / "spoil_stream.py"
    spoiled = fake_receive(w, f'/usr/bin/python3 -B {spoil} | "$REAL" "$@"; exit $?')
    outcome = restored("--verify", "full", expect=4, environment=spoiled)
    says(outcome, "what was restored differs from", str(newest), "the contents differ, first at byte")
    name = re.search(r': "([^"]+)": the contents differ', outcome.stderr)[1]
    assert (w.data / name).is_file() and not target.exists(), name
    # What was received is kept; it can be accepted, or received anew.
    outcome = w.restore("--target", str(target), "--verify", "none")
    says(outcome, "links_kept_from_before links=2")
    found = compare.differences(w.data, target)
    assert any(name in line for line in found) and all(": sha256 is" in line for line in found), found
    os.system(f"btrfs subvolume delete {target} > /dev/null")
    restored("--verify", "full", expect=4, environment=spoiled)
    assert "links_kept_from_before" not in restored("--verify", "full", "--discard").stderr
    # A source that is not the recorded one any more, and none at all: what was proven instead.
    os.system(f"btrfs property set -f {newest} ro false; touch {newest}/changed; btrfs property set {newest} ro true")
    says(restored(), "verified_without_source", "ctransid", "SHA-256")
    os.system(f"btrfs subvolume delete {newest} > /dev/null")
    before = w.filesystem.subvolumes()
    says(restored(), "verified_without_source", "not on this host", "carries the recorded UUIDs")
    # A stream that is not the manifest's: the UUIDs tell.
    manifest = w.bucket.get_json(keys[1])
    manifest["snapshot"]["uuid"] = "00000000-1111-2222-3333-444444444444"
    w.bucket.put(keys[1], json.dumps(manifest).encode())
    says(restored(expect=4), "the manifest describes 00000000-1111", keys[1])
    w.restore("--target", str(target), "--discard", "--verify", "none")
    w.same(w.data, target)


@case
def restore_chains_of_1_2_and_30_links(w):
    keys = chain_of(w, 30, large_mib=1, small_files=20)
    names = w.snapshot_names()
    assert [w.bucket.get_json(key)["kind"] for key in keys] == ["full"] + ["incremental"] * 29
    subvolumes = w.filesystem.subvolumes()
    for links in (1, 2, 30):
        outcome = w.restore("--manifest-key", keys[links - 1], "--target", str(w.restored / str(links)))
        assert outcome.stderr.count("link_received") == links, outcome
        assert f"({links} link" in outcome.stdout, outcome
        w.same(w.snapshots / names[links - 1], w.restored / str(links))
    w.nothing_left_behind(subvolumes + ["restored/1", "restored/2", "restored/30"])
    # Into another filesystem, and without the source.
    with btrfs.filesystem(w.directory / "other") as other:
        says(w.restore("--target", str(other.mount / "data")), "content_verified")
        w.same(w.data, other.mount / "data")
        assert other.subvolumes() == ["data"], other.subvolumes()


@case
def restore_1_and_12_chunks_in_protocols_1_and_2(w):
    w.tool.tables["snapshots"]["retain"] = 10
    for protocol in (1, 2):
        w.tool.tables["btrfs"] = {"send_protocol": protocol}
        for snapshot in w.snapshot_names():  # so that a chain begins
            os.system(f"btrfs subvolume delete {w.snapshots / snapshot} > /dev/null")
        for links, chunks in enumerate((1, 12, 1), start=1):
            (w.data / "random").write_bytes(os.urandom(57 * MIB if chunks == 12 else 100_000))
            (w.data / "text").write_text("compresses well " * 10_000)
            w.tool.tables["s3"].update(part_size_bytes="5MiB", chunk_size_bytes="5MiB")
            w.backup("--once")
            manifest = w.manifest()
            assert len(manifest["chunks"]) == chunks and manifest["stream"]["protocol"] == protocol, manifest["stream"]
            assert manifest["kind"] == ("full" if links == 1 else "incremental"), manifest["kind"]
            target = w.restored / f"{protocol}-{links}"
            assert f"({links} link" in w.restore("--target", str(target)).stdout
            w.same(w.data, target)
            # And as an old manifest: these chunks fit the memory of a part.
            good = w.bucket.get(w.pointer()["manifest_key"])
            as_the_earlier_tool_wrote(w, w.pointer()["manifest_key"])
            outcome = w.restore("--target", str(w.restored / f"{protocol}-{links}-old"))
            assert "while_streaming" not in outcome.stderr, outcome
            w.same(w.data, w.restored / f"{protocol}-{links}-old")
            w.bucket.put(w.pointer()["manifest_key"], good)


@case
def restore_of_the_earlier_tools_format(w):
    """No part states, no UUIDs, no protocol, and chunks larger than a part's memory."""
    os.system(f"head -c 150000000 /dev/urandom > {w.data / 'large'}")
    keys = chain_of(w, 2, chunk_size_bytes="200MiB")
    for key in keys:
        as_the_earlier_tool_wrote(w, key)
    subvolumes = w.filesystem.subvolumes()
    chunk = w.bucket.get_json(keys[0])["chunks"][0]
    assert chunk["size"] > 100 * MIB
    promise = 5 * 5 * MIB + 64 * MIB
    outcome = w.restore("--target", str(w.restored / "a"))
    says(outcome, "chunk_verified_while_streaming", chunk["key"], "--verify-first", "records no UUID")
    w.same(w.data, w.restored / "a")
    assert outcome.peak_rss_bytes <= promise, outcome.peak_rss_bytes
    outcome = w.restore("--target", str(w.restored / "b"), "--verify-first")
    says(outcome, "chunk_verified_first", chunk["key"])
    assert "chunk_verified_while_streaming" not in outcome.stderr, outcome
    w.same(w.data, w.restored / "b")
    assert outcome.peak_rss_bytes <= promise, outcome.peak_rss_bytes
    # With a spool that a chunk fits, it is held there until it is verified, and nothing is downloaded twice.
    spool = w.directory / "spool"
    spool.mkdir()
    w.tool.tables["global"].update(spool_dir=str(spool), spool_size_bytes="250MiB")
    w.tool.tables["s3"]["spool_enabled"] = True
    outcome = w.restore("--target", str(w.restored / "spooled"), "--json")
    says(outcome, "chunk_verified_in_spool", chunk["key"])
    assert "chunk_verified_while_streaming" not in outcome.stderr, outcome
    result = json.loads(outcome.stdout)
    assert (result["status"], result["links"], result["damaged_parts"]) == ("restored", 2, 0), result
    assert result["bytes"] == sum(w.bucket.get_json(key)["total_bytes"] for key in keys), result
    assert re.search(r"event=run_finished restored=1 links=2 bytes=\d+ kept_bytes=0 parts=\d+ damaged_parts=0 retries=0 seconds=[0-9.]+ "
                     r"thaw_wait_seconds=0 transfer_seconds=[0-9.]+ bytes_per_second=\d+ cpu_seconds=[0-9.]+ "
                     r"peak_rss_bytes=\d+", outcome.stderr), outcome
    assert outcome.peak_rss_bytes <= promise, outcome.peak_rss_bytes
    w.same(w.data, w.restored / "spooled")
    assert list(spool.iterdir()) == []
    body = flip(w, chunk["key"], chunk["size"] - 5_000_000)
    seen = Gathered(w)
    outcome = w.restore("--target", str(w.restored / "c"), expect=4,
                        environment=fake_receive(w, f'echo > {seen.path}; tee {seen.path} | "$REAL" "$@"; exit $?'))
    says(outcome, "chunk_damaged attempt=2", chunk["key"])
    assert seen.size() == 1, seen.size()  # the receiver's own line
    w.bucket.put(chunk["key"], body)
    del w.tool.tables["s3"]["spool_enabled"]
    # Damaged: nothing is received at all.
    body = flip(w, chunk["key"], chunk["size"] - 5_000_000)
    seen = Gathered(w)
    outcome = w.restore("--target", str(w.restored / "c"), "--verify-first", expect=4,
                        environment=fake_receive(w, f'echo > {seen.path}; exec "$REAL" "$@"'))
    says(outcome, "chunk_damaged attempt=2", chunk["key"])
    assert seen.size() == 0
    w.nothing_left_behind(subvolumes + ["restored/a", "restored/b", "restored/spooled"])
    w.bucket.put(chunk["key"], body)
    # Kept, killed before the target is made, and recognised without a recorded UUID.
    for name in w.snapshot_names():
        os.system(f"btrfs subvolume delete {w.snapshots / name} > /dev/null")
    at = killer(w)
    steps = 0
    while True:
        steps += 1
        outcome = w.tool.run("restore", "--subvolume", "data", "--target", str(w.restored / "d"), "--keep-received",
                             environment=at(steps))
        if w.snapshot_names():
            break
        assert outcome.status == -signal.SIGKILL and steps < 60, outcome
        # The next one begins anew, so that it takes the same steps.
        for left in sorted(w.filesystem.subvolumes(), reverse=True):
            if left.startswith("restored/.btrfs_to_s3.d"):
                btrfs.delete_subvolume(w.mount / left)
    assert not (w.restored / "d").exists()
    w.restore("--target", str(w.restored / "d"), "--keep-received")
    w.same(w.data, w.restored / "d")


@case
def restore_names_what_a_broken_chain_lacks(w):
    keys = chain_of(w, 3)
    subvolumes = w.filesystem.subvolumes()
    target = str(w.restored / "data")
    good = w.bucket.get(keys[1])
    w.bucket.delete(keys[1])
    says(w.restore("--target", target, expect=1), keys[2], "needs its parent", keys[1], "missing")
    loop = json.loads(good)
    loop["parent_manifest"] = keys[2]
    w.bucket.put(keys[1], json.dumps(loop).encode())
    says(w.restore("--target", target, expect=4), "leads back to itself")
    w.bucket.put(keys[1], good[:-20])
    says(w.restore("--target", target, expect=1), keys[1])
    newer = json.loads(good)
    newer["version"] = 3
    w.bucket.put(keys[1], json.dumps(newer).encode())
    says(w.restore("--target", target, expect=1), keys[1], "newer version")
    w.bucket.put(keys[1], good)
    pointer = w.bucket.get(w.root + "current.json")
    w.bucket.put(w.root + "current.json", pointer.replace(b"manifest-", b"manifesto-"))
    says(w.restore("--target", target, expect=1), "there is no manifest at", "manifesto-",
         "btrfs_to_s3 list", "shows the keys")
    w.bucket.put(w.root + "current.json", pointer)
    w.nothing_left_behind(subvolumes)
    # The whole of it copied to another prefix restores from there: beside an original that is damaged ...
    for key in w.bucket.list("hosts/test/"):
        w.bucket.put(key.replace("hosts/test/", "elsewhere/"), w.bucket.get(key))
    flip(w, w.bucket.get_json(keys[1])["chunks"][0]["key"], 1000)
    bare = Bare(w)
    bare.url = f"s3://{w.bucket.name}/elsewhere"
    bare("--subvolume", "data", "--target", str(w.restored / "beside"), "--endpoint-url", w.bucket.endpoint)
    w.same(w.data, w.restored / "beside")
    # ... and with the original gone.
    for key in w.bucket.list("hosts/test/"):
        w.bucket.delete(key)
    bare("--subvolume", "data", "--target", target, "--endpoint-url", w.bucket.endpoint)
    w.same(w.data, w.restored / "data")
    w.nothing_left_behind(subvolumes + ["restored/beside", "restored/data"])


@case
def restore_continues_the_chain_on_a_rebuilt_host(w):
    keys = chain_of(w, 2)
    names = w.snapshot_names()
    # The host is lost, with subvolume, snapshots and state.
    for path in (w.data, *(w.snapshots / name for name in names)):
        os.system(f"btrfs subvolume delete {path} > /dev/null")
    (w.directory / "state" / "state.json").unlink()
    w.restore("--target", str(w.data), "--keep-received")
    assert w.snapshot_names() == [names[1]], w.snapshot_names()
    dataset.mutate(w.data, 3)
    outcome = w.backup("--once")
    says(outcome, "kind=incremental")
    assert w.manifest()["parent_manifest"] == keys[1]
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")


@case
def restore_shows_its_progress_on_a_terminal(w):
    chain_of(w, 1, large_mib=30)
    slow = fake_receive(w, '{ head -c 8000000; sleep 2.5; cat; } | "$REAL" "$@"; exit $?')
    w.tool.write_config()
    status, shown, output = terminal.run(w.tool.command(["restore", "--subvolume", "data", "--target",
                                                         str(w.restored / "data")]),
                                         {**w.tool.environment, **slow}, 120, shows="stderr")
    assert status == 0, shown
    assert re.search(rb"\rrestoring data: [0-9.]+ MiB of [0-9.]+ MiB, [0-9]+ %, [0-9.]+ [KM]?i?B/s", shown), shown
    # Each log line has a line of its own, and none is left of the live one.
    assert b"\r\x1b[K" in shown and re.search(rb"\x1b\[K[0-9TZ:-]+ INFO restore event=link_received", shown), shown
    assert "restored the backup" in output
    w.same(w.data, w.restored / "data")
    # Of several, it says which it is, and what is to come in all.
    other = w.filesystem.subvolume("other")
    dataset.seed(other, large_mib=20, small_files=5)
    w.tool.tables["subvolumes"]["paths"].append(str(other))
    w.backup("--subvolume", "other")
    (w.restored / "all").mkdir()
    status, shown, output = terminal.run(w.tool.command(["restore", "--all", "--target-base", str(w.restored / "all")]),
                                         {**w.tool.environment, **slow}, 200, shows="stderr")
    assert status == 0, shown
    assert re.search(rb"\rrestoring data \(1 of 2\): [0-9.]+ MiB of [0-9.]+ MiB, [^\r]* MiB in all to come, [0-9]+ s", shown), shown
    assert re.search(rb"\rrestoring other \(2 of 2\): [0-9.]+ MiB of [0-9.]+ MiB", shown), shown
    assert b"in all" not in shown[shown.index(b"restoring other (2"):], shown


@case
def restore_interrupted_stops_cleanly(w):
    chain_of(w, 2, large_mib=40)
    subvolumes = w.filesystem.subvolumes()
    target = w.restored / "data"
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        for link in (1, 2):
            stuck = fake_receive(w, f"""echo >> $PLACE/receivers
if [[ $(wc -l < $PLACE/receivers) == {link} ]]; then head -c 1000 | "$REAL" "$@"; echo > $PLACE/stuck; sleep 60; fi
exec "$REAL" "$@" """)
            running = w.tool.start("restore", "--subvolume", "data", "--target", str(target), environment=stuck)
            witness = received(target) / "stuck"
            deadline = time.monotonic() + 60
            while not witness.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            running[0].send_signal(number)
            outcome = w.tool.finish(running, limit=30)
            witness.unlink(missing_ok=True)
            assert outcome.status == status, outcome
            # The link that was received whole stays for the next attempt.
            kept = [path for path in w.filesystem.subvolumes() if path.startswith("restored/.btrfs_to_s3.data/received/")]
            assert len(kept) == link - 1, kept
        says(w.restore("--target", str(target)), "links_kept_from_before links=1")
        w.same(w.data, target)
        os.system(f"btrfs subvolume delete {target} > /dev/null")
        w.nothing_left_behind(subvolumes)


@case
def restore_compares_attributes_and_properties(w):
    """Access lists, capabilities, compression properties and nested subvolumes are no false differences."""
    dataset.seed(w.data, large_mib=1, small_files=20)
    subprocess.run(["btrfs", "property", "set", str(w.data / "large.txt"), "compression", "zstd"], check=True)
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
        (1, 6, 0xffffffff), (2, 7, 1234), (4, 4, 0xffffffff), (0x10, 7, 0xffffffff), (0x20, 4, 0xffffffff)))
    os.setxattr(w.data / "large.bin", "system.posix_acl_access", access)
    os.setxattr(w.data / "setuid", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    os.setxattr(w.data / "to-large", "trusted.on-a-link", b"x", follow_symlinks=False)
    (w.data / "holder").mkdir()
    w.filesystem.subvolume("data/holder/nested")
    (w.data / "holder" / "nested" / "file").write_text("not part of it")
    w.backup()
    says(w.restore("--target", str(w.restored / "data")), "content_verified")
    assert os.getxattr(w.restored / "data" / "large.bin", "system.posix_acl_access") == access


@case
def restore_locks_its_target_alone(w):
    chain_of(w, 1, large_mib=4)
    stuck = fake_receive(w, 'sleep 60')
    running = w.tool.start("restore", "--subvolume", "data", "--target", str(w.restored / "data"), environment=stuck)
    deadline = time.monotonic() + 30
    while not list(w.restored.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    says(w.restore("--target", str(w.restored / "data"), expect=3), "another restore to", str(w.restored / "data"))
    # Another target is another matter, and so is the lock of backups.
    w.restore("--target", str(w.restored / "other"))
    w.same(w.data, w.restored / "other")
    w.backup("--once")
    running[0].send_signal(signal.SIGTERM)
    assert w.tool.finish(running, limit=30).status == 143


@case
def restore_ends_a_receiver_that_stalls(w):
    chain_of(w, 2, large_mib=12)
    subvolumes = w.filesystem.subvolumes()
    target = w.restored / "data"
    w.tool.tables["restore"] = {"receive_stall_seconds": 2}
    stuck = fake_receive(w, """echo >> $PLACE/receivers
if [[ $(wc -l < $PLACE/receivers) == 2 ]]; then echo waiting for Godot >&2; exec sleep 3600; fi
exec "$REAL" "$@" """)
    outcome = w.restore("--target", str(target), expect=1, environment=stuck)
    says(outcome, "`btrfs receive` stalled: for 2 s it read nothing", "waiting for Godot", "incremental/manifest-")
    assert len([path for path in w.filesystem.subvolumes() if "/received/" in path]) == 1
    # One that only takes its time is left alone, and what was received before is kept.
    slow = fake_receive(w, 'for n in 1 2 3 4 5 6; do read -t 1 < /dev/zero; sleep 0.5; done\nexec "$REAL" "$@"')
    says(w.restore("--target", str(target), environment=slow), "links_kept_from_before links=1")
    w.same(w.data, target)
    w.nothing_left_behind(subvolumes + ["restored/data"])
