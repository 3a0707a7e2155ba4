"""Peak memory against the promise (DESIGN.md section 2): (concurrency + 1) parts + 64 MiB, 160 MiB with a spool."""
from kit import figures, relay
from kit.contest import rounds
from .common import GIB, MIB, PART_MIN, PipeUpload, pipe_world, promised, s3_tables, target
from .registry import scenario


def row_of(usages, what, limit):
    peak = figures.spread(usage.peak_rss / MIB for usage in usages)
    return {**what, "peak_rss_mib": peak, "promised_mib": limit / MIB}


def target_of(row, what):
    return target(f"peak RSS / promise, {what}", row["peak_rss_mib"]["max"] / row["promised_mib"], "<= 1",
                  row["peak_rss_mib"]["max"] <= row["promised_mib"])


@scenario("memory", size=16 * GIB, smoke=96 * MIB, runs=3)
def memory(context):
    """Peak RSS with 1, 4 and 16 parts in flight, over the stream's length, and with a spool."""
    part = PART_MIN if context.smoke else 32 * MIB
    counts, lengths = (1, 4, 16), (16, 4, 1)
    rows, targets = [], []
    with pipe_world(context) as (sink, upload), context.scratch(context.disk_directory) as disk:
        long, chunk = upload.stream, upload.stream.chunk
        # 128 MiB/s in all, which the sender exceeds: every slot fills. The streams are twice as long as all slots.
        for count in counts:
            stream = long.times(max(1, -(-2 * (count + 1) * part // chunk)))
            one = PipeUpload(upload.program, stream, name=f"in-flight{count}")
            name = f"{count} in flight"
            with relay.running(upload.program.directory, sink.http_port, 128 * MIB / count) as slow:
                s3 = s3_tables(context, slow.endpoint, part_size_bytes=part, concurrency=count)
                usages = rounds(context, {name: lambda _turn, one=one, s3=s3: one.run(s3)}, {name: stream.size})[name]
            rows.append(row_of(usages, {"in_flight": count, "part_mib": part / MIB, "stream_mib": stream.size / MIB},
                               promised(count, part)))
            targets.append(target_of(rows[-1], name))
        s3 = s3_tables(context, sink.endpoint())
        spool = {"global": {"spool_dir": str(disk), "spool_size_bytes": 16 * context.part_size}}
        by_length = []
        for divisor in lengths:
            stream = long.times(max(1, long.repetitions // divisor))
            one = PipeUpload(upload.program, stream, name=f"length{divisor}")
            name = f"{stream.size / MIB:.0f} MiB"
            usages = rounds(context, {name: lambda _turn, one=one: one.run(s3)}, {name: stream.size})[name]
            rows.append(row_of(usages, {"in_flight": 4, "part_mib": context.part_size / MIB,
                                        "stream_mib": stream.size / MIB}, promised(4, context.part_size)))
            targets.append(target_of(rows[-1], name))
            by_length.append(rows[-1]["peak_rss_mib"]["median"])
        one = PipeUpload(upload.program, long.times(max(1, long.repetitions // 4)), name="spooled")
        usages = rounds(context, {"spool": lambda _turn: one.run({**s3, "spool_enabled": True}, **spool)},
                        {"spool": one.stream.size})["spool"]
        rows.append(row_of(usages, {"in_flight": 4, "part_mib": context.part_size / MIB,
                                    "stream_mib": one.stream.size / MIB, "spool": "on"}, 160 * MIB))
        targets.append(target_of(rows[-1], "spool"))
    growth = by_length[-1] / by_length[1]
    targets.append(target("peak RSS of the longest stream / of a quarter", growth, "<= 1.02", growth <= 1.02))
    return {"rows": rows, "targets": targets}
