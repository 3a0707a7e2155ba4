"""What a backup goes through in its life, on each store that README.md names, configured as it says there."""
import contextlib
import json
import re
import signal
import tempfile
import time
import tomllib

from doctor import bad, examined
from documents import SOURCES, user
from first_run import answers, init
from recovery import chain_is_whole
from world import MIB, btrfs, case, dataset, s3, says, tool

from harness import ceph18_server, documents, moto_server, servers, swift_server

# By the name of run.py's --store: what README's table calls it, and what starts it; None: whoever runs the cases does.
STORES = {
    "ceph16": ("Ceph RGW 16", None),
    "ceph18": ("Ceph RGW 18", ceph18_server.Ceph18),
    "moto": ("moto", moto_server.Moto),
    "swift": ("OpenStack Swift", swift_server.Swift),
}
README = SOURCES / "README.md"


@contextlib.contextmanager
def started(name):
    """Yields the directory of a store that is started, and stopped afterwards."""
    tool.exit_on_signals()
    with tempfile.TemporaryDirectory(prefix="btrfs_to_s3-store-") as directory:
        with servers.running(STORES[name][1], directory + "/store") as store:
            yield store.directory


def row_of(store):
    """What README's table of stores has for this one, cell by cell."""
    row = re.search(rf"^\| {re.escape(STORES[store][0])}\b.*\|$", README.read_text(encoding="utf-8"), re.M)
    assert row, f"README.md's table of stores has no row for {STORES[store][0]}"
    return [cell.strip() for cell in row[0].strip("|").split("|")]


def configuration_for(w):
    """Table [s3] as `init` writes it for this store, by the words of README's five minutes, and the keys that the table of
    stores adds."""
    written = w.directory / "by-init.toml"
    init(w, *answers(w, written, prefix=w.tool.tables["s3"]["prefix"]))
    table = tomllib.loads(written.read_text(encoding="utf-8"))["s3"]
    written.unlink()
    more = "\n".join(re.findall(r"`(\w+ = [^`]+)`", row_of(w.store)[-1]))
    return {**table, **tomllib.loads(more)}


def lacks(store):
    """What README says that this store does not know, by the names of the event optional_feature_refused."""
    return set(re.findall(r"`([A-Za-z0-9-]+)`", row_of(store)[-2]))


def configure(w):
    """As README has it for this store; of the test's own are sizes that make several parts of little data."""
    ours = {key: w.tool.tables["s3"][key] for key in ("part_size_bytes", "chunk_size_bytes")}
    w.tool.tables["s3"] = {**configuration_for(w), **ours}


def json_of(w, *arguments, expect=0):
    return json.loads(w.expect(expect, w.tool.run(*arguments, "--json")).stdout)


def killed_half_way(w, *arguments):
    """A backup that is killed, as a power cut would, once four parts have arrived and others are on their way."""
    journal = w.directory / "state/state.data.journal"
    running = w.tool.start("backup", "--once", *arguments, environment={
        "BTRFS_TO_S3_S3_MAX_BANDWIDTH_BYTES_PER_SEC": "10MB"})
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b'"event":"part"') < 4:
        assert running[0].poll() is None and time.monotonic() < deadline, w.tool.finish(running)
        time.sleep(0.01)
    running[0].send_signal(signal.SIGKILL)
    outcome = w.tool.finish(running)
    assert outcome.status == -signal.SIGKILL, outcome


@case
def the_whole_life_of_a_backup(w):
    """Doctor, a full, an incremental, a full that is killed half way and goes on, an incremental; list, verify, prune of
    the first two, and restores of the others."""
    configure(w)
    w.tool.tables["snapshots"]["retain"] = 4
    dataset.seed(w.data)
    checks = {one["check"]: one for one in json_of(w, "doctor")["checks"]}
    refused = {"If-None-Match", "If-Match"} & lacks(w.store)
    for name in ("bucket", "write", "limits", "documents"):
        assert checks[name]["outcome"] == ("warning" if refused and name == "documents" else "ok"), checks[name]
    assert w.bucket.list() == {} and w.bucket.open_uploads() == []

    keys, left_out = [], set()

    def backed_up(outcome, kind):
        keys.append(w.pointer()["manifest_key"])
        assert w.manifest()["kind"] == kind, outcome
        for names in re.findall(r'event=optional_feature_refused left_out="?(.*?)"? purpose=', outcome.stderr):
            left_out.update(re.sub(r" \(.*?\)", "", names).split(", "))
        said = [line for line in outcome.stderr.splitlines() if re.match(r"\S+ (WARNING|ERROR)", line)]
        assert all("optional_feature_refused" in line for line in said), outcome
        return outcome

    backed_up(w.backup(), "full")
    dataset.mutate(w.data, 2)
    backed_up(w.backup(), "incremental")
    dataset.mutate(w.data, 3)
    (w.data / "more.bin").write_bytes(dataset.random.Random(3).randbytes(40 * MIB))
    killed_half_way(w, "--full")
    resumed = backed_up(w.backup(only_when_due=True), "full")
    says(resumed, "action=resume")
    found = re.search(r"event=earlier_parts_found.* parts=(\d+)", resumed.stderr)
    assert found and int(found[1]) >= 4, resumed
    dataset.mutate(w.data, 4)
    backed_up(w.backup(), "incremental")

    generations = json_of(w, "list")["subvolumes"][0]["generations"]
    assert [one["manifest_key"] for generation in generations for one in generation["backups"]] == keys, generations
    assert "4 backups" in w.expect(0, w.tool.run("verify")).stdout
    w.expect(0, w.tool.run("verify", "--deep"))
    w.expect(0, w.tool.run("status"))
    assert left_out == lacks(w.store), left_out

    w.tool.tables["retention"] = {"keep_generations": 1}
    gone = set(keys[:2]) | {one["key"] for key in keys[:2] for manifest in [w.bucket.get_json(key)]
                            for one in (*manifest["chunks"], manifest["index"])}
    assert {one["key"] for one in json_of(w, "prune")["subvolumes"][0]["removals"]} == gone
    before = set(w.bucket.list())
    w.expect(0, w.tool.run("prune", "--yes"))
    kinds, known = chain_is_whole(w)
    assert kinds == ["incremental", "full"] and set(w.bucket.list()) == known == before - gone, w.bucket.list()
    w.expect(0, w.tool.run("verify"))

    w.restore("--target", str(w.restored / "newest"))
    w.restore("--manifest-key", keys[2], "--target", str(w.restored / "older"))
    names = w.snapshot_names()
    assert len(names) == 4, names
    w.same(w.data, w.restored / "newest")
    w.same(w.snapshots / names[2], w.restored / "older")
    w.nothing_left_behind(["data", *("snapshots/" + name for name in names), "restored/newest", "restored/older"])


def hosts_policy(w):
    """The one of docs/security.md, for this bucket and prefix."""
    text = (SOURCES / "docs/security.md").read_text(encoding="utf-8")
    block = next(one for one in documents.blocks(text, "docs/security.md") if one.file == "/root/backup.json")
    return json.loads(block.text.replace("my-backups", w.bucket.name).replace("hosts/alpha", w.tool.tables["s3"]["prefix"]))


@case
def the_hosts_policy_is_enough_from_the_first_backup_on(w):
    """A store that answers 403 for what is absent: the first backup, another subvolume's first, and one that is killed and
    goes on, each by a key that may no more than docs/security.md lets it. doctor says so before each."""
    configure(w)
    other = w.filesystem.subvolume("other")
    dataset.seed(w.data, large_mib=8, small_files=50)
    dataset.seed(other, large_mib=1, small_files=5)

    def doctor():
        """What this key cannot try, since it may not delete, is called that; nothing is wrong."""
        found = bad(examined(w))
        assert list(found) == [("documents", None)] and found["documents", None]["outcome"] == "skipped", found

    policy = hosts_policy(w)
    with user(w, "host", policy) as environment:
        w.tool.environment.update(environment)
        try:
            s3.Bucket(w.bucket.endpoint, w.bucket.name, environment["AWS_ACCESS_KEY_ID"],
                      environment["AWS_SECRET_ACCESS_KEY"]).get(w.root + "current.json")
        except s3.S3Error as problem:
            assert problem.status == 403, problem
        else:
            raise AssertionError("there is a pointer before the first backup")
        doctor()
        w.backup()
        w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(other)]
        doctor()
        w.backup("--subvolume", "other")
        for number in (2, 3):
            dataset.mutate(w.data, number)
            (w.data / "more.bin").write_bytes(dataset.random.Random(number).randbytes(40 * MIB))
            killed_half_way(w, "--subvolume", "data")
            doctor()
            if number == 2:
                says(w.backup("--subvolume", "data", only_when_due=True), "action=resume", "earlier_parts_found")
            else:
                # What cannot go on is given up.
                btrfs.delete_subvolume(w.snapshots / [name for name in w.snapshot_names() if name.startswith("data__")][-1])
                says(w.backup("--subvolume", "data"), "action=abandon")
            w.restore("--target", str(w.restored / str(number)))
            w.same(w.data, w.restored / str(number))
        w.expect(0, w.tool.run("verify"))
        assert w.journals() == [] and w.bucket.open_uploads() == [], w.journals()

    policy["Statement"] = [one for one in policy["Statement"] if one["Action"] != "s3:ListBucket"]
    with user(w, "blind", policy) as environment:
        w.tool.environment.update(environment)
        found = bad(examined(w, expect=1))
        assert "s3:ListBucket" in str(found["bucket", None]), found
        says(w.backup(expect=1), "s3:ListBucket")
