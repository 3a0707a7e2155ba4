"""Puts fake_btrfs.py where the tool finds it, and speaks with it."""
import pathlib
import shlex
import shutil
import sys
import time

from . import env
from .assertions import HarnessError, require

FAKE = pathlib.Path(__file__).resolve().parent / "fake_btrfs.py"


class Shim:
    """`environment` is for the run of the tool that shall meet it."""

    def __init__(self, settings, mode, count=0):
        self.directory = settings.paths.scratch / "shim"
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        real = shutil.which("btrfs", path=env.SEARCH)
        require(real, "btrfs is not installed")
        words = [sys.executable, "-B", str(FAKE), real, mode, str(count), str(self.directory)]
        script = self.directory / "btrfs"
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        self.environment = {"PATH": f"{self.directory}:{env.SEARCH}"}

    def wait(self, process, limit_seconds=120):
        """Until the send is held; `process` is the tool's."""
        deadline = time.monotonic() + limit_seconds
        while not (self.directory / "reached").exists():
            if process.poll() is not None:
                raise HarnessError(f"the tool exited with status {process.returncode} before its stream was held: "
                                   "does it find btrfs by PATH?")
            require(time.monotonic() < deadline, f"no stream was held within {limit_seconds} s")
            time.sleep(0.05)

    def go(self):
        (self.directory / "go").touch()
