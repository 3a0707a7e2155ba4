#!/usr/bin/python3
"""Formatting, folder READMEs, scripts that parse, references to files that are there, merges that were finished.

  check_tree.py ROOT {format|readmes|references|scripts|merges}   checks what Git tracks (every file, outside a clone)
  check_tree.py ROOT self-test                             plants a fault of each kind and expects to find it
"""
import argparse
import ast
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from check_includes import FLOORS

# cmake/ holds files that explain themselves; what begins with a dot is settings.
WITHOUT_README = {"cmake", "build"}
SKIP = 77


def tracked(root):
    """Paths relative to `root`, sorted."""
    listing = None
    if (root / ".git").exists() and shutil.which("git"):
        # The owner of a mounted or copied tree may be another user; reading it is all that happens here.
        listing = subprocess.run(["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z"],
                                 capture_output=True, text=True, check=True).stdout.split("\0")
    if listing is None:
        listing = [str(path.relative_to(root)) for path in root.rglob("*")
                   if path.relative_to(root).parts[0] not in ("build", ".git")]
    paths = [pathlib.PurePath(name) for name in sorted(listing) if name]
    return [path for path in paths if (root / path).is_file()]


def check_format(root):
    tool = shutil.which("clang-format-19")
    if not tool:
        print("skipped: clang-format-19 is not installed")
        return SKIP
    paths = [str(root / path) for path in tracked(root) if path.suffix in (".cc", ".hh")]
    return 1 if subprocess.run([tool, "--dry-run", "-Werror", *paths], check=False).returncode else 0


def check_readmes(root):
    """Of each folder at the top, and of each below those that have floors."""
    folders = {path.parts[0] for path in tracked(root) if len(path.parts) > 1}
    folders |= {"/".join(path.parts[:2]) for path in tracked(root) if path.parts[0] in FLOORS and len(path.parts) > 2}
    missing = sorted(folder for folder in folders - WITHOUT_README
                     if not folder.startswith(".") and not (root / folder / "README.md").is_file())
    for folder in missing:
        print(f"{folder}/README.md is missing: say what belongs there and what does not")
    return 1 if missing else 0


def check_references(root):
    """What a text names by its path from the top, or from the folder of the text, exists."""
    paths = tracked(root)
    there = set(paths)
    folders = "|".join(re.escape(folder) for folder in sorted({path.parts[0] for path in paths if len(path.parts) > 1}))
    named = re.compile(rf"(?<![\w./{{}}$<>\"-])((?:{folders})/[\w./-]*\w\.(?:cc|hh|c|py|sh|md|toml|scd|cmake|service|timer))\b")
    bad = 0
    for path in paths:
        # The change log tells of files as they were, and what plants faults of files that never were.
        if path.name == "CHANGELOG.md" or path.parts[:2] == ("tests", "style") or path.suffix not in (".cc", ".hh", ".py", ".sh", ".md", ".txt", ".cmake", ".toml"):
            continue
        text = (root / path).read_text(encoding="utf-8")
        for found in named.finditer(text):
            if not {pathlib.PurePath(found[1]), path.parent / found[1]} & there:
                print(f"{path}:{text.count(chr(10), 0, found.start()) + 1}: there is no {found[1]}")
                bad += 1
    return 1 if bad else 0


def check_scripts(root):
    bad = 0
    for path in tracked(root):
        if path.suffix == ".py":
            text = (root / path).read_bytes()
            try:
                ast.parse(text.decode("ascii"), str(path))
            except (SyntaxError, UnicodeDecodeError) as problem:
                print(f"{path}: {problem}")
                bad += 1
        elif path.suffix == ".sh" or path.parts[0] == ".ci":
            bad += subprocess.run(["bash", "-n", str(root / path)], check=False).returncode != 0
    return 1 if bad else 0


def check_merges(root):
    """No text has the marks that a merge leaves where both sides changed a place, nor the files beside it."""
    marks = re.compile(rb"^(?:<{7}|[|]{7}|>{7})(?: .*)?$|^={7}$", re.MULTILINE)
    bad = 0
    for path in tracked(root):
        text = (root / path).read_bytes()
        if path.suffix in (".orig", ".rej"):
            print(f"{path}: left by a merge")
            bad += 1
        elif b"\0" not in text:
            for found in marks.finditer(text):
                print(f"{path}:{text.count(bytes([10]), 0, found.start()) + 1}: a merge that was not finished")
                bad += 1
    return 1 if bad else 0


def self_test(real):
    """Each check passes a sound tree and fails it with one fault planted."""
    sound = {"engine/README.md": b"what belongs here\n", "engine/a.cc": b"int a = 0;\n",
             "engine/a.py": b"a = 0\n", "engine/a.sh": b"true\n", "app/README.md": b"see engine/a.cc\n",
             "s3/README.md": b"what belongs here\n"}
    faults = [(check_format, "engine/b.cc", b"int  b=0 ;\n"), (check_readmes, "btrfs/b.cc", b"int b = 0;\n"),
              (check_readmes, "app/text/b.cc", b"int b = 0;\n"), (check_readmes, "s3/http/b.cc", b"int b = 0;\n"),
              (check_references, "engine/b.cc", b"// As engine/gone.cc has it.\n"),
              (check_references, "engine/b.md", b"See `engine/a/a.py`.\n"),
              (check_scripts, "engine/b.sh", b"if true\n"), (check_scripts, "engine/b.py", b"def\n"),
              (check_scripts, "engine/b.py", b"b = '\xc3\xa4'\n"), (check_scripts, ".ci/b", b"(\n"),
              (check_merges, "app/b.md", b"a\n" + b"<" * 7 + b" HEAD\nb\n"), (check_merges, "app/b.toml", b"a\n" + b"=" * 7 + b"\n"),
              (check_merges, "b.md", b"a\n" + b">" * 7 + b" other\n"), (check_merges, "app/b.cc.orig", b"a\n")]
    for check, name, text in faults:
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            shutil.copy(real / ".clang-format", root)
            for path, content in sound.items():
                (root / path).parent.mkdir(exist_ok=True)
                (root / path).write_bytes(content)
            before = check(root)
            if before == SKIP:
                continue
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(text)
            if before != 0 or check(root) != 1:
                print(f"{check.__name__} does not tell {name} with {text!r} from a sound tree")
                return 1
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("check", choices=["format", "readmes", "references", "scripts", "merges", "self-test"])
    arguments = parser.parse_args()
    checks = {"format": check_format, "readmes": check_readmes, "references": check_references,
              "scripts": check_scripts, "merges": check_merges, "self-test": self_test}
    return checks[arguments.check](arguments.root.resolve())


if __name__ == "__main__":
    sys.exit(main())
