"""The contract of the earlier tool's own harness: its configuration, flags and variables, with nothing made beforehand."""
import json
import os
import signal
import time

from world import MIB, case, dataset, says


def as_that_harness_writes_it(w, chunk_mib, spool_bytes=None):
    """Its tables: no part size, and directories that nobody has made. Its run directory."""
    run = w.directory / "run"
    run.mkdir(exist_ok=True)
    if w.snapshots.is_dir():
        w.snapshots.rmdir()
    w.tool.tables = {
        "global": {"log_level": "INFO", "state_path": f"{run}/state.json",
                   "lock_path": f"{run}/lock/btrfs_to_s3.lock", "spool_dir": f"{run}/scratch",
                   "spool_size_bytes": spool_bytes or max(2 * chunk_mib, 64) * MIB},
        "schedule": {"full_every_days": 1, "incremental_every_days": 1, "run_at": "2:00"},
        "snapshots": {"base_dir": str(w.snapshots), "retain": 2},
        "subvolumes": {"paths": [str(w.data)]},
        "s3": {"bucket": w.bucket.name, "region": "us-east-1", "prefix": "hosts/test/",
               "chunk_size_bytes": chunk_mib * MIB, "storage_class_chunks": "STANDARD",
               "storage_class_manifest": "STANDARD", "concurrency": 4, "spool_enabled": spool_bytes is not None,
               "sse": "AES256"},
        "restore": {"target_base_dir": str(w.mount / "restore"), "verify_mode": "full", "sample_max_files": 100,
                    "wait_for_restore": True, "restore_timeout_seconds": 3600, "restore_tier": "Standard"},
    }
    w.tool.environment.update(AWS_ENDPOINT_URL=w.bucket.endpoint, BTRFS_TO_S3_HARNESS_RUN_DIR=str(run),
                              BTRFS_TO_S3_BACKUP_TYPE="full")
    return run


def chunks_of(w, run, kind):
    """What the run told its harness is what the manifest in the bucket says."""
    told, manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8")), w.manifest()
    assert told["backup_type"] == manifest["kind"] == kind, told
    assert [(one["index"], one["key"], one["sha256"]) for one in told["chunks"]] == [
        (index, one["key"], one["sha256"]) for index, one in enumerate(manifest["chunks"])], told
    return manifest["chunks"]


@case
def the_contract_of_the_earlier_tools_harness_holds(w):
    dataset.seed(w.data, large_mib=24, small_files=20)
    run = as_that_harness_writes_it(w, chunk_mib=10)
    one = ("--subvolume", "data")
    w.expect(0, w.tool.run("backup", "--dry-run", *one))
    assert not w.snapshots.exists(), "a dry run has made a directory"
    says(w.expect(0, w.tool.run("backup", "--no-s3", *one)), "directory_made", "key=snapshots.base_dir")
    assert not w.bucket.list(), w.bucket.list()
    says(w.expect(0, w.tool.run("backup", *one)), "kind=full")
    assert len(chunks_of(w, run, "full")) >= 3
    dataset.mutate(w.data)
    w.expect(0, w.tool.run("backup", "--once", *one))
    chunks_of(w, run, "incremental")
    key = w.pointer()["manifest_key"]
    for name, more in (("sample", ("--verify", "sample")), ("key", ("--manifest-key", key, "--restore-timeout", "600")),
                       ("none", ("--verify", "none", "--wait-restore")), ("full", ("--no-wait-restore",))):
        target = w.mount / "restore" / f"data__{name}"
        w.restore("--target", str(target), *more)
        w.same(w.data, target)


@case
def the_contract_of_the_earlier_tools_harness_holds_with_a_spool(w):
    dataset.seed(w.data, large_mib=80, small_files=20)
    run = as_that_harness_writes_it(w, chunk_mib=64, spool_bytes=128 * MIB)
    says(w.backup("--subvolume", "data"), "directory_made", "key=global.spool_dir", "key=snapshots.base_dir")
    assert len(chunks_of(w, run, "full")) == 2
    assert list((run / "scratch").iterdir()) == []
    # Interrupted and run again, as it does; the lock is told by the words that it looks for.
    dataset.mutate(w.data)
    slow = {"BTRFS_TO_S3_S3_MAX_BANDWIDTH_BYTES_PER_SEC": "1MB"}
    begun = w.tool.start("backup", "--once", environment=slow)
    lock = run / "lock/btrfs_to_s3.lock"
    deadline = time.monotonic() + 60
    while not lock.exists() or lock.read_text(encoding="ascii").strip() != str(begun[0].pid):
        assert begun[0].poll() is None and time.monotonic() < deadline, w.tool.finish(begun)
        time.sleep(0.02)
    says(w.expect(3, w.tool.run("backup", "--once")), "lock already held by pid " + str(begun[0].pid))
    os.kill(begun[0].pid, signal.SIGINT)
    w.expect(130, w.tool.finish(begun))
    w.backup()
    chunks_of(w, run, "incremental")
    target = w.mount / "restore" / "again"
    w.restore("--target", str(target))
    w.same(w.data, target)
