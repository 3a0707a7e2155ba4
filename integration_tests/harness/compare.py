"""Whether two trees are the same: names, types, contents, modes, owners, times, extended attributes,
link targets, hard links, device numbers, and where files have holes.

  compare.py A B          prints the differences, exits 1 when there are any
  compare.py --self-test  breaks one thing at a time in a small tree and expects to find it
"""
import argparse
import errno
import hashlib
import json
import os
import pathlib
import shutil
import stat
import sys
import tempfile


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_extents(path):
    """Ranges that hold data, neighbours joined; what lies between reads as zeros without being stored."""
    ranges = []
    with open(path, "rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as problem:
                if problem.errno == errno.ENXIO:
                    break
                raise
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            ranges.append((start, at))
    return ranges


def attributes(path):
    return {name: os.getxattr(path, name, follow_symlinks=False)
            for name in sorted(os.listxattr(path, follow_symlinks=False))}


def describe(root, content=lambda name: True):
    """{relative path: {property: value}} of everything below `root`, itself included; digests of the files for whose
    name `content` is true."""
    found, inodes = {}, {}
    root = os.fsencode(root)
    stack = [b""]
    while stack:
        name = stack.pop()
        path = os.path.join(root, name) if name else root
        entry = os.lstat(path)
        kind = stat.S_IFMT(entry.st_mode)
        facts = {"type": kind, "mode": stat.S_IMODE(entry.st_mode), "uid": entry.st_uid,
                 "gid": entry.st_gid, "xattrs": attributes(path)}
        # A snapshot that becomes writable keeps the times of all but its own root.
        if name:
            facts["mtime"] = entry.st_mtime_ns
        if kind == stat.S_IFREG:
            facts.update(size=entry.st_size, data=data_extents(path))
            if content(name):
                facts["sha256"] = digest(path)
            if entry.st_nlink > 1:
                inodes.setdefault(entry.st_ino, []).append(name)
        elif kind == stat.S_IFLNK:
            facts["target"] = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            facts["device"] = entry.st_rdev
        elif kind == stat.S_IFDIR:
            stack.extend(os.path.join(name, child) for child in os.listdir(path))
        found[name] = facts
    for names in inodes.values():
        for name in names:
            found[name]["links"] = sorted(names)
    return found


def save(description, path):
    """As JSON, for load()."""
    def plain(value):
        if isinstance(value, bytes):
            return os.fsdecode(value)
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        return {plain(key): plain(one) for key, one in value.items()} if isinstance(value, dict) else value
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(description)), encoding="ascii")


def load(path):
    """What describe() gave."""
    def exact(facts):
        for key, form in (("target", os.fsencode), ("data", lambda ranges: [tuple(one) for one in ranges]),
                          ("links", lambda names: [os.fsencode(name) for name in names]),
                          ("xattrs", lambda all: {name: os.fsencode(value) for name, value in all.items()})):
            if key in facts:
                facts[key] = form(facts[key])
        return facts
    content = json.loads(pathlib.Path(path).read_text(encoding="ascii"))
    return {os.fsencode(name): exact(facts) for name, facts in content.items()}


def differences(first, second):
    """Sentences, the first difference first by name."""
    return different(describe(first), describe(second), first, second)


def different(here, there, first, second):
    """The same for two descriptions, of trees that are called `first` and `second`."""
    found = []
    for name in sorted(here.keys() | there.keys()):
        shown = os.fsdecode(name) or "."
        if name not in there:
            found.append(f"{shown!r}: only in {first}")
        elif name not in here:
            found.append(f"{shown!r}: only in {second}")
        else:
            for key in sorted(here[name].keys() | there[name].keys()):
                left, right = here[name].get(key), there[name].get(key)
                if left != right:
                    found.append(f"{shown!r}: {key} is {left!r} in {first} and {right!r} in {second}")
    return found


# How a planted fault of the self-test is reported, where its name is not that of the property.
PROPERTIES = {"content": "sha256", "time": "mtime", "time of a link": "mtime", "time of a folder": "mtime",
              "xattr": "xattrs", "extra xattr": "xattrs", "hole": "data", "hard link": "links",
              "owner": "uid", "group": "gid"}


def self_test():
    """Every change must be found, and an unchanged copy must not differ."""
    def content(root):
        with open(os.path.join(root, "file"), "r+b") as file:
            file.seek(100)
            file.write(b"X")

    def keep_time(change):
        def changed(root):
            path = os.path.join(root, "file")
            entry = os.stat(path)
            change(root)
            os.utime(path, ns=(entry.st_atime_ns, entry.st_mtime_ns))
        return changed

    def retarget(root):
        os.unlink(os.path.join(root, "link"))
        os.symlink("elsewhere", os.path.join(root, "link"))

    def retype(root):
        path = os.path.join(root, "fifo")
        os.unlink(path)
        with open(path, "wb"):
            pass
        os.utime(path, ns=(5, 7))

    def renumber(root):
        path = os.path.join(root, "device")
        os.unlink(path)
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        os.utime(path, ns=(5, 7))

    def fill_hole(root):
        path = os.path.join(root, "sparse")
        entry = os.stat(path)
        with open(path, "r+b") as file:
            file.seek(1 << 20)
            file.write(bytes(1 << 20))
        os.utime(path, ns=(entry.st_atime_ns, entry.st_mtime_ns))

    def unshare(root):
        path = os.path.join(root, "hard")
        entry = os.stat(path)
        shutil.copy2(path, path + ".copy")
        os.rename(path + ".copy", path)
        os.utime(path, ns=(entry.st_atime_ns, entry.st_mtime_ns))

    changes = {
        "content": keep_time(content),
        "size": keep_time(lambda root: os.truncate(os.path.join(root, "file"), 4999)),
        "time": lambda root: os.utime(os.path.join(root, "file"), ns=(5, 8)),
        "time of a link": lambda root: os.utime(os.path.join(root, "link"), ns=(5, 8), follow_symlinks=False),
        "time of a folder": lambda root: os.utime(os.path.join(root, "folder"), ns=(5, 8)),
        "type": retype,
        "mode": lambda root: os.chmod(os.path.join(root, "file"), 0o640),
        "missing": lambda root: os.unlink(os.path.join(root, "file")),
        "missing folder": lambda root: os.rmdir(os.path.join(root, "folder")),
        "extra": lambda root: os.mkdir(os.path.join(root, "extra")),
        "xattr": lambda root: os.setxattr(os.path.join(root, "file"), "user.a", b"2"),
        "extra xattr": lambda root: os.setxattr(os.path.join(root, "folder"), "user.b", b""),
        "target": retarget,
        "hole": fill_hole,
        "hard link": unshare,
    }
    if os.geteuid() == 0:
        changes["owner"] = lambda root: os.chown(os.path.join(root, "file"), 1, -1)
        changes["group"] = lambda root: os.chown(os.path.join(root, "link"), -1, 1, follow_symlinks=False)
        changes["device"] = renumber
    failed = []
    for name, change in {"nothing": None, **changes}.items():
        with tempfile.TemporaryDirectory(dir=".") as base:
            trees = [os.path.join(base, "a"), os.path.join(base, "b")]
            for tree in trees:
                os.mkdir(tree)
                for file in ("file", "second"):
                    with open(os.path.join(tree, file), "wb") as out:
                        out.write(b"0" * 5000)
                os.link(os.path.join(tree, "second"), os.path.join(tree, "hard"))
                os.symlink("file", os.path.join(tree, "link"))
                os.setxattr(os.path.join(tree, "file"), "user.a", b"1")
                with open(os.path.join(tree, "sparse"), "wb") as out:
                    out.truncate(8 << 20)
                os.mkdir(os.path.join(tree, "folder"))
                os.mkfifo(os.path.join(tree, "fifo"))
                if os.geteuid() == 0:
                    os.mknod(os.path.join(tree, "device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
                for file in os.listdir(tree):
                    os.utime(os.path.join(tree, file), ns=(5, 7), follow_symlinks=False)
            if change:
                change(trees[1])
            found = differences(*trees)
            # It must be found as what it is, not by a side effect of planting it.
            words = (["only in"] if name.startswith(("missing", "extra")) and name != "extra xattr"
                     else [f": {PROPERTIES.get(name, name)} is "])
            if bool(found) != bool(change) or (change and not any(word in line for word in words for line in found)):
                failed.append(name)
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("trees", nargs="*")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        failed = self_test()
        print("not told apart: " + ", ".join(failed) if failed else "every planted difference was found")
        return 1 if failed else 0
    if len(arguments.trees) != 2:
        parser.error("two trees, or --self-test")
    found = differences(*arguments.trees)
    for line in found[:20]:
        print(line)
    print(f"{len(found)} differences" if found else "the same")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
