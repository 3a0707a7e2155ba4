"""Cases of all subvolumes restored in one run, and of restores that are finished already."""
import json
import os
import signal
import time

from restoring import Bare, btrfs_uuid, chain_of, killer, two_subvolumes
from world import btrfs, case, dataset, says

from harness import archive


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
