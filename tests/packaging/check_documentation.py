#!/usr/bin/python3
"""The manual pages say what the program does, no more and no less.

  check_documentation.py ROOT BINARY commands     commands and options of --help = those of the page
  check_documentation.py ROOT BINARY exit-status  app/cli/exit_status.hh = section EXIT STATUS
  check_documentation.py ROOT BINARY events       event= names in the code = section EVENTS
  check_documentation.py ROOT BINARY keys         app/config/keys_of_*.cc = config.example.toml, of which the page
                                                  btrfs_to_s3.toml(5) is made
  check_documentation.py ROOT BINARY fields       documents in JSON, as tests/data has them and as the
                                                  program prints them of mistakes = "Names in JSON" of
                                                  docs/reference.md
  check_documentation.py ROOT BINARY self-test    each check finds a planted gap in both directions
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "integration_tests" / "harness"))
import json_names  # noqa: E402, of the harness, which checks what its cases read with it

PAGE = "docs/man/btrfs_to_s3.1.scd"
EXAMPLE = "config.example.toml"
SOURCES = ("app", "btrfs", "engine", "planner", "s3")


class Tree:
    """What is compared, as text; the self-test changes some of it."""

    def __init__(self, root, binary):
        self.binary = binary
        self.page = (root / PAGE).read_text(encoding="utf-8")
        self.example = (root / EXAMPLE).read_text(encoding="utf-8")
        self.config = "".join(path.read_text(encoding="utf-8") for path in sorted((root / "app/config").glob("keys_of_*.cc")))
        self.statuses = (root / "app/cli/exit_status.hh").read_text(encoding="utf-8")
        self.code = {str(path.relative_to(root)): path.read_text(encoding="utf-8")
                     for folder in SOURCES for path in sorted((root / folder).rglob("*.cc"))}
        self.helps = {}
        self.names = json_names.table(root)
        self.documents = {str(path.relative_to(root)): path.read_text(encoding="utf-8")
                          for folder in ("surface", "plans") for path in sorted((root / "tests/data" / folder).glob("*.json"))}

    def help(self, *command):
        if command not in self.helps:
            self.helps[command] = subprocess.run(
                [self.binary, *command, "--help"], capture_output=True, text=True, check=True, timeout=60,
                env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}).stdout
        return self.helps[command]


def section(page, title):
    found = re.search(rf"^# {title}\n(.*?)(?=^# |\Z)", page, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def entries(text):
    """Names in the form  *name*  at the beginning of a line, as the pages' lists have them."""
    return re.findall(r"^\*([a-z0-9_]+)\*", text, re.MULTILINE)


def compare(what, code, page, where_code, where_page):
    """Prints what to do about each difference; the number of them."""
    for name in sorted(code - page):
        print(f"{what} {name} is in {where_code} but not in {where_page}: document it there")
    for name in sorted(page - code):
        print(f"{what} {name} is in {where_page} but not in {where_code}: remove it there, or correct its name")
    return len(code ^ page)


def help_options(text):
    """{option: value} of a --help: "" without one, "a|b" for a choice, else its type's name."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"  (?:-\w,)?(--[a-z0-9-]+)(?: ([A-Z]+)(?![a-z])(?:=\S+)?(?::\{([^}]*)\})?)?", line)
        if match:
            found[match[1]] = match[3].replace(",", "|") if match[3] else match[2] or ""
    return found


def help_commands(text):
    listed = text.split("Subcommands:", 1)[1] if "Subcommands:" in text else ""
    return set(re.findall(r"^  ([a-z]+) ", listed.split("\n\n", 1)[0], re.MULTILINE))


def all_commands(help_of):
    """Words of each command that can be given: ("keys", "show") where a command has some of its own."""
    return sorted((name, *inner) for name in help_commands(help_of())
                  for inner in ([(one,) for one in help_commands(help_of(name))] or [()]))


def page_options(text):
    return {match[1]: match[2] or "" for match in
            re.finditer(r"^\*(--[a-z0-9-]+)\*(?: _([^_]+)_)?", text, re.MULTILINE)}


def with_values(options):
    return {f"{name} {value}".strip() for name, value in options.items()}


def check_commands(tree):
    common = help_options(tree.help())
    commands = section(tree.page, "COMMANDS")
    parts = dict(re.findall(r"^## ([a-z]+(?: [a-z]+)?)\n(.*?)(?=^## |\Z)", commands, re.MULTILINE | re.DOTALL))
    known = {" ".join(words): words for words in all_commands(tree.help)}
    wrong = compare("option", with_values(common), with_values(page_options(section(tree.page, "OPTIONS"))),
                    "--help", f"{PAGE}, section OPTIONS, as *--name* _VALUE_")
    wrong += compare("command", set(known), set(parts), "--help",
                     f"{PAGE}, section COMMANDS, as \"## name\" with its options below")
    for command in sorted(set(known) & set(parts)):
        own = {name: value for name, value in help_options(tree.help(*known[command])).items() if name not in common}
        wrong += compare("option", with_values(own), with_values(page_options(parts[command])),
                         f"{command} --help", f"{PAGE}, \"## {command}\", as *--name* _VALUE_")
    return wrong


def check_exit_statuses(tree):
    code = set(re.findall(r"^  [a-z_]+ = (\d+),", tree.statuses, re.MULTILINE))
    page = set(entries(section(tree.page, "EXIT STATUS")))
    return compare("exit status", code, page, "app/cli/exit_status.hh", f"{PAGE}, section EXIT STATUS, as *number*")


# Where the event of a call is no literal: the file, and where its names stand instead.
INDIRECT = {
    ("app/backup/backup_audience.cc", "warning.event"): ("planner/plan.cc", r'warnings\.push_back\(\s*(?:notice)?\{"([a-z_]+)"'),
    ("s3/verbs/archive_thaw.cc", "event"): ("s3/verbs/archive_thaw.cc", r'log_progress\("([a-z_]+)"'),
}


def code_events(tree):
    """Names, and complaints about calls whose names cannot be read."""
    names, complaints = set(), []
    for path, text in tree.code.items():
        for call in re.finditer(r"log_level::\w+,\s*(\"\w+\"|_?\w+),\s*([^,]+?),\s*\{", text):
            event = call[2]
            literal = re.findall(r'"([a-z0-9_]+)"', event)
            if literal:
                names.update(literal)
            elif (path, event) in INDIRECT:
                where, pattern = INDIRECT[path, event]
                found = re.findall(pattern, tree.code[where])
                names.update(found)
                if not found:
                    complaints.append(f"{where} has no names any more for the events of {path}: correct INDIRECT here")
            else:
                complaints.append(f"{path} logs an event named by \"{event}\": add to INDIRECT in "
                                  "tests/packaging/check_documentation.py where its names stand")
    return names, complaints


def check_events(tree):
    names, complaints = code_events(tree)
    for complaint in complaints:
        print(complaint)
    return len(complaints) + compare("event", names, set(entries(section(tree.page, "EVENTS"))), "the code",
                                     f"{PAGE}, section EVENTS, as *name* with a line on what it means")


def example_keys(text):
    keys, table = set(), None
    for line in text.splitlines():
        header = re.match(r"\[([a-z0-9_]+)\]", line)
        table = header[1] if header else table
        key = re.match(r"#?([a-z0-9_]+) = ", line)
        if key:
            keys.add(f"{table}.{key[1]}")
    return keys


def check_keys(tree):
    code = {f"{table}.{key}" for table, key in re.findall(r'^      \{"([a-z0-9]+)", "([a-z0-9_]+)",',
                                                          tree.config, re.MULTILINE)}
    code.add("subvolumes.paths")  # a list of more than values, read on its own
    return compare("key", code, example_keys(tree.example), "app/config/keys_of_*.cc",
                   f"{EXAMPLE} (of which btrfs_to_s3.toml(5) is made), as a comment and #key = default")


# Printed by no test that keeps them; the end-to-end cases check theirs when they read them.
NOT_KEPT = {"all", "damaged_parts", "device", "directory_base64", "fingerprint", "kept_snapshot", "keys",
            "links_kept_from_before", "missing", "passphrase", "path_after", "path_after_base64", "path_base64",
            "path_before_base64", "ready", "recipient", "signature", "signer", "subvolume_count", "target_base64",
            "thaw_wait_seconds", "transfer_seconds", "verified_by"}


def printed_of_mistakes(binary):
    """[(command, document)]: whoever asked for JSON gets it of a wrong configuration or a wrong word, too."""
    made = []
    with tempfile.TemporaryDirectory() as directory:
        broken = pathlib.Path(directory) / "config.toml"
        broken.write_text("[s3]\nbucket = 5\n", encoding="utf-8")
        for command in ("backup", "plan", "list", "status", "restore", "thaw", "verify", "prune", "doctor"):
            more = ["--subvolume", "d"] if command in ("restore", "thaw") else []
            for words in (["--config", str(broken)], ["--config", "/no/such"], ["--no-such-option"]):
                run = subprocess.run([binary, command, *more, *words, "--json"], capture_output=True, text=True, timeout=60,
                                     env={"PATH": "/usr/bin:/bin", "HOME": directory}, check=False)
                for document in json_names.documents(run.stdout):
                    made.append((f"{command} {words[0]} {words[-1]}", document))
                    if not document.get("error") or document.get("exit_status") != run.returncode:
                        print(f"{command} {' '.join(words)} --json prints no error with its exit status {run.returncode}")
                        made.append(("", {}))
    return made


def check_fields(tree):
    documents = [(name, document) for name, text in tree.documents.items() for document in json_names.documents(text)]
    documents += printed_of_mistakes(tree.binary)
    wrong = 0
    for name, document in documents:
        for problem in json_names.problems(document, tree.names):
            print(f"{name}: {problem}")
            wrong += 1
    known = set().union(*(json_names.names_in(document) for _, document in documents)) | NOT_KEPT
    for name in sorted(set(tree.names) - known):
        print(f"{name} is in the table of docs/reference.md, and in no document of tests/data: remove it, or keep one that has it")
        wrong += 1
    return wrong


def self_test(root, binary):
    """(check, what is changed, from, to): each must give at least one difference."""
    plants = [
        (check_commands, "page", "*--once*", "*--twice*"),
        (check_commands, "page", "## thaw\n", "## melt\n"),
        (check_commands, "page", "*--passphrase*", "*--password*"),
        (check_commands, "page", "_full|sample|none_", "_full|none_"),
        (check_commands, "page", "*--log-level*", "*--log-depth*"),
        (check_exit_statuses, "statuses", "partly = 6,", "partly = 7,"),
        (check_events, "page", "*run_finished*", "run_finished"),
        (check_events, "page", "\n# EVENTS\n", "\n# EVENTS\n\n*never_logged*\n"),
        (check_keys, "example", "#retain = 2", "#retained = 2"),
        (check_keys, "config", '{"snapshots", "retain",', '{"snapshots", "keep",'),
    ]
    for check, attribute, old, new in plants:
        tree = Tree(root, binary)
        if check(tree) != 0:
            return 1
        text = getattr(tree, attribute)
        assert old in text, f"{old!r} is not in {attribute} any more; plant another fault"
        setattr(tree, attribute, text.replace(old, new))
        if check(tree) == 0:
            print(f"{check.__name__} does not see {old!r} become {new!r}")
            return 1
    for old, new in (('"version"', '"edition"'), ('"created_at"', '"time"'), ('"restorable": true', '"restorable": "yes"'),
                     ("Z\",\n      \"last_full_at", "+01\",\n      \"last_full_at")):
        tree = Tree(root, binary)
        if not any(old in text for text in tree.documents.values()):
            print(f"no document has {old!r} any more; plant another fault")
            return 1
        tree.documents = {name: text.replace(old, new) for name, text in tree.documents.items()}
        if check_fields(tree) == 0:
            print(f"check_fields does not see {old!r} become {new!r}")
            return 1
    tree = Tree(root, binary)
    tree.names["never_printed"] = "text"
    if check_fields(tree) != 1:
        return 1
    tree = Tree(root, binary)
    tree.code["app/new.cc"] = 'log.write(log_level::info, "app", name_of(it), {});'
    return 0 if check_events(tree) == 1 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("binary")
    checks = {"commands": check_commands, "exit-status": check_exit_statuses, "events": check_events,
              "keys": check_keys, "fields": check_fields}
    parser.add_argument("check", choices=[*checks, "self-test"])
    arguments = parser.parse_args()
    if arguments.check == "self-test":
        return self_test(arguments.root, arguments.binary)
    return 1 if checks[arguments.check](Tree(arguments.root, arguments.binary)) else 0


if __name__ == "__main__":
    sys.exit(main())
