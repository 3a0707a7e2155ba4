"""Runs of the program that are interrupted somewhere: what lies there before, the command, the one after it, and what must
be true then."""
import datetime
import re
import shutil
import subprocess
import urllib.parse

import promises
from recovery import random_file
from restoring import chain_of
from sealing import make_identity
from signing import make_key
from world import MIB, btrfs, proxy

# Two parts in a chunk of several parts, and a chunk that is put whole.
CONTENT = 11 * MIB


def emptied(w):
    """Nothing in the bucket, no snapshot, no state; the source stays."""
    for upload in w.bucket.open_upload_ids():
        w.bucket.abort(*upload)
    for key in w.bucket.list():
        w.bucket.delete(key)
    for place in (w.snapshots, w.restored):
        for path in place.iterdir():
            remove(path)
    for name in ("state", "lock", "spool"):
        shutil.rmtree(w.directory / name, ignore_errors=True)


def remove(path):
    """A subvolume with all that is in it, a directory, a file."""
    if path.is_dir() and not path.is_symlink():
        for below in path.iterdir():
            if below.is_dir() and not below.is_symlink():
                remove_subvolumes(below)
        if path.stat().st_ino == 256:
            btrfs.delete_subvolume(path)
        else:
            shutil.rmtree(path)
    else:
        path.unlink()


def remove_subvolumes(path):
    for below in path.iterdir():
        if below.is_dir() and not below.is_symlink():
            remove_subvolumes(below)
    if path.stat().st_ino == 256:
        btrfs.delete_subvolume(path)


class Scenario:
    """One world of its own. fresh() makes what lies there before; run() is what gets interrupted; again() is what the next
    night or the person does; broken() says which promises are not kept then."""
    name = ""
    run = ("backup", "--once")
    rerun = ("backup",)
    orphans = frozenset()  # what may lie in the bucket without a name

    def __init__(self, w, sealed, library):
        self.w, self.sealed, self.library, self.files = w, sealed, library, set()
        self.reading = []
        w.signed = sealed
        w.tool.tables["snapshots"]["retain"] = 1
        w.tool.tables["s3"].update(chunk_size_bytes="10MiB", concurrency=2, retry_for="20s")
        if sealed:
            identity, recipient = make_identity(w, "identity.txt")
            key = make_key(w, "signer")
            signers = w.directory / "signers"
            signers.write_text("* " + key.with_suffix(".pub").read_text())
            w.tool.tables["encryption"] = {"recipients": [recipient], "signing_key_file": str(key)}
            self.reading = ["--identity", str(identity), "--trusted-signers", str(signers)]
        self.prepare()

    def prepare(self):
        """Once."""

    def fresh(self):
        raise NotImplementedError

    def interrupted(self, environment):
        """The run, with the library before it."""
        return self.w.tool.run(*self.command(self.run), environment={"LD_PRELOAD": str(self.library), **environment},
                               limit=120)

    def command(self, words):
        return words

    def again(self, environment):
        return self.w.tool.run(*self.command(self.rerun), environment=environment, limit=120)

    def broken(self):
        w = self.w
        found = promises.of_every_run(w, self.files, orphans=self.orphans)
        target = w.restored / "data"
        restored = w.tool.run("restore", "--subvolume", "data", "--target", str(target), *self.reading)
        if restored.status != 0:
            return found + [f"the restore ended with {restored}"]
        promises.attempt(found, "trees", lambda: promises.trees_are_equal(w, found, w.data, target))
        btrfs.delete_subvolume(target)
        return found


class Full(Scenario):
    name = "full"

    def fresh(self):
        emptied(self.w)
        random_file(self.w.data / "random", CONTENT)


class Spooled(Full):
    name = "spooled"

    def prepare(self):
        self.w.tool.tables["s3"]["spool_enabled"] = True
        self.w.tool.tables["global"].update(spool_dir=str(self.w.directory / "spool"), spool_size_bytes="20MiB")

    def fresh(self):
        super().fresh()
        (self.w.directory / "spool").mkdir()


class Incremental(Scenario):
    """The second night; the snapshot of the first is removed behind it."""
    name = "incremental"
    rerun = ("backup", "--once")

    def fresh(self):
        emptied(self.w)
        random_file(self.w.data / "random", MIB)
        self.w.backup()
        random_file(self.w.data / "random", CONTENT)


class Resumed(Full):
    """What goes on with an upload of which one part has arrived."""
    name = "resumed"

    def fresh(self):
        super().fresh()
        library = {"LD_PRELOAD": str(self.library), "KILL_NTH": "1"}
        ended = self.w.tool.run("backup", "--once", environment={**library, "KILL_POINT": self.first_part()})
        assert ended.status == -9 and self.w.journals(), ended

    def first_part(self):
        bucket = f"/{self.w.bucket.name}/{self.w.root}"
        return f"answer PUT {tidied(bucket)}full/chunk*-0.bin?partNumber=1&uploadId=*"


def tidied(bucket):
    """As the library names it: cases have a random bucket each."""
    return "/cas*" + bucket[bucket.index("/", 1):]


class Prune(Scenario):
    """Two generations, of which one goes. Its manifests go first; what no manifest names any more goes with a run that finds
    it a week old."""
    name = "prune"
    run = rerun = ("prune", "--yes")

    def prepare(self):
        w = self.w
        emptied(w)
        random_file(w.data / "random", MIB)
        w.tool.tables["retention"] = {"keep_generations": 1}
        (w.data / "empty").mkdir()
        for _ in range(2):
            for snapshot in w.snapshot_names():
                btrfs.delete_subvolume(w.snapshots / snapshot)
            for _ in range(2):
                random_file(w.data / "changed", MIB)
                w.backup()
        w.expect(0, w.tool.run("verify"))
        self.before = {key: w.bucket.get(key) for key in w.bucket.list()}
        current = w.pointer()["manifest_key"]
        kept = {current, w.bucket.get_json(current)["parent_manifest"]}
        manifests = {key for key in self.before if "/manifest-" in key and key.endswith(".json")}
        self.orphans = {key for key in self.before if key not in manifests and not any(
            key in (one + ".sig", w.bucket.get_json(one).get("encryption", {}).get("keys_key"), w.root + "current.json")
            or key in (chunk["key"] for chunk in w.bucket.get_json(one)["chunks"]) for one in kept)}
        self.kept = w.directory / "state-before"
        shutil.copytree(w.directory / "state", self.kept)

    def fresh(self):
        there = self.w.bucket.list()
        for key, body in self.before.items():
            if key not in there:
                self.w.bucket.put(key, body)
        shutil.rmtree(self.w.directory / "state")
        shutil.copytree(self.kept, self.w.directory / "state")


    def broken(self):
        found = super().broken()
        w = self.w
        with proxy.proxy_to(w.bucket.endpoint) as between:
            between.player = WeekLater(w.bucket)
            w.tool.tables["s3"]["endpoint_url"] = between.endpoint
            later = [w.tool.run("verify"), w.tool.run("prune", "--yes")]
        w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
        found += [f"a week later: {one}" for one in later if one.status != 0]
        promises.attempt(found, "a week later", lambda: promises.chain(w, found))
        return found


class WeekLater:
    """Lets a proxy say of all objects that they are old."""

    def __init__(self, bucket):
        self.bucket = bucket

    def answer(self, method, _path, query, _body):
        if method != "GET" or "list-type=2" not in query:
            return None
        listed = self.bucket.request("GET", query=dict(urllib.parse.parse_qsl(query, keep_blank_values=True)))
        old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=8)
        stamp = old.strftime("<LastModified>%Y-%m-%dT%H:%M:%S.000Z</LastModified>").encode()
        return 200, {}, re.sub(rb"<LastModified>[^<]*</LastModified>", stamp, listed)

    @staticmethod
    def headers(_method, _path):
        return {}


class Restore(Scenario):
    """Three links into a new subvolume."""
    name = "restore"

    def prepare(self):
        emptied(self.w)
        chain_of(self.w, 3, large_mib=6, small_files=20)

    def fresh(self):
        for path in self.w.restored.iterdir():
            remove(path)

    def command(self, words):
        return ("restore", "--subvolume", "data", "--target", str(self.w.restored / "data"), *self.reading)

    def broken(self):
        w, target = self.w, self.w.restored / "data"
        found = promises.of_every_run(w, self.files, ["restored/data"])
        promises.attempt(found, "trees", lambda: promises.trees_are_equal(w, found, w.data, target))
        return found


SCENARIOS = {one.name: one for one in (Full, Incremental, Resumed, Spooled, Prune, Restore)}


def compiled(directory, source):
    """harness/kill_at.c as a library that is preloaded."""
    library = directory / "kill_at.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library

