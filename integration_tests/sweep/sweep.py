#!/usr/bin/python3
"""Ends the program at every step of a run, and looks whether the run after it keeps every promise.

  sweep.py --binary PATH [--gateway DIR] --all           every point of every scenario, plain and sealed
           ... --sample N [--seed S]                     N points, spread over all scenarios
           ... --scenario NAME --point 'POINT' [--nth N] that point alone; failures are printed in this form
           ... --planted [DEFECT]                        with a defect, which has to be found
  --scenario and --sealed yes|no choose; --fails lets the step fail instead of ending the program; --twice ends the run
  after it, too, somewhere. --jobs N at a time (2). Points are counted in a run that is not disturbed.
"""
import argparse
import collections
import contextlib
import json
import multiprocessing
import pathlib
import random
import re
import shlex
import signal
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cases"), str(HERE.parent)]
import promises  # noqa: E402
import scenarios  # noqa: E402
from world import world  # noqa: E402

from harness import btrfs, rgw, tool  # noqa: E402

# What each defect breaks, in the scenario where that is seen.
DEFECTS = {"forgets_journal": "full", "keeps_journals": "full", "keeps_snapshots": "incremental", "forgets_state": "incremental"}
Point = collections.namedtuple("Point", "scenario sealed name nth")
Verdict = collections.namedtuple("Verdict", "point status broken seconds")


class Place:
    """A world in which points of one scenario are tried one after the other."""

    def __init__(self, w, scenario, sealed, options):
        self.w, self.options, self.points = w, options, []
        self.log = w.directory / "points"
        library = scenarios.compiled(w.directory, HERE.parent / "harness" / "kill_at.c")
        self.scenario = scenarios.SCENARIOS[scenario](w, sealed, library)

    def environment(self, point, nth):
        self.log.unlink(missing_ok=True)
        return {"KILL_POINT": point, "KILL_NTH": str(nth), "KILL_LOG": str(self.log),
                **({"POINT_FAILS": "1"} if self.options.fails else {}),
                **({"PLANTED": self.options.planted} if self.options.planted else {})}

    def names(self):
        """[(name, how often before)] of what the last run went through, in order."""
        seen, found = collections.Counter(), []
        for line in self.log.read_text(errors="replace").splitlines():
            name = line.split(" ", 1)[1]
            seen[name] += 1
            found.append((name, seen[name]))
        return found

    def undisturbed(self):
        """The points; what such a run leaves is what any may leave."""
        self.scenario.fresh()
        outcome = self.scenario.interrupted({**self.environment("none", 1), "PLANTED": ""})
        assert outcome.status == 0, outcome
        found = self.names()
        self.scenario.files = promises.beside_the_state(self.w)
        broken = self.scenario.broken()
        assert not broken, broken
        return found

    def tried(self, point):
        begin = time.monotonic()
        self.scenario.fresh()
        interrupted = self.scenario.interrupted(self.environment(point.name, point.nth))
        planted = {"LD_PRELOAD": str(self.scenario.library), "PLANTED": self.options.planted} if self.options.planted else {}
        if self.options.twice:
            self.killed_again(point)
        again = self.scenario.again(planted)
        broken = []
        if interrupted.status not in ((0, -signal.SIGKILL) if not self.options.fails else (0, 1, 4, 6)):
            broken.append(f"the run ended with {interrupted}")
        if again.status != 0:
            broken.append(f"the run after it ended with {again}")
        broken += self.scenario.broken()
        if broken:
            broken.append(f"-- the run said\n{interrupted.stderr}-- the run after it said\n{again.stderr}")
        return Verdict(point, interrupted.status, broken, time.monotonic() - begin)

    def killed_again(self, point):
        """Somewhere in the run after it, by the point's own dice."""
        dice = random.Random(f"{self.options.seed} {point}")
        name, nth = dice.choice(self.points)
        self.scenario.again({"LD_PRELOAD": str(self.scenario.library), **self.environment(name, nth)})


def sampled(points, options, scenario, sealed):
    """As many of them as each scenario has its share of, in order."""
    kinds = len(kinds_of(options))
    dice = random.Random(f"{options.seed} {scenario} {sealed}")
    return sorted(dice.sample(points, min(-(-options.sample // kinds), len(points))), key=points.index)


def kinds_of(options):
    return [(name, sealed) for name in options.scenario or scenarios.SCENARIOS
            for sealed in {"yes": [True], "no": [False], None: [False, True]}[options.sealed]]


def work(options, gateway, tasks, results):
    """A process: takes (scenario, sealed, points) and puts what is there, and verdicts. One world for each. Without points
    it counts them, and with --sample tries some."""
    while (task := tasks.get()) is not None:
        scenario, sealed, points = task
        try:
            with world(options.binary, gateway, "2G") as w:
                place = Place(w, scenario, sealed, options)
                place.points = place.undisturbed()
                if points is None:
                    results.put(("points", scenario, sealed, place.points))
                    points = []
                    if options.sample and not options.all:
                        points = [Point(scenario, sealed, *one)
                                  for one in sampled(place.points, options, scenario, sealed)]
                for point in points:
                    results.put(("verdict", place.tried(point)))
        except BaseException as problem:  # told, and counted as what it is: no verdict
            results.put(("lost", scenario, sealed, f"{type(problem).__name__}: {problem}\n{traceback.format_exc()}"))
            if not isinstance(problem, Exception):
                raise
    results.put(("end",))


def repeat(options, point):
    words = ["integration_tests/sweep/sweep.py", "--binary", options.binary,
             *(["--gateway", options.gateway] if options.gateway else []),
             "--scenario", point.scenario, "--sealed", "yes" if point.sealed else "no", "--point", point.name,
             "--nth", str(point.nth), *(["--fails"] if options.fails else []),
             *(["--twice", "--seed", str(options.seed)] if options.twice else []),
             *(["--planted", options.planted] if options.planted else [])]
    return shlex.join(map(str, words))


class Sweep:
    """`work` is what a process does with its tasks, `repeat` the command of a point."""

    def __init__(self, options, gateway, work=work, repeat=repeat):
        self.options, self.gateway, self.work, self.repeat = options, gateway, work, repeat
        self.verdicts, self.lost = [], []
        self.record = open(options.record, "w", encoding="utf-8") if options.record else None  # for as long as it runs

    def through(self, jobs):
        """Does the jobs with as many processes as were asked for; returns what they counted."""
        tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
        count = min(self.options.jobs, len(jobs))
        for job in jobs:
            tasks.put(job)
        for _ in range(count):
            tasks.put(None)
        workers = [multiprocessing.Process(target=self.work, args=(self.options, self.gateway, tasks, results), daemon=True)
                   for _ in range(count)]
        for worker in workers:
            worker.start()
        counted = {}
        ended = 0
        try:
            while ended < count:
                what, *rest = results.get(timeout=900)
                if what == "end":
                    ended += 1
                elif what == "points":
                    counted[tuple(rest[:2])] = rest[2]
                elif what == "lost":
                    self.lost.append(rest)
                    print(f"NO VERDICT for {rest[0]}, {'sealed' if rest[1] else 'plain'}: {rest[2]}", flush=True)
                else:
                    self.told(rest[0])
                    if self.options.planted and rest[0].broken:
                        break  # found
        finally:
            for worker in workers:
                if worker.is_alive() and ended < count:
                    worker.terminate()
                worker.join()
        return counted

    def told(self, verdict):
        self.verdicts.append(verdict)
        if self.record:
            print(json.dumps({**verdict.point._asdict(), "status": verdict.status, "broken": verdict.broken[:-1]}),
                  file=self.record, flush=True)
        if verdict.broken:
            print(f"BROKEN at {verdict.point.name} ({verdict.point.nth}), {verdict.point.scenario}, "
                  f"{'sealed' if verdict.point.sealed else 'plain'}:", flush=True)
            for sentence in verdict.broken if not self.options.planted else verdict.broken[:-1]:
                print("  " + sentence.replace("\n", "\n    "), flush=True)
            print(f"  repeat: {self.repeat(self.options, verdict.point)}", flush=True)
        elif len(self.verdicts) % 100 == 0:
            print(f"{len(self.verdicts)} points tried", flush=True)

    def summary(self, seconds):
        kinds = sorted({(one.point.scenario, one.point.sealed) for one in self.verdicts})
        for scenario, sealed in kinds:
            those = [one for one in self.verdicts if one.point[:2] == (scenario, sealed)]
            ended = sum(one.status == -signal.SIGKILL for one in those)
            print(f"{scenario}, {'sealed' if sealed else 'plain'}: {len(those)} points, "
                  f"{ended} ended there, {sum(bool(one.broken) for one in those)} broken")
        print(f"all: {len(self.verdicts)} points, {sum(bool(one.broken) for one in self.verdicts)} broken, "
              f"{len(self.lost)} without a verdict, {seconds:.0f} s")


def in_jobs(points, options):
    """Points of one scenario in so many pieces that every process has something to do."""
    groups = collections.defaultdict(list)
    for point in points:
        groups[point[:2]].append(point)
    jobs = []
    for (scenario, sealed), those in groups.items():
        size = max(1, -(-len(those) // (options.jobs if len(groups) < options.jobs or len(those) > 30 else 1)))
        jobs += [(scenario, sealed, those[at:at + size]) for at in range(0, len(those), size)]
    return jobs


def swept(options, gateway):
    begin = time.monotonic()
    this = Sweep(options, gateway)
    kinds = kinds_of(options)
    if options.point:
        this.through([(*kinds[0], [Point(*kinds[0], options.point, options.nth)])])
    else:
        counted = this.through([(*kind, None) for kind in kinds])
        print(f"counted: {sum(map(len, counted.values()))} points" + "".join(
            f"; {scenario}, {'sealed' if sealed else 'plain'}: {len(counted[scenario, sealed])}"
            for scenario, sealed in sorted(counted)) + ("" if options.all else f"; seed {options.seed}"), flush=True)
        points = [Point(*kind, *one) for kind in sorted(counted) for one in counted[kind]]
        if options.planted:
            random.Random(options.seed).shuffle(points)  # the first one that shows it is enough
        if options.all and not this.lost:
            this.through(in_jobs(points, options))
    this.summary(time.monotonic() - begin)
    return this


def planted(options, gateway):
    """Whether each defect is found."""
    names = list(DEFECTS) if options.planted == "all" else [options.planted]
    missed = []
    for name in names:
        options.planted, options.scenario, options.sealed = name, [DEFECTS[name]], "no"
        options.all = True
        found = any(one.broken for one in swept(options, gateway).verdicts)
        print(f"planted {name}: {'found' if found else 'NOT FOUND'}\n", flush=True)
        missed += [] if found else [name]
    return 1 if missed else 0


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--gateway")
    parser.add_argument("--scenario", action="append", choices=sorted(scenarios.SCENARIOS))
    parser.add_argument("--sealed", choices=["yes", "no"])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--point")
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--planted", nargs="?", const="all", choices=["all", *DEFECTS])
    parser.add_argument("--fails", action="store_true")
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--record", help="a file for the verdicts, JSON lines")
    options = parser.parse_args()
    if sum(map(bool, (options.all, options.sample, options.point, options.planted))) < 1:
        parser.error("--all, --sample, --point or --planted")
    if options.point and not (options.scenario and options.sealed):
        parser.error("--point belongs to a --scenario and --sealed")
    return options


@contextlib.contextmanager
def gateway_of(options):
    """The one that runs, or one of its own."""
    if options.gateway:
        yield options.gateway
        return
    import tempfile
    with tempfile.TemporaryDirectory(prefix="btrfs_to_s3-sweep-") as directory:
        own = rgw.Gateway(pathlib.Path(directory) / "gateway")
        try:
            own.directory.mkdir()
            own.start()
            yield str(own.directory)
        finally:
            own.stop()


def main():
    options = parsed()
    reason = btrfs.why_not() or (", ".join(rgw.missing_programs()) if not options.gateway else "")
    if reason:
        print(f"skipped: {reason}")
        return 77
    tool.exit_on_signals()
    with gateway_of(options) as gateway:
        if options.planted and not options.point:
            return planted(options, gateway)
        this = swept(options, gateway)
        return 1 if this.lost or any(one.broken for one in this.verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
