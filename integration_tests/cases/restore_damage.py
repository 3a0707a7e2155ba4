"""Cases of restores that cannot be right: damaged chunks, broken chains, streams that a receiver refuses."""
import json
import os
import pathlib
import re
import stat

from restoring import Bare, Gathered, as_the_earlier_tool_wrote, chain_of, fake_receive, flip
from world import MIB, case, compare, dataset, says


@case
def a_refusal_by_receive_is_remembered_and_the_next_backup_is_a_full(w):
    """An incremental that names a file that is not there, as some kernels send them: the bytes are the right ones."""
    dataset.seed(w.data, large_mib=4, small_files=50)
    (w.data / "before").mkdir()
    w.backup()
    full = w.pointer()["manifest_key"]
    os.rename(w.data / "before", w.data / "behind")
    w.backup()
    incremental = w.pointer()["manifest_key"]
    # The second receiver takes the whole stream and says what btrfs-progs say of such a command.
    refusing = fake_receive(w, 'echo >> $PLACE/calls; if [[ $(wc -l < $PLACE/calls) == 1 ]]; then exec "$REAL" "$@"; fi\n'
                               'cat > /dev/null; echo "ERROR: rename before -> behind failed: No such file or directory" >&2; '
                               "exit 1")
    outcome = w.restore("--target", str(w.restored / "data"), expect=1, environment=refusing)
    says(outcome, f"refused {incremental}", "(rename before -> behind) at byte", "backup --full", f"--manifest-key {full}")
    assert re.search(r"command \d+ \(rename", outcome.stderr), outcome
    status = w.tool.run("status", "--json")
    assert status.status != 0 and json.loads(status.stdout)["subvolumes"][0]["status"] == "critical", status
    # What only reads refutes nothing.
    w.tool.run("verify", "--deep")
    assert json.loads(w.tool.run("status", "--json").stdout)["subvolumes"][0]["status"] == "critical"
    says(w.backup(only_when_due=True), "reason=receive_refused", "kind=full")
    assert json.loads(w.tool.run("status", "--json").stdout)["subvolumes"][0]["status"] != "critical"
    w.restore("--target", str(w.restored / "data"), "--discard")
    w.same(w.data, w.restored / "data")


def deep_path(top, length):
    """Makes a file whose path below `top` has that many bytes, each step relative to the one before; its content."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    left = length
    while left > 255:
        # Never a rest of one byte, for which there would be no name behind the slash.
        name = "d" * min(200, left - 2)
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd, left = below, left - len(name) - 1
    content = os.urandom(5000)
    file = os.open("f" * left, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd)
    os.write(file, content)
    os.close(file)
    os.close(fd)
    return content


def deep_content(top):
    """What the only file below `top` holds, however long its path is."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    while True:
        (name,) = [entry for entry in os.listdir(fd) if entry != "plain"]
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            break
    with open(fd, "rb") as file:
        return file.read()


@case
def a_path_that_has_hardly_room_is_told_by_backup_and_restored_at_the_shortest_place(w):
    (w.data / "plain").write_text("beside it", encoding="ascii")
    content = deep_path(w.data, 3900)
    kept = w.backup()
    assert "cannot_be_received" not in kept.stderr, kept
    w.restore("--target", str(w.restored / "kept"))
    assert deep_content(w.restored / "kept") == content
    assert (w.restored / "kept/plain").read_text(encoding="ascii") == "beside it"


@case
def a_path_that_cannot_be_received_is_named_by_backup_and_by_restore(w):
    (w.data / "plain").write_text("beside it", encoding="ascii")
    content = deep_path(w.data, 4090)
    told = w.backup()
    says(told, "cannot_be_received")
    report = json.loads(w.backup("--full", "--json").stdout)
    (long,) = report["subvolumes"][0]["cannot_be_received"]
    assert len(long) >= 4000 and set(long) <= set("df/"), long
    target = w.restored / "data"
    restored = w.tool.run("restore", "--subvolume", "data", "--target", str(target))
    if restored.status == 0:
        assert deep_content(target) == content
        return
    says(w.expect(1, restored), "dddddddd")
    assert not target.exists(), restored


@case
def a_flipped_byte_is_caught_before_receive(w):
    dataset.seed(w.data, large_mib=30, small_files=50)
    w.backup()
    chunk = w.manifest()["chunks"][1]
    body = w.bucket.get(chunk["key"])
    at = 5 * MIB + 12345  # in the second part
    w.bucket.put(chunk["key"], body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])
    subvolumes = w.filesystem.subvolumes()
    seen = Gathered(w)
    outcome = w.restore("--target", str(w.restored / "data"), expect=4,
                        environment=fake_receive(w, f'tee {seen.path} | "$REAL" "$@"; exit $?'))
    says(outcome, chunk["key"], "part 2")
    # 12 MiB of the first chunk and 5 of this one, at most, had been released.
    assert 5 * MIB <= seen.size() <= 17 * MIB, seen.size()
    w.nothing_left_behind(subvolumes)
    assert not (w.restored / "data").exists()
    w.bucket.put(chunk["key"], body)
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")
    # A missing chunk and a truncated one are found before anything is received.
    w.bucket.put(chunk["key"], body[:-1])
    says(w.restore("--target", str(w.restored / "again"), expect=4), chunk["key"], "recorded")
    w.bucket.delete(chunk["key"])
    says(w.restore("--target", str(w.restored / "again"), expect=4), chunk["key"], "missing")


@case
def restore_names_the_damaged_chunk_that_receive_stumbles_over(w):
    """Chunks without part states: `btrfs receive` meets the damage before the digest is known."""
    keys = chain_of(w, 2, large_mib=30)
    for key in keys:
        as_the_earlier_tool_wrote(w, key)
    chunk = w.bucket.get_json(keys[0])["chunks"][1]
    subvolumes = w.filesystem.subvolumes()
    target = w.restored / "data"
    # In the first part of 5 MiB of 12; then in the last, where nothing of it is released.
    for at in (200_000, chunk["size"] - 1000):
        body = flip(w, chunk["key"], at)
        outcome = w.restore("--target", str(target), expect=4)
        says(outcome, chunk["key"], "chunk_verified_while_streaming", "SHA-256 is not the recorded one")
        w.nothing_left_behind(subvolumes)
        w.bucket.put(chunk["key"], body)
    # A receiver that fails over sound bytes is blamed itself, quoted.
    outcome = w.restore("--target", str(target), expect=1,
                        environment=fake_receive(w, "head -c 3000000 > /dev/null; echo disk on fire >&2; exit 1"))
    says(outcome, "disk on fire", keys[0])
    w.nothing_left_behind(subvolumes)
    # A damaged second link leaves the first one for the next attempt.
    second = w.bucket.get_json(keys[1])["chunks"][0]
    body = flip(w, second["key"], second["size"] // 2)
    says(w.restore("--target", str(target), expect=4), second["key"])
    w.bucket.put(second["key"], body)
    says(w.restore("--target", str(target)), "links_kept_from_before", "links=1")
    w.same(w.data, target)
    w.nothing_left_behind(subvolumes + ["restored/data"])


@case
def restore_verifies_the_content_against_the_source(w):
    w.tool.tables["btrfs"] = {"send_protocol": 1}
    keys = chain_of(w, 2, large_mib=4, small_files=60)
    newest = w.snapshots / w.snapshot_names()[1]
    target = w.restored / "data"
    before = w.filesystem.subvolumes()

    def restored(*arguments, **options):
        outcome = w.restore("--target", str(target), *arguments, **options)
        if outcome.status == 0:
            w.same(w.data, target)
            os.system(f"btrfs subvolume delete {target} > /dev/null")
            w.nothing_left_behind(before)
        return outcome

    says(restored(), "content_verified", f"source={newest}", "mode=full")
    w.tool.tables["restore"] = {"verify_mode": "sample", "sample_max_files": 10}
    says(restored(), "content_verified", "mode=sample", "files_compared=10")
    says(restored("--verify", "none"), "not_verified", "--verify none")
    # Content that differs although every digest was right: named, and the target is not made.
    spoil = pathlib.Path(__file__).resolve().parent.parent / "harness" / "spoil_stream.py"
    spoiled = fake_receive(w, f'/usr/bin/python3 -B {spoil} | "$REAL" "$@"; exit $?')
    outcome = restored("--verify", "full", expect=4, environment=spoiled)
    says(outcome, "what was restored differs from", str(newest), "the contents differ, first at byte")
    name = re.search(r': "([^"]+)": the contents differ', outcome.stderr)[1]
    assert (w.data / name).is_file() and not target.exists(), name
    # What was received is kept; it can be accepted, or received anew.
    outcome = w.restore("--target", str(target), "--verify", "none")
    says(outcome, "links_kept_from_before links=2")
    found = compare.differences(w.data, target)
    assert any(name in line for line in found) and all(": sha256 is" in line for line in found), found
    os.system(f"btrfs subvolume delete {target} > /dev/null")
    restored("--verify", "full", expect=4, environment=spoiled)
    assert "links_kept_from_before" not in restored("--verify", "full", "--discard").stderr
    # A source that is not the recorded one any more, and none at all: what was proven instead.
    os.system(f"btrfs property set -f {newest} ro false; touch {newest}/changed; btrfs property set {newest} ro true")
    says(restored(), "verified_without_source", "ctransid", "SHA-256")
    os.system(f"btrfs subvolume delete {newest} > /dev/null")
    before = w.filesystem.subvolumes()
    says(restored(), "verified_without_source", "not on this host", "carries the recorded UUIDs")
    # A stream that is not the manifest's: the UUIDs tell.
    manifest = w.bucket.get_json(keys[1])
    manifest["snapshot"]["uuid"] = "00000000-1111-2222-3333-444444444444"
    w.bucket.put(keys[1], json.dumps(manifest).encode())
    says(restored(expect=4), "the manifest describes 00000000-1111", keys[1])
    w.restore("--target", str(target), "--discard", "--verify", "none")
    w.same(w.data, target)


@case
def restore_names_what_a_broken_chain_lacks(w):
    keys = chain_of(w, 3)
    subvolumes = w.filesystem.subvolumes()
    target = str(w.restored / "data")
    good = w.bucket.get(keys[1])
    w.bucket.delete(keys[1])
    says(w.restore("--target", target, expect=1), keys[2], "needs its parent", keys[1], "missing")
    loop = json.loads(good)
    loop["parent_manifest"] = keys[2]
    w.bucket.put(keys[1], json.dumps(loop).encode())
    says(w.restore("--target", target, expect=4), "leads back to itself")
    w.bucket.put(keys[1], good[:-20])
    says(w.restore("--target", target, expect=1), keys[1])
    newer = json.loads(good)
    newer["version"] = 3
    w.bucket.put(keys[1], json.dumps(newer).encode())
    says(w.restore("--target", target, expect=1), keys[1], "newer version")
    w.bucket.put(keys[1], good)
    pointer = w.bucket.get(w.root + "current.json")
    w.bucket.put(w.root + "current.json", pointer.replace(b"manifest-", b"manifesto-"))
    says(w.restore("--target", target, expect=1), "there is no manifest at", "manifesto-",
         "btrfs_to_s3 list", "shows the keys")
    w.bucket.put(w.root + "current.json", pointer)
    w.nothing_left_behind(subvolumes)
    # The whole of it copied to another prefix restores from there: beside an original that is damaged ...
    for key in w.bucket.list("hosts/test/"):
        w.bucket.put(key.replace("hosts/test/", "elsewhere/"), w.bucket.get(key))
    flip(w, w.bucket.get_json(keys[1])["chunks"][0]["key"], 1000)
    bare = Bare(w)
    bare.url = f"s3://{w.bucket.name}/elsewhere"
    bare("--subvolume", "data", "--target", str(w.restored / "beside"), "--endpoint-url", w.bucket.endpoint)
    w.same(w.data, w.restored / "beside")
    # ... and with the original gone.
    for key in w.bucket.list("hosts/test/"):
        w.bucket.delete(key)
    bare("--subvolume", "data", "--target", target, "--endpoint-url", w.bucket.endpoint)
    w.same(w.data, w.restored / "data")
    w.nothing_left_behind(subvolumes + ["restored/beside", "restored/data"])


@case
def restore_ends_a_receiver_that_stalls(w):
    chain_of(w, 2, large_mib=12)
    subvolumes = w.filesystem.subvolumes()
    target = w.restored / "data"
    w.tool.tables["restore"] = {"receive_stall_seconds": 2}
    stuck = fake_receive(w, """echo >> $PLACE/receivers
if [[ $(wc -l < $PLACE/receivers) == 2 ]]; then echo waiting for Godot >&2; exec sleep 3600; fi
exec "$REAL" "$@" """)
    outcome = w.restore("--target", str(target), expect=1, environment=stuck)
    says(outcome, "`btrfs receive` stalled: for 2 s it read nothing", "waiting for Godot", "incremental/manifest-")
    assert len([path for path in w.filesystem.subvolumes() if "/received/" in path]) == 1
    # One that only takes its time is left alone, and what was received before is kept.
    slow = fake_receive(w, 'for n in 1 2 3 4 5 6; do read -t 1 < /dev/zero; sleep 0.5; done\nexec "$REAL" "$@"')
    says(w.restore("--target", str(target), environment=slow), "links_kept_from_before links=1")
    w.same(w.data, target)
    w.nothing_left_behind(subvolumes + ["restored/data"])
