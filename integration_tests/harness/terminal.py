"""Terminals for the program under test."""
import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import tempfile
import termios


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
