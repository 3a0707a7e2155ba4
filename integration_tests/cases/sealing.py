"""Cases of sealed backups: what the bucket shows, who can restore, and age as the other one who can."""
import json
import os
import pathlib
import re
import subprocess

import signing
from harness import age_keys, documents, json_names, sealed_sizes  # world knows where that is
from recovery import behind_proxy, random_file
from world import MIB, case, dataset, says

FORMAT = pathlib.Path(__file__).resolve().parents[2] / "docs/format.md"
SPOIL_STREAM = pathlib.Path(__file__).resolve().parent.parent / "harness" / "spoil_stream.py"


def make_identity(w, name):
    """Its path and its recipient, by age-keygen."""
    path = w.directory / name
    subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
    path.chmod(0o600)
    shown = subprocess.run(["age-keygen", "-y", path], check=True, capture_output=True, text=True)
    return path, shown.stdout.strip()


def plain_words(w):
    """What no object may show: names and contents of files, paths, the magic of a stream, the host's name."""
    content = (w.data / "large.bin").read_bytes()
    pieces = [content[at:at + 32] for at in range(0, len(content), 1 << 16)]
    return [b"btrfs-stream", b"large-link.txt", b"module07", b"a secret of the second night", os.fsencode(w.data),
            os.fsencode(w.snapshots), f'"{os.uname().nodename}"'.encode(), *pieces]


def nothing_is_plain(w, objects):
    words = plain_words(w)
    for key, body in objects.items():
        # What is short stands in megabytes of random bytes by chance.
        least = 8 if key.endswith((".bin", ".age")) else 1
        shown = [word for word in words if len(word) >= least and word in body]
        assert not shown, (key, shown[:3])


def all_objects(w):
    return {key: w.bucket.get(key) for key in w.bucket.list()}


def restored_by_hand(w, identity, objects):
    """The commands of docs/format.md as they stand there; `aws s3 cp` reads a copy of the bucket."""
    chain, sealed = (next(block for block in documents.blocks(FORMAT.read_text(), "docs/format.md") if words in block.text)
                     for words in ("mv links chain", "age -d"))
    here = w.mount / "by-hand"
    copy = w.directory / "copy"
    for key, body in objects.items():
        (copy / key).parent.mkdir(parents=True, exist_ok=True)
        (copy / key).write_bytes(body)
    here.mkdir()
    work = w.directory / "work"
    work.mkdir()
    script = 'aws() { cp "$COPY/${4#s3://my-backups/}" "$5"; }\n( ' + chain.text + " )\n( " + sealed.text + " )\n"
    for shown, there in (("hosts/alpha/", "hosts/test/"), ("/root/identity.txt", str(identity)), ("/mnt", str(here))):
        script = script.replace(shown, there)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=work, check=False, capture_output=True, text=True,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "COPY": str(copy)}, timeout=300)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return here / "data"


@case
def a_sealed_backup_is_restored_with_its_identity_and_by_hand_with_age(w):
    identity, recipient = make_identity(w, "identity.txt")
    other, _ = make_identity(w, "other.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    dataset.seed(w.data, large_mib=20, small_files=100)
    with behind_proxy(w) as between:
        # A power cut in the middle of the full; the next run goes on, and needs no secret for it.
        w.kill_at(between, method="PUT", query="partNumber=2&", number=2)
        says(w.backup(only_when_due=True), "action=resume")
        assert w.journals() == []
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    full = w.manifest()
    (w.data / "second").write_text("a secret of the second night")
    w.backup()
    newest = w.manifest()
    assert (full["kind"], newest["kind"], newest["parent_manifest"] is not None) == ("full", "incremental", True)
    objects = all_objects(w)
    for manifest in (full, newest):
        assert manifest["version"] == 2 and "path" not in manifest["snapshot"] and "name" not in manifest["host"], manifest
        keys = manifest["encryption"]["keys_key"]
        assert re.fullmatch(r".*/keys-\d{8}T\d{6}Z-[0-9a-f]{8}\.age", keys) and keys in objects, (keys, list(objects))
        for key in (keys, *(chunk["key"] for chunk in manifest["chunks"])):
            assert objects[key].startswith(b"age-encryption.org/v1\n"), key
    nothing_is_plain(w, objects)
    # What needs no key needs none.
    for command in (("list",), ("verify",), ("verify", "--deep"), ("plan",), ("status",), ("prune",)):
        shown = json.loads(w.expect(0, w.tool.run(*command, "--json")).stdout)
        assert not any(one.get("strays") or one.get("foreign") for one in shown.get("subvolumes", [])), (command, shown)

    # Without the identity nothing is asked of the store but manifests, and the remedy is named.
    with behind_proxy(w) as between:
        for arguments, words in (((), ("is sealed, and no identity was given", "--identity")),
                                 (("--identity", str(other)), ("none of the identities opens", "keys show"))):
            refused = w.tool.run("restore", "--subvolume", "data", "--target", str(w.restored / "a"), *arguments)
            assert refused.status in (1, 2), refused
            says(refused, *words)
        assert not any("/chunk-" in path for method, path, *_ in between.requests if method == "GET"), between.requests
        assert list(w.restored.iterdir()) == []
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint

    w.restore("--target", str(w.restored / "a"), "--identity", str(identity))
    w.same(w.data, w.restored / "a")
    w.tool.tables["restore"] = {"identity_file": str(identity)}
    w.restore("--target", str(w.restored / "b"))
    w.same(w.data, w.restored / "b")
    w.same(w.data, restored_by_hand(w, identity, objects))


@case
def a_sealed_and_signed_backup_goes_on_wherever_its_run_died(w):
    """Between its keys, its manifest and its signature, too: what is signed late is what the journal has."""
    identity, recipient = make_identity(w, "identity.txt")
    signers = signing.signed_by(w, signing.make_key(w, "signer"))
    w.tool.tables["encryption"]["recipients"] = [recipient]
    dataset.seed(w.data, large_mib=1, small_files=20)
    with behind_proxy(w) as between:
        for path in (r"/index-.*\.zst\.age$", r"/keys-.*\.age$", r"manifest-.*\.json$", r"manifest-.*\.sig$", r"current\.json$"):
            for when in ("before", "after"):
                (w.data / "changed").write_text(path + when)
                w.kill_at(between, method="PUT", path=path, when=when)
                w.backup(only_when_due=True)
                assert w.journals() == [] and w.manifest()["version"] == 2
                signing.verified_by_ssh_keygen(w, signers, signing.chain(w))
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    nothing_is_plain(w, all_objects(w))
    w.expect(0, w.tool.run("verify"))
    w.restore("--target", str(w.restored / "a"), "--identity", str(identity), "--trusted-signers", str(signers))
    w.same(w.data, w.restored / "a")


@case
def a_sealed_upload_that_was_interrupted_sends_again_what_a_plain_one_does(w):
    """Killed at a quarter, at half and at three quarters: what had arrived is not sent again, to the byte."""
    part = 5 * MIB
    _, recipient = make_identity(w, "identity.txt")
    random_file(w.data / "random", 100 * MIB)
    w.tool.tables["s3"].update(chunk_size_bytes="200GiB", concurrency=1)
    sent, sizes = {}, {}
    with behind_proxy(w) as between:
        for form, tables in (("plain", {}), ("sealed", {"recipients": [recipient]})):
            w.tool.tables["encryption"] = tables
            for number in (6, 11, 16):
                w.kill_at(between, method="PUT", query=f"partNumber={number}&")
                between.requests.clear()
                outcome = w.backup(only_when_due=True)
                says(outcome, "action=resume", "earlier_parts_found")
                manifest = w.manifest()
                (chunk,) = manifest["chunks"]
                sent[form, number] = between.bytes_of_parts()
                sizes[form] = chunk["size"], chunk.get("plain_size", chunk["size"])
                assert sent[form, number] == chunk["size"] - (number - 1) * part, (form, number, sent[form, number], chunk["size"])
                for key in w.bucket.list():
                    w.bucket.delete(key)
                subprocess.run(["btrfs", "subvolume", "delete", w.snapshots / w.snapshot_names()[0]], check=True, capture_output=True)
    size, plain = sizes["sealed"]
    assert size == sealed_sizes.sealed_bytes(plain, part) and sizes["plain"][0] == sizes["plain"][1], sizes
    for number in (6, 11, 16):
        # The difference is what seals add: 0.04 % at this part size.
        more = sent["sealed", number] - sent["plain", number]
        print(f"killed at part {number}: {sent['plain', number]} bytes plain, {more} more sealed")
        assert more == size - sizes["plain"][0] and 0 < more < 0.0005 * size, (number, more)


@case
def a_sealed_upload_whose_stream_differs_is_sent_anew_under_other_keys(w):
    """From the first part on that differs; those before it are known again by their fingerprints."""
    identity, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    random_file(w.data / "random", 60 * MIB)
    w.tool.tables["s3"].update(chunk_size_bytes="60MiB", concurrency=1)
    flip = f'"$REAL" "$@" | /usr/bin/python3 -B {SPOIL_STREAM} {32 * MIB}'
    bodies = []
    with behind_proxy(w) as between:
        between.watch = lambda method, path, _query, body: bodies.append(body) if method == "PUT" and "/chunk-" in path else None
        w.kill_at(between, method="PUT", query="partNumber=10&", environment=w.fake_btrfs(flip))
        first, second = list(bodies), bodies
        second.clear()
        says(w.backup(only_when_due=True), "action=resume", "stream_differs")
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    # Ten were sent; the byte that differs is in the seventh of thirteen.
    assert len(first) == 10 and len(second) == 7, (len(first), len(second))
    shares = [age_keys.header_of(body)[0][0][0] for body in first + second]
    assert len(set(shares)) == len(shares)  # nothing is sealed twice under one key, whatever it is
    text = subprocess.run(["age", "-d", "-i", identity], input=w.bucket.get(w.manifest()["encryption"]["keys_key"]), check=True,
                          capture_output=True).stdout.decode("ascii")
    secret = age_keys.secret_of(age_keys.identity_in(text))
    keys = [age_keys.file_key(body, secret)[0] for body in second]
    assert len(set(keys)) == len(keys)
    w.restore("--target", str(w.restored / "a"), "--identity", str(identity))
    w.same(w.data, w.restored / "a")


@case
def recipients_of_backups_are_exchanged_without_a_chunk(w):
    """A rotation: who may read is changed in the bucket, and age has the last word on who can."""
    former, of_former = make_identity(w, "former.txt")
    fresh, of_fresh = make_identity(w, "fresh.txt")
    w.tool.tables["encryption"] = {"recipients": [of_former]}
    dataset.seed(w.data, large_mib=1, small_files=20)
    w.backup()
    (w.data / "second").write_text("a secret of the second night")
    w.backup()
    full, newest = (one["encryption"]["keys_key"] for one in (w.bucket.get_json(w.manifest()["parent_manifest"]), w.manifest()))
    before = all_objects(w)

    def opens(identity, key):
        return subprocess.run(["age", "-d", "-i", identity], input=w.bucket.get(key), check=False, capture_output=True).returncode == 0

    def outcomes(command, *arguments, status=0):
        shown = w.tool.run("keys", command, *arguments, "--json")
        w.expect(status, shown)
        (document,) = json_names.documents(shown.stdout)
        assert not json_names.problems(document, json_names.table()), shown.stdout
        return [one["outcome"] for one in document["backups"]]

    assert outcomes("check", "--identity", str(former)) == ["opens", "opens"]
    assert outcomes("check", "--identity", str(fresh), status=4) == ["closed", "closed"]
    w.tool.tables["encryption"] = {"recipients": [of_fresh]}
    assert "the next will be for the configured recipients" in w.expect(0, w.tool.run("doctor")).stdout
    assert outcomes("rewrap", "--identity", str(former), "--dry-run") == ["would_rewrite", "would_rewrite"]
    assert all_objects(w) == before
    with behind_proxy(w) as between:
        # Killed when the first is written, and when the answer was on its way.
        for when in ("before", "after"):
            held = between.hold(method="PUT", path=r"/keys-", when=when)
            running = w.tool.start("keys", "rewrap", "--identity", str(former))
            assert held.reached.wait(60)
            running[0].kill()
            w.tool.finish(running)
            between.release()
            for key in (full, newest):
                assert opens(former, key) != opens(fresh, key), key
        between.requests.clear()
        assert set(outcomes("rewrap", "--identity", str(former))) <= {"rewritten", "already"}
        assert not any("/chunk-" in path for _, path, *_ in between.requests), between.requests
        assert {path for method, path, *_ in between.requests if method == "PUT"} <= {f"/{w.bucket.name}/{key}" for key in (full, newest)}
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    assert outcomes("rewrap", "--identity", str(former)) == ["already", "already"]
    for key in (full, newest):
        assert opens(fresh, key) and not opens(former, key), key
    # Nothing else in the bucket is another than before.
    after = all_objects(w)
    assert {key for key in before if before[key] != after[key]} == {full, newest} and before.keys() == after.keys()
    (name,) = {line.split()[-1] for line in w.tool.run("keys", "show", of_fresh).stdout.splitlines() if "SHA256" in line}
    assert f"sealed for {name}: 2" in w.expect(0, w.tool.run("list")).stdout
    w.expect(0, w.tool.run("verify", "--deep", "--identity", str(fresh)))
    w.restore("--target", str(w.restored / "a"), "--identity", str(fresh))
    w.same(w.data, w.restored / "a")
    w.restore("--target", str(w.restored / "b"), "--identity", str(former), expect=1)
