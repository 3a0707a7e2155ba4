"""The world of one case: a bucket, a Btrfs filesystem, a configuration and the program."""
import contextlib
import json
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import btrfs, compare, dataset, proxy, s3, shells, terminal, tmux, tool  # noqa: E402

MIB = 1 << 20
CASES = {}


def case(function):
    """Makes a function that takes a world an end-to-end case of that name."""
    CASES[function.__name__] = function
    return function


class World:
    def __init__(self, binary, gateway, directory, filesystem):
        self.directory, self.filesystem = pathlib.Path(directory), filesystem
        self.mount = filesystem.mount
        self.mounts = [str(self.mount)]  # those below `directory`
        self.update = False  # whether expected files are written instead of compared
        self.store = "ceph16"  # of cases/stores.py
        self.data = filesystem.subvolume("data")
        self.snapshots = self.mount / "snapshots"
        self.snapshots.mkdir()
        self.restored = self.mount / "restored"
        self.restored.mkdir()
        self.bucket = s3.Bucket(gateway["endpoint"], "case-" + uuid.uuid4().hex[:12],
                                gateway["access_key"], gateway["secret_key"])
        self.bucket.create()
        self.root = "hosts/test/subvol/data/"
        self.tool = tool.Tool(binary, directory, {
            "global": {"state_path": f"{directory}/state/state.json", "lock_path": f"{directory}/lock/lock"},
            "subvolumes": {"paths": [str(self.data)]},
            "snapshots": {"base_dir": str(self.snapshots)},
            "s3": {"bucket": self.bucket.name, "region": "us-east-1", "prefix": "hosts/test",
                   "endpoint_url": gateway["endpoint"], "storage_class_chunks": "STANDARD",
                   "part_size_bytes": "5MiB", "chunk_size_bytes": "12MiB"},
        }, (gateway["access_key"], gateway["secret_key"]))

    def backup(self, *arguments, expect=0, only_when_due=False, **options):
        if not only_when_due:
            arguments += ("--once",)
        return self.expect(expect, self.tool.run("backup", *arguments, **options))

    def restore(self, *arguments, expect=0, **options):
        return self.expect(expect, self.tool.run("restore", "--subvolume", "data", *arguments, **options))

    @staticmethod
    def expect(status, outcome):
        assert outcome.status == status, f"expected status {status}, got {outcome}"
        return outcome

    def pointer(self):
        return self.bucket.get_json(self.root + "current.json")

    def manifest(self):
        return self.bucket.get_json(self.pointer()["manifest_key"])

    def snapshot_names(self):
        return sorted(path.name for path in self.snapshots.iterdir())

    def same(self, first, second):
        found = compare.differences(first, second)
        assert not found, f"{len(found)} differences, the first: {found[0]}"

    def journals(self):
        return sorted((self.directory / "state").glob("*.journal*"))

    def kill_at(self, proxy, *arguments, environment=None, **rule):
        """Runs a backup through the proxy and kills it, as a power cut would, at the request that the rule holds."""
        held = proxy.hold(**rule)
        running = self.tool.start("backup", "--once", *arguments, environment=environment)
        deadline = time.monotonic() + 60
        while not held.reached.wait(0.02):
            assert running[0].poll() is None and time.monotonic() < deadline, self.tool.finish(running)
        running[0].send_signal(signal.SIGKILL)
        outcome = self.tool.finish(running)
        proxy.release()
        return outcome

    def nothing_left_behind(self, subvolumes):
        """No open upload, no subvolume but these, no private directory."""
        assert self.bucket.open_uploads() == [], self.bucket.open_uploads()
        assert self.filesystem.subvolumes() == sorted(subvolumes), self.filesystem.subvolumes()
        left = [path.name for path in self.restored.iterdir() if path.name.startswith(".btrfs_to_s3")]
        assert not left, left
        assert self.journals() == [], self.journals()

    def fake_btrfs(self, send):
        """A `btrfs` whose `send` is this shell text; $REAL is the real program. Returns an environment.

        What describes a snapshot without its data is no backup's stream, and is the real one's."""
        directory = self.directory / ("fake-" + uuid.uuid4().hex[:8])
        directory.mkdir()
        script = directory / "btrfs"
        script.write_text("#!/bin/bash\nREAL=" + shutil.which("btrfs", path="/usr/sbin:/usr/bin:/sbin:/bin") +
                          '\nif [[ $1 != send || " $* " == *" --no-data "* ]]; then exec "$REAL" "$@"; fi\n' + send + "\n", encoding="ascii")
        script.chmod(0o755)
        return {"PATH": f"{directory}:{self.tool.environment['PATH']}"}


@contextlib.contextmanager
def world(binary, gateway_directory, size="8G"):
    reason = btrfs.why_not()
    info = pathlib.Path(gateway_directory) / "rgw.json"
    if not reason and not info.exists():
        reason = "no object gateway runs (see the case that starts it)"
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    tool.exit_on_signals()
    with tempfile.TemporaryDirectory(prefix="btrfs_to_s3-case-") as directory:
        with btrfs.filesystem(directory, size) as filesystem:
            this = World(binary, json.loads(info.read_text()), directory, filesystem)
            this.gateway_directory = info.parent
            try:
                yield this
            finally:
                this.tool.kill_running()


def says(outcome, *words):
    """Every word is in what the program printed to stderr."""
    for word in words:
        assert re.search(re.escape(word), outcome.stderr), f"stderr lacks {word!r}: {outcome}"


__all__ = ["CASES", "MIB", "World", "case", "world", "says", "btrfs", "dataset", "compare", "proxy", "shells",
           "terminal", "tmux", "tool"]
