"""Manifests and pointers: their schemas (expected/), what the fields must say of one another, and chains."""
import functools
import json
import math
import re

import jsonschema

from .assertions import HarnessError, require
from .config import ROOT

# In expected/.
LOCAL, FULL, POINTER = "manifest_schema.json", "manifest_schema_full.json", "current_schema.json"
STAMP = r"\d{8}T\d{6}Z"
SNAPSHOT = re.compile(rf"(?P<subvolume>.+)__(?P<stamp>{STAMP})__(?P<kind>full|inc)")
# Below the root of a subvolume's keys, beside current.json.
OBJECT = re.compile(rf"(?P<kind>full|incremental)/(?:chunk-(?P<of_chunk>{STAMP})-(?:(?P<tag>[0-9a-f]{{8}})-)?(?P<index>\d+)\.bin"
                    rf"|manifest-(?P<of_manifest>{STAMP})\.json)")


@functools.cache
def validator(name):
    """Of a schema in expected/, or anywhere by an absolute path."""
    path = ROOT / "expected" / name
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
    except (OSError, ValueError, jsonschema.SchemaError) as problem:
        reason = getattr(problem, "strerror", None) or getattr(problem, "message", problem)
        raise HarnessError(f"{path} is no schema: {reason}") from problem
    return jsonschema.Draft202012Validator(schema)


def violations(document, name, title):
    """What a document violates of expected/NAME, the deepest first."""
    found = sorted(validator(name).iter_errors(document), key=lambda error: (-len(error.path), str(error.path)))
    return [f"{title}: {error.json_path}: {error.message}" for error in found]


def pointer(store, root):
    require(store.head(root + "current.json"), f"{root}current.json is not there: no backup was published")
    return store.get_json(root + "current.json")


def newest(store, root):
    """Key and content of the newest backup's manifest."""
    content = pointer(store, root)
    found = violations(content, POINTER, root + "current.json")
    require(not found, "\n".join(found[:1]))
    return content["manifest_key"], valid(store, content["manifest_key"])


def valid(store, key):
    """The manifest of that key, which satisfies its schema."""
    content = store.get_json(key)
    found = violations(content, FULL, key)
    require(not found, "\n".join(found[:1]))
    return content


def chain(store, key):
    """[(key, manifest)] from the full to the one of that key."""
    links = []
    while key is not None:
        require(key not in [one for one, _ in links], f"{key} is its own ancestor")
        links.insert(0, (key, valid(store, key)))
        key = links[0][1]["parent_manifest"]
    require(links[0][1]["kind"] == "full", f"{links[0][0]}: the chain does not begin with a full")
    return links


def contradictions(manifest, key, root):
    """What a manifest that satisfies its schema says that cannot be, given its key and its subvolume's root."""
    found, place = [], OBJECT.fullmatch(key.removeprefix(root))
    if not key.startswith(root) or not place or not place["of_manifest"]:
        return [f"{key}: no place for a manifest of {root}"]
    if manifest["kind"] != place["kind"]:
        found.append(f"{key}: kind is {manifest['kind']}")
    if manifest["subvolume"] != root.rstrip("/").rpartition("/")[2]:
        found.append(f"{key}: subvolume is {manifest['subvolume']!r}")
    tags = set()
    for index, chunk in enumerate(manifest["chunks"]):
        name = OBJECT.fullmatch(chunk["key"].removeprefix(root))
        tags.add(name and name["tag"])
        if not name or (name["kind"], name["of_chunk"], name["index"]) != (
                place["kind"], place["of_manifest"], str(index)):
            found.append(f"{key}: chunk {index} is {chunk['key']}, which is no name for it")
        if chunk["size"] > manifest["chunk_size"]:
            found.append(f"{chunk['key']}: {chunk['size']} bytes where chunk_size is {manifest['chunk_size']}")
        if "part_size" in chunk:
            parts = math.ceil(chunk["size"] / chunk["part_size"])
            if (len(chunk["part_crc32"]), len(chunk["part_sha256_states"])) != (parts, parts - 1):
                found.append(f"{chunk['key']}: {len(chunk['part_crc32'])} part_crc32 and "
                             f"{len(chunk['part_sha256_states'])} part_sha256_states for {parts} parts")
    if len(tags) > 1:
        found.append(f"{key}: its chunks have the tags {sorted(map(str, tags))}, expected one")
    total = sum(chunk["size"] for chunk in manifest["chunks"])
    if total != manifest["total_bytes"]:
        found.append(f"{key}: total_bytes is {manifest['total_bytes']}, the chunks have {total}")
    return found


def snapshot_name(manifest):
    name = manifest["snapshot"]["name"]
    if not SNAPSHOT.fullmatch(name):
        raise HarnessError(f"the snapshot {name!r} is not named like data__20260102T030405Z__full")
    return name
