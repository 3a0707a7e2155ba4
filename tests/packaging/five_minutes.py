#!/usr/bin/python3
"""README's five minutes, as a new user on a bare Debian has them:  five_minutes.py BUILD_DIR [STORE ...]

debootstrap makes a system whose root is a Btrfs subvolume, with another at /srv/data. In it run the commands of README's
section "In five minutes", and nothing else: the package is installed, a configuration made, everything backed up, and
/srv/data restored, which is compared. Once for each STORE (ceph16, swift, moto; those that cannot be had here are left out,
and said), in a fresh copy of that system.

Given are, as the section says, a bucket, and its keys in the environment. Only names are replaced: the region, and for a
store that is not AWS the endpoint is added as README tells to. What each command took is printed, and judged by nobody.
"""
import argparse
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from bare_system import ENVIRONMENT, ROOT, btrfs, compare, dataset, make, make_system, rgw, run, s3, say, tool, why_not
from check_deb import SKIP
from harness import documents, moto_server, servers, swift_server

STORES = {"ceph16": None, "swift": swift_server.Swift, "moto": moto_server.Moto}
SECTION = "In five minutes"
REGION = "us-east-1"
# $0 the system: its root becomes a mount, as that of a machine is.
ENTER = ('mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount -t sysfs -o ro sysfs "$0/sys" && '
         'mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/run" && mkdir "$0/run/lock" && '
         'exec chroot "$0" bash -euo pipefail -c "cd /root\n$1"')


def section(text):
    found = re.search(rf"^## {SECTION}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert found, f'README.md has no section "{SECTION}"'
    return found[1]


def commands(text):
    """What the section tells to type, a command an entry, but for what needs systemd as PID 1."""
    found = []
    for block in documents.blocks(section(text), "README.md"):
        if "systemd" in block.why_not:
            continue
        for line in re.sub(r"\\\n\s*", "", block.script()).splitlines():
            line = re.sub(r"\s+#.*", "", line).strip()
            if line:
                found.append(line)
    return found


def bucket_of(all_commands):
    names = {name for line in all_commands for name in re.findall(r"--bucket (\S+)", line)}
    assert len(names) == 1, f"README's commands name {len(names)} buckets"
    return names.pop()


def as_here(line, text, endpoint):
    """With the names that are other ones here. README has to say that another store needs an endpoint."""
    option = "--endpoint-url"
    assert option in section(text), f"README's section does not tell of {option}"
    if re.search(r"\bbtrfs_to_s3 init\b", line):
        line = re.sub(r"--region \S+", f"--region {REGION}", line) + f" {option} {endpoint}"
    return line


@contextlib.contextmanager
def store(name, directory):
    """Yields its endpoint and keys, or None where it cannot be had here."""
    if STORES[name] is None:
        gateway = rgw.Gateway(directory)
        try:
            gateway.start()
            yield json.loads((directory / "rgw.json").read_text(encoding="ascii"))
        finally:
            gateway.stop()
        return
    reason = STORES[name](directory).why_not()
    if reason:
        say(f"left out: {name}: {reason}")
        yield None
        return
    with servers.running(STORES[name], directory) as started:
        yield json.loads((started.directory / "rgw.json").read_text(encoding="ascii"))


def live(name, text, base, filesystem, package):
    """The five minutes of one store."""
    with store(name, base / name) as info:
        if info is None:
            return
        typed = commands(text)
        s3.Bucket(info["endpoint"], bucket_of(typed), info["access_key"], info["secret_key"]).create()
        system = filesystem.mount / f"with-{name}"
        btrfs.snapshot(filesystem.mount / "bare", system, writable=True)
        data = filesystem.subvolume(f"with-{name}/srv/data")
        dataset.seed(data, large_mib=30, small_files=200)
        (system / "root" / package.name).write_bytes(package.read_bytes())
        environment = {**ENVIRONMENT, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": info["access_key"],
                       "AWS_SECRET_ACCESS_KEY": info["secret_key"]}
        say(f"{SECTION.lower()}, {name}")
        begun = time.monotonic()
        for line in typed:
            line = as_here(line, text, info["endpoint"])
            before = time.monotonic()
            run("unshare", "--mount", "bash", "-c", ENTER, system, line, env=environment)
            print(f"{time.monotonic() - before:7.1f} s  {line}", flush=True)
        print(f"{time.monotonic() - begun:7.1f} s  in all", flush=True)
        restored = re.search(r"--target (\S+)", typed[-1])[1]
        found = compare.differences(data, system / restored.lstrip("/"))
        assert not found, f"{len(found)} differences, the first: {found[0]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("stores", nargs="*", choices=[*STORES, []], metavar="STORE")
    arguments = parser.parse_args()
    reason = why_not(pathlib.Path("/"))
    if reason:
        print(f"skipped: {reason}")
        return SKIP
    suite = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE)[1]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tool.exit_on_signals()
    with contextlib.ExitStack() as stack:
        base = pathlib.Path(tempfile.mkdtemp(prefix="btrfs_to_s3-minutes-"))
        stack.callback(lambda: subprocess.run(["rm", "-rf", "--one-file-system", str(base)], check=False))
        base.chmod(0o755)
        (base / "packages").mkdir()
        package = make(arguments.build.resolve(), base / "packages")
        filesystem = stack.enter_context(btrfs.filesystem(base, size="16G"))
        filesystem.subvolume("bare")
        make_system(suite, filesystem.mount / "bare")
        for name in arguments.stores or STORES:
            live(name, text, base, filesystem, package)
    return 0


if __name__ == "__main__":
    sys.exit(main())
