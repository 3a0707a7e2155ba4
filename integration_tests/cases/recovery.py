"""Cases of interrupted backups: what the next run makes of them, and what it plans when things have changed."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from world import MIB, case, dataset, says

from harness import btrfs, proxy


@contextlib.contextmanager
def behind_proxy(w):
    with proxy.proxy_to(w.bucket.endpoint) as between:
        w.tool.tables["s3"]["endpoint_url"] = between.endpoint
        yield between


def chain_is_whole(w, indexed=True):
    """From the pointer to a full, one parent each, every chunk in the bucket, and nothing but these."""
    known = {w.root + "current.json"}
    key = w.pointer()["manifest_key"]
    kinds = []
    while key:
        manifest = w.bucket.get_json(key)
        known.add(key)
        known.update(chunk["key"] for chunk in manifest["chunks"])
        assert ("index" in manifest) == indexed, manifest
        if indexed:
            known.add(manifest["index"]["key"])
        kinds.append(manifest["kind"])
        key = manifest["parent_manifest"]
    assert kinds[-1] == "full" and set(kinds[:-1]) <= {"incremental"}, kinds
    return kinds, known


def recovered(w, kinds, indexed=True):
    """The chain is of these kinds, newest first; nothing is in the bucket or on the disk that does not belong to it;
    and it restores to what the source holds."""
    found, known = chain_is_whole(w, indexed)
    assert found == kinds, found
    assert set(w.bucket.list()) == known, sorted(set(w.bucket.list()) ^ known)
    times = {re.search(r"\d{8}T\d{6}Z", key)[0] for key in known if "manifest" in key}
    stray = [name for name in w.snapshot_names() if name.split("__")[1] not in times]
    assert not stray, stray
    state = json.loads((w.directory / "state" / "state.json").read_text())["subvolumes"]["data"]
    assert state["last_manifest"] == w.pointer()["manifest_key"]
    w.nothing_left_behind(["data", *("snapshots/" + name for name in w.snapshot_names())])
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")
    assert os.system(f"btrfs subvolume delete {w.restored / 'data'} > /dev/null") == 0


POINTS = [
    ("nothing has happened", {"method": "GET", "path": "current.json"}),
    ("the upload exists, its id is not known", {"method": "POST", "query": "uploads", "when": "after"}),
    ("a part is on its way", {"method": "PUT", "query": "partNumber=2"}),
    ("a part has arrived, its answer has not", {"method": "PUT", "query": "partNumber=2", "when": "after"}),
    ("the first object is to be completed", {"method": "POST", "query": "uploadId"}),
    ("the first object is complete, the answer lost", {"method": "POST", "query": "uploadId", "when": "after"}),
    ("the index is to be written", {"method": "PUT", "path": r"index-.*\.zst"}),
    ("the index is there, the answer lost", {"method": "PUT", "path": r"index-.*\.zst", "when": "after"}),
    ("the last object is to be written", {"method": "PUT", "path": r"chunk-.*-3\.bin", "query": "^$"}),
    ("the last object is there, the answer lost",
     {"method": "PUT", "path": r"chunk-.*-3\.bin", "query": "^$", "when": "after"}),
    ("the manifest is to be written", {"method": "PUT", "path": r"manifest-.*\.json"}),
    ("the manifest is there, the answer lost", {"method": "PUT", "path": r"manifest-.*\.json", "when": "after"}),
    ("the pointer is to be moved", {"method": "PUT", "path": "current.json"}),
    ("the pointer has moved, the state does not say so", {"method": "PUT", "path": "current.json", "when": "after"}),
]


def random_file(path, size):
    path.write_bytes(os.urandom(size))


@case
def a_kill_at_any_request_of_a_full_is_recovered_from(w):
    random_file(w.data / "random", 40 * MIB)  # three chunks of 12 MiB and a short one
    with behind_proxy(w) as between:
        for name, point in POINTS:
            w.kill_at(between, **point)
            outcome = w.backup(only_when_due=True)
            recovered(w, ["full"])
            print(f"{name}: seen")
            assert outcome.status == 0
            for key in w.bucket.list():
                w.bucket.delete(key)
            for snapshot in w.snapshot_names():
                assert os.system(f"btrfs subvolume delete {w.snapshots / snapshot} > /dev/null") == 0
            (w.directory / "state" / "state.json").unlink()


@case
def a_kill_at_any_request_of_an_incremental_forks_no_chain(w):
    random_file(w.data / "random", 2 * MIB)
    w.tool.tables["schedule"] = {"incremental_every_days": 1}
    w.tool.tables["snapshots"]["retain"] = 1
    kinds = ["full"]
    with behind_proxy(w) as between:
        w.backup()
        for name, point in POINTS:
            random_file(w.data / "changed", 40 * MIB)
            killed = w.kill_at(between, **point)
            outcome = w.backup(only_when_due=True)
            if point["method"] != "GET":  # there the killed run had not begun, and the next is not due
                kinds.insert(0, "incremental")
                recovered(w, kinds)
                assert len(w.snapshot_names()) == 1, w.snapshot_names()
            assert outcome.status == 0, killed
            print(f"{name}: seen")


@case
def an_interrupted_upload_goes_on_where_it_stopped(w):
    """Killed at a quarter, at half and at three quarters: no part that had arrived is sent again."""
    random_file(w.data / "random", 100 * MIB)
    w.tool.tables["s3"].update(chunk_size_bytes="200GiB", concurrency=2)
    in_flight = 2 * 5 * MIB
    with behind_proxy(w) as between:
        for part in (6, 11, 16):
            between.requests.clear()
            w.kill_at(between, method="PUT", query=f"partNumber={part}&")
            assert [path.name for path in w.journals()] == ["state.data.journal"]
            outcome = w.backup(only_when_due=True)
            says(outcome, "action=resume", "earlier_parts_found")
            assert "uploaded before" in outcome.stdout, outcome
            size = w.manifest()["total_bytes"]
            sent = between.bytes_of_parts()
            print(f"killed at part {part}: {sent - size} bytes more than the stream's {size} were sent")
            assert size <= sent <= size + in_flight, (size, sent)
            recovered(w, ["full"])
            for key in w.bucket.list():
                w.bucket.delete(key)
            assert os.system(f"btrfs subvolume delete {w.snapshots / w.snapshot_names()[0]} > /dev/null") == 0


@case
def an_interrupted_upload_whose_stream_changed_is_sent_anew(w):
    """Other parts, of equal size, as a defragmentation of the live subvolume makes them: a sender that flips a byte."""
    random_file(w.data / "random", 100 * MIB)
    spoil_stream = pathlib.Path(__file__).resolve().parent.parent / "harness" / "spoil_stream.py"
    w.tool.tables["s3"].update(chunk_size_bytes="60MiB", concurrency=2)
    with behind_proxy(w) as between:
        for differs_at in (2 * MIB, 40 * MIB, 70 * MIB):
            # The bytes of the first attempt are changed in a file's data; those of the second are the true ones.
            flip = f'"$REAL" "$@" | /usr/bin/python3 -B {spoil_stream} {differs_at}'
            w.kill_at(between, method="PUT", query="partNumber=5&", number=2, environment=w.fake_btrfs(flip))
            outcome = w.backup(only_when_due=True)
            says(outcome, "action=resume", "stream_differs")
            recovered(w, ["full"])
            for key in w.bucket.list():
                w.bucket.delete(key)
            assert os.system(f"btrfs subvolume delete {w.snapshots / w.snapshot_names()[0]} > /dev/null") == 0
        # What is an object already is not made again under its key: the backup begins anew.
        w.kill_at(between, method="PUT", path="manifest-", environment=w.fake_btrfs(flip))
        damaged = w.snapshot_names()[0]
        says(w.backup(only_when_due=True), "action=resume", "stream_differs", "begins anew", "kind=full")
        assert damaged not in w.snapshot_names()
        recovered(w, ["full"])


@case
def an_upload_that_the_store_dropped_is_made_again(w):
    random_file(w.data / "random", 40 * MIB)
    with behind_proxy(w) as between:
        w.kill_at(between, method="PUT", query="partNumber=2&", number=3)
    w.tool.tables["s3"]["endpoint_url"] = between.endpoint  # the same place, whoever serves it
    with proxy.proxy_to(w.bucket.endpoint) as again:
        journal = w.journals()[0]
        journal.write_text(journal.read_text().replace(between.endpoint, again.endpoint))
        w.tool.tables["s3"]["endpoint_url"] = again.endpoint
        for upload in w.bucket.open_upload_ids():
            w.bucket.abort(*upload)
        outcome = w.backup(only_when_due=True)
        says(outcome, "action=resume", "upload_gone")
        recovered(w, ["full"])


def senders_of(process):
    """Those of its children, and of their children, that are `btrfs send`."""
    found, waiting = [], [process.pid]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError):
            waiting += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            if b"btrfs\0send" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@case
def a_sender_that_is_stopped_and_continued_is_no_loss(w):
    """The kernel leaves off in the middle of a command and begins anew: what was sent is not a stream any more."""
    random_file(w.data / "random", 60 * MIB)
    with behind_proxy(w) as between:
        for round_number, stops in enumerate((1, 3)):
            held = between.hold(method="PUT", query="partNumber=2")
            running = w.tool.start("backup", "--once", "--full")
            while not held.reached.wait(0.02):
                assert running[0].poll() is None, w.tool.finish(running)
            for _ in range(stops):
                for number in (signal.SIGSTOP, signal.SIGCONT):
                    senders = senders_of(running[0])
                    assert senders or running[0].poll() is None
                    for pid in senders:
                        os.kill(pid, number)
                    time.sleep(0.2)
            between.release()
            says(w.expect(0, w.tool.finish(running, limit=120)), "stream_broken")
            target = w.restored / f"stopped-{round_number}"
            w.restore("--target", str(target))
            w.same(w.data, target)


@case
def what_cannot_be_resumed_is_undone(w):
    random_file(w.data / "random", 40 * MIB)
    with behind_proxy(w) as between:
        def killed():
            w.kill_at(between, method="PUT", query="partNumber=2&", number=2)
            assert w.bucket.open_uploads() and len(w.snapshot_names()) == 1

        # Other part sizes: the uploaded ones do not fit.
        killed()
        w.tool.tables["s3"]["part_size_bytes"] = "6MiB"
        says(w.backup(), "action=abandon", "settings_changed")
        recovered(w, ["full"])
        # Its snapshot was deleted.
        killed_names = set(w.snapshot_names())
        random_file(w.data / "random", 40 * MIB)
        w.kill_at(between, method="PUT", query="partNumber=2&", number=2)
        ours = (set(w.snapshot_names()) - killed_names).pop()
        deadline = time.monotonic() + 20
        while os.system(f"btrfs subvolume delete {w.snapshots / ours} > /dev/null") != 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # the sender of the run that was killed is about to end
        says(w.backup(), "action=abandon", "snapshot_unusable")
        recovered(w, ["incremental", "full"])
        # Longer ago than resume_for.
        random_file(w.data / "random", 40 * MIB)
        w.kill_at(between, method="PUT", query="partNumber=2&", number=2)
        w.tool.tables["s3"]["resume_for"] = "1s"
        time.sleep(2)
        says(w.backup(), "action=abandon", "expired")
        del w.tool.tables["s3"]["resume_for"]  # what comes below may take longer than a second
        recovered(w, ["incremental", "incremental", "full"])
        # A journal that ends in the middle of its second line: nothing is known of the snapshot but its name.
        random_file(w.data / "random", 40 * MIB)
        w.kill_at(between, method="PUT", query="partNumber=2&", number=2)
        journal = w.journals()[0]
        first = journal.read_text().splitlines()[0]
        journal.write_text(first + "\n" + '{"event":"snap')
        says(w.backup(), "action=abandon", "snapshot_unusable")
        recovered(w, ["incremental"] * 3 + ["full"])
        # The subvolume is not configured any more.
        random_file(w.data / "random", 40 * MIB)
        w.kill_at(between, method="PUT", query="partNumber=2&", number=2)
        w.filesystem.subvolume("other")
        w.tool.tables["subvolumes"]["paths"] = [str(w.mount / "other")]
        says(w.backup(), "action=abandon", "not_configured")
        assert w.journals() == [] and w.bucket.open_uploads() == []
        names = [name for name in w.snapshot_names() if name.startswith("data__")]
        assert len(names) == 2, names


@case
def an_unfinished_backup_in_another_bucket_is_cleaned_up_there(w):
    random_file(w.data / "random", 40 * MIB)
    with behind_proxy(w) as between:
        w.kill_at(between, method="PUT", query="partNumber=2&", number=2)
        elsewhere = w.bucket.sibling()
        elsewhere.create()
        w.tool.tables["s3"]["bucket"] = elsewhere.name
        says(w.backup(), "action=abandon", "place_changed")
        assert w.bucket.open_uploads() == [] and w.bucket.list() == {}
        w.bucket = elsewhere
        recovered(w, ["full"])


@case
def an_interrupt_keeps_what_was_uploaded(w):
    random_file(w.data / "random", 60 * MIB)
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        # The stream stays open after its first 40 MB: the run is in the middle of an upload.
        sending = w.directory / f"sending-{status}"
        slow = w.fake_btrfs(f'touch {sending}; "$REAL" "$@" | {{ head -c 40000000; sleep 60; }}')
        running = w.tool.start("backup", environment=slow)
        deadline = time.monotonic() + 20
        journal = w.directory / "state" / "state.data.journal"
        while time.monotonic() < deadline and not (
                sending.exists() and journal.exists() and '"part"' in journal.read_text()):
            time.sleep(0.05)
        time.sleep(1)  # the second run has to look at what the first left
        running[0].send_signal(number)
        begin = time.monotonic()
        outcome = w.tool.finish(running, limit=30)
        assert outcome.status == status, outcome
        assert time.monotonic() - begin < 10, f"{time.monotonic() - begin:.1f} s"
        says(outcome, "kept_for_the_next_run")
        assert w.bucket.open_uploads() and len(w.snapshot_names()) == 1 and journal.exists()
        assert not subprocess.run(["pgrep", "-f", str(w.snapshots)], check=False, capture_output=True).stdout
    says(w.backup(only_when_due=True), "action=resume")
    recovered(w, ["full"])


@case
def a_killed_local_run_leaves_no_snapshot(w):
    random_file(w.data / "random", 20 * MIB)
    # The sender outlives the run for a while, and holds the snapshot.
    slow = w.fake_btrfs('"$REAL" "$@" | { head -c 7000000; sleep 6; }')
    running = w.tool.start("backup", "--no-s3", environment=slow)
    deadline = time.monotonic() + 20
    while not w.snapshot_names() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert w.snapshot_names()
    time.sleep(1)
    running[0].send_signal(signal.SIGKILL)
    w.tool.finish(running)
    says(w.backup("--no-s3"), "local_only", "unfinished_backup_left", "Operation not permitted")
    time.sleep(6)
    says(w.backup("--no-s3"), "snapshot_removed")
    w.nothing_left_behind(["data"])
    w.backup()
    recovered(w, ["full"])


@case
def a_dead_sender_is_noticed_while_the_store_is_gone(w):
    """Its parts are worthless: nobody waits for retry_for to send them."""
    random_file(w.data / "random", 40 * MIB)
    with behind_proxy(w) as between:
        held = between.hold(method="PUT", query="partNumber=1&")
        dying = w.fake_btrfs('"$REAL" "$@" | head -c 7000000; sleep 2; echo the disk is broken >&2; exit 1')
        outcome = w.backup(expect=1, environment=dying)
        says(outcome, "the disk is broken")
        assert held.reached.is_set()
        between.release()
        w.nothing_left_behind(["data"])


@case
def an_exhausted_retry_keeps_everything_for_the_next_run(w):
    random_file(w.data / "random", 40 * MIB)
    with behind_proxy(w) as between:
        endpoint = between.endpoint
        held = between.hold(method="PUT", query="partNumber=2&", number=2)
        w.tool.tables["s3"]["retry_for"] = "2s"
        running = w.tool.start("backup")
        assert held.reached.wait(30)
        between.server.shutdown()
        between.server.server_close()
        between.release()
        outcome = w.tool.finish(running, limit=60)
        assert outcome.status == 1, outcome
        says(outcome, "kept_for_the_next_run", "refused")
    with proxy.proxy_to(w.bucket.endpoint) as again:
        journal = w.journals()[0]
        journal.write_text(journal.read_text().replace(endpoint, again.endpoint))
        w.tool.tables["s3"]["endpoint_url"] = again.endpoint
        says(w.backup(only_when_due=True), "action=resume")
        recovered(w, ["full"])


@case
def a_deleted_state_file_is_rebuilt_from_the_bucket(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    state = w.directory / "state" / "state.json"
    before = json.loads(state.read_text())["subvolumes"]
    del before["data"]["last_milliseconds"]  # of which the bucket knows nothing
    state.unlink()
    says(w.backup(only_when_due=True), "state_rebuilt", "not_due")
    assert json.loads(state.read_text())["subvolumes"] == before
    state.write_text("{ damaged")
    says(w.backup(), "state_damaged", "kind=incremental")
    assert len(list(state.parent.glob("state.json.damaged-*"))) == 1
    recovered(w, ["incremental", "full"])


@case
def a_chain_of_the_earlier_tool_goes_on(w):
    """Null UUIDs: the snapshot is the parent by its name, as the state file or the kernel vouches for it."""
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    key = w.pointer()["manifest_key"]
    manifest = w.bucket.get_json(key)
    for field in ("tool", "host", "stream"):
        del manifest[field]
    for chunk in manifest["chunks"]:
        for field in ("part_size", "part_crc32", "part_sha256_states"):
            del chunk[field]
        chunk["etag"] = None
    manifest["snapshot"] = {"name": manifest["snapshot"]["name"], "path": manifest["snapshot"]["path"],
                            "uuid": None, "parent_uuid": None}
    manifest["created_at"] = re.search(r"\d{8}T\d{6}Z", key)[0]
    w.bucket.put(key, json.dumps(manifest).encode())
    state = w.directory / "state" / "state.json"
    entry = json.loads(state.read_text())["subvolumes"]["data"]
    state.write_text(json.dumps({"subvolumes": {"data": {
        name: entry[name] for name in ("last_snapshot", "last_manifest", "last_full_at")}}}))
    dataset.mutate(w.data)
    says(w.backup(), "kind=incremental", "parent_matched_by_name")
    recovered(w, ["incremental", "full"])

    def as_left_by_that_tool():
        """The pointer on its backup, and no state file: moved, lost, or at another path."""
        w.bucket.put(w.root + "current.json", json.dumps(
            {"manifest_key": key, "kind": "full", "created_at": manifest["created_at"]}).encode())
        state.unlink()

    # The kernel knows what the snapshot was made of, and when.
    as_left_by_that_tool()
    dataset.mutate(w.data, 3)
    says(w.backup(), "kind=incremental", "parent_matched_by_name")
    assert w.manifest()["parent_manifest"] == key
    w.restore("--target", str(w.restored / "without-state"))
    w.same(w.data, w.restored / "without-state")
    # A snapshot of another subvolume under that name is none; nor is one that was made at another time.
    name = manifest["snapshot"]["name"]
    if (w.snapshots / name).exists():
        btrfs.delete_subvolume(w.snapshots / name)
    w.filesystem.subvolume("other")
    btrfs.snapshot(w.filesystem.mount / "other", w.snapshots / name)
    as_left_by_that_tool()
    says(w.backup(), "kind=full", "records no UUID")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 7200))
    btrfs.snapshot(w.data, w.snapshots / f"data__{stamp}__full")
    manifest["snapshot"].update(name=f"data__{stamp}__full", path=str(w.snapshots / f"data__{stamp}__full"))
    w.bucket.put(key, json.dumps(manifest).encode())
    as_left_by_that_tool()
    says(w.backup(), "kind=full", "records no UUID")


@case
def dates_that_contradict_the_clock_delete_nothing(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.tool.tables["snapshots"]["retain"] = 1
    w.backup()
    key = w.pointer()["manifest_key"]
    manifest = w.bucket.get_json(key)
    path = w.snapshots / manifest["snapshot"]["name"]

    def dated(stamp):
        """As if the last backup had been made then."""
        name = f"data__{stamp}__full"
        os.rename(path, w.snapshots / name)
        moved = dict(manifest, created_at=stamp, snapshot=dict(manifest["snapshot"], name=name,
                                                               path=str(w.snapshots / name)))
        w.bucket.put(key.replace(key[-21:-5], stamp), json.dumps(moved).encode())
        w.bucket.put(w.root + "current.json", json.dumps(
            {"manifest_key": key.replace(key[-21:-5], stamp), "kind": "full", "created_at": stamp}).encode())
        return name

    # The clock of that run was far ahead, or this one's is a year behind: the same to look at.
    name = dated("20990101T020000Z")
    outcome = w.backup(only_when_due=True)
    says(outcome, "kind=incremental", "backup_from_the_future", "2099")
    assert name in w.snapshot_names() and len(w.snapshot_names()) == 2, w.snapshot_names()
    # The dates agree again: the older snapshot goes, although its name is the newest.
    says(w.backup(), "kind=incremental", "snapshot_removed")
    assert name not in w.snapshot_names() and len(w.snapshot_names()) == 1, w.snapshot_names()
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")


@case
def another_hosts_prefix_is_left_alone_unless_adopted(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    key = w.pointer()["manifest_key"]
    manifest = w.bucket.get_json(key)
    manifest["host"] = {"id": "0123456789abcdef", "name": "somebody-else"}
    manifest["snapshot"]["uuid"] = "01234567-89ab-cdef-0123-456789abcdef"
    w.bucket.put(key, json.dumps(manifest).encode())
    before = w.bucket.list()
    says(w.backup(expect=1), "foreign_host", "somebody-else", "--adopt")
    assert w.bucket.list() == before
    says(w.backup("--adopt"), "kind=full", "adopted")
    says(w.backup(), "kind=incremental")


@case
def the_plan_says_what_a_backup_would_do(w):
    other = w.filesystem.subvolume("other")
    dataset.seed(w.data, large_mib=8, small_files=20)
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(other)]
    before = w.filesystem.subvolumes()

    def plan(*arguments, expect=0):
        outcome = w.expect(expect, w.tool.run("plan", *arguments))
        return outcome, {one["subvolume"]: one for one in json.loads(outcome.stdout)["subvolumes"]} if (
            "--json" in arguments) else None

    outcome, _ = plan()
    assert "first_backup" in outcome.stdout and f"s3://{w.bucket.name}/{w.root}full/" in outcome.stdout, outcome
    assert w.tool.run("backup", "--dry-run").stdout == outcome.stdout
    _, entries = plan("--json")
    assert entries["data"]["action"] == "full" and 8 * MIB < entries["data"]["estimated_bytes"] < 64 * MIB, entries
    assert w.bucket.list() == {} and w.filesystem.subvolumes() == before and not (w.directory / "state").exists()
    assert not (w.directory / "lock").exists()
    w.backup("--subvolume", "data")
    random_file(w.data / "more", 3 * MIB)
    os.sync()
    _, entries = plan("--json")
    assert entries["data"]["action"] == "skip" and entries["data"]["due_at"] and entries["data"]["links"] == 1
    assert entries["other"]["reason"] == "first_backup"
    _, entries = plan("--json", "--once", "--subvolume", "data")
    assert list(entries) == ["data"] and entries["data"]["action"] == "incremental", entries
    assert 3 * MIB <= entries["data"]["estimated_bytes"] < 5 * MIB, entries
    assert entries["data"]["parent_snapshot"] == str(w.snapshots / w.snapshot_names()[0])
    # One that cannot be planned fails like a backup of it.
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(w.snapshots)]
    outcome, entries = plan("--json", expect=6)
    assert "ordinary directory" in entries["snapshots"]["error"], entries
    # An unfinished backup comes first.
    w.tool.tables["subvolumes"]["paths"] = [str(other)]
    with behind_proxy(w) as between:
        random_file(other / "random", 20 * MIB)
        w.kill_at(between, method="PUT", query="partNumber=2&")
        outcome, _ = plan()
        assert "first: resume an unfinished backup" in outcome.stdout, outcome
        assert w.bucket.open_uploads()
        w.backup()


@case
def a_complete_backup_that_the_pointer_passed_by_stays(w):
    """Somebody rewrote the pointer meanwhile: what is complete is never deleted by guess."""
    random_file(w.data / "random", 2 * MIB)
    w.backup()
    full = w.pointer()["manifest_key"]
    random_file(w.data / "random", 20 * MIB)
    with behind_proxy(w) as between:
        w.kill_at(between, method="PUT", path="current.json")
        passed_by = [key for key in w.bucket.list() if "incremental/" in key]
        w.bucket.put(w.root + "current.json", json.dumps(w.pointer()).encode())
        says(w.backup(), "action=release", "reason=superseded", "kind=incremental")
        assert set(passed_by) < set(w.bucket.list())
        assert w.manifest()["parent_manifest"] == full
    w.nothing_left_behind(["data", *("snapshots/" + name for name in w.snapshot_names())])
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")
    manifest = [key for key in passed_by if "manifest" in key][0]
    w.restore("--manifest-key", manifest, "--target", str(w.restored / "passed-by"))
