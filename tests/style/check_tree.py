#!/usr/bin/python3
"""Formatting, folder READMEs, scripts that parse.  check_tree.py ROOT {format|readmes|scripts}"""
import argparse
import ast
import pathlib
import shutil
import subprocess
import sys

SOURCE_FOLDERS = ["engine", "s3", "btrfs", "planner", "app", "tests", "integration_tests"]
FOLDERS = ["engine", "s3", "btrfs", "planner", "app", "bench", "tests", "integration_tests", "systemd"]
SKIP = 77


def files(root, *suffixes):
    for folder in SOURCE_FOLDERS + [".ci"]:
        for path in sorted((root / folder).glob("**/*")):
            if path.is_file() and path.suffix in suffixes and "run" not in path.relative_to(root).parts[:-1]:
                yield path


def check_format(root):
    tool = shutil.which("clang-format-19")
    if not tool:
        print("skipped: clang-format-19 is not installed")
        return SKIP
    paths = [str(path) for path in files(root, ".cc", ".hh")]
    return subprocess.run([tool, "--dry-run", "-Werror", *paths], check=False).returncode


def check_readmes(root):
    missing = [folder for folder in FOLDERS if not (root / folder / "README.md").is_file()]
    for folder in missing:
        print(f"{folder}/README.md is missing: say what belongs there and what does not")
    return 1 if missing else 0


def check_scripts(root):
    bad = 0
    shell = [path for path in files(root, ".sh")] + [root / ".ci" / "run"]
    for path in shell:
        bad += subprocess.run(["bash", "-n", str(path)], check=False).returncode != 0
    for path in files(root, ".py"):
        text = path.read_bytes()
        try:
            ast.parse(text.decode("ascii"), str(path))
        except (SyntaxError, UnicodeDecodeError) as problem:
            print(f"{path}: {problem}")
            bad += 1
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("check", choices=["format", "readmes", "scripts"])
    arguments = parser.parse_args()
    checks = {"format": check_format, "readmes": check_readmes, "scripts": check_scripts}
    return checks[arguments.check](arguments.root)


if __name__ == "__main__":
    sys.exit(main())
