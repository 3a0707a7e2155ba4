#!/usr/bin/python3 -B
"""No source is longer than 600 lines and no function longer than 80, but for those named here, each with its reason; no
folder of app/ has more than 3,500.

  check_lengths.py ROOT             checks what Git tracks
  check_lengths.py ROOT --self-test plants one violation of each kind and expects to find it

What is named may shrink and not grow; what has shrunk below its limit has to leave the list.
"""
import argparse
import pathlib
import re
import sys
import tempfile

from check_tree import tracked

FILE_LINES, FUNCTION_LINES, ROOM_LINES = 600, 80, 3500

# Cases of one kind beside one another, each short.
ONE_SUBJECT = "cases of one subject, which share their scene"
LONG_FILES = {
    "tests/support/memory_store.cc": (666, "a store, with all that a store can do wrong"),
    "tests/app/upkeep/verify_job_test.cc": (874, ONE_SUBJECT),
    "tests/app/backup/scenario_test.cc": (733, ONE_SUBJECT),
    "tests/app/doctor/doctor_test.cc": (701, ONE_SUBJECT),
    "tests/app/records/local_files_test.cc": (640, ONE_SUBJECT),
    "tests/engine/spool_test.cc": (640, ONE_SUBJECT),
    "tests/engine/sealed_stream_test.cc": (615, ONE_SUBJECT),
    "tests/planner/prune_test.cc": (617, ONE_SUBJECT),
}
LONG_FUNCTIONS = {}
NO_FUNCTION = re.compile(r"(class|struct|namespace|enum|union|constexpr|const|extern|static_assert|using|template <)\b")
NAME = re.compile(r"(\w+)\(")


def functions(lines):
    """(name, length) of what stands at the beginning of a line and ends with a brace there, as clang-format has it."""
    begin = None
    for number, line in enumerate(lines):
        if line.startswith("}"):
            if begin is not None:
                head = " ".join(lines[begin:begin + 4])
                name = NAME.search(head)
                if name and not NO_FUNCTION.match(lines[begin]):
                    yield name[1], number - begin + 1
            begin = None
        elif line.startswith("namespace"):
            continue
        elif line and not line[0].isspace() and line[0] not in "#/":
            begin = number if begin is None else begin
            if line.endswith(";"):
                begin = None


def judge(kind, name, length, limit, exceptions, met):
    if name in exceptions:
        met.add(name)
        allowed = exceptions[name][0]
        if length <= limit:
            return f"{name}: has {length} lines, and may leave the list of {kind}s in check_lengths.py"
        return f"{name}: has {length} lines, and had {allowed}: cut it, do not add" if length > allowed else None
    return f"{name}: has {length} lines; a {kind} has {limit} at most" if length > limit else None


def violations(root, files, long_functions):
    found, met, rooms = [], set(), {}
    for path in tracked(root):
        if path.suffix not in (".cc", ".hh"):
            continue
        lines = (root / path).read_text(encoding="utf-8").splitlines()
        if path.parts[0] == "app":
            rooms[path.parent] = rooms.get(path.parent, 0) + len(lines)
        found.append(judge("file", str(path), len(lines), FILE_LINES, files, met))
        longest = {}
        for name, length in functions(lines):
            longest[name] = max(length, longest.get(name, 0))
        for name, length in longest.items():
            found.append(judge("function", f"{path} {name}", length, FUNCTION_LINES, long_functions, met))
    found += [f"{room}/: has {count} lines; a folder of app/ has {ROOM_LINES} at most"
              for room, count in rooms.items() if count > ROOM_LINES]
    found += [f"{name}: is in the lists of check_lengths.py, and nowhere else"
              for name in sorted((set(files) | set(long_functions)) - met)]
    return [problem for problem in found if problem]


def self_test():
    body = "\n".join(f"  run({number});" for number in range(FUNCTION_LINES))
    function = f"void one() {{\n{body}\n}}\n"
    lines = "// a line\n" * (FILE_LINES + 1)
    rooms = {f"app/r/{number}.hh": "// a line\n" * (ROOM_LINES // 10) for number in range(10)}
    sound = {**rooms, "app/s/a.hh": lines[:20], "a.cc": "int two() {\n  return 2;\n}\n", "b.cc": lines, "c.cc": function}
    files, long_functions = {"b.cc": (FILE_LINES + 1, "")}, {"c.cc one": (FUNCTION_LINES + 2, "")}
    faults = [("d.cc", lines), ("d.cc", function), ("d.hh", "namespace a {\n\n" + function + "\n}\n"),
              ("b.cc", lines + "// one more\n"), ("b.cc", "// cut\n"), ("c.cc", function.replace("{\n", "{\n\n")),
              ("c.cc", "void one() {\n}\n"), ("c.cc", ""), ("app/r/a.hh", "// one more\n")]
    for name, text in faults:
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for path, content in sound.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(content, encoding="utf-8")
            if violations(root, files, long_functions):
                return f"a sound tree is reported: {violations(root, files, long_functions)}"
            (root / name).write_text(text, encoding="utf-8")
            if len(violations(root, files, long_functions)) != 1:
                return f"not found: {name}: {text[:40]!r}: {violations(root, files, long_functions)}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    found = [self_test()] if arguments.self_test else violations(arguments.root, LONG_FILES, LONG_FUNCTIONS)
    found = [problem for problem in found if problem]
    print("\n".join(found) if found else "lengths: as designed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
