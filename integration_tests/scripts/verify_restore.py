#!/usr/bin/env python3
"""Restored subvolumes against what their sources were when they were backed up: everything that a tree consists of.

Full reads every file. A sample compares names, types, modes, owners, times, extended attributes, links, sizes and
holes of everything, and the contents of some files, the same ones each time.
"""
import contextlib
import hashlib
import os
import pathlib
import stat
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import btrfs, compare, faults, records, restores, runner, session  # noqa: E402
from harness.assertions import require  # noqa: E402


def options():
    result = session.parser(__doc__)
    result.add_argument("--subvolume", metavar="NAME|all", default="all", help="what was restored (default: all)")
    result.add_argument("--mode", choices=["full", "sample"], default="full")
    result.add_argument("--target-base", metavar="DIR", help="look at DIR/NAME (default: where run_restore.py restored to)")
    result.add_argument("--target", metavar="PATH", help="look there, for one subvolume")
    result.add_argument("--source-snapshot", metavar="PATH", help="compare one subvolume with this tree (default: with the "
                        "source as it was at the time of the backup)")
    result.add_argument("--sample-files", "--sample-size", type=int, default=25, help="whose contents a sample compares (default: 25)")
    result.add_argument("--self-test", action="store_true", help="break one thing at a time and expect to find it")
    return result


def sample(description, count):
    """The names of so many regular files, chosen by their names alone."""
    files = [name for name, facts in description.items() if facts["type"] == stat.S_IFREG]
    return set(sorted(files, key=lambda name: hashlib.sha256(name).digest())[:count])


def source_of(this, place):
    if "source" in place:
        return compare.describe(pathlib.Path(place["source"]))
    return records.recorded(this.settings, place["manifest_key"])


def problems_of(this, name, place, arguments):
    target = pathlib.Path(place["target"])
    source = source_of(this, place)
    if not target.is_dir():
        return [f"{name}: {target} is not there"]
    if arguments.mode == "full":
        content = source.__contains__
    else:
        content = sample(source, arguments.sample_files).__contains__
        for entry, facts in source.items():
            if not content(entry):
                facts.pop("sha256", None)
    found = compare.different(source, compare.describe(target, content), "the source", str(target))
    if len(found) > 1:
        found[0] += f" (the first of {len(found)} differences)"
    return [f"{name}: {found[0]}"] if found else []


def selected(this, arguments):
    """{subvolume: where it was restored, and from which manifest}"""
    names = this.settings.btrfs.subvolumes
    if arguments.subvolume != "all":
        names = [session.chosen(this.settings, arguments.subvolume)]
    for option in ("target", "source_snapshot"):
        require(getattr(arguments, option) is None or len(names) == 1,
                f"--{option.replace('_', '-')} is for one subvolume: name it with --subvolume")
    require(arguments.target is None or arguments.target_base is None, "--target is all of it: --target-base does not go with it")
    places, found = restores.restored(this.settings), {}
    for name in names:
        place = dict(places.get(name, {}))
        if arguments.target is not None or arguments.target_base is not None:
            place["target"] = os.path.abspath(arguments.target or os.path.join(arguments.target_base, name))
        if arguments.source_snapshot is not None:
            require(os.path.isdir(arguments.source_snapshot), f"--source-snapshot {arguments.source_snapshot} is no directory")
            place["source"] = os.path.abspath(arguments.source_snapshot)
        require("target" in place and ("source" in place or "manifest_key" in place),
                f"{name} was not restored: run run_restore.py first")
        found[name] = place
    return found


def check(this, arguments, places):
    problems = [line for name, place in places.items() for line in problems_of(this, name, place, arguments)]
    return faults.verdict(this.log, problems, f"{', '.join(places)} ({arguments.mode})")


@contextlib.contextmanager
def broken_copy(this, arguments, places, name, change):
    """The check with a copy of one target, changed, in its place."""
    target = pathlib.Path(places[name]["target"])
    copy = target.with_name(target.name + "-broken")
    restores.remove(copy)
    btrfs.snapshot(target, copy, writable=True)
    try:
        folder = os.stat(copy)
        change(copy)
        os.utime(copy, ns=(folder.st_atime_ns, folder.st_mtime_ns))
        yield lambda: check(this, arguments, {**places, name: dict(places[name], target=str(copy))})
    finally:
        restores.remove(copy)


def planted(this, arguments, places):
    name = next(iter(places))
    source = source_of(this, places[name])
    # A plain file into which a sample looks as well.
    file = os.fsdecode(sorted(entry for entry in sample(source, arguments.sample_files)
                              if source[entry]["size"] > 0 and source[entry]["mode"] == 0o644
                              and "links" not in source[entry])[0])

    def keeping_time(of, change):
        """Changes the file, and sets back the times of what `of` gives for it."""
        def changed(root):
            entry = os.stat(of(root / file))
            change(root / file)
            os.utime(of(root / file), ns=(entry.st_atime_ns, entry.st_mtime_ns))
        return changed

    def itself(path):
        return path

    def another_byte(path):
        with open(path, "r+b") as opened:
            byte = opened.read(1)
            opened.seek(0)
            opened.write(bytes([byte[0] ^ 1]))

    for title, change, word in (
            ("an altered file", keeping_time(itself, another_byte), "sha256"),
            ("a shorter file", keeping_time(itself, lambda path: os.truncate(path, path.stat().st_size - 1)), file),
            ("an extra file", lambda root: (root / "extra").touch(), "extra"),
            ("an extra directory", lambda root: (root / "extra").mkdir(), "extra"),
            ("a missing file", keeping_time(lambda path: path.parent, lambda path: path.unlink()), "only in"),
            ("another mode", lambda root: (root / file).chmod(0o4711), "mode"),
            ("another owner", lambda root: os.chown(root / file, 4242, -1), "uid"),
            ("another time", lambda root: os.utime(root / file, ns=(1, 1)), "mtime"),
            ("another attribute", lambda root: os.setxattr(root / file, "user.extra", b"1"), "xattrs")):
        yield title, broken_copy(this, arguments, places, name, change), word
    gone = {**places, name: dict(places[name], target=places[name]["target"] + "-absent")}
    yield "a target that is not there", contextlib.nullcontext(lambda: check(this, arguments, gone)), "is not there"


def body(this, arguments):
    runner.must_be_root("reading everything")
    places = selected(this, arguments)
    if arguments.self_test:
        # One is enough.
        places = dict([list(places.items())[-1]])
        return faults.self_test(this.log, lambda: check(this, arguments, places),
                                list(planted(this, arguments, places)))
    return check(this, arguments, places)


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
