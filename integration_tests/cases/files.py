"""Cases of the commands that look at the files in a backup: compared with what a restore gives, link by link."""
import base64
import datetime
import json
import os
import stat
import subprocess

from sealing import make_identity
from world import case, dataset, says

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


def chain_of_four(w):
    """A full and three incrementals; their manifests' keys."""
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
        w.backup()
        keys.append(w.pointer()["manifest_key"])
    return keys


def compared_with_restores(w, keys, *identity):
    for number, key in enumerate(keys):
        target = w.restored / f"link{number}"
        w.restore("--target", str(target), "--manifest-key", key, *identity)
        told, there = found(w, key), walked(target)
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
    assert "new\\x0aline" in said and "-rwsr-xr-x" in said, said
    refused = w.expect(1, w.tool.run("ls", "--subvolume", "data", "srcc/module01"))
    says(refused, 'there is no "srcc/module01"', 'perhaps "src" is meant')
    offered = subprocess.run([w.tool.binary, "complete", "--", "ls", "--config", str(w.tool.config), "--subvolume", "data", "src/module0"],
                             check=True, capture_output=True, text=True, env=w.tool.environment, timeout=60)
    assert "src/module01/" in offered.stdout.splitlines(), offered


@case
def files_of_each_link_are_those_that_its_restore_gives(w):
    keys = chain_of_four(w)
    w.expect(0, w.tool.run("index", "build", "--subvolume", "data"))
    before = set(w.bucket.list())
    compared_with_restores(w, keys)
    questions(w, keys)
    assert set(w.bucket.list()) == before


@case
def files_of_a_sealed_chain_are_read_with_its_identity(w):
    identity, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    keys = chain_of_four(w)
    refused = w.tool.run("index", "build", "--subvolume", "data")
    assert refused.status == 2, refused
    says(refused, "is sealed, and no identity was given")
    w.expect(0, w.tool.run("index", "build", "--subvolume", "data", "--identity", str(identity)))
    # From here on names are on this host, and need no identity.
    compared_with_restores(w, keys, "--identity", str(identity))
    questions(w, keys)
