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
    result.add_argument("--verify", choices=["full", "sample", "none"], default="full", help="handed to the tool")
    return result


def keys(this, arguments):
    """[(subvolume, manifest key or None)]"""
    settings = this.settings
    names = settings.btrfs.subvolumes
    if arguments.subvolume != "all":
        require(arguments.subvolume in names, f"--subvolume {arguments.subvolume}: btrfs.subvolumes has {names}")
        names = [arguments.subvolume]
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


def body(this, arguments):
    if not arguments.dry_run:
        runner.must_be_root("a restore")
    for name, key in keys(this, arguments):
        if arguments.dry_run:
            this.log.say(this.runner().shown(restores.arguments_of(this.settings, name, key, arguments.verify)))
        else:
            restores.restore(this, name, key, arguments.verify)


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
