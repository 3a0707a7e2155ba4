"""A relay in front of a sink that lets each connection send only so fast, and counts what passes.

Runs as a process of its own:  relay.py COUNTER_FILE SINK_PORT BYTES_PER_SECOND    (0: no limit); prints its port.
Uploads only are slowed: reading is paced, so that the client's socket fills and TCP holds it back."""
import contextlib
import mmap
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

# Small, so that what a client takes for sent has nearly all passed.
RECEIVE_BUFFER = 64 * 1024
# What a connection may catch up after it was idle or the relay was late, in seconds of its rate.
CATCH_UP_SECONDS = 0.05


class Counter:
    """Bytes that passed towards the sink, in a file that both processes map."""

    def __init__(self, path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, 8)
        self._map = mmap.mmap(fd, 8)
        os.close(fd)
        self._lock = threading.Lock()

    def add(self, count):
        with self._lock:
            self._map[:] = struct.pack("<Q", self.value() + count)

    def value(self):
        return struct.unpack("<Q", self._map[:])[0]


def upwards(client, server, rate, counter):
    due = 0.0
    try:
        while block := client.recv(RECEIVE_BUFFER):
            counter.add(len(block))
            server.sendall(block)
            if rate:
                now = time.monotonic()
                due = max(due, now - CATCH_UP_SECONDS) + len(block) / rate
                if due > now:
                    time.sleep(due - now)
        server.shutdown(socket.SHUT_WR)
    except OSError:
        close(client, server)


def downwards(server, client):
    try:
        while block := server.recv(1 << 18):
            client.sendall(block)
    except OSError:
        pass
    close(client, server)


def close(*sockets):
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def serve(counter, port, rate):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=upwards, args=(client, server, rate, counter), daemon=True).start()
        threading.Thread(target=downwards, args=(server, client), daemon=True).start()


class Relay:
    def __init__(self, port, counter):
        self.port, self._counter = port, counter
        self.endpoint = f"http://127.0.0.1:{port}"

    def bytes(self):
        return self._counter.value()


@contextlib.contextmanager
def running(directory, sink_port, rate):
    """`rate` in bytes a second for each connection; 0: none."""
    path = pathlib.Path(directory) / f"relay-{time.monotonic_ns()}"
    counter = Counter(path)
    process = subprocess.Popen([sys.executable, "-B", __file__, str(path), str(sink_port), str(int(rate))],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError("the relay did not start")
        yield Relay(int(line), counter)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    serve(Counter(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
