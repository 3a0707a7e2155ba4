"""A terminal that draws: what a person would see of the program, taken from a pane of tmux.

Each screen has a server of its own, on a socket and with a configuration in the test's directory, in a mount namespace
of its own in which the test's filesystem lies at /srv: so the paths on the screen are the same everywhere. Server and
programs have ended when the `with` block is left.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import termios
import time

from . import rgw

ROWS = {80: 24, 160: 40}  # by columns
CONFIGURATION = """set -g status off
set -g history-limit 2000
set -g default-terminal screen-256color
"""
# Of bash, with the last command's exit status.
PROMPT = re.compile(r"\[\d+\] #", re.MULTILINE)


def missing_programs():
    return [name for name in ("tmux", "unshare", "mount", "bash") if not shutil.which(name)]


def wait_until(condition, what, limit=60):
    """`what` is called for words when the condition does not come true."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what())
        time.sleep(0.05)


def members_of(session):
    """PIDs of that session's processes."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


class Screen:
    def __init__(self, directory, columns, number):
        self.columns = columns
        self.socket = directory / f"tmux-{number}"
        self.file = directory / "tmux.conf"
        self.file.write_text(CONFIGURATION, encoding="ascii")
        self.session = None  # PID of the shell, and so its session's number
        self.typed = 0  # lines

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-u", "-S", str(self.socket), *arguments], check=True, capture_output=True,
                              text=True, timeout=30, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}).stdout

    def start(self, mount, directory, environment, prepared):
        shell = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), r"PS1=[$?] \$ ",
                 "TERM=screen-256color", "bash", "--norc", "--noprofile", "-i"]
        subprocess.run(["unshare", "--mount", "--uts", "sh", "-ec", f'mount --bind "$0" /srv; {prepared} exec "$@"', str(mount),
                        "tmux", "-u", "-S", str(self.socket), "-f", str(self.file), "new-session", "-d",
                        "-x", str(self.columns), "-y", str(ROWS[self.columns]), "-c", str(directory), *shell],
                       check=True, capture_output=True, timeout=30, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})
        self.session = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        self.wait_for_prompt()

    def end(self):
        with contextlib.suppress(subprocess.CalledProcessError):  # it never came up, or has gone
            server = int(self.tmux("display-message", "-p", "#{pid}"))
            self.tmux("kill-server")
            wait_until(lambda: not rgw.alive(server), lambda: "tmux goes on", limit=10)
        if self.session is None:
            return
        deadline = time.monotonic() + 10
        while left := members_of(self.session):
            if time.monotonic() > deadline:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def modes(self):
        """The terminal's, as the shell at its prompt has set them."""
        terminal = os.open(self.tmux("display-message", "-p", "#{pane_tty}").strip(), os.O_RDWR | os.O_NOCTTY)
        try:
            return termios.tcgetattr(terminal)
        finally:
            os.close(terminal)

    def keys(self, *names):
        """As tmux names keys: "C-c", "Enter"."""
        self.tmux("send-keys", *names)

    def type(self, line):
        self.tmux("send-keys", "-l", line)
        self.keys("Enter")
        self.typed += 1

    def text(self, joined=False):
        """Everything shown so far, what has scrolled away included; `joined`: lines that were wrapped in one."""
        lines = self.tmux("capture-pane", "-p", "-S", "-", *(["-J"] if joined else [])).splitlines()
        return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"

    def wait_for(self, condition, what, limit=60):
        """Until it holds for the text of the screen, which is returned."""
        seen = ""

        def there():
            nonlocal seen
            seen = self.text()
            return condition(seen)
        wait_until(there, lambda: f"the screen does not come to show {what}:\n{seen}", limit)
        return seen

    def wait_for_line(self, pattern):
        """Until the last line begins so."""
        return self.wait_for(lambda text: re.match(pattern, text.splitlines()[-1]), repr(pattern))

    def wait_for_prompt(self):
        """Until all that was typed has come to its end."""
        return self.wait_for(lambda text: len(PROMPT.findall(text)) == self.typed + 1 and
                             PROMPT.fullmatch(text.splitlines()[-1]), "a prompt")


@contextlib.contextmanager
def screen(directory, columns, mount, environment, prepared=""):
    """A shell in `directory` that has printed its prompt. `prepared`: lines of a shell, for more in its namespaces."""
    if missing := missing_programs():
        raise AssertionError(f"not installed: {' '.join(missing)}; run: tests/install_dependencies.sh integration")
    made = Screen(directory, columns, f"{columns}-{time.monotonic_ns()}")
    try:
        made.start(mount, directory, environment, prepared)
        yield made
    finally:
        made.end()
