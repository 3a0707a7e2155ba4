#!/usr/bin/env python3
"""Pointers, manifests, the local manifest: their schemas, what they say of one another, chains that end in a full."""
import copy
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import faults, manifest, session  # noqa: E402
from harness.assertions import HarnessError  # noqa: E402


def options():
    result = session.parser(__doc__)
    result.add_argument("--self-test", action="store_true", help="break one thing at a time and expect to find it")
    result.add_argument("--manifest", type=pathlib.Path, metavar="FILE",
                        help="the local manifest (default: manifest.json in paths.run)")
    result.add_argument("--schema", type=pathlib.Path, metavar="FILE",
                        help=f"of the local manifest (default: expected/{manifest.LOCAL})")
    result.add_argument("--s3-schema", type=pathlib.Path, metavar="FILE",
                        help=f"of manifests in the bucket (default: expected/{manifest.FULL})")
    return result


def chain_problems(store, root, links, schema=manifest.FULL):
    """Of one subvolume: its pointer, and every manifest from there to the full; their keys are added to `links`."""
    pointer = manifest.pointer(store, root)
    found = manifest.violations(pointer, manifest.POINTER, root + "current.json")
    if found:
        return found
    key, newest = pointer["manifest_key"], None
    while key is not None:
        if key in links:
            return [f"{key} is its own ancestor"]
        links.add(key)
        content = store.get_json(key)
        found = manifest.violations(content, schema, key) or manifest.contradictions(content, key, root)
        if found:
            return found
        newest = newest or content
        key = content["parent_manifest"]
    if pointer["kind"] != newest["kind"]:
        found.append(f"{root}current.json: kind is {pointer['kind']}, of {pointer['manifest_key']} {newest['kind']}")
    return found


def local_problems(store, path, settings, schema=manifest.LOCAL):
    """That the local manifest is of a backup in the bucket, and says the same."""
    try:
        content = json.loads(path.read_bytes())
    except OSError:
        return [f"{path} is not there: the tool writes it because BTRFS_TO_S3_HARNESS_RUN_DIR is set"]
    except ValueError as problem:
        return [f"{path} is no JSON: {problem}"]
    found = manifest.violations(content, schema, path.name)
    if found:
        return found
    first = content["chunks"][0]["key"]
    roots = [root for root in map(settings.root_of, settings.btrfs.subvolumes) if first.startswith(root)]
    place = manifest.OBJECT.fullmatch(first.removeprefix(roots[0])) if roots else None
    if not place:
        return [f"{path.name}: {first} belongs to no subvolume of btrfs.subvolumes"]
    key = f"{roots[0]}{place['kind']}/manifest-{place['of_chunk']}.json"
    recorded = manifest.valid(store, key)
    if content["backup_type"] != recorded["kind"]:
        found.append(f"{path.name}: backup_type is {content['backup_type']}, of {key} {recorded['kind']}")
    here = [(one["index"], one["key"], one["sha256"]) for one in content["chunks"]]
    there = [(index, one["key"], one["sha256"]) for index, one in enumerate(recorded["chunks"])]
    for one, other in zip(here, there):
        if one != other:
            found.append(f"{path.name}: chunk {one}, in {key} {other}")
    if len(here) != len(there):
        found.append(f"{path.name}: {len(here)} chunks, in {key} {len(there)}")
    return found


def check(this, local=None, schema=None, s3_schema=None):
    """With other files than the usual ones where they are given."""
    settings, problems, links = this.settings, [], set()
    schema, s3_schema = schema or manifest.LOCAL, s3_schema or manifest.FULL
    local = local or settings.paths.run / "manifest.json"
    for name in settings.btrfs.subvolumes:
        try:
            problems += chain_problems(this.store, settings.root_of(name), links, s3_schema)
        except HarnessError as problem:
            problems.append(str(problem))
    if settings.tool.local_manifest:
        try:
            problems += local_problems(this.store, local, settings, schema)
        except HarnessError as problem:
            problems.append(str(problem))
    return faults.verdict(this.log, problems, f"{len(settings.btrfs.subvolumes)} pointers, {len(links)} manifests"
                          + (", the local manifest" if settings.tool.local_manifest else ""))


def planted(this):
    store, root = this.store, this.settings.root_of(this.settings.btrfs.subvolumes[0])
    pointer, current = manifest.pointer(store, root), root + "current.json"
    key, newest = manifest.newest(store, root)

    def bent(document, at, **changes):
        """The document with fields changed; None removes one."""
        document = copy.deepcopy(document)
        for name, value in changes.items():
            target, _, field = name.rpartition("__")
            place = {"": document, "chunk": document.get("chunks", [{}])[0],
                     "snapshot": document.get("snapshot", {})}[target]
            if value is None:
                del place[field]
            else:
                place[field] = value
        return faults.object_replaced(store, at, json.dumps(document).encode())

    for field in ("manifest_key", "kind", "created_at"):
        yield f"pointer without {field}", bent(pointer, current, **{field: None}), "current.json", field
    other = "full" if pointer["kind"] != "full" else "incremental"
    yield "pointer of another kind", bent(pointer, current, kind=other), "current.json", "kind"
    yield ("pointer to a manifest that is not there", bent(pointer, current, manifest_key=root +
           "full/manifest-20000101T000000Z.json"), "manifest-20000101T000000Z.json")
    yield "no pointer", faults.object_missing(store, current), "current.json"
    yield "pointer that is no JSON", faults.object_replaced(store, current, b"{"), "current.json", "JSON"
    for name, changes, word in (
            ("no chunks", {"chunks": None}, "chunks"), ("an empty list of chunks", {"chunks": []}, "chunks"),
            ("no parent_manifest", {"parent_manifest": None}, "parent_manifest"),
            ("a version of the future", {"version": 2}, "version"),
            ("a kind that is none", {"kind": "differential"}, "kind"),
            ("a time that is none", {"created_at": "now"}, "created_at"),
            ("another subvolume", {"subvolume": "another"}, "subvolume"),
            ("a total that is not the sum", {"total_bytes": newest["total_bytes"] + 1}, "total_bytes"),
            ("a digest in capitals", {"chunk__sha256": "A" * 64}, "sha256"),
            ("a chunk's size as text", {"chunk__size": "1"}, "size"),
            ("a chunk of another place", {"chunk__key": "elsewhere/subvol/x/full/chunk-20000101T000000Z-0.bin"},
             "elsewhere"),
            ("a snapshot without uuid", {"snapshot__uuid": None}, "uuid"),
            ("a chain that runs in a circle", {"parent_manifest": key, "kind": "incremental"}, "ancestor"),
            ("a parent that is not there", {"parent_manifest": root + "full/manifest-20000101T000000Z.json"},
             "manifest-20000101T000000Z.json")):
        yield "manifest with " + name, bent(newest, key, **changes), word
    if not this.settings.tool.local_manifest:
        return
    path = this.settings.paths.run / "manifest.json"
    local = json.loads(path.read_bytes())

    def local_bent(change):
        document = copy.deepcopy(local)
        change(document)
        return faults.file_replaced(path, json.dumps(document).encode())

    yield "no local manifest", faults.file_replaced(path, None), "manifest.json"
    yield "local manifest that is no JSON", faults.file_replaced(path, b"["), "JSON"
    yield "local manifest without type", local_bent(lambda one: one.pop("backup_type")), "backup_type"
    yield ("local manifest with another digest",
           local_bent(lambda one: one["chunks"][0].update(sha256="0" * 64)), "0" * 64)
    yield "local manifest with a chunk less", local_bent(lambda one: one["chunks"].pop()), "chunks"


def body(this, arguments):
    if arguments.self_test:
        return faults.self_test(this.log, lambda: check(this), list(planted(this)))
    return check(this, *(path and path.absolute() for path in
                         (arguments.manifest, arguments.schema, arguments.s3_schema)))


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
