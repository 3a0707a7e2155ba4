"""Restores from a source that is not the limit."""
import contextlib
import http.client
import json
import os
import re
import subprocess
import time

from kit import measure, product, sink
from kit.contest import Contest
from .common import GIB, MIB, chunk_and_repetitions, promised, s3_tables, target, world
from .registry import scenario
from .trees import fill_tree

from harness import proxy  # product knows where that is


class Backup:
    """A backup that the program itself made, moved below a sink's objects/, so that it can be downloaded again."""

    def __init__(self, program, made_in, source, config, made_by):
        self.program, self.made_in, self.source, self.config = program, made_in, source, config
        self.made_by = made_by  # the endpoint in that configuration
        self.manifest, self.chunks, self.count = None, [], 0

    @property
    def size(self):
        return self.manifest["total_bytes"]

    def fetch_documents(self):
        """Copies manifest and pointer out of the sink that took the backup."""
        prefix = f"host{self.program.count}/subvol/data/"
        connection = http.client.HTTPConnection("127.0.0.1", self.made_in.http_port)

        def get(key):
            connection.request("GET", f"/bench/{key}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise measure.Failed(f"the sink has no {key}: {answer.status}")
            self.place(key).write_bytes(body)
            return body
        pointer = json.loads(get(prefix + "current.json"))
        self.manifest = json.loads(get(pointer["manifest_key"]))
        if "encryption" in self.manifest:
            get(self.manifest["encryption"]["keys_key"])
        self.chunks = [chunk["key"] for chunk in self.manifest["chunks"]]
        connection.close()

    def place(self, key):
        path = self.source.objects / "bench" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def link_chunks(self, pieces):
        if len(pieces) != len(self.chunks):
            raise measure.Failed(f"{len(self.chunks)} chunks, {len(pieces)} pieces")
        for key, piece, chunk in zip(self.chunks, pieces, self.manifest["chunks"]):
            if os.stat(piece).st_size != chunk["size"]:
                raise measure.Failed(f"{key} has {chunk['size']} bytes, {piece} {os.stat(piece).st_size}")
            os.link(piece, self.place(key))

    def urls(self, endpoint):
        return [f"{endpoint}/bench/{key}" for key in self.chunks]

    def use_source(self, tls=False, **s3):
        """Points the configuration to the source; the state of before is of no concern to a restore."""
        text = self.config.read_text(encoding="utf-8")
        text = text.replace(self.made_by, self.source.endpoint(tls))
        more = {"ca_bundle": f'"{self.source.ca_file}"'} if tls else {}
        more.update(s3)
        text = text.replace("[s3]\n", "[s3]\n" + "".join(f"{key} = {value}\n" for key, value in more.items()))
        path = self.config.with_name(f"restore{int(tls)}.toml")
        path.write_text(text, encoding="utf-8")
        return path

    def command(self, config):
        """A restore to a place that no restore had before."""
        self.count += 1
        return self.program.command("restore", config, "--subvolume", "data", "--target", self.target)

    @property
    def target(self):
        return self.program.restored / f"data{self.count}"

    def delete_restored(self):
        if not (self.target / "content").exists() and not (self.target / "large").exists():
            raise measure.Failed(f"nothing was restored to {self.target}")
        self.program.delete(self.target)

    def restore(self, config, environment=None):
        """One restore; what it made is deleted again."""
        usage = measure.run(self.command(config), environment=self.program.environment(environment))
        self.delete_restored()
        return usage

    def count_syscalls(self, config, environment):
        count = measure.count_syscalls(self.command(config), "btrfs_to_s3",
                                       environment=self.program.environment(environment))
        self.delete_restored()
        return count


def backed_up(context, program, made_in, source, send, s3, endpoint=None, **tables):
    """A Backup of the program's data; `send` are shell commands that send and keep the stream. `endpoint`: by way of what
    stands before `made_in`."""
    environment = program.wrapper("first", send=send)
    made_by = endpoint or made_in.endpoint()
    config = program.configure(s3=s3_tables(context, made_by, **s3), btrfs={"send_protocol": 1}, **tables)
    program.run("backup", config, "--once", environment=environment)
    program.forget_snapshots()  # as on a host that has lost everything
    backup = Backup(program, made_in, source, config, made_by)
    backup.fetch_documents()
    return backup


@contextlib.contextmanager
def pipe_backup(context):
    """(Backup of a prepared stream, environment in which `btrfs receive` swallows it, digest of the stream)."""
    chunk, repetitions = chunk_and_repetitions(context.size)
    # The space that a restore asks for is looked for in the image file, where it takes none.
    with world(context, filesystem_size=f"{2 * context.size + GIB}") as (made_in, program), \
            sink.running(program.directory / "source") as source:
        (program.data / "content").write_bytes(b"small")
        directory = program.directory / "stream"
        directory.mkdir()
        stream = product.Stream(directory, chunk, repetitions)
        send = (f'"$REAL" "$@" > {directory}/small && {context.program("bench/bench_stream")} {directory}/small '
                f'content {chunk} {repetitions} {directory} && exec cat {" ".join(stream.pieces)}')
        backup = backed_up(context, program, made_in, source, send, {"chunk_size_bytes": chunk})
        backup.link_chunks(stream.pieces)
        # What was received has the identity of the small stream, and its content.
        environment = program.wrapper("swallow", receive=f'cat > /dev/null; exec "$REAL" "$@" < {directory}/small')
        yield backup, environment, context.digest(stream)


@contextlib.contextmanager
def sealed_pipe_backup(context, make_identity):
    """(Backup of a prepared stream, sealed for `make_identity`'s recipient, environment in which `btrfs receive` swallows
    it). A sink keeps no large bodies: they are caught on their way."""
    with world(context, filesystem_size=f"{2 * context.size + GIB}") as (made_in, program), \
            sink.running(program.directory / "source") as source:
        (program.data / "content").write_bytes(b"small")
        directory, sealed = program.directory / "stream", program.directory / "sealed"
        directory.mkdir()
        parts = {}

        def keep(method, path, query, body):
            if method == "PUT" and "/chunk-" in path:
                number = int((re.search(r"partNumber=(\d+)", query) or [0, 1])[1])
                parts[number] = program.directory / f"part-{number}"
                parts[number].write_bytes(body)
        identity, recipient = make_identity(program)
        stream = product.Stream(directory, context.size, 1)
        send = (f'"$REAL" "$@" > {directory}/small && {context.program("bench/bench_stream")} {directory}/small '
                f'content {context.size} 1 {directory} && exec cat {" ".join(stream.pieces)}')
        with proxy.proxy_to(made_in.endpoint()) as between:
            between.watch = keep
            backup = backed_up(context, program, made_in, source, send, {}, between.endpoint,
                               encryption={"recipients": [recipient]}, restore={"identity_file": str(identity)})
        with open(sealed, "wb") as whole:
            for number in sorted(parts):
                whole.write(parts[number].read_bytes())
                parts[number].unlink()
        backup.link_chunks([sealed])
        environment = program.wrapper("swallow", receive=f'cat > /dev/null; exec "$REAL" "$@" < {directory}/small')
        yield backup, environment


def floor_restore(context, backup, tls, sealed=False):
    """The floor's command for the same objects; `sealed`: with one bare pass of the cipher."""
    return [str(context.program("bench/bench_floor")), *(["--sealed"] if sealed else []), "restore", *(["--ca", str(backup.source.ca_file)] if tls else []),
            *backup.urls(backup.source.endpoint(tls))]


def pipe_restore(context, tls):
    with pipe_backup(context) as (backup, environment, expected):
        config, floor = backup.use_source(tls), floor_restore(context, backup, tls)
        contest = Contest(context, backup.size)
        contest.add("product", lambda _turn: backup.restore(config, environment),
                    "btrfs_to_s3 restore (PATH with a btrfs whose receive is: cat > /dev/null)",
                    lambda: backup.count_syscalls(config, environment))

        def floor_once(_turn):
            usage = measure.run(floor, drain=["cat"])
            if usage.stderr.strip() != expected:
                raise measure.Failed(f"the floor hashed {usage.stderr.strip()}, not {expected}")
            return usage
        contest.add("floor", floor_once, "bench_floor restore URL... | cat > /dev/null",
                    lambda: measure.count_syscalls(floor, "bench_floor", drain=["cat"]))
        found = contest.run()
    ratios = found["ratios"]["product/floor"]
    rss = found["contestants"]["product"]["figures"]["peak_rss_mib"]["max"]
    limit = promised(4, context.part_size) / MIB
    targets = [target("peak RSS / promise", rss / limit, "<= 1", rss <= limit)]
    if "cpu_s_per_gib" in ratios:
        value = ratios["cpu_s_per_gib"]["median"]
        targets.append(target("CPU of the program / floor", value, "<= 1.15", value <= 1.15))
    value = ratios["throughput_mib_s"]["median"]
    targets.append(target("throughput / floor", value, ">= 0.9", value >= 0.9))
    return {**found, "targets": targets}


@scenario("restore-8GiB", size=8 * GIB, smoke=24 * MIB)
def restore_pipe(context):
    """A prepared backup over plain http: the engine without `btrfs receive`."""
    return pipe_restore(context, tls=False)


@scenario("restore-8GiB-https", size=8 * GIB, smoke=24 * MIB)
def restore_pipe_https(context):
    """The same over https."""
    return pipe_restore(context, tls=True)


@scenario("restore-btrfs", size=2 * GIB, smoke=24 * MIB)
def restore_btrfs(context):
    """Wall time against `cat STREAM | btrfs receive` and a sync, on the same filesystem."""
    space = f"{4 * context.size + GIB}"
    with world(context, filesystem_size=space, on_disk=True) as (made_in, program), \
            sink.running(program.directory / "source") as source:
        fill_tree(program.data, context.size)
        stream = program.directory / "stream"
        send = f'"$REAL" "$@" > {stream} && exec cat {stream}'
        backup = backed_up(context, program, made_in, source, send, {})
        backup.link_chunks([str(stream)])
        config = backup.use_source()
        program.delete(program.data)

        def settle():
            subprocess.run([program.real, "subvolume", "sync", str(program.mount)], check=True, capture_output=True)
            subprocess.run(["sync", "-f", str(program.mount)], check=True)

        def once(_turn):
            settle()
            return backup.restore(config)

        plain = program.mount / "plain"
        plain.mkdir()

        def baseline(_turn):
            settle()
            usage = measure.run(["sh", "-c", f"cat {stream} | btrfs receive -q {plain} && sync -f {plain}"])
            for received in plain.iterdir():
                program.delete(received)
            return usage
        contest = Contest(context, backup.size)
        contest.add("product", once, "btrfs_to_s3 restore")
        contest.add("btrfs-receive", baseline, "cat STREAM | btrfs receive; sync -f")
        found = contest.run()
    value = found["ratios"]["product/btrfs-receive"]["seconds"]["median"]
    return {**found, "targets": [target("wall time / that of btrfs receive and a sync alone", value, "<= 1.05", value <= 1.05)]}


LINKS, LINK_FILES = 30, 4


@scenario("restore-chain", size=LINKS, smoke=3)
def restore_chain(context):
    """A full and small incrementals, the size being their number together, against `btrfs receive` of each and a sync."""
    with world(context, filesystem_size="2G", on_disk=True) as (made_in, program):
        streams = program.directory / "streams"
        streams.mkdir()
        send = f'stream=$(mktemp {streams}/$(date +%s).XXXX); "$REAL" "$@" > $stream && exec cat $stream'
        environment = program.wrapper("keeping", send=send)
        config = program.configure(s3=s3_tables(context, made_in.endpoint()), btrfs={"send_protocol": 1},
                                   index={"prove": False})
        for link in range(context.size):
            for number in range(LINK_FILES):
                (program.data / f"file{link}-{number}").write_bytes(os.urandom(4000))
            os.sync()
            time.sleep(1.1 - time.time() % 1)  # names have a resolution of a second
            program.run("backup", config, "--once", environment=environment)
        program.forget_snapshots()
        program.delete(program.data)
        links = sorted(streams.iterdir())
        if len(links) != context.size:
            raise measure.Failed(f"{len(links)} streams, not {context.size}")
        plain, restored = program.mount / "plain", program.restored / "data"
        plain.mkdir()

        def settle():
            subprocess.run([program.real, "subvolume", "sync", str(program.mount)], check=True, capture_output=True)
            subprocess.run(["sync", "-f", str(program.mount)], check=True)

        def once(_turn):
            settle()
            usage = program.run("restore", config, "--subvolume", "data", "--target", restored)
            if len(list(restored.iterdir())) != LINK_FILES * context.size:
                raise measure.Failed(f"not all files are in {restored}")
            program.delete(restored)
            return usage

        def bare(sync):
            def receive(_turn):
                settle()
                script = "".join(f"btrfs receive -q {plain} < {stream}{sync}\n" for stream in links)
                usage = measure.run(["sh", "-ec", script])
                for received in sorted(plain.iterdir(), reverse=True):
                    program.delete(received)
                return usage
            return receive
        contest = Contest(context, sum(stream.stat().st_size for stream in links))
        contest.add("product", once, "btrfs_to_s3 restore")
        contest.add("btrfs-receive", bare(""), "btrfs receive < STREAM, for each link")
        contest.add("btrfs-receive-sync", bare(f" && sync -f {plain}"), "btrfs receive < STREAM; sync -f, for each link")
        found = contest.run()
    value = found["ratios"]["product/btrfs-receive"]["seconds"]["median"]
    return {**found, "targets": [target("wall time / that of bare receives", value, "<= 1.1", value <= 1.1)]}
