#!/usr/bin/python3 -B
"""Standard output has one writer, app/text/output.cc: there what others said is made harmless.

usage: check_output.py SOURCE_DIR [--self-test]
"""
import pathlib
import re
import sys

WRITES = re.compile(r"std::(printf|puts|putchar|vprintf)\s*\(|std::cout\b|"
                    r"std::(fputs|fprintf|fwrite|fputc)\s*\([^;]*\bstdout\b")
# --help and --version, which are the program's own words and what was typed.
ALLOWED = {"app/text/output.cc", "app/main.cc"}


def violations(name, text):
    found = []
    for match in WRITES.finditer(text):
        if name not in ALLOWED:
            found.append(f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(0)}")
    return found


def self_test():
    bad = ['std::printf("%s", x);', 'std::fputs(text.c_str(),\n  stdout);', "std::cout << x;"]
    good = ['std::fprintf(stderr, "x");', "std::snprintf(a, 1, b);", "print_text(text);"]
    assert all(len(violations("app/x.cc", text)) == 1 for text in bad)
    assert not any(violations("app/x.cc", text) for text in good)
    assert not violations("app/text/output.cc", bad[0])


def main():
    root = pathlib.Path(sys.argv[1])
    if "--self-test" in sys.argv:
        self_test()
        return 0
    found = []
    for folder in ("app", "btrfs", "engine", "planner", "s3"):
        for path in sorted((root / folder).rglob("*.cc")) + sorted((root / folder).rglob("*.hh")):
            found += violations(str(path.relative_to(root)), path.read_text(encoding="utf-8"))
    for line in found:
        print(line + ": write through app/text/output.hh")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
