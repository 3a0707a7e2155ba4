#!/usr/bin/python3
"""The Debian package on a bare Debian, and the way back without it:  bare_system.py BUILD_DIR

debootstrap makes a system in a temporary directory; the package is installed there with what it
depends on, its configuration filled in, two backups made into an object gateway of the test's own, and
the package purged. Then the data is destroyed, and the static binary (BUILD_DIR/../static) alone restores
it in a chroot that holds nothing but btrfs-progs, a resolver's address and a CA file.

Takes minutes. Mounts are made in mount namespaces that end with each command.
"""
import contextlib
import json
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

SUITE = "bookworm"
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


def mirror():
    """The first one that apt uses here."""
    for name in ("sources.list.d/debian.sources", "sources.list"):
        file = pathlib.Path("/etc/apt") / name
        found = file.exists() and re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?) *(http\S+)", file.read_text(encoding="utf-8"),
                                            re.MULTILINE)
        if found:
            return found[1]
    raise SystemExit("no mirror found in /etc/apt")


def make_system(system):
    say(f"a bare {SUITE}")
    run("unshare", "--mount", "debootstrap", "--variant=minbase", SUITE, system, mirror(), env=ENVIRONMENT)
    # This machine's mirrors and settings, whatever they are; of others than Debian's nothing is needed.
    shutil.copytree("/etc/apt", system / "etc/apt", dirs_exist_ok=True)
    shutil.copytree("/usr/share/keyrings", system / "usr/share/keyrings", dirs_exist_ok=True)
    for file in (system / "etc/apt/sources.list.d").iterdir():
        if file.name != "debian.sources":
            file.unlink()
    shutil.copy("/etc/resolv.conf", system / "etc/resolv.conf")


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


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    static = build.parent / "static" / "app" / "btrfs_to_s3"
    reason = why_not(static)
    if reason:
        print(f"skipped: {reason}")
        return SKIP
    tool.exit_on_signals()
    with contextlib.ExitStack() as stack:
        base = pathlib.Path(tempfile.mkdtemp(prefix="btrfs_to_s3-bare-"))
        stack.callback(lambda: subprocess.run(["rm", "-rf", "--one-file-system", str(base)], check=False))
        (base / "package").mkdir()
        package = make(build, base / "package")
        make_system(base / "system")
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

        say("everything but the bucket is destroyed")
        subprocess.run(["cp", "-a", str(data), str(base / "kept")], check=True)
        for name in sorted(filesystem.subvolumes(), reverse=True):
            btrfs.run("btrfs", "subvolume", "delete", str(filesystem.mount / name))
        shutil.rmtree(base / "system")

        say("the static binary restores it in a bare chroot")
        front = bare_chroot.TlsFront(base, urllib.parse.urlsplit(info["endpoint"]).port)
        names = bare_chroot.NameServer()
        front.start()
        names.start()
        stack.callback(names.close)
        stack.callback(front.close)
        bare_chroot.make(base / "bare", static, front.authority)
        done = bare_chroot.run(
            base / "bare", filesystem.mount, system.environment, "restore", "--from", f"s3://{bucket.name}/hosts/bare", "--region",
            "us-east-1", "--endpoint-url", f"https://{bare_chroot.NAME}:{front.port}", "--subvolume", "data", "--target", "/mnt/data")
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        found = compare.differences(base / "kept", filesystem.mount / "data")
        assert not found, f"{len(found)} differences, the first: {found[0]}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
