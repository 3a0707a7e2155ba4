"""Runs during which the power goes: those of the sweep, and what else promises that something lies on a disk; and the worlds
that they run in, by what lies on the disk that loses its power."""
import contextlib
import json
import pathlib
import shutil
import tempfile

import promises
import scenarios
from recovery import random_file
from restoring import two_subvolumes
from scenarios import Scenario, emptied, remove
from world import MIB, World, btrfs, dataset

from files import entries_differ
from harness.power_disk import power_disk


class Durable:
    """What a run has called done with exit status 0 is there when the power goes right behind it: done() says what is
    not, before anything else runs."""

    def done(self, outcome):
        raise NotImplementedError


class OfBackups(Durable):
    def done(self, _outcome):
        broken = []
        promises.attempt(broken, "state", lambda: promises.state_is_readable(self.w, broken))
        return broken


class Full(OfBackups, scenarios.Full):
    pass


class Incremental(OfBackups, scenarios.Incremental):
    pass


class Resumed(OfBackups, scenarios.Resumed):
    pass


class Spooled(OfBackups, scenarios.Spooled):
    pass


class Prune(OfBackups, scenarios.Prune):
    pass


class Restore(Durable, scenarios.Restore):
    def done(self, _outcome):
        found = []
        promises.attempt(found, "done", lambda: promises.trees_are_equal(self.w, found, self.w.data, self.w.restored / "data"))
        return found


class SpooledRestore(Restore):
    """What was downloaded waits in the spool for the run that goes on."""
    name = "restore-spooled"

    def prepare(self):
        super().prepare()
        (self.w.directory / "spool").mkdir()
        self.w.tool.tables["s3"]["spool_enabled"] = True
        self.w.tool.tables["global"].update(spool_dir=str(self.w.directory / "spool"), spool_size_bytes="1GiB")


def of_this_host(w, files):
    """Of commands that leave the bucket as it is."""
    broken = []
    promises.attempt(broken, "uploads", lambda: broken.extend(f"open upload of {key}" for key in w.bucket.open_uploads()))
    promises.attempt(broken, "lock", lambda: promises.lock_is_free(w, broken))
    promises.attempt(broken, "processes", lambda: promises.no_process_left(w, broken))
    if more := promises.beside_the_state(w) - files:
        broken.append(f"files that an undisturbed run does not leave: {sorted(more)}")
    return broken


def cache_of(w):
    """Where the program keeps indexes: below its home."""
    return w.directory / ".cache"


class RestoreAll(Durable, Scenario):
    """Two subvolumes; what a run has recorded as done is not looked at again by the next one."""
    name = "restore-all"

    def prepare(self):
        emptied(self.w)
        self.other = two_subvolumes(self.w, large_mib=3)

    def fresh(self):
        for path in self.w.restored.iterdir():
            remove(path)

    def command(self, words):
        return ("restore", "--all", "--target-base", str(self.w.restored), *self.reading)

    def done(self, _outcome):
        found = []
        for one in (self.w.data, self.other):
            promises.attempt(found, "trees", lambda one=one: promises.trees_are_equal(
                self.w, found, one, self.w.restored / one.name))
        return found

    def broken(self):
        found = of_this_host(self.w, self.files) + self.done(None)
        there = sorted(path.name for path in self.w.restored.iterdir())
        return found + ([] if there == ["data", "other"] else [f"at the target: {there}"])


class Extract(Durable, Scenario):
    """All files of a chain of two."""
    name = "extract"

    def prepare(self):
        emptied(self.w)
        dataset.seed(self.w.data, large_mib=3, small_files=40)
        self.w.backup()
        dataset.mutate(self.w.data, large_mib=3)
        self.w.backup()

    def fresh(self):
        for path in self.w.restored.iterdir():
            remove(path)
        shutil.rmtree(cache_of(self.w), ignore_errors=True)

    def command(self, words):
        again = ["--overwrite"] if words is self.rerun else []
        return ("extract", "--subvolume", "data", "--target", str(self.w.restored / "files"), "--setuid", *again,
                *self.reading, ".")

    def done(self, _outcome):
        found = []

        def look():
            wrong = entries_differ(self.w.data, self.w.restored / "files")
            found.extend([f"{len(wrong)} differences, the first: {wrong[0]}"] if wrong else [])
        promises.attempt(found, "files", look)
        return found

    def broken(self):
        found = of_this_host(self.w, self.files) + self.done(None)
        private = sorted(map(str, (self.w.restored / "files").glob(".btrfs_to_s3*")))
        return found + ([f"left at the target: {private}"] if private else [])


class Find(Durable, Scenario):
    """What makes and extends the cache of indexes: half of it is there, of the chain's first link."""
    name = "find"

    def prepare(self):
        Extract.prepare(self)
        self.first = self.w.manifest()["parent_manifest"]
        self.expected = None

    def fresh(self):
        shutil.rmtree(cache_of(self.w), ignore_errors=True)
        self.w.expect(0, self.w.tool.run("find", "--subvolume", "data", "--manifest-key", self.first, *self.reading))

    def command(self, words):
        return ("find", "--subvolume", "data", "--json", *self.reading)

    def again(self, environment):
        outcome = super().again(environment)
        self.expected = self.expected or outcome.stdout
        self.found = outcome.stdout
        return outcome

    def done(self, outcome):
        return [] if self.expected in (None, outcome.stdout) else ["what the run itself found is something else"]

    def broken(self):
        found = of_this_host(self.w, self.files)
        return found + ([] if self.found == self.expected else ["what is found is not what was found before"])


class Verify(OfBackups, Scenario):
    """Keeps a record of what was verified."""
    name = "verify"
    run = rerun = ("verify", "--deep")

    def prepare(self):
        emptied(self.w)
        random_file(self.w.data / "random", MIB)
        self.w.backup()

    def fresh(self):
        pass

    def command(self, words):
        return (*words, *self.reading)

    def broken(self):
        found = promises.of_every_run(self.w, self.files)
        told = self.w.tool.run("status", "--json")
        return found + ([] if told.status == 0 else [f"status says {told}"])


class Key(Durable, Scenario):
    """An identity: sealed backups are lost with it."""
    name = "key"

    def fresh(self):
        self.path().unlink(missing_ok=True)

    def path(self):
        return self.w.directory / "state" / "new-identity.txt"

    def prepare(self):
        emptied(self.w)
        random_file(self.w.data / "random", MIB)
        self.w.backup()

    def command(self, words):
        return ("keys", "generate", "--json", str(self.path()))

    def shown(self):
        return self.w.tool.run("keys", "show", "--json", str(self.path()))

    def again(self, environment):
        """A file that is there is the whole identity, and is not replaced."""
        if not self.path().exists():
            return super().again(environment)
        return self.shown()

    def done(self, outcome):
        shown = self.shown()
        if shown.status != 0:
            return [f"the identity cannot be read: {shown}"]
        made, there = json.loads(outcome.stdout)["recipient"], json.loads(shown.stdout)["keys"][0]["recipient"]
        return [] if made == there else [f"it was made for {made}, and is for {there}"]

    def broken(self):
        return promises.of_every_run(self.w, self.files)


RUNS = {one.name: one for one in (Full, Incremental, Resumed, Spooled, Prune, Restore, SpooledRestore, RestoreAll, Extract, Find,
                                  Verify, Key)}

# What lies on the disk that loses its power. "all": source, snapshots, targets, state, lock, spool, cache, on Btrfs.
# "state": on ext4, while the source is on another disk, where nothing gets lost. "source": source, snapshots and targets on Btrfs,
# while the state is on another disk.
DISKS = ("all", "state", "source")
KINDS = [f"{run}/{disk}" for run, disks in (
    ("full", DISKS), ("incremental", DISKS), ("resumed", DISKS), ("spooled", ("all", "state")), ("prune", ("all", "state")),
    ("restore", ("all", "source")), ("restore-spooled", DISKS), ("restore-all", ("all", "source")), ("extract", ("all", "source")),
    ("find", ("all", "state")), ("verify", ("all", "state")), ("key", ("all", "state"))) for disk in disks]


@contextlib.contextmanager
def power_world(binary, gateway_directory, disk):
    """Yields a World and its PowerDisk."""
    info = json.loads((pathlib.Path(gateway_directory) / "rgw.json").read_text())
    with contextlib.ExitStack() as stack:
        outside = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="btrfs_to_s3-power-")))
        host = outside / "host"
        host.mkdir()
        if disk == "state":
            power = stack.enter_context(power_disk(outside, "ext4", host, 256 * MIB))
            other = outside / "other"
            other.mkdir()
            filesystem = stack.enter_context(btrfs.filesystem(other, "2G"))
        else:
            mount = host if disk == "all" else host / "mnt"
            power = stack.enter_context(power_disk(outside, "btrfs", mount, 2048 * MIB, "noatime,compress=zstd"))
            filesystem = btrfs.Filesystem(mount, power.path, None)
        w = World(binary, info, host, filesystem)
        w.mounts = [str(host)] if disk != "source" else [str(w.mount)]
        try:
            yield w, power
        finally:
            w.tool.kill_running()
