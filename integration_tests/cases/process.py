"""Cases of the process: how it was started, what ends it, and what it may not have."""
import json
import os
import resource
import signal
import stat
import subprocess
import time

from world import case, dataset, says


def wait_for(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def run_as(w, prepare, *arguments):
    """The program after `prepare` in the new process; what it says goes to files."""
    w.tool.write_config()
    out, err = w.directory / "out", w.directory / "err"

    def begin():
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        prepare()
    done = subprocess.run(w.tool.command(arguments), env=w.tool.environment, stdin=subprocess.DEVNULL, close_fds=False,
                          preexec_fn=begin, check=False, timeout=120)  # pylint: disable=subprocess-popen-preexec-fn
    return done.returncode, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")


@case
def a_hangup_runs_the_hooks_and_a_second_signal_ends_a_slow_one(w):
    log = w.directory / "hooks"
    dataset.seed(w.data, large_mib=8, small_files=20)
    note = f'echo "$BTRFS_TO_S3_HOOK $BTRFS_TO_S3_HOOK_STATUS" >> {log}'
    w.tool.tables["hooks"] = {"before": ["/bin/sh", "-c", note], "on_failure": ["/bin/sh", "-c", note],
                              "after": ["/bin/sh", "-c", f"{note}; exec sleep 300"]}
    stuck = w.fake_btrfs(f"touch {w.directory}/stuck; sleep 60")
    running = w.tool.start("backup", "--once", environment=stuck)
    wait_for(w.directory / "stuck")
    running[0].send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while "after" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    running[0].send_signal(signal.SIGHUP)
    outcome = w.tool.finish(running, limit=60)
    assert outcome.status == 129, outcome
    assert log.read_text().split("\n") == ["before ", "after 129", "on_failure 129", ""], log.read_text()
    says(outcome, "signal=SIGHUP", "stopping_faster")

    # Under nohup a session's end is nothing to it.
    (w.directory / "stuck").unlink()
    w.tool.tables["hooks"] = {"before": ["/bin/sh", "-c", f"touch {w.directory}/stuck; exec sleep 2"]}
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = w.tool.start("backup", "--once")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(w.directory / "stuck")
    running[0].send_signal(signal.SIGHUP)
    w.expect(0, w.tool.finish(running, limit=60))
    w.nothing_left_behind(["data", *("snapshots/" + name for name in w.snapshot_names())])


@case
def whoever_starts_it_and_however_a_backup_is_one(w):
    dataset.seed(w.data, large_mib=8, small_files=20)

    def ignoring():
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)

    def close_all():
        for number in (0, 1, 2):
            os.close(number)

    def close_input():
        os.close(0)

    def close_errors():
        os.close(2)

    for prepare in (ignoring, close_input, close_errors):
        manifest = w.pointer() if w.bucket.list() else None
        status, _, said = run_as(w, prepare, "backup", "--once")
        assert status == 0, (prepare, status, said)
        assert w.pointer() != manifest
    # Its complaint goes nowhere, and not into a file that has got the number.
    state = (w.directory / "state/state.json").read_bytes()
    w.tool.tables["subvolumes"]["paths"] = [str(w.mount / "absent")]
    status, _, _ = run_as(w, close_all, "backup", "--once")
    assert status in (1, 2), status
    w.tool.tables["subvolumes"]["paths"] = [str(w.data)]
    assert b"btrfs_to_s3" not in (w.directory / "lock/lock").read_bytes()
    assert len(state) > 0
    # Too few descriptors are called that.
    w.tool.tables["s3"]["retry_for"] = "1s"
    for limit in range(6, 18):
        status, _, said = run_as(w, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),  # noqa: B023
                                 "backup", "--once")
        assert status in (0, 1, 2), (limit, status, said)
        assert "btrfs-progs" not in said, said
        assert status == 0 or "open files" in said or "LimitNOFILE" in said or "shared librar" in said, (limit, said)
    w.backup()
    w.nothing_left_behind(["data", *("snapshots/" + name for name in w.snapshot_names())])


@case
def many_short_streams_do_not_wait_for_each_other(w):
    names = ["data", *(f"more{index}" for index in range(4))]
    for name in names[1:]:
        w.filesystem.subvolume(name)
    for name in names:
        (w.mount / name / "file").write_text(name)
    w.tool.tables["subvolumes"]["paths"] = [str(w.mount / name) for name in names]
    # The sizes and numbers are the program's own but for the one that is asked for.
    del w.tool.tables["s3"]["part_size_bytes"], w.tool.tables["s3"]["chunk_size_bytes"]
    for parallel, concurrency, memory in ((5, 4, 0), (8, 4, 0), (4, 3, 0), (2, 1, 0), (2, 4, "320MiB")):
        w.tool.tables["global"].update(parallel_subvolumes=parallel, memory_limit_bytes=memory)
        w.tool.tables["s3"]["concurrency"] = concurrency
        w.backup(limit=120)


@case
def the_lock_is_for_its_owner_alone(w):
    lock = w.directory / "lock/lock"
    lock.parent.mkdir()
    lock.write_text("1\n")
    lock.chmod(0o644)
    w.backup()
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    # A lock of the kind that runs take, but shared: any reader could have it.
    reader = subprocess.Popen(["/usr/bin/python3", "-c",  # pylint: disable=consider-using-with
                               "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.lockf(f, fcntl.LOCK_SH); "
                               "print('locked', flush=True); time.sleep(60)", str(lock)],
                              stdout=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "locked\n"
    refused = w.backup(expect=1)
    says(refused, "not by a run of this program", f"by process {reader.pid}")
    assert json.loads(w.tool.run("status", "--json").stdout)["running_pid"] is None
    reader.kill()
    reader.wait()
    w.backup()
