#!/usr/bin/python3
"""Walks the include graph and fails on an arrow that the architecture does not have.

  check_includes.py ROOT             checks the tree
  check_includes.py ROOT --self-test plants one violation of each kind and expects to find it
"""
import argparse
import pathlib
import re
import sys
import tempfile

ARROWS = {
    "engine": set(),
    "s3": {"engine"},
    "btrfs": {"engine"},
    "planner": set(),
    "app": {"planner", "s3", "btrfs", "engine"},
}
# planner/ is pure: no input or output, no clock of its own, no curl, no ring.
IMPURE = re.compile(r"<(curl/|liburing|sys/|unistd|fcntl|fstream|iostream|thread|filesystem)")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|(<[^>]+>))', re.MULTILINE)


def violations(root):
    found = []
    for folder, allowed in ARROWS.items():
        for path in sorted((root / folder).glob("**/*")):
            if path.suffix not in (".hh", ".cc"):
                continue
            for local, system in INCLUDE.findall(path.read_text(encoding="utf-8")):
                if local:
                    target = local.split("/")[0]
                    if target != folder and target not in allowed:
                        found.append(f"{path.relative_to(root)} includes {local}")
                    if not (root / local).exists():
                        found.append(f"{path.relative_to(root)} includes {local}, not a path from the top")
                elif folder == "planner" and IMPURE.match(system):
                    found.append(f"{path.relative_to(root)} includes {system}")
    return found


def self_test():
    cases = {
        "engine/a.hh": '#include "s3/b.hh"\n',
        "s3/a.cc": '#include "btrfs/b.hh"\n',
        "planner/a.cc": '#include "engine/b.hh"\n',
        "planner/c.cc": "#include <sys/stat.h>\n",
        "btrfs/a.cc": '#include "app/b.hh"\n',
    }
    for name, text in cases.items():
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for folder in ARROWS:
                (root / folder).mkdir()
                (root / folder / "b.hh").write_text("", encoding="utf-8")
            if violations(root):
                return "a clean tree is reported"
            (root / name).write_text(text, encoding="utf-8")
            if len(violations(root)) != 1:
                return f"not found: {name}: {text.strip()}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        problem = self_test()
        if problem:
            print(problem)
        return 1 if problem else 0
    found = violations(arguments.root)
    print("\n".join(found) if found else "include graph: as designed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
