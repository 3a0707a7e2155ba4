"""Terminals for the program under test."""
import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import tempfile
import termios
import time


def run(command, environment, columns, shows="stdout"):
    """Runs `command` with stdout or stderr on a terminal of so many columns, the other one elsewhere.

    Returns its status, the bytes that the terminal got, and the text that the other stream got.
    """
    master, terminal = pty.openpty()
    shown = b""
    with tempfile.TemporaryFile() as other:
        streams = {"stdout": other, "stderr": other, shows: terminal}
        try:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, **streams)
        finally:
            os.close(terminal)
        # Reading fails once the terminal's other side has gone.
        with contextlib.suppress(OSError), open(master, "rb", buffering=0) as reader:
            while piece := reader.read(4096):
                shown += piece
        status = process.wait()
        other.seek(0)
        return status, shown, other.read().decode()


class Person:
    """Sits at a terminal of its own, on which a program runs: reads what it shows, and answers.

    Waits are for what comes after what was waited for before. `secrets` must never be shown.
    """

    def __init__(self, command, environment, secrets=(), columns=100, directory=None):
        self.master, terminal = pty.openpty()
        self.shown, self.read_to, self.secrets = "", 0, secrets
        try:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
            self.modes = termios.tcgetattr(terminal)

            def take_terminal():
                os.setsid()
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            self.process = subprocess.Popen(command, env=environment, cwd=directory, stdin=terminal, stdout=terminal,
                                            stderr=terminal, preexec_fn=take_terminal)
        except BaseException:
            os.close(self.master)
            raise
        finally:
            self.terminal = terminal  # kept, so that its modes can be asked for when the program has ended

    def see(self, text, limit=60):
        """Waits until it is shown, and returns all up to there."""
        deadline = time.monotonic() + limit
        while (found := self.shown.find(text, self.read_to)) < 0:
            left = deadline - time.monotonic()
            if left <= 0 or self.process.poll() is not None and not select.select([self.master], [], [], 0.2)[0]:
                raise AssertionError(f"{text!r} is not shown; status {self.process.poll()}:\n{self.shown}")
            if select.select([self.master], [], [], min(left, 0.2))[0]:
                self.shown += os.read(self.master, 4096).decode(errors="replace").replace("\r\n", "\n")
        before, self.read_to = self.read_to, found + len(text)
        for secret in self.secrets:
            assert secret not in self.shown, self.shown
        return self.shown[before:self.read_to]

    def answer(self, line):
        os.write(self.master, line.encode() + b"\n")

    def press(self, key):
        """"\\x03" is Ctrl-C, "\\x04" Ctrl-D."""
        os.write(self.master, key.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    def answer_unseen(self, line, limit=60):
        """Once the terminal shows nothing of what is typed: some programs ask first and hide then."""
        deadline = time.monotonic() + limit
        while self.echoes():
            assert time.monotonic() < deadline, f"the terminal shows what is typed:\n{self.shown}"
            time.sleep(0.01)
        self.answer(line)

    def end(self, limit=60):
        """Waits for its end; the status. The terminal's modes have to be what they were."""
        deadline = time.monotonic() + limit
        while self.process.poll() is None or select.select([self.master], [], [], 0)[0]:
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 4096).decode(errors="replace").replace("\r\n", "\n")
            assert time.monotonic() < deadline, f"it does not end:\n{self.shown}"
        assert termios.tcgetattr(self.terminal) == self.modes, "the terminal is not as it was"
        for secret in self.secrets:
            assert secret not in self.shown, self.shown
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.terminal)
        os.close(self.master)


@contextlib.contextmanager
def person(*arguments, **options):
    made = Person(*arguments, **options)
    try:
        yield made
    finally:
        made.close()
