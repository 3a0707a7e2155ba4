#!/usr/bin/python3 -B
"""Compares what indexes describe with what `btrfs receive` makes, over random histories:

  compare_histories.py --model build/release/tests/btrfs/index/index_model [--histories N] [--seed S] [--links L]
                       [--extract build/release/tests/app/extract_model] [--mount build/release/tests/app/mount_model] [--proof]
                       [--turns]

Each history is a tree that changes at random and is sent after each change: a full and incrementals, of protocol 1 or 2, with
compressed data or without. Every link is received on another filesystem. The model is made of the streams alone; its tree
must be the received one at every link: names, types, modes, owners, sizes, times, extended attributes, link groups, contents.
A link that receive refuses must be refused by the model, and no other. With --extract every link is also extracted from plain
and from sealed chunks, onto the source's filesystem, and what lies there must be the received tree, too. With --mount every link is
shown by FUSE, of plain and of sealed chunks: several read of it at once and anywhere, what it calls a hole must be zeros, and then
all of it must be the received tree. With --proof each
incremental is also applied to a model of its parent that is made of `btrfs send --no-data`, anew for each link, and once for the
first and carried along: both must refuse what receive refuses, and nothing else. One line for each history that does not agree, with its
seed; exit status 1. 77: this machine cannot do it. At the end: what a history took, and where.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import errno
import hashlib
import os
import pathlib
import random
import resource
import shutil
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
FORMS = ("plain", "sealed")
Fact = collections.namedtuple("Fact", "type mode uid gid size mtime rdev links target digest xattrs")


class Spent:
    """Seconds, by what they went to."""

    def __init__(self):
        self.seconds = collections.Counter()

    @contextlib.contextmanager
    def on(self, what):
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] += time.monotonic() - begin

    def told(self, histories):
        return ", ".join(f"{what} {seconds / histories:.2f}" for what, seconds in self.seconds.most_common())


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
        btrfs.run("btrfs", "subvolume", "delete", *(str(self.mount / name) for name in sorted(os.listdir(self.mount))))

    def release(self):
        btrfs.release(self.image, self.mount)


def described(root):
    """{path: (inode, Fact)} of what lies on a disk."""
    root = os.fsencode(root)
    found, stack, known = {}, [b""], {}
    while stack:
        name = stack.pop()
        path = os.path.join(root, name) if name else root
        at = os.lstat(path)
        fact = known.get(at.st_ino)
        if not fact:  # else another name of one file, of which there may be hundreds
            fact = known[at.st_ino] = fact_of(path, at)
        found[name] = (at.st_ino, fact)
        if fact.type == stat.S_IFDIR:
            stack += [os.path.join(name, one) if name else one for one in os.listdir(path)]
    return found


def fact_of(path, at):
    kind = stat.S_IFMT(at.st_mode)
    xattrs = {os.fsencode(one): os.getxattr(path, one, follow_symlinks=False)
              for one in os.listxattr(path, follow_symlinks=False)}
    digest = "-"
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Fact(kind, stat.S_IMODE(at.st_mode), at.st_uid, at.st_gid,
                at.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else 0, at.st_mtime_ns,
                at.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0, 1 if kind == stat.S_IFDIR else at.st_nlink,
                os.readlink(path) if kind == stat.S_IFLNK else b"", digest, tuple(sorted(xattrs.items())))


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


@contextlib.contextmanager
def mounted(program, into, form, streams):
    """{link: directory} of what is shown of the streams, for as long as it is needed."""
    into.mkdir()
    with tempfile.TemporaryFile("w+") as told:
        running = subprocess.Popen([program, *(["--sealed"] if form == "sealed" else []), into, *streams], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=told, text=True, errors="replace")
        try:
            words = next((line.split() for line in running.stdout if line.startswith("mounted ")), None)
            yield {link: into / str(link) for link in range(1, int(words[1]) + 1)} if words else {}
            running.stdin.close()
            status = running.wait(timeout=120)
            told.seek(0)
            words = told.read().strip()
            if status != 0 or words:
                raise RuntimeError(f"mount_model, {form}: status {status}: {words}")
        finally:
            running.kill()
            running.wait()
            running.stdout.close()
            # Where it was killed, mounts are left at which nothing can be asked.
            for name in os.listdir(into):
                subprocess.run(["umount", "-l", str(into / name)], capture_output=True, check=False)
            shutil.rmtree(into)


def files_of(tree):
    """A path of each file that has content."""
    return sorted({inode: path for path, (inode, fact) in sorted(tree.items()) if fact.type == stat.S_IFREG and fact.size}.values())


def read_anywhere(received, shown, files, seed):
    """Sentences about ranges of files that are read here and there."""
    choose, found = random.Random(seed), []
    for path in choose.choices(files, k=40) if files else []:
        with open(os.path.join(os.fsencode(received), path), "rb") as one, open(os.path.join(os.fsencode(shown), path), "rb") as other:
            offset = choose.randrange(os.fstat(one.fileno()).st_size + 10)
            length = choose.choice((1, 4096, 65_537, 1 << 20))
            if os.pread(one.fileno(), length, offset) != os.pread(other.fileno(), length, offset):
                found.append(f"{path!r}: {length} bytes at {offset} are others")
    return found


def holes_with_content(received, shown, path):
    """Sentences about what is told to be a hole and is none."""
    found, at = [], 0
    with open(os.path.join(os.fsencode(received), path), "rb") as one, open(os.path.join(os.fsencode(shown), path), "rb") as other:
        size = os.fstat(other.fileno()).st_size
        while at < size:
            try:
                data = os.lseek(other.fileno(), at, os.SEEK_DATA)
            except OSError as problem:
                if problem.errno != errno.ENXIO:
                    raise
                data = size
            if any(os.pread(one.fileno(), data - at, at)):
                found.append(f"{path!r}: what is told to be a hole from {at} to {data} is none")
            at = os.lseek(other.fileno(), data, os.SEEK_HOLE) if data < size else size
    return found


def shown_otherwise(program, directory, forms, streams, received, trees, times):
    """What does not agree where the links are mounted; `received`: where each of them lies."""
    found = []

    def look(link, form, shown):
        try:
            return compared(link, form, shown)
        except OSError as problem:
            return [f"cannot be read: {problem}"]

    def compared(link, form, shown):
        files = files_of(trees[link])
        sentences = read_anywhere(received[link], shown, files, f"{form} {link}")
        sentences += [one for path in files for one in holes_with_content(received[link], shown, path)]
        return sentences + differing(trees[link], described(shown), times[link], "mounted")
    for form in forms:
        with mounted(program, directory / form, form, streams) as places:
            found += [f"link {link}, {form}: not mounted" for link in sorted(trees.keys() - places.keys())]
            # All links at once: who reads of a mount is seldom alone, and waits less for the others than for the answers.
            with concurrent.futures.ThreadPoolExecutor(len(trees) or 1) as readers:
                links = sorted(trees.keys() & places.keys())
                for link, sentences in zip(links, readers.map(lambda link: look(link, form, places[link]), links)):
                    found += [f"link {link}, {form}, mounted: {one}" for one in sentences]
    return found


def extracted(program, directory, forms, streams, links):
    """Sentences by link: {"plain": {link: {path: (inode, Fact)}}, "sealed": ...}, and what the program said."""
    trees, said = {}, []
    for form in forms:
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


class Links:
    """The links of one history: their streams, and what receive made of them."""

    def __init__(self, disks, directory, seed, arguments, spent):
        self.source, self.target = disks
        self.directory, self.arguments, self.spent = directory, arguments, spent
        self.streams, self.parents, self.trees, self.times, self.refusal = [], [], {}, {}, None
        choose = random.Random(f"links of {seed}")
        live = self.source.mount / "live"
        btrfs.run("btrfs", "subvolume", "create", str(live))
        tree = Tree(live, seed)
        operations = Tree.NASTY if choose.random() < arguments.nasty else Tree.OPERATIONS
        for link in range(1, arguments.links + 1):
            with spent.on("changing"):
                tree.change(choose.choice((5, 20, 60)) if link > 1 else 80, operations)
            if choose.random() < 0.3:
                with spent.on("mounting again"):
                    self.source.again()  # the highest inode number, where it was removed, is given again
            self.send(live, link, choose.choice(SENDS))
            if not self.receive(link):
                break

    def snapshot(self, link):
        return str(self.source.mount / f"s{link}")

    def send(self, live, link, how):
        with self.spent.on("sending"):
            btrfs.snapshot(live, self.snapshot(link))
            self.streams.append(str(self.directory / f"stream-{link}"))
            parent = ["-p", self.snapshot(link - 1)] if link > 1 else []
            btrfs.run("btrfs", "send", "-q", *how, *parent, "-f", self.streams[-1], self.snapshot(link))
            if self.arguments.proof:
                self.parents.append(str(self.directory / f"parent-{link}"))
                btrfs.run("btrfs", "send", "-q", "--no-data", "-f", self.parents[-1], self.snapshot(link))

    def receive(self, link):
        with self.spent.on("receiving"):
            ran = subprocess.run(["btrfs", "receive", "-q", "-f", self.streams[-1], str(self.target.mount)], capture_output=True,
                                 text=True, errors="replace", timeout=600, check=False)
        if ran.returncode != 0:
            self.refusal = link, ran.stderr.strip()
            return False
        with self.spent.on("reading what was received"):
            self.trees[link] = described(self.received(link))
            self.times[link] = times_of_directories(self.source.mount / f"s{link}")
        return True

    def received(self, link):
        return self.target.mount / f"s{link}"


def history(disks, directory, seed, arguments, spent):
    """What does not agree, as sentences; how receive refused, or None; how the model did, or None."""
    links = Links(disks, directory, seed, arguments, spent)
    trees, times, streams, refusal = links.trees, links.times, links.streams, links.refusal
    problems = []
    forms = FORMS[seed % 2:][:1] if arguments.turns else FORMS
    with spent.on("model"):
        models, refused = modelled(arguments.model, streams)
        if (refusal and refusal[0]) != (refused and refused[0]):
            problems.append(f"receive: {refusal or 'refused nothing'}; model: {refused or 'refused nothing'}")
        for link in sorted(trees.keys() & models.keys()):
            problems += [f"link {link}: {one}" for one in differing(trees[link], models[link], times[link])]
    if arguments.proof:
        with spent.on("proof"):
            problems += proofs(arguments.model, links.parents, streams, refusal, trees, times)
    if arguments.extract:
        with spent.on("extracting"):
            found_in, said = extracted(arguments.extract, disks[0].mount, forms, streams, sorted(trees))
            problems += said
            for form, found in found_in.items():
                problems += [f"link {link}, {form}: nothing was extracted" for link in sorted(trees.keys() - found.keys())]
                for link, tree_of_link in sorted(found.items()):
                    # The target directory's own attributes stay its own.
                    received = {**trees[link], b"": (trees[link][b""][0], tree_of_link[b""][1])}
                    problems += [f"link {link}, {form}: {one}"
                                 for one in differing(received, tree_of_link, times[link], "extracted")]
    if arguments.mount:
        with spent.on("mount"):
            received = {link: links.received(link) for link in trees}
            problems += shown_otherwise(arguments.mount, directory, forms, streams, received, trees, times)
    return problems, refusal, refused


def roomy_directory():
    """A tmpfs, where a sync costs nothing, if the machine has memory for both disks and what is extracted."""
    memory = pathlib.Path("/dev/shm")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    roomy = memory.is_dir() and min(free, shutil.disk_usage(memory).free) >= 6 << 30
    return memory if roomy else pathlib.Path(tempfile.gettempdir())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--extract", help="the program extract_model")
    parser.add_argument("--mount", help="the program mount_model")
    parser.add_argument("--proof", action="store_true")
    parser.add_argument("--turns", action="store_true", help="chunks are plain in every second history and else sealed, not both in each")
    parser.add_argument("--histories", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--links", type=int, default=6)
    parser.add_argument("--nasty", type=float, default=0.3, help="so many of one history exchange hard links and directories")
    parser.add_argument("--keep", action="store_true", help="leaves the streams of the first history that does not agree")
    parser.add_argument("--directory", type=pathlib.Path, default=roomy_directory(), help="for disks and streams (%(default)s)")
    arguments = parser.parse_args()
    if reason := btrfs.why_not():
        print(f"skipped: {reason}")
        return 77
    if arguments.mount and not os.path.exists("/dev/fuse"):
        print("skipped: there is no /dev/fuse")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is mounted goes
    return compare(arguments)


def cpu_seconds():
    """Of this process and its children."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def compare(arguments):
    done = failed = refused = 0
    begin, spent = time.monotonic(), Spent()
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="histories-", dir=arguments.directory))
        stack.callback(lambda: None if arguments.keep and failed else subprocess.run(["rm", "-rf", str(directory)], check=True))
        disks = []
        for name in ("source", "target"):
            disks.append(Disk(directory, name))
            stack.callback(disks[-1].release)
        stack.callback(lambda: print(
            f"{done} histories of {arguments.links} links from seed {arguments.seed} on in {time.monotonic() - begin:.0f} s "
            f"({cpu_seconds():.0f} CPU-s but for the kernel's): "
            f"{failed} do not agree, {refused} were refused by receive\nseconds a history: {spent.told(done or 1)}", flush=True))
        for seed in range(arguments.seed, arguments.seed + arguments.histories):
            problems, refusal, sentence = history(disks, directory, seed, arguments, spent)
            done += 1
            if refusal:
                refused += 1
                print(f"seed {seed}: receive refused link {refusal[0]}: {refusal[1]}\n  model: {sentence and sentence[1]}", flush=True)
            if problems:
                failed += 1
                print(f"seed {seed}: " + "\n  ".join(problems[:12]), flush=True)
                if arguments.keep:
                    print(f"streams: {directory}")
                    break
            if done % 50 == 0:
                print(f"{done} histories, {failed} do not agree, {time.monotonic() - begin:.0f} s", flush=True)
            with spent.on("clearing"):
                for disk in disks:
                    disk.clear()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
