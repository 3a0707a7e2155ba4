"""Cases of what the program shows: to service managers, machines and people."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

from world import case, dataset, says, terminal


@contextlib.contextmanager
def service_manager(path):
    """What a service manager hears at the socket `path`: a list of messages that grows."""
    heard = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(0.1)
    ending = threading.Event()

    def listen():
        while True:
            try:
                heard.append(listener.recv(4096).decode())
            except TimeoutError:
                if ending.is_set():
                    return
    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield heard
    finally:
        ending.set()
        thread.join()
        listener.close()


@case
def a_service_manager_hears_of_a_run(w):
    dataset.seed(w.data, large_mib=24, small_files=20)
    path = w.directory / "notify"
    inherited = w.directory / "inherited"
    manager = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000",
               **w.fake_btrfs(f'env > {inherited}\n"$REAL" "$@" | {{ head -c 8000000; sleep 2; cat; }}')}
    with service_manager(path) as heard:
        w.backup(environment=manager)
    assert heard[0].startswith("READY=1\n"), heard
    assert any(text.startswith("STATUS=backing up data: ") and "parts in flight" in text for text in heard), heard
    assert heard.count("WATCHDOG=1") >= 3, heard
    assert heard[-1].startswith("STOPPING=1\n") and heard[-1].endswith("STATUS=ended with exit status 0"), heard
    environment = inherited.read_text()
    assert "PATH=" in environment and "NOTIFY_SOCKET" not in environment and "WATCHDOG" not in environment, environment

    path.unlink()
    with service_manager(path) as heard:
        running = w.tool.start("backup", "--once", environment={
            **manager, **w.fake_btrfs(f'echo > {w.directory}/stuck; sleep 60')})
        deadline = time.monotonic() + 60
        while not (w.directory / "stuck").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        running[0].send_signal(signal.SIGTERM)
        assert w.tool.finish(running, limit=30).status == 143
    stopping = [text for text in heard if text.startswith("STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000\n")]
    assert len(stopping) == 2 and stopping[1].endswith("exit status 143"), heard

    # Of several streams it hears the sum.
    home = w.filesystem.subvolume("home")
    dataset.seed(home, large_mib=24, small_files=20)
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(home)]
    w.tool.tables["global"]["parallel_subvolumes"] = 2
    path.unlink()
    with service_manager(path) as heard:
        w.backup(environment=manager)
    assert any(text.startswith("STATUS=backing up: ") for text in heard), heard
    assert not any(text.startswith("STATUS=backing up data: ") for text in heard), heard

    # A manager that is not there costs a warning.
    path.unlink()
    says(w.backup(environment={"NOTIFY_SOCKET": str(path)}), "service_manager_not_told")


@case
def a_backup_tells_what_it_did_as_json(w):
    def run(*arguments, expect=0, environment=None):
        outcome = w.expect(expect, w.tool.run("backup", "--json", *arguments, environment=environment))
        report = json.loads(outcome.stdout)  # one document and nothing else
        assert report["exit_status"] == expect, report
        return report
    home = w.filesystem.subvolume("home")
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(home)]
    dataset.seed(w.data, large_mib=8, small_files=20)
    first = run("--subvolume", "data")
    data, = first["subvolumes"]
    backup, = data["backups"]
    manifest = w.manifest()
    assert (data["status"], data["action"], data["reason"]) == ("done", "full", "first_backup"), data
    assert (backup["how"], backup["kind"], backup["bytes"]) == ("made", "full", manifest["total_bytes"]), backup
    assert backup["manifest_key"] == w.pointer()["manifest_key"] and backup["objects"] == len(manifest["chunks"])
    totals = first["totals"]
    assert totals["bytes"] == manifest["total_bytes"] <= totals["sent_bytes"] and totals["backup_count"] == 1, totals
    assert totals["seconds"] > 0 and totals["cpu_seconds"] > 0 and totals["peak_rss_bytes"] > 1 << 20, totals

    # One fails, the other has nothing to do.
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), f"{w.mount}/gone"]
    partly = run(expect=6)
    data, gone = partly["subvolumes"]
    assert (data["status"], data["action"], data["backups"]) == ("done", "skip", []), data
    assert data["due_at"] > data["last_backup_at"] == backup["created_at"], (data, backup)
    assert gone["status"] == "failed" and "gone" in gone["error"] and gone["action"] is None, gone

    w.tool.tables["subvolumes"]["paths"] = [str(w.data)]
    dead = run("--once", expect=1, environment=w.fake_btrfs('"$REAL" "$@" | head -c 100000; exit 1'))
    assert dead["subvolumes"][0]["status"] == "failed" and dead["subvolumes"][0]["backups"] == [], dead
    local = run("--no-s3")
    assert local["no_s3"] and local["subvolumes"][0]["backups"][0]["manifest_key"] is None, local
    assert "--subvolume other" in run("--subvolume", "other", expect=2)["error"]
    w.tool.tables["s3"]["concurrency"] = "many"
    assert "s3.concurrency" in run(expect=2)["error"]
    w.tool.tables["s3"]["concurrency"] = 2

    stuck = w.fake_btrfs(f'"$REAL" "$@" | head -c 6000000; echo > {w.directory}/stuck; sleep 60')
    running = w.tool.start("backup", "--json", "--once", environment=stuck)
    deadline = time.monotonic() + 60
    while not (w.directory / "stuck").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "already held" in run(expect=3)["error"]
    running[0].send_signal(signal.SIGTERM)
    stopped = w.tool.finish(running, limit=30)
    report = json.loads(stopped.stdout)
    assert stopped.status == report["exit_status"] == 143, stopped
    assert report["subvolumes"][0]["status"] == "cancelled", report
    # The next run ends what that one began.
    resumed = run("--once")["subvolumes"][0]["backups"]
    assert [one["how"] for one in resumed] in (["made"], ["resumed", "made"]), resumed


def on_terminal(w, columns, *arguments, environment=None):
    """Status and what the program printed on a terminal of so many columns."""
    w.tool.write_config()
    status, shown, _ = terminal.run([w.tool.binary, *arguments], {**w.tool.environment, **(environment or {})}, columns)
    return status, shown.decode().replace("\r\n", "\n")


@case
def reading_commands_look_into_another_place(w):
    """Of another host's backups the bucket alone tells: not what this host has, or has to do."""
    dataset.seed(w.data, large_mib=6, small_files=10)
    home = w.filesystem.subvolume("home")
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(home)]
    w.backup()
    dataset.mutate(w.data, 2)
    w.backup("--subvolume", "data")
    elsewhere = w.directory / "elsewhere"
    elsewhere.mkdir()
    # As whoever makes the backups; then by another's hand, and with a state there that knows nothing.
    for key in [key for key in w.bucket.list() if "manifest-" in key]:
        manifest = w.bucket.get_json(key)
        manifest["host"] = {"id": "0123456789abcdef0123456789abcdef", "name": "other"}
        w.bucket.put(key, json.dumps(manifest).encode())
    before = w.bucket.list()

    def read(command, *arguments, expect=0):
        run = subprocess.run([w.tool.binary, command, "--from", f"s3://{w.bucket.name}/hosts/test", "--endpoint-url",
                              w.bucket.endpoint, *arguments], capture_output=True, text=True, check=False,
                             env={**w.tool.environment, "HOME": str(elsewhere),
                                  "BTRFS_TO_S3_RETENTION_KEEP_GENERATIONS": "1"})
        assert run.returncode == expect, run
        return run.stdout
    report = json.loads(read("status", "--json"))
    assert [(one["subvolume"], one["status"], one["links"], one["due_at"]) for one in report["subvolumes"]] == [
        ("data", "ok", 2, None), ("home", "ok", 1, None)], report
    assert report["running_pid"] is None and "next_action" not in report["subvolumes"][0], report
    says_not = read("prune", "--subvolume", "data")
    assert "has not been verified" in says_not and "verify --subvolume data --from s3://" in says_not, says_not
    verified = json.loads(read("verify", "--json"))
    assert [one["subvolume"] for one in verified["subvolumes"]] == ["data", "home"], verified
    assert (elsewhere / ".local/state/btrfs_to_s3/state.verified.json").exists()
    kept, _ = json.loads(read("prune", "--json"))["subvolumes"]
    assert kept["held_back"] is None and kept["generations"][0]["reason"] == "current", kept
    assert json.loads(read("status", "--json"))["subvolumes"][0]["verified"]["kind"] == "quick"
    refused = read("status", "--max-age", "1s", "--subvolume", "nobody", expect=3)
    assert "--subvolume nobody is not in the bucket" in refused, refused
    assert read("prune", "--dry-run") == read("prune") and w.bucket.list() == before
    # A chunk that is lost is found there, and what helps leads there.
    w.bucket.delete(next(key for key in w.bucket.list() if "/data/incremental/chunk-" in key))
    damaged = read("verify", expect=4)
    assert re.search(r"the newest: btrfs_to_s3 restore --subvolume data --target \S+ --manifest-key \S+ --from s3://",
                     damaged), damaged
    assert "CRITICAL" in read("status", expect=2)


@case
def list_shows_what_can_be_restored(w):
    home = w.filesystem.subvolume("home")
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(home)]
    dataset.seed(w.data, large_mib=13, small_files=20)
    says(w.expect(0, w.tool.run("list")), "")
    for link in range(3):
        if link:
            dataset.mutate(w.data, link)
        w.backup("--subvolume", "data")
    w.backup("--subvolume", "home")
    place = f"s3://{w.bucket.name}/hosts/test"
    bare = ("--from", place, "--endpoint-url", w.bucket.endpoint)

    def listed(*arguments):
        # Without a configuration, as on a bare host.
        outcome = subprocess.run([w.tool.binary, "list", *arguments], env=w.tool.environment, capture_output=True,
                                 text=True, check=False)
        assert outcome.returncode == 0, outcome
        return outcome.stdout
    found = json.loads(listed(*bare, "--json"))
    assert [one["subvolume"] for one in found["subvolumes"]] == ["data", "home"] and found["strays"] == [], found
    generation, = found["subvolumes"][0]["generations"]
    backups = generation["backups"]
    assert [one["kind"] for one in backups] == ["full", "incremental", "incremental"], backups
    assert [one["links"] for one in backups] == [1, 2, 3] and all(one["restorable"] is True and not one["needs_thaw"] for one in backups)
    assert backups[2]["manifest_key"] == w.pointer()["manifest_key"] == found["subvolumes"][0]["current_manifest_key"]
    assert backups[2]["current"] and backups[0]["objects"] == backups[0]["storage_classes"]["STANDARD"]["objects"] >= 2
    assert backups[0]["bytes"] == sum(entry["bytes"] for entry in backups[0]["storage_classes"].values())
    assert json.loads(w.expect(0, w.tool.run("list", "--json", "--subvolume", "home")).stdout)["subvolumes"][0][
        "subvolume"] == "home"

    # Each of them restores as it says: the second by its key.
    w.restore("--manifest-key", backups[1]["manifest_key"], "--target", str(w.restored / "second"))

    # Damage is shown, and no error.
    w.bucket.delete(next(key for key in w.bucket.list() if "/incremental/chunk-" in key))
    w.bucket.put("hosts/test/subvol/data/full/notes.txt", b"notes")
    w.bucket.put("hosts/test/subvol/data/full/manifest-20200101T000000Z.json", b"{")
    for columns in (80, 160):
        status, text = on_terminal(w, columns, "list", *bare)
        print(text)
        assert status == 0 and re.search("STANDARD +no", text) and "is missing" in text and "notes.txt" in text, text
        table = [line for line in text.splitlines() if re.search(r"(full|incremental) +[0-9]", line)]
        assert len(table) == 4 and all(len(line) <= columns for line in table), text
        assert ("MANIFEST" in text) == (columns == 160), text
    plain = listed(*bare)
    assert "MANIFEST" in plain and "\x1b" not in plain, plain
    says(w.expect(1, w.tool.run("list", "--subvolume", "other")), 'no backups of subvolume "other"')
    empty = subprocess.run([w.tool.binary, "list", "--from", f"s3://{w.bucket.name}/nothing", *bare[2:]],
                           env=w.tool.environment, capture_output=True, text=True, check=False)
    assert empty.returncode == 1 and "there are no backups at" in empty.stderr, empty
    for prefix in ("hosts", "hosts/test/subvol/data", "hosts/test/more"):
        beside = subprocess.run([w.tool.binary, "list", "--from", f"s3://{w.bucket.name}/{prefix}", *bare[2:]],
                                env=w.tool.environment, capture_output=True, text=True, check=False)
        assert beside.returncode == 1 and beside.stderr.endswith(f"try --from s3://{w.bucket.name}/hosts/test\n"), beside
        assert not beside.stdout, beside
    assert w.expect(2, w.tool.run("list", *bare)).stderr.startswith("list takes --config or --from")


@case
def status_answers_monitoring(w):
    def status(*arguments, expect, environment=None):
        outcome = w.expect(expect, w.tool.run("status", *arguments, environment=environment))
        return outcome.stdout
    first = status(expect=2).splitlines()
    assert first[0] == "CRITICAL: data: there is no backup of data yet", first
    dataset.seed(w.data, large_mib=8, small_files=20)
    w.backup()
    text = status(expect=0)
    print(text)
    assert re.match("OK: 1 subvolume, the oldest last backup is [0-9]+ s old\n", text), text
    report = json.loads(status("--json", expect=0))
    assert (report["status"], report["max_age_seconds"], report["running_pid"]) == ("ok", 8 * 86400, None), report
    data, = report["subvolumes"]
    assert data["links"] == 1 and data["due_at"] > data["last_backup_at"] and data["next_action"] == "skip", data
    deadline = time.monotonic() + 60
    while json.loads(status("--json", expect=0))["subvolumes"][0]["age_seconds"] < 2:
        assert time.monotonic() < deadline, "a backup does not age"
        time.sleep(0.2)
    old = status("--max-age", "1s", expect=2)
    assert re.match("CRITICAL: data: the last backup is [0-9]+ s old, and 1 s are allowed", old), old

    # A run in its midst, and the same killed.
    stuck = w.fake_btrfs(f'"$REAL" "$@" | head -c 6000000; echo > {w.directory}/stuck; sleep 60')
    dataset.mutate(w.data, 1)
    running = w.tool.start("backup", "--once", environment=stuck)
    deadline = time.monotonic() + 60
    while not (w.directory / "stuck").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    report = json.loads(status("--json", expect=0))
    assert report["running_pid"] == running[0].pid and report["subvolumes"][0]["unfinished"], report
    assert "under way" in status(expect=0)
    running[0].send_signal(signal.SIGKILL)
    w.tool.finish(running)
    assert "WARNING: data: interrupted: incremental backup begun" in status(expect=1)
    w.backup()

    # The bucket's truth counts, not the state file.
    chunk = next(key for key in w.bucket.list() if "/full/chunk-" in key)
    w.bucket.delete(chunk)
    broken = status(expect=2)
    assert "the last backup cannot be restored" in broken and chunk in broken, broken
    status_code, screen = on_terminal(w, 80, "status", "--config", str(w.tool.config))
    print(screen)
    assert status_code == 2 and all(len(line) <= 80 or "/" in line or line.startswith("CRITICAL")
                                    for line in screen.splitlines()), screen

    # What cannot be asked is unknown.
    w.tool.tables["s3"]["endpoint_url"] = "http://127.0.0.1:9"
    w.tool.tables["s3"]["retry_for"] = "1s"
    assert status(expect=3).startswith("UNKNOWN: ")
    w.tool.tables["s3"]["concurrency"] = "many"
    assert json.loads(status("--json", expect=3))["status"] == "unknown"
    w.expect(3, w.tool.run("status", "--no-such-option"))


@case
def metrics_follow_each_run(w):
    def metrics():
        found = {}
        for line in path.read_text().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name.removeprefix("btrfs_to_s3_")] = float(value)
        return found
    path = w.directory / "collector" / "backup.prom"
    w.tool.tables["metrics"] = {"textfile": str(path)}
    dataset.seed(w.data, large_mib=8, small_files=20)
    # A file that cannot be written costs a warning.
    says(w.backup(), "metrics_not_written", "metrics.textfile", "name a file in a directory")
    path.parent.mkdir()
    dataset.mutate(w.data, 1)
    w.backup()
    first = metrics()
    of_data = '{subvolume="data"}'
    assert first["run_exit_status"] == 0 and first["run_bytes"] == w.manifest()["total_bytes"], first
    assert first["chain_links" + of_data] == 2 and first["run_failed" + of_data] == 0, first
    assert first["last_backup_bytes" + of_data] == first["run_bytes"], first
    assert abs(first["run_end_timestamp_seconds"] - first["last_success_timestamp_seconds" + of_data]) < 600, first
    assert first["next_due_timestamp_seconds" + of_data] > first["run_end_timestamp_seconds"], first
    assert path.stat().st_mode & 0o777 == 0o644 and [one.name for one in path.parent.iterdir()] == ["backup.prom"]

    # A run with nothing to do, and one that fails: what is known of the last backup stays.
    w.backup(only_when_due=True)
    idle = metrics()
    kept = [name + of_data for name in ("last_success_timestamp_seconds", "last_full_timestamp_seconds", "chain_links",
                                        "last_backup_bytes", "last_backup_duration_seconds")]
    assert idle["run_backups"] == 0 and all(idle[name] == first[name] for name in kept), (first, idle)
    home = w.filesystem.subvolume("home")
    w.tool.tables["subvolumes"]["paths"] = [str(w.data), str(home)]
    w.backup("--subvolume", "data", expect=1, environment=w.fake_btrfs('"$REAL" "$@" | head -c 100000; exit 1'))
    failed = metrics()
    assert failed["run_exit_status"] == 1 and failed["run_failed" + of_data] == 1, failed
    assert all(failed[name] == first[name] for name in kept), (first, failed)
    # The one that was not selected is there, and has no backup yet.
    assert failed['subvolume_info{subvolume="home"}'] == 1, failed
    assert 'last_success_timestamp_seconds{subvolume="home"}' not in failed, failed
    text = path.read_text()
    w.backup("--no-s3")
    assert path.read_text() == text, "a run that uploads nothing wrote metrics"


@case
def hooks_run_around_a_backup(w):
    log = w.directory / "hooks.log"

    def hook(text):
        script = w.directory / f"hook-{len(list(w.directory.glob('hook-*')))}"
        script.write_text("#!/bin/sh\n" + text + "\n", encoding="ascii")
        script.chmod(0o755)
        return [str(script), "an argument"]

    def heard():
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines
    note = f'echo "$BTRFS_TO_S3_HOOK $BTRFS_TO_S3_HOOK_STATUS $BTRFS_TO_S3_HOOK_FAILED" >> {log}'
    # What hooks are told, and that they run inside the lock: another backup is refused then.
    inner = f'{w.tool.binary} backup --config "$BTRFS_TO_S3_HOOK_CONFIG" 2>/dev/null; echo "inner $?" >> {log}'
    w.tool.tables["hooks"] = {"before": hook(f"{note}; [ -e {w.directory}/inner ] || {{ touch {w.directory}/inner; "
                                             f"{inner}; }}; env > {w.directory}/environment"),
                              "after": hook(note), "on_failure": hook(note)}
    dataset.seed(w.data, large_mib=8, small_files=20)
    outcome = w.backup()
    assert heard() == ["before  ", "on_failure 3 ", "inner 3", "after 0 "], outcome
    environment = (w.directory / "environment").read_text()
    assert "BTRFS_TO_S3_HOOK_SUBVOLUMES=data\n" in environment and "NOTIFY_SOCKET" not in environment, environment
    says(outcome, "hook_ended")

    # A failing "before" stops the run before anything is read or changed.
    objects, snapshots, state = w.bucket.list(), w.snapshot_names(), (w.directory / "state/state.json").read_bytes()
    w.tool.tables["hooks"]["before"] = hook(f"{note}; echo not today >&2; exit 7")
    refused = w.backup("--json", expect=1)
    says(refused, "hooks.before: ", "exited with status 7: not today")
    assert heard() == ["before  ", "on_failure 1 "]
    report = json.loads(refused.stdout)
    assert [(one["hook"], one["status"]) for one in report["hooks"]] == [("before", "failed"), ("on_failure", "done")]
    assert report["subvolumes"][0]["status"] == "not_reached", report
    assert (w.bucket.list(), w.snapshot_names()) == (objects, snapshots)
    assert (w.directory / "state/state.json").read_bytes() == state and w.journals() == []

    # "after" runs after a failure and after a stop.
    w.tool.tables["hooks"]["before"] = hook(note)
    w.backup(expect=1, environment=w.fake_btrfs('"$REAL" "$@" | head -c 100000; exit 1'))
    assert heard() == ["before  ", "after 1 data", "on_failure 1 data"]
    stuck = w.fake_btrfs(f'echo > {w.directory}/stuck; sleep 60')
    running = w.tool.start("backup", "--once", environment=stuck)
    deadline = time.monotonic() + 60
    while not (w.directory / "stuck").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    running[0].send_signal(signal.SIGTERM)
    assert w.tool.finish(running, limit=30).status == 143
    assert heard() == ["before  ", "after 143 ", "on_failure 143 "]

    # A failing "after" fails the run, the backup being complete; one that hangs is stopped.
    w.tool.tables["hooks"].update({"after": hook("exit 1"), "on_failure": hook(f"{note}; exit 1")})
    failed = w.backup(expect=1)
    says(failed, "the backups are complete, but: hooks.after: ", "hook=on_failure")
    assert heard() == ["before  ", "on_failure 1 "]
    manifest = w.manifest()
    w.tool.tables["hooks"].update({"before": hook("sleep 60"), "timeout": "1s"})
    says(w.backup(expect=1), "hooks.before: ", "took longer than 1 s")
    assert w.manifest() == manifest
    w.tool.tables["hooks"] = {"before": "/no/such/program"}
    says(w.backup(expect=1), "hooks.before: ", "/no/such/program")
    w.nothing_left_behind(["data", *("snapshots/" + name for name in w.snapshot_names())])


@case
def an_interrupted_quickstart_says_so_and_leaves_nothing(w):
    room = w.directory / "quickstart"
    room.mkdir()
    # As from a terminal: the whole process group hears Ctrl-C.
    script = pathlib.Path(__file__).resolve().parent.parent / "harness" / "quickstart.py"
    with subprocess.Popen(["/usr/bin/python3", "-B", str(script), "--binary", w.tool.binary],
                          env={**os.environ, "TMPDIR": str(room)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, start_new_session=True) as running:
        said = []
        for line in running.stdout:
            said.append(line)
            if line.startswith("== first backup"):
                os.killpg(running.pid, signal.SIGINT)
    text = "".join(said)
    assert running.returncode == 130, f"exit status {running.returncode}\n{text}"
    assert said[-1] == "quickstart: interrupted; what it had made is removed\n" and "Traceback" not in text, text
    assert not list(room.iterdir()), list(room.iterdir())
    assert str(room) not in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8")
    for command in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert str(room).encode() not in command.read_bytes(), command
