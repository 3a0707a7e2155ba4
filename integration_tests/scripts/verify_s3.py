#!/usr/bin/env python3
"""The bucket: every subvolume is there, nothing but what manifests name, sizes, classes, encryption, and digests."""
import contextlib
import hashlib
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import aws, faults, manifest, session  # noqa: E402
from harness.assertions import HarnessError  # noqa: E402


def options():
    result = session.parser(__doc__)
    result.add_argument("--content", action="store_true", help="download the chunks and compare their digests")
    result.add_argument("--self-test", action="store_true", help="break one thing at a time and expect to find it")
    return result


def subvolume_problems(this, name, content, seen_sse):
    """One subvolume's objects, the pointer and all manifests of both kinds included."""
    settings, store, root, found = this.settings, this.store, this.settings.root_of(name), []
    objects, named = store.list(root), {root + "current.json"}
    if root + "current.json" not in objects:
        return [f"{root}current.json is missing: the subvolume {name} is not there"]
    if manifest.pointer(store, root).get("manifest_key") not in objects:
        found.append(f"{root}current.json names a manifest that is not there")
    for key in objects:
        place = manifest.OBJECT.fullmatch(key.removeprefix(root))
        if place and place["of_manifest"]:
            named.add(key)
            recorded = manifest.valid(store, key)
            for one in (*recorded["chunks"], *([recorded["index"]] if "index" in recorded else [])):
                named.add(one["key"])
                if one["key"] not in objects:
                    found.append(f"{one['key']} is missing; {key} names it")
                elif objects[one["key"]] != one["size"]:
                    found.append(f"{one['key']}: {objects[one['key']]} bytes, recorded {one['size']}")
                elif content and hashlib.sha256(store.get(one["key"])).hexdigest() != one["sha256"]:
                    found.append(f"{one['key']}: its SHA-256 is not the recorded one")
    if not any("/full/manifest-" in key for key in named):
        found.append(f"{root}: there is no full")
    for key in sorted(objects):
        if key not in named:
            found.append(f"{key} belongs to no manifest")
            continue
        head = store.head(key)
        if head is None:
            found.append(f"{key} is listed, but not there")
            continue
        seen_sse.add(aws.sse(head))
        is_chunk = "/chunk-" in key
        found += aws.stored_otherwise(head, key, settings.aws.storage_class_chunks if is_chunk
                           else settings.aws.storage_class_manifest, settings.aws.sse)
    return found


def check(this, content=False):
    settings, problems, seen_sse = this.settings, [], set()
    for name in settings.btrfs.subvolumes:
        try:
            problems += subvolume_problems(this, name, content, seen_sse)
        except HarnessError as problem:
            problems.append(str(problem))
    objects = this.store.list(settings.aws.prefix + "/")
    roots = tuple(settings.root_of(name) for name in settings.btrfs.subvolumes)
    problems += [f"{key} belongs to no subvolume of btrfs.subvolumes" for key in objects if not key.startswith(roots)]
    problems += [f"{key}: an upload was left open" for key, _ in this.store.open_uploads(settings.aws.prefix + "/")]
    return faults.verdict(this.log, problems, f"{len(objects)} objects, {sum(objects.values())} bytes, encryption "
                          + ("not reported" if seen_sse == {None} else str(sorted(map(str, seen_sse)))))


@contextlib.contextmanager
def upload_left_open(store, key):
    upload_id = store.create_upload(key)
    try:
        yield
    finally:
        store.abort(key, upload_id)


@contextlib.contextmanager
def with_settings(this, **tables):
    """The check of another configuration."""
    yield lambda: check(this.over(**tables))


def planted(this):
    store, settings = this.store, this.settings
    root = settings.root_of(settings.btrfs.subvolumes[0])
    key, newest = manifest.newest(store, root)
    chunk = newest["chunks"][-1]["key"]
    body = store.get(chunk)
    other = next(name for name in ("STANDARD", "STANDARD_IA") if name != settings.aws.storage_class_chunks)
    yield "a missing chunk", faults.object_missing(store, chunk), chunk, "missing"
    yield "a chunk of another class", faults.object_replaced(store, chunk, storage_class=other), chunk, other
    yield "a chunk that is cut short", faults.object_replaced(store, chunk, body[:-1]), chunk, "bytes"
    yield "a chunk with another byte", with_content(this, faults.object_replaced(
        store, chunk, body[:-1] + bytes([body[-1] ^ 1]))), chunk, "SHA-256"
    other = next(name for name in ("STANDARD", "STANDARD_IA") if name != settings.aws.storage_class_manifest)
    yield "a manifest of another class", faults.object_replaced(store, key, storage_class=other), key, other
    yield ("a pointer of another class", faults.object_replaced(store, root + "current.json", storage_class=other),
           "current.json", other)
    yield "a missing manifest", faults.object_missing(store, key), "current.json"
    yield "a missing pointer", faults.object_missing(store, root + "current.json"), "current.json"
    yield ("a chunk that no manifest names",
           faults.object_added(store, root + "full/chunk-20000101T000000Z-0.bin", b"x"), "chunk-20000101T000000Z-0.bin")
    yield ("an object outside of the layout", faults.object_added(store, f"{settings.aws.prefix}/stray", b"x"), "stray")
    yield "an open upload", upload_left_open(store, root + "full/chunk-20000101T000000Z-0.bin"), "open"
    yield ("a subvolume that is not there", with_settings(
        this, btrfs={"subvolumes": [*settings.btrfs.subvolumes, "absent"]}), "absent")
    if aws.sse(store.head(key)):
        yield "another encryption", with_settings(this, aws={"sse": "aws:kms"}), "encrypted"
    else:
        this.log.say("  not broken: encryption, which this endpoint does not report")


@contextlib.contextmanager
def with_content(this, fault):
    """The check that downloads, while the fault is there."""
    with fault:
        yield lambda: check(this, content=True)


def body(this, arguments):
    if arguments.self_test:
        return faults.self_test(this.log, lambda: check(this, arguments.content), list(planted(this)))
    return check(this, arguments.content)


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
