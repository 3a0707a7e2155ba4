"""Uploads where something holds them back: a rate for each connection, the program's own limit, memory, a disk."""
import time

from kit import figures, relay
from kit.contest import Contest, rounds
from .common import GIB, MIB, PART_MIN, PipeUpload, add_floor_upload, pipe_world, s3_tables, target, value_in
from .registry import scenario


@scenario("upload-slow-uplink", size=64 * MIB, smoke=10 * MIB)
def slow_uplink(context):
    """Each connection gets 8 MiB/s: do N connections bring N times as much? The size is for each connection."""
    counts = (1, 2) if context.smoke else (1, 2, 4, 8)
    rate = (32 if context.smoke else 8) * MIB
    with pipe_world(context, 2 * context.size) as (sink, upload), \
            relay.running(upload.program.directory, sink.careful_port, rate) as slow:
        contestants, sizes = {}, {}
        for count in counts:
            stream = upload.stream.times(count)  # pieces of context.size each
            one = PipeUpload(upload.program, stream, name=f"pipe{count}")
            s3 = s3_tables(context, slow.endpoint, part_size_bytes=PART_MIN if context.smoke else 8 * MIB,
                           concurrency=count)
            contestants[str(count)] = lambda _turn, one=one, s3=s3: one.run(s3)
            sizes[str(count)] = stream.size
        usages = rounds(context, contestants, sizes)
    speeds = {name: [sizes[name] / usage.seconds for usage in found] for name, found in usages.items()}
    rows, targets = [], []
    for count in counts:
        ratio = figures.spread(figures.paired_ratios(speeds[str(count)], [one * count for one in speeds["1"]]))
        rows.append({"connections": count, "mib_s": figures.spread(value / MIB for value in speeds[str(count)]),
                     "of_n_times_one": ratio})
        if count > 1:
            targets.append(target(f"{count} connections / {count} x one", ratio["median"], ">= 0.95",
                                  ratio["median"] >= 0.95))
    return {"rows": rows, "targets": targets, "rate_of_a_connection_mib_s": rate / MIB,
            "runs": {name: [usage.figures() for usage in found] for name, found in usages.items()}}


def windows(samples, seconds):
    """Rates over every stretch of so many seconds; `samples` of (time, bytes), rising."""
    rates, start = [], 0
    for end, (now, count) in enumerate(samples):
        while start + 1 < end and samples[start + 1][0] <= now - seconds:
            start += 1
        if now - samples[start][0] >= seconds:
            rates.append((count - samples[start][1]) / (now - samples[start][0]))
    return rates


@scenario("bandwidth-limit", size=416 * MIB, smoke=32 * MIB)
def bandwidth_limit(context):
    """s3.max_bandwidth_bytes_per_sec = 32 MiB/s, measured before the sink: every stretch of ten seconds."""
    limit, stretch = 32 * MIB, (0.5 if context.smoke else 10.0)
    part = PART_MIN if context.smoke else 8 * MIB
    rows, shares = [], []
    with pipe_world(context) as (sink, upload), \
            relay.running(upload.program.directory, sink.careful_port, 0) as counted:
        for turn in range(context.runs):
            samples, before = [], counted.bytes()

            def sample():
                count = counted.bytes() - before
                # From the first part on: what comes before is a few small requests.
                if count >= part and (not samples or count > samples[-1][1]):
                    samples.append((time.monotonic(), count))
            usage = upload.run(s3_tables(context, counted.endpoint, part_size_bytes=part,
                                         max_bandwidth_bytes_per_sec=limit), watch=sample)
            found = [rate / limit for rate in windows(samples, stretch)]
            rows.append({"run": turn + 1, "seconds": usage.seconds, "stretches": len(found),
                         "of_limit": figures.spread(found)})
            shares += found
            context.say(f"  run {turn + 1}/{context.runs}: {rows[-1]['of_limit']} of the limit")
    spread = figures.spread(shares)
    targets = []
    if spread:
        targets = [target("slowest stretch / limit", spread["min"], ">= 0.95", spread["min"] >= 0.95),
                   target("fastest stretch / limit", spread["max"], "<= 1.05", spread["max"] <= 1.05)]
    return {"rows": rows, "targets": targets, "limit_bytes_per_second": limit, "stretch_seconds": stretch}


@scenario("upload-spool", size=2 * GIB, smoke=24 * MIB)
def upload_spool(context):
    """With s3.spool_enabled and without: cost into a fast sink, and when a slow one lets the sender go."""
    with pipe_world(context) as (sink, upload), context.scratch(context.disk_directory) as disk:
        released = upload.program.directory / "released"
        timed = PipeUpload(upload.program, upload.stream, after=f"date +%s.%N > {released}", name="timed")
        spool = {"global": {"spool_dir": str(disk), "spool_size_bytes": 2 * upload.stream.size + 64 * MIB}}
        contest = Contest(context, upload.stream.size)
        s3 = s3_tables(context, sink.endpoint())
        contest.add("product", lambda _turn: upload.run({**s3, "spool_enabled": True}, **spool),
                    "btrfs_to_s3 backup --once, s3.spool_enabled = true")
        contest.add("without-spool", lambda _turn: upload.run(s3), "the same, s3.spool_enabled = false")
        add_floor_upload(contest, context, sink.endpoint(), None, ["cat", *upload.stream.pieces], upload.stream.size,
                         context.digest(upload.stream))
        found = contest.run()
        rss = found["contestants"]["product"]["figures"]["peak_rss_mib"]["max"]
        # A sink that needs four times as long as the fast one did: 4 connections at a rate each.
        fast = found["contestants"]["without-spool"]["figures"]["throughput_mib_s"]["median"] * MIB
        with relay.running(upload.program.directory, sink.http_port, fast / 16) as slow:
            rows = []
            for name, tables, on in (("with spool", spool, True), ("without", {}, False)):
                begin = time.time()
                usage = timed.run({**s3, "endpoint_url": slow.endpoint, "spool_enabled": on}, **tables)
                rows.append({"slow sink": name, "seconds": usage.seconds,
                             "sender_done_after_seconds": float(released.read_text(encoding="ascii")) - begin})
    return {**found, "rows": rows, "targets": [
        target("peak RSS with a spool, MiB", rss, "<= 160", rss <= 160),
        target("sender's time with a spool / without, slow sink",
               rows[0]["sender_done_after_seconds"] / rows[1]["sender_done_after_seconds"], "< 1",
               rows[0]["sender_done_after_seconds"] < rows[1]["sender_done_after_seconds"])]}
