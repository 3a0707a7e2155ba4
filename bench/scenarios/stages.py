"""The cost model, measured: CPU seconds for each GiB, stage by stage, of the program beside the floor."""
import collections

from kit import machine, stages
from kit.contest import BACKED, GIB
from .common import MIB, floor_upload, pipe_world, s3_tables, world
from .real import renew_snapshot, sent_by
from .registry import Skipped, scenario
from .restore import floor_restore, pipe_backup
from .trees import fill_with_small_files


def rows_of(path, product, floor, size):
    """One row a stage, dearest first, and the sums."""
    rows = []
    for stage in sorted({*product, *floor}, key=lambda name: -product.get(name, 0)):
        rows.append({"path": path, "stage": stage, "product_s_per_gib": product.get(stage, 0.0) * GIB / size,
                     "floor_s_per_gib": floor.get(stage, 0.0) * GIB / size})
    rows.append({"path": path, "stage": "all", "product_s_per_gib": sum(product.values()) * GIB / size,
                 "floor_s_per_gib": sum(floor.values()) * GIB / size})
    return rows


def mean_of(context, prepare, hashing_in_main_thread, after=lambda: None, **options):
    """{stage: CPU seconds} of one run, from as many as asked for. `prepare()` returns the command of each, `after()`
    cleans up behind it; neither is counted."""
    sums = collections.Counter()
    for _ in range(context.runs):
        command = prepare()
        if not context.smoke:
            machine.back_memory(BACKED)
        sums.update(stages.profile(command, hashing_in_main_thread, **options))
        after()
    return {stage: seconds / context.runs for stage, seconds in sums.items()}


def prepared_uploads(context, modes):
    rows = []
    with pipe_world(context) as (sink, upload):
        size, program = upload.stream.size, upload.program
        for tls in modes:
            ca_file = sink.ca_file if tls else None
            s3, floor = s3_tables(context, sink.endpoint(tls), ca_file), floor_upload(context, sink.endpoint(tls), ca_file, size)
            rows += rows_of(
                f"upload {'https' if tls else 'http'}",
                mean_of(context, lambda s3=s3: program.command("backup", upload.config(s3), "--once"), False,
                        program.forget_snapshots, environment=program.environment(upload.environment)),
                mean_of(context, lambda floor=floor: floor, True, feeder=["cat", *upload.stream.pieces]), size)
    return rows


def prepared_restores(context, modes):
    rows = []
    with pipe_backup(context) as (backup, environment, _):
        for tls in modes:
            command, floor = backup.command(backup.use_source(tls)), floor_restore(context, backup, tls)
            rows += rows_of(
                f"restore {'https' if tls else 'http'}",
                mean_of(context, lambda command=command: command, False, backup.delete_restored,
                        environment=backup.program.environment(environment)),
                mean_of(context, lambda floor=floor: floor, True, drain=["cat"]), backup.size)
    return rows


def upload_of_small_files(context):
    """As upload-many-small: a real send, whose stream comes in small writes."""
    with world(context, filesystem_size="3G", on_disk=True) as (sink, program):
        fill_with_small_files(program.data, 1_000 if context.smoke else 100_000)
        command, size = sent_by(program, "--proto", "1")
        s3, btrfs = s3_tables(context, sink.endpoint()), {"send_protocol": 1}

        def floor():
            renew_snapshot(program)
            return floor_upload(context, sink.endpoint(), None, size)
        return rows_of(
            "upload of small files",
            mean_of(context, lambda: program.command("backup", program.configure(s3=s3, btrfs=btrfs), "--once"), False,
                    program.forget_snapshots, environment=program.environment()),
            mean_of(context, floor, True, feeder=command), size)


@scenario("stages", size=4 * GIB, smoke=64 * MIB, runs=3)
def cost_stages(context):
    """Which stage costs what, by perf: uploads and restores. Means of a few runs: a profile, no verdict."""
    reason = stages.why_not()
    if reason:
        raise Skipped(reason)
    modes = (False,) if context.smoke else (False, True)
    return {"rows": prepared_uploads(context, modes) + prepared_restores(context, modes) + upload_of_small_files(context)}
