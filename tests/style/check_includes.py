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
# The modules of app/ by what they are about, floor by floor, the lowest first: a module sees its own group and those of
# lower floors. Nobody sees main, which sees all.
FLOORS = (
    {"text": "human_units json_number nearest_word output progress standard_output subvolume_name text_table",
     "prices": "restore_prices"},
    {"host": "dialogue disk_call environment logging process_start rights run_figures service_notifier signals "
           "source_path standstill whole_file",
     "cli": "cli exit_status"},
    {"config": "config selection"},
    {"store": "chain_reader manifest_turns publication second_look services"},
    {"records": "harness_manifest journal kept_parts metrics run_lock run_report state_store verify_record"},
    {"survey": "bucket_inventory catalogue chosen_backup kept_copies nested_subvolumes observer "
           "receive_refusal restore_plan restore_source retired unfinished"},
    {"transfer": "chain_thaw download_link part_patience received_proof send_failure sent_stream upload_stream"},
    {"backup": "backup_job backup_run hooks",
     "restore": "freed_space restore_command restore_earlier restore_job restore_keeping restore_reports "
           "restore_verify thaw_command",
     "upkeep": "prune_job prune_report verify_job verify_parts verify_report",
     "overview": "complete_command doctor_command doctor_host doctor_probe doctor_report doctor_store "
           "init_answers init_command list_command plan_job status_command"},
)
GROUP_OF = {module: group for floor in FLOORS for group, modules in floor.items() for module in modules.split()}
FLOOR_OF = {group: number for number, floor in enumerate(FLOORS) for group in floor}
# planner/ is pure: no input or output, no clock of its own, no curl, no ring.
IMPURE = re.compile(r"<(curl/|liburing|sys/|unistd|fcntl|fstream|iostream|thread|filesystem)")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|(<[^>]+>))', re.MULTILINE)


def climbs(module, local):
    """Why this module of app/ may not include `local`, which is of app/ too; or None."""
    if module == "main":
        return None
    other = pathlib.PurePath(local).stem
    for name in (module, other):
        if name not in GROUP_OF:
            return f"includes {local}: {name} stands on no floor of check_includes.py"
    mine, theirs = GROUP_OF[module], GROUP_OF[other]
    if mine != theirs and FLOOR_OF[theirs] >= FLOOR_OF[mine]:
        return f"includes {local}: {mine} does not see {theirs}"
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
                    if folder == "app" and target == "app" and climbs(path.stem, local):
                        found.append(f"{path.relative_to(root)} {climbs(path.stem, local)}")
                    if not (root / local).exists():
                        found.append(f"{path.relative_to(root)} includes {local}, not a path from the top")
                elif folder == "planner" and IMPURE.match(system):
                    found.append(f"{path.relative_to(root)} includes {system}")
    return found


def self_test():
    cases = {
        "engine/a.hh": '#include "s3/b.hh"\n',
        "s3/a.cc": '#include "btrfs/b.hh"\n',
        "planner/a.cc": '#include "engine/b.hh"\n',
        "planner/c.cc": "#include <sys/stat.h>\n",
        "btrfs/a.cc": '#include "app/output.hh"\n',
        "app/text_table.cc": '#include "app/config.hh"\n',
        "app/signals.hh": '#include "app/cli.hh"\n',
        "app/restore_job.cc": '#include "app/backup_job.hh"\n',
        "app/new.cc": '#include "app/output.hh"\n',
    }
    for name, text in cases.items():
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for folder in ARROWS:
                (root / folder).mkdir()
                (root / folder / "b.hh").write_text("", encoding="utf-8")
            for module in GROUP_OF:
                (root / "app" / (module + ".hh")).write_text("", encoding="utf-8")
            sound = {"app/main.cc": '#include "app/restore_job.hh"\n#include "app/backup_job.hh"\n',
                     "app/observer.cc": '#include "app/observer.hh"\n#include "app/services.hh"\n'}
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
