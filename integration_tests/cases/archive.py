"""Cases of archived objects: requested at once, waited for, continued by a rerun, thawed again when they expire."""
import fcntl
import json
import re
import struct

from world import case, dataset, says

from harness import archive


def archived_chain(w):
    """A full and an incremental; the chunks' paths."""
    dataset.seed(w.data, large_mib=24, small_files=20)
    w.backup()
    dataset.mutate(w.data, 2)
    w.backup()
    chunks = [key for key in w.bucket.list() if "/chunk-" in key]
    assert len(chunks) > 2, chunks
    return chunks


@case
def archived_chains_are_requested_at_once_and_a_rerun_goes_on(w):
    chunks = archived_chain(w)
    target = str(w.restored / "data")
    # HEADs: a rerun's, and a poll's.
    with archive.archive_before(w.bucket.endpoint, "/chunk-", polls=3) as (glacier, endpoint):
        w.tool.tables["s3"]["endpoint_url"] = endpoint
        w.tool.tables["thaw"] = {"tier": "Bulk", "days": 9}
        plan = w.restore("--target", target, "--dry-run", "--tier", "Standard").stdout
        assert "Standard, typically in 3 hours to 5 hours" in plan, plan
        plan = w.restore("--target", target, "--dry-run").stdout
        assert f"GLACIER: {len(chunks)} objects" in plan and "Bulk, typically in 5 hours to 12 hours" in plan, plan
        thaw = json.loads(w.restore("--target", target, "--dry-run", "--json").stdout)["thaw"]
        assert (thaw["objects"], thaw["tier"], thaw["days"]) == (len(chunks), "Bulk", 9), thaw
        shown = w.expect(5, w.tool.run("thaw", "--subvolume", "data", "--dry-run")).stdout
        assert "thawed typically within 12 hours, then downloaded in" in shown and "money     not known" in shown, shown
        asked = json.loads(w.expect(5, w.tool.run("thaw", "--subvolume", "data", "--dry-run", "--json",
                                                  "--download-rate", "50MB")).stdout)
        assert (asked["dry_run"], asked["ready"], asked["objects"]) == (True, False, len(chunks)), asked
        assert asked["thaw"]["objects"] == len(chunks) and asked["time"]["rate"] == "stated", asked
        assert not glacier.posted
        missed = w.restore("--target", target, "--no-wait-thaw", expect=5)
        says(missed, f"{len(chunks)} objects of {len(chunks)}", "run the same command again later")
        assert len(glacier.posted) == len(set(glacier.posted)) == len(chunks), glacier.posted
        assert all("<Days>9</Days>" in body and "<Tier>Bulk</Tier>" in body for body in glacier.bodies), glacier.bodies
        assert not list(w.restored.iterdir()), "something was left where nothing was received"
        missing = json.loads(w.expect(5, w.tool.run("thaw", "--subvolume", "data", "--json")).stdout)
        assert not missing["ready"] and f"{len(chunks)} objects of {len(chunks)}" in missing["missing"], missing
        says(w.restore("--target", target, "--thaw-timeout", "2"), "thaw_poll", "waited_seconds=2")
        assert len(glacier.posted) == len(chunks) and glacier.refused == 0
        assert json.loads(w.expect(0, w.tool.run("thaw", "--subvolume", "data", "--json")).stdout)["ready"]
        says_ready = w.expect(0, w.tool.run("thaw", "--subvolume", "data")).stdout
        assert "can be read" in says_ready, says_ready
    w.same(w.data, w.restored / "data")
    w.nothing_left_behind(["data", "restored/data", *("snapshots/" + name for name in w.snapshot_names())])


@case
def copies_that_expire_while_they_are_read_are_thawed_again(w):
    chunks = archived_chain(w)
    with archive.archive_before(w.bucket.endpoint, "/chunk-", polls=1) as (glacier, endpoint):
        w.tool.tables["s3"]["endpoint_url"] = endpoint
        glacier.expire_at_get = 4  # in the second chunk of three parts at most
        outcome = w.restore("--target", str(w.restored / "data"), "--thaw-timeout", "1")
        says(outcome, "thawing_again")
        assert glacier.refused > 0
        assert len(chunks) < len(glacier.posted) <= 2 * len(chunks), glacier.posted
    w.same(w.data, w.restored / "data")


@case
def restoring_all_requests_every_chain_before_waiting_for_one(w):
    dataset.seed(w.data, large_mib=4, small_files=20)
    home = w.filesystem.subvolume("home")
    dataset.seed(home, large_mib=4, small_files=20)
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(home)]
    w.backup()
    chunks = [key for key in w.bucket.list() if "/chunk-" in key]
    with archive.archive_before(w.bucket.endpoint, "/chunk-", polls=2) as (glacier, endpoint):
        w.tool.tables["s3"]["endpoint_url"] = endpoint
        everything = ("--all", "--target-base", str(w.restored))
        w.expect(5, w.tool.run("thaw", "--all", "--dry-run"))
        w.expect(0, w.tool.run("restore", *everything, "--dry-run"))
        assert not glacier.posted, glacier.posted
        rate = ("--download-rate", "10")  # bytes a second: five days for each
        plans = w.expect(0, w.tool.run("restore", *everything, "--dry-run", "--json", *rate)).stdout.splitlines()
        planned = {plan["subvolume"]: plan["thaw"]["days"] for plan in map(json.loads, plans) if "subvolume" in plan}
        w.expect(0, w.tool.run("restore", *everything, "--thaw-timeout", "3", *rate))
        assert glacier.posted_before_reading == len(glacier.posted) == len(chunks), vars(glacier)
        # The copies of the second chain outlive the download of the first.
        days = {name: {int(re.search("<Days>(.*)</Days>", body)[1]) for path, body in zip(glacier.posted, glacier.bodies)
                       if f"/{name}/" in path} for name in ("data", "home")}
        assert days == {name: {number} for name, number in planned.items()}, (days, planned)
        assert planned["data"] < planned["home"], planned
        w.expect(0, w.tool.run("thaw", "--all"))
    w.same(w.data, w.restored / "data")
    w.same(home, w.restored / "home")


@case
def a_thaw_waits_for_the_run_lock(w):
    archived_chain(w)
    path = w.directory / "lock" / "lock"
    with open(path, "r+b") as lock:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
        says(w.expect(3, w.tool.run("thaw", "--subvolume", "data")), "lock already held")
        w.expect(0, w.tool.run("thaw", "--subvolume", "data", "--dry-run"))
    w.expect(0, w.tool.run("thaw", "--subvolume", "data"))
