#!/usr/bin/env python3
"""A backup that needs several chunks, proven from its manifest: large random data is added to the first subvolume."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import backups, runner, session  # noqa: E402
from harness.assertions import equal, require  # noqa: E402
from harness.config import MIB  # noqa: E402


def options():
    return session.parser(__doc__, "test_large.toml", dry_run=True)


def body(this, arguments):
    settings = this.settings
    name = settings.btrfs.subvolumes[0]
    if arguments.dry_run:
        this.log.say(this.runner().shown(["backup", "--once", "--subvolume", name]))
        return
    runner.must_be_root("a backup")
    size, chunk_size = settings.dataset.size_mib * MIB, settings.backup.chunk_size_mib * MIB
    require(size > chunk_size, f"dataset.size_mib = {settings.dataset.size_mib} must be more than "
            f"backup.chunk_size_mib = {settings.backup.chunk_size_mib}, or one chunk holds it")
    backups.prepare_bucket(this)
    backups.add_file(this, name, "very-large.bin", size)
    made, outcome = backups.back_up(this, "--once", names=[name])
    manifest = made[name]
    sizes = [chunk["size"] for chunk in manifest["chunks"]]
    require(len(sizes) > 1, f"{manifest['total_bytes']} bytes went into one chunk, backup.chunk_size_mib is "
            f"{settings.backup.chunk_size_mib}")
    require(manifest["total_bytes"] >= size, f"{manifest['total_bytes']} bytes cannot hold {size} of random data")
    for index, chunk in enumerate(sizes[:-1]):
        equal(f"the size of chunk {index} of {len(sizes)}", chunk, chunk_size)
    this.log.say(f"  {len(sizes)} chunks, {manifest['total_bytes'] / MIB / outcome.seconds:.0f} MiB/s")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
