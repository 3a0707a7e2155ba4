#!/usr/bin/env python3
"""The first backup of all subvolumes: a full of each must be published."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import backups, runner, session  # noqa: E402


def options():
    return session.parser(__doc__, dry_run=True)


def body(this, arguments):
    if arguments.dry_run:
        this.log.say(this.runner().shown(["backup"]))
        return
    runner.must_be_root("a backup")
    backups.prepare_bucket(this)
    backups.back_up(this, kind="full")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
