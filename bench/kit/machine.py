"""Where a measurement was made."""
import contextlib
import datetime
import mmap
import os
import pathlib
import platform
import re
import subprocess

from .measure import ENVIRONMENT


def _first_line(*command, cwd=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
                              env={**ENVIRONMENT, "HOME": "/"}, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def version_of(program, *arguments):
    """None when it is not installed."""
    return _first_line(program, *(arguments or ("--version",)))


MARGIN = 4 << 30  # for the rest of the system
PAGE = 4096
PIECE = 256 << 20


def available_memory():
    text = pathlib.Path("/proc/meminfo").read_text(encoding="ascii")
    return int(re.search(r"MemAvailable:\s*(\d+)", text).group(1)) << 10


def back_memory(most=None):
    """Touches the memory that is free, `most` bytes of it, and gives it back; returns how many bytes.

    In a virtual machine whose host backs memory lazily, the first touch of a page costs many times what it costs
    ever after (0.86 s/GiB against 0.06 where this was written), and would be charged to whoever happens to be first.
    Others may take memory meanwhile: what is left for them is looked at again before each piece.
    """
    touched = 0
    with contextlib.ExitStack() as held:
        while (most is None or touched < most) and available_memory() > MARGIN + PIECE:
            area = held.enter_context(mmap.mmap(-1, PIECE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            if hasattr(mmap, "MADV_HUGEPAGE"):
                area.madvise(mmap.MADV_HUGEPAGE)
            area[::PAGE] = bytes(PIECE // PAGE)
            touched += PIECE
    return touched


def describe(root, binary):
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(encoding="ascii"))
    release = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text(encoding="utf-8"))
    safe = ["git", "-c", f"safe.directory={root}", "-C", str(root)]
    # Results and the tables made from them change nothing that is measured.
    dirty = subprocess.run([*safe, "status", "--porcelain", "--", ".", ":!bench/results", ":!*.md"],
                           capture_output=True, text=True, check=False)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu.group(1) if cpu else platform.machine(), "cores": os.cpu_count(),
        "memory_gib": round(int(memory.group(1)) / (1 << 20), 1), "kernel": platform.release(),
        "system": release.group(1) if release else None, "load_average": os.getloadavg(),
        "commit": _first_line(*safe, "rev-parse", "HEAD"), "uncommitted_changes": bool(dirty.stdout.strip()),
        "versions": {"btrfs_to_s3": version_of(str(binary)), "nginx": version_of("nginx", "-v"),
                     "openssl": version_of("openssl", "version"), "curl": version_of("curl"),
                     "btrfs-progs": version_of("btrfs")},
    }
