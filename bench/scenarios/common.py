"""What scenarios share: a sink with the program before it, and prepared streams."""
import contextlib
import copy

from kit import measure, product, sink
from .registry import Skipped

from harness import sealed_sizes  # product knows where that is

MIB, GIB = 1 << 20, 1 << 30
PART_MIN = 5 * MIB  # S3's smallest


@contextlib.contextmanager
def world(context, filesystem_size="1G", on_disk=False):
    """A sink and the program with a filesystem: (sink, product)."""
    reason = product.why_not() or sink.why_not()
    if reason:
        raise Skipped(reason)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(context.scratch(context.memory_directory))
        target = stack.enter_context(sink.running(directory / "sink"))
        beneath = stack.enter_context(context.scratch(context.disk_directory)) if on_disk else directory
        filesystem = stack.enter_context(product.btrfs.filesystem(beneath, filesystem_size, options="noatime"))
        yield target, product.Product(context, filesystem, directory)


def chunk_and_repetitions(size, multiple=MIB):
    """A stream of about `size` bytes in at least two pieces, so that it needs less room than its length."""
    chunk = max(multiple, min(GIB, size // 2) // multiple * multiple)
    return chunk, max(1, round(size / chunk))


def s3_tables(context, endpoint, ca_file=None, **more):
    return {"endpoint_url": endpoint, "payload_signing": "unsigned", "part_size_bytes": context.part_size,
            **({"ca_bundle": str(ca_file)} if ca_file else {}), **more}


class PipeUpload:
    """Backups of a prepared stream: the program with a `btrfs` whose `send` emits it, but for its first command."""

    def __init__(self, program, stream, after="", name="pipe"):
        self.program, self.stream, self.tables, self.sealed_size = program, stream, {}, None
        pieces = [str(piece) for piece in stream.pieces]
        # A stream begins with the UUID of its snapshot, which the program compares: that command is the real sender's.
        with open(pieces[0], "rb") as first:
            begin = 27 + int.from_bytes(first.read(21)[17:], "little")
        cat = (f'"$REAL" "$@" 2> /dev/null | head -c {begin}; '
               f'{{ head -c {begin} > /dev/null; cat - {" ".join(pieces[1:])}; }} < {pieces[0]}')
        self.environment = program.wrapper(name, send=f"{cat}; {after}" if after else cat)

    def config(self, s3, **tables):
        return self.program.configure(s3=s3, btrfs={"send_protocol": 1}, **self.tables, **tables)

    def run(self, s3, watch=None, **tables):
        return self.run_with(self.config(s3, **tables), "--once", watch=watch)

    def run_with(self, config, *arguments, **options):
        usage = self.program.run("backup", config, *arguments, environment=self.environment, **options)
        if usage.status == 0:
            self.program.forget_snapshots()
            check_backup(usage, self.sealed_size if self.sealed_size else self.stream.size)
        return usage

    def sealed_for(self, recipient):
        """The same backups, sealed; in parts of the context's size, one object each."""
        other = copy.copy(self)
        other.tables = {"encryption": {"recipients": [recipient]}}
        other.sealed_size = sealed_sizes.sealed_bytes(self.stream.size, self.program.context.part_size)
        return other

    def count_syscalls(self, s3):
        count = measure.count_syscalls(self.program.command("backup", self.config(s3), "--once"), "btrfs_to_s3",
                                       environment=self.program.environment(self.environment))
        self.program.forget_snapshots()
        return count


@contextlib.contextmanager
def pipe_world(context, size=None, repeats=True):
    """(sink, PipeUpload) with a stream of about `size` bytes. `repeats` allows one that needs less room, in which a
    deduplicating reader would find less than its length."""
    chunk, repetitions = chunk_and_repetitions(size or context.size) if repeats else (size or context.size, 1)
    with world(context) as (target, program):
        (program.data / "content").write_bytes(b"small")
        stream = program.prepare_stream(program.directory / "stream", chunk, repetitions)
        yield target, PipeUpload(program, stream)


def value_in(usage, event, key):
    """A number that the program's log tells."""
    for line in usage.stderr.splitlines():
        if f"event={event} " in line:
            for word in line.split():
                if word.startswith(f"{key}="):
                    return float(word.split("=", 1)[1])
    raise measure.Failed(f"the log has no {key} in {event}:\n{usage.stderr}")


def check_backup(usage, size):
    """A run that did not do its work does not count."""
    if value_in(usage, "run_finished", "bytes") != size:
        raise measure.Failed(f"the log does not tell of {size} bytes:\n{usage.stderr}")


def floor_upload(context, endpoint, ca_file, size, sealed=False):
    """The floor's command for a stream of so many bytes; `sealed`: with one bare pass of the cipher."""
    return [str(context.program("bench/bench_floor")), *(["--sealed"] if sealed else []), "upload", f"{endpoint}/floor/object", str(size),
            *([str(ca_file)] if ca_file else [])]


def run_floor_upload(arguments, feeder, expected):
    """One run of floor_upload's command over what `feeder` emits; it fails unless it has hashed what was `expected`."""
    usage = measure.run(arguments, feeder=feeder)
    if expected and usage.stderr.strip() != expected:
        raise measure.Failed(f"the floor hashed {usage.stderr.strip()}, not {expected}")
    return usage


def add_floor_upload(contest, context, endpoint, ca_file, feeder, size, expected, prepare=lambda: None):
    """`expected`: the stream's SHA-256, or None when it may differ from run to run. `prepare` is not measured."""
    arguments = floor_upload(context, endpoint, ca_file, size)

    def once(_turn):
        prepare()
        return run_floor_upload(arguments, feeder, expected)
    contest.add("floor", once, "STREAM | bench_floor upload URL BYTES",
                lambda: measure.count_syscalls(arguments, "bench_floor", feeder=feeder))


def promised(concurrency, part):
    """Bytes of memory at most, by DESIGN.md section 2."""
    return (concurrency + 1) * part + 64 * MIB


def target(name, value, wanted, met):
    return {"name": name, "value": value, "wanted": wanted, "met": bool(met)}
