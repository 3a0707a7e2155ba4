#!/usr/bin/env python3
"""Makes the filesystem of a run: an image file, mounted, with the subvolumes; what an earlier run left is removed."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import btrfs, session, teardown  # noqa: E402
from harness.assertions import HarnessError  # noqa: E402


def options():
    return session.parser(__doc__)


def body(this, _arguments):
    settings = this.settings
    reason = btrfs.why_not()
    if reason:
        raise HarnessError(f"this machine cannot do it: {reason}")
    teardown.local(settings)
    settings.paths.image.parent.mkdir(parents=True, exist_ok=True)
    filesystem = btrfs.attach(settings.paths.image, settings.paths.mount, settings.image_bytes,
                              settings.btrfs.mount_options)
    for directory in (settings.paths.data, settings.paths.snapshots, settings.targets):
        directory.mkdir(parents=True, exist_ok=True)
    for name in settings.btrfs.subvolumes:
        btrfs.run("btrfs", "subvolume", "create", str(settings.subvolume(name)))
    this.log.say(f"  {filesystem.device} on {filesystem.mount}: {', '.join(settings.btrfs.subvolumes)}")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
