#!/usr/bin/python3
"""Measures scenarios and writes their figures; started by run.sh, which builds the programs."""
import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import plot  # noqa: E402
from kit import machine, measure, report  # noqa: E402
from scenarios import SCENARIOS, Skipped  # noqa: E402

SKIP = 77  # as CTest is told
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def byte_count(text):
    found = re.fullmatch(r"(\d+)\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if not found or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 2GiB, 512MiB, 1048576")
    return int(found[1]) * UNITS[found[2]]


class Context:
    """What a scenario is told, and what it leaves on the disk while it runs."""

    def __init__(self, arguments, function):
        self.smoke = arguments.smoke
        self.size = arguments.size or (function.smoke_size if self.smoke else function.size)
        self.runs = arguments.runs or (1 if self.smoke else function.runs)
        self.warm_up = not self.smoke
        self.part_size = (5 << 20) if self.smoke else (128 << 20)
        self.with_peers = not (self.smoke or arguments.no_peers)
        self.with_syscalls = not self.smoke
        self.memory_directory, self.disk_directory = arguments.memory_directory, arguments.disk_directory
        self.programs = arguments.programs
        self.output = arguments.output
        self.peers_home = None

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)

    def program(self, name):
        path = self.programs / name
        if not path.exists():
            raise measure.Failed(f"{path} is not built (bench/run.sh builds it, -DBTS3_BENCH=ON)")
        return path

    @contextlib.contextmanager
    def scratch(self, base):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="btrfs_to_s3-bench-", dir=base))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def digest(self, stream):
        """SHA-256 of a prepared stream, by an implementation that is neither the program's nor the floor's caller."""
        hash_of = hashlib.sha256()
        for piece in stream.pieces:
            with open(piece, "rb") as file:
                while block := file.read(1 << 20):
                    hash_of.update(block)
        return hash_of.hexdigest()


def parse(argv):
    # Containers often have a tiny one.
    roomy = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free >= 1 << 30
    memory = "/dev/shm" if roomy else tempfile.gettempdir()
    parser = argparse.ArgumentParser(prog="bench/run.sh", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Measures; writes bench/results/SCENARIO.json.",
                                     epilog="scenarios:\n" + "\n".join(
                                         f"  {name:24}{function.__doc__.splitlines()[0]}"
                                         for name, function in SCENARIOS.items()))
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--size", type=byte_count, help="bytes of the stream (default: each scenario's own)")
    parser.add_argument("--runs", type=int, help="rounds of runs (9; memory, resume and stages 3)")
    parser.add_argument("--output", type=pathlib.Path,
                        help="results: a file, or a directory for several scenarios (bench/results)")
    parser.add_argument("--programs", type=pathlib.Path, help="a build directory; nothing is built then")
    parser.add_argument("--memory-directory", type=pathlib.Path, default=pathlib.Path(memory),
                        help="a tmpfs for prepared streams (%(default)s)")
    parser.add_argument("--disk-directory", type=pathlib.Path, default=pathlib.Path("/var/tmp"),
                        help="a disk for filesystems and spools (%(default)s)")
    parser.add_argument("--no-peers", action="store_true", help="leave rclone and the others out")
    parser.add_argument("--smoke", action="store_true", help="tiny, one run: does it work?")
    parser.add_argument("--list", action="store_true", help="print the scenarios' names")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    if not arguments.list and not arguments.programs:
        parser.error("--programs is missing; bench/run.sh gives it")
    if arguments.runs is not None and arguments.runs < 1:
        parser.error("--runs: at least 1")
    return arguments


def measure_one(name, arguments, environment):
    """The results; None when the scenario was skipped."""
    context = Context(arguments, SCENARIOS[name])
    context.say(f"== {name}: {SCENARIOS[name].__doc__.splitlines()[0]}")
    begin = time.monotonic()
    if not context.smoke:
        context.say(f"  {machine.back_memory() >> 30} GiB of free memory touched, so that nobody pays for its first use")
    try:
        with context.scratch(context.memory_directory) as context.peers_home:
            found = SCENARIOS[name](context)
    except Skipped as skipped:
        context.say(f"  skipped: {skipped}")
        return None
    return {"scenario": name, "description": SCENARIOS[name].__doc__.splitlines()[0], "environment": environment,
            "parameters": {"size": context.size, "runs": context.runs, "part_size": context.part_size,
                           "smoke": context.smoke, "took_seconds": round(time.monotonic() - begin, 1)},
            **found}


def output_of(arguments, name):
    target = arguments.output or HERE / "results"
    if arguments.output and target.suffix == ".json":
        if len(arguments.scenarios) != 1:
            raise SystemExit("bench: --output FILE.json takes one scenario; name a directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
    target.mkdir(parents=True, exist_ok=True)
    return target / f"{name}.json"


def main(argv):
    arguments = parse(argv)
    if arguments.list:
        print("\n".join(SCENARIOS))
        return 0

    def leave(number, _frame):
        raise SystemExit(128 + number)  # unwinds: mounts, sinks and directories are removed
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    os.umask(0o022)
    arguments.programs = arguments.programs.resolve()
    names = arguments.scenarios or list(SCENARIOS)
    failed, measured = [], 0
    environment = machine.describe(HERE.parent, arguments.programs / "app/btrfs_to_s3")
    for name in names:
        output = output_of(arguments, name)
        try:
            found = measure_one(name, arguments, environment)
        except (measure.Failed, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as problem:
            # The others are measured all the same; the exit status tells.
            print(f"  failed: {problem}{getattr(problem, 'stderr', None) or ''}", file=sys.stderr)
            failed.append(name)
            continue
        if found:
            measured += 1
            output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(report.text_of(found))
            print(f"  written: {output}")
    if measured and not arguments.smoke and not (arguments.output and arguments.output.suffix == ".json"):
        directory = arguments.output or HERE / "results"
        if any((directory / f"{name}.json").exists() for name in plot.SCENARIOS):
            plot.draw(directory, directory / "ratios.svg")
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    return 0 if measured else SKIP


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
