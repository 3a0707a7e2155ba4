"""Kills in the middle, and how throughput and memory go with parts and their number."""
from kit import figures, relay
from kit.contest import rounds
from .common import (GIB, MIB, PART_MIN, floor_upload, pipe_world, promised, run_floor_upload, s3_tables, target,
                     value_in)
from .registry import scenario


@scenario("resume", size=GIB, smoke=40 * MIB, runs=3)
def resume(context):
    """kill -9 at 25, 50 and 75 % of an upload, then again: bytes that were sent twice."""
    part, concurrency = PART_MIN if context.smoke else 32 * MIB, 4
    rows = []
    with pipe_world(context) as (sink, upload), \
            relay.running(upload.program.directory, sink.careful_port, 0) as counted:
        size = upload.stream.size
        s3 = s3_tables(context, counted.endpoint, part_size_bytes=part, concurrency=concurrency,
                       # Slow enough to be killed in time.
                       max_bandwidth_bytes_per_sec=200 * MIB)
        for percent in (25, 50, 75):
            again, seconds, resumed = [], [], []
            for _ in range(context.runs):
                config, before = upload.config(s3), counted.bytes()
                killed = upload.run_with(config, expect=-9,
                                         watch=lambda: counted.bytes() - before >= size * percent // 100)
                finished = upload.run_with(config)
                again.append((counted.bytes() - before - size) / MIB)
                seconds.append(finished.seconds)
                resumed.append(value_in(finished, "run_finished", "resumed_bytes") / MIB)
                context.say(f"  killed at {percent} % after {killed.seconds:.2f} s: again {again[-1]:.1f} MiB, "
                            f"resumed {resumed[-1]:.1f} MiB in {seconds[-1]:.2f} s")
            rows.append({"killed_at_percent": percent, "sent_again_mib": figures.spread(again),
                         "resumed_mib": figures.spread(resumed), "seconds_of_the_rerun": figures.spread(seconds)})
    worst = max(row["sent_again_mib"]["max"] for row in rows)
    # Requests and answers beside the parts: far less than a mebibyte.
    limit = concurrency * part / MIB + 1
    return {"rows": rows, "targets": [target("MiB sent twice, at worst", worst, f"<= {limit:.0f} (the parts in flight)",
                                             worst <= limit)]}


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))


@scenario("scale", size=4 * GIB, smoke=24 * MIB)
def scale(context):
    """1 to 16 parts in flight; parts of 5 MiB to 1 GiB. Settings take turns, beside the floor."""
    if context.smoke:
        settings = [(1, PART_MIN), (4, PART_MIN), (2, 8 * MIB)]
    else:
        settings = [(count, 32 * MIB) for count in (1, 2, 4, 8, 16)]
        settings += [(4, size) for size in (5 * MIB, 16 * MIB, 64 * MIB, 128 * MIB, 256 * MIB, GIB)]
    with pipe_world(context) as (sink, upload):
        size, there = upload.stream.size, available_bytes()
        skipped = {named(*setting): f"needs {promised(*setting) / GIB:.1f} GiB of memory, {there / GIB:.1f} GiB are free"
                   for setting in settings if promised(*setting) > there * 3 // 4}
        settings = [setting for setting in settings if named(*setting) not in skipped]
        contestants = {}
        for count, part in settings:
            s3 = s3_tables(context, sink.endpoint(), part_size_bytes=part, concurrency=count)
            contestants[named(count, part)] = lambda _turn, s3=s3: upload.run(s3)
        floor = floor_upload(context, sink.endpoint(), None, size)
        expected = context.digest(upload.stream)
        contestants["floor"] = lambda _turn: run_floor_upload(floor, ["cat", *upload.stream.pieces], expected)
        usages = rounds(context, contestants, dict.fromkeys(contestants, size), warm_up=context.warm_up,
                        backed=max((promised(*setting) for setting in settings), default=0))
    rows, runs = [], {}
    for name, found in usages.items():
        to_floor = figures.paired_ratios([usage.seconds for usage in found], [usage.seconds for usage in usages["floor"]])
        rows.append({"in_flight_x_part": name,
                     "mib_s": figures.spread(size / MIB / usage.seconds for usage in found),
                     "of_the_floors": figures.spread(1 / ratio for ratio in to_floor),
                     "cpu_s_per_gib": figures.spread(usage.cpu_own * GIB / size for usage in found),
                     "peak_rss_mib": figures.spread(usage.peak_rss / MIB for usage in found)})
        if name != "floor":
            runs[f"{name} / floor"] = to_floor
    return {"bytes": size, "rows": rows, "runs": runs, "skipped": skipped}


def named(count, part):
    return f"{count} x {part // MIB} MiB"
