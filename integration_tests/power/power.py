#!/usr/bin/python3
"""Lets the power go at every flush of a run, and looks whether the run after it keeps every promise.

  power.py --binary PATH [--gateway DIR] --all          every flush of every kind of run
           ... --sample N [--seed S]                    N flushes, of some of the kinds
           ... --kind RUN/DISK --point flush|end --nth N  that one alone; failures are printed in this form
           ... --planted                                with syncs that do nothing, which has to be found
  --kind and --sealed yes|no choose (default: no); --list names the kinds. --jobs N at a time (2). Flushes are counted in a run
  that is not disturbed; "end" is after its end, with exit status 0. --seed is that of what is lost, too.
"""
import argparse
import collections
import os
import pathlib
import random
import shlex
import signal
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "sweep"), str(HERE.parent / "cases"), str(HERE.parent)]
import promises  # noqa: E402
import runs  # noqa: E402
import scenarios  # noqa: E402
import sweep  # noqa: E402
from sweep import Point  # noqa: E402

from harness import btrfs, rgw, tool  # noqa: E402

ENDS = 4  # of each kind
# Where syncs that do nothing have to be seen.
PLANTED = ("full/state", "restore/source", "extract/all", "key/all")
Verdict = collections.namedtuple("Verdict", "point status broken seconds loss")


def of_session(leader):
    """Processes of it that are alive."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX" and int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


def kill_session(leader):
    """All of it, as the power does: nobody gets to do anything more."""
    killed = set()
    while new := set(of_session(leader)) - killed:
        for pid in new:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        killed |= new


def until(what, seconds):
    """Whether it becomes true."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Place:
    """A world in which the power goes again and again during runs of one kind."""

    def __init__(self, w, power, kind, sealed, options, library):
        self.w, self.power, self.options, self.library = w, power, options, library
        self.run = runs.RUNS[kind.partition("/")[0]](w, sealed, library)

    def planted(self):
        return {"LD_PRELOAD": str(self.library), "PLANTED": self.options.planted} if self.options.planted else {}

    def until_the_power_goes(self, cut_at, seed):
        """Runs the command; returns its outcome, with status -9 where the power went meanwhile."""
        self.power.arm(cut_at, seed)
        running = self.w.tool.start(*self.run.command(self.run.run), environment=self.planted())
        process = running[0]
        deadline = time.monotonic() + 120
        # waitid leaves the process to finish().
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if self.power.has_gone(0.005):
                kill_session(process.pid)
                self.power.killed()
            elif time.monotonic() > deadline:
                kill_session(process.pid)
        outcome = self.w.tool.finish(running)
        assert until(lambda: not of_session(process.pid), 20), of_session(process.pid)
        return outcome

    def undisturbed(self):
        """How many flushes there are; what such a run leaves is what any may leave."""
        self.run.fresh()
        self.power.arm(None, 0)
        outcome = self.w.tool.run(*self.run.command(self.run.run))
        told = self.power.settle()
        assert outcome.status == 0 and not told["cut"], outcome
        self.run.files = promises.beside_the_state(self.w)
        again = self.run.again({})
        assert again.status == 0, again
        broken = self.run.done(outcome) + self.run.broken()
        assert not broken, broken
        return told["flushes"]

    def tried(self, point):
        begin = time.monotonic()
        self.run.fresh()
        seed = f"{self.options.seed} {point.scenario} {point.sealed} {point.name} {point.nth}"
        outcome = self.until_the_power_goes(point.nth if point.name == "flush" else None, seed)
        loss = self.after_the_run(point)
        assert until(self.rebooted, 20), "the disk is still in use"
        broken = []
        if outcome.status not in (0, -signal.SIGKILL):
            broken.append(f"the run ended with {outcome}")
        if outcome.status == 0:
            broken += [f"called done, and lost: {one}" for one in self.run.done(outcome)]
        again = self.run.again({})
        if again.status != 0:
            broken.append(f"the run after it ended with {again}")
        broken += self.run.broken()
        if broken:
            broken.append(f"-- of what was not flushed: {loss}\n-- the run said\n{outcome.stderr}"
                          f"-- the run after it said\n{again.stderr}")
        return Verdict(point, outcome.status, broken, time.monotonic() - begin, loss)

    def after_the_run(self, point):
        """The power goes now, if it has not: at once, or while the kernel writes back by itself."""
        if point.name == "end" and point.nth > 1:
            return self.power.cut_while_syncing(point.nth - 1)
        return self.power.cut()

    def rebooted(self):
        try:
            self.power.reboot()
        except subprocess.CalledProcessError as failure:
            if "busy" not in failure.stderr:
                raise AssertionError(failure.stderr) from failure
            return False
        return True


def points_of(kind, sealed, flushes):
    return [Point(kind, sealed, "flush", nth + 1) for nth in range(flushes)] + [
        Point(kind, sealed, "end", nth + 1) for nth in range(ENDS)]


def work(options, gateway, tasks, results):
    """A process: takes (kind, sealed, points) and puts what is there, and verdicts. One world for each. Without points it
    counts them, and with --sample tries some."""
    while (task := tasks.get()) is not None:
        kind, sealed, points = task
        try:
            with runs.power_world(options.binary, gateway, kind.partition("/")[2]) as (w, power):
                library = scenarios.compiled(power.path.parent, HERE.parent / "harness" / "kill_at.c")
                place = Place(w, power, kind, sealed, options, library)
                flushes = place.undisturbed()
                if points is None:
                    there = points_of(kind, sealed, flushes)
                    results.put(("points", kind, sealed, there))
                    dice = random.Random(f"{options.seed} {kind} {sealed}")
                    points = dice.sample(there, min(options.each, len(there))) if options.each else []
                for point in points:
                    results.put(("verdict", place.tried(point)))
        except BaseException as problem:  # told, and counted as what it is: no verdict
            said = getattr(problem, "stderr", None) or ""
            results.put(("lost", kind, sealed, f"{type(problem).__name__}: {problem}\n{said}{traceback.format_exc()}"))
            if not isinstance(problem, Exception):
                raise
    results.put(("end",))


def repeat(options, point):
    return shlex.join(map(str, (
        "integration_tests/power/power.py", "--binary", options.binary,
        *(["--gateway", options.gateway] if options.gateway else []), "--kind", point.scenario,
        "--sealed", "yes" if point.sealed else "no", "--point", point.name, "--nth", point.nth, "--seed", options.seed,
        *(["--planted"] if options.planted else []))))


def kinds_of(options):
    """[(kind, sealed)]; of a sample, some."""
    kinds = [(kind, sealed) for kind in options.kind or runs.KINDS
             for sealed in {"yes": [True], "no": [False], "both": [False, True]}[options.sealed]]
    if options.sample and not options.kind:
        count = max(1, options.sample // 4)
        kinds = random.Random(options.seed).sample(kinds, min(count, len(kinds)))
    return kinds


def swept(options, gateway):
    begin = time.monotonic()
    this = sweep.Sweep(options, gateway, work, repeat)
    kinds = kinds_of(options)
    options.each = -(-options.sample // len(kinds)) if options.sample else 0
    if options.point:
        this.through([(*kinds[0], [Point(*kinds[0], options.point, options.nth)])])
    else:
        counted = this.through([(*kind, None) for kind in kinds])
        points = [point for kind in kinds for point in counted.get(kind, [])]
        flushes = sum(point.name == "flush" for point in points)
        print(f"counted: {flushes} flushes in {len(counted)} kinds of runs; seed {options.seed}", flush=True)
        if options.planted:
            random.Random(options.seed).shuffle(points)  # the first one that shows it is enough
        if options.all and not this.lost:
            this.through(sweep.in_jobs(points, options))
    lost = [one.loss for one in this.verdicts]
    print(f"of {sum(one['unflushed'] for one in lost)} writes that were not flushed, of "
          f"{sum(one['unflushed_bytes'] for one in lost)} bytes, {sum(one['arrived_bytes'] for one in lost)} bytes arrived")
    this.summary(time.monotonic() - begin)
    return this


def planted(options, gateway):
    """Whether syncs that do nothing are found, wherever something has to be on the disk."""
    missed = []
    for kind in options.kind or PLANTED:
        options.planted, options.kind, options.all = "forgets_syncs", [kind], True
        found = any(one.broken for one in swept(options, gateway).verdicts)
        print(f"planted syncs that do nothing, {kind}: {'found' if found else 'NOT FOUND'}\n", flush=True)
        missed += [] if found else [kind]
    return 1 if missed else 0


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary")
    parser.add_argument("--gateway")
    parser.add_argument("--kind", action="append", choices=runs.KINDS, metavar="RUN/DISK")
    parser.add_argument("--sealed", choices=["yes", "no", "both"], default="no")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--point", choices=["flush", "end"])
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--record", help="a file for the verdicts, JSON lines")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if not options.list and not (options.binary and (options.all or options.sample or options.point or options.planted)):
        parser.error("--binary, and --all, --sample, --point or --planted")
    if options.point and (len(options.kind or []) != 1 or options.sealed == "both"):
        parser.error("--point belongs to one --kind")
    return options


def main():
    options = parsed()
    if options.list:
        print("\n".join(runs.KINDS))
        return 0
    reason = btrfs.why_not() or (", ".join(rgw.missing_programs()) if not options.gateway else "") or (
        "" if os.path.exists("/dev/fuse") else "no /dev/fuse")
    if reason:
        print(f"skipped: {reason}")
        return 77
    tool.exit_on_signals()
    with sweep.gateway_of(options) as gateway:
        if options.planted and not options.point:
            return planted(options, gateway)
        options.planted = "forgets_syncs" if options.planted else ""
        this = swept(options, gateway)
        return 1 if this.lost or any(one.broken for one in this.verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
