#!/usr/bin/python3 -B
"""No function of the program is there for the tests alone: what can be called is called by the program or the bench.

  check_dead_code.py ROOT BUILD             of the objects in BUILD, which has been built from ROOT
  check_dead_code.py ROOT BUILD --self-test compiles a planted function of each kind and expects to find it

A function with external linkage is used where an object of the program has a relocation to it that is not its own. Where the
compiler has put every call of it into its callers there is none: then its name has to stand in its own source once more, beside
its definition, or in the bench. Of what is defined in a header there may be no symbol at all: its name has to stand
in the program once more.
"""
import argparse
import bisect
import collections
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

SKIP = 77
FOLDERS = ("app", "btrfs", "engine", "planner", "s3")
# Demangled beginnings of names, each with the reason why nothing calls it.
ALLOWED = {
    "bts3::engine::secret_string::operator=(bts3::engine::secret_string const&)": "what can be copied can be assigned, and wipes what it had",
    "bts3::engine::operator<<(std::basic_ostream": "whoever prints a secret prints \"(secret)\", and no test's failure shows one",
}
LEFT_OVER = "by which tests see that nothing is left over"
# Of headers, by file and name.
ALLOWED_IN_HEADERS = {
    "app/host/service_notifier.hh watchdog": "what was understood of the environment, which else is seen after minutes",
    "app/upload/upload_budget.hh parts_with_room": "what follows from memory, part size and concurrency",
    "app/upload/upload_budget.hh room_taken": LEFT_OVER,
    "engine/age/part_stanza.hh part_size_is_exact": "what the format promises of sizes, which tests state",
    "engine/reactor.hh operations_in_flight": LEFT_OVER,
    "engine/spool.hh free_parts": LEFT_OVER,
}
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# As clang-format leaves it: a type, a name, a parenthesis, and no call, which ends a statement's line or stands in one.
DECLARED = re.compile(r"^ *(?!return\b|co_|else\b|throw\b|case\b|delete\b|using\b|friend\b)(?:\[\[nodiscard\]\] )?[\w:<>,*& ]*[\w>*&] [*&]?(\w+)\(",
                      re.MULTILINE)
# Named by the language or by a library, which calls them.
HOOKS = ("return_value", "return_void")
# Of an ELF file: types of sections, and an index that is kept elsewhere.
SYMBOLS, RELOCATIONS, INDICES, ELSEWHERE = 2, 4, 18, 0xffff


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


class Object:
    """What an object file of ELF defines and refers to."""

    def __init__(self, path):
        self.data = path.read_bytes()
        table, = struct.unpack_from("<Q", self.data, 0x28)
        count, names = struct.unpack_from("<HH", self.data, 0x3c)
        first = struct.unpack_from("<IIQQQQIIQQ", self.data, table)
        count, names = count or first[5], first[6] if names == ELSEWHERE else names
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, table + 64 * i) for i in range(count)]
        self.names = self.sections[names][4]
        self.symbols = []  # (name or None where it is local, section, beginning, end)
        self.read_symbols()

    def string(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode()

    def content(self, section):
        return self.data[section[4]:section[4] + section[5]]

    def read_symbols(self):
        table = next(one for one in self.sections if one[1] == SYMBOLS)
        indices = [self.content(one) for one in self.sections if one[1] == INDICES]
        strings = self.sections[table[6]][4]
        self.functions = set()  # with external linkage, that stand in this object alone; what is inline is weak
        for number, (name, info, _, section, at, size) in enumerate(struct.iter_unpack("<IBBHQQ", self.content(table))):
            if section == ELSEWHERE:
                section, = struct.unpack_from("<I", indices[0], 4 * number)
            text = self.string(strings + name) if info >> 4 else None
            self.symbols.append((text, section, at, at + size))
            if info == 0x12 and section:  # GLOBAL, FUNC
                self.functions.add(text)

    def references(self):
        """(by whom, or None where that has no name elsewhere; to what)"""
        spans = collections.defaultdict(list)
        for name, section, begin, end in self.symbols:
            if name and section and end > begin:
                spans[section].append((begin, end, name))
        for section in self.sections:
            of = self.string(self.names + self.sections[section[7]][0]) if section[1] == RELOCATIONS else ".debug"
            if of.startswith((".debug", ".eh_frame")):
                continue
            its = sorted(spans[section[7]])
            for at, info, _ in struct.iter_unpack("<QQq", self.content(section)):
                name = self.symbols[info >> 32][0]
                if name:
                    before = bisect.bisect(its, (at, sys.maxsize)) - 1
                    inside = before >= 0 and at < its[before][1]
                    yield its[before][2] if inside else None, name


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


def words_below(root, folders):
    words = collections.Counter()
    for folder in folders:
        for path in (root / folder).rglob("*"):
            if path.suffix in (".hh", ".cc"):
                words += words_of(path)
    return words


def unused(root, build):
    defined, used, by_itself = {}, set(), set()
    for path in objects(root, build.resolve()):
        file = Object(path)
        defined.update((name, path.relative_to(build.resolve())) for name in file.functions)
        for by, name in file.references():
            (by_itself if by == name else used).add(name)
    names = demangled(set(defined) | used)
    used_names = {names[name] for name in used}
    bench = words_below(root, ["bench"])
    for name, relative in sorted(defined.items(), key=lambda one: (str(one[1]), names[one[0]])):
        signature = names[name]
        plain = plain_name(signature)
        if signature in used_names or plain == "main" or plain.startswith("~") or bench[plain]:
            continue
        source = source_of(root, relative)
        header = source.with_suffix(".hh")
        # Its definition and a call; in the header its declaration and a call. One that calls itself would be called.
        if name not in by_itself and (words_of(source)[plain] > 1 or words_of(header)[plain] > 1):
            continue
        yield relative, signature


def unused_in_headers(root):
    """Functions of headers whose names stand nowhere else, be they defined there or nowhere."""
    words = words_below(root, [*FOLDERS, "bench"])
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.hh")):
            for name in DECLARED.findall(COMMENT.sub("", path.read_text(encoding="utf-8"))):
                if words[name] == 1 and name not in HOOKS:
                    yield f"{path.relative_to(root)} {name}"


def obstacle(build):
    """Why nothing can be told of these objects, or None."""
    if not (main := build / "app/CMakeFiles/btrfs_to_s3.dir/main.cc.o").is_file():
        return "the program has not been built here"
    symbols = output("nm", str(main))
    if "__gnu_lto_slim" in symbols:
        return "objects of link-time optimisation have no relocations"
    return "the counters of coverage refer to every function" if "__profc_" in symbols else None


def violations(root, build, allowed, allowed_in_headers):
    found, met = [], set()
    for relative, signature in unused(root, build):
        excuse = next((one for one in allowed if signature.startswith(one)), None)
        if excuse is None:
            found.append(f"{source_of(pathlib.PurePath(), relative)}: nothing but tests uses {signature}")
        met.add(excuse)
    in_headers = set(unused_in_headers(root))
    found += [f"{one.replace(' ', ': nothing but tests uses ')}" for one in sorted(in_headers - set(allowed_in_headers))]
    gone = (set(allowed) - met) | (set(allowed_in_headers) - in_headers)
    return found + [f"{one} is used now: it leaves the list of check_dead_code.py" for one in sorted(gone)]


def self_test():
    compiler = shutil.which("g++")  # which leaves a relocation where a function calls itself
    if not compiler:
        return None
    sound = {"engine/a.hh": "namespace n { int shared(int); struct one { int asked() const; virtual int answered(); }; }\n",
             "engine/a.cc": '#include "a.hh"\nnamespace n { int shared(int x) { return x; } int one::asked() const { return 2; }\n'
                            "int one::answered() { return asked(); } }\n",
             "app/main.cc": '#include "../engine/a.hh"\nint main() { n::one it; return n::shared(3) + it.answered(); }\n'}
    planted = [({"engine/a.cc": "namespace n { int for_tests(int x) { return x; } }\n"}, "n::for_tests(int)"),
               ({"engine/a.hh": "namespace n { struct two { int told(); }; }\n", "engine/a.cc": "int n::two::told() { return 1; }\n"},
                "n::two::told()"),
               ({"engine/a.cc": "namespace n { int again(int x) { return x > 1 ? again(x - 1) * again(x - 2) : 1; } }\n"}, "n::again(int)"),
               ({"engine/a.hh": "namespace n {\nstruct three {\n  [[nodiscard]] int seen() const { return 3; }\n};\n}\n"}, "seen"),
               ({"engine/a.hh": "namespace n {\nint nowhere(int);\n}\n"}, "nowhere"),
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
            found = violations(root, build, {}, {})
            if [line.endswith(f"uses {expected}") for line in found] != ([True] if expected else []):
                return f"{more}: {found}"
            if expected and violations(root, build, {expected: ""}, {}) and violations(root, build, {}, {f"engine/a.hh {expected}": ""}):
                return f"allowed, and reported: {expected}"
            for allowed in (({"n::shared": ""}, {}), ({}, {"engine/a.hh shared": ""})):
                if len(violations(root, build, *allowed)) != (2 if expected else 1):
                    return "an allowance that nothing needs is not reported"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if not all(map(shutil.which, ("nm", "c++filt"))):
        print("skipped: binutils is not installed")
        return SKIP
    if arguments.self_test:
        problem = self_test()
        print(problem or "planted functions are found")
        return 1 if problem else 0
    if problem := obstacle(arguments.build):
        print(f"skipped: {problem}")
        return SKIP
    found = violations(arguments.root.resolve(), arguments.build, ALLOWED, ALLOWED_IN_HEADERS)
    print("\n".join(found) if found else "no function is there for tests alone")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
