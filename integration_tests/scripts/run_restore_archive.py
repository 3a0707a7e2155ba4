#!/usr/bin/env python3
"""Restoring from an archive class: refused at once without waiting, restored after waiting.

Needs a server with RestoreObject: AWS where that is the endpoint, else moto's server (a child, where Python has moto),
else an archive played by a proxy before an endpoint over http. Where there is none, this is skipped and says why.
"""
import contextlib
import importlib.util
import json
import pathlib
import subprocess
import sys
import time
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import archive, aws, backups, compare, env, records, restores, rgw, runner, session  # noqa: E402
from harness.assertions import HarnessError, equal, nothing_of, require  # noqa: E402
from harness.config import ARCHIVE_CLASSES  # noqa: E402

SKIPPED = 77
# HEADs to which an archive that is played says "not yet".
POLLS = 3
# How long a server that does not take hours is waited for: long enough, and the tool asks more often.
WAIT_SECONDS = 15


def options():
    result = session.parser(__doc__, "test_archive.toml", dry_run=True)
    result.add_argument("--subvolume", metavar="NAME", help="one of btrfs.subvolumes (default: the first; for moto the last)")
    result.add_argument("--target-base", metavar="DIR", help="as of run_restore.py")
    result.add_argument("--restore-timeout", type=int, metavar="SECONDS",
                        help="how long the waiting path may wait (default: restore.restore_timeout_seconds on AWS, "
                        f"{WAIT_SECONDS} elsewhere)")
    result.add_argument("--server", choices=["auto", "aws", "moto", "played"], default="auto",
                        help="where archived objects are (default: auto, the first of these that is there)")
    return result


def chosen(this, wanted):
    """The server, or the reason why there is none."""
    endpoint = this.settings.aws.endpoint_url
    reasons = {"aws": None if not endpoint else f"the endpoint is {endpoint}, not AWS",
               "moto": None if importlib.util.find_spec("moto") and importlib.util.find_spec("flask")
               else "this Python has no moto with its server (pip install 'moto[s3,server]')",
               "played": None if endpoint.startswith("http://")
               else f"{endpoint or 'AWS'} is not spoken to over http, so nothing can stand before it"}
    for name in ([wanted] if wanted != "auto" else list(reasons)):
        if reasons[name] is None:
            return name, None
    return None, "; ".join(reasons[name] for name in ([wanted] if wanted != "auto" else reasons))


def apart(this):
    """A session with a place of its own in the bucket, and a state and snapshots of its own."""
    settings = this.settings
    snapshots = settings.paths.mount / "snapshots-archive"
    snapshots.mkdir(exist_ok=True)
    return this.over(**{"aws": {"prefix": settings.aws.prefix + "/archive"}, "paths": {"snapshots": str(snapshots)},
                        "global": {"state_path": str(settings.paths.scratch / "archive" / "state.json")}})


@contextlib.contextmanager
def moto_server(this):
    """A session with moto's server as its endpoint."""
    port, = rgw.free_ports(1)
    log = this.settings.paths.logs / "moto.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as out:
        child = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                                 env={**env.plain(), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
                                      "PYTHONDONTWRITEBYTECODE": "1"},
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        # Requested objects are "in progress" until they have been looked at three times more.
        order = json.dumps({"model_name": "s3::keyrestore",
                            "transition": {"progression": "manual", "times": 3}}).encode()
        while True:
            try:
                urllib.request.urlopen(endpoint + "/moto-api/state-manager/set-transition", order, 10).read()
                break
            except OSError:
                require(child.poll() is None and time.monotonic() < deadline, f"moto's server does not answer: {log}")
                time.sleep(0.3)
        there = this.over(aws={"endpoint_url": endpoint, "region": "us-east-1"})
        there.credentials = ("moto", "moto")
        there.store.create_bucket("us-east-1")
        yield there
    finally:
        child.terminate()
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def played(this):
    """A session with a proxy as its endpoint, behind which chunks are stored in the main configuration's way."""
    with archive.archive_before(this.settings.aws.endpoint_url, "/chunk-", POLLS) as (_, endpoint):
        # The endpoint need not know the class that the proxy speaks of.
        yield this.over(aws={"endpoint_url": endpoint, "storage_class_chunks": "STANDARD"})


def archived(this, name):
    """[(key, what HEAD says of the request)] of the chunks of the newest backup; all must be archived."""
    found = []
    for chunk in this.store.get_json(backups.pointers(this, [name])[name])["chunks"]:
        head = this.store.head(chunk["key"])
        require(aws.storage_class(head) in ARCHIVE_CLASSES, f"{chunk['key']}: class {aws.storage_class(head)}")
        found.append((chunk["key"], head.get("Restore")))
    return found


def both_paths(this, name, kind, waits):
    settings, target = this.settings, this.settings.targets / name
    backups.back_up(this, "--once", names=[name])
    key = backups.pointers(this, [name])[name]
    nothing_of(f"chunks that were requested before there was a restore ({kind})",
               [one for one, requested in archived(this, name) if requested])
    restores.remove(target)
    restore = restores.arguments_of(settings, name)
    missed = this.runner().refused(*restore, "--no-wait-thaw")
    require(not target.exists(), f"--no-wait-thaw left {target}")
    this.log.say(f"  {kind}, --no-wait-thaw: status {missed.status}: {missed.stderr.strip().splitlines()[-1]}")
    for one, requested in archived(this, name):
        require(requested and 'ongoing-request="true"' in requested,
                f"{one}: requested by --no-wait-thaw, its state must be under way, it is {requested}")
    began = time.monotonic()
    this.runner().check(*restore, "--wait-thaw", "--thaw-timeout", str(waits), limit=waits + 1800)
    equal("differences after the restore", compare.different(
        records.recorded(settings, key), compare.describe(target), "the source", str(target))[:1], [])
    restores.remove(target)
    this.log.say(f"  {kind}, --wait-thaw: restored after {time.monotonic() - began:.0f} s")


def body(this, arguments):
    if arguments.target_base:
        base = session.below_mount(this.settings, "--target-base", arguments.target_base)
        this = this.over(restore={"target_base_dir": str(base)})
    if arguments.dry_run:
        name = session.chosen(this.settings, arguments.subvolume or this.settings.btrfs.subvolumes[0])
        for waits in ("--no-wait-restore", "--wait-restore"):
            this.log.say(this.runner().shown([*restores.arguments_of(this.settings, name), waits]))
        return 0
    runner.must_be_root("a restore")
    server, reason = chosen(this, arguments.server)
    if server is None:
        this.log.say(f"  skipped: {reason}")
        return SKIPPED
    if this.settings.aws.storage_class_chunks not in ARCHIVE_CLASSES:
        raise HarnessError(f"aws.storage_class_chunks = {this.settings.aws.storage_class_chunks} is no archive class; "
                           "config/test_archive.toml has one")
    # The smallest for moto: one PutObject (config/test_archive.toml).
    name = session.chosen(this.settings, arguments.subvolume
                          or this.settings.btrfs.subvolumes[-1 if server == "moto" else 0])
    waits = this.settings.tables["restore"].get("restore_timeout_seconds", 3600) if server == "aws" else WAIT_SECONDS
    if arguments.restore_timeout is not None:
        waits = arguments.restore_timeout
    with {"aws": contextlib.nullcontext, "moto": moto_server, "played": played}[server](apart(this)) as there:
        try:
            both_paths(there, name, server, waits)
        finally:
            aws.remove_all(there.store, there.settings.aws.prefix + "/")
    return 0


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
