"""Cases of what hosts are like: quotas, space that comes back late, users without rights, root's own files."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

from recovery import random_file
from restoring import killed_in_receive
from world import MIB, btrfs, case, dataset, says, tool


def below(w, words):
    """Paths of subvolumes whose path has `words`, from the top level."""
    return [path for path in w.filesystem.subvolumes() if words in path]


@contextlib.contextmanager
def limited(w, words, limit):
    """Each subvolume that comes into being with `words` in its path gets that limit at once."""
    done, ended = set(), threading.Event()

    def watch():
        while not ended.wait(0.02):
            for path in set(below(w, words)) - done:
                if subprocess.run(["btrfs", "qgroup", "limit", limit, str(w.mount / path)], capture_output=True,
                                  check=False).returncode == 0:
                    done.add(path)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()


@case
def a_quota_at_the_target_is_named_and_a_rerun_goes_on(w):
    random_file(w.data / "small", 2 * MIB)
    w.backup()
    random_file(w.data / "large", 40 * MIB)
    w.backup()
    before = w.bucket.list()
    btrfs.run("btrfs", "quota", "enable", str(w.mount))
    w.tool.tables["s3"]["max_bandwidth_bytes_per_sec"] = "16MiB"
    target = w.restored / "data"
    with limited(w, ".btrfs_to_s3.data", "12M") as those:
        outcome = w.restore("--target", str(target), expect=1)
        assert those, outcome
    last = outcome.stderr.splitlines()[-1]
    assert f": a quota at {w.restored} is used up: `btrfs receive`" in last, last
    hidden = str(w.restored / ".btrfs_to_s3.data")
    says(outcome, "btrfs qgroup show -re", "btrfs qgroup limit", "restore_kept_for_the_next_run", hidden)
    assert "No space left" not in outcome.stderr and not target.exists(), outcome
    # Nothing is lost: the full, which fitted, is there, and all of the bucket.
    assert w.bucket.list() == before
    for path in below(w, ".btrfs_to_s3.data"):
        btrfs.run("btrfs", "qgroup", "limit", "none", str(w.mount / path))
    again = w.restore("--target", str(target))
    says(again, "links_kept_from_before", "links=1")
    w.same(w.data, target)


@case
def discarding_waits_for_the_space_and_a_failed_restore_names_what_it_leaves(w):
    random_file(w.data / "one", 24 * MIB)
    w.backup()
    random_file(w.data / "two", 24 * MIB)
    w.backup()
    target, hidden = w.restored / "data", w.restored / ".btrfs_to_s3.data"
    fails = w.fake_btrfs("exit 9")
    script = pathlib.Path(fails["PATH"].split(":")[0]) / "btrfs"
    real = script.read_text().split("\n", 2)[1].removeprefix("REAL=")
    # The second link fails; the first one is kept, and where is told.
    killed_in_receive(w, target, 2, 'kill -9 $PPID; exit 1')
    script.write_text(f"""#!/bin/bash
if [[ $1 == receive ]]; then echo "disk on fire" >&2; exit 1; fi
exec {real} "$@"
""")
    failed = w.restore("--target", str(target), expect=1, environment=fails)
    says(failed, "disk on fire", "restore_kept_for_the_next_run", f"directory={hidden}", "--discard")
    assert hidden.is_dir(), list(w.restored.iterdir())
    # What is discarded comes back in the background: the restore waits for it, and sends nothing meanwhile.
    synced, go_on = w.directory / "synced", w.directory / "go-on"
    script.write_text(f"""#!/bin/bash
if [[ "$1 $2" == "subvolume sync" ]]; then
  echo begun > {synced}
  while [[ ! -e {go_on} ]]; do sleep 0.05; done
  {real} "$@" || exit
  {real} subvolume list -d {w.mount} > {synced}.left
fi
exec {real} "$@"
""")
    running = w.tool.start("restore", "--subvolume", "data", "--target", str(target), "--discard", environment=fails)
    deadline = time.monotonic() + 60
    while not synced.exists():
        assert running[0].poll() is None and time.monotonic() < deadline, w.tool.finish(running)
        time.sleep(0.05)
    time.sleep(1)
    assert running[0].poll() is None and not target.exists() and not below(w, "restored/.btrfs_to_s3.data/data__")
    go_on.touch()
    outcome = w.expect(0, w.tool.finish(running))
    assert "links_kept_from_before" not in outcome.stderr and "space_not_back" not in outcome.stderr, outcome
    assert (w.directory / "synced.left").read_text() == "", (w.directory / "synced.left").read_text()
    w.same(w.data, target)


def run_as_nobody(w, *arguments):
    """The program as uid 65534 without rights, with a home that is none; its status and words."""
    home = w.directory / "of-nobody"
    home.mkdir(exist_ok=True)
    os.chown(home, 65534, 65534)
    binary = home / "btrfs_to_s3"  # where that user may read it
    shutil.copy(w.tool.binary, binary)
    binary.chmod(0o755)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
                           str(binary), arguments[0], "--config", str(w.tool.config), *arguments[1:]],
                          env={**w.tool.environment, "HOME": str(home)}, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, check=False)
    return tool.Outcome(done.returncode, done.stdout, done.stderr, 0, 0)


@case
def status_answers_a_user_without_rights(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    w.directory.chmod(0o755)
    w.tool.config.chmod(0o644)
    state = w.directory / "state" / "state.json"
    for path in (state.parent, w.directory / "lock"):
        path.chmod(0o755)
    state.chmod(0o644)
    for path in (w.mount, w.snapshots, w.data):
        path.chmod(0o755)
    before = sorted(str(path) for path in w.directory.rglob("*") if not path.is_relative_to(w.mount))
    root = w.expect(0, w.tool.run("status"))
    outcome = run_as_nobody(w, "status")
    assert outcome.status == 0, outcome
    assert "OK" in outcome.stdout.splitlines()[0], outcome
    # The age in it may be a second more by now.
    after = w.expect(0, w.tool.run("status"))
    assert outcome.stdout.splitlines()[0] in (root.stdout.splitlines()[0], after.stdout.splitlines()[0]), (outcome, root, after)
    found = json.loads(run_as_nobody(w, "status", "--json").stdout)
    assert found["subvolumes"][0]["status"] == "ok" and found["subvolumes"][0]["links"] == 1, found
    # It judges as root does, too old included, and writes nothing.
    assert run_as_nobody(w, "status", "--max-age", "0s").status == w.tool.run("status", "--max-age", "0s").status != 0
    left = sorted(str(path) for path in w.directory.rglob("*") if not path.is_relative_to(w.mount)
                  and not path.is_relative_to(w.directory / "of-nobody"))
    assert left == before, set(left) ^ set(before)
    # A backup by that user ends with one sentence that says what it takes, before anything is made.
    refused = run_as_nobody(w, "backup", "--once")
    assert refused.status not in (0, 3) and "root" in refused.stderr.splitlines()[-1], refused


@case
def roots_command_line_reads_the_units_credentials(w):
    """In a mount namespace in which /etc/btrfs_to_s3 is this case's own."""
    dataset.seed(w.data, large_mib=1, small_files=5)
    keys = {name: w.tool.environment.pop(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    w.tool.write_config()
    place = pathlib.Path("/etc/btrfs_to_s3")
    there = place.exists()
    file = w.directory / "keys"
    file.write_text(f"[default]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
                    f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n", encoding="ascii")

    def inside(prepared, *arguments):
        # Over /etc lies a copy of it, so that nothing is made in the real one.
        script = ("mkdir -p \"$0\" && cp -a /etc/. \"$0\" && mount --bind \"$0\" /etc && mkdir -p /etc/btrfs_to_s3 && "
                  "mount -t tmpfs -o mode=0755 tmpfs /etc/btrfs_to_s3 && " + prepared + " && exec \"$@\"")
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script, str(w.directory / "etc"),
                               *w.tool.command(arguments)],
                              env=w.tool.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=120, check=False)
        return tool.Outcome(done.returncode, done.stdout, done.stderr, 0, 0)

    install = f"install -m 0600 {file} /etc/btrfs_to_s3/aws_credentials"
    says(w.expect(0, inside(install, "backup", "--once")), "kind=full")
    told = w.expect(0, inside(install, "doctor", "--json", "--no-write"))
    sources = [one["found"] for one in json.loads(told.stdout)["checks"] if one["check"] == "credentials"]
    assert "/etc/btrfs_to_s3/aws_credentials" in sources[0], sources
    assert "1 backup" in w.expect(0, inside(install, "list")).stdout
    # Without that file there are none, and what is missing is named.
    none = inside("true", "backup", "--once")
    assert none.status == 1 and "no S3 credentials found" in none.stderr, none
    assert place.exists() == there


@case
def snapshots_of_the_earlier_tools_failed_runs_are_pruned(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.tool.tables["snapshots"]["retain"] = 2

    def failed_run(kind):
        """What a run of that tool leaves that dies after its snapshot."""
        name = f"data__{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}__{kind}"
        w.filesystem.snapshot(w.data, f"snapshots/{name}")
        time.sleep(1.1)  # names have seconds
        return name

    old = [failed_run("full"), failed_run("full")]
    w.backup()
    key = w.pointer()["manifest_key"]
    manifest = w.bucket.get_json(key)
    for field in ("tool", "host", "stream"):
        del manifest[field]
    for chunk in manifest["chunks"]:
        for field in ("part_size", "part_crc32", "part_sha256_states"):
            del chunk[field]
    manifest["snapshot"].update(uuid=None, parent_uuid=None)
    for field in set(manifest["snapshot"]) - {"name", "path", "uuid", "parent_uuid"}:
        del manifest["snapshot"][field]
    w.bucket.put(key, json.dumps(manifest).encode())
    state = w.directory / "state" / "state.json"
    entry = json.loads(state.read_text())["subvolumes"]["data"]
    state.write_text(json.dumps({"subvolumes": {"data": {
        name: entry[name] for name in ("last_snapshot", "last_manifest", "last_full_at")}}}))
    old.append(failed_run("inc"))
    # Of another subvolume, though under such a name; and one whose time is not when it was made: nobody's guess.
    w.filesystem.subvolume("other")
    foreign = [f"data__{stamp}__full" for stamp in ("20240101T000000Z", "20240102T000000Z")]
    btrfs.snapshot(w.mount / "other", w.snapshots / foreign[0])
    btrfs.snapshot(w.data, w.snapshots / foreign[1])
    dataset.mutate(w.data)
    first = w.backup()
    says(first, "kind=incremental", "parent_matched_by_name")
    kept = [name for name in w.snapshot_names() if name not in foreign]
    assert len(kept) == 2 and w.manifest()["snapshot"]["name"] in kept and old[2] in kept, w.snapshot_names()
    warned = re.findall(r"event=snapshot_without_backup path=(\S+)", first.stderr)
    assert sorted(pathlib.Path(path).name for path in warned) == foreign, first
    dataset.mutate(w.data, 3)
    says(w.backup(), "kind=incremental")
    assert not set(old) & set(w.snapshot_names()) and set(foreign) <= set(w.snapshot_names()), w.snapshot_names()
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")
