#!/usr/bin/python3
"""Formatting, folder READMEs, scripts that parse.

  check_tree.py ROOT {format|readmes|scripts}   checks what Git tracks (every file, outside a clone)
  check_tree.py ROOT self-test                  plants a fault of each kind and expects to find it
"""
import argparse
import ast
import pathlib
import shutil
import subprocess
import sys
import tempfile

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
    folders = {path.parts[0] for path in tracked(root) if len(path.parts) > 1}
    missing = sorted(folder for folder in folders - WITHOUT_README
                     if not folder.startswith(".") and not (root / folder / "README.md").is_file())
    for folder in missing:
        print(f"{folder}/README.md is missing: say what belongs there and what does not")
    return 1 if missing else 0


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


def self_test(real):
    """Each check passes a sound tree and fails it with one fault planted."""
    sound = {"engine/README.md": b"what belongs here\n", "engine/a.cc": b"int a = 0;\n",
             "engine/a.py": b"a = 0\n", "engine/a.sh": b"true\n"}
    faults = [(check_format, "engine/b.cc", b"int  b=0 ;\n"), (check_readmes, "s3/b.cc", b"int b = 0;\n"),
              (check_scripts, "engine/b.sh", b"if true\n"), (check_scripts, "engine/b.py", b"def\n"),
              (check_scripts, "engine/b.py", b"b = '\xc3\xa4'\n"), (check_scripts, ".ci/b", b"(\n")]
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
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(text)
            if before != 0 or check(root) != 1:
                print(f"{check.__name__} does not tell {name} with {text!r} from a sound tree")
                return 1
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("check", choices=["format", "readmes", "scripts", "self-test"])
    arguments = parser.parse_args()
    checks = {"format": check_format, "readmes": check_readmes, "scripts": check_scripts, "self-test": self_test}
    return checks[arguments.check](arguments.root.resolve())


if __name__ == "__main__":
    sys.exit(main())
