"""Sealed uploads and restores: the program against the floor with one bare pass of ChaCha20-Poly1305, in the same rounds."""
import re

from kit import measure
from kit.contest import Contest
from .common import GIB, MIB, floor_upload, pipe_world, promised, run_floor_upload, s3_tables, target
from .registry import scenario
from .restore import floor_restore, sealed_pipe_backup

IN_FLIGHT = 4  # s3.concurrency by default


def make_identity(program):
    """(path of an identity, its recipient), by the program."""
    path = program.directory / "identity.txt"
    done = measure.run([program.binary, "keys", "generate", str(path)], environment=program.environment())
    return path, re.search(r"^recipient +(age1\S+)$", done.stdout, re.MULTILINE)[1]


def targets_of(context, found):
    """Issue 19: CPU at most 1.05 x (floor and one bare pass), throughput at least 0.9 x, memory as promised."""
    ratios = found["ratios"]["product/floor-sealed"]
    rss = found["contestants"]["product"]["figures"]["peak_rss_mib"]["max"]
    limit = promised(IN_FLIGHT, context.part_size) / MIB
    made = [target("peak RSS / promise", rss / limit, "<= 1", rss <= limit)]
    if "cpu_s_per_gib" in ratios:
        value = ratios["cpu_s_per_gib"]["median"]
        made.append(target("CPU of the program / (floor + one bare pass)", value, "<= 1.05", value <= 1.05))
    value = ratios["throughput_mib_s"]["median"]
    made.append(target("throughput / (floor + one bare pass)", value, ">= 0.9", value >= 0.9))
    return made


@scenario("upload-2GiB-sealed", size=2 * GIB, smoke=24 * MIB)
def upload_sealed(context):
    """A prepared stream over plain http, sealed for one recipient; beside it the same unsealed, and both floors."""
    with pipe_world(context, repeats=False) as (sink, upload):
        _, recipient = make_identity(upload.program)
        stream, endpoint = upload.stream, sink.endpoint()
        s3 = s3_tables(context, endpoint)
        contest = Contest(context, stream.size)
        sealed_upload = upload.sealed_for(recipient)
        contest.add("product", lambda _turn: sealed_upload.run(s3),
                    "btrfs_to_s3 backup --once, with encryption.recipients")
        contest.add("product-plain", lambda _turn: upload.run(s3), "btrfs_to_s3 backup --once")
        feeder = ["cat", *stream.pieces]
        plain = context.digest(stream)
        for name, sealed in (("floor-sealed", True), ("floor", False)):
            command = floor_upload(context, endpoint, None, stream.size, sealed)
            # What is sealed has another digest, and the floor counts the bytes itself.
            contest.add(name, lambda _turn, command=command, expected=None if sealed else plain:
                        run_floor_upload(command, feeder, expected),
                        f"STREAM | bench_floor {'--sealed ' if sealed else ''}upload URL BYTES")
        found = contest.run()
        return {**found, "targets": targets_of(context, found)}


@scenario("restore-2GiB-sealed", size=2 * GIB, smoke=24 * MIB)
def restore_sealed(context):
    """The same stream from a sealed backup back into a receiver that swallows it."""
    with sealed_pipe_backup(context, make_identity) as (backup, environment):
        config = backup.use_source()
        contest = Contest(context, backup.size)
        contest.add("product", lambda _turn: backup.restore(config, environment),
                    "btrfs_to_s3 restore with restore.identity_file (PATH with a btrfs whose receive is: cat > /dev/null)")
        for name, sealed in (("floor-sealed", True), ("floor", False)):
            command = floor_restore(context, backup, False, sealed)
            contest.add(name, lambda _turn, command=command: measure.run(command, drain=["cat"]),
                        f"bench_floor {'--sealed ' if sealed else ''}restore URL... | cat > /dev/null")
        found = contest.run()
        return {**found, "targets": targets_of(context, found)}
