#!/usr/bin/python3 -B
"""Defects that the simulation has to find: sources of the program, each with a wrong turn that can be switched on.

  planted.py files                      names the sources, from the top
  planted.py write ROOT OUT             writes them into OUT, with the defects
  planted.py check BINARY SEEDS         plays so many histories with each defect: each is found, and without any none
                                        is
"""
import argparse
import pathlib
import re
import subprocess
import sys

# name: (what goes wrong, file, [(what stands there once, what stands there instead)]); PLANTED is true where it is switched on.
DEFECTS = {
    "lost_wake_up": ("the worker is not woken when a part is full", "engine/hash_worker.cc", [
        ("  _job->sealed.store(true, std::memory_order_seq_cst);\n  _worker->wake();",
         "  _job->sealed.store(true, std::memory_order_seq_cst);\n  if (!PLANTED) {\n    _worker->wake();\n  }")]),
    "forgotten_digest": ("the chain of a chunk's digests misses a part", "engine/hash_worker.cc", [
        ("  _chain = job.chain;\n  _payload", "  if (!PLANTED) {\n    _chain = job.chain;\n  }\n  _payload")]),
    "slot_promised_twice": ("a slot that a waiter took stays promised", "engine/buffer_pool.cc", [
        ("    --_promised;\n", "    _promised -= PLANTED ? 0 : 1;\n")]),
    "ignored_stop": ("operations are not cancelled", "engine/reactor.cc", [
        ("  if (operation.completed) {\n    return;\n  }\n  if (_player", "  if (operation.completed || PLANTED) {\n    return;\n  }\n  if (_player")]),
    "short_write_forgotten": ("the rest of a short write to a pipe is dropped", "engine/pipe_writer.cc", [
        ("    bytes = bytes.subspan(*written);", "    bytes = bytes.subspan(PLANTED ? bytes.size() : *written);")]),
    "short_read_forgotten": ("the rest of a short read of the spool is taken for read", "engine/spool.cc", [
        ("    done += *got;", "    done += PLANTED ? padded - done : *got;")]),
    "place_without_waiter": ("who waits for a place in the spool is not told", "engine/spool.cc", [
        ("  _freed.wake_one();", "  if (!PLANTED) {\n    _freed.wake_one();\n  }")]),
    "swapped_parts": ("the second and the third part of a chunk change places", "app/upload/upload_chunk.cc", [
        ("_upload->put_part(part.number, from.body", "_upload->put_part(swapped(part.number, PLANTED), from.body"),
        ("_upload->tag_of(part.number)", "_upload->tag_of(swapped(part.number, PLANTED))")]),
    "turn_given_twice": ("a store that has slowed down is sent more at a time than is allowed", "app/upload/upload_budget.cc", [
        ("    in_flight.put_in(1);", "    in_flight.put_in(PLANTED ? 2 : 1);")]),
    "swallowed_failure": ("a part that failed counts as sent", "app/upload/upload_stream.cc", [
        ("  if (!sent) {\n    fail(", "  if (!sent && !PLANTED) {\n    fail(")]),
    "tried_for_ever": ("patience has no end", "s3/verbs/retrying_store.cc", [
        ("    if (left.count() <= 0) {", "    if (PLANTED && left.count() <= 0) {\n      left = std::chrono::minutes(1);\n    }\n    if (left.count() <= 0) {")]),
    "blamed_for_ever": ("what the store refuses is sent again and again", "s3/verbs/retrying_store.cc", [
        ("++_blaming >= _owner._policy.blaming_attempts_max", "++_blaming >= (PLANTED ? 1000 : _owner._policy.blaming_attempts_max)")]),
    "upload_never_begun": ("who waits for the id of an upload is not told that there will be none", "s3/verbs/multipart_upload.cc", [
        ("    _created.set();\n  }\n  auto waiting", "    if (_id || !PLANTED) {\n      _created.set();\n    }\n  }\n  auto waiting")]),
    "parts_of_two_attempts": ("a part is taken for an earlier attempt's whatever is before it", "engine/seal_walk.cc", [
        ("  return one.update(std::as_bytes(std::span(before.words)));",
         "  return PLANTED ? ok() : one.update(std::as_bytes(std::span(before.words)));")]),
    "unverified_part": ("a part with another digest is released", "app/download/part_fetcher.cc", [
        ("  if (!equal) {", "  if (!equal && !PLANTED) {")]),
    "part_not_waited_for": ("a part is released before it is there", "app/download/download_link.cc", [
        ("    auto waiting = one->ready.wait();\n    (void)co_await std::move(waiting);\n    _starved",
         "    if (!PLANTED) {\n      auto waiting = one->ready.wait();\n      (void)co_await std::move(waiting);\n    }\n    _starved")]),
}
HEAD = """namespace bts3::simulation {
[[nodiscard]] bool is_planted(const char* name);
[[nodiscard]] inline unsigned swapped(unsigned number, bool planted) {
  return planted && (number == 2 || number == 3) ? 5 - number : number;
}
}  // namespace bts3::simulation
using bts3::simulation::swapped;
"""


def fail(text):
    print(text, file=sys.stderr)
    return 1


def write(root, out):
    out.mkdir(parents=True, exist_ok=True)
    texts = {}
    for name, (_, file, changes) in DEFECTS.items():
        for old, new in changes:
            text = texts.setdefault(file, (root / file).read_text(encoding="utf-8"))
            if text.count(old) != 1:
                return fail(f"planted.py: {name}: what it changes stands {text.count(old)} times in {file}, not once:\n{old}")
            texts[file] = text.replace(old, new.replace("PLANTED", f'bts3::simulation::is_planted("{name}")'))
    for file, text in texts.items():
        (out / file.replace("/", "_")).write_text(HEAD + text, encoding="utf-8")
    return 0


def kind_of(file):
    """The histories in which its code runs."""
    if file.startswith(("app/download/", "engine/pipe_writer")):
        return ["--kind", "download"]
    return ["--kind", "upload"] if file.startswith(("app/upload/", "engine/seal_walk")) else []


def check(binary, seeds):
    missed = 0
    for name, (what, file, _) in DEFECTS.items():
        run = subprocess.run([binary, "--seeds", f"1..{seeds}", "--plant", name, *kind_of(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace", check=False)
        seed = re.search(r"^seed (\d+): (.*)", run.stdout, re.MULTILINE)
        if run.returncode == 1 and seed:
            print(f"{name} ({what}): found by history {seed[1]}: {seed[2]}", flush=True)
        else:
            print(f"{name} ({what}): NOT found by {seeds} histories, exit status {run.returncode}\n{run.stdout}", flush=True)
            missed += 1
    run = subprocess.run([binary, "--seeds", f"1..{min(seeds, 1000)}"], check=False)
    return 1 if missed or run.returncode else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("files")
    one = commands.add_parser("write")
    one.add_argument("root", type=pathlib.Path)
    one.add_argument("out", type=pathlib.Path)
    one = commands.add_parser("check")
    one.add_argument("binary")
    one.add_argument("seeds", type=int)
    arguments = parser.parse_args()
    if arguments.command == "write":
        return write(arguments.root, arguments.out)
    if arguments.command == "check":
        return check(arguments.binary, arguments.seeds)
    print(";".join(sorted({file for _, file, _ in DEFECTS.values()})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
