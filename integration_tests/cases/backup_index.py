"""Cases of the index beside a manifest: made of a real stream, whole and incremental, plain and sealed; opened by hand."""
import hashlib
import json
import re
import subprocess

from recovery import behind_proxy, random_file
from sealing import make_identity, nothing_is_plain, all_objects
from world import MIB, case, dataset, says


def unpacked(packed):
    return subprocess.run(["zstd", "-dc"], input=packed, check=True, capture_output=True).stdout


def opened(w, identity, manifest, body):
    """By hand: the backup's key out of its keys object, and the index with that key."""
    keys, key = w.directory / "keys.age", w.directory / "backup.key"
    keys.write_bytes(w.bucket.get(manifest["encryption"]["keys_key"]))
    key.write_bytes(subprocess.run(["age", "-d", "-i", identity, keys], check=True, capture_output=True).stdout)
    return subprocess.run(["age", "-d", "-i", key], input=body, check=True, capture_output=True).stdout


def index_of(w, manifest, identity=None):
    """What it holds, once it was found to be what the manifest says."""
    index = manifest["index"]
    folder, name = w.pointer()["manifest_key"].rpartition("/")[0], index["key"].rpartition("/")[2]
    ending = r"\.zst\.age" if identity else r"\.zst"
    assert index["key"].startswith(folder.rpartition("/")[0]) and re.fullmatch(r"index-\d{8}T\d{6}Z-[0-9a-f]{8}" + ending, name), index
    body = w.bucket.get(index["key"])
    assert (len(body), hashlib.sha256(body).hexdigest()) == (index["size"], index["sha256"]), index
    if identity:
        body = opened(w, identity, manifest, body)
        assert (len(body), hashlib.sha256(body).hexdigest()) == (index["plain_size"], index["plain_sha256"]), index
    plain = unpacked(body)
    assert plain.startswith(b"btrfs_to_s3 index 1\n"), plain[:40]
    return plain


def chain(w):
    manifests, key = [], w.pointer()["manifest_key"]
    while key:
        manifests.append(w.bucket.get_json(key))
        key = manifests[-1]["parent_manifest"]
    return manifests


def two_nights(w):
    dataset.seed(w.data, large_mib=4, small_files=200)
    (w.data / "of-the-first-night").write_text("1")
    w.backup("--full")
    (w.data / "of-the-second-night").write_text("2")
    w.backup()
    newest, full = chain(w)
    assert (full["kind"], newest["kind"]) == ("full", "incremental")
    return newest, full


def pruned_with_their_backups(w, old):
    """A new generation, verified; of the old one nothing stays, and nothing is a stranger to list."""
    w.tool.tables["retention"] = {"keep_generations": 1}
    w.backup("--full")
    w.expect(0, w.tool.run("verify"))
    before = set(w.bucket.list())
    assert {one["index"]["key"] for one in old} <= before
    listed = json.loads(w.expect(0, w.tool.run("list", "--json")).stdout)
    assert not any(one["strays"] for one in listed["subvolumes"]), listed
    w.expect(0, w.tool.run("prune", "--yes"))
    newest, = chain(w)
    assert [key for key in w.bucket.list() if "/index-" in key] == [newest["index"]["key"]]


@case
def a_backup_has_an_index_that_zstd_opens(w):
    for protocol in (1, 2):
        w.tool.tables["btrfs"] = {"send_protocol": protocol}
        newest, full = two_nights(w)
        whole, changed = index_of(w, full), index_of(w, newest)
        assert b"of-the-first-night" in whole and b"/module00" in whole and b"of-the-second-night" not in whole
        assert b"of-the-second-night" in changed and b"of-the-first-night" not in changed and len(changed) < 1000
        assert whole[20] == protocol, (protocol, whole[:40])
        w.expect(0, w.tool.run("verify"))
        w.expect(0, w.tool.run("verify", "--deep"))
        for manifest in (full, newest):
            key, body = manifest["index"]["key"], w.bucket.get(manifest["index"]["key"])
            # Of the same size: the listing shows nothing.
            w.bucket.put(key, bytes([body[0] ^ 1]) + body[1:])
            w.expect(0, w.tool.run("verify"))
            told = w.expect(4, w.tool.run("verify", "--deep")).stdout
            assert f"{key}: the index is not what the manifest says" in told and "damaged" not in told, told
            w.bucket.put(key, body[1:])
            told = w.expect(4, w.tool.run("verify")).stdout
            assert f"{key}: the index has {len(body) - 1} bytes" in told, told
            w.bucket.delete(key)
            told = w.expect(4, w.tool.run("verify")).stdout
            assert f"{key}: the index is missing" in told and "can still be restored" not in told, told
            w.bucket.put(key, body)
        pruned_with_their_backups(w, (newest, full))
        for path in list(w.data.iterdir()):
            subprocess.run(["rm", "-rf", path], check=True)


@case
def the_index_of_a_sealed_backup_is_sealed(w):
    identity, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    newest, full = two_nights(w)
    assert b"of-the-first-night" in index_of(w, full, identity)
    assert b"of-the-second-night" in index_of(w, newest, identity)
    nothing_is_plain(w, all_objects(w))
    assert not any(b"of-the-" in body for body in all_objects(w).values())
    w.expect(0, w.tool.run("verify", "--deep"))
    pruned_with_their_backups(w, (newest, full))


class NoIndexes:
    """A store whose policy forbids to write indexes: an answer for a proxy (harness/proxy.py)."""

    def answer(self, method, path, _query, _body):
        if method == "PUT" and "/index-" in path:
            return 403, {}, b"<Error><Code>AccessDenied</Code><Message>by its policy</Message></Error>"
        return None

    def headers(self, _method, _path):
        return {}


@case
def an_index_that_cannot_be_kept_or_put_is_a_warning(w):
    random_file(w.data / "random", 2 * MIB)
    with behind_proxy(w) as between:
        between.player = NoIndexes()
        told = w.backup()
        says(told, "index_failed", "goes on without an index")
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    assert "index" not in w.manifest()
    assert not any("/index-" in key for key in w.bucket.list())
    w.expect(0, w.tool.run("verify"))
    w.tool.tables["index"] = {"enabled": False}
    (w.data / "more").write_text("more")
    w.backup()
    assert "index" not in w.manifest()
    w.tool.tables["index"] = {"enabled": True}
    (w.data / "more").write_text("and more")
    w.backup()
    assert b"more" in index_of(w, w.manifest())
    w.restore("--target", str(w.restored / "a"))
    w.same(w.data, w.restored / "a")
