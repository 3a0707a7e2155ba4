#!/usr/bin/python3
"""What is made of the documentation's sources holds all of it:  check_made.py ROOT DIR

DIR has the manual pages as installed, and the completion, which bash is asked to use.
"""
import gzip
import pathlib
import re
import subprocess
import sys

from check_documentation import PAGE, entries, example_keys, page_options, section


def complete(script, *words):
    """What bash offers after these words; the last is the one being written."""
    text = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _btrfs_to_s3; '
            'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-uc", text, str(script), "btrfs_to_s3", *words], capture_output=True, text=True,
                          check=True, timeout=60)
    return set(done.stdout.split())


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

    script = made / "completion"
    common = set(page_options(section(page, "OPTIONS")))
    parts = dict(re.findall(r"^## ([a-z]+)\n(.*?)(?=^## |\Z)", section(page, "COMMANDS"), re.MULTILINE | re.DOTALL))
    expect(complete(script, "") == common | set(parts), "the completion offers other commands than the page has")
    for command, text in parts.items():
        offered = complete(script, command, "--")
        expect(offered == common | set(page_options(text)), f"the completion of {command} offers {sorted(offered)}")
        expect(complete(script, "--log-format", "json", command, "--") == offered, f"{command} after an option")
    expect(complete(script, "backup", "--log-level", "w") == {"warning"}, "values of --log-level")
    expect(complete(script, "--config", str(root / "CHANGE")) == {str(root / "CHANGELOG.md")}, "files for --config")
    expect(complete(script, "restore", "--target", str(root / "eng")) == {str(root / "engine")}, "folders for --target")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
