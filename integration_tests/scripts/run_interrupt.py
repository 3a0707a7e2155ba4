#!/usr/bin/env python3
"""Backups that are disturbed: killed in the middle of the stream and run again; over cut, slow and corrupt connections.

The kill comes when part of the stream is in the bucket. Nothing may have been published then; the next run must succeed
with no manual step, continue the chain, and leave no upload open. The connections are spoiled by a proxy, which can
only stand before an endpoint that is spoken to over http; elsewhere that part is left out, and says so.
"""
import os
import pathlib
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import backups, manifest, proxy, runner, session, shim  # noqa: E402
from harness.assertions import equal, nothing_of, require  # noqa: E402
from harness.config import MIB  # noqa: E402

# Random data added before each disturbance, and how much of the stream may pass before the kill: more than two parts of
# the smallest size that S3 allows.
ADDED = 16 * MIB
PASSED = 13 * MIB


def options():
    result = session.parser(__doc__, dry_run=True)
    result.add_argument("--sleep", type=float, default=0, metavar="SECONDS",
                        help="wait so long before the kill, once part of the stream is in the bucket (default: 0)")
    result.add_argument("--only", choices=["kill", "network"], help="one of the two (default: both)")
    return result


def killed(this, name, seconds):
    root = this.settings.root_of(name)
    before, keys = backups.pointers(this, [name]), set(this.store.list(root))
    backups.add_file(this, name, "interrupted.bin", ADDED)
    held, tool = shim.Shim(this.settings, "hold", PASSED), this.runner()
    running = tool.start("backup", "--once", "--subvolume", name, environment=held.environment)
    held.wait(running[0])
    deadline = time.monotonic() + 120
    while not this.store.open_uploads(root) and set(this.store.list(root)) == keys:
        require(time.monotonic() < deadline and running[0].poll() is None,
                f"nothing of the stream reached the bucket, after {PASSED} bytes of it")
        time.sleep(0.2)
    time.sleep(seconds)
    # With whatever wraps it.
    os.killpg(running[0].pid, signal.SIGKILL)
    equal("the status of the killed tool", tool.finish(running).status, -signal.SIGKILL)
    equal(f"{root}current.json after the kill", backups.pointers(this, [name]), before)
    made = [key for key in set(this.store.list(root)) - keys if "/manifest-" in key]
    nothing_of("manifests of a backup that was killed", made)
    backups.back_up(this, "--once", names=[name])
    sound(this, name, before[name])


def disturbed(this, name):
    if not this.settings.aws.endpoint_url.startswith("http://"):
        this.log.say(f"  connections are not disturbed: {this.settings.aws.endpoint_url or 'AWS'} is not spoken to "
                     "over http")
        return
    for number, when in enumerate(("cut", "delay", "corrupt"), 1):
        before = backups.pointers(this, [name])
        backups.add_file(this, name, "disturbed.bin", ADDED, seed=number)
        with proxy.proxy_to(this.settings.aws.endpoint_url) as between:
            rule = between.hold("PUT", path="/chunk-", when=when, number=2, seconds=2)
            backups.back_up(this.over(aws={"endpoint_url": between.endpoint}), "--once", names=[name])
            require(rule.seen, f"no upload passed the proxy that should {when} it")
            this.log.say(f"  {when}: {min(rule.seen, rule.number)} of {rule.seen} uploads")
        sound(this, name, before[name])


def sound(this, name, parent):
    root = this.settings.root_of(name)
    nothing_of("uploads were left open", this.store.open_uploads(root))
    key, _ = manifest.newest(this.store, root)
    ancestors = [one for one, _ in manifest.chain(this.store, key)][:-1]
    require(parent in ancestors, f"{key} does not continue the chain of {parent}, but {ancestors}")


def body(this, arguments):
    name = this.settings.btrfs.subvolumes[0]
    if arguments.dry_run:
        this.log.say(this.runner().shown(["backup", "--once", "--subvolume", name]))
        return
    runner.must_be_root("a backup")
    require(backups.pointers(this, [name])[name], f"{name} was not backed up yet: run run_full.py first")
    if arguments.only != "network":
        killed(this, name, arguments.sleep)
    if arguments.only != "kill":
        disturbed(this, name)


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
