"""A tree that is changed at random, from a seed, by everything that `btrfs send` has to tell differently.

Tree(path, seed).change(rounds) does `rounds` operations. What an operation finds in the way (a name that is taken, a directory
that is not empty) it leaves alone: names, kinds and places are chosen from what is there.
"""
import ctypes
import fcntl
import os
import random
import stat
import struct

KIB, MIB = 1 << 10, 1 << 20
SECTOR = 4096
FICLONERANGE = 0x4020940D
RENAME_EXCHANGE = 2
AT_FDCWD = -100
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 1, 2, 16
LARGEST = 3 * MIB

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]


def access_control(*entries):
    """An access-control list as the kernel stores it."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


def type_of(entry):
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else stat.S_IFIFO


class Tree:
    def __init__(self, root, seed):
        self.root = os.fsencode(root)
        self.random = random.Random(seed)
        self.counter = 0

    # What is there, in an order that depends on names alone.

    def every(self, wanted):
        """Paths of the types that are wanted (a mode without permissions; of what is no file, directory or link a fifo's)."""
        found, stack = [], [self.root]
        while stack:
            with os.scandir(stack.pop()) as entries:
                here = sorted((entry.path, type_of(entry)) for entry in entries)
            found += [path for path, mode in here if wanted(mode)]
            stack += [path for path, mode in reversed(here) if mode == stat.S_IFDIR]
        return found

    def one(self, wanted):
        found = self.every(wanted)
        return self.random.choice(found) if found else None

    def file(self):
        return self.one(stat.S_ISREG)

    def directory(self):
        return self.random.choice([self.root] + self.every(stat.S_ISDIR))

    def name(self):
        self.counter += 1
        kind = self.random.random()
        if kind < 0.05:
            return (b"%d-" % self.counter).ljust(255, b"n")
        if kind < 0.10:
            return b"line\nbreak %d" % self.counter
        if kind < 0.15:
            return b"\xff\xfe not text \x80%d" % self.counter
        if kind < 0.20:
            return b"o%d-%d-0" % (256 + self.random.randrange(60), self.random.randrange(20))
        if kind < 0.70:
            return b"abcdefgh"[(at := self.random.randrange(8)):at + 1]  # names that come again
        return b"name%d" % self.counter

    def place(self):
        """A path with no longer than the kernel takes, where nothing is."""
        for _ in range(20):
            path = os.path.join(self.directory(), self.name())
            if len(path) < 3000 and not os.path.lexists(path):
                return path
        return None

    # Operations.

    def make_file(self):
        path = self.place()
        if path:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
            if self.random.random() < 0.4:
                os.setxattr(path, "btrfs.compression", self.random.choice((b"zlib", b"lzo", b"zstd")))
            for _ in range(self.random.randrange(3)):
                self.write(path)
        return path

    def make_directory(self):
        path = self.place()
        if path:
            os.mkdir(path)

    def make_deep(self):
        """A file far down: eight levels with names of forty bytes."""
        path = self.place()
        if not path or len(path) > 600:
            return
        for level in range(8):
            os.mkdir(path)
            path = os.path.join(path, (b"level%d-" % level).ljust(40, b"d"))
        with open(path, "wb") as file:
            file.write(self.content(self.random.choice((10, 50_000))))

    def make_farm(self):
        """Many names of one file, in several directories; more than fit into an inode's first reference."""
        path = self.file()
        if not path or os.stat(path).st_nlink > 300:
            return
        self.counter += 1
        places = [self.directory() for _ in range(3)]
        for number in range(self.random.choice((40, 150))):
            name = os.path.join(self.random.choice(places), (b"farm%d-%d-" % (self.counter, number)).ljust(60, b"f"))
            if len(name) < 3000:
                os.link(path, name)

    def make_special(self):
        path = self.place()
        if not path:
            return
        kind = self.random.randrange(4)
        if kind == 0:
            os.symlink(self.random.choice((b"/nowhere", b"../" * 9, b"a", b"x" * 4000)), path)
        elif kind == 1:
            os.mkfifo(path, 0o640)
        elif kind == 2:
            number = os.makedev(self.random.randrange(1, 300), self.random.randrange(100_000))
            os.mknod(path, self.random.choice((stat.S_IFCHR, stat.S_IFBLK)) | 0o600, number)
        else:
            os.mknod(path, stat.S_IFSOCK | 0o700)

    def content(self, size):
        kind = self.random.random()
        if kind < 0.3:
            return self.random.randbytes(size)
        if kind < 0.6:
            return (b"%d the same again, " % self.random.randrange(1000) * (size // 10 + 1))[:size]
        # Packs, but not to nothing.
        words = [self.random.randbytes(6) for _ in range(40)]
        return b"".join(self.random.choices(words, k=size // 6 + 1))[:size]

    def write(self, path=None):
        path = path or self.file()
        if not path:
            return
        size = os.stat(path).st_size
        kind = self.random.random()
        count = self.random.choice((1, 100, 2000, SECTOR, 3 * SECTOR + 7, 100_000, 128 * KIB, 300_000))
        if kind < 0.4:
            offset = size
        elif kind < 0.8:
            offset = self.random.randrange(size + 1)
        else:
            offset = self.random.randrange(LARGEST)  # with a hole before it
        offset = min(offset, LARGEST)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(self.content(count))
            if self.random.random() < 0.5:
                os.fsync(file.fileno())  # so that extents are no longer than this

    def truncate(self):
        path = self.file()
        if path:
            size = os.stat(path).st_size
            os.truncate(path, self.random.choice((0, size // 2, size // 2 // SECTOR * SECTOR, size + 5000, LARGEST,
                                                  max(size - 1, 0))))

    def reserve(self):
        path = self.file()
        if not path:
            return
        mode = self.random.choice((0, FALLOC_KEEP_SIZE, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE,
                                   FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE))
        offset = self.random.randrange(1 + os.stat(path).st_size)
        with open(path, "r+b") as file:
            libc.fallocate(file.fileno(), mode, offset, self.random.choice((1, SECTOR, 50_000, 300_000)))

    def clone(self):
        source, target = self.file(), self.file()
        if not source:
            return
        size = os.stat(source).st_size
        if size == 0:
            return
        start = self.random.randrange(size) // SECTOR * SECTOR
        kind = self.random.random()
        length = 0 if kind < 0.4 else max(self.random.randrange(size - start + 1) // SECTOR * SECTOR, SECTOR)
        to = self.random.randrange(LARGEST) // SECTOR * SECTOR if kind < 0.8 else 0
        with open(source, "rb") as one, open(target, "r+b") as other:
            try:
                fcntl.ioctl(other, FICLONERANGE, struct.pack("qQQQ", one.fileno(), start, length, to))
            except OSError:
                pass  # onto itself, behind the end, or between kinds of files that do not share

    def link(self):
        path, place = self.one(lambda mode: not stat.S_ISDIR(mode)), self.place()
        if path and place and os.lstat(path).st_nlink < 500:
            for number in range(self.random.choice((1, 1, 1, 2, 12))):
                directory, name = os.path.split(place)
                other = place if number == 0 else os.path.join(directory, name[:240] + b"~%d" % number)
                if not os.path.lexists(other):
                    os.link(path, other, follow_symlinks=False)

    def unlink(self):
        path = self.one(lambda mode: not stat.S_ISDIR(mode))
        if path:
            os.unlink(path)

    def replace(self):
        """Another file of the same name."""
        path = self.one(lambda mode: not stat.S_ISDIR(mode))
        if path:
            os.unlink(path)
            kind = self.random.random()
            if kind < 0.3:
                os.mkdir(path)
            elif kind < 0.5:
                os.symlink(b"elsewhere", path)
            else:
                with open(path, "wb") as file:
                    file.write(self.content(self.random.choice((10, 5000, 200_000))))

    def remove_directory(self):
        path = self.one(stat.S_ISDIR)
        if not path:
            return
        for below, directories, files in os.walk(path, topdown=False):
            if self.random.random() < 0.3 and files:
                # What is in it survives elsewhere.
                place = self.place()
                if place and not place.startswith(path + b"/"):
                    os.rename(os.path.join(below, sorted(files)[0]), place)
                    files.remove(sorted(files)[0])
            for name in files:
                os.unlink(os.path.join(below, name))
            for inner in (os.path.join(below, name) for name in directories):
                os.unlink(inner) if os.path.islink(inner) else os.rmdir(inner)
        os.rmdir(path)
        if self.random.random() < 0.3:
            os.mkdir(path)

    def rename(self):
        path, place = self.one(lambda mode: True), self.place()
        if path and place and not (place + b"/").startswith(path + b"/"):
            os.rename(path, place)

    def rename_over(self):
        path, other = (self.one(lambda mode: not stat.S_ISDIR(mode)) for _ in range(2))
        if path and path != other:
            os.rename(path, other)

    def swap(self):
        wanted = self.random.choice((stat.S_ISDIR, stat.S_ISDIR, stat.S_ISREG, lambda mode: True))
        path, other = self.one(wanted), self.one(wanted)
        if path:
            libc.renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE)  # refused into itself

    def turn_over(self):
        """A directory goes below what was in it."""
        path = self.one(stat.S_ISDIR)
        inner = [name for name in sorted(os.listdir(path)) if os.path.isdir(os.path.join(path, name)) and
                 not os.path.islink(os.path.join(path, name))] if path else []
        if inner:
            name = self.random.choice(inner)
            place = os.path.join(os.path.dirname(path), b"turned%d" % self.counter)
            self.counter += 1
            os.rename(os.path.join(path, name), place)
            if not os.path.lexists(os.path.join(place, b"up")):
                os.rename(path, os.path.join(place, b"up"))
                if self.random.random() < 0.7:
                    os.rename(place, path)

    def attributes(self):
        path = self.one(lambda mode: True)
        if not path:
            return
        kind, link = self.random.randrange(7), os.path.islink(path)
        if kind == 0 and not link:
            os.chmod(path, self.random.choice((0, 0o777, 0o4755, 0o2750, 0o1777, 0o640)))
        elif kind == 1:
            os.chown(path, self.random.randrange(4), self.random.randrange(100_000), follow_symlinks=False)
        elif kind == 2:
            times = [self.random.randrange(-(10 ** 18), 4 * 10 ** 18) for _ in range(2)]
            os.utime(path, ns=tuple(times), follow_symlinks=False)
        elif kind == 3 and (os.path.isfile(path) or os.path.isdir(path)) and not link:
            os.setxattr(path, b"user.%d" % self.random.randrange(4), self.random.randbytes(self.random.choice((0, 5, 900, 3000))))
        elif kind == 4:
            os.setxattr(path, b"trusted.%d" % self.random.randrange(3), b"value\0with zero", follow_symlinks=False)
        elif kind == 5 and os.path.isfile(path) and not link:
            os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0))
        elif kind == 6 and not link:
            os.setxattr(path, "system.posix_acl_access", access_control(
                (1, 6, 0xFFFFFFFF), (2, self.random.randrange(8), 1000), (4, 4, 0xFFFFFFFF), (16, 5, 0xFFFFFFFF),
                (32, 0, 0xFFFFFFFF)))

    def remove_attribute(self):
        path = self.one(lambda mode: True)
        names = sorted(os.listxattr(path, follow_symlinks=False)) if path else []
        if names:
            try:
                os.removexattr(path, self.random.choice(names), follow_symlinks=False)
            except OSError:
                pass  # a list that only says what the mode says

    OPERATIONS = ((make_file, 12), (make_directory, 7), (make_special, 4), (write, 12), (truncate, 5), (reserve, 4), (clone, 7),
                  (link, 7), (unlink, 5), (replace, 4), (remove_directory, 2), (rename, 10), (rename_over, 3), (swap, 6),
                  (turn_over, 3), (attributes, 9), (remove_attribute, 2), (make_deep, 1), (make_farm, 1))
    # Hard links and directories that change places: what the kernel's send gets wrong now and then.
    NASTY = ((make_file, 3), (make_directory, 5), (link, 14), (unlink, 8), (replace, 5), (remove_directory, 4), (rename, 16),
             (rename_over, 6), (swap, 16), (turn_over, 8), (write, 2))

    def change(self, rounds, operations=OPERATIONS):
        functions, weights = zip(*operations)
        for _ in range(rounds):
            self.random.choices(functions, weights)[0](self)
