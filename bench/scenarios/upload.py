"""Uploads into a sink that is not the limit: the program, the floor and the peers over the same stream."""
from kit import peers
from kit.contest import Contest
from .common import GIB, MIB, add_floor_upload, pipe_world, s3_tables, target
from .registry import scenario


def targets_of(found):
    """Issue 7: CPU at most 1.15 x the floor's, throughput at least 0.9 x."""
    ratios = found["ratios"]["product/floor"]
    made = []
    if "cpu_s_per_gib" in ratios:
        value = ratios["cpu_s_per_gib"]["median"]
        made.append(target("CPU of the program / floor", value, "<= 1.15", value <= 1.15))
    value = ratios["throughput_mib_s"]["median"]
    made.append(target("throughput / floor", value, ">= 0.9", value >= 0.9))
    return made


def pipe_upload(context, tls):
    with pipe_world(context, repeats=False) as (sink, upload):
        stream = upload.stream
        contest = Contest(context, stream.size)
        ca_file = sink.ca_file if tls else None
        s3 = s3_tables(context, sink.endpoint(tls), ca_file)
        contest.add("product", lambda _turn: upload.run(s3),
                    "btrfs_to_s3 backup --once (PATH with a btrfs whose send is: cat STREAM)",
                    lambda: upload.count_syscalls(s3))
        feeder = ["cat", *stream.pieces]
        add_floor_upload(contest, context, sink.endpoint(tls), ca_file, feeder, stream.size, context.digest(stream))
        peers.add_uploads(contest, context, sink.endpoint(tls), ca_file, feeder, stream.size)
        found = contest.run()
        return {**found, "targets": targets_of(found) + peers.targets_of(found, tls)}


@scenario("upload-2GiB-pipe", size=2 * GIB, smoke=24 * MIB)
def upload_pipe(context):
    """A prepared stream over plain http: the engine without Btrfs."""
    return pipe_upload(context, tls=False)


@scenario("upload-2GiB-pipe-https", size=2 * GIB, smoke=24 * MIB)
def upload_pipe_https(context):
    """The same over https."""
    return pipe_upload(context, tls=True)
