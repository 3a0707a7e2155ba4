"""Cases of verify and prune: old generations go, what is kept is restored, a kill in the middle is finished by the next run."""
import json
import os
import signal

from world import MIB, case, dataset, says

from harness import proxy


def generation(w, backups):
    """A full and incrementals; the keys of their manifests."""
    for snapshot in w.snapshot_names():  # without its parent's snapshot, the next is a full
        assert os.system(f"btrfs subvolume delete {w.snapshots / snapshot} > /dev/null") == 0
    keys = []
    for _ in range(backups):
        dataset.mutate(w.data, len(w.bucket.list()) + 2)
        w.backup()
        keys.append(w.pointer()["manifest_key"])
    kinds = [w.bucket.get_json(key)["kind"] for key in keys]
    assert kinds == ["full"] + ["incremental"] * (backups - 1), kinds
    return keys


def objects_of(w, keys):
    found = set(keys)
    for key in keys:
        manifest = w.bucket.get_json(key)
        found.update((manifest["index"]["key"], *(chunk["key"] for chunk in manifest["chunks"])))
    return found


def run(w, *arguments, expect=0):
    return w.expect(expect, w.tool.run(*arguments))


def report(w, *arguments, expect=0):
    return json.loads(run(w, *arguments, "--json", expect=expect).stdout)["subvolumes"][0]


def status(w, expect=0):
    return json.loads(run(w, "status", "--json", expect=expect).stdout)["subvolumes"][0]


def flip(w, key, at):
    body = w.bucket.get(key)
    w.bucket.put(key, body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])


@case
def old_generations_are_pruned_and_the_kept_ones_restored(w):
    dataset.seed(w.data, large_mib=20, small_files=50)
    oldest, middle, newest = (generation(w, 2) for _ in range(3))
    kept = objects_of(w, middle + newest) | {w.root + "current.json"}
    before = set(w.bucket.list())
    assert "retention.keep_generations is 0" in run(w, "prune", "--yes").stdout
    w.tool.tables["retention"] = {"keep_generations": 2}
    unverified = run(w, "prune").stdout
    assert "run `btrfs_to_s3 verify" in unverified, unverified
    run(w, "prune", "--yes", expect=1)
    assert set(w.bucket.list()) == before
    verified = run(w, "verify").stdout
    assert "6 backups" in verified and "every object is there" in verified, verified
    assert "not compared" in verified and "requests" in verified, verified
    dry = run(w, "prune").stdout
    for word in ("current, full verified (quick on", "stays: retained", "goes: superseded", "would be deleted", "--yes does it"):
        assert word in dry, (word, dry)
    plan = report(w, "prune")
    assert {one["key"] for one in plan["removals"]} == objects_of(w, oldest), plan
    assert [one["reason"] for one in plan["generations"]] == ["current", "retained", "superseded"], plan
    assert set(w.bucket.list()) == before
    done = run(w, "prune", "--yes")
    says(done, "object_deleted")
    assert set(w.bucket.list()) == kept, set(w.bucket.list()) ^ kept
    assert "nothing to delete" in run(w, "prune", "--yes").stdout
    run(w, "verify")
    for number, key in enumerate(middle + newest):
        w.restore("--manifest-key", key, "--target", str(w.restored / str(number)))
    w.same(w.data, w.restored / "3")
    w.backup()  # and the chain goes on
    assert w.manifest()["kind"] == "incremental"


@case
def a_prune_that_is_killed_or_stopped_is_finished_by_the_next(w):
    dataset.seed(w.data, large_mib=20, small_files=50)
    w.tool.tables["retention"] = {"keep_generations": 1}
    endpoint = w.bucket.endpoint
    oldest, newest = generation(w, 3), generation(w, 2)
    kept = objects_of(w, newest) | {w.root + "current.json"}
    chunks = objects_of(w, oldest) - set(oldest)
    with proxy.proxy_to(endpoint) as between:
        w.tool.tables["s3"]["endpoint_url"] = between.endpoint
        run(w, "verify")
        # At the second manifest; with its answer lost at the next; stopped at the last; in the middle of the chunks.
        for end, rule in ((signal.SIGKILL, {"number": 2}), (signal.SIGKILL, {"number": 1, "when": "after"}),
                          (signal.SIGINT, {"number": 1}), (signal.SIGKILL, {"number": 2, "path": "/chunk-"})):
            held = between.hold(method="DELETE", **rule)
            running = w.tool.start("prune", "--yes")
            assert held.reached.wait(60), w.tool.finish(running)
            running[0].send_signal(end)
            if end == signal.SIGINT:
                stopped = w.tool.finish(running)
                assert stopped.status == 130 and "deleted: 0 objects" in stopped.stdout, stopped
                between.release()
            else:
                w.tool.finish(running)
                between.release()
            # What still has its manifest is whole, and so is its chain.
            run(w, "verify")
            assert kept <= set(w.bucket.list())
        left = set(w.bucket.list())
        assert not left & set(oldest), "manifests go before chunks"
        done = report(w, "prune", "--yes")
    # The rest of the chunks is named by no manifest, and goes when it is a week old.
    assert left - kept <= chunks and left - kept, left
    assert done["orphans_kept"] == len(left - kept) and not done["removals"], done
    assert set(w.bucket.list()) == left
    w.tool.tables["s3"]["endpoint_url"] = endpoint
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")


@case
def verify_finds_what_is_missing_cut_or_flipped(w):
    dataset.seed(w.data, large_mib=30, small_files=50)
    collected = w.directory / "collector"
    collected.mkdir()
    w.tool.tables["metrics"] = {"textfile": str(collected / "backup.prom")}
    chain = generation(w, 3)
    assert status(w)["verified"] is None and [one.name for one in collected.iterdir()] == ["backup.prom"]
    deep = run(w, "verify", "--deep")
    assert "every digest and stream is right" in deep.stdout, deep
    assert status(w)["verified"]["kind"] == "deep", status(w)
    assert 'verify_found_damage{subvolume="data"} 0\n' in (collected / "backup_verify.prom").read_text()
    for key in chain:
        chunk = w.bucket.get_json(key)["chunks"][-1]
        flip(w, chunk["key"], chunk["size"] // 2)
        run(w, "verify", "--manifest-key", chain[-1], "--subvolume", "data", expect=0 if key == chain[0] else 4)
        found = run(w, "verify", "--deep", expect=4).stdout
        assert key + ": damaged" in found and chunk["key"] in found and "part" in found, found
        kept = chain.index(key)
        assert f"can still be restored: {kept} of 3 backups" in found, found
        critical = status(w, expect=2)
        assert [one["manifest_key"] for one in critical["verified"]["damaged"]] == [key], critical
        assert "the last backup rests on a damaged one" in critical["problems"][0], critical
        w.backup(only_when_due=True)  # which is not due, and writes its metrics
        assert 'verify_found_damage{subvolume="data"} 1\n' in (collected / "backup_verify.prom").read_text()
        flip(w, chunk["key"], chunk["size"] // 2)
    run(w, "verify", "--deep")
    assert status(w)["status"] == "ok", status(w)
    # Samples find it in the course of some runs.
    victim = w.bucket.get_json(chain[0])["chunks"][1]
    flip(w, victim["key"], victim["size"] - 1)
    runs = 0
    while True:
        runs += 1
        sampled = w.tool.run("verify", "--sample", "3")
        if sampled.status == 4:
            break
        assert sampled.status == 0 and runs < 20, sampled
    assert runs > 1 and victim["key"] in sampled.stdout, (runs, sampled)
    flip(w, victim["key"], victim["size"] - 1)
    run(w, "verify", "--deep")
    body = w.bucket.get(victim["key"])
    w.bucket.put(victim["key"], body[:-1])
    says_cut = run(w, "verify", "--quick", expect=4).stdout
    assert f"has {len(body) - 1} bytes instead of {len(body)}" in says_cut, says_cut
    w.bucket.delete(victim["key"])
    damage = report(w, "verify", expect=4)
    assert damage["backups"][0]["findings"] == [{"key": victim["key"], "problem": "missing", "damage": True}], damage
    assert [one["restorable"] for one in damage["backups"]] == [False] * 3, damage
    w.bucket.put(victim["key"], body)
    run(w, "verify")
    promise = 3 * 5 * MIB + 64 * MIB + 2 * 5 * MIB  # four parts in flight and one
    assert deep.peak_rss_bytes <= promise, deep.peak_rss_bytes
