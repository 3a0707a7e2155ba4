"""Cases of what the program shows: to service managers, machines and people."""
import contextlib
import json
import signal
import socket
import threading
import time

from world import case, dataset, says


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
    assert backup["manifest_key"] == w.pointer()["manifest_key"] and backup["chunks"] == len(manifest["chunks"])
    totals = first["totals"]
    assert totals["bytes"] == manifest["total_bytes"] <= totals["sent_bytes"] and totals["backups"] == 1, totals
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
