"""Cases of what the program shows: to service managers, machines and people."""
import contextlib
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
