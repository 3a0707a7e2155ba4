"""Cases of what is said: exit status 0 means that it could be read, and that something was looked at."""
import json
import os
import re
import subprocess

from world import case, dataset, proxy


def into(w, path, *arguments, environment=None):
    """Exit status and stderr of a command whose output goes into that file; None: it is closed."""
    with open(path or os.devnull, "wb") as output:
        done = subprocess.run(w.tool.command(arguments), stdout=output, stderr=subprocess.PIPE, text=True, check=False,
                              env={**w.tool.environment, **(environment or {})},
                              preexec_fn=None if path else lambda: os.close(1))
    return done.returncode, done.stderr


def empty_bucket(w, keep=()):
    for key in w.bucket.list():
        if key not in keep:
            w.bucket.delete(key)


class NoManifests:
    """Plays a store whose policy lets chunks in and no manifest."""

    def answer(self, method, path, _query, _body):
        if method == "PUT" and "/manifest-" in path:
            return 403, {}, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        return None

    def headers(self, _method, _path):
        return {}


@case
def output_that_cannot_be_written_is_no_success(w):
    dataset.seed(w.data, large_mib=6, small_files=10)
    w.backup()
    w.expect(0, w.tool.run("verify"))
    target = str(w.restored / "dry")
    for arguments in (("list",), ("list", "--json"), ("verify",), ("verify", "--json"), ("plan",), ("prune",),
                      ("doctor",), ("backup", "--json"), ("backup", "--dry-run"), ("thaw", "--subvolume", "data"),
                      ("restore", "--subvolume", "data", "--target", target, "--dry-run"),
                      ("restore", "--subvolume", "data", "--target", target, "--dry-run", "--json")):
        status, error = into(w, "/dev/full", *arguments)
        assert status == 1 and "writing to standard output" in error, (arguments, status, error)
        assert "No space left on device" in error, error
        status, error = into(w, None, *arguments)
        assert status == 1, (arguments, status, error)
    # More than the buffer holds, so that it is refused in the middle.
    status, error = into(w, "/dev/full", "cat", "large.bin")
    assert status == 1 and "No space left on device" in error, error
    assert into(w, "/dev/full", "status")[0] == 3 and into(w, None, "status", "--json")[0] == 3
    for word in ("--help", "--version"):
        done = subprocess.run([w.tool.binary, word], stdout=open("/dev/full", "wb"), check=False)
        assert done.returncode == 1, done
    # Another failure stays what it was; nothing printed needs no output.
    assert into(w, "/dev/full", "restore", "--subvolume", "nobody", "--target", target)[0] == 1
    # A reader that goes away is told nothing.
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(w.tool.command(("list",)), stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
                          env=w.tool.environment)
    os.close(writing)
    assert done.returncode == 1 and "standard output" not in done.stderr, done


@case
def a_run_that_publishes_nothing_counts_no_backup(w):
    dataset.seed(w.data, large_mib=6, small_files=10)
    collected = w.directory / "collector"
    collected.mkdir()
    told = w.directory / "told"
    w.tool.tables["metrics"] = {"textfile": str(collected / "backup.prom")}
    w.tool.tables["hooks"] = {"on_failure": ["/bin/sh", "-c", f'echo "$BTRFS_TO_S3_HOOK_BACKUPS" > {told}']}
    w.tool.tables["s3"]["retry_for"] = "1s"
    with proxy.proxy_to(w.bucket.endpoint) as between:
        endpoint, w.tool.tables["s3"]["endpoint_url"] = w.tool.tables["s3"]["endpoint_url"], between.endpoint
        between.player = NoManifests()
        failed = w.expect(1, w.tool.run("backup", "--once", "--json"))
        w.tool.tables["s3"]["endpoint_url"] = endpoint
    report = json.loads(failed.stdout)
    assert report["totals"]["backup_count"] == 0 and report["totals"]["bytes"] == 0, report
    assert report["totals"]["sent_bytes"] > 6 << 20, report
    assert re.search(r"event=run_finished backups=0 ", failed.stderr), failed
    assert "btrfs_to_s3_run_backups 0\n" in (collected / "backup.prom").read_text()
    assert told.read_text() == "0\n", told.read_text()


@case
def verify_misses_what_was_there(w):
    dataset.seed(w.data, large_mib=6, small_files=10)
    nothing = w.expect(1, w.tool.run("verify"))
    assert "nothing was verified" in nothing.stdout, nothing
    keys = []
    for number in (2, 3, 4):
        dataset.mutate(w.data, number)
        w.backup()
        keys.append(w.pointer()["manifest_key"])
    # The state alone: the newest gone, and the pointer moved back.
    kept = {key: w.bucket.get(key) for key in w.bucket.list()}
    newest = {keys[2], *(chunk["key"] for chunk in w.manifest()["chunks"])}
    for key in newest:
        w.bucket.delete(key)
    w.bucket.put(w.root + "current.json", json.dumps({**w.pointer(), "manifest_key": keys[1]}).encode())
    for depth in ((), ("--sample", "2"), ("--deep",)):
        missed = w.expect(4, w.tool.run("verify", *depth))
        assert f"lost: {keys[2]}: it is gone" in missed.stdout, missed
    assert "is gone" in w.tool.run("status").stdout
    for key, body in kept.items():
        w.bucket.put(key, body)
    w.expect(0, w.tool.run("verify", "--deep"))
    before = json.loads((w.directory / "state" / "state.verified.json").read_text())["subvolumes"]["data"]["runs"]
    # All of it, which the record knows, without the state as well.
    (w.directory / "state" / "state.json").unlink()
    empty_bucket(w)
    for depth in ((), ("--sample", "2"), ("--deep",)):
        missed = w.expect(4, w.tool.run("verify", *depth))
        assert missed.stdout.count("it is gone") == 3, missed
    after = json.loads((w.directory / "state" / "state.verified.json").read_text())["subvolumes"]["data"]["runs"]
    assert after == before, (before, after)
    w.expect(1, w.tool.run("verify", "--forget-missing"))
    w.backup()
    w.expect(0, w.tool.run("verify"))


@case
def prune_leaves_nothing_to_miss_and_no_snapshot(w):
    dataset.seed(w.data, large_mib=6, small_files=10)
    w.tool.tables["retention"] = {"keep_generations": 1}
    w.tool.tables["snapshots"]["retain"] = 2
    w.backup()
    dataset.mutate(w.data, 2)
    w.backup("--full")
    first = w.snapshot_names()[0]
    w.expect(0, w.tool.run("verify"))
    assert "goes: superseded" in w.expect(0, w.tool.run("prune", "--yes")).stdout
    w.expect(0, w.tool.run("verify"))
    w.expect(0, w.tool.run("status"))
    again = w.backup(only_when_due=True)
    assert "snapshot_without_backup" not in again.stderr, again
    assert first in w.snapshot_names()  # one of the newest two
    dataset.mutate(w.data, 3)
    after = w.backup()
    assert "snapshot_without_backup" not in after.stderr, after
    assert first not in w.snapshot_names() and len(w.snapshot_names()) == 2, w.snapshot_names()


@case
def a_date_in_the_bucket_does_not_silence_the_schedule(w):
    dataset.seed(w.data, large_mib=6, small_files=10)
    w.backup()
    key = w.pointer()["manifest_key"]
    stamp = re.search(r"manifest-(\d{8}T\d{6}Z)", key)[1]
    later = f"2098{stamp[4:]}"
    manifest = w.manifest()
    manifest["snapshot"]["name"] = manifest["snapshot"]["name"].replace(stamp, later)
    manifest["created_at"] = "2098" + manifest["created_at"][4:]
    w.bucket.put(key, json.dumps(manifest).encode())
    silenced = w.backup("--dry-run", only_when_due=True)
    assert "by its manifest" in silenced.stdout and "the earliest counts" in silenced.stdout, silenced
    assert "dated later than now" not in silenced.stdout and later[:4] + "-" not in silenced.stdout.split("warning")[0]
    report = json.loads(w.expect(1, w.tool.run("status", "--json")).stdout)["subvolumes"][0]
    assert report["last_backup_at"][:4] == stamp[:4] and "by its manifest" in " ".join(report["problems"]), report
    # Under a new key, and with the pointer moved to it, it is this host's snapshot that tells.
    moved = key.replace(stamp, later)
    w.bucket.put(moved, json.dumps(manifest).encode())
    w.bucket.put(w.root + "current.json", json.dumps({**w.pointer(), "manifest_key": moved}).encode())
    report = json.loads(w.tool.run("status", "--json").stdout)["subvolumes"][0]
    assert report["last_backup_at"][:4] == stamp[:4], report
    assert "by its snapshot here" in " ".join(report["problems"]), report


@case
def at_takes_what_list_prints(w):
    dataset.seed(w.data, large_mib=6, small_files=10)
    for number in (2, 3, 4):
        dataset.mutate(w.data, number)
        w.backup()
    listed = [line.split()[:2] for line in w.expect(0, w.tool.run("list")).stdout.splitlines()
              if re.match(r"\s+\d{4}-\d\d-\d\d ", line)]
    backups = json.loads(w.expect(0, w.tool.run("list", "--json")).stdout)["subvolumes"][0]["generations"][0]["backups"]
    assert len(listed) == 3 and len({" ".join(one) for one in listed}) == 3, listed
    for printed, backup in zip(listed, backups, strict=True):
        found = w.restore("--at", " ".join(printed), "--target", str(w.restored / "dry"), "--dry-run", "--json")
        assert json.loads(found.stdout)["chain"][-1]["manifest_key"] == backup["manifest_key"], (printed, found)
    newest, day = backups[-1]["manifest_key"], listed[-1][0]
    minute = " ".join(listed[-1])[:16]
    for at in (day, minute):
        done = w.restore("--at", at, "--target", str(w.restored / at.replace(" ", "_")))
        assert newest in done.stderr and done.stdout.startswith("data: restoring the backup of "), done
