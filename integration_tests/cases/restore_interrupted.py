"""Cases of restores that end too early, at any step, and of what the next one makes of that."""
import json
import os
import signal
import time

from restoring import chain_of, fake_receive, killed_in_receive, killer, received, stopped_in_receive
from world import case, says


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
