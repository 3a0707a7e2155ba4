"""What one run of a program costs: time, CPU, memory, context switches, system calls."""
import dataclasses
import fcntl
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

PIPE_BYTES = 1 << 20  # F_SETPIPE_SZ's limit for everyone; every contestant is fed through such a pipe
F_SETPIPE_SZ = 1031
SAMPLE_SECONDS = 0.02
TICKS = os.sysconf("SC_CLK_TCK")
# What a contestant sees of this machine's environment: nothing that a user's settings could change.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}


@dataclasses.dataclass
class Usage:
    """One run. "own": the process alone with its threads, "all": with the children that it waited for and
    with what feeds or drains its pipe."""
    seconds: float
    cpu_own: float
    cpu_all: float
    peak_rss: int  # bytes; of the process alone where it has children, sampled
    switches_own: int  # sampled: threads that lived for less than a sample are missing
    switches_all: int
    status: int
    stdout: str
    stderr: str

    def figures(self):
        return {name: getattr(self, name) for name in
                ("seconds", "cpu_own", "cpu_all", "peak_rss", "switches_own", "switches_all")}


class Failed(RuntimeError):
    pass


class Sampler:
    """High-water mark and context switches of a running process."""

    def __init__(self, pid):
        self.proc = pathlib.Path(f"/proc/{pid}")
        self.peak_rss, self.switches = 0, {}

    def sample(self):
        try:
            for line in (self.proc / "status").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("VmHWM:"):
                    self.peak_rss = max(self.peak_rss, int(line.split()[1]) * 1024)
            for thread in os.listdir(self.proc / "task"):
                text = (self.proc / "task" / thread / "status").read_text(encoding="utf-8", errors="replace")
                self.switches[thread] = sum(int(line.split()[1]) for line in text.splitlines()
                                            if "ctxt_switches:" in line)
        except OSError:
            pass  # a thread or the process has just ended


def _own_cpu_seconds(pid):
    """Of a process that has ended and has not been waited for."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = text.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pipe():
    read_end, write_end = os.pipe()
    fcntl.fcntl(read_end, F_SETPIPE_SZ, PIPE_BYTES)
    return read_end, write_end


def _finish(helper):
    """Its rusage; it ends by itself as soon as its pipe has closed."""
    _, status, used = os.wait4(helper.pid, 0)
    helper.returncode = os.waitstatus_to_exitcode(status)
    if helper.returncode != 0:
        raise Failed(f"{helper.args[0]} ended with {helper.returncode}")
    return used


def run(command, feeder=None, drain=None, environment=None, limit=3600, expect=0, directory=None, watch=None,
        discard=False):
    """Runs `command`, its standard input fed by `feeder` or its output taken by `drain` (commands too, counted as
    children).
    `watch` is called at each sample, and ends the process by SIGKILL when it returns True. With `discard` its output
    goes to /dev/null; otherwise all of it is kept, in a file and then in memory. Raises Failed when a status is not
    as expected."""
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    environment = {**ENVIRONMENT, **(environment or {})}
    helper, inner = None, None
    stdin, stdout = subprocess.DEVNULL, subprocess.DEVNULL if discard else out
    begin = time.monotonic()
    if feeder:
        stdin, other = inner = pipe()
        helper = subprocess.Popen(feeder, stdin=subprocess.DEVNULL, stdout=other, env=ENVIRONMENT)
    elif drain:
        other, stdout = inner = pipe()
        helper = subprocess.Popen(drain, stdin=other, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    process = None
    try:
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=err, env=environment, cwd=directory,
                                   start_new_session=True)
        for end in inner or ():
            os.close(end)
        inner = None
        usage = _watch(process, begin, limit, watch)
        if helper and usage.status == expect:
            used = _finish(helper)
            usage.cpu_all += used.ru_utime + used.ru_stime
            usage.switches_all += used.ru_nvcsw + used.ru_nivcsw
    finally:
        for end in inner or ():
            os.close(end)
        if process and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if helper and helper.poll() is None:
            helper.kill()
            helper.wait()
    for file, name in ((out, "stdout"), (err, "stderr")):
        file.seek(0)
        setattr(usage, name, file.read().decode(errors="replace"))
        file.close()
    if usage.status != expect:
        raise Failed(f"{' '.join(map(str, command))}\nended with {usage.status}, expected {expect}:\n"
                     f"{usage.stdout[-2000:]}{usage.stderr[-4000:]}")
    return usage


def _watch(process, begin, limit, watch):
    sampler = Sampler(process.pid)
    watched = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        while True:
            sampler.sample()
            if poll.poll(SAMPLE_SECONDS * 1000):
                break
            if time.monotonic() - begin > limit or (watch and watch()):
                process.kill()
        seconds = time.monotonic() - begin
        own = _own_cpu_seconds(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        os.close(watched)
    return Usage(seconds=seconds, cpu_own=own, cpu_all=used.ru_utime + used.ru_stime, peak_rss=sampler.peak_rss,
                 switches_own=sum(sampler.switches.values()), switches_all=used.ru_nvcsw + used.ru_nivcsw,
                 status=process.returncode, stdout="", stderr="")


def syscall_counter():
    """(prefix, parse): a prefix for commands that counts their system calls, and what reads the count from the file
    named by the prefix's last place; or (None, reason)."""
    tracefs = [p for p in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
               if os.path.exists(p + "/events/raw_syscalls")]
    if shutil.which("perf") and tracefs:
        return "perf", None
    if shutil.which("strace"):
        return "strace", None
    return None, "neither perf with tracefs nor strace is here"


def count_syscalls(command, name, **options):
    """System calls of one run, of threads called `name` only (perf), or without what it executes (strace)."""
    tool, reason = syscall_counter()
    if not tool:
        raise Failed(reason)
    with tempfile.NamedTemporaryFile(mode="r", suffix=".txt") as report:
        if tool == "perf":
            prefix = ["perf", "stat", "-x,", "-o", report.name, "-e", "raw_syscalls:sys_enter", "--filter",
                      f'comm == "{name[:15]}"']
        else:
            prefix = ["strace", "-f", "-c", "-b", "execve", "-o", report.name]
        run([*prefix, *map(str, command)], **options)
        text = pathlib.Path(report.name).read_text(encoding="utf-8")
    if tool == "perf":
        return sum(int(line.split(",")[0]) for line in text.splitlines() if "raw_syscalls" in line)
    return sum(int(line.split()[3]) for line in text.splitlines() if line.rstrip().endswith(" total"))
