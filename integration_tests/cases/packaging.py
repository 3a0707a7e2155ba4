"""Cases of what is installed around the program: it runs under its unit."""
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import private_systemd, tool  # noqa: E402
from world import case, dataset  # noqa: E402

CREDENTIALS = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n"
UNIT = "btrfs_to_s3.service"


def install_units(inside):
    """The units, with the program in /opt; what it prints goes to /var/log/run."""
    source = pathlib.Path(__file__).resolve().parents[2] / "systemd"
    for name in (UNIT + ".in", "btrfs_to_s3.timer", "btrfs_to_s3-failure@.service"):
        text = re.sub(r"^ExecStart=\S+/btrfs_to_s3 ", "ExecStart=/opt/btrfs_to_s3 ",
                      (source / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        inside.write(f"/units/{name.removesuffix('.in')}", text)
    inside.write(f"/units/{UNIT}.d/log.conf", "[Service]\nStandardError=append:/var/log/run\n")
    inside.write("/var/log/run", "")


def configure(w, inside):
    """What an administrator would write; places are the defaults of units and configuration."""
    tables = {name: dict(keys) for name, keys in w.tool.tables.items()}
    tables["global"] = {"state_path": "/var/lib/btrfs_to_s3/state.json"}
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
        inside.write("/etc/btrfs_to_s3/on_failure", '#!/bin/sh\necho "$1" >>/run/failed\n', mode=0o755)
        inside.run("systemctl", "daemon-reload")

        start(inside)
        assert w.pointer()["kind"] == "full"
        dataset.mutate(w.data)
        inside.write(f"/units/{UNIT}.d/once.conf",
                     "[Service]\nExecStart=\nExecStart=/opt/btrfs_to_s3 backup --once\n")
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

        set_credentials(w, inside, "wrong")
        start(inside, "exit-code")
        inside.run("timeout", "60", "sh", "-c", "until [ -s /run/failed ]; do sleep 0.1; done")
        assert inside.read("/run/failed") == UNIT + "\n", inside.read("/run/failed")

        inside.run("systemctl", "start", "btrfs_to_s3.timer")
        listed = inside.run("systemctl", "list-timers", "--all", "--no-pager")
        assert re.search(r" 02:(0\d|1[0-5]):\d\d .* btrfs_to_s3\.timer +btrfs_to_s3\.service", listed), listed


def start(inside, result="success"):
    """Starts the unit, waits for its end, and says what it said when that is another than `result`."""
    inside.run("sh", "-c", f"systemctl start {UNIT} || true")
    ended = f"until systemctl show -P ActiveState {UNIT} | grep -qxE 'inactive|failed'; do sleep 0.1; done"
    inside.run("timeout", "120", "sh", "-c", ended)
    found = inside.run("systemctl", "show", "-P", "Result", UNIT).strip()
    if found != result:
        status = inside.run("sh", "-c", f"systemctl status --no-pager {UNIT}; true")
        raise AssertionError(f"Result={found}, not {result}\n{status}\n{inside.read('/var/log/run')}")
