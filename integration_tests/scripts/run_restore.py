#!/usr/bin/env python3
"""Restores subvolumes, by default all, from their newest backups, from one by key, or from the newest incrementals."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import manifest, restores, runner, session  # noqa: E402
from harness.assertions import require  # noqa: E402


def options():
    result = session.parser(__doc__, dry_run=True)
    result.add_argument("--subvolume", metavar="NAME", default="all", help="one of btrfs.subvolumes (default: all)")
    which = result.add_mutually_exclusive_group()
    which.add_argument("--manifest-key", metavar="KEY", help="the backup with this manifest, of the subvolume it names")
    which.add_argument("--use-incremental-manifest", action="store_true",
                       help="give the tool the key of each subvolume's newest incremental")
    which.add_argument("--use-full-manifest", action="store_true",
                       help="give the tool the key of each subvolume's newest full")
    result.add_argument("--target-base", metavar="DIR", help="restore to DIR/NAME, below paths.mount (default: "
                        "restore.target_base_dir, or restored/ there)")
    result.add_argument("--target-name", metavar="NAME", help="another last part of the target, for one subvolume")
    result.add_argument("--target", metavar="PATH", help="all of the target, for one subvolume")
    result.add_argument("--restore-timeout", type=int, metavar="SECONDS", help="handed to the tool")
    result.add_argument("--verify", choices=["full", "sample", "none"], default="full", help="handed to the tool")
    return result


def keys(this, arguments):
    """[(subvolume, manifest key or None)]"""
    settings = this.settings
    names = settings.btrfs.subvolumes
    if arguments.subvolume != "all":
        names = [session.chosen(settings, arguments.subvolume)]
    if arguments.manifest_key:
        found = [name for name in names if arguments.manifest_key.startswith(settings.root_of(name))]
        require(found, f"--manifest-key {arguments.manifest_key} belongs to none of {names}")
        return [(found[0], arguments.manifest_key)]
    if not (arguments.use_incremental_manifest or arguments.use_full_manifest):
        return [(name, None) for name in names]
    kind, result = "incremental" if arguments.use_incremental_manifest else "full", []
    for name in names:
        links = manifest.chain(this.store, manifest.pointer(this.store, settings.root_of(name))["manifest_key"])
        of_kind = [key for key, content in links if content["kind"] == kind]
        require(of_kind, f"{name} has no backup of the kind {kind}")
        result.append((name, of_kind[-1]))
    return result


def target_of(settings, arguments, name):
    if arguments.target is not None:
        require(arguments.target_base is None and arguments.target_name is None,
                "--target is all of it: neither --target-base nor --target-name goes with it")
        return session.below_mount(settings, "--target", arguments.target)
    base = settings.targets
    if arguments.target_base is not None:
        base = session.below_mount(settings, "--target-base", arguments.target_base)
    last = name if arguments.target_name is None else arguments.target_name
    require(last not in ("", ".", "..") and "/" not in last, f"--target-name {last!r} must be one name")
    return base / last


def body(this, arguments):
    if not arguments.dry_run:
        runner.must_be_root("a restore")
    chosen = keys(this, arguments)
    if arguments.target is not None or arguments.target_name is not None:
        require(len(chosen) == 1, "--target and --target-name are for one subvolume: name it with --subvolume")
    more = () if arguments.restore_timeout is None else ("--restore-timeout", str(arguments.restore_timeout))
    for name, key in chosen:
        target = target_of(this.settings, arguments, name)
        if arguments.dry_run:
            this.log.say(this.runner().shown(
                [*restores.arguments_of(this.settings, name, key, arguments.verify, target), *more]))
        else:
            restores.restore(this, name, key, arguments.verify, more, target)


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
