#!/usr/bin/env python3
"""Flags of the tool by their effects: backup --dry-run, --no-s3, --subvolume, --once; restore --verify MODE."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import backups, compare, records, restores, runner, session, shim  # noqa: E402
from harness.assertions import contains, equal, nothing_of, require  # noqa: E402
from harness.config import MIB  # noqa: E402


def options():
    result = session.parser(__doc__)
    result.add_argument("--subvolume", metavar="NAME", help="one of btrfs.subvolumes (default: the first for backups, the "
                        "last for restores)")
    result.add_argument("--restore-target-base", metavar="DIR", help="as --target-base of run_restore.py")
    return result


def world(this):
    """All that a backup may change: the bucket, the snapshots, the state."""
    settings = this.settings
    state = settings.state.read_bytes() if settings.state.exists() else None
    return {"bucket": this.store.list(settings.aws.prefix + "/"),
            "pointers": backups.pointers(this, settings.btrfs.subvolumes),
            "snapshots": sorted(path.name for path in settings.paths.snapshots.iterdir()), "state": state}


def unchanged(this, before, what, *parts):
    now = world(this)
    for part in parts or before:
        equal(f"{part} after {what}", now[part], before[part])


def dry_run(this, _name):
    before = world(this)
    outcome = this.runner().check("backup", "--once", "--dry-run")
    contains("backup --dry-run", outcome.stdout + outcome.stderr, *this.settings.btrfs.subvolumes)
    unchanged(this, before, "backup --dry-run")


def no_s3(this, name):
    backups.add_file(this, name, "not-uploaded.bin", 2 * MIB)
    before = world(this)
    this.runner().check("backup", "--once", "--no-s3")
    unchanged(this, before, "backup --no-s3")
    nothing_of("uploads after backup --no-s3", this.store.open_uploads(this.settings.aws.prefix + "/"))


def subvolume(this, name):
    before = backups.pointers(this, this.settings.btrfs.subvolumes)
    backups.back_up(this, "--once", names=[name])
    for other, key in backups.pointers(this, this.settings.btrfs.subvolumes).items():
        if other != name:
            equal(f"{other}'s pointer after backup --subvolume {name}", key, before[other])
    before = world(this)
    refused = this.runner().refused("backup", "--once", "--subvolume", "no-such-subvolume")
    contains("the refusal", refused.stderr, "no-such-subvolume")
    unchanged(this, before, "backup --subvolume no-such-subvolume")


def once(this, name):
    before = world(this)
    # Everything was backed up just now, so nothing is due.
    this.runner().check("backup")
    unchanged(this, before, "a backup that is not due", "bucket", "pointers", "snapshots")
    backups.back_up(this, "--once", names=[name])


def restore_verify(this, name):
    """A byte that is changed on its way into the target, after every check of what was downloaded."""
    settings, target = this.settings, this.settings.targets / name
    key = backups.pointers(this, [name])[name]
    for mode in ("none", "sample", "full"):
        restores.restore(this, name, verify=mode)
        equal(f"differences after restore --verify {mode}", differences(settings, key, target), [])
    spoiling = shim.Shim(settings, "spoil").environment
    for mode in ("full", "sample"):
        restores.remove(target)
        refused = this.over(restore={"sample_max_files": 1_000_000}).runner().refused(
            *restores.arguments_of(settings, name, verify=mode), environment=spoiling)
        contains(f"restore --verify {mode} of a spoiled stream", refused.stderr, "differ")
        require(not target.exists(), f"restore --verify {mode} left {target} although it differs")
    this.runner().check(*restores.arguments_of(settings, name, verify="none"), environment=spoiling)
    found = differences(settings, key, target)
    require(found, "restore --verify none of a spoiled stream gave what was backed up: nothing was spoiled")
    restores.remove(target)
    this.log.say(f"  --verify full and sample found what --verify none let pass: {found[0]}")


def differences(settings, key, target):
    return compare.different(records.recorded(settings, key), compare.describe(target), "the source", str(target))


def body(this, arguments):
    runner.must_be_root("a backup")
    # The last has the shortest chain.
    first, last = this.settings.btrfs.subvolumes[0], this.settings.btrfs.subvolumes[-1]
    if arguments.subvolume:
        first = last = session.chosen(this.settings, arguments.subvolume)
    if arguments.restore_target_base:
        base = session.below_mount(this.settings, "--restore-target-base", arguments.restore_target_base)
        this = this.over(restore={"target_base_dir": str(base)})
    for flag, check, name in (("backup --dry-run", dry_run, first), ("backup --no-s3", no_s3, first),
                              ("backup --subvolume", subvolume, first), ("backup --once", once, first),
                              ("restore --verify", restore_verify, last)):
        check(this, name)
        this.log.say(f"  {flag}: as it should be")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
