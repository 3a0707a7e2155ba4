"""Cases of restores: what a chain in the bucket becomes on a disk, and how it is told."""
import datetime
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

from restoring import Bare, Gathered, as_the_earlier_tool_wrote, chain_of, fake_receive, flip, killer, time_of
from world import MIB, btrfs, case, dataset, says, terminal


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
