"""Backups of real trees by a real `btrfs send`."""
import subprocess
import time

from kit import figures, measure
from kit.contest import Contest
from .common import GIB, MIB, add_floor_upload, s3_tables, target, value_in, world
from .registry import scenario
from .trees import fill_tree, fill_with_small_files

# As long as the program's own snapshot names: the name is part of the stream.
SNAPSHOT = "data__20260101T000000Z__full"


def sent_by(program, *options):
    """A snapshot of the data, the command that sends it, and the stream's length."""
    snapshot = program.filesystem.snapshot(program.data, SNAPSHOT)
    command = [program.real, "send", "-q", *options, str(snapshot)]
    sender = subprocess.Popen(command, stdout=subprocess.PIPE)
    size = 0
    while block := sender.stdout.read(1 << 20):
        size += len(block)
    sender.stdout.close()
    if sender.wait() != 0:
        raise measure.Failed(f"{' '.join(command)} ended with {sender.returncode}")
    return command, size


def renew_snapshot(program):
    """For everybody: the kernel caches file contents by subvolume, and the program's snapshot is always new."""
    program.delete(program.filesystem.mount / SNAPSHOT)
    program.filesystem.snapshot(program.data, SNAPSHOT)


def against_floor(context, program, sink):
    """Full backups of the tree, the floor, and the send alone."""
    # Protocol 1 everywhere: the same bytes for everybody, whatever kernel and tools can do.
    command, size = sent_by(program, "--proto", "1")
    s3 = s3_tables(context, sink.endpoint())
    contest = Contest(context, size)

    def send_alone(_turn):
        renew_snapshot(program)
        return measure.run(["cat"], feeder=command, discard=True)

    def once(_turn):
        usage = program.run("backup", program.configure(s3=s3, btrfs={"send_protocol": 1}), "--once")
        program.forget_snapshots()
        if value_in(usage, "run_finished", "bytes") != size:
            raise measure.Failed(f"not {size} bytes:\n{usage.stderr}")
        return usage
    contest.add("product", once, "btrfs_to_s3 backup --once")
    add_floor_upload(contest, context, sink.endpoint(), None, command, size, None, lambda: renew_snapshot(program))
    contest.add("btrfs-send", send_alone, "btrfs send SNAPSHOT | cat > /dev/null")
    found = contest.run()
    ratio = found["ratios"]["product/floor"]["seconds"]["median"]
    return {**found, "targets": [target("wall time / floor", ratio, "<= 1.11", ratio <= 1.11)]}


@scenario("upload-btrfs", size=2 * GIB, smoke=24 * MIB)
def upload_btrfs(context):
    """A snapshot of large, medium and small files, sent by the kernel."""
    with world(context, filesystem_size=f"{2 * context.size + GIB}", on_disk=True) as (sink, program):
        fill_tree(program.data, context.size)
        return against_floor(context, program, sink)


@scenario("upload-many-small", size=400 * MIB, smoke=4 * MIB)
def upload_many_small(context):
    """A snapshot of 100,000 files of 0 to 8 KiB."""
    with world(context, filesystem_size=f"{4 * context.size + GIB}", on_disk=True) as (sink, program):
        fill_with_small_files(program.data, context.size // 4096)
        return against_floor(context, program, sink)


@scenario("incremental-tiny", size=MIB, smoke=MIB)
def incremental_tiny(context):
    """Latency of an incremental with nothing in it, and of a run in which nothing is due."""
    with world(context, filesystem_size="1G") as (sink, program):
        fill_tree(program.data, context.size)
        config = program.configure(s3=s3_tables(context, sink.endpoint()), btrfs={"send_protocol": 1})
        program.run("backup", config, "--once")
        parent = program.filesystem.snapshot(program.data, "parent")
        child = program.mount / "child"
        # What a script would need: the snapshot, its send, the deletion of the one before.
        script = (f"btrfs subvolume snapshot -r {program.data} {child} && btrfs filesystem sync {program.mount} && "
                  f"btrfs send -q -p {parent} {child} | cat && btrfs subvolume delete {child}")
        runs = {"incremental": [], "not_due": [], "btrfs_alone": []}

        def btrfs_alone():
            return measure.run(["sh", "-c", script + " > /dev/null"])
        for turn in range(context.runs):
            time.sleep(1.1 - time.time() % 1)  # names have a resolution of a second
            runs["incremental"].append(program.run("backup", config, "--once"))
            runs["not_due"].append(program.run("backup", config))
            runs["btrfs_alone"].append(btrfs_alone())
            context.say(f"  run {turn + 1}/{context.runs}: " +
                        ", ".join(f"{name} {found[-1].seconds * 1000:.0f} ms" for name, found in runs.items()))
    rows = [{"what": name, "milliseconds": figures.spread(usage.seconds * 1000 for usage in found),
             "cpu_ms": figures.spread(usage.cpu_all * 1000 for usage in found)} for name, found in runs.items()]
    own = figures.spread((a.seconds - b.seconds) * 1000 for a, b in zip(runs["incremental"], runs["btrfs_alone"]))
    rows.append({"what": "incremental - btrfs_alone", "milliseconds": own})
    return {"rows": rows, "targets": [target("own milliseconds of an empty incremental", own["median"], "< 150",
                                             own["median"] < 150)],
            "runs": {name: [usage.figures() for usage in found] for name, found in runs.items()}}
