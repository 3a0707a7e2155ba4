"""Cases of what a backup takes of the machine and the store: memory, the spool's disk, threads, parts at once."""
import contextlib
import json
import os

from recovery import behind_proxy, random_file, recovered
from world import MIB, case, dataset, says


@case
def subvolumes_in_parallel_share_memory_and_fail_apart(w):
    names = ["data", *(f"more{index}" for index in range(4))]
    for name in names[1:]:
        w.filesystem.subvolume(name)
    for name in names:
        random_file(w.mount / name / "random", 96 * MIB)
    w.tool.tables["subvolumes"]["paths"] = [str(w.snapshots), *(str(w.mount / name) for name in names)]
    w.tool.tables["global"]["parallel_subvolumes"] = 4
    w.tool.tables["s3"].update(part_size_bytes="32MiB", chunk_size_bytes="200GiB", concurrency=3)
    promise = 4 * 32 * MIB + 64 * MIB
    with behind_proxy(w) as between:
        outcome = w.backup(expect=6)
        began = [(index, path.split("/subvol/")[1].split("/")[0])
                 for index, (method, path, query, _) in enumerate(between.requests) if "partNumber" in query]
        first = {name: min(index for index, of in began if of == name) for name in names}
        last = {name: max(index for index, of in began if of == name) for name in names}
        order = sorted(names, key=first.get)
        assert first[order[1]] < last[order[0]], "one began only when the other had ended"
    says(outcome, "subvolume=snapshots")
    print(f"peak RSS {outcome.peak_rss_bytes / MIB:.0f} MiB of {promise / MIB:.0f}")
    assert outcome.peak_rss_bytes <= promise
    state = json.loads((w.directory / "state" / "state.json").read_text())["subvolumes"]
    assert sorted(state) == sorted(names)
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    for name in names:
        target = str(w.restored / name)
        w.expect(0, w.tool.run("restore", "--subvolume", name, "--target", target))
        w.same(w.mount / name, target)


@case
def a_spool_bounds_memory_and_leaves_nothing(w):
    random_file(w.data / "random", 600 * MIB)
    spool = w.directory / "spool"
    w.tool.tables["s3"].update(part_size_bytes="128MiB", chunk_size_bytes="300MiB", concurrency=2, spool_enabled=True)
    missing = w.directory / "not-mounted/spool"
    w.tool.tables["global"].update(spool_dir=str(missing), spool_size_bytes="512MiB")
    says(w.backup(expect=2), "global.spool_dir", str(missing))
    w.tool.tables["global"].update(spool_dir=str(spool), spool_size_bytes="64MiB")
    says(w.backup(expect=2), "global.spool_size_bytes", "at least")
    w.tool.tables["global"]["spool_size_bytes"] = "512MiB"
    assert w.bucket.list() == {} and w.snapshot_names() == []
    with behind_proxy(w) as between:
        w.kill_at(between, method="PUT", query="partNumber=2&", number=2)
        assert list(spool.iterdir()) == []
        outcome = w.backup(only_when_due=True)
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    says(outcome, "action=resume")
    assert list(spool.iterdir()) == []
    w.tool.tables["s3"]["concurrency"] = 1  # of the restore, which has no spool
    recovered(w, ["full"])
    print(f"peak RSS {outcome.peak_rss_bytes / MIB:.0f} MiB of 160")
    assert outcome.peak_rss_bytes <= 160 * MIB


@case
def a_full_spool_disk_fails_clearly(w):
    random_file(w.data / "random", 200 * MIB)
    w.tool.tables["s3"].update(part_size_bytes="32MiB", chunk_size_bytes="200GiB", spool_enabled=True)
    image, mount = w.directory / "small.img", w.directory / "small"
    mount.mkdir()
    os.truncate(os.open(image, os.O_CREAT | os.O_WRONLY, 0o600), 100 * MIB)
    assert os.system(f"mkfs.ext4 -q {image} && mount -o loop {image} {mount}") == 0
    try:
        w.tool.tables["global"].update(spool_dir=str(mount), spool_size_bytes="10GiB")
        # Fuller than its budget says: the spool takes what there is.
        says(w.backup(), "kind=full", "spool")
        free = os.statvfs(mount)
        random_file(mount / "filling", free.f_bavail * free.f_frsize - 20 * MIB)
        says(w.backup(expect=2), "global.spool_dir", str(mount))
    finally:
        os.system(f"umount {mount}")
    w.tool.tables["s3"]["spool_enabled"] = False
    recovered(w, ["full"], indexed=False)  # for which that disk had no room, either


@case
def a_memory_limit_is_kept_by_backup_and_restore(w):
    random_file(w.data / "random", 300 * MIB)
    w.tool.tables["s3"].update(part_size_bytes="32MiB", chunk_size_bytes="200GiB", concurrency=8)
    w.tool.tables["global"]["memory_limit_bytes"] = "160MiB"
    backup = w.backup()
    says(backup, "memory_limits_concurrency", "parts_in_flight=2")
    restore = w.restore("--target", str(w.restored / "data"))
    for name, outcome in (("backup", backup), ("restore", restore)):
        print(f"{name}: peak RSS {outcome.peak_rss_bytes / MIB:.0f} MiB of 160")
        assert outcome.peak_rss_bytes <= 160 * MIB, name
    w.same(w.data, w.restored / "data")


@case
def a_run_is_reported_in_figures(w):
    random_file(w.data / "random", 20 * MIB)
    outcome = w.backup("--log-format", "json")
    events = [json.loads(line) for line in outcome.stderr.splitlines()]
    last = [event for event in events if event.get("event") == "run_finished"]
    assert len(last) == 1, outcome
    assert int(last[0]["bytes"]) == w.manifest()["total_bytes"] and int(last[0]["backups"]) == 1
    assert int(last[0]["parts"]) == sum(len(chunk["part_crc32"]) for chunk in w.manifest()["chunks"])
    assert float(last[0]["cpu_seconds"]) > 0 and 5 * MIB < int(last[0]["peak_rss_bytes"]) < 200 * MIB


@case
def a_store_that_asks_to_slow_down_gets_fewer_parts_at_once(w):
    random_file(w.data / "random", 60 * MIB)
    w.tool.tables["s3"].update(chunk_size_bytes="200GiB", concurrency=4)
    with behind_proxy(w) as between:
        between.hold(method="PUT", query="partNumber=", when="refuse", number=6)
        outcome = w.backup()
        says(outcome, "concurrency_lowered", "parts_in_flight=2", "SlowDown")
        parts = [query for method, _, query, _ in between.requests if method == "PUT" and "partNumber" in query]
        assert len(parts) == len(w.manifest()["chunks"][0]["part_crc32"]) + 6, len(parts)
        recovered(w, ["full"])


@contextlib.contextmanager
def no_threads(w):
    """No thread can be started: each would get a stack as large as the address space."""
    program = w.tool.binary
    wrapper = w.directory / "no-threads"
    wrapper.write_text(f'#!/bin/bash\nulimit -c 0\nulimit -s $((1 << 37))\nexec {program} "$@"\n', encoding="ascii")
    wrapper.chmod(0o755)
    w.tool.binary = str(wrapper)
    try:
        yield
    finally:
        w.tool.binary = program


@case
def a_thread_that_cannot_be_started_fails_clearly(w):
    dataset.seed(w.data, large_mib=8, small_files=20)
    with no_threads(w):
        outcome = w.backup(expect=1)
        says(outcome, "starting a thread: Resource temporarily unavailable", "TasksMax= of the unit")
    w.nothing_left_behind(["data"])
    w.backup()
    with no_threads(w):
        for arguments in (("restore", "--subvolume", "data", "--current", "--target", str(w.restored / "target")),
                          ("verify", "--deep")):
            outcome = w.expect(1, w.tool.run(*arguments))
            assert "every digest and stream is right" not in outcome.stdout, outcome
            says(outcome, "starting a thread: Resource temporarily unavailable", "TasksMax= of the unit")
    assert not (w.restored / "target").exists()
    w.restore("--current", "--target", str(w.restored / "target"))
