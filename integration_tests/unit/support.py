"""What the harness's own tests share: settings in a scratch directory, a store in memory with backups in it."""
import contextlib
import copy
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from harness import config, env, logs, session, tool  # noqa: E402
from harness.assertions import HarnessError  # noqa: E402

FULL, INCREMENTAL = "20260102T030405Z", "20260109T030405Z"
# What test.toml has before anybody fills it in.
TABLES = {
    "tool": {"cmd": ["../build/release/app/btrfs_to_s3"], "config_flag": "--config", "local_manifest": True},
    "paths": {"run": "run", "logs": "run/logs", "scratch": "run/scratch", "lock": "run/lock", "image": "run/btrfs.img",
              "mount": "run/mnt", "data": "run/mnt/live", "snapshots": "run/mnt/snapshots"},
    "btrfs": {"loopback_size": "4GiB", "mount_options": "compress=zstd", "subvolumes": ["data", "root", "home"]},
    "aws": {"region": "us-east-1", "bucket": "btrfs-to-s3-integration", "prefix": "integration/test",
            "storage_class_chunks": "STANDARD_IA", "storage_class_manifest": "STANDARD", "sse": "AES256",
            "endpoint_url": ""},
    "backup": {"chunk_size_mib": 16, "concurrency": 2, "retention_snapshots": 2},
    "dataset": {"size_mib": 24, "small_files": 300, "seed": 1},
    "s3": {"part_size_bytes": "5MiB"},
}

# Whoever runs the tests may have a cloud, a tool and sudo of their own; none of that is for them.
for name in [one for one in os.environ if env.CLOUD.match(one) or one.startswith(("BTRFS_TO_S3_", "SUDO_"))]:
    del os.environ[name]
    session.STARTED_WITH.pop(name, None)


def shipped(name):
    """A file of this folder as Git has it, whatever was filled in since; without Git as it is."""
    read = subprocess.run(["git", "-c", "safe.directory=*", "-C", str(ROOT), "show", f":./{name}"],
                          capture_output=True, check=False) if (ROOT.parent / ".git").exists() else None
    return read.stdout.decode() if read and read.returncode == 0 else (ROOT / name).read_text(encoding="utf-8")


class Case(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = pathlib.Path(holder.name)

    def tables(self):
        """Those of test.toml, below the scratch directory."""
        tables = copy.deepcopy(TABLES)
        run = str(self.directory / "run")
        tables["paths"] = {key: run + text.removeprefix("run") for key, text in tables["paths"].items()}
        return tables

    def settings(self, environment=None, **tables):
        return config.Settings(config.merged(self.tables(), tables), environment)

    def refused(self, *words, **tables):
        """That these tables are refused, by a message with these words."""
        with self.assertRaises(HarnessError) as caught:
            self.settings(**tables)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def words(self):
        """The options of a script for a configuration and an environment of its own, both below the scratch directory."""
        self.write("base.toml", tool.toml(self.tables()))
        return ["--config", str(self.write("my.toml", "base = 'base.toml'\n[tool]\ncmd = ['true']\n")),
                "--env", str(self.write("my.env", ""))]

    def session(self, **tables):
        settings = self.settings(**tables)
        this = session.Session(settings, logs.Log(settings.paths.logs, "unit"), {}, ("key", "secret"))
        this.store = MemoryStore()
        return this


def quiet(action):
    """What it returns; what it prints is dropped."""
    with contextlib.redirect_stdout(io.StringIO()):
        return action()


class MemoryStore:
    """aws.Store's verbs over a dictionary: {key: (body, class, sse)}."""

    def __init__(self):
        self.objects, self.uploads = {}, {}

    def head(self, key):
        if key not in self.objects:
            return None
        body, storage_class, sse = self.objects[key]
        return {"ContentLength": len(body), "StorageClass": storage_class, **({"ServerSideEncryption": sse} if sse else {})}

    def get(self, key):
        if key not in self.objects:
            raise HarnessError(f"{key} is not in the bucket")
        return self.objects[key][0]

    def get_json(self, key):
        try:
            return json.loads(self.get(key))
        except ValueError as problem:
            raise HarnessError(f"{key} is no JSON: {problem}") from problem

    def put(self, key, body, storage_class=None, sse=None):
        self.objects[key] = (body, storage_class or "STANDARD", sse)

    def delete(self, key):
        self.objects.pop(key, None)

    def list(self, prefix, suffix=""):
        return {key: len(one[0]) for key, one in sorted(self.objects.items())
                if key.startswith(prefix) and key.endswith(suffix)}

    def open_uploads(self, prefix):
        return [(key, upload_id) for upload_id, key in self.uploads.items() if key.startswith(prefix)]

    def create_upload(self, key):
        self.uploads[f"upload-{key}"] = key
        return f"upload-{key}"

    def abort(self, _key, upload_id):
        del self.uploads[upload_id]


def manifest(root, kind, stamp, parent, bodies):
    name = root.rstrip("/").rpartition("/")[2]
    chunks = [{"key": f"{root}{kind}/chunk-{stamp}-{index}.bin", "size": len(body),
               "sha256": hashlib.sha256(body).hexdigest(), "etag": None} for index, body in enumerate(bodies)]
    return {"version": 1, "subvolume": name, "kind": kind, "created_at": stamp,
            "snapshot": {"name": f"{name}__{stamp}__{'full' if kind == 'full' else 'inc'}", "path": "/srv/x",
                         "uuid": None, "parent_uuid": None},
            "parent_manifest": parent, "chunks": chunks, "total_bytes": sum(map(len, bodies)), "chunk_size": 1 << 20,
            "s3": {"storage_class": "STANDARD_IA"}}


def publish(this, name, sse=None):
    """A full of two chunks and an incremental of one; returns the incremental's manifest."""
    root, parent = this.settings.root_of(name), None
    for kind, stamp, bodies in (("full", FULL, [b"abc" * 100, b"d"]), ("incremental", INCREMENTAL, [b"xyz", b"zyx"])):
        content = manifest(root, kind, stamp, parent, bodies)
        for chunk, body in zip(content["chunks"], bodies):
            this.store.put(chunk["key"], body, this.settings.aws.storage_class_chunks, sse)
        parent = f"{root}{kind}/manifest-{stamp}.json"
        this.store.put(parent, json.dumps(content).encode(), this.settings.aws.storage_class_manifest, sse)
    this.store.put(root + "current.json", json.dumps(
        {"manifest_key": parent, "kind": "incremental", "created_at": INCREMENTAL}).encode(),
        this.settings.aws.storage_class_manifest, sse)
    return copy.deepcopy(content)


def write_local(this, content):
    """The local manifest of a backup."""
    this.settings.paths.run.mkdir(parents=True, exist_ok=True)
    (this.settings.paths.run / "manifest.json").write_text(json.dumps(
        {"backup_type": content["kind"], "chunks": [
            {"index": index, "key": chunk["key"], "sha256": chunk["sha256"]}
            for index, chunk in enumerate(content["chunks"])]}), encoding="ascii")
