#!/usr/bin/python3
"""Metrics and alert rules in the eyes of promtool: PATH's, or the one that tests/install_dependencies.sh unpacks.

  check_metrics.py ROOT               checks the metrics file and the alerts, and runs the alerts' own tests
  check_metrics.py ROOT --self-test   expects planted faults to be found
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        print(" ".join(command), done.stdout, done.stderr, sep="\n")
    return done.returncode


def check(tool, metrics, alerts, tests):
    return [max(run(tool, "check", "metrics", text=one.read_text(encoding="utf-8")) for one in metrics),
            run(tool, "check", "rules", str(alerts)), run(tool, "test", "rules", str(tests))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    tool = shutil.which("promtool") or shutil.which(str(root / "build/tools/promtool"))
    if not tool:
        print("promtool is missing; run: tests/install_dependencies.sh test")
        return 1
    data = root / "tests/data/surface"
    names = (data / "metrics.prom", root / "systemd/prometheus-alerts.yml", data / "prometheus-alerts-test.yml")
    if not arguments.self_test:
        of_runs, *rules = names
        return 1 if any(check(tool, (of_runs, data / "metrics_verify.prom"), *rules)) else 0
    with tempfile.TemporaryDirectory() as directory:
        copies = [pathlib.Path(directory) / name.name for name in names]
        metrics, alerts, tests = (name.read_text(encoding="utf-8") for name in names)
        copies[0].write_text(metrics.replace(" 1\n", "\n", 1), encoding="utf-8")
        copies[1].write_text(alerts.replace("8 * 86400", "9 * 86400", 1), encoding="utf-8")
        copies[2].write_text(tests.replace("../../../systemd/", ""), encoding="utf-8")
        found = check(tool, copies[:1], *copies[1:])
        if not found[0] or not found[2]:
            print("promtool did not find the planted faults")
            return 1
        copies[1].write_text(alerts.replace("expr: time()", "expr: time(", 1), encoding="utf-8")
        return 0 if check(tool, copies[:1], *copies[1:])[1] else 1


if __name__ == "__main__":
    sys.exit(main())
