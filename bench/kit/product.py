"""The program as it is driven here: a real Btrfs filesystem in an image file, a configuration, and for the scenarios
that leave Btrfs out a `btrfs` whose `send` emits, or whose `receive` swallows, a prepared stream."""
import pathlib
import shutil
import subprocess
import sys

from . import measure

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "integration_tests"))
from harness import btrfs  # noqa: E402
from harness.tool import toml  # noqa: E402

MIB, GIB = 1 << 20, 1 << 30
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret",
               "AWS_EC2_METADATA_DISABLED": "true"}
why_not = btrfs.why_not


class Stream:
    """A prepared send stream in pieces of equal size (bench/stream.cc)."""

    def __init__(self, directory, chunk, repetitions):
        self.directory, self.chunk, self.repetitions = directory, chunk, repetitions

    @property
    def pieces(self):
        names = ["first", *["middle"] * (self.repetitions - 1), "last"]
        return [str(self.directory / name) for name in names]

    @property
    def size(self):
        return self.chunk * self.repetitions + (self.directory / "last").stat().st_size

    def times(self, repetitions):
        return Stream(self.directory, self.chunk, repetitions)


class Product:
    """The program with a filesystem and settings. Each upload goes to a prefix of its own, with a state of its own."""

    def __init__(self, context, filesystem, directory):
        self.context, self.filesystem, self.directory = context, filesystem, pathlib.Path(directory)
        self.binary = str(context.program("app/btrfs_to_s3"))
        self.mount = filesystem.mount
        self.data = filesystem.subvolume("data")
        self.snapshots, self.restored = self.mount / "snapshots", self.mount / "restored"
        self.snapshots.mkdir()
        self.restored.mkdir()
        self.count = 0
        self.real = shutil.which("btrfs", path=measure.ENVIRONMENT["PATH"])

    def wrapper(self, name, send=None, receive=None):
        """A directory to put first in PATH, with a `btrfs` that runs these shell commands instead."""
        directory = self.directory / f"btrfs-{name}"
        directory.mkdir(exist_ok=True)
        script = directory / "btrfs"
        cases = "".join(f"{verb}) {text} ;;\n" for verb, text in (("send", send), ("receive", receive)) if text)
        script.write_text(f'#!/bin/sh\nREAL={self.real}\ncase $1 in\n{cases}*) exec "$REAL" "$@" ;;\nesac\n',
                          encoding="ascii")
        script.chmod(0o755)
        return {"PATH": f"{directory}:{measure.ENVIRONMENT['PATH']}"}

    def configure(self, **tables):
        """Writes the configuration of a fresh host: new prefix, no state. Returns its path."""
        self.count += 1
        home = self.directory / f"host{self.count}"
        home.mkdir()
        merged = {"global": {"state_path": str(home / "state.json"), "lock_path": str(home / "lock")},
                  "subvolumes": {"paths": [str(self.data)]}, "snapshots": {"base_dir": str(self.snapshots)},
                  "s3": {"bucket": "bench", "region": "us-east-1", "prefix": f"host{self.count}",
                         "storage_class_chunks": "STANDARD"}}
        for table, keys in tables.items():
            merged.setdefault(table, {}).update(keys)
        config = home / "config.toml"
        config.write_text(toml(merged), encoding="utf-8")
        return config

    def command(self, verb, config, *arguments):
        return [self.binary, verb, "--config", str(config), *map(str, arguments)]

    def environment(self, more=None):
        return {"HOME": str(self.directory), **CREDENTIALS, **(more or {})}

    def run(self, verb, config, *arguments, environment=None, **options):
        return measure.run(self.command(verb, config, *arguments), environment=self.environment(environment), **options)

    def forget_snapshots(self):
        for snapshot in sorted(self.snapshots.iterdir()):
            self.delete(snapshot)

    def delete(self, subvolume):
        subprocess.run([self.real, "subvolume", "delete", "-c", str(subvolume)], check=True, capture_output=True)

    def small_stream(self, path):
        """A real protocol 1 stream of a snapshot of the data, which bench_stream makes longer. The name is as long as
        those of the program's own, so that their first commands can stand in its place."""
        snapshot = self.filesystem.snapshot(self.data, "data__20260101T000000Z__full")
        try:
            with open(path, "wb") as out:
                subprocess.run([self.real, "send", "-q", "--proto", "1", str(snapshot)], check=True, stdout=out,
                               stderr=subprocess.PIPE)
        finally:
            self.delete(snapshot)

    def prepare_stream(self, directory, chunk, repetitions):
        """The file `content` of the data must exist."""
        directory = pathlib.Path(directory)
        directory.mkdir()
        small = directory / "small"
        self.small_stream(small)
        subprocess.run([str(self.context.program("bench/bench_stream")), str(small), "content", str(chunk),
                        str(repetitions), str(directory)], check=True)
        return Stream(directory, chunk, repetitions)
