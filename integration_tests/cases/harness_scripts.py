"""The harness's own scripts, step by step, as somebody runs them who has to write sudo before each."""
import os
import pathlib
import subprocess
import sys

from world import case, tool

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "scripts"
CALLER = (65534, 65533)


@case
def the_harness_leaves_nothing_of_roots_to_who_called_sudo(w):
    """Each step after the other finds what the earlier ones handed over, and hands over all again."""
    run = w.directory / "made" / "run"
    words = {"run": "", "logs": "/logs", "scratch": "/scratch", "lock": "/lock", "image": "/btrfs.img", "mount": "/mnt",
             "data": "/mnt/live", "snapshots": "/mnt/snapshots"}
    config = w.directory / "sudo.toml"
    config.write_text(tool.toml({
        "tool": {"cmd": [str(w.tool.binary)]}, "paths": {key: f"{run}{rest}" for key, rest in words.items()},
        "btrfs": {"loopback_size": "2GiB", "subvolumes": ["data", "root"]},
        "aws": {"region": "us-east-1", "bucket": w.bucket.name, "prefix": "sudo", "endpoint_url": w.bucket.endpoint},
        "backup": {"chunk_size_mib": 16}, "dataset": {"size_mib": 6, "small_files": 20},
        "s3": {"part_size_bytes": "5MiB", "spool_enabled": True}, "global": {"spool_size_bytes": 16 << 20},
    }), encoding="utf-8")
    env = w.directory / "sudo.env"
    env.write_text("".join(f"{name}={value}\n" for name, value in w.tool.environment.items() if name.startswith("AWS_")),
                   encoding="utf-8")

    def step(name, *more, expect=0):
        done = subprocess.run([sys.executable, "-B", str(SCRIPTS / f"{name}.py"), "--config", str(config), "--env", str(env),
                               *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, timeout=300,
                              env={"PATH": os.environ["PATH"], "SUDO_UID": str(CALLER[0]), "SUDO_GID": str(CALLER[1])})
        assert done.returncode == expect, f"{name}: exit status {done.returncode}\n{done.stdout}"
        device = run.stat().st_dev
        for path in [run.parent, run, *run.rglob("*")]:
            entry = path.lstat()
            assert entry.st_dev != device or (entry.st_uid, entry.st_gid) == CALLER, f"{name}: {path} is {entry.st_uid}'s"
        return done.stdout

    try:
        for name in ("setup_btrfs", "seed_data", "run_full", "run_incremental", "verify_s3"):
            step(name)
        elsewhere = run / "mnt" / "elsewhere"
        step("run_restore", "--target-base", str(elsewhere), "--use-incremental-manifest")
        assert sorted(path.name for path in elsewhere.iterdir()) == ["data", "root"], sorted(elsewhere.iterdir())
        step("verify_restore")
        # Once more: what the harness has restored there makes room, what it has not does not.
        step("run_restore", "--target-base", str(elsewhere), "--subvolume", "root")
        (elsewhere / "mine").mkdir()
        said = step("run_restore", "--target", str(elsewhere / "mine"), "--subvolume", "root", expect=1)
        assert "mine is there already" in said and (elsewhere / "mine").is_dir(), said
        step("run_interrupt", "--only", "kill", "--sleep", "0.1")
        step("run_lock_contention", "--subvolume", "root")
        said = step("benchmark", "--logs-only")
        assert (run / "logs" / "benchmark.json").exists(), said
    finally:
        step("teardown_btrfs")
