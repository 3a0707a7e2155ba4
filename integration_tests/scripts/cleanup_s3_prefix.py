#!/usr/bin/env python3
"""Deletes all objects below aws.prefix in the bucket, and ends uploads there; without --yes it tells what there is."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import aws, session  # noqa: E402


def options():
    result = session.parser(__doc__)
    result.add_argument("--yes", action="store_true", help="really delete")
    return result


def body(this, arguments):
    prefix = this.settings.aws.prefix + "/"
    place = f"s3://{this.settings.aws.bucket}/{prefix}"
    if arguments.yes:
        objects, uploads = aws.remove_all(this.store, prefix)
        this.log.say(f"  {place}: {objects} objects deleted, {uploads} uploads ended")
        return
    found, uploads = this.store.list(prefix), this.store.open_uploads(prefix)
    for key, size in found.items():
        this.log.say(f"{size:>14}  {key}")
    this.log.say(f"  {place}: {len(found)} objects, {sum(found.values())} bytes, {len(uploads)} open uploads"
                 + ("; --yes deletes them" if found or uploads else ""))


if __name__ == "__main__":
    sys.exit(session.main(body, options(), __file__))
