"""A bucket of any size, to be read only, whose answers come late (bench/bucket.cc)."""
import contextlib
import hashlib
import subprocess

from . import measure


class FarBucket:
    """What was asked of it since the last question, and where it is."""

    def __init__(self, process):
        self.process = process
        self.endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"

    def asked(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 4:
            raise measure.Failed("the bucket has ended")
        return dict(zip(("gets", "listings", "others", "connections"), map(int, answer)))


@contextlib.contextmanager
def running(context, path, documents, sizes, milliseconds):
    """`documents` {key: bytes}, one line each, can be read; `sizes` {key: size} of others are listed and cannot. The objects are
    written to `path`."""
    with open(path, "wb") as file:
        for key, body in documents.items():
            file.write(f"{key}\t{len(body)}\t{hashlib.md5(body).hexdigest()}\t".encode() + body + b"\n")
        for key, size in sizes.items():
            file.write(f"{key}\t{size}\t{hashlib.md5(key.encode()).hexdigest()}-1\t\n".encode())
    process = subprocess.Popen([str(context.program("bench/bench_bucket")), str(path), str(milliseconds)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=measure.ENVIRONMENT)
    try:
        yield FarBucket(process)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()
