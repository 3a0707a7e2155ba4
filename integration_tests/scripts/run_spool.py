#!/usr/bin/env python3
"""Parts that wait on disk: a backup through a spool smaller than its data passes and leaves the spool empty; a spool
that cannot hold one part is refused before anything is done.
"""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import backups, runner, session  # noqa: E402
from harness.assertions import contains, equal, nothing_of, require  # noqa: E402
from harness.config import MIB  # noqa: E402

ADDED = 24 * MIB
# Neither a part nor a chunk fits: one of the two is what a spool has to hold.
TOO_SMALL = {"global": {"spool_size_bytes": 5 * MIB}, "s3": {"part_size_bytes": 8 * MIB},
             "backup": {"chunk_size_mib": 16}}


def options():
    return session.parser(__doc__, "test_spool.toml", dry_run=True)


def body(this, arguments):
    settings, name = this.settings, this.settings.btrfs.subvolumes[0]
    if arguments.dry_run:
        this.log.say(this.runner().shown(["backup", "--once", "--subvolume", name]))
        return
    runner.must_be_root("a backup")
    size = settings.tables["global"].get("spool_size_bytes", 0)
    require(settings.tables["s3"].get("spool_enabled") and 0 < size < ADDED,
            f"this needs s3.spool_enabled = true and a global.spool_size_bytes below {ADDED}, as in test_spool.toml")
    backups.prepare_bucket(this)
    backups.add_file(this, name, "spooled.bin", ADDED)
    made, _ = backups.back_up(this, "--once", names=[name])
    require(made[name]["total_bytes"] > size, f"{made[name]['total_bytes']} bytes do not fill a spool of {size}")
    nothing_of(f"files left in {settings.spool}", [str(path) for path in settings.spool.rglob("*")])
    this.log.say(f"  {made[name]['total_bytes']} bytes through a spool of {size}, nothing left there")

    before, keys = sorted(settings.paths.snapshots.iterdir()), this.store.list(settings.aws.prefix + "/")
    refused = this.over(**TOO_SMALL).runner().refused("backup", "--once", "--subvolume", name)
    contains("the refusal", refused.stderr, "spool")
    equal("the bucket after the refusal", this.store.list(settings.aws.prefix + "/"), keys)
    equal("the snapshots after the refusal", sorted(settings.paths.snapshots.iterdir()), before)
    this.log.say(f"  refused with status {refused.status}: {refused.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
