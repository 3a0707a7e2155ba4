"""Cases of the commands that look at the files in a backup: compared with what a restore gives, link by link."""
import base64
import datetime
import json
import os
import signal
import stat
import subprocess

from hosts import run_as_nobody
from prune import flip
from recovery import behind_proxy
from sealing import make_identity
from world import case, compare, dataset, says

TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
         stat.S_IFSOCK: "socket", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device"}


def nanoseconds(text):
    seconds, fraction = text.rstrip("Z").split(".")
    when = datetime.datetime.fromisoformat(seconds).replace(tzinfo=datetime.timezone.utc)
    return int(when.timestamp()) * 10**9 + int(fraction)


def found(w, key, *arguments):
    """What `find` tells of a backup: path -> (type, mode, uid, gid, names, size, time but of directories)."""
    lines = w.expect(0, w.tool.run("find", "--subvolume", "data", "--manifest-key", key, "--json", *arguments)).stdout
    backup, *entries = [json.loads(line) for line in lines.splitlines()]
    assert backup["manifest_key"] == key, backup
    tree = {}
    for one in entries:
        path = base64.b64decode(one["path_base64"]) if "path_base64" in one else one["path"].encode()
        when = None if one["type"] == "directory" else nanoseconds(one["modified_at"])
        size = one["bytes"] if one["type"] in ("file", "symlink") else 0
        names = 1 if one["type"] == "directory" else one["links"]
        tree[path] = (one["type"], int(one["mode"], 8), one["uid"], one["gid"], names, size, when)
    return tree


def walked(root):
    """The same of a tree on the disk."""
    tree = {}
    root = os.fsencode(root)
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            facts = os.lstat(path)
            kind = TYPES[stat.S_IFMT(facts.st_mode)]
            when = None if kind == "directory" else facts.st_mtime_ns
            size = facts.st_size if kind in ("file", "symlink") else 0
            names = 1 if kind == "directory" else facts.st_nlink
            tree[os.path.relpath(path, root)] = (kind, stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, names, size, when)
    return tree


def chain_of_four(w, indexed=4):
    """A full and three incrementals, the first `indexed` of them with indexes; their manifests' keys."""
    w.tool.tables["index"] = {"enabled": indexed > 0}
    dataset.seed(w.data, large_mib=8, small_files=200)
    (w.data / "letter").write_text("first")
    w.backup()
    keys = [w.pointer()["manifest_key"]]
    for number in (2, 3, 4):
        dataset.mutate(w.data, number=number, large_mib=8)
        if number == 2:
            (w.data / "letter").write_text("second, and longer")
        elif number == 3:
            (w.data / "letter").rename(w.data / "empty" / "letter")
        else:
            (w.data / "empty" / "letter").unlink()
        w.tool.tables["index"] = {"enabled": indexed >= number}
        w.backup()
        keys.append(w.pointer()["manifest_key"])
    return keys


def compared_with_restores(w, keys, *identity):
    for number, key in enumerate(keys):
        target = w.restored / f"link{number}"
        w.restore("--target", str(target), "--manifest-key", key, *identity)
        told, there = found(w, key, *identity), walked(target)
        assert set(told) == set(there), sorted(set(told) ^ set(there))[:5]
        different = [path for path in told if told[path] != there[path]]
        assert not different, [(path, told[path], there[path]) for path in different[:3]]


def questions(w, keys):
    shown = json.loads(w.expect(0, w.tool.run("history", "--subvolume", "data", "--json", "letter")).stdout)
    assert [(one["event"], one["manifest_key"]) for one in shown["events"]] == [
        ("created", keys[0]), ("changed", keys[1]), ("renamed", keys[2])], shown
    assert shown["events"][2]["path_after"] == "empty/letter", shown
    lines = w.expect(0, w.tool.run("diff", "--subvolume", "data", "--manifest-key", keys[0], "--manifest-key", keys[2],
                                   "--json")).stdout.splitlines()
    changes = {one["path"]: one for one in map(json.loads, lines[1:])}
    assert changes["empty/letter"]["change"] == "renamed" and changes["empty/letter"]["path_before"] == "letter", changes
    assert changes["empty/letter"]["content"] is True
    raw = w.expect(0, w.tool.run("ls", "--subvolume", "data", "-0")).stdout.split("\0")
    assert "new\nline" in raw, raw
    said = w.expect(0, w.tool.run("ls", "--subvolume", "data", "-l")).stdout
    assert "new\\x0aline" in said and "drwxrwxrwt" in said, said
    refused = w.expect(1, w.tool.run("ls", "--subvolume", "data", "srcc/module01"))
    says(refused, 'there is no "srcc/module01"', 'perhaps "src" is meant')
    offered = subprocess.run([w.tool.binary, "complete", "--", "ls", "--config", str(w.tool.config), "--subvolume", "data", "src/module0"],
                             check=True, capture_output=True, text=True, env=w.tool.environment, timeout=60)
    assert "src/module01/" in offered.stdout.splitlines(), offered


def extract(w, name, key, *arguments, paths=(".",), expect=0):
    """Where what was extracted is."""
    target = w.mount / name
    outcome = w.expect(expect, w.tool.run("extract", "--subvolume", "data", "--manifest-key", key, "--target", str(target),
                                          *arguments, *paths))
    return target, outcome


def entries_differ(first, second):
    """But for the two directories themselves: the one was there before."""
    return [one for one in compare.differences(first, second) if not one.startswith("'.': ")]


def bytes_of(w, *arguments):
    w.tool.write_config()
    return subprocess.run(w.tool.command(("cat", "--subvolume", "data", *arguments)), env=w.tool.environment, check=True,
                          capture_output=True, timeout=300).stdout


def extracted_as_restored(w, keys, *identity):
    """`restored/link{n}` is there."""
    for number in (0, 2, 3):
        there = w.restored / f"link{number}"
        target, outcome = extract(w, f"extracted{number}", keys[number], "--setuid", *identity)
        found = entries_differ(there, target)
        assert not found, (number, found[:3], outcome)
        assert not [name for name in os.listdir(target) if name.startswith(".btrfs_to_s3")]
    for path in ("large.bin", "sparse", "new\nline", "src/module01/file0001.c"):
        wanted = (w.restored / "link3" / path).read_bytes()
        assert bytes_of(w, "--manifest-key", keys[3], *identity, path) == wanted, path
    for path, words in (("to-large", "symbolic link"), ("src", "is a directory"), ("nowhere", "there is no")):
        refused = w.tool.run("cat", "--subvolume", "data", *identity, path)
        assert refused.status != 0 and refused.stdout == "", refused
        says(refused, words)
    # What is there stays, unless it is said otherwise; a part of a tree comes below its path.
    again = w.tool.run("extract", "--subvolume", "data", "--target", str(w.mount / "extracted3"), *identity, "src")
    assert again.status != 0, again
    says(again, "it is there already", "--overwrite")
    target, _ = extract(w, "part", keys[3], *identity, paths=("src/module02", "large-link.txt"))
    assert sorted(os.listdir(target)) == ["large-link.txt", "src"] and os.listdir(target / "src") == ["module02"]
    assert (target / "large-link.txt").read_bytes() == (w.restored / "link3" / "large.txt").read_bytes()


def plan_of_an_extraction(w, key, *identity):
    target, outcome = extract(w, "nothing", key, *identity, "--dry-run", "--json", paths=("src/module01/file0001.c",))
    plan = json.loads(outcome.stdout)
    assert plan["dry_run"] is True and plan["files"] == 1 and len(plan["object_keys"]) == 1, plan
    assert plan["read_bytes"] < 200_000 and not target.exists(), plan


def as_an_ordinary_user(w, key):
    """On another filesystem, and with nothing but the bucket."""
    home = w.directory / "of-nobody"
    w.directory.chmod(0o755)
    target = home / "out"
    done = run_as_nobody(w, "extract", "--subvolume", "data", "--manifest-key", key, "--target", str(target), ".")
    assert done.status == 0, done
    assert "not set: owner" in done.stdout, done
    for path in ("large.bin", "src/module01/file0001.c", "new\nline", "large-link.txt", "sparse"):
        assert (target / path).read_bytes() == (w.restored / "link3" / path).read_bytes(), path
    assert (target / "large.bin").stat().st_mtime_ns == (w.restored / "link3" / "large.bin").stat().st_mtime_ns
    assert os.readlink(target / "to-large") == "large.txt"
    assert (target / "large.txt").stat().st_ino == (target / "large-link.txt").stat().st_ino
    assert not stat.S_IMODE((target / "setuid").stat().st_mode) & stat.S_ISUID


def around_damage(w, key, *identity):
    """A bit of a chunk is not what it was: nothing of it is written, and the rest can be had."""
    chunks = w.bucket.get_json(key)["chunks"]
    flip(w, chunks[0]["key"], chunks[0]["size"] // 2)
    _, refused = extract(w, "whole", key, *identity, expect=4)
    assert not [path for path in (w.mount / "whole").rglob("*") if path.name == "large.bin"], refused
    target, outcome = extract(w, "rest", key, *identity, "--skip-damaged", "--json", expect=4)
    damaged = {one["path"] for one in json.loads(outcome.stdout)["damaged"]}
    assert damaged and len(damaged) < 5, outcome
    there = w.restored / "link0"
    left = [one for one in entries_differ(there, target) if not any(repr(name) in one for name in damaged)]
    assert not [one for one in left if "only in" in one or "sha256" in one], left


@case
def an_interrupted_extraction_leaves_whole_files_alone(w):
    dataset.seed(w.data, large_mib=8, small_files=50)
    w.backup()
    # A stop, and a death.
    for how, status in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        target = w.mount / f"interrupted-{how.name}"
        with behind_proxy(w) as between:
            held = between.hold(method="GET", path="/chunk-", when="before")
            running = w.tool.start("extract", "--subvolume", "data", "--target", str(target), ".")
            assert held.reached.wait(60)
            running[0].send_signal(how)
            outcome = w.expect(status, w.tool.finish(running, limit=20))
            between.release()
        w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
        assert "ERROR" not in outcome.stderr, outcome
        for path in target.rglob("*"):
            assert not path.name.startswith(".btrfs_to_s3"), path
            if path.is_file() and not path.is_symlink():
                assert path.read_bytes() == (w.data / path.relative_to(target)).read_bytes(), path
        w.expect(0, w.tool.run("extract", "--subvolume", "data", "--target", str(target), "--overwrite", "--setuid", "."))
        found = entries_differ(w.data, target)
        assert not found, found[:3]


@case
def what_is_extracted_is_what_is_restored(w):
    keys = chain_of_four(w)
    compared_with_restores(w, keys)
    extracted_as_restored(w, keys)
    plan_of_an_extraction(w, keys[3])
    as_an_ordinary_user(w, keys[3])
    around_damage(w, keys[0])


@case
def what_is_extracted_of_a_sealed_chain_is_what_is_restored(w):
    identity, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    keys = chain_of_four(w)
    compared_with_restores(w, keys, "--identity", str(identity))
    extracted_as_restored(w, keys, "--identity", str(identity))
    plan_of_an_extraction(w, keys[3])
    around_damage(w, keys[0], "--identity", str(identity))


@case
def files_of_each_link_are_those_that_its_restore_gives(w):
    keys = chain_of_four(w, indexed=2)
    says(w.expect(1, w.tool.run("ls", "--subvolume", "data")), "index build")
    before = set(w.bucket.list())
    w.expect(0, w.tool.run("index", "build", "--subvolume", "data"))
    compared_with_restores(w, keys)
    questions(w, keys)
    assert set(w.bucket.list()) == before


@case
def files_of_a_sealed_chain_are_read_with_its_identity(w):
    identity, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    keys = chain_of_four(w, indexed=0)
    refused = w.tool.run("index", "build", "--subvolume", "data")
    assert refused.status == 2, refused
    says(refused, "is sealed, and no identity was given")
    w.expect(0, w.tool.run("index", "build", "--subvolume", "data", "--identity", str(identity)))
    # From here on names are on this host, and need no identity.
    compared_with_restores(w, keys, "--identity", str(identity))
    questions(w, keys)
