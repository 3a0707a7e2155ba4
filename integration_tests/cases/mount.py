"""Cases of `mount`: a backup as a directory, compared with what a restore gives; its ends, its damages, its users."""
import concurrent.futures
import contextlib
import errno
import os
import pathlib
import random
import shutil
import signal
import stat
import subprocess
import sys
import time

from files import chain_of_four
from hosts import run_as_nobody
from prune import flip
from recovery import behind_proxy
from sealing import make_identity
from world import case, compare, dataset, says

from harness import archive

DEVICE = pathlib.Path("/dev/fuse")
# user::rw-, user:1234:r--, group::---, mask::rw-, other::---, as the kernel has it in the attribute.
ACL = bytes.fromhex("02000000" "01000600ffffffff" "02000400d2040000" "04000000ffffffff" "10000600ffffffff" "20000000ffffffff")


def is_mounted(place):
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return any(line.split()[4] == str(place) for line in file)


def wait_for(condition, what, limit=60):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come in {limit} s"
        time.sleep(0.02)


def needs_fuse():
    if not DEVICE.exists() or not shutil.which("fusermount3"):
        print(f"skipped: there is no {DEVICE}, or no fusermount3")
        sys.exit(77)


def begin(w, place, *arguments):
    needs_fuse()
    place.mkdir(exist_ok=True)
    running = w.tool.start("mount", str(place), "--subvolume", "data", *arguments)

    def there():
        assert running[0].poll() is None, w.tool.finish(running)
        return is_mounted(place)
    wait_for(there, "the mount")
    return running


@contextlib.contextmanager
def nothing_left_at(place):
    """Whatever happens: the case's directory must go."""
    try:
        yield
    finally:
        if is_mounted(place):
            subprocess.run(["umount", "-l", str(place)], check=False)


@contextlib.contextmanager
def mounted(w, *arguments, ends=signal.SIGINT, expect=130):
    """Where the backup is, until a signal ends it. Its outcome comes to `.outcome`."""
    place = w.directory / "shown"
    with nothing_left_at(place):
        running = begin(w, place, *arguments)
        shown = Shown(place)
        yield shown
        running[0].send_signal(ends)
        shown.outcome = w.expect(expect, w.tool.finish(running, limit=30))
        assert not is_mounted(place), shown.outcome


class Shown:
    def __init__(self, place):
        self.place, self.outcome = place, None

    def __fspath__(self):
        return str(self.place)

    def __truediv__(self, name):
        return self.place / name


def same_as_restored(w, shown, there):
    found = compare.differences(there, shown.place)
    assert not found, (len(found), found[:3])
    # Numbers of inodes are those of names of one file; what is counted is what is there.
    for path in ("large.txt", "large-link.txt"):
        facts, other = os.lstat(shown / path), os.lstat(there / path)
        assert facts.st_nlink == other.st_nlink and facts.st_ino == os.lstat(shown / "large.txt").st_ino, (facts, other)
    assert os.stat(shown / "sparse").st_blocks <= os.stat(there / "sparse").st_blocks + 64
    assert stat.S_ISFIFO(os.lstat(shown / "pipe").st_mode) and os.lstat(shown / "null").st_rdev == os.makedev(1, 3)


def random_ranges(first, second, generator, count=60):
    with open(first, "rb") as here, open(second, "rb") as there:
        size = os.fstat(here.fileno()).st_size
        assert size == os.fstat(there.fileno()).st_size
        for _ in range(count):
            offset = generator.randrange(0, size + 10)
            length = generator.choice((1, 100, 4096, 65_537, 1 << 20))
            assert os.pread(here.fileno(), length, offset) == os.pread(there.fileno(), length, offset), (first, offset, length)


def listing(place, *command):
    return subprocess.run([*command], cwd=place, check=True, capture_output=True, timeout=120,
                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}).stdout


def told_as_it_is(shown, there):
    """What people use says the same of both."""
    for command in (("find", ".", "-printf", r"%P %y %m %n %U %G %T@ %l\0"), ("ls", "-lRn", "--time-style=full-iso", "src")):
        if command[0] == "find":
            here, other = (sorted(one for one in listing(place, *command).split(b"\0") if b" d " not in one)
                           for place in (shown.place, there))
        else:
            here, other = ([line for line in listing(place, *command).splitlines() if not line.startswith((b"total", b"d"))]
                           for place in (shown.place, there))
        assert here == other, (command, [pair for pair in zip(here, other) if pair[0] != pair[1]][:2])
    facts = os.statvfs(shown)
    assert facts.f_flag & os.ST_RDONLY and facts.f_flag & os.ST_NOSUID and facts.f_flag & os.ST_NODEV and facts.f_namemax == 255
    for path, error in (("new", errno.EROFS), ("null", errno.EACCES)):
        try:
            os.close(os.open(shown / path, os.O_WRONLY | os.O_CREAT))
            raise AssertionError(f"{path} was opened for writing")
        except OSError as problem:
            assert problem.errno in (error, errno.EROFS), problem
    names = os.listdir(shown / "src")
    with os.scandir(shown / "src") as entries:
        assert sorted(one.name for one in entries) == sorted(names) == sorted(os.listdir(there / "src"))
    try:
        os.getxattr(shown / "empty", "user.nothing")
        raise AssertionError("there is an attribute that nobody set")
    except OSError as problem:
        assert problem.errno == errno.ENODATA, problem


def shown_as_restored(w, *identity):
    long_name = "n" * 255
    (w.data / long_name).write_text("long")
    (w.data / "with-acl").write_text("for some")
    os.setxattr(w.data / "with-acl", "system.posix_acl_access", ACL)
    os.setxattr(w.data / "with-acl", "security.something", b"kept")
    keys = chain_of_four(w)
    generator = random.Random(5)
    for number in (0, 3):
        there = w.restored / f"link{number}"
        w.restore("--target", str(there), "--manifest-key", keys[number], *identity)
        with mounted(w, "--manifest-key", keys[number], *identity) as shown:
            told_as_it_is(shown, there)
            same_as_restored(w, shown, there)
            assert (shown / long_name).read_text() == "long"
            assert os.getxattr(shown / "with-acl", "system.posix_acl_access") == ACL
            assert os.getxattr(shown / "with-acl", "security.something") == b"kept"
        with mounted(w, "--manifest-key", keys[number], *identity) as shown:
            for path in ("large.bin", "large.txt", "sparse", "clone.bin"):
                random_ranges(there / path, shown / path, generator)
            everything = sorted(path for path in (there / "src").rglob("*") if path.is_file())
            with concurrent.futures.ThreadPoolExecutor(24) as readers:
                wanted = [*everything, *([there / "large.bin", there / "large.txt"] * 8)]
                same = list(readers.map(lambda path: path.read_bytes() == (shown / path.relative_to(there)).read_bytes(), wanted))
                assert all(same), [path for path, one in zip(wanted, same) if not one]
        assert "ERROR" not in shown.outcome.stderr, shown.outcome
    return keys


@case
def what_is_mounted_is_what_is_restored(w):
    keys = shown_as_restored(w)
    around_damage(w, keys[3])


@case
def what_is_mounted_of_a_sealed_chain_is_what_is_restored(w):
    identity, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    keys = shown_as_restored(w, "--identity", str(identity))
    around_damage(w, keys[3], "--identity", str(identity))


def around_damage(w, key, *identity):
    """A bit of a chunk is not what it was: its file cannot be read there, and all others can."""
    there = w.restored / "link3"
    full = next(name for name in sorted(w.bucket.list()) if "/full/" in name and "manifest" in name and name.endswith(".json"))
    chunks = w.bucket.get_json(full)["chunks"]
    flip(w, chunks[0]["key"], chunks[0]["size"] // 2)
    with mounted(w, "--manifest-key", key, *identity) as shown:
        damaged = []
        for path in sorted(there.rglob("*")):
            if not path.is_file() or path.is_symlink():
                continue
            begin_at = time.monotonic()
            try:
                assert (shown / path.relative_to(there)).read_bytes() == path.read_bytes(), path
            except OSError as problem:
                assert problem.errno == errno.EIO, problem
                assert time.monotonic() - begin_at < 30
                damaged.append(path)
    names = {path.name for path in damaged}
    assert "large.bin" in names and all(name == "large.bin" or name.startswith("clone") for name in names), damaged
    # Each once, by one of its names.
    lines = [line for line in shown.outcome.stderr.splitlines() if "file_damaged" in line]
    inodes = {}
    for path in damaged:
        inodes.setdefault(path.stat().st_ino, []).append(path.name)
    assert len(lines) == len(inodes), shown.outcome
    assert all(any(f"file={name} " in line for line in lines for name in found) for found in inodes.values()), shown.outcome


@case
def a_mount_ends_as_it_is_told_to(w):
    dataset.seed(w.data, large_mib=2, small_files=20)
    w.backup()
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        with mounted(w, ends=number, expect=status) as shown:
            assert (shown / "with space").read_text() == "with space"
        assert "is mounted at" in shown.outcome.stdout and "umount" in shown.outcome.stdout, shown.outcome
        assert "still_in_use" not in shown.outcome.stderr, shown.outcome
    # By somebody else.
    place = w.directory / "shown"
    with nothing_left_at(place):
        running = begin(w, place)
        assert (place / "with space").read_text() == "with space"
        subprocess.run(["umount", str(place)], check=True)
        outcome = w.expect(0, w.tool.finish(running, limit=20))
        assert "ERROR" not in outcome.stderr, outcome
    # In use: it is gone from its place all the same, and who has it open gets errors.
    with mounted(w) as shown:
        held = os.open(shown / "large.bin", os.O_RDONLY)
        os.pread(held, 10, 0)
        time.sleep(0.2)  # what is read ahead may come meanwhile
    says(shown.outcome, "still_in_use")
    try:
        os.pread(held, 1 << 20, 1 << 20)
        raise AssertionError("a file could be read whose program has ended")
    except OSError as problem:
        assert problem.errno in (errno.ENOTCONN, errno.EIO, errno.ECONNABORTED), problem
    finally:
        with contextlib.suppress(OSError):  # which is told of the flush
            os.close(held)
    refused_places(w)


@case
def a_store_that_hangs_keeps_neither_a_reader_nor_the_end_of_a_mount(w):
    dataset.seed(w.data, large_mib=8, small_files=20)
    w.backup()
    with behind_proxy(w) as between:
        with mounted(w) as shown:
            held = between.hold(method="GET", path="/chunk-", when="before")
            readers = [subprocess.Popen(["cat", str(shown / name)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                       for name in ("large.bin", "large.txt")]
            assert held.reached.wait(60)
            readers[0].send_signal(signal.SIGKILL)
            assert readers[0].wait(timeout=10) == -signal.SIGKILL
            assert (shown / "empty").is_dir()  # what the index knows is answered meanwhile
            begin_at = time.monotonic()
        assert time.monotonic() - begin_at < 10, shown.outcome
        _, said = readers[1].communicate(timeout=10)
        assert readers[1].returncode == 1 and said, said
        between.release()
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint


def refused_places(w):
    place = w.directory / "shown"
    for directory, words in ((w.directory / "missing", "mkdir"), (w.tool.config, "is no directory"), (w.data, "is not empty")):
        refused = w.expect(2, w.tool.run("mount", str(directory), "--subvolume", "data"))
        says(refused, words)
    # Left behind by a kill, and said so.
    with nothing_left_at(place):
        running = begin(w, place)
        running[0].send_signal(signal.SIGKILL)
        w.tool.finish(running)
        says(w.expect(2, w.tool.run("mount", str(place), "--subvolume", "data")), "umount -l")


@case
def archived_content_is_an_error_at_once_and_can_be_read_when_it_is_thawed(w):
    dataset.seed(w.data, large_mib=24, small_files=20)
    w.backup()
    with archive.archive_before(w.bucket.endpoint, "/chunk-", polls=0) as (glacier, endpoint):
        w.tool.tables["s3"]["endpoint_url"] = endpoint
        with mounted(w) as shown:
            assert sorted(os.listdir(shown)) == sorted(os.listdir(w.data))
            for _ in range(3):
                begin_at = time.monotonic()
                try:
                    (shown / "large.bin").read_bytes()
                    raise AssertionError("archived content could be read")
                except OSError as problem:
                    assert problem.errno == errno.EIO, problem
                assert time.monotonic() - begin_at < 5
            assert glacier.gets == 0 and not glacier.posted, vars(glacier)
        chunks = [key for key in w.bucket.list() if "/chunk-" in key]
        assert 0 < shown.outcome.stderr.count("file_archived") <= len(chunks), shown.outcome
        says(shown.outcome, "extract --no-wait-thaw", "thaw --subvolume data")
        w.tool.run("thaw", "--subvolume", "data")
        w.expect(0, w.tool.run("thaw", "--subvolume", "data"))
        with mounted(w) as shown:
            assert (shown / "large.bin").read_bytes() == (w.data / "large.bin").read_bytes()


@contextlib.contextmanager
def for_everybody(w):
    """An ordinary user may open the device, and mount for others; as on a usual host."""
    needs_fuse()
    settings = pathlib.Path("/etc/fuse.conf")
    mode, before = stat.S_IMODE(DEVICE.stat().st_mode), settings.read_bytes() if settings.exists() else None
    w.directory.chmod(0o755)
    w.tool.write_config()
    try:
        DEVICE.chmod(0o666)
        yield settings
    finally:
        DEVICE.chmod(mode)
        if before is not None:
            settings.write_bytes(before)
        else:
            settings.unlink(missing_ok=True)


def as_nobody(*command):
    return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command], capture_output=True,
                          text=True, timeout=60, check=False)


@contextlib.contextmanager
def mounted_by_nobody(w, *arguments):
    home = w.directory / "of-nobody"
    place = home / "shown"
    place.mkdir(exist_ok=True)
    os.chown(place, 65534, 65534)
    running = subprocess.Popen(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(home / "btrfs_to_s3"), "mount",
                                "--config", str(w.tool.config), str(place), "--subvolume", "data", *arguments],
                               env={**w.tool.environment, "HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with nothing_left_at(place):
        try:
            wait_for(lambda: is_mounted(place) or running.poll() is not None, "the mount")
            assert running.poll() is None, running.communicate()
            yield place
            running.send_signal(signal.SIGTERM)
            said = running.communicate(timeout=30)
            assert running.returncode == 143 and not is_mounted(place), (running.returncode, said)
        finally:
            running.kill()
            running.wait()


@case
def an_ordinary_user_mounts_for_itself_and_others_where_that_is_allowed(w):
    dataset.seed(w.data, large_mib=2, small_files=20)
    (w.data / "private").write_text("of root")
    (w.data / "private").chmod(0o600)
    w.backup()
    with for_everybody(w) as settings:
        # Copies the program to where that user may run it.
        w.expect(2, run_as_nobody(w, "mount", "--subvolume", "data", str(w.directory / "missing")))
        settings.write_text("# nothing\n")
        place = w.directory / "of-nobody" / "shown"
        place.mkdir()
        os.chown(place, 65534, 65534)
        refused = w.expect(2, run_as_nobody(w, "mount", "--subvolume", "data", "--allow-other", str(place)))
        says(refused, "user_allow_other")
        with mounted_by_nobody(w) as place:
            shown = as_nobody("cat", str(place / "private"), str(place / "with space"))
            assert shown.stdout == "of rootwith space", shown  # who may read the bucket may read all of it
            try:
                os.listdir(place)
                raise AssertionError("root looked into another user's mount")
            except PermissionError:
                pass
        settings.write_text("user_allow_other\n")
        with mounted_by_nobody(w, "--allow-other") as place:
            assert (place / "with space").read_text() == "with space"
            assert as_nobody("cat", str(place / "private")).returncode != 0
    with mounted(w, "--allow-other") as shown:
        assert as_nobody("cat", str(shown / "with space")).stdout == "with space"
        denied = as_nobody("cat", str(shown / "private"))
        assert denied.returncode != 0 and "Permission denied" in denied.stderr, denied
    with mounted(w) as shown:
        assert as_nobody("ls", str(shown)).returncode != 0
