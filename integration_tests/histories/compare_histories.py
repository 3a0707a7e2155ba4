#!/usr/bin/python3 -B
"""Compares what indexes describe with what `btrfs receive` makes, over random histories:

  compare_histories.py --model build/release/tests/btrfs/index/index_model [--histories N] [--seed S] [--links L]
                       [--extract build/release/tests/app/extract_model] [--proof]

Each history is a tree that changes at random and is sent after each change: a full and incrementals, of protocol 1 or 2, with
compressed data or without. Every link is received on another filesystem. The model is made of the streams alone; its tree
must be the received one at every link: names, types, modes, owners, sizes, times, extended attributes, link groups, contents.
A link that receive refuses must be refused by the model, and no other. With --extract every link is also extracted from plain
and from sealed chunks, onto the source's filesystem, and what lies there must be the received tree, too. With --proof each
incremental is also applied to a model of its parent that is made of `btrfs send --no-data`, anew for each link, and once for the
first and carried along: both must refuse what receive refuses, and nothing else. One line for each history that does not agree, with its
seed; exit status 1. 77: this machine cannot do it.
"""
import argparse
import collections
import contextlib
import hashlib
import os
import pathlib
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import btrfs  # noqa: E402
from histories.random_history import Tree  # noqa: E402

SENDS = (["--proto", "1"], ["--proto", "2"], ["--proto", "2", "--compressed-data"])
TYPES = {1: stat.S_IFREG, 2: stat.S_IFDIR, 3: stat.S_IFLNK, 4: stat.S_IFIFO, 5: stat.S_IFSOCK, 6: stat.S_IFCHR, 7: stat.S_IFBLK}
Fact = collections.namedtuple("Fact", "type mode uid gid size mtime rdev links target digest xattrs")


class Disk:
    """A Btrfs filesystem in an image, which can be unmounted and mounted again."""

    def __init__(self, directory, name):
        self.image, self.mount = directory / f"{name}.img", directory / name
        self.mount.mkdir()
        btrfs.run("truncate", "-s", "3G", str(self.image))
        btrfs.make(self.image)
        self.attach()

    def attach(self):
        btrfs.run("mount", "-o", "loop", str(self.image), str(self.mount))

    def again(self):
        btrfs.run("umount", str(self.mount))
        self.attach()

    def clear(self):
        for name in sorted(os.listdir(self.mount)):
            btrfs.delete_subvolume(self.mount / name)

    def release(self):
        btrfs.release(self.image, self.mount)


def described(root):
    """{path: (inode, Fact)} of what lies on a disk."""
    root = os.fsencode(root)
    found, stack = {}, [b""]
    while stack:
        name = stack.pop()
        path = os.path.join(root, name) if name else root
        at = os.lstat(path)
        kind = stat.S_IFMT(at.st_mode)
        xattrs = {os.fsencode(one): os.getxattr(path, one, follow_symlinks=False)
                  for one in os.listxattr(path, follow_symlinks=False)}
        digest = "-"
        if kind == stat.S_IFREG:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[name] = (at.st_ino, Fact(
            kind, stat.S_IMODE(at.st_mode), at.st_uid, at.st_gid,
            at.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else 0, at.st_mtime_ns,
            at.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0, 1 if kind == stat.S_IFDIR else at.st_nlink,
            os.readlink(path) if kind == stat.S_IFLNK else b"", digest, tuple(sorted(xattrs.items()))))
        if kind == stat.S_IFDIR:
            stack += [os.path.join(name, one) if name else one for one in os.listdir(path)]
    return found


def without_digests(tree):
    return {path: (inode, fact._replace(digest="-")) for path, (inode, fact) in tree.items()}


def proofs(model, parents, streams, refusal, trees, times):
    """What does not agree where the parent of each link is known without its data, by `parents`."""
    found = []
    for link in range(2, len(streams) + 1):
        models, refused = modelled(model, [parents[link - 2], streams[link - 1]], "--names")
        if (refused is not None) != (refusal is not None and refusal[0] == link):
            found.append(f"link {link}: receive: {refusal or 'refused nothing'}; model made anew: {refused or 'refused nothing'}")
        for number in models.keys():
            at = link - 2 + number
            found += [f"link {at}, made anew: {one}" for one in
                      differing(without_digests(trees[at]), models[number], times[at])] if at in trees else []
    if len(streams) > 1:
        refused = modelled(model, [parents[0], *streams[1:]], "--names")[1]
        if (refused and refused[0]) != (refusal and refusal[0]):
            found.append(f"receive: {refusal or 'refused nothing'}; model carried along: {refused or 'refused nothing'}")
    return found


def times_of_directories(root):
    root = os.fsencode(root)
    return {b"" if path == root else os.path.relpath(path, root): os.stat(path).st_mtime_ns for path, _, _ in os.walk(root)}


def text(coded):
    return b"" if coded == "-" else bytes.fromhex(coded)


def modelled(model, streams, *options):
    """({link: {path: (node, Fact)}}, (refused link, sentence) or None) as index_model tells it."""
    ran = subprocess.run([model, *options, ":memory:", *streams], capture_output=True, text=True, timeout=600, check=False)
    if ran.returncode not in (0, 3):
        raise RuntimeError(f"index_model: status {ran.returncode}: {ran.stderr}")
    trees, refused = collections.defaultdict(dict), None
    for line in ran.stdout.splitlines():
        if line.startswith("refused "):
            _, link, sentence = line.split(" ", 2)
            refused = int(link), sentence
            continue
        (link, kind, mode, uid, gid, size, seconds, nanoseconds, rdev, node, links, path, target, digest,
         xattrs) = line.split(" ")
        pairs = [one.partition("=") for one in xattrs.split(",")] if xattrs != "-" else []
        trees[int(link)][text(path)] = (int(node), Fact(
            TYPES[int(kind)], int(mode, 8), int(uid), int(gid), int(size), int(seconds) * 10**9 + int(nanoseconds), int(rdev),
            int(links), text(target), digest, tuple(sorted((text(name), text(value)) for name, _, value in pairs))))
    return trees, refused


def extracted(program, directory, streams, links):
    """Sentences by link: {"plain": {link: {path: (inode, Fact)}}, "sealed": ...}, and what the program said."""
    trees, said = {}, []
    for form in ("plain", "sealed"):
        into = directory / form
        into.mkdir()
        ran = subprocess.run([program, *(["--sealed"] if form == "sealed" else []), into, *streams], capture_output=True, text=True,
                             errors="replace", timeout=600, check=False)
        if ran.returncode != 0:
            said.append(f"{form}: status {ran.returncode}: {ran.stderr.strip()}")
        said += [f"{form}: {line}" for line in ran.stdout.splitlines() if not line.startswith("refused ")]
        trees[form] = {link: described(into / str(link)) for link in links if (into / str(link)).is_dir()}
        subprocess.run(["rm", "-rf", str(into)], check=True)
    return trees, said


def differing(received, model, times, other_name="in the model"):
    """Sentences. A directory may have its source's time, by `times`, where receive left it another: names of its own that come
    and go in it are younger, and the sender does not always tell the time again."""
    found = []
    for path in sorted(received.keys() | model.keys()):
        if path not in model or path not in received:
            found.append(f"{path!r} is only {'received' if path in received else other_name}")
            continue
        for name, one, other in zip(Fact._fields, received[path][1], model[path][1]):
            if one != other and not (name == "mtime" and times.get(path) == other):
                found.append(f"{path!r}: {name} is {one!r} received, {other!r} {other_name}")
    # Names of one inode are names of one node.
    for one, other, what in ((received, model, "received"), (model, received, other_name)):
        groups = {}
        for path in one.keys() & other.keys():
            if groups.setdefault(one[path][0], other[path][0]) != other[path][0]:
                found.append(f"{path!r} is one file with others only {what}")
    return found


def history(disks, directory, seed, arguments):
    """What does not agree, as sentences; how receive refused, or None."""
    source, target = disks
    choose = random.Random(f"links of {seed}")
    live = source.mount / "live"
    btrfs.run("btrfs", "subvolume", "create", str(live))
    tree = Tree(live, seed)
    nasty = choose.random() < arguments.nasty
    operations = Tree.NASTY if nasty else Tree.OPERATIONS
    streams, parents, trees, times, refusal = [], [], {}, {}, None
    for link in range(1, arguments.links + 1):
        tree.change(choose.choice((5, 20, 60)) if link > 1 else 80, operations)
        if choose.random() < 0.3:
            source.again()  # the highest inode number, where it was removed, is given again
        btrfs.snapshot(live, source.mount / f"s{link}")
        stream = directory / f"stream-{link}"
        parent = ["-p", str(source.mount / f"s{link - 1}")] if link > 1 else []
        btrfs.run("btrfs", "send", "-q", *choose.choice(SENDS), *parent, "-f", str(stream), str(source.mount / f"s{link}"))
        streams.append(str(stream))
        if arguments.proof:
            parents.append(str(directory / f"parent-{link}"))
            btrfs.run("btrfs", "send", "-q", "--no-data", "-f", parents[-1], str(source.mount / f"s{link}"))
        ran = subprocess.run(["btrfs", "receive", "-q", "-f", str(stream), str(target.mount)], capture_output=True, text=True,
                             errors="replace", timeout=600, check=False)
        if ran.returncode != 0:
            refusal = link, ran.stderr.strip()
            break
        trees[link] = described(target.mount / f"s{link}")
        times[link] = times_of_directories(source.mount / f"s{link}")
    models, refused = modelled(arguments.model, streams)
    problems = []
    if (refusal and refusal[0]) != (refused and refused[0]):
        problems.append(f"receive: {refusal or 'refused nothing'}; model: {refused or 'refused nothing'}")
    for link in sorted(trees.keys() & models.keys()):
        problems += [f"link {link}: {one}" for one in differing(trees[link], models[link], times[link])]
    if arguments.proof:
        problems += proofs(arguments.model, parents, streams, refusal, trees, times)
    if arguments.extract:
        forms, said = extracted(arguments.extract, source.mount, streams, sorted(trees))
        problems += said
        for form, links in forms.items():
            problems += [f"link {link}, {form}: nothing was extracted" for link in sorted(trees.keys() - links.keys())]
            for link, tree_of_link in sorted(links.items()):
                # The target directory's own attributes stay its own.
                received = {**trees[link], b"": (trees[link][b""][0], tree_of_link[b""][1])}
                problems += [f"link {link}, {form}: {one}" for one in differing(received, tree_of_link, times[link], "extracted")]
    return problems, refusal, refused


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--extract", help="the program extract_model")
    parser.add_argument("--proof", action="store_true")
    parser.add_argument("--histories", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--links", type=int, default=6)
    parser.add_argument("--nasty", type=float, default=0.3, help="so many of one history exchange hard links and directories")
    parser.add_argument("--keep", action="store_true", help="leaves the streams of the first history that does not agree")
    arguments = parser.parse_args()
    if reason := btrfs.why_not():
        print(f"skipped: {reason}")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is mounted goes
    failed = refused = 0
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="histories-"))
        stack.callback(lambda: None if arguments.keep and failed else subprocess.run(["rm", "-rf", str(directory)], check=True))
        disks = []
        for name in ("source", "target"):
            disks.append(Disk(directory, name))
            stack.callback(disks[-1].release)
        for seed in range(arguments.seed, arguments.seed + arguments.histories):
            problems, refusal, sentence = history(disks, directory, seed, arguments)
            if refusal:
                refused += 1
                print(f"seed {seed}: receive refused link {refusal[0]}: {refusal[1]}\n  model: {sentence and sentence[1]}", flush=True)
            if problems:
                failed += 1
                print(f"seed {seed}: " + "\n  ".join(problems[:12]), flush=True)
                if arguments.keep:
                    print(f"streams: {directory}")
                    break
            for disk in disks:
                disk.clear()
    print(f"{arguments.histories} histories of {arguments.links} links in {time.monotonic() - begin:.0f} s: {failed} do not agree, "
          f"{refused} were refused by receive")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
