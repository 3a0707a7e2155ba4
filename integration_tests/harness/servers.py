"""Real object stores that are started for a case and gone after it, beside the gateway of rgw.py. Each is a module with

  NAME.py start DIR    writes DIR/rgw.json: endpoint, access key, secret key; exit status 77 where it cannot be had here
  NAME.py stop DIR     ends everything and removes DIR

All that a store starts and mounts lives in PID and mount namespaces of its own: with the first process there it is gone.
"""
import argparse
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from harness import rgw, tool

MARK = "BTS3_STORE_DIRECTORY"
# $1: what to run, in namespaces where nothing shows outside and /proc shows what is in them.
INSIDE = 'mount --make-rprivate / && mount -t proc proc /proc && exec bash -euo pipefail -c "$1"'


class Server:
    """A store in `directory`, which belongs to it. Derived classes say what it takes."""

    access_key, secret_key, seconds_to_start = "TESTKEY", "TESTSECRET", 60

    def __init__(self, directory):
        self.directory = pathlib.Path(directory).resolve()

    def why_not(self):
        """A reason why it cannot be had on this machine, or None."""
        raise NotImplementedError

    def prepare(self, port):
        """Writes what it needs; returns the shell script that runs it, in the foreground, on this port of 127.0.0.1."""
        raise NotImplementedError

    def endpoint(self, port):
        """What rgw.json is to say; None as long as the store does not answer."""
        if not self.answers(port):
            return None
        return {"endpoint": f"http://127.0.0.1:{port}", "access_key": self.access_key, "secret_key": self.secret_key}

    def start(self):
        self.directory.mkdir(parents=True)
        port = rgw.free_ports(1)[0]
        script = self.prepare(port)
        with open(self.directory / "log", "wb") as log, tool.signals_deferred():
            first = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", INSIDE,
                                      "store", script], env={**os.environ, MARK: str(self.directory)}, stdout=log,
                                     stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
            (self.directory / "pid").write_text(str(first.pid), encoding="ascii")
        deadline = time.monotonic() + self.seconds_to_start
        while not (found := self.endpoint(port)):
            if first.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the store does not answer; the end of what it said:\n" + self.said())
            time.sleep(0.1)
        (self.directory / "rgw.json").write_text(json.dumps(found), encoding="ascii")

    @staticmethod
    def answers(port):
        """Whether something speaks HTTP there, whatever it says but that it cannot yet."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.status < 500
        return False

    def said(self):
        return "".join((self.directory / "log").read_text(encoding="utf-8", errors="replace").splitlines(True)[-30:])

    def stop(self):
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.directory / "pid").read_text(encoding="ascii"))
            if f"{MARK}={self.directory}" in rgw.environment_of(pid):
                # unshare takes the first process in its namespace along, and that everything else there.
                os.kill(pid, signal.SIGKILL)
                deadline = time.monotonic() + 15
                while rgw.alive(pid) and time.monotonic() < deadline:
                    time.sleep(0.05)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        shutil.rmtree(self.directory, ignore_errors=True)


def start(kind, directory):
    """A started store of this class. The process ends with status 77 where it cannot be had; a start that fails leaves
    nothing."""
    store = kind(directory)
    reason = "not root" if os.geteuid() != 0 else store.why_not()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    try:
        store.start()
    except BaseException:
        store.stop()
        raise
    return store


@contextlib.contextmanager
def running(kind, directory):
    """Yields a started store, and stops it."""
    store = start(kind, directory)
    try:
        yield store
    finally:
        store.stop()


def main(kind, description):
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("verb", choices=["start", "stop"])
    parser.add_argument("directory")
    arguments = parser.parse_args()
    if arguments.verb == "stop":
        kind(arguments.directory).stop()
    else:
        tool.exit_on_signals()
        print((start(kind, arguments.directory).directory / "rgw.json").read_text(encoding="ascii"))
    return 0


def python_with(module):
    """The first python3 of PATH that can import `module`, or None."""
    for directory in [*os.environ.get("PATH", "").split(":"), "/usr/bin"]:
        python = shutil.which("python3", path=directory)
        if python and subprocess.run([python, "-c", f"import {module}"], stdin=subprocess.DEVNULL, capture_output=True,
                                     check=False, cwd="/").returncode == 0:
            return python
    return None
