"""Running the program under test: its configuration, its environment, what it said and used."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

from . import json_names


class Outcome:
    def __init__(self, status, stdout, stderr, peak_rss_bytes, seconds):
        self.status, self.stdout, self.stderr = status, stdout, stderr
        self.peak_rss_bytes, self.seconds = peak_rss_bytes, seconds

    def __str__(self):
        return f"status {self.status}\n-- stdout\n{self.stdout}-- stderr\n{self.stderr}"


def toml(tables):
    """Strings, numbers, booleans, lists and inline tables are all that the tests need."""
    def value(item):
        if isinstance(item, bool):
            return "true" if item else "false"
        if isinstance(item, list):
            return "[" + ", ".join(value(one) for one in item) + "]"
        if isinstance(item, dict):
            return "{" + ", ".join(f"{key} = {value(one)}" for key, one in item.items()) + "}"
        # JSON's escapes are TOML's as well.
        return str(item) if isinstance(item, (int, float)) else json.dumps(str(item), ensure_ascii=False)
    return "".join(f"[{name}]\n" + "".join(f"{key} = {value(item)}\n" for key, item in keys.items()) + "\n"
                   for name, keys in tables.items())


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def exit_on_signals():
    """A termination unwinds `with` blocks, so that mounts, loop devices and daemons are removed. The first one does;
    more of them do not disturb that."""
    def leave(number, _frame):
        for one in ENDING:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
    for number in ENDING:
        # What is ignored from the start (nohup, a job in the background) stays so.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, leave)


@contextlib.contextmanager
def signals_ignored():
    """For what must come to its end: removing what was made."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_deferred():
    """For what must be whole before anything unwinds, like starting a process and noting it for whoever ends it: a
    signal that comes meanwhile counts afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    came = []
    before = {number: signal.getsignal(number) for number in ENDING}
    before = {number: signal.signal(number, lambda *what: came.append(what))
              for number, handler in before.items() if callable(handler)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in came[:1]:
            before[number](number, frame)


def high_water_bytes(pid):
    """The most memory that a running process has had resident so far; 0 when it has gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Tool:
    def __init__(self, binary, directory, tables, credentials):
        self.binary, self.directory = str(binary), pathlib.Path(directory)
        self.config = self.directory / "config.toml"
        self.tables = tables
        self.running = []
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.directory), "LANG": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true",
                            "AWS_ACCESS_KEY_ID": credentials[0], "AWS_SECRET_ACCESS_KEY": credentials[1]}

    def write_config(self):
        self.config.write_text(toml(self.tables), encoding="utf-8")

    def command(self, arguments):
        words = 2 if arguments[0] in ("index", "keys") else 1  # "index build"
        return [self.binary, *arguments[:words], "--config", str(self.config), *arguments[words:]]

    def start(self, *arguments, environment=None):
        self.write_config()
        command = self.command(arguments)
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        with signals_deferred():
            process = subprocess.Popen(command, env={**self.environment, **(environment or {})}, stdout=out, stderr=err,
                                       stdin=subprocess.DEVNULL, start_new_session=True)
            self.running.append(process)
        return process, out, err

    def kill_running(self):
        """Ends what a failed case left running, so that its filesystem can be unmounted."""
        for process in self.running:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            if process.returncode is None:
                process.wait()
        self.running.clear()

    def finish(self, started, limit=600):
        process, out, err = started
        begin = time.monotonic()
        peak = 0
        while True:
            # Not rusage: its peak counts what the starting process had at the time.
            peak = max(peak, high_water_bytes(process.pid))
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - begin > limit:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        if "--json" in process.args and texts[0] and process.returncode >= 0:
            names = json_names.table()
            wrong = [problem for document in json_names.documents(texts[0])
                     for problem in json_names.problems(document, names)]
            assert not wrong, (process.args, wrong)
        return Outcome(process.returncode, *texts, peak, time.monotonic() - begin)
    def run(self, *arguments, environment=None, limit=600):
        return self.finish(self.start(*arguments, environment=environment), limit)
