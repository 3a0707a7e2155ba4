"""Uploads into a sink that is not the limit: the program, the floor and the peers over the same stream."""
import contextlib

from kit import measure, peers, product, sink
from kit.contest import Contest
from .registry import Skipped, scenario

MIB, GIB = 1 << 20, 1 << 30


@contextlib.contextmanager
def world(context, tables=None, filesystem_size="1G", on_disk=False):
    """A sink and the program with a filesystem: (sink, product)."""
    reason = product.why_not() or sink.why_not()
    if reason:
        raise Skipped(reason)
    with contextlib.ExitStack() as stack:
        base = context.disk_directory if on_disk else context.memory_directory
        directory = stack.enter_context(context.scratch(base))
        target = stack.enter_context(sink.running(directory / "sink"))
        filesystem = stack.enter_context(product.btrfs.filesystem(directory, filesystem_size, options="noatime"))
        yield target, product.Product(context, filesystem, directory, tables or {})


def chunk_and_repetitions(size):
    """A stream of about `size` bytes in at least two pieces, so that it needs less room than its length."""
    chunk = max(MIB, min(GIB, size // 2) // MIB * MIB)
    return chunk, max(1, size // chunk)


def s3_tables(context, target, tls):
    return {"endpoint_url": target.endpoint(tls), "payload_signing": "unsigned", "part_size_bytes": context.part_size,
            **({"ca_bundle": str(target.ca_file)} if tls else {})}


def check_backup(usage, size):
    """A run that did not do its work does not count."""
    if f"bytes={size}" not in usage.stderr and f"total_bytes={size}" not in usage.stderr:
        raise measure.Failed(f"the log does not tell of {size} bytes:\n{usage.stderr}")
    return usage


def add_floor(contest, context, target, stream, tls):
    arguments = [str(context.program("bench/bench_floor")), "upload", f"{target.endpoint(tls)}/floor/object",
                 str(stream.size), *([str(target.ca_file)] if tls else [])]
    feeder = ["cat", *stream.pieces]
    expected = context.digest(stream)

    def once(_turn):
        usage = measure.run(arguments, feeder=feeder)
        if usage.stderr.strip() != expected:
            raise measure.Failed(f"the floor hashed {usage.stderr.strip()}, not {expected}")
        return usage
    contest.add("floor", once, "cat STREAM | bench_floor upload URL BYTES",
                lambda: measure.count_syscalls(arguments, "bench_floor", feeder=feeder))


def pipe_upload(context, tls):
    chunk, repetitions = chunk_and_repetitions(context.size)
    with world(context) as (target, program):
        (program.data / "content").write_bytes(b"small")
        stream = program.prepare_stream(program.directory / "stream", chunk, repetitions)
        environment = program.wrapper("pipe", send="exec cat " + " ".join(stream.pieces))
        contest = Contest(context, stream.size)
        tables = {"s3": s3_tables(context, target, tls), "btrfs": {"send_protocol": 1}}

        def once(_turn):
            usage = program.run("backup", program.configure(**tables), "--once", environment=environment)
            program.forget_snapshots()
            return check_backup(usage, stream.size)

        def syscalls():
            count = measure.count_syscalls(program.command("backup", program.configure(**tables), "--once"),
                                           "btrfs_to_s3", environment=program.environment(environment))
            program.forget_snapshots()
            return count
        contest.add("product", once, "btrfs_to_s3 backup --once (PATH with a btrfs whose send is: cat STREAM)", syscalls)
        add_floor(contest, context, target, stream, tls)
        peers.add_uploads(contest, context, target, ["cat", *stream.pieces], stream.size, tls)
        return contest.run()


@scenario("upload-2GiB-pipe", size=2 * GIB, smoke=24 * MIB)
def upload_pipe(context):
    """A prepared stream over plain http: the engine without Btrfs."""
    return pipe_upload(context, tls=False)


@scenario("upload-2GiB-pipe-https", size=2 * GIB, smoke=24 * MIB)
def upload_pipe_https(context):
    """The same over https."""
    return pipe_upload(context, tls=True)
