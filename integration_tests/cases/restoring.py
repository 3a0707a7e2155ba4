"""What cases of restores share: a chain in the bucket, what spoils it, and receivers that are played."""
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

from world import dataset, tool


def time_of(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def chain_of(w, links, large_mib=4, small_files=40, **s3):
    """Backs `data` up `links` times; returns the manifest keys. Snapshots stay."""
    w.tool.tables["snapshots"]["retain"] = links + 1
    w.tool.tables["s3"].update(s3)
    dataset.seed(w.data, large_mib=large_mib, small_files=small_files)
    keys = []
    for number in range(links):
        if number:
            (w.data / f"link{number}").write_bytes(os.urandom(100_000))
            if (w.data / f"link{number - 1}").exists():
                (w.data / f"link{number - 1}").unlink()
        w.backup("--once")
        keys.append(w.pointer()["manifest_key"])
    return keys


def as_the_earlier_tool_wrote(w, key):
    """The manifest at `key` without what that tool did not record."""
    manifest = w.bucket.get_json(key)
    for chunk in manifest["chunks"]:
        for field in ("part_size", "part_crc32", "part_sha256_states"):
            chunk.pop(field, None)
        chunk["etag"] = None
    for field in ("stream", "tool", "host"):
        manifest.pop(field, None)
    manifest["snapshot"].update(uuid=None, parent_uuid=None)
    for field in ("ctransid", "received_uuid"):
        manifest["snapshot"].pop(field, None)
    w.bucket.put(key, json.dumps(manifest).encode())


def flip(w, key, at):
    """Damages an object; returns what it was."""
    body = w.bucket.get(key)
    w.bucket.put(key, body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])
    return body


def fake_receive(w, text):
    """An environment whose `btrfs receive` is this shell text; $REAL is the real program. It can write into $PLACE
    alone, which is received() of the target, and to a pipe that has a name."""
    fake = w.fake_btrfs("exit 9")
    script = pathlib.Path(fake["PATH"].split(":")[0]) / "btrfs"
    before, others, after = script.read_text().partition("if [[ $1 != send")
    assert others
    script.write_text(f"{before}if [[ $1 == receive ]]; then\nPLACE=${{@: -1}}\n{text}\nfi\n{others}{after}")
    return fake


def received(target):
    """Where a restore to that target receives."""
    return target.parent / f".btrfs_to_s3.{target.name}" / "received"


class Gathered:
    """A pipe with a name; size() tells how many bytes were written to it, once its writers have ended."""

    def __init__(self, w):
        self.path = w.directory / f"pipe-{time.monotonic_ns()}"
        os.mkfifo(self.path)
        self._ours = os.open(self.path, os.O_RDWR)  # so that it has no end before ours
        self._bytes = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        with open(self.path, "rb", buffering=0) as pipe:
            while piece := pipe.read(1 << 20):
                self._bytes += len(piece)

    def size(self):
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1
            self._thread.join()
        return self._bytes


def killer(w):
    """Compiles harness/kill_at.c; returns a function from a step to an environment."""
    source = pathlib.Path(__file__).resolve().parent.parent / "harness" / "kill_at.c"
    library = w.directory / "kill_at.so"
    compiled = os.system(f"cc -shared -fPIC -o {library} {source} -ldl")
    assert compiled == 0, "harness/kill_at.c does not compile"
    log = w.directory / "kill_at.log"

    def at(step):
        log.unlink(missing_ok=True)
        return {"LD_PRELOAD": str(library), "KILL_AT": str(step), "KILL_LOG": str(log)}

    def failing(step, names=None):
        return {**{key: value for key, value in at(step).items() if key != "KILL_AT"}, "FAIL_AT": str(step),
                **({"FAIL_NAMES": names} if names else {})}

    at.failing = failing
    at.last = lambda: log.read_text().splitlines()[-1]
    at.steps = lambda: [line.split(" ", 1)[1] for line in log.read_text().splitlines()]
    return at


def stopped_in_receive(w, target, count, number):
    """Signals the restore when its receiver has taken `count` bytes of the first link and waits; what it ended with."""
    held = received(target) / "held"
    fake = fake_receive(w, f"head -c {count} > /dev/null; touch $PLACE/held; exec sleep 600")
    running = w.tool.start("restore", "--subvolume", "data", "--target", str(target), environment=fake)
    deadline = time.monotonic() + 60
    while not held.exists():
        assert time.monotonic() < deadline and running[0].poll() is None, w.tool.finish(running)
        time.sleep(0.02)
    running[0].send_signal(number)
    return w.tool.finish(running)


def killed_in_receive(w, target, link, manner):
    """Ends the restore with SIGKILL while link `link` (from 1) is being received."""
    text = f"""echo >> $PLACE/receivers
if [[ $(wc -l < $PLACE/receivers) == {link} ]]; then {manner}; fi
exec "$REAL" "$@" """
    outcome = w.tool.run("restore", "--subvolume", "data", "--target", str(target), environment=fake_receive(w, text))
    assert outcome.status == -signal.SIGKILL, outcome


class Bare:
    """The program on a host with nothing: no configuration, no state, no lock, a home that is empty."""

    def __init__(self, w):
        self.w = w
        self.home = w.directory / "empty"
        self.home.mkdir(exist_ok=True)
        self.url = f"s3://{w.bucket.name}/hosts/test/"

    def __call__(self, *arguments, expect=0, environment=None):
        variables = {**self.w.tool.environment, "HOME": str(self.home), **(environment or {})}
        done = subprocess.run([self.w.tool.binary, "restore", "--from", self.url, *arguments], env=variables,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False)
        outcome = tool.Outcome(done.returncode, done.stdout, done.stderr, 0, 0)
        assert list(self.home.iterdir()) == [], "something was written into the home directory"
        return self.w.expect(expect, outcome)


def two_subvolumes(w, **sizes):
    """Backs up `data` and `other`; returns the path of the other."""
    other = w.filesystem.subvolume("other")
    dataset.seed(w.data, **{"large_mib": 1, "small_files": 10, **sizes})
    dataset.seed(other, **{"large_mib": 1, "small_files": 10, **sizes}, number=5)
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(other)]
    w.backup()
    return other


def btrfs_uuid(path):
    shown = subprocess.run(["btrfs", "subvolume", "show", str(path)], capture_output=True, text=True, check=True).stdout
    return re.search(r"^\s+UUID:\s+(\S+)", shown, re.MULTILINE)[1]
