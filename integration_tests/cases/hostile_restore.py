"""Cases of restores where somebody else is at work: beside the target, on its filesystem, or in the bucket."""
import fcntl
import json
import os
import pathlib
import re
import shlex
import struct
import subprocess
import uuid

from world import case, dataset, says

from restoring import chain_of, fake_receive, killed_in_receive, received

NOBODY = 65534
SET_RECEIVED_SUBVOL = 0xC0C89425  # _IOWR(0x94, 37, struct btrfs_ioctl_received_subvol_args)
SUBVOL_SETFLAGS = 0x4008941A


def btrfs(*words):
    subprocess.run(["btrfs", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def uuid_of(path, which="UUID"):
    shown = subprocess.run(["btrfs", "subvolume", "show", str(path)], capture_output=True, text=True, check=True).stdout
    return re.search(rf"^\s+{which}:\s+(\S+)", shown, re.MULTILINE)[1]


def with_directory(path, request, argument):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, request, argument)
    finally:
        os.close(fd)


def claim(path, received):
    """Has a writable subvolume pass for a received copy of that one: its owner may do so."""
    with_directory(path, SET_RECEIVED_SUBVOL, bytearray(uuid.UUID(received).bytes + bytes(184)))
    with_directory(path, SUBVOL_SETFLAGS, struct.pack("<Q", 2))


def forget_snapshots(w):
    """As on another host: nothing is here to compare with."""
    for name in w.snapshot_names():
        btrfs("subvolume", "delete", w.snapshots / name)


@case
def what_users_plant_beside_a_target_is_refused(w):
    chain_of(w, 1, large_mib=1)
    target = w.restored / "data"
    planted = w.restored / ".btrfs_to_s3.data"
    os.chown(w.restored, NOBODY, NOBODY)
    treasure = w.mount / "treasure"
    treasure.mkdir()
    w.filesystem.subvolume("treasure/one")
    # Every subvolume in the directory behind the link would go.
    planted.symlink_to(treasure)
    for arguments in ((), ("--discard",), ("--dry-run",)):
        told = w.tool.run("restore", "--subvolume", "data", "--target", str(target), *arguments)
        assert (treasure / "one").is_dir() and planted.is_symlink(), told
        if arguments != ("--dry-run",):
            says(w.expect(2, told), str(planted), "it is a symbolic link", "only root can write to")
    planted.unlink()
    # Records that call a target of somebody else's the restored one.
    w.filesystem.subvolume("restored/mine")
    btrfs("subvolume", "snapshot", w.restored / "mine", target)
    planted.mkdir(mode=0o755)
    (planted / "links").write_text(
        f"btrfs_to_s3 links 1\n{w.pointer()['manifest_key']}\nx\n{uuid_of(w.restored / 'mine')}\n")
    os.chown(planted, NOBODY, NOBODY)
    everything = ("restore", "--all", "--target-base", str(w.restored))
    for arguments in ((), ("--dry-run",), ("--discard",)):
        told = w.tool.run(*everything, *arguments)
        assert told.status == 2 and "restored_before" not in told.stderr, told
        assert "had been restored" not in told.stdout, told
        says(told, str(planted), "it belongs to user 65534")
    assert (planted / "links").exists()
    # Out of the way, everything goes on.
    (planted / "links").unlink()
    planted.rmdir()
    btrfs("subvolume", "delete", target)
    w.restore("--target", str(target))
    w.same(w.data, target)
    assert sorted(path.name for path in w.restored.iterdir()) == ["data", "mine"]


@case
def an_incremental_is_received_onto_the_link_before_it_and_nothing_else(w):
    w.tool.tables["snapshots"]["retain"] = 3
    dataset.seed(w.data, large_mib=4, small_files=20)
    w.backup()
    full = w.snapshots / w.snapshot_names()[0]
    # The incremental takes data from its parent by reference.
    subprocess.run(["cp", "--reflink=always", str(w.data / "large.bin"), str(w.data / "reference.bin")], check=True)
    (w.data / "more").write_text("more")
    w.backup()
    dumped = subprocess.run(f"btrfs send -q -p {full} {w.snapshots / w.snapshot_names()[-1]} | btrfs receive --dump | "
                            "grep -c ^clone", shell=True, capture_output=True, text=True, check=False)
    assert int(dumped.stdout) > 0, dumped
    identity = uuid_of(full)
    # A user's subvolume that claims to be a copy of the parent, with something of his own ...
    theirs = w.mount / "theirs"
    btrfs("subvolume", "snapshot", full, theirs)
    (theirs / "shadow").write_text("root::0:0::::")
    (theirs / "large.bin").write_bytes(b"x" * (theirs / "large.bin").stat().st_size)
    claim(theirs, identity)
    # ... and a copy that was received, and changed since.
    older = w.mount / "older"
    older.mkdir()
    subprocess.run(f"btrfs send -q {full} | btrfs receive -q {older}", shell=True, check=True)
    copy = older / full.name
    with_directory(copy, SUBVOL_SETFLAGS, struct.pack("<Q", 0))
    (copy / "shadow").write_text("changed")
    with_directory(copy, SUBVOL_SETFLAGS, struct.pack("<Q", 2))
    assert uuid_of(copy, "Received UUID") == uuid_of(theirs, "Received UUID") == identity
    forget_snapshots(w)
    before = w.filesystem.subvolumes()
    for name, arguments in (("data", ()), ("again", ("--keep-received",)), ("unverified", ("--verify", "none")),
                            ("once-more", ("--keep-received",))):
        target = w.restored / name
        w.restore("--target", str(target), *arguments)
        w.same(w.data, target)
        kept = [path.name for path in w.snapshots.iterdir()]
        before = sorted(set(before) | {f"restored/{name}"} | {f"snapshots/{one}" for one in kept})
        w.nothing_left_behind(before)
    assert len(kept) == 1 and uuid_of(w.snapshots / kept[0], "Received UUID") == w.manifest()["snapshot"]["uuid"]
    # What was kept is the next incremental's parent, and that is restored.
    (w.data / "after").write_text("after")
    w.backup()
    w.restore("--target", str(w.restored / "later"))
    w.same(w.data, w.restored / "later")


@case
def a_link_that_builds_on_something_else_is_refused(w):
    keys = chain_of(w, 3, large_mib=1)
    forget_snapshots(w)
    # The last link without the one before it.
    manifest = w.bucket.get_json(keys[2])
    manifest["parent_manifest"] = keys[0]
    manifest["snapshot"]["parent_uuid"] = w.bucket.get_json(keys[0])["snapshot"]["uuid"]
    w.bucket.put(keys[2], json.dumps(manifest).encode())
    told = w.restore("--target", str(w.restored / "data"), expect=4)
    says(told, "builds on the snapshot", "another backup")
    left = [path for path in w.filesystem.subvolumes() if "/received/" in path]
    assert len(left) == 1, left
    w.restore("--target", str(w.restored / "data"), "--manifest-key", keys[1])
    assert [path.name for path in w.restored.iterdir()] == ["data"]


@case
def a_stream_reaches_nothing_outside_its_subvolume(w):
    """Made up by somebody who can write to the bucket, and received as root."""
    dataset.seed(w.data, large_mib=1, small_files=5)
    outside = w.mount / "outside"  # on the target's own filesystem
    elsewhere = w.directory / "elsewhere"
    for directory in (outside, elsewhere):
        directory.mkdir()
        (directory / "precious").write_text("precious")
    up = "../" * 20
    for number, commands in enumerate((
            (f"symlink:out:{elsewhere}", "mkfile:out/new"),
            (f"symlink:out:{outside}", "write:out/precious:changed"),
            (f"symlink:out:{up}{str(elsewhere)[1:]}", "write:out/precious:changed"),
            (f"symlink:out:{up}{str(outside)[1:]}", "unlink:out/precious"),
            (f"symlink:out:{outside}/precious", "write:out:changed"),
            (f"symlink:one:{up}", "symlink:two:one", f"mkdir:two/{str(outside)[1:]}/new"),
            (f"symlink:out:{outside}", "rename:out/precious:mine"))):
        insert = pathlib.Path(__file__).resolve().parent.parent / "harness" / "insert_commands.py"
        fake = w.fake_btrfs(f'"$REAL" "$@" | /usr/bin/python3 -B {insert} {shlex.join(commands)}')
        w.backup("--full", environment=fake)
        forget_snapshots(w)
        told = w.restore("--target", str(w.restored / f"data{number}"), expect=1)
        says(told, "`btrfs receive` exited with status 1", "No such file or directory")
        assert "/proc/" not in told.stderr, told
        for directory in (outside, elsewhere):
            assert [path.name for path in directory.iterdir()] == ["precious"], (commands, directory)
            assert (directory / "precious").read_text() == "precious", commands
        assert list(w.restored.iterdir()) == [], list(w.restored.iterdir())


@case
def a_receiver_can_write_to_nothing_but_its_place(w):
    """Whatever program stands for `btrfs receive`."""
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    outside = w.mount / "outside"
    outside.mkdir()
    for place in (outside, w.directory, w.restored, "/tmp", "/run", "/"):
        witness = pathlib.Path(place) / "written-by-a-receiver"
        told = w.restore("--target", str(w.restored / "data"), expect=1, environment=fake_receive(
            w, f'echo > $PLACE/allowed && cat < $PLACE/allowed && echo > {witness}; exit 1'))
        assert not witness.exists()
        says(told, "Read-only file system")


@case
def a_read_only_mount_is_not_restored_to(w):
    chain_of(w, 1, large_mib=1)
    shown = w.directory / "shown"
    shown.mkdir()
    subprocess.run(["mount", "--bind", str(w.mount), str(shown)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(shown)], check=True)
        for arguments in ((), ("--dry-run",), ("--discard",)):
            says(w.restore("--target", str(shown / "restored" / "data"), *arguments, expect=2),
                 f"{shown}/restored is mounted read-only", "remount,rw")
        w.tool.tables["snapshots"]["base_dir"] = str(shown / "snapshots")
        says(w.restore("--target", str(w.restored / "data"), "--keep-received", expect=2),
             "--keep-received", f"{shown}/snapshots is mounted read-only")
        w.tool.tables["snapshots"]["base_dir"] = str(w.snapshots)
        assert list(w.restored.iterdir()) == []
    finally:
        subprocess.run(["umount", str(shown)], check=True)
    w.restore("--target", str(w.restored / "data"))


@case
def a_restore_that_was_interrupted_with_an_older_generation_goes_on_with_one_command(w):
    chain_of(w, 2, large_mib=1)
    older = w.pointer()["manifest_key"]
    target = w.restored / "data"
    killed_in_receive(w, target, 2, 'kill -9 $PPID; exit 1')
    first = next(key for key in w.bucket.list(w.root) if "/full/manifest-" in key)
    (w.data / "new").write_text("new")
    w.backup("--full")
    told = w.restore("--target", str(target), expect=1)
    says(told, f"another restore to {target} was interrupted", f"--manifest-key {first}",
         "finishes that one", "with --discard drops")
    # Each of them is enough.
    says(w.restore("--target", str(target), "--manifest-key", first), "links_kept_from_before links=1")
    btrfs("subvolume", "delete", target)
    for arguments in (("restore", "--subvolume", "data", "--target", str(target), "--discard"),
                      ("restore", "--all", "--target-base", str(w.restored))):
        again = w.tool.run("restore", "--subvolume", "data", "--target", str(target), "--manifest-key", older,
                           environment=fake_receive(w, """echo >> $PLACE/receivers
if [[ $(wc -l < $PLACE/receivers) == 2 ]]; then kill -9 $PPID; exit 1; fi
exec "$REAL" "$@" """))
        assert again.status < 0, again
        told = w.expect(0, w.tool.run(*arguments))
        assert ("interrupted_restore_dropped" in told.stderr) == ("--all" in arguments), told
        assert (target / "new").read_text() == "new"
        w.same(w.data, target)
        assert [path.name for path in w.restored.iterdir()] == ["data"]
        btrfs("subvolume", "delete", target)


@case
def a_receiver_that_outlives_its_restore_is_waited_for(w):
    chain_of(w, 1, large_mib=1)
    target = w.restored / "data"
    told = w.tool.run("restore", "--subvolume", "data", "--target", str(target), environment=fake_receive(
        w, "echo $$ > $PLACE/pid; kill -9 $PPID; exec sleep 600 2> /dev/null"))
    assert told.status < 0, told
    receiver = int((received(target) / "pid").read_text())
    try:
        says(w.restore("--target", str(target), expect=3), "another restore to", "is running")
    finally:
        os.kill(receiver, 9)
    w.restore("--target", str(target))
    w.same(w.data, target)
    assert [path.name for path in w.restored.iterdir()] == ["data"]
