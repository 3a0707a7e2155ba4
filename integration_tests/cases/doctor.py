"""Cases of doctor: a healthy host, each culprit named while everything else is still looked at, and a stop in the middle."""
import json
import os
import signal
import time

from recovery import behind_proxy
from world import btrfs, case, dataset, says

FINE = {"ok", "note"}
# What the machine that runs the cases is like, no case can say.
MACHINE = {"memory", "locked_memory"}


def examined(w, *arguments, expect=0, environment=None):
    """{(check, subject): the check} of --json."""
    outcome = w.expect(expect, w.tool.run("doctor", "--json", *arguments, environment=environment))
    document = json.loads(outcome.stdout)
    assert document["version"] == 1, document
    made = {(one["check"], one["subject"]): one for one in document["checks"]}
    assert len(made) == len(document["checks"]), document
    for one in document["checks"]:
        assert bool(one["remedy"]) == (one["outcome"] in ("warning", "failed")), one
    return made


def bad(checks):
    return {name: one for name, one in checks.items() if one["outcome"] not in FINE and name[0] not in MACHINE}


def files_of(w):
    return sorted(str(path) for path in w.directory.rglob("*") if not path.is_relative_to(w.mount))


@case
def doctor_finds_a_healthy_host_and_leaves_nothing(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.tool.tables["restore"] = {"target_base_dir": str(w.restored)}
    w.tool.write_config()
    before, subvolumes = files_of(w), w.filesystem.subvolumes()
    new = examined(w)
    assert not bad(new), bad(new)
    expected = ["privileges", "btrfs_progs", "memory", "locked_memory", "state", "journals", "lock", "restore_base",
                "snapshots", "free_space", "subvolume", "nested_subvolumes", "attributes", "endpoint", "credentials", "bucket", "clock",
                "uploads", "write", "limits", "documents", "backups"]
    assert [check for check, _ in new] == expected, list(new)
    assert new["backups", "data"]["outcome"] == "note" and new["write", None]["outcome"] == "ok", new
    assert "STANDARD" in new["write", None]["found"], new["write", None]
    assert "the environment" in new["credentials", None]["found"], new["credentials", None]
    assert w.bucket.list() == {} and files_of(w) == before and w.filesystem.subvolumes() == subvolumes
    w.nothing_left_behind(subvolumes)

    w.backup()
    subvolumes, objects = w.filesystem.subvolumes(), w.bucket.list()
    again = examined(w)
    assert not bad(again) and again["backups", "data"]["outcome"] == "ok", again
    assert w.bucket.list() == objects
    w.nothing_left_behind(subvolumes)

    text = w.expect(0, w.tool.run("doctor"))
    for (check, subject), one in again.items():
        line = f"{one['outcome']:9}{check.replace('_', ' ')}{' ' + subject if subject else ''}: "
        assert any(shown.startswith(line) for shown in text.stdout.splitlines()), (line, text)
    assert " ok" in text.stdout.splitlines(keepends=True)[-1], text
    assert "event=" not in text.stderr, text

    unwritten = {("write", None), ("limits", None), ("documents", None)}
    nested = w.filesystem.subvolume("data/nested")
    warned = examined(w, "--no-write", "--subvolume", "data")
    assert set(bad(warned)) == {("nested_subvolumes", "data"), *unwritten}, bad(warned)
    assert warned["nested_subvolumes", "data"]["outcome"] == "warning", warned
    assert nested.name in warned["nested_subvolumes", "data"]["found"], warned
    assert warned["write", None]["outcome"] == "skipped", warned
    # What is backed up on its own is not left out.
    paths = w.tool.tables["subvolumes"]["paths"]
    w.tool.tables["subvolumes"]["paths"] = [*paths, str(nested)]
    both = examined(w, "--no-write", "--subvolume", "data")
    assert set(bad(both)) == unwritten, bad(both)
    w.tool.tables["subvolumes"]["paths"] = paths
    says(w.expect(2, w.tool.run("doctor", "--subvolume", "other")), "other", "data")


@case
def doctor_names_each_culprit_and_makes_the_other_checks(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    usual = {name: dict(keys) for name, keys in w.tool.tables.items()}
    healthy = examined(w)
    assert not bad(healthy), bad(healthy)

    def spoilt(failed, skipped=(), environment=None, **tables):
        """Exactly these checks fail or are skipped, and every other one finds what it found before."""
        for name, keys in usual.items():
            w.tool.tables[name] = {**keys, **tables.get(name, {})}
        made = examined(w, expect=1, environment=environment)
        w.tool.tables.update({name: dict(keys) for name, keys in usual.items()})
        outcomes = {name: one["outcome"] for name, one in bad(made).items()}
        wanted = {**{(one, None): "failed" for one in failed if isinstance(one, str)},
                  **{one: "failed" for one in failed if not isinstance(one, str)},
                  **{(one, None): "skipped" for one in skipped if isinstance(one, str)},
                  **{one: "skipped" for one in skipped if not isinstance(one, str)}}
        assert outcomes == wanted, (outcomes, wanted)
        assert set(made) == set(healthy), set(made) ^ set(healthy)
        assert w.bucket.list() == {} and w.bucket.open_uploads() == []
        return made

    behind_bucket = ["uploads", "write", "limits", "documents", ("backups", "data")]
    wrong = spoilt(["bucket"], behind_bucket, environment={"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert w.bucket.name in wrong["bucket", None]["found"], wrong["bucket", None]
    none = spoilt(["credentials"], ["bucket", "clock", *behind_bucket],
                  environment={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    assert "AWS_ACCESS_KEY_ID" in none["credentials", None]["remedy"], none["credentials", None]
    away = spoilt(["bucket"], ["clock", *behind_bucket], s3={"endpoint_url": "http://127.0.0.1:1"})
    assert "127.0.0.1" in away["bucket", None]["found"], away["bucket", None]
    missing = str(w.directory / "not-mounted/snapshots")
    gone = spoilt(["snapshots"], ["free_space"], snapshots={"base_dir": missing})
    assert f"snapshots.base_dir: {missing}" in gone["snapshots", None]["found"], gone["snapshots", None]
    assert f"mkdir -p {missing}" in gone["snapshots", None]["remedy"], gone["snapshots", None]
    plain = w.mount / "elsewhere" / "data"
    plain.mkdir(parents=True)
    ordinary = spoilt([("subvolume", "data")], [("nested_subvolumes", "data")], subvolumes={"paths": [str(plain)]})
    assert f"{plain} is an ordinary directory" in ordinary["subvolume", "data"]["found"], ordinary
    frozen = w.filesystem.snapshot(w.data, "frozen")
    state = str(frozen / "state.json")
    unwritable = spoilt(["state"], **{"global": {"state_path": state}})
    assert state in unwritable["state", None]["found"], unwritable["state", None]
    assert "Read-only file system" in unwritable["state", None]["found"], unwritable["state", None]


@case
def a_stopped_doctor_aborts_its_upload(w):
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with behind_proxy(w) as between:
            held = between.hold(method="PUT", query="partNumber=")
            running = w.tool.start("doctor")
            deadline = time.monotonic() + 60
            while not held.reached.wait(0.02):
                assert running[0].poll() is None and time.monotonic() < deadline, w.tool.finish(running)
            assert len(w.bucket.open_uploads()) == 1, w.bucket.open_uploads()
            running[0].send_signal(number)
            outcome = w.expect(status, w.tool.finish(running))
            between.release()
        says(outcome, "stopped on request")
        assert outcome.stdout == "", outcome
        assert w.bucket.open_uploads() == [] and w.bucket.list() == {}


@case
def doctor_tells_of_swap_files_in_use_and_of_attributes_that_are_not_carried(w):
    for name in ("fixed", "log", "plain"):
        (w.data / name).write_text(name)
    (w.data / "images").mkdir()
    for flag, name in (("+i", "fixed"), ("+a", "log"), ("+C", "images")):
        btrfs.run("chattr", flag, str(w.data / name))
    swap = w.data / "swap file"
    btrfs.run("truncate", "-s", "0", str(swap))
    btrfs.run("chattr", "+C", str(swap))
    btrfs.run("fallocate", "-l", "16M", str(swap))
    swap.chmod(0o600)
    btrfs.run("mkswap", str(swap))
    os.sync()
    found = examined(w, "--no-write")
    assert found["subvolume", "data"]["outcome"] == "ok", found
    lost = found["attributes", "data"]
    assert lost["outcome"] == "note", lost
    assert lost["found"] == ("`btrfs send` does not carry the attributes (chattr) of 4 files: "
                             "fixed (+i), log (+a), images (+C) and 1 more"), lost
    # In use as swap the file keeps its subvolume from being snapshotted at all: doctor and backup say the same.
    btrfs.run("swapon", str(swap))
    try:
        bad_swap = examined(w, "--no-write", expect=1)["subvolume", "data"]
        failed = w.backup(expect=1)
    finally:
        btrfs.run("swapoff", str(swap))
    assert bad_swap["outcome"] == "failed" and f"{swap} is in use as swap" in bad_swap["found"], bad_swap
    assert bad_swap["remedy"] == (f"`swapoff '{swap}'` for the backup, or put the file into a subvolume of its own"), bad_swap
    says(failed, f"{swap} is in use as swap", f"swapoff '{swap}'")
    assert w.bucket.list() == {} and w.journals() == [], w.journals()
    w.backup()
    # What comes back is a file like any other, and is content that is proven, without the attributes.
    says(w.restore("--target", str(w.restored / "data")), "content_verified")
    listed = btrfs.run("lsattr", "-d", *(str(w.restored / "data" / name) for name in ("fixed", "log", "images", "swap file")))
    assert not any(set("iaC") & set(line.split()[0]) for line in listed.splitlines()), listed
    for flag, name in (("-i", "fixed"), ("-a", "log")):
        btrfs.run("chattr", flag, str(w.data / name))
