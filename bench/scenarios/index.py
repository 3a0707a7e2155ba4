"""What the index of a backup costs whoever makes it: the same backups with and without, in the same rounds."""
from kit.contest import Contest
from .common import GIB, MIB, check_backup, pipe_world, s3_tables, target, world
from .real import sent_by
from .registry import scenario
from .trees import fill_with_small_files


def tables_of(enabled):
    return {"index": {"enabled": enabled}}


def found_in(contest, most):
    """The contest's result, and whether the program's CPU is what issue 20 allows."""
    found = contest.run()
    ratios = found["ratios"]["product/without-index"]
    targets = []
    if "cpu_s_per_gib" in ratios:
        value = ratios["cpu_s_per_gib"]["median"]
        targets.append(target("CPU of the program with an index / without", value, f"<= {most}", value <= most))
    return {**found, "targets": targets}


@scenario("index-large-files", size=2 * GIB, smoke=24 * MIB)
def index_large_files(context):
    """A prepared stream of one large file."""
    with pipe_world(context, repeats=False) as (sink, upload):
        s3 = s3_tables(context, sink.endpoint())
        contest = Contest(context, upload.stream.size)
        for name, enabled in (("product", True), ("without-index", False)):
            contest.add(name, lambda _turn, tables=tables_of(enabled): upload.run(s3, **tables),
                        f"btrfs_to_s3 backup --once, index.enabled = {str(enabled).lower()}")
        return found_in(contest, 1.03)


@scenario("index-small-files", size=400 * MIB, smoke=4 * MIB)
def index_small_files(context):
    """A snapshot of 100,000 files of 0 to 8 KiB, sent by the kernel."""
    with world(context, filesystem_size=f"{4 * context.size + GIB}", on_disk=True) as (sink, program):
        fill_with_small_files(program.data, context.size // 4096)
        _, size = sent_by(program, "--proto", "1")
        s3 = s3_tables(context, sink.endpoint())
        contest = Contest(context, size)

        def once(tables):
            usage = program.run("backup", program.configure(s3=s3, btrfs={"send_protocol": 1}, **tables), "--once")
            program.forget_snapshots()
            check_backup(usage, size)
            return usage
        for name, enabled in (("product", True), ("without-index", False)):
            contest.add(name, lambda _turn, tables=tables_of(enabled): once(tables),
                        f"btrfs_to_s3 backup --once, index.enabled = {str(enabled).lower()}")
        return found_in(contest, 1.10)
