#!/usr/bin/env python3
"""Fills the subvolumes with data: the same for the same seed, with everything that a filesystem can hold."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import dataset, session  # noqa: E402
from harness.assertions import require  # noqa: E402


def options():
    result = session.parser(__doc__, needs_store=False)
    result.add_argument("--size-mib", "--dataset-size-mib", type=int, help="size of the first subvolume's large file, instead of "
                        "dataset.size_mib; the others get a tenth")
    return result


def body(this, arguments):
    settings = this.settings
    size = arguments.size_mib if arguments.size_mib is not None else settings.dataset.size_mib
    require(size > 0, f"--size-mib {size} must be at least 1")
    for index, name in enumerate(settings.btrfs.subvolumes):
        root = settings.subvolume(name)
        require(root.is_dir(), f"{root} is not there: run setup_btrfs.py first")
        require(not any(root.iterdir()), f"{root} is not empty: run setup_btrfs.py again first")
        share = 1 if index == 0 else 10
        dataset.seed(root, max(1, size // share), max(1, settings.dataset.small_files // share),
                     settings.dataset.seed + index)
        this.log.say(f"  {name}: {sum(1 for _ in root.rglob('*'))} entries, large file of {max(1, size // share)} MiB")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
