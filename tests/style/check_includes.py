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
# The folders of app/ and s3/ floor by floor, the lowest first: a file sees its own folder and those of lower floors.
FLOORS = {
    "app": (("text", "prices"), ("host", "cli"), ("secrets",), ("config",), ("store",), ("records",), ("survey",), ("upload", "download"), ("indexes",),
            ("proof",), ("backup", "restore", "upkeep", "overview", "doctor", "keys", "files"), ("content",), ("mount", "setup")),
    "s3": (("http",), ("credentials",), ("verbs",)),
}
FLOOR_OF = {top: {folder: number for number, folders in enumerate(floors) for folder in folders}
            for top, floors in FLOORS.items()}
# Nobody sees main, which sees all.
SEES_ALL = "app/main.cc"
# What stands on top of its folder: it sees the folder, and nothing else there sees it.
AGE = "engine/age/"
ON_TOP = (AGE, "btrfs/index/")
# planner/ and engine/age/ are pure: no input or output, no clock of their own, no curl, no ring.
IMPURE = re.compile(r"<(curl/|liburing|sys/|unistd|fcntl|fstream|iostream|thread|filesystem)")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|(<[^>]+>))', re.MULTILINE)


def climbs(path, local):
    """Why the file `path`, from the top, may not include `local`, of the same folder with floors; or None."""
    top = path.split("/")[0]
    if path == SEES_ALL:
        return None
    mine, theirs = (pathlib.PurePath(one).parts[1:-1] for one in (path, local))
    for folder, name in ((mine, path), (theirs, local)):
        if len(folder) != 1 or folder[0] not in FLOOR_OF[top]:
            return f"includes {local}: {name} stands on no floor of check_includes.py"
    if mine != theirs and FLOOR_OF[top][theirs[0]] >= FLOOR_OF[top][mine[0]]:
        return f"includes {local}: {mine[0]} does not see {theirs[0]}"
    return None


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
                    if path.parent == root / folder and local.startswith(ON_TOP) and target == folder:
                        found.append(f"{path.relative_to(root)} includes {local}")
                    problem = folder == target and folder in FLOORS and climbs(str(path.relative_to(root)), local)
                    if problem:
                        found.append(f"{path.relative_to(root)} {problem}")
                    if not (root / local).exists():
                        found.append(f"{path.relative_to(root)} includes {local}, not a path from the top")
                elif (folder == "planner" or path.parent == root / AGE) and IMPURE.match(system):
                    found.append(f"{path.relative_to(root)} includes {system}")
    return found


def self_test():
    cases = {
        "engine/a.hh": '#include "s3/b.hh"\n',
        "engine/a.cc": '#include "engine/age/b.hh"\n',
        "engine/age/a.cc": "#include <fstream>\n",
        "btrfs/b.cc": '#include "btrfs/index/b.hh"\n',
        "s3/verbs/a.cc": '#include "btrfs/b.hh"\n',
        "s3/http/a.hh": '#include "s3/credentials/b.hh"\n',
        "s3/credentials/a.cc": '#include "s3/verbs/b.hh"\n',
        "s3/a.cc": '#include "s3/http/b.hh"\n',
        "s3/attic/a.cc": '#include "s3/http/b.hh"\n',
        "s3/verbs/a.hh": '#include "s3/b.hh"\n',
        "planner/a.cc": '#include "engine/b.hh"\n',
        "planner/c.cc": "#include <sys/stat.h>\n",
        "btrfs/a.cc": '#include "app/b.hh"\n',
        "app/text/table.cc": '#include "app/config/b.hh"\n',
        "app/host/signals.hh": '#include "app/cli/b.hh"\n',
        "app/restore/job.cc": '#include "app/backup/b.hh"\n',
        "app/new.cc": '#include "app/text/b.hh"\n',
        "app/attic/new.cc": '#include "app/text/b.hh"\n',
        "app/backup/job.cc": '#include "app/b.hh"\n',
    }
    for name, text in cases.items():
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for folder in ARROWS:
                (root / folder).mkdir()
                (root / folder / "b.hh").write_text("", encoding="utf-8")
            for top in ON_TOP:
                (root / top).mkdir()
                (root / top / "b.hh").write_text("", encoding="utf-8")
            for top, floors in FLOOR_OF.items():
                for floor in (*floors, "attic"):
                    (root / top / floor).mkdir()
                    (root / top / floor / "b.hh").write_text("", encoding="utf-8")
            sound = {"s3/verbs/seal.cc": '#include "engine/age/b.hh"\n', "engine/age/seal.cc": '#include "engine/b.hh"\n',
                     "btrfs/index/writer.cc": '#include "btrfs/b.hh"\n#include "engine/b.hh"\n',
                     SEES_ALL: '#include "app/restore/b.hh"\n#include "app/backup/b.hh"\n#include "s3/http/b.hh"\n',
                     "app/survey/observer.cc": '#include "app/survey/b.hh"\n#include "app/store/b.hh"\n',
                     "s3/verbs/client.cc": '#include "s3/verbs/b.hh"\n#include "s3/credentials/b.hh"\n'}
            for path, text_of_it in sound.items():
                (root / path).write_text(text_of_it, encoding="utf-8")
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
