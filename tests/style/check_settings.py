#!/usr/bin/python3 -B
"""Below app/ no text names a key of the configuration: what a setting is called is app's to say (engine/setting.hh).
And outside of app/config/ nobody compares a setting with text: it is a typed value there.

  check_settings.py ROOT             checks what Git tracks
  check_settings.py ROOT --self-test plants a violation of each kind and expects to find it

The keys are those of config.example.toml.
"""
import argparse
import pathlib
import re
import sys
import tempfile

from check_tree import tracked

BELOW_APP = ("btrfs", "engine", "planner", "s3")
EXAMPLE = "config.example.toml"
# What looks like a key and is none.
OTHERS = {("s3/credentials/aws_settings.cc", "s3.addressing_style"): "a setting of the AWS profile, which has that name"}
# Of a `config`, which users of one call settings.
SETTING = r"\bsettings(?:\.|->)\w+(?:\.\w+)+"
COMPARED = re.compile(rf'{SETTING}\s*[!=]=\s*"|"\s*[!=]=\s*(?:\w+(?:\.|->))*{SETTING}')
# A comment, or a literal; whichever begins first.
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|^\s*#include[^\n]*|R"\((?P<raw>.*?)\)"|"(?P<text>(?:[^"\\\n]|\\.)*)"', re.DOTALL | re.MULTILINE)


def keys(example):
    table = ""
    for line in example.splitlines():
        if found := re.match(r"\[(\w+)\]", line):
            table = found[1]
        elif found := re.match(r"#?(\w+) = ", line):
            yield f"{table}.{found[1]}"


def violations(root, others):
    known = sorted(keys((root / EXAMPLE).read_text(encoding="utf-8")), key=len, reverse=True)
    if not known:
        return [f"{EXAMPLE}: no key was found"]
    named = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, known))})(?!\w)")
    found, met = [], set()
    for path in tracked(root):
        if path.parts[0] == "app" and path.parts[1] != "config" and path.suffix in (".cc", ".hh"):
            source = (root / path).read_text(encoding="utf-8")
            for compared in COMPARED.finditer(source):
                line = source.count("\n", 0, compared.start()) + 1
                found.append(f"{path}:{line}: compares a setting with text: app/config reads it, and gives it a type")
        if path.parts[0] not in BELOW_APP or path.suffix not in (".cc", ".hh"):
            continue
        source = (root / path).read_text(encoding="utf-8")
        for token in TOKEN.finditer(source):
            for key in named.findall(token["text"] or token["raw"] or ""):
                if (str(path), key) in others:
                    met.add((str(path), key))
                    continue
                line = source.count("\n", 0, token.start()) + 1
                found.append(f"{path}:{line}: names {key}: take a member of engine::setting, or let app say it")
    found += [f"{path}: does not name {key} any more, which check_settings.py allows" for path, key in sorted(set(others) - met)]
    return found


def self_test():
    sound = {EXAMPLE: '# s3.none = 1\n[s3]\nregion = "x"\n#part_size_bytes = 1\n[thaw]\n#days = 2\n',
             "engine/a.cc": '// As s3.region says.\n#include "s3.region"\nauto a = "no.s3.region.x, s3.region_of, its days";\n',
             "app/a.cc": 'auto a = "s3.region"; bool b = with.settings.s3.region.empty();\n',
             "app/config/a.cc": 'bool b = settings.s3.acl == "none";\n', "s3/own.cc": 'auto a = "thaw.days";\n'}
    others = {("s3/own.cc", "thaw.days"): ""}
    faults = [("engine/b.cc", 'auto b = "lower s3.part_size_bytes, or";\n'), ("s3/b.hh", 'auto b = "s3.region";  // of it\n'),
              ("btrfs/b.cc", 'auto b = f("//", "thaw.days");\n'), ("planner/b.cc", 'auto b = R"(thaw.days)";\n'),
              ("s3/own.cc", 'auto a = "s3.region";  auto b = "thaw.days";\n'), ("s3/own.cc", "int a;\n"),
              ("app/store/b.cc", 'bool b = with.settings.s3.acl\n    == "none";\n'),
              ("app/restore/b.hh", 'bool b = "auto" != _with.settings.thaw.days;\n')]
    for name, text in faults:
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for path, content in sound.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(content, encoding="utf-8")
            if violations(root, others):
                return [f"a sound tree is reported: {violations(root, others)}"]
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
            if len(violations(root, others)) != 1:
                return [f"not found: {name}: {text!r}: {violations(root, others)}"]
    return []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    found = self_test() if arguments.self_test else violations(arguments.root, OTHERS)
    print("\n".join(found) if found else "settings: named by app alone, typed values there")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
