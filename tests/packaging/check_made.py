#!/usr/bin/python3
"""What is made of the documentation's sources holds all of it:  check_made.py ROOT DIR

DIR has the manual pages as installed.
"""
import gzip
import pathlib
import re
import sys

from check_documentation import PAGE, entries, example_keys, section


def main():
    root, made = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    page = (root / PAGE).read_text(encoding="utf-8")
    wrong = []

    def expect(holds, complaint):
        if not holds:
            wrong.append(complaint)

    first = gzip.open(made / "btrfs_to_s3.1.gz", "rt", encoding="utf-8").read()
    for name in entries(section(page, "EVENTS")):
        expect(f"\\fB{name}\\fR" in first.replace("\\&", ""), f"btrfs_to_s3.1 lacks the event {name}")
    fifth = gzip.open(made / "btrfs_to_s3.toml.5.gz", "rt", encoding="utf-8").read().replace("\\&", "")
    keys = example_keys((root / "config.example.toml").read_text(encoding="utf-8"))
    expect(len(re.findall(r"^\\fB[a-z0-9_]+\\fR \(", fifth, re.MULTILINE)) == len(keys),
           "btrfs_to_s3.toml.5 has another number of keys than config.example.toml")
    for key in sorted(keys):
        table, name = key.split(".")
        expect(re.search(rf'^\.SS \[{table}\]$', fifth, re.MULTILINE), f"btrfs_to_s3.toml.5 lacks the table {table}")
        expect(f"\\fB{name}\\fR (" in fifth, f"btrfs_to_s3.toml.5 lacks the key {key}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
