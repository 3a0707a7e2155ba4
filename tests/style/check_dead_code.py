#!/usr/bin/python3 -B
"""No function of the program is there for the tests alone: what has external linkage is used by the program or the bench.

  check_dead_code.py ROOT BUILD             of the objects in BUILD, which has been built from ROOT
  check_dead_code.py ROOT BUILD --self-test compiles a planted function of each kind and expects to find it

A function is used where an object of the program has a relocation to it. Where the compiler has put every call of it into its
callers there is none: then its name has to stand in its own source once more, beside its definition, or in the bench.
"""
import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
FOLDERS = ("app", "btrfs", "engine", "planner", "s3")
# Demangled beginnings of names, each with the reason why nothing calls it yet.
SEALING = "what seals backups and opens them is there before all of those who seal"
ALLOWED = {
    "bts3::age::": SEALING,
    "bts3::engine::write_plain(": SEALING,
    "bts3::btrfs::index::": "the index is there before the commands that ask it",
    "bts3::engine::secret_string::operator=(bts3::engine::secret_string const&)": "what can be copied can be assigned, and wipes what it had",
    "bts3::engine::operator<<(std::basic_ostream": "whoever prints a secret prints \"(secret)\", and no test's failure shows one",
}
SYMBOL = re.compile(r"^[0-9a-fA-F]* *(?P<type>[A-Za-z]) (?P<name>\S+)$")
# Offset, info, type, value of the symbol, its name.
RELOCATION = re.compile(r"^[0-9a-f]{12,16} +[0-9a-f]+ +R_\S+ +[0-9a-f]+ +(?P<name>\S+)")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def output(*command, given=None):
    return subprocess.run(command, capture_output=True, text=True, check=True, input=given).stdout


def demangled(names):
    names = sorted(names)
    return dict(zip(names, output("c++filt", given="\n".join(names) + "\n").splitlines()))


def objects(root, build):
    """The program's own, by folder; those of targets that are alone (headers, tests, fuzzers) are no part of it."""
    for folder in FOLDERS:
        for path in sorted((build / folder).rglob("*.o")):
            target = next(part for part in path.parts if part.endswith(".dir"))
            of_program = target.startswith("bts3_") and not target.endswith("_alone.dir") or target == "btrfs_to_s3.dir"
            # What has no source any more was left by an earlier build.
            if of_program and source_of(root, path.relative_to(build)).is_file():
                yield path


def definitions(path):
    """Functions with external linkage that stand in this object alone; what is inline stands in many, and is weak."""
    for line in output("nm", "--defined-only", str(path)).splitlines():
        if (found := SYMBOL.match(line)) and found["type"] == "T":
            yield found["name"]


def references(path):
    section = ""
    for line in output("readelf", "-rW", str(path)).splitlines():
        if line.startswith("Relocation section"):
            section = line.split("'")[1]
        elif not section.startswith((".rela.eh_frame", ".rela.debug")) and (found := RELOCATION.match(line)):
            yield found["name"]


def plain_name(signature):
    """"slot" of "bts3::engine::pool::slot(int) const"."""
    return re.split(r"::", re.sub(r"<[^<>]*>", "", re.sub(r"\[abi:\w+\]", "", signature)).split("(")[0])[-1]


def source_of(root, path):
    parts = path.parts
    at = next(i for i, part in enumerate(parts) if part == "CMakeFiles")
    folder = next(i for i, part in enumerate(parts) if part in FOLDERS)
    return root.joinpath(*parts[folder:at], *parts[at + 2:]).with_suffix("")


def words_of(path):
    text = COMMENT.sub("", path.read_text(encoding="utf-8")) if path.is_file() else ""
    return collections.Counter(re.findall(r"\w+", text))


def unused(root, build):
    defined, used = {}, set()
    for path in objects(root, build.resolve()):
        relative = path.relative_to(build.resolve())
        for name in definitions(path):
            defined[name] = relative
        used.update(references(path))
    names = demangled(set(defined) | used)
    used_names = {names[name] for name in used}
    bench = collections.Counter()
    for path in (root / "bench").rglob("*.cc"):
        bench += words_of(path)
    for name, relative in sorted(defined.items(), key=lambda one: (str(one[1]), names[one[0]])):
        signature = names[name]
        plain = plain_name(signature)
        if signature in used_names or plain == "main" or plain.startswith("~") or bench[plain]:
            continue
        source = source_of(root, relative)
        header = source.with_suffix(".hh")
        # Its definition and a call; in the header its declaration and a call.
        if words_of(source)[plain] > 1 or words_of(header)[plain] > 1:
            continue
        yield relative, signature


def obstacle(build):
    """Why nothing can be told of these objects, or None."""
    if not (main := build / "app/CMakeFiles/btrfs_to_s3.dir/main.cc.o").is_file():
        return "the program has not been built here"
    symbols = output("nm", str(main))
    if "__gnu_lto_slim" in symbols:
        return "objects of link-time optimisation have no relocations"
    return "the counters of coverage refer to every function" if "__profc_" in symbols else None


def violations(root, build, allowed):
    found, met = [], set()
    for relative, signature in unused(root, build):
        excuse = next((one for one in allowed if signature.startswith(one)), None)
        if excuse is None:
            found.append(f"{source_of(pathlib.PurePath(), relative)}: nothing but tests uses {signature}")
        met.add(excuse)
    return found + [f"{one} is used now: it leaves the list of check_dead_code.py" for one in sorted(set(allowed) - met)]


def self_test():
    compiler = shutil.which("c++")
    if not compiler:
        return None
    sound = {"engine/a.hh": "namespace n { int shared(int); struct one { int asked() const; virtual int answered(); }; }\n",
             "engine/a.cc": '#include "a.hh"\nnamespace n { int shared(int x) { return x; } int one::asked() const { return 2; }\n'
                            "int one::answered() { return asked(); } }\n",
             "app/main.cc": '#include "../engine/a.hh"\nint main() { n::one it; return n::shared(3) + it.answered(); }\n'}
    planted = [({"engine/a.cc": "namespace n { int for_tests(int x) { return x; } }\n"}, "n::for_tests(int)"),
               ({"engine/a.hh": "namespace n { struct two { int told(); }; }\n", "engine/a.cc": "int n::two::told() { return 1; }\n"},
                "n::two::told()"),
               ({"engine/a.cc": "namespace n { int for_bench(int x) { return x; } }\n", "bench/b.cc": "int a = n::for_bench(1);\n"}, None)]
    for more, expected in planted:
        with tempfile.TemporaryDirectory() as directory:
            root, build = pathlib.Path(directory) / "tree", pathlib.Path(directory) / "build"
            for path in sound | more:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(sound.get(path, "") + more.get(path, ""), encoding="utf-8")
            for path in ("engine/a.cc", "app/main.cc"):
                folder, file = path.split("/")
                into = build / folder / "CMakeFiles" / ("btrfs_to_s3.dir" if folder == "app" else f"bts3_{folder}.dir")
                into.mkdir(parents=True, exist_ok=True)
                subprocess.run([compiler, "-std=c++20", "-O2", "-c", str(root / path), "-o", str(into / f"{file}.o")], check=True)
            found = violations(root, build, {})
            if [line.endswith(f"uses {expected}") for line in found] != ([True] if expected else []):
                return f"{more}: {found}"
            if expected and violations(root, build, {expected: ""}):
                return f"allowed, and reported: {expected}"
            if len(violations(root, build, {"n::shared": ""})) != (2 if expected else 1):
                return "an allowance that nothing needs is not reported"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if not all(map(shutil.which, ("nm", "readelf", "c++filt"))):
        print("skipped: binutils is not installed")
        return SKIP
    if arguments.self_test:
        problem = self_test()
        print(problem or "planted functions are found")
        return 1 if problem else 0
    if problem := obstacle(arguments.build):
        print(f"skipped: {problem}")
        return SKIP
    found = violations(arguments.root.resolve(), arguments.build, ALLOWED)
    print("\n".join(found) if found else "no function is there for tests alone")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
