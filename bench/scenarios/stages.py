"""The cost model, measured: CPU seconds for each GiB, stage by stage, of the program beside the floor."""
import collections

from kit import machine, stages
from kit.contest import BACKED, GIB
from .common import MIB, floor_upload, pipe_world, s3_tables
from .registry import Skipped, scenario
from .restore import floor_restore, pipe_backup


def rows_of(path, product, floor, size):
    """One row a stage, dearest first, and the sums."""
    rows = []
    for stage in sorted({*product, *floor}, key=lambda name: -product.get(name, 0)):
        rows.append({"path": path, "stage": stage, "product_s_per_gib": product.get(stage, 0.0) * GIB / size,
                     "floor_s_per_gib": floor.get(stage, 0.0) * GIB / size})
    rows.append({"path": path, "stage": "all", "product_s_per_gib": sum(product.values()) * GIB / size,
                 "floor_s_per_gib": sum(floor.values()) * GIB / size})
    return rows


def mean_of(context, once):
    """{stage: CPU seconds} of a run, from `once()` in as many as asked for."""
    sums = collections.Counter()
    for _ in range(context.runs):
        if not context.smoke:
            machine.back_memory(BACKED)
        sums.update(once())
    return {stage: seconds / context.runs for stage, seconds in sums.items()}


@scenario("stages", size=4 * GIB, smoke=64 * MIB, runs=3)
def cost_stages(context):
    """Which stage costs what, by perf: uploads and restores, http and https. Means of a few runs: a profile, no verdict."""
    reason = stages.why_not()
    if reason:
        raise Skipped(reason)
    modes = (False,) if context.smoke else (False, True)
    rows = []
    with pipe_world(context) as (sink, upload):
        size = upload.stream.size
        for tls in modes:
            ca_file = sink.ca_file if tls else None
            config = upload.config(s3_tables(context, sink.endpoint(tls), ca_file))
            feeder = ["cat", *upload.stream.pieces]

            def product_upload(config=config):
                found = stages.profile(upload.program.command("backup", config, "--once"), False,
                                       environment=upload.program.environment(upload.environment))
                upload.program.forget_snapshots()
                return found
            product = mean_of(context, product_upload)
            floor = mean_of(context, lambda ca_file=ca_file: stages.profile(
                floor_upload(context, sink.endpoint(bool(ca_file)), ca_file, size), True, feeder=feeder))
            rows += rows_of(f"upload {'https' if tls else 'http'}", product, floor, size)
    with pipe_backup(context) as (backup, environment, _):
        for tls in modes:
            def product_restore(tls=tls):
                found = stages.profile(backup.command(backup.use_source(tls)), False,
                                       environment=backup.program.environment(environment))
                backup.delete_restored()
                return found
            product = mean_of(context, product_restore)
            floor = mean_of(context, lambda tls=tls: stages.profile(floor_restore(context, backup, tls), True, drain=["cat"]))
            rows += rows_of(f"restore {'https' if tls else 'http'}", product, floor, backup.size)
    return {"rows": rows}
