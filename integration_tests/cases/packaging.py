"""Cases of what is installed around the program: it runs under its unit."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import bare_chroot, private_systemd, tool  # noqa: E402
from first_run import answers, init, read  # noqa: E402
from world import case, dataset  # noqa: E402

CREDENTIALS = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n"
UNIT = "btrfs_to_s3.service"
VERIFY = "btrfs_to_s3-verify.service"


def install_units(inside):
    """The units, with the program in /opt; what it prints goes to /var/log/run."""
    source = pathlib.Path(__file__).resolve().parents[2] / "systemd"
    for name in (UNIT + ".in", VERIFY + ".in", "btrfs_to_s3.timer", "btrfs_to_s3-verify.timer",
                 "btrfs_to_s3-failure@.service"):
        text = re.sub(r"^ExecStart=\S+/btrfs_to_s3 ", "ExecStart=/opt/btrfs_to_s3 ",
                      (source / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        inside.write(f"/units/{name.removesuffix('.in')}", text)
    for unit in (UNIT, VERIFY):
        inside.write(f"/units/{unit}.d/log.conf", "[Service]\nStandardError=append:/var/log/run\n")
    inside.write("/var/log/run", "")


def configure(w, inside):
    """What an administrator would write; places are the defaults of units and configuration."""
    tables = {name: dict(keys) for name, keys in w.tool.tables.items()}
    begun = w.directory / "begun.toml"
    init(w, *answers(w, begun))
    tables["global"] = read(begun)["global"]  # what `init` says of places has to be right for the unit
    begun.unlink()
    tables["subvolumes"] = {"paths": ["/srv/data"]}
    del tables["snapshots"]
    inside.write("/etc/btrfs_to_s3/config.toml", tool.toml(tables))
    inside.write("/etc/btrfs_to_s3/environment", "AWS_EC2_METADATA_DISABLED=true\n")


def set_credentials(w, inside, secret):
    inside.write("/etc/btrfs_to_s3/aws_credentials",
                 CREDENTIALS.format(w.tool.environment["AWS_ACCESS_KEY_ID"], secret), mode=0o600)


@case
def a_backup_runs_under_its_unit(w):
    """Full, incremental and a failure, within the unit's limits, in a systemd of its own."""
    reason = private_systemd.why_not()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    dataset.seed(w.data, large_mib=30, small_files=200)
    with private_systemd.private_systemd(w.mount, w.tool.binary) as inside:
        install_units(inside)
        configure(w, inside)
        set_credentials(w, inside, w.tool.environment["AWS_SECRET_ACCESS_KEY"])
        inside.run("systemctl", "daemon-reload")

        # What people have before they have read on: the state in the home directory, and no credentials.
        configured = inside.read("/etc/btrfs_to_s3/config.toml")
        inside.write("/etc/btrfs_to_s3/config.toml", re.sub(r"(?m)^state_path = .*$", "", configured))
        start(inside, "exit-code")
        assert ("set global.state_path to a file that can be written; the systemd unit may write to /var/lib/btrfs_to_s3"
                in inside.read("/var/log/run")), inside.read("/var/log/run")
        inside.write("/etc/btrfs_to_s3/config.toml", configured)
        (inside.root / "etc/btrfs_to_s3/aws_credentials").unlink()
        start(inside, "exit-code")
        assert "under [default] in /etc/btrfs_to_s3/aws_credentials" in inside.read("/var/log/run"), inside.read("/var/log/run")
        set_credentials(w, inside, w.tool.environment["AWS_SECRET_ACCESS_KEY"])

        start(inside)
        assert w.pointer()["kind"] == "full"
        inside.write("/etc/btrfs_to_s3/on_failure", '#!/bin/sh\necho "$1" >>/run/failed\n', mode=0o755)
        dataset.mutate(w.data)
        inside.write(f"/units/{UNIT}.d/once.conf",
                     "[Service]\nExecStart=\nExecStart=/opt/btrfs_to_s3 backup --config /etc/btrfs_to_s3/config.toml --once\n")
        inside.run("systemctl", "daemon-reload")
        start(inside)
        assert w.pointer()["kind"] == "incremental"
        log = inside.read("/var/log/run")
        assert "event=run_finished" in log, log
        # LimitMEMLOCK is for this; a container may keep the limit where it is.
        if subprocess.run(["prlimit", "--memlock=unlimited:unlimited", "true"], capture_output=True,
                          check=False).returncode == 0:
            assert "buffers_unregistered" not in log, log
        mode = (inside.root / "var/lib/btrfs_to_s3/state.json").stat().st_mode
        assert mode & 0o077 == 0, f"others may read the state: {mode:o}"
        w.restore("--target", str(w.restored / "data"))
        w.same(w.data, w.restored / "data")

        start(inside, unit=VERIFY)
        assert "event=subvolume_verified" in inside.read("/var/log/run")
        assert (inside.root / "var/lib/btrfs_to_s3/state.verified.json").exists()
        lost = w.manifest()["chunks"][0]["key"]
        body = w.bucket.get(lost)
        w.bucket.delete(lost)
        start(inside, "exit-code", unit=VERIFY)
        inside.run("timeout", "60", "sh", "-c", "until [ -s /run/failed ]; do sleep 0.1; done")
        assert inside.read("/run/failed") == VERIFY + "\n", inside.read("/run/failed")
        w.bucket.put(lost, body)
        inside.write("/run/failed", "")

        set_credentials(w, inside, "wrong")
        start(inside, "exit-code")
        inside.run("timeout", "60", "sh", "-c", "until [ -s /run/failed ]; do sleep 0.1; done")
        assert inside.read("/run/failed") == UNIT + "\n", inside.read("/run/failed")

        # A stop that was asked for is no failure: nobody is alarmed.
        set_credentials(w, inside, w.tool.environment["AWS_SECRET_ACCESS_KEY"])
        inside.write("/opt/slow/btrfs", '#!/bin/sh\n[ "$1" = send ] || exec /usr/bin/btrfs "$@"\n'
                     ': >/run/lock/sending\nexec sleep 600\n', mode=0o755)
        inside.write(f"/units/{UNIT}.d/slow.conf", "[Service]\nEnvironment=PATH=/opt/slow:/usr/bin\n")
        inside.run("systemctl", "daemon-reload")
        inside.run("systemctl", "start", "--no-block", UNIT)
        inside.run("timeout", "60", "sh", "-c", "until [ -e /run/lock/sending ]; do sleep 0.1; done")
        inside.run("systemctl", "stop", UNIT)
        shown = inside.run("systemctl", "show", "-P", "ActiveState", "-P", "Result", UNIT).split()
        assert sorted(shown) == ["inactive", "success"], f"{shown}\n{inside.read('/var/log/run')}"
        assert "event=stopping" in inside.read("/var/log/run")
        assert inside.read("/run/failed") == UNIT + "\n", "a stop on request was reported as a failure"

        inside.run("systemctl", "start", "btrfs_to_s3.timer")
        listed = inside.run("systemctl", "list-timers", "--all", "--no-pager")
        assert re.search(r" 02:(0\d|1[0-5]):\d\d .* btrfs_to_s3\.timer +btrfs_to_s3\.service", listed), listed


def start(inside, result="success", unit=UNIT):
    """Starts the unit, waits for its end, and says what it said when that is another than `result`."""
    inside.run("sh", "-c", f"systemctl start {unit} || true")
    ended = f"until systemctl show -P ActiveState {unit} | grep -qxE 'inactive|failed'; do sleep 0.1; done"
    inside.run("timeout", "120", "sh", "-c", ended)
    found = inside.run("systemctl", "show", "-P", "Result", unit).strip()
    if found != result:
        status = inside.run("sh", "-c", f"systemctl status --no-pager {unit}; true")
        raise AssertionError(f"Result={found}, not {result}\n{status}\n{inside.read('/var/log/run')}")


def static_binary(w):
    static = pathlib.Path(w.tool.binary).resolve().parents[2] / "static" / "app" / "btrfs_to_s3"
    if not static.exists():
        print("skipped: no static binary was built (cmake/static_dependencies.sh, cmake --preset static)")
        sys.exit(77)
    linkage = subprocess.run(["ldd", str(static)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert "not a dynamic executable" in linkage.stdout, f"it is not static: {linkage.stdout}"
    return static


@contextlib.contextmanager
def bare(w, static):
    """A chroot with the binary, and a store that it finds by a name: (directory, options, environment, name server)."""
    directory = w.directory / "bare"
    front = bare_chroot.TlsFront(w.directory, urllib.parse.urlsplit(w.tool.tables["s3"]["endpoint_url"]).port)
    names = bare_chroot.NameServer()
    front.start()
    names.start()
    try:
        bare_chroot.make(directory, static, front.authority)
        options = ["--from", f"s3://{w.bucket.name}/hosts/test", "--region", "us-east-1", "--endpoint-url",
                   f"https://{bare_chroot.NAME}:{front.port}", "--subvolume", "data"]
        yield directory, options, {name: value for name, value in w.tool.environment.items() if name.startswith("AWS_")}, names
    finally:
        front.close()
        names.close()


@case
def the_static_binary_restores_in_a_bare_chroot(w):
    """btrfs-progs, a resolver and a CA file is all it needs: no shell, no libraries, no configuration."""
    static = static_binary(w)
    dataset.seed(w.data, large_mib=30, small_files=200)
    w.backup()
    dataset.mutate(w.data)
    w.backup()
    kept = w.directory / "kept"
    subprocess.run(["cp", "-a", str(w.data), str(kept)], check=True)
    for name in ["data", *("snapshots/" + name for name in w.snapshot_names())]:
        subprocess.run(["btrfs", "subvolume", "delete", str(w.mount / name)], check=True, capture_output=True)

    with bare(w, static) as (inside, options, environment, names):
        arguments = ["restore", *options, "--target", "/mnt/restored/data"]
        bundle = inside / "etc/pki/tls/certs/ca-bundle.crt"
        bundle.rename(inside / "elsewhere.pem")
        refused = bare_chroot.run(inside, w.mount, environment, *arguments)
        assert refused.returncode == 1, refused
        for words in ("this host has no CA certificates", "/etc/ssl/certs/ca-certificates.crt", "AWS_CA_BUNDLE"):
            assert words in refused.stderr, refused.stderr
        (inside / "elsewhere.pem").rename(bundle)
        done = bare_chroot.run(inside, w.mount, environment, *arguments)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        assert bare_chroot.NAME in names.asked, "it asked no name server"
    w.same(kept, w.restored / "data")


def same_files(there, here):
    """Content, links and times of files, as anybody can have them."""
    paths = sorted(path.relative_to(there) for path in there.rglob("*") if path.is_symlink() or path.is_file())
    assert paths == sorted(path.relative_to(here) for path in here.rglob("*") if path.is_symlink() or path.is_file())
    for path in paths:
        one, other = there / path, here / path
        if one.is_symlink():
            assert other.readlink() == one.readlink(), path
        else:
            assert other.read_bytes() == one.read_bytes() and other.stat().st_mtime_ns == one.stat().st_mtime_ns, path


@case
def the_static_binary_gets_files_for_anybody_without_btrfs(w):
    """An ordinary user, a tmpfs, and nothing else: no btrfs-progs, no libraries, no configuration, no home."""
    static = static_binary(w)
    dataset.seed(w.data, large_mib=6, small_files=100)
    w.backup()
    dataset.mutate(w.data, large_mib=6)
    w.backup()
    with bare(w, static) as (inside, options, environment, _), \
            tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        os.chown(other, 65534, 65534)
        shutil.rmtree(inside / "sbin")
        for path in (w.directory, inside):
            path.chmod(0o755)

        def run(verb, *arguments, expect=0):
            done = bare_chroot.run(inside, other, {**environment, "XDG_CACHE_HOME": "/mnt/cache"}, verb, *options, *arguments,
                                   user="65534:65534")
            assert done.returncode == expect, f"{verb}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
            return done
        listed = run("ls", "-0").stdout.split("\0")
        assert sorted(name for name in listed if name) == sorted(os.listdir(w.data)), listed
        found = run("find", "--name", "*.c", "--type", "f").stdout.splitlines()
        assert sorted(found) == sorted(str(path.relative_to(w.data)) for path in w.data.rglob("*.c")), found[:3]
        assert run("cat", "with space").stdout == "with space"
        assert run("history", "large.txt").stdout.strip()
        run("extract", "--target", "/mnt/out", ".")
        same_files(w.data, pathlib.Path(other) / "out")
        refused = run("mount", "/mnt/shown", expect=2)
        for words in ("built without FUSE", "extract"):
            assert words in refused.stderr, refused.stderr
