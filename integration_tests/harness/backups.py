"""Making a backup and seeing that it was published; the files of the data that the scripts add."""
import random

from . import records
from .assertions import equal, require


def prepare_bucket(session):
    """Makes the bucket of a store that the harness started; any other must have it."""
    if session.throwaway:
        session.store.create_bucket(session.settings.aws.region)
    else:
        session.store.require_bucket()


def pointers(session, names):
    """{subvolume: key of its newest manifest, or None}"""
    found = {}
    for name in names:
        root = session.settings.root_of(name)
        there = session.store.head(root + "current.json")
        found[name] = session.store.get_json(root + "current.json")["manifest_key"] if there else None
    return found


def published(session, before, kind=None):
    """That each of these pointers has moved, by a backup of that kind; records the sources; {name: manifest}."""
    found = {}
    for name, key in pointers(session, before).items():
        root = session.settings.root_of(name)
        require(key is not None, f"{root}current.json is not there: the backup was not published")
        require(key != before[name], f"{root}current.json still names {key}: the backup was not published")
        found[name] = session.store.get_json(key)
        if kind:
            equal(f"the kind of {key}", found[name].get("kind"), kind)
        records.record(session.settings, name, key)
        session.log.say(f"  {name}: {found[name]['kind']}, {len(found[name]['chunks'])} chunks, "
                        f"{found[name]['total_bytes']} bytes")
    return found


def back_up(session, *arguments, names=None, kind=None, environment=None):
    """`backup` of these subvolumes, by default all; what published() returns, and how the tool ran."""
    if names:
        arguments += tuple(word for name in names for word in ("--subvolume", name))
    before = pointers(session, names or session.settings.btrfs.subvolumes)
    session.settings.paths.run.joinpath("manifest.json").unlink(missing_ok=True)
    outcome = session.runner().check("backup", *arguments, environment=environment)
    return published(session, before, kind), outcome


def add_file(session, subvolume, name, size, seed=1):
    """Random content, which no compression makes smaller; the same for the same seed."""
    generator = random.Random(f"{name} {seed}")
    path = session.settings.subvolume(subvolume) / name
    with open(path, "wb") as file:
        while size:
            block = generator.randbytes(min(size, 1 << 20))
            file.write(block)
            size -= len(block)
    return path
