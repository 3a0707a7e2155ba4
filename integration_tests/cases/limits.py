"""Cases of what is large, small or forbidden: names, descriptors, locked memory, no io_uring, thousands of backups."""
import contextlib
import ctypes
import datetime
import email.utils
import json
import os
import pathlib
import resource
import struct
import subprocess
import time

import stores
from process import run_as
from recovery import behind_proxy, random_file
from world import MIB, btrfs, case, dataset, s3, says

from files import entries_differ
from harness.played_bucket import PlayedBucket, many_backups

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
IO_URING_SETUP = 425  # on every architecture
PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14


def without_io_uring():
    """In a new process: io_uring_setup fails with EPERM, as in containers of today."""
    libc = ctypes.CDLL(None, use_errno=True)
    lines = [struct.pack("=HBBI", 0x20, 0, 0, 0),  # the call's number
             struct.pack("=HBBI", 0x15, 0, 1, IO_URING_SETUP),
             struct.pack("=HBBI", 0x06, 0, 0, 0x00050000 | 1),  # EPERM
             struct.pack("=HBBI", 0x06, 0, 0, 0x7fff0000)]
    text = ctypes.create_string_buffer(b"".join(lines))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(lines), ctypes.addressof(text)))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def locked_memory(limit):
    """In a new process: so much may be locked, also by root."""
    def prepare():
        if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "capabilities")
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
    return prepare


def backed_up_and_restored(w, prepare, name):
    before = w.pointer() if w.bucket.list() else None
    status, _, said = run_as(w, prepare, "backup", "--once")
    assert status == 0 and w.pointer() != before, (name, status, said)
    status, _, said = run_as(w, prepare, "restore", "--subvolume", "data", "--target", str(w.restored / name))
    assert status == 0, (name, status, said)
    w.same(w.data, w.restored / name)


@case
def sixty_four_descriptors_and_little_locked_memory_are_enough(w):
    dataset.seed(w.data, large_mib=24, small_files=100)
    w.tool.tables["s3"]["concurrency"] = 4
    for limit in (8 * MIB, 64 << 10):
        backed_up_and_restored(w, locked_memory(limit), f"locked-{limit}")
    status, _, said = run_as(w, locked_memory(0), "backup", "--once")
    assert status == 1 and "LimitMEMLOCK" in said, (status, said)
    w.tool.tables["global"].update(spool_dir=str(w.directory / "spool"), spool_size_bytes="64MiB")
    (w.directory / "spool").mkdir()
    for spooled in (False, True):
        w.tool.tables["s3"]["spool_enabled"] = spooled
        backed_up_and_restored(w, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)), f"descriptors-{spooled}")
    w.nothing_left_behind(w.filesystem.subvolumes())


@case
def where_io_uring_is_forbidden_a_sentence_says_so_and_nothing_is_touched(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    subvolumes = w.filesystem.subvolumes()
    for arguments in (("backup", "--once"), ("restore", "--subvolume", "data", "--target", str(w.restored / "data")),
                      ("list",), ("verify",)):
        status, _, said = run_as(w, without_io_uring, *arguments)
        assert status == 1, (arguments, status, said)
        assert "io_uring is forbidden here" in said and "kernel.io_uring_disabled" in said and "seccomp" in said, said
    assert w.bucket.list() == {}
    w.nothing_left_behind(subvolumes)
    w.backup()


@case
def names_of_255_bytes_are_backed_up_found_and_restored(w):
    longest = "n" * 251 + ".txt"
    bytes_alone = os.fsencode(w.data) + b"/" + b"\xff\xfe" * 127 + b"\x80"  # no UTF-8
    umlauts = "\u00e4" * 127 + "x"
    (w.data / longest).write_text("longest")
    with open(bytes_alone, "wb") as file:
        file.write(b"bytes")
    # As deep as a path of PATH_MAX bytes allows where it is looked at by name.
    place = w.data
    for _ in range(13):
        place = place / ("d" * 255)
        place.mkdir()
    (place / umlauts).write_text("deep")
    os.symlink("t" * 4000, w.data / ("s" * 255))
    os.setxattr(w.data / longest, "user." + "x" * 250, b"v" * 3000)
    w.backup()
    (w.data / longest).rename(w.data / ("m" * 255))
    w.backup()
    w.restore("--target", str(w.restored / "data"))
    w.same(w.data, w.restored / "data")
    found = w.expect(0, w.tool.run("find", "--subvolume", "data", "--name", "m*")).stdout
    assert "m" * 255 in found, found
    w.expect(0, w.tool.run("extract", "--subvolume", "data", "--target", str(w.restored / "files"), "."))
    assert not entries_differ(w.data, w.restored / "files"), entries_differ(w.data, w.restored / "files")[:2]
    # A subvolume's name becomes part of other names: what fits none of them is refused before anything is made.
    for length, fits in ((200, True), (255, False)):
        long = w.filesystem.subvolume("v" * length)
        (long / "file").write_text("here")
        w.tool.tables["subvolumes"]["paths"] = [str(long)]
        before = w.filesystem.subvolumes()
        outcome = w.tool.run("backup", "--once")
        if fits:
            w.expect(0, outcome)
            w.expect(0, w.tool.run("restore", "--subvolume", long.name, "--target", str(w.restored / "long")))
            w.same(long, w.restored / "long")
        else:
            assert outcome.status in (1, 2), outcome
            says(outcome, long.name)
            assert w.filesystem.subvolumes() == before, outcome


@case
def a_thousand_subvolumes_and_ten_thousand_backups_are_read(w):
    random_file(w.data / "random", 100_000)
    w.backup()
    pointer, template = w.pointer(), w.manifest()
    names = [f"volume{number:04d}" for number in range(1000)]
    places = [w.mount / "many" / name for name in names]
    (w.mount / "many").mkdir()
    for at in range(0, len(places), 100):
        btrfs.run("sh", "-ec", 'for place; do btrfs subvolume create "$place"; done', "sh", *map(str, places[at:at + 100]))
    w.tool.tables["subvolumes"]["paths"] = [str(place) for place in places]
    documents, sizes = many_backups(template, pointer, "hosts/test", names, 10)
    with behind_proxy(w) as between:
        between.player = PlayedBucket(w.bucket.name, documents, sizes)
        shown = measured(w, "list", "--json")
        assert len(listed := keys_in(shown, documents)) == 10_000, len(listed)
        status = measured(w, "status", "--json", expect=1)  # these are other subvolumes than those of the backups
        assert {one["subvolume"] for one in json.loads(status)["subvolumes"]} == set(names), status[:300]
        planned = measured(w, "plan", "--json")
        assert {one["subvolume"] for one in json.loads(planned)["subvolumes"]} == set(names), planned[:300]
        w.tool.tables["retention"] = {"keep_generations": 1}
        documents, sizes = many_backups(template, pointer, "hosts/test", ["data"], 10_000)
        between.player = PlayedBucket(w.bucket.name, documents, sizes)
        w.tool.tables["subvolumes"]["paths"] = [str(w.data)]
        shown = measured(w, "list", "--json")
        assert len(listed := keys_in(shown, documents)) == 10_000, len(listed)
        # Nothing is verified, so that nothing would go.
        told, = json.loads(measured(w, "prune", "--dry-run", "--json"))["subvolumes"]
        assert [len(one["backups"]) for one in told["generations"]] == [10] * 1000, str(told)[:600]
        assert all(one["kept"] for one in told["generations"]) and told["wrong_clock"] is None, str(told)[:600]


class Then:
    """Lets a proxy give another date: that of the store counts."""
    when = None

    @staticmethod
    def answer(*_):
        return None

    def headers(self, _method, _path):
        return {"Date": email.utils.format_datetime(self.when, usegmt=True)}


@case
def dates_beyond_2038_and_2106_are_dates_like_any_other(w):
    """On a store that does not look at the clock of who asks it."""
    library = preloaded(w)
    with stores.started("moto") as place, contextlib.ExitStack() as stack:
        info = json.loads((pathlib.Path(place) / "rgw.json").read_text())
        w.bucket = s3.Bucket(info["endpoint"], w.bucket.name, info["access_key"], info["secret_key"])
        w.bucket.create()
        between = stack.enter_context(behind_proxy(w))
        between.player = Then()
        w.tool.environment.update(AWS_ACCESS_KEY_ID=info["access_key"], AWS_SECRET_ACCESS_KEY=info["secret_key"],
                                  LD_PRELOAD=str(library))
        dataset.seed(w.data, large_mib=1, small_files=10)
        for when in ("2038-01-19T03:14:00Z", "2038-01-19T03:14:30Z", "2039-03-01T00:00:00Z", "2106-02-07T06:28:30Z"):
            then = between.player.when = datetime.datetime.fromisoformat(when)
            w.tool.environment["CLOCK_OFFSET"] = str(int(then.timestamp() - time.time()) + 1)
            (w.data / when).write_text(when)
            os.utime(w.data / when, (then.timestamp(), then.timestamp()))
            w.backup()
            manifest = w.manifest()
            assert manifest["created_at"].startswith(when[:15]), manifest["created_at"]
            assert f"__{when[:4]}" in manifest["snapshot"]["name"], manifest["snapshot"]
            told = json.loads(w.expect(0, w.tool.run("status", "--json")).stdout)["subvolumes"][0]
            assert told["age_seconds"] < 600 and told["last_backup_at"] == manifest["created_at"], told
        keys = [key for key in w.bucket.list() if "/manifest-" in key]
        assert len(keys) == 4, keys
        w.restore("--at", "2038-01-19T03:14:29Z", "--target", str(w.restored / "second"))
        assert [path.name for path in (w.restored / "second").glob("2*")] == ["2038-01-19T03:14:00Z"]
        w.restore("--target", str(w.restored / "data"))
        w.same(w.data, w.restored / "data")


def preloaded(w):
    library = w.directory / "clock_at.so"
    source = pathlib.Path(stores.__file__).parent.parent / "harness" / "clock_at.c"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def keys_in(text, documents):
    """The manifests' keys that a command's JSON names."""
    return {key for key in documents if "/manifest-" in key and f'"{key}"' in text}


def measured(w, *arguments, expect=0):
    outcome = w.expect(expect, w.tool.run(*arguments, limit=600))
    print(f"{' '.join(arguments)}: {outcome.seconds:.1f} s, peak RSS {outcome.peak_rss_bytes / MIB:.0f} MiB", flush=True)
    assert outcome.peak_rss_bytes < 512 * MIB, outcome.peak_rss_bytes
    return outcome.stdout
