#!/usr/bin/env python3
"""Two runs at a time: the second is refused and changes nothing, the first goes on; stale locks do not block."""
import os
import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import backups, runner, session, shim  # noqa: E402
from harness.assertions import equal, require  # noqa: E402
from harness.config import MIB  # noqa: E402


def options():
    result = session.parser(__doc__, dry_run=True)
    result.add_argument("--subvolume", metavar="NAME", help="one of btrfs.subvolumes (default: the first)")
    return result


def body(this, arguments):
    settings = this.settings
    name = session.chosen(settings, arguments.subvolume or settings.btrfs.subvolumes[0])
    backup = ("backup", "--once", "--subvolume", name)
    if arguments.dry_run:
        this.log.say(this.runner().shown(backup))
        return
    runner.must_be_root("a backup")
    backups.prepare_bucket(this)
    backups.add_file(this, name, "contended.bin", MIB)
    before = backups.pointers(this, [name])
    held, first = shim.Shim(settings, "hold"), this.runner()
    running = first.start(*backup, environment=held.environment)
    held.wait(running[0])
    keys, snapshots = this.store.list(settings.aws.prefix + "/"), sorted(settings.paths.snapshots.iterdir())
    refused = this.runner().refused(*backup)
    holder = re.search(r"lock already held by pid (\d+)", refused.stderr)
    require(holder, f"the refused run does not say \"lock already held by pid N\":\n{refused.stderr}")
    # Of the first run, or of what wraps it.
    equal("the session of the lock's holder", os.getsid(int(holder[1])), running[0].pid)
    equal("the bucket after the refused run", this.store.list(settings.aws.prefix + "/"), keys)
    equal("the snapshots after the refused run", sorted(settings.paths.snapshots.iterdir()), snapshots)
    this.log.say(f"  refused with status {refused.status}: {refused.stderr.strip().splitlines()[-1]}")
    held.go()
    outcome = first.finish(running)
    equal("the status of the first run", outcome.status, 0)
    backups.published(this, before)
    # What a dead run left: process 2 ** 22 is above every limit for process ids.
    require(settings.lock_file.exists(), f"global.lock_path = {settings.lock_file} was not used")
    settings.lock_file.write_text(f"{1 << 22}\n", encoding="ascii")
    this.runner().check("backup", "--subvolume", name)
    this.log.say("  a lock file of a process that is gone did not block")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
