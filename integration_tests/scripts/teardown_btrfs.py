#!/usr/bin/env python3
"""Unmounts and removes the filesystem of a run, its scratch files and its gateway; the logs stay."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import runner, session, teardown  # noqa: E402


def options():
    result = session.parser(__doc__)
    result.add_argument("--keep-gateway", action="store_true", help="leave a throwaway gateway running")
    return result


def body(this, arguments):
    runner.must_be_root("unmounting")
    teardown.local(this.settings)
    if not arguments.keep_gateway:
        teardown.gateway(this.settings)
    this.log.say(f"  removed; the logs are in {this.settings.paths.logs}")


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
