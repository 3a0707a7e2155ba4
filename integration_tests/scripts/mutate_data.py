#!/usr/bin/env python3
"""Changes the data of the subvolumes: contents, names, types, attributes; the same for the same round."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import dataset, session  # noqa: E402
from harness.assertions import require  # noqa: E402


def options():
    result = session.parser(__doc__, needs_store=False)
    result.add_argument("--round", type=int, default=2, help="another number makes other changes (default: 2)")
    result.add_argument("--size-mib", "--dataset-size-mib", type=int, help="as given to seed_data.py")
    return result


def body(this, arguments):
    mutate(this, arguments.round, arguments.size_mib if arguments.size_mib is not None else this.settings.dataset.size_mib)


def next_round(settings):
    """The first that was not done yet."""
    number = 2
    while any((settings.subvolume(name) / f"added{number}").exists() for name in settings.btrfs.subvolumes):
        number += 1
    return number


def mutate(this, number, size):
    settings = this.settings
    for index, name in enumerate(settings.btrfs.subvolumes):
        root = settings.subvolume(name)
        require((root / "large.bin").exists(), f"{root} has no data: run seed_data.py first")
        require(not (root / f"added{number}").exists(), f"{root}: round {number} was done before; "
                "give --round another number")
        dataset.mutate(root, number, max(1, size // (1 if index == 0 else 10)))
        this.log.say(f"  {name}: changed, round {number}")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
