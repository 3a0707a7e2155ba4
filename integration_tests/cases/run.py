#!/usr/bin/python3
"""One end-to-end case:  run.py CASE --binary PATH {--gateway DIR | --store NAME} [--update]    (run.py --list names them)

--gateway: of the store that runs and has its rgw.json there; --store: one that is started for this case alone.
"""
import argparse
import base64
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import re
import struct
import sys
import threading
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import archive  # noqa: E402,F401
import backup_index  # noqa: E402,F401
import contract  # noqa: E402,F401
import doctor  # noqa: E402,F401
import documents  # noqa: E402,F401
import failing_disks  # noqa: E402,F401
import files  # noqa: E402,F401
import faults  # noqa: E402,F401
import first_run  # noqa: E402,F401
import identity  # noqa: E402,F401
import keys  # noqa: E402,F401
import host_alone  # noqa: E402,F401
import hosts  # noqa: E402,F401
import harness_scripts  # noqa: E402,F401
import hostile_restore  # noqa: E402,F401
import mount  # noqa: E402,F401
import packaging  # noqa: E402,F401
import process  # noqa: E402,F401
import limits  # noqa: E402,F401
import never_plain  # noqa: E402,F401
import output  # noqa: E402,F401
import proof  # noqa: E402,F401
import prune  # noqa: E402,F401
import recovery  # noqa: E402,F401
import resources  # noqa: E402,F401
import restore  # noqa: E402,F401
import restore_all  # noqa: E402,F401
import restore_damage  # noqa: E402,F401
import restore_interrupted  # noqa: E402,F401
import screens  # noqa: E402,F401
import sealing  # noqa: E402,F401
import stores  # noqa: E402,F401
import signing  # noqa: E402,F401
import strangers  # noqa: E402,F401
import surface  # noqa: E402,F401
from world import CASES, MIB, btrfs, case, dataset, says, world  # noqa: E402


def check_chunks(w, manifest):
    """Every object's digest, size and part checksums are the manifest's."""
    total = 0
    for index, chunk in enumerate(manifest["chunks"]):
        body = w.bucket.get(chunk["key"])
        assert chunk["key"].endswith(f"-{index}.bin"), chunk["key"]
        assert hashlib.sha256(body).hexdigest() == chunk["sha256"], chunk["key"]
        assert len(body) == chunk["size"] <= manifest["chunk_size"] == 12 * MIB
        size = chunk["part_size"]
        parts = [body[at:at + size] for at in range(0, len(body), size)]
        expected = [base64.b64encode(struct.pack(">I", zlib.crc32(part))).decode() for part in parts]
        assert chunk["part_crc32"] == expected
        assert len(chunk["part_sha256_states"]) == len(parts) - 1
        total += len(body)
    assert total == manifest["total_bytes"]


@case
def restored_trees_equal_the_sources(w):
    dataset.seed(w.data)
    w.tool.tables["snapshots"]["retain"] = 3
    w.backup()
    keys = [w.pointer()["manifest_key"]]
    for number in (2, 3):
        dataset.mutate(w.data, number)
        w.backup()
        keys.append(w.pointer()["manifest_key"])
    kinds = []
    for index, key in enumerate(keys):
        manifest = w.bucket.get_json(key)
        check_chunks(w, manifest)
        kinds.append(manifest["kind"])
        assert manifest["version"] == 1 and manifest["subvolume"] == "data"
        assert manifest["parent_manifest"] == (keys[index - 1] if index else None)
        assert manifest["snapshot"]["uuid"] and manifest["snapshot"]["ctransid"] > 0
        assert manifest["stream"]["commands"] > 0 and manifest["tool"]["name"] == "btrfs_to_s3"
    assert kinds == ["full", "incremental", "incremental"], kinds
    first = w.bucket.get_json(keys[0])
    assert len(first["chunks"]) > 1 and len(first["chunks"][0]["part_crc32"]) == 3, "wanted chunks of three parts"
    pointer = w.pointer()
    assert pointer["kind"] == "incremental" and pointer["created_at"].endswith("Z")
    state = json.loads((w.directory / "state" / "state.json").read_text())["subvolumes"]["data"]
    assert state["last_manifest"] == keys[2] and state["last_snapshot"].endswith("__inc")
    assert state["last_full_at"] == first["created_at"]
    for index, key in enumerate(keys):
        # {name}__{TS}__{full|inc}, with the TS of the backup's keys.
        stamp = re.fullmatch(r".*/manifest-(\d{8}T\d{6}Z)\.json", key)[1]
        name = f"data__{stamp}__{'inc' if index else 'full'}"
        assert w.snapshot_names()[index] == name, (name, w.snapshot_names())
        assert w.bucket.get_json(key)["snapshot"]["name"] == name
        assert all(f"/chunk-{stamp}-" in chunk["key"] for chunk in w.bucket.get_json(key)["chunks"])
    for target, chosen in (("newest", ["--current"]), ("middle", ["--manifest-key", keys[1]])):
        outcome = w.restore(*chosen, "--target", str(w.restored / target))
        # Files that became shorter are no lost writes.
        assert "link_received_again" not in outcome.stderr, outcome
    released = []
    for mode, target in (("sample", "oldest"), ("full", "again")):
        outcome = w.restore("--manifest-key", keys[0], "--target", str(w.restored / target), "--verify", mode)
        released.append(int(re.search(r"event=link_received .* pages_released_bytes=(\d+)", outcome.stderr)[1]))
    # The received subvolume's pages, unless they are about to be compared with the source.
    large = (w.restored / "oldest" / "large.bin").stat().st_size
    assert released[0] >= large and released[1] == 0, (released, large)
    for name, target in zip(w.snapshot_names(), ("oldest", "middle", "newest"), strict=True):
        w.same(w.snapshots / name, w.restored / target)
    w.same(w.data, w.restored / "newest")
    (w.restored / "newest" / "writable").write_text("yes")
    w.nothing_left_behind(["data", *("snapshots/" + name for name in w.snapshot_names()),
                           "restored/newest", "restored/middle", "restored/oldest", "restored/again"])


@case
def a_pruned_snapshot_keeps_its_backup(w):
    """retain = 2: the third backup deletes the first snapshot, and the first state is still restored."""
    dataset.seed(w.data, large_mib=8, small_files=100)
    w.backup()
    key = w.pointer()["manifest_key"]
    kept = w.filesystem.snapshot(w.data, "kept")
    full = w.snapshot_names()[0]
    for number in (2, 3):
        dataset.mutate(w.data, number)
        w.backup()
    assert len(w.snapshot_names()) == 2 and full not in w.snapshot_names(), w.snapshot_names()
    w.restore("--manifest-key", key, "--target", str(w.restored / "full"))
    w.same(kept, w.restored / "full")


def dead_send(w, script, *words):
    before = w.bucket.list()
    pointer = w.bucket.get(w.root + "current.json")
    subvolumes = w.filesystem.subvolumes()
    outcome = w.backup(expect=1, environment=w.fake_btrfs(script))
    says(outcome, *words)
    assert w.bucket.list() == before, "objects were left or lost"
    assert w.bucket.get(w.root + "current.json") == pointer
    w.nothing_left_behind(subvolumes)


def delete_snapshots(w):
    """So that the next backup is a full of many parts."""
    for snapshot in w.snapshot_names():
        os.system(f"btrfs subvolume delete {w.snapshots / snapshot} > /dev/null")


@case
def a_dead_send_publishes_nothing(w):
    dataset.seed(w.data, large_mib=30, small_files=100)
    w.backup()
    delete_snapshots(w)
    dead_send(w, '"$REAL" "$@"; echo went wrong >&2; exit 1', "exited with status 1", "went wrong")
    dead_send(w, "exit 0", "send stream", "empty")
    dead_send(w, "head -c 30000000 /dev/urandom; exit 0", "btrfs-stream")
    # Of a sender that was killed nothing is known to be wrong: what it had sent stays for the next run.
    journal = w.directory / "state" / "state.data.journal"
    killed = w.backup(expect=1, environment=w.fake_btrfs(
        f'"$REAL" "$@" | head -c 20000000\nuntil grep -q \'"part"\' {journal}; do sleep 0.05; done\nkill -9 $$'))
    says(killed, "killed by signal 9", "kept_for_the_next_run")
    says(w.backup(), "action=resume")
    delete_snapshots(w)
    # A stream that breaks although its sender is content is sent again, and kept for the next run at last.
    cut = w.backup(expect=1, environment=w.fake_btrfs('"$REAL" "$@" | head -c -10; exit 0'))
    says(cut, "stream_broken", "END", "broke each time", "kept_for_the_next_run")
    says(w.backup(), "action=resume")
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")


@case
def a_stream_that_begins_anew_in_the_middle_is_sent_again(w):
    """What the kernel does when a sender is stopped and continued: a part of the stream, and then all of it."""
    dataset.seed(w.data, large_mib=40, small_files=2000)
    again = w.directory / "again"
    for cut in (5_000_000, 30_000_123):
        again.unlink(missing_ok=True)
        broken = w.fake_btrfs(f'if [[ ! -e {again} ]]; then touch {again}; "$REAL" "$@" | head -c {cut}; fi\n'
                              'exec "$REAL" "$@"')
        outcome = w.backup("--full", environment=broken)
        says(outcome, "stream_broken")
        # Of the first nothing had arrived: it broke within the first part.
        assert ("earlier_parts_found" in outcome.stderr) == (cut > 20_000_000), outcome
        w.restore("--target", str(w.restored / f"cut-{cut}"))
        w.same(w.data, w.restored / f"cut-{cut}")


@case
def memory_stays_within_the_promise(w):
    with open(w.data / "random", "wb") as file:
        block = os.urandom(64 * MIB)
        for index in range(32):
            file.write(block[index:] + block[:index])
    w.tool.tables["s3"].update(part_size_bytes="128MiB", chunk_size_bytes="200GiB", concurrency=4)
    promise = 5 * 128 * MIB + 64 * MIB
    backup = w.backup()
    assert w.manifest()["total_bytes"] > 2 << 30
    restore = w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")
    for name, outcome in (("backup", backup), ("restore", restore)):
        print(f"{name}: peak RSS {outcome.peak_rss_bytes / MIB:.0f} MiB of {promise / MIB:.0f}, {outcome.seconds:.1f} s")
        assert outcome.peak_rss_bytes <= promise, name


@contextlib.contextmanager
def refusing_endpoint(status, code, more=""):
    """An S3 endpoint that refuses every request, for what a gateway does not refuse."""
    class Refusal(http.server.BaseHTTPRequestHandler):
        def answer(self):
            body = f"<Error><Code>{code}</Code><Message>no</Message>{more}</Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@case
def misuse_is_explained(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    good = json.loads(json.dumps(w.tool.tables))
    subvolumes = w.filesystem.subvolumes()

    def wrong(status, words, environment=None, **changes):
        w.tool.tables = json.loads(json.dumps(good))
        for table, keys in changes.items():
            w.tool.tables.setdefault(table, {}).update(keys)
        outcome = w.backup(expect=status, environment=environment)
        says(outcome, *words)
        assert w.filesystem.subvolumes() == subvolumes, "a snapshot was left"
        w.tool.tables = json.loads(json.dumps(good))

    wrong(1, ["InvalidAccessKeyId", "NOSUCHKEY"], environment={"AWS_ACCESS_KEY_ID": "NOSUCHKEY"})
    wrong(1, ["SignatureDoesNotMatch", "TESTKEY"], environment={"AWS_SECRET_ACCESS_KEY": "wrong"})
    wrong(1, ["no S3 credentials", "AWS_ACCESS_KEY_ID", ".aws/credentials"],
          environment={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    wrong(1, ["AWS_SECRET_ACCESS_KEY"], environment={"AWS_SECRET_ACCESS_KEY": ""})
    wrong(1, ["AWS_ACCESS_KEY_ID has", "line end"], environment={"AWS_ACCESS_KEY_ID": "TEST\nKEY"})
    with refusing_endpoint(400, "AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>") as endpoint:
        wrong(2, ["s3.region", "eu-central-1", "us-east-1"], s3={"endpoint_url": endpoint})
    with refusing_endpoint(403, "RequestTimeTooSkewed") as endpoint:
        wrong(1, ["RequestTimeTooSkewed", "clock"], s3={"endpoint_url": endpoint})
    wrong(2, ["NoSuchBucket", "s3.bucket"], s3={"bucket": "no-such-bucket-here"})
    wrong(1, ["127.0.0.1:9", "refused", "endpoint"], s3={"endpoint_url": "http://127.0.0.1:9", "retry_for": "3s"})
    wrong(2, ["s3.endpoint_url", "https://"], s3={"endpoint_url": "localhost:9000"})
    wrong(2, ["unknown key s3.buckett", "s3.bucket"], s3={"buckett": "x"})
    wrong(2, ["s3.part_size_bytes", "at least"], s3={"part_size_bytes": "1MiB"})
    wrong(2, ["metrics.textfile", "absolute path"], metrics={"textfile": "btrfs_to_s3.prom"})
    wrong(2, ["hooks.before", "no shell splits it"], hooks={"before": "systemctl stop db"})
    wrong(2, ["ordinary directory", "btrfs subvolume"], subvolumes={"paths": [str(w.snapshots)]})
    wrong(2, ["base_dir", "Btrfs"], snapshots={"base_dir": str(w.directory)})
    with btrfs.filesystem(w.directory / "second", "512M") as second:
        wrong(2, ["base_dir", "another filesystem"], snapshots={"base_dir": str(second.mount)})
    says(w.tool.run("backup", "--subvolume", "nobody"), "nobody", "data")
    assert w.tool.run("backup", "--no-such-flag").status == 2
    says(w.restore("--target", str(w.restored / "x"), expect=1), "no backup", "--subvolume")
    w.backup()
    says(w.restore("--target", str(w.data), expect=2), "exists already")
    says(w.restore("--target", "/proc/target", expect=2), "not on Btrfs")
    says(w.restore("--target", "/proc/no/parent", expect=2), "not on Btrfs")
    says(w.restore("--target", "relative", expect=2), "absolute")
    says(w.restore("--manifest-key", "nothing/here", "--target", str(w.restored / "x"), expect=1), "nothing/here")
    w.nothing_left_behind(subvolumes + ["snapshots/" + name for name in w.snapshot_names()])


@case
def one_run_at_a_time(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    slow = w.fake_btrfs('sleep 3; exec "$REAL" "$@"')
    first = w.tool.start("backup", environment=slow)
    lock = w.directory / "lock" / "lock"
    deadline = time.monotonic() + 10
    while not (lock.exists() and lock.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    says(w.backup(expect=3), f"lock already held by pid {first[0].pid}")
    outcome = w.tool.finish(first)
    assert outcome.status == 0, outcome
    # What a dead run left, its PID meanwhile another program's, blocks nothing.
    assert lock.exists()
    lock.write_text("1\n")
    w.backup()


@case
def a_missing_parent_leads_to_an_announced_full(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.tool.tables["snapshots"]["retain"] = 1

    def full_because(*words):
        outcome = w.backup()
        says(outcome, "kind=full", *words)
        assert w.manifest()["kind"] == "full"

    def snapshot():
        return w.snapshots / w.snapshot_names()[-1]

    full_because("first_backup")
    os.system(f"btrfs subvolume delete {snapshot()} > /dev/null")
    full_because("parent_missing", "UUID")
    # The same name over another subvolume.
    path = snapshot()
    os.system(f"btrfs subvolume delete {path} > /dev/null; btrfs subvolume snapshot -r {w.data} {path} > /dev/null")
    full_because("parent_changed", "is not the recorded one")
    # Flipped writable, changed and flipped back: the UUID is the same, the content is not.
    path = snapshot()
    os.system(f"btrfs property set -f {path} ro false; touch {path}/changed; btrfs property set {path} ro true")
    full_because("parent_changed", "ctransid")
    # A chunk lost from the bucket.
    w.bucket.delete(w.manifest()["chunks"][0]["key"])
    full_because("chunk_missing")
    outcome = w.backup()
    says(outcome, "kind=incremental")


@case
def a_full_that_is_asked_for_begins_a_new_chain(w):
    dataset.seed(w.data, large_mib=1, small_files=20)
    w.backup()
    first = w.pointer()["manifest_key"]
    w.backup(only_when_due=True)
    outcome = w.backup("--full", "--dry-run", only_when_due=True)
    assert "full_requested" in outcome.stdout and w.pointer()["manifest_key"] == first, outcome
    outcome = w.backup("--full", only_when_due=True)
    says(outcome, "kind=full", "full_requested")
    assert "WARNING" not in outcome.stderr, outcome
    full = w.pointer()
    assert full["kind"] == "full" and full["manifest_key"] != first and w.manifest()["parent_manifest"] is None, full
    dataset.mutate(w.data, 2, large_mib=1)
    w.backup()
    assert w.manifest()["parent_manifest"] == full["manifest_key"], w.manifest()
    outcome = w.restore("--target", str(w.restored / "data"))
    assert "(2 links" in outcome.stdout, outcome
    w.same(w.data, w.restored / "data")


@case
def dry_run_and_no_s3_change_nothing(w):
    dataset.seed(w.data, large_mib=8, small_files=20)
    subvolumes = w.filesystem.subvolumes()
    outcome = w.backup("--dry-run")
    assert "full" in outcome.stdout and "first_backup" in outcome.stdout, outcome
    outcome = w.backup("--no-s3")
    assert "nothing uploaded" in outcome.stdout, outcome
    assert w.bucket.list() == {} and w.filesystem.subvolumes() == subvolumes
    assert not (w.directory / "state" / "state.json").exists()
    w.backup()
    before = w.filesystem.subvolumes()
    outcome = w.restore("--target", str(w.restored / "data"), "--dry-run")
    assert "1 link" in outcome.stdout and w.filesystem.subvolumes() == before, outcome


@case
def a_snapshot_without_a_backup_is_reported_and_kept(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    full = w.snapshot_names()[0]
    orphan = "data__20200101T000000Z__full"
    os.system(f"btrfs subvolume snapshot -r {w.data} {w.snapshots / orphan} > /dev/null")
    says(w.backup(), "snapshot_without_backup", orphan)
    assert {full, orphan} < set(w.snapshot_names()), w.snapshot_names()
    w.backup()
    assert orphan in w.snapshot_names() and full not in w.snapshot_names(), w.snapshot_names()


@case
def two_subvolumes_fail_apart(w):
    other = w.filesystem.subvolume("other")
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.tool.tables["subvolumes"]["paths"] = [str(w.snapshots), str(other), str(w.data)]
    outcome = w.backup(expect=6)
    says(outcome, "subvolume_failed", "subvolume=snapshots")
    names = sorted(key.split("/")[3] for key in w.bucket.list() if key.endswith("current.json"))
    assert names == ["data", "other"], names


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", nargs="?", choices=sorted(CASES))
    parser.add_argument("--binary")
    parser.add_argument("--gateway")
    parser.add_argument("--store", choices=[name for name, (_, kind) in stores.STORES.items() if kind])
    parser.add_argument("--update", action="store_true", help="write the expected files anew, where the case has some")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(CASES))
        return 0
    if not (arguments.case and arguments.binary and bool(arguments.gateway) != bool(arguments.store)):
        parser.error("a case, --binary, and --gateway or --store")
    with contextlib.ExitStack() as stack:
        gateway = arguments.gateway or stack.enter_context(stores.started(arguments.store))
        w = stack.enter_context(world(arguments.binary, gateway))
        w.update, w.store = arguments.update, arguments.store or w.store
        CASES[arguments.case](w)
    print(f"{arguments.case.replace('_', ' ')}: seen")
    return 0


if __name__ == "__main__":
    sys.exit(main())
