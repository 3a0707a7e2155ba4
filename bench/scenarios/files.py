"""What is asked of the files in a backup: a chain of a million of them, and one file out of a large backup."""
import contextlib
import json
import os
import re
import shutil
import time

from kit import figures, measure, sink
from .common import GIB, MIB, PART_MIN, s3_tables, target, world
from .registry import scenario
from .trees import TINY_BYTES, change_tiny_files, fill_with_tiny_files, tiny_directory

from harness import proxy  # product knows where that is

PAGE = 4096
INCREMENTALS = 26
AGAIN = 10  # questions that take milliseconds are asked so often in a round


class Kept:
    """Keeps below `objects` what is put: shown the requests of a proxy. Of chunks, where they are wanted, pages of zeros become
    holes."""

    def __init__(self, objects, part_size, with_chunks):
        self.objects, self.part_size, self.with_chunks = objects, part_size, with_chunks

    def __call__(self, method, path, query, body):
        chunk = "/chunk-" in path
        if method != "PUT" or (chunk and not self.with_chunks):
            return
        place = self.objects / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        part = re.search(r"partNumber=(\d+)", query)
        offset = (int(part[1]) - 1) * self.part_size if part else 0
        file = os.open(place, os.O_WRONLY | os.O_CREAT | (0 if part else os.O_TRUNC), 0o644)
        try:
            self.write(file, body, offset, holes=chunk)
        finally:
            os.close(file)

    @staticmethod
    def write(file, body, offset, holes):
        nothing = bytes(PAGE)
        if not holes:
            os.pwrite(file, body, offset)
            return
        for at in range(0, len(body), PAGE):
            page = body[at:at + PAGE]
            if page != nothing or at + PAGE >= len(body):
                os.pwrite(file, page, offset + at)


class Asked:
    """The program over a chain that it has made, with a store before it that has all of that."""

    def __init__(self, context, program, source, config, made_by):
        self.context, self.program, self.source = context, program, source
        self.text, self.made_by, self.home = config.read_text(encoding="utf-8"), made_by, config.parent
        self.config = self.config_for(source.endpoint(), "asked")

    def config_for(self, endpoint, name):
        path = self.home / f"{name}.toml"
        path.write_text(self.text.replace(self.made_by, endpoint), encoding="utf-8")
        return path

    def cache(self):
        """A new one, on a disk as a home is."""
        path = self.program.mount.parent / "cache"
        shutil.rmtree(path, ignore_errors=True)
        return {"XDG_CACHE_HOME": str(path)}

    def ask(self, cache, verb, *arguments, config=None):
        usage = self.program.run(verb, config or self.config, *arguments, environment=cache)
        if not usage.stdout:
            raise measure.Failed(f"{verb} said nothing:\n{usage.stderr}")
        return usage

    def counted(self, questions):
        """(requests, bytes of chunks, bytes of everything) of each, in runs that are not measured; one store, since the cache
        knows its chains by it."""
        found, cache = [], self.cache()
        with proxy.proxy_to(self.source.endpoint()) as between:
            config = self.config_for(between.endpoint, "counted")
            for verb, *arguments in questions:
                between.answers.clear()
                self.ask(cache, verb, *arguments, config=config)
                found.append((len(between.answers), sum(size for _, path, size in between.answers if "/chunk-" in path),
                              sum(size for _, _, size in between.answers)))
        return found


@contextlib.contextmanager
def chain_made(context, fill, changes, filesystem_size, with_chunks, compressed=False, **tables):
    """Asked, over a full of what `fill` makes and an incremental after each of `changes`; and the manifests."""
    with world(context, filesystem_size=filesystem_size, on_disk=True) as (made_in, program), \
            sink.running(program.directory / "source") as source, proxy.proxy_to(made_in.endpoint()) as between:
        if compressed:
            measure.run([program.real, "property", "set", str(program.data), "compression", "zstd"])
        s3 = s3_tables(context, between.endpoint, **tables.pop("s3", {}))
        between.watch = Kept(source.objects, s3["part_size_bytes"], with_chunks)
        # Whether it can be received is not what is measured.
        config = program.configure(s3=s3, index={"prove": False}, **tables)
        begin = time.monotonic()
        for number, change in enumerate((fill, *changes)):
            change(program.data)
            time.sleep(1.1 - time.time() % 1)  # names have a resolution of a second
            usage = program.run("backup", config, "--once")
            context.say(f"  backup {number + 1} of {len(changes) + 1}: {usage.seconds:.1f} s, {time.monotonic() - begin:.0f} s in all")
        yield Asked(context, program, source, config, between.endpoint)


def manifests_of(source):
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(source.objects.rglob("manifest-*.json"))]


def row_of(what, usages, counted):
    requests, chunks, everything = counted
    return {"what": what, "milliseconds": figures.spread(usage.seconds * 1000 for usage in usages),
            "cpu_ms": figures.spread(usage.cpu_all * 1000 for usage in usages),
            "peak_rss_mib": figures.spread(usage.peak_rss / MIB for usage in usages),
            "requests": requests, "chunks_read_mib": chunks / MIB, "read_mib": everything / MIB}


def measured(context, asked, first, questions):
    """Rows: `first` with nothing in the cache, then each of the questions."""
    runs = {what: [] for what in (first, *questions)}
    arguments_of_first = next(iter(questions.values()))
    for turn in range(context.runs):
        cache = asked.cache()
        runs[first].append(asked.ask(cache, *arguments_of_first))
        for what, arguments in questions.items():
            runs[what] += [asked.ask(cache, *arguments) for _ in range(1 if context.smoke else AGAIN)]
        context.say(f"  run {turn + 1}/{context.runs}: " +
                    ", ".join(f"{what} {1000 * found[-1].seconds:.0f} ms" for what, found in runs.items()))
    counted = asked.counted([arguments_of_first, *questions.values()])
    return ([row_of(what, found, of_it) for (what, found), of_it in zip(runs.items(), counted)],
            {what: [usage.figures() for usage in found] for what, found in runs.items()})


@scenario("files-million", size=1_000_000 * TINY_BYTES, smoke=2000 * TINY_BYTES, runs=3)
def files_million(context):
    """`ls`, `find` and `history` in a chain of a million files, a full and 26 incrementals: the first time, and again."""
    count, incrementals = context.size // TINY_BYTES, 3 if context.smoke else INCREMENTALS
    changes = [lambda data, link=link: change_tiny_files(data, count, link) for link in range(1, incrementals + 1)]
    with chain_made(context, lambda data: fill_with_tiny_files(data, count), changes, f"{GIB + 32_000 * count}",
                    with_chunks=False) as asked:
        manifests = manifests_of(asked.source)
        if len(manifests) != incrementals + 1:
            raise measure.Failed(f"{len(manifests)} manifests of {incrementals + 1} backups")
        directory = tiny_directory(1)
        listed = len(asked.ask(asked.cache(), "ls", directory).stdout.splitlines())
        if listed != len(os.listdir(asked.program.data / directory)):
            raise measure.Failed(f"{listed} names in {directory}, which has others")
        rows, runs = measured(context, asked, "ls, the first time", {
            "ls": ("ls", directory), "ls -l": ("ls", "-l", directory),
            "find, of all": ("find", "--name", "*99.dat", "--type", "f"),
            "history of a file": ("history", f"{directory}/{sorted(os.listdir(asked.program.data / directory))[0]}")})
        sizes = [manifest["index"]["size"] for manifest in sorted(manifests, key=lambda one: one["created_at"])]
    first, again = (row["milliseconds"]["median"] for row in rows[:2])
    return {"rows": rows, "runs": runs, "files": count, "index_bytes": sizes, "targets": [
        target("seconds of the first ls", first / 1000, "<= 15", first <= 15_000),
        target("milliseconds of ls again", again, "<= 50", again <= 50),
        target("bytes of a full's index a file", sizes[0] / count, "<= 60", sizes[0] <= 60 * count)]}


@scenario("cat-1MiB", size=10 * GIB, smoke=64 * MIB, runs=3)
def cat_one(context):
    """`cat` of a file of 1 MiB out of a large backup: time, and bytes of chunks that are read."""
    chunk = 4 * PART_MIN if context.smoke else GIB
    wanted = os.urandom(MIB)

    def write(data):
        nothing = bytes(MIB)
        for name in ("before", "wanted", "behind"):
            with open(data / name, "wb") as file:
                for _ in range(1 if name == "wanted" else context.size // MIB // 2):
                    file.write(wanted if name == "wanted" else nothing)
        os.sync()
    # On the disk zeros pack to nothing; sent they are as long as anything else.
    with chain_made(context, write, [], f"{GIB + context.size // 4}", with_chunks=True, compressed=True,
                    s3={"chunk_size_bytes": chunk}, btrfs={"send_protocol": 1}) as asked:
        total = manifests_of(asked.source)[0]["total_bytes"]
        if total < context.size:
            raise measure.Failed(f"the stream has {total} bytes only")
        place = asked.home / "wanted"
        script = ["sh", "-c", f'exec "$0" "$@" > {place}', *asked.program.command("cat", asked.config, "wanted")]
        measure.run(script, environment=asked.program.environment(asked.cache()))
        if place.read_bytes() != wanted:
            raise measure.Failed("cat gave something else")
        rows, runs = measured(context, asked, "cat, the first time", {"cat": ("cat", "wanted")})
    read = max(row["chunks_read_mib"] for row in rows)
    return {"rows": rows, "runs": runs, "bytes": total, "targets": [
        target("MiB of chunks that cat of 1 MiB reads", read, "<= 2", read <= 2)]}
