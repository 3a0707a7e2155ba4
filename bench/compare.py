#!/usr/bin/python3
"""What changed between two measurements:  bench/compare.py BEFORE.json AFTER.json   (or two directories of results)

Where both measured a floor or another baseline in the same rounds, the ratios to it are compared, which takes the
machine's mood out; else the values themselves. Prints the change of the medians with a 95 % bootstrap interval and the
p of a Mann-Whitney test. A change counts when the interval leaves out 1 and p < 0.05: with fewer than four runs on a
side that cannot happen, and a single pair of measurements cannot tell a change of the program from one of the day.

Exit status: 0 no figure got worse by more than --tolerance, 1 some did, 2 usage."""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from kit import figures  # noqa: E402
from kit.contest import FIGURES  # noqa: E402

BASELINES = ("floor", "btrfs-receive")
COMPARED = ("throughput_mib_s", "cpu_s_per_gib", "peak_rss_mib", "switches_per_gib", "seconds")


def series(found, figure, baseline):
    """The figure's value in each run of the program, divided by the baseline's in the same round if there is one."""
    formula, size = FIGURES[figure][0], found["bytes"]
    own = [formula(run, size) for run in found["contestants"]["product"]["runs"]]
    if not baseline:
        return own
    other = [formula(run, size) for run in found["contestants"][baseline]["runs"]]
    return figures.paired_ratios(own, other)


def common_baseline(before, after):
    for name in BASELINES:
        if name in before["contestants"] and name in after["contestants"]:
            return name
    return None


def compare_contest(before, after):
    """Rows of {figure, unit, before, after, change, low, high, p, verdict}."""
    rows = []
    baseline = common_baseline(before, after)
    for figure in COMPARED:
        # Memory is no matter of the day.
        other = None if figure == "peak_rss_mib" else baseline
        try:
            old, new = series(before, figure, other), series(after, figure, other)
        except ZeroDivisionError:
            continue  # a run too short for the clock
        if min(old) <= 0 or min(new) <= 0:
            continue
        change, low, high = figures.bootstrap_change(old, new)
        rows.append(judge({"figure": figure + (f" / {other}" if other else ""), "before": figures.spread(old),
                           "after": figures.spread(new), "change": change, "low": low, "high": high,
                           "p": figures.mann_whitney(old, new)}, FIGURES[figure][1]))
    return rows


def compare_counts(before, after):
    """Rows for what is counted rather than timed (instructions): any change is one."""
    rows = []
    for name, old in before.get("instructions", {}).items():
        new = after.get("instructions", {}).get(name)
        if new and old:
            change = new / old
            # Hash tables and addresses move counts a little from build to build.
            verdict = "same" if abs(change - 1) < 0.002 else "better" if change < 1 else "worse"
            rows.append({"figure": f"instructions, {name}", "before": figures.spread([old]),
                         "after": figures.spread([new]), "change": change, "low": change, "high": change, "p": 0.0,
                         "verdict": verdict})
    return rows


def compare_runs(before, after):
    """Rows for scenarios that are no contests and keep their runs: times by name, or usages by name."""
    rows = []
    for name, old in before.get("runs", {}).items():
        new = after.get("runs", {}).get(name)
        if not new:
            continue
        old, new = ([run["seconds"] if isinstance(run, dict) else run for run in runs] for runs in (old, new))
        change, low, high = figures.bootstrap_change(old, new)
        rows.append(judge({"figure": f"time, {name}", "before": figures.spread(old), "after": figures.spread(new),
                           "change": change, "low": low, "high": high, "p": figures.mann_whitney(old, new)}, False))
    return rows


def judge(row, larger_is_better):
    certain = row["p"] < 0.05 and not row["low"] <= 1 <= row["high"]
    better = (row["change"] > 1) == larger_is_better
    row["verdict"] = "no change shown" if not certain else "better" if better else "worse"
    return row


def worsened(row, tolerance):
    factor = row["change"] if row["change"] > 1 else 1 / row["change"]
    return row["verdict"] == "worse" and factor > 1 + tolerance


def pairs_of(before, after):
    """(name, before, after) of files, or of the files with equal names in two directories."""
    if before.is_dir() != after.is_dir():
        raise SystemExit("compare.py: two files or two directories")
    if not before.is_dir():
        return [(after.stem, before, after)]
    names = sorted({path.name for path in before.glob("*.json")} & {path.name for path in after.glob("*.json")})
    if not names:
        raise SystemExit("compare.py: the directories have no result in common")
    return [(pathlib.PurePath(name).stem, before / name, after / name) for name in names]


def text_of(row):
    digits = 3 if row["after"]["median"] < 100 else 0
    return (f"  {row['figure']:32} {row['before']['median']:.{digits}f} -> {row['after']['median']:.{digits}f}"
            f"  x {row['change']:.3f} ({row['low']:.3f} to {row['high']:.3f}), p = {row['p']:.3f}: {row['verdict']}")


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=pathlib.Path)
    parser.add_argument("after", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=0.02, help="a worsening up to this share is let pass (%(default)s)")
    arguments = parser.parse_args(argv)
    status = 0
    for name, first, second in pairs_of(arguments.before, arguments.after):
        before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (first, second))
        if before.get("scenario") != after.get("scenario"):
            raise SystemExit(f"compare.py: {before.get('scenario')} against {after.get('scenario')}: not comparable")
        print(f"{name}: {before['environment']['commit'][:12]} -> {after['environment']['commit'][:12]}")
        for key in ("cpu", "kernel"):
            if before["environment"][key] != after["environment"][key]:
                print(f"  measured on different machines ({key}): ratios only")
        if before["parameters"]["size"] != after["parameters"]["size"]:
            print("  measured with different sizes")
        rows = compare_counts(before, after) + compare_runs(before, after)
        if "contestants" in before and "contestants" in after:
            rows += compare_contest(before, after)
        for row in rows:
            print(text_of(row))
            status |= worsened(row, arguments.tolerance)
        if not rows:
            print("  nothing to compare run by run")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
