"""Cases of signed manifests: published, verified by ssh-keygen, tampered with, and made up for when a run died."""
import hashlib
import json
import shutil
import subprocess

from recovery import behind_proxy
from world import case, dataset, says


def make_key(w, name):
    """Its path; the public half lies beside it."""
    path = w.directory / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
    return path


def signed_by(w, key):
    """Lets this host sign with it; a file of signers that trusts it."""
    w.tool.tables["encryption"] = {"signing_key_file": str(key)}
    signers = w.directory / f"signers-{key.name}"
    signers.write_text("* " + key.with_suffix(".pub").read_text())
    return signers


def chain(w):
    """Keys of the current backup's manifests, the newest first."""
    keys = [w.pointer()["manifest_key"]]
    while parent := w.bucket.get_json(keys[-1])["parent_manifest"]:
        keys.append(parent)
    return keys


def verified_by_ssh_keygen(w, signers, keys):
    for key, parent in zip(keys, [*keys[1:], None], strict=True):
        signature = w.directory / "signature"
        signature.write_bytes(w.bucket.get(key + ".sig"))
        subprocess.run(["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "backup", "-n", "btrfs_to_s3", "-s", signature],
                       input=w.bucket.get(key), check=True, capture_output=True)
        digest = parent and hashlib.sha256(w.bucket.get(parent)).hexdigest()
        assert w.bucket.get_json(key).get("parent_manifest_sha256") == digest, key


def with_another_digest(manifest):
    """The same, but for one digit of the first chunk's digest."""
    at = manifest.index(b'"sha256":"') + 12
    return manifest[:at] + (b"1" if manifest[at:at + 1] == b"0" else b"0") + manifest[at + 1:]


@case
def a_signed_chain_is_restored_by_whoever_trusts_its_signer_and_by_nobody_else(w):
    key = make_key(w, "ours")
    signers = signed_by(w, key)
    dataset.seed(w.data, large_mib=6, small_files=20)
    w.backup()
    (w.data / "more").write_text("more")
    w.backup()
    keys = chain(w)
    assert len(keys) == 2, keys
    verified_by_ssh_keygen(w, signers, keys)
    for command in ("list", "verify", "prune"):
        shown = json.loads(w.expect(0, w.tool.run(command, "--json")).stdout)
        assert not shown.get("strays") and not shown["subvolumes"][0].get("strays"), shown
        assert not shown["subvolumes"][0].get("foreign"), shown
    w.restore("--target", str(w.restored / "a"), "--trusted-signers", str(signers))
    w.same(w.data, w.restored / "a")
    # Another signer, and a key in the configuration.
    other = make_key(w, "other")
    fingerprint = subprocess.run(["ssh-keygen", "-l", "-f", key], check=True, capture_output=True, text=True).stdout.split()[1]
    w.tool.tables["restore"] = {"trusted_signers_file": str(other.with_suffix(".pub"))}
    for command in (("restore", "--target", str(w.restored / "b")), ("thaw",), ("restore", "--target", str(w.restored / "b"), "--dry-run")):
        refused = w.tool.run(command[0], "--subvolume", "data", *command[1:])
        w.expect(4, refused)
        says(refused, keys[-1], "not among the trusted signers", fingerprint)
    assert sorted(path.name for path in w.restored.iterdir()) == ["a"]
    w.restore("--target", str(w.restored / "b"), "--trusted-signers", str(signers))
    del w.tool.tables["restore"]

    # Every link, before anything is received.
    objects = {name: w.bucket.get(name) for name in w.bucket.list() if "/manifest-" in name or name.endswith(".json")}
    whole = w.bucket.list()

    def refused_for(spoil, culprit, *words):
        spoil()
        outcome = w.restore("--target", str(w.restored / "c"), "--trusted-signers", str(signers), expect=4)
        says(outcome, culprit, *words)
        assert not (w.restored / "c").exists() and "downloading" not in outcome.stderr
        for name, body in objects.items():
            w.bucket.put(name, body)
        assert w.bucket.list() == whole

    def flip(name, at):
        body = bytearray(objects[name])
        body[at] ^= 1
        w.bucket.put(name, bytes(body))
    for manifest in keys:
        refused_for(lambda name=manifest: w.bucket.put(name, with_another_digest(objects[name])), manifest,
                    "its signature is not one of this manifest")
    refused_for(lambda: flip(keys[1] + ".sig", 120), keys[1])
    refused_for(lambda: w.bucket.delete(keys[1] + ".sig"), keys[1], "is not signed")
    refused_for(lambda: w.bucket.delete(keys[0] + ".sig"), keys[0], "is not signed")

    def swap():
        w.bucket.put(keys[0] + ".sig", objects[keys[1] + ".sig"])
        w.bucket.put(keys[1] + ".sig", objects[keys[0] + ".sig"])
    refused_for(swap, keys[1], "its signature is not one of this manifest")

    def another_namespace():
        manifest = w.directory / "manifest"
        manifest.write_bytes(objects[keys[1]])
        subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "file", manifest], check=True, stderr=subprocess.DEVNULL)
        w.bucket.put(keys[1] + ".sig", (w.directory / "manifest.sig").read_bytes())
    refused_for(another_namespace, keys[1], "its signature is not one of this manifest")
    # Nobody who does not ask for signatures is hindered by any of it.
    w.bucket.delete(keys[1] + ".sig")
    w.restore("--target", str(w.restored / "d"))


class Denying:
    """Answers as a store that lets nobody write signatures."""

    def answer(self, method, path, _query, _body):
        return (403, {}, b"<Error><Code>AccessDenied</Code></Error>") if method == "PUT" and path.endswith(".sig") else None

    def headers(self, _method, _path):
        return {}


def signers_told(w, *arguments, expect=0):
    """Who signed which backup by list and verify: [[status of each backup]]."""
    found = []
    for command in ("list", "verify"):
        outcome = w.tool.run(command, "--json", *arguments)
        assert outcome.status == (expect if command == "verify" else 0), outcome
        (one,) = json.loads(outcome.stdout)["subvolumes"]
        backups = one["backups"] if command == "verify" else [made for all in one["generations"] for made in all["backups"]]
        found.append([made["signature"]["status"] for made in backups])
    assert found[0] == found[1], found
    return found[0]


@case
def a_run_that_died_before_it_signed_is_signed_by_the_next(w):
    signers = signed_by(w, make_key(w, "ours"))
    dataset.seed(w.data, large_mib=1, small_files=5)
    with behind_proxy(w) as between:
        for when in ("before", "after"):
            w.kill_at(between, method="PUT", path=r"manifest-.*\.sig$", when=when)
            assert "current.json" not in str(w.bucket.list()), w.bucket.list()
            says(w.backup(only_when_due=True), "reason=manifest_written")
            verified_by_ssh_keygen(w, signers, chain(w))
            w.kill_at(between, method="PUT", path=r"current\.json$", when=when)
            w.backup()
            verified_by_ssh_keygen(w, signers, chain(w))
            assert w.journals() == []
            for key in w.bucket.list():
                w.bucket.delete(key)
            shutil.rmtree(w.directory / "state")

        # A manifest that was changed meanwhile is not vouched for.
        w.kill_at(between, method="PUT", path=r"manifest-.*\.sig$")
        (key,) = [name for name in w.bucket.list() if "/manifest-" in name]
        body = w.bucket.get(key)
        w.bucket.put(key, with_another_digest(body))
        says(w.backup(only_when_due=True, expect=1), "is not as its journal has it")
        assert key + ".sig" not in w.bucket.list() and "current.json" not in str(w.bucket.list())
        w.bucket.delete(key)
        w.backup(only_when_due=True)
        verified_by_ssh_keygen(w, signers, chain(w))


@case
def who_signed_what_is_told_and_a_signature_that_is_refused_holds_the_pointer(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    signers = signed_by(w, make_key(w, "ours"))
    # An incremental on what nobody signed says so, and is not trusted.
    (w.data / "more").write_text("more")
    says(w.backup(), "event=parent_not_signed", "backup --full")
    newest = w.manifest()
    assert newest["parent_manifest"] and "parent_manifest_sha256" not in newest, newest
    (w.data / "further").write_text("further")
    w.backup()
    refused = w.restore("--target", str(w.restored / "a"), "--trusted-signers", str(signers), expect=4)
    says(refused, newest["parent_manifest"], "is not signed")
    w.backup("--full")
    w.restore("--target", str(w.restored / "a"), "--trusted-signers", str(signers))
    # Who is trusted is said, and where nobody is, nothing fails for it.
    (w.data / "again").write_text("again")
    w.backup()
    trusting = ("--trusted-signers", str(signers))
    assert signers_told(w) == ["none", *["other"] * 4]
    assert signers_told(w, *trusting, expect=4) == ["none", "other", "other", "trusted", "trusted"]
    newest = w.pointer()["manifest_key"]
    signature = w.bucket.get(newest + ".sig")
    w.bucket.put(newest + ".sig", w.bucket.get(chain(w)[1] + ".sig"))
    assert signers_told(w)[-1] == "bad"
    shown = w.expect(0, w.tool.run("verify")).stdout
    assert "bad signature: " + newest in shown, shown
    w.bucket.put(newest + ".sig", signature)
    # Where a store takes no signature the pointer stays where it was, and the next run goes on.
    with behind_proxy(w) as between:
        between.player = Denying()
        (w.data / "denied").write_text("denied")
        says(w.backup(expect=1), "writing signature", "AccessDenied", "kept_for_the_next_run")
        assert w.pointer()["manifest_key"] == newest
        between.player = None
        says(w.backup(only_when_due=True), "reason=manifest_written")
        verified_by_ssh_keygen(w, signers, chain(w))
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    assert chain(w)[1] == newest
    before, snapshots = w.bucket.list(), w.snapshot_names()
    # A key that is not one ends the run before anything is made.
    def checked():
        return {one["check"]: one for one in json.loads(w.tool.run("doctor", "--no-write", "--json").stdout)["checks"]}
    w.tool.tables["restore"] = {"trusted_signers_file": str(make_key(w, "another").with_suffix(".pub"))}
    assert checked()["signing_key"]["outcome"] == "warning" and checked()["trusted_signers"]["found"] == "1 key", checked()
    w.tool.tables["restore"] = {"trusted_signers_file": str(signers)}
    assert checked()["signing_key"]["outcome"] == "ok", checked()
    (w.directory / "ours").chmod(0o644)
    assert checked()["signing_key"]["outcome"] == "failed" and "chmod 600" in checked()["signing_key"]["remedy"], checked()
    del w.tool.tables["restore"]
    says(w.backup(expect=2), "others can read", "chmod 600")
    assert w.bucket.list() == before and w.snapshot_names() == snapshots
    (w.directory / "ours").chmod(0o600)
    # Old generations go with their signatures.
    w.tool.tables["retention"] = {"keep_generations": 1}
    w.expect(0, w.tool.run("verify"))
    w.expect(0, w.tool.run("prune", "--yes"))
    left = w.bucket.list()
    newest = chain(w)
    assert len(newest) == 3 and sorted(name for name in left if name.endswith(".sig")) == sorted(key + ".sig" for key in newest), left
    assert len(left) == 13, left  # of each backup its chunk, index, manifest and signature, and the pointer
