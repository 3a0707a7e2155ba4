#!/usr/bin/python3
"""A host's life at speed: see README.md.   soak.py --binary PATH [--gateway DIR] [--minutes N] [--rounds N] [--seed S]"""
import argparse
import collections
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "sweep"), str(HERE.parent / "cases"), str(HERE.parent)]
import promises  # noqa: E402
import sweep  # noqa: E402
from files import entries_differ  # noqa: E402
from recovery import behind_proxy  # noqa: E402
from scenarios import remove  # noqa: E402
from world import MIB, compare, dataset, world  # noqa: E402

from harness import btrfs, rgw, tool  # noqa: E402
from harness.proxy import Rule  # noqa: E402

STOPPED = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


class Life:
    def __init__(self, w, between, seed):
        self.w, self.between, self.dice = w, between, random.Random(seed)
        self.saved = {}  # what the source was, by the manifest's key
        self.unnamed = set()  # objects that a prune has left for a later one
        self.counts, self.peak = collections.Counter(), 0
        self.steps, self.rounds = 1, 0
        self.clock = w.directory / "clock_at.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", self.clock, HERE.parent / "harness" / "clock_at.c", "-ldl"],
                       check=True)
        self.offset = 0
        w.signed = False
        w.tool.tables["snapshots"]["retain"] = 2
        w.tool.tables["retention"] = {"keep_generations": 2}
        w.tool.tables["s3"].update(concurrency=2, retry_for="20s", spool_enabled=True)
        (w.directory / "spool").mkdir()
        w.tool.tables["global"].update(spool_dir=str(w.directory / "spool"), spool_size_bytes="64MiB")
        dataset.seed(w.data, large_mib=6, small_files=60)
        self.baseline = None

    def environment(self):
        return {"LD_PRELOAD": str(self.clock), "CLOCK_OFFSET": str(self.offset)}

    def run(self, *arguments, expect=0):
        """Undisturbed."""
        outcome = self.w.tool.run(*arguments, environment=self.environment(), limit=300)
        self.noted(outcome, arguments)
        return self.w.expect(expect, outcome) if expect is not None else outcome

    def noted(self, outcome, arguments):
        self.peak = max(self.peak, outcome.peak_rss_bytes)
        self.counts[f"{arguments[0]}: {outcome.status}"] += 1

    def disturbed(self, *arguments):
        """With something that goes wrong, or nothing; returns the outcome, of which all is allowed but a success that is none."""
        what = self.dice.choice(["nothing", "kill", "kill", "stop", "cut", "refuse", "delay", "corrupt", "two"])
        self.counts[what] += 1
        rule = {"cut": {"method": "PUT", "number": 2}, "refuse": {"method": self.dice.choice(["PUT", "POST", "GET"]), "number": 4},
                "delay": {"method": "GET", "number": 3, "seconds": 1}, "corrupt": {"method": "PUT", "path": "chunk-", "number": 2},
                }.get(what)
        self.between.rule = Rule(when=what, **rule) if rule else None
        try:
            running = self.w.tool.start(*arguments, environment=self.environment())
            second = self.w.tool.start(*arguments, environment=self.environment()) if what == "two" else None
            if what in ("kill", "stop"):
                time.sleep(self.dice.choice([0.02, 0.2, 0.5, 1, 2]) * self.dice.random())
                number = signal.SIGKILL if what == "kill" else self.dice.choice(list(STOPPED))
                os.kill(running[0].pid, number)  # it may have ended: nobody has asked how, so that its number is not another's
            outcomes = [self.w.tool.finish(one, 300) for one in (running, second) if one]
        finally:
            self.between.rule = None
        for outcome in outcomes:
            self.noted(outcome, arguments)
            allowed = {"nothing": (0,), "kill": (0, -9), "stop": (0, *STOPPED.values(), -1, -2, -15), "delay": (0,), "refuse": (0,), "two": (0, 2, 3),
                       "cut": (0,), "corrupt": (0, 1)}[what]
            assert outcome.status in allowed, (what, arguments, str(outcome))
        return outcomes[0]

    def changed(self):
        for _ in range(self.dice.randrange(1, 6)):
            name = self.w.data / f"changing{self.dice.randrange(12)}"
            what = self.dice.random()
            if what < 0.2 and name.exists():
                name.unlink()
            elif what < 0.4 and name.exists():
                name.rename(self.w.data / f"changing{self.dice.randrange(12)}")
            else:
                name.write_bytes(self.dice.randbytes(self.dice.choice([10, 5000, 300_000, 3 * MIB])))

    def backup(self):
        self.changed()
        self.disturbed("backup", "--once", *(["--full"] if self.dice.random() < 0.15 else []))
        # What the next night does; that it was interrupted once more is no harm either.
        if self.dice.random() < 0.3:
            self.disturbed("backup", "--once")
        outcome = self.run("backup", "--once")
        self.remembered()
        self.looked_at(0 if "clocks_differ" in outcome.stderr else 2)  # nothing is removed by a clock that may be wrong

    def remembered(self):
        key = self.w.pointer()["manifest_key"]
        if key not in self.saved:
            self.saved[key] = compare.describe(self.w.snapshots / self.w.bucket.get_json(key)["snapshot"]["name"])
        assert self.described_now() == {name: facts for name, facts in self.saved[key].items() if name}, "the newest is not what there is"

    def described_now(self):
        return {name: facts for name, facts in compare.describe(self.w.data).items() if name}

    def restore(self):
        key = self.dice.choice(sorted(self.saved))
        target = self.w.restored / "data"
        words = ("restore", "--subvolume", "data", "--target", str(target), "--manifest-key", key)
        self.disturbed(*words)
        self.run(*words)
        found = [one for one in compare.different(self.saved[key], compare.describe(target), key, str(target))
                 if not one.startswith("'.': ")]
        assert not found, (key, found[:3])
        remove(target)
        assert not list(self.w.restored.iterdir()), list(self.w.restored.iterdir())

    def extract(self):
        key = self.w.pointer()["manifest_key"]
        target = self.w.restored / "files"
        words = ("extract", "--subvolume", "data", "--manifest-key", key, "--target", str(target), "--setuid")
        self.disturbed(*words, ".")
        self.run(*words, "--overwrite", ".")
        found = entries_differ(self.w.snapshots / self.w.bucket.get_json(key)["snapshot"]["name"], target)
        assert not found, (key, found[:3])
        remove(target)

    def verify(self):
        self.disturbed("verify", *(["--deep"] if self.dice.random() < 0.3 else []))
        self.run("verify")

    def prune(self):
        self.run("verify")
        self.disturbed("prune", "--yes")
        self.run("prune", "--yes")
        there = self.w.bucket.list()
        self.saved = {key: tree for key, tree in self.saved.items() if key in there}
        self.unnamed |= set(there) - self.named(there)
        self.looked_at(0)

    def step_clock(self):
        # Stores refuse a clock that is a quarter of an hour wrong.
        self.offset = self.dice.randrange(-600, 600)

    def named(self, there):
        known = {self.w.root + "current.json"}
        for key in there:
            if "/manifest-" in key and key.endswith(".json"):
                manifest = self.w.bucket.get_json(key)
                known |= {key, *(chunk["key"] for chunk in manifest["chunks"])}
                known |= {manifest["index"]["key"]} if "index" in manifest else set()
        return known

    def looked_at(self, snapshots):
        """After a backup that ended well; so many snapshots are there at most, if that is not 0."""
        w, broken = self.w, []
        there = w.bucket.list()
        stray = set(there) - self.named(there) - self.unnamed
        broken += [f"named by nothing: {sorted(stray)}"] if stray else []
        promises.chain(w, broken, set(there))
        broken += [f"open upload of {key}" for key in w.bucket.open_uploads()]
        promises.state_is_readable(w, broken)
        promises.lock_is_free(w, broken)
        if 0 < snapshots < len(w.snapshot_names()):
            broken.append(f"{snapshots} snapshots are to be kept, there are {w.snapshot_names()}")
        broken += [f"kept in the spool: {path}" for path in (w.directory / "spool").rglob("*") if path.is_file()]
        broken += [f"a journal: {path}" for path in w.journals()]
        assert not broken, "\n".join(broken)

    def held(self):
        """What may not grow: of this machine, and beside the state."""
        mounts = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if str(self.w.directory) in line]
        ours = sum(str(self.w.directory).encode() in self.command(entry) for entry in pathlib.Path("/proc").iterdir()
                   if entry.name.isdigit() and entry.name != str(os.getpid()))
        loops = sum(str(self.w.directory) in path.read_text() for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"))
        state = sum(path.stat().st_size for path in (self.w.directory / "state").rglob("*") if path.is_file())
        return {"mounts": len(mounts), "processes": ours, "loop devices": loops, "descriptors": len(os.listdir("/proc/self/fd")),
                "files beside the state": len(promises.beside_the_state(self.w)), "KiB beside the state": state // 1024}

    @staticmethod
    def command(entry):
        try:
            return (entry / "cmdline").read_bytes()
        except OSError:
            return b""

    def round(self):
        self.rounds += 1
        chosen = self.dice.choices([self.backup, self.restore, self.extract, self.verify, self.prune, self.step_clock],
                                   [5, 3, 2, 2, 1, 2])[0]
        if not self.saved:
            chosen = self.backup
        self.counts[chosen.__name__] += 1
        chosen()
        self.baseline = self.baseline or self.held()
        deadline = time.monotonic() + 20
        while (grown := self.grown()) and time.monotonic() < deadline:
            time.sleep(0.1)  # children, and connections of who was killed, end a moment later
        assert not grown, f"grown since the first round: {grown}"

    def grown(self):
        """What is held now and was not, (then, now)."""
        slack = {"files beside the state": 4, "KiB beside the state": 256}
        return {name: (self.baseline[name], count) for name, count in self.held().items()
                if count > self.baseline[name] + slack.get(name, 0)}


def lived(options, gateway):
    begin = time.monotonic()
    with world(options.binary, gateway, "4G") as w, behind_proxy(w) as between:
        life = Life(w, between, options.seed)
        try:
            while time.monotonic() - begin < options.minutes * 60 and (not options.rounds or life.rounds < options.rounds):
                life.round()
        except BaseException:
            print(f"round {life.rounds} of seed {options.seed} failed", flush=True)
            raise
        finally:
            print(f"seed {options.seed}: {life.rounds} rounds, {time.monotonic() - begin:.0f} s, peak RSS "
                  f"{life.peak / MIB:.0f} MiB\n  " + ", ".join(f"{name}: {count}" for name, count in sorted(life.counts.items()))
                  + f"\n  held at the end: {life.held()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--gateway")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    reason = btrfs.why_not() or (", ".join(rgw.missing_programs()) if not options.gateway else "")
    if reason:
        print(f"skipped: {reason}")
        return 77
    tool.exit_on_signals()
    with sweep.gateway_of(options) as gateway:
        lived(options, gateway)
    return 0


if __name__ == "__main__":
    sys.exit(main())
