#!/usr/bin/env python3
"""Changes the data, then `backup --once`, which must publish an incremental of each subvolume onto its last backup."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import mutate_data  # noqa: E402

from harness import backups, runner, session  # noqa: E402
from harness.assertions import equal  # noqa: E402


def options():
    result = session.parser(__doc__, dry_run=True)
    result.add_argument("--skip-mutate", action="store_true", help="back up the data as they are")
    return result


def body(this, arguments):
    if arguments.dry_run:
        this.log.say(this.runner().shown(["backup", "--once"]))
        return
    runner.must_be_root("a backup")
    if not arguments.skip_mutate:
        mutate_data.mutate(this, mutate_data.next_round(this.settings), this.settings.dataset.size_mib)
    before = backups.pointers(this, this.settings.btrfs.subvolumes)
    made, _ = backups.back_up(this, "--once", kind="incremental")
    for name, manifest in made.items():
        equal(f"{name}: parent_manifest", manifest["parent_manifest"], before[name])


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
