#!/usr/bin/env python3
"""Times backups and restores of random data, and writes the figures to run/logs/benchmark.json, with those of all logs.

Whole runs of the tool, snapshot, send and receive included: figures for one machine and one endpoint, to be compared
with others of the same. How far the tool is from what the hardware can do is measured elsewhere, in bench/.
"""
import json
import os
import pathlib
import platform
import statistics
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import backups, logs, manifest, restores, runner, session  # noqa: E402
from harness.assertions import require  # noqa: E402
from harness.config import MIB  # noqa: E402


def options():
    result = session.parser(__doc__, dry_run=True)
    result.add_argument("--runs", type=int, default=3, help="each of one backup and one restore (default: 3)")
    result.add_argument("--size-mib", type=int, help="added before each backup (default: dataset.size_mib)")
    result.add_argument("--logs-only", action="store_true", help="measure nothing: sum up the logs that are there")
    return result


def figures(size, outcome):
    """As seen from outside, and what the tool told of itself, where it did."""
    seen = {"bytes": size, "seconds": round(outcome.seconds, 3),
            "mib_per_second": round(size / MIB / outcome.seconds, 2), "peak_rss_bytes": outcome.peak_rss_bytes}
    told = logs.totals(logs.runs_of(outcome.stderr))
    if told["parts"] is None:
        return seen
    return {**seen, "tool_seconds": told["seconds"], "parts": told["parts"], "retries": told["retries"]}


def summary(of_runs):
    rates = [one["mib_per_second"] for one in of_runs]
    return {"runs": of_runs, "mib_per_second": {"median": statistics.median(rates), "min": min(rates),
                                                "max": max(rates)}}


def body(this, arguments):
    settings, name = this.settings, this.settings.btrfs.subvolumes[0]
    if arguments.dry_run:
        this.log.say(this.runner().shown(["backup", "--once", "--subvolume", name]))
        return
    if arguments.logs_only:
        write(this, {})
        return
    runner.must_be_root("a backup")
    size = arguments.size_mib if arguments.size_mib is not None else settings.dataset.size_mib
    require(size > 0 and arguments.runs > 0, "--size-mib and --runs must be at least 1")
    backups.prepare_bucket(this)
    measured = {"backup": [], "restore": []}
    for number in range(arguments.runs):
        backups.add_file(this, name, "benchmark.bin", size * MIB, seed=number)
        os.sync()
        made, outcome = backups.back_up(this, "--once", names=[name])
        measured["backup"].append(figures(made[name]["total_bytes"], outcome))
        outcome = restores.restore(this, name, verify="none")
        measured["restore"].append(figures(chain_bytes(this, name), outcome))
    result = {"time": logs.stamp(), "command": settings.command, "endpoint": settings.aws.endpoint_url or "AWS",
              "machine": platform.machine(), "kernel": platform.release(), "processors": os.cpu_count(),
              "chunk_size_mib": settings.backup.chunk_size_mib, "concurrency": settings.backup.concurrency,
              **{verb: summary(of_runs) for verb, of_runs in measured.items()}}
    for verb in measured:
        rate = result[verb]["mib_per_second"]
        this.log.say(f"  {verb}: {rate['median']} MiB/s ({rate['min']} to {rate['max']}, {arguments.runs} runs)")
    write(this, result)


def write(this, result):
    directory = this.settings.paths.logs
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "benchmark.json"
    path.write_text(json.dumps({**result, **logs.summary(directory)}, indent=2) + "\n", encoding="utf-8")
    this.log.say(f"  {path}")


def chain_bytes(this, name):
    """What the restore of the newest backup reads."""
    key = backups.pointers(this, [name])[name]
    return sum(content["total_bytes"] for _, content in manifest.chain(this.store, key))


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
