#!/usr/bin/python3
"""The Debian package on a bare Debian, and the way back without it:
  bare_system.py [--suite SUITE] [--packages DIR] BUILD_DIR

debootstrap makes a system in a temporary directory; the package is installed there with what it
depends on, its configuration filled in, two backups made into an object gateway of the test's own, and
the package purged. Then the data is destroyed, and the static binary (BUILD_DIR/../static) alone restores
it in a chroot that holds nothing but btrfs-progs, a resolver's address and a CA file.

SUITE may be another release than this machine's: its package and a second static binary are those in DIR or, without
--packages, built first on a bare system of it (tests/debootstrap.sh --packages: the last commit, and its unit
tests). Each static binary restores, with its own release's btrfs-progs; where DIR has none, because the mirrors have
no source packages, this machine's takes its place.

Takes minutes, tens of them when it builds. Mounts are made in mount namespaces that end with each command.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "integration_tests"))
from check_deb import SKIP, make, run  # noqa: E402
from harness import bare_chroot, btrfs, compare, dataset, rgw, s3, tool  # noqa: E402

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive"}
# $0 the system, $1 what becomes its /srv.
ENTER = ('mount --bind "$1" "$0/srv" && mount -t proc proc "$0/proc" && mount -t sysfs -o ro sysfs "$0/sys" && '
         'mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/run" && mkdir "$0/run/lock" && '
         'exec chroot "$0" "${@:2}"')


def say(text):
    print(f"== {text}", flush=True)


def why_not(static):
    reason = btrfs.why_not()
    if reason:
        return reason
    missing = [name for name in ("debootstrap", "cpack", "dpkg-shlibdeps", "openssl") if not shutil.which(name)]
    missing += rgw.missing_programs()
    if missing:
        return f"not installed: {' '.join(missing)}"
    if not static.exists():
        return "no static binary was built (cmake/static_dependencies.sh, cmake --preset static)"
    return None


def make_system(suite, system):
    say(f"a bare {suite}")
    run("unshare", "--mount", ROOT / "tests/packaging/make_system.sh", suite, system, env=ENVIRONMENT)


def build_packages(suite, directory):
    """The package and the static binary of `suite`, in `directory`."""
    say(f"package and static binary are built on a bare {suite}")
    passed = {name: os.environ[name] for name in ("CCACHE_DIR",) if name in os.environ}
    command = ["unshare", "--mount", ROOT / "tests/debootstrap.sh", "--suite", suite, "--packages", directory]
    with subprocess.Popen(command, env={**ENVIRONMENT, **passed}, stdin=subprocess.DEVNULL) as building:
        try:
            status = building.wait(timeout=3 * 3600)
        except BaseException:
            building.terminate()  # not killed: it removes its system
            raise
    if status != 0:
        raise SystemExit(f"debootstrap.sh --suite {suite} --packages: exit status {status}")


class System:
    def __init__(self, directory, mount, credentials):
        self.directory, self.mount = directory, mount
        self.environment = {**ENVIRONMENT, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": credentials[0],
                            "AWS_SECRET_ACCESS_KEY": credentials[1]}

    def run(self, *command, expect=0):
        return run("unshare", "--mount", "bash", "-c", ENTER, self.directory, self.mount, *command, expect=expect,
                   env=self.environment)


def fill_in(config, values):
    """As a person would: the comment sign goes, the value comes."""
    text = config.read_text(encoding="utf-8")
    for key, value in values.items():
        text, count = re.subn(rf"^#{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert count == 1, f"{config} has {count} lines for {key}"
    config.write_text(text, encoding="utf-8")


def back_up(system, package, endpoint, bucket, data):
    say("the package is installed, with what it depends on")
    shutil.copy(package, system.directory / "root" / package.name)
    system.run("apt-get", "update", "-qq")
    system.run("apt-get", "install", "-qq", "-y", "--no-install-recommends", f"/root/{package.name}")
    assert "s3.bucket is missing" in system.run("btrfs_to_s3", "plan", expect=2)
    fill_in(system.directory / "etc/btrfs_to_s3/config.toml", {
        "paths": '["/srv/data"]', "bucket": f'"{bucket}"', "region": '"us-east-1"', "prefix": '"hosts/bare"',
        "endpoint_url": f'"{endpoint}"', "storage_class_chunks": '"STANDARD"', "part_size_bytes": '"5MiB"'})
    say("two backups")
    system.run("btrfs_to_s3", "backup")
    dataset.mutate(data)
    system.run("btrfs_to_s3", "backup", "--once")
    assert (system.directory / "var/lib/btrfs_to_s3/state.json").exists()
    say("the package is purged")
    system.run("apt-get", "purge", "-qq", "-y", "btrfs-to-s3")
    for left in ("usr/bin/btrfs_to_s3", "etc/btrfs_to_s3", "var/lib/btrfs_to_s3", "usr/lib/systemd/system/btrfs_to_s3.timer"):
        assert not (system.directory / left).exists(), f"/{left} is left after a purge"


def restore(system, chroot, bucket, port, kept):
    """The newest backup, by what is in `chroot` alone."""
    say(f"a static binary restores it in a bare chroot ({chroot.name})")
    done = bare_chroot.run(
        chroot, system.mount, system.environment, "restore", "--from", f"s3://{bucket.name}/hosts/bare", "--region",
        "us-east-1", "--endpoint-url", f"https://{bare_chroot.NAME}:{port}", "--subvolume", "data", "--target",
        f"/mnt/{chroot.name}")
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    found = compare.differences(kept, system.mount / chroot.name)
    assert not found, f"{len(found)} differences, the first: {found[0]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite")
    parser.add_argument("--packages", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    static = build.parent / "static" / "app" / "btrfs_to_s3"
    reason = why_not(static)
    if reason:
        print(f"skipped: {reason}")
        return SKIP
    here = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE)[1]
    suite = arguments.suite or here
    tool.exit_on_signals()
    with contextlib.ExitStack() as stack:
        base = pathlib.Path(tempfile.mkdtemp(prefix="btrfs_to_s3-bare-"))
        stack.callback(lambda: subprocess.run(["rm", "-rf", "--one-file-system", str(base)], check=False))
        # By release: the static binary, and the root of the system whose btrfs-progs it gets.
        ways = {here: (static, pathlib.Path("/"))}
        packages = arguments.packages or base / "packages"
        if suite == here:
            packages.mkdir(parents=True, exist_ok=True)
            package = make(build, packages)
        else:
            if arguments.packages is None:
                build_packages(suite, packages)
            package, = packages.glob("*.deb")
            own = packages / "btrfs_to_s3"
            if not own.exists():
                say(f"no static binary was built on {suite}: {here}'s, with {suite}'s btrfs-progs, in its place")
            ways[suite] = (own if own.exists() else static, base / "system")
        make_system(suite, base / "system")
        say("an object gateway, and a Btrfs filesystem with data")
        gateway = rgw.Gateway(base / "gateway")
        stack.callback(gateway.stop)
        gateway.start()
        info = json.loads((base / "gateway/rgw.json").read_text(encoding="ascii"))
        filesystem = stack.enter_context(btrfs.filesystem(base))
        data = filesystem.subvolume("data")
        (filesystem.mount / "snapshots").mkdir()
        dataset.seed(data, large_mib=30, small_files=200)
        bucket = s3.Bucket(info["endpoint"], "bare", info["access_key"], info["secret_key"])
        bucket.create()
        system = System(base / "system", filesystem.mount, (info["access_key"], info["secret_key"]))
        back_up(system, package, info["endpoint"], bucket.name, data)

        front = bare_chroot.TlsFront(base, urllib.parse.urlsplit(info["endpoint"]).port)
        names = bare_chroot.NameServer()
        for thread in (front, names):
            thread.start()
            stack.callback(thread.close)
        for release, (binary, root) in ways.items():
            bare_chroot.make(base / release, binary, front.authority, root)
        say("everything but the bucket is destroyed")
        subprocess.run(["cp", "-a", str(data), str(base / "kept")], check=True)
        for name in sorted(filesystem.subvolumes(), reverse=True):
            btrfs.run("btrfs", "subvolume", "delete", str(filesystem.mount / name))
        shutil.rmtree(base / "system")
        for release in ways:
            restore(system, base / release, bucket, front.port, base / "kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
