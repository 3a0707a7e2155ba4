"""Trees of test data, the same for the same seed, with everything that a file system can hold."""
import fcntl
import os
import random
import stat

FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def text(generator, size):
    words = [b"static", b"int", b"return", b"void", b"struct", b"const", b"value", b"0x1f", b";\n"]
    data = b" ".join(generator.choice(words) for _ in range(size // 5 + 1))
    return data[:size]


def seed(root, large_mib=24, small_files=600, number=1):
    """Fills the empty directory `root`."""
    generator = random.Random(number)
    root = os.fspath(root)
    for index in range(small_files):
        folder = os.path.join(root, "src", f"module{index % 20:02d}")
        os.makedirs(folder, exist_ok=True)
        write(os.path.join(folder, f"file{index:04d}.c"), text(generator, generator.randrange(0, 9000)))
    os.makedirs(os.path.join(root, "empty"), exist_ok=True)
    write(os.path.join(root, "large.bin"), generator.randbytes(large_mib << 20))
    write(os.path.join(root, "large.txt"), text(generator, 4 << 20))
    os.link(os.path.join(root, "large.txt"), os.path.join(root, "large-link.txt"))
    os.symlink("large.bin", os.path.join(root, "to-large"))
    os.symlink("/nowhere/at all", os.path.join(root, "dangling"))
    with open(os.path.join(root, "sparse"), "wb") as file:
        file.write(b"begin")
        file.seek(50 << 20)
        file.write(b"end")
        file.truncate(80 << 20)
    with open(os.path.join(root, "large.bin"), "rb") as source:
        with open(os.path.join(root, "clone.bin"), "wb") as clone:
            fcntl.ioctl(clone, FICLONE, source.fileno())
    os.mkfifo(os.path.join(root, "pipe"))
    os.mknod(os.path.join(root, "null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    for name in ("with space", "new\nline", "quote'\"", "\u00fcml\u00e4ut \u2603"):
        write(os.path.join(root, name), name.encode())
    write(os.path.join(root, "setuid"), b"#!/bin/true\n")
    os.chown(os.path.join(root, "with space"), 1234, 4321)
    os.chmod(os.path.join(root, "setuid"), 0o4755)
    os.chmod(os.path.join(root, "empty"), 0o1777)
    os.setxattr(os.path.join(root, "large.txt"), "user.comment", b"an attribute\0with a zero")
    os.setxattr(os.path.join(root, "empty"), "user.on-directory", b"x" * 200)
    os.utime(os.path.join(root, "large.bin"), ns=(1_000_000_001, 1_234_567_890_123_456_789))


def mutate(root, number=2, large_mib=24):
    """Changes what seed() made with that size."""
    generator = random.Random(number)
    root = os.fspath(root)
    with open(os.path.join(root, "large.bin"), "r+b") as file:
        for _ in range(20):
            file.seek(generator.randrange(0, min(large_mib, 20) << 20))
            file.write(generator.randbytes(5000))
    with open(os.path.join(root, "large.txt"), "ab") as file:
        file.write(text(generator, 100_000))
    os.truncate(os.path.join(root, "sparse"), 60 << 20)
    for index in range(0, 600, 7):
        path = os.path.join(root, "src", f"module{index % 20:02d}", f"file{index:04d}.c")
        if not os.path.exists(path):
            continue
        action = index % 4
        if action == 0:
            os.unlink(path)
        elif action == 1:
            os.rename(path, path + ".moved")
        elif action == 2:
            write(path, text(generator, 3000))
        else:
            os.chmod(path, 0o600)
    os.unlink(os.path.join(root, "to-large"))
    os.symlink("large.txt", os.path.join(root, "to-large"))
    os.link(os.path.join(root, "clone.bin"), os.path.join(root, f"clone-link{number}.bin"))
    if "user.on-directory" in os.listxattr(os.path.join(root, "empty")):
        os.removexattr(os.path.join(root, "empty"), "user.on-directory")
    os.setxattr(os.path.join(root, "with space"), "user.new", b"1")
    os.chown(os.path.join(root, "setuid"), 99, 99)
    os.makedirs(os.path.join(root, f"added{number}", "deep", "er"))
    write(os.path.join(root, f"added{number}", "deep", "er", "file"), generator.randbytes(300_000))
